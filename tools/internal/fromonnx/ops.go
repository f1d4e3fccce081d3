package fromonnx

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// operator says how a node is lowered: the attributes it may have, how many inputs it must have, and what makes its outputs.
type operator struct {
	attrs  []string
	inputs int
	run    func(*call) ([]*lower.Tensor, error)
}

var operators = map[string]operator{
	"Constant":        op("value value_int value_ints value_float value_floats", 0, constant),
	"ConstantOfShape": op("value", 1, constantOfShape),
	"Shape":           op("start end", 1, shape),
	"Range":           op("", 3, rangeOp),
	"Cast":            op("to saturate", 1, cast),
	"Where":           op("", 3, where),
	"Not":             op("", 1, not),

	"Identity":  op("", 1, identity),
	"Dropout":   op("ratio seed is_test", 1, dropout),
	"Transpose": op("perm", 1, transpose),
	"Unsqueeze": op("axes", 1, unsqueeze),
	"Squeeze":   op("axes", 1, squeeze),
	"Reshape":   op("allowzero", 2, reshape),
	"Flatten":   op("axis", 1, flatten),
	"Expand":    op("", 2, expand),
	"Tile":      op("", 2, tile),
	"Slice":     op("axes starts ends", 1, slice),
	"Gather":    op("axis", 2, gather),
	"Concat":    op("axis", 1, concat),
	"Split":     op("axis split num_outputs", 1, split),

	"Add": binary(lower.Add), "Sub": binary(lower.Sub), "Mul": binary(lower.Mul), "Div": binary(lower.Div),
	"Equal": binary(lower.Equal), "Less": binary(lower.Less), "Greater": binary(lower.Greater),
	"And": binary(lower.And), "Or": binary(lower.Or),
	"Sigmoid": unary(format.Sigmoid), "Tanh": unary(format.Tanh), "Relu": unary(format.ReLU),
	"Sqrt": mapped(math.Sqrt), "Exp": mapped(math.Exp), "Abs": mapped(math.Abs),
	"Reciprocal": mapped(func(v float64) float64 { return 1 / v }),
	"Neg":        op("", 1, neg),
	"Softmax":    op("axis", 1, func(c *call) ([]*lower.Tensor, error) { return softmax(c, format.Softmax) }),
	"LogSoftmax": op("axis", 1, func(c *call) ([]*lower.Tensor, error) { return softmax(c, format.LogSoftmax) }),
	"ReduceMean": op("axes keepdims noop_with_empty_axes", 1, func(c *call) ([]*lower.Tensor, error) { return reduce(c, format.Mean) }),
	"ReduceMax":  op("axes keepdims noop_with_empty_axes", 1, func(c *call) ([]*lower.Tensor, error) { return reduce(c, format.Max) }),
	"MatMul":     op("", 2, matMul),
	"Gemm":       op("alpha beta transA transB", 2, gemm),

	"LSTM": op(recurrentAttrs+" input_forget", 3, lstm),
	"GRU":  op(recurrentAttrs+" linear_before_reset", 3, gru),
	"RNN":  op(recurrentAttrs, 3, rnn),
}

func op(attrs string, inputs int, run func(*call) ([]*lower.Tensor, error)) operator {
	return operator{strings.Fields(attrs), inputs, run}
}

func binary(a lower.Arith) operator {
	return op("", 2, func(c *call) ([]*lower.Tensor, error) { return one(c.tr.Binary(a, c.in[0], c.in[1])) })
}

func unary(k format.Kind) operator {
	return op("", 1, func(c *call) ([]*lower.Tensor, error) { return one(c.tr.Unary(k, c.in[0])) })
}

func mapped(f func(float64) float64) operator {
	return op("", 1, func(c *call) ([]*lower.Tensor, error) { return one(c.tr.Map(c.in[0], f)) })
}

func one(t *lower.Tensor, err error) ([]*lower.Tensor, error) {
	if err != nil {
		return nil, err
	}
	return []*lower.Tensor{t}, nil
}

// call is a node with its inputs; those that are left out are nil.
type call struct {
	*env
	*onnx.Node
	in    []*lower.Tensor
	opset int64
}

func (c *call) int(name string, otherwise int64) int64 {
	if a := c.Attr(name); a != nil {
		return a.I
	}
	return otherwise
}

