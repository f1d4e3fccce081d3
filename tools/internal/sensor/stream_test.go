package sensor

import (
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// track is a source of samples made by a test.
type track struct {
	channels []Channel
	rate     float64
	samples  []Sample
	at       int
	err      error // at the end
	host     *time.Duration
	arrival  []time.Duration // host time of each sample
}

func (s *track) Name() string        { return "track" }
func (s *track) Channels() []Channel { return s.channels }
func (s *track) Rate() float64       { return s.rate }
func (s *track) Close() error        { return nil }

func (s *track) Next(v *Sample) error {
	if s.at == len(s.samples) {
		if s.err != nil {
			return s.err
		}
		return io.EOF
	}
	if s.arrival != nil {
		*s.host = s.arrival[s.at]
	}
	from := s.samples[s.at]
	v.Time = from.Time
	v.Lost += from.Lost
	copy(v.Values, from.Values)
	s.at++
	return nil
}

// sampled is f at the times, on one channel.
func sampled(f func(t float64) float64, times ...time.Duration) *track {
	s := &track{channels: []Channel{{Name: "x"}}}
	for _, t := range times {
		s.samples = append(s.samples, Sample{Time: t, Values: []float32{float32(f(t.Seconds()))}})
	}
	return s
}

func every(period time.Duration, n int) (times []time.Duration) {
	for i := range n {
		times = append(times, time.Duration(i)*period)
	}
	return times
}

func ramp(t float64) float64 { return 3*t - 1 }

// TestGapWhileAveraging breaks off in the midst of a window.
func TestGapWhileAveraging(t *testing.T) {
	times := every(ms, 400)
	for i := 203; i < len(times); i++ {
		times[i] += 50 * ms
	}
	got, err := all(t, NewStream(sampled(ramp, times...), Options{Rate: 100}))
	if err != nil || len(got) != 39 {
		t.Fatalf("%d samples, %v", len(got), err)
	}
	for _, g := range got {
		if math.Abs(float64(g.x)-ramp(g.t)) > 1e-6 {
			t.Errorf("%v at %v s, want %v", g.x, g.t, ramp(g.t))
		}
	}
}

type given struct {
	t     float64
	reset bool
	x     float32
}

func all(t *testing.T, s *Stream) (got []given, err error) {
	t.Helper()
	x := make([]float32, len(s.channels))
	for len(got) < 1e6 {
		at, reset, err := s.Next(x)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, given{at, reset, x[0]})
	}
	t.Fatal("no end")
	return nil, nil
}

func TestSamplesAtTheRightRateStayAsTheyAre(t *testing.T) {
	src := sampled(func(t float64) float64 { return math.Sin(1000 * t) }, every(16*ms, 100)...)
	got, err := all(t, NewStream(src, Options{Rate: 62.5}))
	if err != nil || len(got) != 100 {
		t.Fatalf("%d samples, %v", len(got), err)
	}
	for i, g := range got {
		if g.x != src.samples[i].Values[0] || g.t != float64(src.samples[i].Time)/1e9 || g.reset {
			t.Fatalf("sample %d is %v, want %v", i, g, src.samples[i])
		}
	}
}

