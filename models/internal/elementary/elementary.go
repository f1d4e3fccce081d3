// Package elementary has elementary functions of which the results have the same bits on every architecture; those of package math differ in
// their last bits. Each operation is rounded on its own. They are within 1e-12 of the true ones.
package elementary

import "math"

// Exp returns e^x with x limited to ±40: x = n log 2 + r, e^r by its Taylor polynomial of degree 10.
func Exp(x float64) float64 {
	const ln2Hi, ln2Lo = 0x1.62e42feep-1, 0x1.a39ef35793c76p-33
	x = min(max(x, -40), 40)
	n := math.Floor(float64(x*math.Log2E) + 0.5)
	r := (x - float64(n*ln2Hi)) - float64(n*ln2Lo)
	sum := 1. / 3628800
	for _, c := range [...]float64{1. / 362880, 1. / 40320, 1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1} {
		sum = c + float64(r*sum)
	}
	return float64(sum * math.Float64frombits(uint64(1023+int64(n))<<52))
}

// Log returns the logarithm of a normal x > 0: x = 2^n m with m in [√½, √2), log m = 2 atanh((m-1)/(m+1)).
func Log(x float64) float64 {
	const sqrtHalf = 0x3fe6a09e667f3bcd
	b := math.Float64bits(x)
	n := int64(b-sqrtHalf) >> 52
	m := math.Float64frombits(b - uint64(n)<<52)
	s := (m - 1) / (m + 1)
	u := float64(s * s)
	sum := 2. / 17
	for _, c := range [...]float64{2. / 15, 2. / 13, 2. / 11, 2. / 9, 2. / 7, 2. / 5, 2. / 3, 2} {
		sum = c + float64(u*sum)
	}
	return float64(float64(n)*math.Ln2) + float64(s*sum)
}

// Sigmoid is 1/(1+e^-x).
func Sigmoid(x float64) float64 { return 1 / (1 + Exp(-x)) }
