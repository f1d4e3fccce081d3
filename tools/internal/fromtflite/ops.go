package fromtflite

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// operator says how an operator is lowered: how many inputs are tensors that it must have, and what makes its outputs.
type operator struct {
	inputs  int
	run     func(*call) ([]*lower.Tensor, error)
	control func(*call) error // in place of run
	recurs  bool              // a layer that a session may step through
}

// operators are those that are supported. It is set by init since those with subgraphs refer to it.
var operators map[string]operator

func init() {
	operators = map[string]operator{
		"IF":              {inputs: 1, control: ifElse},
		"WHILE":           {control: while},
		"CALL":            {control: callSubgraph},
		"CALL_ONCE":       {control: callOnce},
		"VAR_HANDLE":      {control: varHandle},
		"READ_VARIABLE":   {control: readVariable},
		"ASSIGN_VARIABLE": {control: assignVariable},

		"LSTM":                         {inputs: 1, run: lstm, recurs: true},
		"UNIDIRECTIONAL_SEQUENCE_LSTM": {inputs: 1, run: sequenceLSTM, recurs: true},
		"BIDIRECTIONAL_SEQUENCE_LSTM":  {inputs: 1, run: bidirectionalLSTM, recurs: true},
		"RNN":                          {inputs: 1, run: rnn, recurs: true},
		"UNIDIRECTIONAL_SEQUENCE_RNN":  {inputs: 1, run: sequenceRNN, recurs: true},
		"BIDIRECTIONAL_SEQUENCE_RNN":   {inputs: 1, run: bidirectionalRNN, recurs: true},
		"SVDF":                         {inputs: 1, run: svdf},

		"FULLY_CONNECTED":   {inputs: 2, run: fullyConnected},
		"BATCH_MATMUL":      {inputs: 2, run: batchMatMul},
		"CONV_2D":           {inputs: 2, run: conv2D},
		"DEPTHWISE_CONV_2D": {inputs: 2, run: depthwiseConv2D},
		"TRANSPOSE_CONV":    {inputs: 3, run: transposeConv},
		"MAX_POOL_2D":       {inputs: 1, run: pool2D(format.MaxPool)},
		"AVERAGE_POOL_2D":   {inputs: 1, run: pool2D(format.MeanPool)},

		"ADD": {inputs: 2, run: arith(lower.Add)}, "SUB": {inputs: 2, run: arith(lower.Sub)}, "MUL": {inputs: 2, run: arith(lower.Mul)},
		"DIV": {inputs: 2, run: div}, "POW": {inputs: 2, run: arith(lower.Pow)}, "ADD_N": {inputs: 1, run: addN},
		"MINIMUM": {inputs: 2, run: arith(lower.Min)}, "MAXIMUM": {inputs: 2, run: arith(lower.Max)},
		"SQUARED_DIFFERENCE": {inputs: 2, run: squaredDifference}, "SQUARE": {inputs: 1, run: square},
		"FLOOR_DIV": {inputs: 2, run: floorDiv}, "FLOOR_MOD": {inputs: 2, run: floorMod},
		"EQUAL": {inputs: 2, run: compare(lower.Equal, false, false)}, "NOT_EQUAL": {inputs: 2, run: compare(lower.Equal, false, true)},
		"LESS": {inputs: 2, run: compare(lower.Less, false, false)}, "GREATER_EQUAL": {inputs: 2, run: compare(lower.Less, false, true)},
		"GREATER": {inputs: 2, run: compare(lower.Less, true, false)}, "LESS_EQUAL": {inputs: 2, run: compare(lower.Less, true, true)},
		"LOGICAL_AND": {inputs: 2, run: arith(lower.And)}, "LOGICAL_OR": {inputs: 2, run: arith(lower.Or)},
		"LOGICAL_NOT": {inputs: 1, run: func(c *call) ([]*lower.Tensor, error) { return one(c.not(c.in[0])) }},
		"SELECT":      {inputs: 3, run: selectOp}, "SELECT_V2": {inputs: 3, run: selectOp},

		"LOGISTIC": unary(format.Sigmoid), "TANH": unary(format.Tanh), "EXP": unary(format.Exp), "LOG": unary(format.Log),
		"SQRT": unary(format.Sqrt), "ABS": unary(format.Abs), "FLOOR": unary(format.Floor), "ROUND": unary(format.Round),
		"RELU": unary(format.ReLU), "RELU6": unary(format.Clip, 0, 6), "RELU_N1_TO_1": unary(format.Clip, -1, 1),
		"RELU_0_TO_1": unary(format.Clip, 0, 1), "ELU": unary(format.ELU, 1),
		"RSQRT": {inputs: 1, run: rsqrt}, "NEG": {inputs: 1, run: neg}, "CEIL": {inputs: 1, run: ceil},
		"LEAKY_RELU": {inputs: 1, run: leakyReLU}, "PRELU": {inputs: 2, run: preLU},
		"HARD_SWISH": {inputs: 1, run: hardSwish}, "GELU": {inputs: 1, run: gelu},
		"SOFTMAX": {inputs: 1, run: softmax}, "LOG_SOFTMAX": {inputs: 1, run: logSoftmax},
		"L2_NORMALIZATION": {inputs: 1, run: l2Normalization},

		"MEAN": reduction(lower.ReduceMean), "SUM": reduction(lower.ReduceSum), "REDUCE_MAX": reduction(lower.ReduceMax),
		"REDUCE_MIN": reduction(lower.ReduceMin), "REDUCE_PROD": reduction(lower.ReduceProduct),

		"QUANTIZE": {inputs: 1, run: quantize}, "DEQUANTIZE": {inputs: 1, run: identity}, "FAKE_QUANT": {inputs: 1, run: fakeQuant},
		"CAST": {inputs: 1, run: cast}, "SHAPE": {inputs: 1, run: shape}, "RANK": {inputs: 1, run: rank}, "RANGE": {inputs: 3, run: rangeOp},
		"FILL": {inputs: 2, run: fill}, "ZEROS_LIKE": {inputs: 1, run: zerosLike}, "BROADCAST_TO": {inputs: 2, run: broadcastTo},
		"RESHAPE": {inputs: 1, run: reshape}, "SQUEEZE": {inputs: 1, run: squeeze}, "EXPAND_DIMS": {inputs: 2, run: expandDims},
		"TRANSPOSE": {inputs: 2, run: transpose}, "REVERSE_V2": {inputs: 2, run: reverse}, "TILE": {inputs: 2, run: tile},
		"CONCATENATION": {inputs: 1, run: concatenation}, "PACK": {inputs: 1, run: pack}, "UNPACK": {inputs: 1, run: unpack},
		"SPLIT": {inputs: 2, run: split}, "SPLIT_V": {inputs: 3, run: splitV}, "GATHER": {inputs: 2, run: gather},
		"SLICE": {inputs: 3, run: slice}, "STRIDED_SLICE": {inputs: 4, run: stridedSlice},
		"PAD": {inputs: 2, run: pad}, "PADV2": {inputs: 3, run: pad}, "MIRROR_PAD": {inputs: 2, run: mirrorPad},
		"SPACE_TO_BATCH_ND": {inputs: 3, run: spaceToBatch}, "BATCH_TO_SPACE_ND": {inputs: 3, run: batchToSpace},
	}
}

