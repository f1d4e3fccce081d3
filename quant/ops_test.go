package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// chain is a graph of operations in a row, each over all of the value before unless it says otherwise.
func chain(in int, ops ...Op) *Graph {
	g := &Graph{Input: format.Input{Channels: make([]format.Channel, in)}, Values: []format.Value{{Width: in, PerStep: true}}}
	for i, op := range ops {
		if op.In == nil {
			op.In = []format.Ref{{Value: i, Width: g.Values[i].Width}}
		}
		if op.Out.Width == 0 {
			op.Out.Width = op.In[0].Width
		}
		op.Out.Value = i + 1
		g.Values = append(g.Values, format.Value{Width: op.Out.Width, PerStep: true})
		g.Ops = append(g.Ops, op)
	}
	g.Output = len(ops)
	return g
}

func wide(n int) format.Ref { return format.Ref{Width: n} }

// reach is the magnitude that the largest integer of a scheme stands for, by column.
func reach(t *testing.T, g *Graph, o Options, op int, role format.Role) []float32 {
	t.Helper()
	f, err := Build(g, o)
	if err != nil {
		t.Fatal(err)
	}
	var r []float32
	for _, v := range f.Arg(&f.Ops[op], role).F32 {
		r = append(r, levels(f.Ops[op].Scheme)/v)
	}
	return r
}

// loud are sequences in which channel k of so many is k+1 times as loud as the first.
func loud(rng *rand.Rand, channels, n int) [][]float32 {
	var seqs [][]float32
	for range 4 {
		x := gaussian(rng, channels*n, 1)
		for i := range x {
			x[i] *= float32(i%channels + 1)
		}
		seqs = append(seqs, x)
	}
	return seqs
}

// TestRangesWithinBlocks takes the range of a channel from all points, blocks or steps at which a matrix meets it.
func TestRangesWithinBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 1))
	const channels, points = 3, 8
	w := format.Window{Channels: channels, Groups: 1, Axes: []format.WindowAxis{{In: points, Out: points, Kernel: 5, Stride: 1, Dilation: 1, Pad: 2, End: 2}}}
	dims := []int32{points}
	for name, c := range map[string]struct {
		op      Op
		columns int
	}{
		"conv":  {Op{Kind: format.Conv, Dims: w.Dims(), Out: wide(4 * points), W: gaussian(rng, 4*5*channels, 1)}, 5 * channels},
		"dense": {Op{Kind: format.Dense, Dims: dims, Out: wide(4 * points), W: gaussian(rng, 4*channels, 1)}, channels},
		"cell":  {Op{Kind: format.RNN, Dims: dims, Hidden: 4, Out: wide(4 * points), W: gaussian(rng, 4*channels, 1), U: gaussian(rng, 16, 1)}, channels},
	} {
		calib := loud(rng, channels, points*50)
		calib[1][channels*points*20+channels*3+1] = 40 // once, at one point
		got := reach(t, chain(channels*points, c.op), Options{Scheme: format.W8A8, Calib: calib}, 0, format.RoleXInv)
		if len(got) != c.columns {
			t.Fatalf("%s: %d columns, want %d", name, len(got), c.columns)
		}
		seen := make([]float32, channels)
		for _, x := range calib {
			widen(seen, x)
		}
		for i, r := range got {
			if least := seen[i%channels]; !(r >= least*0.9999 && r <= 2.0001*least) || r != got[i%channels] {
				t.Errorf("%s: column %d reaches %v, want %v or somewhat more, as at all points", name, i, r, least)
			}
		}
	}
}

