package sensor

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Kind says what was wrong with samples.
type Kind uint8

const (
	Gap       Kind = iota // no samples for too long; Span is the distance of the samples around it
	Jump                  // the source's clock jumped by Span
	Overrun               // the source lost samples
	Lost                  // Count samples are missing or could not be read, too few for a gap
	NotFinite             // a reading of the channel is no number; the sample was dropped
	Saturated             // the channel is at its limit
	Stuck                 // the channels have not changed for Span
	Slow                  // the source gives Rate samples a second, fewer than the model was made for
)

var kinds = [...]string{"gap", "jump", "overrun", "lost", "not-finite", "saturated", "stuck", "slow"}

func (k Kind) String() string { return kinds[k] }

// Event is something wrong with samples that does not end the stream.
type Event struct {
	Kind    Kind
	Time    time.Duration // of the stream
	Span    time.Duration
	Channel string // names, with spaces between them
	Count   int
	Rate    float64
	Reset   bool // what came before is unconnected with what follows
}

func (e Event) String() string {
	s := fmt.Sprintf("%.3f s: ", e.Time.Seconds())
	switch e.Kind {
	case Gap:
		s += fmt.Sprintf("a gap of %.3f s", e.Span.Seconds())
	case Jump:
		s += fmt.Sprintf("the sensor's clock jumped by %+.3f s", e.Span.Seconds())
	case Overrun:
		s += "the sensor's buffer overran, samples are lost"
	case Lost:
		s += fmt.Sprintf("%d samples are lost", e.Count)
	case NotFinite:
		s += fmt.Sprintf("%s is not finite, the sample was dropped", e.Channel)
	case Saturated:
		s += fmt.Sprintf("%s is at the end of its range", e.Channel)
	case Stuck:
		s += fmt.Sprintf("%s stuck for %.1f s", e.Channel, e.Span.Seconds())
	case Slow:
		s += fmt.Sprintf("the sensor gives only %.1f samples a second", e.Rate)
	}
	if e.Reset {
		s += "; recognition starts again"
	}
	return s
}

// Options of a Stream.
type Options struct {
	Rate       float64              // samples a second to give, 0: as the source gives them
	MaxGap     float64              // periods of the source without a sample that are not bridged; 0 for DefaultMaxGap
	StuckError time.Duration        // channels that do not change for so long end the stream; 0: they never do
	Report     func(Event)          // nil: nobody wants to know
	Now        func() time.Duration // a clock to tell jumps from gaps by; nil: a recording, in which they look alike
}

// DefaultMaxGap bridges the loss of three samples.
const DefaultMaxGap = 4.5

const (
	stuckNote   = time.Second
	stuckRows   = 20          // fewer equal readings can be chance
	maxBad      = 100         // samples in a row that are not finite
	maxAlone    = 20          // samples in a row each of which begins anew
	between     = time.Second // reports of what can happen with every sample
	probe       = 17          // samples that an unknown rate is taken from
	averageFrom = 1.5         // a source is averaged that is faster than the stream by this factor
	slowBelow   = 0.8
	tooSlow     = 0.25
)

// Stream gives the samples of a source at an even rate. Its time is that of the source, beginning with 0 at the first sample.
//
// Between two samples values are interpolated linearly. Where the source is faster by half or more, a value is the mean of the
// interpolated curve over one period of the stream, so that noise and vibration above its band do not fold into it. Neither happens
// across a gap: a sample that comes too late after the last, or whose clock has jumped, or that follows an overrun, begins anew.
type Stream struct {
	src      Source
	opt      Options
	channels []Channel

	head []Sample // read ahead to find the rate, given back from at on
	at   int
	end  error // of reading ahead

	period  float64 // ns of the stream, 0: as they come
	source  float64 // ns, the source's, as far as known
	average bool
	maxGap  time.Duration
	ready   bool

	in       Sample
	overrun  bool          // before a sample that was dropped
	late     time.Duration // host time less source time where it was least
	offset   time.Duration // stream time less source time
	from, to point
	begun    bool
	anchor   float64 // ns: output k is at anchor + k period
	k        int64
	sum      []float64 // integral since the beginning of the window
	reset    bool

	watch  []run
	group  []set
	bad    int           // samples in a row that are not finite
	alone  int           // samples in a row that are unconnected
	lost   int           // samples that are lost and not yet reported
	toldOf time.Duration // when lost ones were last reported
}

type point struct {
	t time.Duration
	v []float32
}

// run follows one channel.
type run struct {
	saturated bool
	told      bool
	toldOf    time.Duration // when that was last reported
}

// set is a sensor's axes, which cannot all stay the same when it works.
type set struct {
	name     string
	channels []int
	since    time.Duration
	rows     int
	noted    bool
}

// NewStream reads src, which the caller still closes.
func NewStream(src Source, opt Options) *Stream {
	n := len(src.Channels())
	s := &Stream{src: src, opt: opt, channels: src.Channels(), watch: make([]run, n), group: sets(src.Channels()), sum: make([]float64, n)}
	if s.opt.MaxGap == 0 {
		s.opt.MaxGap = DefaultMaxGap
	}
	if s.opt.Report == nil {
		s.opt.Report = func(Event) {}
	}
	for _, v := range []*[]float32{&s.in.Values, &s.from.v, &s.to.v} {
		*v = make([]float32, n)
	}
	if opt.Rate > 0 {
		s.period = 1e9 / opt.Rate
	}
	return s
}

