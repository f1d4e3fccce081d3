package fromonnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

const reduceAttrs = "axes keepdims noop_with_empty_axes"

// reduction is a reduction with a function of its elements before and one of its results after.
func reduction(r lower.Reduction, before, after func(*chain, *lower.Tensor) *lower.Tensor) operator {
	return op(reduceAttrs, 1, func(c *call) ([]*lower.Tensor, error) {
		axes, err := c.axes()
		if err != nil {
			return nil, err
		}
		k := chain{c: c}
		t := c.in[0]
		if before != nil {
			t = before(&k, t)
		}
		if len(axes) > 0 {
			t = k.do(func() (*lower.Tensor, error) { return c.tr.Reduce(r, t, axes, c.int("keepdims", 1) != 0) })
		}
		if after != nil {
			t = after(&k, t)
		}
		return one(k.end(t))
	})
}

// axes are those that a reduction is over; none given means all, or none.
func (c *call) axes() ([]int, error) {
	rank := c.in[0].Rank()
	at, err := c.ints("axes", 1)
	if err != nil {
		return nil, err
	}
	var axes []int
	for _, a := range at {
		ax, err := lower.AxisIndex(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(axes, ax) {
			return nil, fmt.Errorf("axis %d twice", ax)
		}
		axes = append(axes, ax)
	}
	if len(at) == 0 && c.int("noop_with_empty_axes", 0) == 0 {
		return from(0, rank), nil
	}
	return axes, nil
}

// from are the axes from first on.
func from(first, rank int) (axes []int) {
	for ax := first; ax < rank; ax++ {
		axes = append(axes, ax)
	}
	return axes
}

// reduceLogSumExp is the logarithm of a sum of exponentials, taken relative to the largest.
func reduceLogSumExp(c *call) ([]*lower.Tensor, error) {
	axes, err := c.axes()
	if err != nil || len(axes) == 0 {
		return c.in[:1], err
	}
	k := chain{c: c}
	x := c.in[0]
	most := k.reduce(lower.ReduceMax, x, axes)
	sum := k.reduce(lower.ReduceSum, k.unary(format.Exp, k.sub(x, most)), axes)
	y := k.add(k.log(sum), most)
	if c.int("keepdims", 1) != 0 {
		return one(k.end(y))
	}
	gone := make([]int64, len(axes))
	for i, ax := range axes {
		gone[i] = int64(ax)
	}
	return one(k.end(k.do(func() (*lower.Tensor, error) { return c.tr.Squeeze(y, gone) })))
}

// softmax follows the meaning of axis in opset 13, or before: all dimensions from axis on are one.
func softmax(kind format.Kind) func(c *call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		otherwise := int64(-1)
		if c.opset < 13 {
			otherwise = 1
		}
		ax, err := c.axis(otherwise)
		if err != nil {
			return nil, err
		}
		last := ax
		if c.opset < 13 {
			last = c.in[0].Rank() - 1
		}
		return one(c.tr.Softmax(kind, c.in[0], ax, last))
	}
}

func lpNormalization(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	k := chain{c: c}
	norm, err := k.norm(c.in[0], []int{ax}, c.int("p", 2))
	if err != nil {
		return nil, err
	}
	return one(k.end(k.div(c.in[0], norm)))
}

// norm is the p-norm along axes.
func (k *chain) norm(t *lower.Tensor, axes []int, p int64) (*lower.Tensor, error) {
	switch p {
	case 1:
		return k.end(k.reduce(lower.ReduceSum, k.abs(t), axes))
	case 2:
		return k.end(k.sqrt(k.reduce(lower.ReduceSum, k.square(t), axes)))
	}
	return nil, unsupported("the norm with p of %d", p)
}

// layerNormalization also returns the mean, and one by the standard deviation.
func layerNormalization(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	k := chain{c: c}
	axes, eps := from(ax, c.in[0].Rank()), c.float("epsilon", 1e-5)
	y := k.normalised(c.in[0], axes, eps)
	out := []*lower.Tensor{k.linear(y, c.arg(1), c.arg(2)), nil, nil}
	if c.wants(1) || c.wants(2) {
		out[1], out[2] = k.moments(c.in[0], axes, eps)
	}
	return out, k.err
}

func (k *chain) normalised(t *lower.Tensor, axes []int, eps float32) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.LayerNorm(t, axes, eps) })
}

// linear scales and shifts; what is nil is left out.
func (k *chain) linear(t, scale, shift *lower.Tensor) *lower.Tensor {
	if scale != nil {
		t = k.mul(t, scale)
	}
	if shift != nil {
		t = k.add(t, shift)
	}
	return t
}

// moments are the mean along axes, and one by the standard deviation.
func (k *chain) moments(t *lower.Tensor, axes []int, eps float32) (mean, inverse *lower.Tensor) {
	mean = k.reduce(lower.ReduceMean, t, axes)
	variance := k.reduce(lower.ReduceMean, k.square(k.sub(t, mean)), axes)
	return mean, k.div(k.number(1), k.sqrt(k.add(variance, k.number(eps))))
}

