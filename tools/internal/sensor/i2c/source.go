package i2c

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// Options say where a chip is and how to run it. Zeros stand for what is usual.
type Options struct {
	Bus     int
	Address uint8         // 0: the first of the chip's two that answers
	Rate    float64       // samples a second that are enough, 0: 100
	Accel   int           // ± g: 2, 4, 8 or 16; 0: 8
	Gyro    int           // ± °/s: 250, 500, 1000 or 2000; 0: 1000
	NoFIFO  bool          // take each sample when the chip says that it is ready
	Silent  time.Duration // without a sample for so long the chip is at fault, 0: 1 s
	Dial    Dial          // nil: HostBus
	Clock   sensor.Clock  // nil: the host's
}

// raw is a reading of acceleration x, y, z and angular velocity x, y, z.
type raw [6]int16

// chip is a kind of sensor. Its methods return errors of the bus as they are.
type chip interface {
	// setup configures the chip after a reset, and leaves the FIFO empty and off.
	setup(opt *Options, sleep func(time.Duration) bool) error
	rate() float64
	// capacity is the number of samples that the FIFO holds.
	capacity() int
	// restart empties the FIFO and turns it on.
	restart() error
	// drain reads what is in the FIFO. Where samples were lost the FIFO must be restarted.
	drain(out []raw) (n int, overflow bool, err error)
	ready() (bool, error)
	// direct reads the newest sample.
	direct(out *raw) error
	stop()
	// scales are m/s² and rad/s of one count.
	scales() (accel, gyro float64)
}

// family is a set of chips with the same registers.
type family struct {
	names     []string
	addresses []uint8
	who       byte // the register that says which chip it is
	chips     map[byte]string
	make      func(b Bus, id byte) chip
}

var families = []*family{&mpu, &lsm6ds3, &lsm6dso}

// Names are what Open knows.
func Names() (names []string) {
	for _, f := range families {
		names = append(names, f.names...)
	}
	return names
}

const (
	wake        = 20 * time.Millisecond // samples are fetched so often, or as they come where they are slower
	settle      = 100 * time.Millisecond
	maxFailures = 10 // transfers in a row
	defaultRate = 100

	silentSamples = 5 // that a slow chip may keep us waiting for
)

type source struct {
	bus      Bus
	chip     chip
	opt      Options
	name     string
	channels []sensor.Channel
	scale    [6]float64
	samples  []raw
	at, n    int
	time     time.Duration // of the next sample
	period   time.Duration
	stamps   *sensor.Stamps
	overflow bool // before the next sample
	restart  bool // the FIFO's contents are of no use
	failures int
	last     time.Duration // when samples came
	mu       sync.Mutex
	closed   bool
}

// Open starts a chip of the named family; a name stands for all chips with its registers.
func Open(name string, opt Options) (sensor.Source, error) {
	i := slices.IndexFunc(families, func(f *family) bool { return slices.Contains(f.names, name) })
	if i < 0 {
		return nil, fmt.Errorf("no chip %q; there are %s", name, strings.Join(Names(), ", "))
	}
	if err := opt.complete(); err != nil {
		return nil, err
	}
	bus, id, err := families[i].find(&opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &source{bus: bus, opt: opt, chip: families[i].make(bus, id)}
	s.name = fmt.Sprintf("%s (bus %d, address %#x)", families[i].chips[id], opt.Bus, opt.Address)
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, gone(err)), bus.Close())
	}
	return s, nil
}

func (o *Options) complete() error {
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.Accel == 0 {
		o.Accel = 8
	}
	if o.Gyro == 0 {
		o.Gyro = 1000
	}
	if o.Silent == 0 {
		o.Silent = time.Second
	}
	if o.Dial == nil {
		o.Dial = HostBus
	}
	if o.Clock == nil {
		o.Clock = sensor.HostClock()
	}
	switch {
	case !(o.Rate > 0 && o.Rate <= 1000):
		return fmt.Errorf("%v samples a second: want up to 1000", o.Rate)
	case !slices.Contains([]int{2, 4, 8, 16}, o.Accel):
		return fmt.Errorf("a range of %d g: want 2, 4, 8 or 16", o.Accel)
	case !slices.Contains([]int{250, 500, 1000, 2000}, o.Gyro):
		return fmt.Errorf("a range of %d °/s: want 250, 500, 1000 or 2000", o.Gyro)
	}
	return nil
}

// find opens the bus and makes sure that a chip of the family answers.
func (f *family) find(opt *Options) (b Bus, id byte, err error) {
	addresses := f.addresses
	if opt.Address != 0 {
		addresses = []uint8{opt.Address}
	}
	for _, opt.Address = range addresses {
		if b, id, err = f.identify(opt); err == nil {
			return b, id, nil
		}
	}
	return nil, 0, err
}

