package fromonnx

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/tools/internal/lower"
)

func constant(c *call) ([]*lower.Tensor, error) {
	if len(c.Attrs) != 1 {
		return nil, errors.New("one attribute wanted")
	}
	switch a := c.Attrs[0]; a.Name {
	case "value":
		if a.T == nil {
			return nil, errors.New("no value")
		}
		return one(known(c.tr, a.T))
	case "value_int":
		return one(c.tr.Ints(nil, []int64{a.I}))
	case "value_ints":
		return one(c.tr.Ints([]int64{int64(len(a.Ints))}, a.Ints))
	case "value_float":
		return one(c.tr.Floats(nil, []float32{a.F}))
	default:
		return one(c.tr.Floats([]int64{int64(len(a.Floats))}, a.Floats))
	}
}

func constantOfShape(c *call) ([]*lower.Tensor, error) {
	dims, err := c.tr.Known(c.in[0])
	if err != nil {
		return nil, err
	}
	var v *lower.Tensor
	if a := c.Attr("value"); a == nil || a.T == nil {
		v, err = c.tr.Floats(nil, []float32{0})
	} else if v, err = known(c.tr, a.T); err == nil {
		v, err = c.tr.Reshape(v, nil, false)
	}
	if err != nil {
		return nil, err
	}
	return one(c.tr.Expand(v, dims))
}

func shape(c *call) ([]*lower.Tensor, error) {
	dims := c.in[0].Shape()
	bound := func(name string, otherwise int) int {
		v := c.int(name, int64(otherwise))
		if v < 0 {
			v += int64(len(dims))
		}
		return int(min(max(v, 0), int64(len(dims))))
	}
	from, to := bound("start", 0), bound("end", len(dims))
	return one(lower.Vector(dims[from:max(from, to)]), nil)
}

func size(c *call) ([]*lower.Tensor, error) {
	n := lower.Int(1)
	for _, d := range c.in[0].Shape() {
		var err error
		if n, err = n.Mul(d); err != nil {
			return nil, err
		}
	}
	return one(c.tr.Reshape(lower.Vector([]lower.Poly{n}), nil, false))
}

const (
	maxRange   = 1 << 16
	perInteger = 4 // integers that may depend on the length of the input take more memory than floats
)

func rangeOp(c *call) ([]*lower.Tensor, error) {
	for _, t := range c.in[:3] {
		if !t.Integers() {
			return c.floatRange()
		}
	}
	var v [3]int64
	for i := range v {
		n, err := c.ints("the range", i)
		if err != nil {
			return nil, err
		}
		if len(n) != 1 {
			return nil, errors.New("operands that are not scalars")
		}
		v[i] = n[0]
	}
	if v[2] == 0 || max(v[0], v[1], v[2]) > maxRange || min(v[0], v[1], v[2]) < -maxRange {
		return nil, unsupported("a range from %d to %d by %d", v[0], v[1], v[2])
	}
	count := max((v[1]-v[0])/v[2], 0) + 1
	if err := c.tr.Spend(perInteger * count); err != nil {
		return nil, err
	}
	out := make([]lower.Poly, 0, count)
	for x := v[0]; v[2] > 0 && x < v[1] || v[2] < 0 && x > v[1]; x += v[2] {
		out = append(out, lower.Int(x))
	}
	return one(lower.Vector(out), nil)
}

func (c *call) floatRange() ([]*lower.Tensor, error) {
	var v [3]float64
	for i := range v {
		n, err := c.numbers(c.in[i])
		if err != nil {
			return nil, err
		}
		if len(n) != 1 {
			return nil, errors.New("operands that are not scalars")
		}
		v[i] = float64(n[0])
	}
	count := math.Ceil((v[1] - v[0]) / v[2])
	if !(count < maxRange) {
		return nil, unsupported("a range from %v to %v by %v", v[0], v[1], v[2])
	}
	out := make([]float32, int(max(count, 0)))
	for i := range out {
		out[i] = float32(v[0] + float64(i)*v[2])
	}
	return one(c.tr.Floats([]int64{int64(len(out))}, out))
}

