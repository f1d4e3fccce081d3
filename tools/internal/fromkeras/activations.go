package fromkeras

import (
	"errors"
	"math"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

func (u *use) activationLayer(x *lower.Tensor) (*lower.Tensor, error) {
	return u.activate(x, &u.config.Activation)
}

// activate applies an activation.
func (u *use) activate(x *lower.Tensor, f *function) (*lower.Tensor, error) {
	a, err := f.get()
	if err != nil {
		return nil, err
	}
	if a.layer == nil {
		return u.apply(x, "activation", a.name)
	}
	n, k := a.layer.own()
	if n+k > 0 || len(a.layer.parts) > 0 || a.layer.graph != nil {
		return nil, unsupported("the activation %q has weights of its own", a.layer.class)
	}
	out, err := (&use{network: u.network, layer: a.layer, in: []value{{t: x}}}).trace()
	if err != nil {
		return nil, err
	}
	return out[0].t, nil
}

// elementwise are activations that the runtime has as they are.
var elementwise = map[string]struct {
	kind   format.Kind
	params []float32
}{
	"relu": {format.ReLU, nil}, "sigmoid": {format.Sigmoid, nil}, "tanh": {format.Tanh, nil}, "softplus": {format.Softplus, nil},
	"softsign": {format.Softsign, nil}, "exponential": {format.Exp, nil}, "elu": {format.ELU, []float32{1}}, "celu": {format.ELU, []float32{1}},
	"relu6": {format.Clip, []float32{0, 6}}, "hard_tanh": {format.Clip, []float32{-1, 1}}, "leaky_relu": {format.LeakyReLU, []float32{0.2}},
}

// The constants of selu, after Klambauer et al. 2017.
const (
	seluAlpha = 1.6732632423543772
	seluScale = 1.0507009873554805
)

// apply applies an activation, or an operation of the same name.
func (u *use) apply(x *lower.Tensor, what, name string) (*lower.Tensor, error) {
	if e, ok := elementwise[name]; ok {
		return u.tr.Unary(e.kind, x, e.params...)
	}
	last := x.Rank() - 1
	switch name {
	case "linear":
		return x, nil
	case "softmax":
		return u.tr.Softmax(format.Softmax, x, last, last)
	case "log_softmax":
		return u.tr.Softmax(format.LogSoftmax, x, last, last)
	case "hard_sigmoid":
		return u.hardSigmoid(x)
	case "selu":
		y, err := u.tr.Unary(format.ELU, x, seluAlpha)
		return u.times(y, seluScale, err)
	case "swish", "silu":
		y, err := u.tr.Unary(format.Sigmoid, x)
		return u.product(x, y, err)
	case "hard_swish", "hard_silu":
		y, err := u.hardSigmoid(x)
		return u.product(x, y, err)
	case "mish":
		y, err := u.tr.Unary(format.Softplus, x)
		if err == nil {
			y, err = u.tr.Unary(format.Tanh, y)
		}
		return u.product(x, y, err)
	case "gelu":
		return u.gelu(x)
	case "log_sigmoid":
		y, err := u.times(x, -1, nil)
		if err == nil {
			y, err = u.tr.Unary(format.Softplus, y)
		}
		return u.times(y, -1, err)
	case "hard_shrink":
		return u.hardShrink(x)
	case "soft_shrink":
		y, err := u.tr.Unary(format.Clip, x, -0.5, 0.5)
		if err != nil {
			return nil, err
		}
		return u.tr.Binary(lower.Sub, x, y)
	case "tanh_shrink":
		y, err := u.tr.Unary(format.Tanh, x)
		if err != nil {
			return nil, err
		}
		return u.tr.Binary(lower.Sub, x, y)
	}
	return nil, unsupported("the %s %q is not supported", what, name)
}

// times is x*k, of a step that may have failed.
func (u *use) times(x *lower.Tensor, k float32, err error) (*lower.Tensor, error) {
	if err != nil {
		return nil, err
	}
	return u.with(lower.Mul, x, k)
}

func (u *use) product(x, y *lower.Tensor, err error) (*lower.Tensor, error) {
	if err != nil {
		return nil, err
	}
	return u.tr.Binary(lower.Mul, x, y)
}

// with is x op k.
func (u *use) with(op lower.Arith, x *lower.Tensor, k float32) (*lower.Tensor, error) {
	one, err := u.tr.Floats(nil, []float32{k})
	if err != nil {
		return nil, err
	}
	return u.tr.Binary(op, x, one)
}

// gelu is x/2 (1 + erf(x/sqrt(2))).
func (u *use) gelu(x *lower.Tensor) (*lower.Tensor, error) {
	y, err := u.times(x, math.Sqrt2/2, nil)
	if err == nil {
		y, err = u.tr.Unary(format.Erf, y)
	}
	if err == nil {
		y, err = u.with(lower.Add, y, 1)
	}
	y, err = u.times(y, 0.5, err)
	return u.product(x, y, err)
}

// hardShrink is x, or 0 within 0.5 of it.
func (u *use) hardShrink(x *lower.Tensor) (*lower.Tensor, error) {
	above, err := u.tr.Unary(format.ThresholdedReLU, x, 0.5)
	if err != nil {
		return nil, err
	}
	below, err := u.times(x, -1, nil)
	if err == nil {
		below, err = u.tr.Unary(format.ThresholdedReLU, below, 0.5)
	}
	if err != nil {
		return nil, err
	}
	return u.tr.Binary(lower.Sub, above, below)
}

// slope is the factor in hard_sigmoid, max(0, min(1, slope x + 0.5)).
func (n *network) slope() (float32, error) {
	switch major, _ := n.keras(); major {
	case 1, 2:
		return 0.2, nil
	case 3:
		return 1. / 6, nil
	}
	return 0, unsupported("the activation hard_sigmoid: the file does not say of which version of Keras it is (%q)", n.version)
}

func (u *use) hardSigmoid(x *lower.Tensor) (*lower.Tensor, error) {
	slope, err := u.slope()
	if err != nil {
		return nil, err
	}
	return u.tr.Unary(format.HardSigmoid, x, slope, 0.5)
}

// inCell are the activations that a cell can have, with alpha and beta.
var inCell = map[string]kernels.Function{
	"tanh": {Kind: kernels.ActTanh}, "sigmoid": {Kind: kernels.ActSigmoid}, "relu": {Kind: kernels.ActReLU},
	"linear": {Kind: kernels.ActAffine, Alpha: 1}, "elu": {Kind: kernels.ActELU, Alpha: 1}, "celu": {Kind: kernels.ActELU, Alpha: 1},
	"softsign": {Kind: kernels.ActSoftsign}, "softplus": {Kind: kernels.ActSoftplus}, "leaky_relu": {Kind: kernels.ActLeakyReLU, Alpha: 0.2},
}

// cellFunction is an activation of a cell.
func (n *network) cellFunction(f *function) (kernels.Function, error) {
	if f.raw == nil {
		return kernels.Function{}, errors.New("the config leaves an activation out")
	}
	a, err := f.get()
	if err != nil {
		return kernels.Function{}, err
	}
	if a.layer != nil {
		return layerFunction(a.layer)
	}
	if a.name == "hard_sigmoid" {
		slope, err := n.slope()
		return kernels.Function{Kind: kernels.ActHardSigmoid, Alpha: slope, Beta: 0.5}, err
	}
	k, ok := inCell[a.name]
	if !ok {
		return k, unsupported("the activation %q is not supported in a cell", a.name)
	}
	return k, nil
}

// layerFunction is a layer used as the activation of a cell.
func layerFunction(l *layer) (k kernels.Function, err error) {
	c := &l.config
	switch l.class {
	case "LeakyReLU":
		k.Kind = kernels.ActLeakyReLU
		k.Alpha, err = c.leak()
		return k, err
	case "ELU":
		k.Kind = kernels.ActELU
		k.Alpha, err = number(c.Alpha, 1)
		return k, err
	case "ThresholdedReLU":
		k.Kind = kernels.ActThresholdedReLU
		k.Alpha, err = number(c.Theta, 1)
		return k, err
	case "ReLU":
		r, err := c.rectifier()
		if err == nil && !r.bounded && r.threshold == 0 {
			k.Kind, k.Alpha = kernels.ActReLU, r.slope
			if r.slope != 0 {
				k.Kind = kernels.ActLeakyReLU
			}
			return k, nil
		}
	}
	return k, unsupported("the activation %s is not supported in a cell", l.class)
}

// rectifier is max for x >= max, x for x > threshold, slope (x - threshold) below.
type rectifier struct {
	slope, threshold, max float32
	bounded               bool
}

func (c *config) rectifier() (r rectifier, err error) {
	if r.slope, err = number(c.NegativeSlope, 0); err != nil {
		return r, err
	}
	if r.threshold, err = number(c.Threshold, 0); err != nil {
		return r, err
	}
	r.bounded = !absent(c.MaxValue)
	r.max, err = number(c.MaxValue, 0)
	return r, err
}

func (u *use) relu(x *lower.Tensor) (*lower.Tensor, error) {
	r, err := u.config.rectifier()
	if err != nil {
		return nil, err
	}
	y := x
	switch {
	case r.threshold != 0:
		y, err = u.tr.Unary(format.ThresholdedReLU, x, r.threshold)
		if err == nil && r.bounded {
			y, err = u.tr.Unary(format.Clip, y, 0, r.max)
		}
	case r.bounded:
		y, err = u.tr.Unary(format.Clip, x, 0, r.max)
	case r.slope != 0:
		return u.tr.Unary(format.LeakyReLU, x, r.slope)
	default:
		return u.tr.Unary(format.ReLU, x)
	}
	if err != nil || r.slope == 0 {
		return y, err
	}
	below, err := u.with(lower.Sub, x, r.threshold)
	if err == nil {
		below, err = u.with(lower.Min, below, 0)
	}
	if below, err = u.times(below, r.slope, err); err != nil {
		return nil, err
	}
	return u.tr.Binary(lower.Add, y, below)
}

// leak is the slope of a LeakyReLU below zero: alpha of Keras 2, negative_slope of Keras 3.
func (c *config) leak() (float32, error) {
	if !absent(c.NegativeSlope) {
		return number(c.NegativeSlope, 0.3)
	}
	return number(c.Alpha, 0.3)
}

func (u *use) leakyReLU(x *lower.Tensor) (*lower.Tensor, error) {
	slope, err := u.config.leak()
	if err != nil {
		return nil, err
	}
	return u.tr.Unary(format.LeakyReLU, x, slope)
}

func (u *use) elu(x *lower.Tensor) (*lower.Tensor, error) {
	alpha, err := number(u.config.Alpha, 1)
	if err != nil {
		return nil, err
	}
	return u.tr.Unary(format.ELU, x, alpha)
}

func (u *use) thresholdedReLU(x *lower.Tensor) (*lower.Tensor, error) {
	theta, err := number(u.config.Theta, 1)
	if err != nil {
		return nil, err
	}
	return u.tr.Unary(format.ThresholdedReLU, x, theta)
}

// preLU is max(x, 0) + alpha min(x, 0).
func (u *use) preLU(x *lower.Tensor) (*lower.Tensor, error) {
	shape := []int{}
	axes, err := ints(u.config.SharedAxes)
	if err != nil {
		return nil, err
	}
	for ax, d := range x.Shape()[1:] {
		size, fixed := d.Const()
		if slices.Contains(axes, ax+1) {
			size, fixed = 1, true
		}
		if !fixed {
			return nil, unsupported("a slope for every step of an input of any length")
		}
		shape = append(shape, int(size))
	}
	w, err := u.take(u.layer, shape)
	if err != nil {
		return nil, err
	}
	alpha, err := u.tr.Floats(dims64(shape), w[0])
	if err != nil {
		return nil, err
	}
	above, err := u.tr.Unary(format.ReLU, x)
	if err != nil {
		return nil, err
	}
	below, err := u.with(lower.Min, x, 0)
	if below, err = u.product(below, alpha, err); err != nil {
		return nil, err
	}
	return u.tr.Binary(lower.Add, above, below)
}

func dims64(shape []int) []int64 {
	out := make([]int64, len(shape))
	for i, d := range shape {
		out[i] = int64(d)
	}
	return out
}

func (u *use) softmaxLayer(x *lower.Tensor) (*lower.Tensor, error) {
	axes, err := u.axes(x, -1)
	if err != nil {
		return nil, err
	}
	for i, ax := range axes {
		if ax != axes[0]+i {
			return nil, unsupported("a softmax over axes %v", axes)
		}
	}
	return u.tr.Softmax(format.Softmax, x, axes[0], axes[len(axes)-1])
}

// axes are the axes that a layer works along, sorted.
func (u *use) axes(x *lower.Tensor, otherwise int) ([]int, error) {
	v, err := ints(u.config.Axis)
	if err != nil {
		return nil, err
	}
	if v == nil {
		v = []int{otherwise}
	}
	var out []int
	for _, a := range v {
		ax, err := lower.AxisIndex(int64(a), x.Rank())
		if err != nil {
			return nil, err
		}
		if ax == 0 || slices.Contains(out, ax) {
			return nil, unsupported("axes %v", v)
		}
		out = append(out, ax)
	}
	if len(out) == 0 {
		return nil, unsupported("no axis")
	}
	slices.Sort(out)
	return out, nil
}
