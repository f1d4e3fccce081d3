package fromonnx

import (
	"math"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

func binary(a lower.Arith) operator {
	return op("", 2, func(c *call) ([]*lower.Tensor, error) { return one(c.tr.Binary(a, c.in[0], c.in[1])) })
}

// negated is the opposite of a comparison.
func negated(a lower.Arith) operator {
	return op("", 2, func(c *call) ([]*lower.Tensor, error) {
		k := chain{c: c}
		return one(k.end(k.not(k.binary(a, c.in[0], c.in[1]))))
	})
}

func unary(kind format.Kind) operator { return parametric(kind) }

type parameter struct {
	name      string
	otherwise float32
}

func par(name string, otherwise float32) parameter { return parameter{name, otherwise} }

// parametric is a function whose parameters are attributes.
func parametric(kind format.Kind, p ...parameter) operator {
	names := ""
	for _, x := range p {
		names += " " + x.name
	}
	return op(names, 1, func(c *call) ([]*lower.Tensor, error) {
		var v []float32
		for _, x := range p {
			v = append(v, c.float(x.name, x.otherwise))
		}
		return one(c.tr.Unary(kind, c.in[0], v...))
	})
}

// mapped is a function of constants only.
func mapped(f func(float64) float64) operator {
	return op("", 1, func(c *call) ([]*lower.Tensor, error) { return one(c.tr.Map(c.in[0], f)) })
}

// variadic combines any number of inputs.
func variadic(a lower.Arith) operator {
	return op("", 1, func(c *call) ([]*lower.Tensor, error) { return one(c.fold(a)) })
}

func (c *call) fold(a lower.Arith) (*lower.Tensor, error) {
	k := chain{c: c}
	y := c.in[0]
	for i, t := range c.in[1:] {
		if t == nil {
			return nil, unsupported("input %d is left out", i+1)
		}
		y = k.binary(a, y, t)
	}
	return k.end(y)
}

func mean(c *call) ([]*lower.Tensor, error) {
	t, err := c.fold(lower.Add)
	k := chain{c, err}
	return one(k.end(k.quotient(t, k.number(float32(len(c.in))))))
}

// div rounds integers towards zero.
func div(c *call) ([]*lower.Tensor, error) {
	a, b := c.in[0], c.in[1]
	k := chain{c: c}
	if c.types[0].Integer() && !(a.Integers() && b.Integers()) {
		return one(k.end(k.trunc(k.quotient(k.float(a), k.float(b)))))
	}
	return one(k.end(k.div(a, b)))
}

func mod(c *call) ([]*lower.Tensor, error) {
	x, y := c.in[0], c.in[1]
	remainder := c.int("fmod", 0) != 0
	switch {
	case x.Computed() || y.Computed():
		return one(c.modulo(x, y, remainder))
	case remainder:
		return one(c.tr.Binary(lower.Remainder, x, y))
	}
	return one(c.tr.Binary(lower.Mod, x, y))
}

// modulo is x - y times their quotient, rounded down, or towards zero for the remainder.
func (c *call) modulo(x, y *lower.Tensor, remainder bool) (*lower.Tensor, error) {
	k := chain{c: c}
	x, y = k.float(x), k.float(y)
	q := k.quotient(x, y)
	if remainder {
		q = k.trunc(q)
	} else {
		q = k.unary(format.Floor, q)
	}
	return k.end(k.sub(x, k.mul(y, q)))
}

func not(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.not(c.in[0])))
}

func where(c *call) ([]*lower.Tensor, error) {
	if !c.in[0].Computed() {
		cond, err := c.tr.ToInt(c.in[0], true)
		if err != nil {
			return nil, err
		}
		if yes, uniform := c.tr.Uniform(cond); uniform {
			pick := c.in[1]
			if yes.Equal(lower.Int(0)) {
				pick = c.in[2]
			}
			return one(c.broadcast(pick, c.in))
		}
	}
	return one(c.tr.Select(c.in[0], c.in[1], c.in[2]))
}

func abs(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.abs(c.in[0])))
}

func neg(c *call) ([]*lower.Tensor, error) { return one(c.tr.Negate(c.in[0])) }

func ceil(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.neg(k.unary(format.Floor, k.neg(c.in[0])))))
}

func sign(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	zero := k.number(0)
	if c.in[0].Integers() {
		zero = c.scalar(0)
	}
	return one(k.end(k.sub(k.binary(lower.Greater, c.in[0], zero), k.binary(lower.Less, c.in[0], zero))))
}

func reciprocal(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.div(k.number(1), c.in[0])))
}

// clip has its limits as attributes before opset 11. One limit alone is a maximum or minimum.
func clip(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	low, high := c.arg(1), c.arg(2)
	if a := c.Attr("min"); a != nil {
		low = k.number(a.F)
	}
	if a := c.Attr("max"); a != nil {
		high = k.number(a.F)
	}
	x := c.in[0]
	if lo, hi, ok := c.limits(low, high); ok && x.Computed() && k.err == nil {
		if lo == 0 && hi >= math.MaxFloat32 {
			return one(c.tr.Unary(format.ReLU, x))
		}
		return one(k.end(k.clip(x, lo, hi)))
	}
	if low != nil {
		x = k.binary(lower.Max, x, low)
	}
	if high != nil {
		x = k.binary(lower.Min, x, high)
	}
	return one(k.end(x))
}

