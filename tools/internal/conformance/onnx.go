package conformance

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/fromonnx"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// onnxCase is an ONNX model with sets of arrays.
type onnxCase struct {
	file      string
	sets      func(*onnx.Model) ([]set, error)
	tolerance Tolerance
}

func (k onnxCase) run(c checker) ([]Output, error) {
	b, err := os.ReadFile(k.file)
	if err != nil {
		return nil, err
	}
	m, err := onnx.Read(b)
	if err != nil {
		return nil, err
	}
	sets, err := k.sets(m)
	if err != nil {
		return nil, err
	}
	var outputs []Output
	for _, v := range m.Graph.Outputs {
		o := Output{Name: v.Name, Status: Passed}
		compared := false
		for _, s := range sets {
			if want := s.out[v.Name]; want != nil {
				compared = true
				o.add(k.check(c, m, s, v.Name, want))
			}
		}
		if compared {
			outputs = append(outputs, o)
		}
	}
	if len(outputs) == 0 {
		return nil, errors.New("there is no reference for any output")
	}
	return outputs, nil
}

// check returns the error of one output.
func (k onnxCase) check(c checker, m *onnx.Model, s set, output string, want *onnx.Tensor) (float64, error) {
	got, err := evaluate(m, s, output)
	if err != nil {
		return 0, err
	}
	if want = numbers(want); want.F == nil {
		return 0, unsupported("the output holds no numbers")
	}
	if !slices.Equal(got.Dims, want.Dims) {
		return 0, fmt.Errorf("shape %v, want %v", got.Dims, want.Dims)
	}
	return c.compare(got.F, want.F, k.tolerance.of(want.Type))
}

// of allows for what a reference of short floats was rounded by: one unit in the last place.
func (t Tolerance) of(typ onnx.Type) Tolerance {
	switch typ {
	case onnx.Float16:
		t.Rtol = math.Max(t.Rtol, 0x1p-10)
	case onnx.BFloat16:
		t.Rtol = math.Max(t.Rtol, 0x1p-7)
	}
	return t
}

// numbers is a tensor with its integers or booleans as floats, which is how the runtime computes with them.
func numbers(t *onnx.Tensor) *onnx.Tensor {
	if t.I == nil {
		return t
	}
	c := *t
	c.I, c.F = nil, make([]float32, len(t.I))
	for i, v := range t.I {
		c.F[i] = float32(v)
	}
	return &c
}

