package kernels

import "math"

// The functions below are for what surrounds the recurrent cells, and run in portable Go everywhere. They work in float64 with each
// operation rounded on its own, and round once to float32 in the end; nothing comes from package math that has an assembly form.

const (
	settledLeast = 27 << 23    // the bits of 2^-100
	settledMost  = 0x7f7f_ffff // of the largest float32
)

// settle makes a result finite, as numbers in a file and features of an input are: what is not a number becomes 0, infinities the largest
// float32, and magnitudes below 2^-100 become 0, so that no unit that flushes subnormal numbers sees one.
func settle(x float32) float32 {
	if math.Float32bits(x)&^(1<<31)-settledLeast <= settledMost-settledLeast {
		return x
	}
	return settled(x)
}

func settled(x float32) float32 {
	switch {
	case x > 1:
		return math.MaxFloat32
	case x < -1:
		return -math.MaxFloat32
	}
	return 0
}

// Settle writes x with what is not a number as 0, infinities as the largest float32, and magnitudes below 2^-100 as 0. y may be x.
func Settle(y, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = settle(v)
	}
}

// Affine writes x*scale + shift. y may be x.
func Affine(y, x, scale, shift []float32) {
	y, scale, shift = y[:len(x)], scale[:len(x)], shift[:len(x)]
	for i, v := range x {
		y[i] = settle(float32(v*scale[i]) + shift[i])
	}
}

// Limit writes x as a state that a cell may start from: within ±2^60, and 0 where it is below 2^-60. y may be x.
func Limit(y, x []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = flush(clamp(v, 0x1p60))
	}
}

// series is Σ terms[k] x^(n-1-k) for an even number n of terms: by Horner's rule in x², for the odd powers and the even ones.
func series(x float64, terms []float64) float64 {
	square := float64(x * x)
	odd, even := terms[0], terms[1]
	for i := 2; i+1 < len(terms); i += 2 {
		odd = terms[i] + float64(odd*square)
		even = terms[i+1] + float64(even*square)
	}
	return float64(odd*x) + even
}

// 1/k! from k = 13 to 0, and 2/k for the odd k from 19 to 1.
var (
	expTerms = []float64{1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
		1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1}
	atanhTerms = []float64{2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3, 2}
)

// exp returns e^x, 0 below -700 and its value at 700 above: x = n log 2 + r, e^r by its Taylor polynomial of degree 13.
func exp(x float64) float64 {
	const magic = 0x1.8p52
	if !(x > -700) {
		return 0
	}
	x = min(x, 700)
	n := float64(float64(x*math.Log2E)+magic) - magic
	// log 2 in two parts; the first has 17 bits, so that its products with n are exact.
	r := x - float64(n*0x1.62e4p-1) - float64(n*0x1.7f7d1cf79abcap-20)
	return series(r, expTerms) * math.Float64frombits(uint64(1023+int64(n))<<52)
}

// log returns the natural logarithm of a normal x > 0: x = 2^n m with m in [√½, √2), log m = 2 atanh((m-1)/(m+1)).
func log(x float64) float64 {
	b := math.Float64bits(x)
	n := int64(b-math.Float64bits(math.Sqrt2/2)) >> 52
	m := math.Float64frombits(b - uint64(n)<<52)
	s := (m - 1) / (m + 1)
	return float64(float64(n)*math.Ln2) + atanh2(s)
}

// atanh2 returns 2 atanh(s) of |s| ≤ 1/3, by its Taylor polynomial of degree 19.
func atanh2(s float64) float64 { return float64(s * series(float64(s*s), atanhTerms)) }

// pow returns a^b; of a negative a, for integers b only, else 0.
func pow(a, b float64) float64 {
	switch {
	case b == 0 || a == 1:
		return 1
	case a == 0:
		if b < 0 {
			return math.Inf(1)
		}
		return 0
	case a > 0:
		return exp(float64(b * log(a)))
	case math.Trunc(b) != b:
		return 0
	case math.Mod(b, 2) != 0:
		return -exp(float64(b * log(-a)))
	}
	return exp(float64(b * log(-a)))
}

