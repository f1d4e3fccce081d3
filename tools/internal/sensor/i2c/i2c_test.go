package i2c_test

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/i2c"
	"github.com/recur-go/recur/tools/internal/sensor/i2c/i2ctest"
)

const ms = time.Millisecond

// wave differs between the axes, and is slow enough to tell times by.
func wave(t time.Duration) (v [6]float64) {
	for k := range v {
		v[k] = math.Sin(2*math.Pi*0.5*t.Seconds() + float64(k))
	}
	v[2] += 9.8
	return v
}

type model struct {
	name, chip string
	address    uint8
	new        func(i2ctest.Signal) i2ctest.Chip
	rate       float64 // for 62.5
	unit       [2]float64
	capacity   int
}

func mpu(id byte, fifo int) func(i2ctest.Signal) i2ctest.Chip {
	return func(s i2ctest.Signal) i2ctest.Chip { return i2ctest.NewMPU(id, fifo, s) }
}

func lsm(id byte, words int, tagged bool) func(i2ctest.Signal) i2ctest.Chip {
	return func(s i2ctest.Signal) i2ctest.Chip { return i2ctest.NewLSM(id, words, tagged, s) }
}

var (
	mpuUnit = [2]float64{8 * 9.80665 / 32768, 1000 * math.Pi / 180 / 32768}
	lsmUnit = [2]float64{0.244e-3 * 9.80665, 35e-3 * math.Pi / 180}
)

var models = []model{
	{"mpu6050", "MPU-6050", 0x68, mpu(0x68, 1024), 62.5, mpuUnit, 85},
	{"mpu6050", "MPU-6500", 0x69, mpu(0x70, 512), 62.5, mpuUnit, 42},
	{"mpu9250", "MPU-9250", 0x68, mpu(0x71, 512), 62.5, mpuUnit, 42},
	{"lsm6ds3", "LSM6DS3", 0x6a, lsm(0x69, 4096, false), 104, lsmUnit, 682},
	{"lsm6ds3", "LSM6DSL", 0x6b, lsm(0x6a, 2048, false), 104, lsmUnit, 341},
	{"lsm6dso", "LSM6DSO", 0x6b, lsm(0x6c, 512, true), 104, lsmUnit, 256},
}

func open(t *testing.T, m *model, signal i2ctest.Signal, opt i2c.Options) (sensor.Source, *i2ctest.Host, i2ctest.Chip) {
	t.Helper()
	chip := m.new(signal)
	host := i2ctest.NewHost(map[uint8]i2ctest.Chip{m.address: chip})
	opt.Bus, opt.Dial, opt.Clock = 1, host.Dial, host
	src, err := i2c.Open(m.name, opt)
	if err != nil {
		t.Fatalf("%s: %v", m.chip, err)
	}
	return src, host, chip
}

func setDrift(c i2ctest.Chip, d float64) {
	switch c := c.(type) {
	case *i2ctest.MPU:
		c.Drift = d
	case *i2ctest.LSM:
		c.Drift = d
	}
}

// TestSamples compares values and times with what the model felt, from a chip whose clock is off, read by a host that is often late.
func TestSamples(t *testing.T) {
	for i := range models {
		for _, direct := range []bool{false, true} {
			for _, drift := range []float64{-0.05, 0, 0.03} {
				m := &models[i]
				src, host, chip := open(t, m, wave, i2c.Options{Rate: 62.5, NoFIFO: direct})
				setDrift(chip, drift)
				n := 0
				host.OnSleep = func(d time.Duration) time.Duration {
					n++
					return d + time.Duration(n*7919%11)*ms/3
				}
				if src.Rate() != m.rate || !strings.HasPrefix(src.Name(), m.chip+" (bus 1, address 0x6") {
					t.Fatalf("%s: rate %v, %s", m.chip, src.Rate(), src.Name())
				}
				v := sensor.Sample{Values: make([]float32, 6)}
				var last time.Duration
				first := host.Now()
				const samples = 2000
				for i := range samples {
					if err := src.Next(&v); err != nil {
						t.Fatalf("%s: %v", m.chip, err)
					}
					if i > 0 && v.Lost != 0 || v.Time <= last {
						t.Fatalf("%s: sample %d at %v after %v, lost %d", m.chip, i, v.Time, last, v.Lost)
					}
					last = v.Time
					want := wave(v.Time)
					for k, x := range v.Values {
						unit := m.unit[k/3]
						// π rad/s is the steepest; times are good to 12 ms, or 20 ms while the filter settles.
						late := 0.012
						if i < 500 {
							late = 0.02
						}
						if d := math.Abs(float64(x) - want[k]); d > unit+late*math.Pi {
							t.Fatalf("%s, FIFO %v, clock off by %v: sample %d, channel %d is off by %v", m.chip, !direct, drift, i, k, d)
						}
						if r := float64(x) / unit; math.Abs(r-math.Round(r)) > 0.01 {
							t.Fatalf("%s: %v is no multiple of %v", m.chip, x, unit)
						}
					}
				}
				got := samples / (host.Now() - first).Seconds()
				if want := m.rate * (1 + drift); math.Abs(got/want-1) > 0.01 {
					t.Errorf("%s, FIFO %v: %v samples a second, want %v", m.chip, !direct, got, want)
				}
			}
		}
	}
}