// evaluate computes an output of a model, with the first of its inputs varying that can. If none can, the error is the first one's.
func evaluate(m *onnx.Model, s set, output string) (*onnx.Tensor, error) {
	var first error
	for _, v := range inputs(m) {
		x := s.in[v.Name]
		if x != nil && len(x.F)+len(x.I) == 0 && first == nil {
			first = unsupported("input %q is empty", v.Name)
		}
		if x == nil || len(x.Dims) == 0 || len(x.F)+len(x.I) == 0 {
			continue
		}
		x = numbers(x)
		if slices.ContainsFunc(x.F, func(f float32) bool { return f-f != 0 }) {
			return nil, unsupported("input %q holds infinities or what is not a number, which a session refuses", v.Name)
		}
		y, err := (&attempt{model: m, set: s, vary: v, x: x, output: output}).run()
		if err == nil || classify(err) == Failed {
			return y, err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = unsupported("no input holds numbers that could vary")
	}
	return nil, first
}

// attempt computes an output with one input varying and the others constant.
type attempt struct {
	model  *onnx.Model
	set    set
	vary   onnx.ValueInfo
	x      *onnx.Tensor
	output string
	shapes map[string][]int64 // of the input, where the model leaves it open
}

// run tries the model as it is, and then for inputs of the given shape only.
func (a *attempt) run() (*onnx.Tensor, error) {
	y, err := a.open()
	if err == nil || classify(err) == Failed || !slices.ContainsFunc(a.vary.Dims, func(d onnx.Dim) bool { return d.Value < 0 }) {
		return y, err
	}
	a.shapes = map[string][]int64{a.vary.Name: a.x.Dims}
	if y, e := a.open(); e == nil || classify(e) == Failed {
		return y, e
	}
	return nil, err
}

// open tries the constants as they are; then, for every sequence of the batch, its part of them.
func (a *attempt) open() (*onnx.Tensor, error) {
	y, err := a.whole()
	if err == nil || classify(err) == Failed || !a.cuts() {
		return y, err
	}
	y, err = a.parted(nil)
	if err == nil || classify(err) == Failed {
		return y, err
	}
	if y, e := a.parted(a.batchFirst()); e == nil || classify(e) == Failed {
		return y, e
	}
	return nil, err
}

func (a *attempt) batchFirst() []lower.Role {
	roles := make([]lower.Role, len(a.x.Dims))
	roles[0] = lower.Batch
	return roles
}

func (a *attempt) whole() (*onnx.Tensor, error) {
	g, l, err := a.load(-1, nil)
	if err != nil {
		return nil, err
	}
	in := arrange(a.x, l.Input)
	rows := make([]result, len(in.sequences))
	for n, x := range in.sequences {
		if rows[n], err = calculate(g, x); err != nil {
			return nil, err
		}
	}
	return in.assemble(rows, l.Output)
}

// parted gives every sequence a graph with its own part of the constants.
func (a *attempt) parted(roles []lower.Role) (*onnx.Tensor, error) {
	_, l, err := a.load(0, roles)
	if err != nil {
		return nil, err
	}
	in := arrange(a.x, l.Input)
	if !a.fits(l.Input, len(in.sequences)) {
		return nil, unsupported("further inputs differ along an axis that is not the batch")
	}
	rows := make([]result, len(in.sequences))
	for n, x := range in.sequences {
		g, _, err := a.load(n, l.Input)
		if err != nil {
			return nil, err
		}
		if rows[n], err = calculate(g, x); err != nil {
			return nil, err
		}
	}
	return in.assemble(rows, l.Output)
}

// load imports the model with all inputs but one as constants: whole, or their part for sequence n.
func (a *attempt) load(n int, roles []lower.Role) (*quant.Graph, fromonnx.Layout, error) {
	m, g := *a.model, *a.model.Graph
	m.Graph = &g
	g.Initializers = slices.Clone(g.Initializers)
	absent := map[string]bool{}
	for _, v := range inputs(a.model) {
		t := a.set.in[v.Name]
		switch {
		case v.Name == a.vary.Name:
		case t == nil:
			absent[v.Name] = true
		default:
			t = typed(t, v)
			if ax := a.cut(v.Name, t); n >= 0 && ax >= 0 {
				t = part(t, ax, n)
			}
			g.Initializers = append(g.Initializers, t)
		}
	}
	g.Nodes = without(g.Nodes, absent)
	return fromonnx.ImportLayout(&m, fromonnx.Options{Output: a.output, Roles: roles, Shapes: a.shapes})
}

// typed is a tensor under its name in the graph, and with integers where the graph has such.
func typed(t *onnx.Tensor, v onnx.ValueInfo) *onnx.Tensor {
	c := *t
	c.Name = v.Name
	if _, _, short := v.Type.Range(); v.Type.Integer() && !short && t.F != nil {
		c.Type, c.F, c.I = v.Type, nil, make([]int64, len(t.F))
		for i, x := range t.F {
			c.I[i] = int64(x)
		}
	}
	return &c
}

// without leaves inputs out of the nodes that have them.
func without(nodes []*onnx.Node, absent map[string]bool) []*onnx.Node {
	if len(absent) == 0 {
		return nodes
	}
	out := make([]*onnx.Node, len(nodes))
	for i, n := range nodes {
		c := *n
		c.Inputs = slices.Clone(n.Inputs)
		for k, name := range c.Inputs {
			if absent[name] {
				c.Inputs[k] = ""
			}
		}
		out[i] = &c
	}
	return out
}

// part is the tensor at position n of an axis, which stays with a length of 1.
func part(t *onnx.Tensor, ax, n int) *onnx.Tensor {
	if t.Dims[ax] == 1 {
		return t
	}
	c := *t
	c.Dims = slices.Clone(t.Dims)
	c.Dims[ax] = 1
	inner := 1
	for _, d := range t.Dims[ax+1:] {
		inner *= int(d)
	}
	c.F, c.I = pick(t.F, int(t.Dims[ax]), inner, n), pick(t.I, int(t.Dims[ax]), inner, n)
	return &c
}

func pick[E any](v []E, size, inner, n int) (out []E) {
	for o := n * inner; o < len(v); o += size * inner {
		out = append(out, v[o:][:inner]...)
	}
	return out
}

// cuts reports whether any constant has an axis along which the sequences of a batch lie.
func (a *attempt) cuts() bool {
	for name, t := range a.set.in {
		if name != a.vary.Name && a.cut(name, t) >= 0 {
			return true
		}
	}
	return false
}

// fits reports whether the constants have a part for each of n sequences.
func (a *attempt) fits(roles []lower.Role, n int) bool {
	if !slices.Contains(roles, lower.Batch) {
		return false
	}
	for name, t := range a.set.in {
		if ax := a.cut(name, t); name != a.vary.Name && ax >= 0 && t.Dims[ax] != 1 && t.Dims[ax] != int64(n) {
			return false
		}
	}
	return true
}

var (
	// elementwise operators pair a constant with the input position by position.
	elementwise = []string{"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Min", "Max", "Sum", "Mean", "Where", "Gemm"}
	// moving operators lead a state to the layer that starts from it.
	moving = []string{"Slice", "Gather", "Squeeze", "Unsqueeze", "Cast", "Identity", "Transpose", "Split"}
)

// cut is the axis of a constant along which the sequences of a batch lie, by what reads it, or -1.
func (a *attempt) cut(name string, t *onnx.Tensor) int {
	for _, n := range a.model.Graph.Nodes {
		i := slices.Index(n.Inputs, name)
		if i < 0 {
			continue
		}
		ax := -1
		switch {
		case n.Op == "LSTM" || n.Op == "GRU" || n.Op == "RNN":
			ax = stateAxis(n, i)
		case slices.Contains(elementwise, n.Op):
			if slices.Contains(n.Inputs, a.vary.Name) && len(t.Dims) == len(a.x.Dims) && !(n.Op == "Gemm" && i != 2) {
				ax = 0
			}
		case slices.Contains(moving, n.Op) && i == 0:
			ax = 0
			if len(t.Dims) == 3 {
				ax = 1
			}
		}
		if ax >= 0 && ax < len(t.Dims) {
			return ax
		}
	}
	return -1
}

// stateAxis is the batch axis of input i of a recurrent operator, or -1 of its weights.
func stateAxis(n *onnx.Node, i int) int {
	switch i {
	case 4: // sequence_lens
		return 0
	case 5, 6: // initial_h, initial_c
		if l := n.Attr("layout"); l != nil && l.I == 1 {
			return 0
		}
		return 1
	}
	return -1
}

// result is the output for one sequence, row by row.
type result struct {
	y    []float32
	rows int
}

func calculate(g *quant.Graph, x []float32) (result, error) {
	y, rows, err := compute(g, x)
	return result{y, rows}, err
}

// compute runs a sequence through a graph in float32.
func compute(g *quant.Graph, x []float32) (y []float32, rows int, err error) {
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		return nil, 0, err
	}
	m, err := runtime.New(f)
	if err != nil {
		return nil, 0, err
	}
	rows = 1
	if m.PerStep() {
		rows = len(x) / m.InputWidth()
	}
	y = make([]float32, rows*m.OutputWidth())
	return y, rows, m.NewSession().Run(x, y)
}