func TestResampling(t *testing.T) {
	for _, c := range []struct {
		name   string
		times  []time.Duration
		source float64
		rate   float64
		want   int
	}{
		{"slower than the model", every(12*ms, 84), 0, 100, 100},
		{"a little faster", every(9*ms, 112), 0, 100, 100},
		{"much faster", every(2*ms, 501), 0, 100, 100},
		{"much faster, of known rate", every(2*ms, 501), 500, 100, 100},
		{"no multiple", every(3*ms, 334), 0, 100, 99},
		{"uneven", []time.Duration{0, 11 * ms, 19 * ms, 32 * ms, 38 * ms, 51 * ms, 60 * ms}, 100, 100, 7},
		{"as they come", every(7*ms, 10), 0, 0, 10},
	} {
		src := sampled(ramp, c.times...)
		src.rate = c.source
		got, err := all(t, NewStream(src, Options{Rate: c.rate, Report: func(e Event) { t.Errorf("%s: %v", c.name, e) }}))
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d samples, want %d, %v", c.name, len(got), c.want, err)
		}
		for i, g := range got {
			if math.Abs(float64(g.x)-ramp(g.t)) > 1e-6 { // a straight line, and its mean, are exact
				t.Errorf("%s: %v at %v s, want %v", c.name, g.x, g.t, ramp(g.t))
				break
			}
			if i > 0 && c.rate > 0 && math.Abs(g.t-got[i-1].t-1/c.rate) > 1e-9 {
				t.Errorf("%s: a step of %v s", c.name, g.t-got[i-1].t)
				break
			}
		}
	}
}

// TestFoldedNoise compares a tone above the stream's band with what linear interpolation alone would let through.
func TestFoldedNoise(t *testing.T) {
	tone := func(t float64) float64 { return math.Sin(2 * math.Pi * 95 * t) }
	got, err := all(t, NewStream(sampled(tone, every(ms, 2000)...), Options{Rate: 100}))
	if err != nil {
		t.Fatal(err)
	}
	peak := 0.0
	for _, g := range got {
		peak = max(peak, math.Abs(float64(g.x)))
	}
	// |sinc(95/100)| = 0.052
	if peak > 0.06 || peak < 0.04 {
		t.Errorf("95 Hz in a stream of 100 Hz has amplitude %.3f, want 0.052", peak)
	}
}

func TestBreaks(t *testing.T) {
	steady := every(10*ms, 30)
	shifted := func(at int, d time.Duration) []time.Duration {
		times := append([]time.Duration(nil), steady...)
		for i := at; i < len(times); i++ {
			times[i] += d
		}
		return times
	}
	for _, c := range []struct {
		name   string
		times  []time.Duration
		lost   int // before sample 20
		resets []float64
		want   []Event
	}{
		{"none", steady, 0, nil, nil},
		{"three missing", shifted(20, 30*ms), 0, nil, nil},
		{"a gap", shifted(20, 40*ms), 0, []float64{0.24}, []Event{{Kind: Gap, Time: 190 * ms, Span: 50 * ms, Reset: true}}},
		{"a long gap", shifted(20, time.Hour), 0, []float64{3600.2}, []Event{{Kind: Gap, Time: 190 * ms, Span: time.Hour + 10*ms, Reset: true}}},
		{"backwards", shifted(20, -150*ms), 0, []float64{0.2}, []Event{{Kind: Jump, Time: 190 * ms, Span: -140 * ms, Reset: true}}},
		{"standing still", shifted(20, -10*ms), 0, []float64{0.2}, []Event{{Kind: Jump, Time: 190 * ms, Reset: true}}},
		{"a few lost", steady, 2, nil, []Event{{Kind: Lost, Time: 190 * ms, Count: 2}}},
		{"overrun", steady, Overflow, []float64{0.2}, []Event{{Kind: Overrun, Time: 190 * ms, Reset: true}}},
	} {
		src := sampled(ramp, c.times...)
		src.rate = 100
		src.samples[20].Lost = c.lost
		var events []Event
		got, err := all(t, NewStream(src, Options{Rate: 100, Report: func(e Event) { events = append(events, e) }}))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !reflect.DeepEqual(events, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, events, c.want)
		}
		var resets []float64
		for i, g := range got {
			if g.reset {
				resets = append(resets, g.t)
			}
			if i > 0 && g.t <= got[i-1].t {
				t.Errorf("%s: %v s after %v s", c.name, g.t, got[i-1].t)
			}
		}
		if !reflect.DeepEqual(resets, c.resets) {
			t.Errorf("%s: resets at %v, want %v", c.name, resets, c.resets)
		}
		if c.resets != nil && len(got) != 30 {
			t.Errorf("%s: %d samples, want none invented and none dropped", c.name, len(got))
		}
	}
}

