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
	}
	tiers := []*table{&neon}
	if cpuid.CPU.Supports(cpuid.ASIMDDP) {
		dotprod := neon
		dotprod.name = "dotprod"
		dotprod.mulI8 = mulI8DOTPROD
		dotprod.linear8 = linear8DOTPROD
		tiers = append(tiers, &dotprod)
	}
	return tiers
}

// callBytes bounds the weights that one call of an assembly routine goes through: the garbage collector cannot stop it half-way. A
// Cortex-A53 takes about 20 µs.
const callBytes = 64 << 10

// blockRows is how many rows of so many bytes one call takes: panels, at least one.
func blockRows(bytes int) int { return PanelRows * max(1, callBytes/PanelRows/bytes) }

func mulI8NEON(m *MatrixI8, sums []int32, x []int8, n int) {
	rows, block := m.PaddedRows(), blockRows(m.PaddedCols())
	for r := 0; r < rows; r += block {
		mulBlockNEON(m, sums, x, n, r, min(block, rows-r))
	}
}

// The functions of a block are not inlined: their stack check is where a goroutine in a long product can be stopped.

//go:noinline
func mulBlockNEON(m *MatrixI8, sums []int32, x []int8, n, r, count int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	w, groups, panels := &m.data[r*cols], cols/GroupCols, count/PanelRows
	j := 0
	for ; j+2 <= n; j += 2 {
		arm64.Gemv2NEON(unsafe.Pointer(&sums[j*rows+r]), 4*rows, w, &x[j*cols], nil, nil, groups, panels)
	}
	if j < n {
		arm64.GemvNEON(unsafe.Pointer(&sums[j*rows+r]), w, &x[j*cols], nil, nil, groups, panels)
	}
}

func linear8NEON(m *MatrixI8, q []int8, y, add, x, inv, scale []float32) {
	quantiseI8NEON(q, x, inv)
	rows, block := m.PaddedRows(), blockRows(m.PaddedCols())
	for r := 0; r < rows; r += block {
		linearBlockNEON(m, q, y, add, scale, r, min(block, rows-r))
	}
}

//go:noinline
func linearBlockNEON(m *MatrixI8, q []int8, y, add, scale []float32, r, count int) {
	cols := m.PaddedCols()
	arm64.GemvNEON(unsafe.Pointer(&y[r]), &m.data[r*cols], &q[0], &scale[r], &add[r], cols/GroupCols, count/PanelRows)
}

func mulI8DOTPROD(m *MatrixI8, sums []int32, x []int8, n int) {
	rows, block := m.PaddedRows(), blockRows(m.PaddedCols())
	for r := 0; r < rows; r += block {
		mulBlockDOTPROD(m, sums, x, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulBlockDOTPROD(m *MatrixI8, sums []int32, x []int8, n, r, count int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	w, groups, panels := &m.data[r*cols], cols/GroupCols, count/PanelRows
	j := 0
	for ; j+4 <= n; j += 4 {
		arm64.Gemv4DOTPROD(unsafe.Pointer(&sums[j*rows+r]), 4*rows, w, &x[j*cols], groups, panels)
	}
	if j+2 <= n {
		arm64.Gemv2DOTPROD(unsafe.Pointer(&sums[j*rows+r]), 4*rows, w, &x[j*cols], nil, nil, groups, panels)
		j += 2
	}
	if j < n {
		arm64.GemvDOTPROD(unsafe.Pointer(&sums[j*rows+r]), w, &x[j*cols], nil, nil, groups, panels)
	}
}

func linear8DOTPROD(m *MatrixI8, q []int8, y, add, x, inv, scale []float32) {
	quantiseI8NEON(q, x, inv)
	rows, block := m.PaddedRows(), blockRows(m.PaddedCols())
	for r := 0; r < rows; r += block {
		linearBlockDOTPROD(m, q, y, add, scale, r, min(block, rows-r))
	}
}

//go:noinline
func linearBlockDOTPROD(m *MatrixI8, q []int8, y, add, scale []float32, r, count int) {
	cols := m.PaddedCols()
	arm64.GemvDOTPROD(unsafe.Pointer(&y[r]), &m.data[r*cols], &q[0], &scale[r], &add[r], cols/GroupCols, count/PanelRows)
}

func mulAddF32NEON(m *MatrixF32, y, add, x []float32, stride, n int) {
	rows, block := m.PaddedRows(), blockRows(4*m.Cols)
	for r := 0; r < rows; r += block {
		mulAddBlockNEON(m, y, add, x, stride, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulAddBlockNEON(m *MatrixF32, y, add, x []float32, stride, n, r, count int) {
	rows, cols := m.PaddedRows(), m.Cols
	for j := range n {
		arm64.MulAddF32(&y[j*rows+r], &m.data[r*cols], &x[j*stride], &add[r], cols, count/PanelRows)
	}
}
