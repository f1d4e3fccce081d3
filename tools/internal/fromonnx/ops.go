package fromonnx

import (
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

// operators are those that are known, by name; those of other domains than the standard one have it before their name.
var operators = map[string]operator{
	"Constant":        op("value value_int value_ints value_float value_floats", 0, constant),
	"ConstantOfShape": op("value", 1, constantOfShape),
	"Shape":           op("start end", 1, shape),
	"Size":            op("", 1, size),
	"Range":           op("", 3, rangeOp),
	"Cast":            op("to saturate round_mode", 1, cast),
	"CastLike":        op("saturate round_mode", 2, castLike),
	"Where":           op("", 3, where),

	"Identity":        op("", 1, identity),
	"Dropout":         op("ratio seed is_test", 1, dropout),
	"Transpose":       op("perm", 1, transpose),
	"Unsqueeze":       op("axes", 1, unsqueeze),
	"Squeeze":         op("axes", 1, squeeze),
	"Reshape":         op("allowzero", 2, reshape),
	"Flatten":         op("axis", 1, flatten),
	"Expand":          op("", 2, expand),
	"Tile":            op("", 2, tile),
	"Slice":           op("axes starts ends", 1, slice),
	"Gather":          op("axis", 2, gather),
	"GatherElements":  op("axis", 2, gatherElements),
	"GatherND":        op("batch_dims", 2, gatherND),
	"ScatterElements": op("axis reduction", 3, scatterElements),
	"ScatterND":       op("reduction", 3, scatterND),
	"NonZero":         op("", 1, nonZero),
	"OneHot":          op("axis", 3, oneHot),
	"Concat":          op("axis", 1, concat),
	"Split":           op("axis split num_outputs", 1, split),
	"Pad":             op("mode pads value", 1, pad),
	"Trilu":           op("upper", 1, trilu),
	"DepthToSpace":    op("blocksize mode", 1, depthToSpace),
	"SpaceToDepth":    op("blocksize mode", 1, spaceToDepth),
	"ReverseSequence": op("batch_axis time_axis", 2, reverseSequence),

	"Add": binary(lower.Add), "Sub": binary(lower.Sub), "Mul": binary(lower.Mul), "Div": op("", 2, div), "Pow": binary(lower.Pow),
	"Mod": op("fmod", 2, mod), "Min": variadic(lower.Min), "Max": variadic(lower.Max), "Sum": variadic(lower.Add), "Mean": op("", 1, mean),
	"Equal": binary(lower.Equal), "Less": binary(lower.Less), "Greater": binary(lower.Greater),
	"LessOrEqual": negated(lower.Greater), "GreaterOrEqual": negated(lower.Less),
	"And": binary(lower.And), "Or": binary(lower.Or), "Xor": negated(lower.Equal), "Not": op("", 1, not),

	"Sigmoid": unary(format.Sigmoid), "Tanh": unary(format.Tanh), "Relu": unary(format.ReLU), "Sqrt": unary(format.Sqrt),
	"Exp": unary(format.Exp), "Log": unary(format.Log), "Erf": unary(format.Erf), "Softplus": unary(format.Softplus),
	"Softsign": unary(format.Softsign), "Floor": unary(format.Floor), "Round": unary(format.Round),
	"Abs": op("", 1, abs), "Neg": op("", 1, neg), "Ceil": op("", 1, ceil), "Sign": op("", 1, sign), "Reciprocal": op("", 1, reciprocal),
	"Sin": mapped(math.Sin), "Cos": mapped(math.Cos), "Tan": mapped(math.Tan), "Atan": mapped(math.Atan),
	"Clip": op("min max", 1, clip), "LeakyRelu": parametric(format.LeakyReLU, par("alpha", 0.01)), "Elu": parametric(format.ELU, par("alpha", 1)),
	"HardSigmoid":     parametric(format.HardSigmoid, par("alpha", 0.2), par("beta", 0.5)),
	"ThresholdedRelu": parametric(format.ThresholdedReLU, par("alpha", 1)),
	"PRelu":           op("", 2, prelu), "Selu": op("alpha gamma", 1, selu), "Celu": op("alpha", 1, celu), "Gelu": op("approximate", 1, gelu),
	"HardSwish": op("", 1, hardSwish), "Mish": op("", 1, mish), "Swish": op("alpha", 1, swish), "Shrink": op("bias lambd", 1, shrink),
	"com.microsoft::Gelu": op("", 1, gelu), "com.microsoft::QuickGelu": op("alpha", 1, quickGelu), "com.microsoft::BiasGelu": op("", 2, biasGelu),
	"com.microsoft::FastGelu": op("", 1, fastGelu),

	"ReduceMean": reduction(lower.ReduceMean, nil, nil), "ReduceSum": reduction(lower.ReduceSum, nil, nil),
	"ReduceMax": reduction(lower.ReduceMax, nil, nil), "ReduceMin": reduction(lower.ReduceMin, nil, nil),
	"ReduceProd": reduction(lower.ReduceProduct, nil, nil), "ReduceL1": reduction(lower.ReduceSum, (*chain).abs, nil),
	"ReduceL2": reduction(lower.ReduceSum, (*chain).square, (*chain).sqrt), "ReduceSumSquare": reduction(lower.ReduceSum, (*chain).square, nil),
	"ReduceLogSum": reduction(lower.ReduceSum, nil, (*chain).log), "ReduceLogSumExp": op(reduceAttrs, 1, reduceLogSumExp),
	"Softmax": op("axis", 1, softmax(format.Softmax)), "LogSoftmax": op("axis", 1, softmax(format.LogSoftmax)),
	"ArgMax":  op("axis keepdims select_last_index", 1, position(lower.ReduceMax)),
	"ArgMin":  op("axis keepdims select_last_index", 1, position(lower.ReduceMin)),
	"Hardmax": op("axis", 1, hardmax), "CumSum": op("exclusive reverse", 2, cumSum),
	"MeanVarianceNormalization": op("axes", 1, meanVarianceNormalization),
	"LpNormalization":           op("axis p", 1, lpNormalization),

	"LayerNormalization":                          op("axis epsilon stash_type", 1, layerNormalization),
	"RMSNormalization":                            op("axis epsilon stash_type", 2, rmsNormalization),
	"SimplifiedLayerNormalization":                op("axis epsilon stash_type", 2, rmsNormalization),
	"InstanceNormalization":                       op("epsilon", 3, instanceNormalization),
	"GroupNormalization":                          op("epsilon num_groups stash_type", 3, groupNormalization),
	"BatchNormalization":                          op("epsilon momentum spatial training_mode is_test", 5, batchNormalization),
	"com.microsoft::SkipLayerNormalization":       op("epsilon", 3, skipLayerNormalization),
	"com.microsoft::SimplifiedLayerNormalization": op("axis epsilon stash_type", 2, rmsNormalization),

	"MatMul":                     op("", 2, matMul),
	"Gemm":                       op("alpha beta transA transB", 2, gemm),
	"Einsum":                     op("equation", 1, einsum),
	"com.microsoft::FusedMatMul": op("alpha transA transB transBatchA transBatchB", 2, fusedMatMul),
	"com.microsoft::FusedGemm":   op("alpha beta transA transB activation activation_alpha activation_beta activation_gamma", 2, gemm),

	"Conv":                     op(windowAttrs+" group", 2, conv),
	"com.microsoft::FusedConv": op(windowAttrs+" group activation activation_params", 2, conv),
	"ConvTranspose":            op(windowAttrs+" group output_padding output_shape", 2, convTranspose),
	"MaxPool":                  op(windowAttrs+" ceil_mode storage_order", 1, pool(format.MaxPool)),
	"AveragePool":              op(windowAttrs+" ceil_mode count_include_pad", 1, pool(format.MeanPool)),
	"GlobalAveragePool":        op("", 1, globalPool(lower.ReduceMean)),
	"GlobalMaxPool":            op("", 1, globalPool(lower.ReduceMax)),
	"GlobalLpPool":             op("p", 1, globalLpPool),

	"QuantizeLinear":                          op(quantiseAttrs, 2, quantizeLinear),
	"DequantizeLinear":                        op(quantiseAttrs, 2, dequantizeLinear),
	"DynamicQuantizeLinear":                   op("", 1, dynamicQuantizeLinear),
	"MatMulInteger":                           op("", 2, matMulInteger),
	"ConvInteger":                             op(windowAttrs+" group", 2, convInteger),
	"QLinearMatMul":                           op("", 8, qLinearMatMul),
	"QLinearConv":                             op(windowAttrs+" group", 8, qLinearConv),
	"com.microsoft::QuantizeLinear":           op(quantiseAttrs, 2, quantizeLinear),
	"com.microsoft::DequantizeLinear":         op(quantiseAttrs, 2, dequantizeLinear),
	"com.microsoft::DynamicQuantizeMatMul":    op("", 3, dynamicQuantizeMatMul),
	"com.microsoft::MatMulIntegerToFloat":     op("", 4, matMulIntegerToFloat),
	"com.microsoft::QGemm":                    op("alpha transA transB", 6, qGemm),
	"com.microsoft::QLinearAdd":               qLinearBinary(lower.Add),
	"com.microsoft::QLinearMul":               qLinearBinary(lower.Mul),
	"com.microsoft::QLinearConcat":            op("axis", 5, qLinearConcat),
	"com.microsoft::QLinearSigmoid":           qLinear("", unary(format.Sigmoid).run),
	"com.microsoft::QLinearLeakyRelu":         qLinear("alpha", parametric(format.LeakyReLU, par("alpha", 0.01)).run),
	"com.microsoft::QLinearSoftmax":           qLinear("axis opset", qLinearSoftmax(softmax(format.Softmax))),
	"com.microsoft::QLinearAveragePool":       qLinear(windowAttrs+" ceil_mode count_include_pad channels_last", pool(format.MeanPool)),
	"com.microsoft::QLinearGlobalAveragePool": qLinear("channels_last", globalPool(lower.ReduceMean)),
	"com.microsoft::DynamicQuantizeLSTM":      op(recurrentAttrs+" input_forget", 3, dynamicQuantizeLSTM),

	"LSTM": op(recurrentAttrs+" input_forget", 3, lstm),
	"GRU":  op(recurrentAttrs+" linear_before_reset", 3, gru),
	"RNN":  op(recurrentAttrs, 3, rnn),
}

func op(attrs string, inputs int, run func(*call) ([]*lower.Tensor, error)) operator {
	return operator{strings.Fields(attrs), inputs, run}
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
	types []onnx.Type // of in; 0 where it is not known
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

func (c *call) string(name, otherwise string) string {
	if a := c.Attr(name); a != nil {
		return a.S
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

// argType is the element type of an input, or 0.
func (c *call) argType(i int) onnx.Type {
	if i < len(c.types) {
		return c.types[i]
	}
	return 0
}

// wants reports whether anything reads output i.
func (c *call) wants(i int) bool {
	return i < len(c.Outputs) && c.Outputs[i] != "" && c.used[c.Outputs[i]]
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
	return lower.Lengths(a.Ints), nil
}

// ints is polys for lists that must be constant.
func (c *call) ints(name string, input int) ([]int64, error) {
	p, err := c.polys(name, input)
	if p == nil || err != nil {
		return nil, err
	}
	return constants(name, p)
}

func constants(name string, p []lower.Poly) ([]int64, error) {
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

// numbers are the elements of a known tensor.
func (c *call) numbers(t *lower.Tensor) ([]float32, error) {
	if t.Computed() {
		return nil, unsupported("a parameter that is not known when the model is converted")
	}
	t, err := c.tr.ToFloat(t)
	if err != nil {
		return nil, err
	}
	_, v, err := c.tr.Numbers(t)
	return v, err
}

// axis is the attribute axis, resolved for the rank of input 0.
func (c *call) axis(otherwise int64) (int, error) {
	return lower.AxisIndex(c.int("axis", otherwise), c.in[0].Rank())
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
