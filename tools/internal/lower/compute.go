package lower

import (
	"math"
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

type constChan struct {
	bits    uint32
	perStep bool
}

// largest is the largest magnitude that a file may hold; masks of attention and padding are often larger.
const largest = 0x1p60

// lift makes known numbers channels, for operations that combine them with computed ones.
func (tr *Tracer) lift(v []float32, perStep bool) ([]Chan, error) {
	fresh := map[constChan]int{}
	var b []float32
	for _, x := range v {
		if x != x {
			return nil, unsupported("a constant that is not a number")
		}
		k := constChan{math.Float32bits(x), perStep}
		_, known := tr.consts[k]
		if _, seen := fresh[k]; !known && !seen {
			fresh[k] = len(b)
			b = append(b, max(min(x, largest), -largest))
		}
	}
	if err := tr.spend(int64(len(b)) * perEntry); err != nil {
		return nil, err
	}
	if len(b) > 0 {
		made := tr.value(len(b), perStep)
		tr.append(quant.Op{Kind: format.Const, Name: tr.name(format.Const) + ".const", B: b}, made)
		for k, i := range fresh {
			tr.consts[k] = made[i]
		}
	}
	out := make([]Chan, len(v))
	for i, x := range v {
		out[i] = tr.consts[constChan{math.Float32bits(x), perStep}]
	}
	return out, nil
}

// lifted is t with channels in place of known numbers.
func (tr *Tracer) lifted(t *Tensor, perStep bool) (*Tensor, error) {
	if t.Computed() {
		return t, nil
	}
	f, err := tr.ToFloat(t)
	if err != nil {
		return nil, err
	}
	c, err := tr.lift(f.f, perStep)
	return t.channels(c), err
}

var binaries = map[Arith]format.Kind{Add: format.Add, Sub: format.Sub, Mul: format.Mul, Div: format.Div, Pow: format.Pow, Min: format.Minimum,
	Max: format.Maximum, Less: format.Less, Equal: format.Equal}

// combine is a op b where at least one is computed.
func (tr *Tracer) combine(op Arith, a, b *Tensor) (*Tensor, error) {
	switch op {
	case Greater:
		return tr.combine(Less, b, a)
	case And:
		op = Mul
	case Or:
		op = Max
	}
	kind, ok := binaries[op]
	if !ok {
		return nil, unsupported("an operator on computed tensors")
	}
	perStep := a.Computed() && tr.perStep(a.c) || !a.Computed() && tr.perStep(b.c)
	a, err := tr.lifted(a, perStep)
	if err != nil {
		return nil, err
	}
	if b, err = tr.lifted(b, perStep); err != nil {
		return nil, err
	}
	if a, b, err = tr.align(a, b); err != nil {
		return nil, err
	}
	if len(a.c) == 0 || tr.mixed(append(slices.Clone(a.c), b.c...)) {
		return nil, unsupported("values of every step combined with one of the whole sequence, or no channels")
	}
	return a.channels(tr.pairwise(kind, a.c, b.c)), nil
}

// pairwise emits an operation on two lists of channels, in an order that keeps the longer list as it lies in memory.
func (tr *Tracer) pairwise(kind format.Kind, x, y []Chan) []Chan {
	sorted, pos := canonical(x)
	if !distinct(sorted) {
		sorted, pos = canonical(y)
	}
	if !distinct(sorted) {
		pos = nil
	}
	if pos != nil {
		x, y = at(x, pos), at(y, pos)
	}
	out := tr.emitAll(quant.Op{Kind: kind, Name: tr.name(kind)}, [][]Chan{period(x), period(y)}, len(x), tr.perStep(x))
	if pos == nil {
		return out
	}
	return scatter(out, pos)
}

func distinct(sorted []Chan) bool {
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return false
		}
	}
	return true
}

// period cuts a list that repeats to its first repetition.
func period(c []Chan) []Chan {
	next := slices.Index(c[1:], c[0]) + 1
	if next == 0 || len(c)%next != 0 {
		return c
	}
	for i := next; i < len(c); i++ {
		if c[i] != c[i-next] {
			return c
		}
	}
	return c[:next]
}