func TestRanges(t *testing.T) {
	level := func(time.Duration) [6]float64 { return [6]float64{1, -2, 9.8, 0.5, -0.25, 1} }
	for i := range models {
		for _, accel := range []int{2, 4, 8, 16} {
			for _, gyro := range []int{250, 500, 1000, 2000} {
				m := &models[i]
				src, _, _ := open(t, m, level, i2c.Options{Accel: accel, Gyro: gyro})
				v := sensor.Sample{Values: make([]float32, 6)}
				if err := src.Next(&v); err != nil {
					t.Fatal(err)
				}
				for k, want := range level(0) {
					tolerance := []float64{m.unit[0] * float64(accel) / 8, m.unit[1] * float64(gyro) / 1000}[k/3] / 2 * 1.001
					if math.Abs(float64(v.Values[k])-want) > tolerance {
						t.Errorf("%s, %d g, %d °/s: channel %d is %v, want %v", m.chip, accel, gyro, k, v.Values[k], want)
					}
				}
				if c := src.Channels(); math.Abs(float64(c[0].Limit)/float64(accel)/9.80665-1) > 0.002 {
					t.Errorf("%s: limit %v", m.chip, c[0].Limit)
				}
			}
		}
	}
}

func stream(src sensor.Source, host *i2ctest.Host, events *[]sensor.Event) *sensor.Stream {
	return sensor.NewStream(src, sensor.Options{Rate: 62.5, Now: host.Now, StuckError: 3 * time.Second,
		Report: func(e sensor.Event) { *events = append(*events, e) }})
}

// run reads for a time of the host, and returns the number of samples and of resets.
func run(s *sensor.Stream, host *i2ctest.Host, d time.Duration) (n, resets int, err error) {
	x := make([]float32, 6)
	for end := host.Now() + d; host.Now() < end; n++ {
		_, reset, err := s.Next(x)
		if err != nil {
			return n, resets, err
		}
		if reset {
			resets++
		}
	}
	return n, resets, nil
}

func TestOverflow(t *testing.T) {
	for i := range models {
		m := &models[i]
		src, host, _ := open(t, m, wave, i2c.Options{Rate: 62.5})
		var events []sensor.Event
		s := stream(src, host, &events)
		// Just short of an overflow nothing is lost.
		stall := time.Duration(float64(m.capacity-8) / m.rate * 1e9)
		for range 2 {
			if _, resets, err := run(s, host, 3*time.Second); err != nil || resets != 0 || len(events) != 0 {
				t.Errorf("%s: %v, %d resets, %v", m.chip, err, resets, events)
			}
			host.Sleep(stall)
		}
		if _, resets, err := run(s, host, 3*time.Second); err != nil || resets != 0 || len(events) != 0 {
			t.Errorf("%s: %v, %d resets, %v", m.chip, err, resets, events)
		}
		host.Sleep(stall + time.Second)
		_, resets, err := run(s, host, 3*time.Second)
		if err != nil || resets != 1 || len(events) != 1 || events[0].Kind != sensor.Overrun {
			t.Errorf("%s: %v, %d resets, %v; want an overrun", m.chip, err, resets, events)
		}
	}
}