// call is an operator with the inputs that it must have.
type call struct {
	*scope
	*tflite.Operator
	in []*lower.Tensor
}

// options are those of the operator, zero if the file has none.
func options[T any](c *call) T {
	if o, ok := c.Options.(*T); ok {
		return *o
	}
	var zero T
	return zero
}

// arg is an input, or nil if it is left out.
func (c *call) arg(i int) (*lower.Tensor, error) {
	if i >= len(c.Inputs) || c.Inputs[i] < 0 {
		return nil, nil
	}
	return c.get(c.Inputs[i])
}

// tensor describes an input in the file.
func (c *call) tensor(i int) *tflite.Tensor { return c.graph.Tensors[c.Inputs[i]] }

// out describes an output in the file.
func (c *call) out(i int) (*tflite.Tensor, error) {
	if i >= len(c.Outputs) {
		return nil, fmt.Errorf("output %d is missing", i)
	}
	return c.graph.Tensors[c.Outputs[i]], nil
}

// all are the inputs, none of which may be left out.
func (c *call) all() ([]*lower.Tensor, error) {
	var out []*lower.Tensor
	for i := range c.Inputs {
		t, err := c.arg(i)
		if err != nil {
			return nil, err
		}
		if t == nil {
			return nil, fmt.Errorf("input %d is missing", i)
		}
		out = append(out, t)
	}
	return out, nil
}

