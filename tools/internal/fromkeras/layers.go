package fromkeras

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/tools/internal/lower"
)

const maxUnits = 1 << 16

// size is the length of an axis that must be fixed.
func size(x *lower.Tensor, ax int) (int, error) {
	n, fixed := x.Shape()[ax].Const()
	if !fixed || n < 1 || n > 1<<24 {
		return 0, unsupported("axis %d has the length %v", ax, x.Shape()[ax])
	}
	return int(n), nil
}

// transpose turns [rows, columns] into [columns, rows].
func transpose(v []float32, rows, columns int) []float32 {
	out := make([]float32, len(v))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = v[r*columns+c]
		}
	}
	return out
}

func (u *use) dense(x *lower.Tensor) (*lower.Tensor, error) {
	units := u.config.Units
	if units < 1 || units > maxUnits {
		return nil, fmt.Errorf("%d units", units)
	}
	in, err := size(x, x.Rank()-1)
	if err != nil {
		return nil, err
	}
	w, bias, err := u.kernelBias([]int{in, units}, units)
	if err != nil {
		return nil, err
	}
	y, err := u.tr.Dense(x, transpose(w, in, units), units, bias)
	if err != nil {
		return nil, err
	}
	return u.activate(y, &u.config.Activation)
}

// kernelBias takes a kernel and, if there is one, a bias.
func (u *use) kernelBias(shape []int, outputs int) (w, bias []float32, err error) {
	shapes := [][]int{shape}
	if flag(u.config.UseBias) {
		shapes = append(shapes, []int{outputs})
	}
	v, err := u.take(u.layer, shapes...)
	if err != nil {
		return nil, nil, err
	}
	if len(v) > 1 {
		bias = v[1]
	}
	return v[0], bias, nil
}

// along arranges numbers for the given axes of x, so that they broadcast.
func (u *use) along(x *lower.Tensor, axes []int, v []float32) (*lower.Tensor, error) {
	dims := slices.Repeat([]int64{1}, x.Rank())
	for _, ax := range axes {
		n, err := size(x, ax)
		if err != nil {
			return nil, err
		}
		dims[ax] = int64(n)
	}
	return u.tr.Floats(dims, v)
}

// scaled is x*scale + shift along the given axes; either may be nil.
func (u *use) scaled(x *lower.Tensor, axes []int, scale, shift []float32) (*lower.Tensor, error) {
	for _, s := range []struct {
		op lower.Arith
		v  []float32
	}{{lower.Mul, scale}, {lower.Add, shift}} {
		if s.v == nil {
			continue
		}
		k, err := u.along(x, axes, s.v)
		if err == nil {
			x, err = u.tr.Binary(s.op, x, k)
		}
		if err != nil {
			return nil, err
		}
	}
	return x, nil
}

// gammaBeta takes the scale and shift that a normalisation has learned, and what follows them.
func (u *use) gammaBeta(shape []int, others ...[]int) (gamma, beta []float32, rest [][]float32, err error) {
	c := &u.config
	w, err := u.take(u.layer, append(slices.Repeat([][]int{shape}, gammaBeta(c)), others...)...)
	if err != nil {
		return nil, nil, nil, err
	}
	if c.scaled() {
		gamma, w = w[0], w[1:]
	}
	if c.centered() {
		beta, w = w[0], w[1:]
	}
	return gamma, beta, w, nil
}

func (u *use) batchNorm(x *lower.Tensor) (*lower.Tensor, error) {
	axes, err := u.axes(x, -1)
	if err != nil {
		return nil, err
	}
	if len(axes) != 1 || u.config.Renorm {
		return nil, unsupported("axes %v or renormalisation are not supported", axes)
	}
	n, err := size(x, axes[0])
	if err != nil {
		return nil, err
	}
	eps, err := number(u.config.Epsilon, 1e-3)
	if err != nil {
		return nil, err
	}
	gamma, beta, moments, err := u.gammaBeta([]int{n}, []int{n}, []int{n})
	if err != nil {
		return nil, err
	}
	scale, shift := lower.Normalisation(moments[0], moments[1], gamma, beta, float64(eps))
	return u.scaled(x, axes, scale, shift)
}

