package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/i2c"
	"github.com/recur-go/recur/tools/internal/sensor/iio"
	"github.com/recur-go/recur/tools/internal/sensor/serial"
)

const (
	serialSilent = 5 * time.Second
	stuckError   = 10 * time.Second // sensors have noise
)

// sensing says which sensor to read, and how.
type sensing struct {
	spec, axes, rules, columns string
	rate, gap                  float64
	host                       host
	phone                      opener // nil: there is no page for one
}

func (o *sensing) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.spec, "sensor", "", "read `SENSOR`: iio[:NAME], "+strings.Join(i2c.Names(), " or ")+
		"[:BUS[:ADDRESS]], serial:PORT[:BAUD], phone, csv:FILE, csv:- or json:-")
	fs.StringVar(&o.axes, "axes", "", "turn the sensor: the axes that it calls `X,Y,Z`, such as y,-x,z, or the 9 numbers of a matrix")
	fs.StringVar(&o.rules, "map", "", "give the model's channels from the sensor's: `NAME=CHANNEL*GAIN+OFFSET,…`")
	fs.StringVar(&o.columns, "columns", "", "`NAMES` of the columns of lines that come without, such as t_ms,ax,ay,az,_")
	fs.Float64Var(&o.rate, "rate", 0, "samples a second: `HZ` to ask of the sensor (default: the model's), or of lines without a time")
	fs.Float64Var(&o.gap, "gap", sensor.DefaultMaxGap, "`PERIODS` of the sensor without a sample that begin recognition anew")
}

func (o *sensing) check() error {
	switch {
	case !(o.rate >= 0 && o.rate <= 1e5):
		return fmt.Errorf("-rate %v: want more than 0", o.rate)
	case !(o.gap >= 1 && o.gap <= 1e6):
		return fmt.Errorf("-gap %v: want 1 or more", o.gap)
	case o.spec == "" && (o.axes != "" || o.rules != "" || o.columns != "" || o.rate != 0):
		return errors.New("-axes, -map, -columns and -rate go with -sensor")
	}
	return nil
}

// host is where sensors are; tests have their own.
type host struct {
	root  string
	dial  i2c.Dial
	buses func() []int
	clock func() sensor.Clock
}

var thisHost = host{root: "/", dial: i2c.HostBus, buses: i2c.HostBuses, clock: sensor.HostClock}

// device is a source and what is known of it.
type device struct {
	sensor.Source
	live  bool // as the samples are made: a signal ends it, and its clock can be compared with the host's
	noisy bool // readings that stay the same are a fault
}

// spec is KIND:ARGUMENTS,OPTION=VALUE,….
type spec struct {
	kind    string
	args    []string
	options map[string]string
}

func parseSpec(text string) (s spec, err error) {
	kind, rest, _ := strings.Cut(text, ":")
	s = spec{kind: kind, options: map[string]string{}}
	if slices.Contains(fileKinds, kind) { // a name may hold anything
		s.args = []string{rest}
		return s, nil
	}
	parts := strings.Split(text, ",")
	s.kind, rest, _ = strings.Cut(parts[0], ":")
	if rest != "" {
		s.args = []string{rest}
	}
	for _, o := range parts[1:] {
		key, value, ok := strings.Cut(o, "=")
		if !ok || key == "" {
			return s, fmt.Errorf("-sensor %s: %q is no OPTION=VALUE", text, o)
		}
		s.options[key] = value
	}
	return s, nil
}

var fileKinds = []string{"csv", "json"}

// take removes an option.
func (s *spec) take(key string) string {
	v := s.options[key]
	delete(s.options, key)
	return v
}

// number takes an option that is a whole number, 0 where it is not given.
func (s *spec) number(key string) (int, error) {
	v := s.take(key)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s=%s: want a number", key, v)
	}
	return n, nil
}

// end refuses what nobody took.
func (s *spec) end() error {
	for key := range s.options {
		return fmt.Errorf("no option %q", key)
	}
	return nil
}

// open starts the sensor; wanted is the rate of the model.
func (o *sensing) open(stdin io.Reader, wanted float64) (device, error) {
	s, err := parseSpec(o.spec)
	if err != nil {
		return device{}, err
	}
	d, err := o.openKind(&s, stdin, wanted)
	if err != nil {
		return device{}, fmt.Errorf("-sensor %s: %w", o.spec, err)
	}
	return d, nil
}

func (o *sensing) openKind(s *spec, stdin io.Reader, wanted float64) (device, error) {
	rate := o.rate
	if rate == 0 {
		rate = wanted
	}
	switch {
	case s.kind == "iio":
		return o.openIIO(s, rate)
	case slices.Contains(i2c.Names(), s.kind):
		return o.openI2C(s, rate)
	case s.kind == "serial":
		return o.openSerial(s)
	case s.kind == "phone" && o.phone != nil:
		return o.phone()
	case s.kind == "phone":
		return device{}, errors.New("it shows the page of -web, which gesture and gesture record serve")
	case slices.Contains(fileKinds, s.kind):
		return o.openFile(s.args[0], stdin)
	}
	return device{}, fmt.Errorf("no sensor %q: want iio, %s, serial, phone, csv or json", s.kind, strings.Join(i2c.Names(), ", "))
}

