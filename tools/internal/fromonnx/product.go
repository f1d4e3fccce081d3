package fromonnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

func matMul(c *call) ([]*lower.Tensor, error) { return one(c.product(c.in[0], c.in[1])) }

// product is a @ b by the rules of numpy: a vector is a matrix of one row or column, of which that axis goes in the end.
func (c *call) product(a, b *lower.Tensor) (*lower.Tensor, error) {
	if a.Rank() == 0 || b.Rank() == 0 {
		return nil, fmt.Errorf("a product of %d and %d dimensions", a.Rank(), b.Rank())
	}
	k := chain{c: c}
	row, column := a.Rank() == 1, b.Rank() == 1
	if row {
		a = k.unsqueeze(a, 0)
	}
	if column {
		b = k.unsqueeze(b, 1)
	}
	y := k.do(func() (*lower.Tensor, error) { return c.matrices(a, b) })
	var gone []int64
	if row {
		gone = append(gone, -2)
	}
	if column {
		gone = append(gone, -1)
	}
	if gone == nil {
		return k.end(y)
	}
	return k.end(k.do(func() (*lower.Tensor, error) { return c.tr.Squeeze(y, gone) }))
}

func (k *chain) unsqueeze(t *lower.Tensor, axes ...int64) *lower.Tensor {
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Unsqueeze(t, axes) })
}

// turned swaps the last two axes.
func (k *chain) turned(t *lower.Tensor) *lower.Tensor {
	if k.err != nil {
		return nil
	}
	perm := make([]int64, t.Rank())
	for i := range perm {
		perm[i] = int64(i)
	}
	if n := len(perm); n > 1 {
		perm[n-2], perm[n-1] = perm[n-1], perm[n-2]
	}
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Transpose(t, perm) })
}

// matrices is a @ b of at least two dimensions each. A matrix that is known, and the same for all, becomes a dense layer: on the right
// as it is, on the left of the product turned, bᵀ aᵀ.
func (c *call) matrices(a, b *lower.Tensor) (*lower.Tensor, error) {
	k := chain{c: c}
	switch {
	case !b.Computed():
		if w, in, out := c.matrix(b, a.Rank()); w != nil {
			return c.dense(a, transposed(w, in, out), out)
		}
	case !a.Computed():
		if w, out, in := c.matrix(a, b.Rank()); w != nil && len(w) == in*out {
			t := k.turned(b)
			return k.end(k.turned(k.do(func() (*lower.Tensor, error) { return c.dense(t, w, out) })))
		}
	}
	return c.tr.MatMul(a, b)
}

// matrix returns a known tensor that is one matrix, beside another of the given rank; nil if it is not.
func (c *call) matrix(t *lower.Tensor, rank int) (w []float32, rows, cols int) {
	t, err := c.tr.ToFloat(t)
	if err != nil {
		return nil, 0, 0
	}
	dims, v, err := c.tr.Numbers(t)
	if err != nil || len(dims) > rank {
		return nil, 0, 0
	}
	for len(dims) > 2 && dims[0] == 1 {
		dims = dims[1:]
	}
	if len(dims) != 2 {
		return nil, 0, 0
	}
	return v, dims[0], dims[1]
}

func (c *call) dense(t *lower.Tensor, w []float32, outputs int) (*lower.Tensor, error) {
	t, err := c.tr.ToFloat(t)
	if err != nil {
		return nil, err
	}
	return c.tr.Dense(t, w, outputs, nil)
}

func transposed(m []float32, rows, cols int) []float32 {
	out := make([]float32, len(m))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = m[r*cols+c]
		}
	}
	return out
}

// gemm is alpha A' B' + beta C.
func gemm(c *call) ([]*lower.Tensor, error) {
	a, b := c.in[0], c.in[1]
	if a.Rank() != 2 || b.Rank() != 2 {
		return nil, fmt.Errorf("matrices of %d and %d dimensions", a.Rank(), b.Rank())
	}
	k := chain{c: c}
	if c.int("transA", 0) != 0 {
		a = k.turned(a)
	}
	turned := c.int("transB", 0) != 0
	var y *lower.Tensor
	rest := c.arg(2)
	if a.Computed() && !b.Computed() {
		y, rest = k.affine(a, b, turned)
	} else {
		if turned {
			b = k.turned(b)
		}
		y = k.scaled(k.do(func() (*lower.Tensor, error) { return c.matrices(a, b) }), c.float("alpha", 1))
	}
	if rest != nil {
		y = k.add(y, k.scaled(k.float(rest), c.float("beta", 1)))
	}
	return one(k.end(k.activated(y)))
}

