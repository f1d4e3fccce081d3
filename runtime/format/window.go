package format

import "fmt"

// Window is how a convolution or pooling moves over a grid of up to three axes, with the channels of a point side by side. It is stored
// as RoleDims: channels, groups, flags, then seven numbers an axis.
type Window struct {
	Channels, Groups int
	CountPadding     bool // MeanPool: points of the padding count
	Axes             []WindowAxis
}

// WindowAxis is one axis of a Window, the slowest first. Points outside of the input are padding.
type WindowAxis struct {
	In, Out  int // lengths
	Kernel   int
	Stride   int
	Dilation int
	Pad, End int // padding at the beginning and the end. Where a window goes beyond that, it is smaller
}

const (
	windowHeader = 3
	windowAxis   = 7
	maxAxes      = 3
	maxExtent    = 1 << 22 // as maxWidth, so that positions stay within an int32
)

// Dims is the stored form.
func (w *Window) Dims() []int32 {
	d := []int32{int32(w.Channels), int32(w.Groups), 0}
	if w.CountPadding {
		d[2] = 1
	}
	for _, a := range w.Axes {
		d = append(d, int32(a.In), int32(a.Out), int32(a.Kernel), int32(a.Stride), int32(a.Dilation), int32(a.Pad), int32(a.End))
	}
	return d
}

// ParseWindow is the inverse of Dims; its numbers are bounded, so that positions fit an int32, and products of two volumes an int64.
func ParseWindow(d []int32) (*Window, error) {
	n := (len(d) - windowHeader) / windowAxis
	if n < 1 || n > maxAxes || len(d) != windowHeader+n*windowAxis || d[2]>>1 != 0 {
		return nil, fmt.Errorf("%d numbers describe no window", len(d))
	}
	w := &Window{Channels: int(d[0]), Groups: int(d[1]), CountPadding: d[2] == 1}
	if w.Channels < 1 || w.Channels > maxExtent || w.Groups < 1 || w.Channels%w.Groups != 0 {
		return nil, fmt.Errorf("%d channels in %d groups", w.Channels, w.Groups)
	}
	most := maxExtent / w.Channels
	left := [3]int{most, most, most} // by which the volumes of the input, the output and the kernel may still grow
	for i := range n {
		v := d[windowHeader+i*windowAxis:][:windowAxis]
		a := WindowAxis{int(v[0]), int(v[1]), int(v[2]), int(v[3]), int(v[4]), int(v[5]), int(v[6])}
		for _, x := range []int{a.In, a.Out, a.Kernel, a.Stride, a.Dilation} {
			if x < 1 || x > maxExtent {
				return nil, fmt.Errorf("axis %d of a window: %v", i, v)
			}
		}
		reach := int64(a.Out-1)*int64(a.Stride) + int64(a.Kernel-1)*int64(a.Dilation)
		if a.Pad < 0 || a.Pad > maxExtent || a.End < 0 || a.End > maxExtent || reach > 1<<30 {
			return nil, fmt.Errorf("axis %d of a window: %v", i, v)
		}
		for k, n := range []int{a.In, a.Out, a.Kernel} {
			if left[k] /= n; left[k] == 0 {
				return nil, fmt.Errorf("a window over more than %d elements", maxExtent)
			}
		}
		w.Axes = append(w.Axes, a)
	}
	return w, nil
}

// Points is the number of points of the input, of the output and of the kernel.
func (w *Window) Points() (in, out, kernel int) {
	in, out, kernel = 1, 1, 1
	for _, a := range w.Axes {
		in, out, kernel = in*a.In, out*a.Out, kernel*a.Kernel
	}
	return in, out, kernel
}
