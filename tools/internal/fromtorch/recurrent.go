package fromtorch

import (
	"fmt"
	"slices"

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
	if !slices.Contains([]string{"", "steps", "final", "states", "cells"}, l.Output) || l.Output == "cells" && l.Type != "lstm" {
		return nil, fmt.Errorf("output %q; there are steps, final and states, and cells of an lstm", l.Output)
	}
	from, err := n.starts(l)
	if err != nil {
		return nil, err
	}
	y := layer{steps: n.x}
	var states []*lower.Tensor
	for level := 0; level == 0 || n.tensors[cellNames(n.tensors, l.prefix(), level, "").wi] != nil; level++ {
		if y, err = n.level(l, level, y.steps, &from); err != nil {
			return nil, err
		}
		if l.Output == "cells" {
			states = append(states, y.c)
		} else {
			states = append(states, y.h)
		}
	}
	if len(from.h)+len(from.c) > 0 {
		return nil, fmt.Errorf("initial states of more cells than there are")
	}
	switch l.Output {
	case "final":
		return y.h, nil
	case "states", "cells":
		return n.tr.Concat(states, 1)
	}
	return y.steps, nil
}

// layer is what one level computes, with the directions side by side: [time, 1, channels], and the final states, [1, channels]; c only
// where it is wanted.
type layer struct{ steps, h, c *lower.Tensor }

func (n *network) level(l *Layer, level int, x *lower.Tensor, from *starts) (y layer, err error) {
	name := cellNames(n.tensors, l.prefix(), level, "")
	if n.tensors[name.projection] != nil {
		return n.projected(l, level, x, from)
	}
	ops, err := n.cells(l, level, x)
	if err != nil {
		return y, err
	}
	if err := from.take(ops); err != nil {
		return y, err
	}
	steps, last, err := n.tr.Recurrent(x, ops, lower.Initial{Cell: l.Output == "cells"})
	if err != nil {
		return y, err
	}
	width := int64(len(ops) * ops[0].Hidden)
	if y.steps, err = n.beside(steps, []int64{0, 2, 1, 3}, steps.Shape()[0], lower.Int(1), lower.Int(width)); err != nil {
		return y, err
	}
	if y.h, err = n.beside(last.H, []int64{1, 0, 2}, lower.Int(1), lower.Int(width)); err != nil || last.C == nil {
		return y, err
	}
	y.c, err = n.beside(last.C, []int64{1, 0, 2}, lower.Int(1), lower.Int(width))
	return y, err
}

// beside puts directions side by side.
func (n *network) beside(x *lower.Tensor, order []int64, shape ...lower.Poly) (*lower.Tensor, error) {
	x, err := n.tr.Transpose(x, order)
	if err != nil {
		return nil, err
	}
	return n.tr.Reshape(x, shape, false)
}

// starts are the initial states that are left for the cells to come; empty ones are zero.
type starts struct{ h, c []float32 }

func (n *network) starts(l *Layer) (s starts, err error) {
	for _, x := range []struct {
		name string
		to   *[]float32
	}{{l.H0, &s.h}, {l.C0, &s.c}} {
		if x.name == "" {
			continue
		}
		t := n.tensors[x.name]
		if t == nil {
			return s, fmt.Errorf("there is no tensor %q", x.name)
		}
		if t, err = n.get(l, x.name, len(t.Shape)); err != nil {
			return s, err
		}
		*x.to = t.Floats()
	}
	return s, nil
}

// take gives each cell its part: they lie level by level, and in each direction by direction.
func (s *starts) take(ops []quant.Op) (err error) {
	for i := range ops {
		if ops[i].H0, err = next(&s.h, ops[i].Hidden); err != nil {
			return err
		}
		if ops[i].C0, err = next(&s.c, ops[i].Hidden); err != nil {
			return err
		}
	}
	return nil
}

// next takes the first of the states that are left.
func next(left *[]float32, n int) (v []float32, err error) {
	switch {
	case *left == nil:
		return nil, nil
	case len(*left) < n:
		return nil, fmt.Errorf("initial states of fewer cells than there are")
	}
	v, *left = (*left)[:n], (*left)[n:]
	return v, nil
}

