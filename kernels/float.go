package kernels

import "math"

// fma returns a*b + c rounded once, as the hardware instruction does, on every platform: the product of two float32 is exact in
// float64, and the sum, if it was rounded, is made odd towards the exact value before it is rounded again (Boldo and Melquiond,
// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57, 2008).
func fma(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	// Rounding twice can only differ where s lies half-way between two normal float32, or below the smallest normal.
	if math.Float64bits(s)&(1<<29-1) != 1<<28 && (s >= minNormal || s <= -minNormal) {
		return float32(s)
	}
	return fmaOdd(p, float64(c), s)
}

const minNormal = 0x1p-126

//go:noinline
func fmaOdd(p, c, s float64) float32 {
	t := s - p
	e := (p - (s - t)) + (c - t) // s + e == p + c exactly (Knuth's TwoSum)
	if bits := math.Float64bits(s); e != 0 && bits&1 == 0 {
		if (e > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// flush returns 0 for |x| < 2^-60: states decay to exactly zero, and never to the subnormal numbers that NEON on 32-bit ARM lacks.
func flush(x float32) float32 {
	if x < 0x1p-60 && x > -0x1p-60 {
		return 0
	}
	return x
}

// clamp limits x to [-m, m]; NaN becomes m, as MINPS and FMINNM have it.
func clamp(x, m float32) float32 {
	if !(x < m) {
		x = m
	}
	if x < -m {
		x = -m
	}
	return x
}

// roundMagic is 1.5 * 2^23: adding it to |x| < 2^22 leaves x rounded to the nearest integer, ties to even, in the low bits.
const roundMagic = 0x1.8p23

func round(x float32) int32 {
	return int32(math.Float32bits(x+roundMagic)) - int32(math.Float32bits(roundMagic))
}
