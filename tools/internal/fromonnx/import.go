// Package fromonnx turns an ONNX model into a quant.Graph.
//
// It walks the nodes that the output depends on, and calls a lower.Tracer for each by the table in ops.go. What it does not
// understand is an *Error that names the operator and the node; nothing is skipped.
package fromonnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// Options vary an import.
type Options struct {
	Output string             // the graph output to compute; "" is the first
	Fixed  map[string]float32 // graph inputs to replace by a constant, such as initial states by 0
	States map[string]string  // graph inputs that hold in each call what an output gave in the call before, zero in the first
	Shapes map[string][]int64 // shapes of graph inputs, where those in the model are open
	Roles  []lower.Role       // what the axes of the input mean; nil is the first meaning that can be traced
}

// Layout is what the axes of a model's input and output mean.
type Layout struct {
	Input  []lower.Role
	Output [][]lower.Span
	States map[string]string // input to output, as given or found
}

// Error is a node that cannot be imported. It wraps a *lower.Unsupported if the model is well formed.
type Error struct {
	Op, Node string
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("%s node %q: %v", e.Op, e.Node, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

func unsupported(f string, args ...any) error {
	return &lower.Unsupported{Why: fmt.Sprintf(f, args...)}
}

// Import lowers a model. The metadata properties labels and channels (lists with commas, or JSON), units and rate (samples per second)
// become the graph's labels and input description if they fit; others are kept as metadata.
func Import(m *onnx.Model, o Options) (*quant.Graph, error) {
	g, _, err := ImportLayout(m, o)
	return g, err
}

// ImportLayout is Import for those who have whole tensors to put in and to compare.
func ImportLayout(m *onnx.Model, o Options) (*quant.Graph, Layout, error) {
	p, err := plan(m, o)
	if err != nil {
		return nil, Layout{}, err
	}
	g, l, err := p.lower()
	if err != nil {
		return nil, Layout{}, err
	}
	describe(g, m)
	if p.stateful() {
		var list []string
		for _, in := range slices.Sorted(maps.Keys(p.states)) {
			list = append(list, in+"="+p.states[in])
		}
		g.Meta = append(g.Meta, format.Pair{Key: "states", Value: strings.Join(list, ",")})
	}
	return g, l, nil
}

// program is the part of a model that its output depends on.
type program struct {
	model  *onnx.Model
	fixed  map[string]float32
	sizes  map[string][]int64
	roles  []lower.Role
	consts map[string]*onnx.Tensor
	shapes map[string]onnx.ValueInfo // of graph inputs that are neither initializers nor the network's input
	states map[string]string         // input to output
	used   map[string]bool           // names that the output depends on
	input  onnx.ValueInfo
	output string
}

func plan(m *onnx.Model, o Options) (*program, error) {
	p := &program{model: m, fixed: o.Fixed, sizes: o.Shapes, roles: o.Roles, states: o.States, consts: map[string]*onnx.Tensor{},
		shapes: map[string]onnx.ValueInfo{}, output: o.Output}
	for _, t := range m.Graph.Initializers {
		p.consts[t.Name] = t
	}
	if err := p.checkNames(); err != nil {
		return nil, err
	}
	if p.states == nil {
		p.states = p.findStates()
	}
	if err := p.chooseOutput(); err != nil {
		return nil, err
	}
	if err := p.reach(); err != nil {
		return nil, err
	}
	return p, p.chooseInput()
}

// checkNames refuses options that name what the model does not have.
func (p *program) checkNames() error {
	g := p.model.Graph
	has := func(list []onnx.ValueInfo, name string) bool {
		return slices.ContainsFunc(list, func(v onnx.ValueInfo) bool { return v.Name == name })
	}
	for name := range p.fixed {
		if !has(g.Inputs, name) {
			return fmt.Errorf("the model has no input %q", name)
		}
	}
	for name := range p.sizes {
		if !has(g.Inputs, name) {
			return fmt.Errorf("the model has no input %q", name)
		}
	}
	for in, out := range p.states {
		switch {
		case !has(g.Inputs, in):
			return fmt.Errorf("the model has no input %q; it has %s", in, names(g.Inputs))
		case !has(g.Outputs, out):
			return fmt.Errorf("the model has no output %q; it has %s", out, names(g.Outputs))
		}
	}
	return nil
}

func names(list []onnx.ValueInfo) string {
	var out []string
	for _, v := range list {
		out = append(out, v.Name)
	}
	return strings.Join(out, ", ")
}

// chooseOutput takes the first output that is no state, if none is asked for.
func (p *program) chooseOutput() error {
	outputs := p.model.Graph.Outputs
	if len(outputs) == 0 {
		return errors.New("the model has no output")
	}
	if p.output != "" {
		if !slices.ContainsFunc(outputs, func(v onnx.ValueInfo) bool { return v.Name == p.output }) {
			return fmt.Errorf("the model has no output %q; it has %s", p.output, names(outputs))
		}
		return nil
	}
	p.output = outputs[0].Name
	for _, v := range outputs {
		if !slices.Contains(slices.Collect(maps.Values(p.states)), v.Name) {
			p.output = v.Name
			break
		}
	}
	return nil
}

// reach collects the names that the output depends on; of a state that it depends on, also those that the state depends on.
func (p *program) reach() error {
	maker, err := makers(p.model.Graph)
	if err != nil {
		return err
	}
	p.used = map[string]bool{}
	for open := []string{p.output}; len(open) > 0; {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		if name == "" || p.used[name] {
			continue
		}
		p.used[name] = true
		if out, ok := p.states[name]; ok {
			open = append(open, out)
		}
		if n := maker[name]; n != nil {
			open = appendInputs(open, n)
		}
	}
	return nil
}

// appendInputs appends the names that a node reads, in its subgraphs too.
func appendInputs(to []string, n *onnx.Node) []string {
	to = append(to, n.Inputs...)
	for _, a := range n.Attrs {
		if a.G == nil {
			continue
		}
		for _, inner := range a.G.Nodes {
			to = appendInputs(to, inner)
		}
		for _, v := range a.G.Outputs {
			to = append(to, v.Name)
		}
	}
	return to
}

// makers says which node computes each name.
func makers(g *onnx.Graph) (map[string]*onnx.Node, error) {
	maker := map[string]*onnx.Node{}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			if maker[out] != nil && out != "" {
				return nil, &Error{opName(n), nodeName(n), fmt.Errorf("%q is computed twice", out)}
			}
			maker[out] = n
		}
	}
	return maker, nil
}

