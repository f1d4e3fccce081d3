package fromonnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// The operators with graphs of their own call the table themselves.
func init() {
	operators["If"] = op("then_branch else_branch", 1, ifOp)
	operators["Loop"] = op("body", 0, loop)
	operators["Scan"] = op("body num_scan_inputs scan_input_axes scan_input_directions scan_output_axes scan_output_directions", 0, scan)
}

func (c *call) graph(name string) (*onnx.Graph, error) {
	a := c.Attr(name)
	if a == nil || a.G == nil {
		return nil, fmt.Errorf("the attribute %s is missing", name)
	}
	return a.G, nil
}

// condition is a boolean that is known when the model is converted.
func (c *call) condition(t *lower.Tensor) (bool, error) {
	if t.Computed() {
		return false, unsupported("a condition that depends on the input")
	}
	t, err := c.tr.ToInt(t, true)
	if err != nil {
		return false, err
	}
	v, err := c.tr.Known(t)
	if err != nil || len(v) != 1 {
		return false, unsupported("a condition that is not one known value")
	}
	n, fixed := v[0].Const()
	if !fixed {
		return false, unsupported("a condition that depends on the length of the input")
	}
	return n != 0, nil
}

// ifOp traces the branch that is taken.
func ifOp(c *call) ([]*lower.Tensor, error) {
	yes, err := c.condition(c.in[0])
	if err != nil {
		return nil, err
	}
	name := "else_branch"
	if yes {
		name = "then_branch"
	}
	g, err := c.graph(name)
	if err != nil {
		return nil, err
	}
	inner, err := c.within(g, nil)
	if err != nil {
		return nil, err
	}
	return inner.outputs(g)
}

// maxTurns bounds how often a body is written out; the tracer's budget bounds what comes of it.
const maxTurns = 1 << 12

// loop writes the body out as often as it runs, which must be known.
func loop(c *call) ([]*lower.Tensor, error) {
	g, err := c.graph("body")
	if err != nil {
		return nil, err
	}
	turns := int64(maxTurns + 1)
	if t := c.arg(0); t != nil {
		v, err := c.tr.Known(t)
		if err != nil || len(v) != 1 {
			return nil, unsupported("a number of iterations that is not known when the model is converted")
		}
		n, fixed := v[0].Const()
		if !fixed {
			return nil, unsupported("a number of iterations that depends on the length of the input")
		}
		turns = min(turns, n)
	}
	carried := len(g.Outputs) - 1
	if len(c.in) < 2 || len(c.in)-2 > carried || carried < 0 {
		return nil, errors.New("a body whose inputs and outputs do not fit the node")
	}
	state := append([]*lower.Tensor{}, c.in[2:]...)
	scanned := make([][]*lower.Tensor, carried-len(state))
	goOn := true
	if c.in[1] != nil {
		if goOn, err = c.condition(c.in[1]); err != nil {
			return nil, err
		}
	}
	for i := int64(0); i < turns && goOn; i++ {
		if i == maxTurns {
			return nil, unsupported("more than %d iterations", maxTurns)
		}
		if goOn, err = c.turn(g, i, state, scanned); err != nil {
			return nil, err
		}
	}
	return c.gathered(state, scanned, nil)
}

// turn traces the body of a Loop once.
func (c *call) turn(g *onnx.Graph, i int64, state []*lower.Tensor, scanned [][]*lower.Tensor) (goOn bool, err error) {
	number, err := c.tr.Ints(nil, []int64{i})
	if err != nil {
		return false, err
	}
	yes, err := c.tr.Ints(nil, []int64{1})
	if err != nil {
		return false, err
	}
	inner, err := c.within(g, append([]*lower.Tensor{number, yes}, state...))
	if err != nil {
		return false, err
	}
	out, err := inner.outputs(g)
	if err != nil {
		return false, err
	}
	copy(state, out[1:])
	for k := range scanned {
		scanned[k] = append(scanned[k], out[1+len(state)+k])
	}
	return c.condition(out[0])
}

