package bench

import (
	"math/rand/v2"
	"unsafe"
)

// aligned returns zeros that begin at a cache line, as the runtime's do.
func aligned[T int8 | int32 | float32](n int) []T {
	const line = 64
	var zero T
	b := make([]byte, n*int(unsafe.Sizeof(zero))+line)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (line - 1)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b[skip:]))), n)
}

// uniform returns values in [-limit, limit).
func uniform(rng *rand.Rand, n int, limit float32) []float32 {
	v := aligned[float32](n)
	for i := range v {
		v[i] = limit * (2*rng.Float32() - 1)
	}
	return v
}
