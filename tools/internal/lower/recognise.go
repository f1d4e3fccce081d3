package lower

import (
	"encoding/binary"
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// recognise replaces LSTM and GRU cells that are written out in single operations by the operations that they are. It looks at what every
// channel is computed from, so that it does not matter in which order gates and operands come, or how they were cut and joined.
//
// A cell that is found reads its state as an input; keepStates then finds whether the session can keep it. It returns the channels in out in
// their new place.
func (tr *Tracer) recognise(out []Chan) []Chan {
	r := &recogniser{origin: newOrigin(tr), next: map[Chan]Chan{}, blocks: map[[2]int][]Chan{}}
	for v, set := range tr.stored {
		for k, c := range set {
			r.next[r.source(c)] = Chan{v, k}
		}
	}
	for i := range r.ops {
		r.lstms(i)
		r.grus(i)
	}
	if len(r.found) == 0 {
		return out
	}
	return follow(out, r.rewrite())
}

// follow puts channels in their new place.
func follow(c []Chan, moved map[Chan]Chan) []Chan {
	out := slices.Clone(c)
	for i := range out {
		if to, ok := moved[out[i]]; ok {
			out[i] = to
		}
	}
	return out
}

// origin says what channels are computed from.
type origin struct {
	tr     *Tracer
	ops    []quant.Op
	makers [][]int32 // of every channel of every value, the operation that computes it, plus 1
}

func newOrigin(tr *Tracer) *origin {
	o := &origin{tr: tr, ops: tr.graph.Ops, makers: make([][]int32, len(tr.graph.Values))}
	for i, op := range o.ops {
		if op.Kind != format.Store {
			o.index(i, op.Out)
		}
	}
	return o
}

func (o *origin) index(op int, out format.Ref) {
	m := o.makers[out.Value]
	if m == nil {
		m = make([]int32, o.tr.graph.Values[out.Value].Width)
		o.makers[out.Value] = m
	}
	for k := range out.Width {
		m[out.Offset+k] = int32(op + 1)
	}
}

type recogniser struct {
	*origin
	next   map[Chan]Chan // of a channel that a state is set to, the channel of the state
	blocks map[[2]int][]Chan
	found  []*written
	shared []*matrices
}

// written is a cell written out.
type written struct {
	op     quant.Op
	at     int    // the operation in whose place it goes
	x      []Chan // its inputs
	h, c   []Chan // the state before
	h2, c2 []Chan // the state after
}

// maker is the operation that computes a channel, and which of its outputs that is; nil for the network's input.
func (o *origin) maker(c Chan) (op *quant.Op, at, k int) {
	m := o.makers[c.Value]
	if m == nil || m[c.Channel] == 0 {
		return nil, 0, 0
	}
	at = int(m[c.Channel]) - 1
	return &o.ops[at], at, c.Channel - o.ops[at].Out.Offset
}

// operand is channel k of input i of an operation; inputs that are narrower than the output repeat.
func operand(op *quant.Op, i, k int) Chan {
	in := op.In[i]
	return Chan{in.Value, in.Offset + k%in.Width}
}

// source follows copies.
func (o *origin) source(c Chan) Chan {
	for {
		op, _, k := o.maker(c)
		switch {
		case op == nil:
			return c
		case op.Kind == format.Affine && op.Scale[k] == 1 && op.Shift[k] == 0:
			c = operand(op, 0, k)
		case op.Kind == format.Gather:
			i := int(op.Index[k])
			n := 0
			for ; i >= op.In[n].Width; n++ {
				i -= op.In[n].Width
			}
			c = Chan{op.In[n].Value, op.In[n].Offset + i}
		default:
			return c
		}
	}
}

// made is the operation behind a channel if it is of that kind, and its operands.
func (r *recogniser) made(c Chan, kind format.Kind) (in []Chan, at int, ok bool) {
	op, at, k := r.maker(r.source(c))
	if op == nil || op.Kind != kind {
		return nil, 0, false
	}
	for i := range op.In {
		in = append(in, r.source(operand(op, i, k)))
	}
	return in, at, true
}

// either is made for an operation of two operands, the first of which is of a given kind: the operand of that one, and the other.
func (r *recogniser) either(c Chan, kind, first format.Kind) (inner, other Chan, ok bool) {
	in, _, ok := r.made(c, kind)
	if !ok {
		return
	}
	for i := range in {
		if x, _, ok := r.made(in[i], first); ok {
			return x[0], in[1-i], true
		}
	}
	return Chan{}, Chan{}, false
}

// sum is a channel as rows of matrices and a constant.
type sum struct {
	rows []row
	bias float64
	last int // the last operation that it depends on
}

type row struct {
	op    *quant.Op
	row   int
	input []Chan
}

// linear writes a channel as a sum of rows of dense operations.
func (r *recogniser) linear(c Chan, depth int) (s sum, ok bool) {
	op, at, k := r.maker(r.source(c))
	if op == nil || depth > 8 {
		return s, false
	}
	switch op.Kind {
	case format.Add:
		a, ok := r.linear(operand(op, 0, k), depth+1)
		if !ok {
			return s, false
		}
		b, ok := r.linear(operand(op, 1, k), depth+1)
		return sum{append(a.rows, b.rows...), a.bias + b.bias, max(at, a.last, b.last)}, ok
	case format.Affine:
		if op.Scale[k] != 1 {
			return s, false
		}
		a, ok := r.linear(operand(op, 0, k), depth+1)
		return sum{a.rows, a.bias + float64(op.Shift[k]), max(at, a.last)}, ok
	case format.Const:
		return sum{nil, float64(op.B[k]), at}, true
	case format.Dense:
		n := rows(op)
		if op.B != nil {
			s.bias = float64(op.B[k%n])
		}
		return sum{[]row{{op, k % n, r.block(op, at, k/n)}}, s.bias, at}, true
	}
	return s, false
}

// block is what a dense operation reads for one of its blocks.
func (r *recogniser) block(op *quant.Op, at, n int) []Chan {
	key := [2]int{at, n}
	if r.blocks[key] == nil {
		width := op.In[0].Width / op.Blocks()
		for i := range width {
			r.blocks[key] = append(r.blocks[key], r.source(operand(op, 0, n*width+i)))
		}
	}
	return r.blocks[key]
}

// lstms finds h = σ(o) tanh(c'), c' = σ(f) c + σ(i) tanh(g) among the channels of a product.
func (r *recogniser) lstms(at int) {
	op := &r.ops[at]
	if op.Kind != format.Mul {
		return
	}
	var units []lstmUnit
	for k := range op.Out.Width {
		u, ok := r.lstmUnit(Chan{op.Out.Value, op.Out.Offset + k})
		if !ok {
			return
		}
		units = append(units, u)
	}
	for _, cell := range together(units, func(u lstmUnit) [4]sum { return u.gates }) {
		var gates [4][]sum
		w := &written{at: cell[0].at}
		for _, u := range cell {
			for g := range gates {
				gates[g] = append(gates[g], u.gates[g])
			}
			w.c, w.c2, w.h2 = append(w.c, u.c), append(w.c2, u.c2), append(w.h2, u.h2)
			w.at = min(w.at, u.at)
		}
		w.op = quant.Op{Kind: format.LSTM, Name: op.Name, Hidden: len(cell), Flags: format.FlagCell}
		if r.previous(w, gates[0]) && r.weights(w, gates[:], nil) {
			r.found = append(r.found, w)
		}
	}
}

type lstmUnit struct {
	gates     [4]sum // i f g o
	c, c2, h2 Chan
	at        int // the operation that computes c2
}

func (r *recogniser) lstmUnit(h Chan) (u lstmUnit, ok bool) {
	o, t, ok := r.either(h, format.Mul, format.Sigmoid)
	if !ok {
		return u, false
	}
	in, _, ok := r.made(t, format.Tanh)
	if !ok {
		return u, false
	}
	u.h2, u.c2 = h, in[0]
	parts, at, ok := r.made(u.c2, format.Add)
	if !ok {
		return u, false
	}
	u.at = at
	for swap := range 2 {
		f, c, ok1 := r.either(parts[swap], format.Mul, format.Sigmoid)
		i, g, ok2 := r.either(parts[1-swap], format.Mul, format.Sigmoid)
		if !ok1 || !ok2 {
			continue
		}
		x, _, ok := r.made(g, format.Tanh)
		if !ok {
			continue
		}
		u.c = c
		return u, r.sums(&u.gates, at, i, f, x[0], o)
	}
	return u, false
}

// sums writes the gates as sums that are complete before operation at.
func (r *recogniser) sums(to *[4]sum, at int, gates ...Chan) bool {
	for g, c := range gates {
		s, ok := r.linear(c, 0)
		if !ok || len(s.rows) == 0 || s.last >= at {
			return false
		}
		to[g] = s
	}
	return true
}

// together groups units whose gates read the same inputs.
func together[U any](units []U, gates func(U) [4]sum) (groups [][]U) {
	same := func(a, b U) bool {
		x, y := gates(a)[0].rows, gates(b)[0].rows
		return slices.EqualFunc(x, y, func(p, q row) bool { return p.op == q.op && slices.Equal(p.input, q.input) })
	}
	for _, u := range units {
		i := slices.IndexFunc(groups, func(g []U) bool { return same(g[0], u) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], u)
	}
	return groups
}

// previous finds the hidden state among the inputs of a cell: the state that is set to its output, the output of the cell whose cell state it
// goes on from, or what shows that cell state, as a first step does in which a state of zero has been folded away.
func (r *recogniser) previous(w *written, gate []sum) bool {
	var inputs []Chan
	for _, s := range gate[0].rows {
		inputs = append(inputs, s.input...)
	}
	all := func(h []Chan) bool {
		return len(h) == len(w.h2) && !slices.ContainsFunc(h, func(c Chan) bool { return !slices.Contains(inputs, c) })
	}
	var h []Chan
	for _, c := range w.h2 {
		if before, ok := r.next[c]; ok {
			h = append(h, before)
		}
	}
	if all(h) {
		w.h = h
		return true
	}
	for _, f := range slices.Backward(r.found) {
		if f.op.Kind == w.op.Kind && slices.Equal(f.c2, w.c) && all(f.h2) {
			w.h = f.h2
			return true
		}
	}
	if h = r.shown(w.c, inputs); all(h) {
		w.h = h
		return true
	}
	return false
}

// shown are the inputs that are σ(o) tanh(c) of the given cell states, in their order.
func (r *recogniser) shown(c, inputs []Chan) []Chan {
	by := map[Chan]Chan{}
	for _, x := range inputs {
		_, t, ok := r.either(x, format.Mul, format.Sigmoid)
		if !ok {
			continue
		}
		if of, _, ok := r.made(t, format.Tanh); ok {
			by[of[0]] = x
		}
	}
	var h []Chan
	for _, k := range c {
		if x, ok := by[k]; ok {
			h = append(h, x)
		}
	}
	return h
}

// weights splits the rows of the gates into those of the inputs and of the hidden state. Rows in hidden, by gate, are of the state alone
// and stay apart.
func (r *recogniser) weights(w *written, gates [][]sum, hidden [][]sum) bool {
	column := map[Chan]int{} // of a hidden unit, or minus 1 and that of an input
	for u, c := range w.h {
		column[c] = u
	}
	for _, s := range gates[0][0].rows {
		for _, c := range s.input {
			if _, seen := column[c]; !seen {
				column[c] = -1 - len(w.x)
				w.x = append(w.x, c)
			}
		}
	}
	units, inputs := len(w.h2), len(w.x)
	if inputs == 0 || len(column) != units+inputs {
		return false
	}
	m, ok := r.matrices(gates, hidden, column, inputs, units)
	if !ok {
		return false
	}
	op := &w.op
	op.W, op.U, op.B = m.w, m.u, biases(gates, units)
	if hidden != nil {
		op.BH = biases(hidden, units)
	}
	return true
}

// biases are the constants of sums, zero of those that are missing.
func biases(gates [][]sum, units int) []float32 {
	b := make([]float32, len(gates)*units)
	for g := range gates {
		for u, s := range gates[g] {
			b[g*units+u] = float32(s.bias)
		}
	}
	return b
}

// matrices are those of a cell, with the parts that they are made from. The steps of a recurrence share them.
type matrices struct {
	parts []part
	w, u  []float32
}

// part is a row of a dense operation that goes into row at of a matrix, to the columns that its inputs have.
type part struct {
	at, row int
	from    *float32 // the operation's matrix
	columns string
}

func (r *recogniser) matrices(gates, hidden [][]sum, column map[Chan]int, inputs, units int) (*matrices, bool) {
	m := &matrices{}
	var rows []row
	known := map[*Chan]string{} // the columns of a list of inputs
	for _, list := range [][][]sum{gates, hidden} {
		for g := range list {
			for u, s := range list[g] {
				for _, row := range s.rows {
					columns, ok := known[&row.input[0]]
					if !ok {
						if columns, ok = columnsOf(row.input, column); !ok {
							return nil, false
						}
						known[&row.input[0]] = columns
					}
					m.parts = append(m.parts, part{g*units + u, row.row, &row.op.W[0], columns})
					rows = append(rows, row)
				}
			}
		}
	}
	for _, other := range r.shared {
		if slices.Equal(other.parts, m.parts) {
			return other, true
		}
	}
	n := len(gates) * units
	if r.tr.spend(int64(n)*int64(inputs+units)) != nil {
		return nil, false
	}
	m.w, m.u = make([]float32, n*inputs), make([]float32, n*units)
	for i, p := range m.parts {
		for k, c := range rows[i].input {
			v := rows[i].op.W[p.row*len(rows[i].input)+k]
			if col := column[c]; col < 0 {
				m.w[p.at*inputs-1-col] += v
			} else {
				m.u[p.at*units+col] += v
			}
		}
	}
	r.shared = append(r.shared, m)
	return m, true
}

// columnsOf says which columns inputs have; ok is false if one has none.
func columnsOf(input []Chan, column map[Chan]int) (columns string, ok bool) {
	b := make([]byte, 0, 4*len(input))
	for _, c := range input {
		k, ok := column[c]
		if !ok {
			return "", false
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(k))
	}
	return string(b), true
}

// grus finds h' = (1-z) n + z h, or n + z (h - n), with n = tanh(x_n + σ(r) u_n), among the channels of a sum.
func (r *recogniser) grus(at int) {
	op := &r.ops[at]
	if op.Kind != format.Add {
		return
	}
	var units []gruUnit
	for k := range op.Out.Width {
		u, ok := r.gruUnit(Chan{op.Out.Value, op.Out.Offset + k}, at)
		if !ok {
			return
		}
		units = append(units, u)
	}
	for _, cell := range together(units, func(u gruUnit) [4]sum { return u.gates }) {
		gates, hidden := make([][]sum, 3), make([][]sum, 3)
		w := &written{at: at, op: quant.Op{Kind: format.GRU, Name: op.Name, Hidden: len(cell)}}
		for _, u := range cell {
			for g := range gates {
				gates[g] = append(gates[g], u.gates[g])
			}
			hidden[2] = append(hidden[2], u.gates[3])
			w.h, w.h2 = append(w.h, u.h), append(w.h2, u.h2)
		}
		if stateOnly(w, hidden[2], true) && stateOnly(w, gates[2], false) && r.weights(w, gates, hidden) {
			r.found = append(r.found, w)
		}
	}
}

// stateOnly reports whether sums read nothing but the state, or, if only is false, nothing of it.
func stateOnly(w *written, sums []sum, only bool) bool {
	for _, s := range sums {
		for _, row := range s.rows {
			if slices.ContainsFunc(row.input, func(c Chan) bool { return slices.Contains(w.h, c) != only }) {
				return false
			}
		}
	}
	return true
}

type gruUnit struct {
	gates [4]sum // z r, the inputs' part of n, the state's part of n
	h, h2 Chan
}

func (r *recogniser) gruUnit(out Chan, at int) (u gruUnit, ok bool) {
	parts, _, ok := r.made(out, format.Add)
	if !ok {
		return u, false
	}
	u.h2 = out
	for swap := range 2 {
		z, n, h, ok := r.mix(parts[swap], parts[1-swap])
		if !ok {
			continue
		}
		x, _, ok := r.made(n, format.Tanh)
		if !ok {
			continue
		}
		reset, input, state, ok := r.candidate(x[0])
		if !ok {
			continue
		}
		u.h = h
		return u, r.sums(&u.gates, at, z, reset, input, state)
	}
	return u, false
}

// mix takes a and b apart as z h and (1-z) n, or as z (h-n) and n.
func (r *recogniser) mix(a, b Chan) (z, n, h Chan, ok bool) {
	z, h, ok = r.either(a, format.Mul, format.Sigmoid)
	if !ok {
		return
	}
	if in, _, diff := r.made(h, format.Sub); diff && in[1] == r.source(b) {
		return z, in[1], in[0], true
	}
	in, _, ok := r.made(b, format.Mul)
	if !ok {
		return
	}
	for i := range in {
		op, _, k := r.maker(in[i])
		if op == nil || op.Kind != format.Affine || op.Scale[k] != -1 || op.Shift[k] != 1 {
			continue
		}
		if s, _, ok := r.made(operand(op, 0, k), format.Sigmoid); ok && s[0] == z {
			return z, in[1-i], h, true
		}
	}
	return z, n, h, false
}

// candidate takes x + σ(r) u apart.
func (r *recogniser) candidate(c Chan) (reset, x, u Chan, ok bool) {
	in, _, ok := r.made(c, format.Add)
	if !ok {
		return
	}
	for i := range in {
		if reset, u, ok := r.either(in[i], format.Mul, format.Sigmoid); ok {
			return reset, in[1-i], u, true
		}
	}
	return reset, x, u, false
}

// rewrite puts the cells in the place of what they were written in, and says where channels have moved. What they replace is read by nothing any more, and dropped later.
func (r *recogniser) rewrite() (moved map[Chan]Chan) {
	at := map[int][]*written{}
	for _, w := range r.found {
		at[w.at] = append(at[w.at], w)
	}
	moved = map[Chan]Chan{}
	g := &r.tr.graph
	g.Ops = nil
	clear(r.tr.gathered) // what lies there may come later than it is wanted now
	for i, op := range r.ops {
		for _, w := range at[i] {
			r.emit(w, moved)
		}
		for k, in := range op.In {
			op.In[k] = r.tr.redirected(in, moved)
		}
		g.Ops = append(g.Ops, op)
	}
	for v, set := range r.tr.stored {
		for k, c := range set {
			if to, ok := moved[r.source(c)]; ok {
				r.tr.stored[v][k] = to
			}
		}
	}
	return moved
}

func (r *recogniser) emit(w *written, moved map[Chan]Chan) {
	tr := r.tr
	inputs := [][]Chan{follow(w.x, moved), follow(w.h, moved)}
	width := w.op.Hidden
	if w.op.Kind == format.LSTM {
		inputs = append(inputs, follow(w.c, moved))
		width *= 2
	}
	w.op.Dims = []int32{1}
	out := tr.emitAll(w.op, inputs, width, true)
	for u := range w.h2 {
		moved[w.h2[u]] = out[u]
		if w.c2 != nil {
			moved[w.c2[u]] = out[len(w.h2)+u]
		}
	}
}

// redirected is a range with the channels that have moved in their new place.
func (tr *Tracer) redirected(in format.Ref, moved map[Chan]Chan) format.Ref {
	if len(moved) == 0 {
		return in
	}
	c := make([]Chan, in.Width)
	some := false
	for k := range c {
		c[k] = Chan{in.Value, in.Offset + k}
		if to, ok := moved[c[k]]; ok {
			c[k], some = to, true
		}
	}
	if !some {
		return in
	}
	return refs(tr.contiguous(c))[0]
}
