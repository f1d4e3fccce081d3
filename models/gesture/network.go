package gesture

import (
	"fmt"

	"github.com/recur-go/recur/runtime"
)

// NetworkInput returns what the network of a model sees of T samples, row after row, and which samples these are: all but those at rest that a
// motion gate spares it. They are a Spotter's from its beginning, or a Classifier's of one gesture.
func NetworkInput(m *runtime.Model, rows []float32) (x []float32, at []int, err error) {
	in := m.InputWidth()
	n := len(rows) / in
	if n == 0 || n*in != len(rows) {
		return nil, nil, fmt.Errorf("%d values: want samples of %d", len(rows), in)
	}
	for t := range n {
		if err := checkSample(rows[t*in:][:in], m); err != nil {
			return nil, nil, fmt.Errorf("sample %d: %w", t, err)
		}
	}
	if m.PerStep() {
		return streamInput(m, rows, n, in)
	}
	c, err := NewClassifier(m)
	if err != nil {
		return nil, nil, err
	}
	c.findLevel(nil, rows, in)
	c.normalise(rows, n, in)
	for t := range n {
		at = append(at, t)
	}
	return c.x, at, nil
}

func streamInput(m *runtime.Model, rows []float32, n, in int) (x []float32, at []int, err error) {
	s, err := NewSpotter(m)
	if err != nil {
		return nil, nil, err
	}
	for t := range n {
		s.input.next(s.x, rows[t*in:][:in])
		if s.gate.awake(s.x) {
			x, at = append(x, s.x...), append(at, t)
		}
	}
	return x, at, nil
}

// Delay is by how many samples the answers of a Spotter's model are late, and None its label that says that there is no gesture.
func Delay(m *runtime.Model) (delay int, none string, err error) {
	s, err := NewSpotter(m)
	if err != nil {
		return 0, "", err
	}
	return s.detect.delay, s.detect.labels[s.detect.none], nil
}

// Units returns for each channel of a model how much of it makes 1 at the network's input.
func Units(m *runtime.Model) ([]float32, error) {
	meta := newMeta(m.File())
	units := meta.floats("unit", m.InputWidth(), 1e-3, 1e6)
	return units, meta.err
}
