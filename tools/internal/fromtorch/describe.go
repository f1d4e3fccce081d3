package fromtorch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/tools/internal/weights"
)

// module is what the tensors with a common prefix seem to be.
type module struct {
	prefix  string
	typ     string
	in, out int
	note    string
}

// Describe guesses a description from names and shapes. Its notes say what neither can tell.
func Describe(all []*weights.Tensor) (*Arch, error) {
	a := &Arch{Root: rootOf(all)}
	tensors := under(all, a.Root)
	var modules []module
	prefixes, names := group(all, a.Root)
	for _, prefix := range prefixes {
		m, ok := guess(tensors, prefix)
		if !ok {
			a.Ignore = append(a.Ignore, names[prefix]...)
			continue
		}
		modules = append(modules, m)
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("no tensor has the name and shape of a layer's weights")
	}
	if !chained(modules) {
		if order := chain(modules); order != nil {
			modules = order
		} else {
			a.Note = "The layers are in the order of the file, in which their widths do not fit: order them by hand."
		}
	}
	a.Layers = between(modules)
	return a, nil
}

// rootOf is the prefix of a checkpoint's network: that of all tensors but an optimiser's.
func rootOf(all []*weights.Tensor) string {
	root := ""
	for {
		heads := map[string]bool{}
		for _, t := range all {
			if name, ok := below(t.Name, root); ok {
				head, _, nested := strings.Cut(name, ".")
				if lower := strings.ToLower(head); nested && (strings.Contains(lower, "optim") || strings.Contains(lower, "schedul")) {
					continue
				}
				if !nested {
					head = ""
				}
				heads[head] = true
			}
		}
		if len(heads) != 1 {
			return root
		}
		for head := range heads {
			if !wrappers[head] {
				return root
			}
			root = strings.TrimPrefix(root+"."+head, ".")
		}
	}
}

// wrappers are keys under which checkpoints keep a network, or that a wrapping module gives it.
var wrappers = map[string]bool{"model": true, "model_state_dict": true, "model_state": true, "state_dict": true, "net": true,
	"network": true, "weights": true, "module": true, "params": true, "_orig_mod": true}

// group lists the modules in the order of the file, and the names of each one's tensors.
func group(all []*weights.Tensor, root string) (prefixes []string, names map[string][]string) {
	names = map[string][]string{}
	for _, t := range all {
		name, ok := below(t.Name, root)
		if !ok {
			continue
		}
		prefix := name[:strings.LastIndexByte(name, '.')+1]
		if names[prefix] == nil {
			prefixes = append(prefixes, prefix)
		}
		names[prefix] = append(names[prefix], name)
	}
	return prefixes, names
}

func guess(tensors map[string]*weights.Tensor, prefix string) (module, bool) {
	m := module{prefix: prefix}
	if tensors[cellNames(tensors, prefix, 0, "").wi] != nil {
		return guessRecurrent(tensors, prefix)
	}
	w, bias := tensors[prefix+"weight"], tensors[prefix+"bias"]
	if mean := tensors[prefix+"running_mean"]; mean != nil && len(mean.Shape) == 1 {
		m.typ, m.in, m.out = "batchnorm1d", mean.Shape[0], mean.Shape[0]
		return m, true
	}
	if w == nil {
		return m, false
	}
	switch len(w.Shape) {
	case 1:
		m.typ, m.in, m.out = "layer_norm", w.Shape[0], w.Shape[0]
		m.note = "guessed; not supported yet"
	case 2:
		m.typ, m.in, m.out = "linear", w.Shape[1], w.Shape[0]
		m.note = fmt.Sprintf("%d to %d", m.in, m.out)
		if bias == nil && strings.Contains(strings.ToLower(prefix), "emb") {
			m.typ, m.note = "embedding", "guessed; not supported"
		}
	case 3:
		m.typ, m.in, m.out, m.note = "conv1d", w.Shape[1], w.Shape[0], "not supported yet"
	case 4:
		m.typ, m.in, m.out, m.note = "conv2d", w.Shape[1], w.Shape[0], "not supported"
	default:
		return m, false
	}
	return m, true
}

