package fromtflite

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/feedback"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// program is the part of a model that its output depends on.
type program struct {
	model  *tflite.Model
	main   *tflite.Subgraph
	named  map[string]int32  // tensors by the names of the signature
	fixed  map[int32]float32 // inputs
	shapes map[int32][]int64 // of inputs, as far as they are given
	states map[int32]int32   // inputs to outputs
	roles  []lower.Role
	needed []bool                 // operators of main
	recurs bool                   // one of them is a recurrent layer
	uses   map[*tflite.Tensor]int // how many operators use a variable
	input  int32
	output int32
	budget int64
}

func plan(m *tflite.Model, o Options) (*program, error) {
	p := &program{model: m, main: m.Subgraphs[0], named: map[string]int32{}, roles: o.Roles}
	for _, s := range m.Signatures {
		for _, a := range slices.Concat(s.Inputs, s.Outputs) {
			if s.Subgraph == 0 {
				p.named[a.Name] = int32(a.Tensor)
			}
		}
	}
	if err := p.choose(o); err != nil {
		return nil, err
	}
	if err := p.reach(); err != nil {
		return nil, err
	}
	p.count()
	return p, nil
}

func (p *program) name(i int32) string { return p.main.Tensors[i].Name }

func (p *program) names(list []int32) string {
	var out []string
	for _, i := range list {
		out = append(out, p.name(i))
	}
	return strings.Join(out, ", ")
}

// find is an input or output by its name.
func (p *program) find(what string, list []int32, name string) (int32, error) {
	for _, i := range list {
		if t, ok := p.named[name]; p.name(i) == name || ok && t == i {
			return i, nil
		}
	}
	return 0, fmt.Errorf("the model has no %s %q; it has %s", what, name, p.names(list))
}

// choose resolves the names of the options.
func (p *program) choose(o Options) (err error) {
	if len(p.main.Outputs) == 0 {
		return errors.New("the model has no output")
	}
	if p.fixed, err = byInput(p, o.Fixed); err != nil {
		return err
	}
	if p.shapes, err = byInput(p, o.Shapes); err != nil {
		return err
	}
	states, err := byInput(p, o.States)
	if err != nil {
		return err
	}
	p.states = map[int32]int32{}
	for in, to := range states {
		if p.states[in], err = p.find("output", p.main.Outputs, to); err != nil {
			return err
		}
	}
	if o.States == nil {
		p.findStates()
	}
	if o.Output != "" {
		p.output, err = p.find("output", p.main.Outputs, o.Output)
		return err
	}
	p.output = p.firstOutput()
	return nil
}

