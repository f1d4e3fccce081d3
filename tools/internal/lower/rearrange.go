package lower

import (
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/runtime/format"
)

// Transpose reorders axes; perm nil reverses them.
func (tr *Tracer) Transpose(t *Tensor, perm []int64) (*Tensor, error) {
	if perm == nil {
		for i := range t.axes {
			perm = append([]int64{int64(i)}, perm...)
		}
	}
	seen := make([]bool, len(t.axes))
	if len(perm) != len(t.axes) {
		return nil, fmt.Errorf("permutation %v of %d axes", perm, len(t.axes))
	}
	axes, strides := make([]axis, len(perm)), t.strides()
	var nest []loop
	for i, p := range perm {
		if p < 0 || p >= int64(len(perm)) || seen[p] {
			return nil, fmt.Errorf("permutation %v of %d axes", perm, len(t.axes))
		}
		seen[p] = true
		axes[i] = t.axes[p]
		for k, x := range axes[i] {
			if x.kind == dense {
				nest = append(nest, loop{int(x.size.c), strides[p][k]})
			}
		}
	}
	idx, err := tr.visit(nest)
	return t.pick(axes, idx), err
}

// Unsqueeze inserts axes of size 1 at the given positions of the result.
func (tr *Tracer) Unsqueeze(t *Tensor, at []int64) (*Tensor, error) {
	rank := len(t.axes) + len(at)
	fresh := make([]bool, rank)
	for _, a := range at {
		i, err := AxisIndex(a, rank)
		if err != nil || fresh[i] {
			return nil, fmt.Errorf("axes %v do not fit %d dimensions", at, rank)
		}
		fresh[i] = true
	}
	axes, rest := make([]axis, rank), t.axes
	for i := range axes {
		if !fresh[i] {
			axes[i], rest = rest[0], rest[1:]
		}
	}
	return t.with(axes), nil
}

// Squeeze removes axes of size 1; at nil means all of them.
func (tr *Tracer) Squeeze(t *Tensor, at []int64) (*Tensor, error) {
	gone := make([]bool, len(t.axes))
	for _, a := range at {
		i, err := AxisIndex(a, len(t.axes))
		if err != nil {
			return nil, err
		}
		// A batch whose length is open is squeezed by models that take one sequence at a time.
		if !t.axes[i].size().is(1) && !(t.axes[i].all(batch) && t.axes[i].size().Equal(symN)) {
			return nil, unsupported("axis %d to be removed has length %v", i, t.axes[i].size())
		}
		gone[i] = true
	}
	var axes []axis
	for i, a := range t.axes {
		if !gone[i] && !(at == nil && a.size().is(1)) {
			axes = append(axes, a)
		}
	}
	return t.with(axes), nil
}

// Reshape changes the axes without reordering the data. One size may be -1; a size 0 is copied unless zero is set.
func (tr *Tracer) Reshape(t *Tensor, dims []Poly, zero bool) (*Tensor, error) {
	dims, err := t.resolve(dims, zero)
	if err != nil {
		return nil, err
	}
	if t.len() == 0 {
		axes := make([]axis, len(dims))
		for i, d := range dims {
			n, fixed := d.Const()
			if !fixed || n < 0 || n > maxWidth {
				return nil, errReshape
			}
			axes[i] = denseAxis(int(n))
		}
		return t.with(axes), nil
	}
	var r regroup
	for _, x := range slices.Concat(t.axes...) {
		r.atoms = r.atoms.join(x)
	}
	axes := make([]axis, len(dims))
	for i, d := range dims {
		if axes[i], err = r.axis(d, i+1 < len(dims) && dims[i+1].is(1)); err != nil {
			return nil, err
		}
	}
	return t.with(axes), r.end()
}

var errReshape = &Unsupported{"a reshape that mixes time, batch and channels"}

// resolve replaces 0 and -1, and checks that the number of elements stays the same.
func (t *Tensor) resolve(dims []Poly, zero bool) ([]Poly, error) {
	dims = slices.Clone(dims)
	total, rest, open := Int(1), Int(1), -1
	var err, err2 error
	for _, a := range t.axes {
		if total, err = total.Mul(a.size()); err != nil {
			return nil, err
		}
	}
	for i, d := range dims {
		switch {
		case d.is(0) && !zero && i < len(t.axes):
			dims[i] = t.axes[i].size()
		case d.is(-1) && open < 0:
			open = i
			continue
		case d.is(-1):
			return nil, errors.New("more than one size of -1")
		}
		if rest, err = rest.Mul(dims[i]); err != nil {
			return nil, err
		}
	}
	if open >= 0 {
		if rest.is(0) {
			return nil, errReshape
		}
		if dims[open], err = total.Div(rest); err != nil {
			return nil, err
		}
		rest, err2 = rest.Mul(dims[open])
	}
	if err2 != nil || !rest.Equal(total) {
		return nil, unsupported("a reshape of %v elements to %v", total, dims)
	}
	return dims, nil
}