// Select is a where cond is not 0, else b, with broadcasting.
func (tr *Tracer) Select(cond, a, b *Tensor) (*Tensor, error) {
	if !cond.Computed() {
		return tr.choose(cond, a, b)
	}
	perStep := tr.perStep(cond.c)
	var in [3]*Tensor
	for i, t := range []*Tensor{cond, a, b} {
		var err error
		if in[i], err = tr.lifted(t, perStep); err != nil {
			return nil, err
		}
	}
	aligned, err := tr.alignAll(in[0], in[1], in[2])
	if err != nil {
		return nil, err
	}
	var lists [][]Chan
	var all []Chan
	for _, t := range aligned {
		lists = append(lists, t.c)
		all = append(all, t.c...)
	}
	if len(all) == 0 || tr.mixed(all) {
		return nil, unsupported("a choice between values of every step and of the whole sequence")
	}
	n := len(lists[0])
	for i := range lists {
		lists[i] = period(lists[i])
	}
	out := tr.emitAll(quant.Op{Kind: format.Select, Name: tr.name(format.Select)}, lists, n, perStep)
	return aligned[0].channels(out), nil
}

// choose is Select by known conditions.
func (tr *Tracer) choose(cond, a, b *Tensor) (*Tensor, error) {
	cond, err := tr.ToInt(cond, true)
	if err != nil {
		return nil, err
	}
	if a.Computed() != b.Computed() {
		t := a
		if b.Computed() {
			t = b
		}
		if a, err = tr.lifted(a, tr.perStep(t.c)); err != nil {
			return nil, err
		}
		if b, err = tr.lifted(b, tr.perStep(t.c)); err != nil {
			return nil, err
		}
	}
	if (a.f == nil) != (b.f == nil) || (a.i == nil) != (b.i == nil) {
		return nil, unsupported("a choice between different sorts of tensors")
	}
	aligned, err := tr.alignAll(cond, a, b)
	if err != nil {
		return nil, err
	}
	yes, no := aligned[1], aligned[2]
	for k, p := range aligned[0].i {
		if v, fixed := p.Const(); !fixed || v != 0 {
			continue
		}
		switch {
		case yes.c != nil:
			yes.c[k] = no.c[k]
		case yes.f != nil:
			yes.f[k] = no.f[k]
		default:
			yes.i[k] = no.i[k]
		}
	}
	return yes, nil
}

// alignAll is align for three tensors.
func (tr *Tracer) alignAll(a, b, c *Tensor) (out [3]*Tensor, err error) {
	b, c, err = tr.align(b, c)
	if err != nil {
		return out, err
	}
	a, both, err := tr.align(a, numbered(b.axes, b.len()))
	if err != nil {
		return out, err
	}
	at := both.numbers()
	return [3]*Tensor{a, b.pick(a.axes, at), c.pick(a.axes, at)}, nil
}

// numbered stands for n different elements.
func numbered(axes []axis, n int) *Tensor {
	t := &Tensor{axes: axes, i: make([]Poly, n)}
	for i := range t.i {
		t.i[i] = Int(int64(i))
	}
	return t
}

// numbers undoes numbered.
func (t *Tensor) numbers() []int {
	out := make([]int, len(t.i))
	for k, p := range t.i {
		n, _ := p.Const()
		out[k] = int(n)
	}
	return out
}

// Reduction is what Reduce makes of many.
type Reduction uint8

// The reductions.
const (
	ReduceMean Reduction = iota
	ReduceSum
	ReduceMax
	ReduceMin
	ReduceProduct
)

