package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// Phone is a sensor.Source: the motion of the phone that is connected, if one is. Its axes are those of the W3C's Device Orientation and Motion:
// with the phone upright before you, x is to the right, y up and z towards you. A phone's times become the host's when it connects, so that
// a phone that comes back, or another one, makes a gap.
type Phone struct {
	clock  sensor.Clock
	queue  chan sensor.Sample
	closed chan struct{}
	once   sync.Once
	taken  atomic.Bool
	lost   atomic.Int64 // since the last that was queued
}

// phoneQueue is how many samples the program can be behind.
const phoneQueue = 1024

// NewPhone waits for a phone.
func NewPhone(clock sensor.Clock) *Phone {
	return &Phone{clock: clock, queue: make(chan sensor.Sample, phoneQueue), closed: make(chan struct{})}
}

// Name implements sensor.Source.
func (p *Phone) Name() string { return "phone" }

// Channels implements sensor.Source.
func (p *Phone) Channels() []sensor.Channel { return sensor.Motion(0, 0) }

// Rate implements sensor.Source.
func (p *Phone) Rate() float64 { return 0 }

// Next implements sensor.Source.
func (p *Phone) Next(s *sensor.Sample) error {
	select {
	case v := <-p.queue:
		s.Time, s.Lost = v.Time, v.Lost
		copy(s.Values, v.Values)
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	}
}

// Close implements sensor.Source.
func (p *Phone) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

var errTaken = errors.New("another phone is the sensor")

// link is one phone's connection.
type link struct {
	phone  *Phone
	offset time.Duration // host time less the phone's
	last   time.Duration // of the phone
	begun  bool
	count  int // of samples
}

// connect makes a phone the sensor, unless another is.
func (p *Phone) connect() (*link, error) {
	if !p.taken.CompareAndSwap(false, true) {
		return nil, errTaken
	}
	return &link{phone: p}, nil
}

func (l *link) close() { l.phone.taken.Store(false) }

// maxSamples is that of a message.
const maxSamples = 64

// message takes samples as the page sends them: [[t, ax, ay, az, alpha, beta, gamma], …], with t in ms on any clock, m/s² and °/s.
func (l *link) message(text []byte) error {
	var rows [][]*float64
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("sample %d: no JSON of samples: %w", l.count, err)
	}
	if len(rows) == 0 || len(rows) > maxSamples {
		return fmt.Errorf("sample %d: %d samples in a message, want 1 to %d", l.count, len(rows), maxSamples)
	}
	for _, row := range rows {
		if err := l.sample(row); err != nil {
			return fmt.Errorf("sample %d: %w", l.count, err)
		}
		l.count++
	}
	return nil
}

var parts = [...]string{"time", "ax", "ay", "az", "alpha", "beta", "gamma"}

// limit is more than any phone measures, in m/s² and °/s.
const limit = 1e5

func (l *link) sample(row []*float64) error {
	if len(row) != len(parts) {
		return fmt.Errorf("%d values, want %d: time in ms, acceleration in m/s², rotation in °/s", len(row), len(parts))
	}
	for k, v := range row {
		switch {
		case v == nil:
			return fmt.Errorf("%s is missing: the phone does not measure it", parts[k])
		case k > 0 && math.Abs(*v) > limit:
			return fmt.Errorf("%s is %v: no reading", parts[k], *v)
		}
	}
	if ms := *row[0]; !(ms >= 0 && ms < 1e15) {
		return fmt.Errorf("time is %v ms", ms)
	}
	t := time.Duration(*row[0] * 1e6)
	switch {
	case !l.begun:
		l.begun = true
		l.offset = l.phone.clock.Now() - t
	case t <= l.last: // a browser that rounds times, or sends a sample again
		l.phone.lost.Add(1)
		return nil
	}
	l.last = t
	v := make([]float32, 6)
	for k := range 3 {
		v[k] = float32(*row[1+k])
		v[3+k] = float32(*row[4+k] * (math.Pi / 180))
	}
	l.phone.push(sensor.Sample{Time: t + l.offset, Values: v})
	return nil
}

// push never waits for the program: what it has no time for is lost.
func (p *Phone) push(s sensor.Sample) {
	s.Lost = int(p.lost.Swap(0))
	select {
	case p.queue <- s:
	default:
		p.lost.Add(int64(s.Lost) + 1)
	}
}
