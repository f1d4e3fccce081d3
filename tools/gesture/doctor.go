package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/i2c"
	"github.com/recur-go/recur/tools/internal/sensor/iio"
)

const doctorUsage = `gesture doctor says which sensors there are, measures one, which must lie still, and times a step of the model.

  gesture doctor                          the first sensor that is found
  gesture doctor -sensor lsm6dso:1 -json  this one, as one JSON object
  gesture doctor -model my.recur          does its sensor give what the model wants?

It exits with status 1 where something keeps gestures from being recognised. Chips at I2C buses are looked for at the addresses of those
that are known, by reading the register that says which chip it is.

Flags:
`

type examination struct {
	options
	seconds float64
}

func doctor(h host, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	x := examination{options: options{sensing: sensing{host: h}}}
	fs := flag.NewFlagSet("gesture doctor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&x.model, "model", "", "use the stream model of `FILE` (default: the embedded one)")
	fs.BoolVar(&x.json, "json", false, "print one JSON object")
	x.sensing.flags(fs)
	fs.Float64Var(&x.seconds, "seconds", 3, "measure the sensor for so many `SECONDS`")
	err := fs.Parse(args)
	switch {
	case err == flag.ErrHelp:
		io.WriteString(stdout, doctorUsage)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return 0
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case err == nil && !(x.seconds > 0 && x.seconds <= 3600):
		err = fmt.Errorf("-seconds %v: want more than 0, up to 3600", x.seconds)
	}
	if err != nil {
		fmt.Fprintf(stderr, "gesture: %v; gesture doctor -h explains\n", err)
		return 2
	}
	report, err := x.examine(stdin)
	if err != nil {
		fmt.Fprintln(stderr, "gesture:", err)
		return 1
	}
	if x.json {
		_, err = stdout.Write(append(report.appendJSON(nil), '\n'))
	} else {
		_, err = io.WriteString(stdout, report.text())
	}
	if err != nil {
		fmt.Fprintln(stderr, "gesture:", err)
		return 1
	}
	if len(report.problems) > 0 {
		return 1
	}
	return 0
}

// report is what doctor finds.
type report struct {
	platform, tier string
	tiers          []string
	want           []sensor.Channel
	rate           float64 // of the model
	step           timing
	found          []found
	ports          []string // where a sensor could be
	measured       *measurement
	problems       []string
}

type found struct{ sensor, what string }

type timing struct{ median, slow time.Duration } // slow: only one in a hundred takes longer

func (x *examination) examine(stdin io.Reader) (*report, error) {
	if err := kernels.TierError(); err != nil {
		return nil, err
	}
	model, err := x.load()
	if err != nil {
		return nil, err
	}
	r := &report{platform: goruntime.GOOS + "/" + goruntime.GOARCH, tier: kernels.Tier(), tiers: kernels.Tiers()}
	r.want, r.rate = wants(model)
	if r.step, err = timeSteps(model); err != nil {
		return nil, err
	}
	if err := r.search(x.host); err != nil {
		r.problems = append(r.problems, err.Error())
	}
	if x.spec == "" && len(r.found) > 0 {
		x.spec = r.found[0].sensor
	}
	if x.spec == "" {
		r.problems = append(r.problems, "no sensor is found, and none is given with -sensor")
		return r, nil
	}
	if err := x.measure(r, model, stdin); err != nil {
		r.problems = append(r.problems, err.Error())
	}
	return r, nil
}

// timeSteps pushes samples of violent motion, which no gate spares the network.
func timeSteps(m *runtime.Model) (timing, error) {
	s, err := gesture.NewSpotter(m)
	if err != nil {
		return timing{}, err
	}
	const steps = 2000
	took := make([]time.Duration, steps)
	sample := make([]float32, m.InputWidth())
	for i := range took {
		for k := range sample {
			sample[k] = float32((i*7919+k*104729)%1000 - 500)
		}
		begin := time.Now()
		if _, _, err := s.Push(sample, float64(i)); err != nil {
			return timing{}, err
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return timing{took[steps/2], took[steps*99/100]}, nil
}

// search looks for sensors and changes nothing.
func (r *report) search(h host) error {
	devices, err := iio.List(h.root)
	for _, d := range devices {
		what := d.Name + ": " + strings.Join(d.Kinds, " and ")
		if !d.Buffered {
			what += ", without a buffer"
		}
		r.found = append(r.found, found{"iio:" + strings.TrimPrefix(d.Node, "iio:"), what})
	}
	for _, c := range i2c.Probe(h.dial, h.buses()) {
		r.found = append(r.found, found{fmt.Sprintf("%s:%d:%#x", c.Family, c.Bus, c.Address), c.Name})
	}
	r.ports = serialPorts(h.root)
	return err
}

// measurement is of a sensor that should lie still.
type measurement struct {
	name     string
	rate     float64 // nominal
	samples  int
	seconds  float64
	measured float64 // samples a second
	jitter   time.Duration
	channels []sensor.Channel
	mean     []float64
	noise    []float64 // standard deviation
	gravity  float64   // m/s², 0 where nothing measures it
	events   map[sensor.Kind]int
}

func (x *examination) measure(r *report, model *runtime.Model, stdin io.Reader) error {
	d, err := x.sensing.open(stdin, r.rate)
	if err != nil {
		return err
	}
	defer d.Close()
	interrupted, stop := closeOnSignal(d)
	defer stop()
	if _, err := x.feed(d, model, nil, nil); err != nil {
		r.problems = append(r.problems, fmt.Sprintf("%s: %v", d.Name(), err))
	}
	m := &measurement{name: d.Name(), rate: d.Rate(), channels: d.Channels(), events: map[sensor.Kind]int{}}
	r.measured = m
	err = m.take(d, x.seconds, x.host)
	m.judge(r)
	if err != nil && !interrupted.Load() {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// take reads samples as they come.
func (m *measurement) take(d device, seconds float64, h host) error {
	opt := sensor.Options{Report: func(e sensor.Event) { m.events[e.Kind]++ }}
	if d.live {
		opt.Now = h.clock().Now
	}
	s := sensor.NewStream(d, opt)
	n := len(m.channels)
	x := make([]float32, n)
	var sum, squares, first []float64
	var last, steps, stepSquares float64
	sum, squares, first = make([]float64, n), make([]float64, n), make([]float64, n)
	defer func() { m.finish(sum, squares, first, last, steps, stepSquares) }()
	for m.samples == 0 || last < seconds {
		t, reset, err := s.Next(x)
		if err == io.EOF && m.samples > 0 {
			return nil
		}
		if err == io.EOF {
			return errors.New("no samples")
		}
		if err != nil {
			return err
		}
		for k, v := range x {
			if m.samples == 0 {
				first[k] = float64(v)
			}
			d := float64(v) - first[k]
			sum[k] += d
			squares[k] += d * d
		}
		if m.samples > 0 && !reset {
			steps++
			stepSquares += (t - last) * (t - last)
			m.seconds += t - last
		}
		m.samples++
		last = t
	}
	return nil
}

func (m *measurement) finish(sum, squares, first []float64, last, steps, stepSquares float64) {
	n := float64(max(m.samples, 1))
	for k := range sum {
		mean := sum[k] / n
		m.mean = append(m.mean, first[k]+mean)
		m.noise = append(m.noise, math.Sqrt(max(0, squares[k]/n-mean*mean)))
	}
	if m.seconds > 0 {
		m.measured = steps / m.seconds
		step := m.seconds / steps
		m.jitter = time.Duration(1e9 * math.Sqrt(max(0, stepSquares/steps-step*step)))
	}
	axes := 0
	for k, c := range m.channels {
		if s, _, ok := sensor.Parts(c.Name); ok && s == "a" && c.Unit == sensor.MetresPerSecond2 {
			axes++
			m.gravity += m.mean[k] * m.mean[k]
		}
	}
	if m.gravity = math.Sqrt(m.gravity); axes != 3 {
		m.gravity = 0
	}
}

// restNoise is more than any sensor's noise, less than that of a hand, in m/s².
const restNoise = 0.5

// judge finds what is wrong.
func (m *measurement) judge(r *report) {
	if m.samples < 2 {
		return
	}
	say := func(format string, args ...any) {
		r.problems = append(r.problems, m.name+": "+fmt.Sprintf(format, args...))
	}
	if r.rate > 0 && m.measured < 0.8*r.rate {
		say("%.1f samples a second, the model was made for %.1f", m.measured, r.rate)
	}
	if m.rate > 0 && math.Abs(m.measured/m.rate-1) > 0.1 {
		say("%.1f samples a second, %.1f are nominal", m.measured, m.rate)
	}
	moved := false
	for k, c := range m.channels {
		moved = moved || c.Unit == sensor.MetresPerSecond2 && m.noise[k] > restNoise
	}
	switch {
	case moved:
		say("it was moved: noise and gravity say nothing")
	case m.gravity > 0 && math.Abs(m.gravity/sensor.Gravity-1) > 0.1:
		say("gravity is %.2f m/s²: the scale is wrong, or an axis dead", m.gravity)
	}
	for _, kind := range slices.Sorted(maps.Keys(m.events)) {
		say("%v (%d)", kind, m.events[kind])
	}
}

// serialPorts are those that sensors are often at.
func serialPorts(root string) (ports []string) {
	for _, pattern := range []string{"ttyUSB*", "ttyACM*"} {
		found, _ := filepath.Glob(filepath.Join(root, "dev", pattern))
		ports = append(ports, found...)
	}
	return ports
}

func (r *report) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{name}, args...)...)
	}
	line("platform", "%s, tier %s of %s", r.platform, r.tier, strings.Join(r.tiers, ", "))
	line("model", "%d channels, %.4g samples a second", len(r.want), r.rate)
	line("step", "%v, 99 %% within %v%s", r.step.median, r.step.slow, r.share())
	for _, f := range r.found {
		line("found", "%-20s %s", f.sensor, f.what)
	}
	for _, p := range r.ports {
		line("port", "serial:%s", p)
	}
	if m := r.measured; m != nil {
		line("measured", "%s", m.name)
		nominal := ""
		if m.rate > 0 {
			nominal = fmt.Sprintf(", nominal %.4g", m.rate)
		}
		line("", "%d samples in %.2f s: %.2f a second%s; jitter %v", m.samples, m.seconds, m.measured, nominal, m.jitter.Round(time.Microsecond))
		for k, c := range m.channels {
			line("", "%-4s mean %10.4f  noise %8.4f %s", c.Name, m.mean[k], m.noise[k], c.Unit)
		}
		if m.gravity > 0 {
			line("", "gravity %.3f m/s²", m.gravity)
		}
	}
	for _, p := range r.problems {
		line("PROBLEM", "%s", strings.ReplaceAll(p, "\n", "\n          "))
	}
	if len(r.problems) == 0 {
		line("fine", "nothing is wrong")
	}
	return b.String()
}

// share is how much of a core the model takes at its rate.
func (r *report) share() string {
	if r.rate <= 0 {
		return ""
	}
	return fmt.Sprintf(", %.4f %% of a core", 100*r.step.median.Seconds()*r.rate)
}

func appendFloat(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'g', 8, 64) }

