package fromkeras

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/recur-go/recur/tools/internal/hdf5"
	"github.com/recur-go/recur/tools/internal/stored"
	"github.com/recur-go/recur/tools/internal/weights"
)

// Model is a saved Keras model: a chain of layers with their weights.
type Model struct {
	version string
	layers  []*layer
	size    int // of the file
}

// layer is one layer as its config has it, with its weights in the order in which Keras lists them.
type layer struct {
	class   string
	name    string
	config  config
	inbound json.RawMessage
	weights []*weights.Tensor
}

// Read reads a .keras or .h5 file.
func Read(b []byte) (*Model, error) {
	read := readH5
	if bytes.HasPrefix(b, []byte("PK")) {
		read = readArchive
	}
	m, err := read(b)
	if err != nil {
		return nil, fmt.Errorf("Keras model: %w", err)
	}
	m.size = len(b)
	return m, nil
}

// readH5 reads the format of model.save("model.h5").
func readH5(b []byte) (*Model, error) {
	root, err := openHDF5(b)
	if err != nil {
		return nil, err
	}
	text, err := root.Attr("model_config")
	if err != nil {
		return nil, err
	}
	if len(text) != 1 {
		return nil, errors.New("the file holds weights only; save the whole model with model.save")
	}
	all, chain, err := parse([]byte(text[0]))
	if err != nil {
		return nil, err
	}
	group, err := root.Child("model_weights")
	if err != nil || group == nil {
		return nil, errors.Join(errors.New("the file lacks model_weights"), err)
	}
	for _, l := range all {
		if l.weights, err = layerWeights(group, l.config.Name); err != nil {
			return nil, err
		}
	}
	m := &Model{layers: chain}
	if v, err := root.Attr("keras_version"); err == nil && len(v) == 1 {
		m.version = v[0]
	}
	return m, nil
}

func openHDF5(b []byte) (*hdf5.Object, error) {
	f, err := hdf5.Open(b)
	if err != nil {
		return nil, err
	}
	return f.Root()
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

// readArchive reads the .keras format: a zip archive with the config and the weights.
func readArchive(b []byte) (*Model, error) {
	a, err := stored.Open(b)
	if err != nil {
		return nil, err
	}
	text, err := a.Read("config.json")
	if err != nil {
		return nil, err
	}
	all, chain, err := parse(text)
	if err != nil {
		return nil, err
	}
	data, err := a.Read("model.weights.h5")
	if err != nil {
		return nil, err
	}
	root, err := openHDF5(data)
	if err != nil {
		return nil, err
	}
	found := map[string]*hdf5.Object{}
	if err := index(root, found, maxDepth); err != nil {
		return nil, err
	}
	if err := distribute(all, found); err != nil {
		return nil, err
	}
	m := &Model{layers: chain}
	var meta struct {
		Version string `json:"keras_version"`
	}
	if text, err := a.Read("metadata.json"); err == nil && json.Unmarshal(text, &meta) == nil {
		m.version = meta.Version
	}
	return m, nil
}

const (
	maxDepth = 12
	maxPaths = 1 << 14
)

// index finds the datasets below a group. Files saved on Windows have names with backslashes where there should be groups.
func index(o *hdf5.Object, into map[string]*hdf5.Object, depth int) error {
	names, err := o.Names()
	if err != nil {
		return err
	}
	if depth == 0 || len(into) > maxPaths {
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
			into[strings.TrimPrefix(path, "_layer_checkpoint_dependencies/")] = c
			continue
		}
		if err := index(c, into, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// distribute gives the layers their weights. Their folders are named by class and number, not by the layers' own names.
func distribute(all []*layer, found map[string]*hdf5.Object) error {
	count := map[string]int{}
	for _, l := range all {
		folder := snake(l.class)
		n := count[folder]
		count[folder]++
		if n > 0 {
			folder = fmt.Sprintf("%s_%d", folder, n)
		}
		for _, inner := range []string{"", "cell/", "layer/", "forward_layer/cell/", "forward_layer/", "backward_layer/cell/", "backward_layer/"} {
			for _, top := range []string{"layers/", ""} {
				if err := l.collect(found, top+folder+"/"+inner+"vars/"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (l *layer) collect(found map[string]*hdf5.Object, prefix string) error {
	for i := 0; ; i++ {
		d := found[fmt.Sprint(prefix, i)]
		if d == nil {
			return nil
		}
		t, err := d.Tensor()
		if err != nil {
			return err
		}
		l.weights = append(l.weights, t)
	}
}

// snake turns a class name into a folder's: LSTM, SimpleRNN and GlobalMaxPooling1D become lstm, simple_rnn and global_max_pooling1d.
func snake(class string) string {
	var out []byte
	upper := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' }
	for i := range len(class) {
		c := class[i]
		if i > 0 && upper(c) && (!upper(class[i-1]) || i+1 < len(class) && lower(class[i+1])) {
			out = append(out, '_')
		}
		if upper(c) {
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}
