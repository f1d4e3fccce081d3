// Package conformance runs models on recorded input and holds what comes out against recorded output.
//
// A case passes if every output of the model can be computed and is right. Inputs beyond the one that varies are constants of the case,
// and are put into the graph as such; where they differ between the sequences of a batch, every sequence gets a graph of its own.
package conformance

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/recur-go/recur/tools/internal/lower"
)

// Status is how a case, or one of its outputs, ended.
type Status string

// Unsupported is a model that is well formed but beyond what a .recur file can say.
const (
	Passed      Status = "passed"
	Failed      Status = "failed"
	Unsupported Status = "unsupported"
)

// Result is the result of a case.
type Result struct {
	Case    string   `json:"case"`
	Status  Status   `json:"status"`
	Worst   float64  `json:"worst_error"`       // over the outputs that were compared
	Chaotic bool     `json:"chaotic,omitempty"` // checked to be finite and in range, not compared
	Reason  string   `json:"reason,omitempty"`
	Outputs []Output `json:"outputs,omitempty"`
}

// Output is the result of one output of a model.
type Output struct {
	Name   string  `json:"name"`
	Status Status  `json:"status"`
	Worst  float64 `json:"worst_error"`
	Reason string  `json:"reason,omitempty"`
}

// Tolerance allows an error of Atol, or of Rtol times the reference, whichever is more.
type Tolerance struct{ Atol, Rtol float64 }

// Options vary a run. A tolerance below zero is that of the case's layout.
type Options struct{ Tolerance }

// Run runs a case.
func (c *Case) Run(o Options) Result {
	r := Result{Case: c.Name, Chaotic: strings.Contains(c.Name, "saturate")}
	outputs, err := c.run(checker{o, r.Chaotic})
	if err != nil {
		r.Status, r.Reason = classify(err), err.Error()
		return r
	}
	r.Outputs = outputs
	r.Status = Passed
	for _, x := range outputs {
		r.Worst = math.Max(r.Worst, x.Worst)
		if x.Status == Failed && r.Status != Failed || x.Status == Unsupported && r.Status == Passed {
			r.Status, r.Reason = x.Status, fmt.Sprintf("output %s: %s", x.Name, x.Reason)
		}
	}
	return r
}

// Right counts the outputs that passed.
func (r *Result) Right() (n int) {
	for _, x := range r.Outputs {
		if x.Status == Passed {
			n++
		}
	}
	return n
}

func classify(err error) Status {
	if u := (*lower.Unsupported)(nil); errors.As(err, &u) {
		return Unsupported
	}
	return Failed
}

func unsupported(f string, args ...any) error {
	return &lower.Unsupported{Why: fmt.Sprintf(f, args...)}
}

// checker compares results with references.
type checker struct {
	Options
	chaotic bool
}

// or is the tolerance that was asked for, and that of the layout for what was not.
func (c checker) or(t Tolerance) Tolerance {
	if c.Atol >= 0 {
		t.Atol = c.Atol
	}
	if c.Rtol >= 0 {
		t.Rtol = c.Rtol
	}
	return t
}

// infinite is what stands for infinity: results of a session are finite, and so are the constants of a file.
const infinite = 0x1p60

// given reports whether a tolerance was asked for.
func (c checker) given() bool { return c.Atol >= 0 || c.Rtol >= 0 }

// compare returns the largest error, and an error if one is beyond the tolerance.
func (c checker) compare(got, want []float32, t Tolerance) (worst float64, err error) {
	if len(got) != len(want) {
		return 0, fmt.Errorf("%d values, want %d", len(got), len(want))
	}
	if c.chaotic {
		return 0, inRange(got, want)
	}
	t = c.or(t)
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) || math.IsInf(w, 0) && g*math.Copysign(1, w) >= infinite {
			continue
		}
		d := math.Abs(g - w)
		if err == nil && (math.IsInf(w, 0) || !(d <= math.Max(t.Atol, t.Rtol*math.Abs(w)))) {
			err = fmt.Errorf("value %d is %v, want %v", i, got[i], want[i])
		}
		if d > worst && !math.IsInf(d, 0) {
			worst = d
		}
	}
	return worst, err
}

// inRange holds values to [-1, 1], or to what the reference reaches.
func inRange(got, want []float32) error {
	limit := 1.0
	for _, w := range want {
		limit = math.Max(limit, math.Abs(float64(w)))
	}
	for i, g := range got {
		if !(math.Abs(float64(g)) <= limit) {
			return fmt.Errorf("value %d is %v, out of range ±%v", i, g, limit)
		}
	}
	return nil
}

// output is the result of comparing one output over some sets of arrays.
func (o *Output) add(worst float64, err error) {
	o.Worst = math.Max(o.Worst, worst)
	if err != nil && o.Status == Passed {
		o.Status, o.Reason = classify(err), err.Error()
	}
}