func (p *program) chooseInput() error {
	var found []onnx.ValueInfo
	for _, v := range p.model.Graph.Inputs {
		_, constant := p.consts[v.Name]
		_, fixed := p.fixed[v.Name]
		_, state := p.states[v.Name]
		if dims, given := p.sizes[v.Name]; given {
			if err := setShape(&v, dims); err != nil {
				return err
			}
		}
		switch {
		case !p.used[v.Name] || constant:
		case fixed, state:
			p.shapes[v.Name] = v
		default:
			found = append(found, v)
		}
	}
	switch {
	case len(found) == 0:
		return unsupported("output %q depends on no input", p.output)
	case len(found) > 1:
		return unsupported("the model has %d inputs (%s); only one can vary, the others must be fixed (-zero NAME for states that start at zero, "+
			"-fix NAME=VALUE) or be states (-state NAME=OUTPUT)", len(found), names(found))
	}
	p.input = found[0]
	switch {
	case !p.input.HasShape || len(p.input.Dims) == 0:
		return unsupported("input %q has no shape", p.input.Name)
	case p.input.Type != 0 && !p.input.Type.Float() && !p.input.Type.Integer():
		return unsupported("input %q does not hold numbers", p.input.Name)
	}
	return nil
}

// setShape fixes the dimensions of an input; those of -1 stay as they are.
func setShape(v *onnx.ValueInfo, dims []int64) error {
	if v.HasShape && len(v.Dims) != len(dims) {
		return fmt.Errorf("input %q has %d dimensions, %d are given", v.Name, len(v.Dims), len(dims))
	}
	if !v.HasShape {
		v.Dims = make([]onnx.Dim, len(dims))
		for i := range v.Dims {
			v.Dims[i].Value = -1
		}
	}
	v.HasShape, v.Dims = true, slices.Clone(v.Dims)
	for i, d := range dims {
		if d > 0 && v.Dims[i].Value > 0 && v.Dims[i].Value != d {
			return fmt.Errorf("input %q: dimension %d is %d, not %d", v.Name, i, v.Dims[i].Value, d)
		}
		if d > 0 {
			v.Dims[i] = onnx.Dim{Value: d}
		}
	}
	return nil
}

