package fromkeras

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/recur-go/recur/tools/internal/lower"
)

func unsupported(f string, args ...any) error {
	return &lower.Unsupported{Why: fmt.Sprintf(f, args...)}
}

// config holds those parameters of layers that bear on what they compute. What Keras leaves out has its default.
type config struct {
	Name                string          `json:"name"`
	BatchInputShape     []*int          `json:"batch_input_shape"` // Keras 2
	BatchShape          []*int          `json:"batch_shape"`       // Keras 3
	Units               int             `json:"units"`
	Activation          json.RawMessage `json:"activation"`
	RecurrentActivation json.RawMessage `json:"recurrent_activation"`
	UseBias             *bool           `json:"use_bias"`
	ReturnSequences     bool            `json:"return_sequences"`
	ReturnState         bool            `json:"return_state"`
	GoBackwards         bool            `json:"go_backwards"`
	TimeMajor           bool            `json:"time_major"`
	ResetAfter          bool            `json:"reset_after"`
	Layer               json.RawMessage `json:"layer"` // parsed when used, so that nesting costs nothing
	BackwardLayer       json.RawMessage `json:"backward_layer"`
	MergeMode           *string         `json:"merge_mode"`
	Epsilon             *float64        `json:"epsilon"`
	Center              *bool           `json:"center"`
	Scale               json.RawMessage `json:"scale"` // true or false, or of Rescaling a number
	Offset              json.RawMessage `json:"offset"`
	Axis                json.RawMessage `json:"axis"`
	DataFormat          string          `json:"data_format"`
	KeepDims            bool            `json:"keepdims"`
	MaxValue            *float64        `json:"max_value"`
	NegativeSlope       json.RawMessage `json:"negative_slope"`
	Threshold           float64         `json:"threshold"`
}

func flag(v *bool) bool { return v == nil || *v }

// function is the name of an activation, which is written in several ways.
func function(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "linear", nil
	}
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return name, nil
	}
	var object struct {
		Class  string          `json:"class_name"`
		Config json.RawMessage `json:"config"`
	}
	if json.Unmarshal(raw, &object) != nil {
		return "", errors.New("an activation that is no name")
	}
	if json.Unmarshal(object.Config, &name) == nil && name != "" {
		return name, nil
	}
	return object.Class, nil
}

// graph is the config of a model.
type graph struct {
	Class  string          `json:"class_name"`
	Config json.RawMessage `json:"config"`
}

const maxLayers = 1 << 10

// parse returns all layers in the order of the config, and those that lie on the way from the input to the output.
func parse(text []byte) (all, chain []*layer, err error) {
	var g graph
	if err := json.Unmarshal(text, &g); err != nil {
		return nil, nil, fmt.Errorf("config: %w", err)
	}
	var c struct {
		Layers []json.RawMessage `json:"layers"`
		Output json.RawMessage   `json:"output_layers"`
	}
	if g.Class == "Sequential" && strings.HasPrefix(string(g.Config), "[") { // Keras before 2.2
		err = json.Unmarshal(g.Config, &c.Layers)
	} else {
		err = json.Unmarshal(g.Config, &c)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("config: %w", err)
	}
	if len(c.Layers) == 0 || len(c.Layers) > maxLayers {
		return nil, nil, fmt.Errorf("config: %d layers", len(c.Layers))
	}
	for _, raw := range c.Layers {
		l, err := parseLayer(raw)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, l)
	}
	switch g.Class {
	case "Sequential":
		return all, all, nil
	case "Functional", "Model":
		chain, err := follow(all, c.Output)
		return all, chain, err
	}
	return nil, nil, unsupported("models of class %q are not supported, only Sequential and Functional", g.Class)
}

// parseLayer leaves the config of layers of classes that are not supported alone, which may hold anything.
func parseLayer(b []byte) (*layer, error) {
	var raw struct {
		Class   string          `json:"class_name"`
		Name    string          `json:"name"`
		Config  json.RawMessage `json:"config"`
		Inbound json.RawMessage `json:"inbound_nodes"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if raw.Class == "" {
		return nil, errors.New("config: a layer without a class")
	}
	l := &layer{class: raw.Class, name: raw.Name, inbound: raw.Inbound}
	var into any = &l.config
	if !l.supported() {
		into = &struct {
			Name *string `json:"name"`
		}{&l.config.Name}
	}
	if err := json.Unmarshal(raw.Config, into); err != nil {
		return nil, fmt.Errorf("config of a %s %q: %w", l.class, l.name, err)
	}
	if l.name == "" {
		l.name = l.config.Name
	}
	return l, nil
}

// follow goes back from the output of a functional model, whose layers must form a chain.
func follow(all []*layer, output json.RawMessage) ([]*layer, error) {
	byName := map[string]*layer{}
	for _, l := range all {
		byName[l.name] = l
	}
	from := sources(output)
	var chain []*layer
	for len(from) > 0 {
		if len(from) > 1 {
			return nil, unsupported("a model that branches is not supported: %s", strings.Join(from, " and "))
		}
		l := byName[from[0]]
		if l == nil || len(chain) == len(all) {
			return nil, fmt.Errorf("config: layer %q is missing, or feeds itself", from[0])
		}
		chain = append([]*layer{l}, chain...)
		var calls []json.RawMessage
		if len(l.inbound) > 0 && json.Unmarshal(l.inbound, &calls) != nil {
			return nil, fmt.Errorf("config: inbound_nodes of layer %q", from[0])
		}
		if len(calls) > 1 {
			return nil, unsupported("%s %q is called more than once", l.class, from[0])
		}
		from = sources(l.inbound)
	}
	if len(chain) == 0 || chain[0].class != "InputLayer" {
		return nil, errors.New("config: the chain of layers does not begin at an input")
	}
	return chain, nil
}

// sources finds the layers whose outputs are referred to: by [name, node, tensor, …], at whatever depth.
func sources(raw json.RawMessage) (names []string) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			if len(v) >= 3 {
				name, ok1 := v[0].(string)
				_, ok2 := v[1].(float64)
				_, ok3 := v[2].(float64)
				if ok1 && ok2 && ok3 {
					names = append(names, name)
					v = v[3:]
				}
			}
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
	return names
}
