package fromonnx

import (
	"fmt"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// The operators of ONNX Runtime on quantised tensors: what is quantised is dequantised, the operator of floats is applied, and its result
// is quantised.

// of is the call with other inputs, of floats.
func (c *call) of(in ...*lower.Tensor) *call {
	inner := *c
	inner.in, inner.types = in, make([]onnx.Type, len(in))
	for i := range inner.types {
		inner.types[i] = onnx.Float
	}
	return &inner
}

// scaleOf is the quantisation of t by the scale and zero point at the given input.
func (c *call) scaleOf(t *lower.Tensor, input int) (q quantisation, err error) {
	if c.arg(input) == nil {
		return q, fmt.Errorf("input %d is missing", input)
	}
	return c.quantisation(t, input)
}

// plain is an input dequantised by the scale and zero point that follow it.
func (k *chain) plain(input int) *lower.Tensor {
	if k.err != nil || k.c.arg(input) == nil {
		return k.do(func() (*lower.Tensor, error) { return nil, fmt.Errorf("input %d is missing", input) })
	}
	q, err := k.c.scaleOf(k.c.in[input], input+1)
	if err != nil {
		k.err = err
		return nil
	}
	return k.dequantised(k.c.in[input], q)
}

// requantised is t quantised by the scale and zero point of the given input.
func (k *chain) requantised(t *lower.Tensor, input int) *lower.Tensor {
	if k.err != nil {
		return nil
	}
	q, err := k.c.scaleOf(t, input)
	k.err = err
	to := k.c.argType(input + 1)
	if to == 0 {
		to = onnx.Uint8
	}
	return k.quantised(t, q, to)
}

// qLinear is an operator of one input, with its scale and zero point, and those of the result.
func qLinear(attrs string, run func(*call) ([]*lower.Tensor, error)) operator {
	return op(attrs, 4, func(c *call) ([]*lower.Tensor, error) {
		k := chain{c: c}
		x := k.plain(0)
		if k.err != nil {
			return nil, k.err
		}
		if c.int("channels_last", 0) != 0 {
			return nil, unsupported("channels_last")
		}
		y, err := run(c.of(x))
		if err != nil {
			return nil, err
		}
		return one(k.end(k.requantised(y[0], 3)))
	})
}

// qLinearBinary is an operator of two inputs, each with its scale and zero point, and those of the result.
func qLinearBinary(a lower.Arith) operator {
	return op("", 7, func(c *call) ([]*lower.Tensor, error) {
		k := chain{c: c}
		return one(k.end(k.requantised(k.binary(a, k.plain(0), k.plain(3)), 6)))
	})
}

// qLinearSoftmax follows the opset that an attribute names.
func qLinearSoftmax(run func(*call) ([]*lower.Tensor, error)) func(*call) ([]*lower.Tensor, error) {
	return func(c *call) ([]*lower.Tensor, error) {
		inner := *c
		inner.opset = c.int("opset", c.opset)
		return run(&inner)
	}
}

// qLinearConcat has the scale and zero point of the result first.
func qLinearConcat(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	var in []*lower.Tensor
	for i := 2; i < len(c.in); i += 3 {
		in = append(in, k.plain(i))
	}
	if k.err != nil {
		return nil, k.err
	}
	y, err := concat(c.of(in...))
	if err != nil {
		return nil, err
	}
	return one(k.end(k.requantised(y[0], 0)))
}

// qGemm has a bias of integers, in units of the product of the scales of A and B, and returns floats without a scale for the result. B may
// have a scale for each column.
func qGemm(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	in := []*lower.Tensor{k.plain(0)}
	if c.int("transB", 0) != 0 && k.err == nil {
		columns := c.of(k.turned(c.in[3]), c.in[4], c.arg(5))
		columns.Node = &onnx.Node{}
		turned := chain{columns, k.err}
		in = append(in, turned.turned(turned.plain(0)))
		k.err = turned.err
	} else {
		in = append(in, k.plain(3))
	}
	if b := c.arg(6); b != nil {
		in = append(in, k.mul(k.float(b), k.mul(k.scaled(c.in[1], c.float("alpha", 1)), c.in[4])))
	}
	if k.err != nil {
		return nil, k.err
	}
	y, err := gemm(c.of(in...))
	if err != nil || c.arg(7) == nil {
		return y, err
	}
	return one(k.end(k.requantised(y[0], 7)))
}
