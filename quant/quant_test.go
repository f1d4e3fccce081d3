package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

func gaussian(rng *rand.Rand, n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64() * scale)
	}
	return v
}

// gru is a GRU of 6 features and 40 units with a dense layer of 9 outputs.
func gru(rng *rand.Rand) *Graph {
	const in, h, out = 6, 40, 9
	g := &Graph{Values: []format.Value{{Width: in, PerStep: true}, {Width: h, PerStep: true}, {Width: out, PerStep: true}}, Output: 2}
	for range in {
		g.Input.Channels = append(g.Input.Channels, format.Channel{Name: "x"})
	}
	g.Ops = []Op{
		{Kind: format.GRU, Name: "gru", Hidden: h, In: []format.Ref{{Width: in}}, Out: format.Ref{Value: 1, Width: h},
			W: gaussian(rng, 3*h*in, 0.4), U: gaussian(rng, 3*h*h, 0.15), B: gaussian(rng, 3*h, 0.2), BH: gaussian(rng, 3*h, 0.2)},
		{Kind: format.Dense, Name: "out", In: []format.Ref{{Value: 1, Width: h}}, Out: format.Ref{Value: 2, Width: out}, W: gaussian(rng, out*h, 0.3)},
	}
	return g
}

func model(t *testing.T, g *Graph, o Options) *runtime.Model {
	t.Helper()
	f, err := Build(g, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestQuantiseRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const rows, cols = 5, 33
	w := gaussian(rng, rows*cols, 1)
	clear(w[2*cols:][:cols])
	limit := make([]float32, cols)
	for i := range limit {
		limit[i] = float32(math.Exp(rng.NormFloat64()))
	}
	q, scale, shift := newRounder(limit, 127, nil).rows(w, rows, cols)
	for r := range rows {
		most := 0
		for c := range cols {
			v := int(q[r*cols+c])
			most = max(most, v, -v)
			// What one step of the activation is worth, restored, is within half a step of the weight.
			got := float64(v) * float64(scale[r])
			want := float64(w[r*cols+c]) * float64(limit[c]) / 127
			if !(math.Abs(got-want) <= 0.5001*float64(scale[r])) {
				t.Fatalf("weight %d,%d: %v, want %v", r, c, got, want)
			}
		}
		if want := map[bool]int{true: 0, false: 127}[r == 2]; most != want {
			t.Errorf("row %d: largest weight %d, want %d", r, most, want)
		}
		if shift[r] != 0 {
			t.Errorf("row %d: a shift of %v without a sample", r, shift[r])
		}
	}
}

func TestSchemesByError(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	g := gru(rng)
	var calib, test [][]float32
	for range 8 {
		calib = append(calib, gaussian(rng, 6*100, 1))
		test = append(test, gaussian(rng, 6*100, 1))
	}
	float := model(t, g, Options{})
	sqnr := func(o Options) float64 {
		c, err := Compare(float, model(t, g, o), test)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Ops) != 2 || len(c.Steps) != 100 || c.Decisions != 800 {
			t.Fatalf("%d operations, %d steps, %d decisions", len(c.Ops), len(c.Steps), c.Decisions)
		}
		return c.Output.SQNR()
	}
	a8 := sqnr(Options{Scheme: format.W8A8, Calib: calib})
	a16 := sqnr(Options{Scheme: format.W8A16, Calib: calib})
	if !(a8 > 25) || !(a16 > a8+2) {
		t.Errorf("SQNR %.1f dB with 8-bit activations, %.1f dB with 16-bit ones", a8, a16)
	}
	if s := sqnr(Options{}); !math.IsInf(s, 1) {
		t.Errorf("a model differs from itself: SQNR %v", s)
	}
	if s := sqnr(Options{Scheme: format.W8A8, Range: 5}); !(s > 15) {
		t.Errorf("SQNR %.1f dB with a range in place of calibration data", s)
	}
}

func TestRangeOfEachChannel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	g := gru(rng)
	x := gaussian(rng, 6*50, 1)
	for i := range x {
		x[i] *= []float32{1, 100, 0.5, 1, 0, 1}[i%6]
	}
	f, err := Build(g, Options{Scheme: format.W8A8, Calib: [][]float32{x}})
	if err != nil {
		t.Fatal(err)
	}
	most := make([]float32, 6)
	for i, v := range x {
		most[i%6] = max(most[i%6], abs(v))
	}
	inv := f.Arg(&f.Ops[0], format.RoleXInv).F32
	reach := inv[1] * most[1]
	if !(reach > 127/1.5 && reach < 127) {
		t.Errorf("the largest value of a channel becomes %v, want some room up to 127", reach)
	}
	if want := reach / (most[1] / 64); math.Abs(float64(inv[4]/want-1)) > 1e-5 {
		t.Errorf("a silent channel has the factor %v, want %v", inv[4], want)
	}
}

func TestBuildErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Graph, *Options)
		want   string
	}{
		"no range":      {func(_ *Graph, o *Options) { o.Scheme = format.W8A8 }, ErrRange.Error()},
		"short weights": {func(g *Graph, _ *Options) { g.Ops[0].U = g.Ops[0].U[1:] }, `gru "gru"): U holds`},
		"NaN weight":    {func(g *Graph, _ *Options) { g.Ops[1].W[3] = float32(math.NaN()) }, "W: value 3 is NaN"},
		"NaN calibration": {func(_ *Graph, o *Options) {
			o.Scheme, o.Calib = format.W8A8, [][]float32{make([]float32, 6), {0, 0, float32(math.NaN()), 0, 0, 0}}
		}, "calibration sequence 1: step 0: feature 2"},
		"bad reference": {func(g *Graph, _ *Options) { g.Ops[1].In[0].Offset = 1 }, "do not exist"},
		"hidden bias":   {func(g *Graph, _ *Options) { g.Ops[0].Flags = format.FlagResetBefore }, "hidden side"},
	} {
		g, o := gru(rand.New(rand.NewPCG(4, 4))), Options{}
		c.change(g, &o)
		_, err := Build(g, o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Build(gru(rand.New(rand.NewPCG(4, 4))), Options{Scheme: format.W8A8}); !errors.Is(err, ErrRange) {
		t.Errorf("%v is not ErrRange", err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	a, b := gru(rng), gru(rng)
	b.Ops[1].Kind = format.Dense
	b.Ops = append(b.Ops, Op{Kind: format.Softmax, In: []format.Ref{{Value: 2, Width: 9}}, Out: format.Ref{Value: 2, Width: 9}})
	if _, err := Compare(model(t, a, Options{}), model(t, b, Options{}), nil); err == nil {
		t.Error("different networks were compared")
	}
}

func TestReLUCell(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	g := gru(rng)
	g.Ops[0] = Op{Kind: format.RNN, Flags: format.FlagReLU, Name: "rnn", Hidden: 40, In: []format.Ref{{Width: 6}}, Out: format.Ref{Value: 1, Width: 40},
		W: gaussian(rng, 40*6, 2), U: gaussian(rng, 40*40, 0.08), B: gaussian(rng, 40, 0.2)}
	x := [][]float32{gaussian(rng, 6*200, 1)}
	c, err := Compare(model(t, g, Options{}), model(t, g, Options{Scheme: format.W8A8, Calib: x}), x)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Output.SQNR(); !(s > 25) {
		t.Errorf("SQNR %.1f dB", s)
	}
	if _, err := Build(g, Options{Scheme: format.W8A8, Range: 5}); err == nil || !strings.Contains(err.Error(), "no bound") {
		t.Errorf("a ReLU cell without calibration data: %v", err)
	}
}
