package fromkeras

import (
	"errors"
	"fmt"

	"github.com/recur-go/recur/tools/internal/lower"
)

// value is what flows between layers: a tensor with the batch as its first axis, and which of its steps count.
type value struct {
	t    *lower.Tensor
	keep *lower.Tensor // [batch, time]: 1 where a step counts and 0 where it is masked; nil if all count
}

// network is a graph under construction.
type network struct {
	tr      *lower.Tracer
	version string // of Keras
	timed   bool   // the session steps through the time of the input
	left    int    // elements of weights that layers may still take, so that they cannot share what a small file holds
	done    int    // layers that have been traced
}

// maxCalls bounds the calls of layers, which models within models multiply.
const maxCalls = 1 << 13

// keras is the version of Keras, 0 where the file does not say.
func (n *network) keras() (major, minor int) {
	fmt.Sscanf(n.version, "%d.%d", &major, &minor)
	return major, minor
}

// frame is a model that is being traced.
type frame struct {
	*network
	graph *graph
	known map[place][]value
	open  map[place]bool
}

type place struct {
	layer *layer
	call  int
}

// graph traces what the outputs of a model need.
func (n *network) graph(g *graph, outputs []ref, in []value) ([]value, error) {
	if len(in) != len(g.inputs) {
		return nil, fmt.Errorf("%d inputs, want %d", len(in), len(g.inputs))
	}
	f := &frame{n, g, map[place][]value{}, map[place]bool{}}
	for i, r := range g.inputs {
		f.known[place{r.layer, 0}] = in[i : i+1]
	}
	return f.all(outputs)
}

func (f *frame) all(refs []ref) ([]value, error) {
	var out []value
	for _, r := range refs {
		v, err := f.get(r)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (f *frame) get(r ref) (value, error) {
	r.call -= r.layer.first
	at := place{r.layer, r.call}
	out, known := f.known[at]
	if !known {
		if f.open[at] {
			return value{}, fmt.Errorf("layer %q feeds itself", r.layer.name)
		}
		if r.call < 0 || r.call >= len(r.layer.calls) {
			return value{}, fmt.Errorf("layer %q has no input", r.layer.name)
		}
		f.open[at] = true
		var err error
		if out, err = f.call(r.layer, &r.layer.calls[r.call]); err != nil {
			return value{}, err
		}
		f.known[at] = out
	}
	if r.tensor >= len(out) || out[r.tensor].t == nil {
		return value{}, fmt.Errorf("layer %q has no output %d", r.layer.name, r.tensor)
	}
	return out[r.tensor], nil
}

// call traces one call of a layer: its inputs, and then itself.
func (f *frame) call(l *layer, c *call) ([]value, error) {
	use := &use{network: f.network, layer: l}
	refs := tensors(c.args)
	if l.operator() {
		refs = append(refs, tensors(c.kwargs)...)
		use.call = c
	} else {
		for k, v := range c.kwargs {
			if training, _ := v.(bool); training && k == "training" || len(tensors(v)) > 0 && k != "initial_state" {
				return nil, fmt.Errorf("%s %q: %w", l.class, l.name, unsupported("it is called with %s", k))
			}
		}
		refs = append(refs, tensors(c.kwargs["initial_state"])...)
	}
	in, err := f.all(refs)
	if err != nil {
		return nil, err
	}
	use.in = in
	return use.trace()
}

// use is a layer with its inputs.
type use struct {
	*network
	*layer
	in   []value
	call *call // of an operator, whose arguments are not tensors only
}

func (u *use) trace() ([]value, error) {
	out, err := u.run()
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", u.class, u.name, err)
	}
	return out, nil
}

func (u *use) run() ([]value, error) {
	if u.done++; u.done > maxCalls {
		return nil, fmt.Errorf("more than %d calls of layers", maxCalls)
	}
	switch {
	case u.config.quantised():
		return nil, unsupported("its weights are quantised")
	case u.err != nil:
		return nil, u.err
	case len(u.in) == 0:
		return nil, errors.New("it has no input")
	}
	if err := u.tr.At(u.name); err != nil {
		return nil, err
	}
	if u.operator() {
		return u.operation()
	}
	return classes[u.class].run(u)
}
