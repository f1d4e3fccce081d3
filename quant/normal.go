package quant

import (
	"slices"

	"github.com/recur-go/recur/runtime/format"
)

// RangeSource is where the magnitude of the input is known from.
type RangeSource uint8

// The sources, of which the first that there is counts.
const (
	UnknownRange       RangeSource = iota
	RangeOfCalibration             // Options.Calib
	RangeGiven                     // Options.Range
	RangeOfModel                   // Graph.Range, or what the model clips its input to, as it does where it quantises it
	RangeOfNormalisation
)

func (s RangeSource) String() string {
	return [...]string{"unknown", "calibration data", "a bound that was given", "the model, which quantises or limits its input", "the normalisation at the model's start"}[s]
}

// RangeSource says where the int8 schemes get the range of the input from.
func (o *Options) RangeSource(g *Graph) RangeSource {
	switch {
	case len(o.Calib) > 0:
		return RangeOfCalibration
	case o.Range > 0:
		return RangeGiven
	case g.Range != nil || g.limited():
		return RangeOfModel
	case g.normalisation() > 0:
		return RangeOfNormalisation
	}
	return UnknownRange
}

// limited reports whether what weights multiply has a bound whatever the input.
func (g *Graph) limited() bool {
	for i, b := range boundRanges(g, g.inputRange(), 0) {
		if g.Ops[i].products() && slices.Contains(b, unbounded) {
			return false
		}
	}
	return true
}

// inputRange is what the model says of each input channel.
func (g *Graph) inputRange() []float32 {
	if g.Range != nil {
		return g.Range
	}
	return filled(unbounded, g.Values[0].Width)
}

// normalises reports whether an operation scales and shifts input channels.
func (op *Op) normalises() bool {
	return op.Kind == format.Affine && op.In[0].Value == 0 &&
		(slices.ContainsFunc(op.Scale, func(v float32) bool { return v != 1 }) || slices.ContainsFunc(op.Shift, func(v float32) bool { return v != 0 }))
}

// normalisation is the magnitude that the input has after a normalisation which is all that reads it, or 0 without one: 1 after one that is
// the same for all channels, as from pixels or raw integers to [-1, 1], and 4 standard deviations after one by channel.
func (g *Graph) normalisation() float32 {
	var scale, shift []float32
	for i := range g.Ops {
		op := &g.Ops[i]
		for _, in := range op.In {
			if in.Value != 0 {
				continue
			}
			if !op.normalises() {
				return 0
			}
			scale, shift = append(scale, op.Scale...), append(shift, op.Shift...)
		}
	}
	switch {
	case scale == nil:
		return 0
	case len(scale) > 1 && uniform(scale) && uniform(shift):
		return 1
	}
	return 4
}

func uniform(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return x != v[0] })
}
