//go:build !amd64 || purego

package kernels

const (
	canTurn   = false
	turnBytes = 0
)

type turning struct{}

func (l *LinearI8) turn(w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
}