func (u *use) layerNorm(x *lower.Tensor) (*lower.Tensor, error) {
	axes, err := u.axes(x, -1)
	if err != nil {
		return nil, err
	}
	if u.config.RMSScaling {
		return nil, unsupported("rms_scaling is not supported")
	}
	var shape []int
	for _, ax := range axes {
		n, err := size(x, ax)
		if err != nil {
			return nil, err
		}
		shape = append(shape, n)
	}
	eps, err := number(u.config.Epsilon, 1e-3)
	if err != nil {
		return nil, err
	}
	gamma, beta, _, err := u.gammaBeta(shape)
	if err != nil {
		return nil, err
	}
	y, err := u.tr.LayerNorm(x, axes, eps)
	if err != nil {
		return nil, err
	}
	return u.scaled(y, axes, gamma, beta)
}

// groupNorm normalises groups of channels over all other axes.
func (u *use) groupNorm(x *lower.Tensor) (*lower.Tensor, error) {
	axes, err := u.axes(x, -1)
	if err != nil {
		return nil, err
	}
	if len(axes) != 1 || axes[0] != x.Rank()-1 {
		return nil, unsupported("axes %v are not supported, only the last", axes)
	}
	n, err := size(x, axes[0])
	if err != nil {
		return nil, err
	}
	groups := 32
	if u.config.Groups != nil {
		groups = *u.config.Groups
	}
	if groups == -1 {
		groups = n
	}
	if groups < 1 || n%groups != 0 {
		return nil, fmt.Errorf("%d channels in %d groups", n, groups)
	}
	eps, err := number(u.config.Epsilon, 1e-3)
	if err != nil {
		return nil, err
	}
	gamma, beta, _, err := u.gammaBeta([]int{n})
	if err != nil {
		return nil, err
	}
	shape := x.Shape()
	split := append(slices.Clone(shape[:axes[0]]), lower.Int(int64(groups)), lower.Int(int64(n/groups)))
	y, err := u.tr.Reshape(x, split, true)
	if err != nil {
		return nil, err
	}
	var inner []int
	for ax := 1; ax <= x.Rank(); ax++ {
		if ax != axes[0] {
			inner = append(inner, ax)
		}
	}
	if y, err = u.tr.LayerNorm(y, inner, eps); err != nil {
		return nil, err
	}
	if y, err = u.tr.Reshape(y, shape, true); err != nil {
		return nil, err
	}
	return u.scaled(y, axes, gamma, beta)
}

// normalization is (x - mean)/max(sqrt(variance), 1e-7) by moments that were measured on data.
func (u *use) normalization(x *lower.Tensor) (*lower.Tensor, error) {
	axes, mean, variance, err := u.moments(x)
	if err != nil {
		return nil, err
	}
	scale, shift := make([]float32, len(mean)), make([]float32, len(mean))
	for i := range mean {
		s := max(math.Sqrt(float64(variance[i])), 1e-7)
		scale[i], shift[i] = float32(1/s), float32(-float64(mean[i])/s)
		if u.config.Invert {
			scale[i], shift[i] = float32(s), mean[i]
		}
	}
	return u.scaled(x, axes, scale, shift)
}

