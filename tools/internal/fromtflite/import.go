// Package fromtflite turns a TensorFlow Lite model into a quant.Graph.
//
// It walks the operators that the output depends on, and calls a lower.Tracer for each by the table in ops.go. What it does not
// understand is an *Error that names the operator and its output; nothing is skipped.
//
// Models of integers become networks of floats: weights and biases are what their scales make of them. An input or output of integers stands
// for the floats that its scale says. Activations are limited to what their integers can say, where that is more than a gate of a cell, and not
// rounded: the answer is not that of the integer kernels, which differ among themselves. The limits, and the range of the input, are
// what package quant finds the scales of activations by if there is no calibration data.
//
// Tensors that keep their value from one run to the next become states of the session: of a recurrent layer that the session steps through,
// its own; else a lower.State.
package fromtflite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// Options vary an import. Inputs and outputs go by the names of their tensors or, where the model has one, in its signature.
type Options struct {
	Output string             // the output to compute; "" is the first that is no state
	Fixed  map[string]float32 // inputs to replace by a constant
	States map[string]string  // inputs that hold in each call what an output gave in the call before, zero in the first; nil is to find them
	Shapes map[string][]int64 // shapes of inputs, where those in the model are open
	Roles  []lower.Role       // what the axes of the input mean; nil is the first meaning that can be traced
}

// Layout is what the axes of a model's input and output mean.
type Layout struct {
	Input  []lower.Role
	Output [][]lower.Span
	States map[string]string // inputs to outputs, as given or found
	Keeps  bool              // something carries over from one run of the model to the next
}

// Error is an operator that cannot be imported. It wraps a *lower.Unsupported if the model is well formed.
type Error struct {
	Op, Name string
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %v", e.Op, e.Name, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

func unsupported(f string, args ...any) error {
	return &lower.Unsupported{Why: fmt.Sprintf(f, args...)}
}

// Import lowers a model.
func Import(m *tflite.Model, o Options) (*quant.Graph, error) {
	g, _, err := ImportLayout(m, o)
	return g, err
}

// ImportLayout is Import for those who have whole tensors to put in and to compare.
func ImportLayout(m *tflite.Model, o Options) (*quant.Graph, Layout, error) {
	p, err := plan(m, o)
	if err != nil {
		return nil, Layout{}, err
	}
	g, l, err := p.lower()
	if err != nil {
		return nil, Layout{}, err
	}
	l.States = map[string]string{}
	for in, out := range p.states {
		l.States[p.name(in)] = p.name(out)
	}
	p.describe(g, l)
	return g, l, nil
}

// layouts are the meanings that the axes of the input may have: a batch, and time if there is a recurrent layer to step through it; or all
// that a call of the model sees, at once.
func (p *program) layouts(rank int) [][]lower.Role {
	rest := func(r ...lower.Role) []lower.Role {
		for len(r) < rank {
			r = append(r, lower.Feature)
		}
		return r
	}
	switch {
	case p.roles != nil:
		return [][]lower.Role{p.roles}
	case len(p.states) > 0 || rank == 1:
		return [][]lower.Role{rest()}
	case rank >= 3 && p.recurs:
		return [][]lower.Role{rest(lower.Batch, lower.Time), rest(lower.Time, lower.Batch), rest(lower.Batch), rest()}
	}
	return [][]lower.Role{rest(lower.Batch), rest()}
}

// lower traces the program under every layout until one works. If none does, the error is of the one that came furthest.
func (p *program) lower() (*quant.Graph, Layout, error) {
	rank := len(p.main.Tensors[p.input].Shape)
	if rank == 0 {
		return nil, Layout{}, unsupported("input %q has no axes", p.name(p.input))
	}
	var best error
	furthest := -1
	for _, roles := range p.layouts(rank) {
		g, l, traced, err := p.trace(roles)
		if err == nil {
			return g, l, nil
		}
		if traced > furthest {
			best, furthest = err, traced
		}
	}
	return nil, Layout{}, best
}

// sizes are those of an input's axes. What is open is one sequence if it is the batch, and stays open if it is time.
func (p *program) sizes(input int32, roles []lower.Role) ([]int64, error) {
	t := p.main.Tensors[input]
	given := p.shapes[input]
	if given != nil && len(given) != len(t.Shape) || len(roles) != len(t.Shape) {
		return nil, fmt.Errorf("input %q has %d dimensions, %d are given", t.Name, len(t.Shape), max(len(given), len(roles)))
	}
	out := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		out[i] = int64(d)
		open := len(t.Signature) == len(t.Shape) && t.Signature[i] < 0
		switch {
		case given != nil && given[i] > 0 && !open && given[i] != int64(d):
			return nil, fmt.Errorf("input %q: dimension %d is %d, not %d", t.Name, i, d, given[i])
		case given != nil && given[i] > 0:
			out[i] = given[i]
		case open && roles[i] == lower.Time:
			out[i] = -1
		case open && roles[i] == lower.Feature && i > 0:
			return nil, unsupported("the length of dimension %d of input %q is open (-shape gives it)", i, t.Name)
		case d == 0:
			return nil, fmt.Errorf("input %q has a dimension of 0", t.Name)
		}
	}
	return out, nil
}

