package sensor

import (
	"fmt"
	"time"
)

// Join makes one source of two on the same clock, such as an accelerometer and a gyroscope that are devices of their own: the samples are
// those of the first, and the values of the second are interpolated linearly between the two around each. Closing it closes both.
func Join(a, b Source) Source {
	n := len(b.Channels())
	j := &joined{a: a, b: b, name: a.Name() + " and " + b.Name()}
	j.from.Values, j.to.Values = make([]float32, n), make([]float32, n)
	return j
}

type joined struct {
	a, b     Source
	name     string
	first    Sample // of a, in the caller's values
	from, to Sample // of b
	have     int    // samples of b that are connected, up to 2
	back     bool   // b's clock has jumped back
}

// maxWait is how many samples of one source may come for one of the other.
const maxWait = 4096

func (j *joined) Name() string { return j.name }
func (j *joined) Channels() []Channel {
	return append(append([]Channel(nil), j.a.Channels()...), j.b.Channels()...)
}
func (j *joined) Rate() float64 { return j.a.Rate() }

func (j *joined) Close() error {
	err := j.a.Close()
	if e := j.b.Close(); err == nil {
		err = e
	}
	return err
}

func (j *joined) Next(s *Sample) error {
	n := len(s.Values) - len(j.to.Values)
	j.first = Sample{Values: s.Values[:n], Lost: s.Lost}
	for range maxWait {
		if err := j.a.Next(&j.first); err != nil {
			return err
		}
		ready, err := j.follow(j.first.Time)
		if err != nil {
			return err
		}
		if ready {
			s.Time, s.Lost = j.first.Time, j.first.Lost
			j.interpolate(s.Values[n:], s.Time)
			return nil
		}
	}
	return j.apart()
}

func (j *joined) apart() error {
	return fmt.Errorf("the clocks of %s and %s are apart", j.a.Name(), j.b.Name())
}

// apartBy is the distance at which one of two clocks has jumped back and the other is about to.
const apartBy = time.Second

// follow reads b up to time t, and reports whether t lies between two of its samples.
func (j *joined) follow(t time.Duration) (ready bool, err error) {
	for range maxWait {
		switch {
		case j.have == 2 && j.to.Time >= t && t >= j.from.Time-apartBy:
			return t >= j.from.Time, nil
		case j.back && t > j.to.Time+apartBy:
			return false, nil
		}
		if err := j.read(); err != nil {
			return false, err
		}
	}
	return false, j.apart()
}

// read takes the next sample of b. Where it is unconnected with the one before, so are the joined ones.
func (j *joined) read() error {
	j.from.Time, j.from.Values, j.to.Values = j.to.Time, j.to.Values, j.from.Values
	j.to.Lost = 0
	if err := j.b.Next(&j.to); err != nil {
		return err
	}
	if j.have == 0 {
		j.have = 1
		return nil
	}
	step := j.to.Time - j.from.Time
	gap := j.b.Rate() > 0 && step.Seconds() > DefaultMaxGap/j.b.Rate()
	switch {
	case step <= 0, gap, j.to.Lost == Overflow:
		j.first.Lost = Overflow
	case j.first.Lost != Overflow:
		j.first.Lost += j.to.Lost
	}
	j.have, j.back = 2, step <= 0
	if j.back {
		j.have = 1
	}
	return nil
}

func (j *joined) interpolate(values []float32, t time.Duration) {
	f := float64(t-j.from.Time) / float64(j.to.Time-j.from.Time)
	for k, v := range j.from.Values {
		values[k] = float32(float64(v) + float64(f*(float64(j.to.Values[k])-float64(v))))
	}
}