// regroup deals the atoms of a tensor out to new axes.
type regroup struct{ atoms axis }

// axis takes the atoms that make up size d. Atoms of length 1 (a batch of one) are dropped where no axis of length 1 wants them.
func (r *regroup) axis(d Poly, nextIsOne bool) (axis, error) {
	if d.is(1) {
		return r.single(nextIsOne), nil
	}
	var ax axis
	for !d.is(1) {
		if len(r.atoms) == 0 {
			return nil, errReshape
		}
		a := r.atoms[0]
		if a.size.is(1) {
			r.atoms = r.atoms[1:]
			continue
		}
		if q, err := d.Div(a.size); err == nil && divides(d, a.size, q) {
			ax, d, r.atoms = ax.join(a), q, r.atoms[1:]
			continue
		}
		q, err := a.size.Div(d)
		if err != nil || !divides(a.size, d, q) || a.kind != dense && a.kind != repeat {
			return nil, errReshape
		}
		r.atoms = slices.Clone(r.atoms)
		r.atoms[0].size = q
		ax, d = ax.join(atom{a.kind, d}), Int(1)
	}
	return ax, nil
}

// join appends an atom, merged with the last one if both are dense or both repeat.
func (a axis) join(x atom) axis {
	if n := len(a); n > 0 && a[n-1].kind == x.kind && (x.kind == dense || x.kind == repeat) {
		if size, err := a[n-1].size.Mul(x.size); err == nil {
			return append(slices.Clone(a[:n-1]), atom{x.kind, size})
		}
	}
	return append(a, x)
}

func divides(p, d, q Poly) bool {
	r, err := q.Mul(d)
	return err == nil && r.Equal(p)
}

func (r *regroup) single(nextIsOne bool) axis {
	if len(r.atoms) == 0 || !r.atoms[0].size.is(1) {
		return nil
	}
	if len(r.atoms) > 1 && r.atoms[1].size.is(1) && r.atoms[0].kind == batch && !nextIsOne {
		r.atoms = r.atoms[1:]
	}
	a := r.atoms[0]
	r.atoms = r.atoms[1:]
	return axis{a}
}

func (r *regroup) end() error {
	for _, a := range r.atoms {
		if !a.size.is(1) {
			return errReshape
		}
	}
	return nil
}

// Expand broadcasts to the given shape.
func (tr *Tracer) Expand(t *Tensor, dims []Poly) (*Tensor, error) {
	axes := slices.Clone(t.axes)
	for len(axes) < len(dims) {
		axes = append([]axis{nil}, axes...)
	}
	for k, d := range dims {
		i := len(axes) - len(dims) + k
		switch size := axes[i].size(); {
		case size.Equal(d) || d.is(1):
		case !size.is(1):
			return nil, unsupported("length %v does not broadcast to %v", size, d)
		case len(axes[i]) == 0:
			if n, fixed := d.Const(); fixed && (n < 0 || n > maxRepeat) {
				return nil, unsupported("a shape with a length of %d", n)
			}
			axes[i] = axis{{repeat, d}}
		default:
			return nil, unsupported("the time or batch axis repeated")
		}
	}
	return t.with(axes), nil
}

// Slice keeps the positions start, start+step, … before end of an axis, by the rules of ONNX. Of time, only the first step, the
// last, and all of it can be kept.
func (tr *Tracer) Slice(t *Tensor, ax int, start, end, step Poly) (*Tensor, error) {
	size := t.axes[ax].size()
	if n, fixed := size.Const(); fixed && (t.axes[ax].all(dense) || t.axes[ax].all(repeat)) {
		return tr.sliceFixed(t, ax, n, start, end, step)
	}
	if !step.is(1) {
		return nil, unsupported("a slice of time or batch with step %v", step)
	}
	start, err := fromEnd(start, size)
	if err != nil {
		return nil, err
	}
	if end, err = fromEnd(end, size); err != nil {
		return nil, err
	}
	if n, fixed := end.Const(); fixed && beyond(n, size) {
		end = size
	}
	if start.is(0) && end.Equal(size) {
		return t, nil
	}
	width, err := end.Sub(start)
	if err != nil {
		return nil, err
	}
	if width.is(1) && (start.is(0) || end.Equal(size)) {
		return tr.oneOf(t, ax, start.is(0))
	}
	return nil, unsupported("a slice %v:%v of an axis of length %v", start, end, size)
}

