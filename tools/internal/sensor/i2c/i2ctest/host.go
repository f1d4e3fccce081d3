// Package i2ctest models inertial sensors register by register, and a bus to reach them by, in a time of its own.
package i2ctest

import (
	"errors"
	"math"
	"syscall"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/i2c"
)

// Host has chips at a bus. It is the clock of all that happens.
type Host struct {
	Chips   map[uint8]Chip
	Skip    int // transfers that go well from now on
	Fail    int // transfers that fail after them, reads in their midst
	Gone    bool
	Held    uint8 // an address that a kernel driver holds
	now     time.Duration
	stopped bool
	OnSleep func(d time.Duration) time.Duration // how long a sleep takes; nil: as long as asked
}

// Chip is a model: it is asked for registers at times.
type Chip interface {
	Read(now time.Duration, reg byte, b []byte)
	Write(now time.Duration, reg, value byte)
}

// NewHost has these chips at bus 1.
func NewHost(chips map[uint8]Chip) *Host { return &Host{Chips: chips} }

func (h *Host) Now() time.Duration { return h.now }

func (h *Host) Sleep(d time.Duration) bool {
	if h.OnSleep != nil {
		d = h.OnSleep(d)
	}
	h.now += d
	return !h.stopped
}

func (h *Host) Stop() { h.stopped = true }

// Clock is the host's for one more source.
func (h *Host) Clock() sensor.Clock {
	h.stopped = false
	return h
}

// Dial is an i2c.Dial.
func (h *Host) Dial(n int, address uint8) (i2c.Bus, error) {
	if address == h.Held && h.Held != 0 {
		return nil, syscall.EBUSY
	}
	if n != 1 {
		return nil, errors.New("no such bus")
	}
	return &bus{h, address}, nil
}

type bus struct {
	host    *Host
	address uint8
}

// transfer takes time: 9 bits a byte at 400 kHz.
func (b *bus) transfer(n int) (Chip, error) {
	b.host.now += time.Duration(n) * 22500 * time.Nanosecond
	chip := b.host.Chips[b.address]
	if chip == nil || b.host.Gone {
		return nil, syscall.ENXIO
	}
	return chip, nil
}

// failed reports whether a transfer fails.
func (b *bus) failed() bool {
	if b.host.Skip > 0 {
		b.host.Skip--
		return false
	}
	if b.host.Fail == 0 {
		return false
	}
	b.host.Fail--
	return true
}

func (b *bus) Read(reg byte, data []byte) error {
	chip, err := b.transfer(3 + len(data))
	if err != nil {
		return err
	}
	if b.failed() {
		chip.Read(b.host.now, reg, data[:len(data)/3+1])
		return syscall.EIO
	}
	chip.Read(b.host.now, reg, data)
	return nil
}

func (b *bus) Write(reg, value byte) error {
	chip, err := b.transfer(3)
	if err != nil {
		return err
	}
	if b.failed() {
		return syscall.EIO
	}
	chip.Write(b.host.now, reg, value)
	return nil
}

func (b *bus) Close() error { return nil }

// Signal is what a model feels at a time: m/s² and rad/s.
type Signal func(t time.Duration) [6]float64

// sampler makes a sample every period of a chip's own clock.
type sampler struct {
	Signal Signal
	Drift  float64 // the chip's clock is fast by this share
	next   time.Duration
}

// upTo calls f for each sample that is due.
func (s *sampler) upTo(now, period time.Duration, f func(t time.Duration)) {
	period = time.Duration(float64(period) / (1 + s.Drift))
	if s.next < now-10*time.Second {
		s.next = now
	}
	for ; s.next <= now; s.next += period {
		f(s.next)
	}
}

func count(v, unit float64) int16 {
	return int16(min(max(math.Round(v/unit), -32768), 32767))
}
