//go:build !purego

package kernels

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/recur-go/recur/asm/amd64"
)

func archTiers() (tiers []*table) {
	cpu := cpuid.CPU
	if !cpu.Supports(cpuid.AVX2, cpuid.FMA3) {
		return nil
	}
	avx2 := table{
		name:          "avx2",
		mulI8:         mulI8AVX2,
		quantiseI8:    quantiseI8AVX2,
		quantiseI16:   quantiseI16AVX2,
		dequantise:    dequantiseAVX2,
		dequantiseI16: dequantiseI16AVX2,
		lstm:          lstmAVX2,
		lstmPeephole:  lstmPeepholeAVX2,
		gru:           gruAVX2,
		gruReset:      gruResetAVX2,
		gruUpdate:     gruUpdateAVX2,
		rnn:           rnnAVX2,
		rnnReLU:       rnnReLUAVX2,
		tanh:          tanhAVX2,
		sigmoid:       sigmoidAVX2,
		mulAddF32:     mulAddF32AVX2,
		linear8:       linear8AVX2,
	}
	tiers = append(tiers, &avx2)
	if cpu.Supports(cpuid.AVXVNNI) {
		vex := avx2
		vex.name = "avxvnni"
		vex.mulI8 = mulI8AVXVNNI
		vex.linear8 = linear8AVXVNNI
		vex.linear16 = linear16AVXVNNI
		vex.back, vex.backBytes = backAVXVNNI, 4*turnBytes
		vex.rowSums = true
		tiers = append(tiers, &vex)
	}
	if cpu.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512VNNI, cpuid.BMI2) {
		tiers = append(tiers, &table{
			name:          "avx512vnni",
			mulI8:         mulI8AVX512VNNI,
			quantiseI8:    quantiseI8AVX512,
			quantiseI16:   quantiseI16AVX512,
			dequantise:    dequantiseAVX512,
			dequantiseI16: dequantiseI16AVX512,
			lstm:          lstmAVX512,
			lstmPeephole:  lstmPeepholeAVX512,
			gru:           gruAVX512,
			gruReset:      gruResetAVX512,
			gruUpdate:     gruUpdateAVX512,
			rnn:           rnnAVX512,
			rnnReLU:       rnnReLUAVX512,
			tanh:          tanhAVX512,
			sigmoid:       sigmoidAVX512,
			mulAddF32:     mulAddF32AVX512,
			linear8:       linear8AVX512VNNI,
			linear16:      linear16AVX512VNNI,
			back:          backAVX512VNNI,
			rowSums:       true,
		})
	}
	return tiers
}

// callBytes bounds the weights that one call of an assembly routine goes through: the garbage collector cannot stop it half-way.
// sharedBytes does where several calls go through the same weights: a first-level cache keeps them.
const (
	callBytes   = 128 << 10
	sharedBytes = 32 << 10
)

// blockRows is how many rows of so many bytes one call takes, a panel at least. Routines take up to four panels at once.
func blockRows(bytes int, shared bool) int {
	limit := callBytes
	if shared {
		limit = sharedBytes
	}
	n := limit / PanelRows / bytes
	if n > 4 {
		n &^= 3
	}
	return PanelRows * max(1, n)
}

const (
	canTurn   = true
	turnBytes = 32 << 10 // a first-level cache keeps matrices of this size whole
)

// turning remembers the last product with more than turnBytes of weights.
type turning struct {
	weights uintptr // compared, never followed
	back    bool    // it went from the last weights to the first
}

// turn is linear8. Where the product before went through the same weights from the first to the last, it goes from the last to the first,
// so that what the caches still hold of them is used.
func (l *LinearI8) turn(w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	t, weights := &w.turning, uintptr(unsafe.Pointer(&l.W.data[0]))
	t.back = !t.back && weights == t.weights && n == 1 && active.back != nil && len(l.W.data) > active.backBytes
	t.weights = weights
	if t.back {
		active.back(l, w.Q, y, add, x)
		return
	}
	active.linear8(l, w, y, add, addStride, x, stride, n)
}

