package fromtorch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/tools/internal/torchfile"
)

// ordered looks for an order in which the widths of m fit: its own, which is nil, or one with recurrent layers as early as can be. It may
// find none, or have too many to try.
func ordered(m []module) (order []module, found bool) {
	if chained(m, true) {
		return nil, true
	}
	const many = 64
	if len(m) > many {
		return nil, false
	}
	for _, flat := range []bool{false, true} {
		s := search{left: slices.Clone(m), used: make([]bool, len(m))}
		slices.SortStableFunc(s.left, func(a, b module) int { return rank(a) - rank(b) })
		if s.extend(end{flat: flat}) {
			return s.order, true
		}
	}
	return nil, false
}

// chained reports whether every module can take what the one before puts out, or with flat, the first linear one, all of its steps side by
// side. Those of width 0 take anything and leave it as it is.
func chained(m []module, flat bool) bool {
	at := end{flat: flat}
	for _, x := range m {
		if !at.follow(x) {
			return false
		}
	}
	return true
}

// end is what the modules so far put out.
type end struct {
	width int
	flat  bool // steps may still be put side by side
}

func (e *end) follow(x module) bool {
	switch {
	case x.in == 0 || e.width == 0 || x.in == e.width:
	case e.flat && x.Type == "linear" && x.in%e.width == 0:
	default:
		return false
	}
	e.flat = e.flat && x.Type != "linear"
	if x.out != 0 {
		e.width = x.out
	}
	return true
}

// search tries orders.
type search struct {
	left, order []module
	used        []bool
	tries       int
}

func (s *search) extend(at end) bool {
	const most = 20000
	if len(s.order) == len(s.left) {
		return true
	}
	for i, x := range s.left {
		next := at
		if s.used[i] || !next.follow(x) {
			continue
		}
		if s.tries++; s.tries > most {
			return false
		}
		s.used[i] = true
		s.order = append(s.order, x)
		if s.extend(next) {
			return true
		}
		s.used[i] = false
		s.order = s.order[:len(s.order)-1]
	}
	return false
}

func rank(m module) int {
	if m.Recurrent() {
		return 0
	}
	return 1
}

const unnamed = "guessed: a state dict does not name activations"

// between writes the modules down with what has no weights and usually lies between them. Steps is how many the network takes at once, 0
// if it takes one after the other or that is not known.
func (d *describer) between() (out []Layer, steps int) {
	last := -1
	for i, m := range d.modules {
		if m.Recurrent() {
			last = i
		}
	}
	linear := false // something linear has run since the last activation
	heads := false  // a linear layer has run
	width := 0
	for i, m := range d.modules {
		inside := d.weightless(m.prefix, -1, index(m.prefix))
		if i > 0 {
			inside = d.glue(d.modules[i-1], m, linear)
		}
		out = append(out, inside...)
		switch {
		case m.Type == "linear" && m.in > width && width > 0 && !heads: // all steps side by side
			out = flattened(out)
			steps = d.before(out, m.in/width)
		case i == last+1 && last >= 0 && !d.streaming && m.Type != unknown:
			out = append(out, Layer{Type: "last", Note: "guessed: the last time step; or mean, max, first, or none for an output at every step"})
		}
		out = append(out, m.Layer)
		heads = heads || m.Type == "linear"
		if m.out != 0 {
			width = m.out
		}
		switch {
		case m.Type == "linear" || m.Type == "conv1d":
			linear = true
		case m.Recurrent() || m.Type == "prelu":
			linear = false
		default: // a normalisation
			linear = linear && len(inside) == 0
		}
	}
	d.windows(out, steps)
	end := d.modules[len(d.modules)-1]
	if tail := d.weightless(end.prefix, index(end.prefix), 1<<30); len(tail) > 0 {
		return append(out, tail...), steps
	}
	note := &out[len(out)-1].Note
	if *note != "" {
		*note += "; "
	}
	*note += "what follows it, such as softmax, is not known"
	return out, steps
}

// windows notes what is not known of layers that move along time.
func (d *describer) windows(out []Layer, steps int) {
	var missing []string
	moving := func(l Layer) bool { return l.Type == "conv1d" || l.Type == "maxpool1d" || l.Type == "avgpool1d" }
	switch {
	case len(d.unplaced) > 0:
		missing = append(missing, "where these run: "+some(d.unplaced))
	case len(d.classes) == 0 && slices.ContainsFunc(out, moving):
		missing = append(missing, "whether there is pooling, which has no weights")
	}
	if steps == 0 && slices.ContainsFunc(out, moving) {
		missing = append(missing, `"steps", how many steps the network takes at once`)
	}
	if len(missing) > 0 {
		d.note = strings.TrimPrefix(d.note+" Not known: "+strings.Join(missing, "; ")+".", " ")
	}
}

// flattened makes sure that a flatten layer is there, and says its order: PyTorch has the channels of convolutions first.
func flattened(out []Layer) []Layer {
	at := slices.IndexFunc(out, func(l Layer) bool { return l.Type == "flatten" })
	if at < 0 {
		at = len(out)
		out = append(out, Layer{Type: "flatten", Note: "guessed by the width of what follows"})
	}
	for _, l := range slices.Backward(out[:at]) {
		if l.Recurrent() {
			break
		}
		if l.Type == "conv1d" {
			out[at].Order = "channels"
			break
		}
	}
	return out
}

