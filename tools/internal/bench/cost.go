package bench

import (
	"math/rand/v2"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// cost is the least that a call of a network must do: read its weights, multiply by them, and compute its gates. Quantisation,
// activations between layers, pooling and the calls themselves are left out.
type cost struct {
	products []product
	gates    map[gateKey]int // how often
	bytes    int             // of all weights, packed
	ops      float64         // of the logical matrices, a multiply-add being two
}

// product is one matrix in a call.
type product struct {
	unit    unit
	size    int     // of the weights that are read before these are read again
	weights int     // bytes, packed
	bytes   float64 // read: the weights as often as they must be
	ops     float64 // of the packed matrix
}

// gateKey is a gates kernel of some size.
type gateKey struct {
	tier     string
	kind     format.Kind
	flags    format.Flags
	peephole bool
	units    int
}

// costOf adds up a call of so many steps.
func costOf(f *format.File, steps int) cost {
	c := cost{gates: map[gateKey]int{}}
	for i := range f.Ops {
		op := &f.Ops[i]
		n := steps
		if !f.PerStep(op) {
			n = 1
		}
		first := len(c.products)
		together := (n + runtime.BlockSteps - 1) / runtime.BlockSteps
		for _, role := range []format.Role{format.RoleW, format.RoleU, format.RoleUn} {
			b := f.Arg(op, role)
			if b == nil {
				continue
			}
			passes := n
			if role == format.RoleW {
				passes = together
			}
			c.matrix(b, op.Scheme, n, passes)
		}
		if op.Kind.Recurrent() && n > 1 { // in a sequence a layer goes through its own recurrent weights again and again
			own(c.products[first+1:])
		}
		if op.Kind.Recurrent() {
			k := gateKey{kind: op.Kind, flags: op.Flags &^ format.FlagReverse, peephole: f.Arg(op, format.RolePeep) != nil, units: kernels.Align(op.Hidden, kernels.UnitBlock)}
			c.gates[k] += n
		}
	}
	for i := range c.products {
		if c.products[i].size == 0 {
			c.products[i].size = c.bytes
		}
	}
	return c
}

// own makes products of one layer the only weights that are read between two of its steps.
func own(layer []product) {
	size := 0
	for _, p := range layer {
		size += p.weights
	}
	for i := range layer {
		layer[i].size = size
	}
}

// matrix adds n products with b, for which its weights are read in so many passes.
func (c *cost) matrix(b *format.Blob, s format.Scheme, n, passes int) {
	p := product{unit: unitInt8}
	size, weights := kernels.PackedI8(b.Rows, b.Cols), float64(kernels.PackedI8(b.Rows, b.Cols))
	columns := 1.0
	switch s {
	case format.F32:
		p.unit = unitMulAdd
		weights = float64(kernels.PackedF32(b.Rows, b.Cols))
		size = 4 * int(weights)
	case format.W8A16:
		columns = 2
	}
	p.weights = size
	p.bytes = float64(size) * float64(passes)
	p.ops = 2 * weights * columns * float64(n)
	c.products = append(c.products, p)
	c.bytes += size
	c.ops += 2 * float64(b.Rows) * float64(b.Cols) * float64(n)
}

// prepare asks for the limits that bound needs.
func (p *prober) prepare(tier string, c cost) {
	for _, m := range c.products {
		p.read(tier, m.size)
	}
	for k := range c.gates {
		k.tier = tier
		p.gate(k)
	}
}

// bound is the least time of a call: for each matrix the longer of reading and multiplying, then the gates as they are.
func (p *prober) bound(tier string, c cost) bound {
	var reading, multiplying, gates float64
	why := bound{}
	for _, m := range c.products {
		b := binding(p.readBound(tier, m.bytes, m.size), p.portBound(tier, m.unit, m.ops))
		if b.why == m.unit.why() {
			multiplying += b.ns
		} else {
			reading += b.ns
		}
		if b.ns > why.ns {
			why = b
		}
	}
	for k, n := range c.gates {
		k.tier = tier
		gates += float64(n) * p.of(p.gates[k])
	}
	if gates > 0 {
		why.why += " + gates"
	}
	why.ns = reading + multiplying + gates
	return why
}

// gate times a gates kernel alone.
func (p *prober) gate(k gateKey) {
	if p.gates[k] != nil {
		return
	}
	f := k.kernel()
	j := &job{tier: k.tier, run: func(n int) {
		for range n {
			f()
		}
	}}
	p.gates[k] = j
	p.jobs = append(p.jobs, j)
}

func (k gateKey) kernel() func() {
	rng := rand.New(rand.NewPCG(4, 4))
	n := k.units
	h, c, z, u := uniform(rng, n, 1), uniform(rng, n, 1), uniform(rng, 4*n, 4), uniform(rng, 3*n, 4)
	switch {
	case k.kind == format.LSTM && k.peephole:
		return func() { kernels.LSTMPeephole(h, c, z, u) }
	case k.kind == format.LSTM:
		return func() { kernels.LSTM(h, c, z) }
	case k.kind == format.GRU && k.flags&format.FlagResetBefore != 0:
		return func() {
			kernels.GRUReset(c, h, z, u)
			kernels.GRUUpdate(h, z, u, c)
		}
	case k.kind == format.GRU:
		return func() { kernels.GRU(h, z, u) }
	case k.flags&format.FlagReLU != 0:
		return func() { kernels.RNNReLU(h, z) }
	}
	return func() { kernels.RNN(h, z) }
}
