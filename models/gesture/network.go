package gesture

import (
	"fmt"

	"github.com/recur-go/recur/runtime"
)

// NetworkInput returns what the network of a model sees of T samples, row after row: a Spotter's from its beginning, or a Classifier's.
func NetworkInput(m *runtime.Model, rows []float32) ([]float32, error) {
	in := m.InputWidth()
	n := len(rows) / in
	if n == 0 || n*in != len(rows) {
		return nil, fmt.Errorf("%d values: want samples of %d", len(rows), in)
	}
	for t := range n {
		if err := checkSample(rows[t*in:][:in], m); err != nil {
			return nil, fmt.Errorf("sample %d: %w", t, err)
		}
	}
	if m.PerStep() {
		return followed(m, rows, n, in)
	}
	c, err := NewClassifier(m)
	if err != nil {
		return nil, err
	}
	if n < c.rest {
		return nil, fmt.Errorf("%d samples: want %d or more", n, c.rest)
	}
	c.normalise(rows, n, in)
	return c.x, nil
}

func followed(m *runtime.Model, rows []float32, n, in int) ([]float32, error) {
	s, err := NewSpotter(m)
	if err != nil {
		return nil, err
	}
	x := make([]float32, n*in)
	for t := range n {
		s.input.next(x[t*in:][:in], rows[t*in:][:in])
	}
	return x, nil
}

// Delay is by how many samples the answers of a Spotter's model are late, and None its label that says that there is no gesture.
func Delay(m *runtime.Model) (delay int, none string, err error) {
	s, err := NewSpotter(m)
	if err != nil {
		return 0, "", err
	}
	return s.detect.delay, s.detect.labels[s.detect.none], nil
}
