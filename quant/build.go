package quant

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"unsafe"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// Options say how Build quantises.
type Options struct {
	Scheme format.Scheme
	// Schemes are those of the operations in their order, in place of Scheme. One without weights stays float, whatever they say.
	Schemes []format.Scheme
	// Calib are sequences of T rows of input features each, from which the int8 schemes take what is known of activations.
	Calib [][]float32
	// Range bounds the magnitude of the input features in place of Calib; the ranges of later activations are then bounded by
	// interval arithmetic, which is wider than what occurs.
	Range float32
}

// ErrRange is returned for an int8 scheme without calibration data or a range.
var ErrRange = errors.New("an int8 scheme needs the range of the input: give calibration data or a range")

// Build packs a graph into a file. Int8 weights are symmetric with one scale a row; the scales of input activations, one a channel, are
// folded into the weights, so that a row of sums needs one factor only.
func Build(g *Graph, o Options) (*format.File, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	schemes, err := o.schemes(g)
	if err != nil {
		return nil, err
	}
	var k *knowledge
	if slices.ContainsFunc(schemes, func(s format.Scheme) bool { return s != format.F32 }) {
		if k, err = learn(g, o); err != nil {
			return nil, err
		}
	}
	return k.build(g, schemes)
}

// schemes are those of the operations.
func (o *Options) schemes(g *Graph) ([]format.Scheme, error) {
	if o.Schemes != nil && len(o.Schemes) != len(g.Ops) {
		return nil, fmt.Errorf("%d schemes for %d operations", len(o.Schemes), len(g.Ops))
	}
	s := make([]format.Scheme, len(g.Ops))
	for i := range s {
		switch {
		case !g.Ops[i].products():
		case o.Schemes != nil:
			s[i] = o.Schemes[i]
		default:
			s[i] = o.Scheme
		}
	}
	return s, nil
}

func (k *knowledge) build(g *Graph, schemes []format.Scheme) (*format.File, error) {
	b := &builder{g: g, know: k, seen: map[uint64][]int{},
		f: &format.File{Meta: g.Meta, Input: g.Input, Labels: g.Labels, Values: g.Values, Output: g.Output}}
	for i := range g.Ops {
		op := &g.Ops[i]
		if err := b.op(op, schemes[i]); err != nil {
			return nil, fmt.Errorf("operation %d (%v %q): %w", i, op.Kind, op.Name, err)
		}
	}
	return b.f, nil
}

// levels is the largest integer activation of a scheme.
func levels(s format.Scheme) float32 {
	if s == format.W8A16 {
		return kernels.MaxI16
	}
	return kernels.MaxI8
}

type builder struct {
	g     *Graph
	f     *format.File
	at    *format.Op
	seen  map[uint64][]int // blobs by checksum
	know  *knowledge
	shift map[format.Role][]float32 // of the operation: how much the sums of a matrix are too small in the mean
}

// arg adds a blob, or refers to one of the same content, as the steps of a recurrence that is written out have.
func (b *builder) arg(role format.Role, blob format.Blob) {
	sum := checksum(&blob)
	for _, i := range b.seen[sum] {
		if same(&b.f.Blobs[i], &blob) {
			b.at.Args = append(b.at.Args, format.Arg{Role: role, Blob: i})
			return
		}
	}
	b.seen[sum] = append(b.seen[sum], len(b.f.Blobs))
	b.at.Args = append(b.at.Args, format.Arg{Role: role, Blob: len(b.f.Blobs)})
	b.f.Blobs = append(b.f.Blobs, blob)
}

func same(a, b *format.Blob) bool {
	return a.Kind == b.Kind && a.Rows == b.Rows && a.Cols == b.Cols && bytes.Equal(content(a), content(b))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b *format.Blob) uint64 {
	return uint64(crc32.Checksum(content(b), castagnoli))<<32 | uint64(uint32(b.Rows*31+b.Cols*7+int(b.Kind)))
}

// content is the memory of the elements, so that -0 and 0 differ.
func content(b *format.Blob) []byte {
	return slices.Concat(raw(b.I8), raw(b.I32), raw(b.F32))
}

