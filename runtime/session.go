package runtime

import (
	"errors"
	"fmt"

	"github.com/recur-go/recur/runtime/format"
)

// ErrTwoWay is returned by Step of a model that needs the whole sequence.
var ErrTwoWay = errors.New("a two-way model has no single step: the backward layer starts at the end of the sequence; use Run")

// Session is one stream through a model: its state and its working memory. It belongs to one goroutine at a time.
type Session struct{ machine }

// NewSession returns a session at the initial state. Only NewSession allocates, and Run when a sequence of a two-way model is longer
// than all before.
func (m *Model) NewSession() *Session {
	s := &Session{m.newMachine(1, 1)}
	s.streams, s.adjacent = []int{0}, true
	s.reserve(m.block)
	return s
}

// Reset returns to the initial state.
func (s *Session) Reset() { s.reset(0) }

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

func (s *Session) finite(xs []float32) error {
	if i := notFinite(xs); i >= 0 {
		return fmt.Errorf("step %d: %w", i/s.m.InputWidth(), s.featureError(xs, i))
	}
	return nil
}

// SetTap makes f see what every operation writes, for calibration and comparison: n steps from step t on, row-major, y valid only
// during the call. A nil f ends it. For per-sequence values n is 1 and t the number of the block's first step.
func (s *Session) SetTap(f func(op, t, n int, y []float32)) { s.tap = f }

// SetProductTap makes f see every vector that a matrix of weights multiplies, in this order: the matrix is that of role w of an operation,
// x is valid only during the call. A reverse operation takes the time steps in blocks of BlockSteps from the end of the sequence on, and
// the input of a block forwards. A nil f ends it.
func (s *Session) SetProductTap(f func(op int, w format.Role, x []float32)) { s.productTap = f }

// StateSize is the length in bytes of a saved state.
func (s *Session) StateSize() int { return s.stateSize() }

// Save writes the state to dst, of StateSize bytes. The same state has the same bytes on every platform.
func (s *Session) Save(dst []byte) error { return s.save(0, dst) }

// Restore sets the state to one that Save wrote, of the same model. On an error the state is unchanged.
func (s *Session) Restore(src []byte) error { return s.restore(0, src) }