// sets groups axes that Parts knows by sensor; the others are one group.
func sets(channels []Channel) []set {
	var all []set
	for k, c := range channels {
		sensor, _, _ := Parts(c.Name)
		i := slices.IndexFunc(all, func(s set) bool {
			other, _, _ := Parts(channels[s.channels[0]].Name)
			return other == sensor
		})
		if i < 0 {
			i = len(all)
			all = append(all, set{})
		} else {
			all[i].name += " "
		}
		all[i].name += c.Name
		all[i].channels = append(all[i].channels, k)
	}
	return all
}

// Next writes the next values in the order of the source's channels, and returns their time in seconds. Where reset is true, what came
// before is unconnected. io.EOF is the end of a recording.
func (s *Stream) Next(x []float32) (t float64, reset bool, err error) {
	if len(x) != len(s.channels) {
		return 0, false, fmt.Errorf("a sample of %d values, there are %d", len(x), len(s.channels))
	}
	if !s.ready {
		if err := s.prepare(); err != nil {
			return 0, false, err
		}
	}
	for {
		if at, ok := s.output(x); ok {
			reset, s.reset = s.reset, false
			return at / 1e9, reset, nil
		}
		if err := s.take(); err != nil {
			return 0, false, err
		}
	}
}

// prepare finds the source's rate.
func (s *Stream) prepare() error {
	rate := s.src.Rate()
	if rate <= 0 {
		rate = s.readAhead()
	}
	s.source = s.period
	if rate > 0 {
		s.source = 1e9 / rate
		switch {
		case rate < tooSlow*s.opt.Rate:
			return fmt.Errorf("%.3g samples a second, %.3g are needed (is the time in another unit?)", rate, s.opt.Rate)
		case rate < slowBelow*s.opt.Rate:
			s.opt.Report(Event{Kind: Slow, Rate: rate})
		}
		s.average = s.period > averageFrom*s.source
	}
	s.maxGap = time.Duration(s.opt.MaxGap * s.source)
	s.ready = true
	return nil
}

// readAhead returns the rate of the first samples, 0 if there are too few.
func (s *Stream) readAhead() float64 {
	var steps []time.Duration
	for len(s.head) < probe {
		v := Sample{Values: make([]float32, len(s.channels))}
		if s.end = s.src.Next(&v); s.end != nil {
			break
		}
		if n := len(s.head); n > 0 && v.Time > s.head[n-1].Time {
			steps = append(steps, v.Time-s.head[n-1].Time)
		}
		s.head = append(s.head, v)
	}
	if len(steps) == 0 {
		return 0
	}
	slices.Sort(steps)
	return 1e9 / float64(steps[len(steps)/2])
}

// read is the source's Next, after what was read ahead.
func (s *Stream) read() error {
	if s.at < len(s.head) {
		v := &s.head[s.at]
		s.at++
		s.in.Time, s.in.Lost = v.Time, v.Lost
		copy(s.in.Values, v.Values)
		return nil
	}
	s.head = nil
	if s.end != nil {
		return s.end
	}
	s.in.Lost = 0
	return s.src.Next(&s.in)
}

// take reads a sample and joins it to those before or begins anew.
func (s *Stream) take() error {
	if err := s.read(); err != nil {
		s.tellLost(0)
		return err
	}
	s.lost += max(s.in.Lost, 0)
	s.tellLost(between)
	if ok, err := s.finite(); err != nil || !ok {
		s.overrun = s.overrun || s.in.Lost == Overflow
		return err
	}
	anew := s.connect()
	s.saturation()
	if err := s.stuck(anew); err != nil {
		return err
	}
	t := s.in.Time + s.offset
	if anew {
		s.begin(t)
		if s.alone++; s.alone > maxAlone {
			return fmt.Errorf("%d samples in a row are each unconnected with the one before", s.alone)
		}
		return nil
	}
	s.alone = 0
	s.from.t = s.to.t
	copy(s.from.v, s.to.v)
	s.to.t = t
	copy(s.to.v, s.in.Values)
	return nil
}

// tellLost reports what is lost if the last such report was long enough ago.
func (s *Stream) tellLost(ago time.Duration) {
	if s.lost == 0 || s.toldOf > 0 && s.to.t-s.toldOf < ago {
		return
	}
	s.opt.Report(Event{Kind: Lost, Time: s.to.t, Count: s.lost})
	s.lost, s.toldOf = 0, max(s.to.t, 1)
}

// begin makes the sample the first of what follows.
func (s *Stream) begin(t time.Duration) {
	s.from.t, s.to.t = t, t
	copy(s.from.v, s.in.Values)
	copy(s.to.v, s.in.Values)
	s.reset = s.begun
	s.begun = true
	s.anchor, s.k = float64(t), 0
	clear(s.sum)
}

