package fromonnx

import (
	"fmt"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// Quantised integers are held as floats, which are exact up to 2^24. Constants are dequantised when the model is converted.

const quantiseAttrs = "axis block_size saturate output_dtype precision"

// quantisation is scale (q - zero), where scale and zero may vary along an axis, or from block to block of it.
type quantisation struct {
	scale, zero *lower.Tensor // zero may be nil
}

// quantisation reads the scale, of the given input, and the zero point, of the next, for a tensor x.
func (c *call) quantisation(x *lower.Tensor, input int) (q quantisation, err error) {
	q.scale, q.zero = c.in[input], c.arg(input+1)
	for _, p := range []**lower.Tensor{&q.scale, &q.zero} {
		if *p == nil {
			continue
		}
		if *p, err = c.tr.ToFloat(*p); err != nil {
			return q, err
		}
		if *p, err = c.spread(*p, x); err != nil {
			return q, err
		}
	}
	return q, nil
}

// spread gives a parameter the shape that broadcasts to x: of a vector, along an axis; of blocks, with each repeated.
func (c *call) spread(p, x *lower.Tensor) (*lower.Tensor, error) {
	n, single := p.Shape(), p.Rank() == 0
	if p.Rank() == 1 {
		single = n[0].Equal(lower.Int(1))
	}
	if single {
		return c.tr.Reshape(p, nil, false)
	}
	ax, err := lower.AxisIndex(c.int("axis", 1), x.Rank())
	if err != nil {
		return nil, err
	}
	block := c.int("block_size", 0)
	if block == 0 {
		k := chain{c: c}
		if p.Rank() != 1 {
			return nil, fmt.Errorf("a scale or zero point of %d dimensions", p.Rank())
		}
		return k.end(k.along(p, ax, x.Rank()))
	}
	length, fixed := x.Shape()[ax].Const()
	if !fixed || block < 0 || p.Rank() != x.Rank() {
		return nil, unsupported("blocks of %d along an axis of length %v", block, x.Shape()[ax])
	}
	if err := c.tr.Spend(length); err != nil {
		return nil, err
	}
	at := make([]lower.Poly, length)
	for i := range at {
		at[i] = lower.Int(int64(i) / block)
	}
	return c.tr.Gather(p, ax, lower.Vector(at))
}

// weights are a known tensor dequantised by a scale and zero point of its own or for each position of an axis. This is what dequantised
// does, with less memory.
func (c *call) weights(t, scale, zero *lower.Tensor) (*lower.Tensor, error) {
	dims, v, err := c.tr.Numbers(t)
	if err != nil {
		return nil, err
	}
	s, err := c.numbers(scale)
	if err != nil {
		return nil, err
	}
	z := []float32{0}
	if zero != nil {
		if z, err = c.numbers(zero); err != nil {
			return nil, err
		}
	}
	inner, length := len(v), 1
	if len(s) != 1 || len(z) != 1 {
		ax, err := lower.AxisIndex(c.int("axis", 1), len(dims))
		if err != nil {
			return nil, err
		}
		inner, length = 1, dims[ax]
		for _, d := range dims[ax+1:] {
			inner *= d
		}
	}
	if len(s) != 1 && len(s) != length || len(z) != 1 && len(z) != length {
		return nil, fmt.Errorf("%d scales and %d zero points for an axis of length %d", len(s), len(z), length)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		k := i / max(inner, 1) % length
		out[i] = (x - z[k%len(z)]) * s[k%len(s)]
	}
	d64 := make([]int64, len(dims))
	for i, d := range dims {
		d64[i] = int64(d)
	}
	return c.tr.Floats(d64, out)
}

// dequantised is scale (t - zero).
func (k *chain) dequantised(t *lower.Tensor, q quantisation) *lower.Tensor {
	t = k.float(t)
	if q.zero != nil {
		t = k.sub(t, q.zero)
	}
	return k.mul(t, q.scale)
}

// quantised is t/scale + zero rounded to an integer of a type.
func (k *chain) quantised(t *lower.Tensor, q quantisation, to onnx.Type) *lower.Tensor {
	if _, _, ok := to.Range(); !ok && k.err == nil {
		k.err = unsupported("a quantisation to element type %d", to)
	}
	return k.rounded(k.quotient(t, q.scale), q.zero, to)
}

// rounded is t to the nearest integer, ties to even, plus zero, within the range of a type.
func (k *chain) rounded(t, zero *lower.Tensor, to onnx.Type) *lower.Tensor {
	low, high, _ := to.Range()
	t = k.unary(format.Round, t)
	if zero != nil {
		t = k.add(t, zero)
	}
	return k.clip(t, float32(low), float32(high))
}

func (c *call) quantisedType() onnx.Type {
	if t := c.argType(2); t != 0 {
		return t
	}
	return onnx.Type(c.int("output_dtype", int64(onnx.Uint8)))
}

func quantizeLinear(c *call) ([]*lower.Tensor, error) {
	q, err := c.quantisation(c.in[0], 1)
	k := chain{c, err}
	return one(k.end(k.quantised(k.float(c.in[0]), q, c.quantisedType())))
}

func dequantizeLinear(c *call) ([]*lower.Tensor, error) {
	if !c.in[0].Computed() && !c.in[0].Integers() && c.int("block_size", 0) == 0 {
		return one(c.weights(c.in[0], c.in[1], c.arg(2)))
	}
	q, err := c.quantisation(c.in[0], 1)
	k := chain{c, err}
	return one(k.end(k.dequantised(c.in[0], q)))
}

// dynamicQuantizeLinear takes the range of the whole tensor, or of each step and sequence on its own where their number is open.
func dynamicQuantizeLinear(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	q := k.dynamic(c.in[0])
	return []*lower.Tensor{k.quantised(c.in[0], q, onnx.Uint8), q.scale, q.zero}, k.err
}

// dynamic is the quantisation of t to uint8 by its own range.
func (k *chain) dynamic(t *lower.Tensor) (q quantisation) {
	axes := k.together(t)
	bound := func(r lower.Reduction, a lower.Arith) *lower.Tensor {
		most := k.reduce(r, t, axes)
		return k.binary(a, k.number(0), k.do(func() (*lower.Tensor, error) { return k.c.tr.Scalar(most) }))
	}
	low, high := bound(lower.ReduceMin, lower.Min), bound(lower.ReduceMax, lower.Max)
	q.scale = k.quotient(k.sub(high, low), k.number(255))
	q.zero = k.rounded(k.neg(k.quotient(low, q.scale)), nil, onnx.Uint8)
	return q
}

// together are the axes that are not of time or batch. If the lengths of these are fixed, a call can have it all in hand.
func (k *chain) together(t *lower.Tensor) (axes []int) {
	for ax, spans := range t.Layout() {
		inner := true
		for _, s := range spans {
			n, fixed := s.Size.Const()
			inner = inner && (s.Role == lower.Feature || fixed && n == 1)
			if !inner && fixed && k.err == nil {
				k.err = unsupported("a range over all steps or sequences")
			}
		}
		if inner {
			axes = append(axes, ax)
		}
	}
	return axes
}

// centred is an input of integers less its zero point, which may be left out. A vector of zero points is one a row on the left of a
// product, one a column on the right.
func (k *chain) centred(t, zero *lower.Tensor, rows bool) *lower.Tensor {
	t = k.float(t)
	if zero == nil {
		return t
	}
	zero = k.float(zero)
	if rows {
		zero = k.column(zero)
	}
	return k.sub(t, zero)
}

// column makes a vector of more than one element a column.
func (k *chain) column(v *lower.Tensor) *lower.Tensor {
	if k.err != nil || v.Rank() != 1 || v.Shape()[0].Equal(lower.Int(1)) {
		return v
	}
	return k.unsqueeze(v, 1)
}

func (k *chain) product(a, b *lower.Tensor) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.product(a, b) })
}