// trace returns the graph and the layout, and how many operators were traced.
func (p *program) trace(roles []lower.Role) (*quant.Graph, Layout, int, error) {
	sizes, err := p.sizes(p.input, roles)
	if err != nil {
		return nil, Layout{}, 0, err
	}
	tr, x, err := lower.NewTracer(sizes, roles, p.budget)
	if err != nil {
		return nil, Layout{}, 0, fmt.Errorf("input %q: %w", p.name(p.input), err)
	}
	e := &env{program: p, tr: tr, roles: roles, consts: map[*tflite.Tensor]value{}, variables: map[any]*variable{}}
	s := scope{env: e, graph: p.main, known: map[int32]value{p.input: {t: x}}}
	y, err := s.whole()
	if err != nil {
		return nil, Layout{}, e.traced, err
	}
	g, err := tr.Finish(y)
	if err == nil {
		err = e.pooledStates(g)
	}
	if err != nil {
		return nil, Layout{}, e.traced, fmt.Errorf("output %q: %w", p.name(p.output), err)
	}
	return g, Layout{Input: roles, Output: y.Layout(), Keeps: e.keeps}, e.traced, nil
}

// pooledStates refuses a graph that must forget something after each sequence, and keep something else.
func (e *env) pooledStates(g *quant.Graph) error {
	pools := slices.ContainsFunc(g.Ops, func(op quant.Op) bool { return op.Kind.Pooling() && op.Kind != format.Last })
	if e.keeps && pools {
		return unsupported("a sequence that is summarised while a state is kept for the next")
	}
	return nil
}

// env is the state of a trace.
type env struct {
	*program
	tr        *lower.Tracer
	roles     []lower.Role
	consts    map[*tflite.Tensor]value
	variables map[any]*variable
	order     []*variable
	keeps     bool
	once      bool // in what runs once, before the first call
	depth     int  // of subgraphs
	traced    int  // operators
}

// value is a tensor, or what a handle of a variable refers to, or why neither can be had.
type value struct {
	t      *lower.Tensor
	handle string
	err    error
}

// scope is a subgraph while it is traced.
type scope struct {
	*env
	graph *tflite.Subgraph
	known map[int32]value
}

// whole traces the main subgraph, and what its states become.
func (s *scope) whole() (*lower.Tensor, error) {
	for in, v := range s.fixed {
		t, err := s.filled(in, v)
		s.known[in] = value{t: t, err: err}
	}
	states := map[int32]*lower.Tensor{}
	for in := range s.states {
		t, err := s.inputState(in)
		if err != nil {
			return nil, fmt.Errorf("state %q: %w", s.name(in), err)
		}
		states[in] = t
		s.known[in] = value{t: t}
		s.keeps = true
	}
	for i, o := range s.main.Operators {
		if s.needed[i] {
			if err := s.operator(o); err != nil {
				return nil, err
			}
		}
	}
	for in, t := range states {
		next, err := s.get(s.states[in])
		if err == nil {
			err = s.tr.Store(t, next)
		}
		if err != nil {
			return nil, fmt.Errorf("state %q: %w", s.name(in), err)
		}
	}
	if err := s.storeVariables(); err != nil {
		return nil, err
	}
	y, err := s.get(s.output)
	if err != nil {
		return nil, fmt.Errorf("output %q: %w", s.name(s.output), err)
	}
	return y, nil
}

func (s *scope) inputState(in int32) (*lower.Tensor, error) {
	dims, err := s.program.sizes(in, make([]lower.Role, len(s.main.Tensors[in].Shape)))
	if err != nil {
		return nil, err
	}
	return s.tr.State(dims, nil)
}

