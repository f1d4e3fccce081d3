// Package runtime runs recurrent networks from .recur files: a Model is a validated file, shared and immutable; a Session is one
// stream of time steps through it. Stepping allocates nothing. docs/numerics.md states why every platform gives the same bits.
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
	file     *format.File
	nodes    []node
	plan     plan
	twoWay   bool
	recalls  map[format.Ref]int // place of the state of every Recall
	feedback bool               // a step reads what the one before has stored
	id       uint32
	unmap    func() error
}

// plan holds the sizes that a session needs.
type plan struct {
	width  int   // sum of the widths of the per-step values but the input, for one step
	fixed  int   // sum of the widths of the per-sequence values
	base   []int // of each value: its place among the values of its kind
	state  int   // float32 values of state
	sums   int   // int32 sums, one column
	cols   int   // int8 activations, one column
	gates  int   // float32 gate sums, one column
	hidden int   // largest hidden size, padded
	patch  int   // float32 values that a convolution sees at one point
}

// Option changes how a model is opened.
type Option func(*options)

type options struct{ maxBytes int64 }

// MaxBytes refuses files larger than n bytes, and models whose sessions need more than n bytes for a block of steps. The default
// is 1 GiB.
func MaxBytes(n int64) Option { return func(o *options) { o.maxBytes = n } }

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
	o := options{maxBytes: 1 << 30}
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
	m, err := build(f)
	if err != nil {
		return nil, err
	}
	// The header's own checksum covers the section table's, and that one covers every section.
	m.id = binary.LittleEndian.Uint32(b[format.HeaderSum:])
	if n := m.sessionBytes(); n > o.maxBytes {
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

func build(f *format.File) (*Model, error) {
	m := &Model{file: f, recalls: map[format.Ref]int{}}
	p := &m.plan
	p.base = make([]int, len(f.Values))
	for i, v := range f.Values {
		switch {
		case i == 0:
		case v.PerStep:
			p.base[i] = p.width
			p.width += v.Width
		default:
			p.base[i] = p.fixed
			p.fixed += v.Width
		}
	}
	for i := range f.Ops {
		op := &f.Ops[i]
		n, err := newNode(m, op)
		if err != nil {
			return nil, fmt.Errorf("operation %d (%v %q): %w", i, op.Kind, op.Name, err)
		}
		m.nodes = append(m.nodes, n)
		m.twoWay = m.twoWay || op.Flags&format.FlagReverse != 0 && f.Blocks(op) == 0
		m.feedback = m.feedback || op.Kind == format.Recall
	}
	return m, nil
}

func (m *Model) sessionBytes() int64 {
	p := &m.plan
	return 4*int64(p.state+p.fixed+4*p.hidden) + blockSteps*(4*int64(p.width+2*p.sums+p.gates+p.patch)+2*int64(p.cols))
}

const cacheLine = 64

// aligned returns a zeroed slice that starts at a multiple of a cache line.
func aligned[T byte | int8 | int32 | float32](n int) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	b := make([]byte, n*size+cacheLine)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (cacheLine - 1)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b[skip:]))), n)
}

// padded returns v with zeros up to n elements.
func padded(v []float32, n int) []float32 {
	if len(v) == n {
		return v
	}
	p := aligned[float32](n)
	copy(p, v)
	return p
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

func newLinear(m *Model, op *format.Op, w, scale, inv format.Role) (l linear, err error) {
	b := m.file.Arg(op, w)
	l.scheme, l.rows, l.cols = op.Scheme, kernels.Align(b.Rows, kernels.PanelRows), b.Cols
	l.op, l.role = len(m.nodes), w
	p := &m.plan
	if op.Scheme == format.F32 {
		l.f32, err = kernels.NewMatrixF32(b.Rows, b.Cols, b.F32)
	} else {
		l.i8.W, err = kernels.NewMatrixI8(b.Rows, b.Cols, b.I8)
		l.i8.Scale = padded(m.file.Arg(op, scale).F32, l.rows)
		l.i8.Inv = m.file.Arg(op, inv).F32
		p.sums = max(p.sums, l.rows)
		p.cols = max(p.cols, kernels.Align(b.Cols, kernels.ColAlign))
	}
	p.gates = max(p.gates, l.rows)
	return l, err
}

// mul writes y[j*rows+r] = add[r] + (W x_j)[r] for n vectors x_j = x[j*stride:]. add holds rows values, and may be y where n is 1.
func (l *linear) mul(s *Session, y, add, x []float32, stride, n int) {
	if s.productTap != nil {
		for j := range n {
			s.productTap(l.op, l.role, x[j*stride:][:l.cols])
		}
	}
	switch l.scheme {
	case format.F32:
		l.f32.MulAdd(y, add, x, stride, n)
	case format.W8A8:
		l.i8.Mul8(&s.work, y, add, x, stride, n)
	case format.W8A16:
		l.i8.Mul16(&s.work, y, add, x, stride, n)
	}
}