// Reduce combines all elements along the given axes. Of time, there are the mean, the largest and the smallest; the sum where the
// length is known.
func (tr *Tracer) Reduce(r Reduction, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	if !t.Computed() {
		return tr.reduceKnown(r, t, axes, keep)
	}
	var err error
	var inner []int
	count := int64(1)
	for _, ax := range axes {
		a := t.axes[ax]
		n, fixed := a.size().Const()
		switch {
		case a.has(time):
			if t, err = tr.reduceTime(r, t, ax); err != nil {
				return nil, err
			}
			continue
		case a.has(batch) && !a.size().is(1):
			return nil, unsupported("a reduction over the batch")
		case !fixed || n == 0:
			return nil, unsupported("a reduction over an axis of length %v", a.size())
		case a.has(batch):
			t = t.with(slices.Clone(t.axes))
			t.axes[ax] = nil
			continue
		}
		if t, err = tr.densify(t, ax); err != nil {
			return nil, err
		}
		count *= n
		inner = append(inner, ax)
	}
	if count > 1 {
		if t, err = tr.reduceDense(r, t, inner, int(count)); err != nil {
			return nil, err
		}
	} else {
		t = t.without(inner)
	}
	if keep {
		return t, nil
	}
	return t.dropped(axes), nil
}

// without makes axes have length 1.
func (t *Tensor) without(axes []int) *Tensor {
	out := t.with(slices.Clone(t.axes))
	for _, ax := range axes {
		out.axes[ax] = nil
	}
	return out
}

// dropped leaves axes of length 1 out.
func (t *Tensor) dropped(axes []int) *Tensor {
	var left []axis
	for ax, a := range t.axes {
		if !slices.Contains(axes, ax) {
			left = append(left, a)
		}
	}
	return t.with(left)
}

// innermost moves axes to the end and returns the permutation.
func (t *Tensor) innermost(axes []int) []int64 {
	var perm []int64
	for ax := range t.axes {
		if !slices.Contains(axes, ax) {
			perm = append(perm, int64(ax))
		}
	}
	for _, ax := range axes {
		perm = append(perm, int64(ax))
	}
	return perm
}

func (tr *Tracer) reduceDense(r Reduction, t *Tensor, axes []int, n int) (*Tensor, error) {
	moved, err := tr.Transpose(t, t.innermost(axes))
	if err != nil {
		return nil, err
	}
	if len(moved.c) == 0 || tr.mixed(moved.c) {
		return nil, unsupported("a reduction of no channels, or of mixed sorts")
	}
	kind := map[Reduction]format.Kind{ReduceMean: format.Sum, ReduceSum: format.Sum, ReduceMax: format.Highest, ReduceMin: format.Lowest,
		ReduceProduct: format.Product}[r]
	in := tr.contiguous(moved.c)
	out := tr.emit(quant.Op{Kind: kind, Name: tr.name(kind), Dims: []int32{int32(n)}}, in, len(in)/n, tr.perStep(in))
	res := t.without(axes).channels(out)
	if r != ReduceMean {
		return res, nil
	}
	return tr.Binary(Mul, res, &Tensor{f: []float32{1 / float32(n)}})
}

func (tr *Tracer) reduceTime(r Reduction, t *Tensor, ax int) (*Tensor, error) {
	if len(t.axes[ax]) != 1 {
		return nil, unsupported("a reduction over time and channels in one axis")
	}
	steps, fixed := t.axes[ax].size().Const()
	switch {
	case r == ReduceMean:
		return tr.Pool(format.Mean, t, []int{ax}, true)
	case r == ReduceMax:
		return tr.Pool(format.Max, t, []int{ax}, true)
	case r == ReduceMin:
		t, err := tr.Negate(t)
		if err == nil {
			t, err = tr.Pool(format.Max, t, []int{ax}, true)
		}
		if err != nil {
			return nil, err
		}
		return tr.Negate(t)
	case r == ReduceSum && fixed:
		t, err := tr.Pool(format.Mean, t, []int{ax}, true)
		if err != nil {
			return nil, err
		}
		return tr.Binary(Mul, t, &Tensor{f: []float32{float32(steps)}})
	}
	return nil, unsupported("a sum or product over time")
}

