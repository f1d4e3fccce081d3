package quant

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/runtime/format"
)

func sequences(rng *rand.Rand, n, values int) (out [][]float32) {
	for range n {
		out = append(out, gaussian(rng, values, 1))
	}
	return out
}

func (c *Choice) schemes() (s []format.Scheme) {
	for _, l := range c.Layers {
		s = append(s, l.Scheme)
	}
	return s
}

func (c *Choice) cost() (sum float64) {
	for _, l := range c.Layers {
		sum += l.Cost[l.Scheme]
	}
	return sum
}

// The tighter the budget, the smaller the error and the higher the cost; and it is kept on what was held out.
func TestAuto(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 1))
	g := gru(rng)
	calib := sequences(rng, 16, 6*60)
	var last *Choice
	for _, most := range []float64{1, 0.02, 0.01, 0.004, 0.001, 0} {
		c, err := Auto(g, calib, Budget{Most: most})
		if err != nil {
			t.Fatal(err)
		}
		if c.Search.Sequences != 12 || c.Check.Sequences != 4 {
			t.Errorf("%d sequences and %d held out, want 12 and 4", c.Search.Sequences, c.Check.Sequences)
		}
		if !(c.Search.Error <= most && c.Check.Error <= most) {
			t.Errorf("budget %v: error %v, of what was held out %v", most, c.Search.Error, c.Check.Error)
		}
		if last != nil && (c.cost() < last.cost() || c.Search.Error > last.Search.Error) {
			t.Errorf("budget %v: cost %v, error %v after %v, %v", most, c.cost(), c.Search.Error, last.cost(), last.Search.Error)
		}
		t.Logf("budget %v: %v, error %.4f and %.4f, cost %.0f, %d models", most, c.schemes(), c.Search.Error, c.Check.Error, c.cost(), c.Trials)
		last = c
		for i, op := range c.File.Ops {
			if op.Scheme != c.schemes()[i] {
				t.Errorf("operation %d has the scheme %v, want %v", i, op.Scheme, c.schemes()[i])
			}
		}
	}
	if s := last.schemes(); !slices.Equal(s, []format.Scheme{format.F32, format.F32}) {
		t.Errorf("%v for a budget of nothing", s)
	}
}

// Where only one layer suffers from int8, only that one is upgraded.
func TestAutoFindsTheLayer(t *testing.T) {
	rng := rand.New(rand.NewPCG(32, 1))
	g := gru(rng)
	w := g.Ops[1].W
	for i := range w { // the outputs are small differences of large numbers
		w[i] *= 0.01
		if i%40 < 2 {
			w[i] = 30 * float32(1-2*(i%40))
		}
	}
	u := g.Ops[0]
	for _, v := range [][]float32{u.W, u.U, u.B, u.BH} {
		n := len(v) / 3
		for gate := range 3 { // units 0 and 1 are the same
			k := n / 40
			copy(v[gate*n+k:][:k], v[gate*n:][:k])
		}
	}
	for r := range 3 * 40 {
		u.U[r*40+1] = u.U[r*40]
	}
	c, err := Auto(g, sequences(rng, 8, 6*60), Budget{Most: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %+v", c.schemes(), c.Layers)
	if s := c.schemes(); s[0] != format.W8A8 || s[1] == format.W8A8 {
		t.Errorf("%v, want w8a8 and more for the second", s)
	}
}

func TestAutoByDecisions(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 1))
	g := gru(rng)
	g.Values = append(g.Values, format.Value{Width: 9, PerStep: true})
	g.Ops = append(g.Ops, Op{Kind: format.Softmax, In: []format.Ref{{Value: 2, Width: 9}}, Out: format.Ref{Value: 3, Width: 9}})
	g.Output = 3
	calib := sequences(rng, 8, 6*60)
	loose, err := Auto(g, calib, Budget{Most: 0.2, Changed: true})
	if err != nil {
		t.Fatal(err)
	}
	strict, err := Auto(g, calib, Budget{Changed: true})
	if err != nil {
		t.Fatal(err)
	}
	if !(strict.cost() > loose.cost()) || strict.Search.Changed+strict.Check.Changed != 0 || loose.Search.Changed == 0 {
		t.Errorf("%d decisions changed at a cost of %.0f, %d at %.0f", loose.Search.Changed, loose.cost(), strict.Search.Changed, strict.cost())
	}
	again, err := Auto(g, calib, Budget{Changed: true})
	if err != nil || !slices.Equal(again.schemes(), strict.schemes()) {
		t.Errorf("%v, then %v: %v", strict.schemes(), again.schemes(), err)
	}
}