// TestTimesAfterOverflow compares the first samples after an overflow with what the model felt.
func TestTimesAfterOverflow(t *testing.T) {
	for i := range models {
		m := &models[i]
		src, host, _ := open(t, m, wave, i2c.Options{Rate: 62.5})
		v := sensor.Sample{Values: make([]float32, 6)}
		for n, after := 0, -1; after < 50; n++ {
			if n == 100 {
				host.Sleep(time.Duration(float64(m.capacity)/m.rate*1e9) + time.Second/3)
			}
			v.Lost = 0
			if err := src.Next(&v); err != nil {
				t.Fatalf("%s: %v", m.chip, err)
			}
			if v.Lost == sensor.Overflow || after >= 0 {
				after++
			}
			for k, want := range wave(v.Time) {
				if d := math.Abs(float64(v.Values[k]) - want); after >= 0 && d > 0.07 {
					t.Fatalf("%s: %d samples after an overflow, channel %d is off by %v", m.chip, after, k, d)
				}
			}
		}
	}
}

// TestBusErrors lets transfers fail in every phase of reading. Samples that follow must be whole.
func TestBusErrors(t *testing.T) {
	for i := range models {
		m := &models[i]
		src, host, _ := open(t, m, wave, i2c.Options{Rate: 200})
		v := sensor.Sample{Values: make([]float32, 6)}
		for n := range 400 {
			v.Lost = 0
			if err := src.Next(&v); err != nil {
				t.Fatalf("%s: %v", m.chip, err)
			}
			for k, want := range wave(v.Time) {
				if math.Abs(float64(v.Values[k])-want) > 0.1 {
					t.Fatalf("%s: sample %d, channel %d is %v, want %v", m.chip, n, k, v.Values[k], want)
				}
			}
			if n%7 == 0 {
				host.Skip, host.Fail = n/7%6, n%5
			}
		}
	}
}

