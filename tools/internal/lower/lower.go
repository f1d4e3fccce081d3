// Package lower turns networks written as operators on tensors into quant.Graph, whose operations work on the channels of one time
// step. An importer of a foreign format walks its graph and calls a Tracer for every operator.
//
// A Tensor is either known (numbers, or shape arithmetic over the unknown lengths of time and batch) or computed: an arrangement of
// channels of the network's values. Transpose, Reshape, Slice, Concat and their like only rearrange, so they cost nothing at run
// time; they are written once for both sorts. Only what does arithmetic on computed tensors emits operations.
//
// The batch has no meaning at run time: every sequence is on its own, so an operator that would mix or select sequences of a batch
// is refused.
package lower

import (
	"fmt"
	"maps"
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// Unsupported is the error of a network that is well formed but beyond what a .recur file can say.
type Unsupported struct{ Why string }

func (e *Unsupported) Error() string { return e.Why }

func unsupported(f string, args ...any) error { return &Unsupported{fmt.Sprintf(f, args...)} }

// Tracer builds a graph.
type Tracer struct {
	graph    quant.Graph
	steps    Poly // the length of time: constant, or a symbol
	pooled   map[pooling]Chan
	consts   map[constChan]Chan
	gathered map[listKey]gathered
	stored   map[int][]Chan // what the states, by value, are set to
	apart    map[Chan]bool  // cells that stay apart: see mergeSteps
	atOnce   bool           // a call sees the whole input, so that nothing carries over to the next but a State
	names    map[string]int
	node     string
	budget   int64
}

// Chan is one channel of a value of the graph.
type Chan struct{ Value, Channel int }

type pooling struct {
	kind format.Kind
	of   Chan
}

// Role is what an axis of the network's input means.
type Role uint8

const (
	Feature Role = iota // together, the channels of one time step
	Time
	Batch
)

// NewTracer starts a graph, and returns its input as a tensor with the given axes. A size below zero is one that is not fixed,
// which only time and batch may have. Without a Time axis the network sees one step a call. The tracer refuses to handle more than
// budget elements in all.
func NewTracer(sizes []int64, roles []Role, budget int64) (*Tracer, *Tensor, error) {
	tr := &Tracer{atOnce: !slices.Contains(roles, Time) && !slices.Contains(roles, Batch),
		steps: Int(1), pooled: map[pooling]Chan{}, consts: map[constChan]Chan{}, stored: map[int][]Chan{}, gathered: map[listKey]gathered{}, apart: map[Chan]bool{}, names: map[string]int{}, budget: budget}
	x := &Tensor{}
	width := int64(1)
	for i, size := range sizes {
		switch roles[i] {
		case Time:
			tr.steps = length(size, symT)
			x.axes = append(x.axes, axis{{time, tr.steps}})
		case Batch:
			x.axes = append(x.axes, axis{{batch, length(size, symN)}})
		default:
			if size <= 0 || size > maxWidth || width*size > maxWidth {
				return nil, nil, unsupported("dimension %d must be a fixed number of channels up to %d", i, maxWidth)
			}
			width *= size
			x.axes = append(x.axes, denseAxis(int(size)))
		}
	}
	x.c = tr.value(int(width), true)
	return tr, x, nil
}

const maxWidth = 1 << 20

func length(size int64, symbol Poly) Poly {
	if size < 0 {
		return symbol
	}
	return Int(size)
}

// At says which node of the foreign graph is being traced; operations get its name. It fails if the nodes before were too much.
func (tr *Tracer) At(node string) error {
	tr.node = node[:min(len(node), maxName)]
	return tr.spend(0)
}

const maxName = 256

// Spend takes n elements from the budget, before an importer makes as many of its own.
func (tr *Tracer) Spend(n int64) error { return tr.spend(n) }

func (tr *Tracer) name(kind format.Kind) string {
	if tr.node == "" {
		return kind.String()
	}
	return tr.node
}

// value adds a value to the graph and returns its channels.
func (tr *Tracer) value(width int, perStep bool) []Chan {
	v := len(tr.graph.Values)
	tr.budget -= int64(width)
	tr.graph.Values = append(tr.graph.Values, format.Value{Width: width, PerStep: perStep})
	c := make([]Chan, width)
	for i := range c {
		c[i] = Chan{v, i}
	}
	return c
}

// emit adds an operation that reads all of in and writes all of a new value.
func (tr *Tracer) emit(op quant.Op, in []Chan, width int, perStep bool) []Chan {
	in = tr.contiguous(in)
	out := tr.value(width, perStep)
	tr.add(op, in, out)
	return out
}

// maxRefs is how many ranges of channels are worth an operation each.
const maxRefs = 4

// each adds an operation that works channel by channel, once for every range of channels in unless these are many. Scale and Shift are
// those of all.
func (tr *Tracer) each(op quant.Op, in []Chan, perStep bool) []Chan {
	if len(refs(in)) > maxRefs {
		in = tr.contiguous(in)
	}
	out := tr.value(len(in), perStep)
	from := 0
	for i, r := range refs(in) {
		part := op
		if i > 0 {
			part.Name = fmt.Sprintf("%s.%d", op.Name, i+1)
		}
		to := from + r.Width
		if op.Kind == format.Affine {
			part.Scale, part.Shift = op.Scale[from:to], op.Shift[from:to]
		}
		tr.add(part, in[from:to], out[from:to])
		from = to
	}
	return out
}

// contiguous brings channels together in one range of one value. Few whole results are copied, since the operations that make them can write
// to that range instead; other channels are gathered.
func (tr *Tracer) contiguous(in []Chan) []Chan {
	r := refs(in)
	if len(r) == 1 {
		return in
	}
	if len(r) > maxRefs || slices.ContainsFunc(r, func(r format.Ref) bool { return !tr.result(r) }) {
		return tr.gather(in)
	}
	op := quant.Op{Kind: format.Affine, Name: tr.name(format.Affine) + ".copy", Scale: ones(len(in)), Shift: make([]float32, len(in))}
	return tr.each(op, in, tr.perStep(in))
}

// result reports whether a range is all that one operation writes.
func (tr *Tracer) result(r format.Ref) bool {
	for _, op := range slices.Backward(tr.graph.Ops) {
		if op.Out == r && op.Kind != format.Store {
			return true
		}
	}
	return false
}

// gather reads, of every value, the range of channels that it needs.
func (tr *Tracer) gather(in []Chan) []Chan {
	key := listKey{in[0], in[len(in)-1], len(in)}
	if g, ok := tr.gathered[key]; ok && slices.Equal(g.in, in) {
		return g.out
	}
	spans := map[int]*format.Ref{}
	op := quant.Op{Kind: format.Gather, Name: tr.name(format.Gather) + ".gather", Index: make([]int32, len(in))}
	for _, c := range in {
		r := spans[c.Value]
		if r == nil {
			r = &format.Ref{Value: c.Value, Offset: c.Channel, Width: 1}
			spans[c.Value] = r
		}
		end := max(r.Offset+r.Width, c.Channel+1)
		r.Offset = min(r.Offset, c.Channel)
		r.Width = end - r.Offset
	}
	start, total := map[int]int{}, 0
	for _, v := range slices.Sorted(maps.Keys(spans)) {
		start[v] = total - spans[v].Offset
		total += spans[v].Width
		op.In = append(op.In, *spans[v])
	}
	for i, c := range in {
		op.Index[i] = int32(start[c.Value] + c.Channel)
	}
	out := tr.value(len(in), tr.perStep(in))
	tr.append(op, out)
	tr.gathered[key] = gathered{in, out}
	return out
}

// gathered is a list of channels that has been brought together, so that the next who wants it finds it.
type gathered struct{ in, out []Chan }

type listKey struct {
	first, last Chan
	length      int
}

// emitAll adds an operation over several lists of channels.
func (tr *Tracer) emitAll(op quant.Op, in [][]Chan, width int, perStep bool) []Chan {
	for _, c := range in {
		op.In = append(op.In, refs(tr.contiguous(c))...)
	}
	out := tr.value(width, perStep)
	tr.append(op, out)
	return out
}

// add appends an operation over channels that are contiguous.
func (tr *Tracer) add(op quant.Op, in, out []Chan) {
	op.In = refs(in)
	tr.append(op, out)
}

func (tr *Tracer) append(op quant.Op, out []Chan) {
	if len(tr.graph.Ops) == maxOps {
		tr.budget = -1 // At and Finish report it
		return
	}
	op.Name = tr.unique(op.Name)
	op.Out = refs(out)[0]
	tr.graph.Ops = append(tr.graph.Ops, op)
}

const maxOps = 1 << 14

func (tr *Tracer) unique(name string) string {
	n := tr.names[name]
	tr.names[name]++
	if n == 0 {
		return name
	}
	return tr.unique(fmt.Sprintf("%s.%d", name, n+1))
}

// refs joins neighbouring channels.
func refs(c []Chan) []format.Ref {
	var out []format.Ref
	for _, x := range c {
		if n := len(out); n > 0 && out[n-1].Value == x.Value && out[n-1].Offset+out[n-1].Width == x.Channel {
			out[n-1].Width++
			continue
		}
		out = append(out, format.Ref{Value: x.Value, Offset: x.Channel, Width: 1})
	}
	return out
}

// ErrLarge is the error of a network that needs more than the budget.
var ErrLarge = &Unsupported{"the model's tensors grow too large while it is traced"}

// spend takes n elements from the budget.
func (tr *Tracer) spend(n int64) error {
	if n < 0 || tr.budget < n {
		return ErrLarge
	}
	tr.budget -= n
	return nil
}
