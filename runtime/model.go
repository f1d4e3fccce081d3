// Package runtime runs recurrent networks from .recur files: a Model is a validated file, shared and immutable; a Session is one
// stream of time steps through it; a Batch is several, which go through the weights together and come to the same bits. Stepping allocates
// nothing. docs/numerics.md states why every platform gives the same bits.
package runtime

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// Model is a network, safe for concurrent use.
type Model struct {
	file   *format.File
	nodes  []node
	plan   plan
	twoWay bool
	block  int // steps that a session takes together
	id     uint32
	unmap  func() error

	maxBytes int64 // of a session or batch
}

// plan holds the sizes that a session needs.
type plan struct {
	width  int // sum of the widths of the per-step values but the input, for one step
	fixed  int // sum of the widths of the per-sequence values
	state  int // float32 values of state
	sums   int // int32 sums, one column
	cols   int // int8 activations, one column
	gates  int // float32 gate sums, one column
	hidden int // largest hidden size or product of one, padded
	patch  int // float32 values that a convolution copies together

	places  []place // of the values
	perStep []bool  // of the operations
}

// place says where a value lies.
type place struct {
	base    int // among the values of its kind
	width   int
	perStep bool
}

// Option changes how a model is opened.
type Option func(*options)

type options struct{ maxBytes, maxWork int64 }

// MaxBytes refuses files larger than n bytes, models whose sessions need more than n bytes for a block of steps, and batches that need more
// than n bytes. The default is 1 GiB.
func MaxBytes(n int64) Option { return func(o *options) { o.maxBytes = n } }

// MaxWork refuses models of which a step costs more than about n multiply-adds, as format.File.Work counts them. The default is 2^36,
// some ten seconds.
func MaxWork(n int64) Option { return func(o *options) { o.maxWork = n } }

// Open maps a .recur file and validates it. The file must not change until Close. Errors name the file and the section.
func Open(path string, opts ...Option) (*Model, error) {
	b, unmap, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Load(b, opts...)
	if err != nil {
		unmap()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.unmap = unmap
	return m, nil
}

// Load validates the bytes of a .recur file. The model refers to b, which must not change; where b does not start at a multiple of 64
// bytes, it is copied.
func Load(b []byte, opts ...Option) (*Model, error) {
	o := options{maxBytes: 1 << 30, maxWork: 1 << 36}
	for _, f := range opts {
		f(&o)
	}
	if err := kernels.TierError(); err != nil {
		return nil, fmt.Errorf("RECUR_TIER: %w", err)
	}
	if int64(len(b)) > o.maxBytes {
		return nil, fmt.Errorf("the file has %d bytes, the limit is %d", len(b), o.maxBytes)
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%cacheLine != 0 {
		c := aligned[byte](len(b))
		copy(c, b)
		b = c
	}
	f, err := format.Decode(b)
	if err != nil {
		return nil, err
	}
	if n := f.Work(); n > o.maxWork {
		return nil, fmt.Errorf("a step costs about %d multiply-adds, the limit is %d", n, o.maxWork)
	}
	m, err := build(f)
	if err != nil {
		return nil, err
	}
	// The header's own checksum covers the section table's, and that one covers every section.
	m.id = binary.LittleEndian.Uint32(b[format.HeaderSum:])
	m.maxBytes = o.maxBytes
	if n := m.workBytes(m.block, 1) + m.streamBytes(); n > o.maxBytes {
		return nil, fmt.Errorf("a session needs %d bytes, the limit is %d", n, o.maxBytes)
	}
	return m, nil
}

// New returns the model of a file in memory.
func New(f *format.File) (*Model, error) {
	b, err := format.Encode(f)
	if err != nil {
		return nil, err
	}
	return Load(b)
}

// Close unmaps the file. The model and its sessions must not be used afterwards.
func (m *Model) Close() error {
	if m.unmap == nil {
		return nil
	}
	unmap := m.unmap
	m.unmap = nil
	return unmap()
}

// File returns the decoded file: labels, input description, metadata, operations. It must not be changed.
func (m *Model) File() *format.File { return m.file }

// InputWidth is the number of features of a time step.
func (m *Model) InputWidth() int { return m.file.Values[0].Width }

// OutputWidth is the number of channels of the output.
func (m *Model) OutputWidth() int { return m.file.Values[m.file.Output].Width }

// PerStep reports whether the output is a vector for each time step, rather than one for the sequence.
func (m *Model) PerStep() bool { return m.file.Values[m.file.Output].PerStep }

// TwoWay reports whether an operation runs backwards over time, so that only whole sequences can be run.
func (m *Model) TwoWay() bool { return m.twoWay }

// builder makes a model. What is derived from a blob is made once, however many operations refer to it.
type builder struct {
	*Model
	recalls  map[format.Ref]int // place of the state of every Recall
	feedback bool               // a step reads what the one before has stored
	matrices map[*format.Blob]kernels.MatrixI8
	vectors  map[*format.Blob][]float32 // padded
	runs     map[*format.Blob][]run
	nothing  []float32 // as many zeros as have been asked for
}

// zeros are shared, like all that operations do not write.
func (b *builder) zeros(n int) []float32 {
	if n > len(b.nothing) {
		b.nothing = aligned[float32](n)
	}
	return b.nothing[:n]
}

func build(f *format.File) (*Model, error) {
	b := &builder{Model: &Model{file: f}, recalls: map[format.Ref]int{}, matrices: map[*format.Blob]kernels.MatrixI8{},
		vectors: map[*format.Blob][]float32{}, runs: map[*format.Blob][]run{}}
	p := &b.plan
	for i, v := range f.Values {
		at := place{width: v.Width, perStep: v.PerStep}
		switch {
		case i == 0:
		case v.PerStep:
			at.base = p.width
			p.width += v.Width
		default:
			at.base = p.fixed
			p.fixed += v.Width
		}
		p.places = append(p.places, at)
	}
	for i := range f.Ops {
		op := &f.Ops[i]
		n, err := newNode(b, op)
		if err != nil {
			return nil, fmt.Errorf("operation %d (%v %q): %w", i, op.Kind, op.Name, err)
		}
		b.nodes = append(b.nodes, n)
		p.perStep = append(p.perStep, f.PerStep(op))
		b.twoWay = b.twoWay || op.Flags&format.FlagReverse != 0 && f.Blocks(op) == 0
		b.feedback = b.feedback || op.Kind == format.Recall
	}
	b.block = b.fitting()
	if b.feedback {
		b.block = 1
	}
	return b.Model, nil
}

// fitting is how many rows to run together: that is faster while their values stay in the cache.
func (m *Model) fitting() int { return min(max(1<<18/max(m.plan.width, 1), 1), BlockSteps) }

// workBytes is what a machine allocates to work in, for blocks of so many rows and of up to wide streams.
func (m *Model) workBytes(rows, wide int) int64 {
	p := &m.plan
	return 4*int64(wide)*int64(p.fixed+4*p.hidden) + 4*int64(rows*p.width+p.patch) +
		BlockSteps*(4*int64(2*p.sums+p.gates)+2*int64(p.cols))
}

// streamBytes is what it allocates for each stream.
func (m *Model) streamBytes() int64 { return 40 + 4*int64(m.plan.state) }

const cacheLine = 64

// aligned returns a zeroed slice that starts at a multiple of a cache line.
func aligned[T byte | int8 | int32 | float32](n int) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	b := make([]byte, n*size+cacheLine)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (cacheLine - 1)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b[skip:]))), n)
}

