package lower

import (
	"fmt"
	"math"
	"slices"
)

// Tensor is an array of known floats, known integers or channels. Its axes are products of atoms: those of kind dense index the data,
// in row-major order of the atoms; along all others the data is the same.
type Tensor struct {
	axes []axis
	f    []float32
	i    []Poly
	c    []Chan
}

type axis []atom

type atom struct {
	kind atomKind
	size Poly // of a dense atom: constant, and not 1
}

type atomKind uint8

const (
	dense  atomKind = iota
	repeat          // the same data again
	time            // the steps of a sequence, or of computed channels the steps at which they exist
	batch
)

func denseAxis(n int) axis {
	if n == 1 {
		return nil
	}
	return axis{{dense, Int(int64(n))}}
}

// Floats is a tensor of known numbers; data is not copied.
func (tr *Tracer) Floats(dims []int64, data []float32) (*Tensor, error) {
	axes, err := tr.known(dims, len(data))
	if data == nil {
		data = []float32{}
	}
	return &Tensor{axes: axes, f: data}, err
}

// Ints is a tensor of known integers or booleans.
func (tr *Tracer) Ints(dims []int64, data []int64) (*Tensor, error) {
	axes, err := tr.known(dims, len(data))
	t := &Tensor{axes: axes, i: make([]Poly, len(data))}
	for k, v := range data {
		t.i[k] = Int(v)
	}
	return t, err
}

func (tr *Tracer) known(dims []int64, count int) ([]axis, error) {
	n := int64(1)
	var axes []axis
	for _, d := range dims {
		if d < 0 || d > math.MaxInt32 || n > math.MaxInt32 {
			return nil, fmt.Errorf("shape %v does not fit %d elements", dims, count)
		}
		n *= d
		axes = append(axes, denseAxis(int(d)))
	}
	if n != int64(count) {
		return nil, fmt.Errorf("shape %v does not fit %d elements", dims, count)
	}
	return axes, tr.spend(int64(count))
}

// Vector is a known one-dimensional tensor of integers that may depend on the length of time and batch.
func Vector(v []Poly) *Tensor {
	return &Tensor{axes: []axis{denseAxis(len(v))}, i: append([]Poly{}, v...)}
}

// Rank is the number of axes.
func (t *Tensor) Rank() int { return len(t.axes) }

// Span is a factor of an axis: the channels, the steps or the sequences that it counts.
type Span struct {
	Role Role
	Size Poly
}

// Layout returns what every axis counts, as factors from the slowest to the fastest.
func (t *Tensor) Layout() [][]Span {
	roles := map[atomKind]Role{dense: Feature, repeat: Feature, time: Time, batch: Batch}
	out := make([][]Span, len(t.axes))
	for i, a := range t.axes {
		for _, x := range a {
			out[i] = append(out[i], Span{roles[x.kind], x.size})
		}
	}
	return out
}

// Computed reports whether the tensor depends on the network's input.
func (t *Tensor) Computed() bool { return t.c != nil }

// Integers reports whether the tensor holds known integers or booleans.
func (t *Tensor) Integers() bool { return t.i != nil }

// Shape returns the size of every axis.
func (t *Tensor) Shape() []Poly {
	out := make([]Poly, len(t.axes))
	for i, a := range t.axes {
		out[i] = a.size()
	}
	return out
}

// Known returns the tensor's integers; it fails for computed tensors and floats.
func (tr *Tracer) Known(t *Tensor) ([]Poly, error) {
	d, err := tr.materialise(t)
	if err != nil {
		return nil, err
	}
	if d.i == nil {
		return nil, unsupported("a shape, index or axis that is not known when the model is converted")
	}
	return d.i, nil
}

// Numbers returns the shape and the data of a known tensor of floats.
func (tr *Tracer) Numbers(t *Tensor) ([]int, []float32, error) {
	d, err := tr.materialise(t)
	if err != nil {
		return nil, nil, err
	}
	if d.f == nil {
		return nil, nil, unsupported("weights that are not constant")
	}
	dims := make([]int, len(d.axes))
	for i, a := range d.axes {
		dims[i], _ = a.count()
	}
	return dims, d.f, nil
}

func (t *Tensor) len() int {
	switch {
	case t.f != nil:
		return len(t.f)
	case t.i != nil:
		return len(t.i)
	}
	return len(t.c)
}

// size is the product of the atoms; atoms are made so that it cannot overflow.
func (a axis) size() Poly {
	p := Int(1)
	for _, x := range a {
		p, _ = p.Mul(x.size)
	}
	return p
}

// count is the size of an axis of dense atoms only.
func (a axis) count() (int, bool) {
	n := 1
	for _, x := range a {
		if x.kind != dense {
			return 0, false
		}
		n *= int(x.size.c)
	}
	return n, true
}

func (a axis) has(k atomKind) bool {
	return slices.ContainsFunc(a, func(x atom) bool { return x.kind == k })
}

// moving reports whether steps or sequences lie along the axis.
func (a axis) moving() bool { return a.has(time) || a.has(batch) }

func (a axis) all(k atomKind) bool {
	return !slices.ContainsFunc(a, func(x atom) bool { return x.kind != k })
}

func (a axis) equal(b axis) bool {
	return slices.EqualFunc(a, b, func(x, y atom) bool { return x.kind == y.kind && x.size.Equal(y.size) })
}

