//go:build !purego

package amd64

//go:generate go run ../internal/c2go -c ../csrc/amd64/kernels.c -stubs kernels_avx512_amd64.go -- -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mbmi2 -mprefer-vector-width=512

//go:noescape
func LSTMAVX512(h, c, z, k *float32, n int)

//go:noescape
func LSTMPeepholeAVX512(h, c, z, peep, k *float32, n int)

//go:noescape
func GRUAVX512(h, x, u, k *float32, n int)

//go:noescape
func GRUResetAVX512(rh, h, x, u, k *float32, n int)

//go:noescape
func GRUUpdateAVX512(h, x, u, un, k *float32, n int)

//go:noescape
func RNNAVX512(h, z, k *float32, n int)

//go:noescape
func RNNReLUAVX512(h, z, k *float32, n int)

//go:noescape
func TanhAVX512(y, x, k *float32, n int)

//go:noescape
func SigmoidAVX512(y, x, k *float32, n int)

//go:noescape
func QuantiseI8AVX512(q *int8, x, inv, k *float32, n int)

//go:noescape
func QuantiseI16AVX512(hi, lo *int8, x, inv, k *float32, n int)

//go:noescape
func DequantiseAVX512(y *float32, sums *int32, scale, add *float32, n int)

//go:noescape
func DequantiseI16AVX512(y *float32, hi, lo *int32, scale, add *float32, n int)