func TestAutoSharedWeights(t *testing.T) {
	rng := rand.New(rand.NewPCG(34, 1))
	w := gaussian(rng, 36, 0.4)
	g := &Graph{Values: []format.Value{{Width: 6, PerStep: true}, {Width: 6, PerStep: true}, {Width: 6, PerStep: true}}, Output: 2,
		Input: format.Input{Channels: make([]format.Channel, 6)}}
	for i := range 2 {
		g.Ops = append(g.Ops, Op{Kind: format.Dense, In: []format.Ref{{Value: i, Width: 6}}, Out: format.Ref{Value: i + 1, Width: 6}, W: w})
	}
	c, err := Auto(g, sequences(rng, 4, 6*20), Budget{Most: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Layers) != 1 || !slices.Equal(c.Layers[0].Ops, []int{0, 1}) || c.Check.Sequences != 0 || c.Layers[0].Cost[format.W8A8] != 2*(36+36) {
		t.Errorf("%+v, %d held out; want one layer, at a cost of 144 in w8a8", c.Layers, c.Check.Sequences)
	}
}

func TestAutoErrors(t *testing.T) {
	g := gru(rand.New(rand.NewPCG(35, 1)))
	if _, err := Auto(g, nil, Budget{}); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
	if _, err := Auto(g, [][]float32{make([]float32, 7)}, Budget{}); err == nil || !strings.Contains(err.Error(), "calibration sequence 0") {
		t.Error(err)
	}
	g.Ops[0].W = nil
	if _, err := Auto(g, [][]float32{make([]float32, 6)}, Budget{}); err == nil || !strings.Contains(err.Error(), "W holds") {
		t.Error(err)
	}
}

func TestUpTo(t *testing.T) {
	seqs := [][]float32{make([]float32, 20), make([]float32, 40), make([]float32, 20), make([]float32, 40)}
	for steps, want := range map[int]int{1000: 4, 60: 4, 30: 2, 10: 1, 3: 1, 0: 1} {
		got := upTo(seqs, steps, 2)
		sum := 0
		for _, x := range got {
			sum += len(x) / 2
		}
		if len(got) != want || sum > max(steps, 1) && want != 4 {
			t.Errorf("up to %d steps: %d sequences with %d, want %d", steps, len(got), sum, want)
		}
	}
}

// clipped limits the result of the first operation to [-3, 2].
func clipped(g *Graph) *Graph {
	g.Values = append(g.Values, format.Value{Width: 6, PerStep: true})
	g.Ops[1].In[0].Value = 4
	clip := Op{Kind: format.Clip, In: []format.Ref{{Value: 3, Width: 6}}, Out: format.Ref{Value: 4, Width: 6}, Params: []float32{-3, 2}}
	g.Ops = append([]Op{g.Ops[0], clip}, g.Ops[1:]...)
	return g
}

func TestNormalisation(t *testing.T) {
	rng := rand.New(rand.NewPCG(36, 1))
	network := func(scale, shift []float32) *Graph {
		g := gru(rng)
		g.Values = append(g.Values, format.Value{Width: 6, PerStep: true})
		g.Ops[0].In[0].Value = 3
		g.Ops = append([]Op{{Kind: format.Affine, In: []format.Ref{{Width: 6}}, Out: format.Ref{Value: 3, Width: 6}, Scale: scale, Shift: shift}}, g.Ops...)
		return g
	}
	one := []float32{1, 1, 1, 1, 1, 1}
	same := []float32{0.25, 0.25, 0.25, 0.25, 0.25, 0.25}
	for _, c := range []struct {
		g    *Graph
		o    Options
		from RangeSource
		x    float32 // magnitude of what the GRU reads
	}{
		{network([]float32{0.1, 1, 2, 3, 4, 5}, one), Options{}, RangeOfNormalisation, 4},
		{network(same, one), Options{}, RangeOfNormalisation, 1},
		{network(same, one), Options{Range: 8}, RangeGiven, 3},
		{network(one, make([]float32, 6)), Options{}, UnknownRange, 0},
		{gru(rng), Options{}, UnknownRange, 0},
		{clipped(network(same, one)), Options{}, RangeOfModel, 3},
		{func() *Graph { g := gru(rng); g.Range = []float32{2, 2, 2, 2, 2, 2}; return g }(), Options{}, RangeOfModel, 2},
	} {
		c.o.Scheme = format.W8A8
		if from := c.o.RangeSource(c.g); from != c.from {
			t.Errorf("range from %v, want %v", from, c.from)
		}
		f, err := Build(c.g, c.o)
		if c.from == UnknownRange {
			if !errors.Is(err, ErrRange) {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		op := slices.IndexFunc(f.Ops, func(o format.Op) bool { return o.Kind == format.GRU })
		if inv := f.Arg(&f.Ops[op], format.RoleXInv).F32[0]; inv != 127/c.x {
			t.Errorf("range from %v: %v to %v, want %v", c.from, inv, 127/inv, c.x)
		}
	}
}
