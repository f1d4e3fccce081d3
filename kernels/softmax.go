package kernels

import "math"

// Softmax writes exp(x[i]-max) / Σ exp(x[k]-max) to y, the sum in the order of the index. y may be x.
func Softmax(y, x []float32) {
	sum := expSum(y, x)
	for i, e := range y[:len(x)] {
		y[i] = e / sum
	}
}

// LogSoftmax writes x[i] - max - log Σ exp(x[k]-max) to y. y may not be x.
func LogSoftmax(y, x []float32) {
	m := maxOf(x)
	log := logf(expSum(y, x))
	for i, v := range x {
		y[i] = settle(float32(v-m) - log)
	}
}

func maxOf(x []float32) float32 {
	m := x[0]
	for _, v := range x[1:] {
		if v > m {
			m = v
		}
	}
	return m
}

func expSum(y, x []float32) (sum float32) {
	m := maxOf(x)
	for i, v := range x {
		y[i] = expf(v - m)
		sum += y[i]
	}
	return sum
}

// expf returns exp(x) for x ≤ 0, at least 2^-125: x = n log 2 + r, exp(r) by its Taylor polynomial of degree 7. It works in float64, each
// operation rounded on its own: scalar code, and without the instruction that is faster than fma.
func expf(x float32) float32 {
	const magic = 0x1.8p52
	v := float64(x)
	if !(v > -86) {
		v = -86
	}
	k := float64(v*math.Log2E) + magic
	n := k - magic
	r := v - float64(n*math.Ln2)
	r2 := float64(r * r)
	r4 := float64(r2 * r2)
	lo := (1 + r) + float64((1.0/2+float64(r*(1.0/6)))*r2)
	hi := (1.0/24 + float64(r*(1.0/120))) + float64((1.0/720+float64(r*(1.0/5040)))*r2)
	e := lo + float64(hi*r4)
	return float32(e * math.Float64frombits(uint64(1023+int64(n))<<52))
}

// logf returns log(x) for normal x ≥ 1: x = 2^n m with m in [√½, √2), log m = 2 atanh((m-1)/(m+1)).
func logf(x float32) float32 {
	const sqrtHalf = 0x3f3504f3
	b := math.Float32bits(x)
	n := int32(b-sqrtHalf) >> 23
	m := math.Float32frombits(b - uint32(n)<<23)
	s := (m - 1) / (m + 1)
	u := float32(s * s)
	p := fma(u, 2.0/9, 2.0/7)
	p = fma(p, u, 2.0/5)
	p = fma(p, u, 2.0/3)
	p = fma(p, u, 2)
	return fma(float32(n), math.Ln2, float32(s*p))
}
