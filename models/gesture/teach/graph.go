package teach

import (
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/internal/elementary"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// prefix of the names of operations that teaching adds.
const prefix = "teach."

// base is a model that is taught.
type base struct {
	model    *runtime.Model
	file     *format.File
	channels []string
	hidden   format.Ref // what the last recurrent layer gives at each step
	known    []string   // its labels without none
	stream   bool       // it follows a stream, as a Spotter does
	none     string     // label that says that there is no gesture
	noneAt   format.Ref // its probability at each step, of a stream
	delay    int        // samples by which the answers are late
}

// maxWidth bounds the embedding: the time that teaching takes grows with its third power, to about a minute.
const maxWidth = 1024

// noneLabel is that of models that have none.
const noneLabel = "none"

func newBase(m *runtime.Model) (*base, error) {
	f := m.File()
	b := &base{model: m, file: f, channels: gesture.Channels(m), stream: m.PerStep(), none: noneLabel}
	last := -1
	for i := range f.Ops {
		op := &f.Ops[i]
		if len(op.Name) >= len(prefix) && op.Name[:len(prefix)] == prefix {
			return nil, errors.New("the model has been taught before: teach the one that it was made from, with all examples")
		}
		if op.Kind.Recurrent() && f.Values[op.Out.Value].PerStep && f.Blocks(op) == 0 {
			last = i
		}
	}
	if last < 0 {
		return nil, errors.New("the model has no recurrent layer over time")
	}
	v := f.Ops[last].Out.Value
	b.hidden = format.Ref{Value: v, Width: f.Values[v].Width}
	if b.width() > maxWidth {
		return nil, fmt.Errorf("a hidden state of %d channels: teaching takes up to %d", b.hidden.Width, maxWidth/2)
	}
	if !b.stream {
		if _, err := gesture.NewClassifier(m); err != nil {
			return nil, err
		}
		b.known = slices.Clone(f.Labels)
		return b, nil
	}
	delay, none, err := gesture.Delay(m)
	if err != nil {
		return nil, err
	}
	b.delay, b.none = delay, none
	k := slices.Index(f.Labels, none)
	b.known = slices.Delete(slices.Clone(f.Labels), k, k+1)
	b.noneAt = format.Ref{Value: f.Output, Offset: k, Width: 1}
	return b, nil
}

// width of the embedding.
func (b *base) width() int { return 2 * b.hidden.Width }

// graph is a file that grows by operations.
type graph struct {
	f *format.File
}

// trunk is the base without what is not needed of its head.
func (b *base) trunk() *graph {
	f := *b.file
	n := len(f.Ops)
	if !b.stream {
		for n > 0 && f.Ops[n-1].Out.Value != b.hidden.Value {
			n--
		}
	}
	f.Ops = slices.Clone(f.Ops[:n])
	f.Values = slices.Clone(f.Values)
	f.Blobs = slices.Clone(f.Blobs)
	f.Labels = nil
	g := &graph{&f}
	if !b.stream {
		g.prune()
	}
	return g
}

// prune drops values and blobs that no operation uses.
func (g *graph) prune() {
	f := g.f
	value, blob := make([]int, len(f.Values)), make([]int, len(f.Blobs))
	for i := range value {
		value[i] = -1
	}
	for i := range blob {
		blob[i] = -1
	}
	var values []format.Value
	var blobs []format.Blob
	useValue := func(i int) int {
		if value[i] < 0 {
			value[i] = len(values)
			values = append(values, f.Values[i])
		}
		return value[i]
	}
	useValue(0)
	for i := range f.Ops {
		op := &f.Ops[i]
		op.In, op.Args = slices.Clone(op.In), slices.Clone(op.Args)
		for j := range op.In {
			op.In[j].Value = useValue(op.In[j].Value)
		}
		op.Out.Value = useValue(op.Out.Value)
		for j, a := range op.Args {
			if blob[a.Blob] < 0 {
				blob[a.Blob] = len(blobs)
				blobs = append(blobs, f.Blobs[a.Blob])
			}
			op.Args[j].Blob = blob[a.Blob]
		}
	}
	if f.Output < len(value) && value[f.Output] >= 0 {
		f.Output = value[f.Output]
	}
	f.Values, f.Blobs = values, blobs
}

func (g *graph) value(width int, perStep bool) format.Ref {
	g.f.Values = append(g.f.Values, format.Value{Width: width, PerStep: perStep})
	return format.Ref{Value: len(g.f.Values) - 1, Width: width}
}

func (g *graph) vector(role format.Role, v ...float32) format.Arg {
	for i, x := range v {
		if max(x, -x) < format.MinVector {
			v[i] = 0
		}
	}
	return g.blob(role, format.Blob{Kind: format.VecF32, Rows: len(v), Cols: 1, F32: v})
}

func (g *graph) blob(role format.Role, b format.Blob) format.Arg {
	g.f.Blobs = append(g.f.Blobs, b)
	return format.Arg{Role: role, Blob: len(g.f.Blobs) - 1}
}

func (g *graph) integers(role format.Role, v ...int32) format.Arg {
	return g.blob(role, format.Blob{Kind: format.VecI32, Rows: len(v), Cols: 1, I32: v})
}

// op appends an operation that writes out.
func (g *graph) op(kind format.Kind, name string, out format.Ref, in []format.Ref, args ...format.Arg) format.Ref {
	g.f.Ops = append(g.f.Ops, format.Op{Kind: kind, Name: prefix + name, In: in, Out: out, Args: args})
	return out
}

// apply appends an operation that writes a value of its own.
func (g *graph) apply(kind format.Kind, name string, width int, in []format.Ref, args ...format.Arg) format.Ref {
	return g.op(kind, name, g.value(width, g.f.Values[in[0].Value].PerStep), in, args...)
}

func refs(r ...format.Ref) []format.Ref { return r }

// dense appends y = W x + bias, with W [rows, width of x].
func (g *graph) dense(name string, x format.Ref, w []float64, bias []float64) format.Ref {
	rows := len(bias)
	return g.apply(format.Dense, name, rows, refs(x),
		g.blob(format.RoleW, format.Blob{Kind: format.MatF32, Rows: rows, Cols: x.Width, F32: kernels.PackF32(floats(w), rows, x.Width)}),
		g.vector(format.RoleBias, floats(bias)...))
}

// affine appends y = x scale + shift.
func (g *graph) affine(name string, x format.Ref, scale, shift float32) format.Ref {
	return g.apply(format.Affine, name, x.Width, refs(x), g.vector(format.RoleScale, slices.Repeat([]float32{scale}, x.Width)...),
		g.vector(format.RoleShift, slices.Repeat([]float32{shift}, x.Width)...))
}

func floats(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// embedding is what the classifier of a taught model sees.
type embedding struct {
	e         format.Ref
	any, none format.Ref // probability of a gesture at each step, and of none, of a stream
}

// fade is by how much what is summed up decays in a second without a gesture, e to this power.
const fade = 3.2

// usualRate is in samples a second, where a model does not say.
const usualRate = 50

func (b *base) rate() float64 {
	if r := float64(b.file.Input.Rate); r > 0 {
		return r
	}
	return usualRate
}

// embed appends mean and maximum over the gesture of the hidden state. In a stream they are over the steps so far in which there seems to
// be a gesture: those before fade where there seems to be none. motion, if not nil, adds to what the base takes for one.
func (b *base) embed(g *graph, motion *logistic) embedding {
	h := b.hidden
	if !b.stream {
		e := g.value(b.width(), false)
		g.op(format.Mean, "mean", format.Ref{Value: e.Value, Width: h.Width}, refs(h))
		g.op(format.Max, "max", format.Ref{Value: e.Value, Offset: h.Width, Width: h.Width}, refs(h))
		return embedding{e: e}
	}
	none := b.noneAt
	if motion != nil {
		still := g.dense("still", h, minus(make([]float64, len(motion.w)), motion.w), []float64{-motion.b})
		g.op(format.Sigmoid, "still", still, refs(still))
		none = g.apply(format.Mul, "none", 1, refs(none, still))
	}
	any := g.affine("any", none, -1, 1)
	stay := g.affine("stay", none, float32(elementary.Exp(-fade/b.rate()))-1, 1)

	e := g.value(b.width(), true)
	mean, most := format.Ref{Value: e.Value, Width: h.Width}, format.Ref{Value: e.Value, Offset: h.Width, Width: h.Width}
	now := g.apply(format.Mul, "now", h.Width, refs(h, any))
	sum := g.running("sum", stay, h.Width, format.Add, now, nil)
	count := g.running("count", stay, 1, format.Add, any, g.vector1(1e-3))
	g.op(format.Div, "mean", mean, refs(sum, count))
	before := g.recall("max", h.Width, nil)
	faded := g.apply(format.Mul, "max", h.Width, refs(before, stay))
	g.op(format.Maximum, "max", most, refs(faded, now))
	g.op(format.Store, "max", before, refs(most))
	return embedding{e, any, none}
}

func (g *graph) vector1(v float32) *format.Arg {
	a := g.vector(format.RoleH0, v)
	return &a
}

func (g *graph) recall(name string, width int, initial *format.Arg) format.Ref {
	var args []format.Arg
	if initial != nil {
		args = append(args, *initial)
	}
	return g.op(format.Recall, name, g.value(width, true), nil, args...)
}

// running appends y = combine(y of the step before times stay, x).
func (g *graph) running(name string, stay format.Ref, width int, combine format.Kind, x format.Ref, initial *format.Arg) format.Ref {
	before := g.recall(name, width, initial)
	faded := g.apply(format.Mul, name, width, refs(before, stay))
	y := g.apply(combine, name, width, refs(faded, x))
	g.op(format.Store, name, before, refs(y))
	return y
}

// probe is a model that gives the value of ref.
func (b *base) probe(g *graph, ref format.Ref) (*runtime.Model, error) {
	f := *g.f
	f.Output = ref.Value
	f.Labels = nil
	m, err := runtime.New(&f)
	if err != nil {
		return nil, fmt.Errorf("the model with what is added: %w", err)
	}
	return m, nil
}
