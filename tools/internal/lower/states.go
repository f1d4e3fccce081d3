package lower

import (
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// State is a tensor that persists: what Store sets is what it holds in the next call. It starts at initial, or zero if that is nil.
func (tr *Tracer) State(dims []int64, initial []float32) (*Tensor, error) {
	n := int64(1)
	var axes []axis
	for _, d := range dims {
		if d < 1 || d > maxWidth || n*d > maxWidth {
			return nil, unsupported("a state of shape %v", dims)
		}
		n *= d
		axes = append(axes, denseAxis(int(d)))
	}
	return tr.state(axes, int(n), initial), tr.spend(0)
}

func (tr *Tracer) state(axes []axis, n int, initial []float32) *Tensor {
	t := &Tensor{axes: axes, c: tr.value(n, true)}
	if initial != nil {
		initial = unlessZero(initial)
	}
	tr.append(quant.Op{Kind: format.Recall, Name: tr.name(format.Recall), H0: initial}, t.c)
	return t
}

// StateLike is a state that starts at known numbers, which are the same for every sequence of an open batch.
func (tr *Tracer) StateLike(initial *Tensor) (*Tensor, error) {
	if initial.Computed() || initial.f == nil {
		return nil, unsupported("a recurrence that starts from computed values, or from integers")
	}
	axes := slices.Clone(initial.axes)
	t := initial
	for ax, a := range axes {
		if _, fixed := a.size().Const(); !fixed {
			if len(a) != 1 || !a[0].size.Equal(symN) {
				return nil, unsupported("a state with an axis of length %v", a.size())
			}
			axes[ax] = axis{{batch, a[0].size}}
			continue
		}
		var err error
		if t, err = tr.densify(t, ax); err != nil {
			return nil, err
		}
		axes[ax] = t.axes[ax]
	}
	if len(t.f) == 0 {
		return nil, unsupported("an empty state")
	}
	return tr.state(axes, len(t.f), t.f), tr.spend(0)
}

// Store sets what the state holds in the next call. Every state that is read must be stored, once.
func (tr *Tracer) Store(state, t *Tensor) error {
	v := state.c[0].Value
	t, err := tr.lifted(t, true)
	if err != nil {
		return err
	}
	for ax := range t.axes {
		if t.axes[ax].has(repeat) {
			if t, err = tr.densify(t, ax); err != nil {
				return err
			}
		}
	}
	if _, twice := tr.stored[v]; twice || len(t.c) != len(state.c) || tr.mixed(t.c) || !tr.perStep(t.c) {
		return unsupported("a state of %d channels set to %d, or set twice", len(state.c), len(t.c))
	}
	tr.stored[v] = t.c
	in := tr.contiguous(t.c)
	tr.add(quant.Op{Kind: format.Store, Name: tr.name(format.Store)}, in, state.c)
	return nil
}

// Enter is a tensor at one step of the network's time, which is all of axis ax; Leave is the inverse.
func (tr *Tracer) Enter(t *Tensor, ax int) (*Tensor, bool) {
	if a := t.axes[ax]; !t.Computed() || len(a) != 1 || a[0].kind != time {
		return t, false
	}
	return t.with(slices.Delete(slices.Clone(t.axes), ax, ax+1)), true
}

// Leave gives a tensor that is computed in every step the axis of time.
func (tr *Tracer) Leave(t *Tensor, ax int) (*Tensor, error) {
	if !t.Computed() || len(t.c) == 0 || tr.mixed(t.c) || !tr.perStep(t.c) {
		return nil, unsupported("what a recurrence puts out is not computed in every step")
	}
	return t.with(slices.Insert(slices.Clone(t.axes), ax, axis{{time, tr.steps}})), nil
}

// Final is a tensor that is computed in every step as it is after the last.
func (tr *Tracer) Final(t *Tensor) (*Tensor, error) {
	if !t.Computed() {
		return t, nil
	}
	c, err := tr.pool(format.Last, t.c, tr.name(format.Last))
	return t.channels(c), err
}

// keepStates lets a cell that runs one step a call keep its state itself, where the state that it starts from is set to what it ends with.
// The session then runs many steps through its weights together.
func (tr *Tracer) keepStates() {
	if len(tr.stored) == 0 {
		return
	}
	o := newOrigin(tr)
	for i := range tr.graph.Ops {
		op := &tr.graph.Ops[i]
		states := 1
		if op.Kind == format.LSTM {
			states = 2
		}
		if !op.Kind.Recurrent() || op.Blocks() != 1 || len(op.In) != 1+states || op.Flags&format.FlagCell == 0 && states == 2 {
			continue
		}
		var initial [2][]float32
		kept := true
		for k := range states {
			from := Chan{op.Out.Value, op.Out.Offset + k*op.Hidden}
			initial[k], kept = o.returned(op.In[1+k], from)
			if !kept {
				break
			}
		}
		if kept {
			op.In, op.Dims, op.H0, op.C0 = op.In[:1], nil, initial[0], initial[1]
			op.Flags &^= format.FlagReverse
		}
	}
}

// returned reports whether the state that r reads is set to the channels from c on, and what it starts at, nil for zero.
func (o *origin) returned(r format.Ref, c Chan) (initial []float32, ok bool) {
	initial = make([]float32, r.Width)
	for k := range r.Width {
		s := o.source(Chan{r.Value, r.Offset + k})
		set := o.tr.stored[s.Value]
		if set == nil || o.source(set[s.Channel]) != (Chan{c.Value, c.Channel + k}) {
			return nil, false
		}
		if op, _, at := o.maker(s); op.H0 != nil {
			initial[k] = op.H0[at]
		}
	}
	return unlessZero(initial), true
}

// trimCells takes back the output of cell states that nothing reads.
func trimCells(g *quant.Graph) {
	read := readers(g)
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Kind != format.LSTM || op.Flags&format.FlagCell == 0 {
			continue
		}
		c := format.Ref{Value: op.Out.Value, Offset: op.Out.Offset + op.Out.Width - op.Hidden, Width: op.Hidden}
		if !needed(c, read[c.Value]) {
			op.Flags &^= format.FlagCell
			op.Out.Width -= op.Hidden
		}
	}
}