// numbers are the elements of a known input, nil if it is left out.
func (c *call) numbers(i int) (dims []int, v []float32, err error) {
	t, err := c.arg(i)
	if t == nil || err != nil {
		return nil, nil, err
	}
	return c.tr.Numbers(t)
}

// vector is a known input of n elements, nil if it is left out.
func (c *call) vector(i, n int) ([]float32, error) {
	dims, v, err := c.numbers(i)
	if err == nil && v != nil && len(v) != n {
		err = fmt.Errorf("input %d has shape %v, want %d elements", i, dims, n)
	}
	return v, err
}

// ints are the integers of a tensor that is known and does not depend on the length of the input.
func (c *call) ints(t *lower.Tensor) ([]int64, error) {
	p, err := c.tr.Known(t)
	if err != nil {
		return nil, err
	}
	out := make([]int64, len(p))
	for i, v := range p {
		n, fixed := v.Const()
		if !fixed {
			return nil, unsupported("a number that depends on the length of the input")
		}
		out[i] = n
	}
	return out, nil
}

// axes are the axes that a tensor names, in ascending order, each once.
func (c *call) axes(t *lower.Tensor, rank int) ([]int, error) {
	list, err := c.ints(t)
	if err != nil {
		return nil, err
	}
	return sortedAxes(list, rank)
}

func sortedAxes(list []int64, rank int) (out []int, err error) {
	named := make([]bool, rank)
	for _, a := range list {
		i, err := lower.AxisIndex(a, rank)
		if err != nil {
			return nil, err
		}
		named[i] = true
	}
	for i, yes := range named {
		if yes {
			out = append(out, i)
		}
	}
	return out, nil
}

func one(t *lower.Tensor, err error) ([]*lower.Tensor, error) {
	if err != nil {
		return nil, err
	}
	return []*lower.Tensor{t}, nil
}

func identity(c *call) ([]*lower.Tensor, error) { return c.in[:1], nil }

// quantize limits values to what the integers can say; they are not rounded.
func quantize(c *call) ([]*lower.Tensor, error) {
	to, err := c.out(0)
	if err != nil {
		return nil, err
	}
	low, high, ok := to.Range()
	if !ok || !c.in[0].Computed() {
		return c.in[:1], nil
	}
	return c.from(c.in[0]).unary(format.Clip, low, high).done()
}

func fakeQuant(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.FakeQuantOptions](c)
	if !(o.Min < o.Max) {
		return nil, fmt.Errorf("a range from %v to %v", o.Min, o.Max)
	}
	return c.from(c.in[0]).unary(format.Clip, o.Min, o.Max).done()
}

// activate applies what an operator is fused with.
func (c *call) activate(t *lower.Tensor, err error, a tflite.Activation) ([]*lower.Tensor, error) {
	if err == nil && a == tflite.Tanh {
		err = unsupported("a fused tanh, which the reference kernels leave out")
	}
	if err != nil {
		return nil, err
	}
	return one(c.activated(t, a))
}

// limits are those of an activation; without one, none.
func limits(a tflite.Activation) (low, high float32, ok bool) {
	inf := float32(math.Inf(1))
	switch a {
	case tflite.None:
		return -inf, inf, true
	case tflite.Relu:
		return 0, inf, true
	case tflite.ReluN1To1:
		return -1, 1, true
	case tflite.Relu6:
		return 0, 6, true
	}
	return 0, 0, false
}