// affine is alpha A W, with beta C if that is a known row; rest is C if it is not.
func (k *chain) affine(a, b *lower.Tensor, turned bool) (y, rest *lower.Tensor) {
	c := k.c
	w, outputs, inputs := c.matrix(b, 2)
	if w == nil {
		k.err = unsupported("weights that are not one known matrix")
		return nil, nil
	}
	if !turned {
		w, outputs = transposed(w, outputs, inputs), inputs
	}
	bias, rest := c.bias(outputs)
	return k.do(func() (*lower.Tensor, error) {
		return c.tr.Dense(a, scaled(w, c.float("alpha", 1)), outputs, scaled(bias, c.float("beta", 1)))
	}), rest
}

// bias is the third input of Gemm if it is the same for every row and known; rest is it otherwise.
func (c *call) bias(outputs int) (row []float32, rest *lower.Tensor) {
	t := c.arg(2)
	if t == nil || t.Computed() || t.Rank() == 2 && !t.Shape()[0].Equal(lower.Int(1)) {
		return nil, t
	}
	v, err := c.numbers(t)
	switch {
	case err == nil && len(v) == outputs:
		return v, nil
	case err == nil && len(v) == 1:
		return slices.Repeat(v, outputs), nil
	}
	return nil, t
}

func scaled(v []float32, by float32) []float32 {
	if by == 1 || v == nil {
		return v
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = x * by
	}
	return out
}

var activationKinds = map[kernels.Activation]format.Kind{
	kernels.ActSigmoid: format.Sigmoid, kernels.ActTanh: format.Tanh, kernels.ActReLU: format.ReLU, kernels.ActLeakyReLU: format.LeakyReLU,
	kernels.ActHardSigmoid: format.HardSigmoid, kernels.ActELU: format.ELU, kernels.ActSoftsign: format.Softsign,
	kernels.ActSoftplus: format.Softplus, kernels.ActThresholdedReLU: format.ThresholdedReLU,
}

// activated applies the activation that ONNX Runtime has fused into the node, if it has.
func (k *chain) activated(t *lower.Tensor) *lower.Tensor {
	name := k.c.string("activation", "")
	if name == "" || k.err != nil {
		return t
	}
	params := []float32{k.c.float("activation_alpha", 0), k.c.float("activation_beta", 0)}
	if a := k.c.Attr("activation_params"); a != nil {
		params = append(slices.Clone(a.Floats), 0, 0)
	}
	if name == "Clip" {
		return k.clip(t, params[0], params[1])
	}
	a, ok := activations[strings.ToLower(name)]
	kind, simple := activationKinds[a.kind]
	if !ok || !simple {
		k.err = unsupported("the activation %s is not supported", name)
		return nil
	}
	return k.unary(kind, t, params[:kind.Params()]...)
}

// rowsLast moves the first axis behind the others but the last: rows that come before the axes of the batch.
func (k *chain) rowsLast(t *lower.Tensor) *lower.Tensor {
	rank := int64(t.Rank())
	if rank < 2 {
		return t
	}
	var perm []int64
	for ax := int64(1); ax < rank-1; ax++ {
		perm = append(perm, ax)
	}
	return k.transpose(t, append(perm, 0, rank-1))
}

func fusedMatMul(c *call) ([]*lower.Tensor, error) {
	k := chain{c: c}
	a, b := c.in[0], c.in[1]
	if c.int("transBatchA", 0) != 0 {
		a = k.rowsLast(a)
	}
	if c.int("transBatchB", 0) != 0 {
		b = k.rowsLast(b)
	}
	if c.int("transA", 0) != 0 {
		a = k.turned(a)
	}
	if c.int("transB", 0) != 0 {
		b = k.turned(b)
	}
	y := k.do(func() (*lower.Tensor, error) { return c.product(a, b) })
	return one(k.end(k.scaled(y, c.float("alpha", 1))))
}

