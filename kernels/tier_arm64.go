//go:build !purego

package kernels

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/recur-go/recur/asm/arm64"
)

func archTiers() []*table {
	neon := table{
		name:          "neon",
		mulI8:         mulI8NEON,
		quantiseI8:    quantiseI8NEON,
		quantiseI16:   quantiseI16NEON,
		dequantise:    dequantiseNEON,
		dequantiseI16: dequantiseI16NEON,
		lstm:          lstmNEON,
		lstmPeephole:  lstmPeepholeNEON,
		gru:           gruNEON,
		gruReset:      gruResetNEON,
		gruUpdate:     gruUpdateNEON,
		rnn:           rnnNEON,
		rnnReLU:       rnnReLUNEON,
		tanh:          tanhNEON,
		sigmoid:       sigmoidNEON,
		mulAddF32:     mulAddF32NEON,
		linear8:       linear8NEON,
		linear16:      linear16NEON,
	}
	tiers := []*table{&neon}
	if cpuid.CPU.Supports(cpuid.ASIMDDP) {
		dotprod := neon
		dotprod.name = "dotprod"
		dotprod.mulI8 = mulI8DOTPROD
		dotprod.linear8 = linear8DOTPROD
		dotprod.linear16 = linear16DOTPROD
		tiers = append(tiers, &dotprod)
	}
	return tiers
}

// callBytes bounds the weights that one call of an assembly routine goes through: the garbage collector cannot stop it half-way. A
// Cortex-A53 takes about 20 µs. sharedBytes does where several calls go through the same weights: a first-level cache keeps them.
const (
	callBytes   = 64 << 10
	sharedBytes = 16 << 10
)

// blockRows is how many rows of so many bytes one call takes: panels, at least one.
func blockRows(bytes int, shared bool) int {
	limit := callBytes
	if shared {
		limit = sharedBytes
	}
	return PanelRows * max(1, limit/PanelRows/bytes)
}

// A product is the work of mulI8; or with scale and add, for one column or for pairs of columns that make one, that of mulI8 and
// dequantise or dequantiseI16: y are then float32.
type product struct {
	m          *MatrixI8
	y          unsafe.Pointer
	x          []int8
	n          int
	scale, add []float32
	addStride  int  // from one column of y to the next
	dot        bool // SDOT
}

func (p *product) run() {
	rows, block := p.m.PaddedRows(), blockRows(p.m.PaddedCols(), p.n > 2)
	for r := 0; r < rows; r += block {
		p.block(r, min(block, rows-r))
	}
}

// block is not inlined: its stack check is where a goroutine in a long product can be stopped.
//
//go:noinline
func (p *product) block(r, count int) {
	rows, cols := p.m.PaddedRows(), p.m.PaddedCols()
	w, groups, panels := &p.m.data[r*cols], cols/GroupCols, count/PanelRows
	var scale, add *float32
	width := rows // of what a column of activations gives
	if p.scale != nil {
		scale = &p.scale[r]
		width = rows / min(p.n, 2)
	}
	j := 0
	if p.dot {
		for ; scale == nil && j+4 <= p.n; j += 4 {
			arm64.Gemv4DOTPROD(unsafe.Add(p.y, 4*(j*width+r)), 4*rows, w, &p.x[j*cols], groups, panels)
		}
	}
	for ; j+2 <= p.n; j += 2 {
		if scale != nil {
			add = &p.add[j/2*p.addStride+r]
		}
		y := unsafe.Add(p.y, 4*(j*width+r))
		if p.dot {
			arm64.Gemv2DOTPROD(y, 4*rows, w, &p.x[j*cols], scale, add, groups, panels)
		} else {
			arm64.Gemv2NEON(y, 4*rows, w, &p.x[j*cols], scale, add, groups, panels)
		}
	}
	if j < p.n {
		if scale != nil {
			add = &p.add[r]
		}
		y := unsafe.Add(p.y, 4*(j*width+r))
		if p.dot {
			arm64.GemvDOTPROD(y, w, &p.x[j*cols], scale, add, groups, panels)
		} else {
			arm64.GemvNEON(y, w, &p.x[j*cols], scale, add, groups, panels)
		}
	}
}

