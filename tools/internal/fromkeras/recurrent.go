package fromkeras

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

var kinds = map[string]format.Kind{"LSTM": format.LSTM, "GRU": format.GRU, "SimpleRNN": format.RNN,
	"LSTMCell": format.LSTM, "GRUCell": format.GRU, "SimpleRNNCell": format.RNN, "CuDNNLSTM": format.LSTM, "CuDNNGRU": format.GRU}

func (u *use) alone() ([]value, error) { return nil, unsupported("a cell outside of an RNN layer") }

func (u *use) recurrent() ([]value, error) {
	out, err := u.sweep(u.layer, u.in[1:], u.config.GoBackwards)
	if err != nil {
		return nil, err
	}
	return out.values(&u.config, u.in[0].keep), nil
}

// swept is what one direction of a recurrent layer gives.
type swept struct {
	y      *lower.Tensor   // [batch, time, units], or the last of them where the steps are not wanted
	states []*lower.Tensor // [batch, units], of every cell the hidden state and that of an LSTM
}

// values are the outputs as Keras lists them.
func (s *swept) values(c *config, keep *lower.Tensor) []value {
	out := []value{{t: s.y}}
	if c.ReturnSequences {
		out[0].keep = keep
	}
	if c.ReturnState {
		for _, t := range s.states {
			out = append(out, value{t: t})
		}
	}
	return out
}