func (c *call) float(name string, otherwise float32) float32 {
	if a := c.Attr(name); a != nil {
		return a.F
	}
	return otherwise
}

// arg returns an input, or nil.
func (c *call) arg(i int) *lower.Tensor {
	if i < len(c.in) {
		return c.in[i]
	}
	return nil
}

// polys is a list given by an input or, in older opsets, an attribute; nil if by neither.
func (c *call) polys(name string, input int) ([]lower.Poly, error) {
	if t := c.arg(input); t != nil {
		return c.tr.Known(t)
	}
	a := c.Attr(name)
	if a == nil {
		return nil, nil
	}
	out := make([]lower.Poly, len(a.Ints))
	for i, v := range a.Ints {
		out[i] = lower.Int(v)
	}
	return out, nil
}

// ints is polys for lists that must be constant.
func (c *call) ints(name string, input int) ([]int64, error) {
	p, err := c.polys(name, input)
	if p == nil || err != nil {
		return nil, err
	}
	out := make([]int64, len(p))
	for i, v := range p {
		n, fixed := v.Const()
		if !fixed {
			return nil, unsupported("%s depends on the length of the input", name)
		}
		out[i] = n
	}
	return out, nil
}

// axis is the attribute axis, resolved for the rank of input 0.
func (c *call) axis(otherwise int64) (int, error) {
	return lower.AxisIndex(c.int("axis", otherwise), c.in[0].Rank())
}

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

func rangeOp(c *call) ([]*lower.Tensor, error) {
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
	const most = 1 << 16
	if v[2] == 0 || max(v[0], -v[0], v[1], -v[1], v[2], -v[2]) > most {
		return nil, unsupported("a range from %d to %d by %d", v[0], v[1], v[2])
	}
	out := []lower.Poly{}
	for x := v[0]; v[2] > 0 && x < v[1] || v[2] < 0 && x > v[1]; x += v[2] {
		out = append(out, lower.Int(x))
	}
	return one(lower.Vector(out), nil)
}

func cast(c *call) ([]*lower.Tensor, error) {
	to := onnx.Type(c.int("to", 0))
	switch {
	case to.Float():
		return one(c.tr.ToFloat(c.in[0]))
	case to.Integer():
		return one(c.tr.ToInt(c.in[0], to == onnx.Bool))
	}
	return nil, unsupported("a cast to element type %d", to)
}

func where(c *call) ([]*lower.Tensor, error) {
	cond, err := c.tr.ToInt(c.in[0], true)
	if err != nil {
		return nil, unsupported("a condition that is not known when the model is converted")
	}
	if yes, uniform := c.tr.Uniform(cond); uniform {
		pick := c.in[1]
		if yes.Equal(lower.Int(0)) {
			pick = c.in[2]
		}
		return one(c.broadcast(pick, c.in))
	}
	not, err := c.tr.Binary(lower.Sub, c.scalar(1), cond)
	if err != nil {
		return nil, err
	}
	a, err := c.tr.Binary(lower.Mul, cond, c.in[1])
	if err != nil {
		return nil, err
	}
	b, err := c.tr.Binary(lower.Mul, not, c.in[2])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Binary(lower.Add, a, b))
}

func (c *call) scalar(v int64) *lower.Tensor {
	t := lower.Vector([]lower.Poly{lower.Int(v)})
	t, _ = c.tr.Reshape(t, nil, false)
	return t
}

