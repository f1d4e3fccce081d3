package fromkeras

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

// operator reports whether a layer is none but an operation on tensors: what Keras 2 calls a lambda of TensorFlow, and Keras 3 an operation.
func (l *layer) operator() bool {
	return l.class == "TFOpLambda" || l.class == "SlicingOpLambda" || strings.HasPrefix(l.module, "keras.src.ops.") ||
		strings.HasPrefix(l.module, "keras.ops.")
}

// function is the name of what an operator computes.
func (l *layer) function() string {
	switch l.class {
	case "SlicingOpLambda":
		return "get_item"
	case "TFOpLambda":
		var name string
		json.Unmarshal(l.config.Function, &name)
		return operation(name)
	}
	return operation(snake(l.class))
}

// operation is a name that both versions have in common.
func operation(name string) string {
	name = strings.TrimPrefix(name[strings.LastIndex(name, ".")+1:], "reduce_")
	if other, ok := synonyms[name]; ok {
		return other
	}
	return name
}

var synonyms = map[string]string{"truediv": "divide", "true_divide": "divide", "concat": "concatenate", "getitem": "get_item", "sub": "subtract",
	"mul": "multiply", "neg": "negative", "pow": "power", "amax": "max", "amin": "min", "absolute": "abs"}

var (
	arithmetic = map[string]lower.Arith{"add": lower.Add, "subtract": lower.Sub, "multiply": lower.Mul, "divide": lower.Div, "power": lower.Pow,
		"maximum": lower.Max, "minimum": lower.Min}
	reductions = map[string]lower.Reduction{"mean": lower.ReduceMean, "sum": lower.ReduceSum, "max": lower.ReduceMax, "min": lower.ReduceMin}
	functions  = map[string]format.Kind{"exp": format.Exp, "log": format.Log, "sqrt": format.Sqrt, "abs": format.Abs}
)

// operation computes an operator.
func (u *use) operation() ([]value, error) {
	for _, v := range u.in {
		if v.keep != nil {
			return nil, unsupported("it comes after Masking")
		}
	}
	c := *u.layer
	u.layer = &c
	for name, to := range map[string]*json.RawMessage{"axis": &c.config.Axis, "newshape": &c.config.NewShape, "shape": &c.config.NewShape,
		"perm": &c.config.Axes, "axes": &c.config.Axes} {
		if v, given := u.call.kwargs[name]; given {
			b, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			*to = b
		}
	}
	if v, ok := u.call.kwargs["keepdims"].(bool); ok {
		c.config.KeepDims = v
	}
	y, err := u.operate(u.layer.function())
	return []value{{t: y}}, err
}

func (u *use) operate(name string) (*lower.Tensor, error) {
	if op, ok := arithmetic[name]; ok {
		x, y, err := u.operands()
		if err != nil {
			return nil, err
		}
		return u.tr.Binary(op, x, y)
	}
	x := u.in[0].t
	if r, ok := reductions[name]; ok {
		return u.reduce(r, x)
	}
	if kind, ok := functions[name]; ok {
		return u.tr.Unary(kind, x)
	}
	switch name {
	case "get_item":
		return u.getItem(x)
	case "negative":
		return u.times(x, -1, nil)
	case "square":
		return u.tr.Binary(lower.Mul, x, x)
	case "concatenate", "stack":
		return u.join(name == "stack")
	case "expand_dims", "squeeze":
		return u.dimension(x, name == "squeeze")
	case "transpose":
		perm, err := ints(u.config.Axes)
		if err != nil {
			return nil, err
		}
		return u.tr.Transpose(x, dims64(perm))
	case "reshape":
		dims, err := ints(u.config.NewShape)
		if err != nil {
			return nil, err
		}
		if len(dims) > 0 && dims[0] == -1 { // the batch
			dims[0] = 1
		}
		return u.tr.Reshape(x, polys(dims64(dims)), true)
	case "softmax", "log_softmax":
		axes, err := u.axes(x, -1)
		if err != nil || axes[0] != x.Rank()-1 {
			return nil, unsupported("a softmax along %s", u.config.Axis)
		}
	}
	return u.apply(x, "operation", name)
}

// operands are the two operands of an operator, one of which may be a number.
func (u *use) operands() (x, y *lower.Tensor, err error) {
	args := u.call.args
	for _, name := range []string{"x", "y", "x2"} {
		if v, given := u.call.kwargs[name]; given && len(args) < 2 {
			args = append(args[:len(args):len(args)], v)
		}
	}
	if len(args) != 2 {
		return nil, nil, unsupported("%d operands", len(args))
	}
	in := u.in
	var out [2]*lower.Tensor
	for i, a := range args {
		switch v := a.(type) {
		case ref:
			out[i], in = in[0].t, in[1:]
		case float64:
			if out[i], err = u.tr.Floats(nil, []float32{float32(v)}); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, unsupported("operands that are neither tensors nor numbers")
		}
	}
	return out[0], out[1], nil
}

