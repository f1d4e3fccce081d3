//go:build unix

package iio

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/iio/iiotest"
)

const ms = time.Millisecond

func names(src sensor.Source) (s string) {
	for _, c := range src.Channels() {
		s += c.Name + "[" + c.Unit + "]"
	}
	return s
}

func TestTypes(t *testing.T) {
	row := []byte{0x12, 0x34, 0xff, 0xf6, 0x80, 0x00, 0x00, 0x01}
	for text, want := range map[string]int64{
		"le:s16/16>>0":  0x3412,
		"be:s16/16>>0":  0x1234,
		"be:s12/16>>4":  0x123,
		"be:s8/8>>0":    0x12,
		"be:u32/32>>0":  0x1234fff6,
		"be:s16/32>>0":  -10,
		"be:u12/32>>4":  0xfff,
		"le:s64/64>>0":  0x01000080f6ff3412,
		"be:s64/64>>60": 1,
		"le:s16/16":     0x3412,
	} {
		e, repeat, err := parseType(text)
		if text == "be:s64/64>>60" {
			if err == nil {
				t.Errorf("%s passed", text)
			}
			continue
		}
		if got := e.value(row); err != nil || repeat != 1 || got != want {
			t.Errorf("%s: %#x, want %#x; %v", text, got, want, err)
		}
	}
	if e, repeat, err := parseType("le:s16/16X4>>0"); err != nil || repeat != 4 || e.bytes != 2 {
		t.Errorf("%v %d %v", e, repeat, err)
	}
	for _, text := range []string{"", "le", "le:", "me:s16/16>>0", "le:f16/16>>0", "le:s16", "le:s16/12>>0", "le:s17/16>>0", "le:s12/16>>5", "le:s0/16>>0",
		"le:s16/16>>-1", "le:s16/16X0>>0", "le:s16/16X1000000000>>0", "le:s16/24>>0", "le:sx/16>>0", "le:s16/16>>0 "} {
		if _, _, err := parseType(text); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}

func TestLayout(t *testing.T) {
	elements := []element{{bytes: 2}, {bytes: 1}, {bytes: 4}, {bytes: 2}, {bytes: 8}, {bytes: 1}}
	row := layout(elements, []int{3, 1, 1, 2, 1, 1})
	var at []int
	for _, e := range elements {
		at = append(at, e.at)
	}
	if !reflect.DeepEqual(at, []int{0, 6, 8, 12, 16, 24}) || row != 32 {
		t.Errorf("elements at %v, rows of %d", at, row)
	}
}

func open(t *testing.T, tree *iiotest.Tree, opt Options) sensor.Source {
	t.Helper()
	opt.Root = tree.Root
	src, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func next(src sensor.Source) (string, error) {
	v := sensor.Sample{Values: make([]float32, len(src.Channels()))}
	err := src.Next(&v)
	s := fmt.Sprintf("%v%v", v.Time, v.Values)
	if v.Lost != 0 {
		s += fmt.Sprint(" lost ", v.Lost)
	}
	return s, err
}

func expect(t *testing.T, src sensor.Source, want ...string) {
	t.Helper()
	for _, w := range want {
		if got, err := next(src); err != nil || got != w {
			t.Errorf("%s, want %s; %v", got, w, err)
		}
	}
}

func TestBuffer(t *testing.T) {
	tree := iiotest.New(t)
	tree.Trigger(0, "other", "")
	tree.Trigger(1, "mpu6050-dev0", "")
	tree.Device("adc", "voltage")
	d := tree.Device("mpu6050", "accel", "anglvel")
	d.Set("trigger/current_trigger", "")
	d.Set("in_accel_scale", "0.25")
	d.Set("in_accel_offset", "4")
	d.Set("in_anglvel_y_scale", "2")
	d.Set("in_mount_matrix", "0, 1, 0; -1, 0, 0; 0, 0, 1")
	src := open(t, tree, Options{Rate: 120})
	if got := names(src); got != "ax[m/s^2]ay[m/s^2]az[m/s^2]gx[rad/s]gy[rad/s]gz[rad/s]" {
		t.Error(got)
	}
	for file, want := range map[string]string{
		"buffer/enable": "1", "buffer/length": "400", "buffer/watermark": "4", "sampling_frequency": "200", "current_timestamp_clock": "monotonic",
		"trigger/current_trigger": "mpu6050-dev0", "scan_elements/in_accel_x_en": "1", "scan_elements/in_anglvel_z_en": "1",
		"scan_elements/in_timestamp_en": "1", "scan_elements/in_temp_en": "0",
	} {
		if got := d.Get(file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if src.Rate() != 200 || src.Name() != "mpu6050 (iio:device1)" {
		t.Errorf("rate %v, %s", src.Rate(), src.Name())
	}
	// (32767+4)/4 and 32767/2
	if c := src.Channels(); c[0].Limit != 8192.75 || c[5].Limit != 16383.5 {
		t.Errorf("limits %v", c)
	}
	d.Row(1e9, 4, 8, -12, 1, 2, 3)
	d.Row(1.005e9, -32768, 32767, 0, 0, 0, -1)
	expect(t, src, "1s[3 -2 -2 4 -0.5 1.5]", "1.005s[8192.75 8191 1 0 0 -0.5]")
	if err := src.Close(); err != nil || d.Get("buffer/enable") != "0" {
		t.Errorf("%v, enable is %q", err, d.Get("buffer/enable"))
	}
	if _, err := next(src); err == nil {
		t.Error("read after Close")
	}
}

// TestOrder has elements in another order than x, y, z, of other types, and rows that arrive in pieces.
func TestOrder(t *testing.T) {
	tree := iiotest.New(t)
	d := tree.Device("adis", "accel")
	d.Element("in_timestamp", 0, "be:s64/64>>0")
	d.Element("in_accel_z", 1, "be:s32/32>>0")
	d.Element("in_accel_x", 2, "be:s14/16>>2")
	d.Element("in_accel_y", 5, "le:u8/8>>0")
	src := open(t, tree, Options{})
	row := []byte{0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xfc, 0x00, 0x14, 0xfe, 0}
	go func() {
		for i := range row {
			d.Bytes(row[i : i+1])
			time.Sleep(5 * ms)
		}
		d.Bytes(row)
	}()
	expect(t, src, "7ns[2.5 127 -2]", "7ns[2.5 127 -2]")
}

func TestTwoDevices(t *testing.T) {
	tree := iiotest.New(t)
	gyro := tree.Device("lsm6ds3_gyro", "anglvel")
	accel := tree.Device("lsm6ds3_accel", "accel")
	src := open(t, tree, Options{Name: "lsm6ds3"})
	if src.Name() != "lsm6ds3_accel (iio:device1) and lsm6ds3_gyro (iio:device0)" || len(src.Channels()) != 6 {
		t.Errorf("%s, %s", src.Name(), names(src))
	}
	for i := range int64(5) {
		accel.Row(i*10e6+4e6, int16(2*i), 2, 3)
		gyro.Row(i*10e6, int16(20*i), 0, -2)
	}
	expect(t, src, "4ms[0 1 1.5 4 0 -1]", "14ms[1 1 1.5 14 0 -1]", "24ms[2 1 1.5 24 0 -1]")
	accel.Unplug()
	expect(t, src, "34ms[3 1 1.5 34 0 -1]")
	gyro.Row(50e6, 100, 0, -2)
	expect(t, src, "44ms[4 1 1.5 44 0 -1]")
	if _, err := next(src); !errors.Is(err, sensor.ErrGone) {
		t.Error(err)
	}
}

// TestEvents has rows that are wrong in each way, and a stream that must notice.
func TestEvents(t *testing.T) {
	const (
		start  = int64(1e18) // the time of day, in a device that knows no other clock
		period = int64(10e6)
	)
	type row struct {
		time int64
		ax   int16
		gy   int16
	}
	good := func(i int) row { return row{start + int64(i)*period, int16(i % 7), int16(i % 5)} }
	for name, c := range map[string]struct {
		row  func(i int) row
		want []sensor.Kind
		err  string
	}{
		"good": {good, nil, ""},
		"the clock is set back": {func(i int) row {
			r := good(i)
			if i >= 50 {
				r.time -= 3600e9
			}
			return r
		}, []sensor.Kind{sensor.Jump}, ""},
		"the clock is set on": {func(i int) row {
			r := good(i)
			if i >= 50 {
				r.time += 3600e9
			}
			return r
		}, []sensor.Kind{sensor.Jump}, ""},
		"the clock stands still": {func(i int) row {
			r := good(i)
			r.time = min(r.time, start+50*period)
			return r
		}, []sensor.Kind{sensor.Jump}, "each unconnected"},
		"an axis at its end": {func(i int) row {
			r := good(i)
			if i == 60 {
				r.ax = -32768
			}
			return r
		}, []sensor.Kind{sensor.Saturated}, ""},
		"a gyroscope that is dead": {func(i int) row {
			r := good(i)
			r.gy = 3
			return r
		}, []sensor.Kind{sensor.Stuck}, "gx gy gz stuck for 1.5 s"},
	} {
		tree := iiotest.New(t)
		d := tree.Device("mpu6050", "accel", "anglvel")
		src := open(t, tree, Options{Silent: 20 * ms})
		host := time.Duration(0)
		kinds := map[sensor.Kind]bool{}
		s := sensor.NewStream(src, sensor.Options{Rate: 100, Now: func() time.Duration { return host }, StuckError: 1500 * ms,
			Report: func(e sensor.Event) { kinds[e.Kind] = true }})
		x := make([]float32, 6)
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			r := c.row(i)
			d.Row(r.time, r.ax, 2, 3, 4, r.gy, 6)
			host = time.Duration(i) * 10 * ms
			_, _, err = s.Next(x)
		}
		for _, k := range c.want {
			if !kinds[k] {
				t.Errorf("%s: no %v", name, k)
			}
		}
		if len(kinds) != len(c.want) || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: events %v, error %v; want %v, %q", name, kinds, err, c.want, c.err)
		}
	}
}

// TestBufferFailures leaves the device in each state that a driver can be in.
func TestBufferFailures(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(d *iiotest.Device)
		want error
	}{
		"silent":                   {func(d *iiotest.Device) {}, sensor.ErrSilent},
		"gone, and says so":        {func(d *iiotest.Device) { d.Unplug() }, sensor.ErrGone},
		"gone, and says nothing":   {func(d *iiotest.Device) { d.Remove("") }, sensor.ErrGone},
		"gone in a row's midst":    {func(d *iiotest.Device) { d.Bytes([]byte{1, 2, 3}); d.Unplug() }, sensor.ErrGone},
		"stopped in a row's midst": {func(d *iiotest.Device) { d.Bytes([]byte{1, 2, 3}) }, sensor.ErrSilent},
	} {
		tree := iiotest.New(t)
		d := tree.Device("mpu6050", "accel", "anglvel")
		src := open(t, tree, Options{Silent: 50 * ms})
		d.Row(1e9, 1, 2, 3, 4, 5, 6)
		if _, err := next(src); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.do(d)
		if _, err := next(src); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestCloseWakes(t *testing.T) {
	tree := iiotest.New(t)
	tree.Device("mpu6050", "accel", "anglvel")
	for _, opt := range []Options{{Silent: time.Hour}, {Poll: true, Rate: 0.001}} {
		src := open(t, tree, opt)
		if opt.Poll {
			next(src)
		}
		var wait sync.WaitGroup
		var err error
		wait.Go(func() { _, err = next(src) })
		time.Sleep(20 * ms)
		src.Close()
		wait.Wait()
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(tree *iiotest.Tree, d *iiotest.Device)
		opt  Options
		want string
	}{
		"another name": {nil, Options{Name: "bmi160"}, `no IIO device is called "bmi160"; there are mpu6050 (iio:device0)`},
		"a bad type":   {func(_ *iiotest.Tree, d *iiotest.Device) { d.Set("scan_elements/in_accel_y_type", "le:s16") }, Options{}, `in_accel_y: "le:s16" is no type`},
		"no index":     {func(_ *iiotest.Tree, d *iiotest.Device) { d.Remove("scan_elements/in_accel_y_index") }, Options{}, "in_accel_y_index"},
		"a bad scale":  {func(_ *iiotest.Tree, d *iiotest.Device) { d.Set("in_accel_scale", "much") }, Options{}, `in_accel_scale holds "much", want a number`},
		"a mirror":     {func(_ *iiotest.Tree, d *iiotest.Device) { d.Set("in_mount_matrix", "1,0,0;0,1,0;0,0,-1") }, Options{}, "right-handed"},
		"no trigger": {func(tree *iiotest.Tree, d *iiotest.Device) {
			tree.Trigger(0, "sysfstrig0", "")
			d.Set("trigger/current_trigger", "")
		}, Options{}, `no trigger ""; the system has ["sysfstrig0"]`},
		"an unknown trigger":  {func(_ *iiotest.Tree, d *iiotest.Device) { d.Set("trigger/current_trigger", "") }, Options{Trigger: "t"}, `no trigger "t"`},
		"no character device": {func(tree *iiotest.Tree, d *iiotest.Device) { os.Remove(filepath.Join(tree.Root, "dev", d.Node)) }, Options{}, "no such file"},
		"neither time nor rate": {func(_ *iiotest.Tree, d *iiotest.Device) {
			d.Remove("scan_elements/in_timestamp_en")
			d.Remove("sampling_frequency")
		}, Options{}, "neither rows with a time nor a rate"},
		"no readings": {func(_ *iiotest.Tree, d *iiotest.Device) { d.Remove("in_accel_z_raw") }, Options{Poll: true}, "in_accel_z_raw"},
	} {
		tree := iiotest.New(t)
		d := tree.Device("mpu6050", "accel", "anglvel")
		if c.do != nil {
			c.do(tree, d)
		}
		c.opt.Root = tree.Root
		if src, err := Open(c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			if err == nil {
				src.Close()
			}
		}
	}
	for _, root := range []string{t.TempDir(), iiotest.New(t).Root} {
		if _, err := Open(Options{Root: root}); err == nil || !strings.Contains(err.Error(), "no IIO device measures motion") {
			t.Error(err)
		}
	}
}

func TestTriggerWithARate(t *testing.T) {
	tree := iiotest.New(t)
	tree.Trigger(3, "hr", "100")
	d := tree.Device("bmi160", "accel", "anglvel")
	d.Remove("sampling_frequency")
	d.Set("trigger/current_trigger", "")
	src := open(t, tree, Options{Trigger: "hr", Rate: 62.5})
	if b, _ := os.ReadFile(filepath.Join(tree.Root, "sys/bus/iio/devices/trigger3/sampling_frequency")); string(b) != "62.5" || src.Rate() != 62.5 {
		t.Errorf("the trigger's rate is %q, ours %v", b, src.Rate())
	}
}

// TestOwnFIFO has a device that could be triggered and need not be.
func TestOwnFIFO(t *testing.T) {
	tree := iiotest.New(t)
	d := tree.Device("bmc150", "accel")
	d.Set("trigger/current_trigger", "")
	d.Set("buffer/hwfifo_enabled", "0")
	src := open(t, tree, Options{})
	d.Row(1e9, 2, 4, 6)
	expect(t, src, "1s[1 2 3]")
	if got := d.Get("trigger/current_trigger"); got != "\n" {
		t.Errorf("the trigger is %q", got)
	}
}

func TestRates(t *testing.T) {
	tree := iiotest.New(t)
	d := tree.Device("mpu6050", "accel")
	devices, err := List(tree.Root)
	if err != nil || len(devices) != 1 {
		t.Fatal(devices, err)
	}
	for _, c := range []struct {
		available string
		rate      float64
		want      string
	}{
		{"12.500000 25 50.0", 20, "25"}, {"12.500000 25 50.0", 12.5, "12.500000"}, {"50.0 25", 100, "50.0"}, {"[1 1 400]", 62.5, "62.5"}, {"", 62.5, "62.5"},
	} {
		d.Set("sampling_frequency_available", c.available)
		if got := devices[0].nearest("sampling_frequency", c.rate); got != c.want {
			t.Errorf("%v of %q: %s, want %s", c.rate, c.available, got, c.want)
		}
	}
}

// fakeClock advances by what is slept, and by a little for each reading.
type fakeClock struct {
	now  time.Duration
	tick func(now time.Duration)
}

func (c *fakeClock) Now() time.Duration { c.now += ms / 10; return c.now }
func (c *fakeClock) Sleep(d time.Duration) bool {
	c.now += d
	if c.tick != nil {
		c.tick(c.now)
	}
	return true
}
func (c *fakeClock) Stop() {}

func TestPolling(t *testing.T) {
	tree := iiotest.New(t)
	d := tree.Device("mpu6050", "accel", "anglvel")
	d.Remove("buffer/enable") // an old driver
	clock := &fakeClock{}
	src := open(t, tree, Options{Rate: 50, Clock: clock})
	clock.tick = func(now time.Duration) { d.Set("in_accel_x_raw", fmt.Sprint(now.Milliseconds())) }
	v := sensor.Sample{Values: make([]float32, 6)}
	var last time.Duration
	for i := range 100 {
		if err := src.Next(&v); err != nil {
			t.Fatal(err)
		}
		if step := v.Time - last; i > 0 && (step-20*ms).Abs() > ms || v.Lost != 0 {
			t.Errorf("sample %d comes %v after the last, lost %d", i, step, v.Lost)
		}
		if i > 0 && math.Abs(float64(v.Values[0])*2-float64(v.Time/ms)) > 2 {
			t.Errorf("sample %d: %v at %v", i, v.Values, v.Time)
		}
		last = v.Time
	}
	clock.now += 65 * ms // we were not run
	if err := src.Next(&v); err != nil || v.Lost != 2 {
		t.Errorf("lost %d, want 2; %v", v.Lost, err)
	}
	d.Set("in_accel_y_raw", "7 8")
	if _, err := next(src); err == nil || !strings.Contains(err.Error(), `holds "7 8", want a number`) {
		t.Error(err)
	}
	os.WriteFile(filepath.Join(tree.Root, "sys/bus/iio/devices", d.Node, "in_accel_y_raw"), nil, 0o644)
	if _, err := next(src); !errors.Is(err, sensor.ErrGone) {
		t.Error(err)
	}
}

// TestArrival stamps rows that bear no time.
func TestArrival(t *testing.T) {
	tree := iiotest.New(t)
	d := tree.Device("mpu6050", "accel")
	d.Remove("scan_elements/in_timestamp_en")
	clock := &fakeClock{}
	src := open(t, tree, Options{Clock: clock})
	v := sensor.Sample{Values: make([]float32, 3)}
	var last time.Duration
	for i := range 200 {
		if i%5 == 0 {
			clock.now = time.Duration(i)*10*ms + 50*ms
			d.Bytes(make([]byte, 5*6))
		}
		if err := src.Next(&v); err != nil {
			t.Fatal(err)
		}
		if step := v.Time - last; i > 0 && (step-10*ms).Abs() > ms/2 {
			t.Errorf("row %d comes %v after the last", i, step)
		}
		last = v.Time
	}
}

func TestNoAllocations(t *testing.T) {
	for _, poll := range []bool{false, true} {
		tree := iiotest.New(t)
		d := tree.Device("mpu6050", "accel", "anglvel")
		src := open(t, tree, Options{Clock: &fakeClock{}, Poll: poll})
		v := sensor.Sample{Values: make([]float32, 6)}
		n := testing.AllocsPerRun(500, func() {
			if !poll {
				d.Row(1e9, 1, 2, 3, 4, 5, 6)
			}
			if err := src.Next(&v); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("poll %v: %v allocations a sample", poll, n)
		}
	}
}
