package fromkeras

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

// plane is the input of a window that moves along its axes: [batch, channels, axes...].
type plane struct {
	t     *lower.Tensor
	batch bool // the batch has become the first of the axes, so that one operation does for all
	first bool // the channels came first
	steps bool // the axis is the window of a step that the session takes: the steps that it needs
}

func (u *use) plane(x *lower.Tensor) (*plane, error) {
	p := &plane{t: x, first: u.channelsFirst()}
	rank := x.Rank()
	if rank < 3 || rank > 4 {
		return nil, fmt.Errorf("%d dimensions", rank)
	}
	n, fixed := x.Shape()[0].Const()
	p.batch = fixed && n > 1 && x.Layout()[0][0].Role == lower.Feature
	perm := []int64{0, int64(rank - 1)}
	if p.first {
		perm[1] = 1
	}
	for ax := 1; ax < rank; ax++ {
		if int64(ax) != perm[1] {
			perm = append(perm, int64(ax))
		}
	}
	if p.batch {
		perm[0], perm[1] = perm[1], perm[0]
	}
	var err error
	if p.t, err = u.tr.Transpose(x, perm); err == nil && p.batch {
		p.t, err = u.tr.Unsqueeze(p.t, []int64{0})
	}
	return p, err
}

// axes are those that the window moves along.
func (p *plane) axes() int {
	if p.batch {
		return p.t.Rank() - 3
	}
	return p.t.Rank() - 2
}

// slide adds to the movement of a window that along the batch.
func (p *plane) slide(s []lower.Sliding) []lower.Sliding {
	if p.batch {
		return append([]lower.Sliding{{Kernel: 1, Stride: 1}}, s...)
	}
	return s
}

// back arranges the result of a window as the layer gives it.
func (p *plane) back(u *use, y *lower.Tensor) (*lower.Tensor, error) {
	perm := []int64{0, 1}
	for ax := 2; ax < y.Rank(); ax++ {
		perm = append(perm, int64(ax))
	}
	var err error
	if p.steps {
		if y, err = u.tr.Steps(y, 2); err != nil {
			return nil, err
		}
	}
	if p.batch {
		if y, err = u.tr.Squeeze(y, []int64{0}); err != nil {
			return nil, err
		}
		perm = perm[:len(perm)-1]
		perm[0], perm[1] = 1, 0
	}
	if !p.first {
		channels := perm[1]
		perm = append(slices.Delete(perm, 1, 2), channels)
	}
	return u.tr.Transpose(y, perm)
}

// window is how the layer's window moves along each of the axes.
func (u *use) window(p *plane, kernel json.RawMessage, stride int) ([]lower.Sliding, error) {
	c := &u.config
	n := p.axes()
	k, err := spread(kernel, n, 2)
	if err != nil {
		return nil, err
	}
	s, err := spread(c.Strides, n, stride)
	if err != nil {
		return nil, err
	}
	if stride == 0 && absent(c.Strides) { // pooling, whose windows do not overlap
		s = k
	}
	d, err := spread(c.Dilation, n, 1)
	if err != nil {
		return nil, err
	}
	out := make([]lower.Sliding, n)
	for i := range out {
		if min(k[i], s[i], d[i]) < 1 || max(k[i], s[i], d[i]) > maxUnits {
			return nil, fmt.Errorf("a window of %v, strides %v, dilation %v", k, s, d)
		}
		out[i] = lower.Sliding{Kernel: k[i], Stride: s[i], Dilation: d[i]}
	}
	return out, nil
}

// pad sets the padding of a window by its name.
func (u *use) pad(p *plane, slide []lower.Sliding) error {
	var name string
	if err := json.Unmarshal(u.config.Padding, &name); err != nil && !absent(u.config.Padding) {
		return fmt.Errorf("padding %s", u.config.Padding)
	}
	if s := &slide[0]; u.timed && p.timed() && s.Stride == 1 && (name == "causal" || s.Kernel == 1) {
		return u.remember(p, (s.Kernel-1)*s.Dilation)
	}
	for i := range slide {
		s := &slide[i]
		switch name {
		case "valid", "":
		case "causal":
			s.Pad = (s.Kernel - 1) * s.Dilation
		case "same":
			in, err := size(p.t, p.t.Rank()-len(slide)+i)
			if err != nil {
				return err
			}
			s.Same(in, false)
		default:
			return unsupported("padding %q is not supported", name)
		}
	}
	return nil
}

// timed reports whether the only axis is the time of the network's input.
func (p *plane) timed() bool {
	a := p.t.Layout()
	return len(a) == 3 && len(a[2]) == 1 && a[2][0].Role == lower.Time
}

// remember makes the axis of time the window of steps that ends with the present one.
func (u *use) remember(p *plane, before int) (err error) {
	p.steps = true
	p.t, err = u.tr.History(p.t, 2, before)
	return err
}

