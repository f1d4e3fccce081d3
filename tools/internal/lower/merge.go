package lower

import (
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// mergeSteps makes one operation of cells that run one after the other with the same weights, as the steps of a recurrence that is written
// out do. Its weights are then quantised once. Cells whose inputs depend on the outputs of those before stay as they are.
func (tr *Tracer) mergeSteps(out []Chan) []Chan {
	for {
		chain := tr.chain(out)
		if chain == nil {
			return out
		}
		before := slices.Clone(tr.graph.Ops)
		clear(tr.gathered)
		moved := tr.merge(chain)
		if !tr.sort() {
			tr.graph.Ops = before
			clear(tr.gathered)
			tr.apart[chainKey(before[chain[0]])] = true
			continue
		}
		out = follow(out, moved)
		for v, set := range tr.stored {
			tr.stored[v] = follow(set, moved)
		}
	}
}

// chainKey is what identifies a chain that cannot be merged: where its first cell writes.
func chainKey(op quant.Op) Chan { return Chan{op.Out.Value, op.Out.Offset} }

// stepwise reports whether an operation is a cell that starts from states among its inputs or constants, runs forwards, and can be merged.
func stepwise(op *quant.Op) bool {
	return op.Kind.Recurrent() && op.Blocks() > 0 && op.Flags&format.FlagReverse == 0 && (op.Kind != format.LSTM || op.Flags&format.FlagCell != 0)
}

// ends are the places of the states after the last step.
func ends(op *quant.Op) (h, c format.Ref) {
	n := op.Blocks()
	h = format.Ref{Value: op.Out.Value, Offset: op.Out.Offset + (n-1)*op.Hidden, Width: op.Hidden}
	return h, format.Ref{Value: op.Out.Value, Offset: op.Out.Offset + n*op.Hidden, Width: op.Hidden}
}

// chain finds the longest list of at least two cells each of which goes on from the one before.
func (tr *Tracer) chain(out []Chan) []int {
	from := map[format.Ref]int{} // by the state that a cell starts from
	ops := tr.graph.Ops
	for i := range ops {
		if stepwise(&ops[i]) && len(ops[i].In) > 1 {
			if _, twice := from[ops[i].In[1]]; twice {
				from[ops[i].In[1]] = -1
				continue
			}
			from[ops[i].In[1]] = i
		}
	}
	for i := range ops {
		if !stepwise(&ops[i]) || tr.apart[chainKey(ops[i])] {
			continue
		}
		chain := []int{i}
		for {
			op := &ops[chain[len(chain)-1]]
			h, c := ends(op)
			next, ok := from[h]
			if !ok || next < 0 || !sameCell(op, &ops[next]) || op.Kind == format.LSTM && (len(ops[next].In) != 3 || ops[next].In[2] != c) {
				break
			}
			chain = append(chain, next)
		}
		if len(chain) > 1 {
			return chain
		}
	}
	return nil
}

func sameCell(a, b *quant.Op) bool {
	return a.Kind == b.Kind && a.Flags == b.Flags && a.Hidden == b.Hidden && slices.Equal(a.Acts, b.Acts) && slices.Equal(a.ActParams, b.ActParams) &&
		slices.Equal(a.W, b.W) && slices.Equal(a.U, b.U) && slices.Equal(a.B, b.B) && slices.Equal(a.BH, b.BH) && slices.Equal(a.Peep, b.Peep)
}

// merge puts the chain in the place of its last cell; where its outputs were read, it says where they are now.
func (tr *Tracer) merge(chain []int) (moved map[Chan]Chan) {
	ops := tr.graph.Ops
	first, last := ops[chain[0]], ops[chain[len(chain)-1]]
	one := first
	one.Dims = []int32{0}
	var x []Chan
	for _, i := range chain {
		in := ops[i].In[0]
		for k := range in.Width {
			x = append(x, Chan{in.Value, in.Offset + k})
		}
		one.Dims[0] += int32(ops[i].Blocks())
	}
	width := int(one.Dims[0]) * one.Hidden
	if one.Kind == format.LSTM {
		width += one.Hidden
	}
	tr.graph.Ops = nil
	moved = map[Chan]Chan{}
	for i, op := range ops {
		if i == chain[len(chain)-1] {
			one.In = append(refs(tr.contiguous(x)), first.In[1:]...)
			out := tr.value(width, true)
			tr.append(one, out)
			at := 0
			for _, k := range chain {
				for u := range ops[k].Blocks() * one.Hidden {
					moved[Chan{ops[k].Out.Value, ops[k].Out.Offset + u}] = out[at]
					at++
				}
			}
			for u := range one.Hidden {
				if one.Kind == format.LSTM {
					_, c := ends(&last)
					moved[Chan{c.Value, c.Offset + u}] = out[at+u]
				}
			}
		}
		if !slices.Contains(chain, i) {
			tr.graph.Ops = append(tr.graph.Ops, op)
		}
	}
	for i := range tr.graph.Ops {
		in := slices.Clone(tr.graph.Ops[i].In)
		for k, ref := range in {
			in[k] = tr.redirected(ref, moved)
		}
		tr.graph.Ops[i].In = in
	}
	return moved
}

// sort orders operations so that every channel is written before it is read, and otherwise as they are. It fails where they depend on each
// other in a circle, or read what is not written any more.
func (tr *Tracer) sort() bool {
	ops := tr.graph.Ops
	writers := make([][]int, len(tr.graph.Values))
	for i, op := range ops {
		if op.Kind != format.Store {
			writers[op.Out.Value] = append(writers[op.Out.Value], i)
		}
	}
	waits, readers := make([]int, len(ops)), make([][]int, len(ops))
	wait := func(i, on int) {
		waits[i]++
		readers[on] = append(readers[on], i)
	}
	for i, op := range ops {
		for _, in := range op.In {
			covered := 0
			for _, w := range writers[in.Value] {
				o := ops[w].Out
				if n := min(o.Offset+o.Width, in.Offset+in.Width) - max(o.Offset, in.Offset); n > 0 {
					covered += n
					wait(i, w)
				}
			}
			if in.Value != 0 && covered < in.Width {
				return false
			}
		}
		if w := writers[op.Out.Value]; op.Kind == format.Store {
			wait(i, w[0])
		} else if k := slices.Index(w, i); k > 0 {
			wait(i, w[k-1])
		}
	}
	var sorted []quant.Op
	ready := []int{}
	for i := range ops {
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		k := slices.Index(ready, slices.Min(ready))
		i := ready[k]
		ready = slices.Delete(ready, k, k+1)
		sorted = append(sorted, ops[i])
		for _, r := range readers[i] {
			if waits[r]--; waits[r] == 0 {
				ready = append(ready, r)
			}
		}
	}
	tr.graph.Ops = sorted
	return len(sorted) == len(ops)
}