// TestJumpsForward tells a clock that jumps from samples that are missing by the host's clock, also where the host was busy.
func TestJumpsForward(t *testing.T) {
	const hour = time.Hour
	arrival := func(i int, gap time.Duration) time.Duration {
		if i >= 20 {
			return gap + time.Duration(i)*10*ms
		}
		return time.Duration(i) * 10 * ms
	}
	for _, c := range []struct {
		name    string
		arrival func(i int) time.Duration
		gap     time.Duration // before sample 20
		want    Kind
	}{
		{"the samples came in time", func(i int) time.Duration { return time.Duration(i) * 10 * ms }, hour, Jump},
		{"the samples were missing", func(i int) time.Duration { return arrival(i, hour) }, hour, Gap},
		{"the first samples were late, others missing", func(i int) time.Duration { return max(100*ms, arrival(i, 40*ms)) }, 40 * ms, Gap},
		{"the host was busy, and the buffer full", func(i int) time.Duration {
			if i >= 10 {
				return hour + 200*ms + time.Duration(i)*ms/100
			}
			return time.Duration(i) * 10 * ms
		}, hour, Gap},
	} {
		times := every(10*ms, 30)
		var host time.Duration
		var arrivals []time.Duration
		for i := range times {
			if i >= 20 {
				times[i] += c.gap
			}
			arrivals = append(arrivals, c.arrival(i))
		}
		src := sampled(ramp, times...)
		src.rate, src.host, src.arrival = 100, &host, arrivals
		var events []Event
		_, err := all(t, NewStream(src, Options{Rate: 100, Now: func() time.Duration { return host },
			Report: func(e Event) { events = append(events, e) }}))
		if err != nil || len(events) != 1 || events[0].Kind != c.want || !events[0].Reset {
			t.Errorf("%s: %v, %v; want one %v", c.name, events, err, c.want)
		}
	}
}

func motion(n int, f func(i, k int) float32) *track {
	s := &track{channels: Motion(80, 20), rate: 100}
	for i := range n {
		v := Sample{Time: time.Duration(i) * 10 * ms, Values: make([]float32, 6)}
		for k := range v.Values {
			v.Values[k] = f(i, k)
		}
		s.samples = append(s.samples, v)
	}
	return s
}

func alive(i, k int) float32 { return float32(i%7+k) / 8 }