// layouts are the meanings that the axes of an input may have. A model does not say which; only the right one can be traced.
func layouts(rank int) [][]lower.Role {
	rest := func(r ...lower.Role) []lower.Role {
		for len(r) < rank {
			r = append(r, lower.Feature)
		}
		return r
	}
	switch rank {
	case 1:
		return [][]lower.Role{rest()}
	case 2:
		return [][]lower.Role{rest(lower.Time), rest(lower.Batch), rest()}
	}
	channelsFirst := rest(lower.Batch)
	channelsFirst[rank-1] = lower.Time
	all := [][]lower.Role{rest(lower.Batch, lower.Time), rest(lower.Time, lower.Batch), channelsFirst}
	if rank > 3 {
		all = append(all, rest(lower.Batch, lower.Feature, lower.Time))
	}
	return append(all, rest(lower.Batch), rest())
}

// lower traces the program under every layout until one works. If none does, the error is of the one that came furthest, and among
// these of the last, which asks least of the model.
func (p *program) lower() (*quant.Graph, Layout, error) {
	var best error
	furthest := -2
	tries := layouts(len(p.input.Dims))
	switch {
	case p.roles != nil:
		tries = [][]lower.Role{p.roles}
	case p.stateful(): // a call with states is one step, with all that it holds
		tries = [][]lower.Role{make([]lower.Role, len(p.input.Dims))}
	}
	for _, roles := range tries {
		g, output, progress, err := p.trace(roles)
		if err == nil {
			return g, Layout{roles, output, p.states}, nil
		}
		if progress > furthest || progress == furthest && progress >= 0 {
			best, furthest = err, progress
		}
	}
	return nil, Layout{}, p.hinted(best)
}

const unknownOperator = "the operator is not supported"

// hinted says what may help a model that cannot be traced while its input's shape is open.
func (p *program) hinted(err error) error {
	var open []string
	for i, d := range p.input.Dims {
		if d.Value < 0 {
			open = append(open, strconv.Itoa(i))
		}
	}
	if u := (*lower.Unsupported)(nil); len(open) == 0 || !errors.As(err, &u) || u.Why == unknownOperator {
		return err
	}
	return fmt.Errorf("%w (input %q leaves its dimensions %s open: if they are always the same, say so, as in -shape %s=1x100x6)",
		err, p.input.Name, strings.Join(open, ", "), p.input.Name)
}

func (p *program) stateful() bool {
	for in := range p.states {
		if p.used[in] {
			return true
		}
	}
	return false
}

// inputSizes are the sizes of the input's axes. In a model with states, the axes of batch and time may be open, and have length 1.
func (p *program) inputSizes() ([]int64, error) {
	sizes := make([]int64, len(p.input.Dims))
	for i, d := range p.input.Dims {
		if sizes[i] = d.Value; d.Value == 0 || d.Value > 1<<31 {
			return nil, fmt.Errorf("input %q has a dimension of %d", p.input.Name, d.Value)
		}
		if d.Value < 0 && p.stateful() && i < 2 && i < len(sizes)-1 {
			sizes[i] = 1
		}
	}
	return sizes, nil
}

