package runtime_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// fastest calls f b.N times and reports the fastest call, averaged over short stretches: what a machine that does other work besides
// can still tell.
func fastest(b *testing.B, f func()) {
	const stretch = 20 * time.Microsecond
	each := 1
	for start := time.Now(); time.Since(start) < stretch; each++ {
		f()
	}
	best := time.Hour
	b.ResetTimer()
	for i := 0; i < b.N; i += each {
		start := time.Now()
		for range each {
			f()
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best)/float64(each), "min-ns")
}

func benchTiers(b *testing.B, f func(b *testing.B)) {
	was := kernels.Tier()
	defer kernels.SetTier(was)
	for _, tier := range kernels.Tiers() {
		if tier == "portable" {
			continue
		}
		b.Run("tier="+tier, func(b *testing.B) {
			if err := kernels.SetTier(tier); err != nil {
				b.Fatal(err)
			}
			f(b)
		})
	}
}

// BenchmarkCell runs one cell: a step at a time, or a sequence.
func BenchmarkCell(b *testing.B) {
	r := random{rand.New(rand.NewPCG(1, 20))}
	for _, c := range []struct {
		kind       format.Kind
		in, hidden int
	}{
		{format.LSTM, 6, 32}, {format.LSTM, 6, 64}, {format.LSTM, 32, 128}, {format.LSTM, 64, 256}, {format.LSTM, 256, 512},
		{format.GRU, 6, 32}, {format.GRU, 6, 64}, {format.GRU, 32, 128}, {format.GRU, 64, 256},
	} {
		g := &quant.Graph{Input: format.Input{Rate: 50, Channels: channels(c.in)}, Output: 1,
			Values: []format.Value{{Width: c.in, PerStep: true}, {Width: c.hidden, PerStep: true}}}
		g.Ops = append(g.Ops, r.cellOp(c.kind, 0, format.Ref{Width: c.in}, format.Ref{Value: 1, Width: c.hidden}))
		const steps = 100
		x := r.vector(steps*c.in, 1)
		y := make([]float32, steps*c.hidden)
		for _, scheme := range []format.Scheme{format.W8A8, format.W8A16, format.F32} {
			f, err := quant.Build(g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
			if err != nil {
				b.Fatal(err)
			}
			m, err := runtime.New(f)
			if err != nil {
				b.Fatal(err)
			}
			s := m.NewSession()
			b.Run(fmt.Sprintf("%v/%d-%d/%v", c.kind, c.in, c.hidden, scheme), func(b *testing.B) {
				b.Run("step", func(b *testing.B) {
					benchTiers(b, func(b *testing.B) { fastest(b, func() { s.Step(x[:c.in], y[:c.hidden]) }) })
				})
				b.Run("seq100", func(b *testing.B) {
					benchTiers(b, func(b *testing.B) { fastest(b, func() { s.Run(x, y) }) })
				})
			})
		}
	}
}

// BenchmarkBatch compares a session with batches, which take turns: in nanoseconds a step of one stream, the fastest of many calls.
func BenchmarkBatch(b *testing.B) {
	r := random{rand.New(rand.NewPCG(1, 23))}
	for _, kind := range []format.Kind{format.LSTM, format.GRU} {
		for _, size := range [][2]int{{13, 64}, {64, 256}, {256, 512}} {
			in, hidden := size[0], size[1]
			g := &quant.Graph{Input: format.Input{Rate: 50, Channels: channels(in)}, Output: 1,
				Values: []format.Value{{Width: in, PerStep: true}, {Width: hidden, PerStep: true}}}
			g.Ops = append(g.Ops, r.cellOp(kind, 0, format.Ref{Width: in}, format.Ref{Value: 1, Width: hidden}))
			x := r.vector(64*in, 1)
			for _, scheme := range []format.Scheme{format.W8A8, format.W8A16} {
				m := build(b, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
				b.Run(fmt.Sprintf("%v/%d-%d/%v", kind, in, hidden, scheme), func(b *testing.B) {
					benchTiers(b, func(b *testing.B) { batches(b, m, x) })
				})
			}
		}
	}
}

func batches(b *testing.B, m *runtime.Model, x []float32) {
	type contest struct {
		name    string
		streams int
		step    func() error
		best    time.Duration
	}
	y := make([]float32, 64*m.OutputWidth())
	in, out := m.InputWidth(), m.OutputWidth()
	session := m.NewSession()
	cases := []contest{{name: "session", streams: 1, step: func() error { return session.Step(x[:in], y[:out]) }}}
	for _, n := range []int{1, 4, 16, 20, 64} {
		batch, err := m.NewBatch(n)
		if err != nil {
			b.Fatal(err)
		}
		streams := rand.New(rand.NewPCG(1, 24)).Perm(n)
		cases = append(cases, contest{name: fmt.Sprintf("batch%d", n), streams: n,
			step: func() error { return batch.Step(streams, x[:n*in], y[:n*out]) }})
	}
	b.ResetTimer()
	for range b.N {
		for i := range cases {
			c := &cases[i]
			calls := 1 + 64/c.streams
			c.step()
			start := time.Now()
			for range calls {
				if err := c.step(); err != nil {
					b.Fatal(err)
				}
			}
			if d := time.Since(start) / time.Duration(calls); c.best == 0 || d < c.best {
				c.best = d
			}
		}
	}
	for _, c := range cases {
		b.ReportMetric(float64(c.best)/float64(c.streams), c.name+"-ns")
	}
}

// BenchmarkTwoWay is a two-way LSTM with softmax over 60 steps.
func BenchmarkTwoWay(b *testing.B) {
	r := random{rand.New(rand.NewPCG(1, 21))}
	const in, steps = 6, 60
	g := r.network(format.LSTM, 0, in, 100, true, 0)
	x := r.vector(steps*in, 1)
	f, err := quant.Build(g, quant.Options{Scheme: format.W8A8, Calib: [][]float32{x}})
	if err != nil {
		b.Fatal(err)
	}
	m, err := runtime.New(f)
	if err != nil {
		b.Fatal(err)
	}
	s, y := m.NewSession(), make([]float32, steps*m.OutputWidth())
	benchTiers(b, func(b *testing.B) { fastest(b, func() { s.Run(x, y) }) })
}

// BenchmarkOperations runs single operations over 100 points of 64 channels.
func BenchmarkOperations(b *testing.B) {
	r := random{rand.New(rand.NewPCG(1, 22))}
	const ch, points = 64, 100
	line := format.WindowAxis{In: points, Out: points, Kernel: 5, Stride: 1, Dilation: 1, Pad: 2, End: 2}
	plane := []format.WindowAxis{{In: 10, Out: 10, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}, {In: 10, Out: 10, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}}
	x := r.vector(ch*points, 1)
	one := func(s *sketch, kind format.Kind, axes []format.WindowAxis, groups int) {
		w := format.Window{Channels: ch, Groups: groups, Axes: axes}
		s.window(kind, w, ch, s.all(0))
	}
	transposed := make([]int32, ch*points)
	for i := range transposed {
		transposed[i] = int32(i%points*ch + i/points)
	}
	for _, c := range []struct {
		name  string
		build func(s *sketch)
	}{
		{"conv", func(s *sketch) { one(s, format.Conv, []format.WindowAxis{line}, 1) }},
		{"conv2d", func(s *sketch) { one(s, format.Conv, plane, 1) }},
		{"depthwise", func(s *sketch) { one(s, format.Conv, []format.WindowAxis{line}, ch) }},
		{"maxpool", func(s *sketch) { one(s, format.MaxPool, []format.WindowAxis{line}, 1) }},
		{"dense", func(s *sketch) {
			s.add(quant.Op{Kind: format.Dense, Dims: []int32{points}, W: s.vector(ch*ch, 0.1)}, ch*points, s.all(0))
		}},
		{"transpose", func(s *sketch) { s.add(quant.Op{Kind: format.Gather, Index: transposed}, ch*points, s.all(0)) }},
		{"add", func(s *sketch) { s.add(quant.Op{Kind: format.Add}, ch*points, s.all(0), s.all(0)) }},
		{"bias", func(s *sketch) { s.add(quant.Op{Kind: format.Add}, ch*points, s.all(0), part(s.all(0), 0, ch)) }},
		{"div", func(s *sketch) { s.add(quant.Op{Kind: format.Div}, ch*points, s.all(0), s.all(0)) }},
		{"leaky", func(s *sketch) { s.apply(format.LeakyReLU, s.all(0), 0.1) }},
		{"exp", func(s *sketch) { s.apply(format.Exp, s.all(0)) }},
		{"erf", func(s *sketch) { s.apply(format.Erf, s.all(0)) }},
		{"pow", func(s *sketch) { s.add(quant.Op{Kind: format.Pow}, ch*points, s.all(0), part(s.all(0), 0, 1)) }},
		{"softmax", func(s *sketch) { s.add(quant.Op{Kind: format.Softmax, Dims: []int32{ch}}, ch*points, s.all(0)) }},
		{"normalise", func(s *sketch) {
			s.add(quant.Op{Kind: format.Normalise, Dims: []int32{ch}, Params: []float32{1e-5}}, ch*points, s.all(0))
		}},
		{"sum", func(s *sketch) { s.add(quant.Op{Kind: format.Sum, Dims: []int32{ch}}, points, s.all(0)) }},
		{"matmul", func(s *sketch) { // attention: 100 by 64 by 100
			s.add(quant.Op{Kind: format.MatMul, Dims: []int32{1, points, ch, points}}, points*points, s.all(0), s.all(0))
		}},
		{"lstm", func(s *sketch) { s.cell(quant.Op{Kind: format.LSTM, Hidden: 64}, points, s.all(0)) }},
		{"general", func(s *sketch) {
			s.cell(quant.Op{Kind: format.LSTM, Hidden: 64, Acts: []kernels.Activation{kernels.ActHardSigmoid, kernels.ActTanh, kernels.ActTanh},
				ActParams: []float32{0, 0.2, 0.5, 0, 0, 0, 0}}, points, s.all(0))
		}},
	} {
		for _, scheme := range []format.Scheme{format.F32, format.W8A8} {
			s := newSketch(r, ch*points)
			c.build(s)
			s.g.Output = 1
			if scheme != format.F32 && (!s.g.Ops[0].Kind.Products() || c.name == "depthwise") {
				continue
			}
			m := build(b, s.g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
			session, y := m.NewSession(), make([]float32, m.OutputWidth())
			b.Run(fmt.Sprintf("%s/%v", c.name, scheme), func(b *testing.B) {
				fastest(b, func() {
					if err := session.Step(x, y); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}