// skipLayerNormalization is a layer normalisation of a sum, which is the last output.
func skipLayerNormalization(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	sum := k.add(c.in[0], c.in[1])
	if b := c.arg(4); b != nil {
		sum = k.add(sum, b)
	}
	y := k.normalised(sum, []int{c.in[0].Rank() - 1}, c.float("epsilon", 1e-12))
	return []*lower.Tensor{k.linear(y, c.arg(2), c.arg(3)), nil, nil, sum}, k.err
}

// rmsNormalization is x/√(mean of x² + epsilon), scaled.
func rmsNormalization(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	k := chain{c: c}
	square := k.reduce(lower.ReduceMean, k.square(c.in[0]), from(ax, c.in[0].Rank()))
	root := k.sqrt(k.add(square, k.number(c.float("epsilon", 1e-5))))
	return one(k.end(k.mul(k.div(c.in[0], root), c.in[1])))
}

func instanceNormalization(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	rank := c.in[0].Rank()
	if rank < 3 {
		return nil, unsupported("an input of %d dimensions", rank)
	}
	y := k.normalised(c.in[0], from(2, rank), c.float("epsilon", 1e-5))
	return one(k.end(k.linear(y, k.along(c.in[1], 1, rank), k.along(c.in[2], 1, rank))))
}

// groupNormalization has a scale and bias for each group before opset 21, for each channel since.
func groupNormalization(c *call) ([]*lower.Tensor, error) {
	x := c.in[0]
	groups := c.int("num_groups", 0)
	dims := x.Shape()
	if len(dims) < 2 || groups < 1 {
		return nil, fmt.Errorf("%d groups of an input with %d dimensions", groups, len(dims))
	}
	each, err := dims[1].Div(lower.Int(groups))
	if err != nil {
		return nil, err
	}
	k := chain{c: c}
	apart := slices.Concat(dims[:1], []lower.Poly{lower.Int(groups), each}, dims[2:])
	y := k.normalised(k.reshape(x, apart), from(2, len(apart)), c.float("epsilon", 1e-5))
	scale, bias := c.in[1], c.in[2]
	if c.opset < 21 {
		y = k.linear(y, k.along(scale, 1, len(apart)), k.along(bias, 1, len(apart)))
		return one(k.end(k.reshape(y, dims)))
	}
	return one(k.end(k.linear(k.reshape(y, dims), k.along(scale, 1, len(dims)), k.along(bias, 1, len(dims)))))
}

// batchNormalization by the moments that were learned; in training mode by those of the batch, of which the running ones are updated.
func batchNormalization(c *call) ([]*lower.Tensor, error) {
	x := c.in[0]
	rank := x.Rank()
	if rank < 2 {
		return nil, unsupported("an input of %d dimensions", rank)
	}
	if c.int("training_mode", 0) != 0 {
		return c.trainedNormalization()
	}
	for i := 1; i < len(c.Outputs) && c.opset < 14; i++ {
		if c.Outputs[i] != "" {
			return nil, unsupported("training mode")
		}
	}
	eps := float64(c.float("epsilon", 1e-5))
	var v [4][]float32 // scale, bias, mean, variance
	for i := range v {
		n, err := c.numbers(c.in[i+1])
		if err != nil {
			return nil, err
		}
		if i > 0 && len(n) != len(v[0]) {
			return nil, fmt.Errorf("parameters of %d and %d channels", len(v[0]), len(n))
		}
		v[i] = n
	}
	scale, shift := make([]float32, len(v[0])), make([]float32, len(v[0]))
	for i := range scale {
		s := float64(v[0][i]) / math.Sqrt(float64(v[3][i])+eps)
		scale[i], shift[i] = float32(s), float32(float64(v[1][i])-float64(v[2][i])*s)
	}
	k := chain{c: c}
	return one(k.end(k.linear(x, k.perChannel(scale), k.perChannel(shift))))
}

// perChannel has the shape of the second input, along the second axis of the first unless it has more axes of its own (opset 7 and 8,
// spatial = 0).
func (k *chain) perChannel(v []float32) *lower.Tensor {
	t := k.do(func() (*lower.Tensor, error) { return k.c.tr.Floats([]int64{int64(len(v))}, v) })
	if k.err == nil && k.c.in[1].Rank() > 1 {
		return k.reshape(t, k.c.in[1].Shape())
	}
	return k.along(t, 1, k.c.in[0].Rank())
}