// A product is the work of mulI8, or with scale and add that of mulI8 and dequantise: y are then float32.
type product struct {
	m          *MatrixI8
	y          unsafe.Pointer
	x          []int8
	n          int
	scale, add []float32
	addStride  int  // from one column of y to the next
	pairs      bool // columns are pairs for dequantiseI16
}

// at returns where the sums of a row and column go, and what they are scaled by and added to.
func (p *product) at(column, row int) (y unsafe.Pointer, scale, add *float32) {
	if p.pairs {
		column /= 2
	}
	if p.scale != nil {
		scale, add = &p.scale[row], &p.add[column*p.addStride+row]
	}
	return unsafe.Add(p.y, 4*(column*p.m.PaddedRows()+row)), scale, add
}

// stride is the distance in bytes from one column of y to the next, or 0 for pairs.
func (p *product) stride() int {
	if p.pairs {
		return 0
	}
	return 4 * p.m.PaddedRows()
}

// block is how many rows one call of an assembly routine takes, of which the widest takes so many columns.
func (p *product) block(columns int) int { return blockRows(p.m.PaddedCols(), p.n > columns) }

// The functions of one block are not inlined: their stack check is where a goroutine in a long product can be stopped.

func (p *product) avx2() {
	block, rows := p.block(1), p.m.PaddedRows()
	for r := 0; r < rows; r += block {
		p.blockAVX2(r, min(block, rows-r))
	}
}

//go:noinline
func (p *product) blockAVX2(r, rows int) {
	cols := p.m.PaddedCols()
	for j := range p.n {
		y, scale, add := p.at(j, r)
		amd64.GemvAVX2(y, &p.m.data[r*cols], &p.x[j*cols], scale, add, cols/GroupCols, rows/PanelRows, nil, nil, 0)
	}
}

func (p *product) avxVNNI() {
	block, rows := p.block(2), p.m.PaddedRows()
	for r := 0; r < rows; r += block {
		p.blockAVXVNNI(r, min(block, rows-r))
	}
}

//go:noinline
func (p *product) blockAVXVNNI(r, rows int) {
	cols, stride := p.m.PaddedCols(), p.stride()
	w, start := &p.m.data[r*cols], &p.m.start[r]
	groups, panels := cols/GroupCols, rows/PanelRows
	j := 0
	for ; j+2 <= p.n; j += 2 {
		y, scale, add := p.at(j, r)
		amd64.Gemv2AVXVNNI(y, stride, w, &p.x[j*cols], start, scale, add, groups, panels, 4*p.addStride)
	}
	for ; j < p.n; j++ {
		y, scale, add := p.at(j, r)
		amd64.GemvAVXVNNI(y, w, &p.x[j*cols], start, scale, add, groups, panels, nil, nil, 0)
	}
}

func (p *product) avx512VNNI() {
	block, rows := p.block(4), p.m.PaddedRows()
	for r := 0; r < rows; r += block {
		p.blockAVX512VNNI(r, min(block, rows-r))
	}
}

//go:noinline
func (p *product) blockAVX512VNNI(r, rows int) {
	cols, stride := p.m.PaddedCols(), p.stride()
	w, start := &p.m.data[r*cols], &p.m.start[r]
	groups, panels := cols/GroupCols, rows/PanelRows
	j := 0
	for ; j+4 <= p.n; j += 4 {
		y, scale, add := p.at(j, r)
		amd64.Gemv4AVX512VNNI(y, 4*p.m.PaddedRows(), w, &p.x[j*cols], start, scale, add, groups, panels, 4*p.addStride, p.pairs)
	}
	for ; j+2 <= p.n; j += 2 {
		y, scale, add := p.at(j, r)
		amd64.Gemv2AVX512VNNI(y, stride, w, &p.x[j*cols], start, scale, add, groups, panels, 4*p.addStride)
	}
	for ; j < p.n; j++ {
		y, scale, add := p.at(j, r)
		amd64.GemvAVX512VNNI(y, w, &p.x[j*cols], start, scale, add, groups, panels, nil, nil, 0)
	}
}

