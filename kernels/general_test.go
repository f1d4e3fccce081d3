package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// reference is the activation in float64, as the ONNX specification of LSTM has it.
func (f Function) reference(x float64) float64 {
	alpha, beta := float64(f.Alpha), float64(f.Beta)
	switch f.Kind {
	case ActSigmoid:
		return 1 / (1 + math.Exp(-x))
	case ActTanh:
		return math.Tanh(x)
	case ActReLU:
		return math.Max(x, 0)
	case ActAffine:
		return alpha*x + beta
	case ActLeakyReLU:
		if x < 0 {
			return alpha * x
		}
		return x
	case ActThresholdedReLU:
		if x > alpha {
			return x
		}
		return 0
	case ActScaledTanh:
		return alpha * math.Tanh(beta*x)
	case ActHardSigmoid:
		return math.Min(math.Max(alpha*x+beta, 0), 1)
	case ActELU:
		if x < 0 {
			return alpha * (math.Exp(x) - 1)
		}
		return x
	case ActSoftsign:
		return x / (1 + math.Abs(x))
	case ActSoftplus:
		return math.Log(1 + math.Exp(x))
	}
	panic("unknown activation")
}

func (g *General) limited(x float64) float64 {
	if g.Clip == 0 {
		return x
	}
	return math.Min(math.Max(x, -float64(g.Clip)), float64(g.Clip))
}

// cellCase is a cell of units hidden units with random sums and states.
type cellCase struct {
	units            int
	h, c, z, u, peep []float32 // z and u: gate sums of the input and of the hidden state, each of four gates
}

func newCellCase(rng *rand.Rand, units int) *cellCase {
	v := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64() * 1.5)
		}
		return x
	}
	return &cellCase{units, v(units), v(units), v(4 * units), v(4 * units), v(3 * units)}
}

// at is gate sum g of n of unit u.
func at(v []float32, n, g, u int) float64 { return float64(v[GateRow(n, g, u)]) }

// generals are cells with each activation in each place, with and without limits.
func generals() (gs []General) {
	of := func(k Activation) Function {
		f := Function{Kind: k}
		switch k {
		case ActAffine:
			f.Alpha, f.Beta = 0.7, -0.1
		case ActLeakyReLU:
			f.Alpha = 0.1
		case ActThresholdedReLU:
			f.Alpha = 0.6
		case ActScaledTanh:
			f.Alpha, f.Beta = 1.7, 0.6
		case ActHardSigmoid:
			f.Alpha, f.Beta = 0.2, 0.5
		case ActELU:
			f.Alpha = 1.3
		}
		return f
	}
	for k := range ActivationEnd {
		for _, g := range []General{{Gate: of(k), Cell: of(ActTanh), Output: of(ActTanh)}, {Gate: of(ActSigmoid), Cell: of(k), Output: of((k + 3) % ActivationEnd)}} {
			for _, clip := range []float32{0, 0.8} {
				for _, coupled := range []bool{false, true} {
					g.Clip, g.Coupled = clip, coupled
					gs = append(gs, g)
				}
			}
		}
	}
	return gs
}

func closeTo(t *testing.T, what string, u int, got float32, want float64) {
	t.Helper()
	if e := math.Abs(float64(got) - want); !(e <= 4e-6*math.Max(1, math.Abs(want))) {
		t.Fatalf("%s: unit %d is %v, want %v", what, u, got, want)
	}
}

// TestGeneralLSTM holds the cell against the equations of ONNX LSTM.
func TestGeneralLSTM(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	for i, g := range generals() {
		c := newCellCase(rng, 16)
		peep := [][]float32{nil, c.peep}[i/4%2]
		name := fmt.Sprintf("%+v peepholes %v", g, peep != nil)
		p := func(gate, u int) float64 {
			if peep == nil {
				return 0
			}
			return at(peep, 3, gate, u)
		}
		h, m := slices.Clone(c.h), slices.Clone(c.c)
		g.LSTM(h, m, c.z, peep)
		for u := range c.units {
			old := float64(c.c[u])
			i := g.Gate.reference(g.limited(at(c.z, 4, 0, u) + p(0, u)*old))
			f := g.Gate.reference(g.limited(at(c.z, 4, 1, u) + p(1, u)*old))
			if g.Coupled {
				f = 1 - i
			}
			state := f*old + i*g.Cell.reference(g.limited(at(c.z, 4, 2, u)))
			o := g.Gate.reference(g.limited(at(c.z, 4, 3, u) + p(2, u)*state))
			closeTo(t, name+": cell state", u, m[u], state)
			closeTo(t, name+": hidden state", u, h[u], o*g.Output.reference(state))
		}
	}
}