// erf is the error function: its Taylor series within ±3, by 1 - erfc in a continued fraction beyond (Abramowitz and Stegun 7.1.6, 7.1.14).
func erf(x float64) float64 {
	a := math.Abs(x)
	if a > 6 {
		return math.Copysign(1, x)
	}
	square := float64(a * a)
	var y float64
	if a < 3 {
		term, sum := a, a
		for n := 1; term > float64(sum*0x1p-60); n++ {
			term = float64(term * (float64(2*square) / float64(2*n+1)))
			sum += term
		}
		y = float64(float64(2/math.SqrtPi*sum) * exp(-square))
	} else {
		f := 0.0
		for k := 40; k > 0; k-- {
			f = float64(0.5*float64(k)) / (a + f)
		}
		y = 1 - float64(exp(-square)/float64(math.SqrtPi*(a+f)))
	}
	return math.Copysign(y, x)
}

// softplus returns log(1 + e^x) = max(x, 0) + log(1+v), v = e^-|x|, log(1+v) = 2 atanh(v/(2+v)).
func softplus(x float64) float64 {
	v := exp(-math.Abs(x))
	return max(x, 0) + atanh2(v/(2+v))
}

func expm1(x float64) float64 {
	if x > -1e-3 {
		return float64(x * (1 + float64(float64(x*0.5)*(1+float64(x/3)))))
	}
	return exp(x) - 1
}

func elu(x, alpha float32) float32 {
	if x >= 0 {
		return x
	}
	return float32(float64(alpha) * expm1(float64(x)))
}

func hardSigmoid(x, alpha, beta float32) float32 {
	return max(min(float32(alpha*x)+beta, 1), 0)
}

// Exp writes e^x to y. y may be x, here and below.
func Exp(y, x []float32) { apply(y, x, func(v float32) float32 { return float32(exp(float64(v))) }) }

// Log writes the natural logarithm; of what is not above 0, the lowest float32.
func Log(y, x []float32) {
	apply(y, x, func(v float32) float32 {
		if !(v > 0) {
			return -math.MaxFloat32
		}
		return float32(log(float64(v)))
	})
}

// Sqrt writes the square root; of what is below 0, 0.
func Sqrt(y, x []float32) {
	apply(y, x, func(v float32) float32 { return float32(math.Sqrt(float64(max(v, 0)))) })
}

// Abs writes |x|.
func Abs(y, x []float32) { apply(y, x, func(v float32) float32 { return max(v, -v) }) }

// Round writes the nearest integer, ties to even.
func Round(y, x []float32) {
	apply(y, x, func(v float32) float32 { return float32(math.RoundToEven(float64(v))) })
}

// Floor writes the next integer below.
func Floor(y, x []float32) {
	apply(y, x, func(v float32) float32 { return float32(math.Floor(float64(v))) })
}

// Erf writes the error function.
func Erf(y, x []float32) { apply(y, x, func(v float32) float32 { return float32(erf(float64(v))) }) }

// Softplus writes log(1 + e^x).
func Softplus(y, x []float32) {
	apply(y, x, func(v float32) float32 { return float32(softplus(float64(v))) })
}

// Softsign writes x/(1+|x|).
func Softsign(y, x []float32) { apply(y, x, func(v float32) float32 { return v / (1 + max(v, -v)) }) }

// Clip writes min(max(x, low), high).
func Clip(y, x []float32, low, high float32) {
	apply(y, x, func(v float32) float32 { return min(max(v, low), high) })
}

// ELU writes x, or alpha (e^x - 1) where x is below 0 (Clevert et al. 2016).
func ELU(y, x []float32, alpha float32) {
	apply(y, x, func(v float32) float32 { return elu(v, alpha) })
}

// LeakyReLU writes x, or alpha x where x is below 0.
func LeakyReLU(y, x []float32, alpha float32) {
	apply(y, x, func(v float32) float32 { return leakyReLU(v, alpha) })
}

func leakyReLU(x, alpha float32) float32 { return max(x, 0) + float32(alpha*min(x, 0)) }

// ThresholdedReLU writes x where it is above alpha, else 0.
func ThresholdedReLU(y, x []float32, alpha float32) {
	apply(y, x, func(v float32) float32 { return thresholdedReLU(v, alpha) })
}

func thresholdedReLU(x, alpha float32) float32 {
	if x > alpha {
		return x
	}
	return 0
}

// HardSigmoid writes alpha x + beta within [0, 1].
func HardSigmoid(y, x []float32, alpha, beta float32) {
	apply(y, x, func(v float32) float32 { return hardSigmoid(v, alpha, beta) })
}

func apply(y, x []float32, f func(float32) float32) {
	for i, v := range x {
		y[i] = settle(f(v))
	}
}

// Arith is an operation on two numbers.
type Arith uint8

// The operations. What is divided by 0 gives the largest float32 of its sign, but 0 gives 0; Less and Equal give 1 or 0.
const (
	Add Arith = iota
	Sub
	Mul
	Div
	Minimum
	Maximum
	Pow
	Less
	Equal
)

