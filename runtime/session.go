package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// BlockSteps is how many vectors go through the weights together: time steps of a sequence, at most, or points of a convolution.
const BlockSteps = 16

// ErrTwoWay is returned by Step of a model that needs the whole sequence.
var ErrTwoWay = errors.New("a two-way model has no single step: the backward layer starts at the end of the sequence; use Run")

// Session is one stream through a model: its state and its working memory. It belongs to one goroutine at a time.
type Session struct {
	m      *Model
	steps  int64 // since Reset
	state  []float32
	input  []float32 // the caller's, during a run
	values []float32 // per-step values, one after the other, each of cap steps
	cap    int
	fixed  []float32 // per-sequence values
	work   kernels.Work
	gates  []float32
	hidden []float32
	rh     []float32 // reset gate times hidden state, of a GRU with FlagResetBefore
	cand   []float32 // its product with the candidate's weights
	zeros  []float32
	patch  []float32 // what a convolution sees at some points
	tap    func(op, t, n int, y []float32)
	tapped []float32

	productTap func(op int, w format.Role, x []float32)
}

// NewSession returns a session at the initial state. Only NewSession allocates, and Run when a sequence of a two-way model is longer
// than all before.
func (m *Model) NewSession() *Session {
	p := &m.plan
	s := &Session{m: m,
		state:  aligned[float32](p.state),
		fixed:  aligned[float32](p.fixed),
		work:   kernels.Work{Q: aligned[int8](2 * BlockSteps * p.cols), Sums: aligned[int32](2 * BlockSteps * p.sums)},
		gates:  aligned[float32](BlockSteps * p.gates),
		hidden: aligned[float32](p.hidden),
		rh:     aligned[float32](p.hidden),
		cand:   aligned[float32](p.hidden),
		zeros:  aligned[float32](p.hidden),
		patch:  aligned[float32](p.patch),
	}
	s.reserve(m.block)
	s.Reset()
	return s
}

func (s *Session) reserve(steps int) {
	if steps > s.cap {
		s.values = aligned[float32](steps * s.m.plan.width)
		s.cap = steps
	}
}

// at returns the channels of r at step t of the block.
func (s *Session) at(r format.Ref, t int) []float32 {
	x, stride := s.rows(r, t)
	return x[:r.Width:min(r.Width, stride)]
}

// rows returns the values of r from step t of the block on, and the distance from one step to the next.
func (s *Session) rows(r format.Ref, t int) (x []float32, stride int) {
	v := &s.m.file.Values[r.Value]
	switch {
	case r.Value == 0:
		return s.input[t*v.Width+r.Offset:], v.Width
	case v.PerStep:
		return s.values[s.m.plan.base[r.Value]*s.cap+t*v.Width+r.Offset:], v.Width
	default:
		return s.fixed[s.m.plan.base[r.Value]+r.Offset:], v.Width
	}
}

// Reset returns to the initial state.
func (s *Session) Reset() {
	s.steps = 0
	for _, n := range s.m.nodes {
		n.reset(s)
	}
}

// Step runs one time step: x holds InputWidth features, y receives OutputWidth values. Where the output is one vector for the
// sequence, it is that of the sequence so far. A wrong length, a NaN or infinite feature, and a two-way model are errors; the state
// is then unchanged.
func (s *Session) Step(x, y []float32) error {
	if s.m.twoWay {
		return ErrTwoWay
	}
	if len(x) != s.m.InputWidth() || len(y) != s.m.OutputWidth() {
		return fmt.Errorf("step of %d features into %d values: the model takes %d and gives %d", len(x), len(y), s.m.InputWidth(), s.m.OutputWidth())
	}
	if err := s.finite(x); err != nil {
		return err
	}
	s.block(x, 1)
	s.copyOut(y, 1)
	return nil
}

