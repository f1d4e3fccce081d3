package kernels

// tanh(x) ≈ P/Q on [-tanhMax, tanhMax], P = x (p0 + p1 u + p2 u² + p3 u³), Q = 1 + q1 u + … + q4 u⁴, u = x²: a minimax fit by
// fit/tanh.py 3 4 8, error 1.5e-7. σ(x) = (1 + tanh(x/2))/2 uses the same constants scaled by powers of two, so S/D with D = 2Q(x/2)
// and S = P + D/2 is the same rational to the bit.
const (
	tanhMax = 8
	p0      = 0x1.ffffeap-1
	p1      = 0x1.0878aap-3
	p2      = 0x1.8132a6p-9
	p3      = 0x1.7b81fcp-17
	q1      = 0x1.d9910cp-2
	q2      = 0x1.8558bp-6
	q3      = 0x1.f1159ap-13
	q4      = 0x1.0441f2p-22

	sigmoidMax = 2 * tanhMax
	sp0        = p0 / 2
	sp1        = p1 / 8
	sp2        = p2 / 32
	sp3        = p3 / 128
	sd0        = 2
	sd1        = 2 * q1 / 4
	sd2        = 2 * q2 / 16
	sd3        = 2 * q3 / 64
	sd4        = 2 * q4 / 256
)

// tanhRatio returns tanh(x) as numerator and denominator.
func tanhRatio(x float32) (p, q float32) {
	x = clamp(x, tanhMax)
	u := float32(x * x)
	p = x * fma(fma(fma(p3, u, p2), u, p1), u, p0)
	q = fma(fma(fma(fma(q4, u, q3), u, q2), u, q1), u, 1)
	return p, q
}

// sigmoidRatio returns σ(x) as numerator and denominator.
func sigmoidRatio(x float32) (s, d float32) {
	x = clamp(x, sigmoidMax)
	u := float32(x * x)
	p := float32(x * fma(fma(fma(sp3, u, sp2), u, sp1), u, sp0))
	d = fma(fma(fma(fma(sd4, u, sd3), u, sd2), u, sd1), u, sd0)
	return fma(d, 0.5, p), d
}

// Tanh writes tanh of x to y, within 2e-6 and in [-1, 1]. y may be x.
func Tanh(y, x []float32) {
	active.tanh(y[:len(x)], x)
}

func tanh(y, x []float32) {
	for i, v := range x {
		p, q := tanhRatio(v)
		y[i] = p / q
	}
}

// Sigmoid writes 1/(1+exp(-x)) to y, within 2e-6 and in [0, 1]. y may be x.
func Sigmoid(y, x []float32) {
	active.sigmoid(y[:len(x)], x)
}

func sigmoid(y, x []float32) {
	for i, v := range x {
		s, d := sigmoidRatio(v)
		y[i] = s / d
	}
}

// ReLU writes max(x, 0) to y. y may be x.
func ReLU(y, x []float32) {
	for i, v := range x {
		if !(v > 0) {
			v = 0
		}
		y[i] = v
	}
}