// TestGeneralGRU holds both forms of the cell against the equations of ONNX GRU.
func TestGeneralGRU(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	for _, g := range generals() {
		c := newCellCase(rng, 16)
		name := fmt.Sprintf("%+v", g)
		z := func(u, gates int) float64 {
			return g.Gate.reference(g.limited(at(c.z, 3, 0, u) + at(c.u, gates, 0, u)))
		}
		r := func(u, gates int) float64 {
			return g.Gate.reference(g.limited(at(c.z, 3, 1, u) + at(c.u, gates, 1, u)))
		}
		mix := func(u, gates int, n float64) float64 {
			return (1-z(u, gates))*g.Cell.reference(g.limited(n)) + z(u, gates)*float64(c.h[u])
		}
		h := slices.Clone(c.h)
		g.GRU(h, c.z[:3*c.units], c.u[:3*c.units])
		for u := range c.units {
			closeTo(t, name+": reset after", u, h[u], mix(u, 3, at(c.z, 3, 2, u)+r(u, 3)*at(c.u, 3, 2, u)))
		}
		copy(h, c.h)
		rh := make([]float32, c.units)
		g.GRUReset(rh, h, c.z, c.u)
		g.GRUUpdate(h, c.z, c.u, c.peep[:c.units])
		for u := range c.units {
			closeTo(t, name+": reset state", u, rh[u], r(u, 2)*float64(c.h[u]))
			closeTo(t, name+": reset before", u, h[u], mix(u, 2, at(c.z, 3, 2, u)+float64(c.peep[u])))
		}
	}
}

func TestGeneralRNN(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	for _, g := range generals() {
		c := newCellCase(rng, 16)
		h := make([]float32, c.units)
		g.RNN(h, c.z)
		for u := range c.units {
			closeTo(t, fmt.Sprintf("%+v", g), u, h[u], g.Gate.reference(g.limited(float64(c.z[u]))))
		}
	}
}

// TestGeneralUsual finds the special kernels' results, but for the order of rounding.
func TestGeneralUsual(t *testing.T) {
	rng := rand.New(rand.NewPCG(24, 1))
	g := General{Gate: Function{Kind: ActSigmoid}, Cell: Function{Kind: ActTanh}, Output: Function{Kind: ActTanh}}
	for range 100 {
		c := newCellCase(rng, 24)
		for _, v := range []struct {
			name             string
			special, general func(h, m []float32)
		}{
			{"lstm", func(h, m []float32) { LSTM(h, m, c.z) }, func(h, m []float32) { g.LSTM(h, m, c.z, nil) }},
			{"lstm with peepholes", func(h, m []float32) { LSTMPeephole(h, m, c.z, c.peep) }, func(h, m []float32) { g.LSTM(h, m, c.z, c.peep) }},
			{"gru", func(h, m []float32) { GRU(h, c.z, c.u) }, func(h, m []float32) { g.GRU(h, c.z, c.u) }},
			{"gru, reset", func(h, m []float32) { GRUReset(m, h, c.z, c.u) }, func(h, m []float32) { g.GRUReset(m, h, c.z, c.u) }},
			{"gru, update", func(h, m []float32) { GRUUpdate(h, c.z, c.u, c.peep) }, func(h, m []float32) { g.GRUUpdate(h, c.z, c.u, c.peep) }},
			{"rnn", func(h, m []float32) { RNN(h, c.z) }, func(h, m []float32) { (&General{Gate: g.Cell}).RNN(h, c.z) }},
			{"rnn with relu", func(h, m []float32) { RNNReLU(h, c.z) }, func(h, m []float32) { (&General{Gate: Function{Kind: ActReLU}}).RNN(h, c.z) }},
		} {
			h, m, h2, m2 := slices.Clone(c.h), slices.Clone(c.c), slices.Clone(c.h), slices.Clone(c.c)
			v.special(h, m)
			v.general(h2, m2)
			for u := range h {
				for _, d := range []float32{h[u] - h2[u], m[u] - m2[u]} {
					if !(math.Abs(float64(d)) <= 1e-6) {
						t.Fatalf("%s: unit %d is %v and %v, %v and %v by the special kernel", v.name, u, h2[u], m2[u], h[u], m[u])
					}
				}
			}
		}
	}
}

// TestGeneralFinite keeps states finite and free of subnormal numbers whatever the sums and parameters are.
func TestGeneralFinite(t *testing.T) {
	pick := func(rng *rand.Rand) float32 { return special[rng.IntN(len(special))] }
	rng := rand.New(rand.NewPCG(25, 1))
	for _, g := range generals() {
		for range 50 {
			g.Gate.Alpha, g.Cell.Beta, g.Output.Alpha = pick(rng), pick(rng), pick(rng)
			c := newCellCase(rng, 8)
			for _, v := range [][]float32{c.z, c.u, c.peep} {
				for i := range v {
					v[i] = pick(rng)
				}
			}
			h, m := slices.Clone(c.h), slices.Clone(c.c)
			for range 3 {
				g.LSTM(h, m, c.z, c.peep)
				checkSettled(t, h, "%+v: lstm", g)
				checkSettled(t, m, "%+v: lstm", g)
				g.GRU(h, c.z, c.u)
				checkSettled(t, h, "%+v: gru", g)
				g.GRUReset(m, h, c.z, c.u)
				checkSettled(t, m, "%+v: gru, reset", g)
				g.GRUUpdate(h, c.z, c.u, c.peep)
				checkSettled(t, h, "%+v: gru, update", g)
				g.RNN(h, c.z)
				checkSettled(t, h, "%+v: rnn", g)
			}
		}
	}
}
