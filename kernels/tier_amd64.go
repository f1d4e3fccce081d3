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
	}
	tiers = append(tiers, &avx2)
	if cpu.Supports(cpuid.AVXVNNI) {
		vex := avx2
		vex.name = "avxvnni"
		vex.mulI8 = mulI8AVXVNNI
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
			mulAddF32:     mulAddF32AVX2,
			rowSums:       true,
		})
	}
	return tiers
}

// callBytes bounds the weights that one call of an assembly routine goes through: the garbage collector cannot stop it half-way.
const callBytes = 128 << 10

// panelBlock is how many panels of so many bytes one call takes, at least 1. Routines take up to four at once.
func panelBlock(bytes int) int {
	if n := callBytes / bytes; n > 4 {
		return n &^ 3
	}
	return max(1, callBytes/bytes)
}

func mulI8AVX2(m *MatrixI8, sums []int32, x []int8, n int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	block := PanelRows * panelBlock(PanelRows*cols)
	for r := 0; r < rows; r += block {
		mulBlockAVX2(m, sums, x, n, r, min(block, rows-r))
	}
}

// The functions of a block are not inlined: their stack check is where a goroutine in a long product can be stopped.

//go:noinline
func mulBlockAVX2(m *MatrixI8, sums []int32, x []int8, n, r, count int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	for j := range n {
		amd64.GemvAVX2(unsafe.Pointer(&sums[j*rows+r]), &m.data[r*cols], &x[j*cols], nil, nil, cols/GroupCols, count/PanelRows)
	}
}

func mulI8AVXVNNI(m *MatrixI8, sums []int32, x []int8, n int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	block := PanelRows * panelBlock(PanelRows*cols)
	for r := 0; r < rows; r += block {
		mulBlockAVXVNNI(m, sums, x, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulBlockAVXVNNI(m *MatrixI8, sums []int32, x []int8, n, r, count int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	w, start := &m.data[r*cols], &m.start[r]
	groups, panels := cols/GroupCols, count/PanelRows
	j := 0
	for ; j+2 <= n; j += 2 {
		amd64.Gemv2AVXVNNI(unsafe.Pointer(&sums[j*rows+r]), 4*rows, w, &x[j*cols], start, nil, nil, groups, panels)
	}
	if j < n {
		amd64.GemvAVXVNNI(unsafe.Pointer(&sums[j*rows+r]), w, &x[j*cols], start, nil, nil, groups, panels)
	}
}

func mulI8AVX512VNNI(m *MatrixI8, sums []int32, x []int8, n int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	block := PanelRows * panelBlock(PanelRows*cols)
	for r := 0; r < rows; r += block {
		mulBlockAVX512VNNI(m, sums, x, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulBlockAVX512VNNI(m *MatrixI8, sums []int32, x []int8, n, r, count int) {
	rows, cols := m.PaddedRows(), m.PaddedCols()
	w, start := &m.data[r*cols], &m.start[r]
	groups, panels := cols/GroupCols, count/PanelRows
	j := 0
	for ; j+4 <= n; j += 4 {
		amd64.Gemv4AVX512VNNI(unsafe.Pointer(&sums[j*rows+r]), 4*rows, w, &x[j*cols], start, nil, nil, groups, panels)
	}
	if j+2 <= n {
		amd64.Gemv2AVX512VNNI(unsafe.Pointer(&sums[j*rows+r]), 4*rows, w, &x[j*cols], start, nil, nil, groups, panels)
		j += 2
	}
	if j < n {
		amd64.GemvAVX512VNNI(unsafe.Pointer(&sums[j*rows+r]), w, &x[j*cols], start, nil, nil, groups, panels)
	}
}

func mulAddF32AVX2(m *MatrixF32, y, add, x []float32, stride, n int) {
	rows, cols := m.PaddedRows(), m.Cols
	block := PanelRows * panelBlock(PanelRows*4*cols)
	for r := 0; r < rows; r += block {
		mulAddBlockAVX2(m, y, add, x, stride, n, r, min(block, rows-r))
	}
}

//go:noinline
func mulAddBlockAVX2(m *MatrixF32, y, add, x []float32, stride, n, r, count int) {
	rows, cols := m.PaddedRows(), m.Cols
	for j := range n {
		amd64.MulAddF32AVX2(&y[j*rows+r], &m.data[r*cols], &x[j*stride], &add[r], cols, count/PanelRows)
	}
}
