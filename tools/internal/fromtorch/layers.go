package fromtorch

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

// kind is a type of layer: how it is built, nil where it does nothing when a network runs, and the fields that it may have.
type kind struct {
	build  func(*network, *Layer) (*lower.Tensor, error)
	fields string
}

const window = "kernel_size stride padding dilation ceil_mode"

// layers are the types that a description may hold.
var layers = map[string]kind{
	"dropout":     {nil, ""},
	"identity":    {nil, ""},
	"lstm":        {(*network).recurrent, "weights output h0 c0"},
	"gru":         {(*network).recurrent, "weights output h0"},
	"rnn":         {(*network).recurrent, "weights output h0 nonlinearity"},
	"linear":      {(*network).linear, "weights"},
	"conv1d":      {(*network).conv, "weights stride padding dilation groups"},
	"maxpool1d":   {(*network).window, window},
	"avgpool1d":   {(*network).window, "kernel_size stride padding ceil_mode"},
	"batchnorm1d": {(*network).batchNorm, "weights eps"},
	"layer_norm":  {(*network).layerNorm, "weights eps"},
	"affine":      {(*network).affine, "scale shift"},
	"softmax":     {(*network).softmax, ""},
	"log_softmax": {(*network).softmax, ""},
	"last":        {(*network).step, ""},
	"first":       {(*network).step, ""},
	"mean":        {(*network).reduce, ""},
	"max":         {(*network).reduce, ""},
	"flatten":     {(*network).flatten, "order"},

	"relu":        {unary(format.ReLU), ""},
	"sigmoid":     {unary(format.Sigmoid), ""},
	"tanh":        {unary(format.Tanh), ""},
	"softplus":    {unary(format.Softplus), ""},
	"softsign":    {unary(format.Softsign), ""},
	"hardsigmoid": {unary(format.HardSigmoid, 1./6, 0.5), ""},
	"relu6":       {unary(format.Clip, 0, 6), ""},
	"hardtanh":    {(*network).hardtanh, "min_val max_val"},
	"leaky_relu":  {(*network).leaky, "negative_slope"},
	"elu":         {(*network).elu, "alpha"},
	"selu":        {(*network).selu, ""},
	"prelu":       {(*network).prelu, "weights"},
	"gelu":        {(*network).gelu, "approximate"},
	"silu":        {gated(unary(format.Sigmoid)), ""},
	"hardswish":   {gated(unary(format.HardSigmoid, 1./6, 0.5)), ""},
	"mish":        {gated((*network).tanhSoftplus), ""},
}

// only refuses fields that a type has no use for.
func (l *Layer) only(fields string) error {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"weights", l.Weights != nil}, {"output", l.Output != ""}, {"h0", l.H0 != ""}, {"c0", l.C0 != ""}, {"nonlinearity", l.Nonlinearity != ""},
		{"eps", l.Eps != 0}, {"kernel_size", l.KernelSize != 0}, {"stride", l.Stride != 0}, {"padding", l.Padding != Padding{}},
		{"dilation", l.Dilation != 0}, {"groups", l.Groups != 0}, {"ceil_mode", l.CeilMode}, {"order", l.Order != ""}, {"alpha", l.Alpha != nil},
		{"negative_slope", l.NegativeSlope != nil}, {"min_val", l.MinVal != nil}, {"max_val", l.MaxVal != nil},
		{"approximate", l.Approximate != ""}, {"scale", l.Scale != nil}, {"shift", l.Shift != nil},
	} {
		if f.set && !slices.Contains(strings.Fields(fields), f.name) {
			return fmt.Errorf("has no %q", f.name)
		}
	}
	return nil
}

// width is the number of channels of the network so far.
func (n *network) width() int {
	s := n.x.Shape()
	w, _ := s[len(s)-1].Const()
	return int(w)
}

func (n *network) linear(l *Layer) (*lower.Tensor, error) {
	w, err := n.get(l, l.prefix()+"weight", 2)
	if err != nil {
		return nil, err
	}
	if w.Shape[1] != n.width() {
		return nil, fmt.Errorf("takes %d channels, there are %d", w.Shape[1], n.width())
	}
	bias, err := n.optional(l, l.prefix()+"bias", w.Shape[0])
	if err != nil {
		return nil, err
	}
	return n.tr.Dense(n.x, w.Floats(), w.Shape[0], bias)
}