// filled is an input replaced by a constant.
func (s *scope) filled(in int32, v float32) (*lower.Tensor, error) {
	t := s.main.Tensors[in]
	dims := make([]lower.Poly, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = lower.Int(int64(d))
	}
	var one *lower.Tensor
	var err error
	if t.Type.Integer() && !quantized(t) {
		one, err = s.tr.Ints(nil, []int64{int64(v)})
	} else {
		one, err = s.tr.Floats(nil, []float32{v})
	}
	if err != nil {
		return nil, err
	}
	return s.tr.Expand(one, dims)
}

// maxTraced bounds how many operators are traced, since loops may nest.
const maxTraced = 1 << 17

func (s *scope) operator(o *tflite.Operator) error {
	if s.traced++; s.traced > maxTraced {
		return s.wrap(s.graph, o, unsupported("more than %d operators in loops", maxTraced))
	}
	if err := s.run(o); err != nil {
		return s.wrap(s.graph, o, err)
	}
	return nil
}

func (s *scope) run(o *tflite.Operator) error {
	op, ok := operators[s.model.Op(o)]
	if !ok {
		return unsupported("the operator is not supported")
	}
	if err := s.tr.At(operatorName(s.graph, o)); err != nil {
		return err
	}
	c := &call{scope: s, Operator: o}
	if len(o.Inputs) < op.inputs {
		return fmt.Errorf("%d inputs, at least %d wanted", len(o.Inputs), op.inputs)
	}
	for i := range op.inputs {
		if o.Inputs[i] < 0 {
			return fmt.Errorf("input %d is missing", i)
		}
		t, err := s.get(o.Inputs[i])
		if err != nil {
			return err
		}
		c.in = append(c.in, t)
	}
	if op.control != nil {
		return op.control(c)
	}
	out, err := op.run(c)
	if err != nil {
		return err
	}
	for i, t := range o.Outputs {
		v := value{err: unsupported("output %d of %s is not supported", i, s.model.Op(o))}
		if i < len(out) && out[i] != nil {
			v = value{t: out[i]}
		}
		s.known[t] = v
	}
	return nil
}

// get returns a tensor of the subgraph.
func (s *scope) get(i int32) (*lower.Tensor, error) {
	v := s.value(i)
	if v.err == nil && v.t == nil {
		return nil, unsupported("the handle of a variable where a tensor is wanted")
	}
	return v.t, v.err
}

func (s *scope) value(i int32) value {
	if v, ok := s.known[i]; ok {
		return v
	}
	t := s.graph.Tensors[i]
	if v, ok := s.consts[t]; ok {
		return v
	}
	c, err := s.constant(t)
	s.consts[t] = value{t: c, err: err}
	return s.consts[t]
}

func (s *scope) constant(t *tflite.Tensor) (*lower.Tensor, error) {
	dims := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = int64(d)
	}
	switch {
	case t.Variable:
		return nil, unsupported("variable %q read by an operator that is no recurrent layer", t.Name)
	case len(s.model.Data(t)) == 0 && t.Count() != 0:
		return nil, fmt.Errorf("%q is used before it is computed", t.Name)
	case t.Sparsity != nil:
		return nil, unsupported("constant %q is stored without its zeros", t.Name)
	case t.Type.Float() || quantized(t):
		v, err := s.model.Floats(t)
		if err != nil {
			return nil, fmt.Errorf("constant %q: %w", t.Name, err)
		}
		return s.tr.Floats(dims, v)
	case t.Type.Integer():
		v, err := s.model.Ints(t)
		if err != nil {
			return nil, fmt.Errorf("constant %q: %w", t.Name, err)
		}
		return s.tr.Ints(dims, v)
	}
	return nil, unsupported("constant %q holds %v", t.Name, t.Type)
}

// describe fills in what is known of the model.
func (p *program) describe(g *quant.Graph, l Layout) {
	g.Input.Channels = make([]format.Channel, g.Values[0].Width)
	for i := range g.Input.Channels {
		g.Input.Channels[i].Name = fmt.Sprintf("x%d", i)
	}
	if low, high, ok := p.main.Tensors[p.input].Range(); ok {
		g.Range = slices.Repeat([]float32{max(-low, high)}, g.Values[0].Width)
	}
	g.Meta = append(g.Meta, format.Pair{Key: "producer", Value: "TensorFlow Lite"})
	var states []string
	for in, out := range l.States {
		states = append(states, in+"="+out)
	}
	if slices.Sort(states); len(states) > 0 {
		g.Meta = append(g.Meta, format.Pair{Key: "states", Value: strings.Join(states, ",")})
	}
}
