package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// BlockSteps is how many vectors go through the weights together: time steps of a sequence, at most, streams of a batch, or points of a
// convolution.
const BlockSteps = 16

// machine runs the operations of a model over blocks of rows: successive time steps of one stream, or one time step of each of several.
// It holds the states of all its streams, and the memory to work in.
type machine struct {
	m        *Model
	state    []float32 // plan.state values a stream
	states   [][]float32
	steps    []int64   // of each stream, since its Reset
	streams  []int     // those of a block; if there are several, a row is of each
	adjacent bool      // each of them follows the one before
	input    []float32 // the caller's, during a block
	values   []float32 // per-step values, one after the other, each of cap rows
	cap      int
	fixed    []float32 // per-sequence values
	apart    int       // from those of one row to those of the next: 0 where a block is of one stream
	work     kernels.Work
	gates    []float32 // sums of the inputs of cells, and of other products

	// Of every stream of a block, plan.hidden values each.
	products []float32 // sums of the hidden state of a GRU
	last     []float32 // hidden states, where they do not lie evenly
	rh       []float32 // reset gate times hidden state, of a GRU with FlagResetBefore
	cand     []float32 // its product with the candidate's weights

	patch []float32 // what a convolution sees at some points

	tap    func(op, t, n int, y []float32)
	tapped []float32

	productTap func(op int, w format.Role, x []float32)
}

// newMachine returns a machine with all of its streams at the initial state, for blocks of up to wide streams.
func (m *Model) newMachine(streams, wide int) machine {
	p := &m.plan
	s := machine{m: m,
		state:    aligned[float32](streams * p.state),
		steps:    make([]int64, streams),
		fixed:    aligned[float32](wide * p.fixed),
		work:     kernels.Work{Q: aligned[int8](2 * BlockSteps * p.cols), Sums: aligned[int32](2 * BlockSteps * p.sums)},
		gates:    aligned[float32](BlockSteps * p.gates),
		products: aligned[float32](wide * p.hidden),
		last:     aligned[float32](wide * p.hidden),
		rh:       aligned[float32](wide * p.hidden),
		cand:     aligned[float32](wide * p.hidden),
		patch:    aligned[float32](p.patch),
	}
	for i := range streams {
		s.states = append(s.states, s.state[i*p.state:][:p.state])
		s.reset(i)
	}
	return s
}

func (s *machine) reserve(rows int) {
	if rows > s.cap {
		s.values = aligned[float32](rows * s.m.plan.width)
		s.cap = rows
	}
}

// at returns the channels of r in a row of the block.
func (s *machine) at(r format.Ref, row int) []float32 {
	x, _ := s.rows(r, row)
	return x[:r.Width:r.Width]
}

// rows returns the values of r from a row of the block on, and the distance from one row to the next.
func (s *machine) rows(r format.Ref, row int) (x []float32, stride int) {
	v := &s.m.plan.places[r.Value]
	switch {
	case r.Value == 0:
		return s.input[row*v.width+r.Offset:], v.width
	case v.perStep:
		return s.values[v.base*s.cap+row*v.width+r.Offset:], v.width
	default:
		return s.fixed[row*s.apart+v.base+r.Offset:], s.apart
	}
}

// stream is that of a row of the block.
func (s *machine) stream(row int) int {
	if len(s.streams) > 1 {
		return s.streams[row]
	}
	return s.streams[0]
}

// stateOf is the state of a stream.
func (s *machine) stateOf(stream int) []float32 { return s.states[stream] }

func (s *machine) reset(stream int) {
	s.steps[stream] = 0
	state := s.stateOf(stream)
	for _, n := range s.m.nodes {
		n.reset(state)
	}
}

// block runs n rows.
func (s *machine) block(x []float32, n int) {
	s.input = x
	for i, node := range s.m.nodes {
		k := n
		if !s.m.plan.perStep[i] {
			k = len(s.streams)
		}
		node.run(s, k)
		if s.tap != nil {
			s.observe(i, k)
		}
	}
	s.input = nil
	for _, k := range s.streams {
		s.steps[k] += int64(s.stepsOf(n))
	}
}

// stepsOf is how many steps of each stream a block of n rows is.
func (s *machine) stepsOf(n int) int {
	if len(s.streams) > 1 {
		return 1
	}
	return n
}

func (s *machine) copyOut(y []float32, n int) {
	width := s.m.OutputWidth()
	out := format.Ref{Value: s.m.file.Output, Width: width}
	for row := range n {
		copy(y[row*width:][:width], s.at(out, row))
	}
}

// observe shows the tap of a session what an operation has written.
func (s *machine) observe(i, n int) {
	out := s.m.file.Ops[i].Out
	if !s.m.file.Values[out.Value].PerStep {
		n = 1
	}
	s.tapped = s.tapped[:0]
	for t := range n {
		s.tapped = append(s.tapped, s.at(out, t)...)
	}
	s.tap(i, int(s.steps[0]), n, s.tapped)
}

// notFinite is the index of the first feature that is NaN or infinite, or -1.
func notFinite(xs []float32) int {
	const exponent = 0x7f800000
	for i, v := range xs {
		if math.Float32bits(v)&exponent == exponent {
			return i
		}
	}
	return -1
}

// featureError names feature i of some rows.
func (s *machine) featureError(xs []float32, i int) error {
	k := i % s.m.InputWidth()
	return fmt.Errorf("feature %d (%s) is %v", k, s.m.file.Input.Channels[k].Name, xs[i])
}

const savedHeader = 16

func (s *machine) stateSize() int { return savedHeader + 4*s.m.plan.state }

func (s *machine) save(stream int, dst []byte) error {
	if len(dst) != s.stateSize() {
		return fmt.Errorf("saved state of %d bytes: this model's has %d", len(dst), s.stateSize())
	}
	state := s.stateOf(stream)
	binary.LittleEndian.PutUint32(dst, s.m.id)
	binary.LittleEndian.PutUint32(dst[4:], uint32(len(state)))
	binary.LittleEndian.PutUint64(dst[8:], uint64(s.steps[stream]))
	for i, v := range state {
		binary.LittleEndian.PutUint32(dst[savedHeader+4*i:], math.Float32bits(v))
	}
	return nil
}

func (s *machine) restore(stream int, src []byte) error {
	if len(src) != s.stateSize() {
		return fmt.Errorf("saved state of %d bytes: this model's has %d", len(src), s.stateSize())
	}
	state := s.stateOf(stream)
	if binary.LittleEndian.Uint32(src) != s.m.id || binary.LittleEndian.Uint32(src[4:]) != uint32(len(state)) {
		return errors.New("saved state of another model")
	}
	steps := int64(binary.LittleEndian.Uint64(src[8:]))
	if steps < 0 {
		return fmt.Errorf("saved state after %d steps", steps)
	}
	for i := range state {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(src[savedHeader+4*i:])); !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
			return fmt.Errorf("saved state: value %d is %v", i, v)
		}
	}
	for i := range state {
		state[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[savedHeader+4*i:]))
	}
	s.steps[stream] = steps
	return nil
}