// Combine writes a op b to y; one shorter than y, whose length divides y's, repeats.
func Combine(op Arith, y, a, b []float32) {
	var fill [2][128]float32
	a, b = longer(a, len(y), &fill[0]), longer(b, len(y), &fill[1])
	for i, k := 0, 0; len(y) > 0; {
		n := min(len(a)-i, len(b)-k, len(y))
		op.each(y[:n], a[i:i+n], b[k:k+n])
		y = y[n:]
		if i += n; i == len(a) {
			i = 0
		}
		if k += n; k == len(b) {
			k = 0
		}
	}
}

// longer repeats v in the memory of fill, if it has to be repeated and fits in there at least twice.
func longer(v []float32, n int, fill *[128]float32) []float32 {
	if len(v) >= n || 2*len(v) > len(fill) {
		return v
	}
	copies := len(fill) / len(v)
	for i := range copies {
		copy(fill[i*len(v):], v)
	}
	return fill[:copies*len(v)]
}

// each combines slices of one length.
func (op Arith) each(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	switch op {
	case Add:
		for i := range y {
			y[i] = settle(a[i] + b[i])
		}
	case Sub:
		for i := range y {
			y[i] = settle(a[i] - b[i])
		}
	case Mul:
		for i := range y {
			y[i] = settle(a[i] * b[i])
		}
	case Div:
		for i := range y {
			y[i] = settle(a[i] / b[i])
		}
	case Minimum:
		for i := range y {
			y[i] = settle(min(a[i], b[i]))
		}
	case Maximum:
		for i := range y {
			y[i] = settle(max(a[i], b[i]))
		}
	case Pow:
		for i := range y {
			y[i] = settle(float32(pow(float64(a[i]), float64(b[i]))))
		}
	case Less:
		for i := range y {
			y[i] = truth(a[i] < b[i])
		}
	case Equal:
		for i := range y {
			y[i] = truth(a[i] == b[i])
		}
	}
}

func truth(v bool) float32 {
	if v {
		return 1
	}
	return 0
}

// Select writes a where c is not 0, else b; what is shorter than y repeats.
func Select(y, c, a, b []float32) {
	for i := range y {
		v := b[i%len(b)]
		if c[i%len(c)] != 0 {
			v = a[i%len(a)]
		}
		y[i] = v
	}
}

// Sum writes the sums of every n neighbours of x, in the order of the index, in float64.
func Sum(y, x []float32, n int) {
	reduce(y, x, n, func(x []float32) float32 {
		s := 0.0
		for _, v := range x {
			s += float64(v)
		}
		return float32(s)
	})
}

// Product writes products.
func Product(y, x []float32, n int) {
	reduce(y, x, n, func(x []float32) float32 {
		s := 1.0
		for _, v := range x {
			s *= float64(v)
		}
		return float32(s)
	})
}

// Highest writes the largest of every n.
func Highest(y, x []float32, n int) { reduce(y, x, n, maxOf) }

// Lowest writes the smallest.
func Lowest(y, x []float32, n int) {
	reduce(y, x, n, func(x []float32) float32 {
		m := x[0]
		for _, v := range x[1:] {
			m = min(m, v)
		}
		return m
	})
}

func reduce(y, x []float32, n int, f func([]float32) float32) {
	for i := range y {
		y[i] = settle(f(x[i*n : (i+1)*n]))
	}
}

// Normalise writes (x - mean)/sqrt(variance + eps) of every n neighbours (Ba et al. 2016). y may be x.
func Normalise(y, x []float32, n int, eps float32) {
	for i := 0; i < len(x); i += n {
		x, y := x[i:i+n], y[i:i+n]
		sum, square := 0.0, 0.0
		for _, v := range x {
			sum += float64(v)
		}
		mean := sum / float64(n)
		for _, v := range x {
			d := float64(v) - mean
			square += float64(d * d)
		}
		root := math.Sqrt(square/float64(n) + float64(eps))
		for k, v := range x {
			y[k] = settle(float32((float64(v) - mean) / root))
		}
	}
}

// MatMul writes the product of a, [m, k], and b, [k, n], both row-major.
func MatMul(y, a, b []float32, m, k, n int) {
	for r := range m {
		row := y[r*n : (r+1)*n]
		clear(row)
		for i, v := range a[r*k : (r+1)*k] {
			for c, w := range b[i*n : (i+1)*n] {
				row[c] += float32(v * w)
			}
		}
		Settle(row, row)
	}
}
