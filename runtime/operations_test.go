package runtime_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// sketch is a graph that grows by operations that each write a value of their own.
type sketch struct {
	random
	g *quant.Graph
}

func newSketch(r random, in int) *sketch {
	return &sketch{r, &quant.Graph{Input: format.Input{Channels: channels(in)}, Values: []format.Value{{Width: in, PerStep: true}}}}
}

func (s *sketch) all(v int) format.Ref { return format.Ref{Value: v, Width: s.g.Values[v].Width} }

// value adds one.
func (s *sketch) value(width int, perStep bool) format.Ref {
	s.g.Values = append(s.g.Values, format.Value{Width: width, PerStep: perStep})
	return s.all(len(s.g.Values) - 1)
}

// add puts op at the end; without inputs it is per step.
func (s *sketch) add(op quant.Op, width int, in ...format.Ref) format.Ref {
	op.In, op.Out = in, s.value(width, len(in) == 0 || s.g.Values[in[0].Value].PerStep && !op.Kind.Pooling())
	op.Name = fmt.Sprintf("%v%d", op.Kind, len(s.g.Ops))
	s.g.Ops = append(s.g.Ops, op)
	return op.Out
}

// apply is add for operations that write as much as they read.
func (s *sketch) apply(kind format.Kind, in format.Ref, params ...float32) format.Ref {
	return s.add(quant.Op{Kind: kind, Params: params}, in.Width, in)
}

func part(r format.Ref, offset, width int) format.Ref {
	return format.Ref{Value: r.Value, Offset: r.Offset + offset, Width: width}
}

// concat puts channels side by side.
func (s *sketch) concat(in ...format.Ref) format.Ref {
	var index []int32
	for _, r := range in {
		for range r.Width {
			index = append(index, int32(len(index)))
		}
	}
	return s.add(quant.Op{Kind: format.Gather, Index: index}, len(index), in...)
}

// cell adds a recurrent operation; blocks of 0 is along the steps of the session.
func (s *sketch) cell(op quant.Op, blocks int, in ...format.Ref) format.Ref {
	x, total := in[0], op.Hidden
	if blocks > 0 {
		op.Dims = []int32{int32(blocks)}
		x.Width /= blocks
		total *= blocks
	}
	if op.Flags&format.FlagCell != 0 {
		total += op.Hidden
	}
	full := s.cellOp(op.Kind, op.Flags, x, format.Ref{Width: op.Hidden})
	full.Dims, full.Acts, full.ActParams, full.CellClip = op.Dims, op.Acts, op.ActParams, op.CellClip
	return s.add(full, total, in...)
}

// convolution adds one with its window's pooling of the same channels.
func (s *sketch) window(kind format.Kind, w format.Window, outputs int, in format.Ref) format.Ref {
	op := quant.Op{Kind: kind, Dims: w.Dims()}
	_, points, kernel := w.Points()
	if kind == format.Conv {
		n := kernel * w.Channels / w.Groups
		op.W, op.B = s.vector(outputs*n, 1/math.Sqrt(float64(n))), s.vector(outputs, 0.3)
	}
	return s.add(op, points*outputs, in)
}

// everything uses each kind of operation. Its output is per step, or pooled over time and then used further.
func everything(r random, pooled bool) *quant.Graph {
	s := newSketch(r, 12)
	x := s.all(0)
	memory := s.add(quant.Op{Kind: format.Recall, H0: s.vector(6, 0.5)}, 6)
	scaled := s.add(quant.Op{Kind: format.Affine, Scale: s.vector(12, 1), Shift: s.vector(12, 0.1)}, 12, x)
	side := s.concat(part(x, 0, 6), memory)

	outs := s.functions(scaled, x)
	outs = append(outs, s.windows(side)...)
	outs = append(outs, s.cells(side, memory)...)
	products := s.add(quant.Op{Kind: format.Dense, Dims: []int32{3}, W: s.vector(5*4, 0.5), B: s.vector(5, 0.3)}, 15, side)
	outs = append(outs, products, s.add(quant.Op{Kind: format.MatMul, Dims: []int32{2, 1, 3, 2}}, 4, part(scaled, 0, 6), side))
	shuffled := s.add(quant.Op{Kind: format.Gather, Index: []int32{17, 3, 4, 5, 0, 14, 15, 16, 11, 12}}, 10, memory, side)
	outs = append(outs, shuffled)

	next := s.apply(format.Tanh, s.add(quant.Op{Kind: format.Dense, W: s.vector(6*25, 0.2)}, 6, s.concat(products, shuffled)))
	s.g.Ops = append(s.g.Ops, quant.Op{Kind: format.Store, Name: "store", In: []format.Ref{next}, Out: memory})

	out := s.concat(outs...)
	if pooled {
		out = s.overTime(out)
	}
	s.g.Output = out.Value
	return s.g
}