func matMulInteger(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.product(k.centred(c.in[0], c.arg(2), true), k.centred(c.in[1], c.arg(3), false))))
}

// matMulIntegerToFloat has the inputs A, B, their scales and zero points, and a bias.
func matMulIntegerToFloat(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	y := k.product(k.centred(c.in[0], c.arg(4), true), k.centred(c.in[1], c.arg(5), false))
	return one(k.end(k.biased(k.mul(k.mul(y, k.column(c.in[2])), c.in[3]), 6)))
}

// biased adds an input that may be left out.
func (k *chain) biased(t *lower.Tensor, input int) *lower.Tensor {
	if b := k.c.arg(input); b != nil {
		return k.add(t, b)
	}
	return t
}

// dynamicQuantizeMatMul has the inputs A, B, the scale and zero point of B, and a bias; A is quantised by its own range.
func dynamicQuantizeMatMul(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	q := k.dynamic(c.in[0])
	a := k.sub(k.quantised(c.in[0], q, onnx.Uint8), q.zero)
	y := k.product(a, k.centred(c.in[1], c.arg(3), false))
	return one(k.end(k.biased(k.mul(k.mul(y, q.scale), c.in[2]), 4)))
}

// qLinearMatMul has the inputs A, its scale and zero point, the same for B, and the scale and zero point of the result.
func qLinearMatMul(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	y := k.product(k.centred(c.in[0], c.in[2], true), k.centred(c.in[3], c.in[5], false))
	y = k.mul(y, k.quotient(k.mul(k.column(c.in[1]), c.in[4]), c.in[6]))
	return one(k.end(k.rounded(y, k.float(c.in[7]), c.types[7])))
}

