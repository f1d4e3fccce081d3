package kernels

// Mul writes the products of the matrix and n activation vectors: sums[j*PaddedRows()+r] = Σ_c W[r][c] * x[j*PaddedCols()+c], exact in
// int32. Activations lie in [-127, 127].
func (m *MatrixI8) Mul(sums []int32, x []int8, n int) {
	active.mulI8(m, sums[:n*m.PaddedRows()], x[:n*m.PaddedCols()], n)
}

func mulI8(m *MatrixI8, sums []int32, x []int8, n int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	panel := PanelRows * cols
	for p := 0; p < rows; p += PanelRows {
		w := m.data[p/PanelRows*panel:][:panel]
		for j := range n {
			mulPanelI8(sums[j*rows+p:][:PanelRows], w, x[j*cols:][:cols])
		}
	}
}

func mulPanelI8(sums []int32, w, x []int8) {
	for r := 0; r < PanelRows; r += 4 {
		var s0, s1, s2, s3 int32
		for g := 0; g+GroupCols <= len(x); g += GroupCols {
			v := (*[GroupCols]int8)(x[g:])
			x0, x1, x2, x3 := int32(v[0]), int32(v[1]), int32(v[2]), int32(v[3])
			q := (*[4 * GroupCols]int8)(w[g*PanelRows+r*GroupCols:])
			s0 += x0*int32(q[0]) + x1*int32(q[1]) + x2*int32(q[2]) + x3*int32(q[3])
			s1 += x0*int32(q[4]) + x1*int32(q[5]) + x2*int32(q[6]) + x3*int32(q[7])
			s2 += x0*int32(q[8]) + x1*int32(q[9]) + x2*int32(q[10]) + x3*int32(q[11])
			s3 += x0*int32(q[12]) + x1*int32(q[13]) + x2*int32(q[14]) + x3*int32(q[15])
		}
		sums[r], sums[r+1], sums[r+2], sums[r+3] = s0, s1, s2, s3
	}
}

// MulAdd writes y[j*PaddedRows()+r] = add[j*addStride+r] + Σ_c W[r][c] * x[j*stride+c] for n vectors: from add, column after column, each
// product and each sum rounded. y may be add if addStride is PaddedRows().
func (m *MatrixF32) MulAdd(y, add []float32, addStride int, x []float32, stride, n int) {
	rows := m.PaddedRows()
	active.mulAddF32(m, y[:n*rows], add[:(n-1)*addStride+rows], addStride, x[:(n-1)*stride+m.Cols], stride, n)
}

func mulAddF32(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n int) {
	rows, cols := m.PaddedRows(), m.Cols
	panel := PanelRows * cols
	for p := 0; p < rows; p += PanelRows {
		w := m.data[p/PanelRows*panel:][:panel]
		for j := range n {
			out := y[j*rows+p:][:PanelRows]
			copy(out, add[j*addStride+p:][:PanelRows])
			mulPanelF32(out, w, x[j*stride:][:cols])
		}
	}
}

func mulPanelF32(y, w, x []float32) {
	for r := 0; r < PanelRows; r += 4 {
		s := (*[4]float32)(y[r:])
		s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
		for c, v := range x {
			q := (*[4]float32)(w[c*PanelRows+r:])
			s0 += float32(v * q[0])
			s1 += float32(v * q[1])
			s2 += float32(v * q[2])
			s3 += float32(v * q[3])
		}
		s[0], s[1], s[2], s[3] = s0, s1, s2, s3
	}
}
