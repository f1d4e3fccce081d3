// Package fromtorch turns the tensors of a PyTorch network and a description of its layers into a quant.Graph, and guesses such a
// description from the tensors' names and shapes.
package fromtorch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/weights"
)

func unsupported(f string, args ...any) error {
	return &lower.Unsupported{Why: fmt.Sprintf(f, args...)}
}

// Import builds the network that a describes. Every tensor must be used, or ignored by the description.
func Import(all []*weights.Tensor, a *Arch) (*quant.Graph, error) {
	n := &network{tensors: under(all, a.Root), used: map[string]bool{}}
	for _, t := range n.tensors {
		n.left += maxShared * t.Len()
	}
	if len(n.tensors) == 0 {
		return nil, fmt.Errorf("no tensors under the root %q", a.Root)
	}
	for i := range a.Layers {
		l := &a.Layers[i]
		if err := n.layer(l); err != nil {
			where := l.Type
			if l.Weights != nil {
				where = fmt.Sprintf("%s %q", l.Type, *l.Weights)
			}
			return nil, fmt.Errorf("layer %d (%s): %w", i+1, where, err)
		}
	}
	if n.x == nil {
		return nil, fmt.Errorf("no layer has weights")
	}
	if left := n.unused(a.Ignore); len(left) > 0 {
		return nil, fmt.Errorf(`the layers leave out %s; describe them, or list them under "ignore"`, some(left))
	}
	g, err := n.tr.Finish(n.x)
	if err != nil {
		return nil, err
	}
	g.Input.Channels = make([]format.Channel, g.Values[0].Width)
	for i := range g.Input.Channels {
		g.Input.Channels[i].Name = fmt.Sprintf("x%d", i)
	}
	return g, nil
}

// under returns the tensors below root, by their names there.
func under(all []*weights.Tensor, root string) map[string]*weights.Tensor {
	out := map[string]*weights.Tensor{}
	for _, t := range all {
		if name, ok := below(t.Name, root); ok {
			out[name] = t
		}
	}
	return out
}

func below(name, root string) (string, bool) {
	if root == "" {
		return name, true
	}
	return strings.CutPrefix(name, root+".")
}