// gathered are the states in the end and the outputs of all turns, along a new axis each.
func (c *call) gathered(state []*lower.Tensor, scanned [][]*lower.Tensor, axes []int64) ([]*lower.Tensor, error) {
	out := append([]*lower.Tensor{}, state...)
	for k, list := range scanned {
		if len(list) == 0 {
			return nil, unsupported("a loop that collects the outputs of no iteration")
		}
		at := int64(0)
		if axes != nil {
			at = axes[k]
		}
		for i, t := range list {
			var err error
			if list[i], err = c.tr.Unsqueeze(t, []int64{at}); err != nil {
				return nil, err
			}
		}
		ax, err := lower.AxisIndex(at, list[0].Rank())
		if err != nil {
			return nil, err
		}
		t, err := c.tr.Concat(list, ax)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// scan writes the body out for each position of the axes that are scanned, as of opset 9.
func scan(c *call) ([]*lower.Tensor, error) {
	g, err := c.graph("body")
	if err != nil {
		return nil, err
	}
	n := int(c.int("num_scan_inputs", 0))
	states := len(c.in) - n
	if c.opset < 9 || slices.Contains(c.in, nil) || n < 1 || states < 0 || len(g.Outputs) < states || len(g.Inputs) != len(c.in) {
		return nil, unsupported("a Scan of opset 8, or one whose body does not fit")
	}
	s := scanning{call: c, body: g, states: states}
	streams, err := s.inputs()
	if err != nil {
		return nil, err
	}
	if streams {
		return s.stream(len(g.Outputs) - states)
	}
	return s.run(len(g.Outputs) - states)
}

type scanning struct {
	*call
	body   *onnx.Graph
	states int
	axes   []int
	steps  int
}

// list reads an attribute of one number an input or output, 0 if it is absent.
func (s *scanning) list(name string, n int) ([]int64, error) {
	a := s.Attr(name)
	if a == nil || len(a.Ints) == 0 {
		return make([]int64, n), nil
	}
	if len(a.Ints) != n {
		return nil, fmt.Errorf("%s has %d values, want %d", name, len(a.Ints), n)
	}
	return a.Ints, nil
}

// inputs finds the axes that are scanned, and reports whether they are the time of the network's input.
func (s *scanning) inputs() (streams bool, err error) {
	axes, err := s.list("scan_input_axes", len(s.in)-s.states)
	if err != nil {
		return false, err
	}
	for k, t := range s.in[s.states:] {
		ax, err := lower.AxisIndex(axes[k], t.Rank())
		if err != nil {
			return false, err
		}
		s.axes = append(s.axes, ax)
		_, isTime := s.tr.Enter(t, ax)
		if k > 0 && isTime != streams {
			return false, unsupported("a scan over time and another axis")
		}
		streams = isTime
		n, fixed := t.Shape()[ax].Const()
		switch {
		case isTime:
			continue
		case !fixed:
			return false, unsupported("a scan over an axis of length %v", t.Shape()[ax])
		case k > 0 && int(n) != s.steps, n < 1 || n > maxTurns:
			return false, unsupported("a scan over %d positions", n)
		}
		s.steps = int(n)
	}
	return streams, nil
}

// stream traces the body once: the session runs it in every step, and keeps its states.
func (s *scanning) stream(outputs int) ([]*lower.Tensor, error) {
	for _, name := range []string{"scan_input_directions", "scan_output_directions"} {
		if a := s.Attr(name); a != nil && slices.ContainsFunc(a.Ints, func(v int64) bool { return v != 0 }) {
			return nil, unsupported("a scan backwards over a sequence of any length")
		}
	}
	axes, err := s.list("scan_output_axes", outputs)
	if err != nil {
		return nil, err
	}
	var in []*lower.Tensor
	for _, t := range s.in[:s.states] {
		state, err := s.tr.StateLike(t)
		if err != nil {
			return nil, err
		}
		in = append(in, state)
	}
	for k, ax := range s.axes {
		x, _ := s.tr.Enter(s.in[s.states+k], ax)
		in = append(in, x)
	}
	inner, err := s.within(s.body, in)
	if err != nil {
		return nil, err
	}
	out, err := inner.outputs(s.body)
	if err != nil {
		return nil, err
	}
	for i, t := range out {
		if i < s.states {
			if err := s.tr.Store(in[i], t); err != nil {
				return nil, err
			}
			out[i], err = s.tr.Final(t)
		} else {
			var ax int
			if ax, err = lower.AxisIndex(axes[i-s.states], t.Rank()+1); err == nil {
				out[i], err = s.tr.Leave(t, ax)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *scanning) run(outputs int) ([]*lower.Tensor, error) {
	backIn, err := s.list("scan_input_directions", len(s.axes))
	if err != nil {
		return nil, err
	}
	backOut, err := s.list("scan_output_directions", outputs)
	if err != nil {
		return nil, err
	}
	axes, err := s.list("scan_output_axes", outputs)
	if err != nil {
		return nil, err
	}
	state := append([]*lower.Tensor{}, s.in[:s.states]...)
	scanned := make([][]*lower.Tensor, outputs)
	for i := range s.steps {
		in := append([]*lower.Tensor{}, state...)
		for k, ax := range s.axes {
			at := i
			if backIn[k] != 0 {
				at = s.steps - 1 - i
			}
			x, err := s.tr.Slice(s.in[s.states+k], ax, lower.Int(int64(at)), lower.Int(int64(at+1)), lower.Int(1))
			if err == nil {
				x, err = s.tr.Squeeze(x, []int64{int64(ax)})
			}
			if err != nil {
				return nil, err
			}
			in = append(in, x)
		}
		inner, err := s.within(s.body, in)
		if err != nil {
			return nil, err
		}
		out, err := inner.outputs(s.body)
		if err != nil {
			return nil, err
		}
		copy(state, out)
		for k := range scanned {
			if backOut[k] != 0 {
				scanned[k] = append([]*lower.Tensor{out[s.states+k]}, scanned[k]...)
			} else {
				scanned[k] = append(scanned[k], out[s.states+k])
			}
		}
	}
	return s.gathered(state, scanned, axes)
}