// TestRangeOfStates takes the range of a hidden state that has no bound of its own from what it starts from, too.
func TestRangeOfStates(t *testing.T) {
	rng := rand.New(rand.NewPCG(42, 1))
	const h = 4
	cell := func(kind format.Kind, gates int) Op {
		return Op{Kind: kind, Hidden: h, Out: wide(h), W: gaussian(rng, gates*h*6, 0.3), U: gaussian(rng, gates*h*h, 0.3)}
	}
	given := cell(format.GRU, 3)
	given.Dims, given.Out = []int32{2}, wide(2*h)
	given.W = given.W[:3*h*3]
	given.In = []format.Ref{{Width: 6}, {Offset: 6, Width: h}}
	constant := cell(format.GRU, 3)
	constant.H0 = []float32{0, 3, -5, 0.5}
	constant.In = []format.Ref{{Width: 6}}
	signed := cell(format.GRU, 3) // an update gate in [-1, 1] gives no bound
	signed.Acts, signed.ActParams = []kernels.Activation{kernels.ActTanh, kernels.ActTanh}, make([]float32, 5)
	signed.In = []format.Ref{{Width: 6}}
	x := gaussian(rng, 10*200, 1)
	for i := range x {
		if k := i % 10; k >= 6 { // the states among the inputs
			x[i] *= float32(k - 2)
		}
	}
	for name, c := range map[string]struct {
		op    Op
		least []float32
	}{
		"given":    {given, []float32{9, 11, 14, 16}},
		"constant": {constant, []float32{1, 3, 5, 1}},
	} {
		for i, r := range reach(t, chain(10, c.op), Options{Scheme: format.W8A8, Calib: [][]float32{x}}, 0, format.RoleHInv) {
			if !(r >= c.least[i]*0.9999) {
				t.Errorf("%s: unit %d reaches %v, want at least %v", name, i, r, c.least[i])
			}
		}
	}
	if signed.bounded() {
		t.Error("a GRU with tanh in place of sigmoid counts as bounded")
	}
}

// TestBoundsOfOperations bounds what a dense operation reads by what the operations before can make of an input within ±2.
func TestBoundsOfOperations(t *testing.T) {
	x, y := format.Ref{Width: 4}, format.Ref{Offset: 2, Width: 2}
	root := float32(math.Sqrt(2))
	for _, c := range []struct {
		op   Op
		want float32
	}{
		{Op{Kind: format.Add, In: []format.Ref{x, y}}, 4},
		{Op{Kind: format.Sub, In: []format.Ref{x, y}}, 4},
		{Op{Kind: format.Mul, In: []format.Ref{x, y}}, 4},
		{Op{Kind: format.Minimum, In: []format.Ref{x, y}}, 2},
		{Op{Kind: format.Maximum, In: []format.Ref{x, y}}, 2},
		{Op{Kind: format.Less, In: []format.Ref{x, y}}, 1},
		{Op{Kind: format.Gather, In: []format.Ref{y, x}, Index: []int32{5, 0, 1, 1}, Out: wide(4)}, 2},
		{Op{Kind: format.Clip, Params: []float32{-0.5, 0.25}}, 0.5},
		{Op{Kind: format.LeakyReLU, Params: []float32{-3}}, 6},
		{Op{Kind: format.ELU, Params: []float32{5}}, 5},
		{Op{Kind: format.Sqrt}, root},
		{Op{Kind: format.Abs}, 2},
		{Op{Kind: format.Floor}, 3},
		{Op{Kind: format.Erf}, 1},
		{Op{Kind: format.Softplus}, 2 + math.Ln2},
		{Op{Kind: format.Highest, Dims: []int32{2}, Out: wide(2)}, 2},
		{Op{Kind: format.Normalise, Dims: []int32{2}, Params: []float32{0}}, root},
		{Op{Kind: format.Exp}, float32(math.Exp(2))},
		{Op{Kind: format.Select, In: []format.Ref{x, x, y}, Out: wide(4)}, 2},
		{Op{Kind: format.Sum, Dims: []int32{2}, Out: wide(2)}, 4},
		{Op{Kind: format.Product, Dims: []int32{4}, Out: wide(1)}, 16},
		{Op{Kind: format.MatMul, In: []format.Ref{x, x}, Dims: []int32{1, 2, 2, 2}, Out: wide(4)}, 8},
		{Op{Kind: format.MaxPool, Dims: (&format.Window{Channels: 2, Groups: 1, Axes: []format.WindowAxis{{In: 2, Out: 1, Kernel: 2, Stride: 1, Dilation: 1}}}).Dims(), Out: wide(2)}, 2},
		{Op{Kind: format.Conv, Dims: (&format.Window{Channels: 2, Groups: 1, Axes: []format.WindowAxis{{In: 2, Out: 1, Kernel: 2, Stride: 1, Dilation: 1}}}).Dims(),
			Out: wide(1), W: []float32{1, -2, 0.5, 1}, B: []float32{-1}}, 10},
		{Op{Kind: format.Conv, Dims: (&format.Window{Channels: 2, Groups: 2, Axes: []format.WindowAxis{{In: 2, Out: 2, Kernel: 1, Stride: 1, Dilation: 1}}}).Dims(),
			Out: wide(4), W: []float32{3, -3}}, 6},
		{Op{Kind: format.Dense, Dims: []int32{2}, Out: wide(4), W: []float32{1, 0.5, -1, 0.5}, B: []float32{1, 1}}, 4},
	} {
		t.Run(c.op.Kind.String(), func(t *testing.T) {
			n := max(c.op.Out.Width, 4*bit(c.op.Out.Width == 0))
			g := chain(4, c.op, Op{Kind: format.Dense, Out: wide(1), W: make([]float32, n)})
			for i, r := range reach(t, g, Options{Scheme: format.W8A8, Range: 2}, 1, format.RoleXInv) {
				if math.Abs(float64(r/c.want-1)) > 1e-5 {
					t.Errorf("channel %d reaches %v, want %v", i, r, c.want)
				}
			}
		})
	}
}

