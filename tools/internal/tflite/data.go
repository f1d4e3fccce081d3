package tflite

import (
	"fmt"
	"math"

	"github.com/recur-go/recur/tools/internal/weights"
)

var typeNames = [...]string{"float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
	"complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16"}

func (t Type) String() string {
	if t < 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("element type %d", int8(t))
	}
	return typeNames[t]
}

// Float reports whether it is a floating-point type that Floats reads.
func (t Type) Float() bool { return floats[t] != 0 }

// Integer reports whether it is an integer type, or boolean, that Ints reads.
func (t Type) Integer() bool { return t == Int4 || integers[t].size > 0 }

var floats = map[Type]weights.Type{Float32: weights.F32, Float16: weights.F16, Float64: weights.F64, Bfloat16: weights.BF16}

var integers = map[Type]struct {
	size int
	read func([]byte) int64
}{
	Bool:   {1, func(b []byte) int64 { return int64(min(b[0], 1)) }},
	Int8:   {1, func(b []byte) int64 { return int64(int8(b[0])) }},
	Uint8:  {1, func(b []byte) int64 { return int64(b[0]) }},
	Int16:  {2, func(b []byte) int64 { return int64(int16(le.Uint16(b))) }},
	Uint16: {2, func(b []byte) int64 { return int64(le.Uint16(b)) }},
	Int32:  {4, func(b []byte) int64 { return int64(int32(le.Uint32(b))) }},
	Uint32: {4, func(b []byte) int64 { return int64(le.Uint32(b)) }},
	Int64:  {8, func(b []byte) int64 { return int64(le.Uint64(b)) }},
}

// Data is the bytes of a constant, or empty.
func (m *Model) Data(t *Tensor) []byte {
	if t.Variable || int(t.Buffer) >= len(m.Buffers) {
		return nil
	}
	return m.Buffers[t.Buffer].Data
}

// Count is the number of elements of a shape, or -1 if it is more than an int holds.
func (t *Tensor) Count() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		if d > 0 && n > math.MaxInt64/int64(d) {
			return -1
		}
		n *= int64(d)
	}
	return n
}

// Ints returns the integers of a constant as they are stored.
func (m *Model) Ints(t *Tensor) ([]int64, error) {
	b, n := m.Data(t), t.Count()
	if t.Type == Int4 {
		return nibbles(t, b, n)
	}
	kind, ok := integers[t.Type]
	switch {
	case !ok:
		return nil, fmt.Errorf("%v where integers are wanted", t.Type)
	case n < 0 || n > int64(len(b)) || int(n)*kind.size != len(b):
		return nil, mismatch(t, b)
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = kind.read(b[i*kind.size:])
	}
	return out, nil
}

// nibbles reads two elements a byte, the first in the lower half.
func nibbles(t *Tensor, b []byte, n int64) ([]int64, error) {
	if n < 0 || n > 2*int64(len(b)) || (n+1)/2 != int64(len(b)) {
		return nil, mismatch(t, b)
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(int8(b[i/2]<<(4-i%2*4)) >> 4)
	}
	return out, nil
}

func mismatch(t *Tensor, b []byte) error {
	return fmt.Errorf("shape %v of %v does not fit the %d bytes that are there", t.Shape, t.Type, len(b))
}

// Floats returns the numbers that a constant stands for: those of a floating-point type, or what its quantization makes of integers.
func (m *Model) Floats(t *Tensor) ([]float32, error) {
	b := m.Data(t)
	if kind, ok := floats[t.Type]; ok {
		shape := make([]int64, len(t.Shape))
		for i, d := range t.Shape {
			shape[i] = int64(d)
		}
		x, err := weights.New(t.Name, kind, shape, nil, 0, b)
		if err != nil || x.Len()*kind.Size() != len(b) {
			return nil, mismatch(t, b)
		}
		return x.Floats(), nil
	}
	q, err := m.Ints(t)
	if err != nil {
		return nil, err
	}
	return t.dequantize(q)
}

func (t *Tensor) dequantize(v []int64) ([]float32, error) {
	q := t.Quantization
	if err := q.check(t.Shape); err != nil {
		return nil, err
	}
	inner := 1 // elements from one index of the axis to the next
	if len(q.Scale) > 1 {
		for _, d := range t.Shape[q.Dimension+1:] {
			inner *= int(d)
		}
	}
	out := make([]float32, len(v))
	for i, x := range v {
		k := i / inner % len(q.Scale)
		if x -= q.zero(k); x == 0 { // whatever the scale: a converter divides by a range of 0
			continue
		}
		out[i] = float32(float64(q.Scale[k]) * float64(x))
		if s := q.Scale[k]; !(s >= 0 && s <= math.MaxFloat32) {
			return nil, fmt.Errorf("a scale of %v", s)
		}
	}
	return out, nil
}

// zero is the zero point that goes with a scale.
func (q *Quantization) zero(k int) int64 {
	if len(q.ZeroPoint) == 0 {
		return 0
	}
	return q.ZeroPoint[min(k, len(q.ZeroPoint)-1)]
}

func (q *Quantization) check(shape []int32) error {
	switch {
	case q == nil || len(q.Scale) == 0 || q.DetailsType != 0:
		return fmt.Errorf("integers without a scale where numbers are wanted")
	case len(q.ZeroPoint) != len(q.Scale) && len(q.ZeroPoint) > 1:
		return fmt.Errorf("%d scales and %d zero points", len(q.Scale), len(q.ZeroPoint))
	case len(q.Scale) > 1 && (q.Dimension < 0 || int(q.Dimension) >= len(shape) || int(shape[q.Dimension]) != len(q.Scale)):
		return fmt.Errorf("%d scales for axis %d of shape %v", len(q.Scale), q.Dimension, shape)
	}
	return nil
}

// Range is what an activation's quantization can express, or what a calibration saw of it. It is absent where a tensor has neither.
func (t *Tensor) Range() (low, high float32, ok bool) {
	q := t.Quantization
	switch {
	case q == nil:
		return 0, 0, false
	case len(q.Scale) == 1 && q.check(t.Shape) == nil:
		from, to, ok := limits(t.Type)
		scale, zero := float64(q.Scale[0]), float64(q.zero(0))
		low, high = float32(scale*(from-zero)), float32(scale*(to-zero))
		return low, high, ok && low < high && high-low <= math.MaxFloat32
	case len(q.Min) == 1 && len(q.Max) == 1:
		return q.Min[0], q.Max[0], q.Min[0] < q.Max[0]
	}
	return 0, 0, false
}

func limits(t Type) (from, to float64, ok bool) {
	switch t {
	case Int8:
		return math.MinInt8, math.MaxInt8, true
	case Uint8:
		return 0, math.MaxUint8, true
	case Int16:
		return math.MinInt16, math.MaxInt16, true
	}
	return 0, 0, false
}
