package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/recur-go/recur/runtime/format"
)

// twoWay is a layer of two LSTMs of 5 units, one backwards, and a dense layer of 3 outputs.
func twoWay(rng *rand.Rand) *Graph {
	const in, h, out = 4, 5, 3
	g := &Graph{Values: []format.Value{{Width: in, PerStep: true}, {Width: 2 * h, PerStep: true}, {Width: out, PerStep: true}}, Output: 2,
		Input: format.Input{Channels: make([]format.Channel, in)}}
	for i, flags := range []format.Flags{0, format.FlagReverse} {
		g.Ops = append(g.Ops, Op{Kind: format.LSTM, Flags: flags, Hidden: h, In: []format.Ref{{Width: in}},
			Out: format.Ref{Value: 1, Offset: i * h, Width: h}, W: gaussian(rng, 4*h*in, 0.4), U: gaussian(rng, 4*h*h, 0.3)})
	}
	g.Ops = append(g.Ops, Op{Kind: format.Dense, In: []format.Ref{{Value: 1, Width: 2 * h}}, Out: format.Ref{Value: 2, Width: out}, W: gaussian(rng, out*2*h, 1)})
	return g
}

func TestCompareAlongTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 1))
	g := twoWay(rng)
	const steps, loud = 40, 33
	x := gaussian(rng, steps*4, 0.2)
	x[loud*4+2] = 50
	float, int8 := model(t, g, Options{}), model(t, g, Options{Scheme: format.W8A8, Range: 1})
	c, err := Compare(float, int8, [][]float32{x, gaussian(rng, 20*4, 0.2)})
	if err != nil {
		t.Fatal(err)
	}
	if c.PartSteps != 1 || len(c.Steps) != steps {
		t.Fatalf("%d steps a part, %d steps", c.PartSteps, len(c.Steps))
	}
	for i, o := range c.Ops {
		if len(o.Parts) != steps {
			t.Fatalf("operation %d: %d parts", i, len(o.Parts))
		}
		var sum Part
		for at := range o.Parts {
			p := &o.Parts[at]
			sum.merge(p)
			// Of the input, the loud value; of the hidden state and of what the dense layer reads, nothing.
			if want := i < 2 && at == loud; (p.Clipped == 1) != want || p.Clipped > 1 {
				t.Errorf("operation %d, step %d: %d clipped", i, at, p.Clipped)
			}
			vectors := 2
			if at >= 20 {
				vectors = 1
			}
			each := 4 + 5
			if i == 2 {
				each = 10
			}
			if p.Activations != vectors*each {
				t.Errorf("operation %d, step %d: %d activations, want %d", i, at, p.Activations, vectors*each)
			}
		}
		if sum != o.Part {
			t.Errorf("operation %d: %+v is not the sum of its parts", i, o.Part)
		}
		n := 0
		for _, k := range o.Octaves {
			n += k
		}
		if n != o.n || n != 60*g.Ops[i].Out.Width {
			t.Errorf("operation %d: %d errors in the histogram of %d", i, n, o.n)
		}
	}
	// Forwards the error begins with the loud step, backwards it ends with it.
	quiet, after := c.Ops[0].Parts[loud-1].Mean(), c.Ops[0].Parts[loud].Mean()
	if !(after > 10*quiet) {
		t.Errorf("error %v before, %v at the loud step", quiet, after)
	}
	quiet, after = c.Ops[1].Parts[loud+1].Mean(), c.Ops[1].Parts[loud].Mean()
	if !(after > 10*quiet) {
		t.Errorf("backwards: error %v before, %v at the loud step", quiet, after)
	}
}

// A long sequence is compared in stretches, as if it were one.
func TestCompareLong(t *testing.T) {
	rng := rand.New(rand.NewPCG(42, 1))
	g := gru(rng)
	float, int8 := model(t, g, Options{}), model(t, g, Options{Scheme: format.W8A8, Range: 4})
	x := gaussian(rng, 2500*6, 1)
	c, err := Compare(float, int8, [][]float32{x})
	if err != nil {
		t.Fatal(err)
	}
	var e Error
	a, err := outputOf(float, x)
	if err != nil {
		t.Fatal(err)
	}
	b, err := outputOf(int8, x)
	if err != nil {
		t.Fatal(err)
	}
	e.Add(a, b)
	if c.Output != e || len(c.Steps) != 2500 || c.PartSteps != 40 || len(c.Ops[0].Parts) != 63 {
		t.Errorf("%+v, want %+v; %d steps in %d parts of %d", c.Output, e, len(c.Steps), len(c.Ops[0].Parts), c.PartSteps)
	}
}

func TestOctaves(t *testing.T) {
	var o Octaves
	for _, v := range []float64{0, math.Exp2(-50), math.Exp2(FirstOctave), 1, 1.99, 2, 1e30} {
		o.add(v)
	}
	if o[0] != 3 || o[-FirstOctave] != 2 || o[1-FirstOctave] != 1 || o[len(o)-1] != 1 {
		t.Errorf("%v", o)
	}
}

func TestDecision(t *testing.T) {
	for _, c := range []struct {
		d        Decision
		ref, got []float32
		want     bool
	}{
		{Largest, []float32{0.2, 0.5, 0.3}, []float32{0.3, 0.4, 0.3}, false},
		{Largest, []float32{0.2, 0.5, 0.3}, []float32{0.2, 0.4, 0.41}, true},
		{Above, []float32{0.51, 0.2}, []float32{0.7, 0.49}, false},
		{Above, []float32{0.51}, []float32{0.49}, true},
	} {
		if got := c.d.changed(c.ref, c.got); got != c.want {
			t.Errorf("%v: %v, then %v: changed %v", c.d, c.ref, c.got, got)
		}
	}
}