func raw[T int8 | int32 | float32](v []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
}

func (b *builder) integers(role format.Role, v []int32) {
	b.arg(role, format.Blob{Kind: format.VecI32, Rows: len(v), Cols: 1, I32: v})
}

// vector stores v without what is too small to matter, except in factors, where a file must not hold such.
func (b *builder) vector(role format.Role, v []float32) {
	if role != format.RoleScale && role != format.RoleXInv && role != format.RoleHInv {
		v = slices.Clone(v)
		for i, x := range v {
			if abs(x) < format.MinVector {
				v[i] = 0
			}
		}
	}
	b.arg(role, format.Blob{Kind: format.VecF32, Rows: len(v), Cols: 1, F32: v})
}

// matrix packs w, and for int8 schemes quantises it for inputs of which channel k has the magnitude limit[k].
func (b *builder) matrix(role, scale format.Role, w []float32, rows, cols int, limit []float32) {
	if b.at.Scheme == format.F32 {
		b.arg(role, format.Blob{Kind: format.MatF32, Rows: rows, Cols: cols, F32: kernels.PackF32(w, rows, cols)})
		return
	}
	q := b.know.round(product{len(b.f.Ops) - 1, role}, b.at.Scheme, w, rows, cols, limit)
	b.shift[role] = q.shift
	b.arg(role, format.Blob{Kind: format.MatI8, Rows: rows, Cols: cols, I8: q.weights})
	b.vector(scale, q.scales)
}

// inverse writes the factors that take activations to integers.
func (b *builder) inverse(role format.Role, limit []float32) {
	if b.at.Scheme == format.F32 {
		return
	}
	inv := make([]float32, len(limit))
	for k, m := range limit {
		inv[k] = levels(b.at.Scheme) / m
	}
	b.vector(role, inv)
}

// gateRows moves row gate*H + unit of a matrix with cols columns to kernels.GateRow, from the first of n gates on.
func gateRows(w []float32, first, n, hidden, cols int) []float32 {
	out := make([]float32, n*kernels.Align(hidden, kernels.UnitBlock)*cols)
	if w == nil {
		return out
	}
	for g := range n {
		for u := range hidden {
			copy(out[kernels.GateRow(n, g, u)*cols:][:cols], w[((first+g)*hidden+u)*cols:][:cols])
		}
	}
	return out
}

