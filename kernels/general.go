package kernels

// Function is an activation of a cell with its parameters.
type Function struct {
	Kind        Activation
	Alpha, Beta float32
}

// Activation names a function; the numbers are those of the file format.
type Activation int32

// The activations; alpha and beta are parameters.
const (
	ActSigmoid         Activation = iota
	ActTanh                       // tanh(x)
	ActReLU                       // max(x, 0)
	ActAffine                     // alpha x + beta
	ActLeakyReLU                  // x, or alpha x below 0
	ActThresholdedReLU            // x above alpha, else 0
	ActScaledTanh                 // alpha tanh(beta x)
	ActHardSigmoid                // alpha x + beta, within [0, 1]
	ActELU                        // x, or alpha (exp(x) - 1) below 0
	ActSoftsign                   // x/(1+|x|)
	ActSoftplus                   // log(1 + exp(x))
	ActivationEnd
)

func (f *Function) at(x float32) float32 {
	switch f.Kind {
	case ActSigmoid:
		s, d := sigmoidRatio(x)
		return s / d
	case ActTanh:
		p, q := tanhRatio(x)
		return p / q
	case ActReLU:
		return max(x, 0)
	case ActAffine:
		return float32(f.Alpha*x) + f.Beta
	case ActLeakyReLU:
		return leakyReLU(x, f.Alpha)
	case ActThresholdedReLU:
		return thresholdedReLU(x, f.Alpha)
	case ActScaledTanh:
		p, q := tanhRatio(float32(f.Beta * x))
		return float32(f.Alpha * (p / q))
	case ActHardSigmoid:
		return hardSigmoid(x, f.Alpha, f.Beta)
	case ActELU:
		return elu(x, f.Alpha)
	case ActSoftsign:
		return x / (1 + max(x, -x))
	}
	return float32(softplus(float64(x)))
}

// General is what varies in the cells that LSTM, GRU and RNN do not cover. Gate sums are limited to ±Clip, and the new cell state of an
// LSTM to ±CellClip, unless that is 0. The state is kept finite.
type General struct {
	Gate, Cell, Output Function
	Clip, CellClip     float32
	Coupled            bool // LSTM: the forget gate is 1 - i
}

func (g *General) clip(z float32) float32 {
	if g.Clip != 0 {
		return clamp(z, g.Clip)
	}
	return z
}

// Saturated is where tanh takes the last of its values: a cell state beyond it gives the same hidden state, so that it may be limited
// afterwards.
const Saturated = tanhMax

// ClipCell limits cell states to ±limit.
func ClipCell(c []float32, limit float32) {
	for i, x := range c {
		c[i] = clamp(x, limit)
	}
}

func (g *General) settled(x float32) float32 { return flush(settle(x)) }

// LSTM is LSTMPeephole with other functions; peep may be nil.
func (g *General) LSTM(h, c, z, peep []float32) {
	for u := range h {
		at := u/UnitBlock*4*UnitBlock + u%UnitBlock
		i, f, n, o := z[at], z[at+UnitBlock], z[at+2*UnitBlock], z[at+3*UnitBlock]
		var po float32
		if peep != nil {
			p := u/UnitBlock*3*UnitBlock + u%UnitBlock
			i, f, po = fma(peep[p], c[u], i), fma(peep[p+UnitBlock], c[u], f), peep[p+2*UnitBlock]
		}
		i = g.Gate.at(g.clip(i))
		if g.Coupled {
			f = 1 - i
		} else {
			f = g.Gate.at(g.clip(f))
		}
		c[u] = g.settled(fma(f, c[u], float32(i*g.Cell.at(g.clip(n)))))
		if g.CellClip != 0 {
			c[u] = clamp(c[u], g.CellClip)
		}
		h[u] = g.settled(float32(g.Gate.at(g.clip(fma(po, c[u], o))) * g.Output.at(c[u])))
	}
}

// GRU is kernels.GRU with other functions.
func (g *General) GRU(h, x, u []float32) {
	for k := range h {
		at := k/UnitBlock*3*UnitBlock + k%UnitBlock
		z := g.Gate.at(g.clip(x[at] + u[at]))
		r := g.Gate.at(g.clip(x[at+UnitBlock] + u[at+UnitBlock]))
		h[k] = g.mix(z, fma(r, u[at+2*UnitBlock], x[at+2*UnitBlock]), h[k])
	}
}

// GRUReset is kernels.GRUReset with other functions.
func (g *General) GRUReset(rh, h, x, u []float32) {
	for k := range h {
		b, l := k/UnitBlock, k%UnitBlock
		rh[k] = g.settled(float32(g.Gate.at(g.clip(x[b*3*UnitBlock+UnitBlock+l]+u[b*2*UnitBlock+UnitBlock+l])) * h[k]))
	}
}

// GRUUpdate is kernels.GRUUpdate with other functions.
func (g *General) GRUUpdate(h, x, u, un []float32) {
	for k := range h {
		b, l := k/UnitBlock, k%UnitBlock
		z := g.Gate.at(g.clip(x[b*3*UnitBlock+l] + u[b*2*UnitBlock+l]))
		h[k] = g.mix(z, x[b*3*UnitBlock+2*UnitBlock+l]+un[k], h[k])
	}
}

func (g *General) mix(z, n, h float32) float32 {
	return g.settled(fma(z, h, float32((1-z)*g.Cell.at(g.clip(n)))))
}

// RNN is kernels.RNN with another function, Gate.
func (g *General) RNN(h, z []float32) {
	for i := range h {
		h[i] = g.settled(g.Gate.at(g.clip(z[i])))
	}
}
