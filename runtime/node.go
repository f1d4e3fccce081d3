package runtime

import (
	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// node is an operation made ready to run: n rows of its input to n rows of its output.
type node interface {
	run(s *machine, n int)
	// reset sets what the operation keeps in the state of a stream.
	reset(state []float32)
}

type stateless struct{}

func (stateless) reset([]float32) {}

func newNode(b *builder, op *format.Op) (node, error) {
	f := b.file
	switch op.Kind {
	case format.Affine:
		return &affine{in: op.In[0], out: op.Out, scale: f.Arg(op, format.RoleScale).F32, shift: f.Arg(op, format.RoleShift).F32}, nil
	case format.Dense:
		return newDense(b, op)
	case format.Conv:
		return newConv(b, op)
	case format.MaxPool, format.MeanPool:
		return newWindowPool(b, op)
	case format.LSTM, format.GRU, format.RNN:
		return newCell(b, op)
	case format.Last, format.First, format.Mean, format.Max:
		p := &pool{kind: op.Kind, in: op.In[0], out: op.Out, state: b.plan.state}
		b.plan.state += op.Out.Width
		return p, nil
	case format.Const:
		return &constant{out: op.Out, y: f.Arg(op, format.RoleBias).F32}, nil
	case format.Gather:
		return newGather(b, op), nil
	case format.Recall:
		return newRecall(b, op), nil
	case format.Store:
		return &store{in: op.In[0], state: b.recalls[op.Out]}, nil
	}
	return newPure(b, op), nil
}

type affine struct {
	stateless
	in, out      format.Ref
	scale, shift []float32
}

func (a *affine) run(s *machine, n int) {
	for t := range n {
		x, y := s.at(a.in, t), s.at(a.out, t)
		kernels.Affine(y, x, a.scale, a.shift)
	}
}

type dense struct {
	stateless
	in, out format.Ref
	w       linear
	bias    []float32
	blocks  int
}

func newDense(b *builder, op *format.Op) (*dense, error) {
	l, err := newLinear(b, op, format.RoleW, format.RoleWScale, format.RoleXInv)
	return &dense{in: op.In[0], out: op.Out, w: l, bias: b.padded(op, format.RoleBias), blocks: b.file.Blocks(op)}, err
}

func (d *dense) run(s *machine, n int) {
	if d.blocks > 1 {
		for t := range n {
			d.block(s, t)
		}
		return
	}
	for t := 0; t < n; t += BlockSteps {
		k := min(n-t, BlockSteps)
		x, stride := s.rows(d.in, t)
		d.w.mul(s, s.gates, d.bias, 0, x, stride, k)
		for j := range k {
			d.w.copy(s.at(d.out, t+j), s.gates[j*d.w.rows:])
		}
	}
}

// block multiplies the blocks of one step.
func (d *dense) block(s *machine, t int) {
	x, y := s.at(d.in, t), s.at(d.out, t)
	in, out := len(x)/d.blocks, len(y)/d.blocks
	for i := 0; i < d.blocks; i += BlockSteps {
		k := min(d.blocks-i, BlockSteps)
		d.w.mul(s, s.gates, d.bias, 0, x[i*in:], in, k)
		for j := range k {
			d.w.copy(y[(i+j)*out:][:out], s.gates[j*d.w.rows:])
		}
	}
}

type pool struct {
	kind    format.Kind
	in, out format.Ref
	state   int
}

func (p *pool) reset(state []float32) { clear(state[p.state:][:p.out.Width]) }

func (p *pool) run(s *machine, n int) {
	for i, stream := range s.streams {
		p.fold(s, stream, i, s.stepsOf(n))
	}
}

// fold takes n steps of a stream, from a row on, into its state, and writes what the sequence so far gives.
func (p *pool) fold(s *machine, stream, row, n int) {
	acc, y, steps := s.stateOf(stream)[p.state:][:p.out.Width], s.at(p.out, row), s.steps[stream]
	for t := range n {
		x := s.at(p.in, row+t)
		first := steps+int64(t) == 0
		switch {
		case first || p.kind == format.Last:
			copy(acc, x)
		case p.kind == format.Mean:
			for i, v := range x {
				acc[i] += v
			}
		case p.kind == format.Max:
			for i, v := range x {
				if v > acc[i] {
					acc[i] = v
				}
			}
		}
	}
	copy(y, acc)
	if p.kind == format.Mean {
		count := float32(steps + int64(n))
		for i := range y {
			y[i] /= count
		}
		kernels.Settle(y, y)
	}
}
