package fromkeras

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/weights"
)

const (
	maxLayers  = 1 << 12 // of all models
	maxNesting = 12      // of models, wrappers and cells
)

// layer is one layer as its config has it, with its weights in the order in which Keras lists them.
type layer struct {
	class   string
	module  string
	name    string
	config  config
	parts   []*layer // what it wraps: layers and cells, in the order of their weights
	graph   *graph   // of a model
	inbound json.RawMessage
	calls   []call
	first   int // the number of the first call
	weights []*weights.Tensor
	err     error // why it has none
}

// graph is a model: its layers, and which of their tensors go in and come out.
type graph struct {
	layers          []*layer
	inputs, outputs []ref
}

// ref is a tensor: the one at an index of what a call of a layer returns.
type ref struct {
	layer  *layer
	call   int
	tensor int
}

// call is a use of a layer: its arguments, whose tensors are refs. Others are what JSON holds.
type call struct {
	args   []any
	kwargs map[string]any
}

// tensors lists the refs in an argument, in order.
func tensors(arg any) (out []ref) {
	switch v := arg.(type) {
	case ref:
		return []ref{v}
	case []any:
		for _, x := range v {
			out = append(out, tensors(x)...)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, tensors(v[k])...)
		}
	}
	return out
}

// rawLayer is what all layers have in common.
type rawLayer struct {
	Class      string          `json:"class_name"`
	Module     string          `json:"module"`
	Registered string          `json:"registered_name"`
	Name       string          `json:"name"`
	Config     json.RawMessage `json:"config"`
	Inbound    json.RawMessage `json:"inbound_nodes"`
	Build      struct {
		Shape json.RawMessage `json:"input_shape"`
	} `json:"build_config"`
}

// parser counts layers, so that a config of many empty ones does not fill the memory.
type parser struct{ left int }

// parseModel parses the config of a model.
func parseModel(text []byte) (*layer, error) {
	l, err := (&parser{maxLayers}).layer(text, 0)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if l.graph == nil {
		return nil, unsupported("models of class %q are not supported, only Sequential and Functional", l.class)
	}
	return l, nil
}

// layer leaves the config of layers of classes that are not supported alone, which may hold anything.
func (p *parser) layer(b []byte, depth int) (*layer, error) {
	var raw rawLayer
	if p.left--; p.left < 0 {
		return nil, fmt.Errorf("more than %d layers", maxLayers)
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	if raw.Class == "" {
		return nil, errors.New("a layer without a class")
	}
	l := &layer{class: raw.Class, module: raw.Module, name: raw.Name, inbound: raw.Inbound}
	if strings.Contains(raw.Registered, ">") {
		l.class = raw.Registered
	}
	var err error
	switch {
	case depth > maxNesting:
		err = fmt.Errorf("layers within layers more than %d deep", maxNesting)
	case !l.supported():
		json.Unmarshal(raw.Config, &struct {
			Name *string `json:"name"`
		}{&l.config.Name})
	case l.class == "Sequential" || l.class == "Functional" || l.class == "Model":
		err = p.graph(l, raw, depth)
	default:
		if err = json.Unmarshal(raw.Config, &l.config); err == nil {
			err = p.parts(l, depth)
		}
	}
	if l.name == "" {
		l.name = l.config.Name
	}
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", l.class, l.name, err)
	}
	return l, nil
}

// supported reports whether the class is one of Keras that can be imported.
func (l *layer) supported() bool {
	if l.operator() {
		return true
	}
	_, known := classes[l.class]
	family, _, _ := strings.Cut(l.module, ".")
	return known && (family == "" || family == "keras" || family == "tf_keras" || family == "builtins")
}

// parts parses what a layer wraps.
func (p *parser) parts(l *layer, depth int) error {
	var raw []json.RawMessage
	c := &l.config
	switch l.class {
	case "TimeDistributed":
		raw = []json.RawMessage{c.Layer}
	case "Bidirectional":
		raw = []json.RawMessage{c.Layer, c.BackwardLayer}
		if absent(c.BackwardLayer) {
			raw[1] = c.Layer
		}
	case "RNN":
		raw = []json.RawMessage{c.Cell}
	case "StackedRNNCells":
		if err := json.Unmarshal(c.Cells, &raw); err != nil || len(raw) > maxLayers {
			return errors.New("no list of cells")
		}
	}
	for _, b := range raw {
		if absent(b) {
			return errors.New("it wraps no layer")
		}
		part, err := p.layer(b, depth+1)
		if err != nil {
			return err
		}
		l.parts = append(l.parts, part)
	}
	if l.class == "Bidirectional" && absent(c.BackwardLayer) {
		l.parts[1].config.GoBackwards = !l.parts[0].config.GoBackwards
	}
	c.Layer, c.BackwardLayer, c.Cell, c.Cells = nil, nil, nil, nil
	return nil
}