func (u *use) moments(x *lower.Tensor) (axes []int, mean, variance []float32, err error) {
	c := &u.config
	if !absent(c.Axis) && string(c.Axis) != "[]" {
		if axes, err = u.axes(x, -1); err != nil {
			return nil, nil, nil, err
		}
	}
	shape := []int{}
	total := 1
	for _, ax := range axes {
		n, err := size(x, ax)
		if err != nil {
			return nil, nil, nil, err
		}
		shape = append(shape, n)
		total *= n
	}
	if absent(c.Mean) {
		w, err := u.take(u.layer, shape, shape, []int{})
		if err != nil {
			return nil, nil, nil, err
		}
		return axes, w[0], w[1], nil
	}
	if mean, err = numbers(c.Mean); err != nil {
		return nil, nil, nil, err
	}
	if variance, err = numbers(c.Variance); err != nil {
		return nil, nil, nil, err
	}
	for _, v := range []*[]float32{&mean, &variance} {
		if len(*v) == 1 {
			*v = slices.Repeat(*v, total)
		}
		if len(*v) != total {
			return nil, nil, nil, fmt.Errorf("%d moments for %d channels", len(*v), total)
		}
	}
	return axes, mean, variance, nil
}

func (u *use) rescaling(x *lower.Tensor) (*lower.Tensor, error) {
	last := x.Rank() - 1
	n, err := size(x, last)
	if err != nil {
		return nil, err
	}
	scale, err := numbers(u.config.Scale)
	if err != nil {
		return nil, err
	}
	shift, err := numbers(u.config.Offset)
	if err != nil {
		return nil, err
	}
	for _, v := range []*[]float32{&scale, &shift} {
		switch len(*v) {
		case 0:
			*v = nil
		case 1:
			*v = slices.Repeat(*v, n)
		case n:
		default:
			return nil, fmt.Errorf("%d numbers for %d channels", len(*v), n)
		}
	}
	return u.scaled(x, []int{last}, scale, shift)
}

// channelsFirst reports whether the axis of channels is that after the batch.
func (u *use) channelsFirst() bool { return u.config.DataFormat == "channels_first" }

func (u *use) flatten(x *lower.Tensor) (*lower.Tensor, error) {
	if u.channelsFirst() && x.Rank() > 2 {
		perm := []int64{0}
		for ax := 2; ax < x.Rank(); ax++ {
			perm = append(perm, int64(ax))
		}
		var err error
		if x, err = u.tr.Transpose(x, append(perm, 1)); err != nil {
			return nil, err
		}
	}
	n := lower.Int(1)
	for _, d := range x.Shape()[1:] {
		var err error
		if n, err = n.Mul(d); err != nil {
			return nil, err
		}
	}
	return u.tr.Reshape(x, []lower.Poly{x.Shape()[0], n}, true)
}

func (u *use) reshape(x *lower.Tensor) (*lower.Tensor, error) {
	target, err := ints(u.config.TargetShape)
	if err != nil {
		return nil, err
	}
	dims := []lower.Poly{x.Shape()[0]}
	for _, d := range target {
		if d < -1 || d == 0 || d > 1<<24 {
			return nil, fmt.Errorf("target_shape %v", target)
		}
		dims = append(dims, lower.Int(int64(d)))
	}
	return u.tr.Reshape(x, dims, true)
}

func (u *use) permute(x *lower.Tensor) (*lower.Tensor, error) {
	dims, err := ints(u.config.Dims)
	if err != nil {
		return nil, err
	}
	perm := []int64{0}
	for _, d := range dims {
		if d < 1 {
			return nil, fmt.Errorf("dims %v", dims)
		}
		perm = append(perm, int64(d))
	}
	return u.tr.Transpose(x, perm)
}

func (u *use) repeatVector(x *lower.Tensor) (*lower.Tensor, error) {
	n := u.config.N
	if n < 1 || n > maxUnits || x.Rank() != 2 {
		return nil, fmt.Errorf("%d repetitions of %d dimensions", n, x.Rank())
	}
	s := x.Shape()
	t, err := u.tr.Unsqueeze(x, []int64{1})
	if err != nil {
		return nil, err
	}
	return u.tr.Expand(t, []lower.Poly{s[0], lower.Int(int64(n)), s[1]})
}

