package quant

import (
	"fmt"
	"math"
	"slices"

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
		if g.Ops[i].products() {
			ranges[i] = g.Ops[i].limits(in, outputs[i])
		}
		return outputs[i]
	})
	return ranges, nil
}

// limits is what Build wants to know of an operation's input: the magnitude of each column of its matrix, and then, where the hidden state
// has no bound of its own, that of each unit.
func (op *Op) limits(in, out []float32) []float32 {
	switch {
	case op.Kind == format.Conv:
		w, err := format.ParseWindow(op.Dims)
		if err != nil {
			return nil
		}
		_, _, kernel := w.Points()
		return slices.Repeat(floored(most(in, w.Channels)), kernel)
	case op.Kind == format.Dense:
		return floored(most(in, len(in)/op.Blocks()))
	}
	x := floored(most(in[:op.In[0].Width], op.In[0].Width/max(op.Blocks(), 1)))
	if op.bounded() {
		return x
	}
	n := max(op.Blocks(), 1) * op.Hidden
	h := append(slices.Clone(out[:n]), in[op.In[0].Width:min(len(in), op.In[0].Width+op.Hidden)]...)
	return append(x, floored(most(h, op.Hidden))...)
}

// most folds rows of the given width to the largest of each column.
func most(v []float32, width int) []float32 {
	out := make([]float32, width)
	widen(out, v)
	return out
}

// walkRanges calls f for each operation with the magnitudes of what it reads, its inputs side by side; f returns those of what it writes.
func walkRanges(g *Graph, input []float32, f func(op int, in []float32) []float32) {
	values := make([][]float32, len(g.Values))
	for i, v := range g.Values {
		values[i] = make([]float32, v.Width)
	}
	copy(values[0], input)
	for i := range g.Ops {
		var x []float32
		for _, in := range g.Ops[i].In {
			x = append(x, values[in.Value][in.Offset:][:in.Width]...)
		}
		out := g.Ops[i].Out
		if y := f(i, x); g.Ops[i].Kind != format.Store {
			copy(values[out.Value][out.Offset:][:out.Width], y)
		}
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
					out[k] = abs(op.B[k%len(op.B)])
				}
				width := len(in) / op.Blocks()
				rows := len(out) / op.Blocks()
				for c, r := range in[k/rows*width:][:width] {
					out[k] += abs(op.W[k%rows*width+c]) * r
				}
			case format.ReLU, format.Last, format.First, format.Mean, format.Max, format.Abs, format.LeakyReLU:
				out[k] = in[k]
			case format.LogSoftmax:
				out[k] = float32(math.Log(float64(len(in)))) + 2*in[k]
			case format.Gather:
				out[k] = in[op.Index[k]]
			case format.Const:
				out[k] = abs(op.B[k])
			case format.Add, format.Sub:
				out[k] = in[k%op.In[0].Width] + in[op.In[0].Width+k%op.In[1].Width]
			case format.Mul:
				out[k] = in[k%op.In[0].Width] * in[op.In[0].Width+k%op.In[1].Width]
			case format.Clip:
				out[k] = max(abs(op.Params[0]), abs(op.Params[1]))
			case format.Store:
			case format.Sigmoid, format.Tanh, format.Softmax, format.Less, format.Equal, format.HardSigmoid, format.Softsign, format.Erf,
				format.LSTM, format.GRU, format.RNN:
				out[k] = 1
			default:
				if err == nil {
					err = fmt.Errorf("operation %d (%v %q): its output has no bound of its own: give calibration data", i, op.Kind, op.Name)
				}
			}
		}
		if op.Kind.Recurrent() && (!op.bounded() || op.Flags&format.FlagCell != 0) && err == nil {
			err = fmt.Errorf("operation %d (%v %q): its state has no bound of its own: give calibration data", i, op.Kind, op.Name)
		}
		outputs[i] = out
		return out
	})
	return outputs, err
}

func abs(v float32) float32 { return max(v, -v) }
