// Gesture finds hand gestures in the samples of inertial sensors, prints them as they end and runs a command for each.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/demo"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/sensor"
)

const usage = `gesture finds hand gestures in the samples of inertial sensors as they happen.

  gesture                          a synthetic demo recording
  gesture -sensor iio              a kernel driver's device, with its time stamps
  gesture -sensor mpu6050:1:0x68   a chip at I2C bus 1
  gesture -sensor csv:rec.csv      a recording; -speed 1 plays it as fast as it was made
  gesture -sensor iio -json        one JSON object a gesture
  gesture doctor                   what is here, and how well it works

Sensors are brought to the model's rate, channels and units (docs/sensors.md). The embedded model wants the acceleration of a finger.

  gesture -model my.recur -sensor serial:/dev/ttyUSB0  a model of your own; lines of CSV or JSON
  gesture -in rec.csv                                  a file as the model takes it: its channels at its rate, then the time in ms
  gesture -demo-csv demo.csv                           write the demo recording, to see that format

Gestures of your own, from a few examples (docs/teaching.md):

  gesture record -label wave -n 5 -o my.csv -sensor iio
  gesture teach -data my.csv -o my.recur

Something to do:

  gesture -sensor iio -exec 'aplay {label}.wav'

With a program built with -tags net (docs/deploy.md):

  gesture -sensor iio -mqtt tcp://broker/home/gesture     JSON at an MQTT broker; MQTT_USER and MQTT_PASSWORD are used
  gesture -web :8080                                      a page with the signal, the network's answers and the events
  gesture -sensor phone -web :8443 -web-tls               a phone that shows the page is the sensor

Flags:
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// errUsage has been reported.
var errUsage = errors.New("usage")

type options struct {
	in, model, demoCSV string
	json               bool
	speed              float64
	exec               string
	timeout            time.Duration
	network
	sensing
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runOn(thisHost, args, stdin, stdout, stderr)
}

func runOn(h host, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = &lockedWriter{w: stdout}, &lockedWriter{w: stderr}
	if len(args) > 0 {
		switch args[0] {
		case "doctor":
			return doctor(h, args[1:], stdin, stdout, stderr)
		case "record":
			return record(h, args[1:], stdin, stdout, stderr)
		case "teach":
			return teachCommand(args[1:], stdin, stdout, stderr)
		}
	}
	o, err := parse(args, stdout, stderr)
	o.host = h
	switch err {
	case nil:
	case flag.ErrHelp:
		return 0
	default:
		return 2
	}
	if err := o.run(stdin, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "gesture:", err)
		return 1
	}
	return 0
}

func parse(args []string, stdout, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("gesture", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.in, "in", "", "read samples from `FILE`, - for standard input (default: the demo recording)")
	fs.StringVar(&o.model, "model", "", "use the stream model of `FILE` (default: the embedded one)")
	fs.StringVar(&o.demoCSV, "demo-csv", "", "write the demo recording to `FILE`, - for standard output, and end")
	fs.BoolVar(&o.json, "json", false, "print JSON, one object a gesture, and one for what is wrong with the sensor")
	o.sensing.flags(fs)
	fs.Float64Var(&o.speed, "speed", 0, "play a recording at `FACTOR` times its speed, 0: as fast as it goes, or, with -web, as it was")
	fs.StringVar(&o.exec, "exec", "", "run `COMMAND` for each gesture, without a shell; {label}, {confidence}, {start} and {end} are filled in")
	fs.DurationVar(&o.timeout, "exec-timeout", 5*time.Second, "kill a command after this `TIME`")
	o.network.flags(fs)
	err = fs.Parse(args)
	if err == nil {
		err = o.check(fs.Args())
	}
	switch {
	case err == flag.ErrHelp:
		io.WriteString(stdout, usage)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
	case err != nil:
		fmt.Fprintf(stderr, "gesture: %v; gesture -h explains\n", err)
		err = errUsage
	}
	return o, err
}

func (o *options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q: name a file with -in", args[0])
	case o.in != "" && o.spec != "":
		return errors.New("both -in and -sensor")
	case !(o.speed >= 0 && o.speed <= 1e6):
		return fmt.Errorf("-speed %v: want 0 or more", o.speed)
	case o.timeout <= 0:
		return fmt.Errorf("-exec-timeout %v: want more than 0", o.timeout)
	}
	if err := o.network.check(); err != nil {
		return err
	}
	return o.sensing.check()
}

// input gives samples and their times in seconds, and io.EOF at the end.
type input struct {
	source interface {
		Next(sample []float32) (t float64, err error)
	}
	name string
	io.Closer
}

func (o *options) input(stdin io.Reader, names []string) (input, error) {
	switch o.in {
	case "":
		return input{demo.New(demo.Seed), "demo", io.NopCloser(nil)}, nil
	case "-":
		return input{gesture.NewReader(stdin, names), "standard input", io.NopCloser(nil)}, nil
	}
	f, err := os.Open(o.in)
	if err != nil {
		return input{}, err
	}
	return input{gesture.NewReader(f, names), o.in, f}, nil
}

// at says where in the input a sample is that cannot be used.
func (in *input) at(err error) error {
	r, isCSV := in.source.(*gesture.Reader)
	if e := (*gesture.InputError)(nil); isCSV && errors.As(err, &e) {
		e.Line = r.Line()
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

func (o *options) run(stdin io.Reader, stdout, stderr io.Writer) error {
	model, err := o.load()
	if err != nil {
		return err
	}
	spotter, err := gesture.NewSpotter(model)
	if err != nil {
		return fmt.Errorf("%s: %w", o.model, err)
	}
	names := gesture.Channels(model)
	if o.demoCSV != "" {
		return writeDemo(o.demoCSV, names, stdout)
	}
	log := &reporter{w: stderr, json: o.json, stdout: stdout}
	interrupted := new(atomic.Bool)
	if o.network.used() != "" {
		facts, err := o.factsOfAnswers(model)
		if err != nil {
			return err
		}
		if log.outlets, o.sensing.phone, err = o.network.start(o.host, facts, log.say); err != nil {
			return err
		}
	}
	defer func() { log.outlets.close(interrupted.Load()) }()
	in, err := o.open(stdin, model, log, spotter.Reset)
	if err != nil {
		return err
	}
	defer in.Close()
	if in.live() {
		if o.speed != 0 {
			return fmt.Errorf("%s: -speed is for recordings", in.name)
		}
		var stop func()
		interrupted, stop = closeOnSignal(in)
		defer stop()
	}
	out := &printer{w: stdout, json: o.json, outlets: log.outlets}
	if o.exec != "" {
		if out.action, err = newAction(o.exec, o.timeout, stderr, log.say); err != nil {
			return err
		}
		defer func() { out.action.close(interrupted.Load()) }()
	}
	work := func() error {
		sum, err := spot(spotter, &in, len(names), o.pace(&in), out)
		if err == nil || interrupted.Load() {
			sum.print(stderr, model.File().Input.Rate)
			return nil
		}
		return err
	}
	if in.live() || len(log.outlets) == 0 {
		return work()
	}
	signalled, err := untilSignal(work, o.web != "", log.say)
	interrupted.Store(signalled)
	return err
}

// open opens the sensor, the file or the demo recording. anew is called where samples are unconnected with those before.
func (o *options) open(stdin io.Reader, model *runtime.Model, log *reporter, anew func()) (input, error) {
	if o.spec == "" {
		if o.in == "" {
			log.say("a synthetic demo recording; gesture -h lists other input")
		}
		return o.input(stdin, gesture.Channels(model))
	}
	_, rate := wants(model)
	d, err := o.sensing.open(stdin, rate)
	if err != nil {
		return input{}, err
	}
	f, err := o.feed(d, model, log.event, anew)
	if err != nil {
		return input{}, errors.Join(fmt.Errorf("%s: %w", d.Name(), err), d.Close())
	}
	return input{f, d.Name(), d}, nil
}

// live reports whether the samples are those of a sensor, as it makes them.
func (in *input) live() bool {
	f, ok := in.source.(*feed)
	return ok && f.device.live
}

// pace waits until a recording's sample is due.
func (o *options) pace(in *input) func(t float64) {
	piped := o.in == "-" || strings.HasSuffix(o.spec, ":-") // and then perhaps live: its clock is not ours
	if in.live() || o.speed == 0 && (o.web == "" || piped) {
		return func(float64) {}
	}
	speed := cmp.Or(o.speed, 1)
	clock := o.host.clock()
	first := math.NaN()
	return func(t float64) {
		if math.IsNaN(first) {
			first = t - clock.Now().Seconds()*speed
		}
		if wait := time.Duration((t-first)/speed*1e9) - clock.Now(); wait > 0 {
			clock.Sleep(wait)
		}
	}
}

func (o *options) load() (*runtime.Model, error) {
	if o.model == "" {
		return gesture.Stream()
	}
	return runtime.Open(o.model)
}

func writeDemo(path string, names []string, stdout io.Writer) error {
	if path == "-" {
		return demo.WriteCSV(stdout, names, demo.Seed)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(demo.WriteCSV(f, names, demo.Seed), f.Close())
}

// spot prints the gestures of an input as they end.
func spot(s *gesture.Spotter, in *input, width int, pace func(t float64), p *printer) (sum summary, err error) {
	sample := make([]float32, width)
	for {
		t, err := in.source.Next(sample)
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, in.at(err)
		}
		pace(t)
		begin := time.Now()
		e, ok, err := s.Push(sample, t)
		if err != nil {
			return sum, in.at(err)
		}
		sum.add(t, time.Since(begin))
		p.outlets.sample(t, sample, s.Probabilities())
		if ok {
			sum.gestures++
			if err := p.print(e); err != nil {
				return sum, err
			}
		}
	}
	if sum.samples == 0 {
		return sum, fmt.Errorf("%s: no samples", in.name)
	}
	if e, ok := s.Flush(); ok {
		sum.gestures++
		return sum, p.print(e)
	}
	return sum, nil
}

// lockedWriter can be written to by commands and by us.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// reporter tells what is wrong.
type reporter struct {
	w, stdout io.Writer
	json      bool
	outlets   outlets
}

func (r *reporter) say(format string, args ...any) {
	fmt.Fprintf(r.w, "gesture: "+format+"\n", args...)
}

// event goes to stdout too where that is for programs.
func (r *reporter) event(e sensor.Event) {
	r.say("%v", e)
	r.outlets.trouble(e)
	if r.json {
		r.stdout.Write(append(appendTrouble(nil, e), '\n'))
	}
}

// printer writes one line for each gesture, at once, and has its command run.
type printer struct {
	w       io.Writer
	json    bool
	line    []byte
	action  *action
	outlets outlets
}

func (p *printer) print(e gesture.Event) error {
	if p.action != nil {
		p.action.push(e)
	}
	if len(p.outlets) > 0 {
		p.line = appendJSON(p.line[:0], e)
		p.outlets.gesture(p.line)
	}
	if p.json {
		p.line = appendJSON(p.line[:0], e)
	} else {
		p.line = appendText(p.line[:0], e)
	}
	p.line = append(p.line, '\n')
	_, err := p.w.Write(p.line)
	return err
}

const decimals = 3 // ms, and more than a confidence deserves

func appendJSON(b []byte, e gesture.Event) []byte {
	b = append(b, `{"t_start":`...)
	b = strconv.AppendFloat(b, e.Start, 'f', decimals, 64)
	b = append(b, `,"t_end":`...)
	b = strconv.AppendFloat(b, e.End, 'f', decimals, 64)
	b = append(b, `,"label":`...)
	b = appendString(b, e.Label)
	b = append(b, `,"confidence":`...)
	b = strconv.AppendFloat(b, float64(e.Confidence), 'f', decimals, 64)
	return append(b, '}')
}

// appendString is for text in UTF-8.
func appendString(b []byte, text string) []byte {
	b = append(b, '"')
	for _, c := range []byte(text) {
		switch {
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
			continue
		case c == '"' || c == '\\':
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// appendTrouble has the members that the kind of event uses.
func appendTrouble(b []byte, e sensor.Event) []byte {
	b = append(b, `{"event":`...)
	b = appendString(b, e.Kind.String())
	b = append(b, `,"t":`...)
	b = strconv.AppendFloat(b, e.Time.Seconds(), 'f', decimals, 64)
	if e.Span != 0 {
		b = append(b, `,"span":`...)
		b = strconv.AppendFloat(b, e.Span.Seconds(), 'f', decimals, 64)
	}
	if e.Channel != "" {
		b = append(b, `,"channel":`...)
		b = appendString(b, e.Channel)
	}
	if e.Count != 0 {
		b = append(b, `,"count":`...)
		b = strconv.AppendInt(b, int64(e.Count), 10)
	}
	if e.Rate != 0 {
		b = append(b, `,"rate":`...)
		b = strconv.AppendFloat(b, e.Rate, 'f', decimals, 64)
	}
	if e.Reset {
		b = append(b, `,"reset":true`...)
	}
	return append(b, '}')
}

func appendText(b []byte, e gesture.Event) []byte {
	b = appendSeconds(b, e.Start)
	b = append(b, " s to "...)
	b = appendSeconds(b, e.End)
	b = append(b, " s  "...)
	b = append(b, e.Label...)
	b = append(b, "  confidence "...)
	return strconv.AppendFloat(b, float64(e.Confidence), 'f', decimals, 64)
}

// appendSeconds aligns times below a day or so.
func appendSeconds(b []byte, t float64) []byte {
	const width = 8
	var digits [32]byte
	d := strconv.AppendFloat(digits[:0], t, 'f', decimals, 64)
	for n := len(d); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, d...)
}

// summary counts what was done and how long it took, without the waiting for samples.
type summary struct {
	gestures, samples int
	first, last       float64
	busy              time.Duration
}

func (s *summary) add(t float64, d time.Duration) {
	if s.samples == 0 {
		s.first = t
	}
	s.last = t
	s.samples++
	s.busy += d
}

// print writes the summary; rate is the one that the model was trained at, 0 if unknown.
func (s *summary) print(w io.Writer, rate float32) {
	fmt.Fprintf(w, "gesture: %d gestures in %d samples", s.gestures, s.samples)
	busy := max(s.busy, 1).Seconds()
	fmt.Fprintf(w, "; %.0f samples a second", float64(s.samples)/busy)
	if span := s.last - s.first; span > 0 {
		fmt.Fprintf(w, ", %.3f %% of real time", 100*busy/span)
		got := float64(s.samples-1) / span
		if r := float64(rate); r > 0 && (got < 0.8*r || got > 1.25*r) {
			fmt.Fprintf(w, "\ngesture: %.1f samples for each second of time; the model was trained at %.4g", got, r)
		}
	}
	fmt.Fprintln(w)
}