// moving is the input and the movement of a convolution.
func (u *use) moving(x *lower.Tensor) (*plane, []lower.Sliding, int, error) {
	p, err := u.plane(x)
	if err != nil {
		return nil, nil, 0, err
	}
	slide, err := u.window(p, u.config.KernelSize, 1)
	if err != nil {
		return nil, nil, 0, err
	}
	channels, err := size(p.t, 1)
	return p, slide, channels, err
}

func points(slide []lower.Sliding) (shape []int, n int) {
	n = 1
	for _, s := range slide {
		shape = append(shape, s.Kernel)
		if n *= s.Kernel; n > 1<<24 {
			return shape, 0
		}
	}
	return shape, n
}

func (u *use) conv(x *lower.Tensor) (*lower.Tensor, error) {
	p, slide, channels, err := u.moving(x)
	if err != nil {
		return nil, err
	}
	if err := u.pad(p, slide); err != nil {
		return nil, err
	}
	groups, filters := 1, u.config.Filters
	if u.config.Groups != nil {
		groups = *u.config.Groups
	}
	if groups < 1 || channels%groups != 0 || filters < 1 || filters > maxUnits || filters%groups != 0 {
		return nil, fmt.Errorf("%d filters over %d channels in %d groups", filters, channels, groups)
	}
	shape, n := points(slide)
	w, bias, err := u.kernelBias(append(shape, channels/groups, filters), filters)
	if err != nil {
		return nil, err
	}
	w = transpose(w, n*channels/groups, filters) // [filters, points, channels]
	return u.convolve(p, pointsLast(w, n, channels/groups), filters, groups, bias, slide)
}

// pointsLast turns [.., points, channels] into [.., channels, points].
func pointsLast(w []float32, points, channels int) []float32 {
	if points == 1 || channels == 1 {
		return w
	}
	var out []float32
	for f := range slices.Chunk(w, points*channels) {
		out = append(out, transpose(f, points, channels)...)
	}
	return out
}

func (u *use) convolve(p *plane, w []float32, filters, groups int, bias []float32, slide []lower.Sliding) (*lower.Tensor, error) {
	y, err := u.tr.Conv(p.t, w, filters, groups, bias, p.slide(slide))
	if err != nil {
		return nil, err
	}
	if y, err = p.back(u, y); err != nil {
		return nil, err
	}
	return u.activate(y, &u.config.Activation)
}

// multiplier is how many outputs a depthwise convolution makes of each channel.
func (u *use) multiplier(channels int) (int, error) {
	m := 1
	if u.config.DepthMultiplier != nil {
		m = *u.config.DepthMultiplier
	}
	if m < 1 || m > maxUnits || m*channels > maxUnits {
		return 0, fmt.Errorf("depth_multiplier %d", m)
	}
	return m, nil
}

// perChannel is moving for windows that give m outputs for each channel.
func (u *use) perChannel(x *lower.Tensor) (p *plane, slide []lower.Sliding, channels, m int, err error) {
	if p, slide, channels, err = u.moving(x); err != nil {
		return nil, nil, 0, 0, err
	}
	if err = u.pad(p, slide); err == nil {
		m, err = u.multiplier(channels)
	}
	return p, slide, channels, m, err
}

func (u *use) depthwise(x *lower.Tensor) (*lower.Tensor, error) {
	p, slide, channels, m, err := u.perChannel(x)
	if err != nil {
		return nil, err
	}
	shape, n := points(slide)
	w, bias, err := u.kernelBias(append(shape, channels, m), channels*m)
	if err != nil {
		return nil, err
	}
	return u.convolve(p, transpose(w, n, channels*m), channels*m, channels, bias, slide)
}

// separable is a depthwise convolution and one of single points.
func (u *use) separable(x *lower.Tensor) (*lower.Tensor, error) {
	p, slide, channels, m, err := u.perChannel(x)
	if err != nil {
		return nil, err
	}
	filters := u.config.Filters
	if filters < 1 || filters > maxUnits {
		return nil, fmt.Errorf("%d filters", filters)
	}
	shape, n := points(slide)
	single := slices.Repeat([]int{1}, len(shape))
	shapes := [][]int{append(shape, channels, m), append(single, channels*m, filters)}
	if flag(u.config.UseBias) {
		shapes = append(shapes, []int{filters})
	}
	w, err := u.take(u.layer, shapes...)
	if err != nil {
		return nil, err
	}
	var bias []float32
	if len(w) > 2 {
		bias = w[2]
	}
	y, err := u.tr.Conv(p.t, transpose(w[0], n, channels*m), channels*m, channels, nil, p.slide(slide))
	if err != nil {
		return nil, err
	}
	q := *p
	q.t = y
	for i := range slide {
		slide[i] = lower.Sliding{Kernel: 1, Stride: 1}
	}
	return u.convolve(&q, transpose(w[1], channels*m, filters), filters, 1, bias, slide)
}

