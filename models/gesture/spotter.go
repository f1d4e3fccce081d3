package gesture

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// Event is a gesture that was found.
type Event struct {
	Start, End float64 // s, times of its first and last sample
	Label      string
	Confidence float32 // 0 to 1: the label's share among all labels
}

// Spotter finds gestures in a stream of samples. It belongs to one goroutine.
type Spotter struct {
	model   *runtime.Model
	session *runtime.Session
	input   baseline
	gate    gate
	detect  detector
	x, p    []float32
	rest    []float32 // the answer where nothing moves: "none"
	answer  []float32 // to the last sample
	last    float64   // time of the last sample
}

// NewSpotter makes a spotter for a one-way model that ends in a softmax over labels, of which one says that there is no gesture. The
// constants of the spotter are in the model's metadata; MODEL_CARD.md lists them.
func NewSpotter(m *runtime.Model) (*Spotter, error) {
	f := m.File()
	switch {
	case m.TwoWay():
		return nil, errors.New("a two-way model cannot follow a stream")
	case !m.PerStep():
		return nil, errors.New("the model has one output for the sequence, want one a sample")
	case f.Ops[len(f.Ops)-1].Kind != format.Softmax:
		return nil, fmt.Errorf("the model ends in %v, want softmax", f.Ops[len(f.Ops)-1].Kind)
	case len(f.Labels) < 2:
		return nil, errors.New("the model has no labels")
	}
	if err := checkLabels(f.Labels); err != nil {
		return nil, err
	}
	in, out := m.InputWidth(), m.OutputWidth()
	meta := newMeta(f)
	s := &Spotter{
		model:   m,
		session: m.NewSession(),
		input:   baseline{scale: meta.scale(in), alpha: meta.float("alpha", 0, 1), level: make([]float32, in)},
		gate:    newGate(meta, in),
		detect:  newDetector(meta, f.Labels),
		x:       make([]float32, in),
		p:       make([]float32, out),
		rest:    make([]float32, out),
	}
	if err := meta.end(); err != nil {
		return nil, err
	}
	s.rest[s.detect.none] = 1
	s.answer = s.rest
	s.Reset()
	return s, nil
}

// Reset forgets all samples.
func (s *Spotter) Reset() {
	s.session.Reset()
	s.input.begun = false
	s.gate.reset()
	s.detect.reset()
	s.answer = s.rest
	s.last = math.Inf(-1)
}

// Push takes the sample of time t in seconds. Where it ends a gesture, ok is true. A sample that cannot be used is an *InputError, and
// changes nothing. Push allocates only errors.
func (s *Spotter) Push(sample []float32, t float64) (e Event, ok bool, err error) {
	if err := checkSample(sample, s.model); err != nil {
		return Event{}, false, err
	}
	if !(t > s.last && t <= math.MaxFloat64) {
		return Event{}, false, s.timeError(t)
	}
	s.last = t
	s.input.next(s.x, sample)
	p := s.rest
	if s.gate.awake(s.x) {
		p = s.p
		if err := s.session.Step(s.x, p); err != nil {
			return Event{}, false, err
		}
	}
	s.answer = p
	e, ok = s.detect.push(p, t)
	return e, ok, nil
}

// Probabilities are the network's answer to the last sample, one for each label: where the motion gate spares it the sample, "none" has 1. They
// are about the sample that Delay says, and hold until the next Push.
func (s *Spotter) Probabilities() []float32 { return s.answer }

func (s *Spotter) timeError(t float64) error {
	reason := fmt.Sprintf("%v s is not after %v s", t, s.last)
	if math.IsNaN(t) || math.IsInf(t, 0) {
		reason = fmt.Sprintf("%v is no time", t)
	}
	return &InputError{Column: len(s.x) + 1, Name: timeName, Reason: reason}
}

// Flush ends the stream: where a gesture has begun, ok is true.
func (s *Spotter) Flush() (e Event, ok bool) { return s.detect.close() }

// detector turns the network's answers, a softmax a row, into events: a gesture is a run of rows in which "none" is improbable.
type detector struct {
	labels  []string
	none    int
	unlike  int     // label of a gesture that is none of the others, and dropped; -1: there is none
	delay   int     // rows by which the answers are late
	on      float32 // probability of any gesture that opens one
	off     float32 // below it a row is quiet
	hold    int     // quiet rows that close it
	minRows int     // shorter ones are dropped
	decay   float32 // of the summed answers, each row that is not quiet: the last have seen the whole gesture
	pause   int     // rows after an event in which none opens

	times       []float64 // of the latest delay+1 rows, row r in times[r % (delay+1)]
	row         int64
	opens       int64 // first row that may open one
	active      bool
	first, last int64
	start, end  float64
	total       []float32
}

const maxRows = 1 << 16

func newDetector(m *meta, labels []string) detector {
	d := detector{
		labels:  labels,
		none:    slices.Index(labels, m.take("none")),
		delay:   m.count("delay", 0, maxRows),
		on:      m.float("on", 1e-6, 1),
		hold:    m.count("hold", 1, maxRows),
		minRows: m.count("min_rows", 1, maxRows),
		decay:   m.float("decay", 0, 1),
		pause:   m.optionalCount("refractory", 0, maxRows),
		total:   make([]float32, len(labels)),
	}
	d.off = m.float("off", 1e-6, d.on)
	d.unlike = -1
	if m.has("unlike") {
		if d.unlike = slices.Index(labels, m.take("unlike")); d.unlike < 0 || d.unlike == d.none {
			m.fail("unlike names none of the other labels")
		}
	}
	if d.none < 0 {
		m.fail("none names none of the labels")
	}
	d.times = make([]float64, d.delay+1)
	return d
}

func (d *detector) reset() {
	d.row, d.opens, d.active = 0, 0, false
}

// answered is the time of the row that the current answer is about.
func (d *detector) answered() float64 {
	return d.times[max(0, d.row-int64(d.delay))%int64(len(d.times))]
}

func (d *detector) push(p []float32, t float64) (e Event, ok bool) {
	d.times[d.row%int64(len(d.times))] = t
	any := 1 - p[d.none]
	switch {
	case d.active:
		if any >= d.off {
			d.last, d.end = d.row, d.answered()
			for k, v := range p {
				d.total[k] = float32(d.total[k]*d.decay) + v
			}
		}
		if d.row-d.last >= int64(d.hold) {
			if e, ok = d.close(); ok {
				d.opens = d.row + 1 + int64(d.pause)
			}
		}
	case any >= d.on && d.row >= d.opens:
		d.active = true
		d.first, d.last = d.row, d.row
		d.start, d.end = d.answered(), d.answered()
		copy(d.total, p)
	}
	d.row++
	return e, ok
}

func (d *detector) close() (e Event, ok bool) {
	if !d.active {
		return Event{}, false
	}
	d.active = false
	if d.last+1-d.first < int64(d.minRows) {
		return Event{}, false
	}
	best, sum := -1, float32(0)
	for k, v := range d.total {
		if k == d.none {
			continue
		}
		sum += v
		if best < 0 || v > d.total[best] {
			best = k
		}
	}
	if best == d.unlike {
		return Event{}, false
	}
	return Event{Start: d.start, End: d.end, Label: d.labels[best], Confidence: d.total[best] / sum}, true
}