// limits are the numbers of limits that are both known or left out; what is beyond the range of a file is nearly so.
func (c *call) limits(low, high *lower.Tensor) (lo, hi float32, ok bool) {
	lo, hi = -math.MaxFloat32, math.MaxFloat32
	for _, l := range []struct {
		t  *lower.Tensor
		to *float32
	}{{low, &lo}, {high, &hi}} {
		if l.t == nil {
			continue
		}
		v, err := c.numbers(l.t)
		if err != nil || len(v) != 1 || v[0] != v[0] {
			return 0, 0, false
		}
		*l.to = max(min(v[0], math.MaxFloat32), -math.MaxFloat32)
	}
	return lo, hi, true
}

// prelu is x above zero, and slope x below.
func prelu(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	x, slope := c.in[0], c.in[1]
	if c.opset < 7 { // one for each channel
		slope = k.along(slope, min(1, x.Rank()), x.Rank())
	}
	if v, err := c.numbers(slope); err == nil && len(v) == 1 && slope.Rank() <= x.Rank() {
		return one(c.tr.Unary(format.LeakyReLU, x, v[0]))
	}
	above := k.relu(x)
	return one(k.end(k.add(above, k.mul(k.sub(x, above), slope))))
}

func selu(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	alpha, gamma := c.float("alpha", 1.6732632423543772), c.float("gamma", 1.0507009873554805)
	return one(k.end(k.scaled(k.unary(format.ELU, c.in[0], alpha), gamma)))
}

// celu is alpha ELU(x/alpha).
func celu(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	alpha := c.float("alpha", 1)
	if !(alpha > 0) {
		return nil, unsupported("alpha of %v", alpha)
	}
	return one(k.end(k.scaled(k.unary(format.ELU, k.scaled(c.in[0], 1/alpha), 1), alpha)))
}

func gelu(c *call) ([]*lower.Tensor, error) {
	switch how := c.string("approximate", "none"); how {
	case "none":
		return one(c.gelu(c.in[0]))
	case "tanh":
		return one(c.geluByTanh(c.in[0]))
	default:
		return nil, unsupported("the approximation %q", how)
	}
}

// gelu is x Φ(x).
func (c *call) gelu(x *lower.Tensor) (*lower.Tensor, error) {
	k := chain{c: c}
	phi := k.add(k.unary(format.Erf, k.scaled(x, math.Sqrt2/2)), k.number(1))
	return k.end(k.mul(k.scaled(x, 0.5), phi))
}

func (c *call) geluByTanh(x *lower.Tensor) (*lower.Tensor, error) {
	k := chain{c: c}
	const root = 0.7978845608028654 // √(2/π)
	inner := k.mul(x, k.add(k.scaled(k.square(x), root*0.044715), k.number(root)))
	return k.end(k.mul(k.scaled(x, 0.5), k.add(k.unary(format.Tanh, inner), k.number(1))))
}

func biasGelu(c *call) ([]*lower.Tensor, error) {
	x, err := c.tr.Binary(lower.Add, c.in[0], c.in[1])
	if err != nil {
		return nil, err
	}
	return one(c.gelu(x))
}

func fastGelu(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	x := c.in[0]
	if b := c.arg(1); b != nil {
		x = k.add(x, b)
	}
	if k.err != nil {
		return nil, k.err
	}
	return one(c.geluByTanh(x))
}

func hardSwish(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.mul(c.in[0], k.unary(format.HardSigmoid, c.in[0], 1.0/6, 0.5))))
}

func mish(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	return one(k.end(k.mul(c.in[0], k.unary(format.Tanh, k.unary(format.Softplus, c.in[0])))))
}

func swish(c *call) ([]*lower.Tensor, error) { return one(c.swish(c.float("alpha", 1))) }

func quickGelu(c *call) ([]*lower.Tensor, error) { return one(c.swish(c.float("alpha", 1.702))) }

func (c *call) swish(alpha float32) (*lower.Tensor, error) {
	k := chain{c: c}
	return k.end(k.mul(c.in[0], k.unary(format.Sigmoid, k.scaled(c.in[0], alpha))))
}

// shrink moves what is beyond ±lambd by bias towards zero; the rest is 0.
func shrink(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	x, bias, limit := c.in[0], c.float("bias", 0), c.float("lambd", 0.5)
	above := k.mul(k.binary(lower.Greater, x, k.number(limit)), k.sub(x, k.number(bias)))
	below := k.mul(k.binary(lower.Less, x, k.number(-limit)), k.add(x, k.number(bias)))
	return one(k.end(k.add(above, below)))
}
