package sensor

import (
	"errors"
	"io"
	"math"
	"testing"
	"time"
)

// line is a ramp in the time of the host, stamped with it or with a clock that jumps.
func line(n int, period, first time.Duration, stamp func(time.Duration) time.Duration) *track {
	s := &track{channels: []Channel{{Name: "x"}}, rate: 1 / period.Seconds()}
	for i := range n {
		host := first + time.Duration(i)*period
		s.samples = append(s.samples, Sample{Time: stamp(host), Values: []float32{float32(host.Seconds())}})
	}
	return s
}

func same(t time.Duration) time.Duration { return t }

func TestJoin(t *testing.T) {
	jump := func(t time.Duration) time.Duration {
		if t > 500*ms {
			return t - time.Hour
		}
		return t
	}
	forward := func(t time.Duration) time.Duration {
		if t > 500*ms {
			return t + time.Hour
		}
		return t
	}
	for name, c := range map[string]struct {
		a, b      *track
		lo, hi    int // samples
		overflows int
	}{
		"the same rate":                       {line(100, 10*ms, 0, same), line(100, 10*ms, -3*ms, same), 98, 100, 0},
		"another rate":                        {line(100, 10*ms, 0, same), line(200, 7*ms, 25*ms, same), 97, 97, 0},
		"a slower rate":                       {line(100, 10*ms, 0, same), line(60, 23*ms, -2*ms, same), 99, 100, 0},
		"clocks jump back":                    {line(100, 10*ms, 0, jump), line(120, 9*ms, -5*ms, jump), 97, 99, 1},
		"clocks jump back, the first's first": {line(100, 10*ms, 0, jump), line(120, 9*ms, -4*ms, jump), 97, 100, 1},
		"clocks jump on":                      {line(100, 10*ms, 0, forward), line(120, 9*ms, -5*ms, forward), 99, 100, 1},
	} {
		src := Join(c.a, c.b)
		v := Sample{Values: make([]float32, 2)}
		n, overflows := 0, 0
		for {
			v.Lost = 0
			if err := src.Next(&v); err != nil {
				if err != io.EOF {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			n++
			if v.Lost == Overflow {
				overflows++
			} else if math.Abs(float64(v.Values[0]-v.Values[1])) > 1e-6 {
				t.Errorf("%s: %v", name, v)
			}
		}
		if n < c.lo || n > c.hi || overflows != c.overflows {
			t.Errorf("%s: %d samples, %d overflows; want %d to %d, %d", name, n, overflows, c.lo, c.hi, c.overflows)
		}
	}
}

func TestJoinFailures(t *testing.T) {
	v := Sample{Values: make([]float32, 2)}
	until := func(src Source) (err error) {
		for err == nil {
			err = src.Next(&v)
		}
		return err
	}
	hour := func(t time.Duration) time.Duration { return t + time.Hour }
	for _, pair := range [][2]*track{
		{line(9000, 10*ms, 0, same), line(9000, 10*ms, 0, hour)},
		{line(9000, 10*ms, 0, hour), line(9000, 10*ms, 0, same)},
	} {
		if err := until(Join(pair[0], pair[1])); err == nil || err.Error() != "the clocks of track and track are apart" {
			t.Error(err)
		}
	}
	a, b := line(100, 10*ms, 0, same), line(50, 10*ms, 0, same)
	b.err = ErrGone
	if err := until(Join(a, b)); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	b = line(100, 10*ms, -5*ms, same)
	b.samples[30].Lost, b.samples[60].Lost = 2, Overflow
	src := Join(line(90, 10*ms, 0, same), b)
	lost := map[int]int{}
	for v.Lost = 0; src.Next(&v) == nil; v.Lost = 0 {
		lost[v.Lost]++
	}
	if lost[2] != 1 || lost[Overflow] != 1 || lost[0] != 88 {
		t.Errorf("lost %v", lost)
	}
}

func TestJoinAllocatesNothing(t *testing.T) {
	src := Join(line(2000, 10*ms, 0, same), line(3000, 9*ms, -5*ms, same))
	v := Sample{Values: make([]float32, 2)}
	if n := testing.AllocsPerRun(1000, func() { src.Next(&v) }); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
}