func (o *sensing) openIIO(s *spec, rate float64) (device, error) {
	opt := iio.Options{Root: o.host.root, Rate: rate, Trigger: s.take("trigger"), Clock: o.host.clock()}
	if len(s.args) > 0 {
		opt.Name = s.args[0]
	}
	switch mode := s.take("mode"); mode {
	case "", "buffer":
	case "poll":
		opt.Poll = true
	default:
		return device{}, fmt.Errorf("mode=%s: want buffer or poll", mode)
	}
	if err := s.end(); err != nil {
		return device{}, err
	}
	src, err := iio.Open(opt)
	return device{src, true, true}, err
}

func (o *sensing) openI2C(s *spec, rate float64) (device, error) {
	opt := i2c.Options{Bus: 1, Rate: rate, Dial: o.host.dial, Clock: o.host.clock()}
	if len(s.args) > 0 {
		bus, address, given := strings.Cut(s.args[0], ":")
		n, err := strconv.ParseUint(bus, 10, 16)
		if err != nil {
			return device{}, fmt.Errorf("%q is no number of a bus", bus)
		}
		opt.Bus = int(n)
		if given {
			a, err := strconv.ParseUint(address, 0, 7)
			if err != nil || a == 0 {
				return device{}, fmt.Errorf("%q is no address at a bus, such as 0x68", address)
			}
			opt.Address = uint8(a)
		}
	}
	var err error
	if opt.Accel, err = s.number("accel"); err != nil {
		return device{}, err
	}
	if opt.Gyro, err = s.number("gyro"); err != nil {
		return device{}, err
	}
	switch fifo := s.take("fifo"); fifo {
	case "", "on":
	case "off":
		opt.NoFIFO = true
	default:
		return device{}, fmt.Errorf("fifo=%s: want on or off", fifo)
	}
	if err := s.end(); err != nil {
		return device{}, err
	}
	src, err := i2c.Open(s.kind, opt)
	return device{src, true, true}, err
}

func (o *sensing) openSerial(s *spec) (device, error) {
	if err := s.end(); err != nil {
		return device{}, err
	}
	if len(s.args) == 0 {
		return device{}, errors.New("want serial:PORT or serial:PORT:BAUD")
	}
	path, speed, given := strings.Cut(s.args[0], ":")
	baud := 115200
	if given {
		var err error
		if baud, err = strconv.Atoi(speed); err != nil {
			return device{}, fmt.Errorf("%q is no baud rate", speed)
		}
	}
	port, err := serial.Open(path, baud, serialSilent)
	if err != nil {
		return device{}, err
	}
	src, err := sensor.NewText(path, port, sensor.TextOptions{Columns: o.columns, Rate: o.rate, Clock: o.host.clock(), Live: true})
	if err != nil {
		return device{}, errors.Join(err, port.Close())
	}
	return device{src, true, false}, nil
}

func (o *sensing) openFile(path string, stdin io.Reader) (device, error) {
	opt := sensor.TextOptions{Columns: o.columns, Rate: o.rate}
	name, in := "standard input", io.NopCloser(stdin)
	switch {
	case path == "":
		return device{}, errors.New("want a file after the colon, or - for standard input")
	case path == "-":
		if o.rate == 0 {
			opt.Clock = o.host.clock()
		}
	default:
		f, err := os.Open(path)
		if err != nil {
			return device{}, err
		}
		name, in = path, f
	}
	src, err := sensor.NewText(name, in, opt)
	if err != nil {
		return device{}, errors.Join(err, in.Close())
	}
	return device{src, false, false}, nil
}

// wants are the channels and the rate of a model.
func wants(m *runtime.Model) (channels []sensor.Channel, rate float64) {
	f := m.File()
	for _, c := range f.Input.Channels {
		channels = append(channels, sensor.Channel{Name: c.Name, Unit: c.Unit})
	}
	return channels, float64(f.Input.Rate)
}

// feed gives a model's samples from a sensor's. It belongs to one goroutine.
type feed struct {
	device
	stream *sensor.Stream
	mapped *sensor.Map
	raw    []float32
	anew   func() // what came before is unconnected
}

func (o *sensing) feed(d device, m *runtime.Model, report func(sensor.Event), anew func()) (*feed, error) {
	want, rate := wants(m)
	axes := sensor.Identity
	if o.axes != "" {
		var err error
		if axes, err = sensor.ParseAxes(o.axes); err != nil {
			return nil, err
		}
	}
	mapped, err := sensor.NewMap(want, d.Channels(), axes, o.rules)
	if err != nil {
		return nil, err
	}
	opt := sensor.Options{Rate: rate, MaxGap: o.gap, Report: report}
	if d.noisy {
		opt.StuckError = stuckError
	}
	if d.live {
		opt.Now = o.host.clock().Now
	}
	return &feed{d, sensor.NewStream(d, opt), mapped, make([]float32, len(d.Channels())), anew}, nil
}

// Next writes the model's next sample.
func (f *feed) Next(sample []float32) (t float64, err error) {
	t, reset, err := f.stream.Next(f.raw)
	if err != nil {
		return 0, err
	}
	if reset {
		f.anew()
	}
	return t, f.mapped.Apply(sample, f.raw)
}

// closeOnSignal lets SIGINT and SIGTERM close a source, so that its device is left in order. The second signal ends the program.
// interrupted reports whether there was one, stop ends the waiting.
func closeOnSignal(src io.Closer) (interrupted *atomic.Bool, stop func()) {
	interrupted = new(atomic.Bool)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-signals:
			signal.Stop(signals)
			interrupted.Store(true)
			src.Close()
		case <-done:
		}
	}()
	return interrupted, func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}
