package quant

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// Error accumulates the difference between reference values and others.
type Error struct {
	n              int
	signal, noise  float64
	sum            float64
	sumAbs, maxAbs float64
}

// Add compares two slices of equal length.
func (e *Error) Add(ref, got []float32) {
	for i, r := range ref {
		e.add(r, got[i])
	}
}

// add returns the magnitude of the difference.
func (e *Error) add(ref, got float32) float64 {
	d := float64(got) - float64(ref)
	a := math.Abs(d)
	e.n++
	e.signal += float64(ref) * float64(ref)
	e.noise += d * d
	e.sum += d
	e.sumAbs += a
	e.maxAbs = math.Max(e.maxAbs, a)
	return a
}

// SQNR is the signal to quantisation noise ratio in dB: 10 log10(Σ ref² / Σ (ref-got)²); +Inf where nothing differs.
func (e *Error) SQNR() float64 {
	if e.noise == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(e.signal/e.noise)
}

// Relative is the RMS error relative to that of the reference, the same as 10^(-SQNR/20).
func (e *Error) Relative() float64 {
	if e.noise == 0 {
		return 0
	}
	return math.Sqrt(e.noise / e.signal)
}

// Max is the largest absolute error.
func (e *Error) Max() float64 { return e.maxAbs }

// Mean is the mean absolute error.
func (e *Error) Mean() float64 { return e.over(e.sumAbs) }

// Bias is the mean error with its sign.
func (e *Error) Bias() float64 { return e.over(e.sum) }

// Signal is the RMS of the reference.
func (e *Error) Signal() float64 { return math.Sqrt(e.over(e.signal)) }

func (e *Error) over(sum float64) float64 {
	if e.n == 0 {
		return 0
	}
	return sum / float64(e.n)
}

// Octaves is a histogram of magnitudes: element i counts those from 2^(FirstOctave+i) up to twice that. The first counts all that are
// smaller, the last all that are larger.
type Octaves [48]int

// FirstOctave is the exponent of the first element.
const FirstOctave = -36

func (o *Octaves) add(magnitude float64) {
	_, exp := math.Frexp(magnitude) // 0 has 0
	i := exp - 1 - FirstOctave
	if magnitude == 0 {
		i = 0
	}
	o[min(max(i, 0), len(o)-1)]++
}

// Part is how the results of an operation differ in a part of the time steps, or in all.
type Part struct {
	Error
	Octaves Octaves // of the error
	// Clipped of the Activations that the operation's weights multiplied were beyond the range of its int8 scheme.
	Clipped, Activations int
}

func (p *Part) merge(q *Part) {
	p.n += q.n
	p.signal += q.signal
	p.noise += q.noise
	p.sum += q.sum
	p.sumAbs += q.sumAbs
	p.maxAbs = math.Max(p.maxAbs, q.maxAbs)
	for i, n := range q.Octaves {
		p.Octaves[i] += n
	}
	p.Clipped += q.Clipped
	p.Activations += q.Activations
}

func (p *Part) compare(ref, got []float32) {
	for i, r := range ref {
		p.Octaves.add(p.add(r, got[i]))
	}
}

// OpComparison is how the results of an operation differ: over all, and along time where there are results at each step.
type OpComparison struct {
	Part
	Parts []Part // of Comparison.PartSteps steps each
}

// Comparison is how a model differs from a reference with the same operations.
type Comparison struct {
	Ops       []OpComparison
	PartSteps int
	Steps     []Error // of the output by time step, over all sequences; one where the output is per sequence
	Output    Error
	// Decision is what the decisions are, of which there is one an output vector; Changes counts the changed ones by the channel that was
	// and that is the largest.
	Decision           Decision
	Decisions, Changed int
	Changes            map[[2]int]int
}

const maxParts = 64