// connect reports whether the sample is unconnected with those before, and keeps the stream's time growing.
func (s *Stream) connect() (anew bool) {
	late := s.lateness()
	if !s.begun {
		s.offset, s.late = -s.in.Time, late
		return true
	}
	step := s.in.Time + s.offset - s.to.t
	e := Event{Time: s.to.t, Span: step, Reset: true}
	overrun := s.in.Lost == Overflow || s.overrun
	s.overrun = false
	switch {
	case step <= 0, step > s.maxGap && late < s.late-step/2: // from the future
		e.Kind = Jump
		s.offset += time.Duration(s.source) - step // as if it were the next sample
		s.late = late
	case overrun:
		e.Kind, e.Span = Overrun, 0
	case step > s.maxGap && s.maxGap > 0:
		e.Kind = Gap
	default:
		s.late = min(s.late, late)
		return false
	}
	s.opt.Report(e)
	return true
}

// lateness is by how much the sample's time is behind the host's, less a constant.
func (s *Stream) lateness() time.Duration {
	if s.opt.Now == nil {
		return 0
	}
	return s.opt.Now() - s.in.Time
}

func (s *Stream) finite() (ok bool, err error) {
	for k, v := range s.in.Values {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			if s.bad++; s.bad == 1 {
				s.opt.Report(Event{Kind: NotFinite, Time: s.to.t, Channel: s.channels[k].Name})
			}
			if s.bad > maxBad {
				return false, fmt.Errorf("%s is not finite in %d samples in a row", s.channels[k].Name, s.bad)
			}
			return false, nil
		}
	}
	s.bad = 0
	return true, nil
}

// saturation reports beginnings.
func (s *Stream) saturation() {
	now := s.in.Time + s.offset
	for k, c := range s.channels {
		v, w := s.in.Values[k], &s.watch[k]
		at := c.Limit > 0 && (v >= c.Limit || v <= -c.Limit)
		if at && !w.saturated && (!w.told || now-w.toldOf >= between) {
			s.opt.Report(Event{Kind: Saturated, Time: now, Channel: c.Name})
			w.told, w.toldOf = true, now
		}
		w.saturated = at
	}
}

func (s *Stream) stuck(anew bool) error {
	now := s.in.Time + s.offset
	for i := range s.group {
		g := &s.group[i]
		same := !anew
		for _, k := range g.channels {
			same = same && s.in.Values[k] == s.to.v[k]
		}
		if !same {
			g.since, g.rows, g.noted = now, 0, false
			continue
		}
		g.rows++
		span := now - g.since
		if span < stuckNote || g.rows < stuckRows {
			continue
		}
		if !g.noted {
			g.noted = true
			s.opt.Report(Event{Kind: Stuck, Time: now, Span: span, Channel: g.name})
		}
		if s.opt.StuckError > 0 && span >= s.opt.StuckError {
			return fmt.Errorf("%s stuck for %.1f s", g.name, span.Seconds())
		}
	}
	return nil
}

// output gives the next values if the samples reach that far.
func (s *Stream) output(x []float32) (t float64, ok bool) {
	switch {
	case !s.begun:
		return 0, false
	case s.period == 0:
		return s.asIs(x)
	case s.average:
		return s.mean(x)
	}
	t = s.anchor + float64(s.period*float64(s.k))
	if t > float64(s.to.t) {
		return 0, false
	}
	s.interpolate(x, t)
	s.k++
	return t, true
}

func (s *Stream) asIs(x []float32) (t float64, ok bool) {
	if s.k > 0 && s.anchor == float64(s.to.t) {
		return 0, false
	}
	s.anchor = float64(s.to.t)
	s.k++
	copy(x, s.to.v)
	return s.anchor, true
}

// interpolate writes the values at time t, within the present pair of samples. Products are rounded on their own, for the same bits on
// every platform.
func (s *Stream) interpolate(x []float32, t float64) {
	if t == float64(s.to.t) {
		copy(x, s.to.v)
		return
	}
	f := (t - float64(s.from.t)) / float64(s.to.t-s.from.t)
	for k, v := range s.from.v {
		x[k] = float32(float64(v) + float64(f*(float64(s.to.v[k])-float64(v))))
	}
}

// mean integrates the curve through the samples by trapezes, up to the end of the window, or up to the last sample where the window is longer.
func (s *Stream) mean(x []float32) (t float64, ok bool) {
	end := s.anchor + float64(s.period*float64(s.k+1))
	if end > float64(s.to.t) {
		s.integrate(s.to.v, float64(s.to.t-s.from.t))
		s.from.t = s.to.t
		copy(s.from.v, s.to.v)
		return 0, false
	}
	s.interpolate(x, end)
	s.integrate(x, end-float64(s.from.t))
	s.from.t = time.Duration(end)
	copy(s.from.v, x)
	for k, sum := range s.sum {
		x[k] = float32(sum / s.period)
	}
	clear(s.sum)
	s.k++
	return end - s.period/2, true
}

func (s *Stream) integrate(until []float32, span float64) {
	for k, v := range until {
		s.sum[k] += float64((float64(v) + float64(s.from.v[k])) / 2 * span)
	}
}