// functions are the operations channel by channel and on neighbours.
func (s *sketch) functions(a, b format.Ref) (outs []format.Ref) {
	for _, k := range []format.Kind{format.Sigmoid, format.Tanh, format.ReLU, format.Exp, format.Abs, format.Round, format.Floor, format.Erf,
		format.Softplus, format.Softsign} {
		outs = append(outs, s.apply(k, a))
	}
	positive := s.add(quant.Op{Kind: format.Add}, 12, outs[3], s.add(quant.Op{Kind: format.Const, B: []float32{0.5, 0.25}}, 2))
	outs = append(outs, s.apply(format.Log, positive), s.apply(format.Sqrt, positive), s.apply(format.Clip, a, -0.5, 0.75), s.apply(format.ELU, a, 1.3),
		s.apply(format.LeakyReLU, a, 0.1), s.apply(format.ThresholdedReLU, a, 0.4), s.apply(format.HardSigmoid, a, 0.2, 0.5))
	few := part(b, 2, 3)
	for _, k := range []format.Kind{format.Add, format.Sub, format.Mul, format.Minimum, format.Maximum, format.Less} {
		outs = append(outs, s.add(quant.Op{Kind: k}, 12, a, b), s.add(quant.Op{Kind: k}, 12, few, a), s.add(quant.Op{Kind: k}, 6, few, part(a, 0, 2)))
	}
	outs = append(outs, s.add(quant.Op{Kind: format.Div}, 12, a, positive), s.add(quant.Op{Kind: format.Pow}, 12, positive, few),
		s.add(quant.Op{Kind: format.Equal}, 12, outs[5], s.apply(format.Round, b)))
	outs = append(outs, s.add(quant.Op{Kind: format.Select}, 12, outs[5], part(a, 0, 4), b))
	for _, k := range []format.Kind{format.Sum, format.Product, format.Lowest, format.Highest} {
		outs = append(outs, s.add(quant.Op{Kind: k, Dims: []int32{4}}, 3, a))
	}
	for _, k := range []format.Kind{format.Softmax, format.LogSoftmax} {
		outs = append(outs, s.apply(k, a), s.add(quant.Op{Kind: k, Dims: []int32{3}}, 12, a))
	}
	return append(outs, s.add(quant.Op{Kind: format.Normalise, Dims: []int32{6}, Params: []float32{1e-3}}, 12, a))
}

// windows are convolutions and poolings of 12 channels.
func (s *sketch) windows(x format.Ref) (outs []format.Ref) {
	line := format.WindowAxis{In: 6, Out: 6, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}
	plane := []format.WindowAxis{{In: 2, Out: 2, Kernel: 2, Stride: 1, Dilation: 1, End: 1}, {In: 3, Out: 2, Kernel: 2, Stride: 1, Dilation: 1}}
	for _, w := range []format.Window{
		{Channels: 2, Groups: 1, Axes: []format.WindowAxis{line}},
		{Channels: 2, Groups: 2, Axes: []format.WindowAxis{line}},
		{Channels: 2, Groups: 1, Axes: []format.WindowAxis{{In: 6, Out: 2, Kernel: 2, Stride: 3, Dilation: 2}}},
		{Channels: 2, Groups: 1, Axes: plane},
	} {
		outs = append(outs, s.window(format.Conv, w, 4, x))
		w.Groups = 1
		outs = append(outs, s.window(format.MaxPool, w, w.Channels, x), s.window(format.MeanPool, w, w.Channels, x))
		w.CountPadding = true
		outs = append(outs, s.window(format.MeanPool, w, w.Channels, x))
	}
	return outs
}

