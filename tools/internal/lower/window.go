package lower

import (
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// Sliding is how a convolution or pooling moves along one axis of x, [batch, channels, axes...]. A Dilation of 0 is 1.
type Sliding struct {
	Kernel, Stride, Dilation int
	Pad, End                 int // padding at the beginning and the end
	Extra                    int // steps beyond those that fit: pooling that rounds up
}

// Same sets the padding that makes the output as long as the input divided by the stride, rounded up; what is odd goes to the end, or to
// the beginning.
func (s *Sliding) Same(in int, beginning bool) {
	out := (in + s.Stride - 1) / s.Stride
	total := max((out-1)*s.Stride+(s.Kernel-1)*max(s.Dilation, 1)+1-in, 0)
	s.Pad, s.End = total/2, total-total/2
	if beginning {
		s.Pad, s.End = s.End, s.Pad
	}
}

// layout is x, [batch, channels, axes...], as windows want it: for each sequence that is fixed, the points with their channels side by side.
type layout struct {
	batch    axis
	rows     [][]Chan
	channels int
	sizes    []int
}

func (tr *Tracer) channelsLast(x *Tensor) (*layout, error) {
	if !x.Computed() || len(x.axes) < 3 || len(x.axes) > 5 {
		return nil, unsupported("a window over %d dimensions", len(x.axes))
	}
	l := &layout{batch: x.axes[0]}
	for ax := 1; ax < len(x.axes); ax++ {
		if x.axes[ax].has(time) || x.axes[ax].has(batch) {
			return nil, unsupported("a window that moves along time or batch")
		}
		var err error
		if x, err = tr.densify(x, ax); err != nil {
			return nil, err
		}
		n, _ := x.axes[ax].count()
		if ax == 1 {
			l.channels = n
		} else {
			l.sizes = append(l.sizes, n)
		}
	}
	perm := []int64{0}
	for ax := 2; ax < len(x.axes); ax++ {
		perm = append(perm, int64(ax))
	}
	moved, err := tr.Transpose(x, append(perm, 1))
	if err != nil {
		return nil, err
	}
	n, fixed := l.batch.count()
	if !fixed { // an open batch: one sequence
		n = 1
	}
	if len(moved.c) == 0 || n == 0 || tr.mixed(moved.c) {
		return nil, unsupported("a window over no channels, or such of mixed sorts")
	}
	for row := range slices.Chunk(moved.c, len(moved.c)/n) {
		l.rows = append(l.rows, row)
	}
	return l, nil
}

// tensor is the result of a window, [batch, outputs, axes...].
func (tr *Tracer) channelsFirst(b axis, rows [][]Chan, sizes []int, outputs int) (*Tensor, error) {
	t := &Tensor{axes: []axis{b}, c: slices.Concat(rows...)}
	for _, n := range sizes {
		t.axes = append(t.axes, denseAxis(n))
	}
	t.axes = append(t.axes, denseAxis(outputs))
	perm := []int64{0, int64(len(t.axes) - 1)}
	for ax := 1; ax < len(t.axes)-1; ax++ {
		perm = append(perm, int64(ax))
	}
	return tr.Transpose(t, perm)
}

// window is the geometry over points of the given sizes.
func window(sizes []int, channels, groups int, slide []Sliding) (*format.Window, []int, error) {
	if len(slide) != len(sizes) || groups < 1 || channels%groups != 0 {
		return nil, nil, unsupported("a window of %d axes over %d, or %d channels in %d groups", len(slide), len(sizes), channels, groups)
	}
	w := &format.Window{Channels: channels, Groups: groups}
	var out []int
	for i, s := range slide {
		d := max(s.Dilation, 1)
		if s.Kernel < 1 || s.Stride < 1 || s.Pad < 0 || s.End < 0 || max(s.Kernel, s.Stride, d, s.Pad, s.End) > maxWidth {
			return nil, nil, unsupported("a window %+v", s)
		}
		room := sizes[i] + s.Pad + s.End - (s.Kernel-1)*d - 1
		if room < 0 {
			return nil, nil, unsupported("a window of %d points over %d", s.Kernel, sizes[i])
		}
		n := room/s.Stride + 1 + s.Extra
		out = append(out, n)
		w.Axes = append(w.Axes, format.WindowAxis{In: sizes[i], Out: n, Kernel: s.Kernel, Stride: s.Stride, Dilation: d, Pad: s.Pad, End: s.End})
	}
	if _, err := format.ParseWindow(w.Dims()); err != nil {
		return nil, nil, unsupported("%v", err)
	}
	return w, out, nil
}

func product(v []int) int {
	n := 1
	for _, x := range v {
		n *= x
	}
	return n
}

// Conv is a convolution of x, [batch, channels, axes...], with w, [outputs, channels of a group, kernel...], and a bias or nil.
func (tr *Tracer) Conv(x *Tensor, w []float32, outputs, groups int, bias []float32, slide []Sliding) (*Tensor, error) {
	l, err := tr.channelsLast(x)
	if err != nil {
		return nil, err
	}
	return tr.convolve(l, w, outputs, groups, bias, slide)
}

func (tr *Tracer) convolve(l *layout, w []float32, outputs, groups int, bias []float32, slide []Sliding) (*Tensor, error) {
	win, sizes, err := window(l.sizes, l.channels, groups, slide)
	if err != nil {
		return nil, err
	}
	_, outs, kernel := win.Points()
	in := l.channels / groups
	if outputs > 0 && outs > maxWidth/outputs {
		return nil, unsupported("a convolution with %d times %d outputs, more than %d: too large a network for one step", outs, outputs, maxWidth)
	}
	if outputs < 1 || outputs%groups != 0 || len(w) != outputs*in*kernel || bias != nil && len(bias) != outputs {
		return nil, unsupported("a convolution of %d weights from %d to %d channels in %d groups", len(w), l.channels, outputs, groups)
	}
	if err := tr.spend(int64(len(w))); err != nil {
		return nil, err
	}
	op := quant.Op{Kind: format.Conv, Name: tr.name(format.Conv), Dims: win.Dims(), W: pointsFirst(w, in, kernel), B: bias}
	var rows [][]Chan
	for _, row := range l.rows {
		rows = append(rows, tr.emit(op, row, outs*outputs, tr.perStep(row)))
	}
	return tr.channelsFirst(l.batch, rows, sizes, outputs)
}

// pointsFirst swaps channels and kernel points of a matrix of filters.
func pointsFirst(w []float32, channels, kernel int) []float32 {
	if kernel == 1 || channels == 1 {
		return w
	}
	out := make([]float32, 0, len(w))
	for f := range slices.Chunk(w, channels*kernel) {
		out = append(out, transpose(f, channels, kernel)...)
	}
	return out
}

func transpose(m []float32, rows, cols int) []float32 {
	out := make([]float32, len(m))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = m[r*cols+c]
		}
	}
	return out
}