// before is how many steps go into layers that put out the given number, or 0.
func (d *describer) before(out []Layer, steps int) int {
	for _, l := range slices.Backward(out) {
		kernel, stride := l.KernelSize, max(l.Stride, 1)
		switch l.Type {
		case "conv1d":
			kernel = d.tensors[l.prefix()+"weight"].Shape[2]
		case "maxpool1d", "avgpool1d":
			if l.Stride == 0 {
				stride = kernel
			}
		default:
			continue
		}
		steps = (steps-1)*stride + 1
		if !l.Padding.Same {
			steps += (kernel-1)*max(l.Dilation, 1) - 2*l.Padding.N
		}
	}
	return max(steps, 0)
}

// glue is what lies between two modules that follow each other: what the archive lists, else what is usual.
func (d *describer) glue(a, b module, linear bool) []Layer {
	dirA, x, ok1 := numbered(a.prefix)
	dirB, y, ok2 := numbered(b.prefix)
	together := ok1 && ok2 && dirA == dirB
	if len(d.classes) > 0 {
		if together {
			return d.weightless(a.prefix, x, y)
		}
		if known := append(d.weightless(a.prefix, x, 1<<30), d.weightless(b.prefix, -1, y)...); len(known) > 0 {
			return known
		}
	}
	switch {
	case !linear, together && y == x+1, b.Type == "batchnorm1d" && !together, b.Type == "layer_norm" && !together:
		return nil
	case b.Type == "prelu":
		return nil
	case b.Recurrent() && a.Type == "linear" && !together:
		return nil
	}
	return []Layer{{Type: d.usual, Note: unnamed}}
}

var activations = map[string]bool{"relu": true, "elu": true, "leaky_relu": true, "selu": true, "gelu": true, "silu": true, "mish": true,
	"hardtanh": true, "hardswish": true, "relu6": true, "softplus": true}

// plain is a module without weights, with its number in an nn.Sequential.
type plain struct {
	number int
	Layer
}

// listed looks through the modules of an archive. The activation that is listed beside the containers is the usual one, if it is the only
// one.
func (d *describer) listed(modules []torchfile.Module, root string) {
	d.classes, d.plain = map[string]torchfile.Module{}, map[string][]plain{}
	beside := map[string]bool{}
	for _, m := range modules {
		name, ok := below(m.Name, root)
		if !ok {
			continue
		}
		d.classes[name] = m
		l, ok := plainLayer(m)
		dir, number, inside := numbered(name)
		switch {
		case ok && inside:
			d.plain[dir] = append(d.plain[dir], plain{number, l})
		case ok && activations[l.Type]:
			beside[l.Type] = true
		case ok && l.Type != "dropout" && l.Type != "identity":
			d.unplaced = append(d.unplaced, fmt.Sprintf("%s (%s)", name, l.Type))
		}
	}
	d.usual = "relu"
	if len(beside) == 1 {
		for d.usual = range beside {
		}
	}
}

// weightless lists the modules without weights of the nn.Sequential that a module is in, between two numbers.
func (d *describer) weightless(prefix string, from, to int) (out []Layer) {
	dir, _, ok := numbered(prefix)
	if !ok {
		return nil
	}
	for _, p := range d.plain[dir] {
		if p.number > from && p.number < to {
			out = append(out, p.Layer)
		}
	}
	return out
}

// plainLayer is a module without weights as a layer.
func plainLayer(m torchfile.Module) (l Layer, ok bool) {
	kind := m.Class[strings.LastIndexByte(m.Class, '.')+1:]
	value := func(name string) *float32 {
		v := float32(number(m, name))
		if m.Constants[name] == "" {
			return nil
		}
		return &v
	}
	l.Type = plainTypes[kind]
	if m.Constants["output_size"] == "1" {
		l.Type = map[string]string{"AdaptiveAvgPool1d": "mean", "AdaptiveMaxPool1d": "max"}[kind]
	}
	switch l.Type {
	case "":
		return l, false
	case "elu":
		l.Alpha = value("alpha")
	case "leaky_relu":
		l.NegativeSlope = value("negative_slope")
	case "hardtanh":
		l.MinVal, l.MaxVal = value("min_val"), value("max_val")
	case "gelu":
		l.Approximate = strings.Trim(m.Constants["approximate"], `"`)
	case "maxpool1d", "avgpool1d":
		l.KernelSize, l.Stride, l.Padding.N = integer(m, "kernel_size"), integer(m, "stride"), integer(m, "padding")
		l.CeilMode = m.Constants["ceil_mode"] == "True"
		if l.Type == "maxpool1d" {
			l.Dilation = integer(m, "dilation")
		}
	default:
		return l, true
	}
	if len(m.Constants) == 0 {
		l.Note = "guessed: a traced module does not tell its arguments"
	}
	return l, true
}

// plainTypes are the layers that classes without weights stand for.
var plainTypes = map[string]string{"ReLU": "relu", "ELU": "elu", "LeakyReLU": "leaky_relu", "SELU": "selu", "GELU": "gelu", "SiLU": "silu",
	"Mish": "mish", "Hardtanh": "hardtanh", "Hardswish": "hardswish", "Hardsigmoid": "hardsigmoid", "ReLU6": "relu6", "Softplus": "softplus",
	"Softsign": "softsign", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Dropout": "dropout",
	"Dropout1d": "dropout", "Identity": "identity", "MaxPool1d": "maxpool1d", "AvgPool1d": "avgpool1d", "Flatten": "flatten"}

// numbered splits the name of a module in an nn.Sequential.
func numbered(prefix string) (dir string, n int, ok bool) {
	s := strings.TrimSuffix(prefix, ".")
	i := strings.LastIndexByte(s, '.') + 1
	n, err := strconv.Atoi(s[i:])
	return s[:i], n, err == nil
}

func index(prefix string) int {
	_, n, _ := numbered(prefix)
	return n
}