// trace returns the graph and the layout of its output, or how many nodes were traced and the error of the next.
func (p *program) trace(roles []lower.Role) (*quant.Graph, [][]lower.Span, int, error) {
	if len(roles) != len(p.input.Dims) {
		return nil, nil, -1, fmt.Errorf("input %q has %d dimensions, %d are described", p.input.Name, len(p.input.Dims), len(roles))
	}
	sizes, err := p.inputSizes()
	if err != nil {
		return nil, nil, -1, err
	}
	tr, x, err := lower.NewTracer(sizes, roles, p.budget())
	if err != nil {
		return nil, nil, -1, fmt.Errorf("input %q: %w", p.input.Name, err)
	}
	e := &env{program: p, tr: tr, traced: new(int), scope: scope{known: map[string]result{p.input.Name: {t: x, typ: p.input.Type}}}}
	if e.maker, err = makers(p.model.Graph); err != nil {
		return nil, nil, -1, err
	}
	g, output, err := e.whole()
	return g, output, *e.traced, err
}

// whole traces the output, and what the states become.
func (e *env) whole() (*quant.Graph, [][]lower.Span, error) {
	states := map[string]*lower.Tensor{}
	for _, in := range slices.Sorted(maps.Keys(e.states)) {
		if !e.used[in] {
			continue
		}
		t, err := e.state(e.shapes[in])
		if err != nil {
			return nil, nil, fmt.Errorf("state %q: %w", in, err)
		}
		states[in] = t
		e.known[in] = result{t: t, typ: e.shapes[in].Type}
	}
	y, err := e.get(e.output)
	if err != nil {
		return nil, nil, e.atOutput(err)
	}
	for _, in := range slices.Sorted(maps.Keys(states)) {
		next, err := e.get(e.states[in])
		if err == nil {
			err = e.tr.Store(states[in], next)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("state %q: %w", in, err)
		}
	}
	g, err := e.tr.Finish(y)
	if err != nil {
		return nil, nil, e.atOutput(err)
	}
	return g, y.Layout(), nil
}

// atOutput names the output, unless the error is of a node before.
func (e *env) atOutput(err error) error {
	if at := (*Error)(nil); errors.As(err, &at) {
		return err
	}
	return fmt.Errorf("output %q: %w", e.output, err)
}

// state is a graph input that persists. Open dimensions, of the batch or of a step, have length 1.
func (e *env) state(v onnx.ValueInfo) (*lower.Tensor, error) {
	if !v.HasShape || v.Type != 0 && !v.Type.Float() {
		return nil, unsupported("an input without a shape, or of integers")
	}
	var dims []int64
	for _, d := range v.Dims {
		dims = append(dims, max(d.Value, 1))
		if d.Value == 0 {
			return nil, unsupported("a dimension of 0")
		}
	}
	return e.tr.State(dims, nil)
}

// budget allows every tensor of the file to be rearranged a few times.
func (p *program) budget() int64 {
	n := int64(0)
	for _, t := range p.consts {
		n += int64(len(t.F) + len(t.I))
	}
	return 1<<21 + 16*(n+attributes(p.model.Graph))
}

// attributes counts the elements of the constants in a graph's nodes.
func attributes(g *onnx.Graph) (n int64) {
	for _, v := range g.Nodes {
		for _, a := range v.Attrs {
			if a.T != nil {
				n += int64(len(a.T.F) + len(a.T.I))
			}
			if a.G != nil {
				for _, t := range a.G.Initializers {
					n += int64(len(t.F) + len(t.I))
				}
				n += attributes(a.G)
			}
		}
	}
	return n
}

func opName(n *onnx.Node) string {
	if n.Domain != "" {
		return n.Domain + "::" + n.Op
	}
	return n.Op
}

// nodeName is the node's name, or what identifies a node without one: its first output.
func nodeName(n *onnx.Node) string {
	if n.Name != "" || len(n.Outputs) == 0 {
		return n.Name
	}
	return n.Outputs[0]
}

// env holds what is known of every tensor while a graph is traced: the model's, or one within a node, whose names come before those of
// the graph around it.
type env struct {
	*program
	scope
	tr     *lower.Tracer
	outer  *env
	traced *int // nodes so far, in all graphs
	depth  int
}