func filled(v float32, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func (b *builder) op(op *Op, scheme format.Scheme) error {
	limit, hLimit, err := b.know.limits(len(b.f.Ops), op, scheme)
	if err != nil {
		return err
	}
	b.f.Ops = append(b.f.Ops, format.Op{Kind: op.Kind, Scheme: scheme, Flags: op.Flags, Name: op.Name, Hidden: op.Hidden, In: op.In, Out: op.Out})
	b.at = &b.f.Ops[len(b.f.Ops)-1]
	b.shift = map[format.Role][]float32{}
	if op.Dims != nil {
		b.integers(format.RoleDims, op.Dims)
	}
	if op.Params != nil {
		b.vector(format.RoleParams, op.Params)
	}
	switch op.Kind {
	case format.Affine:
		b.vector(format.RoleScale, op.Scale)
		b.vector(format.RoleShift, op.Shift)
	case format.Const:
		b.vector(format.RoleBias, op.B)
	case format.Gather:
		b.integers(format.RoleIndex, op.Index)
	case format.Recall:
		if op.H0 != nil {
			b.vector(format.RoleH0, op.H0)
		}
	case format.Dense:
		b.dense(op, limit)
	case format.Conv:
		b.conv(op, limit)
	case format.LSTM, format.GRU, format.RNN:
		b.cell(op, limit, hLimit)
	}
	return nil
}

func (b *builder) dense(op *Op, limit []float32) {
	n := op.Blocks()
	out := op.Out.Width / n
	b.matrix(format.RoleW, format.RoleWScale, op.W, out, op.In[0].Width/n, limit)
	b.bias(op, out)
	b.inverse(format.RoleXInv, limit)
}

func (b *builder) conv(op *Op, limit []float32) {
	w, err := format.ParseWindow(op.Dims) // validated before
	if err != nil {
		panic(err)
	}
	_, points, kernel := w.Points()
	out := op.Out.Width / points
	if w.Groups > 1 {
		b.vector(format.RoleW, op.W)
		b.bias(op, out)
		return
	}
	b.matrix(format.RoleW, format.RoleWScale, op.W, out, kernel*w.Channels, limit)
	b.bias(op, out)
	b.inverse(format.RoleXInv, limit)
}

func (b *builder) cell(op *Op, limit, hLimit []float32) {
	in, h := op.In[0].Width/max(op.Blocks(), 1), op.Hidden
	hp := kernels.Align(h, kernels.UnitBlock)
	n := b.at.Gates()
	b.matrix(format.RoleW, format.RoleWScale, gateRows(op.W, 0, n, h, in), n*hp, in, limit)
	if op.Flags&format.FlagResetBefore != 0 {
		b.matrix(format.RoleU, format.RoleUScale, gateRows(op.U, 0, 2, h, h), 2*hp, h, hLimit)
		b.matrix(format.RoleUn, format.RoleUnScale, gateRows(op.U, 2, 1, h, h), hp, h, hLimit)
	} else {
		b.matrix(format.RoleU, format.RoleUScale, gateRows(op.U, 0, n, h, h), n*hp, h, hLimit)
	}
	b.biases(op, n)
	if op.Peep != nil {
		b.vector(format.RolePeep, gateRows(op.Peep, 0, 3, h, 1))
	}
	if op.H0 != nil {
		b.vector(format.RoleH0, op.H0)
	}
	if op.C0 != nil {
		b.vector(format.RoleC0, op.C0)
	}
	if op.CellClip != 0 {
		b.vector(format.RoleCellClip, []float32{op.CellClip})
	}
	b.activations(op)
	b.inverse(format.RoleXInv, limit)
	b.inverse(format.RoleHInv, hLimit)
}

func (b *builder) activations(op *Op) {
	if op.Acts == nil {
		return
	}
	kinds := make([]int32, len(op.Acts))
	for i, a := range op.Acts {
		kinds[i] = int32(a)
	}
	b.integers(format.RoleActs, kinds)
	b.vector(format.RoleActParams, op.ActParams)
}

// products reports whether the operation can have an int8 scheme.
func (op *Op) products() bool {
	return op.Kind.Products() && !(op.Kind == format.Conv && op.Dims[1] > 1)
}

// bias is that of a dense operation or a convolution.
func (b *builder) bias(op *Op, out int) {
	v := make([]float32, out)
	copy(v, op.B)
	for r, s := range b.shift[format.RoleW] {
		v[r] += s
	}
	b.vector(format.RoleBias, v)
}

// biases are those of a cell with n gates.
func (b *builder) biases(op *Op, n int) {
	bias, biasH := gateRows(op.B, 0, n, op.Hidden, 1), gateRows(op.BH, 0, n, op.Hidden, 1)
	b.correct(bias, format.RoleW, n, 0, n)
	switch {
	case op.Kind != format.GRU:
		b.correct(bias, format.RoleU, n, 0, n)
	case op.Flags&format.FlagResetBefore != 0:
		b.correct(bias, format.RoleU, n, 0, 2)
		b.correct(bias, format.RoleUn, n, 2, 1)
	default:
		b.correct(biasH, format.RoleU, n, 0, n)
	}
	b.vector(format.RoleBias, bias)
	if op.Kind == format.GRU && op.Flags&format.FlagResetBefore == 0 {
		b.vector(format.RoleBiasH, biasH)
	}
}

// correct adds to the biases of n gates what the sums of a matrix of some of them, from the first one on, are too small in the mean.
func (b *builder) correct(bias []float32, role format.Role, n, first, gates int) {
	shift := b.shift[role]
	if shift == nil {
		return
	}
	for g := range gates {
		for u := range b.at.Hidden {
			bias[kernels.GateRow(n, first+g, u)] += shift[kernels.GateRow(gates, g, u)]
		}
	}
}
