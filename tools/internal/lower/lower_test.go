package lower

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

func must(p Poly, err error) Poly {
	if err != nil {
		panic(err)
	}
	return p
}

func TestPoly(t *testing.T) {
	tn := must(symT.Mul(symN))
	for _, c := range []struct {
		got  Poly
		want string
	}{
		{must(symT.Add(Int(3))), "T+3"},
		{must(must(symT.Add(Int(3))).Sub(symT)), "3"},
		{must(must(symT.Sub(Int(1))).Mul(symN)), "-1*N+T*N"},
		{must(must(tn.Mul(Int(6))).Div(must(symN.Mul(Int(2))))), "3*T"},
		{must(tn.Div(tn)), "1"},
		{must(Int(-7).Div(Int(2))), "-3"},
		{must(symT.Sub(symT)), "0"},
	} {
		if c.got.String() != c.want {
			t.Errorf("got %v, want %s", c.got, c.want)
		}
	}
	if s := must(symT.Sub(symT)); !s.Equal(Int(0)) || !s.is(0) {
		t.Error("T-T is not the constant 0")
	}
	for name, err := range map[string]error{
		"division by zero":       second(symT.Div(Int(0))),
		"inexact division":       second(symT.Div(symN)),
		"T/2":                    second(symT.Div(Int(2))),
		"overflow of a sum":      second(Int(math.MaxInt64).Add(Int(1))),
		"overflow of a product":  second(Int(math.MaxInt64).Mul(Int(2))),
		"overflow of a quotient": second(Int(math.MinInt64).Div(Int(-1))),
		"negated minimum":        second(Int(math.MinInt64).Mul(Int(-1))),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	p := symT
	var err error
	for range 10 {
		if p, err = p.Mul(symT); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("T to the 11th power is accepted")
	}
}

func second(_ Poly, err error) error { return err }

// input is [N, T, 2, 3] with open lengths.
func input(t *testing.T) (*Tracer, *Tensor) {
	t.Helper()
	tr, x, err := NewTracer([]int64{-1, -1, 2, 3}, []Role{Batch, Time, Feature, Feature}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return tr, x
}

func channels(t *Tensor) (out []int) {
	for _, c := range t.c {
		out = append(out, c.Channel)
	}
	return out
}

func TestRearrangeChannels(t *testing.T) {
	tr, x := input(t)
	y, err := tr.Transpose(x, []int64{3, 1, 0, 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := channels(y); !slices.Equal(got, []int{0, 3, 1, 4, 2, 5}) {
		t.Errorf("transposed: %v", got)
	}
	if got := y.Shape(); got[0].String() != "3" || got[1].String() != "T" || got[2].String() != "N" || got[3].String() != "2" {
		t.Errorf("transposed: shape %v", got)
	}
	if len(tr.graph.Ops) != 0 {
		t.Error("rearranging costs operations")
	}
}

func TestReshape(t *testing.T) {
	tr, x := input(t)
	for _, c := range []struct {
		dims []Poly
		want string // "" is an error
	}{
		{[]Poly{Int(0), Int(0), Int(-1)}, "[N T 6]"},
		{[]Poly{Int(-1), Int(6)}, "[T*N 6]"},
		{[]Poly{symN, symT, Int(3), Int(2)}, "[N T 3 2]"},
		{[]Poly{symN, Int(1), symT, Int(6)}, "[N 1 T 6]"},
		{[]Poly{symT, symN, Int(6)}, ""},
		{[]Poly{Int(-1), Int(4)}, ""},
		{[]Poly{Int(-1), Int(-1)}, ""},
		{[]Poly{Int(-2), symT}, ""},
		{[]Poly{symN, Int(6), symT}, ""},
	} {
		y, err := tr.Reshape(x, c.dims, false)
		if c.want == "" {
			if err == nil {
				t.Errorf("%v: accepted as %v", c.dims, y.Shape())
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.dims, err)
			continue
		}
		got := "["
		for i, d := range y.Shape() {
			if i > 0 {
				got += " "
			}
			got += d.String()
		}
		if got+"]" != c.want {
			t.Errorf("%v: got %s], want %s", c.dims, got, c.want)
		}
	}
}

// A batch of one may come and go; time of one step a call as well.
func TestReshapeOnes(t *testing.T) {
	tr, x, err := NewTracer([]int64{1, 1, 4}, []Role{Batch, Time, Feature}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	y, err := tr.Reshape(x, []Poly{Int(1), Int(4)}, false)
	if err != nil || !y.axes[0].has(time) {
		t.Errorf("the step is not kept: %v, %v", y, err)
	}
	if y, err = tr.Reshape(x, []Poly{Int(4)}, false); err != nil || len(y.c) != 4 {
		t.Errorf("got %v, %v", y, err)
	}
}

func TestPoolOnce(t *testing.T) {
	tr, x := input(t)
	for range 3 {
		if _, err := tr.Slice(x, 1, Int(-1), Int(math.MaxInt64), Int(1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(tr.graph.Ops) != 1 || tr.graph.Ops[0].Kind != format.Last {
		t.Errorf("%d operations", len(tr.graph.Ops))
	}
	if _, err := tr.Slice(x, 0, Int(0), Int(1), Int(1)); err == nil {
		t.Error("a sequence is selected from the batch")
	}
}

// Constants of unknown length hold one number, however long they are.
func TestExpandIsFree(t *testing.T) {
	tr, _ := input(t)
	zero, err := tr.Floats(nil, []float32{0})
	if err != nil {
		t.Fatal(err)
	}
	z, err := tr.Expand(zero, []Poly{Int(1 << 20), symN, Int(1 << 20)})
	if err != nil || len(z.f) != 1 {
		t.Fatalf("got %v, %v", z, err)
	}
	if z, err = tr.Slice(z, 0, Int(3), Int(5), Int(1)); err != nil || z.Shape()[0].String() != "2" {
		t.Fatalf("got %v, %v", z, err)
	}
	if _, _, err = tr.Numbers(z); err == nil {
		t.Error("a constant of open length is spelled out")
	}
}

// The affine operation after a dense one is folded into it, and a concatenation of results is written in place.
func TestFolding(t *testing.T) {
	tr, x, err := NewTracer([]int64{-1, 2}, []Role{Time, Feature}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	d, err := tr.Dense(x, []float32{1, 2, 3, 4}, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := tr.Floats([]int64{2}, []float32{10, 20})
	if err != nil {
		t.Fatal(err)
	}
	a, err := tr.Binary(Add, d, k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tr.Unary(format.Tanh, x)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tr.Concat([]*Tensor{b, a}, 1)
	if err != nil {
		t.Fatal(err)
	}
	g, err := tr.Finish(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Ops) != 2 || g.Ops[0].Kind != format.Tanh || g.Ops[1].Kind != format.Dense || !slices.Equal(g.Ops[1].B, []float32{10, 20}) {
		t.Errorf("got %+v", g.Ops)
	}
	if want := (format.Ref{Value: 1, Offset: 2, Width: 2}); g.Ops[1].Out != want || g.Values[1].Width != 4 {
		t.Errorf("the dense operation writes %v of %v", g.Ops[1].Out, g.Values)
	}
}

// TestStateBesideBackwardLayer refuses a state that goes from step to step where another layer begins at the last step.
func TestStateBesideBackwardLayer(t *testing.T) {
	for _, flags := range []format.Flags{0, format.FlagReverse} {
		tr, x, err := NewTracer([]int64{-1, 1, 2}, []Role{Time, Batch, Feature}, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		state, err := tr.State([]int64{1, 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		step, _ := tr.Enter(x, 0)
		sum, err := tr.Binary(Add, step, state)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Store(state, sum); err != nil {
			t.Fatal(err)
		}
		if sum, err = tr.Leave(sum, 0); err != nil {
			t.Fatal(err)
		}
		y, _, err := tr.Recurrent(sum, []quant.Op{{Kind: format.RNN, Flags: flags, Hidden: 1, W: make([]float32, 2), U: make([]float32, 1)}}, Initial{})
		if err != nil {
			t.Fatal(err)
		}
		var no *Unsupported
		if _, err := tr.Finish(y); (flags != 0) != errors.As(err, &no) || flags == 0 && err != nil {
			t.Errorf("flags %d: %v", flags, err)
		}
	}
}