// strides returns the stride in the data of every atom, 0 where the data repeats.
func (t *Tensor) strides() [][]int {
	out := make([][]int, len(t.axes))
	step := 1
	for i := len(t.axes) - 1; i >= 0; i-- {
		out[i] = make([]int, len(t.axes[i]))
		for k := len(t.axes[i]) - 1; k >= 0; k-- {
			if x := t.axes[i][k]; x.kind == dense {
				out[i][k] = step
				step *= int(x.size.c)
			}
		}
	}
	return out
}

// extent is the dense size of axes[from:to].
func (t *Tensor) extent(from, to int) int {
	n := 1
	for _, a := range t.axes[from:to] {
		for _, x := range a {
			if x.kind == dense {
				n *= int(x.size.c)
			}
		}
	}
	return n
}

// loop is one level of a nest of loops that visits a tensor's data.
type loop struct{ size, stride int }

// visit returns the data indices in the order of the nest, outermost first.
func (tr *Tracer) visit(nest []loop) ([]int, error) {
	n := int64(1)
	for _, l := range nest {
		if n *= int64(l.size); n > tr.budget {
			return nil, tr.spend(n)
		}
	}
	if err := tr.spend(n); err != nil || n == 0 {
		return nil, err
	}
	out := make([]int, 1, n)
	for _, l := range slices.Backward(nest) {
		block := len(out)
		for k := 1; k < l.size; k++ {
			for _, x := range out[:block] {
				out = append(out, x+k*l.stride)
			}
		}
	}
	return out, nil
}

// pick is a tensor of other axes with the data at idx.
func (t *Tensor) pick(axes []axis, idx []int) *Tensor {
	return &Tensor{axes: axes, f: at(t.f, idx), i: at(t.i, idx), c: at(t.c, idx)}
}

func at[E any](s []E, idx []int) []E {
	if s == nil {
		return nil
	}
	out := make([]E, len(idx))
	for k, x := range idx {
		out[k] = s[x]
	}
	return out
}

// with is the same data under other axes.
func (t *Tensor) with(axes []axis) *Tensor { return &Tensor{axes: axes, f: t.f, i: t.i, c: t.c} }

// densify turns the repeat atoms of an axis into dense ones, and drops a batch of one sequence. It fails where their size depends on time
// or batch.
func (tr *Tracer) densify(t *Tensor, ax int) (*Tensor, error) {
	if t.axes[ax].all(dense) {
		return t, nil
	}
	axes, strides := slices.Clone(t.axes), t.strides()
	var nest []loop
	for i, a := range t.axes {
		for k, x := range a {
			size, fixed := x.size.Const()
			switch {
			case x.kind == dense || i == ax && x.kind == repeat && fixed && size >= 0 && size <= maxRepeat:
				nest = append(nest, loop{int(size), strides[i][k]})
			case i == ax && x.kind == batch && size == 1 && fixed:
			case i == ax:
				return nil, unsupported("an axis of length %v where channels are wanted", a.size())
			}
		}
	}
	n, _ := a32(t.axes[ax])
	axes[ax] = denseAxis(n)
	idx, err := tr.visit(nest)
	return t.pick(axes, idx), err
}

const maxRepeat = 1 << 24

func a32(a axis) (int, bool) {
	n, fixed := a.size().Const()
	return int(n), fixed
}

// materialise densifies every axis of a known tensor.
func (tr *Tracer) materialise(t *Tensor) (*Tensor, error) {
	if t.Computed() {
		return t, nil
	}
	for ax := range t.axes {
		var err error
		if t, err = tr.densify(t, ax); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// collapse removes the data along an axis if it is the same everywhere on it.
func (tr *Tracer) collapse(t *Tensor, ax int) (*Tensor, bool) {
	n, ok := t.axes[ax].count()
	if !ok || n == 0 {
		return t, false
	}
	outer, inner := t.extent(0, ax), t.extent(ax+1, len(t.axes))
	for o := range outer {
		for k := range n * inner {
			if !t.same(o*n*inner+k, o*n*inner+k%inner) {
				return t, false
			}
		}
	}
	r, err := tr.take(t, ax, []int{0})
	return r, err == nil
}

func (t *Tensor) same(a, b int) bool {
	switch {
	case t.f != nil:
		return t.f[a] == t.f[b]
	case t.i != nil:
		return t.i[a].Equal(t.i[b])
	}
	return t.c[a] == t.c[b]
}

// take selects positions along an axis of dense atoms.
func (tr *Tracer) take(t *Tensor, ax int, positions []int) (*Tensor, error) {
	n, _ := t.axes[ax].count()
	outer, inner := t.extent(0, ax), t.extent(ax+1, len(t.axes))
	total := int64(outer) * int64(len(positions)) * int64(inner)
	if err := tr.spend(total); err != nil {
		return nil, err
	}
	idx := make([]int, 0, total)
	for o := range outer {
		for _, p := range positions {
			if p < 0 || p >= n {
				return nil, fmt.Errorf("index %d of an axis of length %d", p, n)
			}
			for k := range inner {
				idx = append(idx, (o*n+p)*inner+k)
			}
		}
	}
	axes := slices.Clone(t.axes)
	axes[ax] = denseAxis(len(positions))
	return t.pick(axes, idx), nil
}

// AxisIndex resolves an axis counted from the front or, if negative, from the back.
func AxisIndex(ax int64, rank int) (int, error) {
	if ax < 0 {
		ax += int64(rank)
	}
	if ax < 0 || ax >= int64(rank) {
		return 0, fmt.Errorf("axis out of range for %d dimensions", rank)
	}
	return int(ax), nil
}