// optional is vector for a tensor that may be absent.
func (n *network) optional(l *Layer, name string, length int) ([]float32, error) {
	if n.tensors[name] == nil {
		return nil, nil
	}
	return n.vector(l, name, length)
}

func (n *network) batchNorm(l *Layer) (*lower.Tensor, error) {
	width := n.width()
	mean, err := n.vector(l, l.prefix()+"running_mean", width)
	if err != nil {
		return nil, err
	}
	variance, err := n.vector(l, l.prefix()+"running_var", width)
	if err != nil {
		return nil, err
	}
	gamma, err := n.optional(l, l.prefix()+"weight", width)
	if err != nil {
		return nil, err
	}
	beta, err := n.optional(l, l.prefix()+"bias", width)
	if err != nil {
		return nil, err
	}
	return n.tr.Normalise(n.x, mean, variance, gamma, beta, l.eps())
}

func (l *Layer) eps() float64 {
	if l.Eps == 0 {
		return 1e-5
	}
	return l.Eps
}

// layerNorm is over the channels of a step. Without weights it only normalises.
func (n *network) layerNorm(l *Layer) (*lower.Tensor, error) {
	width := n.width()
	y, err := n.tr.LayerNorm(n.x, []int{n.x.Rank() - 1}, float32(l.eps()))
	if err != nil || l.Weights == nil {
		return y, err
	}
	gamma, err := n.vector(l, l.prefix()+"weight", width)
	if err != nil {
		return nil, err
	}
	beta, err := n.optional(l, l.prefix()+"bias", width)
	if err != nil {
		return nil, err
	}
	if beta == nil {
		beta = make([]float32, width)
	}
	return n.tr.Scale(y, gamma, beta)
}

func (n *network) affine(l *Layer) (*lower.Tensor, error) {
	scale, err := spread("scale", l.Scale, n.width(), 1)
	if err != nil {
		return nil, err
	}
	shift, err := spread("shift", l.Shift, n.width(), 0)
	if err != nil {
		return nil, err
	}
	return n.tr.Scale(n.x, scale, shift)
}

// spread gives every channel its value: v has one for each, or one for all, or none.
func spread(name string, v []float32, width int, none float32) ([]float32, error) {
	switch len(v) {
	case width:
		return v, nil
	case 0, 1:
		return slices.Repeat(append(slices.Clip(v), none)[:1], width), nil
	}
	return nil, fmt.Errorf("%q has %d values for %d channels", name, len(v), width)
}

func (n *network) softmax(l *Layer) (*lower.Tensor, error) {
	kind, last := format.Softmax, n.x.Rank()-1
	if l.Type == "log_softmax" {
		kind = format.LogSoftmax
	}
	return n.tr.Softmax(kind, n.x, last, last)
}

const perStep = 3 // the rank of what has a time axis

func (n *network) timed() error {
	if n.x.Rank() != perStep {
		return fmt.Errorf("there is no time left")
	}
	return nil
}

func (n *network) step(l *Layer) (*lower.Tensor, error) {
	at := int64(0)
	if l.Type == "last" {
		at = -1
	}
	return n.at(n.x, at)
}

// at is one step of a tensor.
func (n *network) at(x *lower.Tensor, step int64) (*lower.Tensor, error) {
	if x.Rank() != perStep {
		return nil, fmt.Errorf("there is no time left")
	}
	i, err := n.tr.Ints(nil, []int64{step})
	if err != nil {
		return nil, err
	}
	return n.tr.Gather(x, 0, i)
}

func (n *network) reduce(l *Layer) (*lower.Tensor, error) {
	if err := n.timed(); err != nil {
		return nil, err
	}
	r := lower.ReduceMean
	if l.Type == "max" {
		r = lower.ReduceMax
	}
	return n.tr.Reduce(r, n.x, []int{0}, false)
}

// flatten puts the channels of all steps side by side; by order, step by step or channel by channel.
func (n *network) flatten(l *Layer) (*lower.Tensor, error) {
	if n.x.Rank() != perStep {
		return n.x, nil
	}
	if err := n.sliding(); err != nil {
		return nil, err
	}
	x := n.x
	switch l.Order {
	case "", "steps":
	case "channels":
		var err error
		if x, err = n.tr.Transpose(x, []int64{2, 1, 0}); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("order %q; there are steps and channels", l.Order)
	}
	return n.tr.Reshape(x, []lower.Poly{lower.Int(1), lower.Int(-1)}, false)
}