func TestBadReadings(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name  string
		value func(i, k int) float32
		want  []Event
		err   string
	}{
		{"good ones", alive, nil, ""},
		{"not a number", func(i, k int) float32 {
			if i == 50 && k == 4 {
				return nan
			}
			return alive(i, k)
		}, []Event{{Kind: NotFinite, Time: 490 * ms, Channel: "gy"}}, ""},
		{"infinite for half a second", func(i, k int) float32 {
			if i >= 50 && i < 100 && k == 0 {
				return float32(math.Inf(1))
			}
			return alive(i, k)
		}, []Event{{Kind: NotFinite, Time: 490 * ms, Channel: "ax"}, {Kind: Gap, Time: 490 * ms, Span: 510 * ms, Reset: true}}, ""},
		{"never a number", func(i, k int) float32 { return nan }, []Event{{Kind: NotFinite, Channel: "ax"}}, "ax is not finite in 101 samples in a row"},
		{"at the end of the range", func(i, k int) float32 {
			if i >= 50 && i < 60 && k == 2 {
				return -80
			}
			return alive(i, k)
		}, []Event{{Kind: Saturated, Time: 500 * ms, Channel: "az"}}, ""},
		{"at the end of the range again and again", func(i, k int) float32 {
			if k == 2 && i%2 == 0 {
				return 80
			}
			return alive(i, k)
		}, []Event{{Kind: Saturated, Channel: "az"}, {Kind: Saturated, Time: time.Second, Channel: "az"}, {Kind: Saturated, Time: 2 * time.Second, Channel: "az"},
			{Kind: Saturated, Time: 3 * time.Second, Channel: "az"}, {Kind: Saturated, Time: 4 * time.Second, Channel: "az"}}, ""},
		{"a dead gyroscope", func(i, k int) float32 {
			if i >= 50 && i < 300 && k >= 3 {
				return 0
			}
			return alive(i, k)
		}, []Event{{Kind: Stuck, Time: 1500 * ms, Span: time.Second, Channel: "gx gy gz"}}, ""},
		{"a dead sensor", func(i, k int) float32 { return float32(k) }, []Event{
			{Kind: Stuck, Time: time.Second, Span: time.Second, Channel: "ax ay az"},
			{Kind: Stuck, Time: time.Second, Span: time.Second, Channel: "gx gy gz"},
		}, "ax ay az stuck for 4.0 s"},
		{"one axis at rest", func(i, k int) float32 {
			if k == 1 {
				return 0
			}
			return alive(i, k)
		}, nil, ""},
	} {
		var events []Event
		_, err := all(t, NewStream(motion(500, c.value), Options{Rate: 100, StuckError: 4 * time.Second,
			Report: func(e Event) { events = append(events, e) }}))
		if !reflect.DeepEqual(events, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, events, c.want)
		}
		if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
	}
}

// TestOverrunOfADroppedSample keeps the overrun in mind.
func TestOverrunOfADroppedSample(t *testing.T) {
	src := motion(100, alive)
	src.samples[50].Lost = Overflow
	src.samples[50].Values[0] = float32(math.NaN())
	var kinds []Kind
	got, err := all(t, NewStream(src, Options{Rate: 100, Report: func(e Event) { kinds = append(kinds, e.Kind) }}))
	if err != nil || !reflect.DeepEqual(kinds, []Kind{NotFinite, Overrun}) || len(got) != 99 || !got[50].reset {
		t.Errorf("%v, %d samples, %v", kinds, len(got), err)
	}
}

// TestFloods has something wrong with every sample.
func TestFloods(t *testing.T) {
	src := motion(500, alive)
	for i := range src.samples {
		src.samples[i].Lost = 1
	}
	var counts []int
	if _, err := all(t, NewStream(src, Options{Rate: 100, Report: func(e Event) { counts = append(counts, e.Count) }})); err != nil ||
		!reflect.DeepEqual(counts, []int{1, 102, 100, 100, 100, 97}) {
		t.Errorf("%v, %v", counts, err)
	}
	src = motion(500, alive)
	src.rate = 1000 // it has a tenth of that
	n := 0
	_, err := all(t, NewStream(src, Options{Rate: 100, Report: func(e Event) { n++ }}))
	if err == nil || err.Error() != "21 samples in a row are each unconnected with the one before" || n != 20 {
		t.Errorf("%v, %d events", err, n)
	}
}

func TestRateOfASource(t *testing.T) {
	var events []Event
	report := func(e Event) { events = append(events, e) }
	if _, err := all(t, NewStream(sampled(ramp, every(16*ms, 50)...), Options{Rate: 100, Report: report})); err != nil ||
		len(events) != 1 || events[0].Kind != Slow || math.Abs(events[0].Rate-62.5) > 1e-9 {
		t.Errorf("%v, %v", events, err)
	}
	_, err := all(t, NewStream(sampled(ramp, every(16*time.Second, 50)...), Options{Rate: 62.5}))
	if err == nil || !strings.Contains(err.Error(), "0.0625 samples a second, 62.5 are needed (is the time in another unit?)") {
		t.Errorf("%v", err)
	}
	for n := range 3 { // too few to tell
		if got, err := all(t, NewStream(sampled(ramp, every(10*ms, n)...), Options{Rate: 100})); err != nil || len(got) != n {
			t.Errorf("%d samples: %v, %v", n, got, err)
		}
	}
}