func some(names []string) string {
	slices.Sort(names)
	const most = 4
	if len(names) > most {
		return fmt.Sprintf("%s and %d more tensors", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// network is a graph under construction. Before the first layer with weights its width is not known.
type network struct {
	tensors map[string]*weights.Tensor
	used    map[string]bool
	left    int // elements that may still be taken, since layers may share weights
	tr      *lower.Tracer
	x       *lower.Tensor // [time, 1, channels], or [1, channels] after time is reduced
}

// maxShared is how often all weights may be used on average.
const maxShared = 8

// budget bounds the elements that layers handle, each weight once a use.
const budget = 1 << 27

func (n *network) unused(ignore []string) (left []string) {
	ignored := map[string]bool{}
	for _, name := range ignore {
		ignored[name] = true
	}
	for name := range n.tensors {
		if !n.used[name] && !within(name, ignored) && !strings.HasSuffix(name, "num_batches_tracked") {
			left = append(left, name)
		}
	}
	return left
}

// within reports whether a name, or a part of it up to a dot, is in the set.
func within(name string, set map[string]bool) bool {
	for i := range len(name) {
		if name[i] == '.' && set[name[:i]] {
			return true
		}
	}
	return set[name]
}

func (n *network) layer(l *Layer) error {
	build, ok := layers[l.Type]
	if !ok {
		return unsupported("layers of this type are not supported")
	}
	if build == nil {
		return nil
	}
	if err := l.fields(); err != nil {
		return err
	}
	if n.x == nil {
		width, err := n.inputWidth(l)
		if err != nil {
			return err
		}
		sizes := []int64{-1, 1, int64(width)}
		if n.tr, n.x, err = lower.NewTracer(sizes, []lower.Role{lower.Time, lower.Feature, lower.Feature}, budget); err != nil {
			return err
		}
	}
	name := l.Type
	if l.Weights != nil && *l.Weights != "" {
		name = *l.Weights
	}
	if err := n.tr.At(name); err != nil {
		return err
	}
	x, err := build(n, l)
	if err == nil {
		n.x = x
	}
	return err
}

// layers are the types a description may hold; nil ones do nothing when a network runs.
var layers = map[string]func(*network, *Layer) (*lower.Tensor, error){
	"dropout":     nil,
	"identity":    nil,
	"lstm":        (*network).recurrent,
	"gru":         (*network).recurrent,
	"rnn":         (*network).recurrent,
	"linear":      (*network).linear,
	"batchnorm1d": (*network).batchNorm,
	"affine":      (*network).affine,
	"relu":        (*network).unary,
	"sigmoid":     (*network).unary,
	"tanh":        (*network).unary,
	"softmax":     (*network).softmax,
	"log_softmax": (*network).softmax,
	"last":        (*network).step,
	"first":       (*network).step,
	"mean":        (*network).pool,
	"max":         (*network).pool,
}

// fields refuses what a layer of this type has no use for.
func (l *Layer) fields() error {
	cell := l.Type == "lstm" || l.Type == "gru" || l.Type == "rnn"
	for _, f := range []struct {
		name     string
		set, may bool
	}{
		{"weights", l.Weights != nil, cell || l.Type == "linear" || l.Type == "batchnorm1d"},
		{"output", l.Output != "", cell},
		{"nonlinearity", l.Nonlinearity != "", l.Type == "rnn"},
		{"eps", l.Eps != 0, l.Type == "batchnorm1d"},
		{"scale", l.Scale != nil, l.Type == "affine"},
		{"shift", l.Shift != nil, l.Type == "affine"},
	} {
		if f.set && !f.may {
			return fmt.Errorf("has no %q", f.name)
		}
	}
	return nil
}

// inputWidth is the number of features that the first layer takes.
func (n *network) inputWidth(l *Layer) (int, error) {
	switch l.Type {
	case "lstm", "gru", "rnn":
		w, err := n.get(l, cellNames(n.tensors, l.prefix(), 0, "").wi, 2)
		if err != nil {
			return 0, err
		}
		return w.Shape[1], nil
	case "linear":
		w, err := n.get(l, l.prefix()+"weight", 2)
		if err != nil {
			return 0, err
		}
		return w.Shape[1], nil
	case "batchnorm1d":
		w, err := n.get(l, l.prefix()+"running_mean", 1)
		if err != nil {
			return 0, err
		}
		return w.Shape[0], nil
	case "affine":
		if width := max(len(l.Scale), len(l.Shift)); width > 1 {
			return width, nil
		}
	}
	return 0, fmt.Errorf("the first layer must have weights, which say how many features the input has")
}

func (l *Layer) prefix() string {
	if l.Weights == nil || *l.Weights == "" {
		return ""
	}
	return *l.Weights + "."
}

// get returns a tensor that must exist, and marks it as used.
func (n *network) get(l *Layer, name string, rank int) (*weights.Tensor, error) {
	t := n.tensors[name]
	if t == nil {
		return nil, fmt.Errorf("there is no tensor %q", name)
	}
	if len(t.Shape) != rank || t.Len() == 0 {
		return nil, fmt.Errorf("%q has shape %v; a %s wants %d dimensions", name, t.Shape, l.Type, rank)
	}
	if n.left -= t.Len(); n.left < 0 {
		return nil, fmt.Errorf("the layers use the weights more than %d times over", maxShared)
	}
	n.used[name] = true
	return t, nil
}

// vector returns the numbers of a tensor of one dimension.
func (n *network) vector(l *Layer, name string, length int) ([]float32, error) {
	t, err := n.get(l, name, 1)
	if err != nil {
		return nil, err
	}
	if t.Shape[0] != length {
		return nil, fmt.Errorf("%q has shape %v, not [%d]", name, t.Shape, length)
	}
	return t.Floats(), nil
}

// matrix is vector for two dimensions.
func (n *network) matrix(l *Layer, name string, rows, columns int) ([]float32, error) {
	t, err := n.get(l, name, 2)
	if err != nil {
		return nil, err
	}
	if t.Shape[0] != rows || t.Shape[1] != columns {
		return nil, fmt.Errorf("%q has shape %v, not [%d %d]", name, t.Shape, rows, columns)
	}
	return t.Floats(), nil
}

// width is the number of channels of the network so far.
func (n *network) width() int {
	s := n.x.Shape()
	w, _ := s[len(s)-1].Const()
	return int(w)
}

func (n *network) linear(l *Layer) (*lower.Tensor, error) {
	w, err := n.get(l, l.prefix()+"weight", 2)
	if err != nil {
		return nil, err
	}
	if w.Shape[1] != n.width() {
		return nil, fmt.Errorf("takes %d channels, there are %d", w.Shape[1], n.width())
	}
	var bias []float32
	if n.tensors[l.prefix()+"bias"] != nil {
		if bias, err = n.vector(l, l.prefix()+"bias", w.Shape[0]); err != nil {
			return nil, err
		}
	}
	return n.tr.Dense(n.x, w.Floats(), w.Shape[0], bias)
}

func (n *network) batchNorm(l *Layer) (*lower.Tensor, error) {
	width, eps := n.width(), l.Eps
	if eps == 0 {
		eps = 1e-5
	}
	mean, err := n.vector(l, l.prefix()+"running_mean", width)
	if err != nil {
		return nil, err
	}
	variance, err := n.vector(l, l.prefix()+"running_var", width)
	if err != nil {
		return nil, err
	}
	var gamma, beta []float32
	if n.tensors[l.prefix()+"weight"] != nil {
		if gamma, err = n.vector(l, l.prefix()+"weight", width); err != nil {
			return nil, err
		}
		if beta, err = n.vector(l, l.prefix()+"bias", width); err != nil {
			return nil, err
		}
	}
	return n.tr.Normalise(n.x, mean, variance, gamma, beta, eps)
}

func (n *network) affine(l *Layer) (*lower.Tensor, error) {
	scale, err := spread("scale", l.Scale, n.width(), 1)
	if err != nil {
		return nil, err
	}
	shift, err := spread("shift", l.Shift, n.width(), 0)
	if err != nil {
		return nil, err
	}
	return n.tr.Scale(n.x, scale, shift)
}

// spread gives every channel its value: v has one for each, or one for all, or none.
func spread(name string, v []float32, width int, none float32) ([]float32, error) {
	switch len(v) {
	case width:
		return v, nil
	case 0, 1:
		return slices.Repeat(append(slices.Clip(v), none)[:1], width), nil
	}
	return nil, fmt.Errorf("%q has %d values for %d channels", name, len(v), width)
}

func (n *network) unary(l *Layer) (*lower.Tensor, error) {
	kinds := map[string]format.Kind{"relu": format.ReLU, "sigmoid": format.Sigmoid, "tanh": format.Tanh}
	return n.tr.Unary(kinds[l.Type], n.x)
}

func (n *network) softmax(l *Layer) (*lower.Tensor, error) {
	kind, last := format.Softmax, n.x.Rank()-1
	if l.Type == "log_softmax" {
		kind = format.LogSoftmax
	}
	return n.tr.Softmax(kind, n.x, last, last)
}

const perStep = 3 // the rank of what has a time axis

func (n *network) timed() error {
	if n.x.Rank() != perStep {
		return fmt.Errorf("there is no time left")
	}
	return nil
}

func (n *network) step(l *Layer) (*lower.Tensor, error) {
	if err := n.timed(); err != nil {
		return nil, err
	}
	at := int64(0)
	if l.Type == "last" {
		at = -1
	}
	i, err := n.tr.Ints(nil, []int64{at})
	if err != nil {
		return nil, err
	}
	return n.tr.Gather(n.x, 0, i)
}

func (n *network) pool(l *Layer) (*lower.Tensor, error) {
	if err := n.timed(); err != nil {
		return nil, err
	}
	kind := format.Mean
	if l.Type == "max" {
		kind = format.Max
	}
	return n.tr.Pool(kind, n.x, []int{0}, false)
}
