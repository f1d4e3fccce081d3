package runtime_test

import (
	"math"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// evaluate computes a graph in float64, from the equations of the cells, with nothing of the runtime's.
func evaluate(g *quant.Graph, xs []float32) []float64 {
	in := g.Values[0].Width
	steps := len(xs) / in
	values := make([][][]float64, len(g.Values))
	for i, v := range g.Values {
		n := 1
		if v.PerStep {
			n = steps
		}
		for range n {
			values[i] = append(values[i], make([]float64, v.Width))
		}
	}
	for i, v := range xs {
		values[0][i/in][i%in] = float64(v)
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		var rows [][]float64
		for _, row := range values[op.In[0].Value] {
			rows = append(rows, row[op.In[0].Offset:][:op.In[0].Width])
		}
		for t, y := range evaluateOp(op, rows) {
			copy(values[op.Out.Value][t][op.Out.Offset:][:op.Out.Width], y)
		}
	}
	var out []float64
	for _, row := range values[g.Output] {
		out = append(out, row...)
	}
	return out
}

func evaluateOp(op *quant.Op, x [][]float64) (y [][]float64) {
	switch op.Kind {
	case format.LSTM, format.GRU, format.RNN:
		return evaluateCell(op, x)
	case format.Last:
		return x[len(x)-1:]
	case format.First:
		return x[:1]
	case format.Mean, format.Max:
		acc := append([]float64(nil), x[0]...)
		for _, row := range x[1:] {
			for k, v := range row {
				if op.Kind == format.Mean {
					acc[k] += v
				} else {
					acc[k] = math.Max(acc[k], v)
				}
			}
		}
		if op.Kind == format.Mean {
			for k := range acc {
				acc[k] /= float64(len(x))
			}
		}
		return [][]float64{acc}
	}
	for _, row := range x {
		out := make([]float64, op.Out.Width)
		var sum float64
		for k := range out {
			switch op.Kind {
			case format.Affine:
				out[k] = row[k]*float64(op.Scale[k]) + float64(op.Shift[k])
			case format.Dense:
				out[k] = product(op.W, k, row) + float64(op.B[k])
			case format.Softmax:
				out[k] = math.Exp(row[k])
				sum += out[k]
			}
		}
		if op.Kind == format.Softmax {
			for k := range out {
				out[k] /= sum
			}
		}
		y = append(y, out)
	}
	return y
}

func product(w []float32, row int, x []float64) (s float64) {
	for c, v := range x {
		s += float64(w[row*len(x)+c]) * v
	}
	return s
}

func evaluateCell(op *quant.Op, x [][]float64) [][]float64 {
	n := op.Hidden
	h, c := make([]float64, n), make([]float64, n)
	for i := range n {
		if op.H0 != nil {
			h[i] = float64(op.H0[i])
		}
		if op.C0 != nil {
			c[i] = float64(op.C0[i])
		}
	}
	peep := func(gate, u int) float64 {
		if op.Peep == nil {
			return 0
		}
		return float64(op.Peep[gate*n+u])
	}
	y := make([][]float64, len(x))
	for k := range x {
		t := k
		if op.Flags&format.FlagReverse != 0 {
			t = len(x) - 1 - k
		}
		wx := func(gate, u int) float64 { return product(op.W, gate*n+u, x[t]) + float64(op.B[gate*n+u]) }
		uh := func(gate, u int, h []float64) float64 {
			s := product(op.U, gate*n+u, h)
			if op.BH != nil {
				s += float64(op.BH[gate*n+u])
			}
			return s
		}
		next := make([]float64, n)
		switch {
		case op.Kind == format.LSTM:
			for u := range n {
				i := sigmoid(wx(0, u) + uh(0, u, h) + peep(0, u)*c[u])
				f := sigmoid(wx(1, u) + uh(1, u, h) + peep(1, u)*c[u])
				c[u] = f*c[u] + i*math.Tanh(wx(2, u)+uh(2, u, h))
				if m := float64(op.CellClip); m != 0 {
					c[u] = math.Max(-m, math.Min(m, c[u]))
				}
				next[u] = sigmoid(wx(3, u)+uh(3, u, h)+peep(2, u)*c[u]) * math.Tanh(c[u])
			}
		case op.Kind == format.GRU:
			rh := make([]float64, n)
			for u := range n {
				rh[u] = sigmoid(wx(1, u)+uh(1, u, h)) * h[u]
			}
			for u := range n {
				z := sigmoid(wx(0, u) + uh(0, u, h))
				r := sigmoid(wx(1, u) + uh(1, u, h))
				cand := wx(2, u)
				if op.Flags&format.FlagResetBefore != 0 {
					cand += uh(2, u, rh)
				} else {
					cand += r * uh(2, u, h)
				}
				next[u] = (1-z)*math.Tanh(cand) + z*h[u]
			}
		default:
			for u := range n {
				next[u] = wx(0, u) + uh(0, u, h)
				if op.Flags&format.FlagReLU != 0 {
					next[u] = math.Max(0, next[u])
				} else {
					next[u] = math.Tanh(next[u])
				}
			}
		}
		h = next
		y[t] = h
	}
	return y
}
