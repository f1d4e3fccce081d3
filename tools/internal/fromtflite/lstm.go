package fromtflite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// lstmInputs says which inputs are the parts of an LSTM, by the first of each group; gates are in the order i f c o, and of the peepholes
// i f o. A projection is followed by its bias.
type lstmInputs struct{ w, u, peep, bias, proj, norm, h, c int }

var oneWay = lstmInputs{w: 1, u: 5, peep: 9, bias: 12, proj: 16, h: 18, c: 19, norm: 20}

// lstmWeights are nil where a part is left out.
type lstmWeights struct {
	w, u, bias, norm       [4][]float32
	peep                   [3][]float32
	proj, projBias         []float32
	inputs, units, outputs int
	cellClip, projClip     float32
	act                    tflite.Activation // of the candidate and the output
}

// Positions of the gates.
const (
	gateIn = iota
	gateForget
	gateCell
	gateOut
)

func (c *call) lstmWeights(in lstmInputs, inputs lower.Poly) (l *lstmWeights, err error) {
	l = &lstmWeights{}
	if l.w[gateForget], l.units, l.inputs, err = c.matrix(in.w+gateForget, 0, 0); err != nil {
		return nil, err
	}
	if l.u[gateForget], _, l.outputs, err = c.matrix(in.u+gateForget, l.units, 0); err != nil {
		return nil, err
	}
	if !inputs.Equal(lower.Int(int64(l.inputs))) {
		return nil, fmt.Errorf("%v channels for weights of %d columns", inputs, l.inputs)
	}
	for g := range 4 {
		if l.w[g], _, _, err = c.matrix(in.w+g, l.units, l.inputs); err != nil {
			return nil, err
		}
		if l.u[g], _, _, err = c.matrix(in.u+g, l.units, l.outputs); err != nil {
			return nil, err
		}
		if (l.w[g] == nil || l.u[g] == nil) && (g != gateIn || l.w[g] != nil || l.u[g] != nil) {
			return nil, errors.New("weights of a gate are missing")
		}
		if l.bias[g], err = c.vector(in.bias+g, l.units); err != nil {
			return nil, err
		}
		if in.norm > 0 {
			if l.norm[g], err = c.vector(in.norm+g, l.units); err != nil {
				return nil, err
			}
		}
		if g < 3 {
			if l.peep[g], err = c.vector(in.peep+g, l.units); err != nil {
				return nil, err
			}
		}
	}
	if l.proj, _, _, err = c.matrix(in.proj, l.outputs, l.units); err != nil {
		return nil, err
	}
	if l.projBias, err = c.vector(in.proj+1, l.outputs); err == nil && l.proj == nil && l.outputs != l.units {
		err = fmt.Errorf("%d outputs of %d units without a projection", l.outputs, l.units)
	}
	return l, err
}

// coupled reports whether the input gate is 1 - f.
func (l *lstmWeights) coupled() bool { return l.w[gateIn] == nil }

// cell is the LSTM as one of the runtime's, before its projection, or nil if it is no such.
//
// A projection without a bias goes into the recurrent matrix: U (P h) = (U P) h. A gate of 1 - σ(z) is σ(-z).
func (l *lstmWeights) cell() *quant.Op {
	act, ok := activations[l.act]
	normalised := slices.ContainsFunc(l.norm[:], func(v []float32) bool { return v != nil })
	if !ok || normalised || l.proj != nil && (l.projClip > 0 || !zero(l.projBias)) {
		return nil
	}
	op := &quant.Op{Kind: format.LSTM, Hidden: l.units, CellClip: max(l.cellClip, 0)}
	for g := range 4 {
		w, u, b, sign := l.w[g], l.u[g], l.bias[g], float32(1)
		if g == gateIn && l.coupled() {
			w, u, b, sign = l.w[gateForget], l.u[gateForget], l.bias[gateForget], -1
		}
		if l.proj != nil {
			u = product(u, l.proj, l.units, l.outputs, l.units)
		}
		op.W = append(op.W, scaled(w, sign, 0)...)
		op.U = append(op.U, scaled(u, sign, 0)...)
		op.B = append(op.B, scaled(b, sign, l.units)...)
	}
	if slices.ContainsFunc(l.peep[:], func(v []float32) bool { return v != nil }) {
		for g := range 3 {
			p, sign := l.peep[g], float32(1)
			if g == gateIn && l.coupled() {
				p, sign = l.peep[gateForget], -1
			}
			op.Peep = append(op.Peep, scaled(p, sign, l.units)...)
		}
	}
	if act != kernels.ActTanh {
		op.Acts, op.ActParams = functions(kernels.ActSigmoid, act, act)
	}
	return op
}

func zero(v []float32) bool { return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) }

