package fromonnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

const recurrentAttrs = "activations activation_alpha activation_beta clip direction hidden_size layout"

// layer is what LSTM, GRU and RNN nodes have in common.
type layer struct {
	*call
	gates      int
	directions int
	hidden     int
	inputs     int
	reversed   []bool
	batchFirst bool
	w, r       []float32 // [directions, gates*hidden, inputs or hidden]
	b          []float32 // [directions, 2*gates*hidden], or nil
}

func newLayer(c *call, gates int) (*layer, error) {
	l := &layer{call: c, gates: gates, batchFirst: c.int("layout", 0) != 0}
	switch a := c.Attr("direction"); {
	case a == nil || a.S == "forward":
		l.reversed = []bool{false}
	case a.S == "reverse":
		l.reversed = []bool{true}
	case a.S == "bidirectional":
		l.reversed = []bool{false, true}
	default:
		return nil, fmt.Errorf("direction %q", a.S)
	}
	l.directions = len(l.reversed)
	if c.Attr("clip") != nil {
		return nil, unsupported("the attribute clip is not supported")
	}
	if err := l.sameLengths(); err != nil {
		return nil, err
	}
	return l, l.weights()
}

// sameLengths accepts sequence_lens only where it says what is known anyway.
func (l *layer) sameLengths() error {
	lens := l.arg(4)
	if lens == nil {
		return nil
	}
	ax := 0
	if l.batchFirst {
		ax = 1
	}
	v, err := l.tr.Known(lens)
	if err != nil || l.in[0].Rank() <= ax {
		return unsupported("the input sequence_lens is not supported")
	}
	for _, n := range v {
		if !n.Equal(l.in[0].Shape()[ax]) {
			return unsupported("the input sequence_lens is not supported")
		}
	}
	return nil
}

func (l *layer) weights() error {
	dw, w, err := l.tr.Numbers(l.in[1])
	if err != nil {
		return err
	}
	dr, r, err := l.tr.Numbers(l.in[2])
	if err != nil {
		return err
	}
	if len(dw) != 3 || len(dr) != 3 || dr[2] < 1 {
		return fmt.Errorf("weights of shape %v and %v", dw, dr)
	}
	l.hidden, l.inputs, l.w, l.r = dr[2], dw[2], w, r
	if a := l.Attr("hidden_size"); a != nil && a.I != int64(l.hidden) {
		return fmt.Errorf("hidden_size is %d, the weights have %d", a.I, l.hidden)
	}
	rows := l.gates * l.hidden
	if !slices.Equal(dr, []int{l.directions, rows, l.hidden}) || !slices.Equal(dw[:2], dr[:2]) {
		return fmt.Errorf("weights of shape %v and %v for %d directions and %d gates", dw, dr, l.directions, l.gates)
	}
	if x := l.in[0].Shape(); len(x) != 3 || !x[2].Equal(lower.Int(int64(l.inputs))) {
		return fmt.Errorf("an input of shape %v for weights of shape %v", x, dw)
	}
	l.b, err = l.optional(3, 2*rows)
	return err
}

// optional returns input i, of shape [directions, width], or nil.
func (l *layer) optional(i, width int) ([]float32, error) {
	t := l.arg(i)
	if t == nil {
		return nil, nil
	}
	dims, v, err := l.tr.Numbers(t)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(dims, []int{l.directions, width}) {
		return nil, fmt.Errorf("input %d has shape %v, not [%d %d]", i, dims, l.directions, width)
	}
	return v, nil
}

// activations checks that every direction uses want, and returns what the first of the list is in each.
func (l *layer) activations(want ...[]string) ([]string, error) {
	per := len(want)
	first := make([]string, l.directions)
	a := l.Attr("activations")
	if a == nil {
		for d := range first {
			first[d] = want[0][0]
		}
		return first, nil
	}
	if len(a.Strings) != per*l.directions {
		return nil, fmt.Errorf("%d activations for %d directions", len(a.Strings), l.directions)
	}
	for i, s := range a.Strings {
		if !slices.ContainsFunc(want[i%per], func(w string) bool { return strings.EqualFold(w, s) }) {
			return nil, unsupported("the activation %s is not supported", s)
		}
		if i%per == 0 {
			first[i/per] = s
		}
	}
	return first, nil
}

// initial returns the initial state of input i by direction, each [hidden]; nil if it is left out or zero. States of the sequences of
// a batch must be equal.
func (l *layer) initial(i int) ([][]float32, error) {
	out := make([][]float32, l.directions)
	t := l.arg(i)
	if t == nil {
		return out, nil
	}
	if t.Computed() {
		return nil, unsupported("an initial state that depends on the input")
	}
	sequence, direction := 1, 0
	if l.batchFirst {
		sequence, direction = 0, 1
	}
	if t.Rank() != 3 {
		return nil, fmt.Errorf("an initial state of %d dimensions", t.Rank())
	}
	t, ok := l.tr.Only(t, sequence)
	if !ok {
		return nil, unsupported("initial states that differ between the sequences of a batch")
	}
	dims, v, err := l.tr.Numbers(t)
	if err != nil {
		return nil, err
	}
	if dims[direction] != l.directions || dims[2] != l.hidden || dims[sequence] != 1 {
		return nil, fmt.Errorf("an initial state of shape %v for %d directions of %d", dims, l.directions, l.hidden)
	}
	for d := range out {
		part := v[d*l.hidden : (d+1)*l.hidden]
		if slices.ContainsFunc(part, func(v float32) bool { return v != 0 }) {
			out[d] = part
		}
	}
	return out, nil
}

