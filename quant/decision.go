package quant

import (
	"math"
	"sort"

	"github.com/recur-go/recur/runtime/format"
)

// Decision is what a network's output is taken for.
type Decision uint8

// NoDecision is that of outputs that are no classes: the largest channel counts as for Largest, for what it is worth.
const (
	NoDecision Decision = iota
	Largest             // the largest channel, of a softmax
	Above               // which channels are above one half, of sigmoids
)

// DecisionOf says what the output of a network decides: a softmax or sigmoid at its end, or one that is then pooled over time.
func DecisionOf(f *format.File) Decision {
	at := f.Output
	for i := len(f.Ops) - 1; i >= 0; i-- {
		op := &f.Ops[i]
		switch {
		case op.Out.Value != at:
		case op.Kind == format.Softmax || op.Kind == format.LogSoftmax:
			return Largest
		case op.Kind == format.Sigmoid:
			return Above
		case op.Kind.Pooling() || op.Kind == format.Gather:
			at = op.In[0].Value
		default:
			return NoDecision
		}
	}
	return NoDecision
}

func (d Decision) changed(ref, got []float32) bool {
	if d != Above {
		return argmax(ref) != argmax(got)
	}
	for i, r := range ref {
		if (r > 0.5) != (got[i] > 0.5) {
			return true
		}
	}
	return false
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

// decisions are those of the float model on some data.
type decisions struct {
	kind  Decision
	log   bool      // leads are of probabilities, and taken of their logarithms, where errors depend less on them
	leads []float64 // sorted
}

func decisionsOf(f *format.File) decisions {
	d := decisions{kind: DecisionOf(f)}
	for i := range f.Ops {
		d.log = d.log || d.kind == Largest && f.Ops[i].Kind == format.Softmax
	}
	return d
}

// refer adds what a vector of the float model decides.
func (d *decisions) refer(ref []float32) {
	if d.kind != Above {
		first, second := topTwo(ref)
		d.leads = append(d.leads, d.lead(ref, first, second))
		return
	}
	for i := range ref {
		d.leads = append(d.leads, math.Abs(logit(ref[i])))
	}
}

// lead is that of one channel over another.
func (d *decisions) lead(y []float32, first, second int) float64 {
	a, b := float64(y[first]), float64(y[second])
	if d.log {
		return math.Log(math.Max(a, tiny)) - math.Log(math.Max(b, tiny))
	}
	return a - b
}

const tiny = 1e-30

func logit(p float32) float64 {
	return math.Log(math.Max(float64(p), tiny)) - math.Log(math.Max(1-float64(p), tiny))
}

// likely is the share of decisions that the error of one would change, half of what its size could.
func (d *decisions) likely(ref, got []float32) float64 {
	if d.kind != Above {
		if len(ref) == 1 {
			return 0
		}
		first, second := topTwo(ref)
		return d.reach(d.lead(got, first, second) - d.lead(ref, first, second))
	}
	sum := 0.0
	for i := range ref {
		sum += d.reach(logit(got[i]) - logit(ref[i]))
	}
	return sum
}

func (d *decisions) reach(err float64) float64 {
	return 0.5 * float64(sort.SearchFloat64s(d.leads, math.Abs(err))) / float64(len(d.leads))
}

// topTwo are the largest channel and the next, the same of a single one.
func topTwo(y []float32) (first, second int) {
	first = argmax(y)
	for i, v := range y {
		if i != first && (second == first || v > y[second]) {
			second = i
		}
	}
	return first, second
}