func identity(c *call) ([]*lower.Tensor, error) { return c.in[:1], nil }

func dropout(c *call) ([]*lower.Tensor, error) {
	if t := c.arg(2); t != nil {
		v, err := c.tr.Known(t)
		if err != nil || len(v) != 1 || !v[0].Equal(lower.Int(0)) {
			return nil, unsupported("training_mode")
		}
	}
	return c.in[:1], nil
}

func transpose(c *call) ([]*lower.Tensor, error) {
	var perm []int64
	if a := c.Attr("perm"); a != nil {
		perm = append([]int64{}, a.Ints...)
	}
	return one(c.tr.Transpose(c.in[0], perm))
}

func unsqueeze(c *call) ([]*lower.Tensor, error) {
	axes, err := c.ints("axes", 1)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Unsqueeze(c.in[0], axes))
}

func squeeze(c *call) ([]*lower.Tensor, error) {
	axes, err := c.ints("axes", 1)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Squeeze(c.in[0], axes))
}

func reshape(c *call) ([]*lower.Tensor, error) {
	dims, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Reshape(c.in[0], dims, c.int("allowzero", 0) != 0))
}

func flatten(c *call) ([]*lower.Tensor, error) {
	dims := c.in[0].Shape()
	at := c.int("axis", 1)
	if at < 0 {
		at += int64(len(dims))
	}
	if at < 0 || at > int64(len(dims)) {
		return nil, fmt.Errorf("axis %d of %d dimensions", at, len(dims))
	}
	two := []lower.Poly{lower.Int(1), lower.Int(1)}
	for i, d := range dims {
		k := 0
		if int64(i) >= at {
			k = 1
		}
		var err error
		if two[k], err = two[k].Mul(d); err != nil {
			return nil, err
		}
	}
	return one(c.tr.Reshape(c.in[0], two, true))
}

func expand(c *call) ([]*lower.Tensor, error) {
	dims, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Expand(c.in[0], dims))
}

// tile repeats axes of length 1 like expand, others by their positions.
func tile(c *call) ([]*lower.Tensor, error) {
	times, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	t := c.in[0]
	dims := t.Shape()
	if len(times) != len(dims) {
		return nil, fmt.Errorf("%d repeats of %d dimensions", len(times), len(dims))
	}
	for ax, n := range times {
		if dims[ax].Equal(lower.Int(1)) || n.Equal(lower.Int(1)) {
			if dims[ax], err = dims[ax].Mul(n); err != nil {
				return nil, err
			}
			continue
		}
		if t, err = c.repeat(t, ax, n); err != nil {
			return nil, err
		}
		dims[ax] = t.Shape()[ax]
	}
	return one(c.tr.Expand(t, dims))
}

func (c *call) repeat(t *lower.Tensor, ax int, times lower.Poly) (*lower.Tensor, error) {
	size, fixed := t.Shape()[ax].Const()
	n, known := times.Const()
	if !fixed || !known || n < 0 || size > maxRange || n > maxRange || n*size > maxRange {
		return nil, unsupported("an axis of length %v repeated %v times", t.Shape()[ax], times)
	}
	at := make([]lower.Poly, n*size)
	for i := range at {
		at[i] = lower.Int(int64(i) % size)
	}
	return c.tr.Gather(t, ax, lower.Vector(at))
}

