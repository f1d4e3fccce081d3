package fromkeras

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/hdf5"
	"github.com/recur-go/recur/tools/internal/weights"
)

// inner are the layers that make up a layer.
func (l *layer) inner() []*layer {
	if l.graph != nil {
		return l.graph.layers
	}
	return l.parts
}

// own is how many arrays of weights a layer has itself: such as are trained, and others.
func (l *layer) own() (trained, other int) {
	if c := classes[l.class]; c.weights != nil {
		return c.weights(&l.config)
	}
	return 0, 0
}

// weighs reports whether the layer or any within it has weights.
func (l *layer) weighs() bool {
	n, k := l.own()
	return n+k > 0 || slices.ContainsFunc(l.inner(), (*layer).weighs)
}

// slot is a place for an array of weights.
type slot struct {
	layer *layer
	index int
}

func (l *layer) slots(from, to int) (out []slot) {
	for i := from; i < to; i++ {
		out = append(out, slot{l, i})
	}
	return out
}

// trained lists the weights of a layer and those within it that are trained, in the order of Keras' trainable_weights.
func (l *layer) trained() []slot {
	if !flag(l.config.Trainable) {
		return nil
	}
	n, _ := l.own()
	out := l.slots(0, n)
	for _, p := range l.inner() {
		out = append(out, p.trained()...)
	}
	return out
}

// others lists the rest, in the order of Keras' non_trainable_weights: of a layer that is frozen all.
func (l *layer) others() []slot {
	n, k := l.own()
	frozen := !flag(l.config.Trainable)
	if frozen {
		n, k = 0, n+k
	}
	out := l.slots(n, n+k)
	for _, p := range l.inner() {
		if frozen {
			out = append(out, p.trained()...)
		}
		out = append(out, p.others()...)
	}
	return out
}

var errClass = unsupported("layers of this class are not supported")

// foreign returns an error that names the first layer within that cannot be imported.
func (l *layer) foreign() error {
	if !l.supported() {
		return fmt.Errorf("%s %q: %w", l.class, l.name, errClass)
	}
	for _, p := range l.inner() {
		if err := p.foreign(); err != nil {
			return err
		}
	}
	return nil
}

// deal gives a layer and those within it the arrays that an .h5 file lists for it.
func (l *layer) deal(all []*weights.Tensor) {
	if l.foreign() != nil { // how many it has is not known
		return
	}
	slots := append(l.trained(), l.others()...)
	if len(all) != len(slots) {
		l.err = fmt.Errorf("%d arrays of weights, want %d", len(all), len(slots))
		return
	}
	for i, s := range slots {
		if s.layer.weights == nil {
			n, k := s.layer.own()
			s.layer.weights = make([]*weights.Tensor, n+k)
		}
		s.layer.weights[s.index] = all[i]
	}
}

const (
	maxDepth = 2*maxNesting + 4
	maxPaths = 1 << 14
)

// store holds the datasets of a .keras file by their paths.
type store struct {
	paths   map[string]*hdf5.Object
	doubled bool // layers of models with weights are counted twice in the names of folders
}

// dependencies is the list of a model's layers by which Keras 2.12 to 2.14 find them, which has those with weights under two names each.
const dependencies = "_layer_checkpoint_dependencies/"