// sliding checks that there is a number of steps to slide over.
func (n *network) sliding() error {
	if err := n.timed(); err != nil {
		return err
	}
	if n.steps == 0 {
		return fmt.Errorf(`works on several steps at once: the description must say by "steps" how many the network takes`)
	}
	return nil
}

func (n *network) conv(l *Layer) (*lower.Tensor, error) {
	w, err := n.get(l, l.prefix()+"weight", 3)
	if err != nil {
		return nil, err
	}
	outputs, groups, kernel := w.Shape[0], max(l.Groups, 1), w.Shape[2]
	if w.Shape[1]*groups != n.width() {
		return nil, fmt.Errorf("takes %d channels in each of %d groups, there are %d", w.Shape[1], groups, n.width())
	}
	bias, err := n.optional(l, l.prefix()+"bias", outputs)
	if err != nil {
		return nil, err
	}
	if kernel == 1 && groups == 1 && max(l.Stride, 1) == 1 && l.Padding.N == 0 {
		return n.tr.Dense(n.x, w.Floats(), outputs, bias)
	}
	return n.slide(l, kernel, 1, func(x *lower.Tensor, s []lower.Sliding) (*lower.Tensor, error) {
		return n.tr.Conv(x, w.Floats(), outputs, groups, bias, s)
	})
}

// slide moves a window over time. Tracers have time last.
func (n *network) slide(l *Layer, kernel, stride int, over func(*lower.Tensor, []lower.Sliding) (*lower.Tensor, error)) (*lower.Tensor, error) {
	if err := n.sliding(); err != nil {
		return nil, err
	}
	const most = 1 << 20
	if max(kernel, l.Stride, l.Dilation, l.Padding.N) > most || min(kernel-1, l.Stride, l.Dilation, l.Padding.N) < 0 {
		return nil, fmt.Errorf("a window of %d steps, stride %d, padding %d, dilation %d", kernel, l.Stride, l.Padding.N, l.Dilation)
	}
	s := lower.Sliding{Kernel: kernel, Stride: stride, Dilation: max(l.Dilation, 1), Pad: l.Padding.N, End: l.Padding.N}
	if l.Stride > 0 {
		s.Stride = l.Stride
	}
	shape := n.x.Shape()
	steps, _ := shape[0].Const()
	if l.Padding.Same {
		s.Same(int(steps), false)
	}
	if l.CeilMode {
		s.Extra = extra(int(steps), s)
	}
	x, err := n.tr.Transpose(n.x, []int64{1, 2, 0})
	if err != nil {
		return nil, err
	}
	if x, err = over(x, []lower.Sliding{s}); err != nil {
		return nil, err
	}
	return n.tr.Transpose(x, []int64{2, 0, 1})
}

// extra is 1 if rounding up adds a window, which has to begin in the input or the padding before it.
func extra(steps int, s lower.Sliding) int {
	room := steps + s.Pad + s.End - (s.Kernel-1)*s.Dilation - 1
	if room < 0 || room%s.Stride == 0 || (room/s.Stride+1)*s.Stride >= steps+s.Pad {
		return 0
	}
	return 1
}

// window is pooling over neighbouring steps. The mean counts padding, as PyTorch does unless told otherwise.
func (n *network) window(l *Layer) (*lower.Tensor, error) {
	kind := format.MaxPool
	if l.Type == "avgpool1d" {
		kind = format.MeanPool
	}
	if l.Padding.Same || 2*l.Padding.N > l.KernelSize {
		return nil, fmt.Errorf("padding of more than half of the window")
	}
	return n.slide(l, l.KernelSize, l.KernelSize, func(x *lower.Tensor, s []lower.Sliding) (*lower.Tensor, error) {
		return n.tr.WindowPool(kind, x, true, s)
	})
}

func unary(kind format.Kind, params ...float32) func(*network, *Layer) (*lower.Tensor, error) {
	return func(n *network, _ *Layer) (*lower.Tensor, error) { return n.tr.Unary(kind, n.x, params...) }
}