func TestErrorsOfASource(t *testing.T) {
	for _, n := range []int{0, 5, 40} {
		src := sampled(ramp, every(10*ms, n)...)
		src.err = ErrGone
		got, err := all(t, NewStream(src, Options{Rate: 100}))
		if !errors.Is(err, ErrGone) || len(got) != n {
			t.Errorf("%d samples, then %v; want %d", len(got), err, n)
		}
	}
	if _, _, err := NewStream(motion(5, alive), Options{}).Next(make([]float32, 5)); err == nil {
		t.Error("a sample of 5 values was filled from 6 channels")
	}
}

// forever repeats the samples of a track.
type forever struct {
	*track
	laps time.Duration
}

func (s *forever) Next(v *Sample) error {
	if s.at == len(s.samples) {
		s.at = 0
		s.laps++
	}
	err := s.track.Next(v)
	v.Time += s.laps * time.Duration(len(s.samples)) * 10 * ms
	return err
}

func TestStreamAllocatesNothing(t *testing.T) {
	for _, rate := range []float64{0, 30, 62.5, 100, 120} {
		src := motion(100, alive)
		src.samples[50].Values[1] = 100 // saturated
		src.samples[60].Lost = Overflow
		events := 0
		s := NewStream(&forever{track: src}, Options{Rate: rate, Report: func(Event) { events++ }, Now: HostClock().Now})
		x := make([]float32, 6)
		step := func() {
			if _, _, err := s.Next(x); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			step()
		}
		if n := testing.AllocsPerRun(1000, step); n != 0 || events == 0 {
			t.Errorf("rate %v: %v allocations a sample, %d events", rate, n, events)
		}
	}
}

// TestStamps follows a sensor whose clock is off, read in bursts at odd moments.
func TestStamps(t *testing.T) {
	for _, off := range []float64{-0.1, -0.02, 0, 0.03, 0.1} {
		s := NewStamps(100)
		period := 10e6 * (1 + off)
		made, last := 0, time.Duration(0)
		for i := 1; i <= 3000; i++ {
			now := float64(i)*25e6 + float64(i*7919%13)*0.5e6 // 25 ms, with a jitter of 6 ms
			n := int(now/period) - made
			if n == 0 {
				continue
			}
			first, step := s.Burst(time.Duration(now), n)
			for k := range n {
				at := first + time.Duration(k)*step
				if at <= last {
					t.Fatalf("clock off by %v: %v after %v", off, at, last)
				}
				last = at
				made++
				if late := (float64(at) - float64(made)*period) / 1e6; i > 2000 && math.Abs(late) > 5 {
					t.Fatalf("clock off by %v: sample %d is %.1f ms late", off, made, late)
				}
			}
		}
		if got := float64(s.Period()) / period; math.Abs(got-1) > 0.01 {
			t.Errorf("clock off by %v: period off by %v", off, got-1)
		}
	}
}

type fakeClock struct {
	now     time.Duration
	stopped bool
}

func (c *fakeClock) Now() time.Duration { return c.now }
func (c *fakeClock) Sleep(d time.Duration) bool {
	c.now += d
	return !c.stopped
}
func (c *fakeClock) Stop() { c.stopped = true }

func TestHostClock(t *testing.T) {
	c := HostClock()
	if begin := c.Now(); !c.Sleep(ms) || c.Now()-begin < ms {
		t.Error("slept too short")
	}
	done := make(chan bool)
	go func() { done <- c.Sleep(time.Hour) }()
	c.Stop()
	c.Stop()
	if <-done || c.Sleep(0) {
		t.Error("slept on")
	}
	c = HostClock()
	if n := testing.AllocsPerRun(10, func() { c.Sleep(time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations a sleep", n)
	}
}