func (u *use) convTranspose(x *lower.Tensor) (*lower.Tensor, error) {
	p, slide, channels, err := u.moving(x)
	if err != nil {
		return nil, err
	}
	c := &u.config
	filters := c.Filters
	switch {
	case !absent(c.OutputPadding):
		return nil, unsupported("output_padding is not supported")
	case filters < 1 || filters > maxUnits:
		return nil, fmt.Errorf("%d filters", filters)
	}
	if err := u.cut(p, slide); err != nil {
		return nil, err
	}
	shape, n := points(slide)
	w, bias, err := u.kernelBias(append(shape, filters, channels), filters)
	if err != nil {
		return nil, err
	}
	w = transpose(w, n*filters, channels) // [channels, points, filters]
	y, err := u.tr.ConvTranspose(p.t, pointsLast(w, n, filters), filters, 1, bias, p.slide(slide))
	if err != nil {
		return nil, err
	}
	if y, err = p.back(u, y); err != nil {
		return nil, err
	}
	return u.activate(y, &c.Activation)
}

// cut sets what a transposed convolution leaves out at either end, so that a convolution with the same padding would undo its shape.
func (u *use) cut(p *plane, slide []lower.Sliding) error {
	for i := range slide {
		s := &slide[i]
		in, err := size(p.t, p.t.Rank()-len(slide)+i)
		if err != nil {
			return err
		}
		reach := (s.Kernel-1)*s.Dilation + 1
		full := (in-1)*s.Stride + reach
		want := in * s.Stride
		switch string(u.config.Padding) {
		case `"same"`:
		case `"valid"`, "":
			want += max(reach-s.Stride, 0)
		default:
			return unsupported("padding %s is not supported", u.config.Padding)
		}
		s.Pad = max(full-want, 0) / 2
		s.End = max(full-want, 0) - s.Pad
		s.Extra = max(want-full, 0)
	}
	return nil
}

func (u *use) pool(x *lower.Tensor) (*lower.Tensor, error) {
	p, err := u.plane(x)
	if err != nil {
		return nil, err
	}
	slide, err := u.window(p, u.config.PoolSize, 0)
	if err != nil {
		return nil, err
	}
	if err := u.pad(p, slide); err != nil {
		return nil, err
	}
	kind := format.MeanPool
	if u.class == "MaxPooling1D" || u.class == "MaxPooling2D" {
		kind = format.MaxPool
	}
	y, err := u.tr.WindowPool(kind, p.t, false, p.slide(slide))
	if err != nil {
		return nil, err
	}
	return p.back(u, y)
}

// ends reads the numbers of positions at the beginning and end of each axis: one number for all, one an axis, or two.
func ends(raw json.RawMessage, axes int) ([][2]int, error) {
	out := make([][2]int, axes)
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || axes == 1 {
		list = slices.Repeat([]json.RawMessage{raw}, axes)
	}
	if len(list) != axes {
		return nil, fmt.Errorf("%.40s is not for %d axes", raw, axes)
	}
	for i, r := range list {
		v, err := spread(r, 2, 1)
		if err != nil {
			return nil, err
		}
		if min(v[0], v[1]) < 0 || max(v[0], v[1]) > maxUnits {
			return nil, fmt.Errorf("%d and %d positions", v[0], v[1])
		}
		out[i] = [2]int(v)
	}
	return out, nil
}

// spatial is the first of the axes between batch and channels.
func (u *use) spatial() int {
	if u.channelsFirst() {
		return 2
	}
	return 1
}

// lengthen pads every axis between batch and channels, or cuts it.
func (u *use) lengthen(x *lower.Tensor, raw json.RawMessage, sign int) (*lower.Tensor, error) {
	by, err := ends(raw, x.Rank()-2)
	if err != nil {
		return nil, err
	}
	for i, n := range by {
		if x, err = u.tr.Pad(x, u.spatial()+i, int64(sign*n[0]), int64(sign*n[1]), lower.PadConstant, 0); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (u *use) zeroPadding(x *lower.Tensor) (*lower.Tensor, error) {
	return u.lengthen(x, u.config.Padding, 1)
}

func (u *use) cropping(x *lower.Tensor) (*lower.Tensor, error) {
	return u.lengthen(x, u.config.Cropping, -1)
}

func (u *use) upSampling(x *lower.Tensor) (*lower.Tensor, error) {
	if i := u.config.Interpolation; i != "" && i != "nearest" {
		return nil, unsupported("the interpolation %q is not supported", i)
	}
	by, err := spread(u.config.Size, x.Rank()-2, 2)
	if err != nil {
		return nil, err
	}
	for i, k := range by {
		ax := u.spatial() + i
		n, err := size(x, ax)
		if err != nil {
			return nil, err
		}
		if k < 1 || n*k > maxUnits {
			return nil, fmt.Errorf("%d points repeated %d times", n, k)
		}
		var positions []int64
		for at := range n * k {
			positions = append(positions, int64(at/k))
		}
		idx, err := u.tr.Ints([]int64{int64(len(positions))}, positions)
		if err != nil {
			return nil, err
		}
		if x, err = u.tr.Gather(x, ax, idx); err != nil {
			return nil, err
		}
	}
	return x, nil
}
