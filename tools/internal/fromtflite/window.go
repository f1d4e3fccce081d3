package fromtflite

import (
	"fmt"
	"math"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// The operators here work on [batch, height, width, channels]; lower wants channels before the axes of a window.

func (c *call) channelsFirst(t *lower.Tensor) (*lower.Tensor, error) {
	if t.Rank() != 4 {
		return nil, fmt.Errorf("a window over %d dimensions, not 4", t.Rank())
	}
	return c.tr.Transpose(t, []int64{0, 3, 1, 2})
}

func (c *call) channelsLast(t *lower.Tensor, err error) (*lower.Tensor, error) {
	if err != nil {
		return nil, err
	}
	return c.tr.Transpose(t, []int64{0, 2, 3, 1})
}

// along is how a window moves along one axis.
type along struct{ kernel, stride, dilation int64 }

// slide makes windows of padding by the rule "same": as many outputs as strides fit in the axis, or of none.
func slide(t *lower.Tensor, p tflite.Padding, axes [2]along) ([]lower.Sliding, error) {
	out := make([]lower.Sliding, 2)
	for i, a := range axes {
		if a.dilation == 0 {
			a.dilation = 1
		}
		for _, v := range []int64{a.kernel, a.stride, a.dilation} {
			if v < 1 || v > math.MaxInt16 {
				return nil, fmt.Errorf("a window %+v", a)
			}
		}
		out[i] = lower.Sliding{Kernel: int(a.kernel), Stride: int(a.stride), Dilation: int(a.dilation)}
		switch p {
		case tflite.Valid:
		case tflite.Same:
			n, fixed := t.Shape()[2+i].Const()
			if !fixed {
				return nil, unsupported("a window that moves along an axis of length %v", t.Shape()[2+i])
			}
			out[i].Same(int(n), false)
		default:
			return nil, unsupported("padding %d", p)
		}
	}
	return out, nil
}

// filters are weights [a, height, width, b], as [a, b, height·width] or [b, a, height·width].
func (c *call) filters(t *lower.Tensor, swap bool) (dims [4]int, w []float32, err error) {
	if t.Computed() {
		return dims, nil, unsupported("filters that depend on the input")
	}
	if t.Rank() != 4 {
		return dims, nil, fmt.Errorf("filters of %d dimensions", t.Rank())
	}
	shape, _, err := c.tr.Numbers(t)
	if err != nil {
		return dims, nil, err
	}
	perm := []int64{0, 3, 1, 2}
	if swap {
		perm = []int64{3, 0, 1, 2}
	}
	if t, err = c.tr.Transpose(t, perm); err != nil {
		return dims, nil, err
	}
	_, w, err = c.tr.Numbers(t)
	return [4]int(shape), w, err
}

func channels(t *lower.Tensor) (int, error) {
	n, fixed := t.Shape()[1].Const()
	if !fixed || n == 0 {
		return 0, unsupported("%v channels", t.Shape()[1])
	}
	return int(n), nil
}

func conv2D(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.Conv2DOptions](c)
	x, err := c.channelsFirst(c.in[0])
	if err != nil {
		return nil, err
	}
	dims, w, err := c.filters(c.in[1], false)
	if err != nil {
		return nil, err
	}
	in, err := channels(x)
	if err != nil {
		return nil, err
	}
	if dims[3] == 0 || in%dims[3] != 0 {
		return nil, fmt.Errorf("filters of %d channels over %d", dims[3], in)
	}
	s, err := slide(x, o.Padding, [2]along{{int64(dims[1]), int64(o.StrideH), int64(o.DilationH)}, {int64(dims[2]), int64(o.StrideW), int64(o.DilationW)}})
	if err != nil {
		return nil, err
	}
	bias, err := c.vector(2, dims[0])
	if err != nil {
		return nil, err
	}
	t, err := c.channelsLast(c.tr.Conv(x, w, dims[0], in/dims[3], bias, s))
	return c.saturate(t, err, o.Activation, false)
}

// depthwiseConv2D has filters [1, height, width, outputs], a group for every channel.
func depthwiseConv2D(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.DepthwiseConv2DOptions](c)
	x, err := c.channelsFirst(c.in[0])
	if err != nil {
		return nil, err
	}
	dims, w, err := c.filters(c.in[1], true)
	if err != nil {
		return nil, err
	}
	in, err := channels(x)
	if err != nil {
		return nil, err
	}
	if dims[0] != 1 || dims[3]%in != 0 {
		return nil, fmt.Errorf("filters of shape %v over %d channels", dims, in)
	}
	s, err := slide(x, o.Padding, [2]along{{int64(dims[1]), int64(o.StrideH), int64(o.DilationH)}, {int64(dims[2]), int64(o.StrideW), int64(o.DilationW)}})
	if err != nil {
		return nil, err
	}
	bias, err := c.vector(2, dims[3])
	if err != nil {
		return nil, err
	}
	t, err := c.channelsLast(c.tr.Conv(x, w, dims[3], in, bias, s))
	return c.saturate(t, err, o.Activation, false)
}

// transposeConv has the inputs shape, filters [outputs, height, width, channels], x, and a bias or none.
func transposeConv(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.TransposeConvOptions](c)
	shape, err := c.ints(c.in[0])
	if err != nil {
		return nil, err
	}
	x, err := c.channelsFirst(c.in[2])
	if err != nil {
		return nil, err
	}
	dims, w, err := c.filters(c.in[1], true)
	if err != nil {
		return nil, err
	}
	if len(shape) != 4 || shape[3] != int64(dims[0]) {
		return nil, fmt.Errorf("an output of shape %v from filters of %v", shape, dims)
	}
	bias, err := c.vector(3, dims[0])
	if err != nil {
		return nil, err
	}
	s := make([]lower.Sliding, 2)
	for i, stride := range []int32{o.StrideH, o.StrideW} {
		n, fixed := x.Shape()[2+i].Const()
		if !fixed || n > math.MaxInt32 || stride < 1 || stride > math.MaxInt16 || shape[1+i] < 1 || shape[1+i] > math.MaxInt32 {
			return nil, unsupported("a transposed convolution of %v points with stride %d to %d", x.Shape()[2+i], stride, shape[1+i])
		}
		s[i] = cropped(n, int64(dims[1+i]), int64(stride), shape[1+i], o.Padding)
	}
	t, err := c.channelsLast(c.tr.ConvTranspose(x, w, dims[0], 1, bias, s))
	return c.saturate(t, err, o.Activation, false)
}

// cropped is what spreads n points to out: the surplus is cut off at both ends, more of it at the last, or without padding there alone.
func cropped(n, kernel, stride, out int64, p tflite.Padding) lower.Sliding {
	s := lower.Sliding{Kernel: int(kernel), Stride: int(stride)}
	switch surplus := int((n-1)*stride + kernel - out); {
	case surplus < 0:
		s.Extra = -surplus
	case p == tflite.Valid:
		s.End = surplus
	default:
		s.Pad, s.End = surplus/2, surplus-surplus/2
	}
	return s
}

func pool2D(kind format.Kind) func(*call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		o := options[tflite.Pool2DOptions](c)
		x, err := c.channelsFirst(c.in[0])
		if err != nil {
			return nil, err
		}
		s, err := slide(x, o.Padding, [2]along{{int64(o.FilterH), int64(o.StrideH), 1}, {int64(o.FilterW), int64(o.StrideW), 1}})
		if err != nil {
			return nil, err
		}
		t, err := c.channelsLast(c.tr.WindowPool(kind, x, false, s))
		return c.activate(t, err, o.Activation)
	}
}
