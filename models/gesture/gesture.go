// Package gesture finds and names hand gestures in the samples of inertial sensors: a Spotter finds them in a stream as they happen, a
// Classifier names one that is already cut out. MODEL_CARD.md says what the two embedded networks were trained on, how well they do and
// where they fail.
//
// Their sample is the acceleration of a finger in m/s², x, y and z, 31.25 times a second. Other models bring other channels and rates:
// they are in the model's file.
package gesture

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/models/internal/embedded"
	"github.com/recur-go/recur/runtime"
)

//go:embed stream.recur
var streamFile []byte

//go:embed blstm.recur
var blstmFile []byte

var stream, blstm embedded.Model

// Stream returns the one-way network, for NewSpotter. It is loaded once.
func Stream() (*runtime.Model, error) { return stream.Load("stream.recur", streamFile) }

// BLSTM returns the two-way network, for NewClassifier. It is loaded once.
func BLSTM() (*runtime.Model, error) { return blstm.Load("blstm.recur", blstmFile) }

// Channels returns the names of a model's input channels, in order.
func Channels(m *runtime.Model) []string {
	var names []string
	for _, c := range m.File().Input.Channels {
		names = append(names, c.Name)
	}
	return names
}

// InputError is a sample that cannot be used.
type InputError struct {
	Line   int    // of a CSV file, from 1; 0 elsewhere
	Column int    // from 1: the channels, then the time
	Name   string // of the column
	Reason string
}

func (e *InputError) Error() string {
	s := fmt.Sprintf("column %d (%s): %s", e.Column, e.Name, e.Reason)
	if e.Line > 0 {
		s = fmt.Sprintf("line %d, %s", e.Line, s)
	}
	return s
}

// maxCount is where float32 stops holding every integer.
const maxCount = 1 << 24

func checkSample(sample []float32, m *runtime.Model) error {
	channels := m.File().Input.Channels
	if len(sample) != len(channels) {
		return fmt.Errorf("sample of %d values, want %d", len(sample), len(channels))
	}
	for k, v := range sample {
		if !(v >= -maxCount && v <= maxCount) {
			return &InputError{Column: k + 1, Name: channels[k].Name, Reason: fmt.Sprintf("%v is no sensor reading", v)}
		}
	}
	return nil
}

// checkLabels refuses labels that would break a line of output.
func checkLabels(labels []string) error {
	for i, l := range labels {
		if l == "" || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("label %d is %q: want printable text", i, l)
		}
		if slices.Contains(labels[:i], l) {
			return fmt.Errorf("label %q occurs twice", l)
		}
	}
	return nil
}