func (p *product) avxVNNIBack() {
	block := p.block(1)
	for end := p.m.PaddedRows(); end > 0; end -= block {
		rows := min(block, end)
		p.blockBackAVXVNNI(end-rows, rows)
	}
}

//go:noinline
func (p *product) blockBackAVXVNNI(r, rows int) {
	cols := p.m.PaddedCols()
	y, scale, add := p.at(0, r)
	amd64.GemvBackAVXVNNI(y, &p.m.data[r*cols], &p.x[0], &p.m.start[r], scale, add, cols/GroupCols, rows/PanelRows)
}

func (p *product) avx512VNNIBack() {
	block := p.block(1)
	for end := p.m.PaddedRows(); end > 0; end -= block {
		rows := min(block, end)
		p.blockBackAVX512VNNI(end-rows, rows)
	}
}

//go:noinline
func (p *product) blockBackAVX512VNNI(r, rows int) {
	cols := p.m.PaddedCols()
	y, scale, add := p.at(0, r)
	amd64.GemvBackAVX512VNNI(y, &p.m.data[r*cols], &p.x[0], &p.m.start[r], scale, add, cols/GroupCols, rows/PanelRows)
}

func mulI8AVX2(m *MatrixI8, sums []int32, x []int8, n int) {
	p := product{m: m, y: unsafe.Pointer(&sums[0]), x: x, n: n}
	p.avx2()
}

func mulI8AVXVNNI(m *MatrixI8, sums []int32, x []int8, n int) {
	p := product{m: m, y: unsafe.Pointer(&sums[0]), x: x, n: n}
	p.avxVNNI()
}

func mulI8AVX512VNNI(m *MatrixI8, sums []int32, x []int8, n int) {
	p := product{m: m, y: unsafe.Pointer(&sums[0]), x: x, n: n}
	p.avx512VNNI()
}

func linear8AVX2(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if m := &l.W; n == 1 && len(m.data) <= callBytes {
		amd64.GemvAVX2(unsafe.Pointer(&y[0]), &m.data[0], &q[0], &l.Scale[0], &add[0],
			m.PaddedCols()/GroupCols, m.PaddedRows()/PanelRows, &x[0], &l.Inv[0], m.Cols)
		return
	}
	l.quantiseAVX2(q, x, stride, n)
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: n, scale: l.Scale, add: add, addStride: addStride}
	p.avx2()
}

func linear8AVXVNNI(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if m := &l.W; n == 1 && len(m.data) <= callBytes {
		amd64.GemvAVXVNNI(unsafe.Pointer(&y[0]), &m.data[0], &q[0], &m.start[0], &l.Scale[0], &add[0],
			m.PaddedCols()/GroupCols, m.PaddedRows()/PanelRows, &x[0], &l.Inv[0], m.Cols)
		return
	}
	l.quantiseAVX2(q, x, stride, n)
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: n, scale: l.Scale, add: add, addStride: addStride}
	p.avxVNNI()
}

func linear8AVX512VNNI(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if m := &l.W; n == 1 && len(m.data) <= callBytes {
		amd64.GemvAVX512VNNI(unsafe.Pointer(&y[0]), &m.data[0], &q[0], &m.start[0], &l.Scale[0], &add[0],
			m.PaddedCols()/GroupCols, m.PaddedRows()/PanelRows, &x[0], &l.Inv[0], m.Cols)
		return
	}
	for j, cols := 0, l.W.PaddedCols(); j < n; j++ {
		amd64.QuantiseI8AVX512(&q[j*cols], &x[j*stride], &l.Inv[0], &consts[0], l.W.Cols)
	}
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: n, scale: l.Scale, add: add, addStride: addStride}
	p.avx512VNNI()
}

