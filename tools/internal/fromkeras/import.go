// Package fromkeras turns Keras models of versions 2 and 3, from .h5 and .keras files, into quant.Graph.
package fromkeras

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
)

// Options vary an import.
type Options struct {
	Output string             // the output to compute, by the name of its layer; "" is the first
	Fixed  map[string]float32 // inputs to replace by a constant, such as initial states by 0
	States map[string]string  // inputs that hold what an output gave in the call before; they start at zero
	Shapes map[string][]int64 // of inputs whose shape the model leaves open, with the batch
}

// Import lowers a model.
func Import(m *Model, o Options) (*quant.Graph, error) {
	p, err := plan(m, o)
	if err != nil {
		return nil, err
	}
	g, err := p.lower()
	if err != nil {
		return nil, err
	}
	g.Input.Channels = make([]format.Channel, g.Values[0].Width)
	for i := range g.Input.Channels {
		g.Input.Channels[i].Name = fmt.Sprintf("x%d", i)
	}
	g.Meta = append(g.Meta, format.Pair{Key: "producer", Value: strings.TrimSpace("Keras " + m.version)})
	if len(o.States) > 0 {
		var pairs []string
		for _, in := range slices.Sorted(maps.Keys(o.States)) {
			pairs = append(pairs, in+"="+o.States[in])
		}
		g.Meta = append(g.Meta, format.Pair{Key: "states", Value: strings.Join(pairs, ",")})
	}
	return g, nil
}

// program is a model with what is to be computed of it.
type program struct {
	*Model
	Options
	outputs []ref // the network's, and then those of the states in the order of their inputs' names
	states  []*layer
	input   *layer
	shape   []int64 // of the input without the batch; -1 is open
}

func plan(m *Model, o Options) (*program, error) {
	p := &program{Model: m, Options: o}
	g := m.top.graph
	out, err := g.output(o.Output)
	if err != nil {
		return nil, err
	}
	p.outputs = []ref{out}
	for _, name := range slices.Sorted(maps.Keys(o.States)) {
		in := g.input(name)
		if in == nil {
			return nil, fmt.Errorf("the model has no input %q; it has %s", name, g.names(g.inputs))
		}
		if out, err = g.output(o.States[name]); err != nil {
			return nil, err
		}
		p.states, p.outputs = append(p.states, in), append(p.outputs, out)
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(o.Fixed)), slices.Collect(maps.Keys(o.Shapes))) {
		if g.input(name) == nil {
			return nil, fmt.Errorf("the model has no input %q; it has %s", name, g.names(g.inputs))
		}
	}
	return p, p.chooseInput()
}

