package quant

import (
	"fmt"
	"math"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// minShare is the smallest range of a channel relative to the widest of the same operation: a channel that hardly moves in the
// calibration data may move later, and resolution beyond that of its neighbours buys nothing.
const minShare = 1.0 / 64

// inputRanges returns, for each operation with weights, the magnitude of each channel that it reads. For an RNN with ReLU, whose
// hidden state has no bound of its own, those of the hidden state follow.
func inputRanges(g *Graph, o Options) ([][]float32, error) {
	var outputs [][]float32
	var input []float32
	var err error
	switch {
	case len(o.Calib) > 0:
		input, outputs, err = measureRanges(g, o.Calib)
	case o.Range > 0:
		input = filled(o.Range, g.Values[0].Width)
		outputs, err = boundRanges(g, input)
	default:
		err = ErrRange
	}
	if err != nil {
		return nil, err
	}
	ranges := make([][]float32, len(g.Ops))
	walkRanges(g, input, func(i int, in []float32) []float32 {
		if g.Ops[i].Flags&format.FlagReLU != 0 {
			in = append(floored(in), floored(outputs[i])...)
		} else {
			in = floored(in)
		}
		ranges[i] = in
		return outputs[i]
	})
	return ranges, nil
}

// walkRanges calls f for each operation with the magnitudes of what it reads; f returns those of what it writes.
func walkRanges(g *Graph, input []float32, f func(op int, in []float32) []float32) {
	values := make([][]float32, len(g.Values))
	for i, v := range g.Values {
		values[i] = make([]float32, v.Width)
	}
	copy(values[0], input)
	for i := range g.Ops {
		in, out := g.Ops[i].In[0], g.Ops[i].Out
		x := append([]float32(nil), values[in.Value][in.Offset:][:in.Width]...)
		copy(values[out.Value][out.Offset:][:out.Width], f(i, x))
	}
}

func floored(r []float32) []float32 {
	var most float32
	for _, v := range r {
		most = max(most, v)
	}
	if most == 0 {
		most = 1
	}
	out := make([]float32, len(r))
	for i, v := range r {
		out[i] = max(v, most*minShare)
	}
	return out
}

// measureRanges runs the graph in float over the calibration data.
func measureRanges(g *Graph, calib [][]float32) (input []float32, outputs [][]float32, err error) {
	f, err := Build(g, Options{})
	if err != nil {
		return nil, nil, err
	}
	m, err := runtime.New(f)
	if err != nil {
		return nil, nil, err
	}
	input = make([]float32, m.InputWidth())
	outputs = make([][]float32, len(g.Ops))
	for i := range g.Ops {
		outputs[i] = make([]float32, g.Ops[i].Out.Width)
	}
	rows := 1
	session := m.NewSession()
	session.SetTap(func(op, _, _ int, y []float32) { widen(outputs[op], y) })
	for i, x := range calib {
		if m.PerStep() {
			rows = len(x) / len(input)
		}
		session.Reset()
		if err := session.Run(x, make([]float32, rows*m.OutputWidth())); err != nil {
			return nil, nil, fmt.Errorf("calibration sequence %d: %w", i, err)
		}
		widen(input, x)
	}
	return input, outputs, nil
}

func widen(r, rows []float32) {
	for i, v := range rows {
		k := i % len(r)
		r[k] = max(r[k], float32(math.Abs(float64(v))))
	}
}

// boundRanges bounds what each operation writes by interval arithmetic.
func boundRanges(g *Graph, input []float32) (outputs [][]float32, err error) {
	outputs = make([][]float32, len(g.Ops))
	walkRanges(g, input, func(i int, in []float32) []float32 {
		op := &g.Ops[i]
		out := make([]float32, op.Out.Width)
		for k := range out {
			switch op.Kind {
			case format.Affine:
				out[k] = abs(op.Scale[k])*in[k] + abs(op.Shift[k])
			case format.Dense:
				if op.B != nil {
					out[k] = abs(op.B[k])
				}
				for c, r := range in {
					out[k] += abs(op.W[k*len(in)+c]) * r
				}
			case format.ReLU, format.Last, format.First, format.Mean, format.Max:
				out[k] = in[k]
			case format.LogSoftmax:
				out[k] = float32(math.Log(float64(len(in)))) + 2*in[k]
			default:
				out[k] = 1
			}
		}
		if op.Flags&format.FlagReLU != 0 && err == nil {
			err = fmt.Errorf("operation %d (%v %q): the hidden state of a ReLU cell has no bound: give calibration data", i, op.Kind, op.Name)
		}
		outputs[i] = out
		return out
	})
	return outputs, err
}

func abs(v float32) float32 { return max(v, -v) }