// graph parses the layers of a model.
func (p *parser) graph(l *layer, raw rawLayer, depth int) error {
	var c struct {
		Name      string            `json:"name"`
		Trainable *bool             `json:"trainable"`
		Layers    []json.RawMessage `json:"layers"`
		Inputs    json.RawMessage   `json:"input_layers"`
		Outputs   json.RawMessage   `json:"output_layers"`
		Shape     json.RawMessage   `json:"build_input_shape"`
	}
	var err error
	if l.class == "Sequential" && strings.HasPrefix(string(raw.Config), "[") { // Keras before 2.2
		err = json.Unmarshal(raw.Config, &c.Layers)
	} else {
		err = json.Unmarshal(raw.Config, &c)
	}
	if err != nil {
		return err
	}
	if len(c.Layers) == 0 || len(c.Layers) > maxLayers {
		return fmt.Errorf("%d layers", len(c.Layers))
	}
	l.config.Name, l.config.Trainable = c.Name, c.Trainable
	l.graph = &graph{}
	for _, b := range c.Layers {
		inner, err := p.layer(b, depth+1)
		if err != nil {
			return err
		}
		l.graph.layers = append(l.graph.layers, inner)
	}
	if l.class == "Sequential" {
		if absent(c.Shape) {
			c.Shape = raw.Build.Shape
		}
		l.graph.chain(c.Shape)
		return nil
	}
	return l.graph.connect(c.Inputs, c.Outputs)
}

// chain connects the layers of a sequential model one after the other. Where none is an input, its shape is that of the first layer,
// or the one with which the model was built.
func (g *graph) chain(built json.RawMessage) {
	if first := g.layers[0]; first.class != "InputLayer" {
		in := &layer{class: "InputLayer", name: "input"}
		in.config.BatchShape, in.config.BatchInputShape = first.config.BatchShape, first.config.BatchInputShape
		if in.shape() == nil {
			json.Unmarshal(built, &in.config.BatchShape)
		}
		g.layers = append([]*layer{in}, g.layers...)
	}
	for i, l := range g.layers[1:] {
		l.calls = []call{{args: []any{ref{layer: g.layers[i]}}}}
	}
	g.inputs = []ref{{layer: g.layers[0]}}
	g.outputs = []ref{{layer: g.layers[len(g.layers)-1]}}
}

// shape is that of an input with its batch axis, or nil.
func (l *layer) shape() []*int {
	if l.config.BatchShape != nil {
		return l.config.BatchShape
	}
	return l.config.BatchInputShape
}

// connect resolves the calls of a functional model.
func (g *graph) connect(inputs, outputs json.RawMessage) error {
	byName := map[string]*layer{}
	for _, l := range g.layers {
		byName[l.name] = l
	}
	r := resolver{byName}
	var err error
	for _, l := range g.layers {
		if l.calls, err = r.calls(l); err != nil {
			return fmt.Errorf("layer %q: %w", l.name, err)
		}
	}
	if g.inputs, err = r.list(inputs); err != nil {
		return err
	}
	if g.outputs, err = r.list(outputs); err != nil {
		return err
	}
	if len(g.outputs) == 0 {
		return errors.New("the model has no output")
	}
	g.renumber()
	for _, in := range g.inputs {
		if in.layer.class != "InputLayer" {
			return fmt.Errorf("its input %q is a %s", in.layer.name, in.layer.class)
		}
	}
	return nil
}

// renumber finds the models whose calls Keras 2 counts from 1, since 0 is that which made them. The last call of a layer has a use, or it
// would not be in the config.
func (g *graph) renumber() {
	refs := slices.Clone(g.outputs)
	for _, l := range g.layers {
		for _, c := range l.calls {
			refs = append(append(refs, tensors(c.args)...), tensors(c.kwargs)...)
		}
	}
	for _, r := range refs {
		if r.call > 0 && r.call == len(r.layer.calls) {
			r.layer.first = 1
		}
	}
}

