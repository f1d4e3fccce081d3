package kernels

const (
	// MaxI8 is the largest activation of scheme w8a8.
	MaxI8 = 127
	// MaxI16 is the largest activation of scheme w8a16, 256*hi + lo with hi and lo in [-127, 127].
	MaxI16 = 127 * 256
)

// QuantiseI8 writes q[i] = x[i]*inv[i] rounded to the nearest integer, ties to even, within [-127, 127].
func QuantiseI8(q []int8, x, inv []float32) {
	active.quantiseI8(q[:len(x)], x, inv[:len(x)])
}

func quantiseI8(q []int8, x, inv []float32) {
	for i, v := range x {
		q[i] = int8(round(clamp(float32(v*inv[i]), MaxI8)))
	}
}

// QuantiseI16 writes x[i]*inv[i], within ±MaxI16, as 256*hi[i] + lo[i]: hi is the quotient rounded to the nearest integer, ties to even,
// lo the rounded rest within [-127, 127].
func QuantiseI16(hi, lo []int8, x, inv []float32) {
	active.quantiseI16(hi[:len(x)], lo[:len(x)], x, inv[:len(x)])
}

func quantiseI16(hi, lo []int8, x, inv []float32) {
	for i, v := range x {
		v = clamp(float32(v*inv[i]), MaxI16)
		h := round(v * (1.0 / 256))
		hi[i] = int8(h)
		lo[i] = int8(round(clamp(v-float32(h)*256, MaxI8))) // both products are exact
	}
}

// Dequantise writes y[i] = fma(sums[i], scale[i], add[i]). add may be y.
func Dequantise(y []float32, sums []int32, scale, add []float32) {
	active.dequantise(y, sums[:len(y)], scale[:len(y)], add[:len(y)])
}

func dequantise(y []float32, sums []int32, scale, add []float32) {
	for i := range y {
		y[i] = fma(float32(sums[i]), scale[i], add[i])
	}
}

// DequantiseI16 is Dequantise of the sums of the two columns of a 16-bit activation: y[i] = fma(fma(hi[i], 256, lo[i]), scale[i], add[i]).
func DequantiseI16(y []float32, hi, lo []int32, scale, add []float32) {
	active.dequantiseI16(y, hi[:len(y)], lo[:len(y)], scale[:len(y)], add[:len(y)])
}

func dequantiseI16(y []float32, hi, lo []int32, scale, add []float32) {
	for i := range y {
		y[i] = fma(fma(float32(hi[i]), 256, float32(lo[i])), scale[i], add[i])
	}
}
