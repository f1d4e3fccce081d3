package fromonnx

import (
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/onnx"
)

// findStates pairs inputs with the outputs that hold their next value, in models with more than one input: by names that say so, and
// otherwise by a shape that only one input and one output have. Nothing is paired unless just one input is left for the network's input.
func (p *program) findStates() map[string]string {
	var free []onnx.ValueInfo
	for _, v := range p.model.Graph.Inputs {
		_, constant := p.consts[v.Name]
		_, fixed := p.fixed[v.Name]
		if !constant && !fixed && v.HasShape && (v.Type == 0 || v.Type.Float()) {
			free = append(free, v)
		}
	}
	outputs := p.model.Graph.Outputs
	if len(free) < 2 || len(outputs) < 2 {
		return nil
	}
	states := map[string]string{}
	pair(states, free, outputs, func(in, out onnx.ValueInfo) bool { return alike(in, out) && sameName(in.Name, out.Name) })
	first := slices.IndexFunc(free, func(v onnx.ValueInfo) bool { _, is := states[v.Name]; return !is })
	if first >= 0 && len(states) < len(free)-1 {
		// The first that is left is the network's input, whose output may well have the same shape.
		rest := slices.Delete(slices.Clone(free), first, first+1)
		pair(states, rest, outputs, func(in, out onnx.ValueInfo) bool { return alike(in, out) && fixedShape(in) })
	}
	if len(states) != len(free)-1 {
		return nil
	}
	return states
}

// pair adds the inputs and outputs that match each other and nothing else.
func pair(states map[string]string, inputs, outputs []onnx.ValueInfo, match func(in, out onnx.ValueInfo) bool) {
	taken := map[string]bool{}
	for _, out := range states {
		taken[out] = true
	}
	var found [][2]string
	for _, in := range inputs {
		for _, out := range outputs {
			if _, done := states[in.Name]; !done && !taken[out.Name] && match(in, out) {
				found = append(found, [2]string{in.Name, out.Name})
			}
		}
	}
	count := map[string]int{}
	for _, f := range found {
		count["<"+f[0]]++
		count[">"+f[1]]++
	}
	for _, f := range found {
		if count["<"+f[0]] == 1 && count[">"+f[1]] == 1 {
			states[f[0]] = f[1]
		}
	}
}

// alike reports whether two shapes can be the same; an output without a shape can be anything.
func alike(in, out onnx.ValueInfo) bool {
	if !out.HasShape || len(out.Dims) == 0 {
		return true
	}
	if len(in.Dims) != len(out.Dims) {
		return false
	}
	for i, d := range in.Dims {
		if e := out.Dims[i]; d.Value > 0 && e.Value > 0 && d.Value != e.Value {
			return false
		}
	}
	return true
}

func fixedShape(v onnx.ValueInfo) bool {
	open := 0
	for _, d := range v.Dims {
		if d.Value < 0 {
			open++
		}
	}
	return len(v.Dims) > 1 && open < len(v.Dims)
}

// sameName reports whether names are of a state before and after: equal but for marks of input and output, such as h_in and h_out,
// state and stateN, h0 and hn.
func sameName(in, out string) bool {
	a, b := stem(in, inMarks), stem(out, outMarks)
	return a != "" && a == b && in != out
}

var (
	inMarks  = []string{"initial", "init", "input", "prev", "last", "old", "in", "0"}
	outMarks = []string{"output", "final", "next", "new", "out", "n", "o", "1"}
)

// stem is a name in small letters without separators and the first of the marks at its beginning or end, and nothing if it is a mark.
func stem(name string, marks []string) string {
	name = strings.ToLower(name)
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-./: ", r) {
			return -1
		}
		return r
	}, name)
	if slices.Contains(marks, name) {
		return ""
	}
	i := slices.IndexFunc(marks, func(m string) bool {
		return len(name) > len(m) && (strings.HasPrefix(name, m) && len(m) > 1 || strings.HasSuffix(name, m))
	})
	if i < 0 {
		return name
	}
	if m := marks[i]; strings.HasSuffix(name, m) {
		return strings.TrimSuffix(name, m)
	}
	return strings.TrimPrefix(name, marks[i])
}
