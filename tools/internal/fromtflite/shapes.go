package fromtflite

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

func cast(c *call) ([]*lower.Tensor, error) {
	to, err := c.out(0)
	if err != nil {
		return nil, err
	}
	t := c.in[0]
	from := c.tensor(0)
	switch {
	case t.Computed() && (to.Type.Float() || from.Type == to.Type || from.Type == tflite.Bool):
		return one(t, nil)
	case t.Computed():
		return nil, unsupported("values that depend on the input cast to %v", to.Type)
	case to.Type.Float():
		return one(c.tr.ToFloat(t))
	case to.Type.Integer():
		return one(c.tr.ToInt(t, to.Type == tflite.Bool))
	}
	return nil, unsupported("a cast to %v", to.Type)
}

func shape(c *call) ([]*lower.Tensor, error) { return one(lower.Vector(c.in[0].Shape()), nil) }

func rank(c *call) ([]*lower.Tensor, error) {
	return one(c.tr.Ints(nil, []int64{int64(c.in[0].Rank())}))
}

const maxRange = 1 << 20

func rangeOp(c *call) ([]*lower.Tensor, error) {
	if to, err := c.out(0); err != nil || to.Type.Float() {
		return nil, unsupported("a range of floats")
	}
	var v [3]int64
	for i := range v {
		n, err := c.ints(c.in[i])
		if err != nil {
			return nil, err
		}
		if len(n) != 1 {
			return nil, fmt.Errorf("input %d has %d elements, want 1", i, len(n))
		}
		v[i] = n[0]
	}
	out := []int64{}
	for x := v[0]; v[2] > 0 && x < v[1] || v[2] < 0 && x > v[1]; x += v[2] {
		if out = append(out, x); len(out) > maxRange || x > math.MaxInt32 || x < math.MinInt32 {
			return nil, unsupported("a range of more than %d numbers", maxRange)
		}
	}
	return one(c.tr.Ints([]int64{int64(len(out))}, out))
}

func fill(c *call) ([]*lower.Tensor, error) {
	dims, err := c.tr.Known(c.in[0])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Expand(c.in[1], dims))
}

func zerosLike(c *call) ([]*lower.Tensor, error) {
	var zero *lower.Tensor
	var err error
	if c.integer() {
		zero, err = c.tr.Ints(nil, []int64{0})
	} else {
		zero, err = c.scalar(0)
	}
	if err != nil {
		return nil, err
	}
	return one(c.tr.Expand(zero, c.in[0].Shape()))
}

func broadcastTo(c *call) ([]*lower.Tensor, error) {
	dims, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Expand(c.in[0], dims))
}

// reshape takes the shape from its second input or, in old files, the options.
func reshape(c *call) ([]*lower.Tensor, error) {
	t, err := c.arg(1)
	if err != nil {
		return nil, err
	}
	if t != nil {
		dims, err := c.tr.Known(t)
		if err != nil {
			return nil, err
		}
		return one(c.tr.Reshape(c.in[0], dims, true))
	}
	o, ok := c.Options.(*tflite.ReshapeOptions)
	if !ok {
		return nil, errors.New("no shape")
	}
	var dims []lower.Poly
	for _, d := range o.Shape {
		dims = append(dims, lower.Int(int64(d)))
	}
	return one(c.tr.Reshape(c.in[0], dims, true))
}

func squeeze(c *call) ([]*lower.Tensor, error) {
	var axes []int64
	for _, a := range options[tflite.SqueezeOptions](c).Axes {
		axes = append(axes, int64(a))
	}
	return one(c.tr.Squeeze(c.in[0], axes))
}

func expandDims(c *call) ([]*lower.Tensor, error) {
	axes, err := c.ints(c.in[1])
	if err != nil {
		return nil, err
	}
	if len(axes) != 1 {
		return nil, fmt.Errorf("%d axes, want 1", len(axes))
	}
	return one(c.tr.Unsqueeze(c.in[0], axes))
}

func transpose(c *call) ([]*lower.Tensor, error) {
	perm, err := c.ints(c.in[1])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Transpose(c.in[0], append([]int64{}, perm...)))
}