// padded is the argument of an operation with zeros up to a multiple of kernels.PanelRows.
func (b *builder) padded(op *format.Op, role format.Role) []float32 {
	blob := b.file.Arg(op, role)
	n := kernels.Align(blob.Rows, kernels.PanelRows)
	if n == blob.Rows {
		return blob.F32
	}
	if b.vectors[blob] == nil {
		b.vectors[blob] = aligned[float32](n)
		copy(b.vectors[blob], blob.F32)
	}
	return b.vectors[blob]
}

func (b *builder) matrixI8(blob *format.Blob) (m kernels.MatrixI8, err error) {
	m, ok := b.matrices[blob]
	if !ok {
		m, err = kernels.NewMatrixI8(blob.Rows, blob.Cols, blob.I8)
		b.matrices[blob] = m
	}
	return m, err
}

// linear computes y = add + W x by the scheme of its operation.
type linear struct {
	scheme format.Scheme
	i8     kernels.LinearI8
	f32    kernels.MatrixF32
	rows   int // of y
	cols   int // of x
	op     int
	role   format.Role
}

func newLinear(b *builder, op *format.Op, w, scale, inv format.Role) (l linear, err error) {
	m := b.file.Arg(op, w)
	l.scheme, l.rows, l.cols = op.Scheme, kernels.Align(m.Rows, kernels.PanelRows), m.Cols
	l.op, l.role = len(b.nodes), w
	p := &b.plan
	if op.Scheme == format.F32 {
		l.f32, err = kernels.NewMatrixF32(m.Rows, m.Cols, m.F32)
	} else {
		l.i8.W, err = b.matrixI8(m)
		l.i8.Scale = b.padded(op, scale)
		l.i8.Inv = b.file.Arg(op, inv).F32
		p.sums = max(p.sums, l.rows)
		p.cols = max(p.cols, kernels.Align(m.Cols, kernels.ColAlign))
	}
	p.gates = max(p.gates, l.rows)
	return l, err
}

// mul writes y[j*rows+r] = add[j*addStride+r] + (W x_j)[r] for n vectors x_j = x[j*stride:]. y may be add
// if addStride is rows.
func (l *linear) mul(s *machine, y, add []float32, addStride int, x []float32, stride, n int) {
	if s.productTap != nil {
		for j := range n {
			s.productTap(l.op, l.role, x[j*stride:][:l.cols])
		}
	}
	switch l.scheme {
	case format.F32:
		l.f32.MulAdd(y, add, addStride, x, stride, n)
	case format.W8A8:
		l.i8.Mul8(&s.work, y, add, addStride, x, stride, n)
	case format.W8A16:
		l.i8.Mul16(&s.work, y, add, addStride, x, stride, n)
	}
}

// copy writes sums as the output of an operation. Those of float32 products may have overflowed.
func (l *linear) copy(y, sums []float32) {
	if l.scheme == format.F32 {
		kernels.Settle(y, sums[:len(y)])
		return
	}
	copy(y, sums)
}