// saturate applies the activation that a layer is fused with, and what its integers limit the result to, which says how far it reaches. Where
// integers stand for nothing below 0, converters leave out a ReLU. Without an activation, a fully connected layer is not limited, unless at 0:
// it may be a gate, and the cell that it belongs to would not be recognised.
func (c *call) saturate(t *lower.Tensor, err error, a tflite.Activation, gate bool) ([]*lower.Tensor, error) {
	to, e := c.out(0)
	if err != nil || e != nil {
		return nil, errors.Join(err, e)
	}
	low, high, ok := to.Range()
	from, upTo, known := limits(a)
	if !ok || !known || !quantized(to) || gate && a == tflite.None && low != 0 {
		return c.activate(t, nil, a)
	}
	if low, high = max(low, from), min(high, upTo); low >= high {
		return nil, fmt.Errorf("an activation of which nothing is left from %v to %v", low, high)
	}
	return one(c.tr.Unary(format.Clip, t, low, high))
}

func (c *call) activated(t *lower.Tensor, a tflite.Activation) (*lower.Tensor, error) {
	switch a {
	case tflite.None:
		return t, nil
	case tflite.Relu:
		return c.tr.Unary(format.ReLU, t)
	case tflite.ReluN1To1:
		return c.tr.Unary(format.Clip, t, -1, 1)
	case tflite.Relu6:
		return c.tr.Unary(format.Clip, t, 0, 6)
	case tflite.Tanh:
		return c.tr.Unary(format.Tanh, t)
	}
	return nil, unsupported("the fused activation %d", a)
}

// fused is the activation that any of the arithmetic operators is fused with.
func (c *call) fused() tflite.Activation {
	switch o := c.Options.(type) {
	case *tflite.AddOptions:
		return o.Activation
	case *tflite.SubOptions:
		return o.Activation
	case *tflite.MulOptions:
		return o.Activation
	case *tflite.DivOptions:
		return o.Activation
	}
	return tflite.None
}

func arith(op lower.Arith) func(*call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		t, err := c.tr.Binary(op, c.in[0], c.in[1])
		return c.activate(t, err, c.fused())
	}
}

func (c *call) integer() bool {
	t, err := c.out(0)
	return err == nil && t.Type.Integer() && !quantized(t)
}

// div of integers cuts off, which is what lower does with known ones.
func div(c *call) ([]*lower.Tensor, error) {
	if c.integer() && (c.in[0].Computed() || c.in[1].Computed()) {
		return nil, unsupported("a quotient of integers that depend on the input")
	}
	return arith(lower.Div)(c)
}

func floorDiv(c *call) ([]*lower.Tensor, error) {
	if !c.integer() {
		return c.from(c.in[0]).op(lower.Div, c.in[1]).unary(format.Floor).done()
	}
	a, b, err := c.pair()
	if err != nil {
		return nil, err
	}
	return one(c.tr.Ints(nil, []int64{floored(a, b)}))
}

func floorMod(c *call) ([]*lower.Tensor, error) {
	a, b, err := c.pair()
	if err != nil {
		return nil, err
	}
	return one(c.tr.Ints(nil, []int64{a - b*floored(a, b)}))
}

// pair is two known integers.
func (c *call) pair() (a, b int64, err error) {
	x, err := c.ints(c.in[0])
	if err != nil {
		return 0, 0, err
	}
	y, err := c.ints(c.in[1])
	if err != nil {
		return 0, 0, err
	}
	if len(x) != 1 || len(y) != 1 || y[0] == 0 || y[0] == -1 {
		return 0, 0, unsupported("a division of integers other than one by one")
	}
	return x[0], y[0], nil
}

