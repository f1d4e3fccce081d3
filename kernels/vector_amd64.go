//go:build !purego

package kernels

import (
	"math"

	"github.com/recur-go/recur/asm/amd64"
)

var ones, absMask = math.Float32frombits(1<<32 - 1), math.Float32frombits(1<<31 - 1)

// consts is the table of asm/csrc/amd64/kernels.c.
var consts = [...]float32{
	tanhMax, -tanhMax, p0, p1, p2, p3, q1, q2, q3, q4,
	sigmoidMax, -sigmoidMax, sp0, sp1, sp2, sp3, sd0, sd1, sd2, sd3, sd4,
	0.5, 0x1p-60, absMask, MaxI8, -MaxI8, MaxI16, -MaxI16, 1.0 / 256, 256, 1, 0,
	ones, ones, ones, ones, ones, ones, ones, ones, 0, 0, 0, 0, 0, 0, 0, 0,
}

// The routines for AVX2 take vectors of 8, those for AVX-512 of 16; what is left over goes to the next smaller.

func lstmAVX2(h, c, z []float32) {
	if n := len(h) / 8; n > 0 {
		amd64.LSTMAVX2(&h[0], &c[0], &z[0], &consts[0], n)
	}
}

func lstmAVX512(h, c, z []float32) {
	n := len(h) &^ 15
	if n > 0 {
		amd64.LSTMAVX512(&h[0], &c[0], &z[0], &consts[0], n/16)
	}
	if n < len(h) {
		lstmAVX2(h[n:], c[n:], z[4*n:])
	}
}

func lstmPeepholeAVX2(h, c, z, peep []float32) {
	if n := len(h) / 8; n > 0 {
		amd64.LSTMPeepholeAVX2(&h[0], &c[0], &z[0], &peep[0], &consts[0], n)
	}
}

func lstmPeepholeAVX512(h, c, z, peep []float32) {
	n := len(h) &^ 15
	if n > 0 {
		amd64.LSTMPeepholeAVX512(&h[0], &c[0], &z[0], &peep[0], &consts[0], n/16)
	}
	if n < len(h) {
		lstmPeepholeAVX2(h[n:], c[n:], z[4*n:], peep[3*n:])
	}
}

func gruAVX2(h, x, u []float32) {
	if n := len(h) / 8; n > 0 {
		amd64.GRUAVX2(&h[0], &x[0], &u[0], &consts[0], n)
	}
}

func gruAVX512(h, x, u []float32) {
	n := len(h) &^ 15
	if n > 0 {
		amd64.GRUAVX512(&h[0], &x[0], &u[0], &consts[0], n/16)
	}
	if n < len(h) {
		gruAVX2(h[n:], x[3*n:], u[3*n:])
	}
}

func gruResetAVX2(rh, h, x, u []float32) {
	if n := len(rh) / 8; n > 0 {
		amd64.GRUResetAVX2(&rh[0], &h[0], &x[0], &u[0], &consts[0], n)
	}
}

func gruResetAVX512(rh, h, x, u []float32) {
	n := len(rh) &^ 15
	if n > 0 {
		amd64.GRUResetAVX512(&rh[0], &h[0], &x[0], &u[0], &consts[0], n/16)
	}
	if n < len(rh) {
		gruResetAVX2(rh[n:], h[n:], x[3*n:], u[2*n:])
	}
}

func gruUpdateAVX2(h, x, u, un []float32) {
	if n := len(h) / 8; n > 0 {
		amd64.GRUUpdateAVX2(&h[0], &x[0], &u[0], &un[0], &consts[0], n)
	}
}

func gruUpdateAVX512(h, x, u, un []float32) {
	n := len(h) &^ 15
	if n > 0 {
		amd64.GRUUpdateAVX512(&h[0], &x[0], &u[0], &un[0], &consts[0], n/16)
	}
	if n < len(h) {
		gruUpdateAVX2(h[n:], x[3*n:], u[2*n:], un[n:])
	}
}

func rnnAVX2(h, z []float32) {
	if n := len(h) / 8; n > 0 {
		amd64.RNNAVX2(&h[0], &z[0], &consts[0], n)
	}
}

func rnnAVX512(h, z []float32) {
	n := len(h) &^ 15
	if n > 0 {
		amd64.RNNAVX512(&h[0], &z[0], &consts[0], n/16)
	}
	if n < len(h) {
		rnnAVX2(h[n:], z[n:])
	}
}

func rnnReLUAVX2(h, z []float32) {
	if n := len(h) / 8; n > 0 {
		amd64.RNNReLUAVX2(&h[0], &z[0], &consts[0], n)
	}
}

