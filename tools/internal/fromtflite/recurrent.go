package fromtflite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// Recurrent layers work on x, [time, batch, channels] here.

// steps reports whether the session steps through time, so that a run of the model is several steps.
func (e *env) steps() bool { return slices.Contains(e.roles, lower.Time) }

// streams reports whether the session steps through the time of x, so that a cell keeps its state by itself.
func (e *env) streams(x *lower.Tensor) bool {
	spans := x.Layout()[0]
	switch {
	case len(spans) == 1 && spans[0].Role == lower.Time:
		return true
	case len(spans) > 0:
		return false
	case e.steps():
		return len(x.Layout()[1]) == 0 || x.Layout()[1][0].Role == lower.Batch
	}
	return slices.Contains(e.roles, lower.Batch)
}

// batch is the number of sequences in a call that differ.
func batch(x *lower.Tensor) (int64, error) {
	for _, s := range x.Layout()[1] {
		if s.Role == lower.Batch {
			return 1, nil
		}
	}
	n, fixed := x.Shape()[1].Const()
	if !fixed || n < 1 {
		return 0, unsupported("a batch of %v", x.Shape()[1])
	}
	return n, nil
}

// swap exchanges batch and time.
func (c *call) swap(t *lower.Tensor) (*lower.Tensor, error) {
	if t.Rank() != 3 {
		return nil, fmt.Errorf("a sequence of %d dimensions, not 3", t.Rank())
	}
	return c.tr.Transpose(t, []int64{1, 0, 2})
}

// sequence is the input as [time, batch, channels].
func (c *call) sequence(timeMajor bool) (*lower.Tensor, error) {
	if timeMajor && c.in[0].Rank() == 3 {
		return c.in[0], nil
	}
	return c.swap(c.in[0])
}

// ordered is the inverse of sequence.
func (c *call) ordered(t *lower.Tensor, err error, timeMajor bool) (*lower.Tensor, error) {
	if err != nil || timeMajor {
		return t, err
	}
	return c.swap(t)
}

// kept is the variable tensor that is an input, to be used by this operator alone if own.
func (c *call) kept(i int) (v *variable, own bool, err error) {
	if i >= len(c.Inputs) || c.Inputs[i] < 0 {
		return nil, false, fmt.Errorf("state %d is missing", i)
	}
	t := c.tensor(i)
	if !t.Variable {
		return nil, false, unsupported("a state that is no variable")
	}
	return c.variable(t), c.uses[t] == 1 && c.depth == 0, nil
}

// layer is a recurrent layer in one direction: a cell that the runtime has or, if it is nil, a step of single operations.
type layer struct {
	cell    *quant.Op
	step    func(x *lower.Tensor, state []*lower.Tensor) (y *lower.Tensor, next []*lower.Tensor, err error)
	states  []*variable
	widths  []int64 // of the states
	own     bool    // nothing else uses the states
	reverse bool
}

// runLayer returns the outputs of all steps, [time, batch, units].
func (c *call) runLayer(l *layer, x *lower.Tensor) (*lower.Tensor, error) {
	if x.Rank() != 3 {
		return nil, fmt.Errorf("a sequence of %d dimensions, not 3", x.Rank())
	}
	streams := c.streams(x)
	if streams && (l.reverse || !l.own) {
		return nil, unsupported("a layer that runs backwards, or shares its state, in a stream")
	}
	if l.cell == nil {
		return c.stepped(l, x, streams)
	}
	if l.reverse {
		l.cell.Flags |= format.FlagReverse
	}
	if streams {
		c.keeps = true
		y, _, err := c.tr.Recurrent(x, []quant.Op{*l.cell}, lower.Initial{})
		return c.oneWay(y, err)
	}
	return c.unfolded(l, x)
}

// oneWay leaves the axis of directions out.
func (c *call) oneWay(y *lower.Tensor, err error) (*lower.Tensor, error) {
	if err != nil {
		return nil, err
	}
	return c.tr.Squeeze(y, []int64{1})
}

// unfolded runs all steps in one call, from the states and into them.
func (c *call) unfolded(l *layer, x *lower.Tensor) (*lower.Tensor, error) {
	states, err := c.begin(l, x)
	if err != nil {
		return nil, err
	}
	for i, t := range states {
		if states[i], err = c.tr.Unsqueeze(t, []int64{0}); err != nil {
			return nil, err
		}
	}
	o := lower.Initial{H: states[0]}
	if len(states) > 1 {
		o.C, o.Cell = states[1], true
	}
	y, last, err := c.tr.Recurrent(x, []quant.Op{*l.cell}, o)
	if err != nil {
		return nil, err
	}
	for i, t := range []*lower.Tensor{last.H, last.C}[:len(states)] {
		if l.states[i].now, err = c.tr.Squeeze(t, []int64{0}); err != nil {
			return nil, err
		}
	}
	return c.oneWay(y, nil)
}