func floored(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func addN(c *call) ([]*lower.Tensor, error) {
	list, err := c.all()
	if err != nil {
		return nil, err
	}
	sum := list[0]
	for _, t := range list[1:] {
		if sum, err = c.tr.Binary(lower.Add, sum, t); err != nil {
			return nil, err
		}
	}
	return one(sum, nil)
}

func squaredDifference(c *call) ([]*lower.Tensor, error) {
	d, err := c.tr.Binary(lower.Sub, c.in[0], c.in[1])
	if err != nil {
		return nil, err
	}
	return one(c.tr.Binary(lower.Mul, d, d))
}

func square(c *call) ([]*lower.Tensor, error) { return one(c.tr.Binary(lower.Mul, c.in[0], c.in[0])) }

// compare is a < b or a = b, with the operands swapped or the result turned round.
func compare(op lower.Arith, swap, not bool) func(*call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		a, b := c.in[0], c.in[1]
		if swap {
			a, b = b, a
		}
		t, err := c.tr.Binary(op, a, b)
		if err == nil && not {
			t, err = c.not(t)
		}
		return one(t, err)
	}
}

// not is 1 where t is 0.
func (c *call) not(t *lower.Tensor) (*lower.Tensor, error) {
	if t.Computed() {
		h := c.from(t).with(lower.Mul, -1).with(lower.Add, 1)
		return h.t, h.err
	}
	no, err := c.tr.Ints(nil, []int64{0})
	if err != nil {
		return nil, err
	}
	return c.tr.Binary(lower.Equal, t, no)
}

func (c *call) scalar(v float32) (*lower.Tensor, error) { return c.tr.Floats(nil, []float32{v}) }

func selectOp(c *call) ([]*lower.Tensor, error) {
	if c.in[0].Rank() == 1 && c.in[1].Rank() > 1 && c.model.Op(c.Operator) == "SELECT" {
		return nil, unsupported("a choice by rows")
	}
	return one(c.tr.Select(c.in[0], c.in[1], c.in[2]))
}

func unary(kind format.Kind, params ...float32) operator {
	return operator{inputs: 1, run: func(c *call) ([]*lower.Tensor, error) { return one(c.tr.Unary(kind, c.in[0], params...)) }}
}

// chain applies one operation after the other, up to the first error.
type chain struct {
	*call
	t   *lower.Tensor
	err error
}

func (c *call) from(t *lower.Tensor) *chain { return &chain{call: c, t: t} }

// op is t op other.
func (h *chain) op(op lower.Arith, other *lower.Tensor) *chain {
	if h.err == nil {
		h.t, h.err = h.tr.Binary(op, h.t, other)
	}
	return h
}

// with is t op v.
func (h *chain) with(op lower.Arith, v float32) *chain {
	if h.err == nil {
		s, err := h.scalar(v)
		if h.err = err; err == nil {
			return h.op(op, s)
		}
	}
	return h
}

// under is v / t.
func (h *chain) under(v float32) *chain {
	if h.err == nil {
		s, err := h.scalar(v)
		if h.err = err; err == nil {
			h.t, h.err = h.tr.Binary(lower.Div, s, h.t)
		}
	}
	return h
}

func (h *chain) unary(kind format.Kind, params ...float32) *chain {
	if h.err == nil {
		h.t, h.err = h.tr.Unary(kind, h.t, params...)
	}
	return h
}

// by is t op the result of another chain.
func (h *chain) by(op lower.Arith, other *chain) *chain {
	if h.err == nil {
		h.err = other.err
	}
	return h.op(op, other.t)
}

func (h *chain) copy() *chain {
	c := *h
	return &c
}

func (h *chain) activate(a tflite.Activation) *chain {
	if h.err == nil {
		h.t, h.err = h.activated(h.t, a)
	}
	return h
}

// clip limits the magnitude unless the limit is 0.
func (h *chain) clip(limit float32) *chain {
	if limit <= 0 {
		return h
	}
	return h.unary(format.Clip, -limit, limit)
}

func (h *chain) dense(w []float32, outputs int, bias []float32) *chain {
	if h.err == nil {
		h.t, h.err = h.tr.Dense(h.t, w, outputs, bias)
	}
	return h
}