func slice(c *call) ([]*lower.Tensor, error) {
	starts, err := c.polys("starts", 1)
	if err != nil {
		return nil, err
	}
	ends, err := c.polys("ends", 2)
	if err != nil {
		return nil, err
	}
	axes, err := c.ints("axes", 3)
	if err != nil {
		return nil, err
	}
	steps, err := c.polys("steps", 4)
	if err != nil {
		return nil, err
	}
	if len(starts) != len(ends) || axes != nil && len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, errors.New("starts, ends, axes and steps differ in length")
	}
	t := c.in[0]
	for i := range starts {
		at, step := int64(i), lower.Int(1)
		if axes != nil {
			at = axes[i]
		}
		if steps != nil {
			step = steps[i]
		}
		ax, err := lower.AxisIndex(at, t.Rank())
		if err != nil {
			return nil, err
		}
		if t, err = c.tr.Slice(t, ax, starts[i], ends[i], step); err != nil {
			return nil, err
		}
	}
	return one(t, nil)
}

func concat(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	for _, t := range c.in {
		if t == nil {
			return nil, errors.New("a missing input")
		}
	}
	return one(c.tr.Concat(c.in, ax))
}

func split(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	sizes, err := c.ints("split", 1)
	if err != nil {
		return nil, err
	}
	if sizes == nil {
		n, fixed := c.in[0].Shape()[ax].Const()
		parts := int64(len(c.Outputs))
		if !fixed || parts == 0 || n < 0 {
			return nil, unsupported("time or batch split into %d parts", parts)
		}
		each := (n + parts - 1) / parts
		for range parts {
			sizes = append(sizes, min(each, n))
			n -= min(each, n)
		}
	}
	var out []*lower.Tensor
	from := int64(0)
	for _, n := range sizes {
		if n < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("sizes %v", sizes)
		}
		t, err := c.tr.Slice(c.in[0], ax, lower.Int(from), lower.Int(from+n), lower.Int(1))
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		from += n
	}
	return out, nil
}

var padModes = map[string]lower.PadMode{
	"constant": lower.PadConstant, "reflect": lower.PadReflect, "edge": lower.PadEdge, "wrap": lower.PadWrap,
}

