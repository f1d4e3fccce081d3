package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// mixed are rows of activations that go together: a few sources in many channels, around a mean.
func mixed(rng *rand.Rand, n, cols, sources int) [][]float32 {
	mix, mean := gaussian(rng, cols*sources, 1), gaussian(rng, cols, 1)
	x := make([][]float32, n)
	for i := range x {
		s := gaussian(rng, sources, 1)
		x[i] = gaussian(rng, cols, 0.1)
		for c := range cols {
			x[i][c] += mean[c]
			for k, v := range s {
				x[i][c] += mix[c*sources+k] * v
			}
		}
	}
	return x
}

// Weights rounded with feedback give sums that are nearer to the exact ones, on rows that were not in the sample, and not off in the mean.
func TestFeedback(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	const rows, cols, seen = 20, 150, 1000 // more columns than a block
	w := gaussian(rng, rows*cols, 1)
	x := mixed(rng, 2*seen, cols, 5)
	s := newSample(rows, cols, 1)
	for _, r := range x[:seen] {
		s.add(r, 0)
	}
	limit := floored(s.most)
	off := func(s *sample) (rms, mean float64) {
		q, scales, shift := newRounder(limit, 127, s).rows(w, rows, cols)
		for r := range rows {
			sum := 0.0
			for _, x := range x[seen:] {
				exact, got := 0.0, float64(shift[r])
				for c, v := range x {
					exact += float64(w[r*cols+c]) * float64(v)
					got += float64(q[r*cols+c]) * float64(scales[r]) * float64(v) * 127 / float64(limit[c])
				}
				sum += got - exact
				rms += (got - exact) * (got - exact)
			}
			mean += math.Abs(sum) / seen / rows
		}
		return math.Sqrt(rms / rows / seen), mean
	}
	plain, plainMean := off(nil)
	rms, mean := off(s)
	if !(rms < plain/3) || !(mean < plainMean/5) {
		t.Errorf("error %.3g, in the mean %.3g; to the nearest %.3g and %.3g", rms, mean, plain, plainMean)
	}
	t.Logf("error %.3g, in the mean %.3g; to the nearest %.3g and %.3g", rms, mean, plain, plainMean)
}

func TestDecompose(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	const n = 7
	a := gaussian(rng, n*n, 1)
	h := make([]float64, n*n)
	for i := range n {
		for j := range n {
			for k := range n {
				h[i*n+j] += float64(a[i*n+k]) * float64(a[j*n+k])
			}
		}
	}
	f := append([]float64(nil), h...)
	decompose(f, n)
	u := func(i, k int) float64 { // I+U
		switch {
		case i < k:
			return f[k*n+i]
		case i == k:
			return 1
		}
		return 0
	}
	for i := range n {
		for j := range n {
			sum := 0.0
			for k := range n {
				sum += u(i, k) * f[k*n+k] * u(j, k)
			}
			if math.Abs(sum-h[i*n+j]) > 1e-9 {
				t.Fatalf("element %d,%d: %v, want %v", i, j, sum, h[i*n+j])
			}
		}
	}
}