// cells lists the cells of a recurrent layer, each of which reads what the one before gives.
func cells(l *layer) ([]*layer, error) {
	if l.class != "RNN" {
		return []*layer{l}, nil
	}
	inner := l.parts[0]
	list := []*layer{inner}
	if inner.class == "StackedRNNCells" {
		if inner.config.ReverseStateOrder {
			return nil, unsupported("reverse_state_order is not supported")
		}
		list = inner.parts
	}
	for _, c := range list {
		if _, ok := kinds[c.class]; !ok {
			return nil, unsupported("the cell %s is not supported", c.class)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("it has no cells")
	}
	return list, nil
}

// sweep runs the cells of a layer over the first input, in the order of time or backwards. The steps that it returns are in the order in
// which Keras does unless flipped is set.
func (u *use) sweep(l *layer, initial []value, flipped bool) (*swept, error) {
	c := &l.config
	x := u.in[0]
	switch _, known := kinds[l.class]; {
	case !known && l.class != "RNN":
		return nil, unsupported("%s is not supported in two directions", l.class)
	case x.t.Rank() != 3:
		return nil, fmt.Errorf("an input of %d dimensions, not [batch, time, channels]", x.t.Rank())
	case c.TimeMajor || c.ZeroOutputForMask && x.keep != nil && !c.ReturnSequences:
		return nil, unsupported("time_major, and zero_output_for_mask without return_sequences, are not supported")
	case c.Stateful && c.GoBackwards && u.timed:
		return nil, unsupported("a stateful layer that runs backwards")
	}
	list, err := cells(l)
	if err != nil {
		return nil, err
	}
	out := &swept{y: x.t}
	for _, cell := range list {
		p := pass{use: u, layer: c, x: out.y, keep: x.keep}
		if p.op, err = u.cell(cell, p.x); err != nil {
			return nil, err
		}
		if initial, err = p.begin(initial); err != nil {
			return nil, err
		}
		if err := p.run(); err != nil {
			return nil, err
		}
		out.y = p.y
		out.states = append(out.states, p.h)
		if p.c != nil {
			out.states = append(out.states, p.c)
		}
		if !c.ReturnSequences && cell == list[len(list)-1] {
			out.y = p.h
		}
	}
	if len(initial) > 0 {
		return nil, fmt.Errorf("%d initial states too many", len(initial))
	}
	if c.ReturnSequences && c.ZeroOutputForMask && x.keep != nil {
		if out.y, err = u.masked(out.y, x.keep); err != nil {
			return nil, err
		}
	}
	if c.ReturnSequences && flipped {
		out.y, err = u.flip(out.y)
	}
	return out, err
}

// masked makes steps zero that do not count.
func (u *use) masked(y, keep *lower.Tensor) (*lower.Tensor, error) {
	keep, err := u.tr.Unsqueeze(keep, []int64{2})
	if err != nil {
		return nil, err
	}
	return u.tr.Binary(lower.Mul, y, keep)
}

// flip reverses time.
func (u *use) flip(x *lower.Tensor) (*lower.Tensor, error) {
	n := x.Shape()[1]
	if _, fixed := n.Const(); !fixed || x.Layout()[1] != nil && x.Layout()[1][0].Role == lower.Time {
		return nil, unsupported("steps that are given in the reverse order of time")
	}
	k, _ := n.Const()
	return u.tr.Slice(x, 1, lower.Int(k-1), lower.Int(-k-1), lower.Int(-1))
}

// pass is one cell that runs over time.
type pass struct {
	*use
	layer   *config
	op      quant.Op
	x, keep *lower.Tensor // [batch, time, channels], and [batch, time] or nil
	h0, c0  *lower.Tensor // [1, batch, units], or nil
	y       *lower.Tensor // [batch, time, units]
	h, c    *lower.Tensor // the final states, [batch, units]
}

// begin takes the initial states of the cell, and returns those of the cells that follow.
func (p *pass) begin(initial []value) ([]value, error) {
	for _, s := range p.slots() {
		if len(initial) == 0 {
			continue
		}
		t := initial[0].t
		initial = initial[1:]
		if t.Rank() != 2 || !t.Shape()[1].Equal(lower.Int(int64(p.op.Hidden))) {
			return nil, fmt.Errorf("an initial state of shape %v for %d units", t.Shape(), p.op.Hidden)
		}
		if p.layer.Stateful {
			return nil, unsupported("an initial state of a stateful layer")
		}
		var err error
		if *s, err = p.tr.Unsqueeze(t, []int64{0}); err != nil {
			return nil, err
		}
	}
	return initial, nil
}

func (p *pass) slots() []**lower.Tensor {
	if p.op.Kind == format.LSTM {
		return []**lower.Tensor{&p.h0, &p.c0}
	}
	return []**lower.Tensor{&p.h0}
}

// streams reports whether the session steps through the time of the input, and so keeps the state.
func (p *pass) streams() bool {
	a := p.x.Layout()[1]
	return p.timed && (len(a) == 0 || a[0].Role == lower.Time)
}

func (p *pass) run() error {
	if p.layer.GoBackwards {
		p.op.Flags |= format.FlagReverse
	}
	keeps := p.layer.Stateful && !p.streams()
	if keeps || p.keep != nil && p.streams() {
		for _, s := range p.slots() {
			if *s != nil {
				return unsupported("masked steps from an initial state")
			}
			var err error
			if *s, err = p.tr.State([]int64{1, 1, int64(p.op.Hidden)}, nil); err != nil {
				return err
			}
		}
	}
	h0, c0 := p.h0, p.c0
	err := p.steps()
	if err != nil || !keeps {
		return err
	}
	if err := p.tr.Store(h0, p.h); err != nil || c0 == nil {
		return err
	}
	return p.tr.Store(c0, p.c)
}

func (p *pass) steps() error {
	switch {
	case p.keep == nil:
		return p.whole()
	case p.streams():
		return p.maskedStream()
	}
	return p.maskedSteps()
}

// initial is what the runtime starts from.
func (p *pass) initial() lower.Initial {
	return lower.Initial{H: p.h0, C: p.c0, Cell: p.op.Kind == format.LSTM && p.wantsCell()}
}

// wantsCell reports whether anything reads the state of an LSTM.
func (p *pass) wantsCell() bool {
	return p.layer.ReturnState || p.layer.Stateful && !p.streams() || p.keep != nil
}

// whole runs over all steps.
func (p *pass) whole() error {
	x, err := p.tr.Transpose(p.x, []int64{1, 0, 2})
	if err != nil {
		return err
	}
	y, last, err := p.tr.Recurrent(x, []quant.Op{p.op}, p.initial())
	if err != nil {
		return err
	}
	if p.y, err = p.tr.Squeeze(y, []int64{1}); err == nil {
		p.y, err = p.tr.Transpose(p.y, []int64{1, 0, 2})
	}
	if err == nil {
		p.h, err = p.tr.Squeeze(last.H, []int64{0})
	}
	if err == nil && last.C != nil {
		p.c, err = p.tr.Squeeze(last.C, []int64{0})
	}
	return err
}

// step runs a single step of x, [1, batch, channels], from the states so far; where keep, [1, batch, 1], is 0 these stay.
func (p *pass) step(x, keep *lower.Tensor) error {
	_, last, err := p.tr.Recurrent(x, []quant.Op{p.op}, p.initial())
	if err != nil {
		return err
	}
	next := []*lower.Tensor{last.H, last.C}
	for i, s := range p.slots() {
		if *s == nil {
			if *s, err = p.tr.Floats([]int64{1, 1, int64(p.op.Hidden)}, make([]float32, p.op.Hidden)); err != nil {
				return err
			}
		}
		if *s, err = p.tr.Select(keep, next[i], *s); err != nil {
			return err
		}
	}
	return nil
}

// maskedStream holds the state of the session at masked steps. The batch of each step is the time of the network.
func (p *pass) maskedStream() error {
	if p.layer.GoBackwards {
		return unsupported("masked steps backwards")
	}
	keep, err := p.tr.Unsqueeze(p.keep, []int64{2})
	if err != nil {
		return err
	}
	h0, c0 := p.h0, p.c0
	if err := p.step(p.x, keep); err != nil {
		return err
	}
	p.y = p.h0
	if err := p.tr.Store(h0, p.h0); err != nil {
		return err
	}
	if c0 != nil {
		if err := p.tr.Store(c0, p.c0); err != nil {
			return err
		}
		if p.c, err = p.last(p.c0); err != nil {
			return err
		}
	}
	p.h, err = p.last(p.y)
	return err
}

// last is the last step of [batch, time, units].
func (p *pass) last(y *lower.Tensor) (*lower.Tensor, error) {
	t, err := p.tr.Slice(y, 1, lower.Int(-1), lower.Int(1<<31-1), lower.Int(1))
	if err != nil {
		return nil, err
	}
	return p.tr.Squeeze(t, []int64{1})
}

// maskedSteps writes every step out, since which of them count is not known when the model is converted.
func (p *pass) maskedSteps() error {
	n, err := size(p.x, 1)
	if err != nil {
		return err
	}
	p.op.Flags &^= format.FlagReverse
	all := make([]*lower.Tensor, n)
	for i := range n {
		t := i
		if p.layer.GoBackwards {
			t = n - 1 - i
		}
		x, err := p.tr.Slice(p.x, 1, lower.Int(int64(t)), lower.Int(int64(t+1)), lower.Int(1))
		if err == nil {
			x, err = p.tr.Transpose(x, []int64{1, 0, 2})
		}
		if err != nil {
			return err
		}
		keep, err := p.tr.Slice(p.keep, 1, lower.Int(int64(t)), lower.Int(int64(t+1)), lower.Int(1))
		if err == nil {
			keep, err = p.tr.Transpose(keep, []int64{1, 0})
		}
		if err == nil {
			keep, err = p.tr.Unsqueeze(keep, []int64{2})
		}
		if err != nil {
			return err
		}
		if err := p.step(x, keep); err != nil {
			return err
		}
		all[t] = p.h0
	}
	if p.y, err = p.tr.Concat(all, 0); err == nil {
		p.y, err = p.tr.Transpose(p.y, []int64{1, 0, 2})
	}
	if err == nil {
		p.h, err = p.tr.Squeeze(p.h0, []int64{0})
	}
	if err == nil && p.c0 != nil {
		p.c, err = p.tr.Squeeze(p.c0, []int64{0})
	}
	return err
}

func (u *use) bidirectional() ([]value, error) {
	forward, backward := u.parts[0], u.parts[1]
	initial := u.in[1:]
	c := &forward.config
	if len(initial)%2 != 0 || c.ReturnSequences != backward.config.ReturnSequences || c.GoBackwards == backward.config.GoBackwards {
		return nil, unsupported("directions that differ are not supported")
	}
	if u.in[0].keep != nil && c.ReturnSequences {
		if u.holds() {
			return nil, unsupported("masked steps in two directions, which this version of Keras does not make zero")
		}
		forward.config.ZeroOutputForMask, backward.config.ZeroOutputForMask = true, true
	}
	f, err := u.sweep(forward, initial[:len(initial)/2], c.GoBackwards)
	if err != nil {
		return nil, err
	}
	b, err := u.sweep(backward, initial[len(initial)/2:], !backward.config.GoBackwards)
	if err != nil {
		return nil, err
	}
	if u.config.MergeMode == nil {
		fs, bs := f.values(c, u.in[0].keep), b.values(c, u.in[0].keep)
		return slices.Concat(fs[:1], bs[:1], fs[1:], bs[1:]), nil
	}
	y, err := u.merge(*u.config.MergeMode, f.y, b.y)
	if err != nil {
		return nil, err
	}
	both := swept{y, append(f.states, b.states...)}
	return both.values(c, u.in[0].keep), nil
}

// holds reports whether the version of Keras is one of its own before 2.4, not TensorFlow's, in which two-way layers repeat the output at
// masked steps.
func (n *network) holds() bool {
	major, minor := n.keras()
	return !strings.HasSuffix(n.version, "-tf") && (major < 2 || major == 2 && minor < 4)
}

// merge joins the outputs of two directions.
func (u *use) merge(mode string, f, b *lower.Tensor) (*lower.Tensor, error) {
	switch mode {
	case "concat":
		return u.tr.Concat([]*lower.Tensor{f, b}, f.Rank()-1)
	case "sum":
		return u.tr.Binary(lower.Add, f, b)
	case "mul":
		return u.tr.Binary(lower.Mul, f, b)
	case "ave":
		y, err := u.tr.Binary(lower.Add, f, b)
		return u.times(y, 0.5, err)
	}
	return nil, unsupported("the merge_mode %q is not supported", mode)
}

// cell is a cell over x. The gates are i f c o and z r h, which is our order.
func (u *use) cell(l *layer, x *lower.Tensor) (op quant.Op, err error) {
	c := &l.config
	op = quant.Op{Kind: kinds[l.class], Hidden: c.Units}
	if c.Units < 1 || c.Units > maxUnits {
		return op, fmt.Errorf("%d units", c.Units)
	}
	in, err := size(x, 2)
	if err != nil {
		return op, err
	}
	if strings.HasPrefix(l.class, "CuDNN") {
		err := u.cuDNN(l, &op, in)
		return op, err
	}
	if err := u.functions(c, &op); err != nil {
		return op, err
	}
	rows := (&format.Op{Kind: op.Kind}).Gates() * c.Units
	after := op.Kind == format.GRU && c.ResetAfter
	if op.Kind == format.GRU && !after {
		op.Flags |= format.FlagResetBefore
	}
	shapes := [][]int{{in, rows}, {c.Units, rows}}
	switch {
	case flag(c.UseBias) && after:
		shapes = append(shapes, []int{2, rows})
	case flag(c.UseBias):
		shapes = append(shapes, []int{rows})
	}
	v, err := u.take(l, shapes...)
	if err != nil {
		return op, err
	}
	op.W, op.U = transpose(v[0], in, rows), transpose(v[1], c.Units, rows)
	if len(v) > 2 {
		op.B = v[2][:rows:rows]
	}
	if len(v) > 2 && after {
		op.B, op.BH = apart(v[2][:rows], v[2][rows:])
	}
	return op, nil
}

// apart are the two biases of a GRU that resets after the product, of which the reset gate multiplies one part only.
func apart(input, hidden []float32) (b, bh []float32) {
	b, bh = slices.Clone(input), slices.Clone(hidden)
	for i := range len(b) / 3 * 2 {
		b[i] += bh[i]
		bh[i] = 0
	}
	return b, bh
}

// cuDNN takes the weights of a layer for GPUs of Keras 2.1: for each gate a matrix of a row for each unit, whatever the shape says, and two
// biases.
func (u *use) cuDNN(l *layer, op *quant.Op, in int) error {
	h, gates := op.Hidden, (&format.Op{Kind: op.Kind}).Gates()
	rows := gates * h
	v, err := u.take(l, []int{in, rows}, []int{h, rows}, []int{2 * rows})
	if err != nil {
		return err
	}
	for g := range gates {
		for i := range in {
			op.W = append(op.W, v[0][i*rows+g*h:][:h]...)
		}
		for i := range h {
			op.U = append(op.U, v[1][i*rows+g*h:][:h]...)
		}
	}
	op.B, op.BH = v[2][:rows:rows], v[2][rows:]
	if op.Kind == format.GRU {
		op.B, op.BH = apart(op.B, op.BH)
		return nil
	}
	op.B = slices.Clone(op.B)
	for i, b := range op.BH {
		op.B[i] += b
	}
	op.BH = nil
	return nil
}

// functions sets the activations of a cell, unless they are the usual ones.
func (u *use) functions(c *config, op *quant.Op) error {
	out, err := u.cellFunction(&c.Activation)
	if err != nil {
		return err
	}
	all := []kernels.Function{out}
	usual := []kernels.Activation{kernels.ActTanh}
	if op.Kind != format.RNN {
		gate, err := u.cellFunction(&c.RecurrentActivation)
		if err != nil {
			return err
		}
		all, usual = []kernels.Function{gate, out}, []kernels.Activation{kernels.ActSigmoid, kernels.ActTanh}
	}
	if op.Kind == format.LSTM {
		all, usual = append(all, out), append(usual, kernels.ActTanh)
	}
	if op.Kind == format.RNN && out.Kind == kernels.ActReLU {
		op.Flags |= format.FlagReLU
		return nil
	}
	var acts []kernels.Activation
	params := []float32{0}
	for _, f := range all {
		acts = append(acts, f.Kind)
		params = append(params, f.Alpha, f.Beta)
	}
	if !slices.Equal(acts, usual) {
		op.Acts, op.ActParams = acts, params
	}
	return nil
}