func reverse(c *call) ([]*lower.Tensor, error) {
	axes, err := c.axes(c.in[1], c.in[0].Rank())
	if err != nil {
		return nil, err
	}
	t := c.in[0]
	for _, ax := range axes {
		if t, err = c.reversed(t, ax); err != nil {
			return nil, err
		}
	}
	return one(t, nil)
}

func (c *call) reversed(t *lower.Tensor, ax int) (*lower.Tensor, error) {
	if t.Shape()[ax].Equal(lower.Int(1)) {
		return t, nil
	}
	return c.tr.Slice(t, ax, lower.Int(-1), lower.Int(math.MinInt32), lower.Int(-1))
}

const maxTile = 1 << 16

func tile(c *call) ([]*lower.Tensor, error) {
	t := c.in[0]
	times, err := c.ints(c.in[1])
	if err != nil {
		return nil, err
	}
	if len(times) != t.Rank() {
		return nil, fmt.Errorf("%d numbers for %d axes", len(times), t.Rank())
	}
	for ax, n := range times {
		if n < 1 || n > maxTile {
			return nil, unsupported("an axis repeated %d times", n)
		}
		list := make([]*lower.Tensor, n)
		for i := range list {
			list[i] = t
		}
		if n > 1 {
			if t, err = c.tr.Concat(list, ax); err != nil {
				return nil, err
			}
		}
	}
	return one(t, nil)
}

func concatenation(c *call) ([]*lower.Tensor, error) {
	list, err := c.all()
	if err != nil {
		return nil, err
	}
	o := options[tflite.ConcatenationOptions](c)
	ax, err := lower.AxisIndex(int64(o.Axis), list[0].Rank())
	if err != nil {
		return nil, err
	}
	t, err := c.tr.Concat(list, ax)
	return c.activate(t, err, o.Activation)
}

func pack(c *call) ([]*lower.Tensor, error) {
	list, err := c.all()
	if err != nil {
		return nil, err
	}
	ax, err := lower.AxisIndex(int64(options[tflite.PackOptions](c).Axis), list[0].Rank()+1)
	if err != nil {
		return nil, err
	}
	for i, t := range list {
		if list[i], err = c.tr.Unsqueeze(t, []int64{int64(ax)}); err != nil {
			return nil, err
		}
	}
	return one(c.tr.Concat(list, ax))
}

func unpack(c *call) ([]*lower.Tensor, error) {
	t := c.in[0]
	ax, err := lower.AxisIndex(int64(options[tflite.UnpackOptions](c).Axis), t.Rank())
	if err != nil {
		return nil, err
	}
	n, fixed := t.Shape()[ax].Const()
	if !fixed || n != int64(len(c.Outputs)) {
		return nil, unsupported("an axis of length %v taken apart into %d", t.Shape()[ax], len(c.Outputs))
	}
	var out []*lower.Tensor
	for i := range n {
		part, err := c.at(t, ax, i)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	return out, nil
}

// at is position i of an axis, without the axis.
func (c *call) at(t *lower.Tensor, ax int, i int64) (*lower.Tensor, error) {
	t, err := c.tr.Slice(t, ax, lower.Int(i), lower.Int(i+1), lower.Int(1))
	if err != nil {
		return nil, err
	}
	return c.tr.Squeeze(t, []int64{int64(ax)})
}

// cut takes parts of the given sizes from an axis.
func (c *call) cut(t *lower.Tensor, ax int, sizes []int64) (out []*lower.Tensor, err error) {
	if len(sizes) != len(c.Outputs) {
		return nil, fmt.Errorf("%d parts for %d outputs", len(sizes), len(c.Outputs))
	}
	at := int64(0)
	for _, n := range sizes {
		if n < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("a part of %d positions", n)
		}
		part, err := c.tr.Slice(t, ax, lower.Int(at), lower.Int(at+n), lower.Int(1))
		if err != nil {
			return nil, err
		}
		out = append(out, part)
		at += n
	}
	return out, nil
}

func (c *call) axisOf(axis, t *lower.Tensor) (int, error) {
	v, err := c.ints(axis)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("%d axes, want 1", len(v))
	}
	return lower.AxisIndex(v[0], t.Rank())
}

