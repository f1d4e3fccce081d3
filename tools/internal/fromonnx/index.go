package fromonnx

import (
	"fmt"
	"slices"

	"github.com/recur-go/recur/tools/internal/lower"
)

func gather(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Gather(c.in[0], ax, c.in[1]))
}

// picked gathers from the data as one row of elements, each of n: those at the given places, as a tensor of shape dims.
func (c *call) picked(n int64, at []lower.Poly, dims []int64) ([]*lower.Tensor, error) {
	k := chain{c: c}
	rows := k.reshape(c.in[0], []lower.Poly{lower.Int(-1), lower.Int(n)})
	t := k.do(func() (*lower.Tensor, error) { return c.tr.Gather(rows, 0, lower.Vector(at)) })
	return one(k.end(k.reshape(t, lower.Lengths(dims))))
}

// indices are the shape and the elements of an input of integers.
func (c *call) indices(i int) (dims, v []int64, err error) {
	p, err := c.tr.Known(c.in[i])
	if err != nil {
		return nil, nil, err
	}
	if v, err = constants("an index", p); err != nil {
		return nil, nil, err
	}
	dims, err = constants("the shape of the indices", c.in[i].Shape())
	return dims, v, err
}

// strides are those of the data, whose shape must be fixed.
func (c *call) strides() (dims, strides []int64, err error) {
	if dims, err = constants("the shape of the data", c.in[0].Shape()); err != nil {
		return nil, nil, err
	}
	strides = make([]int64, len(dims))
	step := int64(1)
	for i := len(dims) - 1; i >= 0; i-- {
		strides[i] = step
		step *= dims[i]
	}
	return dims, strides, nil
}

// gatherElements takes, for each index, the element at the same place but for its position along the axis.
func gatherElements(c *call) ([]*lower.Tensor, error) {
	places, shape, err := c.elements()
	if err != nil {
		return nil, err
	}
	return c.picked(1, places, shape)
}

// elements are the places that the indices of the node name, and their shape.
func (c *call) elements() (places []lower.Poly, shape []int64, err error) {
	ax, err := c.axis(0)
	if err != nil {
		return nil, nil, err
	}
	shape, v, err := c.indices(1)
	if err != nil {
		return nil, nil, err
	}
	places, err = c.elementPlaces(ax, shape, v)
	return places, shape, err
}

// elementPlaces are where, in the data as one row, the elements lie that differ from their indices' own places along one axis.
func (c *call) elementPlaces(ax int, shape, v []int64) ([]lower.Poly, error) {
	dims, strides, err := c.strides()
	if err != nil {
		return nil, err
	}
	if len(shape) != len(dims) {
		return nil, fmt.Errorf("indices of %d dimensions for data of %d", len(shape), len(dims))
	}
	at := make([]lower.Poly, len(v))
	for i, x := range v {
		if x < -dims[ax] || x >= dims[ax] {
			return nil, fmt.Errorf("index %d of an axis of length %d", x, dims[ax])
		}
		place, rest := (x+dims[ax])%dims[ax]*strides[ax], int64(i)
		for d := len(dims) - 1; d >= 0; d-- {
			p := rest % shape[d]
			if d != ax {
				if p >= dims[d] {
					return nil, fmt.Errorf("indices of shape %v for data of shape %v", shape, dims)
				}
				place += p * strides[d]
			}
			rest /= shape[d]
		}
		at[i] = lower.Int(place)
	}
	return at, nil
}

// gatherND takes, for each row of indices, what lies at these positions of the first axes.
func gatherND(c *call) ([]*lower.Tensor, error) {
	shape, v, err := c.indices(1)
	if err != nil {
		return nil, err
	}
	places, size, rest, err := c.rowPlaces(int(c.int("batch_dims", 0)), shape, v)
	if err != nil {
		return nil, err
	}
	return c.picked(size, places, slices.Concat(shape[:len(shape)-1], rest))
}

// rowPlaces are where, in the data as rows of the given size and shape, those lie that the last axis of the indices names. The first lead
// axes of indices and data are the same.
func (c *call) rowPlaces(lead int, shape, v []int64) (places []lower.Poly, size int64, row []int64, err error) {
	dims, strides, err := c.strides()
	if err != nil {
		return nil, 0, nil, err
	}
	if len(shape) == 0 || lead < 0 || lead >= len(shape) || lead > len(dims) || !slices.Equal(shape[:lead], dims[:lead]) {
		return nil, 0, nil, fmt.Errorf("indices of shape %v for data of shape %v, %d of them batches", shape, dims, lead)
	}
	depth := int(shape[len(shape)-1])
	if depth < 1 || lead+depth > len(dims) {
		return nil, 0, nil, fmt.Errorf("rows of %d indices for data of shape %v", depth, dims)
	}
	size = strides[lead+depth-1]
	batches := int64(1)
	for _, d := range dims[:lead] {
		batches *= d
	}
	rows := len(v) / depth
	at := make([]lower.Poly, rows)
	for r := range at {
		place := int64(0)
		if lead > 0 {
			place = int64(r) / (int64(rows) / batches) * strides[lead-1]
		}
		for k, x := range v[r*depth : (r+1)*depth] {
			n := dims[lead+k]
			if x < -n || x >= n {
				return nil, 0, nil, fmt.Errorf("index %d of an axis of length %d", x, n)
			}
			place += (x + n) % n * strides[lead+k]
		}
		at[r] = lower.Int(place / max(size, 1))
	}
	return at, size, dims[lead+depth:], nil
}