func guessRecurrent(tensors map[string]*weights.Tensor, prefix string) (module, bool) {
	m := module{prefix: prefix}
	first := cellNames(tensors, prefix, 0, "")
	wi, wh := tensors[first.wi], tensors[first.wh]
	if wh == nil || len(wi.Shape) != 2 || len(wh.Shape) != 2 || wh.Shape[1] == 0 {
		return m, false
	}
	m.in, m.out = wi.Shape[1], wh.Shape[1]
	switch wh.Shape[0] / m.out {
	case 4:
		m.typ = "lstm"
	case 3:
		m.typ = "gru"
	case 1:
		m.typ = "rnn"
	default:
		return m, false
	}
	levels := 1
	for tensors[cellNames(tensors, prefix, levels, "").wi] != nil {
		levels++
	}
	m.note = fmt.Sprintf("%d to %d, %d deep", m.in, m.out, levels)
	if tensors[cellNames(tensors, prefix, 0, "_reverse").wi] != nil {
		m.out *= 2
		m.note += ", two-way"
	}
	if m.typ == "rnn" {
		m.note += "; nonlinearity is guessed: tanh or relu"
	}
	return m, true
}

func chained(m []module) bool {
	for i := 1; i < len(m); i++ {
		if m[i].in != m[i-1].out {
			return false
		}
	}
	return true
}

// chain looks for an order in which the widths fit, with recurrent layers as early as can be. Nil is none, or that there are too many.
func chain(m []module) []module {
	const many = 64
	if len(m) > many {
		return nil
	}
	left := slices.Clone(m)
	slices.SortStableFunc(left, func(a, b module) int { return rank(a) - rank(b) })
	tries := 0
	var order []module
	used := make([]bool, len(left))
	var extend func() bool
	extend = func() bool {
		if len(order) == len(left) {
			return true
		}
		const most = 20000
		for i, x := range left {
			if used[i] || len(order) > 0 && order[len(order)-1].out != x.in {
				continue
			}
			if tries++; tries > most {
				return false
			}
			used[i] = true
			order = append(order, x)
			if extend() {
				return true
			}
			used[i] = false
			order = order[:len(order)-1]
		}
		return false
	}
	if !extend() {
		return nil
	}
	return order
}

func rank(m module) int {
	if m.recurrent() {
		return 0
	}
	return 1
}

func (m module) recurrent() bool { return m.typ == "lstm" || m.typ == "gru" || m.typ == "rnn" }

// between writes the modules down with what has no weights and usually lies between them.
func between(modules []module) (out []Layer) {
	last := -1
	for i, m := range modules {
		if m.recurrent() {
			last = i
		}
	}
	for i, m := range modules {
		if i > 0 && m.typ == "linear" && modules[i-1].typ == "linear" && !adjacent(modules[i-1], m) {
			out = append(out, Layer{Type: "relu", Note: "guessed: a state dict does not name activations"})
		}
		weights := strings.TrimSuffix(m.prefix, ".")
		l := Layer{Type: m.typ, Weights: &weights, Note: m.note}
		if m.typ == "rnn" {
			l.Nonlinearity = "tanh"
		}
		out = append(out, l)
		if i == last && i < len(modules)-1 {
			out = append(out, Layer{Type: "last", Note: "guessed: the last time step; or mean, max, first, or none for an output at every step"})
		}
	}
	end := &out[len(out)-1]
	if end.Note != "" {
		end.Note += "; "
	}
	end.Note += "what follows it, such as softmax, is not known"
	return out
}

// adjacent reports whether two modules are neighbours in an nn.Sequential, with nothing between them.
func adjacent(a, b module) bool {
	dirA, x, ok1 := numbered(a.prefix)
	dirB, y, ok2 := numbered(b.prefix)
	return ok1 && ok2 && dirA == dirB && y == x+1
}

func numbered(prefix string) (dir string, n int, ok bool) {
	s := strings.TrimSuffix(prefix, ".")
	i := strings.LastIndexByte(s, '.') + 1
	n, err := strconv.Atoi(s[i:])
	return s[:i], n, err == nil
}
