package lower

import (
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// Recurrent emits a recurrent layer over x, [time, batch, channels]: one cell a direction, with the weights and flags of a quant.Op
// (W of x's channels in their order). It returns the outputs of all steps, [time, directions, batch, hidden], and the final hidden
// states, [directions, batch, hidden]; the final state of a reversed cell is its output at the first step.
func (tr *Tracer) Recurrent(x *Tensor, cells []quant.Op) (y, last *Tensor, err error) {
	if !x.Computed() {
		return nil, nil, unsupported("a recurrent layer over constants")
	}
	if err := tr.sequence(x); err != nil {
		return nil, nil, err
	}
	if x, err = tr.densify(x, 2); err != nil {
		return nil, nil, err
	}
	hidden := cells[0].Hidden
	in, pos := canonical(x.c)
	in = tr.contiguous(in)
	out := tr.value(len(cells)*hidden, true)
	var state []Chan
	for d, op := range cells {
		half := out[d*hidden : (d+1)*hidden]
		op.W = columns(op.W, len(in), pos)
		op.Name = tr.direction(op, len(cells))
		tr.add(op, in, half)
		final, err := tr.final(x.axes[0], half, op.Flags)
		if err != nil {
			return nil, nil, err
		}
		state = append(state, final...)
	}
	d, h := denseAxis(len(cells)), denseAxis(hidden)
	y = &Tensor{axes: []axis{x.axes[0], d, x.axes[1], h}, c: out}
	return y, &Tensor{axes: []axis{d, x.axes[1], h}, c: state}, nil
}

// Layer is Recurrent over x, [time, 1, channels], with the directions side by side: [time, 1, channels] and [1, channels].
func (tr *Tracer) Layer(x *Tensor, cells []quant.Op) (steps, final *Tensor, err error) {
	y, last, err := tr.Recurrent(x, cells)
	if err != nil {
		return nil, nil, err
	}
	if y, err = tr.Transpose(y, []int64{0, 2, 1, 3}); err != nil {
		return nil, nil, err
	}
	if last, err = tr.Transpose(last, []int64{1, 0, 2}); err != nil {
		return nil, nil, err
	}
	width := Int(int64(len(cells) * cells[0].Hidden))
	if steps, err = tr.Reshape(y, []Poly{y.Shape()[0], Int(1), width}, false); err != nil {
		return nil, nil, err
	}
	final, err = tr.Reshape(last, []Poly{Int(1), width}, false)
	return steps, final, err
}

// Blocks joins blocks of v, each of the given size, in another order.
func Blocks(v []float32, size int, order []int) []float32 {
	out := make([]float32, 0, len(order)*size)
	for _, b := range order {
		out = append(out, v[b*size:(b+1)*size]...)
	}
	return out
}

// sequence checks that x is [time, batch, channels].
func (tr *Tracer) sequence(x *Tensor) error {
	if len(x.axes) != 3 {
		return unsupported("a recurrent layer over %d dimensions, not 3", len(x.axes))
	}
	t, b := x.axes[0], x.axes[1]
	steps := len(t) == 1 && t[0].kind == time || len(t) == 0 && tr.steps.is(1)
	if len(x.c) == 0 || !steps || tr.mixed(x.c) || !tr.perStep(x.c) {
		return unsupported("a recurrent layer whose first axis is not the time of the network's input")
	}
	if len(b) != 0 && !(len(b) == 1 && b[0].kind == batch) {
		return unsupported("a recurrent layer whose batch axis is not the batch of the network's input")
	}
	return nil
}

func (tr *Tracer) direction(op quant.Op, directions int) string {
	name := tr.name(op.Kind)
	switch {
	case directions == 1:
		return name
	case op.Flags&format.FlagReverse != 0:
		return name + ".backward"
	}
	return name + ".forward"
}

func (tr *Tracer) final(steps axis, c []Chan, flags format.Flags) ([]Chan, error) {
	switch {
	case len(steps) == 0: // one step a call: the state is the output
		return c, nil
	case flags&format.FlagReverse != 0:
		return tr.pool(format.First, c, tr.node+".final")
	}
	return tr.pool(format.Last, c, tr.node+".final")
}
