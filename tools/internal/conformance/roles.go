package conformance

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/fromtorch"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// The kinds of outputs; those of states are what a description calls them.
const (
	results      = "results"
	hiddenStates = "states"
	cellStates   = "cells"
)

// output is what an output of a case is: the network's, or the states of a recurrent module, which index counts.
type output struct {
	kind    string
	index   int
	perStep bool // a row for every step
}

// stepStates is the rank of states after every step: [time, layers, batch, hidden].
const stepStates = 4

// roles are what the arrays of a case mean. An axis that is not there is -1.
type roles struct {
	x, lengths  string
	h, c        []string // initial states
	outputs     map[string]output
	batch, time int // axes of x
}

var stateName = regexp.MustCompile(`^(h|c|hidden|cell)_?\d*_?(n|o|x|in|out)?\d*$`)

// rolesOf finds out what the arrays mean by their names and shapes.
func rolesOf(m meta, sets []set) (r roles, err error) {
	r.outputs = map[string]output{}
	for _, name := range m.Inputs {
		t := sets[0].in[name]
		_, state := m.State[name]
		state = state || stateName.MatchString(name)
		switch {
		case t == nil:
		case state && kindOf(name) == hiddenStates:
			r.h = append(r.h, name)
		case state:
			r.c = append(r.c, name)
		case len(t.Dims) == 1 && r.lengths == "":
			r.lengths = name
		case r.x == "":
			r.x = name
		default:
			return r, unsupported("a second input %q", name)
		}
	}
	if r.x == "" || len(sets[0].in[r.x].Dims) < 2 || len(sets[0].in[r.x].Dims) > 3 {
		return r, unsupported("no input of 2 or 3 dimensions")
	}
	if err := r.name(m); err != nil {
		return r, err
	}
	for _, s := range sets {
		for name, t := range s.out {
			if o := r.outputs[name]; o.kind != results && (len(t.Dims) < 2 || len(t.Dims) > stepStates) {
				return r, unsupported("states %q of %d dimensions", name, len(t.Dims))
			}
		}
	}
	return r, r.findAxes(sets)
}

// name tells states from results.
func (r *roles) name(m meta) error {
	count := map[string]int{}
	for _, name := range m.Outputs {
		o := output{kind: results}
		for in, out := range m.State {
			if out == name {
				o.kind = kindOf(in)
			}
		}
		if stateName.MatchString(name) {
			o.kind = kindOf(name)
		}
		o.index = count[o.kind]
		count[o.kind]++
		r.outputs[name] = o
	}
	if count[results] > 1 {
		return unsupported("%d outputs; a description has one", count[results])
	}
	return nil
}

func kindOf(name string) string {
	if strings.HasPrefix(name, "c") {
		return cellStates
	}
	return hiddenStates
}

func (r roles) states(kind string) (n int) {
	for _, o := range r.outputs {
		if o.kind == kind {
			n++
		}
	}
	return n
}

// findAxes finds the axes of x from the number of sequences that other arrays tell. Where none does, the batch is the first one.
func (r *roles) findAxes(sets []set) error {
	if len(sets[0].in[r.x].Dims) == 2 {
		r.batch, r.time = 0, -1
		return nil
	}
	fits := func(ax int) bool {
		return !slices.ContainsFunc(sets, func(s set) bool {
			n := r.count(s)
			return n >= 0 && s.in[r.x].Dims[ax] != n
		})
	}
	switch {
	case fits(0):
		r.batch, r.time = 0, 1
	case fits(1):
		r.batch, r.time = 1, 0
	default:
		return fmt.Errorf("no axis of %q has the length of the batch", r.x)
	}
	for name, o := range r.outputs {
		if x, y := sets[0].in[r.x].Dims, sets[0].out[name]; o.kind == results && y != nil {
			o.perStep = len(y.Dims) == 3 && y.Dims[r.time] == x[r.time]
			r.outputs[name] = o
		}
	}
	return nil
}

// count is how many sequences a set holds, or -1.
func (r roles) count(s set) int64 {
	if t := s.in[r.lengths]; t != nil {
		return t.Dims[0]
	}
	for _, name := range slices.Concat(r.h, r.c) {
		if t := s.in[name]; t != nil {
			return t.Dims[len(t.Dims)-2]
		}
	}
	for name, t := range s.out {
		switch {
		case r.outputs[name].kind != results:
			return t.Dims[len(t.Dims)-2]
		case len(t.Dims) == 2:
			return t.Dims[0]
		}
	}
	return -1
}

func (r roles) sequences(s set) int { return int(s.in[r.x].Dims[r.batch]) }

// input is sequence k, up to its length.
func (r roles) input(s set, k int) (x []float32, steps int) {
	t := s.in[r.x]
	x, steps = part(t, r.batch, k).F, 1
	if r.time >= 0 {
		steps = int(t.Dims[r.time])
	}
	if l := s.in[r.lengths]; l != nil {
		width := len(x) / steps
		steps = min(steps, max(int(l.F[k]), 0))
		x = x[:steps*width]
	}
	return x, steps
}

// ofSequence is the part of an output that belongs to sequence k.
func (r roles) ofSequence(t *onnx.Tensor, o output, k int) []float32 {
	switch {
	case o.kind != results:
		return part(t, len(t.Dims)-2, k).F
	case o.perStep:
		return part(t, r.batch, k).F
	}
	return part(t, 0, k).F
}

