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
	n := &network{tensors: under(all, a.Root), used: map[string]bool{}, steps: a.Steps}
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
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// network is a graph under construction. Before the first layer with weights its width is not known.
type network struct {
	tensors map[string]*weights.Tensor
	used    map[string]bool
	left    int // elements that may still be taken, since layers may share weights
	steps   int // how many the network takes at once; 0 is one after the other
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
	k, ok := layers[l.Type]
	if !ok {
		return unsupported("layers of this type are not supported")
	}
	if err := l.only(k.fields); err != nil {
		return err
	}
	if k.build == nil {
		return nil
	}
	if n.x == nil {
		if err := n.begin(l); err != nil {
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
	x, err := k.build(n, l)
	if err == nil {
		n.x = x
	}
	return err
}

// begin makes the input of the first layer.
func (n *network) begin(l *Layer) error {
	width, err := n.inputWidth(l)
	if err != nil {
		return err
	}
	sizes, roles := []int64{-1, 1, int64(width)}, []lower.Role{lower.Time, lower.Feature, lower.Feature}
	if n.steps > 0 {
		sizes[0], roles[0] = int64(n.steps), lower.Feature
	}
	n.tr, n.x, err = lower.NewTracer(sizes, roles, budget)
	return err
}

// inputWidth is the number of features that the first layer takes.
func (n *network) inputWidth(l *Layer) (int, error) {
	name, rank, axis := l.prefix()+"weight", 2, 1
	switch l.Type {
	case "lstm", "gru", "rnn":
		name = cellNames(n.tensors, l.prefix(), 0, "").wi
	case "linear":
	case "conv1d":
		rank = 3
	case "batchnorm1d":
		name, rank, axis = l.prefix()+"running_mean", 1, 0
	case "layer_norm":
		rank, axis = 1, 0
	case "affine":
		if width := max(len(l.Scale), len(l.Shift)); width > 1 {
			return width, nil
		}
		fallthrough
	default:
		return 0, fmt.Errorf("the first layer must have weights, which say how many features the input has")
	}
	w, err := n.get(l, name, rank)
	if err != nil {
		return 0, err
	}
	return w.Shape[axis] * max(l.Groups, 1), nil
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
