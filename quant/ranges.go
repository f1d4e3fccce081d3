package quant

import (
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// minShare is the smallest range of a channel relative to the widest of the same operation: a channel that hardly moves in the
// calibration data may move later, and resolution beyond that of its neighbours buys nothing.
const minShare = 1.0 / 64

// knowledge is what is known of the activations of a graph: a sample of what every matrix multiplies, or bounds.
type knowledge struct {
	samples map[product]*sample
	bounds  [][]float32 // of every operation, what Op.bounds says
	rounded map[scheme]rounded
}

// scheme is one of a matrix.
type scheme struct {
	product
	format.Scheme
}

// rounded are the int8 weights of a matrix, packed.
type rounded struct {
	weights       []int8
	scales, shift []float32
}

// round quantises a matrix, once.
func (k *knowledge) round(p product, s format.Scheme, w []float32, rows, cols int, limit []float32) rounded {
	r, ok := k.rounded[scheme{p, s}]
	if !ok {
		q, scales, shift := newRounder(limit, levels(s), k.samples[p]).rows(w, rows, cols)
		r = rounded{kernels.PackI8(q, rows, cols), scales, shift}
		k.rounded[scheme{p, s}] = r
	}
	return r
}

func learn(g *Graph, o Options) (*knowledge, error) {
	k := &knowledge{rounded: map[scheme]rounded{}}
	var err error
	switch o.RangeSource(g) {
	case RangeOfCalibration:
		k.samples, err = observe(g, o.Calib)
	case UnknownRange:
		err = ErrRange
	case RangeOfNormalisation:
		k.bounds = boundRanges(g, g.inputRange(), g.normalisation())
	case RangeGiven:
		k.bounds = boundRanges(g, filled(o.Range, g.Values[0].Width), 0)
	case RangeOfModel:
		k.bounds = boundRanges(g, g.inputRange(), 0)
	}
	return k, err
}

// limits returns the magnitudes that the integers of a scheme have to reach: of each column of an operation's matrix, and of each unit of
// its hidden state.
func (k *knowledge) limits(i int, op *Op, scheme format.Scheme) (x, h []float32, err error) {
	if scheme == format.F32 {
		return nil, nil, nil
	}
	if k.samples == nil {
		if slices.Contains(k.bounds[i], unbounded) {
			return nil, nil, errors.New("there is no bound to what its weights multiply: give calibration data")
		}
		x, h = k.bounds[i][:op.columns()], k.bounds[i][op.columns():]
	} else {
		x = k.samples[product{i, format.RoleW}].limits(op.period(), scheme)
	}
	switch {
	case !op.Kind.Recurrent():
		return x, nil, nil
	case op.bounded():
		h = make([]float32, op.Hidden)
		for u := range h {
			h[u] = op.unit(u)
		}
	case k.samples != nil:
		h = k.samples[product{i, format.RoleU}].limits(op.Hidden, scheme)
	}
	return x, h, nil
}

// limits are the largest magnitudes of columns, with some room; columns period apart are those of one channel.
func (s *sample) limits(period int, scheme format.Scheme) []float32 {
	m := floored(most(s.most, period))
	room := s.room(scheme)
	for i := range m {
		m[i] *= room
	}
	return slices.Repeat(m, len(s.most)/period)
}

// room is for what the calibration data does not hold. Of 16 bits, two are given away. With 8, ranges are taken for what they would be in
// eight times as much data, if they went on to grow at each doubling as at the last one.
func (s *sample) room(scheme format.Scheme) float32 {
	if scheme == format.W8A16 {
		return 4
	}
	g := s.growth()
	return min(g*g*g, 2)
}

// columns is how many an operation's input matrix has.
func (op *Op) columns() int {
	if op.Kind == format.Conv {
		w, err := format.ParseWindow(op.Dims)
		if err != nil {
			return 0 // validated before
		}
		_, _, kernel := w.Points()
		return kernel * w.Channels
	}
	return op.In[0].Width / max(op.Blocks(), 1)
}

// period is how many columns apart a channel comes again.
func (op *Op) period() int {
	if op.Kind == format.Conv {
		return int(op.Dims[0])
	}
	return op.columns()
}

// bounds are the magnitude of each column of an operation's matrix, and then, where the hidden state has no bound of its own, that of
// each unit.
func (op *Op) bounds(in, out []float32) []float32 {
	switch {
	case op.Kind == format.Conv:
		w, err := format.ParseWindow(op.Dims)
		if err != nil {
			return nil
		}
		_, _, kernel := w.Points()
		return slices.Repeat(floored(most(in, w.Channels)), kernel)
	case op.Kind == format.Dense:
		return floored(most(in, len(in)/op.Blocks()))
	}
	x := floored(most(in[:op.In[0].Width], op.In[0].Width/max(op.Blocks(), 1)))
	if op.bounded() {
		return x
	}
	n := max(op.Blocks(), 1) * op.Hidden
	h := append(slices.Clone(out[:n]), in[op.In[0].Width:min(len(in), op.In[0].Width+op.Hidden)]...)
	return append(x, floored(most(h, op.Hidden))...)
}

// most folds rows of the given width to the largest of each column.
func most(v []float32, width int) []float32 {
	out := make([]float32, width)
	widen(out, v)
	return out
}

// walkRanges calls f for each operation with the magnitudes of what it reads, its inputs side by side; f returns those of what it writes.
func walkRanges(g *Graph, input []float32, f func(op int, in []float32) []float32) {
	values := make([][]float32, len(g.Values))
	for i, v := range g.Values {
		values[i] = make([]float32, v.Width)
	}
	copy(values[0], input)
	for i := range g.Ops {
		var x []float32
		for _, in := range g.Ops[i].In {
			x = append(x, values[in.Value][in.Offset:][:in.Width]...)
		}
		out := g.Ops[i].Out
		if y := f(i, x); g.Ops[i].Kind != format.Store {
			copy(values[out.Value][out.Offset:][:out.Width], y)
		}
	}
}

func floored(r []float32) []float32 {
	var most float32
	for _, v := range r {
		most = max(most, v)
	}
	if most < format.MinVector {
		most = 1
	}
	out := make([]float32, len(r))
	for i, v := range r {
		out[i] = max(v, most*minShare)
	}
	return out
}

func widen(r, rows []float32) {
	for i, v := range rows {
		k := i % len(r)
		r[k] = max(r[k], float32(math.Abs(float64(v))))
	}
}

// boundRanges bounds what each operation with weights reads by interval arithmetic; what has no bound is infinite. If normal is not 0, it
// is what normalised input is bounded by.
func boundRanges(g *Graph, input []float32, normal float32) [][]float32 {
	states := map[format.Ref][]float32{}
	for range settled {
		bounds, kept := boundOnce(g, input, normal, states)
		if maps.EqualFunc(states, kept, slices.Equal[[]float32]) {
			return bounds
		}
		states = kept
	}
	for r := range states {
		states[r] = filled(unbounded, r.Width)
	}
	bounds, _ := boundOnce(g, input, normal, states)
	return bounds
}

// settled is how often the bounds of states may grow before they count as infinite.
const settled = 4

// boundOnce is boundRanges with what states are bounded by, zero if it is not said; kept is what they are bounded by after a step.
func boundOnce(g *Graph, input []float32, normal float32, states map[format.Ref][]float32) (bounds [][]float32, kept map[format.Ref][]float32) {
	bounds, kept = make([][]float32, len(g.Ops)), map[format.Ref][]float32{}
	walkRanges(g, input, func(i int, in []float32) []float32 {
		op := &g.Ops[i]
		out := make([]float32, op.Out.Width)
		switch op.Kind {
		case format.Conv:
			op.boundConv(out, in)
		case format.MaxPool, format.MeanPool:
			widen(out, slices.Repeat(most(in, int(op.Dims[0])), len(out)/int(op.Dims[0])))
		case format.Recall:
			copy(out, states[op.Out])
			widen(out, op.H0)
			kept[op.Out] = slices.Clone(out)
		case format.Store:
			if kept[op.Out] != nil {
				widen(kept[op.Out], in)
			}
		default:
			for k := range out {
				out[k] = op.bound(k, in)
			}
		}
		for k := range out {
			switch {
			case normal > 0 && op.normalises():
				out[k] = normal
			case out[k] != out[k]: // 0 times infinity
				out[k] = unbounded
			}
		}
		if op.products() {
			bounds[i] = op.bounds(in, out)
		}
		return out
	})
	return bounds, kept
}

// boundConv is bound for all of a convolution, whose outputs are bounded by what their channels reach at any point.
func (op *Op) boundConv(out, in []float32) {
	w, err := format.ParseWindow(op.Dims)
	if err != nil {
		return // validated before
	}
	_, points, kernel := w.Points()
	reach, width := most(in, w.Channels), w.Channels/w.Groups
	outputs := len(out) / points
	for o := range outputs {
		group := o / (outputs / w.Groups) * width
		row := Op{W: op.W[o*kernel*width:][:kernel*width]}
		b := row.boundRow(0, slices.Repeat(reach[group:][:width], kernel))
		if op.B != nil {
			b += abs(op.B[o])
		}
		for p := range points {
			out[p*outputs+o] = b
		}
	}
}

var unbounded = float32(math.Inf(1))

// bound is the largest magnitude of channel k of what an operation writes, given those of what it reads.
func (op *Op) bound(k int, in []float32) float32 {
	switch op.Kind {
	case format.Affine:
		return float32(abs(op.Scale[k])*in[k]) + abs(op.Shift[k])
	case format.Dense:
		rows := op.Out.Width / op.Blocks()
		width := op.columns()
		return op.boundRow(k%rows, in[k/rows*width:][:width])
	case format.ReLU, format.Last, format.First, format.Mean, format.Max, format.Abs:
		return in[k]
	case format.Round, format.Floor:
		return in[k] + 1
	case format.LeakyReLU:
		return in[k] * max(1, abs(op.Params[0]))
	case format.ELU:
		return max(in[k], abs(op.Params[0]))
	case format.Softplus:
		return in[k] + math.Ln2
	case format.Sqrt:
		return float32(math.Sqrt(float64(in[k])))
	case format.LogSoftmax:
		return float32(math.Log(float64(len(in)))) + float32(2*slices.Max(in))
	case format.Gather:
		return in[op.Index[k]]
	case format.Const:
		return abs(op.B[k])
	case format.Add, format.Sub:
		return in[k%op.In[0].Width] + in[op.In[0].Width+k%op.In[1].Width]
	case format.Mul:
		return in[k%op.In[0].Width] * in[op.In[0].Width+k%op.In[1].Width]
	case format.Minimum, format.Maximum:
		return max(in[k%op.In[0].Width], in[op.In[0].Width+k%op.In[1].Width])
	case format.Clip:
		return max(abs(op.Params[0]), abs(op.Params[1]))
	case format.Sigmoid, format.Tanh, format.Softmax, format.Less, format.Equal, format.HardSigmoid, format.Softsign, format.Erf:
		return 1
	case format.Lowest, format.Highest:
		n := int(op.Dims[0])
		return slices.Max(in[k*n:][:n])
	case format.Normalise:
		return float32(math.Sqrt(float64(op.Dims[0])))
	case format.Exp:
		return float32(math.Exp(float64(in[k])))
	case format.Select:
		a, b := op.In[0].Width, op.In[0].Width+op.In[1].Width
		return max(in[a+k%op.In[1].Width], in[b+k%op.In[2].Width])
	case format.Sum, format.Product:
		n := int(op.Dims[0])
		return combined(op.Kind, in[k*n:][:n])
	case format.MatMul:
		return op.boundProduct(k, in)
	case format.LSTM, format.GRU, format.RNN:
		return op.boundCell(k, in)
	}
	return unbounded
}

func combined(kind format.Kind, in []float32) float32 {
	out := in[0]
	for _, v := range in[1:] {
		if kind == format.Sum {
			out += v
		} else {
			out *= v
		}
	}
	return out
}

// boundProduct is bound for batches of a product of two matrices.
func (op *Op) boundProduct(k int, in []float32) (sum float32) {
	m, inner, n := int(op.Dims[1]), int(op.Dims[2]), int(op.Dims[3])
	batch, row, col := k/(m*n), k%(m*n)/n, k%n
	a, b := in[(batch*m+row)*inner:], in[op.In[0].Width+batch*inner*n+col:]
	for i := range inner {
		sum += float32(a[i] * b[i*n])
	}
	return sum
}

// boundCell is bound for a recurrent operation. What an LSTM or RNN puts out does not depend on how large the states were before; what a GRU
// does lies between those and its candidate.
func (op *Op) boundCell(k int, in []float32) float32 {
	switch {
	case op.Flags&format.FlagCell != 0 && k >= op.Out.Width-op.Hidden:
		if op.CellClip != 0 {
			return abs(op.CellClip)
		}
		return unbounded
	case !op.contained():
		return unbounded
	case op.Kind == format.GRU && len(op.In) > 1:
		return max(1, in[op.In[0].Width+k%op.Hidden])
	case op.Kind == format.GRU:
		return op.unit(k % op.Hidden)
	}
	return 1
}

// boundRow is that of a row of a dense operation.
func (op *Op) boundRow(r int, in []float32) float32 {
	var sum float32
	if op.B != nil {
		sum = abs(op.B[r])
	}
	for c, m := range in {
		sum += float32(abs(op.W[r*len(in)+c]) * m)
	}
	return sum
}

func abs(v float32) float32 { return max(v, -v) }