// scaled is v times s; a nil v is n zeros.
func scaled(v []float32, s float32, n int) []float32 {
	out := make([]float32, max(len(v), n))
	for i, x := range v {
		out[i] = s * x
	}
	return out
}

// product is the matrix a, [rows, inner], times b, [inner, cols].
func product(a, b []float32, rows, inner, cols int) []float32 {
	out := make([]float32, rows*cols)
	sum := make([]float64, cols)
	for r := range rows {
		clear(sum)
		for k := range inner {
			f := float64(a[r*inner+k])
			for j, v := range b[k*cols:][:cols] {
				sum[j] += f * float64(v)
			}
		}
		for j, s := range sum {
			out[r*cols+j] = float32(s)
		}
	}
	return out
}

// lstmLayer runs the LSTM over x, [time, batch, channels].
func (c *call) lstmLayer(l *lstmWeights, in lstmInputs, x *lower.Tensor, reverse bool) (*lower.Tensor, error) {
	if l.act == tflite.None {
		return nil, unsupported("an LSTM without an activation, of which the reference kernels do not say what it shows of its cell state")
	}
	h, ownH, err := c.kept(in.h)
	if err != nil {
		return nil, err
	}
	m, ownC, err := c.kept(in.c)
	if err != nil {
		return nil, err
	}
	layer := &layer{cell: l.cell(), states: []*variable{h, m}, own: ownH && ownC, reverse: reverse,
		widths: []int64{int64(l.outputs), int64(l.units)},
		step: func(x *lower.Tensor, state []*lower.Tensor) (*lower.Tensor, []*lower.Tensor, error) {
			return l.step(c, x, state[0], state[1])
		}}
	if l.proj == nil || layer.cell == nil {
		return c.runLayer(layer, x)
	}
	layer.widths[0] = int64(l.units)
	y, err := c.runLayer(layer, x)
	if err != nil {
		return nil, err
	}
	return c.tr.Dense(y, l.proj, l.outputs, nil)
}

// step is a step of the LSTM in single operations.
func (l *lstmWeights) step(c *call, x, h, m *lower.Tensor) (y *lower.Tensor, state []*lower.Tensor, err error) {
	forget := l.gate(c, gateForget, x, h, m).unary(format.Sigmoid)
	var in *chain
	if l.coupled() {
		in = forget.copy().with(lower.Mul, -1).with(lower.Add, 1)
	} else {
		in = l.gate(c, gateIn, x, h, m).unary(format.Sigmoid)
	}
	candidate := l.gate(c, gateCell, x, h, m).activate(l.act)
	next := in.by(lower.Mul, candidate).by(lower.Add, forget.op(lower.Mul, m)).clip(l.cellClip)
	if next.err != nil {
		return nil, nil, next.err
	}
	out := l.gate(c, gateOut, x, h, next.t).unary(format.Sigmoid).by(lower.Mul, next.copy().activate(l.act))
	if l.proj != nil {
		out.dense(l.proj, l.outputs, l.projBias).clip(l.projClip)
	}
	return out.t, []*lower.Tensor{out.t, next.t}, out.err
}

// normEpsilon is that of the reference kernels.
const normEpsilon = 1e-8

// gate is the sum of a gate before its activation; m is the cell state that its peepholes see. A normalised sum gets its bias afterwards.
func (l *lstmWeights) gate(c *call, g int, x, h, m *lower.Tensor) *chain {
	norm, bias := l.norm[g], l.bias[g]
	if norm != nil {
		bias = nil
	}
	sum := c.from(x).dense(l.w[g], l.units, bias).by(lower.Add, c.from(h).dense(l.u[g], l.units, nil))
	if peep := l.peepholes(g); peep != nil {
		sum.by(lower.Add, c.from(m).scale(peep, nil))
	}
	if norm != nil {
		sum.normalise(normEpsilon).scale(norm, l.bias[g])
	}
	return sum
}

func (l *lstmWeights) peepholes(gate int) []float32 {
	switch gate {
	case gateIn, gateForget:
		return l.peep[gate]
	case gateOut:
		return l.peep[2]
	}
	return nil
}

func sequenceLSTM(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.SequenceLSTMOptions](c)
	if o.Diagonal {
		return nil, unsupported("recurrent weights given by their diagonals")
	}
	x, err := c.sequence(o.TimeMajor)
	if err != nil {
		return nil, err
	}
	l, err := c.lstmWeights(oneWay, x.Shape()[2])
	if err != nil {
		return nil, err
	}
	l.act, l.cellClip, l.projClip = o.Activation, o.CellClip, o.ProjClip
	y, err := c.lstmLayer(l, oneWay, x, false)
	return one(c.ordered(y, err, o.TimeMajor))
}