// integerFilters are filters less their zero point, of which there may be one an output.
func (k *chain) integerFilters(w, zero *lower.Tensor) ([]int, []float32) {
	w = k.float(w)
	if zero != nil {
		w = k.sub(w, k.alongOutputs(k.float(zero), w))
	}
	if k.err != nil {
		return nil, nil
	}
	dims, v, err := k.c.filters(w)
	k.err = err
	return dims, v
}

func (k *chain) alongOutputs(v, of *lower.Tensor) *lower.Tensor {
	if k.err != nil || v.Rank() != 1 || v.Shape()[0].Equal(lower.Int(1)) {
		return v
	}
	return k.along(v, 0, of.Rank())
}

func (k *chain) convolution(x, w, zero *lower.Tensor, bias []float32) *lower.Tensor {
	dims, v := k.integerFilters(w, zero)
	return k.do(func() (*lower.Tensor, error) { return k.c.convolve(x, dims, v, bias) })
}

func convInteger(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.convolution(k.centred(c.in[0], c.arg(2), false), c.in[1], c.arg(3), nil)))
}

// qLinearConv has the inputs x, its scale and zero point, the same for the filters and for the result, and a bias of integers.
func qLinearConv(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	var bias []float32
	if b := c.arg(8); b != nil {
		bias, k.err = c.numbers(b)
	}
	y := k.convolution(k.centred(c.in[0], c.in[2], false), c.in[3], c.in[5], bias)
	scale := k.quotient(k.mul(c.in[1], c.in[4]), c.in[6])
	if k.err == nil && scale.Rank() == 1 && !scale.Shape()[0].Equal(lower.Int(1)) {
		scale = k.along(scale, 1, y.Rank())
	}
	return one(k.end(k.rounded(k.mul(y, scale), k.float(c.in[7]), c.types[7])))
}

// dynamicQuantizeLSTM is an LSTM with quantised weights, which are dequantised. That ONNX Runtime quantises x and h as it runs is not
// imitated: what comes out lies closer to the network before it was quantised.
func dynamicQuantizeLSTM(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	if c.arg(8) == nil || c.arg(10) == nil {
		return nil, fmt.Errorf("the scales of the weights are missing")
	}
	w := k.gateWeights(c.in[1], c.in[8], c.arg(9))
	r := k.gateWeights(c.in[2], c.in[10], c.arg(11))
	if k.err != nil {
		return nil, k.err
	}
	inner, node := *c, *c.Node
	node.Op = "LSTM"
	inner.Node = &node
	inner.in = append([]*lower.Tensor{c.in[0], w, r}, c.in[3:8]...)
	inner.types = append([]onnx.Type{c.types[0], onnx.Float, onnx.Float}, c.types[3:8]...)
	return lstm(&inner)
}

// gateWeights turns weights [directions, inputs, gates] with a scale a direction, or one a gate, into those of an LSTM.
func (k *chain) gateWeights(w, scale, zero *lower.Tensor) *lower.Tensor {
	if k.err == nil && w.Rank() != 3 {
		k.err = fmt.Errorf("weights of %d dimensions", w.Rank())
	}
	byDirection := func(t *lower.Tensor) *lower.Tensor {
		if k.err != nil || t == nil {
			return nil
		}
		return k.reshape(k.float(t), []lower.Poly{w.Shape()[0], lower.Int(1), lower.Int(-1)})
	}
	q := quantisation{byDirection(scale), byDirection(zero)}
	return k.turned(k.dequantised(w, q))
}
