// Package weights holds the arrays of trained models as their files store them: views of bytes that are read as float32 when wanted.
package weights

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Type is the element type of a tensor; numbers are little-endian.
type Type uint8

// The element types.
const (
	F64 Type = 1 + iota
	F32
	F16
	BF16
	I64
	I32
	I16
	I8
	U8
	Bool
)

var (
	names = [...]string{F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16", I64: "int64", I32: "int32", I16: "int16",
		I8: "int8", U8: "uint8", Bool: "bool"}
	sizes = [...]int{F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, Bool: 1}
)

func (t Type) String() string { return names[t] }

// Size is the number of bytes of an element.
func (t Type) Size() int { return sizes[t] }

// Tensor is an array that lies in the bytes of a file.
type Tensor struct {
	Name   string
	Shape  []int
	Type   Type
	stride []int
	data   []byte // from the first element on
	scales *Scales
}

const maxRank = 32

// New returns the tensor whose first element is element offset of data. Strides count elements; nil is row-major order. It fails unless
// all elements lie within data, and if there are more of them than data holds, as in a broadcast view.
func New(name string, t Type, shape, stride []int64, offset int64, data []byte) (*Tensor, error) {
	have := int64(len(data) / t.Size())
	if len(shape) > maxRank || stride != nil && len(stride) != len(shape) {
		return nil, fmt.Errorf("shape %v with strides %v", shape, stride)
	}
	count := int64(1)
	for _, d := range shape {
		if d < 0 || d > math.MaxInt32 {
			return nil, fmt.Errorf("shape %v", shape)
		}
		if d > 0 && count > have/d {
			return nil, fmt.Errorf("shape %v of %v wants more than the %d bytes that are there", shape, t, len(data))
		}
		count *= d
	}
	if offset < 0 || offset > have {
		return nil, fmt.Errorf("begins at element %d of %d", offset, have)
	}
	x := &Tensor{Name: name, Type: t, Shape: make([]int, len(shape)), stride: make([]int, len(shape)), data: data[int(offset)*t.Size():]}
	last, step := offset, int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		d, s := shape[i], step
		if stride != nil {
			s = stride[i]
		}
		if d > 1 && count > 0 {
			if s < 0 || s > have || s*(d-1) > have {
				return nil, fmt.Errorf("shape %v with strides %v leaves the %d elements that are there", shape, stride, have)
			}
			last += s * (d - 1)
			x.stride[i] = int(s)
		}
		x.Shape[i] = int(d)
		step *= max(d, 1)
	}
	if count > 0 && last >= have {
		return nil, fmt.Errorf("shape %v from element %d leaves the %d elements that are there", shape, offset, have)
	}
	return x, nil
}

// Scales say what quantised elements stand for: (element - Zero) · Scale. Each is one number, or a vector of one for every position
// along an axis.
type Scales struct {
	Scale, Zero *Tensor
	Axis        int
}

// Scalar is a tensor of one number.
func Scalar(v float64) *Tensor {
	return &Tensor{Type: F64, data: binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))}
}

// Quantised is the tensor of what the elements of t stand for.
func (t *Tensor) Quantised(s Scales) (*Tensor, error) {
	for _, x := range []*Tensor{s.Scale, s.Zero} {
		along := len(x.Shape) == 1 && s.Axis >= 0 && s.Axis < len(t.Shape) && t.Shape[s.Axis] == x.Shape[0]
		if len(x.Shape) != 0 && !along || x.scales != nil {
			return nil, fmt.Errorf("scales of shape %v along axis %d of shape %v", x.Shape, s.Axis, t.Shape)
		}
	}
	if len(s.Scale.Shape)+len(s.Zero.Shape) == 0 {
		s.Axis = len(t.Shape) - 1
	}
	q := *t
	q.scales = &s
	return &q, nil
}

// IsQuantised reports whether the elements stand for others.
func (t *Tensor) IsQuantised() bool { return t.scales != nil }

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Floats returns the elements in row-major order.
func (t *Tensor) Floats() []float32 {
	out := make([]float32, t.Len())
	if t.scales != nil {
		defer t.scales.apply(out, t.Shape)
	}
	size, index, at := t.Type.Size(), make([]int, len(t.Shape)), 0
	for i := range out {
		out[i] = t.Type.read(t.data[at*size:])
		for k := len(index) - 1; k >= 0; k-- {
			at += t.stride[k]
			if index[k]++; index[k] < t.Shape[k] {
				break
			}
			at -= t.stride[k] * t.Shape[k]
			index[k] = 0
		}
	}
	return out
}

// apply turns the elements of a tensor, in row-major order, into what they stand for.
func (s *Scales) apply(v []float32, shape []int) {
	scale, zero := s.Scale.Floats(), s.Zero.Floats()
	inner := 1
	for _, d := range shape[s.Axis+1:] {
		inner *= d
	}
	for i := range v {
		at := i / inner
		v[i] = (v[i] - zero[at%len(zero)]) * scale[at%len(scale)]
	}
}

func (t Type) read(b []byte) float32 {
	le := binary.LittleEndian
	switch t {
	case F64:
		return float32(math.Float64frombits(le.Uint64(b)))
	case F32:
		return math.Float32frombits(le.Uint32(b))
	case F16:
		return half(le.Uint16(b))
	case BF16:
		return math.Float32frombits(uint32(le.Uint16(b)) << 16)
	case I64:
		return float32(int64(le.Uint64(b)))
	case I32:
		return float32(int32(le.Uint32(b)))
	case I16:
		return float32(int16(le.Uint16(b)))
	case I8:
		return float32(int8(b[0]))
	}
	return float32(b[0])
}

// half converts IEEE 754 binary16.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, int(h>>10&31), uint32(h&1023)
	switch exp {
	case 0:
		v := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | uint32(exp+112)<<23 | frac<<13)
}