func (f *family) identify(opt *Options) (Bus, byte, error) {
	b, err := opt.Dial(opt.Bus, opt.Address)
	if err != nil {
		return nil, 0, err
	}
	var id [1]byte
	if err := b.Read(f.who, id[:]); err != nil {
		b.Close()
		return nil, 0, fmt.Errorf("nothing answers at address %#x of bus %d: %w", opt.Address, opt.Bus, err)
	}
	if f.chips[id[0]] == "" {
		b.Close()
		return nil, 0, fmt.Errorf("the chip at address %#x of bus %d says that it is %#02x, want %s", opt.Address, opt.Bus, id[0], f.wanted())
	}
	return b, id[0], nil
}

func (f *family) wanted() string {
	var all []string
	for id, name := range f.chips {
		all = append(all, fmt.Sprintf("%#02x (%s)", id, name))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (s *source) start() error {
	if err := s.chip.setup(&s.opt, s.opt.Clock.Sleep); err != nil {
		return err
	}
	if !s.opt.Clock.Sleep(settle) {
		return os.ErrClosed
	}
	accel, gyro := s.chip.scales()
	for k := range 3 {
		s.scale[k], s.scale[k+3] = accel, gyro
	}
	const most = 1<<15 - 1
	s.channels = sensor.Motion(float32(most*accel), float32(most*gyro))
	s.samples = make([]raw, max(1, s.chip.capacity()))
	s.stamps = sensor.NewStamps(s.chip.rate())
	s.opt.Silent = max(s.opt.Silent, time.Duration(silentSamples*1e9/s.chip.rate()))
	s.last = s.opt.Clock.Now()
	if s.opt.NoFIFO {
		return nil
	}
	s.restart = true
	return nil
}

func (s *source) Name() string               { return s.name }
func (s *source) Channels() []sensor.Channel { return s.channels }
func (s *source) Rate() float64              { return s.chip.rate() }

// Close puts the chip to sleep.
func (s *source) Close() error {
	s.opt.Clock.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	s.closed = true
	s.chip.stop()
	return s.bus.Close()
}

func (s *source) Next(v *sensor.Sample) error {
	for s.at == s.n {
		if err := s.fetch(); err != nil {
			return err
		}
	}
	if s.overflow {
		s.overflow = false
		v.Lost = sensor.Overflow
	}
	for k, c := range s.samples[s.at] {
		v.Values[k] = float32(float64(c) * s.scale[k])
	}
	v.Time = s.time
	s.time += s.period
	s.at++
	return nil
}

// fetch waits a little and takes what there is. A transfer may fail now and then.
func (s *source) fetch() error {
	pause := max(wake, time.Duration(1e9/s.chip.rate()))
	if s.opt.NoFIFO {
		pause = time.Duration(1e9 / s.chip.rate() / 4)
	}
	if !s.opt.Clock.Sleep(pause) {
		return os.ErrClosed
	}
	n, err := s.take()
	now := s.opt.Clock.Now()
	switch {
	case err != nil:
		if s.failures++; s.failures > maxFailures || errors.Is(err, os.ErrClosed) {
			return gone(err)
		}
		return nil
	case n > 0:
		s.last = now
	case now-s.last > s.opt.Silent:
		return fmt.Errorf("%w for %v", sensor.ErrSilent, s.opt.Silent)
	}
	s.failures = 0
	return nil
}

func (s *source) take() (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	if s.opt.NoFIFO {
		ready, err := s.chip.ready()
		if err != nil || !ready {
			return 0, err
		}
		if err := s.chip.direct(&s.samples[0]); err != nil {
			return 0, err
		}
		s.got(1)
		return 1, nil
	}
	if s.restart {
		if err := s.chip.restart(); err != nil {
			return 0, err
		}
		s.restart = false
		return 0, nil
	}
	n, lost, err := s.chip.drain(s.samples)
	if lost {
		s.overflow, s.restart = true, true
		s.stamps.Reset()
		s.last = s.opt.Clock.Now()
	}
	if err != nil || lost || n == 0 {
		return 0, err
	}
	s.got(n)
	return n, nil
}

func (s *source) got(n int) {
	s.at, s.n = 0, n
	s.time, s.period = s.stamps.Burst(s.opt.Clock.Now(), n)
}

// gone is what a bus says of a chip that no longer acknowledges.
func gone(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Errorf("%w: %w", sensor.ErrGone, err)
	}
	return err
}

// Found is a chip that answers.
type Found struct {
	Name    string
	Family  string // for Open
	Bus     int
	Address uint8
}

// Probe reads the registers that identify the chips known here, at their addresses, and changes nothing. Addresses that a kernel driver
// holds are left alone.
func Probe(dial Dial, buses []int) (found []Found) {
	for _, n := range buses {
		for _, f := range families {
			for _, a := range f.addresses {
				opt := Options{Bus: n, Address: a, Dial: dial}
				if b, id, err := f.identify(&opt); err == nil {
					b.Close()
					found = append(found, Found{f.chips[id], f.names[0], n, a})
				}
			}
		}
	}
	return found
}

// registers writes pairs of register and value.
func registers(b Bus, pairs ...[2]byte) error {
	for _, p := range pairs {
		if err := b.Write(p[0], p[1]); err != nil {
			return err
		}
	}
	return nil
}

// maxTransfer is what every adapter's driver takes at once.
const maxTransfer = 32