// scatterElements replaces elements at the places that gatherElements would take, in the order of the indices.
func scatterElements(c *call) ([]*lower.Tensor, error) {
	places, _, err := c.elements()
	if err != nil {
		return nil, err
	}
	return c.replaced(1, places)
}

// scatterND replaces what gatherND would take.
func scatterND(c *call) ([]*lower.Tensor, error) {
	shape, v, err := c.indices(1)
	if err != nil {
		return nil, err
	}
	places, size, _, err := c.rowPlaces(0, shape, v)
	if err != nil {
		return nil, err
	}
	return c.replaced(size, places)
}

// replaced is the data as rows of n elements, of which those at the given places are taken from the updates, the third input.
func (c *call) replaced(n int64, places []lower.Poly) ([]*lower.Tensor, error) {
	if how := c.string("reduction", "none"); how != "none" {
		return nil, unsupported("the reduction %q", how)
	}
	dims, _, err := c.strides()
	if err != nil {
		return nil, err
	}
	k := chain{c: c}
	rows := []lower.Poly{lower.Int(-1), lower.Int(n)}
	both := []*lower.Tensor{k.reshape(c.in[0], rows), k.reshape(c.in[2], rows)}
	t := k.do(func() (*lower.Tensor, error) { return c.tr.Concat(both, 0) })
	if k.err != nil {
		return nil, k.err
	}
	count, fixed := both[0].Shape()[0].Const()
	if !fixed {
		return nil, unsupported("a replacement in %v rows", both[0].Shape()[0])
	}
	if err := c.tr.Spend(count); err != nil {
		return nil, err
	}
	at := make([]lower.Poly, count)
	for i := range at {
		at[i] = lower.Int(int64(i))
	}
	for i, p := range places {
		place, _ := p.Const()
		at[place] = lower.Int(count + int64(i))
	}
	t = k.do(func() (*lower.Tensor, error) { return c.tr.Gather(t, 0, lower.Vector(at)) })
	return one(k.end(k.reshape(t, lower.Lengths(dims))))
}

// nonZero lists the positions of what is not zero in a known tensor, an axis a row.
func nonZero(c *call) ([]*lower.Tensor, error) {
	v, err := c.numbers(c.in[0])
	if err != nil {
		return nil, err
	}
	dims, strides, err := c.strides()
	if err != nil {
		return nil, err
	}
	if err := c.tr.Spend(int64(len(v)) * int64(len(dims))); err != nil {
		return nil, err
	}
	rows := make([][]int64, len(dims))
	for i, x := range v {
		for ax := range dims {
			if x != 0 {
				rows[ax] = append(rows[ax], int64(i)/strides[ax]%dims[ax])
			}
		}
	}
	all := slices.Concat(rows...)
	return one(c.tr.Ints([]int64{int64(len(dims)), int64(len(all) / max(len(dims), 1))}, all))
}

// iota is 0 to n-1 along an axis of a tensor of the given rank.
func (k *chain) iota(n int64, ax, rank int) *lower.Tensor {
	if n < 1 || n > maxRange {
		k.err = unsupported("%d positions", n)
	}
	v := make([]float32, max(min(n, maxRange), 0))
	for i := range v {
		v[i] = float32(i)
	}
	t := k.do(func() (*lower.Tensor, error) { return k.c.tr.Floats([]int64{int64(len(v))}, v) })
	return k.along(t, ax, rank)
}

// oneHot compares indices with all positions of a new axis.
func oneHot(c *call) ([]*lower.Tensor, error) {
	rank := c.in[0].Rank() + 1
	ax, err := lower.AxisIndex(c.int("axis", -1), rank)
	if err != nil {
		return nil, err
	}
	depth, err := c.numbers(c.in[1])
	if err != nil || len(depth) != 1 || !(depth[0] >= 1 && depth[0] <= maxRange) {
		return nil, unsupported("a depth that is not one known number up to %d", maxRange)
	}
	if v := c.in[2].Shape(); len(v) != 1 || !v[0].Equal(lower.Int(2)) {
		return nil, fmt.Errorf("values of shape %v", v)
	}
	n := int64(depth[0])
	k := chain{c: c}
	x := k.unsqueeze(k.float(c.in[0]), int64(ax))
	x = k.add(x, k.scaled(k.binary(lower.Less, x, k.number(0)), float32(n))) // those below zero count from the end
	hot := k.binary(lower.Equal, x, k.iota(n, ax, rank))
	values := func(i int64) *lower.Tensor {
		return k.do(func() (*lower.Tensor, error) { return c.tr.Gather(c.in[2], 0, c.scalar(i)) })
	}
	off, on := k.float(values(0)), k.float(values(1))
	return one(k.end(k.do(func() (*lower.Tensor, error) { return c.tr.Select(hot, on, off) })))
}
