// Package fromonnx turns an ONNX model into a quant.Graph.
//
// It walks the nodes that the output depends on, and calls a lower.Tracer for each by the table in ops.go. What it does not
// understand is an *Error that names the operator and the node; nothing is skipped.
package fromonnx

import (
	"encoding/json"
	"errors"
	"fmt"
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
	Roles  []lower.Role       // what the axes of the input mean; nil is the first meaning that can be traced
}

// Layout is what the axes of a model's input and output mean.
type Layout struct {
	Input  []lower.Role
	Output [][]lower.Span
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
	return g, l, nil
}

// program is the part of a model that its output depends on.
type program struct {
	model  *onnx.Model
	fixed  map[string]float32
	roles  []lower.Role
	consts map[string]*onnx.Tensor
	shapes map[string]onnx.ValueInfo // of graph inputs that are neither initializers nor the network's input
	nodes  []*onnx.Node
	used   map[string]bool // names that the output depends on
	input  onnx.ValueInfo
	output string
}

func plan(m *onnx.Model, o Options) (*program, error) {
	p := &program{model: m, fixed: o.Fixed, roles: o.Roles, consts: map[string]*onnx.Tensor{}, shapes: map[string]onnx.ValueInfo{}, output: o.Output}
	for _, t := range m.Graph.Initializers {
		p.consts[t.Name] = t
	}
	if err := p.chooseOutput(); err != nil {
		return nil, err
	}
	used, err := p.reach()
	if err != nil {
		return nil, err
	}
	p.used = used
	return p, p.chooseInput(used)
}

func (p *program) chooseOutput() error {
	var names []string
	for _, v := range p.model.Graph.Outputs {
		names = append(names, v.Name)
	}
	if len(names) == 0 {
		return errors.New("the model has no output")
	}
	if p.output == "" {
		p.output = names[0]
	}
	if !slices.Contains(names, p.output) {
		return fmt.Errorf("the model has no output %q; it has %s", p.output, strings.Join(names, ", "))
	}
	return nil
}

// reach collects the nodes that the output depends on, and returns all names they use. All their operators are in the table.
func (p *program) reach() (map[string]bool, error) {
	maker := map[string]int{}
	for i, n := range p.model.Graph.Nodes {
		for _, out := range n.Outputs {
			if _, twice := maker[out]; twice && out != "" {
				return nil, &Error{n.Op, n.Name, fmt.Errorf("%q is computed twice", out)}
			}
			maker[out] = i
		}
	}
	used, needed := map[string]bool{}, make([]bool, len(p.model.Graph.Nodes))
	for open := []string{p.output}; len(open) > 0; {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		if name == "" || used[name] {
			continue
		}
		used[name] = true
		if i, ok := maker[name]; ok && !needed[i] {
			needed[i] = true
			open = append(open, p.model.Graph.Nodes[i].Inputs...)
		}
	}
	for i, n := range p.model.Graph.Nodes {
		if !needed[i] {
			continue
		}
		if _, ok := operators[n.Op]; !ok || n.Domain != "" {
			return nil, &Error{opName(n), nodeName(n), unsupported("the operator is not supported")}
		}
		p.nodes = append(p.nodes, n)
	}
	return used, nil
}