func (u *use) reduce(r lower.Reduction, x *lower.Tensor) (*lower.Tensor, error) {
	if absent(u.config.Axis) {
		return nil, unsupported("a reduction over the batch")
	}
	axes, err := u.axes(x, -1)
	if err != nil {
		return nil, err
	}
	return u.combine(r, x, axes, u.config.KeepDims)
}

func (u *use) join(stacked bool) (*lower.Tensor, error) {
	var in []*lower.Tensor
	for _, v := range u.in {
		in = append(in, v.t)
	}
	rank := in[0].Rank()
	if stacked {
		rank++
	}
	at, err := u.axis(rank)
	if err != nil {
		return nil, err
	}
	for i := range in {
		if stacked {
			if in[i], err = u.tr.Unsqueeze(in[i], []int64{int64(at)}); err != nil {
				return nil, err
			}
		}
		if in[i].Rank() != rank {
			return nil, fmt.Errorf("inputs of %d and %d dimensions", in[i].Rank(), rank)
		}
	}
	return u.tr.Concat(in, at)
}

// axis is the one axis of a tensor with the given number of dimensions.
func (u *use) axis(rank int) (int, error) {
	v, err := ints(u.config.Axis)
	if err != nil || len(v) != 1 {
		return 0, unsupported("axis %s", u.config.Axis)
	}
	at, err := lower.AxisIndex(int64(v[0]), rank)
	if err != nil {
		return 0, err
	}
	if at == 0 {
		return 0, unsupported("the batch rearranged")
	}
	return at, nil
}

func (u *use) dimension(x *lower.Tensor, squeeze bool) (*lower.Tensor, error) {
	rank := x.Rank()
	if !squeeze {
		rank++
	}
	at, err := u.axis(rank)
	if err != nil {
		return nil, err
	}
	if squeeze {
		return u.tr.Squeeze(x, []int64{int64(at)})
	}
	return u.tr.Unsqueeze(x, []int64{int64(at)})
}

// getItem is x[spec], whose first index must be all of the batch.
func (u *use) getItem(x *lower.Tensor) (*lower.Tensor, error) {
	var spec []any
	if len(u.call.args) > 1 {
		spec, _ = u.call.args[1].([]any)
	} else {
		spec, _ = u.call.kwargs["slice_spec"].([]any)
	}
	if len(spec) == 0 || len(spec) > x.Rank() {
		return nil, unsupported("an index of %d dimensions of %d", len(spec), x.Rank())
	}
	ax := 0
	for i, s := range spec {
		from, to, step, single, err := span(s)
		if err != nil {
			return nil, err
		}
		if i == 0 && (from != 0 || to != all || step != 1 || single) {
			return nil, unsupported("a part of the batch")
		}
		if i == 0 || from == 0 && to == all && step == 1 && !single {
			ax++
			continue
		}
		if x, err = u.tr.Slice(x, ax, lower.Int(from), lower.Int(to), lower.Int(step)); err != nil {
			return nil, err
		}
		if !single {
			ax++
			continue
		}
		if x, err = u.tr.Squeeze(x, []int64{int64(ax)}); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// all is beyond the end of any axis.
const all = 1<<31 - 1

// span is an index as a slice of an axis: one position, or start:stop:step.
func span(s any) (from, to, step int64, single bool, err error) {
	if n, ok := s.(float64); ok {
		from, to = int64(n), int64(n)+1
		if to == 0 {
			to = all
		}
		return from, to, 1, true, nil
	}
	fields, ok := s.(map[string]any)
	if inner, nested := fields["config"].(map[string]any); nested && fields["class_name"] == "__slice__" {
		fields = inner
	}
	_, has := fields["start"]
	if !ok || !has {
		return 0, 0, 0, false, unsupported("an index that is neither a number nor a slice")
	}
	from, to, step = 0, all, 1
	for name, v := range map[string]*int64{"start": &from, "stop": &to, "step": &step} {
		switch n := fields[name].(type) {
		case float64:
			*v = int64(n)
		case nil:
		default:
			return 0, 0, 0, false, unsupported("an index that is neither a number nor a slice")
		}
	}
	if step < 1 {
		return 0, 0, 0, false, unsupported("a slice with step %d", step)
	}
	return from, to, step, false, nil
}
