package lower

import (
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// Finish returns the graph that computes t, whose channels become the output in the order of t's axes, with batch and time left out.
func (tr *Tracer) Finish(t *Tensor) (*quant.Graph, error) {
	if !t.Computed() {
		return nil, unsupported("the output does not depend on the input")
	}
	for ax := range t.axes {
		if t.axes[ax].has(repeat) {
			var err error
			if t, err = tr.densify(t, ax); err != nil {
				return nil, err
			}
		}
	}
	if len(t.c) == 0 || tr.mixed(t.c) {
		return nil, unsupported("an output without channels, or of mixed sorts")
	}
	out := tr.recognise(t.c)
	drop(&tr.graph, refs(out))
	out = tr.mergeSteps(out)
	if len(refs(out)) > maxRefs {
		tr.node = "output"
		out = tr.gather(out)
	}
	if !tr.whole(out) {
		tr.node = "output"
		out = tr.each(quant.Op{Kind: format.Affine, Name: "output", Scale: ones(len(out)), Shift: make([]float32, len(out))}, out, tr.perStep(out))
	}
	g := &tr.graph
	g.Output = out[0].Value
	tr.keepStates()
	drop(g, []format.Ref{{Value: g.Output, Width: g.Values[g.Output].Width}})
	trimCells(g)
	foldAffines(g)
	renumber(g)
	if recalls(g) && backward(g) {
		return nil, unsupported("states that are kept from step to step besides a layer that runs backwards over all steps")
	}
	return g, tr.spend(0)
}

func recalls(g *quant.Graph) bool {
	return slices.ContainsFunc(g.Ops, func(op quant.Op) bool { return op.Kind == format.Recall })
}

// backward reports whether a layer begins at the last step of the session.
func backward(g *quant.Graph) bool {
	return slices.ContainsFunc(g.Ops, func(op quant.Op) bool { return op.Flags&format.FlagReverse != 0 && op.Blocks() == 0 })
}

// whole reports whether c is all of one value other than the input, in order.
func (tr *Tracer) whole(c []Chan) bool {
	r := refs(c)
	return len(r) == 1 && r[0].Offset == 0 && r[0].Width == tr.graph.Values[r[0].Value].Width && r[0].Value != 0
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

// drop removes operations whose results nothing reads. A state is stored if anything reads what is recalled, which may be only seen when
// the operations that another state needs are known.
func drop(g *quant.Graph, wanted []format.Ref) {
	read := make([][]format.Ref, len(g.Values))
	for _, r := range wanted {
		read[r.Value] = append(read[r.Value], r)
	}
	keep := make([]bool, len(g.Ops))
	for grown := true; grown; {
		grown = false
		for i, op := range slices.Backward(g.Ops) {
			if keep[i] || !needed(op.Out, read[op.Out.Value]) {
				continue
			}
			keep[i], grown = true, true
			for _, in := range op.In {
				if !slices.Contains(read[in.Value], in) {
					read[in.Value] = append(read[in.Value], in)
				}
			}
		}
	}
	var kept []quant.Op
	for i, op := range g.Ops {
		if keep[i] {
			kept = append(kept, op)
		}
	}
	g.Ops = kept
}

// readers lists what is read of every value; the network's output is read whole.
func readers(g *quant.Graph) [][]format.Ref {
	read := make([][]format.Ref, len(g.Values))
	for _, op := range g.Ops {
		for _, in := range op.In {
			read[in.Value] = append(read[in.Value], in)
		}
	}
	read[g.Output] = append(read[g.Output], format.Ref{Value: g.Output, Width: g.Values[g.Output].Width})
	return read
}

func needed(out format.Ref, read []format.Ref) bool {
	return slices.ContainsFunc(read, func(r format.Ref) bool {
		return r.Offset < out.Offset+out.Width && out.Offset < r.Offset+r.Width
	})
}

// foldAffines removes an affine operation, with the operation that feeds it doing its work in its place, where nothing else reads
// what lies between: a dense or affine one can do any, every other one a copy.
func foldAffines(g *quant.Graph) {
	read := readers(g)
	for i := 0; i < len(g.Ops); i++ {
		op := &g.Ops[i]
		if op.Kind != format.Affine {
			continue
		}
		in := op.In[0]
		from := slices.IndexFunc(g.Ops[:i], func(p quant.Op) bool { return p.Out == in })
		if from < 0 || shared(in, read[in.Value]) {
			continue
		}
		p := g.Ops[from]
		if p.Kind == format.Recall || !folds(&p, op) && !copies(op) {
			continue
		}
		read[in.Value] = slices.DeleteFunc(read[in.Value], func(r format.Ref) bool { return r == in })
		fold(&p, op)
		g.Ops[i] = p
		g.Ops = slices.Delete(g.Ops, from, from+1)
		i--
	}
}

// folds reports whether p can do the work of op: the same for every part of its output that its matrix makes.
func folds(p, op *quant.Op) bool {
	if p.Kind == format.Affine {
		return true
	}
	if p.Kind != format.Dense && p.Kind != format.Conv {
		return false
	}
	n := rows(p)
	for i := range op.Scale {
		if op.Scale[i] != op.Scale[i%n] || op.Shift[i] != op.Shift[i%n] {
			return false
		}
	}
	return true
}

// rows is how many outputs the matrix of a dense operation or convolution has.
func rows(p *quant.Op) int {
	if p.Kind == format.Dense {
		return p.Out.Width / p.Blocks()
	}
	outs := 1
	if w, err := format.ParseWindow(p.Dims); err == nil {
		_, outs, _ = w.Points()
	}
	return p.Out.Width / outs
}

// shared reports whether more than one reader overlaps r.
func shared(r format.Ref, read []format.Ref) bool {
	n := 0
	for _, x := range read {
		if x.Offset < r.Offset+r.Width && r.Offset < x.Offset+x.Width {
			n++
		}
	}
	return n > 1
}

func copies(op *quant.Op) bool {
	return !slices.ContainsFunc(op.Scale, func(v float32) bool { return v != 1 }) &&
		!slices.ContainsFunc(op.Shift, func(v float32) bool { return v != 0 })
}

// fold lets p compute what op makes of its result.
func fold(p, op *quant.Op) {
	n := p.Out.Width
	switch {
	case copies(op):
	case p.Kind == format.Dense, p.Kind == format.Conv:
		n := rows(p)
		p.W, p.B = scaledRows(p.W, op.Scale[:n]), combine(p.B, op.Scale[:n], op.Shift[:n], n)
	case p.Kind == format.Affine:
		p.Shift, p.Scale = combine(p.Shift, op.Scale, op.Shift, n), combine(p.Scale, op.Scale, nil, n)
	}
	p.Out = op.Out
}

// combine is v*scale + shift; a nil v or shift is zero.
func combine(v, scale, shift []float32, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		if v != nil {
			out[i] = float32(v[i] * scale[i])
		}
		if shift != nil {
			out[i] += shift[i]
		}
	}
	return out
}

func scaledRows(w, scale []float32) []float32 {
	if !slices.ContainsFunc(scale, func(s float32) bool { return s != 1 }) {
		return w
	}
	out := make([]float32, len(w))
	width := len(w) / len(scale)
	for i, v := range w {
		out[i] = v * scale[i/width]
	}
	return out
}

// renumber removes the values and channels that nothing writes. The input stays first, and whole.
func renumber(g *quant.Graph) {
	written := make([][]format.Ref, len(g.Values))
	written[0] = []format.Ref{{Width: g.Values[0].Width}}
	for _, op := range g.Ops {
		if op.Kind != format.Store {
			written[op.Out.Value] = append(written[op.Out.Value], op.Out)
		}
	}
	to := make([]int, len(g.Values))
	var kept []format.Value
	for v, w := range written {
		if len(w) == 0 {
			continue
		}
		slices.SortFunc(w, func(a, b format.Ref) int { return a.Offset - b.Offset })
		to[v] = len(kept)
		kept = append(kept, format.Value{Width: width(w), PerStep: g.Values[v].PerStep})
	}
	move := func(r *format.Ref) {
		before := slices.IndexFunc(written[r.Value], func(w format.Ref) bool { return r.Offset < w.Offset+w.Width })
		at := written[r.Value][before]
		r.Offset += width(written[r.Value][:before]) - at.Offset
		r.Value = to[r.Value]
	}
	for i := range g.Ops {
		move(&g.Ops[i].Out)
		for k := range g.Ops[i].In {
			move(&g.Ops[i].In[k])
		}
	}
	g.Values, g.Output = kept, to[g.Output]
}

func width(refs []format.Ref) (n int) {
	for _, r := range refs {
		n += r.Width
	}
	return n
}
