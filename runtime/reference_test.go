package runtime_test

import (
	"math"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// evaluate computes a graph in float64, from the equations of its operations, with nothing of the runtime's. Nothing in it is recalled.
func evaluate(g *quant.Graph, xs []float32) []float64 {
	v := newValues(g, xs)
	for i := range g.Ops {
		op := &g.Ops[i]
		v.write(op.Out, evaluateOp(op, v.inputs(op)))
	}
	var out []float64
	for _, row := range v[g.Output] {
		out = append(out, row...)
	}
	return out
}

// values are those of a graph: by value, step and channel.
type values [][][]float64

func newValues(g *quant.Graph, xs []float32) values {
	in := g.Values[0].Width
	steps := len(xs) / in
	v := make(values, len(g.Values))
	for i, val := range g.Values {
		n := 1
		if val.PerStep {
			n = steps
		}
		for range n {
			v[i] = append(v[i], make([]float64, val.Width))
		}
	}
	for i, x := range xs {
		v[0][i/in][i%in] = float64(x)
	}
	return v
}

func (v values) rows(r format.Ref) (rows [][]float64) {
	for _, row := range v[r.Value] {
		rows = append(rows, slices.Clone(row[r.Offset:][:r.Width]))
	}
	return rows
}

func (v values) inputs(op *quant.Op) (in [][][]float64) {
	for _, r := range op.In {
		in = append(in, v.rows(r))
	}
	if in == nil { // a constant of the right number of steps
		in = [][][]float64{v.rows(op.Out)}
	}
	return in
}

func (v values) write(r format.Ref, y [][]float64) {
	for t, row := range y {
		copy(v[r.Value][t][r.Offset:][:r.Width], row)
	}
}

// evaluateOp is what an operation makes of its inputs, [input][step][channel].
func evaluateOp(op *quant.Op, in [][][]float64) (y [][]float64) {
	switch {
	case op.Kind.Recurrent() && op.Blocks() == 0:
		y, _ = evaluateCell(op, in[0], start(op, nil))
		return y
	case op.Kind.Pooling():
		return [][]float64{overTime(op.Kind, in[0])}
	}
	for t := range in[0] {
		var x [][]float64
		for _, rows := range in {
			x = append(x, rows[t])
		}
		y = append(y, evaluateStep(op, x))
	}
	return y
}

func overTime(kind format.Kind, x [][]float64) []float64 {
	switch kind {
	case format.Last:
		return x[len(x)-1]
	case format.First:
		return x[0]
	}
	acc := slices.Clone(x[0])
	for _, row := range x[1:] {
		for k, v := range row {
			if kind == format.Mean {
				acc[k] += v
			} else {
				acc[k] = math.Max(acc[k], v)
			}
		}
	}
	if kind == format.Mean {
		for k := range acc {
			acc[k] /= float64(len(x))
		}
	}
	return acc
}

var unary = map[format.Kind]func(x float64) float64{
	format.Sigmoid: sigmoid, format.Tanh: math.Tanh, format.Exp: math.Exp, format.Log: math.Log, format.Sqrt: math.Sqrt, format.Abs: math.Abs,
	format.Round: math.RoundToEven, format.Floor: math.Floor, format.Erf: math.Erf,
	format.ReLU:     func(x float64) float64 { return math.Max(x, 0) },
	format.Softplus: func(x float64) float64 { return math.Log1p(math.Exp(x)) },
	format.Softsign: func(x float64) float64 { return x / (1 + math.Abs(x)) },
}

var parametric = map[format.Kind]func(x, a, b float64) float64{
	format.Clip:            func(x, a, b float64) float64 { return math.Min(math.Max(x, a), b) },
	format.ELU:             func(x, a, _ float64) float64 { return math.Max(x, 0) + a*math.Expm1(math.Min(x, 0)) },
	format.LeakyReLU:       func(x, a, _ float64) float64 { return math.Max(x, 0) + a*math.Min(x, 0) },
	format.ThresholdedReLU: func(x, a, _ float64) float64 { return x * truth(x > a) },
	format.HardSigmoid:     func(x, a, b float64) float64 { return math.Min(math.Max(a*x+b, 0), 1) },
}

var paired = map[format.Kind]func(a, b float64) float64{
	format.Minimum: math.Min, format.Maximum: math.Max, format.Pow: math.Pow,
	format.Add:   func(a, b float64) float64 { return a + b },
	format.Sub:   func(a, b float64) float64 { return a - b },
	format.Mul:   func(a, b float64) float64 { return a * b },
	format.Div:   func(a, b float64) float64 { return a / b },
	format.Less:  func(a, b float64) float64 { return truth(a < b) },
	format.Equal: func(a, b float64) float64 { return truth(a == b) },
}

var reduced = map[format.Kind]func(a, b float64) float64{
	format.Sum: paired[format.Add], format.Product: paired[format.Mul], format.Lowest: math.Min, format.Highest: math.Max,
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// evaluateStep is an operation that needs no other step.
func evaluateStep(op *quant.Op, in [][]float64) []float64 {
	x, y := in[0], make([]float64, op.Out.Width)
	at := func(i, k int) float64 { return in[i][k%len(in[i])] }
	var a, b float64
	if n := len(op.Params); n > 0 {
		a, b = float64(op.Params[0]), float64(op.Params[n-1])
	}
	group := len(x)
	if len(op.Dims) > 0 {
		group = int(op.Dims[0])
	}
	switch op.Kind {
	case format.LSTM, format.GRU, format.RNN:
		return inner(op, in)
	case format.Conv, format.MaxPool, format.MeanPool:
		return evaluateWindow(op, x)
	case format.Gather:
		side := slices.Concat(in...)
		for k := range y {
			y[k] = side[op.Index[k]]
		}
	case format.MatMul:
		return matrices(op.Dims, in[0], in[1])
	case format.Softmax, format.LogSoftmax, format.Normalise:
		for i := 0; i < len(x); i += group {
			copy(y[i:], normalised(op.Kind, x[i:i+group], a))
		}
	case format.Sum, format.Product, format.Lowest, format.Highest:
		for k := range y {
			y[k] = x[k*group]
			for _, v := range x[k*group+1 : (k+1)*group] {
				y[k] = reduced[op.Kind](y[k], v)
			}
		}
	default:
		for k := range y {
			switch f, g, h := unary[op.Kind], parametric[op.Kind], paired[op.Kind]; {
			case f != nil:
				y[k] = f(x[k])
			case g != nil:
				y[k] = g(x[k], a, b)
			case h != nil:
				y[k] = h(at(0, k), at(1, k))
			case op.Kind == format.Affine:
				y[k] = x[k]*float64(op.Scale[k]) + float64(op.Shift[k])
			case op.Kind == format.Const:
				y[k] = float64(op.B[k])
			case op.Kind == format.Dense:
				n := op.Blocks()
				rows, cols := len(y)/n, len(x)/n
				y[k] = product(op.W, k%rows, x[k/rows*cols:][:cols]) + orZero(op.B, k%rows)
			case op.Kind == format.Select && at(0, k) != 0:
				y[k] = at(1, k)
			case op.Kind == format.Select:
				y[k] = at(2, k)
			default:
				panic(op.Kind)
			}
		}
	}
	return y
}

func orZero(v []float32, i int) float64 {
	if v == nil {
		return 0
	}
	return float64(v[i])
}

func normalised(kind format.Kind, x []float64, eps float64) []float64 {
	n, y := float64(len(x)), make([]float64, len(x))
	var sum, mean, variance float64
	for _, v := range x {
		sum += math.Exp(v)
		mean += v / n
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	for k, v := range x {
		switch kind {
		case format.Softmax:
			y[k] = math.Exp(v) / sum
		case format.LogSoftmax:
			y[k] = v - math.Log(sum)
		default:
			y[k] = (v - mean) / math.Sqrt(variance+eps)
		}
	}
	return y
}

func matrices(dims []int32, a, b []float64) (y []float64) {
	m, k, n := int(dims[1]), int(dims[2]), int(dims[3])
	for batch := range int(dims[0]) {
		for r := range m {
			for c := range n {
				s := 0.0
				for i := range k {
					s += a[(batch*m+r)*k+i] * b[(batch*k+i)*n+c]
				}
				y = append(y, s)
			}
		}
	}
	return y
}

// evaluateWindow goes through the coordinates of each output point and each kernel point.
func evaluateWindow(op *quant.Op, x []float64) []float64 {
	w, err := format.ParseWindow(op.Dims)
	if err != nil {
		panic(err)
	}
	var outs, kernel [][]int
	for _, a := range w.Axes {
		outs, kernel = lattice(outs, a.Out), lattice(kernel, a.Kernel)
	}
	outputs := op.Out.Width / len(outs)
	in, per := w.Channels/w.Groups, outputs/w.Groups
	y := make([]float64, op.Out.Width)
	for o, out := range outs {
		var seen [][]float64 // by kernel point; nil in the padding
		counted := 0
		for _, k := range kernel {
			point, within := 0, true
			room := true
			for i, a := range w.Axes {
				p := out[i]*a.Stride + k[i]*a.Dilation - a.Pad
				within = within && p >= 0 && p < a.In
				room = room && p < a.In+a.End
				point = point*a.In + p
			}
			if room {
				counted++
			}
			if within {
				seen = append(seen, x[point*w.Channels:][:w.Channels])
			} else {
				seen = append(seen, nil)
			}
		}
		if !w.CountPadding {
			counted = len(kernel) - len(slices.DeleteFunc(slices.Clone(seen), func(s []float64) bool { return s != nil }))
		}
		for c := range outputs {
			y[o*outputs+c] = underWindow(op, seen, c, c/max(per, 1)*in, in, counted)
		}
	}
	return y
}

// lattice adds an axis of n points.
func lattice(points [][]int, n int) (out [][]int) {
	if points == nil {
		points = [][]int{nil}
	}
	for _, p := range points {
		for i := range n {
			out = append(out, append(slices.Clone(p), i))
		}
	}
	return out
}

// underWindow is output channel c of what a window sees by kernel point; a convolution takes n channels from first on.
func underWindow(op *quant.Op, seen [][]float64, c, first, n, counted int) (y float64) {
	if op.Kind == format.Conv {
		y = orZero(op.B, c)
	}
	any := false
	for k, x := range seen {
		switch {
		case x == nil:
		case op.Kind == format.Conv:
			for i := range n {
				y += float64(op.W[(c*len(seen)+k)*n+i]) * x[first+i]
			}
		case op.Kind == format.MeanPool:
			y += x[c] / float64(counted)
		case !any || x[c] > y:
			y, any = x[c], true
		}
	}
	return y
}

func product(w []float32, row int, x []float64) (s float64) {
	for c, v := range x {
		s += float64(w[row*len(x)+c]) * v
	}
	return s
}

// state is that of a cell.
type state struct{ h, c []float64 }

// start is the initial state: that of the operation, or those among its inputs.
func start(op *quant.Op, in [][]float64) state {
	s := state{make([]float64, op.Hidden), make([]float64, op.Hidden)}
	for i := range op.Hidden {
		s.h[i], s.c[i] = orZero(op.H0, i), orZero(op.C0, i)
	}
	if len(in) > 1 {
		s.h = in[1]
	}
	if len(in) > 2 {
		s.c = in[2]
	}
	return s
}

// inner runs the steps that lie side by side in one.
func inner(op *quant.Op, in [][]float64) []float64 {
	width := len(in[0]) / op.Blocks()
	var x [][]float64
	for b := range op.Blocks() {
		x = append(x, in[0][b*width:][:width])
	}
	y, last := evaluateCell(op, x, start(op, in))
	var out []float64
	for _, row := range y {
		out = append(out, row[:op.Hidden]...)
	}
	if op.Flags&format.FlagCell != 0 {
		out = append(out, last.c...)
	}
	return out
}

// activation is a function of a cell, as ONNX has it.
func activation(k kernels.Activation, alpha, beta float32) func(x float64) float64 {
	a, b := float64(alpha), float64(beta)
	with := func(k format.Kind) func(x float64) float64 {
		return func(x float64) float64 { return parametric[k](x, a, b) }
	}
	return map[kernels.Activation]func(x float64) float64{
		kernels.ActSigmoid: sigmoid, kernels.ActTanh: math.Tanh, kernels.ActReLU: unary[format.ReLU], kernels.ActSoftsign: unary[format.Softsign],
		kernels.ActSoftplus: unary[format.Softplus], kernels.ActLeakyReLU: with(format.LeakyReLU), kernels.ActELU: with(format.ELU),
		kernels.ActThresholdedReLU: with(format.ThresholdedReLU), kernels.ActHardSigmoid: with(format.HardSigmoid),
		kernels.ActAffine:     func(x float64) float64 { return a*x + b },
		kernels.ActScaledTanh: func(x float64) float64 { return a * math.Tanh(b*x) },
	}[k]
}

// functions are those of a cell in the order of the file, after the limit of their sums.
func functions(op *quant.Op) []func(x float64) float64 {
	if op.Acts == nil {
		return map[format.Kind][]func(x float64) float64{format.LSTM: {sigmoid, math.Tanh, math.Tanh}, format.GRU: {sigmoid, math.Tanh},
			format.RNN: {unary[map[bool]format.Kind{true: format.ReLU, false: format.Tanh}[op.Flags&format.FlagReLU != 0]]}}[op.Kind]
	}
	var fs []func(x float64) float64
	for i, a := range op.Acts {
		f := activation(a, op.ActParams[1+2*i], op.ActParams[2+2*i])
		if clip := float64(op.ActParams[0]); clip != 0 && i < 2 {
			of := f
			f = func(x float64) float64 { return of(math.Min(math.Max(x, -clip), clip)) }
		}
		fs = append(fs, f)
	}
	return fs
}

func evaluateCell(op *quant.Op, x [][]float64, s state) (y [][]float64, last state) {
	n := op.Hidden
	h, c := s.h, slices.Clone(s.c)
	f := functions(op)
	peep := func(gate, u int) float64 {
		if op.Peep == nil {
			return 0
		}
		return float64(op.Peep[gate*n+u])
	}
	y = make([][]float64, len(x))
	for k := range x {
		t := k
		if op.Flags&format.FlagReverse != 0 {
			t = len(x) - 1 - k
		}
		wx := func(gate, u int) float64 { return product(op.W, gate*n+u, x[t]) + orZero(op.B, gate*n+u) }
		uh := func(gate, u int, h []float64) float64 { return product(op.U, gate*n+u, h) + orZero(op.BH, gate*n+u) }
		next := make([]float64, n)
		switch {
		case op.Kind == format.LSTM:
			for u := range n {
				in := f[0](wx(0, u) + uh(0, u, h) + peep(0, u)*c[u])
				forget := f[0](wx(1, u) + uh(1, u, h) + peep(1, u)*c[u])
				if op.Flags&format.FlagCoupled != 0 {
					forget = 1 - in
				}
				c[u] = forget*c[u] + in*f[1](wx(2, u)+uh(2, u, h))
				if m := float64(op.CellClip); m != 0 {
					c[u] = math.Max(-m, math.Min(m, c[u]))
				}
				next[u] = f[0](wx(3, u)+uh(3, u, h)+peep(2, u)*c[u]) * f[2](c[u])
			}
		case op.Kind == format.GRU:
			rh := make([]float64, n)
			for u := range n {
				rh[u] = f[0](wx(1, u)+uh(1, u, h)) * h[u]
			}
			for u := range n {
				z := f[0](wx(0, u) + uh(0, u, h))
				r := f[0](wx(1, u) + uh(1, u, h))
				cand := wx(2, u)
				if op.Flags&format.FlagResetBefore != 0 {
					cand += uh(2, u, rh)
				} else {
					cand += r * uh(2, u, h)
				}
				next[u] = (1-z)*f[1](cand) + z*h[u]
			}
		default:
			for u := range n {
				next[u] = f[0](wx(0, u) + uh(0, u, h))
			}
		}
		h = next
		y[t] = h
		if op.Flags&format.FlagCell != 0 {
			y[t] = slices.Concat(h, c)
		}
	}
	return y, state{h, c}
}
