package fromkeras

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/recur-go/recur/tools/internal/hdf5"
	"github.com/recur-go/recur/tools/internal/stored"
)

// Model is a saved Keras model: its layers with their weights.
type Model struct {
	version string
	top     *layer
	size    int // of the file
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
	m := &Model{}
	if m.top, err = parseModel([]byte(text[0])); err != nil {
		return nil, err
	}
	group, err := root.Child("model_weights")
	if err != nil || group == nil {
		return nil, errors.Join(errors.New("the file lacks model_weights"), err)
	}
	for _, l := range m.top.graph.layers {
		all, err := layerWeights(group, l.name)
		if err != nil {
			return nil, err
		}
		l.deal(all)
	}
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
	m := &Model{}
	if m.top, err = parseModel(text); err != nil {
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
	s := &store{paths: map[string]*hdf5.Object{}}
	if err := s.index(root, maxDepth); err != nil {
		return nil, err
	}
	if err := s.give(m.top, ""); err != nil {
		return nil, err
	}
	var meta struct {
		Version string `json:"keras_version"`
	}
	if text, err := a.Read("metadata.json"); err == nil && json.Unmarshal(text, &meta) == nil {
		m.version = meta.Version
	}
	return m, nil
}
