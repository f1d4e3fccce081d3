package fromtflite

import (
	"errors"
	"fmt"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

const (
	maxDepth = 16      // of subgraphs
	maxTurns = 1 << 12 // of a loop
)

// within traces a subgraph and returns its outputs.
func (c *call) within(index int64, args []value) ([]value, error) {
	if index < 0 || index >= int64(len(c.model.Subgraphs)) {
		return nil, fmt.Errorf("no subgraph %d", index)
	}
	g := c.model.Subgraphs[index]
	if len(args) != len(g.Inputs) {
		return nil, fmt.Errorf("%d arguments for a subgraph with %d inputs", len(args), len(g.Inputs))
	}
	if c.depth == maxDepth {
		return nil, unsupported("subgraphs nested more than %d deep", maxDepth)
	}
	c.depth++
	defer func() { c.depth-- }()
	s := scope{env: c.env, graph: g, known: map[int32]value{}}
	for i, in := range g.Inputs {
		s.known[in] = args[i]
	}
	for _, o := range g.Operators {
		if err := s.operator(o); err != nil {
			return nil, err
		}
	}
	var out []value
	for _, i := range g.Outputs {
		out = append(out, s.value(i))
	}
	return out, nil
}

// arguments are the inputs from one on.
func (c *call) arguments(from int) ([]value, error) {
	var out []value
	for _, i := range c.Inputs[min(from, len(c.Inputs)):] {
		if i < 0 {
			return nil, errors.New("an input is missing")
		}
		out = append(out, c.value(i))
	}
	return out, nil
}

func (c *call) results(out []value) error {
	if len(out) < len(c.Outputs) {
		return fmt.Errorf("%d results for %d outputs", len(out), len(c.Outputs))
	}
	for i, t := range c.Outputs {
		c.known[t] = out[i]
	}
	return nil
}

// condition is a boolean that is known when the model is converted.
func (c *call) condition(v value) (bool, error) {
	switch {
	case v.err != nil:
		return false, v.err
	case v.t == nil || v.t.Computed():
		return false, unsupported("a condition that depends on the input")
	}
	t, err := c.tr.ToInt(v.t, true)
	if err != nil {
		return false, err
	}
	n, err := c.ints(t)
	if err != nil || len(n) != 1 {
		return false, unsupported("a condition that is not one known value")
	}
	return n[0] != 0, nil
}

// ifElse traces the branch that is taken.
func ifElse(c *call) error {
	o := options[tflite.IfOptions](c)
	yes, err := c.condition(value{t: c.in[0]})
	if err != nil {
		return err
	}
	args, err := c.arguments(1)
	if err != nil {
		return err
	}
	branch := o.Else
	if yes {
		branch = o.Then
	}
	out, err := c.within(int64(branch), args)
	if err != nil {
		return err
	}
	return c.results(out)
}

// while writes the body out as often as it runs, which must be known.
func while(c *call) error {
	o := options[tflite.WhileOptions](c)
	state, err := c.arguments(0)
	if err != nil {
		return err
	}
	for range maxTurns {
		goOn, err := c.within(int64(o.Condition), state)
		if err != nil {
			return err
		}
		if len(goOn) != 1 {
			return fmt.Errorf("a condition of %d values", len(goOn))
		}
		yes, err := c.condition(goOn[0])
		if err != nil {
			return err
		}
		if !yes {
			return c.results(state)
		}
		if state, err = c.within(int64(o.Body), state); err != nil {
			return err
		}
	}
	return unsupported("more than %d turns", maxTurns)
}

func callSubgraph(c *call) error {
	args, err := c.arguments(0)
	if err != nil {
		return err
	}
	out, err := c.within(int64(options[tflite.CallOptions](c).Subgraph), args)
	if err != nil {
		return err
	}
	return c.results(out)
}

// callOnce traces what runs before the first call: it says what variables begin with.
func callOnce(c *call) error {
	c.once = true
	defer func() { c.once = false }()
	_, err := c.within(int64(options[tflite.CallOnceOptions](c).Subgraph), nil)
	return err
}

// variable is what is kept from one run of the model to the next. Where it is set before it is read, nothing is.
type variable struct {
	initial []float32
	state   *lower.Tensor // at the beginning of a run; nil unless it is read
	now     *lower.Tensor
}

// variable returns that of a key, a new one if need be.
func (e *env) variable(key any) *variable {
	v := e.variables[key]
	if v == nil {
		v = &variable{}
		e.variables[key] = v
		e.order = append(e.order, v)
	}
	return v
}

// read is what a variable holds.
func (e *env) read(v *variable, dims []int64) (*lower.Tensor, error) {
	if v.now == nil {
		var err error
		if v.state, err = e.tr.State(dims, v.initial); err != nil {
			return nil, err
		}
		v.now = v.state
		e.keeps = true
	}
	return v.now, nil
}

func (e *env) storeVariables() error {
	for _, v := range e.order {
		if v.state == nil {
			continue
		}
		if err := e.tr.Store(v.state, v.now); err != nil {
			return err
		}
	}
	return nil
}

func varHandle(c *call) error {
	o := options[tflite.VarHandleOptions](c)
	return c.results([]value{{handle: o.Container + "/" + o.Name}})
}

// resource is the variable that the first input refers to. A session that steps through time has no place for it, since it changes once
// a run.
func (c *call) resource() (*variable, error) {
	if len(c.Inputs) == 0 || c.Inputs[0] < 0 {
		return nil, errors.New("no variable")
	}
	v := c.value(c.Inputs[0])
	switch {
	case v.err != nil:
		return nil, v.err
	case v.handle == "":
		return nil, errors.New("not the handle of a variable")
	case c.steps():
		return nil, unsupported("a variable that changes once for several steps")
	}
	return c.variable(v.handle), nil
}

func readVariable(c *call) error {
	v, err := c.resource()
	if err != nil {
		return err
	}
	out, err := c.out(0)
	if err != nil {
		return err
	}
	var dims []int64
	for _, d := range out.Shape {
		dims = append(dims, int64(d))
	}
	t, err := c.read(v, dims)
	if err != nil {
		return err
	}
	return c.results([]value{{t: t}})
}

func assignVariable(c *call) error {
	v, err := c.resource()
	if err != nil {
		return err
	}
	t, err := c.arg(1)
	if err != nil {
		return err
	}
	switch {
	case t == nil:
		return errors.New("no value")
	case !c.once:
		v.now = t
		return nil
	case t.Computed():
		return unsupported("a variable that begins with what depends on the input")
	}
	_, v.initial, err = c.tr.Numbers(t)
	return err
}
