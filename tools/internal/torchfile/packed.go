package torchfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/recur-go/recur/tools/internal/weights"
)

// Quantised modules keep their weights in objects of these classes. A linear one is (weight, bias or nil). That of a recurrent cell is
// (kind, biases, …, …, the linear ones of input and state), whose kinds this package knows hold the biases in the linear ones as well.
const (
	packedLinear = class("__torch__.torch.classes.quantized.LinearPackedParamsBase")
	packedCell   = class("__torch__.torch.classes.rnn.CellParamsBase")
)

// The names of packed weights in their modules.
const (
	packedParams = "._packed_params._packed_params" // of a linear module, as an object or as (weight, bias)
	allWeights   = "._all_weight_values."           // of an LSTM or GRU: a number, a level and direction, and .param
	packedWeight = "._packed_weight_"               // of a single cell: ih or hh
)

func (f *flattener) object(name string, o *object, depth int) error {
	switch o.class {
	case packedLinear:
		return f.linear(name, o.state)
	case packedCell:
		return f.cell(name, o.state)
	}
	if kind, ok := strings.CutPrefix(string(o.class), "__torch__.torch.classes."); ok {
		return fmt.Errorf("%q: weights packed as %s are not supported", name, kind)
	}
	attributes, ok := o.state.(*dict)
	if !ok {
		return nil
	}
	if len(f.out.Modules) == maxModules {
		return fmt.Errorf("more than %d modules", maxModules)
	}
	f.out.Modules = append(f.out.Modules, Module{Name: name, Class: string(o.class)})
	return f.walk(name, attributes, depth)
}

const maxModules = 1 << 12

func (f *flattener) linear(name string, state any) error {
	t, _ := state.(tuple)
	if len(t) == 2 {
		if w, ok := t[0].(*view); ok {
			if err := f.add(name+".weight", w); err != nil {
				return err
			}
			if bias, ok := t[1].(*view); ok {
				return f.add(name+".bias", bias)
			}
			if t[1] == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("%q: packed weights of an unknown form", name)
}

func (f *flattener) cell(name string, state any) error {
	t, _ := state.(tuple)
	if len(t) == 5 && (t[0] == any("quantized_dynamic") || t[0] == any("quantized_fp16")) {
		sides := sequence(t[4])
		if len(sides) == 2 {
			for i, side := range []string{".ih", ".hh"} {
				o, ok := sides[i].(*object)
				if !ok || o.class != packedLinear {
					return fmt.Errorf("%q: a packed cell of an unknown form", name)
				}
				if err := f.linear(name+side, o.state); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return fmt.Errorf("%q: a packed cell of an unknown kind", name)
}

// quantised gives a tensor its scales.
func (f *flattener) quantised(t *weights.Tensor, s *scales) (*weights.Tensor, error) {
	numbers := func(v any) (*weights.Tensor, error) {
		switch v := v.(type) {
		case *view:
			return f.tensor(t.Name, v)
		case float64:
			return weights.Scalar(v), nil
		}
		return weights.Scalar(float64(v.(int64))), nil
	}
	scale, err := numbers(s.scale)
	if err != nil {
		return nil, err
	}
	zero, err := numbers(s.zero)
	if err != nil {
		return nil, err
	}
	return t.Quantised(weights.Scales{Scale: scale, Zero: zero, Axis: int(s.axis)})
}

// unpacked names the tensors of quantised modules as those of the modules that they were made from, and leaves out the scales of the
// output, which say nothing where they are 1 and 0.
func unpacked(all []*weights.Tensor) ([]*weights.Tensor, error) {
	cells, packed := map[string]*layers{}, map[string]bool{}
	for _, t := range all {
		if module, rest, ok := strings.Cut(t.Name, allWeights); ok && len(t.Shape) == 2 {
			if cells[module] == nil {
				cells[module] = &layers{}
			}
			cells[module].see(rest, t.Shape[1])
		}
		if module, _, ok := strings.Cut(t.Name, packedParams); ok {
			packed[module] = true
		}
	}
	directions := map[string]int{}
	for module, l := range cells {
		n, err := l.directions()
		if err != nil {
			return nil, fmt.Errorf("%q: %w", module, err)
		}
		directions[module] = n
	}
	from := map[string]string{}
	for _, t := range all {
		if name := plainName(t.Name, directions); name != t.Name {
			from[name] = t.Name
		}
	}
	var out []*weights.Tensor
	for _, t := range all {
		name := plainName(t.Name, directions)
		// A scripted cell has its biases twice; it adds the packed ones.
		if packedAs := from[name]; idle(t, packed) || packedAs != "" && packedAs != t.Name {
			continue
		}
		c := *t
		c.Name = name
		out = append(out, &c)
	}
	return out, nil
}

// layers are the widths of what the cells of a recurrent module take, level by level, and in each direction by direction.
type layers struct {
	inputs []int
	hidden int
}

func (l *layers) see(name string, width int) {
	switch number, rest, _ := strings.Cut(name, "."); {
	case rest == "param.ih.weight" && number == strconv.Itoa(len(l.inputs)):
		l.inputs = append(l.inputs, width)
	case rest == "param.hh.weight":
		l.hidden = width
	}
}

// directions tells from the widths whether the cells of a level are one or two. Two cells that both take as much as there are units may
// be either.
func (l *layers) directions() (int, error) {
	fit := func(directions int) bool {
		for i, width := range l.inputs {
			want := directions * l.hidden
			if i < directions {
				want = l.inputs[0]
			}
			if width != want {
				return false
			}
		}
		return len(l.inputs) > 0 && len(l.inputs)%directions == 0
	}
	switch one, two := fit(1), fit(2); {
	case one && two:
		return 0, errors.New("packed weights that may be of two levels or of two directions")
	case one:
		return 1, nil
	case two:
		return 2, nil
	}
	return 0, errors.New("packed weights whose widths do not fit each other")
}

// idle reports whether t is the scale or zero of a dynamically quantised module, whose output is not quantised.
func idle(t *weights.Tensor, packed map[string]bool) bool {
	for suffix, value := range map[string]float32{".scale": 1, ".zero_point": 0} {
		if module, ok := strings.CutSuffix(t.Name, suffix); ok && packed[module] && t.Len() == 1 && t.Floats()[0] == value {
			return true
		}
	}
	return false
}

// plainName is the name of a tensor in the module that a quantised one was made from.
func plainName(name string, directions map[string]int) string {
	if module, rest, ok := strings.Cut(name, packedParams); ok {
		return module + rest
	}
	if module, rest, ok := strings.Cut(name, packedWeight); ok {
		side, kind, _ := strings.Cut(rest, ".")
		return module + "." + kind + "_" + side
	}
	module, rest, ok := strings.Cut(name, allWeights)
	number, rest, ok2 := strings.Cut(rest, ".param.")
	side, kind, ok3 := strings.Cut(rest, ".")
	i, err := strconv.Atoi(number)
	if !ok || !ok2 || !ok3 || err != nil || directions[module] == 0 {
		return name
	}
	level, suffix := i/directions[module], ""
	if i%directions[module] == 1 {
		suffix = "_reverse"
	}
	return fmt.Sprintf("%s.%s_%s_l%d%s", module, kind, side, level, suffix)
}
