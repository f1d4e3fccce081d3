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
	alpha   float32 // by which the resting level follows the samples before the gesture
	level   []float32
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
		alpha:   meta.float("alpha", 0, 1),
		level:   make([]float32, m.InputWidth()),
		p:       make([]float32, m.OutputWidth()),
	}
	return c, meta.end()
}

// Classify names the gesture in T samples, row after row, and says how sure the network is, from 0 to 1. The gesture must begin at
// rest: its first sample is taken for the resting level. Classify allocates where the gesture is longer than all before.
func (c *Classifier) Classify(rows []float32) (label string, confidence float32, err error) {
	return c.ClassifyAfter(nil, rows)
}

// ClassifyAfter is told the samples before the gesture too, some seconds of them or all there are. They set the resting level.
func (c *Classifier) ClassifyAfter(before, rows []float32) (label string, confidence float32, err error) {
	in := c.model.InputWidth()
	n := len(rows) / in
	if n < 1 || n*in != len(rows) || len(before)%in != 0 {
		return "", 0, fmt.Errorf("gesture of %d values after %d: want samples of %d", len(rows), len(before), in)
	}
	for _, part := range [][]float32{before, rows} {
		for t := range len(part) / in {
			if err := checkSample(part[t*in:][:in], c.model); err != nil {
				return "", 0, fmt.Errorf("sample %d: %w", t, err)
			}
		}
	}
	c.findLevel(before, rows, in)
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

func (c *Classifier) findLevel(before, rows []float32, in int) {
	if len(before) == 0 {
		before = rows[:in]
	}
	copy(c.level, before)
	for i, v := range before {
		k := i % in
		c.level[k] += float32(c.alpha * (v - c.level[k]))
	}
}

// normalise writes to c.x the distance of each reading from its channel's resting level.
func (c *Classifier) normalise(rows []float32, n, in int) {
	c.x = append(c.x[:0], rows...)
	for k := range in {
		for t := range n {
			c.x[t*in+k] = c.scale.apply(k, rows[t*in+k]-c.level[k])
		}
	}
}
