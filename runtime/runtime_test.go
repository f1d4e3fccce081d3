package runtime_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

type random struct{ *rand.Rand }

func (r random) vector(n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

// cellOp is a recurrent operation with random weights.
func (r random) cellOp(kind format.Kind, flags format.Flags, in, out format.Ref) quant.Op {
	gates := map[format.Kind]int{format.LSTM: 4, format.GRU: 3, format.RNN: 1}[kind]
	h, i := out.Width, in.Width
	op := quant.Op{Kind: kind, Flags: flags, Name: fmt.Sprintf("%v%d", kind, flags), Hidden: h, In: []format.Ref{in}, Out: out,
		W: r.vector(gates*h*i, 1/math.Sqrt(float64(i))), U: r.vector(gates*h*h, 1/math.Sqrt(float64(h))), B: r.vector(gates*h, 0.3),
		H0: r.vector(h, 0.3)}
	if flags&format.FlagReLU != 0 { // or it diverges
		for i := range op.U {
			op.U[i] *= 0.3
		}
	}
	if kind == format.GRU && flags&format.FlagResetBefore == 0 {
		op.BH = r.vector(gates*h, 0.3)
	}
	if kind == format.LSTM {
		op.C0 = r.vector(h, 0.3)
		if h%2 == 1 {
			op.Peep = r.vector(3*h, 0.3)
		}
	}
	return op
}

func channels(n int) []format.Channel {
	c := make([]format.Channel, n)
	for i := range c {
		c[i].Name = fmt.Sprintf("x%d", i)
	}
	return c
}

// network is affine, the cell (both ways if twoWay), a dense layer and softmax, over time pooled by pool unless that is 0.
func (r random) network(kind format.Kind, flags format.Flags, in, hidden int, twoWay bool, pool format.Kind) *quant.Graph {
	const classes = 5
	width := hidden
	if twoWay {
		width *= 2
	}
	perStep := pool == 0
	g := &quant.Graph{Input: format.Input{Rate: 50, Channels: channels(in)}, Labels: []string{"a", "b", "c", "d", "e"},
		Meta:   []format.Pair{{Key: "name", Value: "test"}},
		Values: []format.Value{{Width: in, PerStep: true}, {Width: in, PerStep: true}, {Width: width, PerStep: true}}}
	all := func(v int) format.Ref { return format.Ref{Value: v, Width: g.Values[v].Width} }
	g.Ops = append(g.Ops, quant.Op{Kind: format.Affine, Name: "normalise", In: []format.Ref{all(0)}, Out: all(1), Scale: r.vector(in, 1), Shift: r.vector(in, 0.1)},
		r.cellOp(kind, flags, all(1), format.Ref{Value: 2, Width: hidden}))
	if twoWay {
		g.Ops = append(g.Ops, r.cellOp(kind, flags|format.FlagReverse, all(1), format.Ref{Value: 2, Offset: hidden, Width: hidden}))
	}
	last := 2
	if pool != 0 {
		g.Values = append(g.Values, format.Value{Width: width})
		last = len(g.Values) - 1
		g.Ops = append(g.Ops, quant.Op{Kind: pool, Name: "pool", In: []format.Ref{all(2)}, Out: all(last)})
	}
	g.Values = append(g.Values, format.Value{Width: classes, PerStep: perStep})
	g.Output = len(g.Values) - 1
	g.Ops = append(g.Ops,
		quant.Op{Kind: format.Dense, Name: "logits", In: []format.Ref{all(last)}, Out: all(g.Output), W: r.vector(classes*width, 1), B: r.vector(classes, 0.2)},
		quant.Op{Kind: format.Softmax, Name: "softmax", In: []format.Ref{all(g.Output)}, Out: all(g.Output)})
	return g
}

type variant struct {
	kind   format.Kind
	flags  format.Flags
	hidden int
	twoWay bool
	pool   format.Kind
}

func (v variant) String() string {
	return fmt.Sprintf("%v/flags=%d/hidden=%d/twoWay=%v/pool=%v", v.kind, v.flags, v.hidden, v.twoWay, v.pool)
}

func variants() (vs []variant) {
	for _, c := range []variant{{kind: format.LSTM}, {kind: format.GRU}, {kind: format.GRU, flags: format.FlagResetBefore},
		{kind: format.RNN}, {kind: format.RNN, flags: format.FlagReLU}} {
		for _, h := range []int{1, 12, 19, 32} {
			for _, two := range []bool{false, true} {
				for _, p := range []format.Kind{0, format.Last, format.First, format.Mean, format.Max} {
					c.hidden, c.twoWay, c.pool = h, two, p
					vs = append(vs, c)
				}
			}
		}
	}
	return vs
}

func build(t testing.TB, g *quant.Graph, o quant.Options) *runtime.Model {
	t.Helper()
	f, err := quant.Build(g, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func run(t *testing.T, m *runtime.Model, x []float32) []float32 {
	t.Helper()
	n := 1
	if m.PerStep() {
		n = len(x) / m.InputWidth()
	}
	y := make([]float32, n*m.OutputWidth())
	if err := m.NewSession().Run(x, y); err != nil {
		t.Fatal(err)
	}
	return y
}

// TestAgainstFloat64 holds every cell, direction and pooling against a float64 evaluation of the graph, in each scheme.
func TestAgainstFloat64(t *testing.T) {
	const in, steps = 6, 37
	for i, v := range variants() {
		t.Run(v.String(), func(t *testing.T) {
			r := random{rand.New(rand.NewPCG(uint64(i), 7))}
			g := r.network(v.kind, v.flags, in, v.hidden, v.twoWay, v.pool)
			x := r.vector(in*steps, 1)
			want := evaluate(g, x)
			for scheme, tolerance := range map[format.Scheme]float64{format.F32: 1e-5, format.W8A16: 0.15, format.W8A8: 0.25} {
				o := quant.Options{Scheme: scheme, Calib: [][]float32{x}}
				y := run(t, build(t, g, o), x)
				if len(y) != len(want) {
					t.Fatalf("%v: %d values, want %d", scheme, len(y), len(want))
				}
				var mean float64
				for k := range y {
					d := math.Abs(float64(y[k]) - want[k])
					if !(d <= tolerance) {
						t.Fatalf("%v: output %d is %v, want %v", scheme, k, y[k], want[k])
					}
					mean += d / float64(len(y))
				}
				if scheme != format.F32 && !(mean < 0.04) {
					t.Fatalf("%v: mean error %v", scheme, mean)
				}
			}
		})
	}
}

// TestCellClip lets the cell state grow for many steps, and then decay, by a limit where tanh has an effect and one where it has none.
func TestCellClip(t *testing.T) {
	const in, steps = 3, 60
	x := slices.Concat(slices.Repeat([]float32{2, -2, 1}, steps/2), slices.Repeat([]float32{-2, 2, -1}, steps/2))
	for _, hidden := range []int{19, 32} { // with and without peepholes
		r := random{rand.New(rand.NewPCG(4, 7))}
		g := r.network(format.LSTM, 0, in, hidden, false, 0)
		cell := &g.Ops[1]
		for u := range hidden { // open input and forget gates
			cell.B[u], cell.B[hidden+u] = 4, 5
		}
		free := evaluate(g, x)
		for _, limit := range []float32{0.5, 9} {
			cell.CellClip = limit
			want := evaluate(g, x)
			if slices.Equal(want, free) {
				t.Errorf("the limit %v has no effect: the test shows nothing", limit)
			}
			for k, y := range run(t, build(t, g, quant.Options{}), x) {
				if d := math.Abs(float64(y) - want[k]); !(d <= 1e-5) {
					t.Fatalf("%d units, limit %v: output %d is %v, want %v", hidden, limit, k, y, want[k])
				}
			}
		}
	}
}

func TestStepEqualsRun(t *testing.T) {
	const in, steps = 6, 53
	for i, v := range variants() {
		if v.twoWay {
			continue
		}
		r := random{rand.New(rand.NewPCG(uint64(i), 8))}
		g := r.network(v.kind, v.flags, in, v.hidden, v.twoWay, v.pool)
		x := r.vector(in*steps, 1)
		for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
			m := build(t, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
			want := run(t, m, x)
			s := m.NewSession()
			var got []float32
			y := make([]float32, m.OutputWidth())
			saved := make([]byte, s.StateSize())
			for k := range steps {
				if k == 20 { // carry on in another session
					if err := s.Save(saved); err != nil {
						t.Fatal(err)
					}
					s = m.NewSession()
					if err := s.Restore(saved); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Step(x[k*in:][:in], y); err != nil {
					t.Fatal(err)
				}
				if v.pool == 0 {
					got = append(got, y...)
				}
			}
			if v.pool != 0 {
				got = y
			}
			for k := range want {
				if math.Float32bits(got[k]) != math.Float32bits(want[k]) {
					t.Fatalf("%v %v: output %d is %v by Step, %v by Run", v, scheme, k, got[k], want[k])
				}
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 9))}
	const in, steps = 6, 40
	x := r.vector(in*steps, 1)
	for _, v := range variants() {
		if v.hidden != 19 {
			continue
		}
		g := r.network(v.kind, v.flags, in, v.hidden, v.twoWay, v.pool)
		for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
			m := build(t, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
			s := m.NewSession()
			n := 1
			if m.PerStep() {
				n = steps
			}
			y := make([]float32, n*m.OutputWidth())
			saved := make([]byte, s.StateSize())
			if a := testing.AllocsPerRun(5, func() {
				if err := s.Run(x, y); err != nil {
					t.Fatal(err)
				}
				if !v.twoWay {
					if err := s.Step(x[:in], y[:m.OutputWidth()]); err != nil {
						t.Fatal(err)
					}
				}
				s.Save(saved)
				s.Restore(saved)
				s.Reset()
			}); a != 0 {
				t.Errorf("%v %v: %v allocations", v, scheme, a)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	r := random{rand.New(rand.NewPCG(2, 9))}
	one := build(t, r.network(format.GRU, 0, 3, 8, false, 0), quant.Options{})
	two := build(t, r.network(format.GRU, 0, 3, 8, true, 0), quant.Options{})
	x, y := make([]float32, 3), make([]float32, 5)
	if err := two.NewSession().Step(x, y); err != runtime.ErrTwoWay {
		t.Errorf("Step of a two-way model: %v", err)
	}
	s := one.NewSession()
	before := make([]byte, s.StateSize())
	s.Save(before)
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for name, err := range map[string]error{
		"short x":      s.Step(x[:2], y),
		"short y":      s.Step(x, y[:4]),
		"NaN":          s.Step([]float32{0, nan, 0}, y),
		"infinity":     s.Step([]float32{0, 0, inf}, y),
		"empty run":    s.Run(nil, nil),
		"ragged run":   s.Run(make([]float32, 7), make([]float32, 10)),
		"run y":        s.Run(make([]float32, 6), make([]float32, 5)),
		"NaN in run":   s.Run([]float32{0, 0, 0, nan, 0, 0}, make([]float32, 10)),
		"short save":   s.Save(before[1:]),
		"short state":  s.Restore(before[1:]),
		"other model":  s.Restore(make([]byte, len(before))),
		"NaN in state": s.Restore(append(append([]byte{}, before[:len(before)-4]...), 0, 0, 0xc0, 0x7f)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := s.Step([]float32{0, nan, 0}, y); err == nil || !strings.Contains(err.Error(), "feature 1 (x1) is NaN") {
		t.Errorf("NaN: %v", err)
	}
	after := make([]byte, s.StateSize())
	s.Save(after)
	if !bytes.Equal(before, after) {
		t.Error("an error changed the state")
	}
}

func TestOpenMapped(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 9))}
	f, err := quant.Build(r.network(format.LSTM, 0, 6, 19, false, 0), quant.Options{Scheme: format.W8A8, Range: 3})
	if err != nil {
		t.Fatal(err)
	}
	b, err := format.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "net.recur")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := runtime.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := runtime.Load(append([]byte{0}, b...)[1:]) // not aligned
	if err != nil {
		t.Fatal(err)
	}
	x := r.vector(6*20, 1)
	got, want := run(t, m, x), run(t, mem, x)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("output %d: %v mapped, %v loaded", i, got[i], want[i])
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Open(path, runtime.MaxBytes(int64(len(b)-1))); err == nil {
		t.Error("a file over the limit was opened")
	}
	if _, err := runtime.Open(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("an absent file was opened")
	}
}
