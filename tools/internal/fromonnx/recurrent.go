package fromonnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/kernels"
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
	lens       []int64   // of the sequences of the batch; nil if all have all steps
	acts       []kernels.Activation
	actParams  [][2]float32 // alpha and beta of each
	clip       float32
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
	if err := l.lengths(); err != nil {
		return nil, err
	}
	return l, l.weights()
}

// lengths reads sequence_lens, unless it says what is known anyway.
func (l *layer) lengths() error {
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
		return unsupported("the input sequence_lens is not known when the model is converted")
	}
	all := true
	for _, n := range v {
		all = all && n.Equal(l.in[0].Shape()[ax])
		k, fixed := n.Const()
		if !fixed && !all {
			return unsupported("the input sequence_lens is not known when the model is converted")
		}
		l.lens = append(l.lens, k)
	}
	if all {
		l.lens = nil
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

// activation is what ONNX calls a function of a cell, with the parameters that it has where none are given, and how many it takes.
type activation struct {
	kind        kernels.Activation
	alpha, beta float32
	takes       int
}

var activations = map[string]activation{
	"sigmoid": {kernels.ActSigmoid, 0, 0, 0}, "tanh": {kernels.ActTanh, 0, 0, 0}, "relu": {kernels.ActReLU, 0, 0, 0},
	"affine": {kernels.ActAffine, 1, 0, 2}, "leakyrelu": {kernels.ActLeakyReLU, 0.01, 0, 1}, "thresholdedrelu": {kernels.ActThresholdedReLU, 1, 0, 1},
	"scaledtanh": {kernels.ActScaledTanh, 1, 1, 2}, "hardsigmoid": {kernels.ActHardSigmoid, 0.2, 0.5, 2}, "elu": {kernels.ActELU, 1, 0, 1},
	"softsign": {kernels.ActSoftsign, 0, 0, 0}, "softplus": {kernels.ActSoftplus, 0, 0, 0},
}

// readActivations reads the functions of all directions, of which a cell has as many as usual names. The lists of alpha and beta hold a
// number for each function that takes one, in order.
func (l *layer) readActivations(usual ...string) error {
	names := slices.Repeat(usual, l.directions)
	if a := l.Attr("activations"); a != nil && len(a.Strings) > 0 {
		if len(a.Strings) != len(names) {
			return fmt.Errorf("%d activations for %d directions", len(a.Strings), l.directions)
		}
		names = a.Strings
	}
	var alpha, beta []float32
	if a := l.Attr("activation_alpha"); a != nil {
		alpha = a.Floats
	}
	if a := l.Attr("activation_beta"); a != nil {
		beta = a.Floats
	}
	next := func(from *[]float32, to *float32) {
		if len(*from) > 0 {
			*to, *from = (*from)[0], (*from)[1:]
		}
	}
	for _, name := range names {
		a, ok := activations[strings.ToLower(name)]
		if !ok {
			return unsupported("the activation %s is not supported", name)
		}
		if a.takes > 0 {
			next(&alpha, &a.alpha)
		}
		if a.takes > 1 {
			next(&beta, &a.beta)
		}
		l.acts = append(l.acts, a.kind)
		l.actParams = append(l.actParams, [2]float32{a.alpha, a.beta})
	}
	l.clip = l.float("clip", 0)
	if l.clip < 0 {
		return fmt.Errorf("clip is %v", l.clip)
	}
	return nil
}

// functions sets the activations of direction d, unless they are the usual ones and nothing else is unusual.
func (l *layer) functions(op *quant.Op, d int, usual []kernels.Activation) {
	n := len(usual)
	acts := l.acts[d*n : (d+1)*n]
	if op.Kind == format.RNN && acts[0] == kernels.ActReLU && l.clip == 0 {
		op.Flags |= format.FlagReLU
		return
	}
	if slices.Equal(acts, usual) && l.clip == 0 && op.Flags&format.FlagCoupled == 0 {
		return
	}
	op.Acts, op.ActParams = acts, []float32{l.clip}
	for _, p := range l.actParams[d*n : (d+1)*n] {
		op.ActParams = append(op.ActParams, p[0], p[1])
	}
}

// initial is the initial state of input i as [directions, batch, hidden], or nil.
func (l *layer) initial(i int) (*lower.Tensor, error) {
	t := l.arg(i)
	if t == nil {
		return nil, nil
	}
	if t.Rank() != 3 {
		return nil, fmt.Errorf("an initial state of %d dimensions", t.Rank())
	}
	if l.batchFirst {
		var err error
		if t, err = l.tr.Transpose(t, []int64{1, 0, 2}); err != nil {
			return nil, err
		}
	}
	dims := t.Shape()
	if !dims[0].Equal(lower.Int(int64(l.directions))) || !dims[2].Equal(lower.Int(int64(l.hidden))) {
		return nil, fmt.Errorf("an initial state of shape %v for %d directions of %d", dims, l.directions, l.hidden)
	}
	return t, nil
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
	o := lower.Initial{Lengths: l.lens, Cell: len(l.Outputs) > 2 && l.Outputs[2] != "" && l.used[l.Outputs[2]]}
	if o.H, err = l.initial(5); err != nil {
		return nil, err
	}
	if l.Op == "LSTM" {
		if o.C, err = l.initial(6); err != nil {
			return nil, err
		}
	}
	y, last, err := l.tr.Recurrent(x, cells, o)
	if err != nil {
		return nil, err
	}
	out := []*lower.Tensor{y, last.H, last.C}
	for i, t := range out {
		perm := []int64{1, 0, 2}
		if i == 0 {
			perm = []int64{2, 0, 1, 3}
		}
		if l.batchFirst && t != nil {
			if out[i], err = l.tr.Transpose(t, perm); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// The operator's gates are i o f c and its peepholes i o f; ours are i f g o (g is c) and i f o.
func lstm(c *call) ([]*lower.Tensor, error) {
	l, err := newLayer(c, 4)
	if err != nil {
		return nil, err
	}
	if err := l.readActivations("Sigmoid", "Tanh", "Tanh"); err != nil {
		return nil, err
	}
	peep, err := l.optional(7, 3*l.hidden)
	if err != nil {
		return nil, err
	}
	order := []int{0, 2, 3, 1}
	var cells []quant.Op
	for d := range l.directions {
		op := l.cell(format.LSTM, d, order)
		op.B = sum(l.biases(d, order))
		if peep != nil {
			op.Peep = lower.Blocks(peep[d*3*l.hidden:(d+1)*3*l.hidden], l.hidden, []int{0, 2, 1})
		}
		if c.int("input_forget", 0) != 0 {
			op.Flags |= format.FlagCoupled
		}
		l.functions(&op, d, []kernels.Activation{kernels.ActSigmoid, kernels.ActTanh, kernels.ActTanh})
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
	if err := l.readActivations("Sigmoid", "Tanh"); err != nil {
		return nil, err
	}
	order := []int{0, 1, 2}
	var cells []quant.Op
	for d := range l.directions {
		op := l.cell(format.GRU, d, order)
		input, hidden := l.biases(d, order)
		op.B = sum(input, hidden)
		if c.int("linear_before_reset", 0) == 0 {
			op.Flags |= format.FlagResetBefore
		} else if input != nil {
			n := 2 * l.hidden
			copy(op.B[n:], input[n:])
			op.BH = append(make([]float32, n), hidden[n:]...)
		}
		l.functions(&op, d, []kernels.Activation{kernels.ActSigmoid, kernels.ActTanh})
		cells = append(cells, op)
	}
	return l.emit(cells)
}

func rnn(c *call) ([]*lower.Tensor, error) {
	l, err := newLayer(c, 1)
	if err != nil {
		return nil, err
	}
	if err := l.readActivations("Tanh"); err != nil {
		return nil, err
	}
	var cells []quant.Op
	for d := range l.directions {
		op := l.cell(format.RNN, d, []int{0})
		op.B = sum(l.biases(d, []int{0}))
		l.functions(&op, d, []kernels.Activation{kernels.ActTanh})
		cells = append(cells, op)
	}
	return l.emit(cells)
}