// scale multiplies the last axis by scale and adds shift, or nothing if it is nil.
func (h *chain) scale(scale, shift []float32) *chain {
	if h.err == nil {
		h.t, h.err = h.tr.Scale(h.t, scale, scaled(shift, 1, len(scale)))
	}
	return h
}

// sum adds up the last axis.
func (h *chain) sum() *chain {
	if h.err == nil {
		h.t, h.err = h.tr.Reduce(lower.ReduceSum, h.t, []int{h.t.Rank() - 1}, false)
	}
	return h
}

func (h *chain) reshape(dims ...int64) *chain {
	if h.err == nil {
		h.t, h.err = h.tr.Reshape(h.t, polys(dims), true)
	}
	return h
}

// normalise makes the last axis have mean 0 and variance 1.
func (h *chain) normalise(eps float32) *chain {
	if h.err == nil {
		h.t, h.err = h.tr.LayerNorm(h.t, []int{h.t.Rank() - 1}, eps)
	}
	return h
}

func (h *chain) done() ([]*lower.Tensor, error) { return one(h.t, h.err) }

func rsqrt(c *call) ([]*lower.Tensor, error) {
	return c.from(c.in[0]).unary(format.Sqrt).under(1).done()
}

func neg(c *call) ([]*lower.Tensor, error) { return one(c.tr.Negate(c.in[0])) }

func ceil(c *call) ([]*lower.Tensor, error) {
	return c.from(c.in[0]).with(lower.Mul, -1).unary(format.Floor).with(lower.Mul, -1).done()
}

func leakyReLU(c *call) ([]*lower.Tensor, error) {
	return one(c.tr.Unary(format.LeakyReLU, c.in[0], options[tflite.LeakyReluOptions](c).Alpha))
}

// preLU is max(x, 0) + alpha·min(x, 0).
func preLU(c *call) ([]*lower.Tensor, error) {
	x, alpha := c.in[0], c.in[1]
	above := c.from(x).unary(format.ReLU)
	if above.err != nil {
		return nil, above.err
	}
	return c.from(x).op(lower.Sub, above.t).op(lower.Mul, alpha).op(lower.Add, above.t).done()
}

// hardSwish is x·min(max(x/6 + 1/2, 0), 1).
func hardSwish(c *call) ([]*lower.Tensor, error) {
	return c.from(c.in[0]).unary(format.HardSigmoid, 1.0/6, 0.5).op(lower.Mul, c.in[0]).done()
}

// gelu is x/2·(1 + erf(x/√2)), or its approximation x/2·(1 + tanh(√(2/π)·(x + 0.044715x³))).
func gelu(c *call) ([]*lower.Tensor, error) {
	x := c.in[0]
	h := c.from(x).with(lower.Mul, math.Sqrt2/2).unary(format.Erf)
	if options[tflite.GeluOptions](c).Approximate {
		k := float32(math.Sqrt(2 / math.Pi))
		h = c.from(x).op(lower.Mul, x).with(lower.Mul, 0.044715*k).with(lower.Add, k).op(lower.Mul, x).unary(format.Tanh)
	}
	return h.with(lower.Mul, 0.5).with(lower.Add, 0.5).op(lower.Mul, x).done()
}

func softmax(c *call) ([]*lower.Tensor, error) {
	h := c.from(c.in[0])
	if beta := options[tflite.SoftmaxOptions](c).Beta; beta != 1 {
		h.with(lower.Mul, beta)
	}
	if h.err != nil {
		return nil, h.err
	}
	return c.lastAxis(format.Softmax, h.t)
}

func logSoftmax(c *call) ([]*lower.Tensor, error) { return c.lastAxis(format.LogSoftmax, c.in[0]) }

func (c *call) lastAxis(kind format.Kind, t *lower.Tensor) ([]*lower.Tensor, error) {
	if t.Rank() == 0 {
		return nil, errors.New("a softmax without axes")
	}
	return one(c.tr.Softmax(kind, t, t.Rank()-1, t.Rank()-1))
}