func (c *call) trainedNormalization() ([]*lower.Tensor, error) {
	x, rank := c.in[0], c.in[0].Rank()
	k := chain{c: c}
	axes := append([]int{0}, from(2, rank)...)
	momentum := c.float("momentum", 0.9)
	mean := k.reduce(lower.ReduceMean, x, axes)
	variance := k.reduce(lower.ReduceMean, k.square(k.sub(x, mean)), axes)
	y := k.div(k.sub(x, mean), k.sqrt(k.add(variance, k.number(c.float("epsilon", 1e-5)))))
	out := []*lower.Tensor{k.linear(y, k.along(c.in[1], 1, rank), k.along(c.in[2], 1, rank))}
	for i, m := range []*lower.Tensor{mean, variance} {
		flat := k.reshape(m, []lower.Poly{lower.Int(-1)})
		out = append(out, k.add(k.scaled(flat, 1-momentum), k.scaled(c.in[3+i], momentum)))
	}
	return out, k.err
}

func globalPool(r lower.Reduction) func(c *call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		return one(c.tr.Reduce(r, c.in[0], from(2, c.in[0].Rank()), true))
	}
}

func globalLpPool(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.norm(c.in[0], from(2, c.in[0].Rank()), c.int("p", 2)))
}

// position is the first position, or the last, of the largest element along an axis, or of the smallest.
func position(r lower.Reduction) func(c *call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		ax, err := c.axis(0)
		if err != nil {
			return nil, err
		}
		k := chain{c: c}
		y := k.position(r, c.in[0], ax, c.int("select_last_index", 0) != 0)
		if c.int("keepdims", 1) == 0 {
			y = k.do(func() (*lower.Tensor, error) { return c.tr.Squeeze(y, []int64{int64(ax)}) })
		}
		return one(k.end(y))
	}
}

func (k *chain) position(r lower.Reduction, t *lower.Tensor, ax int, last bool) *lower.Tensor {
	n, fixed := t.Shape()[ax].Const()
	if !fixed && k.err == nil {
		k.err = unsupported("a position along an axis of length %v", t.Shape()[ax])
	}
	found := k.binary(lower.Equal, t, k.reduce(r, t, []int{ax}))
	at, other, choose := k.iota(n, ax, t.Rank()), k.number(float32(n)), lower.ReduceMin
	if last {
		other, choose = k.number(-1), lower.ReduceMax
	}
	return k.reduce(choose, k.do(func() (*lower.Tensor, error) { return k.c.tr.Select(found, at, other) }), []int{ax})
}

// hardmax is 1 at the first largest element and 0 elsewhere, along the axes that softmax is over.
func hardmax(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(-1)
	if err != nil {
		return nil, err
	}
	if c.opset < 13 {
		return nil, unsupported("Hardmax before opset 13")
	}
	k := chain{c: c}
	at := k.position(lower.ReduceMax, c.in[0], ax, false)
	n, _ := c.in[0].Shape()[ax].Const()
	return one(k.end(k.binary(lower.Equal, at, k.iota(n, ax, c.in[0].Rank()))))
}

// cumSum is a product with a triangle of ones.
func cumSum(c *call) ([]*lower.Tensor, error) {
	at, err := c.ints("axis", 1)
	if err != nil {
		return nil, err
	}
	if len(at) != 1 {
		return nil, fmt.Errorf("%d axes", len(at))
	}
	x := c.in[0]
	ax, err := lower.AxisIndex(at[0], x.Rank())
	if err != nil {
		return nil, err
	}
	n, fixed := x.Shape()[ax].Const()
	if !fixed || n < 1 || n > maxTriangle {
		return nil, unsupported("a cumulative sum along an axis of length %v", x.Shape()[ax])
	}
	if err := c.tr.Spend(n * n); err != nil {
		return nil, err
	}
	before := c.int("exclusive", 0)
	w := make([]float32, n*n)
	for i := range w {
		to, from := int64(i)/n, int64(i)%n
		if c.int("reverse", 0) != 0 {
			to, from = from, to
		}
		if from <= to-before {
			w[i] = 1
		}
	}
	k := chain{c: c}
	perm := make([]int64, x.Rank())
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[ax], perm[len(perm)-1] = perm[len(perm)-1], perm[ax]
	matrix := k.do(func() (*lower.Tensor, error) { return c.tr.Floats([]int64{n, n}, transposed(w, int(n), int(n))) })
	t := k.product(k.transpose(k.float(x), perm), matrix)
	return one(k.end(k.transpose(t, perm)))
}

const maxTriangle = 1 << 11

func (k *chain) transpose(t *lower.Tensor, perm []int64) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Transpose(t, perm) })
}

// meanVarianceNormalization is over the batch too, unless told otherwise.
func meanVarianceNormalization(c *call) ([]*lower.Tensor, error) {
	axes := []int{0, 2, 3}
	if c.Attr("axes") != nil {
		var err error
		if axes, err = c.axes(); err != nil {
			return nil, err
		}
	} else if c.in[0].Rank() != 4 {
		return nil, fmt.Errorf("an input of %d dimensions", c.in[0].Rank())
	}
	k := chain{c: c}
	return one(k.end(k.normalised(c.in[0], axes, 1e-9)))
}