func split(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axisOf(c.in[0], c.in[1])
	if err != nil {
		return nil, err
	}
	n, fixed := c.in[1].Shape()[ax].Const()
	parts := int64(len(c.Outputs))
	if !fixed || parts == 0 || n%parts != 0 {
		return nil, unsupported("an axis of length %v split into %d", c.in[1].Shape()[ax], parts)
	}
	sizes := make([]int64, parts)
	for i := range sizes {
		sizes[i] = n / parts
	}
	return c.cut(c.in[1], ax, sizes)
}

// splitV may leave one size open, as -1.
func splitV(c *call) ([]*lower.Tensor, error) {
	sizes, err := c.ints(c.in[1])
	if err != nil {
		return nil, err
	}
	ax, err := c.axisOf(c.in[2], c.in[0])
	if err != nil {
		return nil, err
	}
	n, fixed := c.in[0].Shape()[ax].Const()
	if !fixed {
		return nil, unsupported("an axis of length %v split", c.in[0].Shape()[ax])
	}
	open := -1
	for i, s := range sizes {
		if s == -1 {
			open = i
		} else {
			n -= s
		}
	}
	if open >= 0 {
		sizes[open], n = n, 0
	}
	if n != 0 {
		return nil, fmt.Errorf("parts of %v", sizes)
	}
	return c.cut(c.in[0], ax, sizes)
}

func gather(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.GatherOptions](c)
	if o.BatchDims != 0 {
		return nil, unsupported("a gather with %d batch dimensions", o.BatchDims)
	}
	if c.in[1].Computed() {
		return nil, unsupported("a gather by positions that depend on the input")
	}
	ax, err := lower.AxisIndex(int64(o.Axis), c.in[0].Rank())
	if err != nil {
		return nil, err
	}
	return one(c.tr.Gather(c.in[0], ax, c.in[1]))
}

// slice takes sizes; -1 is all that follows.
func slice(c *call) ([]*lower.Tensor, error) {
	t := c.in[0]
	begin, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	size, err := c.tr.Known(c.in[2])
	if err != nil {
		return nil, err
	}
	if len(begin) != t.Rank() || len(size) != t.Rank() {
		return nil, fmt.Errorf("%d beginnings and %d sizes for %d axes", len(begin), len(size), t.Rank())
	}
	for ax := range begin {
		end := lower.Int(math.MaxInt32)
		if n, fixed := size[ax].Const(); !fixed || n >= 0 {
			if end, err = begin[ax].Add(size[ax]); err != nil {
				return nil, err
			}
		}
		if t, err = c.tr.Slice(t, ax, begin[ax], end, lower.Int(1)); err != nil {
			return nil, err
		}
	}
	return one(t, nil)
}

func stridedSlice(c *call) ([]*lower.Tensor, error) {
	s := striding{call: c, o: options[tflite.StridedSliceOptions](c)}
	for i, to := range []*[]lower.Poly{&s.begin, &s.end, &s.stride} {
		var err error
		if *to, err = c.tr.Known(c.in[1+i]); err != nil {
			return nil, err
		}
	}
	if len(s.begin) != len(s.end) || len(s.begin) != len(s.stride) || len(s.begin) > 32 {
		return nil, fmt.Errorf("%d beginnings, %d ends and %d strides", len(s.begin), len(s.end), len(s.stride))
	}
	return one(s.run())
}

// striding is a slice with masks, whose bit i speaks of entry i of the lists.
type striding struct {
	*call
	o                  tflite.StridedSliceOptions
	begin, end, stride []lower.Poly
}

func (s *striding) run() (*lower.Tensor, error) {
	t := s.in[0]
	covered := 0 // axes that entries speak of
	for i := range s.begin {
		if (s.o.NewAxisMask|s.o.EllipsisMask)>>i&1 == 0 {
			covered++
		}
	}
	ax := 0 // of t as it becomes
	var shrunk []int64
	for i := range s.begin {
		var err error
		switch {
		case s.o.EllipsisMask>>i&1 != 0:
			ax += s.in[0].Rank() - covered
			continue
		case s.o.NewAxisMask>>i&1 != 0:
			t, err = s.tr.Unsqueeze(t, []int64{int64(ax)})
		case ax >= t.Rank():
			return nil, fmt.Errorf("%d entries for %d axes", len(s.begin), s.in[0].Rank())
		case s.o.ShrinkAxisMask>>i&1 != 0:
			t, err = s.single(t, ax, i)
			shrunk = append(shrunk, int64(ax))
		default:
			t, err = s.part(t, ax, i)
		}
		if err != nil {
			return nil, err
		}
		ax++
	}
	if shrunk == nil {
		return t, nil
	}
	return s.tr.Squeeze(t, shrunk)
}