// ConvTranspose spreads every point of x, [batch, channels, axes...], by w, [channels, outputs of a group, kernel...]: a convolution of x
// with zeros between its points. Pad and End are cut off the result; outputs of that length, or longer by Extra.
func (tr *Tracer) ConvTranspose(x *Tensor, w []float32, outputs, groups int, bias []float32, slide []Sliding) (*Tensor, error) {
	l, err := tr.channelsLast(x)
	if err != nil {
		return nil, err
	}
	kernel := 1
	for _, s := range slide {
		if s.Kernel < 1 || s.Stride < 1 || s.Pad < 0 || s.End < 0 || max(s.Kernel, s.Stride, s.Dilation, s.Pad, s.End, s.Extra) > maxWidth {
			return nil, unsupported("a window %+v", s)
		}
		if kernel *= s.Kernel; kernel > maxWidth {
			return nil, unsupported("a window %+v", slide)
		}
	}
	if len(slide) != len(l.sizes) || groups < 1 || l.channels%groups != 0 || outputs%groups != 0 || len(w) != l.channels*outputs/groups*kernel {
		return nil, unsupported("a transposed convolution of %d weights from %d to %d channels in %d groups", len(w), l.channels, outputs, groups)
	}
	positions := make([][]int, len(slide))
	plain := make([]Sliding, len(slide))
	total := l.channels
	for i, s := range slide {
		d := max(s.Dilation, 1)
		reach := (s.Kernel - 1) * d
		from, to := s.Pad-reach, (l.sizes[i]-1)*s.Stride+1+reach-s.End+s.Extra
		if to-from > maxWidth {
			return nil, unsupported("a transposed convolution over %d points", to-from)
		}
		for p := from; p < to; p++ {
			at := -1
			if p >= 0 && p%s.Stride == 0 && p/s.Stride < l.sizes[i] {
				at = p / s.Stride
			}
			positions[i] = append(positions[i], at)
		}
		if total *= len(positions[i]); total > maxWidth {
			return nil, unsupported("a transposed convolution over %d channels", total)
		}
		plain[i] = Sliding{Kernel: s.Kernel, Stride: 1, Dilation: d}
	}
	if err := tr.spread(l, positions); err != nil {
		return nil, err
	}
	return tr.convolve(l, turned(w, l.channels, outputs/groups, groups, kernel), outputs, groups, bias, plain)
}

// turned makes filters [channels, outputs of a group, kernel] into [outputs, channels of a group, kernel] with the kernel reversed.
func turned(w []float32, channels, outputs, groups, kernel int) []float32 {
	in := channels / groups
	out := make([]float32, len(w))
	for g := range groups {
		for c := range in {
			for o := range outputs {
				for k := range kernel {
					out[((g*outputs+o)*in+c)*kernel+kernel-1-k] = w[((g*in+c)*outputs+o)*kernel+k]
				}
			}
		}
	}
	return out
}

