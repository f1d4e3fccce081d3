package kernels_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/recur-go/recur/kernels"
)

// eachTier runs f on every tier.
func eachTier(b *testing.B, f func(b *testing.B)) {
	was := kernels.Tier()
	defer kernels.SetTier(was)
	for _, tier := range kernels.Tiers() {
		b.Run("tier="+tier, func(b *testing.B) {
			if err := kernels.SetTier(tier); err != nil {
				b.Fatal(err)
			}
			f(b)
		})
	}
}

// BenchmarkMul multiplies matrices by 1, 2 and 4 columns; MB/s are those of the weights.
func BenchmarkMul(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	small := func(n int) []int8 {
		v := make([]int8, n)
		for i := range v {
			v[i] = int8(rng.IntN(255) - 127)
		}
		return v
	}
	for _, s := range [][2]int{{128, 32}, {256, 128}, {512, 256}, {1024, 512}} {
		rows, cols := s[0], s[1]
		m, err := kernels.NewMatrixI8(rows, cols, kernels.PackI8(small(rows*cols), rows, cols))
		if err != nil {
			b.Fatal(err)
		}
		x, sums := small(4*m.PaddedCols()), make([]int32, 4*m.PaddedRows())
		for _, n := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("%dx%d/columns=%d", rows, cols, n), func(b *testing.B) {
				eachTier(b, func(b *testing.B) {
					b.SetBytes(int64(m.Bytes()))
					for b.Loop() {
						m.Mul(sums, x, n)
					}
				})
			})
		}
	}
}

// BenchmarkElements runs the kernels without a matrix on 256 elements or hidden units.
func BenchmarkElements(b *testing.B) {
	const n = 256
	rng := rand.New(rand.NewPCG(1, 2))
	floats := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	x, y, z, u, h, c, inv := floats(n), floats(n), floats(4*n), floats(3*n), floats(n), floats(n), floats(n)
	q, lo, sums := make([]int8, n), make([]int8, n), make([]int32, n)
	for _, k := range []struct {
		name string
		run  func()
	}{
		{"quantise_i8", func() { kernels.QuantiseI8(q, x, inv) }},
		{"quantise_i16", func() { kernels.QuantiseI16(q, lo, x, inv) }},
		{"dequantise_i8", func() { kernels.Dequantise(y, sums, inv, x) }},
		{"dequantise_i16", func() { kernels.DequantiseI16(y, sums, sums, inv, x) }},
		{"sigmoid", func() { kernels.Sigmoid(y, x) }},
		{"tanh", func() { kernels.Tanh(y, x) }},
		{"lstm_gates", func() { kernels.LSTM(h, c, z) }},
		{"gru_gates", func() { kernels.GRU(h, z[:3*n], u) }},
		{"rnn_gates", func() { kernels.RNN(h, z[:n]) }},
	} {
		b.Run(k.name, func(b *testing.B) {
			eachTier(b, func(b *testing.B) {
				for b.Loop() {
					k.run()
				}
			})
		})
	}
}
