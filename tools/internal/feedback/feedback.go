// Package feedback finds, in a model that is called step by step, which inputs hold what an output gave in the step before.
package feedback

import (
	"slices"
	"strings"
)

// Value is an input or output. A length below zero is open; nil lengths are unknown.
type Value struct {
	Name string
	Dims []int64
}

// Pair pairs inputs with the outputs that hold their next value: by names that say so, and otherwise by a shape that only one input and one
// output have. It returns nil unless just one input is left for what the model works on.
func Pair(inputs, outputs []Value) map[string]string {
	if len(inputs) < 2 || len(outputs) < 2 {
		return nil
	}
	states := map[string]string{}
	pair(states, inputs, outputs, func(in, out Value) bool { return alike(in, out) && sameName(in.Name, out.Name) })
	first := slices.IndexFunc(inputs, func(v Value) bool { _, is := states[v.Name]; return !is })
	if first >= 0 && len(states) < len(inputs)-1 {
		// The first that is left is what the model works on, whose output may well have the same shape.
		rest := slices.Delete(slices.Clone(inputs), first, first+1)
		pair(states, rest, outputs, func(in, out Value) bool { return alike(in, out) && telling(in) })
	}
	if len(states) != len(inputs)-1 {
		return nil
	}
	return states
}

// pair adds the inputs and outputs that match each other and nothing else.
func pair(states map[string]string, inputs, outputs []Value, match func(in, out Value) bool) {
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
func alike(in, out Value) bool {
	if len(out.Dims) == 0 {
		return true
	}
	if len(in.Dims) != len(out.Dims) {
		return false
	}
	for i, d := range in.Dims {
		if e := out.Dims[i]; d > 0 && e > 0 && d != e {
			return false
		}
	}
	return true
}

// telling reports whether a shape has axes, and some of their lengths are fixed.
func telling(v Value) bool {
	return len(v.Dims) > 1 && slices.ContainsFunc(v.Dims, func(d int64) bool { return d >= 0 })
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