// pad has what it adds and the value as attributes before opset 11, and the axes that it adds to since opset 18.
func pad(c *call) ([]*lower.Tensor, error) {
	t := c.in[0]
	mode, ok := padModes[c.string("mode", "constant")]
	if !ok {
		return nil, unsupported("the mode %q", c.string("mode", ""))
	}
	pads, err := c.ints("pads", 1)
	if err != nil {
		return nil, err
	}
	axes, err := c.ints("axes", 3)
	if err != nil {
		return nil, err
	}
	if axes == nil {
		for ax := range t.Rank() {
			axes = append(axes, int64(ax))
		}
	}
	value := c.float("value", 0)
	if v := c.arg(2); v != nil {
		n, err := c.numbers(v)
		if err != nil || len(n) != 1 {
			return nil, unsupported("a padding of what is not one known number")
		}
		value = n[0]
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	for i, a := range axes {
		ax, err := lower.AxisIndex(a, t.Rank())
		if err != nil {
			return nil, err
		}
		if t, err = c.tr.Pad(t, ax, pads[i], pads[len(axes)+i], mode, value); err != nil {
			return nil, err
		}
	}
	return one(t, nil)
}

// trilu keeps the upper or lower triangle of the matrices of the last two axes.
func trilu(c *call) ([]*lower.Tensor, error) {
	t := c.in[0]
	if t.Rank() < 2 {
		return nil, fmt.Errorf("a triangle of %d dimensions", t.Rank())
	}
	dims, err := constants("a size of the matrix", t.Shape()[t.Rank()-2:])
	if err != nil {
		return nil, err
	}
	k, err := c.ints("k", 1)
	if err != nil || len(k) > 1 {
		return nil, unsupported("a diagonal that is not one known number")
	}
	if len(k) == 0 {
		k = []int64{0}
	}
	if dims[0] > maxRange || dims[1] > maxRange {
		return nil, unsupported("a triangle of shape %v", dims)
	}
	if err := c.tr.Spend(dims[0] * dims[1]); err != nil {
		return nil, err
	}
	keep := make([]int64, dims[0]*dims[1])
	for i := range keep {
		above := int64(i)%dims[1] - int64(i)/dims[1] - k[0]
		if above == 0 || above > 0 == (c.int("upper", 1) != 0) {
			keep[i] = 1
		}
	}
	mask, err := c.tr.Ints(dims, keep)
	if err != nil {
		return nil, err
	}
	zero, err := c.tr.Floats(nil, []float32{0})
	if t.Integers() {
		zero = c.scalar(0)
	}
	if err != nil {
		return nil, err
	}
	return one(c.tr.Select(mask, t, zero))
}

// blocks reads the shape of an image, [batch, channels, height, width], and the block size.
func (c *call) blocks() (dims []lower.Poly, h, w, b int64, err error) {
	dims = c.in[0].Shape()
	if len(dims) != 4 {
		return nil, 0, 0, 0, fmt.Errorf("an image of %d dimensions", len(dims))
	}
	hw, err := constants("a size of the image", dims[1:])
	if err != nil {
		return nil, 0, 0, 0, err
	}
	b = c.int("blocksize", 0)
	if b < 1 || b > maxRange {
		return nil, 0, 0, 0, fmt.Errorf("a block size of %d", b)
	}
	return dims, hw[1], hw[2], b, nil
}

func (c *call) rearranged(from []lower.Poly, perm []int64, to []lower.Poly) ([]*lower.Tensor, error) {
	k := chain{c: c}
	t := k.reshape(c.in[0], from)
	t = k.do(func() (*lower.Tensor, error) { return c.tr.Transpose(t, perm) })
	return one(k.end(k.reshape(t, to)))
}

func depthToSpace(c *call) ([]*lower.Tensor, error) {
	dims, h, w, b, err := c.blocks()
	if err != nil {
		return nil, err
	}
	n, i := dims[0], lower.Int
	depth, err := dims[1].Div(i(b * b))
	if err != nil {
		return nil, err
	}
	to := []lower.Poly{n, depth, i(h * b), i(w * b)}
	switch mode := c.string("mode", "DCR"); mode {
	case "DCR":
		return c.rearranged([]lower.Poly{n, i(b), i(b), depth, i(h), i(w)}, []int64{0, 3, 4, 1, 5, 2}, to)
	case "CRD":
		return c.rearranged([]lower.Poly{n, depth, i(b), i(b), i(h), i(w)}, []int64{0, 1, 4, 2, 5, 3}, to)
	default:
		return nil, unsupported("the mode %q", mode)
	}
}

func spaceToDepth(c *call) ([]*lower.Tensor, error) {
	dims, h, w, b, err := c.blocks()
	if err != nil {
		return nil, err
	}
	n, i := dims[0], lower.Int
	depth, err := dims[1].Mul(i(b * b))
	if err != nil {
		return nil, err
	}
	from := []lower.Poly{n, dims[1], i(h / b), i(b), i(w / b), i(b)}
	to := []lower.Poly{n, depth, i(h / b), i(w / b)}
	switch mode := c.string("mode", "DCR"); mode {
	case "DCR":
		return c.rearranged(from, []int64{0, 3, 5, 1, 2, 4}, to)
	case "CRD":
		return c.rearranged(from, []int64{0, 1, 3, 5, 2, 4}, to)
	default:
		return nil, unsupported("the mode %q", mode)
	}
}

// reverseSequence reverses an axis of fixed length, if all sequences have that length.
func reverseSequence(c *call) ([]*lower.Tensor, error) {
	ax, err := lower.AxisIndex(c.int("time_axis", 0), c.in[0].Rank())
	if err != nil {
		return nil, err
	}
	lens, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	for _, n := range lens {
		if !n.Equal(c.in[0].Shape()[ax]) {
			return nil, unsupported("the reversal of sequences of %v steps of %v", n, c.in[0].Shape()[ax])
		}
	}
	return one(c.tr.Slice(c.in[0], ax, lower.Int(-1), lower.Int(math.MinInt32), lower.Int(-1)))
}