// spread takes the points at the given positions of every axis, and zeros where these are -1.
func (tr *Tracer) spread(l *layout, positions [][]int) error {
	zero, err := tr.lift([]float32{0}, tr.perStep(l.rows[0]))
	if err != nil {
		return err
	}
	sizes := make([]int, len(positions))
	for i, p := range positions {
		sizes[i] = len(p)
	}
	n := product(sizes)
	if err := tr.spend(int64(n) * int64(l.channels) * int64(len(l.rows))); err != nil {
		return err
	}
	for r, row := range l.rows {
		out := make([]Chan, 0, n*l.channels)
		for k := range n {
			from, rest, scale := 0, k, 1
			for i := len(positions) - 1; i >= 0 && from >= 0; i-- {
				p := positions[i][rest%sizes[i]]
				rest /= sizes[i]
				from += p * scale
				scale *= l.sizes[i]
				if p < 0 {
					from = -1
				}
			}
			for c := range l.channels {
				if from < 0 {
					out = append(out, zero[0])
				} else {
					out = append(out, row[from*l.channels+c])
				}
			}
		}
		l.rows[r] = out
	}
	l.sizes = sizes
	return nil
}

// WindowPool is the largest or the mean of what a window sees, of x, [batch, channels, axes...]; the mean counts the padding if counted.
func (tr *Tracer) WindowPool(kind format.Kind, x *Tensor, counted bool, slide []Sliding) (*Tensor, error) {
	l, err := tr.channelsLast(x)
	if err != nil {
		return nil, err
	}
	win, sizes, err := window(l.sizes, l.channels, 1, slide)
	if err != nil {
		return nil, err
	}
	if n := product(sizes) * l.channels; n > maxWidth {
		return nil, unsupported("a window at %d points and channels, more than %d", n, maxWidth)
	}
	win.CountPadding = counted && kind == format.MeanPool
	op := quant.Op{Kind: kind, Name: tr.name(kind), Dims: win.Dims()}
	var rows [][]Chan
	for _, row := range l.rows {
		rows = append(rows, tr.emit(op, row, product(sizes)*l.channels, tr.perStep(row)))
	}
	return tr.channelsFirst(l.batch, rows, sizes, l.channels)
}

// PadMode says what padding holds.
type PadMode uint8

// The modes of padding.
const (
	PadConstant  PadMode = iota
	PadReflect           // mirrored without the edge
	PadSymmetric         // mirrored with the edge
	PadEdge
	PadWrap
)

// Pad lengthens an axis by begin and end positions; negative ones shorten it.
func (tr *Tracer) Pad(t *Tensor, ax int, begin, end int64, mode PadMode, value float32) (*Tensor, error) {
	if begin == 0 && end == 0 {
		return t, nil
	}
	t, err := tr.densify(t, ax)
	if err != nil {
		return nil, err
	}
	n, _ := t.axes[ax].count()
	if begin > maxWidth || end > maxWidth || int64(n)+begin+end < 1 || n == 0 {
		return nil, unsupported("%d and %d positions added to %d", begin, end, n)
	}
	if t.i != nil {
		return nil, unsupported("integers padded")
	}
	positions := make([]int, 0, n+int(begin)+int(end))
	for p := -int(begin); p < n+int(end); p++ {
		positions = append(positions, mode.source(p, n))
	}
	if !slices.Contains(positions, -1) {
		return tr.take(t, ax, positions)
	}
	return tr.takeOr(t, ax, positions, value)
}

// source is the position that padding at p takes its data from, or -1.
func (m PadMode) source(p, n int) int {
	if p >= 0 && p < n {
		return p
	}
	switch m {
	case PadEdge:
		return min(max(p, 0), n-1)
	case PadWrap:
		return (p%n + n) % n
	case PadReflect:
		if n == 1 {
			return 0
		}
		cycle := 2 * (n - 1)
		p = (p%cycle + cycle) % cycle
		return min(p, cycle-p)
	case PadSymmetric:
		p = (p%(2*n) + 2*n) % (2 * n)
		return min(p, 2*n-1-p)
	}
	return -1
}

// takeOr is take with a constant at positions of -1.
func (tr *Tracer) takeOr(t *Tensor, ax int, positions []int, value float32) (*Tensor, error) {
	n, _ := t.axes[ax].count()
	outer, inner := t.extent(0, ax), t.extent(ax+1, len(t.axes))
	total := int64(outer) * int64(len(positions)) * int64(inner)
	if err := tr.spend(total); err != nil {
		return nil, err
	}
	var fill []Chan
	if t.Computed() {
		var err error
		if fill, err = tr.lift([]float32{value}, tr.perStep(t.c)); err != nil {
			return nil, err
		}
	}
	out := &Tensor{axes: slices.Clone(t.axes)}
	if t.Computed() {
		out.c = make([]Chan, 0, total)
	} else {
		out.f = make([]float32, 0, total)
	}
	out.axes[ax] = denseAxis(len(positions))
	for o := range outer {
		for _, p := range positions {
			for k := range inner {
				from := (o*n+p)*inner + k
				switch {
				case p < 0 && fill != nil:
					out.c = append(out.c, fill[0])
				case p < 0:
					out.f = append(out.f, value)
				case fill != nil:
					out.c = append(out.c, t.c[from])
				default:
					out.f = append(out.f, t.f[from])
				}
			}
		}
	}
	return out, nil
}
