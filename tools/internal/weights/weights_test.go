package weights

import (
	"math"
	"slices"
	"testing"
)

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		t    Type
		b    []byte
		want float32
	}{
		{F64, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0xbf}, -1.5},
		{F32, []byte{0, 0, 0xc0, 0xbf}, -1.5},
		{F16, []byte{0, 0xbe}, -1.5},
		{F16, []byte{1, 0}, 0x1p-24},
		{F16, []byte{0xff, 0x83}, -1023 * 0x1p-24},
		{F16, []byte{0xff, 0x7b}, 65504},
		{F16, []byte{0, 0xfc}, float32(math.Inf(-1))},
		{BF16, []byte{0xc0, 0xbf}, -1.5},
		{I64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, -2},
		{I32, []byte{0xfe, 0xff, 0xff, 0xff}, -2},
		{I16, []byte{0xfe, 0xff}, -2},
		{I8, []byte{0xfe}, -2},
		{U8, []byte{0xfe}, 254},
		{Bool, []byte{1}, 1},
	} {
		x, err := New("x", c.t, nil, nil, 0, c.b)
		if err != nil || !slices.Equal(x.Floats(), []float32{c.want}) {
			t.Errorf("%v of %v: %v (%v), want %v", c.t, c.b, x.Floats(), err, c.want)
		}
	}
}

func TestViews(t *testing.T) {
	data := []byte{0, 1, 2, 3, 4, 5, 6, 7}
	for _, c := range []struct {
		shape, stride []int64
		offset        int64
		want          []float32
	}{
		{[]int64{2, 3}, nil, 0, []float32{0, 1, 2, 3, 4, 5}},
		{[]int64{3, 2}, []int64{1, 3}, 1, []float32{1, 4, 2, 5, 3, 6}},
		{[]int64{2, 1, 2}, []int64{4, 99, 1}, 2, []float32{2, 3, 6, 7}},
		{[]int64{2, 2}, []int64{0, 1}, 6, []float32{6, 7, 6, 7}},
		{[]int64{0, 5}, []int64{1 << 40, 1}, 8, []float32{}},
	} {
		x, err := New("x", U8, c.shape, c.stride, c.offset, data)
		if err != nil || !slices.Equal(x.Floats(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestOutside(t *testing.T) {
	data := make([]byte, 32)
	for _, c := range []struct {
		shape, stride []int64
		offset        int64
	}{
		{[]int64{9}, nil, 0},
		{[]int64{8}, nil, 1},
		{[]int64{-1}, nil, 0},
		{[]int64{1 << 31, 1 << 31, 4}, nil, 0},
		{[]int64{1 << 40}, nil, 0},
		{[]int64{2}, []int64{8}, 0},
		{[]int64{2}, []int64{-1}, 1},
		{[]int64{2, 2}, []int64{math.MaxInt64, 1}, 0},
		{[]int64{2}, []int64{1, 1}, 0},
		{nil, nil, 8},
		{nil, nil, -1},
		{[]int64{0}, nil, 9},
		{[]int64{16}, []int64{0}, 0},
		{make([]int64, 33), nil, 0},
	} {
		if _, err := New("x", F32, c.shape, c.stride, c.offset, data); err == nil {
			t.Errorf("%+v of 8 elements is accepted", c)
		}
	}
}

func TestQuantised(t *testing.T) {
	x, err := New("x", I8, []int64{2, 3}, nil, 0, []byte{0, 1, 2, 0xff, 0xfe, 0xfd})
	if err != nil {
		t.Fatal(err)
	}
	vector := func(v ...byte) *Tensor {
		r, err := New("", U8, []int64{int64(len(v))}, nil, 0, v)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, c := range []struct {
		s    Scales
		want []float32 // nil is an error
	}{
		{Scales{Scalar(0.5), Scalar(1), 0}, []float32{-0.5, 0, 0.5, -1, -1.5, -2}},
		{Scales{vector(2, 4), vector(1, 0), 0}, []float32{-2, 0, 2, -4, -8, -12}},
		{Scales{vector(1, 2, 4), Scalar(1), 1}, []float32{-1, 0, 4, -2, -6, -16}},
		{Scales{vector(1, 2, 4), Scalar(1), 0}, nil},
		{Scales{vector(1, 2), Scalar(1), -1}, nil},
		{Scales{vector(1, 2), Scalar(1), 2}, nil},
		{Scales{Scalar(1), vector(), 0}, nil},
	} {
		q, err := x.Quantised(c.s)
		if (err == nil) != (c.want != nil) || err == nil && !slices.Equal(q.Floats(), c.want) {
			t.Errorf("%+v: %v, want %v", c.s, err, c.want)
		}
	}
	if q, err := x.Quantised(Scales{Scalar(1), Scalar(0), 7}); err != nil || !slices.Equal(q.Floats(), []float32{0, 1, 2, -1, -2, -3}) {
		t.Errorf("an axis that does not matter: %v", err)
	}
}