// gated is x·f(x).
func gated(f func(*network, *Layer) (*lower.Tensor, error)) func(*network, *Layer) (*lower.Tensor, error) {
	return func(n *network, l *Layer) (*lower.Tensor, error) {
		g, err := f(n, l)
		if err != nil {
			return nil, err
		}
		return n.tr.Binary(lower.Mul, n.x, g)
	}
}

func or(v *float32, otherwise float32) float32 {
	if v == nil {
		return otherwise
	}
	return *v
}

func (n *network) hardtanh(l *Layer) (*lower.Tensor, error) {
	low, high := or(l.MinVal, -1), or(l.MaxVal, 1)
	if !(low <= high) {
		return nil, fmt.Errorf("from %v to %v", low, high)
	}
	return n.tr.Unary(format.Clip, n.x, low, high)
}

func (n *network) leaky(l *Layer) (*lower.Tensor, error) {
	return n.tr.Unary(format.LeakyReLU, n.x, or(l.NegativeSlope, 0.01))
}

func (n *network) elu(l *Layer) (*lower.Tensor, error) {
	return n.tr.Unary(format.ELU, n.x, or(l.Alpha, 1))
}

// The constants of nn.SELU.
const seluScale, seluAlpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

func (n *network) selu(*Layer) (*lower.Tensor, error) {
	y, err := n.tr.Unary(format.ELU, n.x, seluAlpha)
	if err != nil {
		return nil, err
	}
	return n.scaled(y, seluScale, 0)
}

// scaled is x·scale + shift.
func (n *network) scaled(x *lower.Tensor, scale, shift float32) (*lower.Tensor, error) {
	return n.tr.Scale(x, []float32{scale}, []float32{shift})
}

func (n *network) tanhSoftplus(*Layer) (*lower.Tensor, error) {
	y, err := n.tr.Unary(format.Softplus, n.x)
	if err != nil {
		return nil, err
	}
	return n.tr.Unary(format.Tanh, y)
}

// prelu is relu(x) - a·relu(-x), with one a or one for each channel.
func (n *network) prelu(l *Layer) (*lower.Tensor, error) {
	w, err := n.get(l, l.prefix()+"weight", 1)
	if err != nil {
		return nil, err
	}
	a, err := spread("weight", w.Floats(), n.width(), 0)
	if err != nil {
		return nil, err
	}
	for i := range a {
		a[i] = -a[i]
	}
	below, err := n.scaled(n.x, -1, 0)
	if err != nil {
		return nil, err
	}
	if below, err = n.tr.Unary(format.ReLU, below); err != nil {
		return nil, err
	}
	if below, err = n.tr.Scale(below, a, make([]float32, len(a))); err != nil {
		return nil, err
	}
	above, err := n.tr.Unary(format.ReLU, n.x)
	if err != nil {
		return nil, err
	}
	return n.tr.Binary(lower.Add, above, below)
}

// gelu is x·(1 + erf(x/√2))/2, or with tanh x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.
func (n *network) gelu(l *Layer) (*lower.Tensor, error) {
	var inner *lower.Tensor
	var err error
	kind := format.Erf
	switch l.Approximate {
	case "", "none":
		inner, err = n.scaled(n.x, math.Sqrt2/2, 0)
	case "tanh":
		kind = format.Tanh
		inner, err = n.cubic()
	default:
		return nil, unsupported("approximate %q is not supported", l.Approximate)
	}
	if err == nil {
		inner, err = n.tr.Unary(kind, inner)
	}
	if err == nil {
		inner, err = n.scaled(inner, 0.5, 0.5)
	}
	if err != nil {
		return nil, err
	}
	return n.tr.Binary(lower.Mul, n.x, inner)
}

// cubic is √(2/π)·(x + 0.044715·x³).
func (n *network) cubic() (*lower.Tensor, error) {
	root := math.Sqrt(2 / math.Pi)
	y, err := n.tr.Binary(lower.Mul, n.x, n.x)
	if err != nil {
		return nil, err
	}
	if y, err = n.scaled(y, float32(root*0.044715), float32(root)); err != nil {
		return nil, err
	}
	return n.tr.Binary(lower.Mul, n.x, y)
}
