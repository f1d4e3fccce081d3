package fromonnx

import (
	"slices"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// outputType is the element type of output i, or 0.
func (c *call) outputType(i int) onnx.Type {
	switch c.Op {
	case "Cast":
		return onnx.Type(c.int("to", 0))
	case "CastLike":
		return c.argType(1)
	case "Constant":
		return c.constantType()
	case "ConstantOfShape":
		if a := c.Attr("value"); a != nil && a.T != nil {
			return a.T.Type
		}
		return onnx.Float
	case "Shape", "Size", "ArgMax", "ArgMin", "NonZero":
		return onnx.Int64
	case "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor", "Not":
		return onnx.Bool
	case "Where":
		return c.argType(1)
	case "OneHot":
		return c.argType(2)
	case "QuantizeLinear":
		return c.quantisedType()
	case "DynamicQuantizeLinear":
		if i == 1 {
			return onnx.Float
		}
		return onnx.Uint8
	case "DequantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat":
		return onnx.Float
	case "MatMulInteger", "ConvInteger":
		return onnx.Int32
	case "QLinearMatMul", "QLinearConv", "QLinearAdd", "QLinearMul":
		return c.argType(7)
	case "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearAveragePool", "QLinearGlobalAveragePool":
		return c.argType(4)
	case "QLinearConcat":
		return c.argType(1)
	case "QGemm":
		return c.argType(8)
	case "If", "Loop", "Scan":
		return 0
	}
	return c.argType(0)
}

func (c *call) constantType() onnx.Type {
	switch a := c.Attrs[0]; a.Name {
	case "value":
		return a.T.Type
	case "value_int", "value_ints":
		return onnx.Int64
	}
	return onnx.Float
}

func cast(c *call) ([]*lower.Tensor, error) {
	return one(c.cast(c.in[0], onnx.Type(c.int("to", 0))))
}

func castLike(c *call) ([]*lower.Tensor, error) {
	to := c.types[1]
	if to == 0 {
		return nil, unsupported("a cast to an element type that is not known")
	}
	return one(c.cast(c.in[0], to))
}

// cast converts the first input. Floats of different precision are all held alike, and so are integers that are computed; a narrow float
// or integer that does not hold a value is not imitated.
func (c *call) cast(t *lower.Tensor, to onnx.Type) (*lower.Tensor, error) {
	from := c.types[0]
	low, high, short := to.Range()
	switch {
	case to.Float() && (!to.Narrow() || from == to):
		return c.tr.ToFloat(t)
	case to == onnx.Bool && t.Computed():
		if from == onnx.Bool {
			return t, nil
		}
		k := chain{c: c}
		return k.end(k.not(k.binary(lower.Equal, t, k.number(0))))
	case t.Computed() && short && high < 127 && from != to:
		return nil, unsupported("a cast of what is computed to an integer of %d to %d", low, high)
	case to.Integer() && (t.Computed() || short):
		k := chain{c: c}
		if t = k.float(t); !from.Integer() {
			t = k.trunc(t)
		}
		if v, err := c.numbers(t); err == nil && slices.ContainsFunc(v, func(x float32) bool { return x < float32(low) || x > float32(high) }) {
			return nil, unsupported("a cast of %v to an integer of %d to %d", v, low, high)
		}
		return k.end(t)
	case to.Integer():
		return c.tr.ToInt(t, to == onnx.Bool)
	}
	return nil, unsupported("a cast to element type %d", to)
}
