package iio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

const (
	defaultPollRate = 100 // samples a second
	maxRefused      = 20  // readings in a row that a driver may refuse, because it or its bus is busy
	maxDigits       = 32
)

// polled is a Source of the readings in sysfs, which are taken one after the other.
type polled struct {
	dev      *Device
	opt      Options
	rate     float64
	channels []sensor.Channel
	kinds    []polledKind
	period   time.Duration
	next     time.Duration
	begun    bool
	refused  int
	text     [maxDigits]byte
}

type polledKind struct {
	scaling
	files [3]*os.File
}

func (d *Device) openPolled(opt Options) (sensor.Source, error) {
	p := &polled{dev: d, opt: opt, rate: opt.Rate}
	if p.rate <= 0 {
		p.rate = defaultPollRate
	}
	p.period = time.Duration(1e9 / p.rate)
	for _, kind := range d.Kinds {
		s, err := d.scaling(kind)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		k := polledKind{scaling: s}
		for i, axis := range []string{"x", "y", "z"} {
			if k.files[i], err = os.Open(d.file("in_" + kind + "_" + axis + "_raw")); err != nil {
				p.kinds = append(p.kinds, k)
				return nil, errors.Join(denied(err), p.Close())
			}
		}
		p.kinds = append(p.kinds, k)
		p.channels = append(p.channels, channels(kind, s.limit(d.bits(kind)))...)
	}
	return p, nil
}

// bits are those of a reading, where the device's buffer says so.
func (d *Device) bits(kind string) int {
	if e, _, err := d.element("in_" + kind + "_x"); err == nil {
		return e.bits
	}
	return 0
}

func (p *polled) Name() string               { return p.dev.String() }
func (p *polled) Channels() []sensor.Channel { return p.channels }
func (p *polled) Rate() float64              { return p.rate }

func (p *polled) Close() error {
	p.opt.Clock.Stop()
	var err error
	for _, k := range p.kinds {
		for _, f := range k.files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}
	return err
}

func (p *polled) Next(s *sensor.Sample) error {
	for {
		if err := p.wait(s); err != nil {
			return err
		}
		begin := p.opt.Clock.Now()
		err := p.read(s.Values)
		if err == nil {
			p.refused = 0
			s.Time = (begin + p.opt.Clock.Now()) / 2
			return nil
		}
		var errno syscall.Errno
		if p.refused++; errors.Is(err, sensor.ErrGone) || !errors.As(err, &errno) || p.refused > maxRefused {
			return err
		}
		s.Lost++
	}
}

// wait sleeps until the next sample is due.
func (p *polled) wait(s *sensor.Sample) error {
	now := p.opt.Clock.Now()
	switch late := now - p.next; {
	case !p.begun:
		p.begun = true
		p.next = now
	case late >= p.period:
		n := late / p.period
		s.Lost += int(n)
		p.next += n * p.period
	}
	if p.next > now && !p.opt.Clock.Sleep(p.next-now) {
		return os.ErrClosed
	}
	p.next += p.period
	return nil
}

func (p *polled) read(values []float32) error {
	for i := range p.kinds {
		k := &p.kinds[i]
		var raw [3]int64
		for axis, f := range k.files {
			n, err := f.ReadAt(p.text[:], 0)
			if n == 0 {
				if err == nil || err == io.EOF {
					return sensor.ErrGone
				}
				return gone(err)
			}
			text := bytes.TrimSpace(p.text[:n])
			if raw[axis], err = strconv.ParseInt(string(text), 10, 64); err != nil {
				return fmt.Errorf("%s holds %.40q, want a number", f.Name(), text)
			}
		}
		k.apply(values[3*i:], &raw)
	}
	return nil
}
