package gesture

import (
	"errors"
	"fmt"

	"github.com/recur-go/recur/runtime"
)

// Classifier names gestures that are already cut out of a recording. It belongs to one goroutine.
type Classifier struct {
	model   *runtime.Model
	session *runtime.Session
	labels  []string
	scale   scale
	rest    int // rows at the beginning whose mean is the resting level
	x, p    []float32
}

// NewClassifier makes a classifier for a model with one output for the sequence.
func NewClassifier(m *runtime.Model) (*Classifier, error) {
	f := m.File()
	switch {
	case m.PerStep():
		return nil, errors.New("the model has one output a sample, want one for the sequence")
	case len(f.Labels) == 0:
		return nil, errors.New("the model has no labels")
	}
	if err := checkLabels(f.Labels); err != nil {
		return nil, err
	}
	meta := newMeta(f)
	c := &Classifier{
		model:   m,
		session: m.NewSession(),
		labels:  f.Labels,
		scale:   meta.scale(m.InputWidth()),
		rest:    meta.count("rest_rows", 1, maxRows),
		p:       make([]float32, m.OutputWidth()),
	}
	return c, meta.end()
}

// Classify names the gesture in T samples, row after row, and says how sure the network is, from 0 to 1. The gesture must begin at
// rest. Classify allocates where the gesture is longer than all before.
func (c *Classifier) Classify(rows []float32) (label string, confidence float32, err error) {
	in := c.model.InputWidth()
	n := len(rows) / in
	if n < c.rest || n*in != len(rows) {
		return "", 0, fmt.Errorf("gesture of %d values: want %d or more samples of %d", len(rows), c.rest, in)
	}
	for t := range n {
		if err := checkSample(rows[t*in:][:in], c.model); err != nil {
			return "", 0, fmt.Errorf("sample %d: %w", t, err)
		}
	}
	c.normalise(rows, n, in)
	c.session.Reset()
	if err := c.session.Run(c.x, c.p); err != nil {
		return "", 0, err
	}
	best := 0
	for k, v := range c.p {
		if v > c.p[best] {
			best = k
		}
	}
	return c.labels[best], c.p[best], nil
}

// normalise writes to c.x the distance of each reading from its channel's resting level.
func (c *Classifier) normalise(rows []float32, n, in int) {
	c.x = append(c.x[:0], rows...)
	for k := range in {
		level := restLevel(rows, k, in, c.rest)
		for t := range n {
			c.x[t*in+k] = c.scale.apply(k, rows[t*in+k]-level)
		}
	}
}
