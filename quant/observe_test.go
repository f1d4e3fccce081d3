package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/recur-go/recur/runtime/format"
)

func TestObserve(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	g := gru(rng)
	calib := [][]float32{gaussian(rng, 6*50, 1), gaussian(rng, 6*30, 2)}
	samples, err := observe(g, calib)
	if err != nil {
		t.Fatal(err)
	}
	w := samples[product{0, format.RoleW}]
	for c := range 6 {
		var sum, squares, most float64
		for _, x := range calib {
			for i := c; i < len(x); i += 6 {
				v := float64(x[i])
				sum += v
				squares += v * v
				most = math.Max(most, math.Abs(v))
			}
		}
		mean := sum / 80
		if math.Abs(w.mean(c)-mean) > 1e-6 || math.Abs(w.covariance(0, c, c)-(squares/80-mean*mean)) > 1e-6 || float64(w.most[c]) != most {
			t.Errorf("channel %d: mean %v, variance %v, largest %v; want %v, %v, %v",
				c, w.mean(c), w.covariance(0, c, c), w.most[c], mean, squares/80-mean*mean, most)
		}
	}
	u := samples[product{0, format.RoleU}]
	if len(samples) != 3 || w.rows != 80 || u.rows != 80 || len(u.most) != 40 {
		t.Errorf("%d matrices, which multiply %d and %d vectors, want 3, 80 and 80", len(samples), w.rows, u.rows)
	}
	if g := w.growth(); !(g > 1 && g < 2) { // the second sequence is twice as loud
		t.Errorf("growth %v", g)
	}
}

// Rows are thinned out where there are many.
func TestObserveMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	samples, err := observe(gru(rng), [][]float32{gaussian(rng, 6*10000, 1), gaussian(rng, 6*10000, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if s := samples[product{1, format.RoleW}]; s.rows != 20000 || s.n < sampleRows || s.n > 2*sampleRows {
		t.Errorf("%d of %d rows", s.n, s.rows)
	}
}

// Operations with the same weights, as the steps of a recurrence that is written out have, share them in the int8 schemes too.
func TestSharedWeights(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	w, b := gaussian(rng, 36, 0.4), gaussian(rng, 6, 1)
	g := &Graph{Values: []format.Value{{Width: 6, PerStep: true}, {Width: 6, PerStep: true}, {Width: 6, PerStep: true}}, Output: 2}
	for range 6 {
		g.Input.Channels = append(g.Input.Channels, format.Channel{Name: "x"})
	}
	for i := range 2 {
		g.Ops = append(g.Ops, Op{Kind: format.Dense, In: []format.Ref{{Value: i, Width: 6}}, Out: format.Ref{Value: i + 1, Width: 6}, W: w, B: b})
	}
	f, err := Build(g, Options{Scheme: format.W8A8, Calib: [][]float32{gaussian(rng, 6*20, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	if f.Arg(&f.Ops[0], format.RoleW) != f.Arg(&f.Ops[1], format.RoleW) || len(f.Blobs) != 4 {
		t.Errorf("%d blobs, want 4: weights, factors, biases and factors of the input, once each", len(f.Blobs))
	}
}