func byInput[V any](p *program, byName map[string]V) (map[int32]V, error) {
	out := map[int32]V{}
	for name, v := range byName {
		i, err := p.find("input", p.main.Inputs, name)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// firstOutput is the first output that is no state.
func (p *program) firstOutput() int32 {
	states := map[int32]bool{}
	for _, out := range p.states {
		states[out] = true
	}
	for _, i := range p.main.Outputs {
		if !states[i] {
			return i
		}
	}
	return p.main.Outputs[0]
}

// findStates pairs inputs with the outputs that hold their next value, by the names that the signature gives them if there is one.
func (p *program) findStates() {
	alias := map[int32]string{}
	for name, t := range p.named {
		alias[t] = name
	}
	describe := func(list []int32) (out []feedback.Value, byName map[string]int32) {
		byName = map[string]int32{}
		for _, i := range list {
			v := feedback.Value{Name: p.name(i)}
			if name, ok := alias[i]; ok {
				v.Name = name
			}
			for _, d := range p.main.Tensors[i].Shape {
				v.Dims = append(v.Dims, int64(d))
			}
			out, byName[v.Name] = append(out, v), i
		}
		return out, byName
	}
	in, inputs := describe(p.main.Inputs)
	out, outputs := describe(p.main.Outputs)
	for state, next := range feedback.Pair(in, out) {
		p.states[inputs[state]] = outputs[next]
	}
}

// reach marks the operators that the output depends on; of a state that it depends on, also those that the state depends on, and
// operators without an output, which set variables.
func (p *program) reach() error {
	ops, maker := p.main.Operators, map[int32]int{}
	open := []int32{p.output}
	p.needed = make([]bool, len(ops))
	for i, o := range ops {
		for _, t := range o.Outputs {
			if _, twice := maker[t]; twice {
				return p.wrap(p.main, o, fmt.Errorf("%q is computed twice", p.name(t)))
			}
			maker[t] = i
		}
		if len(o.Outputs) == 0 {
			p.needed[i] = true
			open = append(open, o.Inputs...)
		}
	}
	used := map[int32]bool{}
	for len(open) > 0 {
		t := open[len(open)-1]
		open = open[:len(open)-1]
		if t < 0 || used[t] {
			continue
		}
		used[t] = true
		if out, ok := p.states[t]; ok {
			open = append(open, out)
		}
		if i, ok := maker[t]; ok && !p.needed[i] {
			p.needed[i] = true
			open = append(open, ops[i].Inputs...)
		}
	}
	for t := range p.states {
		if !used[t] {
			delete(p.states, t)
		}
	}
	return p.inspect(used)
}

// inspect refuses operators that are not in the table, and finds the input that varies.
func (p *program) inspect(used map[int32]bool) error {
	for i, o := range p.main.Operators {
		if !p.needed[i] {
			continue
		}
		op, ok := operators[p.model.Op(o)]
		if !ok {
			return p.wrap(p.main, o, unsupported("the operator is not supported"))
		}
		p.recurs = p.recurs || op.recurs
	}
	var found []int32
	for _, i := range p.main.Inputs {
		_, fixed := p.fixed[i]
		_, state := p.states[i]
		if used[i] && !fixed && !state {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 0:
		return unsupported("output %q depends on no input", p.name(p.output))
	case len(found) > 1:
		return unsupported("the model has %d inputs (%s); only one can vary, the others must be fixed (-zero NAME for states that start at zero, "+
			"-fix NAME=VALUE) or be states (-state NAME=OUTPUT)", len(found), p.names(found))
	}
	p.input = found[0]
	if t := p.main.Tensors[p.input]; !t.Type.Float() && !quantized(t) {
		return unsupported("input %q holds %v, not floats or what a scale makes floats of", t.Name, t.Type)
	}
	return nil
}

// quantized reports whether the integers of a tensor stand for floats.
func quantized(t *tflite.Tensor) bool {
	return t.Type.Integer() && t.Quantization != nil && len(t.Quantization.Scale) > 0
}

// What the shapes of computed tensors may add to the budget: little where no bytes of constants stand behind them.
const (
	maxComputed = 1 << 20
	perConstant = 64
	usualTurns  = 128 // how often the body of a loop may run at no harm to the budget
)

// count says how often variables are used, and what may be spent: every tensor may be rearranged a few times, in every turn of a loop.
func (p *program) count() {
	p.uses = map[*tflite.Tensor]int{}
	constants, computed := int64(0), int64(0)
	for i, g := range p.model.Subgraphs {
		times := int64(16)
		if i > 0 {
			times *= usualTurns
		}
		for _, t := range g.Tensors {
			n := t.Count()
			if b := int64(len(p.model.Data(t))); b > 0 {
				constants += min(max(n, 0), 2*b)
			} else if n < 0 || n > math.MaxInt32 {
				computed += math.MaxInt32
			} else {
				computed += times * n
			}
		}
		for _, o := range g.Operators {
			for _, i := range o.Inputs {
				if i >= 0 && g.Tensors[i].Variable {
					p.uses[g.Tensors[i]]++
				}
			}
		}
	}
	p.budget = 1<<21 + 16*constants + min(computed, maxComputed+perConstant*constants)
}

// wrap says which operator an error belongs to.
func (p *program) wrap(g *tflite.Subgraph, o *tflite.Operator, err error) error {
	return &Error{p.model.Op(o), operatorName(g, o), err}
}

// operatorName is what identifies an operator: its first output.
func operatorName(g *tflite.Subgraph, o *tflite.Operator) string {
	if len(o.Outputs) == 0 {
		return ""
	}
	return g.Tensors[o.Outputs[0]].Name
}