// single keeps one position, as an axis of length 1.
func (s *striding) single(t *lower.Tensor, ax, i int) (*lower.Tensor, error) {
	begin := s.begin[i]
	if s.o.BeginMask>>i&1 != 0 {
		begin = lower.Int(0)
	}
	end, err := begin.Add(lower.Int(1))
	if err != nil {
		return nil, err
	}
	if begin.Equal(lower.Int(-1)) {
		end = lower.Int(math.MaxInt32)
	}
	if t, err = s.tr.Slice(t, ax, begin, end, lower.Int(1)); err != nil {
		return nil, err
	}
	if !t.Shape()[ax].Equal(lower.Int(1)) {
		return nil, fmt.Errorf("position %v of axis %d is out of range", begin, ax)
	}
	return t, nil
}

func (s *striding) part(t *lower.Tensor, ax, i int) (*lower.Tensor, error) {
	begin, end := s.begin[i], s.end[i]
	step, fixed := s.stride[i].Const()
	if !fixed || step == 0 {
		return nil, unsupported("a slice with stride %v", s.stride[i])
	}
	if s.o.Offset {
		var err error
		if end, err = begin.Add(end); err != nil {
			return nil, err
		}
	}
	first, last := lower.Int(0), lower.Int(math.MaxInt32)
	if step < 0 {
		first, last = last, lower.Int(math.MinInt32)
	}
	if s.o.BeginMask>>i&1 != 0 {
		begin = first
	}
	if s.o.EndMask>>i&1 != 0 {
		end = last
	}
	return s.tr.Slice(t, ax, begin, end, s.stride[i])
}

// paddings are the positions to be added before and after each axis.
func (c *call) paddings(i, axes int) ([][2]int64, error) {
	v, err := c.ints(c.in[i])
	if err != nil {
		return nil, err
	}
	if len(v) != 2*axes {
		return nil, fmt.Errorf("%d numbers of padding for %d axes", len(v), axes)
	}
	out := make([][2]int64, axes)
	for k := range out {
		out[k] = [2]int64{v[2*k], v[2*k+1]}
		if out[k][0] < 0 || out[k][1] < 0 {
			return nil, fmt.Errorf("a padding of %v", out[k])
		}
	}
	return out, nil
}