// l2Normalization divides by the length of the last axis.
func l2Normalization(c *call) ([]*lower.Tensor, error) {
	x := c.in[0]
	if x.Rank() == 0 {
		return nil, errors.New("no axes")
	}
	h := c.from(x).op(lower.Mul, x)
	if h.err == nil {
		h.t, h.err = c.tr.Reduce(lower.ReduceSum, h.t, []int{x.Rank() - 1}, true)
	}
	if h.unary(format.Sqrt).with(lower.Max, 1e-6); h.err != nil {
		return nil, h.err
	}
	return c.from(x).op(lower.Div, h.t).done()
}

func reduction(r lower.Reduction) operator {
	return operator{inputs: 2, run: func(c *call) ([]*lower.Tensor, error) {
		axes, err := c.axes(c.in[1], c.in[0].Rank())
		if err != nil {
			return nil, err
		}
		return one(c.tr.Reduce(r, c.in[0], axes, options[tflite.ReducerOptions](c).KeepDims))
	}}
}

// fullyConnected multiplies the last axis, with all others in one unless they are kept.
func fullyConnected(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.FullyConnectedOptions](c)
	if o.Shuffled != 0 {
		return nil, unsupported("weights in the order of a kernel (format %d)", o.Shuffled)
	}
	x := c.in[0]
	dims := c.in[1].Shape()
	if len(dims) != 2 {
		return nil, fmt.Errorf("weights of %d dimensions", len(dims))
	}
	if n := x.Rank(); n == 0 || !o.KeepDims && (n != 2 || !x.Shape()[1].Equal(dims[1])) {
		var err error
		if x, err = c.tr.Reshape(x, []lower.Poly{lower.Int(-1), dims[1]}, true); err != nil {
			return nil, err
		}
	}
	t, err := c.product(x)
	return c.saturate(t, err, o.Activation, true)
}

func (c *call) product(x *lower.Tensor) (*lower.Tensor, error) {
	if c.in[1].Computed() {
		return c.multiplied(x)
	}
	dims, w, err := c.tr.Numbers(c.in[1])
	if err != nil {
		return nil, err
	}
	bias, err := c.vector(2, dims[0])
	if err != nil {
		return nil, err
	}
	return c.tr.Dense(x, w, dims[0], bias)
}

// multiplied is product by weights that are computed.
func (c *call) multiplied(x *lower.Tensor) (*lower.Tensor, error) {
	w, err := c.tr.Transpose(c.in[1], nil)
	if err == nil {
		w, err = c.tr.MatMul(x, w)
	}
	if err != nil {
		return nil, err
	}
	bias, err := c.arg(2)
	if bias == nil || err != nil {
		return w, err
	}
	return c.tr.Binary(lower.Add, w, bias)
}

func batchMatMul(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.BatchMatMulOptions](c)
	x, err := c.swapped(c.in[0], o.TransposeX)
	if err != nil {
		return nil, err
	}
	// A matrix that is known and the same for all of the batch makes a dense layer.
	if y := c.in[1]; x.Computed() && !y.Computed() && y.Rank() == 2 {
		if y, err = c.swapped(y, !o.TransposeY); err != nil {
			return nil, err
		}
		dims, w, err := c.tr.Numbers(y)
		if err != nil {
			return nil, err
		}
		return one(c.tr.Dense(x, w, dims[0], nil))
	}
	y, err := c.swapped(c.in[1], o.TransposeY)
	if err != nil {
		return nil, err
	}
	return one(c.tr.MatMul(x, y))
}

// swapped has the last two axes exchanged if yes.
func (c *call) swapped(t *lower.Tensor, yes bool) (*lower.Tensor, error) {
	n := t.Rank()
	if n < 2 {
		return nil, fmt.Errorf("a matrix of %d dimensions", n)
	}
	if !yes {
		return t, nil
	}
	perm := make([]int64, n)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[n-1], perm[n-2] = perm[n-2], perm[n-1]
	return c.tr.Transpose(t, perm)
}
