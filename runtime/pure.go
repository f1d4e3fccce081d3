package runtime

import (
	"sort"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// pure is an operation whose output depends on nothing but its inputs at the same step.
type pure struct {
	stateless
	in  [3]format.Ref
	out format.Ref
	f   func(y []float32, x [3][]float32)
}

func (p *pure) run(s *machine, n int) {
	for t := range n {
		var x [3][]float32
		for i, r := range p.in {
			if r.Width > 0 {
				x[i] = s.at(r, t)
			}
		}
		p.f(s.at(p.out, t), x)
	}
}

func newPure(b *builder, op *format.Op) node {
	f := b.file
	alpha, beta := parameters(f, op)
	p := &pure{out: op.Out, f: function(op.Kind, alpha, beta, f.Dims(op))}
	copy(p.in[:], op.In)
	return p
}

func parameters(f *format.File, op *format.Op) (a, b float32) {
	if v := f.Arg(op, format.RoleParams); v != nil {
		a = v.F32[0]
		b = v.F32[len(v.F32)-1]
	}
	return a, b
}

var unaries = map[format.Kind]func(y, x []float32){
	format.Sigmoid: kernels.Sigmoid, format.Tanh: kernels.Tanh, format.ReLU: kernels.ReLU, format.Exp: kernels.Exp, format.Log: kernels.Log,
	format.Sqrt: kernels.Sqrt, format.Abs: kernels.Abs, format.Round: kernels.Round, format.Floor: kernels.Floor, format.Erf: kernels.Erf,
	format.Softplus: kernels.Softplus, format.Softsign: kernels.Softsign,
}

var binaries = map[format.Kind]kernels.Arith{
	format.Add: kernels.Add, format.Sub: kernels.Sub, format.Mul: kernels.Mul, format.Div: kernels.Div, format.Minimum: kernels.Minimum,
	format.Maximum: kernels.Maximum, format.Pow: kernels.Pow, format.Less: kernels.Less, format.Equal: kernels.Equal,
}

var shaped = map[format.Kind]func(y, x []float32, n int){
	format.Softmax: grouped(kernels.Softmax), format.LogSoftmax: grouped(kernels.LogSoftmax), format.Sum: kernels.Sum, format.Product: kernels.Product,
	format.Lowest: kernels.Lowest, format.Highest: kernels.Highest,
}

// grouped applies f to every n neighbours; n of 0 is all.
func grouped(f func(y, x []float32)) func(y, x []float32, n int) {
	return func(y, x []float32, n int) {
		if n == 0 {
			n = len(x)
		}
		for i := 0; i < len(x); i += n {
			f(y[i:i+n], x[i:i+n])
		}
	}
}

// function is what an operation without state and weights computes, with its parameters a and b and its sizes.
func function(kind format.Kind, a, b float32, dims []int32) func(y []float32, x [3][]float32) {
	if f, ok := unaries[kind]; ok {
		return func(y []float32, x [3][]float32) { f(y, x[0]) }
	}
	if op, ok := binaries[kind]; ok {
		return func(y []float32, x [3][]float32) { kernels.Combine(op, y, x[0], x[1]) }
	}
	n := 0
	if len(dims) > 0 {
		n = int(dims[0])
	}
	if f, ok := shaped[kind]; ok {
		return func(y []float32, x [3][]float32) { f(y, x[0], n) }
	}
	switch kind {
	case format.Select:
		return func(y []float32, x [3][]float32) { kernels.Select(y, x[0], x[1], x[2]) }
	case format.Clip:
		return func(y []float32, x [3][]float32) { kernels.Clip(y, x[0], a, b) }
	case format.ELU:
		return func(y []float32, x [3][]float32) { kernels.ELU(y, x[0], a) }
	case format.LeakyReLU:
		return func(y []float32, x [3][]float32) { kernels.LeakyReLU(y, x[0], a) }
	case format.ThresholdedReLU:
		return func(y []float32, x [3][]float32) { kernels.ThresholdedReLU(y, x[0], a) }
	case format.HardSigmoid:
		return func(y []float32, x [3][]float32) { kernels.HardSigmoid(y, x[0], a, b) }
	case format.Normalise:
		return func(y []float32, x [3][]float32) { kernels.Normalise(y, x[0], n, a) }
	}
	return product(dims) // the file is valid, so this is MatMul
}

func product(dims []int32) func(y []float32, x [3][]float32) {
	batches, m, k, n := int(dims[0]), int(dims[1]), int(dims[2]), int(dims[3])
	return func(y []float32, x [3][]float32) {
		for b := range batches {
			kernels.MatMul(y[b*m*n:][:m*n], x[0][b*m*k:][:m*k], x[1][b*k*n:][:k*n], m, k, n)
		}
	}
}

type constant struct {
	stateless
	out format.Ref
	y   []float32
}

func (c *constant) run(s *machine, n int) {
	for t := range n {
		copy(s.at(c.out, t), c.y)
	}
}

// gather copies runs of neighbouring channels of its inputs side by side.
type gather struct {
	stateless
	in     []format.Ref
	starts []int // of the inputs, and the end of the last one
	out    format.Ref
	runs   []run
	index  []int32 // of single channels of one input, in place of runs
}

// run is n channels from channel from on.
type run struct{ from, n int32 }

func newGather(b *builder, op *format.Op) *gather {
	g := &gather{in: op.In, out: op.Out, starts: make([]int, 1, len(op.In)+1)}
	for i, r := range op.In {
		g.starts = append(g.starts, g.starts[i]+r.Width)
	}
	blob := b.file.Arg(op, format.RoleIndex)
	if b.runs[blob] == nil {
		b.runs[blob] = runsOf(blob.I32)
	}
	g.runs = b.runs[blob]
	if len(op.In) == 1 && len(g.runs) > len(blob.I32)/4 {
		g.index = blob.I32
	}
	return g
}

func runsOf(index []int32) (runs []run) {
	for i, k := range index {
		if last := len(runs) - 1; i > 0 && k == index[i-1]+1 {
			runs[last].n++
		} else {
			runs = append(runs, run{k, 1})
		}
	}
	return runs
}

func (g *gather) run(s *machine, n int) {
	for t := range n {
		g.step(s, t)
	}
}

func (g *gather) step(s *machine, t int) {
	y, in := s.at(g.out, t), 0
	x := s.at(g.in[0], t)
	if g.index != nil {
		for i, k := range g.index {
			y[i] = x[k]
		}
		return
	}
	for _, r := range g.runs {
		for from, n := int(r.from), int(r.n); n > 0; {
			if from < g.starts[in] || from >= g.starts[in+1] {
				in = sort.SearchInts(g.starts, from+1) - 1
				x = s.at(g.in[in], t)
			}
			k := min(n, g.starts[in+1]-from)
			if k == 1 {
				y[0] = x[from-g.starts[in]]
			} else {
				copy(y[:k], x[from-g.starts[in]:])
			}
			y, from, n = y[k:], from+k, n-k
		}
	}
}

// recall puts out a state that store sets for the next step.
type recall struct {
	out     format.Ref
	state   int
	initial []float32
}

func newRecall(b *builder, op *format.Op) *recall {
	r := &recall{out: op.Out, state: b.plan.state}
	if h := b.file.Arg(op, format.RoleH0); h != nil {
		r.initial = h.F32
	}
	b.recalls[op.Out] = r.state
	b.plan.state += op.Out.Width
	return r
}

func (r *recall) reset(state []float32) {
	x := state[r.state:][:r.out.Width]
	clear(x)
	copy(x, r.initial)
}

func (r *recall) run(s *machine, n int) {
	for t := range n {
		copy(s.at(r.out, t), s.stateOf(s.stream(t))[r.state:])
	}
}

type store struct {
	stateless
	in    format.Ref
	state int
}

func (k *store) run(s *machine, n int) {
	for i, stream := range s.streams {
		copy(s.stateOf(stream)[k.state:], s.at(k.in, n-len(s.streams)+i))
	}
}
