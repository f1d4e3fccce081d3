package fromonnx

import (
	"math"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

// chain composes an operator from others. After an error it does nothing more.
type chain struct {
	c   *call
	err error
}

// do keeps the error of a step.
func (k *chain) do(f func() (*lower.Tensor, error)) *lower.Tensor {
	if k.err != nil {
		return nil
	}
	var t *lower.Tensor
	t, k.err = f()
	return t
}

func (k *chain) end(t *lower.Tensor) (*lower.Tensor, error) { return t, k.err }

func (k *chain) number(v float32) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Floats(nil, []float32{v}) })
}

func (k *chain) float(t *lower.Tensor) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.ToFloat(t) })
}

func (k *chain) binary(op lower.Arith, a, b *lower.Tensor) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Binary(op, a, b) })
}

func (k *chain) add(a, b *lower.Tensor) *lower.Tensor { return k.binary(lower.Add, a, b) }

func (k *chain) sub(a, b *lower.Tensor) *lower.Tensor { return k.binary(lower.Sub, a, b) }

func (k *chain) mul(a, b *lower.Tensor) *lower.Tensor { return k.binary(lower.Mul, a, b) }

func (k *chain) div(a, b *lower.Tensor) *lower.Tensor { return k.binary(lower.Div, a, b) }

func (k *chain) quotient(a, b *lower.Tensor) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Quotient(a, b) })
}

func (k *chain) scaled(t *lower.Tensor, by float32) *lower.Tensor {
	if by == 1 {
		return t
	}
	return k.mul(t, k.number(by))
}

func (k *chain) unary(kind format.Kind, t *lower.Tensor, params ...float32) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Unary(kind, t, params...) })
}

func (k *chain) neg(t *lower.Tensor) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Negate(t) })
}

// not is 1 - t of a boolean.
func (k *chain) not(t *lower.Tensor) *lower.Tensor {
	if k.err == nil && !t.Computed() {
		t = k.do(func() (*lower.Tensor, error) { return k.c.tr.ToInt(t, true) })
	}
	return k.sub(k.c.scalar(1), t)
}

func (k *chain) abs(t *lower.Tensor) *lower.Tensor {
	if k.err == nil && t.Integers() {
		return k.binary(lower.Max, t, k.neg(t))
	}
	return k.unary(format.Abs, t)
}

func (k *chain) square(t *lower.Tensor) *lower.Tensor { return k.mul(t, t) }

func (k *chain) sqrt(t *lower.Tensor) *lower.Tensor { return k.unary(format.Sqrt, t) }

func (k *chain) log(t *lower.Tensor) *lower.Tensor { return k.unary(format.Log, t) }

func (k *chain) relu(t *lower.Tensor) *lower.Tensor { return k.unary(format.ReLU, t) }

// trunc rounds towards zero.
func (k *chain) trunc(t *lower.Tensor) *lower.Tensor {
	if k.err == nil && !t.Computed() {
		return k.do(func() (*lower.Tensor, error) { return k.c.tr.Map(t, math.Trunc) })
	}
	return k.sub(k.unary(format.Floor, k.relu(t)), k.unary(format.Floor, k.relu(k.neg(t))))
}

func (k *chain) clip(t *lower.Tensor, low, high float32) *lower.Tensor {
	return k.unary(format.Clip, t, low, high)
}

func (k *chain) reduce(r lower.Reduction, t *lower.Tensor, axes []int) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Reduce(r, t, axes, true) })
}

func (k *chain) reshape(t *lower.Tensor, dims []lower.Poly) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Reshape(t, dims, true) })
}

// along gives a vector the shape that broadcasts along axis ax of a tensor of the given rank; a single element stays as it is.
func (k *chain) along(v *lower.Tensor, ax, rank int) *lower.Tensor {
	if k.err != nil || v.Rank() != 1 {
		return v
	}
	dims := make([]lower.Poly, rank-ax)
	for i := range dims {
		dims[i] = lower.Int(1)
	}
	dims[0] = v.Shape()[0]
	return k.reshape(v, dims)
}
