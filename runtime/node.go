package runtime

import (
	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// node is an operation made ready to run: n steps of its input to n steps of its output, where the session has run s.steps before.
type node interface {
	run(s *Session, n int)
	reset(s *Session)
}

type stateless struct{}

func (stateless) reset(*Session) {}

func newNode(m *Model, op *format.Op) (node, error) {
	f := m.file
	switch op.Kind {
	case format.Affine:
		return &affine{in: op.In[0], out: op.Out, scale: f.Arg(op, format.RoleScale).F32, shift: f.Arg(op, format.RoleShift).F32}, nil
	case format.Dense:
		l, err := newLinear(m, op, format.RoleW, format.RoleWScale, format.RoleXInv)
		return &dense{in: op.In[0], out: op.Out, w: l, bias: padded(f.Arg(op, format.RoleBias).F32, l.rows)}, err
	case format.LSTM, format.GRU, format.RNN:
		return newCell(m, op)
	case format.Sigmoid:
		return &unary{in: op.In[0], out: op.Out, f: kernels.Sigmoid}, nil
	case format.Tanh:
		return &unary{in: op.In[0], out: op.Out, f: kernels.Tanh}, nil
	case format.ReLU:
		return &unary{in: op.In[0], out: op.Out, f: kernels.ReLU}, nil
	case format.Softmax:
		return &unary{in: op.In[0], out: op.Out, f: kernels.Softmax}, nil
	case format.LogSoftmax:
		return &unary{in: op.In[0], out: op.Out, f: kernels.LogSoftmax}, nil
	default: // the file is valid, so this is pooling
		p := &pool{kind: op.Kind, in: op.In[0], out: op.Out, state: m.plan.state}
		m.plan.state += op.Out.Width
		return p, nil
	}
}

type affine struct {
	stateless
	in, out      format.Ref
	scale, shift []float32
}

func (a *affine) run(s *Session, n int) {
	for t := range n {
		x, y := s.at(a.in, t), s.at(a.out, t)
		for i, v := range x {
			y[i] = float32(v*a.scale[i]) + a.shift[i]
		}
	}
}

type unary struct {
	stateless
	in, out format.Ref
	f       func(y, x []float32)
}

func (u *unary) run(s *Session, n int) {
	for t := range n {
		u.f(s.at(u.out, t), s.at(u.in, t))
	}
}

type dense struct {
	stateless
	in, out format.Ref
	w       linear
	bias    []float32
}

func (d *dense) run(s *Session, n int) {
	for t := 0; t < n; t += blockSteps {
		k := min(n-t, blockSteps)
		x, stride := s.rows(d.in, t)
		d.w.mul(s, s.gates, d.bias, x, stride, k)
		for j := range k {
			copy(s.at(d.out, t+j), s.gates[j*d.w.rows:])
		}
	}
}

type pool struct {
	kind    format.Kind
	in, out format.Ref
	state   int
}

func (p *pool) reset(s *Session) { clear(s.state[p.state:][:p.out.Width]) }

// run folds n steps into the state and writes what the sequence so far gives.
func (p *pool) run(s *Session, n int) {
	acc, y := s.state[p.state:][:p.out.Width], s.at(p.out, 0)
	for t := range n {
		x := s.at(p.in, t)
		first := s.steps+int64(t) == 0
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
		count := float32(s.steps + int64(n))
		for i := range y {
			y[i] /= count
		}
	}
}