type scope struct {
	known  map[string]result
	maker  map[string]*onnx.Node
	inside map[string]*onnx.Tensor // initializers of a graph within a node
}

// result is a tensor with its element type, 0 if that is not known, or why it cannot be used.
type result struct {
	t   *lower.Tensor
	typ onnx.Type
	err error
}

// get returns a tensor by name. It traces what that depends on, one node after the other and without recursion, since chains can be long.
func (e *env) get(name string) (*lower.Tensor, error) {
	open := []string{name}
	waiting := map[*onnx.Node]bool{}
	for len(open) > 0 {
		at := open[len(open)-1]
		n := e.maker[at]
		if _, done := e.known[at]; done || n == nil {
			open = open[:len(open)-1]
			continue
		}
		missing := e.missing(n)
		switch {
		case len(missing) == 0:
			if err := e.node(n); err != nil {
				return nil, atNode(n, err)
			}
			*e.traced++
		case waiting[n]:
			return nil, &Error{opName(n), nodeName(n), errors.New("it depends on its own output")}
		}
		waiting[n] = true
		open = append(open, missing...)
	}
	if r, ok := e.known[name]; ok {
		return r.t, r.err
	}
	r := e.source(name)
	e.known[name] = r
	return r.t, r.err
}

// atNode names the node of an error, unless that is of one before it.
func atNode(n *onnx.Node, err error) error {
	if at := (*Error)(nil); errors.As(err, &at) {
		return err
	}
	return &Error{opName(n), nodeName(n), err}
}