// Run runs a sequence of T steps: xs holds T rows of InputWidth features. ys receives T rows of OutputWidth values, or one row where
// the output is one vector for the sequence. A one-way model goes on from its state, exactly as T calls of Step would; a two-way
// model starts at the initial state. Errors are those of Step; the state is then unchanged.
func (s *Session) Run(xs, ys []float32) error {
	in, out := s.m.InputWidth(), s.m.OutputWidth()
	n := len(xs) / in
	want := out
	if s.m.PerStep() {
		want = n * out
	}
	if n == 0 || n*in != len(xs) {
		return fmt.Errorf("sequence of %d values: want 1 or more rows of %d features", len(xs), in)
	}
	if len(ys) != want {
		return fmt.Errorf("output of %d values: %d steps of this model give %d", len(ys), n, want)
	}
	if err := s.finite(xs); err != nil {
		return err
	}
	size := s.m.block
	if s.m.twoWay {
		s.Reset()
		s.reserve(n)
		size = n
	}
	for t := 0; t < n; t += size {
		k := min(size, n-t)
		s.block(xs[t*in:][:k*in], k)
		if s.m.PerStep() {
			s.copyOut(ys[t*out:][:k*out], k)
		}
	}
	if !s.m.PerStep() {
		s.copyOut(ys, 1)
	}
	return nil
}

func (s *Session) finite(x []float32) error {
	const exponent = 0x7f800000
	for i, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			in := s.m.InputWidth()
			return fmt.Errorf("step %d: feature %d (%s) is %v", i/in, i%in, s.m.file.Input.Channels[i%in].Name, v)
		}
	}
	return nil
}

func (s *Session) block(x []float32, n int) {
	s.input = x
	for i, node := range s.m.nodes {
		k := n
		if !s.m.file.PerStep(&s.m.file.Ops[i]) {
			k = 1
		}
		node.run(s, k)
		if s.tap != nil {
			s.observe(i, k)
		}
	}
	s.input = nil
	s.steps += int64(n)
}

func (s *Session) copyOut(y []float32, n int) {
	width := s.m.OutputWidth()
	out := format.Ref{Value: s.m.file.Output, Width: width}
	for t := range n {
		copy(y[t*width:][:width], s.at(out, t))
	}
}

// SetTap makes f see what every operation writes, for calibration and comparison: n steps from step t on, row-major, y valid only
// during the call. A nil f ends it. For per-sequence values n is 1 and t the number of the block's first step.
func (s *Session) SetTap(f func(op, t, n int, y []float32)) { s.tap = f }

// SetProductTap makes f see every vector that a matrix of weights multiplies, in this order: the matrix is that of role w of an operation,
// x is valid only during the call. A reverse operation takes the time steps in blocks of BlockSteps from the end of the sequence on, and
// the input of a block forwards. A nil f ends it.
func (s *Session) SetProductTap(f func(op int, w format.Role, x []float32)) { s.productTap = f }

func (s *Session) observe(i, n int) {
	out := s.m.file.Ops[i].Out
	if !s.m.file.Values[out.Value].PerStep {
		n = 1
	}
	s.tapped = s.tapped[:0]
	for t := range n {
		s.tapped = append(s.tapped, s.at(out, t)...)
	}
	s.tap(i, int(s.steps), n, s.tapped)
}

const savedHeader = 16

// StateSize is the length in bytes of a saved state.
func (s *Session) StateSize() int { return savedHeader + 4*len(s.state) }

// Save writes the state to dst, of StateSize bytes. The same state has the same bytes on every platform.
func (s *Session) Save(dst []byte) error {
	if len(dst) != s.StateSize() {
		return fmt.Errorf("saved state of %d bytes: this model's has %d", len(dst), s.StateSize())
	}
	binary.LittleEndian.PutUint32(dst, s.m.id)
	binary.LittleEndian.PutUint32(dst[4:], uint32(len(s.state)))
	binary.LittleEndian.PutUint64(dst[8:], uint64(s.steps))
	for i, v := range s.state {
		binary.LittleEndian.PutUint32(dst[savedHeader+4*i:], math.Float32bits(v))
	}
	return nil
}

// Restore sets the state to one that Save wrote, of the same model. On an error the state is unchanged.
func (s *Session) Restore(src []byte) error {
	if len(src) != s.StateSize() {
		return fmt.Errorf("saved state of %d bytes: this model's has %d", len(src), s.StateSize())
	}
	if binary.LittleEndian.Uint32(src) != s.m.id || binary.LittleEndian.Uint32(src[4:]) != uint32(len(s.state)) {
		return errors.New("saved state of another model")
	}
	steps := int64(binary.LittleEndian.Uint64(src[8:]))
	if steps < 0 {
		return fmt.Errorf("saved state after %d steps", steps)
	}
	for i := range s.state {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(src[savedHeader+4*i:])); !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
			return fmt.Errorf("saved state: value %d is %v", i, v)
		}
	}
	for i := range s.state {
		s.state[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[savedHeader+4*i:]))
	}
	s.steps = steps
	return nil
}
