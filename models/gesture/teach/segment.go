package teach

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/models/internal/elementary"
)

// Segmenter finds gestures in samples as movement between rests. It first wants a second of rest, to see how restless the sensor is.
type Segmenter struct {
	channels int
	inv      []float32 // 1 / unit
	rate     float64
	level    []float64 // follows the samples quickly
	smooth   float64   // movement, averaged
	noise    float64   // and its least in the first rest
	seen     int

	rows  []float32 // latest samples, or the gesture and what is before it
	state state
	loud  int // samples in a row that move
	quiet int // and that do not
	first int // row of rows
	last  int // the last that moved
}

type state int

const (
	settling state = iota // learning what rest is
	waiting
	moving
)

// How movement is told from rest: the mean over the channels of the distance from a level that follows, in units of the network's input, smoothed.
// docs/teaching.md says how the values were found.
const (
	follow    = 0.26 // s, time constant of the level
	smooth    = 0.1  // s, of the movement
	leastLoud = 0.25 // movement that begins a gesture, at least
	overNoise = 3.0  // times the movement at rest
	off       = 0.8  // share of that which goes on
	settle    = 1.0  // s
	ahead     = 0.15 // s before the movement shows that it began
	behind    = 0.1  // s that it still shows when it has ended
	pause     = 0.5  // s of rest that end it
	besides   = 0.5  // s of rest that are kept at either side
	shortest  = 0.2  // s
	longest   = 4.0  // s
	flat      = 0.16 // s at a limit of the sensor
)

// ErrRefused is wrapped by what a movement is refused for.
var ErrRefused = errors.New("not used")

// NewSegmenter is for samples at this rate of a second, of channels with these units.
func NewSegmenter(units []float32, rate float64) *Segmenter {
	s := &Segmenter{channels: len(units), rate: rate, level: make([]float64, len(units))}
	for _, u := range units {
		s.inv = append(s.inv, 1/u)
	}
	return s
}

func (s *Segmenter) samples(seconds float64) int { return max(1, int(math.Round(seconds*s.rate))) }

// Settled reports whether the first rest is over.
func (s *Segmenter) Settled() bool { return s.state != settling }

// Push takes a sample. Where it ends a gesture, the result is the gesture with the rest beside it; a movement that is no good example is an
// error that wraps ErrRefused.
func (s *Segmenter) Push(sample []float32) (*Example, error) {
	m := s.movement(sample)
	s.rows = append(s.rows, sample...)
	loud := max(leastLoud, overNoise*s.noise)
	switch s.state {
	case settling:
		if s.seen <= s.samples(settle)/3 || m < s.noise {
			s.noise = m
		}
		if s.seen >= s.samples(settle) {
			s.state = waiting
		}
	case waiting:
		if m < loud {
			s.loud = 0
		} else if s.loud++; s.loud >= 2 {
			s.state, s.quiet = moving, 0
			s.last = s.count() - 1
			s.first = max(0, s.last-1-s.samples(ahead))
			return nil, nil
		}
	case moving:
		if m >= loud*off {
			s.quiet, s.last = 0, s.count()-1
		} else {
			s.quiet++
		}
		if s.count()-s.first > s.samples(longest+1) { // no need to keep more
			s.rows = slices.Delete(s.rows, (s.first+s.samples(longest))*s.channels, (s.first+s.samples(longest)+1)*s.channels)
			s.last = min(s.last, s.count()-1)
		}
		if s.quiet >= s.samples(pause) {
			return s.end()
		}
		return nil, nil
	}
	s.forget()
	return nil, nil
}

// Break is for samples that do not go on from those before.
func (s *Segmenter) Break() {
	if s.state == moving {
		s.state = waiting
	}
	s.rows, s.loud, s.seen = s.rows[:0], 0, 0
}

// Moving reports whether a movement is in progress.
func (s *Segmenter) Moving() bool { return s.state == moving }

func (s *Segmenter) count() int { return len(s.rows) / s.channels }

// forget keeps the latest samples only.
func (s *Segmenter) forget() {
	if n := s.count() - s.samples(besides+ahead); n > 0 {
		s.rows = slices.Delete(s.rows, 0, n*s.channels)
	}
}

func (s *Segmenter) movement(sample []float32) (sum float64) {
	if s.seen == 0 {
		for k, v := range sample {
			s.level[k] = float64(v)
		}
	}
	s.seen++
	for k, v := range sample {
		d := float64(v) - s.level[k]
		s.level[k] += float64(d * share(follow, s.rate))
		sum += float64(math.Abs(d) * float64(s.inv[k]))
	}
	s.smooth += float64((sum/float64(s.channels) - s.smooth) * share(smooth, s.rate))
	return s.smooth
}

// share is by which a level moves each sample that follows with a time constant in seconds.
func share(constant, rate float64) float64 { return 1 - elementary.Exp(-1/(constant*rate)) }

func (s *Segmenter) end() (*Example, error) {
	e := &Example{Rows: slices.Clone(s.rows), First: s.first, End: max(s.first+1, s.last+1-s.samples(behind))}
	s.state, s.loud = waiting, 0
	s.forget()
	return e, Good(e, s.channels, s.rate)
}

// Good says what is wrong with an example: too short, too long, or at a limit of the sensor. Such errors wrap ErrRefused.
func Good(e *Example, channels int, rate float64) error {
	length := float64(e.End-e.First) / rate
	switch {
	case length < shortest:
		return fmt.Errorf("%w: too short, %.2f s", ErrRefused, length)
	case length > longest:
		return fmt.Errorf("%w: longer than %.0f s", ErrRefused, longest)
	}
	for k := range channels {
		if n, v := plateau(e, channels, k); float64(n) >= flat*rate && n >= 4 {
			return fmt.Errorf("%w: channel %d stays at %v, as if at the limit of the sensor", ErrRefused, k+1, v)
		}
	}
	return nil
}

// plateau is how long a channel stays at its largest or smallest value of the example, between others.
func plateau(e *Example, channels, k int) (longest int, at float32) {
	lo, hi := e.Rows[k], e.Rows[k]
	for i := k; i < len(e.Rows); i += channels {
		lo, hi = min(lo, e.Rows[i]), max(hi, e.Rows[i])
	}
	run := 0
	for t := e.First; t < e.End; t++ {
		v := e.Rows[t*channels+k]
		if v != lo && v != hi || t > e.First && v != e.Rows[(t-1)*channels+k] {
			run = 0
		}
		if v == lo || v == hi {
			if run++; run > longest {
				longest, at = run, v
			}
		}
	}
	if hi == lo { // it does not move at all
		return 0, lo
	}
	return longest, at
}