// begin are the states as a layer finds them, [batch, width].
func (c *call) begin(l *layer, x *lower.Tensor) ([]*lower.Tensor, error) {
	n, err := batch(x)
	if err != nil {
		return nil, err
	}
	var out []*lower.Tensor
	for i, v := range l.states {
		t, err := c.read(v, []int64{n, l.widths[i]})
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// stepped writes the steps out; one for all where the session steps.
func (c *call) stepped(l *layer, x *lower.Tensor, streams bool) (*lower.Tensor, error) {
	states, err := c.begin(l, x)
	if err != nil {
		return nil, err
	}
	if streams {
		y, next, err := l.step(x, states)
		for i := range next {
			l.states[i].now = next[i]
		}
		return y, err
	}
	n, fixed := x.Shape()[0].Const()
	if !fixed || n < 1 || n > maxTurns {
		return nil, unsupported("a recurrent layer written out for %v steps", x.Shape()[0])
	}
	out := make([]*lower.Tensor, n)
	for k := range n {
		t := k
		if l.reverse {
			t = n - 1 - k
		}
		xt, err := c.tr.Slice(x, 0, lower.Int(t), lower.Int(t+1), lower.Int(1))
		if err != nil {
			return nil, err
		}
		if out[t], states, err = l.step(xt, states); err != nil {
			return nil, err
		}
	}
	for i, t := range states {
		l.states[i].now = t
	}
	return c.tr.Concat(out, 0)
}

// matrix is a weight of [rows, columns]; 0 rows or columns are any number.
func (c *call) matrix(i, rows, cols int) (w []float32, r, k int, err error) {
	dims, w, err := c.numbers(i)
	switch {
	case err != nil || w == nil:
		return nil, 0, 0, err
	case len(dims) != 2 || rows > 0 && dims[0] != rows || cols > 0 && dims[1] != cols || len(w) == 0:
		return nil, 0, 0, fmt.Errorf("weights %d of shape %v, want %d by %d", i, dims, rows, cols)
	}
	return w, dims[0], dims[1], nil
}

// activations are those that a cell can have in place of tanh.
var activations = map[tflite.Activation]kernels.Activation{tflite.None: kernels.ActAffine, tflite.Relu: kernels.ActReLU, tflite.Tanh: kernels.ActTanh}

// functions are the activations of a cell with their parameters.
func functions(acts ...kernels.Activation) ([]kernels.Activation, []float32) {
	params := []float32{0}
	for range acts {
		params = append(params, 1, 0)
	}
	return acts, params
}

// Recurrent networks without gates: h = f(W x + U h + b).

func rnn(c *call) ([]*lower.Tensor, error) {
	x, err := c.tr.Unsqueeze(c.in[0], []int64{0})
	if err != nil {
		return nil, err
	}
	y, err := c.plain(x, rnnInputs{1, 2, 3, 4}, options[tflite.RNNOptions](c).Activation, false)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Squeeze(y, []int64{0}))
}

func sequenceRNN(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.SequenceRNNOptions](c)
	x, err := c.sequence(o.TimeMajor)
	if err != nil {
		return nil, err
	}
	y, err := c.plain(x, rnnInputs{1, 2, 3, 4}, o.Activation, false)
	return one(c.ordered(y, err, o.TimeMajor))
}

func bidirectionalRNN(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.BidirectionalRNNOptions](c)
	if err := c.without(9, 10, 11); err != nil {
		return nil, err
	}
	x, err := c.sequence(o.TimeMajor)
	if err != nil {
		return nil, err
	}
	fw, err := c.plain(x, rnnInputs{1, 2, 3, 4}, o.Activation, false)
	if err != nil {
		return nil, err
	}
	bw, err := c.plain(x, rnnInputs{5, 6, 7, 8}, o.Activation, true)
	if err != nil {
		return nil, err
	}
	return c.directions(fw, bw, o.TimeMajor, o.Merge)
}

// without refuses inputs that are given.
func (c *call) without(inputs ...int) error {
	for _, i := range inputs {
		if i < len(c.Inputs) && c.Inputs[i] >= 0 {
			return unsupported("input %d, of a stacked two-way layer", i)
		}
	}
	return nil
}

// directions are the outputs of a two-way layer, side by side if they are merged.
func (c *call) directions(fw, bw *lower.Tensor, timeMajor, merge bool) ([]*lower.Tensor, error) {
	fw, err := c.ordered(fw, nil, timeMajor)
	if err != nil {
		return nil, err
	}
	if bw, err = c.ordered(bw, nil, timeMajor); err != nil {
		return nil, err
	}
	if merge {
		return one(c.tr.Concat([]*lower.Tensor{fw, bw}, 2))
	}
	return []*lower.Tensor{fw, bw}, nil
}

// rnnInputs says which inputs are the parts of a layer.
type rnnInputs struct{ w, u, bias, state int }

