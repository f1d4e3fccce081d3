package lower

import (
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// Initial is what a recurrent layer starts from and how far it goes.
type Initial struct {
	H, C    *Tensor // [directions, batch, hidden], known or computed; nil is the H0 and C0 of the cells
	Lengths []int64 // steps of each sequence of the batch; nil is all
	Cell    bool    // the cell states are wanted
}

// States are the final states of a layer, [directions, batch, hidden]; C only if it was wanted.
type States struct{ H, C *Tensor }

// Recurrent emits a recurrent layer over x, [time, batch, channels], with a cell a direction, whose weights and flags are those of a
// quant.Op (W of x's channels in their order). It returns the outputs of all steps, [time, directions, batch, hidden], and the final
// states; the final state of a reversed cell is that of the first step. Where time is the time of the network's input, the session steps
// through it; where it is a number of steps in one call, all of them are run in that call.
func (tr *Tracer) Recurrent(x *Tensor, cells []quant.Op, o Initial) (y *Tensor, last States, err error) {
	if !x.Computed() {
		if o.H == nil || !o.H.Computed() {
			return nil, last, unsupported("a recurrent layer over constants")
		}
		if x, err = tr.lifted(x, tr.perStep(o.H.c)); err != nil { // a decoder's first step
			return nil, last, err
		}
		if _, fixed := x.axes[1].size().Const(); !fixed {
			x = x.with(slices.Clone(x.axes))
			x.axes[1] = axis{{batch, symN}}
		}
	}
	if len(x.axes) != 3 {
		return nil, last, unsupported("a recurrent layer over %d dimensions, not 3", len(x.axes))
	}
	if x, err = tr.densify(x, 2); err != nil {
		return nil, last, err
	}
	if tr.streams(x, o) {
		return tr.stream(x, cells, o)
	}
	return tr.unfold(x, cells, o)
}

// streams reports whether the session steps through the time of x.
func (tr *Tracer) streams(x *Tensor, o Initial) bool {
	if o.H != nil && o.H.Computed() || o.C != nil && o.C.Computed() || o.Lengths != nil || tr.atOnce {
		return false
	}
	t, b := x.axes[0], x.axes[1]
	return (len(t) == 1 && t[0].kind == time || len(t) == 0 && tr.steps.is(1)) && (len(b) == 0 || len(b) == 1 && b[0].kind == batch)
}

func (tr *Tracer) stream(x *Tensor, cells []quant.Op, o Initial) (y *Tensor, last States, err error) {
	if err := tr.sequence(x); err != nil {
		return nil, last, err
	}
	hidden, width := cells[0].Hidden, cells[0].Hidden
	if o.Cell {
		width *= 2
	}
	in, pos := canonical(x.c)
	in = tr.contiguous(in)
	out := tr.value(len(cells)*width, true)
	var h, hs, cs []Chan
	for d, op := range cells {
		part := out[d*width : (d+1)*width]
		op.W = columns(op.W, len(in), pos)
		op.Name = tr.direction(op, len(cells))
		if err := tr.begin(&op, d, o); err != nil {
			return nil, last, err
		}
		if o.Cell {
			op.Flags |= format.FlagCell
		}
		tr.add(op, in, part)
		final, err := tr.final(x.axes[0], part, op.Flags)
		if err != nil {
			return nil, last, err
		}
		h, hs, cs = append(h, part[:hidden]...), append(hs, final[:hidden]...), append(cs, final[hidden:]...)
	}
	d, n := denseAxis(len(cells)), denseAxis(hidden)
	y = &Tensor{axes: []axis{x.axes[0], d, x.axes[1], n}, c: h}
	state := func(c []Chan) *Tensor { return &Tensor{axes: []axis{d, x.axes[1], n}, c: c} }
	last.H = state(hs)
	if o.Cell {
		last.C = state(cs)
	}
	return y, last, nil
}

// begin sets the initial state of direction d, which is the same for all sequences of a batch that is open.
func (tr *Tracer) begin(op *quant.Op, d int, o Initial) error {
	for _, s := range []struct {
		t  *Tensor
		to *[]float32
	}{{o.H, &op.H0}, {o.C, &op.C0}} {
		if s.t == nil {
			continue
		}
		if len(s.t.axes) != 3 {
			return unsupported("an initial state of %d dimensions", len(s.t.axes))
		}
		t, ok := tr.Only(s.t, 1)
		if !ok {
			return unsupported("initial states that differ between the sequences of a batch")
		}
		dims, v, err := tr.Numbers(t)
		if err != nil {
			return err
		}
		if len(v) < (d+1)*op.Hidden || dims[2] != op.Hidden {
			return unsupported("an initial state of shape %v", dims)
		}
		*s.to = unlessZero(v[d*op.Hidden : (d+1)*op.Hidden])
	}
	return nil
}

func unlessZero(v []float32) []float32 {
	if slices.ContainsFunc(v, func(v float32) bool { return v != 0 }) {
		return v
	}
	return nil
}

// unfold runs the steps of a layer in one call, for each sequence of the batch on its own.
func (tr *Tracer) unfold(x *Tensor, cells []quant.Op, o Initial) (y *Tensor, last States, err error) {
	if x.axes[0].has(time) || x.axes[0].has(batch) {
		return nil, last, unsupported("a recurrent layer whose first axis is not the time of the network's input")
	}
	if x, err = tr.densify(x, 0); err != nil {
		return nil, last, err
	}
	steps, _ := x.axes[0].count()
	batches, fixed := x.axes[1].count()
	if !fixed {
		if !x.axes[1].all(batch) && !x.axes[1].all(repeat) && !x.axes[1].all(time) {
			return nil, last, unsupported("a recurrent layer whose batch axis is not the batch of the network's input")
		}
		batches = 1
	}
	width, _ := x.axes[2].count()
	hidden := cells[0].Hidden
	if steps == 0 || batches == 0 || width == 0 || tr.mixed(x.c) || len(o.Lengths) != 0 && len(o.Lengths) != batches {
		return nil, last, unsupported("a recurrent layer over %d steps of %d sequences", steps, batches)
	}
	dirs := len(cells)
	if err := tr.spend(int64(steps) * int64(batches) * int64(dirs) * int64(hidden)); err != nil {
		return nil, last, err
	}
	all := make([]Chan, steps*dirs*batches*hidden)
	hs, cs := make([]Chan, dirs*batches*hidden), make([]Chan, dirs*batches*hidden)
	u := unfolding{tr: tr, x: x.c, steps: steps, batches: batches, width: width, o: o}
	for b := range batches {
		for d, op := range cells {
			r, err := u.run(op, d, dirs, b)
			if err != nil {
				return nil, last, err
			}
			for t := range steps {
				copy(all[((t*dirs+d)*batches+b)*hidden:][:hidden], r.y[t*hidden:])
			}
			copy(hs[(d*batches+b)*hidden:][:hidden], r.h)
			copy(cs[(d*batches+b)*hidden:][:hidden], r.c)
		}
	}
	n, k := denseAxis(dirs), denseAxis(hidden)
	y = &Tensor{axes: []axis{x.axes[0], n, x.axes[1], k}, c: all}
	last.H = &Tensor{axes: []axis{n, x.axes[1], k}, c: hs}
	if o.Cell {
		last.C = &Tensor{axes: []axis{n, x.axes[1], k}, c: cs}
	}
	return y, last, nil
}

// unfolding emits the cells of one layer.
type unfolding struct {
	tr                    *Tracer
	x                     []Chan // [steps, batches, width]
	steps, batches, width int
	o                     Initial
}

// ran is what one direction of one sequence gives.
type ran struct{ y, h, c []Chan }

func (u *unfolding) run(op quant.Op, d, dirs, b int) (r ran, err error) {
	tr, hidden := u.tr, op.Hidden
	length := u.steps
	if u.o.Lengths != nil {
		if n := u.o.Lengths[b]; n < 0 || n > int64(u.steps) {
			return r, unsupported("a sequence of %d steps of %d", n, u.steps)
		}
		length = int(u.o.Lengths[b])
	}
	h0, err := u.state(u.o.H, op.H0, d, b, hidden)
	if err != nil {
		return r, err
	}
	c0, err := u.state(u.o.C, op.C0, d, b, hidden)
	if err != nil {
		return r, err
	}
	if length == 0 {
		return u.none(h0, c0, hidden)
	}
	var in []Chan
	for t := range length {
		in = append(in, u.x[(t*u.batches+b)*u.width:][:u.width]...)
	}
	inputs := [][]Chan{in}
	op.H0, op.C0 = h0.known, c0.known
	if h0.c != nil || c0.c != nil {
		if h0.c == nil {
			if h0.c, err = tr.lift(orZeros(h0.known, hidden), tr.perStep(in)); err != nil {
				return r, err
			}
		}
		inputs, op.H0 = append(inputs, h0.c), nil
	}
	if c0.c != nil {
		inputs, op.C0 = append(inputs, c0.c), nil
	}
	op.Dims = []int32{int32(length)}
	op.Name = tr.direction(op, dirs)
	total := length * hidden
	if u.o.Cell {
		op.Flags |= format.FlagCell
		total += hidden
	}
	if tr.mixed(slices.Concat(inputs...)) {
		return r, unsupported("a recurrent layer over every step that starts from a state of the whole sequence")
	}
	out := tr.emitAll(op, inputs, total, tr.perStep(in))
	r.y, r.h = out[:length*hidden], out[(length-1)*hidden:length*hidden]
	if op.Flags&format.FlagReverse != 0 {
		r.h = out[:hidden]
	}
	if u.o.Cell {
		r.c = out[length*hidden:]
	}
	if length < u.steps {
		zero, err := tr.lift([]float32{0}, tr.perStep(in))
		if err != nil {
			return r, err
		}
		r.y = append(slices.Clone(r.y), slices.Repeat(zero, (u.steps-length)*hidden)...)
	}
	return r, nil
}

// none is the result of a sequence without steps.
func (u *unfolding) none(h0, c0 start, hidden int) (r ran, err error) {
	perStep := u.tr.perStep(u.x)
	zero, err := u.tr.lift([]float32{0}, perStep)
	if err != nil {
		return r, err
	}
	r.y = slices.Repeat(zero, u.steps*hidden)
	for _, s := range []struct {
		from start
		to   *[]Chan
	}{{h0, &r.h}, {c0, &r.c}} {
		*s.to = s.from.c
		if s.from.c == nil {
			if *s.to, err = u.tr.lift(orZeros(s.from.known, hidden), perStep); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

func orZeros(v []float32, n int) []float32 {
	if v == nil {
		return make([]float32, n)
	}
	return v
}

// start is an initial state: channels, or known numbers, of which nil is zero.
type start struct {
	c     []Chan
	known []float32
}

func (u *unfolding) state(t *Tensor, otherwise []float32, d, b, hidden int) (s start, err error) {
	if t == nil {
		return start{known: otherwise}, nil
	}
	if len(t.axes) != 3 {
		return s, unsupported("an initial state of %d dimensions", len(t.axes))
	}
	if same, ok := u.tr.Only(t, 1); ok { // the same for every sequence, of which there may be any number
		t = same
	}
	for ax := range t.axes {
		if t.axes[ax].has(repeat) {
			if t, err = u.tr.densify(t, ax); err != nil {
				return s, err
			}
		}
	}
	n, fixed := t.axes[1].count()
	if !fixed || n == 1 {
		n, b = 1, 0
	}
	at := (d*n + b) * hidden
	if t.len() < at+hidden || t.i != nil {
		return s, unsupported("an initial state of shape %v", t.Shape())
	}
	if t.Computed() {
		return start{c: t.c[at : at+hidden]}, nil
	}
	return start{known: unlessZero(t.f[at : at+hidden])}, nil
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
