package fromtorch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/tools/internal/torchfile"
	"github.com/recur-go/recur/tools/internal/weights"
)

// module is what the tensors with a common prefix seem to be. The layer is the module's, without what lies around it.
type module struct {
	Layer
	prefix  string
	in, out int // 0 is any
}

// Describe guesses a description from names and shapes, and from the modules that a TorchScript archive lists. Its notes say what neither
// can tell. It fails if there are modules that no description can hold.
func Describe(f *torchfile.File) (*Arch, error) {
	a := &Arch{Root: rootOf(f.Tensors)}
	d := &describer{tensors: under(f.Tensors, a.Root)}
	d.listed(f.Modules, a.Root)
	prefixes, names := group(f.Tensors, a.Root)
	for _, prefix := range prefixes {
		if d.module(prefix, names[prefix]); len(d.modules) > maxLayers {
			return nil, unsupported("the network has more than %d layers", maxLayers)
		}
	}
	if !slices.ContainsFunc(d.modules, func(m module) bool { return m.Type != unknown }) {
		var found []string
		for _, m := range d.modules {
			found = append(found, *m.Weights)
		}
		return nil, unsupported("no tensor has the name and shape of a layer's weights; there are %s", some(found))
	}
	d.initial()
	if err := d.arrange(); err != nil {
		return nil, err
	}
	a.Layers, a.Steps = d.between()
	a.Note, a.Ignore = d.note, d.ignore
	return a, nil
}

// unknown is the type of tensors that are no layer's weights.
const unknown = "unknown"