func (c *call) padded(t *lower.Tensor, p [][2]int64, mode lower.PadMode, value float32) (*lower.Tensor, error) {
	var err error
	for ax := range p {
		if t, err = c.tr.Pad(t, ax, p[ax][0], p[ax][1], mode, value); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func pad(c *call) ([]*lower.Tensor, error) {
	p, err := c.paddings(1, c.in[0].Rank())
	if err != nil {
		return nil, err
	}
	value := float32(0)
	if len(c.in) > 2 {
		_, v, err := c.tr.Numbers(c.in[2])
		if err != nil {
			return nil, err
		}
		if len(v) != 1 {
			return nil, fmt.Errorf("%d values of padding", len(v))
		}
		value = v[0]
	}
	return one(c.padded(c.in[0], p, lower.PadConstant, value))
}

func mirrorPad(c *call) ([]*lower.Tensor, error) {
	p, err := c.paddings(1, c.in[0].Rank())
	if err != nil {
		return nil, err
	}
	mode := lower.PadReflect
	if options[tflite.MirrorPadOptions](c).Symmetric {
		mode = lower.PadSymmetric
	}
	return one(c.padded(c.in[0], p, mode, 0))
}

// blocks are the sizes that axes after the first are cut into, and the sizes of all axes.
func (c *call) blocks(t *lower.Tensor) (block, dims []int64, err error) {
	if block, err = c.ints(c.in[1]); err != nil {
		return nil, nil, err
	}
	for _, d := range t.Shape() {
		n, fixed := d.Const()
		if !fixed {
			return nil, nil, unsupported("an axis of length %v cut into blocks", d)
		}
		dims = append(dims, n)
	}
	if len(block) < 1 || len(block) > len(dims)-1 {
		return nil, nil, fmt.Errorf("%d blocks for %d axes", len(block), len(dims))
	}
	for _, b := range block {
		if b < 1 || b > math.MaxInt16 {
			return nil, nil, fmt.Errorf("a block of %d", b)
		}
	}
	return block, dims, nil
}

// spaceToBatch pads the axes after the first, and makes every b-th position of them a sequence of its own.
func spaceToBatch(c *call) ([]*lower.Tensor, error) {
	m, err := c.ints(c.in[1])
	if err != nil {
		return nil, err
	}
	p, err := c.paddings(2, len(m))
	if err != nil {
		return nil, err
	}
	if len(p) >= c.in[0].Rank() {
		return nil, fmt.Errorf("%d blocks for %d axes", len(p), c.in[0].Rank())
	}
	t, err := c.padded(c.in[0], append([][2]int64{{}}, p...), lower.PadConstant, 0)
	if err != nil {
		return nil, err
	}
	block, dims, err := c.blocks(t)
	if err != nil {
		return nil, err
	}
	split, perm, joined := []int64{dims[0]}, []int64{}, []int64{dims[0]}
	for i, b := range block {
		if dims[1+i]%b != 0 {
			return nil, fmt.Errorf("an axis of length %d in blocks of %d", dims[1+i], b)
		}
		split = append(split, dims[1+i]/b, b)
		perm = append(perm, int64(2+2*i))
		joined[0] *= b
		joined = append(joined, dims[1+i]/b)
	}
	perm = append(perm, 0)
	for i := range block {
		perm = append(perm, int64(1+2*i))
	}
	for i, d := range dims[1+len(block):] {
		split, joined, perm = append(split, d), append(joined, d), append(perm, int64(1+2*len(block)+i))
	}
	return one(c.regrouped(t, split, perm, joined))
}

// batchToSpace is the inverse of spaceToBatch, with crops in place of paddings.
func batchToSpace(c *call) ([]*lower.Tensor, error) {
	block, dims, err := c.blocks(c.in[0])
	if err != nil {
		return nil, err
	}
	crops, err := c.paddings(2, len(block))
	if err != nil {
		return nil, err
	}
	n, total := len(block), int64(1)
	for _, b := range block {
		if total *= b; total > math.MaxInt32 {
			return nil, fmt.Errorf("blocks of %v", block)
		}
	}
	if dims[0]%total != 0 {
		return nil, fmt.Errorf("a batch of %d in blocks of %v", dims[0], block)
	}
	split := append(append(append([]int64{}, block...), dims[0]/total), dims[1:]...)
	perm, joined := []int64{int64(n)}, []int64{dims[0] / total}
	for i, b := range block {
		perm = append(perm, int64(n+1+i), int64(i))
		joined = append(joined, dims[1+i]*b)
	}
	for i, d := range dims[1+n:] {
		perm, joined = append(perm, int64(2*n+1+i)), append(joined, d)
	}
	t, err := c.regrouped(c.in[0], split, perm, joined)
	if err != nil {
		return nil, err
	}
	for i, crop := range crops {
		if t, err = c.tr.Pad(t, 1+i, -crop[0], -crop[1], lower.PadConstant, 0); err != nil {
			return nil, err
		}
	}
	return one(t, nil)
}

// regrouped splits axes, reorders them and joins them again.
func (c *call) regrouped(t *lower.Tensor, split, perm, joined []int64) (*lower.Tensor, error) {
	t, err := c.tr.Reshape(t, polys(split), true)
	if err == nil {
		t, err = c.tr.Transpose(t, perm)
	}
	if err != nil {
		return nil, err
	}
	return c.tr.Reshape(t, polys(joined), true)
}

func polys(v []int64) []lower.Poly {
	out := make([]lower.Poly, len(v))
	for i, n := range v {
		out[i] = lower.Int(n)
	}
	return out
}