// beyond reports whether n is certainly no less than size: past a fixed size, or so large that only "to the end" can be meant.
func beyond(n int64, size Poly) bool {
	s, fixed := size.Const()
	return fixed && n >= s || n >= 1<<31-1
}

func fromEnd(p, size Poly) (Poly, error) {
	if n, fixed := p.Const(); fixed && n < 0 {
		s, err := size.Add(p)
		if n, fixed := s.Const(); err == nil && fixed && n < 0 {
			return Int(0), nil
		}
		return s, err
	}
	return p, nil
}

// oneOf keeps the first or last position of an axis that is not dense, as an axis of length 1.
func (tr *Tracer) oneOf(t *Tensor, ax int, first bool) (*Tensor, error) {
	axes := slices.Clone(t.axes)
	axes[ax] = nil
	switch {
	case t.axes[ax].all(repeat):
		return t.with(axes), nil
	case t.axes[ax].all(time) && len(t.axes[ax]) == 1:
		kind := format.Last
		if first {
			kind = format.First
		}
		c, err := tr.pool(kind, t.c, tr.name(kind))
		return (&Tensor{c: c}).with(axes), err
	case t.axes[ax].size().is(1):
		return t.with(axes), nil
	}
	return nil, unsupported("one sequence selected from a batch")
}

func (tr *Tracer) sliceFixed(t *Tensor, ax int, n int64, start, end, step Poly) (*Tensor, error) {
	s, ok1 := start.Const()
	e, ok2 := end.Const()
	d, ok3 := step.Const()
	if !ok1 || !ok2 || !ok3 || d == 0 {
		return nil, unsupported("a slice %v:%v:%v of %d channels", start, end, step, n)
	}
	if n > maxRepeat {
		return nil, unsupported("a slice of an axis of length %d", n)
	}
	if s < 0 {
		s += n
	}
	if e < 0 {
		e += n
	}
	var positions []int
	if d > 0 {
		e = min(e, n)
		for p := max(s, 0); p < e; p += d {
			positions = append(positions, int(p))
			if d > n {
				break
			}
		}
	} else {
		e = max(e, -1)
		for p := min(s, n-1); p > e; p += d {
			positions = append(positions, int(p))
			if d < -n {
				break
			}
		}
	}
	return tr.keep(t, ax, positions)
}

// keep is take for axes of dense atoms or of repeats.
func (tr *Tracer) keep(t *Tensor, ax int, positions []int) (*Tensor, error) {
	if t.axes[ax].all(dense) {
		return tr.take(t, ax, positions)
	}
	axes := slices.Clone(t.axes)
	axes[ax] = denseAxis(len(positions))
	for i := range axes[ax] {
		axes[ax][i].kind = repeat
	}
	return t.with(axes), nil
}

// Gather selects positions along an axis; the axes of idx take its place.
func (tr *Tracer) Gather(t *Tensor, ax int, idx *Tensor) (*Tensor, error) {
	if ax >= len(t.axes) {
		return nil, fmt.Errorf("axis %d of %d dimensions", ax, len(t.axes))
	}
	positions, err := tr.Known(idx)
	if err != nil {
		return nil, err
	}
	if idx, err = tr.materialise(idx); err != nil {
		return nil, err
	}
	r := t
	if size, fixed := t.axes[ax].size().Const(); fixed && size <= maxRepeat && (t.axes[ax].all(dense) || t.axes[ax].all(repeat)) {
		n := int(size)
		whole := make([]int, len(positions))
		for i, p := range positions {
			v, fixed := p.Const()
			if !fixed || v < int64(-n) || v >= int64(n) {
				return nil, unsupported("index %v of an axis of length %d", p, n)
			}
			whole[i] = int((v + int64(n)) % int64(n))
		}
		r, err = tr.keep(t, ax, whole)
	} else {
		r, err = tr.gatherOne(t, ax, positions)
	}
	if err != nil {
		return nil, err
	}
	return r.with(slices.Concat(r.axes[:ax], idx.axes, r.axes[ax+1:])), nil
}

func (tr *Tracer) gatherOne(t *Tensor, ax int, positions []Poly) (*Tensor, error) {
	size := t.axes[ax].size()
	if len(positions) != 1 {
		return nil, unsupported("%d positions selected from an axis of length %v", len(positions), size)
	}
	p, err := fromEnd(positions[0], size)
	if err != nil {
		return nil, err
	}
	last, err := size.Sub(Int(1))
	if err != nil {
		return nil, err
	}
	if !p.is(0) && !p.Equal(last) {
		return nil, unsupported("step %v selected from a sequence of length %v", p, size)
	}
	// Of the one step of a sequence of length 1, "last" is what it means when more steps follow.
	return tr.oneOf(t, ax, p.is(0) && !positions[0].is(-1) && !size.is(1))
}