func TestGone(t *testing.T) {
	for i := range models {
		for _, direct := range []bool{false, true} {
			src, host, _ := open(t, &models[i], wave, i2c.Options{NoFIFO: direct})
			var events []sensor.Event
			s := stream(src, host, &events)
			if _, _, err := run(s, host, time.Second); err != nil {
				t.Fatal(err)
			}
			host.Gone = true
			begin := host.Now()
			_, _, err := run(s, host, time.Minute)
			if !errors.Is(err, sensor.ErrGone) || host.Now()-begin > time.Second {
				t.Errorf("%s: %v after %v", models[i].chip, err, host.Now()-begin)
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBadSignals has chips that answer but do not measure.
func TestBadSignals(t *testing.T) {
	for i := range models {
		m := &models[i]
		from := time.Duration(math.MaxInt64)
		var bad func(v *[6]float64)
		signal := func(t time.Duration) [6]float64 {
			v := wave(t)
			if t >= from {
				bad(&v)
			}
			return v
		}
		src, host, chip := open(t, m, signal, i2c.Options{})
		var events []sensor.Event
		s := stream(src, host, &events)
		step := func(d time.Duration) error {
			events = events[:0]
			_, _, err := run(s, host, d)
			return err
		}
		if err := step(time.Second); err != nil || len(events) > 0 {
			t.Fatalf("%s: %v, %v", m.chip, err, events)
		}
		from, bad = host.Now(), func(v *[6]float64) { v[1] = 500 }
		if err := step(time.Second); err != nil || len(events) != 1 || events[0].Kind != sensor.Saturated || events[0].Channel != "ay" {
			t.Errorf("%s, saturated: %v, %v", m.chip, err, events)
		}
		bad = func(v *[6]float64) { v[3], v[4], v[5] = 0, 0, 0 }
		err := step(time.Minute)
		if len(events) != 1 || events[0].Kind != sensor.Stuck || events[0].Channel != "gx gy gz" || err == nil ||
			!strings.Contains(err.Error(), "gx gy gz stuck for 3.0 s") {
			t.Errorf("%s, stuck: %v, %v", m.chip, err, events)
		}
		from = math.MaxInt64
		for tries := 0; step(time.Second) != nil; tries++ { // what is still in the FIFO
			if tries == 10 {
				t.Fatalf("%s does not recover: %v", m.chip, events)
			}
		}
		// A drop of the supply resets the chip, which then sleeps.
		switch c := chip.(type) {
		case *i2ctest.MPU:
			c.Write(host.Now(), 0x6b, 0x80)
		case *i2ctest.LSM:
			c.Write(host.Now(), 0x12, 0x01)
		}
		if err := step(time.Minute); !errors.Is(err, sensor.ErrSilent) {
			t.Errorf("%s, asleep: %v", m.chip, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	host := i2ctest.NewHost(map[uint8]i2ctest.Chip{0x68: i2ctest.NewMPU(0x98, 512, wave), 0x6a: i2ctest.NewLSM(0x6c, 512, true, wave)})
	for _, c := range []struct {
		name string
		opt  i2c.Options
		want string
	}{
		{"bmi160", i2c.Options{Bus: 1}, `no chip "bmi160"; there are mpu6050, mpu6500`},
		{"mpu6050", i2c.Options{Bus: 1, Address: 0x68}, "mpu6050: the chip at address 0x68 of bus 1 says that it is 0x98, want 0x68 (MPU-6050), 0x70 (MPU-6500)"},
		{"mpu6050", i2c.Options{Bus: 1}, "mpu6050: nothing answers at address 0x69 of bus 1: "},
		{"lsm6ds3", i2c.Options{Bus: 1, Address: 0x6a}, "says that it is 0x6c, want 0x69 (LSM6DS3), 0x6a (LSM6DSL)"},
		{"mpu6050", i2c.Options{Bus: 2}, "no such bus"},
		{"lsm6dso", i2c.Options{Bus: 1, Rate: 5000}, "5000 samples a second: want up to 1000"},
		{"lsm6dso", i2c.Options{Bus: 1, Accel: 3}, "a range of 3 g"},
		{"lsm6dso", i2c.Options{Bus: 1, Gyro: 125}, "a range of 125 °/s"},
	} {
		c.opt.Dial, c.opt.Clock = host.Dial, host
		if _, err := i2c.Open(c.name, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %q", c.name, c.opt, err, c.want)
		}
	}
	host.OnSleep = func(d time.Duration) time.Duration { host.Gone = true; return d } // during the reset
	if _, err := i2c.Open("lsm6dso", i2c.Options{Bus: 1, Dial: host.Dial, Clock: host}); !errors.Is(err, sensor.ErrGone) {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	for i := range models {
		src, host, chip := open(t, &models[i], wave, i2c.Options{})
		v := sensor.Sample{Values: make([]float32, 6)}
		if err := src.Next(&v); err != nil {
			t.Fatal(err)
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
		for range models[i].capacity {
			if err := src.Next(&v); err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				break
			}
		}
		var reg [1]byte
		switch c := chip.(type) {
		case *i2ctest.MPU:
			if c.Read(host.Now(), 0x6b, reg[:]); reg[0] != 0x40 {
				t.Errorf("%s is left running", models[i].chip)
			}
		case *i2ctest.LSM:
			if c.Read(host.Now(), 0x10, reg[:]); reg[0] != 0 {
				t.Errorf("%s is left running", models[i].chip)
			}
		}
	}
}

func TestProbe(t *testing.T) {
	host := i2ctest.NewHost(map[uint8]i2ctest.Chip{
		0x68: i2ctest.NewMPU(0x71, 512, wave), 0x6a: i2ctest.NewLSM(0x69, 4096, false, wave), 0x6b: i2ctest.NewLSM(0x6c, 512, true, wave)})
	got := i2c.Probe(host.Dial, []int{0, 1})
	want := []i2c.Found{{"MPU-9250", "mpu6050", 1, 0x68}, {"LSM6DS3", "lsm6ds3", 1, 0x6a}, {"LSM6DSO", "lsm6dso", 1, 0x6b}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
	host.Held = 0x68
	if got := i2c.Probe(host.Dial, []int{1}); len(got) != 2 {
		t.Errorf("%v, though a kernel driver holds 0x68", got)
	}
}

func TestNoAllocations(t *testing.T) {
	for i := range models {
		for _, direct := range []bool{false, true} {
			src, _, _ := open(t, &models[i], wave, i2c.Options{NoFIFO: direct})
			v := sensor.Sample{Values: make([]float32, 6)}
			next := func() {
				if err := src.Next(&v); err != nil {
					t.Fatal(err)
				}
			}
			for range 1000 { // the models' queues grow
				next()
			}
			if n := testing.AllocsPerRun(2000, next); n != 0 {
				t.Errorf("%s, FIFO %v: %v allocations a sample", models[i].chip, !direct, n)
			}
		}
	}
}