// History replaces the time of the network's input, axis ax of t, by a number of steps before the present one and that itself, the oldest
// first. Steps before the first are zero.
func (tr *Tracer) History(t *Tensor, ax, before int) (*Tensor, error) {
	if a := t.axes[ax]; !t.Computed() || len(a) != 1 || a[0].kind != time || before < 0 || before > maxWidth {
		return nil, unsupported("the steps before one of what has no steps")
	}
	now := t.with(slices.Clone(t.axes))
	now.axes[ax] = nil
	if before == 0 {
		return now, nil
	}
	perm, back := []int64{int64(ax)}, make([]int64, len(t.axes))
	for i := range t.axes {
		if i != ax {
			back[i] = int64(len(perm))
			perm = append(perm, int64(i))
		}
	}
	now, err := tr.Transpose(now, perm)
	if err != nil {
		return nil, err
	}
	n := before * len(now.c)
	if err := tr.spend(int64(n)); err != nil {
		return nil, err
	}
	state := tr.state(append([]axis{denseAxis(before)}, now.axes[1:]...), n, nil)
	all, err := tr.Concat([]*Tensor{state, now}, 0)
	if err != nil {
		return nil, err
	}
	if err := tr.Store(state, &Tensor{axes: state.axes, c: all.c[len(now.c):]}); err != nil {
		return nil, err
	}
	return tr.Transpose(all, back)
}

// Steps puts the time of the network's input in the place of axis ax, which has length 1: t is what is computed in each step.
func (tr *Tracer) Steps(t *Tensor, ax int) (*Tensor, error) {
	if len(t.axes[ax]) != 0 || !t.Computed() || tr.mixed(t.c) || !tr.perStep(t.c) {
		return nil, unsupported("steps of what is not computed in each step")
	}
	out := t.with(slices.Clone(t.axes))
	out.axes[ax] = axis{{time, tr.steps}}
	return out, nil
}