type resolver struct{ layers map[string]*layer }

func (r resolver) list(raw json.RawMessage) ([]ref, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("inputs or outputs: %w", err)
	}
	out, err := r.resolve(v, maxNesting)
	return tensors(out), err
}

// calls reads inbound_nodes: of Keras 2 lists of [layer, call, tensor, keyword arguments], of Keras 3 arguments with tensors in them.
func (r resolver) calls(l *layer) ([]call, error) {
	var nodes []json.RawMessage
	if absent(l.inbound) {
		return nil, nil
	}
	if err := json.Unmarshal(l.inbound, &nodes); err != nil || len(nodes) > maxLayers {
		return nil, errors.New("inbound_nodes")
	}
	l.inbound = nil
	var out []call
	for _, raw := range nodes {
		var c call
		var err error
		var third struct {
			Args   []any          `json:"args"`
			Kwargs map[string]any `json:"kwargs"`
		}
		var second []any
		switch {
		case json.Unmarshal(raw, &third) == nil:
			c, err = r.third(third.Args, third.Kwargs)
		case json.Unmarshal(raw, &second) == nil:
			c, err = r.second(second)
		default:
			err = errors.New("inbound_nodes")
		}
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (r resolver) third(args []any, kwargs map[string]any) (c call, err error) {
	for _, a := range args {
		x, err := r.resolve(a, maxNesting)
		if err != nil {
			return c, err
		}
		c.args = append(c.args, x)
	}
	return c, r.keywords(&c, kwargs)
}

func (r resolver) keywords(c *call, kwargs map[string]any) error {
	c.kwargs = map[string]any{}
	for k, v := range kwargs {
		x, err := r.resolve(v, maxNesting)
		if err != nil {
			return err
		}
		c.kwargs[k] = x
	}
	return nil
}

// second reads the tensors of a call; the keyword arguments stand with the first.
func (r resolver) second(node []any) (c call, err error) {
	if len(node) > 0 {
		if _, flat := node[0].(string); flat {
			node = []any{node}
		}
	}
	var in []any
	for i, t := range node {
		entry, ok := t.([]any)
		if !ok || len(entry) < 3 {
			return c, errors.New("inbound_nodes")
		}
		if i == 0 && len(entry) > 3 {
			kwargs, _ := entry[3].(map[string]any)
			if err := r.keywords(&c, kwargs); err != nil {
				return c, err
			}
		}
		x, err := r.resolve(entry[:3], maxNesting)
		if err != nil {
			return c, err
		}
		in = append(in, x)
	}
	c.args = []any{in}
	if len(in) == 1 {
		c.args = in
	}
	return c, nil
}

// resolve replaces tensors in an argument by refs.
func (r resolver) resolve(v any, depth int) (any, error) {
	if depth == 0 {
		return nil, errors.New("arguments nested too deep")
	}
	switch v := v.(type) {
	case []any:
		if len(v) >= 3 && v[0] == "_CONSTANT_VALUE" {
			return v[2], nil
		}
		if len(v) == 3 {
			name, ok1 := v[0].(string)
			call, ok2 := v[1].(float64)
			tensor, ok3 := v[2].(float64)
			if ok1 && ok2 && ok3 {
				return r.ref(name, call, tensor)
			}
		}
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = r.resolve(x, depth-1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if v["class_name"] == "__keras_tensor__" {
			config, _ := v["config"].(map[string]any)
			return r.resolve(config["keras_history"], depth-1)
		}
		if len(v) > maxLayers {
			return nil, errors.New("too many arguments")
		}
		out := map[string]any{}
		for k, x := range v {
			var err error
			if out[k], err = r.resolve(x, depth-1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func (r resolver) ref(name string, call, tensor float64) (any, error) {
	l := r.layers[name]
	if l == nil {
		return nil, fmt.Errorf("layer %q is missing", name)
	}
	if !(call >= 0 && call < 1<<20 && tensor >= 0 && tensor < 1<<20) {
		return nil, fmt.Errorf("tensor %v of call %v of layer %q", tensor, call, name)
	}
	return ref{l, int(call), int(tensor)}, nil
}
