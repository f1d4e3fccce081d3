//go:build arm.7 && !purego

package kernels

import "github.com/recur-go/recur/asm/arm"

// The assembly does fours of values, or eights of units; what is left over is portable.

func lstmNEON(h, c, z []float32) {
	if n := len(h) / UnitBlock; n > 0 {
		arm.LSTM(&h[0], &c[0], &z[0], &armConsts[0][0], n)
	}
}

func lstmPeepholeNEON(h, c, z, peep []float32) {
	if n := len(h) / UnitBlock; n > 0 {
		arm.LSTMPeephole(&h[0], &c[0], &z[0], &peep[0], &armConsts[0][0], n)
	}
}

func gruNEON(h, x, u []float32) {
	if n := len(h) / UnitBlock; n > 0 {
		arm.GRU(&h[0], &x[0], &u[0], &armConsts[0][0], n)
	}
}

func gruResetNEON(rh, h, x, u []float32) {
	if n := len(rh) / UnitBlock; n > 0 {
		arm.GRUReset(&rh[0], &h[0], &x[0], &u[0], &armConsts[0][0], n)
	}
}

func gruUpdateNEON(h, x, u, un []float32) {
	if n := len(h) / UnitBlock; n > 0 {
		arm.GRUUpdate(&h[0], &x[0], &u[0], &un[0], &armConsts[0][0], n)
	}
}

func rnnNEON(h, z []float32) {
	n := len(h) &^ 7
	if n > 0 {
		arm.RNN(&h[0], &z[0], &armConsts[0][0], n/8)
	}
	rnn(h[n:], z[n:])
}

func rnnReLUNEON(h, z []float32) {
	n := len(h) &^ 7
	if n > 0 {
		arm.RNNReLU(&h[0], &z[0], &armConsts[0][0], n/8)
	}
	rnnReLU(h[n:], z[n:])
}

func tanhNEON(y, x []float32) {
	n := len(x) &^ 3
	if n > 0 {
		arm.Tanh(&y[0], &x[0], &armConsts[0][0], n)
	}
	tanh(y[n:], x[n:])
}

func sigmoidNEON(y, x []float32) {
	n := len(x) &^ 3
	if n > 0 {
		arm.Sigmoid(&y[0], &x[0], &armConsts[0][0], n)
	}
	sigmoid(y[n:], x[n:])
}

func quantiseI8NEON(q []int8, x, inv []float32) {
	if len(x) < 4 {
		quantiseI8(q, x, inv)
		return
	}
	arm.QuantiseI8(&q[0], &x[0], &inv[0], &armConsts[0][0], len(x))
}

func quantiseI16NEON(hi, lo []int8, x, inv []float32) {
	if len(x) < 4 {
		quantiseI16(hi, lo, x, inv)
		return
	}
	arm.QuantiseI16(&hi[0], &lo[0], &x[0], &inv[0], &armConsts[0][0], len(x))
}

func dequantiseNEON(y []float32, sums []int32, scale, add []float32) {
	n := len(y) &^ 3
	if n > 0 {
		arm.Dequantise(&y[0], &sums[0], &scale[0], &add[0], n)
	}
	dequantise(y[n:], sums[n:], scale[n:], add[n:])
}

func dequantiseI16NEON(y []float32, hi, lo []int32, scale, add []float32) {
	n := len(y) &^ 3
	if n > 0 {
		arm.DequantiseI16(&y[0], &hi[0], &lo[0], &scale[0], &add[0], n)
	}
	dequantiseI16(y[n:], hi[n:], lo[n:], scale[n:], add[n:])
}