// cells are recurrent operations over 12 channels, some from the 6 of memory on.
func (s *sketch) cells(x, memory format.Ref) []format.Ref {
	acts := func(a ...kernels.Activation) []kernels.Activation { return a }
	other := []float32{0.9, 0.2, 0.5, 1.2, 0.7, 0.3, 0.1}
	h, c := part(memory, 0, 5), part(memory, 1, 5)
	return []format.Ref{
		s.cell(quant.Op{Kind: format.LSTM, Flags: format.FlagCell, Hidden: 5}, 0, x),
		s.cell(quant.Op{Kind: format.LSTM, Flags: format.FlagCoupled, Hidden: 4, Acts: acts(kernels.ActHardSigmoid, kernels.ActScaledTanh, kernels.ActELU),
			ActParams: other}, 0, x),
		s.cell(quant.Op{Kind: format.LSTM, Hidden: 5, CellClip: 0.3}, 0, x),
		s.cell(quant.Op{Kind: format.LSTM, Flags: format.FlagCell | format.FlagReverse, Hidden: 5}, 4, x, h, c),
		s.cell(quant.Op{Kind: format.LSTM, Hidden: 4}, 3, x),
		s.cell(quant.Op{Kind: format.GRU, Hidden: 5}, 2, x, h),
		s.cell(quant.Op{Kind: format.GRU, Flags: format.FlagResetBefore, Hidden: 5}, 0, x),
		s.cell(quant.Op{Kind: format.GRU, Flags: format.FlagResetBefore | format.FlagReverse, Hidden: 5, Acts: acts(kernels.ActHardSigmoid, kernels.ActSoftsign),
			ActParams: other[:5]}, 3, x, h),
		s.cell(quant.Op{Kind: format.RNN, Hidden: 5, Acts: acts(kernels.ActScaledTanh), ActParams: other[:3]}, 0, x),
		s.cell(quant.Op{Kind: format.RNN, Flags: format.FlagReLU, Hidden: 5}, 2, x, h),
	}
}

// overTime pools over the steps and goes on with what that gives.
func (s *sketch) overTime(x format.Ref) format.Ref {
	var pooled []format.Ref
	for _, k := range []format.Kind{format.Last, format.First, format.Mean, format.Max} {
		pooled = append(pooled, s.add(quant.Op{Kind: k}, x.Width, x))
	}
	offset := s.value(2, false)
	s.g.Ops = append(s.g.Ops, quant.Op{Kind: format.Const, Name: "offset", Out: offset, B: []float32{0.1, -0.2}})
	y := s.concat(part(pooled[0], 0, 12), part(pooled[1], 5, 12), part(pooled[2], 9, 12), part(pooled[3], 3, 12), offset)
	steps := s.cell(quant.Op{Kind: format.GRU, Hidden: 4}, 5, y)
	return s.concat(append(pooled, y, steps)...)
}

// TestEverything holds each operation of a model that uses all kinds against float64, given what the operations before put out.
func TestEverything(t *testing.T) {
	for _, pooled := range []bool{false, true} {
		for seed := range uint64(3) {
			r := random{rand.New(rand.NewPCG(seed, 30))}
			g := everything(r, pooled)
			checkOperations(t, g, r.vector(12*20, 1))
		}
	}
	used := map[format.Kind]bool{}
	for _, op := range everything(random{rand.New(rand.NewPCG(0, 30))}, true).Ops {
		used[op.Kind] = true
	}
	for k := format.Affine; k.String() != fmt.Sprintf("kind(%d)", k); k++ {
		if !used[k] {
			t.Errorf("%v is not tried", k)
		}
	}
}

func checkOperations(t *testing.T, g *quant.Graph, x []float32) {
	t.Helper()
	v := newValues(g, x)
	stored := map[format.Ref][][]float64{}
	written := observe(t, build(t, g, quant.Options{}), x)
	for i := range g.Ops {
		op := &g.Ops[i]
		switch op.Kind {
		case format.Recall:
			stored[op.Out] = written[i]
		case format.Store:
			for step, want := range v.inputs(op)[0][:len(stored[op.Out])-1] {
				if got := stored[op.Out][step+1]; !slices.Equal(got, want) {
					t.Fatalf("step %d recalls %v, stored was %v", step+1, got, want)
				}
			}
			continue
		default:
			compareRows(t, op, written[i], evaluateOp(op, v.inputs(op)))
		}
		v.write(op.Out, written[i])
	}
}