// correct puts into a guessed description what the case tells: whether there is an output for every step, by its shape; activations and
// pooling, by the operators of the exports or the words of the note; the nonlinearity of an RNN, by its name; a softmax, where the
// recorded output is one.
func (r roles) correct(a *fromtorch.Arch, m meta, sets []set) {
	words, ops := wordsOf(m.ID, m.Note), m.operators()
	between := r.between(a, words, ops)
	for i := range a.Layers {
		switch l := &a.Layers[i]; {
		case l.Type == "rnn" && words["relu"]:
			l.Nonlinearity = "relu"
		case !l.Guessed():
		case l.Type == "last" && ops["reducemean"]:
			l.Type = "mean"
		case l.Type == "last" && ops["reducemax"]:
			l.Type = "max"
		case l.Type == "relu" && between != "":
			l.Type = between
		}
	}
	pools := []string{"last", "mean", "max"}
	r.finalState(a, words, ops)
	perStep := r.time < 0 // without time there is nothing to reduce
	for _, o := range r.outputs {
		perStep = perStep || o.kind == results && o.perStep
	}
	a.Layers = slices.DeleteFunc(a.Layers, func(l fromtorch.Layer) bool {
		return l.Guessed() && (slices.Contains(pools, l.Type) && perStep || l.Type == "relu" && between == "" && ops != nil)
	})
	if end := r.end(sets, ops, between); end != "" && a.Layers[len(a.Layers)-1].Type != end {
		a.Layers = append(a.Layers, fromtorch.Layer{Type: end})
	}
}

// finalState lets a two-way layer put out its final states where an export has them: one that takes steps puts directions side by side
// with Reshape.
func (r roles) finalState(a *fromtorch.Arch, words, ops map[string]bool) {
	i := slices.IndexFunc(a.Layers, func(l fromtorch.Layer) bool { return l.Type == "last" && l.Guessed() })
	if i < 1 || !strings.Contains(a.Layers[i-1].Note, "two-way") || !words["hn"] && (ops == nil || ops["reshape"]) {
		return
	}
	a.Layers[i-1].Output = "final"
	a.Layers = slices.Delete(a.Layers, i, i+1)
}

// end is what follows the last layer with weights.
func (r roles) end(sets []set, ops map[string]bool, between string) string {
	all := named(ops)
	switch last := all[len(all)-1]; {
	case r.sumsToOne(sets, func(v float64) float64 { return v }):
		return "softmax"
	case r.sumsToOne(sets, math.Exp):
		return "log_softmax"
	case last != between && (last == "sigmoid" || last == "tanh"):
		return last
	}
	return ""
}

// between is what stands in the place of guessed activations.
func (r roles) between(a *fromtorch.Arch, words, ops map[string]bool) string {
	if !slices.ContainsFunc(a.Layers, func(l fromtorch.Layer) bool { return l.Type == "relu" && l.Guessed() }) {
		return ""
	}
	if ops == nil {
		return named(words)[0]
	}
	return named(ops)[0]
}

// sumsToOne reports whether f of the network's output is a distribution over its channels, in every row.
func (r roles) sumsToOne(sets []set, f func(float64) float64) bool {
	found := false
	for _, s := range sets {
		for name, t := range s.out {
			if r.outputs[name].kind != results {
				continue
			}
			found = true
			width := int(t.Dims[len(t.Dims)-1])
			for row := range slices.Chunk(t.F, max(width, 1)) {
				sum := 0.0
				for _, v := range row {
					sum += f(float64(v))
					if f(float64(v)) < 0 {
						return false
					}
				}
				if width < 2 || math.Abs(sum-1) > 1e-3 {
					return false
				}
			}
		}
	}
	return found
}

// activations are the layers that words, or the names of operators, stand for; those that may end a network come last.
var activations = [][2]string{{"relu", "relu"}, {"elu", "elu"}, {"leakyrelu", "leaky_relu"}, {"selu", "selu"}, {"gelu", "gelu"},
	{"silu", "silu"}, {"softplus", "softplus"}, {"hardtanh", "hardtanh"}, {"tanh", "tanh"}, {"sigmoid", "sigmoid"}}

// named lists the activations among the words, or an empty one. Sigmoid and Tanh beside Split are those of a cell exported in parts.
func named(words map[string]bool) (layers []string) {
	for _, a := range activations {
		if words[a[0]] && !(words["split"] && (a[1] == "sigmoid" || a[1] == "tanh")) {
			layers = append(layers, a[1])
		}
	}
	if layers == nil {
		return []string{""}
	}
	return layers
}

var word = regexp.MustCompile(`[A-Za-z]+`)

// wordsOf lists the words of texts, in lower case.
func wordsOf(texts ...string) map[string]bool {
	words := map[string]bool{}
	for _, w := range word.FindAllString(strings.Join(texts, " "), -1) {
		words[strings.ToLower(w)] = true
	}
	return words
}

// operators are those of the exports, in lower case, or nil where there are no exports.
func (m meta) operators() map[string]bool {
	var all []string
	for _, ops := range m.Onnx {
		list, _ := ops.([]any)
		for _, op := range list {
			if name, ok := op.(string); ok {
				all = append(all, name)
			}
		}
	}
	if all == nil {
		return nil
	}
	return wordsOf(all...)
}