func mulI8NEON(m *MatrixI8, sums []int32, x []int8, n int) {
	p := product{m: m, y: unsafe.Pointer(&sums[0]), x: x, n: n}
	p.run()
}

func mulI8DOTPROD(m *MatrixI8, sums []int32, x []int8, n int) {
	p := product{m: m, y: unsafe.Pointer(&sums[0]), x: x, n: n, dot: true}
	p.run()
}

func linear8NEON(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if n > 1 || len(l.W.data) > callBytes || l.W.Cols < 4 {
		l.linear8(w, y, add, addStride, x, stride, n, false)
		return
	}
	arm64.QuantiseI8(&q[0], &x[0], &l.Inv[0], &armConsts[0][0], l.W.Cols)
	arm64.GemvNEON(unsafe.Pointer(&y[0]), &l.W.data[0], &q[0], &l.Scale[0], &add[0], l.W.PaddedCols()/GroupCols, l.W.PaddedRows()/PanelRows)
}

func linear8DOTPROD(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	q := w.Q
	if n > 1 || len(l.W.data) > callBytes || l.W.Cols < 4 {
		l.linear8(w, y, add, addStride, x, stride, n, true)
		return
	}
	arm64.QuantiseI8(&q[0], &x[0], &l.Inv[0], &armConsts[0][0], l.W.Cols)
	arm64.GemvDOTPROD(unsafe.Pointer(&y[0]), &l.W.data[0], &q[0], &l.Scale[0], &add[0], l.W.PaddedCols()/GroupCols, l.W.PaddedRows()/PanelRows)
}

// linear8 is the general case: several columns, or more weights than one call takes.
func (l *LinearI8) linear8(w *Work, y, add []float32, addStride int, x []float32, stride, n int, dot bool) {
	q := w.Q
	rows, cols := l.W.PaddedRows(), l.W.PaddedCols()
	for j := range n {
		quantiseI8NEON(q[j*cols:], x[j*stride:][:l.W.Cols], l.Inv)
	}
	if n == 1 {
		p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: 1, scale: l.Scale, add: add, dot: dot}
		p.run()
		return
	}
	sums := w.Sums[:n*rows]
	p := product{m: &l.W, y: unsafe.Pointer(&sums[0]), x: q, n: n, dot: dot}
	p.run()
	for j := range n {
		arm64.Dequantise(&y[j*rows], &sums[j*rows], &l.Scale[0], &add[j*addStride], rows)
	}
}

func linear16NEON(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	l.linear16(w, y, add, addStride, x, stride, n, false)
}

func linear16DOTPROD(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int) {
	l.linear16(w, y, add, addStride, x, stride, n, true)
}

func (l *LinearI8) linear16(w *Work, y, add []float32, addStride int, x []float32, stride, n int, dot bool) {
	q := w.Q
	cols := l.W.PaddedCols()
	for j := range n {
		quantiseI16NEON(q[2*j*cols:], q[(2*j+1)*cols:], x[j*stride:][:l.W.Cols], l.Inv)
	}
	p := product{m: &l.W, y: unsafe.Pointer(&y[0]), x: q, n: 2 * n, scale: l.Scale, add: add, addStride: addStride, dot: dot}
	p.run()
}

func mulAddF32NEON(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n int) {
	rows, block := m.PaddedRows(), blockRows(4*m.Cols, n > 1)
	for r := 0; r < rows; r += block {
		mulAddBlockNEON(m, y, add, addStride, x, stride, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulAddBlockNEON(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n, r, count int) {
	rows, cols := m.PaddedRows(), m.Cols
	for j := range n {
		arm64.MulAddF32(&y[j*rows+r], &m.data[r*cols], &x[j*stride], &add[j*addStride+r], cols, count/PanelRows)
	}
}