func (tr *Tracer) reduceKnown(r Reduction, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	t, err := tr.materialise(t)
	if err != nil {
		return nil, err
	}
	if t.f == nil {
		return tr.reduceInts(r, t, axes, keep)
	}
	moved, err := tr.Transpose(t, t.innermost(axes))
	if err != nil {
		return nil, err
	}
	n := 1
	for _, ax := range axes {
		k, _ := t.axes[ax].count()
		n *= k
	}
	if n == 0 {
		return nil, unsupported("a reduction of nothing")
	}
	out := make([]float32, len(moved.f)/n)
	for i := range out {
		out[i] = float32(fold64(r, moved.f[i*n:(i+1)*n]))
	}
	res := t.without(axes)
	res.f = out
	if keep {
		return res, nil
	}
	return res.dropped(axes), nil
}

func fold64(r Reduction, v []float32) float64 {
	s := float64(v[0])
	for _, x := range v[1:] {
		switch y := float64(x); r {
		case ReduceMax:
			s = max(s, y)
		case ReduceMin:
			s = min(s, y)
		case ReduceProduct:
			s *= y
		default:
			s += y
		}
	}
	if r == ReduceMean {
		s /= float64(len(v))
	}
	return s
}

// reduceInts is for shape arithmetic, such as the product of all sizes.
func (tr *Tracer) reduceInts(r Reduction, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	op, ok := map[Reduction]Arith{ReduceSum: Add, ReduceProduct: Mul, ReduceMin: Min, ReduceMax: Max}[r]
	moved, err := tr.Transpose(t, t.innermost(axes))
	if err != nil {
		return nil, err
	}
	n := moved.extent(len(moved.axes)-len(axes), len(moved.axes))
	if !ok || n == 0 {
		return nil, unsupported("a mean of integers, or a reduction of nothing")
	}
	res := t.without(axes)
	res.i = make([]Poly, 0, len(moved.i)/n)
	for v := range slices.Chunk(moved.i, n) {
		s := v[0]
		for _, x := range v[1:] {
			if s, err = polyOp(op, s, x); err != nil {
				return nil, err
			}
		}
		res.i = append(res.i, s)
	}
	if keep {
		return res, nil
	}
	return res.dropped(axes), nil
}

// groups brings the channels along axes together: t with these axes last, and the channels of each group in the order of memory.
func (tr *Tracer) groups(t *Tensor, axes []int) (moved *Tensor, n int, err error) {
	n = 1
	for _, ax := range axes {
		if a := t.axes[ax]; a.has(time) || a.has(batch) && !a.size().is(1) {
			return nil, 0, unsupported("channels together with time or batch")
		}
		if t, err = tr.densify(t, ax); err != nil {
			return nil, 0, err
		}
		k, _ := t.axes[ax].count()
		n *= k
	}
	if moved, err = tr.Transpose(t, t.innermost(axes)); err != nil {
		return nil, 0, err
	}
	if n == 0 || len(moved.c) == 0 || tr.mixed(moved.c) {
		return nil, 0, unsupported("no channels, or such of mixed sorts")
	}
	return moved, n, nil
}

// back undoes groups.
func (tr *Tracer) back(moved *Tensor, axes []int, rank int) (*Tensor, error) {
	perm := make([]int64, rank)
	k := int64(0)
	for ax := range rank {
		if !slices.Contains(axes, ax) {
			perm[ax] = k
			k++
		}
	}
	for _, ax := range axes {
		perm[ax] = k
		k++
	}
	return tr.Transpose(moved, perm)
}

// LayerNorm is (t - mean)/sqrt(variance + eps) along axes, whose scale and shift follow as operators of their own.
func (tr *Tracer) LayerNorm(t *Tensor, axes []int, eps float32) (*Tensor, error) {
	if !t.Computed() {
		return nil, unsupported("a normalisation of constants")
	}
	moved, n, err := tr.groups(t, axes)
	if err != nil {
		return nil, err
	}
	in := tr.contiguous(moved.c)
	op := quant.Op{Kind: format.Normalise, Name: tr.name(format.Normalise), Dims: []int32{int32(n)}, Params: []float32{max(eps, format.MinVector)}}
	return tr.back(moved.channels(tr.emit(op, in, len(in), tr.perStep(in))), axes, t.Rank())
}