// names lists the layers of refs, for people.
func (g *graph) names(refs []ref) string {
	var out []string
	for _, r := range refs {
		name := r.layer.name
		if r.tensor > 0 {
			name = fmt.Sprintf("%s:%d", name, r.tensor)
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// output finds an output by the name of its layer, which a further tensor of the layer has with its number: lstm, lstm:1.
func (g *graph) output(name string) (ref, error) {
	if name == "" {
		return g.outputs[0], nil
	}
	for _, r := range g.outputs {
		if g.names([]ref{r}) == name {
			return r, nil
		}
	}
	return ref{}, fmt.Errorf("the model has no output %q; it has %s", name, g.names(g.outputs))
}

func (g *graph) input(name string) *layer {
	for _, r := range g.inputs {
		if r.layer.name == name {
			return r.layer
		}
	}
	return nil
}

// chooseInput finds the one input that varies.
func (p *program) chooseInput() error {
	var found []ref
	inputs, err := p.top.graph.reach(p.outputs)
	if err != nil {
		return err
	}
	for _, in := range inputs {
		_, fixed := p.Fixed[in.name]
		if !fixed && !slices.Contains(p.states, in) {
			found = append(found, ref{layer: in})
		}
	}
	switch {
	case len(found) == 0:
		return unsupported("the output depends on no input")
	case len(found) > 1:
		return unsupported("the model has %d inputs (%s); only one can vary, the others must be fixed (-zero NAME) or states (-state NAME=OUTPUT)",
			len(found), p.top.graph.names(found))
	}
	p.input = found[0].layer
	shape, err := p.shapeOf(p.input)
	if err != nil {
		return err
	}
	if len(shape) < 2 || len(shape) > 6 {
		return unsupported("input %q has %d dimensions with the batch, not 2 to 6", p.input.name, len(shape))
	}
	for i, d := range shape {
		if d == 0 || d > 1<<31 || i > 1 && d < 0 || d < 0 && len(shape) == 2 && i == 1 {
			return unsupported("input %q has the shape %v, of which only the batch and the time may be open", p.input.name, shape)
		}
	}
	p.shape = shape[1:]
	return nil
}

// shapeOf is the shape of an input with the batch; -1 is open.
func (p *program) shapeOf(in *layer) ([]int64, error) {
	if in.config.Sparse || in.config.Ragged {
		return nil, unsupported("input %q is sparse or ragged", in.name)
	}
	if s := p.Shapes[in.name]; s != nil {
		return s, nil
	}
	dims := in.shape()
	if dims == nil {
		dims = p.fromWeights(in)
	}
	if dims == nil {
		return nil, unsupported("input %q has no shape", in.name)
	}
	var out []int64
	for _, d := range dims {
		if d == nil {
			out = append(out, -1)
			continue
		}
		out = append(out, int64(*d))
	}
	return out, nil
}

// fromWeights is the shape that the first layer of a sequential model must have been built with.
func (p *program) fromWeights(in *layer) []*int {
	all := p.top.graph.layers
	if p.top.class != "Sequential" || len(all) < 2 || len(all[1].weights) == 0 || all[1].weights[0] == nil || len(all[1].weights[0].Shape) != 2 {
		return nil
	}
	features := all[1].weights[0].Shape[0]
	return []*int{nil, nil, &features}
}

// reach lists the inputs that the outputs depend on. All layers on the way can be imported.
func (g *graph) reach(outputs []ref) (inputs []*layer, err error) {
	seen := map[*layer]bool{}
	for open := slices.Clone(outputs); len(open) > 0; {
		l := open[len(open)-1].layer
		open = open[:len(open)-1]
		if seen[l] {
			continue
		}
		seen[l] = true
		if err := l.foreign(); err != nil {
			return nil, err
		}
		if l.class == "InputLayer" {
			inputs = append(inputs, l)
		}
		for _, c := range l.calls {
			open = append(open, tensors(c.args)...)
			open = append(open, tensors(c.kwargs)...)
		}
	}
	slices.SortFunc(inputs, func(a, b *layer) int { return strings.Compare(a.name, b.name) })
	return inputs, nil
}

// budget bounds the elements that layers handle: some for what an input and its layers hold, and all weights a few times over.
func (p *program) budget() int64 { return 1<<22 + 8*int64(p.size) }

// reading is how the axes of an input are taken.
type reading struct {
	time  bool // the first axis is time
	steps int64
}

// lower traces the program with the time of the input open, so that the network runs sequences of any length; if that fails, with the
// time that the config gives; and if that fails, as a network that sees the whole input in one call. If none does, the error is of the
// one that came furthest.
func (p *program) lower() (*quant.Graph, error) {
	var tries []reading
	if len(p.shape) > 1 && len(p.states) == 0 {
		tries = append(tries, reading{true, -1})
		if p.shape[0] > 0 {
			tries = append(tries, reading{true, p.shape[0]})
		}
	}
	if p.shape[0] > 0 {
		tries = append(tries, reading{})
	}
	var best error
	furthest := -1
	for _, r := range tries {
		g, progress, err := p.trace(r)
		if err == nil {
			return g, nil
		}
		if progress >= furthest {
			best, furthest = err, progress
		}
		if errors.Is(err, lower.ErrLarge) {
			break
		}
	}
	var u *lower.Unsupported
	if len(tries) == 0 || p.shape[0] < 0 && errors.As(best, &u) {
		return nil, p.openTime(best)
	}
	return nil, best
}

// openTime says that more could be done with a fixed number of steps.
func (p *program) openTime(err error) error {
	s := strings.Trim(strings.ReplaceAll(fmt.Sprint(p.shape[1:]), " ", "x"), "[]")
	hint := fmt.Sprintf("the model leaves the length of time open, so every layer must work step by step; -shape %s=1xSTEPSx%s fixes it", p.input.name, s)
	if err == nil {
		return unsupported("%s", hint)
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

// trace returns the graph, or how many layers were traced and the error of the next.
func (p *program) trace(r reading) (*quant.Graph, int, error) {
	sizes, roles := []int64{1}, []lower.Role{lower.Feature}
	for i, d := range p.shape {
		sizes, roles = append(sizes, d), append(roles, lower.Feature)
		if i == 0 && r.time {
			sizes[1], roles[1] = r.steps, lower.Time
		}
	}
	tr, x, err := lower.NewTracer(sizes, roles, p.budget())
	if err != nil {
		return nil, 0, fmt.Errorf("input %q: %w", p.input.name, err)
	}
	n := &network{tr: tr, version: p.version, left: p.size, timed: r.time}
	y, err := p.evaluate(n, x)
	if err != nil {
		return nil, n.done, err
	}
	g, err := tr.Finish(y)
	return g, n.done, err
}

// evaluate traces the outputs and stores the states.
func (p *program) evaluate(n *network, x *lower.Tensor) (*lower.Tensor, error) {
	var in []value
	states := map[*layer]*lower.Tensor{}
	for _, r := range p.top.graph.inputs {
		t := x
		if r.layer != p.input {
			var err error
			if t, err = p.given(n, r.layer); err != nil {
				return nil, fmt.Errorf("input %q: %w", r.layer.name, err)
			}
			states[r.layer] = t
		}
		in = append(in, value{t: t})
	}
	out, err := n.graph(p.top.graph, p.outputs, in)
	if err != nil {
		return nil, err
	}
	for i, l := range p.states {
		if err := n.tr.Store(states[l], out[1+i].t); err != nil {
			return nil, fmt.Errorf("state %q: %w", l.name, err)
		}
	}
	return out[0].t, nil
}

// given is an input other than the one that varies: a state, a constant, or nil where nothing needs it.
func (p *program) given(n *network, in *layer) (*lower.Tensor, error) {
	value, fixed := p.Fixed[in.name]
	state := slices.Contains(p.states, in)
	if !fixed && !state {
		return nil, nil
	}
	shape, err := p.shapeOf(in)
	if err != nil {
		return nil, err
	}
	dims := []int64{1}
	for _, d := range shape[min(1, len(shape)):] {
		if d < 1 {
			return nil, unsupported("its shape %v is open; -shape fixes it", shape)
		}
		dims = append(dims, d)
	}
	if state {
		return n.tr.State(dims, nil)
	}
	one, err := n.tr.Floats(nil, []float32{value})
	if err != nil {
		return nil, err
	}
	return n.tr.Expand(one, polys(dims))
}

func polys(dims []int64) []lower.Poly {
	out := make([]lower.Poly, len(dims))
	for i, d := range dims {
		out[i] = lower.Int(d)
	}
	return out
}