func bidirectionalLSTM(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.BidirectionalLSTMOptions](c)
	if err := c.without(39, 40, 41, 42, 43, 44, 45, 46, 47); err != nil {
		return nil, err
	}
	x, err := c.sequence(o.TimeMajor)
	if err != nil {
		return nil, err
	}
	var y [2]*lower.Tensor
	for d, in := range []lstmInputs{{w: 1, u: 5, peep: 9, bias: 12, proj: 16, h: 35, c: 36}, {w: 18, u: 22, peep: 26, bias: 29, proj: 33, h: 37, c: 38}} {
		l, err := c.lstmWeights(in, x.Shape()[2])
		if err != nil {
			return nil, err
		}
		l.act, l.cellClip, l.projClip = o.Activation, o.CellClip, o.ProjClip
		if y[d], err = c.lstmLayer(l, in, x, d == 1); err != nil {
			return nil, err
		}
	}
	return c.directions(y[0], y[1], o.TimeMajor, o.Merge)
}

// lstm is one step, over [batch, channels].
func lstm(c *call) ([]*lower.Tensor, error) {
	o := options[tflite.LSTMOptions](c)
	x, err := c.tr.Unsqueeze(c.in[0], []int64{0})
	if err != nil {
		return nil, err
	}
	if x.Rank() != 3 {
		return nil, fmt.Errorf("an input of %d dimensions, not 2", c.in[0].Rank())
	}
	if o.Basic {
		return c.basicLSTM(x)
	}
	l, err := c.lstmWeights(oneWay, x.Shape()[2])
	if err != nil {
		return nil, err
	}
	l.act, l.cellClip, l.projClip = o.Activation, o.CellClip, o.ProjClip
	y, err := c.lstmLayer(l, oneWay, x, false)
	if err != nil {
		return nil, err
	}
	return one(c.tr.Squeeze(y, []int64{0}))
}

// basicLSTM has the inputs x, h, weights, bias, c and the outputs h, c. The weights are one matrix over x and h side by side, with gates in
// the order i c f o. A state that is a variable gets its new value; else it is an input like others.
func (c *call) basicLSTM(x *lower.Tensor) ([]*lower.Tensor, error) {
	if len(c.Inputs) != 5 {
		return nil, fmt.Errorf("%d inputs, want 5", len(c.Inputs))
	}
	w, rows, cols, err := c.matrix(2, 0, 0)
	if err != nil {
		return nil, err
	}
	n, fixed := x.Shape()[2].Const()
	units := cols - int(n)
	if w == nil || !fixed || units < 1 || rows != 4*units {
		return nil, fmt.Errorf("weights of %d by %d for %v channels", rows, cols, x.Shape()[2])
	}
	bias, err := c.vector(3, rows)
	if err != nil {
		return nil, err
	}
	order := []int{0, 2, 1, 3} // to i f c o
	op := quant.Op{Kind: format.LSTM, Hidden: units, B: lower.Blocks(scaled(bias, 1, rows), units, order)}
	for _, g := range order {
		for r := g * units; r < (g+1)*units; r++ {
			op.W = append(op.W, w[r*cols:][:n]...)
			op.U = append(op.U, w[r*cols+int(n):][:units]...)
		}
	}
	return c.basicStep(x, op)
}

func (c *call) basicStep(x *lower.Tensor, op quant.Op) ([]*lower.Tensor, error) {
	rows, err := batch(x)
	if err != nil {
		return nil, err
	}
	var before [2]*lower.Tensor
	var kept [2]*variable
	for i, in := range []int{1, 4} {
		if c.Inputs[in] < 0 {
			return nil, fmt.Errorf("input %d is missing", in)
		}
		if t := c.tensor(in); t.Variable {
			kept[i] = c.variable(t)
			before[i], err = c.read(kept[i], []int64{rows, int64(op.Hidden)})
		} else {
			before[i], err = c.arg(in)
		}
		if err == nil {
			before[i], err = c.tr.Unsqueeze(before[i], []int64{0})
		}
		if err != nil {
			return nil, err
		}
	}
	// With lengths, a session does not carry the state over by itself.
	one := slices.Repeat([]int64{1}, int(rows))
	_, last, err := c.tr.Recurrent(x, []quant.Op{op}, lower.Initial{H: before[0], C: before[1], Cell: true, Lengths: one})
	if err != nil {
		return nil, err
	}
	var out []*lower.Tensor
	for i, t := range []*lower.Tensor{last.H, last.C} {
		if t, err = c.tr.Squeeze(t, []int64{0}); err != nil {
			return nil, err
		}
		if kept[i] != nil {
			kept[i].now = t
		}
		out = append(out, t)
	}
	return out, nil
}