func rnnReLUAVX512(h, z []float32) {
	n := len(h) &^ 15
	if n > 0 {
		amd64.RNNReLUAVX512(&h[0], &z[0], &consts[0], n/16)
	}
	if n < len(h) {
		rnnReLUAVX2(h[n:], z[n:])
	}
}

func tanhAVX2(y, x []float32) {
	n := len(x) &^ 7
	if n > 0 {
		amd64.TanhAVX2(&y[0], &x[0], &consts[0], n/8)
	}
	if n < len(x) {
		var t [8]float32
		copy(t[:], x[n:])
		amd64.TanhAVX2(&t[0], &t[0], &consts[0], 1)
		copy(y[n:], t[:])
	}
}

func tanhAVX512(y, x []float32) {
	n := len(x) &^ 15
	if n > 0 {
		amd64.TanhAVX512(&y[0], &x[0], &consts[0], n/16)
	}
	if n < len(x) {
		tanhAVX2(y[n:], x[n:])
	}
}

func sigmoidAVX2(y, x []float32) {
	n := len(x) &^ 7
	if n > 0 {
		amd64.SigmoidAVX2(&y[0], &x[0], &consts[0], n/8)
	}
	if n < len(x) {
		var t [8]float32
		copy(t[:], x[n:])
		amd64.SigmoidAVX2(&t[0], &t[0], &consts[0], 1)
		copy(y[n:], t[:])
	}
}

func sigmoidAVX512(y, x []float32) {
	n := len(x) &^ 15
	if n > 0 {
		amd64.SigmoidAVX512(&y[0], &x[0], &consts[0], n/16)
	}
	if n < len(x) {
		sigmoidAVX2(y[n:], x[n:])
	}
}

func quantiseI8AVX2(q []int8, x, inv []float32) {
	n := len(x) &^ 7
	if n > 0 {
		amd64.QuantiseI8AVX2(&q[0], &x[0], &inv[0], &consts[0], n)
	}
	if n < len(x) {
		var t [8]int8
		amd64.QuantiseI8AVX2(&t[0], &x[n], &inv[n], &consts[0], len(x)-n)
		copy(q[n:], t[:])
	}
}

func quantiseI8AVX512(q []int8, x, inv []float32) {
	if len(x) > 0 {
		amd64.QuantiseI8AVX512(&q[0], &x[0], &inv[0], &consts[0], len(x))
	}
}

func quantiseI16AVX2(hi, lo []int8, x, inv []float32) {
	n := len(x) &^ 7
	if n > 0 {
		amd64.QuantiseI16AVX2(&hi[0], &lo[0], &x[0], &inv[0], &consts[0], n)
	}
	if n < len(x) {
		var th, tl [8]int8
		amd64.QuantiseI16AVX2(&th[0], &tl[0], &x[n], &inv[n], &consts[0], len(x)-n)
		copy(hi[n:], th[:])
		copy(lo[n:], tl[:])
	}
}

func quantiseI16AVX512(hi, lo []int8, x, inv []float32) {
	if len(x) > 0 {
		amd64.QuantiseI16AVX512(&hi[0], &lo[0], &x[0], &inv[0], &consts[0], len(x))
	}
}

func dequantiseAVX2(y []float32, sums []int32, scale, add []float32) {
	n := len(y) &^ 7
	if n > 0 {
		amd64.DequantiseAVX2(&y[0], &sums[0], &scale[0], &add[0], n/8)
	}
	if n < len(y) {
		dequantise(y[n:], sums[n:], scale[n:], add[n:])
	}
}

func dequantiseAVX512(y []float32, sums []int32, scale, add []float32) {
	n := len(y) &^ 15
	if n > 0 {
		amd64.DequantiseAVX512(&y[0], &sums[0], &scale[0], &add[0], n/16)
	}
	if n < len(y) {
		dequantiseAVX2(y[n:], sums[n:], scale[n:], add[n:])
	}
}

func dequantiseI16AVX2(y []float32, hi, lo []int32, scale, add []float32) {
	n := len(y) &^ 7
	if n > 0 {
		amd64.DequantiseI16AVX2(&y[0], &hi[0], &lo[0], &scale[0], &add[0], n/8)
	}
	if n < len(y) {
		dequantiseI16(y[n:], hi[n:], lo[n:], scale[n:], add[n:])
	}
}

func dequantiseI16AVX512(y []float32, hi, lo []int32, scale, add []float32) {
	n := len(y) &^ 15
	if n > 0 {
		amd64.DequantiseI16AVX512(&y[0], &hi[0], &lo[0], &scale[0], &add[0], n/16)
	}
	if n < len(y) {
		dequantiseI16AVX2(y[n:], hi[n:], lo[n:], scale[n:], add[n:])
	}
}
