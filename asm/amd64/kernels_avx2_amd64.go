//go:build !purego

package amd64

//go:generate go run ../internal/c2go -c ../csrc/amd64/kernels.c -stubs kernels_avx2_amd64.go -- -mavx2 -mfma

//go:noescape
func LSTMAVX2(h, c, z, k *float32, n int)

//go:noescape
func LSTMPeepholeAVX2(h, c, z, peep, k *float32, n int)

//go:noescape
func GRUAVX2(h, x, u, k *float32, n int)

//go:noescape
func GRUResetAVX2(rh, h, x, u, k *float32, n int)

//go:noescape
func GRUUpdateAVX2(h, x, u, un, k *float32, n int)

//go:noescape
func RNNAVX2(h, z, k *float32, n int)

//go:noescape
func RNNReLUAVX2(h, z, k *float32, n int)

//go:noescape
func TanhAVX2(y, x, k *float32, n int)

//go:noescape
func SigmoidAVX2(y, x, k *float32, n int)

//go:noescape
func QuantiseI8AVX2(q *int8, x, inv, k *float32, n int)

//go:noescape
func QuantiseI16AVX2(hi, lo *int8, x, inv, k *float32, n int)

//go:noescape
func DequantiseAVX2(y *float32, sums *int32, scale, add *float32, n int)

//go:noescape
func DequantiseI16AVX2(y *float32, hi, lo *int32, scale, add *float32, n int)