// Compare runs two models of the same network, such as one in f32 and one in w8a8, over sequences of T rows of features each.
func Compare(ref, got *runtime.Model, seqs [][]float32) (*Comparison, error) {
	if err := sameNetwork(ref, got); err != nil {
		return nil, err
	}
	f := got.File()
	longest := 1
	for _, x := range seqs {
		longest = max(longest, len(x)/ref.InputWidth())
	}
	c := &Comparison{Ops: make([]OpComparison, len(f.Ops)), PartSteps: (longest + maxParts - 1) / maxParts, Decision: DecisionOf(f), Changes: map[[2]int]int{}}
	for i, op := range f.Ops {
		if f.Values[op.Out.Value].PerStep {
			c.Ops[i].Parts = make([]Part, (longest+c.PartSteps-1)/c.PartSteps)
		}
	}
	for i, x := range seqs {
		if err := c.sequence(ref, got, x); err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	for i := range c.Ops {
		for k := range c.Ops[i].Parts {
			c.Ops[i].merge(&c.Ops[i].Parts[k])
		}
	}
	return c, nil
}

func sameNetwork(ref, got *runtime.Model) error {
	a, b := ref.File(), got.File()
	if len(a.Ops) != len(b.Ops) {
		return fmt.Errorf("%d operations against %d: not the same network", len(a.Ops), len(b.Ops))
	}
	for i := range a.Ops {
		if a.Ops[i].Kind != b.Ops[i].Kind || a.Ops[i].Out != b.Ops[i].Out {
			return fmt.Errorf("operation %d is %v %q in one and %v %q in the other: not the same network",
				i, a.Ops[i].Kind, a.Ops[i].Name, b.Ops[i].Kind, b.Ops[i].Name)
		}
	}
	if a.Output != b.Output || ref.InputWidth() != got.InputWidth() {
		return errors.New("inputs or outputs differ: not the same network")
	}
	return nil
}

// sequence compares one sequence, a stretch of it after the other where the models can go on from where they are.
func (c *Comparison) sequence(ref, got *runtime.Model, x []float32) error {
	const stretch = 1024
	a, b := newTracer(ref), newTracer(got)
	b.watch()
	in, n := ref.InputWidth(), stretch
	if ref.TwoWay() {
		n = max(1, len(x)/in)
	}
	for t := 0; t*in < len(x) || t == 0; t += n {
		xs := x[t*in:][:min(n*in, len(x)-t*in)]
		if err := a.run(xs); err != nil {
			return err
		}
		if err := b.run(xs); err != nil {
			return err
		}
		c.stretch(a, b, t, len(xs)/in)
		if ref.PerStep() {
			c.outputs(t, a.y, b.y, ref.OutputWidth())
		}
	}
	for i := range c.Ops {
		if c.Ops[i].Parts == nil {
			c.Ops[i].compare(a.ops[i], b.ops[i])
		}
	}
	if !ref.PerStep() {
		c.outputs(0, a.y, b.y, ref.OutputWidth())
	}
	return nil
}

// stretch compares n steps from step t on, of the operations with results at each step.
func (c *Comparison) stretch(a, b *tracer, t, n int) {
	for i := range c.Ops {
		o := &c.Ops[i]
		if o.Parts == nil {
			for _, clips := range b.clips[i] {
				clips.each(func(_, clipped int) { o.clip(clipped, clips.width) })
			}
			continue
		}
		w := len(a.ops[i]) / n
		for k := range n {
			o.Parts[(t+k)/c.PartSteps].compare(a.ops[i][k*w:][:w], b.ops[i][k*w:][:w])
		}
		for _, clips := range b.clips[i] {
			clips.each(func(row, clipped int) {
				o.Parts[(t+clips.step(row, n))/c.PartSteps].clip(clipped, clips.width)
			})
		}
	}
}

func (p *Part) clip(clipped, of int) {
	p.Clipped += clipped
	p.Activations += of
}

// outputs compares outputs from step t on.
func (c *Comparison) outputs(t int, ya, yb []float32, width int) {
	for ; len(ya) > 0; t++ {
		a, b := ya[:width], yb[:width]
		ya, yb = ya[width:], yb[width:]
		for t >= len(c.Steps) {
			c.Steps = append(c.Steps, Error{})
		}
		c.Steps[t].Add(a, b)
		c.Output.Add(a, b)
		c.Decisions++
		if c.Decision.changed(a, b) {
			c.Changed++
			if c.Decision != Above {
				c.Changes[[2]int{argmax(a), argmax(b)}]++
			}
		}
	}
}

// tracer runs a model and keeps what its operations write.
type tracer struct {
	m     *runtime.Model
	s     *runtime.Session
	y     []float32
	ops   [][]float32 // all steps of the stretch, or the last result of the sequence
	clips []map[format.Role]*clips
}

func newTracer(m *runtime.Model) *tracer {
	f := m.File()
	t := &tracer{m: m, s: m.NewSession(), ops: make([][]float32, len(f.Ops)), clips: make([]map[format.Role]*clips, len(f.Ops))}
	t.s.SetTap(func(op, _, _ int, v []float32) {
		if !f.Values[f.Ops[op].Out.Value].PerStep {
			t.ops[op] = t.ops[op][:0]
		}
		t.ops[op] = append(t.ops[op], v...)
	})
	return t
}

func (t *tracer) run(x []float32) error {
	for i := range t.ops {
		t.ops[i] = t.ops[i][:0]
		for _, c := range t.clips[i] {
			c.rows = c.rows[:0]
		}
	}
	t.y = make([]float32, outputs(t.m, x))
	return t.s.Run(x, t.y)
}

// clips are how many activations were beyond the range, of each vector that a matrix multiplied.
type clips struct {
	inv      []float32
	most     float32 // integer that is not clipped
	width    int
	backward bool
	input    bool
	rows     []int
}

// watch counts what is clipped.
func (t *tracer) watch() {
	f := t.m.File()
	t.s.SetProductTap(func(i int, w format.Role, x []float32) {
		op := &f.Ops[i]
		if op.Scheme == format.F32 {
			return
		}
		c := t.clips[i][w]
		if c == nil {
			c = newClips(f, op, w, len(x))
			if t.clips[i] == nil {
				t.clips[i] = map[format.Role]*clips{}
			}
			t.clips[i][w] = c
		}
		c.count(x)
	})
}

func newClips(f *format.File, op *format.Op, w format.Role, width int) *clips {
	inv, most := format.RoleXInv, float32(kernels.MaxI8+0.5) // what is nearer to the last integer than to one beyond is not changed
	if w != format.RoleW {
		inv = format.RoleHInv
	}
	if op.Scheme == format.W8A16 {
		most = kernels.MaxI16
	}
	return &clips{inv: f.Arg(op, inv).F32, most: most, width: width, input: w == format.RoleW,
		backward: op.Flags&format.FlagReverse != 0 && f.Blocks(op) == 0}
}

func (c *clips) count(x []float32) {
	n := 0
	for k, v := range x {
		if abs(v*c.inv[k]) > c.most {
			n++
		}
	}
	c.rows = append(c.rows, n)
}

func (c *clips) each(f func(row, clipped int)) {
	for i, n := range c.rows {
		f(i, n)
	}
}

// step is the time step of a row, of n steps that were run together.
func (c *clips) step(row, n int) int {
	t := row * n / len(c.rows)
	if !c.backward {
		return t
	}
	if !c.input {
		return n - 1 - t
	}
	block := min(n-t/runtime.BlockSteps*runtime.BlockSteps, runtime.BlockSteps)
	return n - t/runtime.BlockSteps*runtime.BlockSteps - block + t%runtime.BlockSteps
}