// Concat joins tensors along an axis.
func (tr *Tracer) Concat(ts []*Tensor, ax int) (*Tensor, error) {
	out := &Tensor{}
	ts, err := tr.alike(ts)
	if err != nil {
		return nil, err
	}
	axes := common(ts, ax)
	total := int64(0)
	for k := range ts {
		if ts[k], err = tr.fit(ts[k], axes, ax); err != nil {
			return nil, err
		}
		n, _ := ts[k].axes[ax].count()
		total += int64(n)
	}
	outer := ts[0].extent(0, ax)
	if outer == 0 {
		return nil, unsupported("a concatenation of empty tensors")
	}
	if err := tr.spend(total * int64(outer) * int64(ts[0].extent(ax+1, len(axes)))); err != nil {
		return nil, err
	}
	for o := range outer {
		for _, t := range ts {
			block := t.len() / outer
			out.f = appendBlock(out.f, t.f, o, block)
			out.i = appendBlock(out.i, t.i, o, block)
			out.c = appendBlock(out.c, t.c, o, block)
		}
	}
	if out.c != nil && tr.mixed(out.c) {
		return nil, unsupported("a concatenation of values of every step with one of the whole sequence")
	}
	axes[ax] = denseAxis(int(total))
	return out.with(axes), nil
}

func appendBlock[E any](to, from []E, k, block int) []E {
	if from == nil {
		return to
	}
	if to == nil {
		to = []E{}
	}
	return append(to, from[k*block:(k+1)*block]...)
}

// alike lifts known tensors beside computed ones, and checks that all have as many axes and elements of one sort.
func (tr *Tracer) alike(ts []*Tensor) ([]*Tensor, error) {
	ts = slices.Clone(ts)
	if k := slices.IndexFunc(ts, (*Tensor).Computed); k >= 0 && len(ts[k].c) > 0 {
		for i := range ts {
			var err error
			if ts[i], err = tr.lifted(ts[i], tr.perStep(ts[k].c)); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range ts {
		if len(t.axes) != len(ts[0].axes) || t.Computed() != ts[0].Computed() || (t.f == nil) != (ts[0].f == nil) {
			return nil, unsupported("a concatenation of different sorts of tensors")
		}
	}
	return ts, nil
}

// common are the axes of a concatenation along ax but for that one: where the tensors differ, steps and sequences if one has such.
func common(ts []*Tensor, ax int) []axis {
	axes := slices.Clone(ts[0].axes)
	for i := range axes {
		for _, t := range ts {
			switch a := t.axes[i]; {
			case i == ax || a.equal(axes[i]) || axes[i].moving():
			case a.moving():
				axes[i] = a
			default:
				if n, fixed := a32(a); fixed {
					axes[i] = denseAxis(n)
				}
			}
		}
	}
	return axes
}

// filled is t with the same data all along an axis of length 1, which becomes a longer one.
func (tr *Tracer) filled(t *Tensor, ax int, with axis) (*Tensor, error) {
	axes, strides := slices.Clone(t.axes), t.strides()
	axes[ax] = with
	var nest []loop
	for i, a := range axes {
		for k, x := range a {
			switch {
			case x.kind != dense:
			case i == ax:
				nest = append(nest, loop{int(x.size.c), 0})
			default:
				nest = append(nest, loop{int(x.size.c), strides[i][k]})
			}
		}
	}
	idx, err := tr.visit(nest)
	if err != nil {
		return nil, err
	}
	return t.pick(axes, idx), nil
}

// fit gives t the atoms of axes on all axes but ax, and dense ones there.
func (tr *Tracer) fit(t *Tensor, axes []axis, ax int) (*Tensor, error) {
	for i := range axes {
		if i != ax && t.axes[i].equal(axes[i]) {
			continue
		}
		if i != ax && axes[i].moving() && !t.axes[i].moving() && t.axes[i].size().Equal(axes[i].size()) {
			same, ok := tr.Only(t, i)
			if !ok {
				return nil, unsupported("a concatenation with constants that differ from step to step")
			}
			var err error
			if t, err = tr.filled(same, i, axes[i]); err != nil {
				return nil, err
			}
			continue
		}
		var err error
		if t, err = tr.densify(t, i); err != nil {
			return nil, unsupported("a concatenation along time or batch")
		}
		if i != ax && !t.axes[i].equal(axes[i]) {
			return nil, unsupported("a concatenation of lengths %v and %v", axes[i].size(), t.axes[i].size())
		}
	}
	return t, nil
}