// einsum sums products of one or two tensors along named axes, of which each occurs once in an operand.
func einsum(c *call) ([]*lower.Tensor, error) {
	equation := strings.ReplaceAll(c.string("equation", ""), " ", "")
	left, out, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if !explicit {
		out = einsumResult(left)
	}
	if len(terms) > 2 || len(c.in) != len(terms) || slices.Contains(c.in, nil) || strings.Contains(equation, ".") {
		return nil, unsupported("the equation %q", equation)
	}
	e := einsumPlan{out: out, size: map[rune]lower.Poly{}}
	k := chain{c: c}
	in := slices.Clone(c.in)
	for i, term := range terms {
		if err := e.term(term, in[i]); err != nil {
			return nil, err
		}
		in[i], terms[i] = k.summed(in[i], term, out+strings.Join(without(terms, i), ""))
	}
	if len(terms) == 1 {
		if len(terms[0]) != len(out) {
			return nil, unsupported("the equation %q", equation)
		}
		return one(k.end(k.transposed(in[0], terms[0], out)))
	}
	return e.run(&k, in, terms[0], terms[1])
}

// einsumResult is what an equation means without a result: the axes that occur once, in the order of the alphabet.
func einsumResult(left string) (out string) {
	for r := 'A'; r <= 'z'; r++ {
		if strings.Count(left, string(r)) == 1 {
			out += string(r)
		}
	}
	return out
}

func without(s []string, i int) []string { return slices.Delete(slices.Clone(s), i, i+1) }

// summed sums the axes of a term that nothing else has.
func (k *chain) summed(t *lower.Tensor, term, others string) (*lower.Tensor, string) {
	var axes []int
	left := ""
	for i, r := range term {
		if strings.ContainsRune(others, r) {
			left += string(r)
		} else {
			axes = append(axes, i)
		}
	}
	if axes == nil {
		return t, term
	}
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Reduce(lower.ReduceSum, t, axes, false) }), left
}

type einsumPlan struct {
	out  string
	size map[rune]lower.Poly
}

func (e *einsumPlan) term(term string, t *lower.Tensor) error {
	if len(term) != t.Rank() {
		return fmt.Errorf("%q for %d dimensions", term, t.Rank())
	}
	for i, r := range term {
		if n, ok := e.size[r]; strings.Count(term, string(r)) != 1 || ok && !n.Equal(t.Shape()[i]) {
			return unsupported("the axis %q twice in an operand, or with different lengths", r)
		}
		e.size[r] = t.Shape()[i]
	}
	return nil
}

// run brings the operands into the form [shared, rows, inner] and [shared, inner, columns].
func (e *einsumPlan) run(k *chain, in []*lower.Tensor, x, y string) ([]*lower.Tensor, error) {
	pick := func(from string, want func(r string) bool) (s string) {
		for _, r := range from {
			if want(string(r)) {
				s += string(r)
			}
		}
		return s
	}
	has := strings.Contains
	shared := pick(e.out, func(r string) bool { return has(x, r) && has(y, r) })
	rows := pick(e.out, func(r string) bool { return has(x, r) && !has(y, r) })
	columns := pick(e.out, func(r string) bool { return !has(x, r) && has(y, r) })
	inner := pick(x, func(r string) bool { return has(y, r) && !has(e.out, r) })
	if len(shared+rows+columns) != len(e.out) {
		return nil, unsupported("the result %q", e.out)
	}
	a := k.grouped(in[0], x, e, shared, rows, inner)
	b := k.grouped(in[1], y, e, shared, inner, columns)
	t := k.do(func() (*lower.Tensor, error) { return k.c.matrices(a, b) })
	t = k.reshape(t, e.sizes(shared+rows+columns))
	return one(k.end(k.transposed(t, shared+rows+columns, e.out)))
}

func (e *einsumPlan) sizes(axes string) []lower.Poly {
	out := make([]lower.Poly, 0, len(axes))
	for _, r := range axes {
		out = append(out, e.size[r])
	}
	return out
}

// transposed reorders axes by name.
func (k *chain) transposed(t *lower.Tensor, from, to string) *lower.Tensor {
	perm := make([]int64, len(to))
	for i, r := range to {
		perm[i] = int64(strings.IndexRune(from, r))
	}
	return k.do(func() (*lower.Tensor, error) { return k.c.tr.Transpose(t, perm) })
}

// grouped has the axes of lead on their own, and those of each group as one.
func (k *chain) grouped(t *lower.Tensor, term string, e *einsumPlan, lead string, groups ...string) *lower.Tensor {
	t = k.transposed(t, term, lead+strings.Join(groups, ""))
	dims := e.sizes(lead)
	for _, g := range groups {
		n := lower.Int(1)
		for _, d := range e.sizes(g) {
			if k.err == nil {
				n, k.err = n.Mul(d)
			}
		}
		dims = append(dims, n)
	}
	return k.reshape(t, dims)
}
