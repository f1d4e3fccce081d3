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
	biasH  []float32 // of a GRU; zeros where it has none
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
	} else if op.Kind == format.GRU {
		c.biasH = b.zeros(c.u.rows)
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
	p.hidden = max(p.hidden, c.units, c.u.rows, c.un.rows)
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

func (c *cell) reset(state []float32) {
	h := c.hidden(state)
	clear(h)
	copy(h, c.h0)
	if c.op.Kind == format.LSTM {
		m := c.memory(state)
		clear(m)
		copy(m, c.c0)
	}
}

// hidden is the hidden state in the state of a stream, memory the cell state of an LSTM.
func (c *cell) hidden(state []float32) []float32 { return state[c.state:][:c.units] }
func (c *cell) memory(state []float32) []float32 { return state[c.state+c.units:][:c.units] }

// run takes the input products of a block of rows through the weights together, then steps.
func (c *cell) run(s *machine, n int) {
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
		c.w.mul(s, s.gates, c.bias, 0, x, stride, k)
		for j := 0; j < k; j += len(s.streams) {
			row := j
			if reverse {
				row = k - 1 - j
			}
			c.multiply(s, s.streams, row)
			for i, stream := range s.streams {
				h := c.step(s, stream, i, row+i)
				y := s.at(c.out, t+row+i)
				copy(y[:c.op.Hidden], h)
				c.writeCell(s, stream, y)
			}
		}
		done += k
	}
}

// writeCell writes the cell state to the end of y if the operation puts it out.
func (c *cell) writeCell(s *machine, stream int, y []float32) {
	if c.op.Flags&format.FlagCell != 0 {
		copy(y[len(y)-c.op.Hidden:], c.memory(s.stateOf(stream)))
	}
}

// inner runs the steps that lie side by side in a row, from the initial state on.
func (c *cell) inner(s *machine, row int) {
	stream := s.stream(row)
	c.start(s, s.stateOf(stream), row)
	x, y, h := s.at(c.in, row), s.at(c.out, row), c.op.Hidden
	width := len(x) / c.blocks
	reverse := c.op.Flags&format.FlagReverse != 0
	for done := 0; done < c.blocks; {
		k := min(c.blocks-done, BlockSteps)
		from := done
		if reverse {
			from = c.blocks - done - k
		}
		c.w.mul(s, s.gates, c.bias, 0, x[from*width:], width, k)
		for j := range k {
			if reverse {
				j = k - 1 - j
			}
			c.multiply(s, []int{stream}, j)
			copy(y[(from+j)*h:][:h], c.step(s, stream, 0, j))
		}
		done += k
	}
	c.writeCell(s, stream, y)
}

// start sets a state to the initial one, or to that among the operation's inputs.
func (c *cell) start(s *machine, state []float32, row int) {
	c.reset(state)
	if len(c.op.In) > 1 {
		kernels.Limit(c.hidden(state), s.at(c.op.In[1], row))
	}
	if len(c.op.In) > 2 {
		kernels.Limit(c.memory(state), s.at(c.op.In[2], row))
	}
}

// multiply takes the hidden states of some streams through the weights together: their products are added to the gate sums of their inputs,
// from a row of s.gates on, or lie in s.products where a gate comes between.
func (c *cell) multiply(s *machine, streams []int, row int) {
	n := len(streams)
	h, stride := c.states(s, streams)
	if c.op.Kind != format.GRU {
		z := s.gates[row*c.w.rows:]
		c.u.mul(s, z, z, c.w.rows, h, stride, n)
		return
	}
	c.u.mul(s, s.products, c.biasH, 0, h, stride, n)
	if c.op.Flags&format.FlagResetBefore == 0 {
		return
	}
	for i, stream := range streams {
		rh, h, x, u := s.rh[i*c.units:][:c.units], c.hidden(s.stateOf(stream)), s.gates[(row+i)*c.w.rows:], s.products[i*c.u.rows:]
		if c.gen != nil {
			c.gen.GRUReset(rh, h, x, u)
		} else {
			kernels.GRUReset(rh, h, x, u)
		}
	}
	c.un.mul(s, s.cand, c.biasH, 0, s.rh, c.units, n)
}

// states returns the hidden states of streams as vectors, and the distance from one to the next.
func (c *cell) states(s *machine, streams []int) (h []float32, stride int) {
	if len(streams) == 1 || s.adjacent {
		return s.state[streams[0]*s.m.plan.state+c.state:], s.m.plan.state
	}
	for i, stream := range streams {
		copy(s.last[i*c.units:], c.hidden(s.stateOf(stream)))
	}
	return s.last, c.units
}

// step advances the state of stream i of those that multiply took by one step and returns its hidden state; row is that of its gate sums.
func (c *cell) step(s *machine, stream, i, row int) []float32 {
	state := s.stateOf(stream)
	h, z := c.hidden(state), s.gates[row*c.w.rows:]
	switch kind, flags := c.op.Kind, c.op.Flags; {
	case c.gen != nil:
		c.general(s, state, z, i)
	case kind == format.LSTM && c.peep != nil:
		kernels.LSTMPeephole(h, c.memory(state), z, c.peep)
	case kind == format.LSTM:
		kernels.LSTM(h, c.memory(state), z)
		if c.limit > 0 {
			kernels.ClipCell(c.memory(state), c.limit)
		}
	case kind == format.GRU && flags&format.FlagResetBefore != 0:
		kernels.GRUUpdate(h, z, s.products[i*c.u.rows:], s.cand[i*c.un.rows:])
	case kind == format.GRU:
		kernels.GRU(h, z, s.products[i*c.u.rows:])
	case flags&format.FlagReLU != 0:
		kernels.RNNReLU(h, z)
		c.u.copy(h, h)
	default:
		kernels.RNN(h, z)
	}
	return h
}

// general is step of a cell with other functions.
func (c *cell) general(s *machine, state, z []float32, i int) {
	h := c.hidden(state)
	switch {
	case c.op.Kind == format.LSTM:
		c.gen.LSTM(h, c.memory(state), z, c.peep)
	case c.op.Kind == format.RNN:
		c.gen.RNN(h, z)
	case c.op.Flags&format.FlagResetBefore != 0:
		c.gen.GRUUpdate(h, z, s.products[i*c.u.rows:], s.cand[i*c.un.rows:])
	default:
		c.gen.GRU(h, z, s.products[i*c.u.rows:])
	}
}