// observe runs a sequence and returns what each operation wrote, by step.
func observe(t *testing.T, m *runtime.Model, x []float32) [][][]float64 {
	t.Helper()
	f := m.File()
	written := make([][][]float64, len(f.Ops))
	s := m.NewSession()
	s.SetTap(func(i, _, n int, y []float32) {
		if !f.Values[f.Ops[i].Out.Value].PerStep {
			written[i] = nil
		}
		for row := range slices.Chunk(y, len(y)/n) {
			wide := make([]float64, len(row))
			for k, v := range row {
				wide[k] = float64(v)
			}
			written[i] = append(written[i], wide)
		}
	})
	rows := 1
	if m.PerStep() {
		rows = len(x) / m.InputWidth()
	}
	if err := s.Run(x, make([]float32, rows*m.OutputWidth())); err != nil {
		t.Fatal(err)
	}
	return written
}

func compareRows(t *testing.T, op *quant.Op, got, want [][]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d steps, want %d", op.Name, len(got), len(want))
	}
	for step := range want {
		for k, w := range want[step] {
			if d := math.Abs(got[step][k] - w); !(d <= 1e-5*math.Max(1, math.Abs(w))) {
				t.Fatalf("%s: step %d, channel %d is %v, want %v", op.Name, step, k, got[step][k], w)
			}
		}
	}
}

// TestManyBlocks has more steps or products in one than go through the weights together.
func TestManyBlocks(t *testing.T) {
	r := random{rand.New(rand.NewPCG(4, 31))}
	for _, n := range []int{15, 16, 17, 37} {
		s := newSketch(r, 3*n)
		x := s.all(0)
		outs := []format.Ref{s.add(quant.Op{Kind: format.Dense, Dims: []int32{int32(n)}, W: s.vector(4*3, 0.5), B: s.vector(4, 0.3)}, 4*n, x)}
		for _, op := range []quant.Op{{Kind: format.LSTM, Flags: format.FlagReverse | format.FlagCell}, {Kind: format.GRU},
			{Kind: format.GRU, Flags: format.FlagResetBefore | format.FlagReverse}, {Kind: format.RNN, Flags: format.FlagReverse}} {
			op.Hidden = 3
			outs = append(outs, s.cell(op, n, x))
		}
		s.g.Output = s.concat(outs...).Value
		checkOperations(t, s.g, r.vector(2*3*n, 1))
	}
}

// TestWindows tries windows of one to three axes at random, with what lies beyond their input on all sides.
func TestWindows(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 31))}
	for range 400 {
		w := format.Window{Channels: 1 + r.IntN(6), Groups: 1, CountPadding: r.IntN(2) == 0}
		for range 1 + r.IntN(3) {
			a := format.WindowAxis{In: 1 + r.IntN(7), Kernel: 1 + r.IntN(4), Stride: 1 + r.IntN(3), Dilation: 1 + r.IntN(3), Pad: r.IntN(6), End: r.IntN(4)}
			a.Out = 1 + r.IntN(5)
			w.Axes = append(w.Axes, a)
		}
		in, _, _ := w.Points()
		s := newSketch(r, in*w.Channels)
		mean := s.window(format.MeanPool, w, w.Channels, s.all(0))
		w.CountPadding = false
		outs := []format.Ref{mean, s.window(format.MeanPool, w, w.Channels, s.all(0)), s.window(format.MaxPool, w, w.Channels, s.all(0)),
			s.window(format.Conv, w, 1+r.IntN(40), s.all(0))}
		if w.Channels%2 == 0 {
			w.Groups = 2 + r.IntN(2)*(w.Channels-2)
			outs = append(outs, s.window(format.Conv, w, w.Groups*(1+r.IntN(3)), s.all(0)))
		}
		s.g.Output = s.concat(outs...).Value
		checkOperations(t, s.g, r.vector(3*in*w.Channels, 1))
	}
}

