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
}

func newCell(m *Model, op *format.Op) (*cell, error) {
	f, p := m.file, &m.plan
	c := &cell{op: op, in: op.In[0], out: op.Out, units: kernels.Align(op.Hidden, kernels.UnitBlock), state: p.state}
	var err error
	if c.w, err = newLinear(m, op, format.RoleW, format.RoleWScale, format.RoleXInv); err != nil {
		return nil, err
	}
	if c.u, err = newLinear(m, op, format.RoleU, format.RoleUScale, format.RoleHInv); err != nil {
		return nil, err
	}
	if op.Flags&format.FlagResetBefore != 0 {
		if c.un, err = newLinear(m, op, format.RoleUn, format.RoleUnScale, format.RoleHInv); err != nil {
			return nil, err
		}
	}
	c.bias = padded(f.Arg(op, format.RoleBias).F32, c.w.rows)
	if b := f.Arg(op, format.RoleBiasH); b != nil {
		c.biasH = padded(b.F32, c.u.rows)
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
	p.state += c.units
	if op.Kind == format.LSTM {
		p.state += c.units
	}
	p.hidden = max(p.hidden, c.units, c.u.rows)
	return c, nil
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
	reverse := c.op.Flags&format.FlagReverse != 0
	for done := 0; done < n; {
		k := min(n-done, blockSteps)
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
			copy(s.at(c.out, t+j), h)
		}
		done += k
	}
}

// step advances the state by one step from the input's gate sums z, and returns the hidden state.
func (c *cell) step(s *Session, z []float32) []float32 {
	h := s.state[c.state:][:c.units]
	switch c.op.Kind {
	case format.LSTM:
		m := s.state[c.state+c.units:][:c.units]
		c.u.mul(s, z, z, h, 0, 1)
		if c.peep != nil {
			kernels.LSTMPeephole(h, m, z, c.peep)
		} else {
			kernels.LSTM(h, m, z)
		}
	case format.GRU:
		if c.op.Flags&format.FlagResetBefore == 0 {
			c.u.mul(s, s.hidden, c.biasH, h, 0, 1)
			kernels.GRU(h, z, s.hidden)
			break
		}
		c.u.mul(s, s.hidden, s.zeros, h, 0, 1)
		kernels.GRUReset(s.rh[:c.units], h, z, s.hidden)
		c.un.mul(s, s.cand, s.zeros, s.rh, 0, 1)
		kernels.GRUUpdate(h, z, s.hidden, s.cand)
	case format.RNN:
		c.u.mul(s, z, z, h, 0, 1)
		if c.op.Flags&format.FlagReLU != 0 {
			kernels.RNNReLU(h, z)
		} else {
			kernels.RNN(h, z)
		}
	}
	return h
}