func (r *report) appendJSON(b []byte) []byte {
	b = append(b, `{"platform":`...)
	b = appendString(b, r.platform)
	b = append(b, `,"tier":`...)
	b = appendString(b, r.tier)
	b = fmt.Appendf(b, `,"step_ns":%d,"step_ns_99":%d,"model_rate":`, r.step.median.Nanoseconds(), r.step.slow.Nanoseconds())
	b = appendFloat(b, r.rate)
	b = append(b, `,"found":[`...)
	for i, f := range r.found {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"sensor":`...)
		b = appendString(b, f.sensor)
		b = append(b, `,"what":`...)
		b = append(appendString(b, f.what), '}')
	}
	b = append(b, `],"ports":[`...)
	for i, p := range r.ports {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, "serial:"+p)
	}
	b = append(b, ']')
	if r.measured != nil {
		b = append(b, `,"measured":`...)
		b = r.measured.appendJSON(b)
	}
	b = append(b, `,"problems":[`...)
	for i, p := range r.problems {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p)
	}
	return append(b, "]}"...)
}

func (m *measurement) appendJSON(b []byte) []byte {
	b = append(b, `{"name":`...)
	b = appendString(b, m.name)
	for _, f := range []struct {
		name  string
		value float64
	}{{"nominal_rate", m.rate}, {"rate", m.measured}, {"samples", float64(m.samples)}, {"seconds", m.seconds},
		{"jitter_s", m.jitter.Seconds()}, {"gravity", m.gravity}} {
		b = fmt.Appendf(b, `,"%s":`, f.name)
		b = appendFloat(b, f.value)
	}
	b = append(b, `,"channels":[`...)
	for k, c := range m.channels {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendString(b, c.Name)
		b = append(b, `,"unit":`...)
		b = appendString(b, c.Unit)
		b = append(b, `,"mean":`...)
		b = appendFloat(b, m.mean[k])
		b = append(b, `,"noise":`...)
		b = append(appendFloat(b, m.noise[k]), '}')
	}
	return append(b, "]}"...)
}