func (p *program) chooseInput(used map[string]bool) error {
	var found []onnx.ValueInfo
	var names []string
	for _, v := range p.model.Graph.Inputs {
		_, constant := p.consts[v.Name]
		_, fixed := p.fixed[v.Name]
		switch {
		case !used[v.Name] || constant:
		case fixed:
			p.shapes[v.Name] = v
		default:
			found = append(found, v)
			names = append(names, v.Name)
		}
	}
	for name := range p.fixed {
		if !slices.ContainsFunc(p.model.Graph.Inputs, func(v onnx.ValueInfo) bool { return v.Name == name }) {
			return fmt.Errorf("the model has no input %q", name)
		}
	}
	switch {
	case len(found) == 0:
		return unsupported("output %q depends on no input", p.output)
	case len(found) > 1:
		return unsupported("the model has %d inputs (%s); only one can vary, the others must be fixed (-zero NAME for states that start at zero)",
			len(found), strings.Join(names, ", "))
	}
	p.input = found[0]
	switch {
	case !p.input.HasShape || len(p.input.Dims) == 0:
		return unsupported("input %q has no shape", p.input.Name)
	case p.input.Type != 0 && !p.input.Type.Float():
		return unsupported("input %q does not hold floats", p.input.Name)
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

// lower traces the program under every layout until one works. If none does, the error is of the one that came furthest.
func (p *program) lower() (*quant.Graph, Layout, error) {
	var best error
	furthest := -2
	tries := layouts(len(p.input.Dims))
	if p.roles != nil {
		tries = [][]lower.Role{p.roles}
	}
	for _, roles := range tries {
		g, output, progress, err := p.trace(roles)
		if err == nil {
			return g, Layout{roles, output}, nil
		}
		if progress > furthest {
			best, furthest = err, progress
		}
	}
	return nil, Layout{}, best
}

// trace returns the graph and the layout of its output, or how many nodes were traced and the error of the next.
func (p *program) trace(roles []lower.Role) (*quant.Graph, [][]lower.Span, int, error) {
	if len(roles) != len(p.input.Dims) {
		return nil, nil, -1, fmt.Errorf("input %q has %d dimensions, %d are described", p.input.Name, len(p.input.Dims), len(roles))
	}
	sizes := make([]int64, len(roles))
	for i, d := range p.input.Dims {
		if sizes[i] = d.Value; d.Value == 0 || d.Value > 1<<31 {
			return nil, nil, -1, fmt.Errorf("input %q has a dimension of %d", p.input.Name, d.Value)
		}
	}
	tr, x, err := lower.NewTracer(sizes, roles, p.budget())
	if err != nil {
		return nil, nil, -1, fmt.Errorf("input %q: %w", p.input.Name, err)
	}
	e := env{program: p, tr: tr, known: map[string]result{p.input.Name: {t: x}}}
	for i, n := range p.nodes {
		if err := e.node(n); err != nil {
			return nil, nil, i, &Error{opName(n), nodeName(n), err}
		}
	}
	y, err := e.get(p.output)
	if err == nil {
		var g *quant.Graph
		if g, err = tr.Finish(y); err == nil {
			return g, y.Layout(), len(p.nodes), nil
		}
	}
	return nil, nil, len(p.nodes), fmt.Errorf("output %q: %w", p.output, err)
}

// budget allows every tensor of the file to be rearranged a few times.
func (p *program) budget() int64 {
	n := int64(0)
	for _, t := range p.consts {
		n += int64(len(t.F) + len(t.I))
	}
	for _, v := range p.nodes {
		for _, a := range v.Attrs {
			if a.T != nil {
				n += int64(len(a.T.F) + len(a.T.I))
			}
		}
	}
	return 1<<21 + 16*n
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

// env holds what is known of every tensor while a program is traced.
type env struct {
	*program
	tr    *lower.Tracer
	known map[string]result
}

// result is a tensor, or why it cannot be used.
type result struct {
	t   *lower.Tensor
	err error
}

// get returns a tensor by name.
func (e *env) get(name string) (*lower.Tensor, error) {
	if r, ok := e.known[name]; ok {
		return r.t, r.err
	}
	t, err := e.constant(name)
	e.known[name] = result{t, err}
	return t, err
}

func (e *env) constant(name string) (*lower.Tensor, error) {
	if t, ok := e.consts[name]; ok {
		return known(e.tr, t)
	}
	if v, ok := e.shapes[name]; ok {
		return e.filled(v, e.fixed[name])
	}
	return nil, fmt.Errorf("%q is used before it is computed", name)
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

func (e *env) node(n *onnx.Node) error {
	op := operators[n.Op]
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
			c.in = append(c.in, nil)
			continue
		}
		t, err := e.get(name)
		if err != nil {
			return err
		}
		c.in = append(c.in, t)
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
			r = result{t: out[i]}
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