// TestConvSchemes compares int8 convolutions with float, patches and points that are used where they lie.
func TestConvSchemes(t *testing.T) {
	r := random{rand.New(rand.NewPCG(2, 31))}
	for _, axes := range [][]format.WindowAxis{
		{{In: 40, Out: 40, Kernel: 5, Stride: 1, Dilation: 1, Pad: 2, End: 2}},
		{{In: 40, Out: 18, Kernel: 5, Stride: 2, Dilation: 1}},
		{{In: 40, Out: 36, Kernel: 3, Stride: 1, Dilation: 2}},
		{{In: 6, Out: 6, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}, {In: 8, Out: 8, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}},
	} {
		w := format.Window{Channels: 8, Groups: 1, Axes: axes}
		in, _, _ := w.Points()
		s := newSketch(r, in*8)
		s.g.Output = s.window(format.Conv, w, 16, s.all(0)).Value
		x := r.vector(3*in*8, 1)
		want := evaluate(s.g, x)
		for scheme, least := range map[format.Scheme]float64{format.F32: 120, format.W8A16: 38, format.W8A8: 32} {
			y := run(t, build(t, s.g, quant.Options{Scheme: scheme, Calib: [][]float32{x}}), x)
			var signal, noise float64
			for i, v := range want {
				signal += v * v
				noise += (float64(y[i]) - v) * (float64(y[i]) - v)
			}
			if sqnr := 10 * math.Log10(signal/noise); !(sqnr >= least) {
				t.Errorf("%v, %d axes: SQNR %.1f dB, want %v", scheme, len(axes), sqnr, least)
			}
		}
	}
}

func modelsOfEverything(t *testing.T, seed uint64) (ms []*runtime.Model, x []float32) {
	r := random{rand.New(rand.NewPCG(seed, 32))}
	x = r.vector(12*40, 1)
	for _, pooled := range []bool{false, true} {
		g := everything(r, pooled)
		for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
			ms = append(ms, build(t, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}}))
		}
	}
	return ms, x
}

// TestEverythingSteps steps through what Run takes at once, in two sessions: the second one starts from the saved state of the first.
func TestEverythingSteps(t *testing.T) {
	ms, x := modelsOfEverything(t, 1)
	for _, m := range ms {
		want := run(t, m, x)
		s, w := m.NewSession(), m.OutputWidth()
		y := make([]float32, w)
		saved := make([]byte, s.StateSize())
		var got []float32
		for k := range 40 {
			if k == 17 {
				if err := s.Save(saved); err != nil {
					t.Fatal(err)
				}
				s = m.NewSession()
				if err := s.Restore(saved); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Step(x[k*12:][:12], y); err != nil {
				t.Fatal(err)
			}
			if m.PerStep() {
				got = append(got, y...)
			} else {
				got = y
			}
		}
		for k := range want {
			if math.Float32bits(got[k]) != math.Float32bits(want[k]) {
				t.Fatalf("output %d is %v by Step, %v by Run", k, got[k], want[k])
			}
		}
		s.Reset()
		again := make([]byte, s.StateSize())
		fresh := make([]byte, s.StateSize())
		s.Save(again)
		m.NewSession().Save(fresh)
		if !bytes.Equal(again, fresh) {
			t.Error("Reset leaves another state than a new session has")
		}
	}
}

// TestRunGoesOn runs a sequence in parts, which share steps of a block differently.
func TestRunGoesOn(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 32))}
	s := newSketch(r, 12)
	outs := s.cells(s.all(0), part(s.all(0), 0, 6))
	s.g.Output = s.concat(append(outs, s.windows(s.all(0))...)...).Value
	x := r.vector(12*50, 1)
	m := build(t, s.g, quant.Options{Scheme: format.W8A8, Calib: [][]float32{x}})
	want := run(t, m, x)
	session, w := m.NewSession(), m.OutputWidth()
	var got []float32
	for from := 0; from < 50; {
		n := min(1+r.IntN(20), 50-from)
		y := make([]float32, n*w)
		if err := session.Run(x[from*12:][:n*12], y); err != nil {
			t.Fatal(err)
		}
		got = append(got, y...)
		from += n
	}
	for k := range want {
		if math.Float32bits(got[k]) != math.Float32bits(want[k]) {
			t.Fatalf("output %d is %v in parts, %v at once", k, got[k], want[k])
		}
	}
}

func TestEverythingAllocatesNothing(t *testing.T) {
	ms, x := modelsOfEverything(t, 2)
	for _, m := range ms {
		s, n := m.NewSession(), 1
		if m.PerStep() {
			n = 40
		}
		y := make([]float32, n*m.OutputWidth())
		saved := make([]byte, s.StateSize())
		if a := testing.AllocsPerRun(3, func() {
			if s.Run(x, y) != nil || s.Step(x[:12], y[:m.OutputWidth()]) != nil || s.Save(saved) != nil || s.Restore(saved) != nil {
				t.Fatal("it does not run")
			}
			s.Reset()
		}); a != 0 {
			t.Errorf("%v allocations", a)
		}
	}
}