func backAVXVNNI(l *LinearI8, q []int8, y, add, x []float32) {
	amd64.QuantiseI8AVX2(&q[0], &x[0], &l.Inv[0], &consts[0], l.W.Cols)
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: 1, scale: l.Scale, add: add}
	p.avxVNNIBack()
}

func backAVX512VNNI(l *LinearI8, q []int8, y, add, x []float32) {
	amd64.QuantiseI8AVX512(&q[0], &x[0], &l.Inv[0], &consts[0], l.W.Cols)
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: 1, scale: l.Scale, add: add}
	p.avx512VNNIBack()
}

// quantiseAVX2 quantises columns, whose padding the routine fills with zeros.
func (l *LinearI8) quantiseAVX2(q []int8, x []float32, stride, n int) {
	for j, cols := 0, l.W.PaddedCols(); j < n; j++ {
		amd64.QuantiseI8AVX2(&q[j*cols], &x[j*stride], &l.Inv[0], &consts[0], l.W.Cols)
	}
}

func linear16AVXVNNI(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if m, cols := &l.W, l.W.PaddedCols(); n == 1 && len(m.data) <= callBytes {
		amd64.QuantiseI16AVX2(&q[0], &q[cols], &x[0], &l.Inv[0], &consts[0], m.Cols)
		amd64.Gemv2AVXVNNI(unsafe.Pointer(&y[0]), 0, &m.data[0], &q[0], &m.start[0], &l.Scale[0], &add[0], cols/GroupCols, m.PaddedRows()/PanelRows, 0)
		return
	}
	for j, cols := 0, l.W.PaddedCols(); j < n; j++ {
		amd64.QuantiseI16AVX2(&q[2*j*cols], &q[(2*j+1)*cols], &x[j*stride], &l.Inv[0], &consts[0], l.W.Cols)
	}
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: 2 * n, scale: l.Scale, add: add, addStride: addStride, pairs: true}
	p.avxVNNI()
}

func linear16AVX512VNNI(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if m, cols := &l.W, l.W.PaddedCols(); n == 1 && len(m.data) <= callBytes {
		amd64.QuantiseI16AVX512(&q[0], &q[cols], &x[0], &l.Inv[0], &consts[0], m.Cols)
		amd64.Gemv2AVX512VNNI(unsafe.Pointer(&y[0]), 0, &m.data[0], &q[0], &m.start[0], &l.Scale[0], &add[0], cols/GroupCols, m.PaddedRows()/PanelRows, 0)
		return
	}
	for j, cols := 0, l.W.PaddedCols(); j < n; j++ {
		amd64.QuantiseI16AVX512(&q[2*j*cols], &q[(2*j+1)*cols], &x[j*stride], &l.Inv[0], &consts[0], l.W.Cols)
	}
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: 2 * n, scale: l.Scale, add: add, addStride: addStride, pairs: true}
	p.avx512VNNI()
}

func mulAddF32AVX2(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n int) {
	rows, cols := m.PaddedRows(), m.Cols
	block := blockRows(4*cols, n > 1)
	for r := 0; r < rows; r += block {
		mulAddBlockAVX2(m, y, add, addStride, x, stride, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulAddBlockAVX2(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n, r, count int) {
	rows, cols := m.PaddedRows(), m.Cols
	for j := range n {
		amd64.MulAddF32AVX2(&y[j*rows+r], &m.data[r*cols], &x[j*stride], &add[j*addStride+r], cols, count/PanelRows)
	}
}

func mulAddF32AVX512(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n int) {
	rows, cols := m.PaddedRows(), m.Cols
	block := blockRows(4*cols, n > 1)
	for r := 0; r < rows; r += block {
		mulAddBlockAVX512(m, y, add, addStride, x, stride, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulAddBlockAVX512(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n, r, count int) {
	rows, cols := m.PaddedRows(), m.Cols
	for j := range n {
		amd64.MulAddF32AVX512(&y[j*rows+r], &m.data[r*cols], &x[j*stride], &add[j*addStride+r], cols, count/PanelRows)
	}
}