// matrix returns the rows of direction d of m with the gates in the given order.
func (l *layer) matrix(m []float32, d, width int, order []int) []float32 {
	size := l.hidden * width
	return lower.Blocks(m[d*l.gates*size:(d+1)*l.gates*size], size, order)
}

// biases returns the input-side and hidden-side bias of direction d, with the gates in the given order; nil if there is none.
func (l *layer) biases(d int, order []int) (input, hidden []float32) {
	if l.b == nil {
		return nil, nil
	}
	rows := l.gates * l.hidden
	b := l.b[d*2*rows : (d+1)*2*rows]
	return lower.Blocks(b[:rows], l.hidden, order), lower.Blocks(b[rows:], l.hidden, order)
}

func sum(a, b []float32) []float32 {
	if a == nil {
		return nil
	}
	out := make([]float32, len(a))
	for i := range out {
		out[i] = a[i] + b[i]
	}
	return out
}

// cell is the part of direction d that does not depend on the kind of layer.
func (l *layer) cell(kind format.Kind, d int, order []int) quant.Op {
	op := quant.Op{Kind: kind, Hidden: l.hidden, W: l.matrix(l.w, d, l.inputs, order), U: l.matrix(l.r, d, l.hidden, order)}
	if l.reversed[d] {
		op.Flags |= format.FlagReverse
	}
	return op
}

// emit traces the cells and arranges their outputs as the node's layout wants.
func (l *layer) emit(cells []quant.Op) ([]*lower.Tensor, error) {
	x := l.in[0]
	var err error
	if l.batchFirst {
		if x, err = l.tr.Transpose(x, []int64{1, 0, 2}); err != nil {
			return nil, err
		}
	}
	y, last, err := l.tr.Recurrent(x, cells)
	if err != nil || !l.batchFirst {
		return []*lower.Tensor{y, last}, err
	}
	if y, err = l.tr.Transpose(y, []int64{2, 0, 1, 3}); err != nil {
		return nil, err
	}
	last, err = l.tr.Transpose(last, []int64{1, 0, 2})
	return []*lower.Tensor{y, last}, err
}

var (
	sigmoid = []string{"Sigmoid"}
	tanh    = []string{"Tanh"}
)

// The operator's gates are i o f c and its peepholes i o f; ours are i f g o (g is c) and i f o.
func lstm(c *call) ([]*lower.Tensor, error) {
	if c.int("input_forget", 0) != 0 {
		return nil, unsupported("the attribute input_forget is not supported")
	}
	l, err := newLayer(c, 4)
	if err != nil {
		return nil, err
	}
	if _, err := l.activations(sigmoid, tanh, tanh); err != nil {
		return nil, err
	}
	peep, err := l.optional(7, 3*l.hidden)
	if err != nil {
		return nil, err
	}
	h0, err := l.initial(5)
	if err != nil {
		return nil, err
	}
	c0, err := l.initial(6)
	if err != nil {
		return nil, err
	}
	order := []int{0, 2, 3, 1}
	var cells []quant.Op
	for d := range l.directions {
		op := l.cell(format.LSTM, d, order)
		op.B = sum(l.biases(d, order))
		op.H0, op.C0 = h0[d], c0[d]
		if peep != nil {
			op.Peep = lower.Blocks(peep[d*3*l.hidden:(d+1)*3*l.hidden], l.hidden, []int{0, 2, 1})
		}
		cells = append(cells, op)
	}
	return l.emit(cells)
}

// With linear_before_reset the hidden-side bias of the n gate is multiplied by the reset gate, so it stays apart.
func gru(c *call) ([]*lower.Tensor, error) {
	l, err := newLayer(c, 3)
	if err != nil {
		return nil, err
	}
	if _, err := l.activations(sigmoid, tanh); err != nil {
		return nil, err
	}
	h0, err := l.initial(5)
	if err != nil {
		return nil, err
	}
	order := []int{0, 1, 2}
	var cells []quant.Op
	for d := range l.directions {
		op := l.cell(format.GRU, d, order)
		input, hidden := l.biases(d, order)
		op.H0, op.B = h0[d], sum(input, hidden)
		if c.int("linear_before_reset", 0) == 0 {
			op.Flags |= format.FlagResetBefore
		} else if input != nil {
			n := 2 * l.hidden
			copy(op.B[n:], input[n:])
			op.BH = append(make([]float32, n), hidden[n:]...)
		}
		cells = append(cells, op)
	}
	return l.emit(cells)
}

func rnn(c *call) ([]*lower.Tensor, error) {
	l, err := newLayer(c, 1)
	if err != nil {
		return nil, err
	}
	activation, err := l.activations([]string{"Tanh", "Relu"})
	if err != nil {
		return nil, err
	}
	h0, err := l.initial(5)
	if err != nil {
		return nil, err
	}
	var cells []quant.Op
	for d := range l.directions {
		op := l.cell(format.RNN, d, []int{0})
		op.B = sum(l.biases(d, []int{0}))
		op.H0 = h0[d]
		if strings.EqualFold(activation[d], "Relu") {
			op.Flags |= format.FlagReLU
		}
		cells = append(cells, op)
	}
	return l.emit(cells)
}
