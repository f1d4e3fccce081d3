package runtime

import (
	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// cell is a recurrent operation. Its state is h, and for an LSTM c after it, each of units values.
type cell struct {
	op     *format.Op
	in     format.Ref
	out    format.Ref
	units  int // hidden size rounded up to kernels.UnitBlock
	state  int
	w, u   linear
	un     linear // GRU with FlagResetBefore
	bias   []float32
	biasH  []float32
	peep   []float32
	h0, c0 []float32
	blocks int // time steps side by side in its input; 0 if they are those of the session
	gen    *kernels.General
	limit  float32 // of the cell state, where gen does not see to it; 0 is none
}

func newCell(b *builder, op *format.Op) (*cell, error) {
	f, p := b.file, &b.plan
	c := &cell{op: op, in: op.In[0], out: op.Out, units: kernels.Align(op.Hidden, kernels.UnitBlock), state: p.state}
	var err error
	if c.w, err = newLinear(b, op, format.RoleW, format.RoleWScale, format.RoleXInv); err != nil {
		return nil, err
	}
	if c.u, err = newLinear(b, op, format.RoleU, format.RoleUScale, format.RoleHInv); err != nil {
		return nil, err
	}
	if op.Flags&format.FlagResetBefore != 0 {
		if c.un, err = newLinear(b, op, format.RoleUn, format.RoleUnScale, format.RoleHInv); err != nil {
			return nil, err
		}
	}
	c.bias = b.padded(op, format.RoleBias)
	if f.Arg(op, format.RoleBiasH) != nil {
		c.biasH = b.padded(op, format.RoleBiasH)
	}
	if b := f.Arg(op, format.RolePeep); b != nil {
		c.peep = b.F32
	}
	if b := f.Arg(op, format.RoleH0); b != nil {
		c.h0 = b.F32
	}
	if b := f.Arg(op, format.RoleC0); b != nil {
		c.c0 = b.F32
	}
	c.blocks = f.Blocks(op)
	c.gen = general(f, op)
	if b := f.Arg(op, format.RoleCellClip); b != nil {
		c.clipCell(b.F32[0])
	}
	p.state += c.units
	if op.Kind == format.LSTM {
		p.state += c.units
	}
	p.hidden = max(p.hidden, c.units, c.u.rows)
	return c, nil
}

// general is what the cell's activations are, or nil for the usual ones.
func general(f *format.File, op *format.Op) *kernels.General {
	kinds := f.Arg(op, format.RoleActs)
	if kinds == nil {
		return nil
	}
	v := f.Arg(op, format.RoleActParams).F32
	var fn [3]kernels.Function
	for i, k := range kinds.I32 {
		fn[i] = kernels.Function{Kind: kernels.Activation(k), Alpha: v[1+2*i], Beta: v[2+2*i]}
	}
	return &kernels.General{Gate: fn[0], Cell: fn[1], Output: fn[2], Clip: v[0], Coupled: op.Flags&format.FlagCoupled != 0}
}

// clipCell limits the cell state, after the usual kernel where that makes no difference to the hidden state.
func (c *cell) clipCell(limit float32) {
	limit = max(limit, -limit)
	if c.gen == nil && c.peep == nil && limit >= kernels.Saturated {
		c.limit = limit
		return
	}
	if c.gen == nil {
		c.gen = &kernels.General{Cell: kernels.Function{Kind: kernels.ActTanh}, Output: kernels.Function{Kind: kernels.ActTanh}}
	}
	c.gen.CellClip = limit
}

func (c *cell) reset(s *Session) {
	h := s.state[c.state:][:c.units]
	clear(h)
	copy(h, c.h0)
	if c.op.Kind == format.LSTM {
		m := s.state[c.state+c.units:][:c.units]
		clear(m)
		copy(m, c.c0)
	}
}

// run takes the input products of a block of steps through the weights together, then steps.
func (c *cell) run(s *Session, n int) {
	if c.blocks > 0 {
		for t := range n {
			c.inner(s, t)
		}
		return
	}
	reverse := c.op.Flags&format.FlagReverse != 0
	for done := 0; done < n; {
		k := min(n-done, BlockSteps)
		t := done
		if reverse {
			t = n - done - k
		}
		x, stride := s.rows(c.in, t)
		c.w.mul(s, s.gates, c.bias, x, stride, k)
		for j := range k {
			if reverse {
				j = k - 1 - j
			}
			h := c.step(s, s.gates[j*c.w.rows:][:c.w.rows])
			y := s.at(c.out, t+j)
			copy(y[:c.op.Hidden], h)
			c.copyCell(s, y)
		}
		done += k
	}
}

// copyCell writes the cell state to the end of y if the operation puts it out.
func (c *cell) copyCell(s *Session, y []float32) {
	if c.op.Flags&format.FlagCell != 0 {
		copy(y[len(y)-c.op.Hidden:], s.state[c.state+c.units:])
	}
}

// inner runs the steps that lie side by side in step t of the session, from the initial state on.
func (c *cell) inner(s *Session, t int) {
	c.start(s, t)
	x, y, h := s.at(c.in, t), s.at(c.out, t), c.op.Hidden
	width := len(x) / c.blocks
	reverse := c.op.Flags&format.FlagReverse != 0
	for done := 0; done < c.blocks; {
		k := min(c.blocks-done, BlockSteps)
		from := done
		if reverse {
			from = c.blocks - done - k
		}
		c.w.mul(s, s.gates, c.bias, x[from*width:], width, k)
		for j := range k {
			if reverse {
				j = k - 1 - j
			}
			copy(y[(from+j)*h:][:h], c.step(s, s.gates[j*c.w.rows:][:c.w.rows]))
		}
		done += k
	}
	c.copyCell(s, y)
}

// start sets the state to the initial one, or to that among the operation's inputs.
func (c *cell) start(s *Session, t int) {
	c.reset(s)
	if len(c.op.In) > 1 {
		kernels.Limit(s.state[c.state:], s.at(c.op.In[1], t))
	}
	if len(c.op.In) > 2 {
		kernels.Limit(s.state[c.state+c.units:], s.at(c.op.In[2], t))
	}
}

// step advances the state by one step from the input's gate sums z, and returns the hidden state.
func (c *cell) step(s *Session, z []float32) []float32 {
	h := s.state[c.state:][:c.units]
	switch c.op.Kind {
	case format.LSTM:
		m := s.state[c.state+c.units:][:c.units]
		c.u.mul(s, z, z, h, 0, 1)
		switch {
		case c.gen != nil:
			c.gen.LSTM(h, m, z, c.peep)
		case c.peep != nil:
			kernels.LSTMPeephole(h, m, z, c.peep)
		default:
			kernels.LSTM(h, m, z)
		}
		if c.limit > 0 {
			kernels.ClipCell(m, c.limit)
		}
	case format.GRU:
		c.gru(s, h, z)
	case format.RNN:
		c.u.mul(s, z, z, h, 0, 1)
		switch {
		case c.gen != nil:
			c.gen.RNN(h, z)
		case c.op.Flags&format.FlagReLU != 0:
			kernels.RNNReLU(h, z)
			c.u.copy(h, h)
		default:
			kernels.RNN(h, z)
		}
	}
	return h
}

func (c *cell) gru(s *Session, h, z []float32) {
	g := c.gen
	if c.op.Flags&format.FlagResetBefore == 0 {
		c.u.mul(s, s.hidden, c.biasH, h, 0, 1)
		if g != nil {
			g.GRU(h, z, s.hidden)
			return
		}
		kernels.GRU(h, z, s.hidden)
		return
	}
	c.u.mul(s, s.hidden, s.zeros, h, 0, 1)
	if g != nil {
		g.GRUReset(s.rh[:c.units], h, z, s.hidden)
	} else {
		kernels.GRUReset(s.rh[:c.units], h, z, s.hidden)
	}
	c.un.mul(s, s.cand, s.zeros, s.rh, 0, 1)
	if g != nil {
		g.GRUUpdate(h, z, s.hidden, s.cand)
		return
	}
	kernels.GRUUpdate(h, z, s.hidden, s.cand)
}
