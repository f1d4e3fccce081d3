package fromtorch

import (
	"fmt"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/weights"
)

// cell is a kind of recurrent layer. order says which block of PyTorch's weights each of our gates is.
type cell struct {
	kind  format.Kind
	order []int
}

// PyTorch has the gates i f g o and r z n, we i f g o and z r n.
var cells = map[string]cell{"lstm": {format.LSTM, []int{0, 1, 2, 3}}, "gru": {format.GRU, []int{1, 0, 2}}, "rnn": {format.RNN, []int{0}}}

// names are those of one direction's tensors.
type names struct{ wi, wh, bi, bh, projection string }

// cellNames are the names of nn.LSTM and its like, or of nn.LSTMCell, which has one level and no suffix.
func cellNames(tensors map[string]*weights.Tensor, prefix string, level int, direction string) names {
	suffix := fmt.Sprintf("_l%d%s", level, direction)
	if level == 0 && direction == "" && tensors[prefix+"weight_ih"] != nil {
		suffix = ""
	}
	return names{prefix + "weight_ih" + suffix, prefix + "weight_hh" + suffix, prefix + "bias_ih" + suffix, prefix + "bias_hh" + suffix,
		prefix + "weight_hr" + suffix}
}

func (n *network) recurrent(l *Layer) (*lower.Tensor, error) {
	if err := n.timed(); err != nil {
		return nil, err
	}
	switch l.Output {
	case "", "steps", "final", "states":
	default:
		return nil, fmt.Errorf("output %q; there are steps, final and states", l.Output)
	}
	steps, final, err := n.x, (*lower.Tensor)(nil), error(nil)
	var states []*lower.Tensor
	for level := 0; level == 0 || n.tensors[cellNames(n.tensors, l.prefix(), level, "").wi] != nil; level++ {
		ops, err := n.level(l, level, steps)
		if err != nil {
			return nil, err
		}
		if steps, final, err = n.tr.Layer(steps, ops); err != nil {
			return nil, err
		}
		states = append(states, final)
	}
	switch l.Output {
	case "final":
		return final, err
	case "states":
		return n.tr.Concat(states, 1)
	}
	return steps, err
}

// level returns the cells of one level, of one or both directions.
func (n *network) level(l *Layer, level int, x *lower.Tensor) ([]quant.Op, error) {
	width, _ := x.Shape()[2].Const()
	forward, err := n.cell(l, cellNames(n.tensors, l.prefix(), level, ""), int(width))
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%sl%d", l.prefix(), level)
	if err := n.tr.At(name); err != nil {
		return nil, err
	}
	back := cellNames(n.tensors, l.prefix(), level, "_reverse")
	if n.tensors[back.wi] == nil {
		return []quant.Op{forward}, nil
	}
	backward, err := n.cell(l, back, int(width))
	if err == nil && backward.Hidden != forward.Hidden {
		err = fmt.Errorf("%d units forward, %d backward", forward.Hidden, backward.Hidden)
	}
	backward.Flags |= format.FlagReverse
	return []quant.Op{forward, backward}, err
}

func (n *network) cell(l *Layer, name names, width int) (op quant.Op, err error) {
	c := cells[l.Type]
	if n.tensors[name.projection] != nil {
		return op, unsupported("projections (proj_size) are not supported")
	}
	wh, err := n.get(l, name.wh, 2)
	if err != nil {
		return op, err
	}
	hidden, gates := wh.Shape[1], len(c.order)
	if wh.Shape[0] != gates*hidden {
		return op, fmt.Errorf("%q has shape %v; a %s has %d rows for each of its %d units", name.wh, wh.Shape, l.Type, gates, hidden)
	}
	w, err := n.matrix(l, name.wi, gates*hidden, width)
	if err != nil {
		return op, err
	}
	op = quant.Op{Kind: c.kind, Hidden: hidden, W: lower.Blocks(w, hidden*width, c.order), U: lower.Blocks(wh.Floats(), hidden*hidden, c.order)}
	switch l.Nonlinearity {
	case "", "tanh":
	case "relu":
		op.Flags |= format.FlagReLU
	default:
		return op, unsupported("nonlinearity %q is not supported", l.Nonlinearity)
	}
	if n.tensors[name.bi] == nil && n.tensors[name.bh] == nil {
		return op, nil
	}
	return op, n.bias(&op, l, name, c)
}

// The hidden-side bias of a GRU's n gate is multiplied by the reset gate, so it stays apart.
func (n *network) bias(op *quant.Op, l *Layer, name names, c cell) error {
	rows := len(c.order) * op.Hidden
	bi, err := n.vector(l, name.bi, rows)
	if err != nil {
		return err
	}
	bh, err := n.vector(l, name.bh, rows)
	if err != nil {
		return err
	}
	bi, bh = lower.Blocks(bi, op.Hidden, c.order), lower.Blocks(bh, op.Hidden, c.order)
	sums := rows
	if c.kind == format.GRU {
		sums = 2 * op.Hidden
		op.BH = append(make([]float32, sums), bh[sums:]...)
	}
	for i := range sums {
		bi[i] += bh[i]
	}
	op.B = bi
	return nil
}