// TestBoundsOfStates bounds what is kept from step to step: by the layer that makes it, or not at all if it adds up.
func TestBoundsOfStates(t *testing.T) {
	const h = 4
	rng := rand.New(rand.NewPCG(44, 1))
	build := func(kept Op) *Graph {
		g := chain(h, Op{Kind: format.Recall, H0: []float32{0, 2, 0, 0}, In: []format.Ref{}, Out: wide(h)}, kept)
		g.Ops[1].In = []format.Ref{{Value: 0, Width: h}, {Value: 1, Width: h}}
		g.Ops = append(g.Ops, Op{Kind: format.Store, Name: "store", In: []format.Ref{{Value: 2, Width: h}}, Out: g.Ops[0].Out})
		g.Values = append(g.Values, format.Value{Width: 1, PerStep: true})
		g.Ops = append(g.Ops, Op{Kind: format.Dense, Name: "dense", In: []format.Ref{{Value: 1, Width: h}}, Out: format.Ref{Value: 3, Width: 1}, W: make([]float32, h)})
		g.Output = 3
		return g
	}
	cell := Op{Kind: format.RNN, Dims: []int32{1}, Hidden: h, Out: wide(h), W: gaussian(rng, h*h, 1), U: gaussian(rng, h*h, 1)}
	got := reach(t, build(cell), Options{Scheme: format.W8A8, Range: 3}, 3, format.RoleXInv)
	for i, want := range []float32{1, 2, 1, 1} {
		if math.Abs(float64(got[i]/want-1)) > 1e-5 {
			t.Errorf("channel %d reaches %v, want %v", i, got[i], want)
		}
	}
	if _, err := Build(build(Op{Kind: format.Add, Out: wide(h)}), Options{Scheme: format.W8A8, Range: 3}); err == nil {
		t.Error("a sum over all steps has a bound")
	}
}

func bit(v bool) int {
	if v {
		return 1
	}
	return 0
}

// TestOperationsByError measures what the int8 schemes cost the operations that take several vectors in one step.
func TestOperationsByError(t *testing.T) {
	rng := rand.New(rand.NewPCG(43, 1))
	const in, points, h = 12, 10, 16
	w := format.Window{Channels: in, Groups: 1, Axes: []format.WindowAxis{{In: points, Out: points, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}}}
	dims := []int32{points}
	cell := func(kind format.Kind, gates int) Op {
		return Op{Kind: kind, Dims: dims, Hidden: h, Out: wide(h * points), W: gaussian(rng, gates*h*in, 0.3), U: gaussian(rng, gates*h*h, 0.2)}
	}
	for name, op := range map[string]Op{
		"conv":  {Kind: format.Conv, Dims: w.Dims(), Out: wide(h * points), W: gaussian(rng, h*3*in, 0.2), B: gaussian(rng, h, 1)},
		"dense": {Kind: format.Dense, Dims: dims, Out: wide(h * points), W: gaussian(rng, h*in, 0.2), B: gaussian(rng, h, 1)},
		"lstm":  cell(format.LSTM, 4),
		"gru":   cell(format.GRU, 3),
	} {
		g := chain(in*points, op)
		calib, test := [][]float32{gaussian(rng, in*points*100, 1)}, [][]float32{gaussian(rng, in*points*100, 1)}
		sqnr := func(s format.Scheme) float64 {
			c, err := Compare(model(t, g, Options{}), model(t, g, Options{Scheme: s, Calib: calib}), test)
			if err != nil {
				t.Fatal(err)
			}
			return c.Output.SQNR()
		}
		a8, a16 := sqnr(format.W8A8), sqnr(format.W8A16)
		t.Log(fmt.Sprintf("%s: %.1f dB in w8a8, %.1f dB in w8a16", name, a8, a16))
		if !(a8 > 30) || !(a16 > a8+2) {
			t.Errorf("%s: %.1f dB in w8a8, %.1f dB in w8a16", name, a8, a16)
		}
	}
}
