package fromtorch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Arch says what the modules of a network are and in which order they run, which a state dict does not. docs/import.md explains it.
type Arch struct {
	Note   string   `json:"note,omitempty"`
	Root   string   `json:"root,omitempty"`
	Layers []Layer  `json:"layers"`
	Ignore []string `json:"ignore,omitempty"`
}

// Layer is one step of a network.
type Layer struct {
	Type         string    `json:"type"`
	Weights      *string   `json:"weights,omitempty"`
	Output       string    `json:"output,omitempty"`
	Nonlinearity string    `json:"nonlinearity,omitempty"`
	Eps          float64   `json:"eps,omitempty"`
	Scale        []float32 `json:"scale,omitempty"`
	Shift        []float32 `json:"shift,omitempty"`
	Note         string    `json:"note,omitempty"`
}

const maxLayers = 1 << 10

// Parse reads a description.
func Parse(b []byte) (*Arch, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	a := &Arch{}
	err := d.Decode(a)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more than one value")
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("architecture: %w", err)
	case len(a.Layers) == 0 || len(a.Layers) > maxLayers:
		return nil, fmt.Errorf("architecture: %d layers", len(a.Layers))
	}
	return a, nil
}

// Guesses lists the notes of what Describe could not know, with the layers they are of.
func (a *Arch) Guesses() (out []string) {
	if a.Note != "" {
		out = append(out, a.Note)
	}
	for i, l := range a.Layers {
		if strings.Contains(l.Note, "guessed") || strings.Contains(l.Note, "not known") {
			out = append(out, fmt.Sprintf("layer %d (%s): %s", i+1, l.Type, l.Note))
		}
	}
	return out
}