// index finds the datasets below a group. Files saved on Windows have names with backslashes where there should be groups.
func (s *store) index(o *hdf5.Object, depth int) error {
	names, err := o.Names()
	if err != nil {
		return err
	}
	if depth == 0 || len(s.paths) > maxPaths {
		return errors.New("groups too deep or too many")
	}
	for _, n := range names {
		if strings.HasPrefix(n, "optimizer") {
			continue
		}
		c, err := o.Child(n)
		if err != nil {
			return err
		}
		if c.Dataset() {
			path := strings.ReplaceAll(c.Path(), `\`, "/")
			s.doubled = s.doubled || strings.HasPrefix(path, dependencies)
			s.paths[strings.ReplaceAll(path, dependencies, "layers/")] = c
			continue
		}
		if err := s.index(c, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// give finds the weights of a layer and of those within it below a path.
func (s *store) give(l *layer, path string) error {
	at := path
	if l.class == "LSTM" || l.class == "GRU" || l.class == "SimpleRNN" {
		at += "cell/"
	}
	for i := 0; ; i++ {
		d := s.paths[fmt.Sprint(at, "vars/", i)]
		if d == nil {
			break
		}
		t, err := d.Tensor()
		if err != nil {
			return err
		}
		l.weights = append(l.weights, t)
	}
	switch l.class {
	case "TimeDistributed":
		return s.give(l.parts[0], path+"layer/")
	case "Bidirectional":
		return errors.Join(s.give(l.parts[0], path+"forward_layer/"), s.give(l.parts[1], path+"backward_layer/"))
	case "RNN":
		return s.give(l.parts[0], path+"cell/")
	case "StackedRNNCells":
		return s.list(l.parts, path+"cells/", false)
	}
	return s.list(l.inner(), path+"layers/", s.doubled)
}

// list gives the layers of a list their weights. Their folders are named by class and number, not by the layers' own names.
func (s *store) list(all []*layer, path string, doubled bool) error {
	count := map[string]int{}
	for _, l := range all {
		folder := snake(l.class)
		n := count[folder]
		count[folder]++
		if doubled && l.weighs() {
			count[folder]++
		}
		if n > 0 {
			folder = fmt.Sprintf("%s_%d", folder, n)
		}
		if err := s.give(l, path+folder+"/"); err != nil {
			return err
		}
	}
	return nil
}

var (
	wordStart = regexp.MustCompile("(.)([A-Z][a-z]+)")
	wordEnd   = regexp.MustCompile("([a-z])([A-Z])")
)

// snake turns a class name into a folder's: LSTM, SimpleRNN and GlobalMaxPooling1D become lstm, simple_rnn and global_max_pooling1d.
func snake(class string) string {
	return strings.ToLower(wordEnd.ReplaceAllString(wordStart.ReplaceAllString(class, "${1}_${2}"), "${1}_${2}"))
}

// take returns the numbers of a layer's weights, which must have the given shapes.
func (n *network) take(l *layer, shapes ...[]int) ([][]float32, error) {
	if len(l.weights) != len(shapes) {
		return nil, fmt.Errorf("%d arrays of weights, want %d", len(l.weights), len(shapes))
	}
	out := make([][]float32, len(shapes))
	for i, w := range l.weights {
		if !slices.Equal(w.Shape, shapes[i]) {
			return nil, fmt.Errorf("weights of shape %v, want %v", w.Shape, shapes[i])
		}
		if n.left -= w.Len(); n.left < 0 {
			return nil, errors.New("the layers share more weights than the file holds")
		}
		out[i] = w.Floats()
	}
	return out, nil
}

// layerWeights follows the names that a layer's group lists.
func layerWeights(group *hdf5.Object, name string) ([]*weights.Tensor, error) {
	g, err := group.Child(name)
	if err != nil || g == nil {
		return nil, err
	}
	names, err := list(g, "weight_names")
	if err != nil {
		return nil, err
	}
	var out []*weights.Tensor
	for _, n := range names {
		d, err := g.Child(n)
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, fmt.Errorf("layer %q lacks the weights %q", name, n)
		}
		t, err := d.Tensor()
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// list reads an attribute of many strings, which Keras splits into parts if it is long.
func list(o *hdf5.Object, name string) ([]string, error) {
	v, err := o.Attr(name)
	if v != nil || err != nil {
		return v, err
	}
	for part := 0; ; part++ {
		more, err := o.Attr(fmt.Sprintf("%s%d", name, part))
		if more == nil || err != nil {
			return v, err
		}
		v = append(v, more...)
	}
}
