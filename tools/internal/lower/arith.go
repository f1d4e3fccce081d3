package lower

import (
	"math"
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// align broadcasts two tensors to common axes, with an element of each for every element of the result.
func (tr *Tracer) align(a, b *Tensor) (x, y *Tensor, err error) {
	var axes []axis
	rank := max(len(a.axes), len(b.axes))
	a, b = a.padded(rank), b.padded(rank)
	for ax := range rank {
		if a, b, err = tr.match(a, b, ax); err != nil {
			return nil, nil, err
		}
	}
	sa, sb := a.strides(), b.strides()
	var na, nb []loop
	for ax := range rank {
		x, y := a.axes[ax], b.axes[ax]
		wide := x
		if y.weight() > x.weight() {
			wide = y
		}
		for k, at := range wide {
			if at.kind == dense {
				na = append(na, loop{int(at.size.c), strideIn(x, wide, sa[ax], k)})
				nb = append(nb, loop{int(at.size.c), strideIn(y, wide, sb[ax], k)})
			}
		}
		axes = append(axes, wide)
	}
	ia, err := tr.visit(na)
	if err != nil {
		return nil, nil, err
	}
	ib, err := tr.visit(nb)
	return a.pick(axes, ia), b.pick(axes, ib), err
}

// strideIn is the stride of atom k of the wide axis in a tensor whose own axis is equal to it, or has no data along it.
func strideIn(own, wide axis, strides []int, k int) int {
	if own.equal(wide) {
		return strides[k]
	}
	return 0
}

func (t *Tensor) padded(rank int) *Tensor {
	return t.with(append(make([]axis, rank-len(t.axes)), t.axes...))
}

// weight orders axes by how much they say of the result of broadcasting: channels, steps and sequences, repeats, nothing.
func (a axis) weight() int {
	switch {
	case a.has(dense):
		return 3
	case a.has(time) || a.has(batch):
		return 2
	}
	return min(len(a), 1)
}

// match makes an axis of two tensors equal, or leaves one of them without data along it.
func (tr *Tracer) match(a, b *Tensor, ax int) (*Tensor, *Tensor, error) {
	x, y := a.axes[ax], b.axes[ax]
	switch {
	case x.equal(y) || len(x) == 0 || len(y) == 0:
		return a, b, nil
	case !x.size().Equal(y.size()):
		return nil, nil, unsupported("lengths %v and %v do not broadcast", x.size(), y.size())
	case x.all(repeat) || y.all(repeat):
		return a, b, nil
	}
	if x.moving() && !y.moving() {
		r, ok := tr.collapse(b, ax)
		return a, r, errorUnless(ok, "constants that differ from step to step")
	}
	if y.moving() && !x.moving() {
		r, ok := tr.collapse(a, ax)
		return r, b, errorUnless(ok, "constants that differ from step to step")
	}
	if x.moving() {
		return nil, nil, unsupported("time and batch combined in different orders")
	}
	a, err := tr.densify(a, ax)
	if err == nil {
		b, err = tr.densify(b, ax)
	}
	return a, b, err
}

func errorUnless(ok bool, why string) error {
	if !ok {
		return unsupported("%s", why)
	}
	return nil
}

// Arith is a binary operator.
type Arith uint8

// The binary operators. Comparisons give 1 or 0.
const (
	Add Arith = iota
	Sub
	Mul
	Div
	Equal
	Less
	Greater
	And
	Or
	Pow
	Min
	Max
	Mod       // with the sign of the divisor; of known numbers, and so is Remainder
	Remainder // with the sign of the dividend
)

// Binary is a op b with broadcasting.
func (tr *Tracer) Binary(op Arith, a, b *Tensor) (*Tensor, error) {
	if a.Computed() && b.Computed() {
		return tr.combine(op, a, b)
	}
	if a.Computed() || b.Computed() {
		return tr.withKnown(op, a, b)
	}
	if (a.f == nil) != (b.f == nil) {
		return nil, unsupported("a mix of integers and floats")
	}
	a, b, err := tr.align(a, b)
	if err != nil {
		return nil, err
	}
	if a.f != nil {
		return floatOp(op, a, b)
	}
	return intOp(op, a, b)
}

// withKnown is a op b where one is computed and the other known.
func (tr *Tracer) withKnown(op Arith, a, b *Tensor) (*Tensor, error) {
	a, err := tr.ToFloat(a)
	if err != nil {
		return nil, err
	}
	if b, err = tr.ToFloat(b); err != nil {
		return nil, err
	}
	x, y, err := tr.align(a, b)
	if err != nil {
		return nil, err
	}
	if t, err := tr.affineOp(op, x, y); t != nil || err != nil {
		return t, err
	}
	return tr.special(op, a, b)
}

// Quotient is a / b, rounded once also where b is constant; Binary then multiplies by the inverse, which is cheaper.
func (tr *Tracer) Quotient(a, b *Tensor) (*Tensor, error) {
	if !a.Computed() && !b.Computed() || slices.IndexFunc(b.f, inexact) < 0 && b.f != nil {
		return tr.Binary(Div, a, b)
	}
	return tr.combine(Div, a, b)
}

// inexact reports whether 1/v is rounded.
func inexact(v float32) bool {
	m, _ := math.Frexp(math.Abs(float64(v)))
	return m != 0.5
}

func floatOp(op Arith, a, b *Tensor) (*Tensor, error) {
	out := make([]float32, len(a.f))
	for i, x := range a.f {
		switch y := b.f[i]; op {
		case Add:
			out[i] = x + y
		case Sub:
			out[i] = x - y
		case Mul:
			out[i] = x * y
		case Div:
			out[i] = x / y
		case Pow:
			out[i] = float32(math.Pow(float64(x), float64(y)))
		case Min:
			out[i] = min(x, y)
		case Max:
			out[i] = max(x, y)
		case Mod:
			out[i] = x - y*float32(math.Floor(float64(x)/float64(y)))
		case Remainder:
			out[i] = float32(math.Mod(float64(x), float64(y)))
		default:
			return compareFloats(op, a, b)
		}
	}
	return &Tensor{axes: a.axes, f: out}, nil
}

func compareFloats(op Arith, a, b *Tensor) (*Tensor, error) {
	out := make([]Poly, len(a.f))
	for i, x := range a.f {
		y := b.f[i]
		truth := map[Arith]bool{Equal: x == y, Less: x < y, Greater: x > y, And: x != 0 && y != 0, Or: x != 0 || y != 0}[op]
		if truth {
			out[i] = Int(1)
		}
	}
	return &Tensor{axes: a.axes, i: out}, nil
}

func intOp(op Arith, a, b *Tensor) (*Tensor, error) {
	out := make([]Poly, len(a.i))
	for i, x := range a.i {
		var err error
		if out[i], err = polyOp(op, x, b.i[i]); err != nil {
			return nil, err
		}
	}
	return &Tensor{axes: a.axes, i: out}, nil
}

func polyOp(op Arith, x, y Poly) (Poly, error) {
	switch op {
	case Add:
		return x.Add(y)
	case Sub:
		return x.Sub(y)
	case Mul:
		return x.Mul(y)
	case Div:
		return x.Div(y)
	}
	if op == Equal && x.Equal(y) {
		return Int(1), nil
	}
	a, ka := x.Const()
	b, kb := y.Const()
	if !ka || !kb {
		return polyEqual(op, x, y)
	}
	switch op {
	case Min:
		return Int(min(a, b)), nil
	case Max:
		return Int(max(a, b)), nil
	case Pow:
		return power(a, b)
	case Mod, Remainder:
		return modulo(op, a, b)
	}
	truth := map[Arith]bool{Equal: a == b, Less: a < b, Greater: a > b, And: a != 0 && b != 0, Or: a != 0 || b != 0}[op]
	if truth {
		return Int(1), nil
	}
	return Int(0), nil
}

func power(a, b int64) (Poly, error) {
	if b < 0 || b > 64 && a != 0 && a != 1 {
		return Poly{}, unsupported("the power %d of %d in shape arithmetic", b, a)
	}
	p, err := Int(1), error(nil)
	for range min(b, 64) {
		if p, err = p.Mul(Int(a)); err != nil {
			return p, err
		}
	}
	return p, nil
}

func modulo(op Arith, a, b int64) (Poly, error) {
	if b == 0 {
		return Poly{}, unsupported("a remainder of a division by 0 in shape arithmetic")
	}
	r := a % b
	if op == Mod && r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return Int(r), nil
}

// polyEqual compares lengths with constants: a length is never below 1, so it equals no number that is.
func polyEqual(op Arith, x, y Poly) (Poly, error) {
	for _, p := range [][2]Poly{{x, y}, {y, x}} {
		c, fixed := p[1].Const()
		t, single := p[0].single()
		if op == Equal && fixed && c <= 0 && single && t.coef > 0 {
			return Int(0), nil
		}
	}
	return Poly{}, unsupported("a comparison of %v with %v", x, y)
}

// affineOp scales and shifts a computed tensor by constants. It returns nil where the operator is no such thing, or the factors are out of
// the range of a file.
func (tr *Tracer) affineOp(op Arith, a, b *Tensor) (*Tensor, error) {
	x, k := a, b.f
	if b.Computed() {
		x, k = b, a.f
	}
	scale, shift := make([]float32, len(k)), make([]float32, len(k))
	for i, v := range k {
		scale[i] = 1
		switch {
		case op == Add:
			shift[i] = v
		case op == Sub && x == a:
			shift[i] = -v
		case op == Sub:
			scale[i], shift[i] = -1, v
		case op == Mul:
			scale[i] = v
		case op == Div && x == a:
			scale[i] = 1 / v
		default:
			return nil, nil
		}
		if m := max(scale[i], -scale[i]); m != 0 && m < format.MinVector || m > largest || max(shift[i], -shift[i]) > largest || bad(scale[i]) {
			return nil, nil
		}
	}
	return &Tensor{axes: x.axes, c: tr.affine(x.c, scale, shift)}, nil
}

// special is a op b of a computed tensor and a constant where that is not affine.
func (tr *Tracer) special(op Arith, a, b *Tensor) (*Tensor, error) {
	if op == Pow && a.Computed() && len(b.f) > 0 && !slices.ContainsFunc(b.f, func(v float32) bool { return v != b.f[0] }) && b.spread() {
		switch b.f[0] {
		case 1:
			return a, nil
		case 2:
			return tr.combine(Mul, a, a)
		case 0.5:
			return tr.Unary(format.Sqrt, a)
		}
	}
	return tr.combine(op, a, b)
}

// spread reports whether a tensor has one element, which broadcasts to any shape.
func (t *Tensor) spread() bool {
	for _, a := range t.axes {
		if !a.size().is(1) {
			return false
		}
	}
	return true
}

func bad(v float32) bool { return v-v != 0 }

func (tr *Tracer) affine(in []Chan, scale, shift []float32) []Chan {
	if ascending(in) {
		return tr.each(quant.Op{Kind: format.Affine, Name: tr.name(format.Affine), Scale: scale, Shift: shift}, in, tr.perStep(in))
	}
	sorted, pos := canonical(in)
	op := quant.Op{Kind: format.Affine, Name: tr.name(format.Affine), Scale: at(scale, pos), Shift: at(shift, pos)}
	return scatter(tr.each(op, sorted, tr.perStep(in)), pos)
}

// ascending reports whether canonical would change nothing, and no channel comes twice.
func ascending(in []Chan) bool {
	for i := 1; i < len(in); i++ {
		if a, b := in[i-1], in[i]; a.Value > b.Value || a.Value == b.Value && a.Channel >= b.Channel {
			return false
		}
	}
	return true
}

// canonical sorts channels by value, so that few ranges describe them; sorted[k] is in[pos[k]].
func canonical(in []Chan) (sorted []Chan, pos []int) {
	pos = make([]int, len(in))
	for i := range pos {
		pos[i] = i
	}
	slices.SortStableFunc(pos, func(a, b int) int {
		if in[a].Value != in[b].Value {
			return in[a].Value - in[b].Value
		}
		return in[a].Channel - in[b].Channel
	})
	return at(in, pos), pos
}

// scatter is the inverse of canonical: out[pos[k]] = sorted[k].
func scatter(sorted []Chan, pos []int) []Chan {
	out := make([]Chan, len(sorted))
	for k, p := range pos {
		out[p] = sorted[k]
	}
	return out
}

func (tr *Tracer) perStep(c []Chan) bool { return len(c) == 0 || tr.graph.Values[c[0].Value].PerStep }

// mixed reports whether some of the channels are per step and others are not.
func (tr *Tracer) mixed(c []Chan) bool {
	return slices.ContainsFunc(c, func(x Chan) bool { return tr.graph.Values[x.Value].PerStep != tr.perStep(c) })
}

// Unary applies a function to every element.
func (tr *Tracer) Unary(kind format.Kind, t *Tensor, params ...float32) (*Tensor, error) {
	if !t.Computed() {
		return tr.Map(t, known(kind, params))
	}
	if len(t.c) == 0 || tr.mixed(t.c) {
		return nil, unsupported("a tensor without channels, or of mixed sorts")
	}
	for i, p := range params { // the largest stands for infinity
		params[i] = max(min(p, largest), -largest)
	}
	op := quant.Op{Kind: kind, Name: tr.name(kind)}
	if len(params) > 0 {
		op.Params = params
	}
	if ascending(t.c) {
		return t.channels(tr.each(op, t.c, tr.perStep(t.c))), nil
	}
	sorted, pos := canonical(t.c)
	unique := slices.Compact(slices.Clone(sorted))
	out := tr.each(op, unique, tr.perStep(unique))
	if len(unique) < len(sorted) {
		out = repeated(out, sorted)
	}
	return t.channels(scatter(out, pos)), nil
}

// repeated gives every run of equal channels what was computed for one of them.
func repeated(out, sorted []Chan) []Chan {
	all := make([]Chan, len(sorted))
	k := -1
	for i, c := range sorted {
		if i == 0 || c != sorted[i-1] {
			k++
		}
		all[i] = out[k]
	}
	return all
}

// known is the function of an elementwise operation on known numbers.
func known(kind format.Kind, params []float32) func(float64) float64 {
	p := func(i int) float64 { return float64(params[i]) }
	return map[format.Kind]func(float64) float64{
		format.Sigmoid:  func(v float64) float64 { return 1 / (1 + math.Exp(-v)) },
		format.Tanh:     math.Tanh,
		format.ReLU:     func(v float64) float64 { return max(v, 0) },
		format.Exp:      math.Exp,
		format.Log:      math.Log,
		format.Sqrt:     math.Sqrt,
		format.Abs:      math.Abs,
		format.Round:    math.RoundToEven,
		format.Floor:    math.Floor,
		format.Erf:      math.Erf,
		format.Softplus: func(v float64) float64 { return math.Log1p(math.Exp(v)) },
		format.Softsign: func(v float64) float64 { return v / (1 + math.Abs(v)) },
		format.Clip:     func(v float64) float64 { return min(max(v, p(0)), p(1)) },
		format.ELU: func(v float64) float64 {
			if v < 0 {
				return p(0) * math.Expm1(v)
			}
			return v
		},
		format.LeakyReLU: func(v float64) float64 {
			if v < 0 {
				return p(0) * v
			}
			return v
		},
		format.ThresholdedReLU: func(v float64) float64 {
			if v > p(0) {
				return v
			}
			return 0
		},
		format.HardSigmoid: func(v float64) float64 { return min(max(p(0)*v+p(1), 0), 1) },
	}[kind]
}

// Map applies a function to a known tensor of floats.
func (tr *Tracer) Map(t *Tensor, f func(float64) float64) (*Tensor, error) {
	if t.f == nil || f == nil {
		return nil, unsupported("an operand that is not a constant")
	}
	out := make([]float32, len(t.f))
	for i, v := range t.f {
		out[i] = float32(f(float64(v)))
	}
	return &Tensor{axes: t.axes, f: out}, tr.spend(int64(len(out)))
}

func (t *Tensor) channels(c []Chan) *Tensor { return &Tensor{axes: t.axes, c: c} }

func (tr *Tracer) elementwise(kind format.Kind, in []Chan) []Chan {
	sorted, pos := canonical(in)
	op := quant.Op{Kind: kind, Name: tr.name(kind)}
	if kind == format.Softmax || kind == format.LogSoftmax {
		return scatter(tr.emit(op, sorted, len(in), tr.perStep(in)), pos)
	}
	return scatter(tr.each(op, sorted, tr.perStep(in)), pos)
}

// Softmax applies a softmax or log-softmax along the axes from first to last, which must hold channels.
func (tr *Tracer) Softmax(kind format.Kind, t *Tensor, first, last int) (*Tensor, error) {
	if !t.Computed() || t.len() == 0 {
		return nil, unsupported("a softmax of constants")
	}
	for ax := first; ax <= last; ax++ {
		var err error
		if a := t.axes[ax]; a.has(time) || a.has(batch) && !a.size().is(1) {
			return nil, unsupported("a softmax over time or batch")
		}
		if t, err = tr.densify(t, ax); err != nil {
			return nil, err
		}
	}
	n := t.extent(first, last+1)
	if t.len() > n {
		var axes []int
		for ax := first; ax <= last; ax++ {
			axes = append(axes, ax)
		}
		return tr.softmaxes(kind, t, axes)
	}
	return t.channels(tr.elementwise(kind, t.c)), nil
}

// softmaxes are several side by side.
func (tr *Tracer) softmaxes(kind format.Kind, t *Tensor, axes []int) (*Tensor, error) {
	moved, n, err := tr.groups(t, axes)
	if err != nil {
		return nil, err
	}
	in := tr.contiguous(moved.c)
	op := quant.Op{Kind: kind, Name: tr.name(kind), Dims: []int32{int32(n)}}
	return tr.back(moved.channels(tr.emit(op, in, len(in), tr.perStep(in))), axes, t.Rank())
}

// Dense multiplies the last axis by the matrix w, [out, in] row-major, and adds bias unless it is nil.
func (tr *Tracer) Dense(t *Tensor, w []float32, outputs int, bias []float32) (*Tensor, error) {
	if t.i != nil || len(t.axes) == 0 {
		return nil, unsupported("a product of integers, or of a single number")
	}
	last := len(t.axes) - 1
	t, err := tr.densify(t, last)
	if err != nil {
		return nil, err
	}
	inputs, _ := t.axes[last].count()
	if outputs <= 0 || inputs == 0 || outputs > maxWidth || t.len()/inputs*outputs > maxWidth || len(w) != inputs*outputs || bias != nil && len(bias) != outputs {
		return nil, unsupported("a matrix of %d weights from %d to %d channels", len(w), inputs, outputs)
	}
	axes := slices.Clone(t.axes)
	axes[last] = denseAxis(outputs)
	if !t.Computed() {
		return t.multiplied(axes, w, outputs, bias), tr.spend(int64(t.len()) * int64(outputs) / 64)
	}
	if len(t.c) == 0 || tr.mixed(t.c) {
		return nil, unsupported("a product of no channels, or of mixed sorts")
	}
	in, op := t.c, quant.Op{Kind: format.Dense, Name: tr.name(format.Dense), W: w, B: bias}
	if n := len(in) / inputs; n > 1 {
		op.Dims = []int32{int32(n)}
	} else {
		sorted, pos := canonical(in)
		if !slices.IsSorted(pos) {
			if err := tr.spend(int64(len(w))); err != nil {
				return nil, err
			}
		}
		in, op.W = sorted, columns(w, inputs, pos)
	}
	out := tr.emit(op, in, len(in)/inputs*outputs, tr.perStep(in))
	return t.with(axes).channels(out), nil
}

// multiplied is the product of known numbers.
func (t *Tensor) multiplied(axes []axis, w []float32, outputs int, bias []float32) *Tensor {
	inputs := len(w) / outputs
	out := &Tensor{axes: axes, f: make([]float32, 0, len(t.f)/inputs*outputs)}
	for x := range slices.Chunk(t.f, inputs) {
		for o := range outputs {
			s := 0.0
			if bias != nil {
				s = float64(bias[o])
			}
			for k, v := range x {
				s += float64(v) * float64(w[o*inputs+k])
			}
			out.f = append(out.f, float32(s))
		}
	}
	return out
}

// columns reorders the columns of a row-major matrix.
func columns(w []float32, width int, pos []int) []float32 {
	if slices.IsSorted(pos) {
		return w
	}
	out := make([]float32, len(w))
	for r := 0; r < len(w); r += width {
		for k, p := range pos {
			out[r+k] = w[r+p]
		}
	}
	return out
}

// Pool reduces time by mean or maximum. Other axes must have length 1.
func (tr *Tracer) Pool(kind format.Kind, t *Tensor, axes []int, keep bool) (*Tensor, error) {
	if !t.Computed() {
		return nil, unsupported("a reduction of constants")
	}
	out := t.with(slices.Clone(t.axes))
	for _, ax := range axes {
		switch a := t.axes[ax]; {
		case len(a) == 1 && a[0].kind == time:
			c, err := tr.pool(kind, out.c, tr.name(kind))
			if err != nil {
				return nil, err
			}
			out.c = c
		case !a.size().is(1):
			return nil, unsupported("a reduction of other axes than time")
		}
		out.axes[ax] = nil
	}
	if keep {
		return out, nil
	}
	var left []axis
	for ax, a := range out.axes {
		if !slices.Contains(axes, ax) {
			left = append(left, a)
		}
	}
	return out.with(left), nil
}

const perEntry = 4 // elements, of which an entry of a map takes the time and memory

// pool emits the pooling of those channels that have not been pooled that way before.
func (tr *Tracer) pool(kind format.Kind, c []Chan, name string) ([]Chan, error) {
	if len(c) == 0 || !tr.perStep(c) || tr.mixed(c) {
		return nil, unsupported("a step selected from what has no steps")
	}
	if err := tr.spend(int64(len(c)) * perEntry); err != nil {
		return nil, err
	}
	fresh, _ := canonical(c)
	fresh = slices.DeleteFunc(slices.Compact(fresh), func(x Chan) bool { _, done := tr.pooled[pooling{kind, x}]; return done })
	if len(fresh) > 0 {
		for i, p := range tr.each(quant.Op{Kind: kind, Name: name}, fresh, false) {
			tr.pooled[pooling{kind, fresh[i]}] = p
		}
	}
	out := make([]Chan, len(c))
	for i, x := range c {
		out[i] = tr.pooled[pooling{kind, x}]
	}
	return out, nil
}

// ToFloat converts known integers to floats, and leaves floats as they are.
func (tr *Tracer) ToFloat(t *Tensor) (*Tensor, error) {
	if t.i == nil {
		return t, nil
	}
	out := make([]float32, len(t.i))
	for k, p := range t.i {
		v, fixed := p.Const()
		if !fixed {
			return nil, unsupported("a number computed from the length of the input")
		}
		out[k] = float32(v)
	}
	return &Tensor{axes: t.axes, f: out}, tr.spend(int64(len(out)))
}

// ToInt converts known floats to integers by truncation, or all that is known to booleans.
func (tr *Tracer) ToInt(t *Tensor, truth bool) (*Tensor, error) {
	if t.Computed() {
		return nil, unsupported("computed values cast to integers")
	}
	out := make([]Poly, t.len())
	for k := range out {
		var p Poly
		switch {
		case t.i != nil:
			p = t.i[k]
		case math.Abs(float64(t.f[k])) < 1<<53:
			p = Int(int64(t.f[k]))
			if truth && t.f[k] != 0 {
				p = Int(1)
			}
		default:
			return nil, unsupported("a float out of the range of integers")
		}
		if v, fixed := p.Const(); truth && fixed && v != 0 {
			p = Int(1)
		} else if truth && !fixed {
			return nil, unsupported("a length used as a condition")
		}
		out[k] = p
	}
	return &Tensor{axes: t.axes, i: out}, tr.spend(int64(len(out)))
}

// Negate is -t.
func (tr *Tracer) Negate(t *Tensor) (*Tensor, error) {
	if t.i != nil {
		return tr.Binary(Sub, &Tensor{i: []Poly{Int(0)}}, t)
	}
	return tr.Binary(Mul, t, &Tensor{f: []float32{-1}})
}

// Scalar drops the axes of a tensor of one element, also those of time and batch: what it holds is that of the step at hand.
func (tr *Tracer) Scalar(t *Tensor) (*Tensor, error) {
	if t.len() != 1 {
		return nil, unsupported("%d elements where one is wanted", t.len())
	}
	return t.with(nil), nil
}

// Uniform returns the value of a tensor of integers that are all the same.
func (tr *Tracer) Uniform(t *Tensor) (Poly, bool) {
	if len(t.i) == 0 {
		return Poly{}, false
	}
	for _, p := range t.i {
		if !p.Equal(t.i[0]) {
			return Poly{}, false
		}
	}
	return t.i[0], true
}

// Only shortens an axis of a known tensor to length 1 if the data is the same everywhere along it.
func (tr *Tracer) Only(t *Tensor, ax int) (*Tensor, bool) {
	if t.axes[ax].all(repeat) {
		axes := slices.Clone(t.axes)
		axes[ax] = nil
		return t.with(axes), true
	}
	return tr.collapse(t, ax)
}

// Scale multiplies the channels along the last axis and shifts them.
func (tr *Tracer) Scale(t *Tensor, scale, shift []float32) (*Tensor, error) {
	width := []int64{int64(len(scale))}
	s, err := tr.Floats(width, scale)
	if err != nil {
		return nil, err
	}
	if t, err = tr.Binary(Mul, t, s); err != nil {
		return nil, err
	}
	if s, err = tr.Floats(width, shift); err != nil {
		return nil, err
	}
	return tr.Binary(Add, t, s)
}

// Normalise is a batch normalisation along the last axis, by the moments it has learned. A nil gamma is one, a nil beta zero.
func (tr *Tracer) Normalise(t *Tensor, mean, variance, gamma, beta []float32, eps float64) (*Tensor, error) {
	scale, shift := Normalisation(mean, variance, gamma, beta, eps)
	return tr.Scale(t, scale, shift)
}

// Normalisation is the scale and shift of a batch normalisation.
func Normalisation(mean, variance, gamma, beta []float32, eps float64) (scale, shift []float32) {
	scale, shift = ones(len(mean)), make([]float32, len(mean))
	for i := range mean {
		s := 1 / math.Sqrt(float64(variance[i])+eps)
		if gamma != nil {
			s *= float64(gamma[i])
		}
		b := -float64(mean[i]) * s
		if beta != nil {
			b += float64(beta[i])
		}
		scale[i], shift[i] = float32(s), float32(b)
	}
	return scale, shift
}
