package mot

import (
	"fmt"
	"math"

	"github.com/recur-go/recur/models/internal/elementary"
	"github.com/recur-go/recur/runtime"
)

// The learnt filter's network has a stream for each target. docs/mot.md gives the meaning of its inputs and outputs.
const (
	learntInputs  = 4 + 4 + 1 + 1 + 1 + 2 + 1 + 1 + 1
	learntOutputs = 4 + 4 + 4 + 1

	maxShift    = 1
	minLogSigma = -6
	maxLogSigma = 2
	maxCompany  = 8
	maxEdge     = 2
)

// learntState is what the filter keeps of a target beside the network's own state.
type learntState struct {
	held     Box
	delta    shift // to the next frame
	logSigma shift
}

// learnt is a filter whose gain, motion, uncertainty and existence a recurrent network computes.
type learnt struct {
	net          *runtime.Batch
	width        float64 // of the image, or 0
	state, saved []learntState
	streams      []int
	xs, ys       []float32
}

func newLearnt(m *runtime.Model, c *Config) (*learnt, error) {
	if m == nil {
		return nil, fmt.Errorf("motion %s wants a model", c.Motion)
	}
	if m.InputWidth() != learntInputs || m.OutputWidth() != learntOutputs || !m.PerStep() {
		return nil, fmt.Errorf("the motion model takes %d values and gives %d: want %d and %d, at each step", m.InputWidth(), m.OutputWidth(), learntInputs, learntOutputs)
	}
	// The second half of the streams holds what replays begin at.
	net, err := m.NewBatch(2 * c.MaxTargets)
	if err != nil {
		return nil, err
	}
	l := &learnt{net: net, width: c.Width, state: make([]learntState, c.MaxTargets), saved: make([]learntState, c.MaxTargets)}
	return l, nil
}

func (l *learnt) predict(ts []target, slots []int) {
	for _, i := range slots {
		s, t := &l.state[i], &ts[i]
		t.pred = s.held.plus(s.delta)
		t.dead = !t.pred.valid()
		for k, v := range s.logSigma {
			t.sigma[k] = elementary.Exp(v)
		}
	}
}

func (l *learnt) update(ts []target, slots []int, around *surroundings) error {
	l.begin()
	for _, i := range slots {
		t := &ts[i]
		if t.born {
			if err := l.net.Reset(i); err != nil {
				return err
			}
			l.state[i] = learntState{held: t.z}
		}
		x := l.row(i)
		l.observe(x, i, t, t.pred, t.z, t.seen)
		x[10] = float32(float64(min(t.gap, maxGap)) / maxGap)
		for k, v := range around.scene {
			x[11+k] = float32(limit(v/t.pred.H, maxShift))
		}
		x[13] = float32(float64(min(max(around.matched-1, 0), maxCompany)) / maxCompany)
		x[15] = float32(cover(ts, slots, i))
	}
	return l.run(ts)
}

func (l *learnt) replay(ts []target, slots []int) error {
	longest := 0
	for _, i := range slots {
		l.state[i] = l.saved[i]
		if err := l.net.Copy(i, len(l.state)+i); err != nil {
			return err
		}
		longest = max(longest, ts[i].gap)
	}
	for n := 1; n <= longest; n++ {
		l.begin()
		for _, i := range slots {
			if t, s := &ts[i], &l.state[i]; n <= t.gap {
				l.observe(l.row(i), i, t, s.held.plus(s.delta), between(t.last, t.z, float64(n)/float64(t.gap+1)), true)
			}
		}
		if err := l.run(ts); err != nil {
			return err
		}
	}
	for _, i := range slots {
		t := &ts[i]
		if t.pred = l.state[i].held.plus(l.state[i].delta); !t.pred.valid() {
			t.dead, t.pred = true, t.z
		}
	}
	return nil
}

func (l *learnt) save(i int) error {
	l.saved[i] = l.state[i]
	return l.net.Copy(len(l.state)+i, i)
}

// begin starts a step of the network.
func (l *learnt) begin() { l.streams, l.xs = l.streams[:0], l.xs[:0] }

// row adds a target to the step.
func (l *learnt) row(i int) []float32 {
	l.streams = append(l.streams, i)
	n := len(l.xs)
	l.xs = append(l.xs, make([]float32, learntInputs)...)
	return l.xs[n:]
}

// observe writes the inputs that do not depend on other targets, and makes the prediction what the network corrects. A target whose prediction has
// become no box ends.
func (l *learnt) observe(x []float32, i int, t *target, pred, z Box, seen bool) {
	s := &l.state[i]
	if !pred.valid() {
		t.dead = true
		pred = z
	}
	if seen {
		for k, v := range z.minus(pred) {
			x[k] = float32(limit(v, maxShift))
		}
		x[8] = 1
		x[9] = float32(1 - math.Sqrt(min(max(1-t.score, 0), 1)))
	}
	for k, v := range s.delta {
		x[4+k] = float32(v)
	}
	x[14] = 1
	if l.width > 0 {
		x[14] = float32(limit(min(pred.X, l.width-pred.X)/pred.W, maxEdge) / maxEdge)
	}
	s.held = pred
}

// run steps the network and takes its answers.
func (l *learnt) run(ts []target) error {
	n := len(l.streams)
	l.ys = resize(l.ys, n*learntOutputs)
	if err := l.net.Step(l.streams, l.xs, l.ys); err != nil {
		return err
	}
	for k, i := range l.streams {
		y := l.ys[k*learntOutputs:][:learntOutputs]
		s, t := &l.state[i], &ts[i]
		var gain shift
		for c := range gain {
			gain[c] = limit(float64(y[c]), maxShift)
			s.delta[c] = limit(float64(y[4+c]), maxShift)
			s.logSigma[c] = min(max(float64(y[8+c]), minLogSigma), maxLogSigma)
		}
		s.held = s.held.plus(gain)
		t.held, t.exist = s.held, elementary.Sigmoid(float64(y[12]))
		t.dead = t.dead || !t.held.valid()
	}
	return nil
}

func limit(v, most float64) float64 { return min(max(v, -most), most) }

// cover is the greatest share of a target's prediction behind the detection of another that stands lower in the image, so nearer.
func cover(ts []target, slots []int, i int) (most float64) {
	p := &ts[i].pred
	foot := p.Y + half(p.H)
	for _, j := range slots {
		t := &ts[j]
		if j != i && t.seen && t.z.Y+half(t.z.H) > foot {
			most = max(most, intersection(*p, t.z))
		}
	}
	return most / float64(p.W*p.H)
}