// masking marks the steps in which all channels have a certain value, and makes them zero.
func (u *use) masking() ([]value, error) {
	if len(u.in) != 1 || u.in[0].t.Rank() != 3 {
		return nil, unsupported("masks of other than [batch, time, channels]")
	}
	v, err := number(u.config.MaskValue, 0)
	if err != nil {
		return nil, err
	}
	x := u.in[0].t
	equal, err := u.with(lower.Equal, x, v)
	if err != nil {
		return nil, err
	}
	masked, err := u.combine(lower.ReduceMin, equal, []int{2}, true)
	if err != nil {
		return nil, err
	}
	keep, err := u.not(masked)
	if err != nil {
		return nil, err
	}
	y, err := u.tr.Binary(lower.Mul, x, keep)
	if err != nil {
		return nil, err
	}
	keep, err = u.tr.Squeeze(keep, []int64{2})
	return []value{{y, keep}}, err
}

// not is 1 - x.
func (u *use) not(x *lower.Tensor) (*lower.Tensor, error) {
	y, err := u.times(x, -1, nil)
	if err != nil {
		return nil, err
	}
	return u.with(lower.Add, y, 1)
}

// timeDistributed runs a layer on every step: the batch of the layer is the batch and the time of its input.
func (u *use) timeDistributed() ([]value, error) {
	if len(u.in) != 1 || u.in[0].t.Rank() < 3 {
		return nil, errors.New("its input has no time")
	}
	x := u.in[0]
	moved, err := u.tr.Squeeze(x.t, []int64{0})
	if err != nil {
		return nil, err
	}
	out, err := (&use{network: u.network, layer: u.parts[0], in: []value{{t: moved}}}).trace()
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].t, err = u.tr.Unsqueeze(out[i].t, []int64{0}); err != nil {
			return nil, err
		}
		out[i].keep = x.keep
	}
	return out, nil
}

// globalMean is the mean over time, of the steps that count.
func (u *use) globalMean() ([]value, error) {
	if len(u.in) != 1 || u.in[0].keep == nil {
		return plain((*use).globalPool)(u)
	}
	ax := int64(2)
	if u.channelsFirst() {
		ax = 1
	}
	keep, err := u.tr.Unsqueeze(u.in[0].keep, []int64{ax})
	if err != nil {
		return nil, err
	}
	x, err := u.tr.Binary(lower.Mul, u.in[0].t, keep)
	if err != nil {
		return nil, err
	}
	over := []int{int(3 - ax)}
	sum, err := u.combine(lower.ReduceMean, x, over, u.config.KeepDims)
	if err != nil {
		return nil, err
	}
	count, err := u.combine(lower.ReduceMean, keep, over, u.config.KeepDims)
	if err != nil {
		return nil, err
	}
	y, err := u.tr.Binary(lower.Div, sum, count)
	return []value{{t: y}}, err
}

// combine reduces axes. A sum over time would hold for one length only.
func (u *use) combine(r lower.Reduction, x *lower.Tensor, axes []int, keep bool) (*lower.Tensor, error) {
	for _, ax := range axes {
		for _, s := range x.Layout()[ax] {
			if s.Role == lower.Time && r == lower.ReduceSum {
				return nil, unsupported("a sum over time")
			}
		}
	}
	return u.tr.Reduce(r, x, axes, keep)
}

func (u *use) globalPool(x *lower.Tensor) (*lower.Tensor, error) {
	first := 1
	if u.channelsFirst() {
		first = 2
	}
	var axes []int
	for ax := first; ax < first+x.Rank()-2; ax++ {
		axes = append(axes, ax)
	}
	if len(axes) == 0 {
		return nil, errors.New("there is nothing to pool over")
	}
	r := lower.ReduceMean
	if u.class == "GlobalMaxPooling1D" || u.class == "GlobalMaxPooling2D" {
		r = lower.ReduceMax
	}
	return u.combine(r, x, axes, u.config.KeepDims)
}
