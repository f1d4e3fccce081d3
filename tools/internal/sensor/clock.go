package sensor

import (
	"sync"
	"time"
)

// Clock is the time of sources whose samples bear none.
type Clock interface {
	// Now never goes back.
	Now() time.Duration
	// Sleep reports whether it was not stopped. It allocates nothing.
	Sleep(time.Duration) bool
	// Stop ends a Sleep in progress and all later ones.
	Stop()
}

type hostClock struct {
	start time.Time
	timer *time.Timer
	stop  chan struct{}
	once  sync.Once
}

// HostClock begins at zero.
func HostClock() Clock {
	return &hostClock{start: time.Now(), timer: time.NewTimer(time.Hour), stop: make(chan struct{})}
}

func (c *hostClock) Now() time.Duration { return time.Since(c.start) }

func (c *hostClock) Sleep(d time.Duration) bool {
	select {
	case <-c.stop:
		return false
	default:
	}
	c.timer.Reset(d)
	select {
	case <-c.timer.C:
		return true
	case <-c.stop:
		return false
	}
}

func (c *hostClock) Stop() { c.once.Do(func() { close(c.stop) }) }

// Stamps gives times to samples that arrive in bursts and bear none: a sensor's own clock is even, but not exactly at its nominal rate,
// and the host sees it late by varying amounts. The period and the phase follow the arrivals as in an alpha-beta filter.
type Stamps struct {
	nominal, period float64 // ns
	last            float64 // ns, time of the last sample
	begun           bool
}

// NewStamps is for a nominal rate in samples a second.
func NewStamps(rate float64) *Stamps { return &Stamps{nominal: 1e9 / rate, period: 1e9 / rate} }

// Period is the present estimate.
func (s *Stamps) Period() time.Duration { return time.Duration(s.period) }

// Reset is for samples that were lost; the estimate of the period stays.
func (s *Stamps) Reset() { s.begun = false }

const (
	phaseGain  = 0.1
	periodGain = 0.005
	tolerance  = 0.15 // of the nominal period: no sensor's clock is worse
)

// Burst takes note of n samples that the host found at time now, and returns the time of the first and the distance of one from the next.
func (s *Stamps) Burst(now time.Duration, n int) (first, period time.Duration) {
	// The newest sample is between none and one period old.
	seen := float64(now) - s.period/2
	if !s.begun {
		s.begun = true
		s.last = seen - s.period*float64(n)
	}
	late := seen - s.last - s.period*float64(n)
	s.period += periodGain * late / float64(n)
	s.period = min(max(s.period, s.nominal*(1-tolerance)), s.nominal*(1+tolerance))
	// A correction of less than half a period a sample keeps times in order.
	limit := s.period / 2
	step := s.period + min(max(phaseGain*late/float64(n), -limit), limit)
	first = time.Duration(s.last + step)
	s.last += step * float64(n)
	return first, time.Duration(step)
}
