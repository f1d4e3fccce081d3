package fromonnx

import (
	"fmt"
	"slices"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

const windowAttrs = "auto_pad dilations kernel_shape pads strides"

// window is a convolution or pooling of x, [batch, channels, axes...].
type window struct {
	*call
	sizes []lower.Poly // of the axes
	slide []lower.Sliding
}

// window reads the attributes of a window whose kernel has the given shape, or that of an attribute if that is nil.
func (c *call) window(kernel []int) (*window, error) {
	rank := c.in[0].Rank() - 2
	if rank < 1 || rank > 3 {
		return nil, unsupported("a window over an input of %d dimensions", rank+2)
	}
	w := &window{call: c, sizes: c.in[0].Shape()[2:], slide: make([]lower.Sliding, rank)}
	if a := c.Attr("kernel_shape"); a != nil {
		given := make([]int, len(a.Ints))
		for i, v := range a.Ints {
			given[i] = int(v)
		}
		if kernel != nil && !slices.Equal(given, kernel) {
			return nil, fmt.Errorf("kernel_shape %v for filters of %v", given, kernel)
		}
		kernel = given
	}
	if len(kernel) != rank {
		return nil, fmt.Errorf("a kernel of shape %v for %d axes", kernel, rank)
	}
	strides, err := w.list("strides", rank, 1)
	if err != nil {
		return nil, err
	}
	dilations, err := w.list("dilations", rank, 1)
	if err != nil {
		return nil, err
	}
	pads, err := w.list("pads", 2*rank, 0)
	if err != nil {
		return nil, err
	}
	for i := range w.slide {
		w.slide[i] = lower.Sliding{Kernel: kernel[i], Stride: strides[i], Dilation: dilations[i], Pad: pads[i], End: pads[rank+i]}
		if s := w.slide[i]; s.Kernel < 1 || s.Stride < 1 || s.Dilation < 1 || max(s.Kernel, s.Stride, s.Dilation, s.Pad, s.End) > maxWindow {
			return nil, unsupported("a window with a kernel of %d, stride %d and dilation %d", s.Kernel, s.Stride, s.Dilation)
		}
	}
	return w, nil
}

const maxWindow = 1 << 20

// list is an attribute of n numbers.
func (w *window) list(name string, n, otherwise int) ([]int, error) {
	a := w.Attr(name)
	if a == nil || len(a.Ints) == 0 {
		return slices.Repeat([]int{otherwise}, n), nil
	}
	if len(a.Ints) != n {
		return nil, fmt.Errorf("%s has %d values, want %d", name, len(a.Ints), n)
	}
	out := make([]int, n)
	for i, v := range a.Ints {
		out[i] = int(v)
	}
	return out, nil
}

// size is the length of an axis, which must be fixed.
func (w *window) size(i int) (int, error) {
	n, fixed := w.sizes[i].Const()
	if !fixed || n > maxWindow {
		return 0, unsupported("a window along an axis of length %v", w.sizes[i])
	}
	return int(n), nil
}

// autoPad sets the padding by auto_pad.
func (w *window) autoPad() error {
	switch how := w.string("auto_pad", "NOTSET"); how {
	case "NOTSET", "":
	case "VALID":
		for i := range w.slide {
			w.slide[i].Pad, w.slide[i].End = 0, 0
		}
	case "SAME_UPPER", "SAME_LOWER":
		for i := range w.slide {
			n, err := w.size(i)
			if err != nil {
				return err
			}
			w.slide[i].Same(n, how == "SAME_LOWER")
		}
	default:
		return unsupported("auto_pad %q", how)
	}
	return nil
}

// filters are weights that are known, with their shape: outputs, channels of a group, kernel.
func (c *call) filters(t *lower.Tensor) ([]int, []float32, error) {
	if t.Computed() {
		return nil, nil, unsupported("filters that are computed")
	}
	dims, v, err := c.tr.Numbers(t)
	if err == nil && (len(dims) < 3 || len(dims) != c.in[0].Rank()) {
		err = fmt.Errorf("filters of %d dimensions for an input of %d", len(dims), c.in[0].Rank())
	}
	return dims, v, err
}

// weighted are the filters of the node and its bias, nil if it has none.
func (c *call) weighted() (dims []int, w, bias []float32, err error) {
	if dims, w, err = c.filters(c.in[1]); err != nil {
		return nil, nil, nil, err
	}
	if b := c.arg(2); b != nil {
		bias, err = c.numbers(b)
	}
	return dims, w, bias, err
}

func conv(c *call) ([]*lower.Tensor, error) {
	dims, w, bias, err := c.weighted()
	if err != nil {
		return nil, err
	}
	k := chain{c: c}
	if z := c.arg(3); z != nil {
		if c.Domain == "" {
			return nil, fmt.Errorf("4 inputs")
		}
		t := k.do(func() (*lower.Tensor, error) { return c.convolve(c.in[0], dims, w, bias) })
		return one(k.end(k.activated(k.add(t, z))))
	}
	return one(k.end(k.activated(k.do(func() (*lower.Tensor, error) { return c.convolve(c.in[0], dims, w, bias) }))))
}

// convolve is the convolution of x, which is the first input or has its shape, with filters of shape dims.
func (c *call) convolve(x *lower.Tensor, dims []int, w, bias []float32) (*lower.Tensor, error) {
	win, err := c.window(dims[2:])
	if err != nil {
		return nil, err
	}
	if err := win.autoPad(); err != nil {
		return nil, err
	}
	groups := int(min(max(c.int("group", 1), 0), maxWindow))
	if groups == 1 && win.pointwise() {
		return c.pointwise(x, w, dims[0], bias)
	}
	return c.tr.Conv(x, w, dims[0], groups, bias, win.slide)
}

func (w *window) pointwise() bool {
	return !slices.ContainsFunc(w.slide, func(s lower.Sliding) bool {
		return s.Kernel != 1 || s.Stride != 1 || s.Pad != 0 || s.End != 0
	})
}

// pointwise is a convolution whose kernel has one point: a product with the channels of each, along whatever axes.
func (c *call) pointwise(x *lower.Tensor, w []float32, outputs int, bias []float32) (*lower.Tensor, error) {
	rank := x.Rank()
	last, back := []int64{0}, []int64{0, int64(rank) - 1}
	for ax := 2; ax < rank; ax++ {
		last, back = append(last, int64(ax)), append(back, int64(ax)-1)
	}
	k := chain{c: c}
	t := k.do(func() (*lower.Tensor, error) { return c.tr.Transpose(x, append(last, 1)) })
	t = k.do(func() (*lower.Tensor, error) { return c.tr.Dense(t, w, outputs, bias) })
	return k.end(k.do(func() (*lower.Tensor, error) { return c.tr.Transpose(t, back) }))
}

// convTranspose cuts the padding off the ends of what the filters spread, or what is beyond a given shape.
func convTranspose(c *call) ([]*lower.Tensor, error) {
	dims, w, bias, err := c.weighted()
	if err != nil {
		return nil, err
	}
	win, err := c.window(dims[2:])
	if err != nil {
		return nil, err
	}
	if err := win.transposed(); err != nil {
		return nil, err
	}
	groups := int(min(max(c.int("group", 1), 0), maxWindow))
	return one(c.tr.ConvTranspose(c.in[0], w, dims[1]*groups, groups, bias, win.slide))
}

// transposed sets the padding and the extra length of a transposed convolution.
func (w *window) transposed() error {
	n := len(w.slide)
	extra, err := w.list("output_padding", n, 0)
	if err != nil {
		return err
	}
	want, err := w.list("output_shape", n, -1)
	if err != nil {
		return err
	}
	how := w.string("auto_pad", "NOTSET")
	for i := range w.slide {
		s := &w.slide[i]
		if extra[i] < 0 || extra[i] > maxWindow || want[i] > maxWindow {
			return unsupported("output_padding %v, output_shape %v", extra, want)
		}
		s.Extra = extra[i]
		size, err := w.size(i)
		if err != nil {
			return err
		}
		switch {
		case how == "VALID":
			s.Pad, s.End = 0, 0
		case how == "SAME_UPPER" || how == "SAME_LOWER":
			if want[i] < 0 {
				want[i] = size * s.Stride
			}
		case how != "NOTSET" && how != "":
			return unsupported("auto_pad %q", how)
		}
		if want[i] >= 0 {
			fitTransposed(s, size, want[i], how == "SAME_UPPER")
		}
	}
	return nil
}

// fitTransposed pads so that an axis of length in gives one of length out; of an odd padding, the end or the beginning has more.
func fitTransposed(s *lower.Sliding, in, out int, end bool) {
	total := s.Stride*(in-1) + s.Extra + (s.Kernel-1)*s.Dilation + 1 - out
	if total < 0 {
		s.Extra, total = s.Extra-total, 0
	}
	s.Pad, s.End = total-total/2, total/2
	if end {
		s.Pad, s.End = s.End, s.Pad
	}
}

func pool(kind format.Kind) func(c *call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		w, err := c.window(nil)
		if err != nil {
			return nil, err
		}
		if err := w.autoPad(); err != nil {
			return nil, err
		}
		if c.int("ceil_mode", 0) != 0 {
			if err := w.roundUp(); err != nil {
				return nil, err
			}
		}
		return one(c.tr.WindowPool(kind, c.in[0], c.int("count_include_pad", 0) != 0, w.slide))
	}
}

// roundUp adds a position where the last window does not reach the end, unless it would begin in the padding there.
func (w *window) roundUp() error {
	for i := range w.slide {
		s := &w.slide[i]
		n, err := w.size(i)
		if err != nil {
			return err
		}
		room := n + s.Pad + s.End - (s.Kernel-1)*s.Dilation - 1
		if room >= 0 && room%s.Stride != 0 && (room/s.Stride+1)*s.Stride < n+s.Pad {
			s.Extra = 1
		}
	}
	return nil
}
