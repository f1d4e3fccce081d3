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

// BenchmarkLSTM takes a step of an LSTM apart: the products with the input's and the recurrent weights, one after the other as in steps and
// each alone, when it may find its weights in the caches; and the gates.
func BenchmarkLSTM(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 3))
	linear := func(rows, cols int) *kernels.LinearI8 {
		v := make([]int8, rows*cols)
		for i := range v {
			v[i] = int8(rng.IntN(255) - 127)
		}
		m, err := kernels.NewMatrixI8(rows, cols, kernels.PackI8(v, rows, cols))
		if err != nil {
			b.Fatal(err)
		}
		l := &kernels.LinearI8{W: m, Inv: make([]float32, cols), Scale: make([]float32, m.PaddedRows())}
		for i := range l.Inv {
			l.Inv[i] = 100
		}
		for i := range l.Scale {
			l.Scale[i] = 1e-5
		}
		return l
	}
	for _, s := range [][2]int{{32, 128}, {64, 256}, {256, 512}} {
		in, n := s[0], s[1]
		w, u := linear(4*n, in), linear(4*n, n)
		work := &kernels.Work{Q: make([]int8, n), Sums: make([]int32, 4*n)}
		x, h, c := make([]float32, in), make([]float32, n), make([]float32, n)
		z, gates, bias := make([]float32, 4*n), make([]float32, 4*n), make([]float32, 4*n)
		input := func() { w.Mul8(work, z, bias, 0, x, 0, 1) }
		recurrent := func() { u.Mul8(work, gates, z, 0, h, 0, 1) }
		for _, part := range []struct {
			name string
			run  []func()
		}{
			{"input", []func(){input}},
			{"recurrent", []func(){recurrent}},
			{"both", []func(){input, recurrent}},
			{"gates", []func(){func() { kernels.LSTM(h, c, gates) }}},
			{"all", []func(){input, recurrent, func() { kernels.LSTM(h, c, gates) }}},
		} {
			b.Run(fmt.Sprintf("%d-%d/%s", in, n, part.name), func(b *testing.B) {
				eachTier(b, func(b *testing.B) {
					for b.Loop() {
						for _, f := range part.run {
							f()
						}
					}
				})
			})
		}
	}
}
