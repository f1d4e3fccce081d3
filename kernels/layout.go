// Package kernels is what the runtime computes with: packed matrices, matrix-vector products, quantisation, activations and
// recurrent cells. docs/numerics.md states the order of every float operation; each function here is bit-exact on all platforms.
//
// Functions take slices whose lengths the caller has made right: a length that does not fit panics, as an index out of range
// does. The runtime, which validates models and inputs, is where errors are values.
package kernels

import (
	"bytes"
	"fmt"
	"slices"
	"unsafe"
)

const (
	// PanelRows is the number of matrix rows that a panel holds side by side.
	PanelRows = 32
	// GroupCols is the number of consecutive columns of a row that lie together in an int8 panel.
	GroupCols = 4
	// ColAlign is the multiple to which the columns of an int8 matrix and activation vectors are padded with zeros.
	ColAlign = 8
	// UnitBlock is the number of hidden units whose gates lie side by side in gate vectors.
	UnitBlock = 8
	// MaxCols bounds the columns of an int8 matrix so that no sum overflows: 65536 * 255 * 127 < 2^31, where 255 is the
	// unsigned activation of the VNNI instructions.
	MaxCols = 1 << 16
)

// Align rounds n up to a multiple of m, a power of two.
func Align(n, m int) int { return (n + m - 1) &^ (m - 1) }

// GateRow is the row, in a matrix or vector of a recurrent cell with g gates, of a gate of a hidden unit: blocks of UnitBlock
// units, in each block gate after gate.
func GateRow(g, gate, unit int) int {
	return unit/UnitBlock*UnitBlock*g + gate*UnitBlock + unit%UnitBlock
}

// PackedI8 is the length in bytes of a packed int8 matrix.
func PackedI8(rows, cols int) int { return Align(rows, PanelRows) * Align(cols, ColAlign) }

// PackedF32 is the length in float32 values of a packed float32 matrix.
func PackedF32(rows, cols int) int { return Align(rows, PanelRows) * cols }

// MatrixI8 is an int8 matrix in panels: panel p holds rows 32p to 32p+31; in it, group g holds columns 4g to 4g+3 as 32 rows of
// 4 bytes, so that one group of activations serves 128 consecutive bytes and no sum crosses lanes.
type MatrixI8 struct {
	Rows, Cols int
	data       []int8
	start      []int32 // -128 times the sum of each row, where a tier wants it
}

// CheckI8 says what is wrong with packed weights of that shape. None may be -128, and those that pad a row must be zero, so that
// whatever an activation vector holds beyond the columns does not matter.
func CheckI8(rows, cols int, data []int8) error {
	if rows <= 0 || cols <= 0 || cols > MaxCols {
		return fmt.Errorf("int8 matrix of %d by %d: want 1 or more rows, 1 to %d columns", rows, cols, MaxCols)
	}
	if want := PackedI8(rows, cols); len(data) != want {
		return fmt.Errorf("int8 matrix of %d by %d holds %d bytes, want %d", rows, cols, len(data), want)
	}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)) // a search for a byte is in assembly
	if i := bytes.IndexByte(raw, 0x80); i >= 0 {
		return fmt.Errorf("int8 matrix of %d by %d: weight %d is -128, want -127 to 127", rows, cols, i)
	}
	m := MatrixI8{Rows: rows, Cols: cols, data: data}
	for r := range m.PaddedRows() {
		for c := cols; c < m.PaddedCols(); c++ {
			if m.At(r, c) != 0 {
				return fmt.Errorf("int8 matrix of %d by %d: the padding after row %d is not zero", rows, cols, r)
			}
		}
	}
	return nil
}

// NewMatrixI8 refers to packed weights that pass CheckI8.
func NewMatrixI8(rows, cols int, data []int8) (MatrixI8, error) {
	if err := CheckI8(rows, cols, data); err != nil {
		return MatrixI8{}, err
	}
	m := MatrixI8{Rows: rows, Cols: cols, data: data}
	if slices.ContainsFunc(tiers, func(t *table) bool { return t.rowSums }) {
		m.start = make([]int32, m.PaddedRows())
		mulI8(&m, m.start, slices.Repeat([]int8{1}, m.PaddedCols()), 1)
		for i := range m.start {
			m.start[i] *= -128
		}
	}
	return m, nil
}

// PaddedRows is the number of sums that a product writes for each column.
func (m *MatrixI8) PaddedRows() int { return Align(m.Rows, PanelRows) }

// PaddedCols is the length of an activation vector.
func (m *MatrixI8) PaddedCols() int { return Align(m.Cols, ColAlign) }

// Bytes is the size of the packed weights.
func (m *MatrixI8) Bytes() int { return len(m.data) }

// PackI8 packs a row-major matrix.
func PackI8(w []int8, rows, cols int) []int8 {
	out := make([]int8, PackedI8(rows, cols))
	stride := Align(cols, ColAlign)
	for r := range rows {
		panel := out[r/PanelRows*PanelRows*stride:]
		for c := range cols {
			panel[(c/GroupCols*PanelRows+r%PanelRows)*GroupCols+c%GroupCols] = w[r*cols+c]
		}
	}
	return out
}

// At returns the weight in a row and column.
func (m *MatrixI8) At(row, col int) int8 {
	panel := row / PanelRows * PanelRows * m.PaddedCols()
	return m.data[panel+(col/GroupCols*PanelRows+row%PanelRows)*GroupCols+col%GroupCols]
}

// MatrixF32 is a float32 matrix in panels of 32 rows: in a panel, column after column, 32 values each.
type MatrixF32 struct {
	Rows, Cols int
	data       []float32
}

// NewMatrixF32 refers to packed weights.
func NewMatrixF32(rows, cols int, data []float32) (MatrixF32, error) {
	if rows <= 0 || cols <= 0 {
		return MatrixF32{}, fmt.Errorf("float32 matrix of %d by %d: want 1 or more of each", rows, cols)
	}
	if want := PackedF32(rows, cols); len(data) != want {
		return MatrixF32{}, fmt.Errorf("float32 matrix of %d by %d holds %d values, want %d", rows, cols, len(data), want)
	}
	return MatrixF32{rows, cols, data}, nil
}

// PaddedRows is the number of sums that a product writes for each column.
func (m *MatrixF32) PaddedRows() int { return Align(m.Rows, PanelRows) }

// Bytes is the size of the packed weights.
func (m *MatrixF32) Bytes() int { return 4 * len(m.data) }

// PackF32 packs a row-major matrix.
func PackF32(w []float32, rows, cols int) []float32 {
	out := make([]float32, PackedF32(rows, cols))
	for r := range rows {
		panel := out[r/PanelRows*PanelRows*cols:]
		for c := range cols {
			panel[c*PanelRows+r%PanelRows] = w[r*cols+c]
		}
	}
	return out
}

// At returns the weight in a row and column.
func (m *MatrixF32) At(row, col int) float32 {
	return m.data[row/PanelRows*PanelRows*m.Cols+col*PanelRows+row%PanelRows]
}
