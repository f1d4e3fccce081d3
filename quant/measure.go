package quant

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/runtime"
)

// Error accumulates the difference between reference values and others.
type Error struct {
	n              int
	signal, noise  float64
	sumAbs, maxAbs float64
}

// Add compares two slices of equal length.
func (e *Error) Add(ref, got []float32) {
	for i, r := range ref {
		d := math.Abs(float64(got[i]) - float64(r))
		e.n++
		e.signal += float64(r) * float64(r)
		e.noise += d * d
		e.sumAbs += d
		e.maxAbs = math.Max(e.maxAbs, d)
	}
}

// SQNR is the signal to quantisation noise ratio in dB: 10 log10(Σ ref² / Σ (ref-got)²); +Inf where nothing differs.
func (e *Error) SQNR() float64 {
	if e.noise == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(e.signal/e.noise)
}

// Max is the largest absolute error.
func (e *Error) Max() float64 { return e.maxAbs }

// Mean is the mean absolute error.
func (e *Error) Mean() float64 {
	if e.n == 0 {
		return 0
	}
	return e.sumAbs / float64(e.n)
}

// Comparison is how a model differs from a reference with the same operations.
type Comparison struct {
	Ops    []Error // by operation
	Steps  []Error // of the output by time step, over all sequences; one where the output is per sequence
	Output Error
	// Decisions counts the output vectors, Changed those whose largest channel differs.
	Decisions, Changed int
}

// Compare runs two models of the same network, such as one in f32 and one in w8a8, over sequences of T rows of features each.
func Compare(ref, got *runtime.Model, seqs [][]float32) (*Comparison, error) {
	a, b := ref.File(), got.File()
	if len(a.Ops) != len(b.Ops) {
		return nil, fmt.Errorf("%d operations against %d: not the same network", len(a.Ops), len(b.Ops))
	}
	for i := range a.Ops {
		if a.Ops[i].Kind != b.Ops[i].Kind || a.Ops[i].Out != b.Ops[i].Out {
			return nil, fmt.Errorf("operation %d is %v %q in one and %v %q in the other: not the same network",
				i, a.Ops[i].Kind, a.Ops[i].Name, b.Ops[i].Kind, b.Ops[i].Name)
		}
	}
	if a.Output != b.Output || ref.InputWidth() != got.InputWidth() {
		return nil, errors.New("inputs or outputs differ: not the same network")
	}
	c := &Comparison{Ops: make([]Error, len(a.Ops))}
	for i, x := range seqs {
		if err := c.add(ref, got, x); err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	return c, nil
}

func (c *Comparison) add(ref, got *runtime.Model, x []float32) error {
	ya, ta, err := trace(ref, x)
	if err != nil {
		return err
	}
	yb, tb, err := trace(got, x)
	if err != nil {
		return err
	}
	for i := range ta {
		c.Ops[i].Add(ta[i], tb[i])
	}
	w := ref.OutputWidth()
	for t := 0; t*w < len(ya); t++ {
		a, b := ya[t*w:][:w], yb[t*w:][:w]
		if t == len(c.Steps) {
			c.Steps = append(c.Steps, Error{})
		}
		c.Steps[t].Add(a, b)
		c.Output.Add(a, b)
		c.Decisions++
		if argmax(a) != argmax(b) {
			c.Changed++
		}
	}
	return nil
}

// trace runs a sequence and returns the output and what each operation wrote in the end: all its steps, or its one vector.
func trace(m *runtime.Model, x []float32) (y []float32, ops [][]float32, err error) {
	rows := 1
	if m.PerStep() {
		rows = len(x) / m.InputWidth()
	}
	y = make([]float32, rows*m.OutputWidth())
	ops = make([][]float32, len(m.File().Ops))
	s := m.NewSession()
	f := m.File()
	s.SetTap(func(op, t, n int, v []float32) {
		if !f.Values[f.Ops[op].Out.Value].PerStep {
			ops[op] = ops[op][:0]
		}
		ops[op] = append(ops[op], v...)
	})
	return y, ops, s.Run(x, y)
}

func argmax(x []float32) int {
	m := 0
	for i, v := range x {
		if v > x[m] {
			m = i
		}
	}
	return m
}
