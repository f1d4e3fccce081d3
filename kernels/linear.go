package kernels

// LinearI8 is an affine map with quantised activations: W q(x) * Scale + add, where q quantises by Inv. Scale holds PaddedRows values,
// Inv one a column.
type LinearI8 struct {
	W          MatrixI8
	Inv, Scale []float32
}

// Work is the memory of a product of up to n vectors: n*PaddedCols activations and n*PaddedRows sums, twice that for Mul16.
type Work struct {
	Q    []int8
	Sums []int32
}

// Mul8 writes y[j*PaddedRows()+r] = Dequantise(W QuantiseI8(x_j)) for n vectors x_j = x[j*stride:]. add holds one value a row, and may
// be y itself where n is 1.
func (l *LinearI8) Mul8(w *Work, y, add, x []float32, stride, n int) {
	rows, cols := l.W.PaddedRows(), l.W.PaddedCols()
	q, sums := w.Q[:n*cols], w.Sums[:n*rows]
	y, add, x = y[:n*rows], add[:rows], x[:(n-1)*stride+l.W.Cols]
	inv, scale := l.Inv[:l.W.Cols], l.Scale[:rows]
	if active.linear8 != nil && n == 1 {
		active.linear8(&l.W, q, y, add, x, inv, scale)
		return
	}
	for j := range n {
		QuantiseI8(q[j*cols:], x[j*stride:][:l.W.Cols], inv)
	}
	l.W.Mul(sums, q, n)
	for j := range n {
		Dequantise(y[j*rows:][:rows], sums[j*rows:], scale, add)
	}
}

// Mul16 is Mul8 with QuantiseI16 and DequantiseI16.
func (l *LinearI8) Mul16(w *Work, y, add, x []float32, stride, n int) {
	rows, cols := l.W.PaddedRows(), l.W.PaddedCols()
	q, sums := w.Q[:2*n*cols], w.Sums[:2*n*rows]
	for j := range n {
		QuantiseI16(q[2*j*cols:], q[(2*j+1)*cols:], x[j*stride:][:l.W.Cols], l.Inv)
	}
	l.W.Mul(sums, q, 2*n)
	for j := range n {
		DequantiseI16(y[j*rows:][:rows], sums[2*j*rows:], sums[(2*j+1)*rows:], l.Scale, add)
	}
}