// cells returns the cells of one level, of one or both directions.
func (n *network) cells(l *Layer, level int, x *lower.Tensor) ([]quant.Op, error) {
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

// projected is one level of an LSTM with proj_size, written out: the state h is a product of what a cell puts out.
func (n *network) projected(l *Layer, level int, x *lower.Tensor, from *starts) (y layer, err error) {
	name := cellNames(n.tensors, l.prefix(), level, "")
	switch {
	case l.Type != "lstm":
		return y, fmt.Errorf("only an lstm has projections")
	case n.tensors[cellNames(n.tensors, l.prefix(), level, "_reverse").wi] != nil:
		return y, unsupported("projections (proj_size) of a two-way LSTM are not supported")
	case n.steps > 0:
		return y, unsupported("projections (proj_size) of a network that takes several steps at once are not supported")
	}
	if err := n.tr.At(fmt.Sprintf("%sl%d", l.prefix(), level)); err != nil {
		return y, err
	}
	wr, err := n.get(l, name.projection, 2)
	if err != nil {
		return y, err
	}
	size, hidden := wr.Shape[0], wr.Shape[1]
	wh, err := n.matrix(l, name.wh, 4*hidden, size)
	if err != nil {
		return y, err
	}
	width, _ := x.Shape()[2].Const()
	wi, err := n.matrix(l, name.wi, 4*hidden, int(width))
	if err != nil {
		return y, err
	}
	bi, err := n.optional(l, name.bi, 4*hidden)
	if err != nil {
		return y, err
	}
	bh, err := n.optional(l, name.bh, 4*hidden)
	if err != nil {
		return y, err
	}
	p := projection{tr: n.tr, hidden: hidden, size: size}
	h0, err := next(&from.h, size)
	if err != nil {
		return y, err
	}
	c0, err := next(&from.c, hidden)
	if err != nil {
		return y, err
	}
	p.h, p.c = p.state(size, h0), p.state(hidden, c0)
	a, b := p.dense(x, wi, 4*hidden, bi), p.dense(p.h, wh, 4*hidden, bh)
	h, c := p.step(p.binary(lower.Add, a, b), wr.Floats())
	if p.err != nil {
		return y, p.err
	}
	y.steps = h
	if y.h, err = n.at(h, -1); err != nil {
		return y, err
	}
	y.c, err = n.at(c, -1)
	return y, err
}

// projection writes a cell out in single operations, which do nothing after an error.
type projection struct {
	tr           *lower.Tracer
	hidden, size int
	h, c         *lower.Tensor
	err          error
}

func (p *projection) do(f func() (*lower.Tensor, error)) (t *lower.Tensor) {
	if p.err == nil {
		t, p.err = f()
	}
	return t
}

func (p *projection) state(size int, initial []float32) *lower.Tensor {
	return p.do(func() (*lower.Tensor, error) { return p.tr.State([]int64{1, 1, int64(size)}, initial) })
}

func (p *projection) dense(x *lower.Tensor, w []float32, outputs int, bias []float32) *lower.Tensor {
	return p.do(func() (*lower.Tensor, error) { return p.tr.Dense(x, w, outputs, bias) })
}

func (p *projection) binary(op lower.Arith, a, b *lower.Tensor) *lower.Tensor {
	return p.do(func() (*lower.Tensor, error) { return p.tr.Binary(op, a, b) })
}

func (p *projection) unary(kind format.Kind, x *lower.Tensor) *lower.Tensor {
	return p.do(func() (*lower.Tensor, error) { return p.tr.Unary(kind, x) })
}

// gate is one of the gates i f g o.
func (p *projection) gate(sums *lower.Tensor, i int, kind format.Kind) *lower.Tensor {
	part := p.do(func() (*lower.Tensor, error) {
		at := int64(i * p.hidden)
		return p.tr.Slice(sums, 2, lower.Int(at), lower.Int(at+int64(p.hidden)), lower.Int(1))
	})
	return p.unary(kind, part)
}

// step stores and returns the new states: c = f·c + i·g, h = W·(o·tanh(c)).
func (p *projection) step(sums *lower.Tensor, w []float32) (h, c *lower.Tensor) {
	in := p.binary(lower.Mul, p.gate(sums, 0, format.Sigmoid), p.gate(sums, 2, format.Tanh))
	c = p.binary(lower.Add, p.binary(lower.Mul, p.gate(sums, 1, format.Sigmoid), p.c), in)
	out := p.binary(lower.Mul, p.gate(sums, 3, format.Sigmoid), p.unary(format.Tanh, c))
	h = p.dense(out, w, p.size, nil)
	if p.err == nil {
		p.err = p.tr.Store(p.h, h)
	}
	if p.err == nil {
		p.err = p.tr.Store(p.c, c)
	}
	return h, c
}