// broadcast expands t to the shape that all of with have in common.
func (c *call) broadcast(t *lower.Tensor, with []*lower.Tensor) (*lower.Tensor, error) {
	for _, w := range with {
		var err error
		if t, err = c.tr.Expand(t, w.Shape()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func not(c *call) ([]*lower.Tensor, error) {
	t, err := c.tr.ToInt(c.in[0], true)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Binary(lower.Sub, c.scalar(1), t))
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

func tile(c *call) ([]*lower.Tensor, error) {
	times, err := c.tr.Known(c.in[1])
	if err != nil {
		return nil, err
	}
	dims := c.in[0].Shape()
	if len(times) != len(dims) {
		return nil, fmt.Errorf("%d repeats of %d dimensions", len(times), len(dims))
	}
	for i, n := range times {
		if !dims[i].Equal(lower.Int(1)) && !n.Equal(lower.Int(1)) {
			return nil, unsupported("an axis of length %v repeated", dims[i])
		}
		if dims[i], err = dims[i].Mul(n); err != nil {
			return nil, err
		}
	}
	return one(c.tr.Expand(c.in[0], dims))
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

func gather(c *call) ([]*lower.Tensor, error) {
	ax, err := c.axis(0)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Gather(c.in[0], ax, c.in[1]))
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

func neg(c *call) ([]*lower.Tensor, error) {
	return one(c.tr.Negate(c.in[0]))
}

// softmax follows the meaning of axis in opset 13, or before: all dimensions from axis on are one.
func softmax(c *call, kind format.Kind) ([]*lower.Tensor, error) {
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

func reduce(c *call, kind format.Kind) ([]*lower.Tensor, error) {
	at, err := c.ints("axes", 1)
	if err != nil {
		return nil, err
	}
	if len(at) == 0 && c.int("noop_with_empty_axes", 0) != 0 {
		return c.in[:1], nil
	}
	var axes []int
	for _, a := range at {
		ax, err := lower.AxisIndex(a, c.in[0].Rank())
		if err != nil {
			return nil, err
		}
		axes = append(axes, ax)
	}
	for ax := 0; len(at) == 0 && ax < c.in[0].Rank(); ax++ {
		axes = append(axes, ax)
	}
	return one(c.tr.Pool(kind, c.in[0], axes, c.int("keepdims", 1) != 0))
}

func matMul(c *call) ([]*lower.Tensor, error) {
	if c.in[1].Computed() {
		return nil, unsupported("a product with a computed tensor on the right")
	}
	dims, b, err := c.tr.Numbers(c.in[1])
	if err != nil {
		return nil, err
	}
	for len(dims) > 2 && dims[0] == 1 {
		dims = dims[1:]
	}
	switch len(dims) {
	case 1:
		t, err := c.tr.Dense(c.in[0], b, 1, nil)
		if err != nil {
			return nil, err
		}
		return one(c.tr.Squeeze(t, []int64{-1}))
	case 2:
		return one(c.tr.Dense(c.in[0], transposed(b, dims[0], dims[1]), dims[1], nil))
	}
	return nil, unsupported("a right operand of %d dimensions", len(dims))
}

func transposed(m []float32, rows, cols int) []float32 {
	out := make([]float32, len(m))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = m[r*cols+c]
		}
	}
	return out
}

func gemm(c *call) ([]*lower.Tensor, error) {
	if c.int("transA", 0) != 0 {
		return nil, unsupported("transA")
	}
	if c.in[0].Rank() != 2 || c.in[1].Computed() {
		return nil, unsupported("a product with a computed tensor on the right")
	}
	dims, w, err := c.tr.Numbers(c.in[1])
	if err != nil {
		return nil, err
	}
	if len(dims) != 2 {
		return nil, fmt.Errorf("a matrix of %d dimensions", len(dims))
	}
	outputs := dims[0]
	if c.int("transB", 0) == 0 {
		outputs = dims[1]
		w = transposed(w, dims[0], dims[1])
	}
	bias, err := c.bias(outputs)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Dense(c.in[0], scaled(w, c.float("alpha", 1)), outputs, scaled(bias, c.float("beta", 1))))
}

// bias is the third input of Gemm, a vector or what broadcasts to one.
func (c *call) bias(outputs int) ([]float32, error) {
	t := c.arg(2)
	if t == nil {
		return nil, nil
	}
	if outputs > 1<<16 {
		return nil, unsupported("a matrix with %d rows", outputs)
	}
	t, err := c.tr.Expand(t, []lower.Poly{lower.Int(int64(outputs))})
	if err != nil {
		return nil, err
	}
	dims, b, err := c.tr.Numbers(t)
	if err != nil {
		return nil, unsupported("a bias that is not constant")
	}
	if len(b) != outputs {
		return nil, unsupported("a bias of shape %v for %d outputs", dims, outputs)
	}
	return b, nil
}

func scaled(v []float32, by float32) []float32 {
	if by == 1 || v == nil {
		return v
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = x * by
	}
	return out
}
