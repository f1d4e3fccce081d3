package main

import (
	"fmt"
	"slices"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime"
)

// decision is what the classifier said about a segment.
type decision struct {
	label, truth string
	subject      int
}

func classify(m *runtime.Model, recordings []*recording) ([]decision, error) {
	c, err := gesture.NewClassifier(m)
	if err != nil {
		return nil, err
	}
	in := m.InputWidth()
	var out []decision
	for _, r := range recordings {
		for _, s := range r.truth {
			label, _, err := c.ClassifyAfter(r.samples[:s.first*in], r.samples[s.first*in:s.end*in])
			if err != nil {
				return nil, err
			}
			out = append(out, decision{label, s.label, r.subject})
		}
	}
	return out, nil
}

func right(ds []decision) (n int) {
	for _, d := range ds {
		if d.label == d.truth {
			n++
		}
	}
	return n
}

func percent(ds []decision) float64 { return 100 * float64(right(ds)) / float64(len(ds)) }

func changedDecisions(a, b []decision) (n int) {
	for i := range a {
		if a[i].label != b[i].label {
			n++
		}
	}
	return n
}

// changedSequences counts the recordings in which other labels were found.
func changedSequences(a, b [][]span) (n int) {
	same := func(a, b span) bool { return a.label == b.label }
	for i := range a {
		if !slices.EqualFunc(a[i], b[i], same) {
			n++
		}
	}
	return n
}

// spot finds the events of each recording.
func spot(m *runtime.Model, recordings []*recording) ([][]span, error) {
	s, err := gesture.NewSpotter(m)
	if err != nil {
		return nil, err
	}
	var out [][]span
	for _, r := range recordings {
		events, err := follow(s, m.InputWidth(), r)
		if err != nil {
			return nil, fmt.Errorf("subject %d, measurement %d: %w", r.subject, r.measurement, err)
		}
		out = append(out, events)
	}
	return out, nil
}

// follow runs a recording through a spotter. Time is counted in rows, so that the spans are rows.
func follow(s *gesture.Spotter, in int, r *recording) (events []span, err error) {
	s.Reset()
	add := func(e gesture.Event, ok bool) {
		if ok {
			events = append(events, span{e.Label, int(e.Start), int(e.End) + 1})
		}
	}
	for t := range r.rows {
		e, ok, err := s.Push(r.samples[t*in:][:in], float64(t))
		if err != nil {
			return nil, err
		}
		add(e, ok)
	}
	e, ok := s.Flush()
	add(e, ok)
	return events, nil
}

// score counts events against the true gestures.
type score struct {
	gestures int
	right    int // matched, with the right label
	wrong    int // matched, with another label
	missed   int // true gestures that no event matched
	extra    int // events that matched no gesture: the false ones
}

func (s *score) add(o score) {
	s.gestures += o.gestures
	s.right += o.right
	s.wrong += o.wrong
	s.missed += o.missed
	s.extra += o.extra
}

// total scores all recordings.
func total(events [][]span, recordings []*recording) (all score) {
	for i, r := range recordings {
		all.add(match(events[i], r.truth))
	}
	return all
}

func (s *score) f1() float64 {
	return 200 * float64(s.right) / float64(2*s.gestures-s.missed+s.extra)
}

func (s *score) percent(n int) float64 { return 100 * float64(n) / float64(s.gestures) }

// hits gives the true gesture that each event matches, -1 for none. Both lists are walked in time order: an event matches the earliest true
// gesture not yet passed that it overlaps by at least half of the shorter of the two, and every true gesture is matched once. So an event out of
// order, or a second one on the same gesture, is false.
func hits(events, truth []span) []int {
	out := make([]int, len(events))
	next := 0
	for i, e := range events {
		out[i] = -1
		for j := next; j < len(truth); j++ {
			t := truth[j]
			overlap := min(e.end, t.end) - max(e.first, t.first)
			if 2*overlap >= min(e.end-e.first, t.end-t.first) {
				out[i], next = j, j+1
				break
			}
		}
	}
	return out
}

// match scores the events of a recording.
func match(events, truth []span) score {
	s := score{gestures: len(truth)}
	for i, j := range hits(events, truth) {
		switch {
		case j < 0:
			s.extra++
		case truth[j].label == events[i].label:
			s.right++
		default:
			s.wrong++
		}
	}
	s.missed = s.gestures - s.right - s.wrong
	return s
}
