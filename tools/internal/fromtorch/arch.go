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
	Steps  int      `json:"steps,omitempty"`
	Layers []Layer  `json:"layers"`
	Ignore []string `json:"ignore,omitempty"`
}

// Layer is one step of a network. Fields are named as PyTorch names the arguments of its modules.
type Layer struct {
	Type          string    `json:"type"`
	Weights       *string   `json:"weights,omitempty"`
	Output        string    `json:"output,omitempty"`
	H0            string    `json:"h0,omitempty"`
	C0            string    `json:"c0,omitempty"`
	Nonlinearity  string    `json:"nonlinearity,omitempty"`
	Eps           float64   `json:"eps,omitempty"`
	KernelSize    int       `json:"kernel_size,omitempty"`
	Stride        int       `json:"stride,omitempty"`
	Padding       Padding   `json:"padding,omitzero"`
	Dilation      int       `json:"dilation,omitempty"`
	Groups        int       `json:"groups,omitempty"`
	CeilMode      bool      `json:"ceil_mode,omitempty"`
	Order         string    `json:"order,omitempty"`
	Alpha         *float32  `json:"alpha,omitempty"`
	NegativeSlope *float32  `json:"negative_slope,omitempty"`
	MinVal        *float32  `json:"min_val,omitempty"`
	MaxVal        *float32  `json:"max_val,omitempty"`
	Approximate   string    `json:"approximate,omitempty"`
	Scale         []float32 `json:"scale,omitempty"`
	Shift         []float32 `json:"shift,omitempty"`
	Note          string    `json:"note,omitempty"`
}

// Padding is a number of points at either end, or "same": as many as keep the length.
type Padding struct {
	N    int
	Same bool
}

// MarshalJSON writes a number or "same".
func (p Padding) MarshalJSON() ([]byte, error) {
	if p.Same {
		return []byte(`"same"`), nil
	}
	return json.Marshal(p.N)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (p *Padding) UnmarshalJSON(b []byte) error {
	if p.Same = string(b) == `"same"`; p.Same {
		return nil
	}
	return json.Unmarshal(b, &p.N)
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
	case a.Steps < 0:
		return nil, fmt.Errorf("architecture: %d steps", a.Steps)
	}
	return a, nil
}

// Recurrent reports whether l steps through time with a state.
func (l *Layer) Recurrent() bool { return l.Type == "lstm" || l.Type == "gru" || l.Type == "rnn" }

// Guessed reports whether the note says that Describe could not know.
func (l *Layer) Guessed() bool {
	return strings.Contains(l.Note, "guessed") || strings.Contains(l.Note, "not known")
}

// Guesses lists the notes of what Describe could not know, with the layers they are of.
func (a *Arch) Guesses() (out []string) {
	if a.Note != "" {
		out = append(out, a.Note)
	}
	for i, l := range a.Layers {
		if l.Guessed() {
			out = append(out, fmt.Sprintf("layer %d (%s): %s", i+1, l.Type, l.Note))
		}
	}
	return out
}