// describer collects what a description says.
type describer struct {
	tensors   map[string]*weights.Tensor
	classes   map[string]torchfile.Module // of an archive
	plain     map[string][]plain          // its modules without weights in each nn.Sequential
	usual     string                      // the activation between others
	unplaced  []string                    // its modules without weights of which it is not known where they run
	modules   []module
	ignore    []string
	note      string
	streaming bool // there is an output at every step
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

// module guesses what the tensors under a prefix are. Those that are none of its weights are states, or not known.
func (d *describer) module(prefix string, names []string) {
	m := module{prefix: prefix}
	weights := strings.TrimSuffix(prefix, ".")
	m.Weights = &weights
	used := d.guess(&m)
	var others []string
	for _, name := range names {
		switch rest := strings.TrimPrefix(name, prefix); {
		case m.Recurrent() && recurrentName(rest), slices.Contains(used, rest), rest == "num_batches_tracked":
		case d.idle(name):
			d.ignore = append(d.ignore, name)
		default:
			others = append(others, name)
		}
	}
	if m.Type != "" {
		d.modules = append(d.modules, m)
	}
	for _, name := range others {
		note := fmt.Sprintf("not known: a tensor of shape %v", d.tensors[name].Shape)
		d.modules = append(d.modules, module{Layer: Layer{Type: unknown, Weights: &name, Note: note}, prefix: prefix})
	}
	for part := range strings.SplitSeq(strings.ToLower(prefix), ".") {
		d.streaming = d.streaming || part == "actor" || part == "policy"
	}
}

func recurrentName(rest string) bool {
	for _, s := range []string{"weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"} {
		if strings.HasPrefix(rest, s) {
			return true
		}
	}
	return false
}

// idle reports whether a tensor plays no part in what is computed: integers, such as counters, and states that are zero at first.
func (d *describer) idle(name string) bool {
	t := d.tensors[name]
	switch t.Type {
	case weights.F64, weights.F32, weights.F16, weights.BF16:
	default:
		return true
	}
	if len(t.Shape) == 0 || t.Len() > maxState {
		return false
	}
	for _, v := range t.Floats() {
		if v != 0 {
			return false
		}
	}
	base := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	d.streaming = d.streaming || strings.Contains(base, "hidden") || strings.Contains(base, "cell") || strings.Contains(base, "state")
	return true
}

const maxState = 1 << 16

// guess sets the type, widths and fields of a module, and returns the names of its weights.
func (d *describer) guess(m *module) (used []string) {
	if d.tensors[cellNames(d.tensors, m.prefix, 0, "").wi] != nil {
		d.recurrent(m)
		return nil
	}
	get := func(name string) *weights.Tensor { return d.tensors[m.prefix+name] }
	w, bias := get("weight"), get("bias")
	class := d.class(m.prefix)
	switch {
	case get("running_mean") != nil && len(get("running_mean").Shape) == 1:
		n := get("running_mean").Shape[0]
		m.Type, m.in, m.out = "batchnorm1d", n, n
		m.Eps = number(class, "eps")
		return []string{"weight", "bias", "running_mean", "running_var"}
	case get("in_proj_weight") != nil:
		m.Type = "multi-head attention"
		return []string{"in_proj_weight", "in_proj_bias"}
	case w == nil || w.Len() == 0:
		return nil
	}
	m.Note = fmt.Sprintf("%v", w.Shape)
	switch len(w.Shape) {
	case 1:
		d.vector(m, class, w.Shape[0], bias != nil)
	case 2:
		m.Type, m.in, m.out = "linear", w.Shape[1], w.Shape[0]
		m.Note = fmt.Sprintf("%d to %d", m.in, m.out)
		lower := strings.ToLower(m.prefix)
		switch {
		case strings.Contains(class.Class, "Embedding"), class.Class == "" && bias == nil && strings.Contains(lower, "emb"):
			m.Type = "embedding"
		case m.out == 1 && strings.Contains(lower, "att"):
			m.Type = "attention"
		}
	case 3:
		d.conv(m, class, w.Shape)
	case 4:
		m.Type = "conv2d"
	case 5:
		m.Type = "conv3d"
	default:
		m.Type = unknown
	}
	return []string{"weight", "bias"}
}

// vector is a module with a vector of weights: a normalisation with a bias, else more likely a slope below zero.
func (d *describer) vector(m *module, class torchfile.Module, n int, bias bool) {
	m.Type, m.in, m.out = "layer_norm", n, n
	m.Eps = number(class, "eps")
	kind := class.Class[strings.LastIndexByte(class.Class, '.')+1:]
	switch {
	case kind == "LayerNorm":
		m.Note = ""
	case kind == "PReLU", kind == "" && !bias && !strings.Contains(strings.ToLower(m.prefix), "norm"):
		m.Type, m.Note = "prelu", ""
		if n == 1 {
			m.in, m.out = 0, 0
		}
	case kind != "":
		m.Type = strings.ToLower(kind)
	default:
		m.Note = "guessed: a group normalisation has weights of the same shape"
	}
}

func (d *describer) conv(m *module, class torchfile.Module, shape []int) {
	m.Type, m.in, m.out = "conv1d", shape[1], shape[0]
	if strings.Contains(class.Class, "ConvTranspose") {
		m.Type = "convtranspose1d"
		return
	}
	if class.Constants["stride"] != "" {
		m.Note = fmt.Sprintf("%d to %d, %d steps", m.in, m.out, shape[2])
		m.Stride, m.Dilation, m.Groups = integer(class, "stride"), integer(class, "dilation"), integer(class, "groups")
		m.Padding = Padding{integer(class, "padding"), class.Constants["padding"] == `"same"`}
		m.in *= max(m.Groups, 1)
		return
	}
	if shape[1] == 1 && shape[0] > 1 && strings.Contains(strings.ToLower(m.prefix), "dep") {
		m.Groups, m.in = shape[0], shape[0]
	}
	m.Note = fmt.Sprintf("%d to %d, %d steps", m.in, m.out, shape[2])
	if shape[2] > 1 {
		m.Padding.N = (shape[2] - 1) / 2
		m.Note += "; stride, padding and dilation are guessed"
	}
}

func (d *describer) class(prefix string) torchfile.Module {
	return d.classes[strings.TrimSuffix(prefix, ".")]
}

// number is a constant of a class, or 0.
func number(m torchfile.Module, name string) float64 {
	v, _ := strconv.ParseFloat(m.Constants[name], 64)
	return v
}

// integer is a constant that is a number, or a tuple of one; else 0.
func integer(m torchfile.Module, name string) int {
	v, _ := strconv.Atoi(strings.Trim(m.Constants[name], "(),"))
	return v
}

func (d *describer) recurrent(m *module) {
	first := cellNames(d.tensors, m.prefix, 0, "")
	wi, wh := d.tensors[first.wi], d.tensors[first.wh]
	if wh == nil || len(wi.Shape) != 2 || len(wh.Shape) != 2 || wh.Shape[1] == 0 {
		m.Type = unknown
		return
	}
	m.in, m.out = wi.Shape[1], wh.Shape[1]
	hidden := m.out
	if wr := d.tensors[first.projection]; wr != nil && len(wr.Shape) == 2 {
		hidden = max(wr.Shape[1], 1)
	}
	switch wh.Shape[0] / hidden {
	case 4:
		m.Type = "lstm"
	case 3:
		m.Type = "gru"
	case 1:
		m.Type = "rnn"
	default:
		m.Type = unknown
		return
	}
	levels := 1
	for d.tensors[cellNames(d.tensors, m.prefix, levels, "").wi] != nil {
		levels++
	}
	m.Note = fmt.Sprintf("%d to %d, %d deep", m.in, m.out, levels)
	if d.tensors[first.projection] != nil {
		m.Note = fmt.Sprintf("%d to %d projected to %d, %d deep", m.in, hidden, m.out, levels)
	}
	if d.tensors[cellNames(d.tensors, m.prefix, 0, "_reverse").wi] != nil {
		m.out *= 2
		m.Note += ", two-way"
	}
	if m.Type == "rnn" {
		m.Nonlinearity = "tanh"
		m.Note += "; nonlinearity is guessed: tanh or relu"
	}
}

// initial gives recurrent layers the initial states that are among the weights.
func (d *describer) initial() {
	d.modules = slices.DeleteFunc(d.modules, func(m module) bool {
		if m.Type != unknown {
			return false
		}
		name := strings.ToLower((*m.Weights)[strings.LastIndexByte(*m.Weights, '.')+1:])
		switch strings.ReplaceAll(name, "_", "") {
		case "h0":
			return d.begins(m, func(l *Layer) *string { return &l.H0 })
		case "c0":
			return d.begins(m, func(l *Layer) *string { return &l.C0 })
		}
		return false
	})
}

// begins lets the first recurrent layer that has none yet begin with a state.
func (d *describer) begins(state module, field func(*Layer) *string) bool {
	for i := range d.modules {
		l := &d.modules[i].Layer
		if l.Recurrent() && *field(l) == "" {
			*field(l) = *state.Weights
			const why = "; initial states are guessed by their names"
			l.Note = strings.TrimSuffix(l.Note, why) + why
			return true
		}
	}
	return false
}

// arrange puts the modules in an order in which they can run one after the other, and names those that no description can hold.
func (d *describer) arrange() error {
	all := d.modules
	if d.reorder() {
		return d.refuse()
	}
	d.leaveOut()
	if err := d.refuse(); err != nil || d.reorder() {
		return err
	}
	if names := parallel(all); len(names) > 1 {
		return unsupported("%s take the same input side by side; a description holds layers that run one after the other", some(names))
	}
	d.note = "The widths of the layers do not fit each other in any order: not known which of them run, and when."
	return nil
}

func (d *describer) reorder() bool {
	order, found := ordered(d.modules)
	if found && order != nil {
		d.modules = order
		d.note = "The order of the layers is guessed by their widths; the file has another."
	}
	return found
}

// asides are parts of a checkpoint that a network does not use when it runs; the last ones beside an actor only.
var asides, besideActors = []string{"critic", "value", "target", "teacher", "ema", "discriminator", "memory_c"}, []string{"std", "log_std"}

func (d *describer) leaveOut() {
	names := asides
	if d.streaming {
		names = slices.Concat(asides, besideActors)
	}
	aside := func(m module) bool {
		for part := range strings.SplitSeq(strings.ToLower(*m.Weights), ".") {
			if slices.ContainsFunc(names, func(s string) bool { return part == s || strings.HasPrefix(part, s+"_") }) {
				return true
			}
		}
		return false
	}
	var left []module
	var out []string
	for _, m := range d.modules {
		if aside(m) {
			out = append(out, *m.Weights)
		} else {
			left = append(left, m)
		}
	}
	if len(left) > 0 {
		d.modules, d.ignore = left, append(d.ignore, out...)
	}
}

// refuse names the modules that no description can hold.
func (d *describer) refuse() error {
	var names, types []string
	for _, m := range d.modules {
		if _, ok := layers[m.Type]; ok || m.Type == unknown {
			continue
		}
		names = append(names, *m.Weights)
		if !slices.Contains(types, m.Type) {
			types = append(types, m.Type)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return unsupported("the network has layers that are not supported: %s (%s)", strings.Join(types, ", "), some(names))
}

// parallel lists the modules that are the first of their parts of the network, and all take the same width, which no module makes.
func parallel(modules []module) (names []string) {
	parts := map[string]bool{}
	width := 0
	for _, m := range modules {
		part, _, _ := strings.Cut(m.prefix, ".")
		if parts[part] || m.in == 0 {
			continue
		}
		parts[part] = true
		if width == 0 {
			width = m.in
		}
		if m.in == width {
			names = append(names, *m.Weights)
		}
	}
	if slices.ContainsFunc(modules, func(m module) bool { return m.out == width }) {
		return nil
	}
	return names
}