// missing lists the inputs of a node that another must compute first, the first last.
func (e *env) missing(n *onnx.Node) (names []string) {
	for _, name := range slices.Backward(n.Inputs) {
		if _, done := e.known[name]; !done && name != "" && e.maker[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// source is a tensor that no node of this graph computes.
func (e *env) source(name string) result {
	if t, ok := e.inside[name]; ok {
		return e.constant(t)
	}
	if e.outer != nil {
		t, err := e.outer.get(name)
		return result{t, e.outer.known[name].typ, err}
	}
	if t, ok := e.consts[name]; ok {
		return e.constant(t)
	}
	if v, ok := e.shapes[name]; ok {
		t, err := e.filled(v, e.fixed[name])
		return result{t, v.Type, err}
	}
	return result{err: fmt.Errorf("%q is used before it is computed", name)}
}

func (e *env) constant(t *onnx.Tensor) result {
	v, err := known(e.tr, t)
	return result{v, t.Type, err}
}

// within is an environment for a graph in a node's attribute, with its inputs bound.
func (e *env) within(g *onnx.Graph, inputs []*lower.Tensor) (*env, error) {
	if e.depth == maxDepth {
		return nil, unsupported("graphs nested more than %d deep", maxDepth)
	}
	if len(inputs) != len(g.Inputs) {
		return nil, fmt.Errorf("a body with %d inputs, %d are given", len(g.Inputs), len(inputs))
	}
	maker, err := makers(g)
	if err != nil {
		return nil, err
	}
	in := &env{program: e.program, tr: e.tr, outer: e, traced: e.traced, depth: e.depth + 1,
		scope: scope{known: map[string]result{}, maker: maker, inside: map[string]*onnx.Tensor{}}}
	for _, t := range g.Initializers {
		in.inside[t.Name] = t
	}
	for i, v := range g.Inputs {
		in.known[v.Name] = result{t: inputs[i], typ: v.Type}
	}
	return in, nil
}

const maxDepth = 16

// outputs are the outputs of a graph.
func (e *env) outputs(g *onnx.Graph) (out []*lower.Tensor, err error) {
	for _, v := range g.Outputs {
		t, err := e.get(v.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// filled is a graph input replaced by a constant. Dimensions that are not fixed are taken as 1, so that it broadcasts.
func (e *env) filled(v onnx.ValueInfo, value float32) (*lower.Tensor, error) {
	dims := make([]lower.Poly, len(v.Dims))
	for i, d := range v.Dims {
		dims[i] = lower.Int(max(d.Value, 1))
	}
	var one *lower.Tensor
	var err error
	if v.Type.Integer() {
		one, err = e.tr.Ints(nil, []int64{int64(value)})
	} else {
		one, err = e.tr.Floats(nil, []float32{value})
	}
	if err != nil {
		return nil, err
	}
	return e.tr.Expand(one, dims)
}

func known(tr *lower.Tracer, t *onnx.Tensor) (*lower.Tensor, error) {
	switch {
	case t.F != nil:
		return tr.Floats(t.Dims, t.F)
	case t.I != nil:
		return tr.Ints(t.Dims, t.I)
	}
	return nil, unsupported("constant %q has an element type that is not supported (%d)", t.Name, t.Type)
}

const maxRank = 64

func (e *env) node(n *onnx.Node) error {
	op, ok := operators[opName(n)]
	if !ok {
		return unsupported(unknownOperator)
	}
	if err := e.tr.At(nodeName(n)); err != nil {
		return err
	}
	for _, a := range n.Attrs {
		if !slices.Contains(op.attrs, a.Name) || a.Ref != "" {
			return unsupported("the attribute %s is not supported", a.Name)
		}
	}
	c := &call{env: e, Node: n, opset: e.model.Opset()}
	for _, name := range n.Inputs {
		if name == "" {
			c.in, c.types = append(c.in, nil), append(c.types, 0)
			continue
		}
		t, err := e.get(name)
		if err != nil {
			return err
		}
		c.in, c.types = append(c.in, t), append(c.types, e.known[name].typ)
	}
	if len(c.in) < op.inputs {
		return fmt.Errorf("%d inputs, at least %d wanted", len(c.in), op.inputs)
	}
	for i := range op.inputs {
		if c.in[i] == nil {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	out, err := op.run(c)
	if err != nil {
		return err
	}
	for i, name := range n.Outputs {
		r := result{err: unsupported("its output %d is not supported", i)}
		if i < len(out) && out[i] != nil {
			if out[i].Rank() > maxRank {
				return unsupported("a tensor of more than %d dimensions", maxRank)
			}
			r = result{t: out[i], typ: c.outputType(i)}
		}
		if r.err != nil {
			r.err = fmt.Errorf("%s node %q: %w", n.Op, nodeName(n), r.err)
		}
		e.known[name] = r
	}
	return nil
}

// describe fills in what the model says about itself.
func describe(g *quant.Graph, m *onnx.Model) {
	g.Input.Channels = make([]format.Channel, g.Values[0].Width)
	for i := range g.Input.Channels {
		g.Input.Channels[i].Name = fmt.Sprintf("x%d", i)
	}
	if m.Producer != "" {
		g.Meta = append(g.Meta, format.Pair{Key: "producer", Value: strings.TrimSpace(m.Producer + " " + m.ProducerVersion)})
	}
	for _, e := range m.Meta {
		if !describeBy(g, e) {
			g.Meta = append(g.Meta, format.Pair{Key: e.Key, Value: e.Value})
		}
	}
}

// describeBy applies one metadata property, and reports whether it is one of those with a meaning and fits.
func describeBy(g *quant.Graph, e onnx.Entry) bool {
	v := List(e.Value)
	switch e.Key {
	case "labels":
		if len(v) == g.Values[g.Output].Width {
			g.Labels = v
			return true
		}
	case "channels", "units":
		if len(v) == len(g.Input.Channels) {
			for i := range v {
				if e.Key == "units" {
					g.Input.Channels[i].Unit = v[i]
				} else {
					g.Input.Channels[i].Name = v[i]
				}
			}
			return true
		}
	case "rate":
		if r, err := strconv.ParseFloat(e.Value, 32); err == nil && r > 0 {
			g.Input.Rate = float32(r)
			return true
		}
	}
	return false
}

// List splits a list written with commas, or as a JSON array of strings.
func List(s string) []string {
	var v []string
	if json.Unmarshal([]byte(s), &v) == nil {
		return v
	}
	for p := range strings.SplitSeq(s, ",") {
		v = append(v, strings.TrimSpace(p))
	}
	return v
}
