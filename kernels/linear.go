package kernels

// LinearI8 is an affine map with quantised activations: y = W q(x) * Scale + add, where q quantises by Inv. Scale holds PaddedRows values,
// Inv one a column.
type LinearI8 struct {
	W          MatrixI8
	Inv, Scale []float32
}

// Work is the memory for the products of n vectors: n*PaddedCols activations and n*PaddedRows sums for Mul8, twice that for Mul16.
type Work struct {
	turning
	Q    []int8
	Sums []int32
}

// Mul8 writes y[j*PaddedRows()+r] for n vectors x_j = x[j*stride:]: QuantiseI8, MatrixI8.Mul and Dequantise. add_j = add[j*addStride:] holds
// one value a row; addStride of 0 adds the same to each. y may be add if addStride is PaddedRows(); it does not overlap otherwise.
func (l *LinearI8) Mul8(w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	rows, cols := l.W.PaddedRows(), l.W.PaddedCols()
	y, add, x, q := y[:n*rows], add[:(n-1)*addStride+rows], x[:(n-1)*stride+l.W.Cols], w.Q[:n*cols]
	_, _ = l.Scale[:rows], l.Inv[:l.W.Cols]
	if active.linear8 != nil {
		if canTurn && len(l.W.data) > turnBytes {
			l.turn(w, y, add, addStride, x, stride, n)
			return
		}
		active.linear8(l, w, y, add, addStride, x, stride, n)
		return
	}
	for j := range n {
		QuantiseI8(q[j*cols:], x[j*stride:][:l.W.Cols], l.Inv)
	}
	l.W.Mul(w.Sums, q, n)
	for j := range n {
		Dequantise(y[j*rows:][:rows], w.Sums[j*rows:], l.Scale, add[j*addStride:])
	}
}

// Mul16 is Mul8 with QuantiseI16 and DequantiseI16.
func (l *LinearI8) Mul16(w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	rows, cols := l.W.PaddedRows(), l.W.PaddedCols()
	y, add, x, q := y[:n*rows], add[:(n-1)*addStride+rows], x[:(n-1)*stride+l.W.Cols], w.Q[:2*n*cols]
	_, _ = l.Scale[:rows], l.Inv[:l.W.Cols]
	if active.linear16 != nil {
		active.linear16(l, w, y, add, addStride, x, stride, n)
		return
	}
	for j := range n {
		QuantiseI16(q[2*j*cols:], q[(2*j+1)*cols:], x[j*stride:][:l.W.Cols], l.Inv)
	}
	l.W.Mul(w.Sums, q, 2*n)
	for j := range n {
		DequantiseI16(y[j*rows:][:rows], w.Sums[2*j*rows:], w.Sums[(2*j+1)*rows:], l.Scale, add[j*addStride:])
	}
}