// MatMul is the product of two tensors over the last axis of a and the last but one of b, with broadcasting of the others.
func (tr *Tracer) MatMul(a, b *Tensor) (*Tensor, error) {
	if len(a.axes) < 2 || len(b.axes) < 2 {
		return nil, unsupported("a product of tensors with fewer than 2 dimensions")
	}
	computed := a.Computed() || b.Computed()
	perStep := a.Computed() && tr.perStep(a.c) || !a.Computed() && b.Computed() && tr.perStep(b.c)
	var err error
	ts := []*Tensor{a, b}
	for i := range ts {
		if computed {
			ts[i], err = tr.lifted(ts[i], perStep)
		} else {
			ts[i], err = tr.ToFloat(ts[i])
		}
		if err != nil {
			return nil, err
		}
		for ax := len(ts[i].axes) - 2; ax < len(ts[i].axes); ax++ {
			if ts[i], err = tr.densify(ts[i], ax); err != nil {
				return nil, err
			}
		}
	}
	a, b = ts[0], ts[1]
	m, _ := a.axes[len(a.axes)-2].count()
	k, _ := a.axes[len(a.axes)-1].count()
	k2, _ := b.axes[len(b.axes)-2].count()
	n, _ := b.axes[len(b.axes)-1].count()
	if k != k2 || m*k*n == 0 {
		return nil, unsupported("a product of %d by %d and %d by %d", m, k, k2, n)
	}
	lead := func(t *Tensor, size int) *Tensor { return numbered(t.axes[:len(t.axes)-2], t.len()/size) }
	la, lb, err := tr.align(lead(a, m*k), lead(b, k*n))
	if err != nil {
		return nil, err
	}
	ia, ib := la.numbers(), lb.numbers()
	if err := tr.spend(int64(len(ia)) * int64(m*k+k*n+m*n)); err != nil {
		return nil, err
	}
	axes := append(slices.Clone(la.axes), denseAxis(m), denseAxis(n))
	if !computed {
		if err := tr.spend(int64(len(ia)) * int64(m) * (int64(k)*int64(n)/perElement + int64(n))); err != nil {
			return nil, err
		}
		out := make([]float32, 0, len(ia)*m*n)
		for i := range ia {
			out = append(out, matrixProduct(a.f[ia[i]*m*k:], b.f[ib[i]*k*n:], m, k, n)...)
		}
		return &Tensor{axes: axes, f: out}, nil
	}
	var x, y []Chan
	for i := range ia {
		x = append(x, a.c[ia[i]*m*k:][:m*k]...)
		y = append(y, b.c[ib[i]*k*n:][:k*n]...)
	}
	if tr.mixed(append(slices.Clone(x), y...)) {
		return nil, unsupported("values of every step multiplied with one of the whole sequence")
	}
	op := quant.Op{Kind: format.MatMul, Name: tr.name(format.MatMul), Dims: []int32{int32(len(ia)), int32(m), int32(k), int32(n)}}
	return &Tensor{axes: axes, c: tr.emitAll(op, [][]Chan{x, y}, len(ia)*m*n, perStep)}, nil
}

// perElement is how many multiplications of known numbers cost as much as an element that is rearranged.
const perElement = 16

// matrixProduct is a, [m, k], times b, [k, n].
func matrixProduct(a, b []float32, m, k, n int) []float32 {
	out, sum := make([]float32, 0, m*n), make([]float64, n)
	for r := range m {
		clear(sum)
		for i, v := range a[r*k:][:k] {
			for j, w := range b[i*n:][:n] {
				sum[j] += float64(v) * float64(w)
			}
		}
		for _, s := range sum {
			out = append(out, float32(s))
		}
	}
	return out
}