func (c *call) plain(x *lower.Tensor, in rnnInputs, a tflite.Activation, reverse bool) (*lower.Tensor, error) {
	w, units, inputs, err := c.matrix(in.w, 0, 0)
	if err != nil {
		return nil, err
	}
	u, _, _, err := c.matrix(in.u, units, units)
	if err != nil {
		return nil, err
	}
	if w == nil || u == nil {
		return nil, errors.New("weights are missing")
	}
	bias, err := c.vector(in.bias, units)
	if err != nil {
		return nil, err
	}
	v, own, err := c.kept(in.state)
	if err != nil {
		return nil, err
	}
	if n := x.Shape(); len(n) != 3 || !n[2].Equal(lower.Int(int64(inputs))) {
		return nil, fmt.Errorf("an input of shape %v for weights of %d columns", n, inputs)
	}
	l := &layer{states: []*variable{v}, widths: []int64{int64(units)}, own: own, reverse: reverse}
	if act, ok := activations[a]; ok {
		l.cell = &quant.Op{Kind: format.RNN, Hidden: units, W: w, U: u, B: bias}
		switch act {
		case kernels.ActTanh:
		case kernels.ActReLU:
			l.cell.Flags = format.FlagReLU
		default:
			l.cell.Acts, l.cell.ActParams = functions(act)
		}
	} else {
		l.step = func(x *lower.Tensor, state []*lower.Tensor) (*lower.Tensor, []*lower.Tensor, error) {
			return c.plainStep(x, state[0], w, u, bias, units, a)
		}
	}
	return c.runLayer(l, x)
}

func (c *call) plainStep(x, h *lower.Tensor, w, u, bias []float32, units int, a tflite.Activation) (*lower.Tensor, []*lower.Tensor, error) {
	z, err := c.tr.Dense(x, w, units, bias)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.tr.Dense(h, u, units, nil)
	if err == nil {
		z, err = c.tr.Binary(lower.Add, z, r)
	}
	if err == nil {
		z, err = c.activated(z, a)
	}
	return z, []*lower.Tensor{z}, err
}

// svdf is one step of a layer whose filters see what they made of the last steps: y = f(sum of the filters of a unit, each the product of its
// weights over time with its memory, + b). The inputs are x, weights [filters, channels], weights over time [filters, steps], bias, memory.
func svdf(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.SVDFOptions](c)
	w, filters, _, err := c.matrix(1, 0, 0)
	if err != nil {
		return nil, err
	}
	overTime, _, steps, err := c.matrix(2, filters, 0)
	switch {
	case err != nil:
		return nil, err
	case w == nil || overTime == nil:
		return nil, errors.New("weights are missing")
	case o.Rank < 1 || filters%int(o.Rank) != 0:
		return nil, fmt.Errorf("%d filters of rank %d", filters, o.Rank)
	case c.in[0].Rank() != 2:
		return nil, fmt.Errorf("an input of %d dimensions, not 2", c.in[0].Rank())
	case c.steps():
		return nil, unsupported("a layer of one step a run where the session steps through time")
	}
	units := filters / int(o.Rank)
	bias, err := c.vector(3, units)
	if err != nil {
		return nil, err
	}
	memory, err := c.memory(w, filters, steps)
	if err != nil {
		return nil, err
	}
	weights, err := c.tr.Floats([]int64{int64(filters), int64(steps)}, overTime)
	if err != nil {
		return nil, err
	}
	h := c.from(memory).op(lower.Mul, weights).sum().reshape(-1, int64(units), int64(o.Rank)).sum()
	if bias != nil {
		h.scale(slices.Repeat([]float32{1}, units), bias)
	}
	return h.activate(o.Activation).done()
}

// memory drops what the filters made of the oldest step, and adds what they make of the new one: [batch, filters, steps].
func (c *call) memory(w []float32, filters, steps int) (*lower.Tensor, error) {
	v, _, err := c.kept(4)
	if err != nil {
		return nil, err
	}
	x, err := c.tr.Unsqueeze(c.in[0], []int64{0})
	if err != nil {
		return nil, err
	}
	rows, err := batch(x)
	if err != nil {
		return nil, err
	}
	old, err := c.read(v, []int64{rows, int64(filters), int64(steps)})
	if err != nil {
		return nil, err
	}
	if old, err = c.tr.Slice(old, 2, lower.Int(1), lower.Int(int64(steps)), lower.Int(1)); err != nil {
		return nil, err
	}
	now := c.from(c.in[0]).dense(w, filters, nil)
	if now.err != nil {
		return nil, now.err
	}
	fresh, err := c.tr.Unsqueeze(now.t, []int64{2})
	if err != nil {
		return nil, err
	}
	v.now, err = c.tr.Concat([]*lower.Tensor{old, fresh}, 2)
	return v.now, err
}
