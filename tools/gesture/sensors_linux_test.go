package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/i2c/i2ctest"
	"github.com/recur-go/recur/tools/internal/sensor/iio/iiotest"
	"github.com/recur-go/recur/tools/internal/sensor/serial/pty"
)

const (
	demoColumns = "ax,ay,az,time_ms"
	period      = 0.032 // s of the demo
)

func on(h host, stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = runOn(h, args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// TestRecordings gives the demo recording as a sensor would.
func TestRecordings(t *testing.T) {
	_, want, _ := gestureCommand("")
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	file := filepath.Join(t.TempDir(), "a,b=c:d.csv")
	if err := os.WriteFile(file, []byte(csv), 0o644); err != nil {
		t.Fatal(err)
	}
	header, rows, _ := strings.Cut(csv, "\n")
	named := strings.Replace(header, "time", "time_ms", 1) + "\n" + rows
	var objects strings.Builder
	for line := range strings.Lines(rows) {
		f := strings.Split(strings.TrimSpace(line), ",")
		fmt.Fprintf(&objects, `{"t":0%se-3,"a":[%s],"p":{"v":[%s,0]},"gz":0}`+"\n", f[3], strings.Join(f[:3], ","), f[2])
	}
	for name, c := range map[string]struct {
		stdin string
		args  []string
	}{
		"names in the file": {named, []string{"-sensor", "csv:-"}},
		"names in a flag":   {csv, []string{"-sensor", "csv:-", "-columns", demoColumns}},
		"a file":            {"", []string{"-sensor", "csv:" + file, "-columns", demoColumns}},
		"a rate instead":    {csv, []string{"-sensor", "csv:-", "-rate", "31.25", "-columns", strings.Replace(demoColumns, "time_ms", "_", 1)}},
		"objects":           {objects.String(), []string{"-sensor", "json:-"}},
		"another's axis":    {objects.String(), []string{"-sensor", "json:-", "-map", "az=p_v_x"}},
	} {
		if status, got, errs := gestureCommand(c.stdin, c.args...); status != 0 || got != want {
			t.Errorf("%s: status %d, %s\n%s", name, status, errs, got)
		}
	}
}

// TestOtherRates gives the demo recording at other rates: the same gestures at nearly the same times must be found.
func TestOtherRates(t *testing.T) {
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	_, text, _ := gestureCommand("", "-json")
	want := events(t, text)
	var rows [][]float64
	for line := range strings.Lines(csv) {
		var row []float64
		for f := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			v, _ := strconv.ParseFloat(f, 64)
			row = append(row, v)
		}
		rows = append(rows, row)
	}
	rows = rows[1:] // the names
	for _, rate := range []float64{50, 90, 100, 200, 1000} {
		var b strings.Builder
		for k := 0; ; k++ {
			at := float64(k) / rate / period
			i := int(at)
			if i+1 >= len(rows) {
				break
			}
			for c, v := range rows[i][:3] {
				fmt.Fprintf(&b, "%v,", v+(rows[i+1][c]-v)*(at-float64(i)))
			}
			fmt.Fprintf(&b, "%v\n", at*32)
		}
		status, out, errs := gestureCommand(b.String(), "-sensor", "csv:-", "-columns", demoColumns, "-json")
		got := events(t, out)
		if status != 0 || len(got) != len(want) {
			t.Errorf("%v a second: status %d, %s%s", rate, status, errs, out)
			continue
		}
		for i, e := range got {
			if e.Label != want[i].Label || math.Abs(e.Start-want[i].Start) > 0.05 || math.Abs(e.End-want[i].End) > 0.05 {
				t.Errorf("%v a second: %+v, want %+v", rate, e, want[i])
			}
		}
	}
}

type event struct {
	Event      string
	T, Span    float64
	Reset      bool
	Start      float64 `json:"t_start"`
	End        float64 `json:"t_end"`
	Label      string
	Confidence float64
}

func events(t *testing.T, text string) (all []event) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// TestGap cuts most of the second gesture out: the gap is reported twice, and that gesture is not.
func TestGap(t *testing.T) {
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	_, text, _ := gestureCommand("", "-json")
	lines, all := strings.SplitAfter(csv, "\n"), events(t, text)
	from := 1 + int(math.Round((all[1].Start+0.1)/period))
	to := from + 25
	last, span := float64(from-2)*period, 26*period
	var want []string
	for i, e := range all {
		if i != 1 {
			want = append(want, e.Label)
		}
	}
	cut := strings.Join(lines[:from], "") + strings.Join(lines[to:], "")
	status, out, errs := gestureCommand(cut, "-sensor", "csv:-", "-columns", demoColumns, "-json")
	var labels, kinds []string
	for _, e := range events(t, out) {
		if e.Event == "" {
			labels = append(labels, e.Label)
			continue
		}
		kinds = append(kinds, e.Event)
		if math.Abs(e.T-last) > 1e-6 || math.Abs(e.Span-span) > 1e-6 || !e.Reset {
			t.Errorf("%+v", e)
		}
	}
	if status != 0 || strings.Join(kinds, " ") != "gap" || !slices.Equal(labels, want) ||
		!strings.Contains(errs, fmt.Sprintf("gesture: %.3f s: a gap of %.3f s; recognition starts again\n", last, span)) {
		t.Errorf("status %d, %v, %v\n%s", status, kinds, labels, errs)
	}
	if _, out, errs := gestureCommand(cut, "-sensor", "csv:-", "-columns", demoColumns, "-gap", "27"); strings.Contains(errs, "gap") || out == "" {
		t.Errorf("-gap 27: %s", errs)
	}
}

// TestNoNumber has readings that are none: a few are dropped, many end the program.
func TestNoNumber(t *testing.T) {
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	lines := strings.SplitAfter(csv, "\n")
	_, out, _ := gestureCommand("", "-json")
	from := 1 + int((events(t, out)[1].End+0.6)/period) // in the rest after two gestures
	for _, c := range []struct{ n, status, gestures int }{{1, 0, 9}, {2, 0, 9}, {200, 1, 2}} {
		text := strings.Join(lines[:from], "")
		for _, line := range lines[from:][:c.n] {
			text += "nan" + line[strings.IndexByte(line, ','):]
		}
		text += strings.Join(lines[from+c.n:], "")
		status, out, errs := gestureCommand(text, "-sensor", "csv:-", "-columns", demoColumns, "-json")
		got := events(t, out)
		wrong := 0
		for _, e := range got {
			if e.Event == "not-finite" {
				wrong++
			}
		}
		if status != c.status || wrong != 1 || len(got)-wrong != c.gestures || !strings.Contains(errs, "ax is not finite") {
			t.Errorf("%d: status %d, %s%s", c.n, status, out, errs)
		}
	}
}

func TestSpeed(t *testing.T) {
	clock := &i2ctest.Host{}
	h := thisHost
	h.clock = func() sensor.Clock { return clock }
	_, want, _ := gestureCommand("")
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	for _, args := range [][]string{{}, {"-in", "-"}, {"-sensor", "csv:-", "-columns", demoColumns}} {
		begin := clock.Now()
		_, got, errs := on(h, csv, append(args, "-speed", "4")...)
		if took := (clock.Now() - begin).Seconds(); got != want || math.Abs(took-float64(strings.Count(csv, "\n")-2)*period/4) > 0.001 {
			t.Errorf("%v: took %v s, %s", args, took, errs)
		}
	}
}

func TestSpeedOfASensor(t *testing.T) {
	h, _ := chipHost(still)
	if status, _, errs := on(h, "", "-sensor", "lsm6dso", "-speed", "2"); status != 1 || !strings.Contains(errs, "-speed is for recordings") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestSensorFailures(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		stdin  string
		args   string
		status int
		errs   string
	}{
		{"", "-sensor imu", 1, `-sensor imu: no sensor "imu": want iio, mpu6050, `},
		{"", "-sensor mpu6050:x", 1, `"x" is no number of a bus`},
		{"", "-sensor mpu6050:1:0x99", 1, `"0x99" is no address at a bus`},
		{"", "-sensor mpu6050,accel=3", 1, "a range of 3 g"},
		{"", "-sensor mpu6050,accel=big", 1, "accel=big: want a number"},
		{"", "-sensor mpu6050,fifo=no", 1, "fifo=no: want on or off"},
		{"", "-sensor mpu6050,speed=1", 1, `no option "speed"`},
		{"", "-sensor mpu6050,fast", 1, `"fast" is no OPTION=VALUE`},
		{"", "-sensor iio,mode=fast", 1, "mode=fast: want buffer or poll"},
		{"", "-sensor serial", 1, "want serial:PORT"},
		{"", "-sensor serial:/dev/null:x", 1, `"x" is no baud rate`},
		{"", "-sensor serial:/dev/null", 1, "no serial port"},
		{"", "-sensor csv", 1, "want a file after the colon"},
		{"", "-sensor csv:" + dir + "/absent", 1, "no such file"},
		{"", "-sensor csv:-", 1, "gesture: -sensor csv:-: standard input: no samples\n"},
		{"1,2\n", "-sensor csv:-", 1, "a line of names must come first"},
		{"t,ax\n1,2\n", "-sensor csv:-", 1, "gesture: standard input: the sensor has no ay, az\n" +
			"  the model wants  ax [m/s2] ay [m/s2] az [m/s2]\n" +
			"  the sensor gives ax [m/s^2]\n"},
		{"t,ax\n1,2\n", "-sensor csv:- -map b=ax", 1, `the model has no channel "b"`},
		{"t,ax\n1,2\n", "-sensor csv:- -axes x,y,y", 1, "two of the axes are the same"},
		{"t,p\n0,1\n1,x\n", "-sensor csv:- -map ax=p,ay=p,az=p", 1,
			`gesture: standard input: line 3: column 2 (p): "x" is not a number`},
		{"", "-in a -sensor iio", 2, "both -in and -sensor"},
		{"", "-axes x,y,z", 2, "go with -sensor"},
		{"", "-sensor iio -gap 0", 2, "-gap 0: want 1 or more"},
		{"", "-sensor iio -rate -1", 2, "-rate -1"},
		{"", "-speed -1", 2, "-speed -1"},
		{"", "-exec-timeout 0s", 2, "-exec-timeout 0s"},
		{"", "-exec /absent/command", 1, "/absent/command"},
		{"", "doctor -seconds 0", 2, "-seconds 0"},
		{"", "doctor now", 2, `unexpected argument "now"`},
	} {
		status, out, errs := gestureCommand(c.stdin, strings.Fields(c.args)...)
		if status != c.status || out != "" || !strings.Contains(errs, c.errs) {
			t.Errorf("%s: status %d, output %q, error %q; want %d, %q", c.args, status, out, errs, c.status, c.errs)
		}
	}
}

// still is a sensor at rest, with a little noise.
func still(t time.Duration) [6]float64 {
	n := float64(t.Microseconds() % 97)
	return [6]float64{0.001 * n, -0.001 * n, 9.8, 0.0005 * n, 0, 0.001}
}

// chipHost has an LSM6DSO at bus 1, in a time of its own.
func chipHost(signal i2ctest.Signal) (host, *i2ctest.Host) {
	bus := i2ctest.NewHost(map[uint8]i2ctest.Chip{0x6b: i2ctest.NewLSM(0x6c, 512, true, signal)})
	return host{root: "/nowhere", dial: bus.Dial, buses: func() []int { return []int{1} }, clock: bus.Clock}, bus
}

// TestChip runs until something happens to the chip, and must say so with status 1.
func TestChip(t *testing.T) {
	for name, c := range map[string]struct {
		after  func(h *i2ctest.Host, d time.Duration) time.Duration // of each sleep
		signal i2ctest.Signal
		errs   []string
		notes  string
	}{
		"gone": {func(h *i2ctest.Host, d time.Duration) time.Duration {
			h.Gone = h.Now() > 20*time.Second
			return d
		}, still, []string{"gesture: LSM6DSO (bus 1, address 0x6b): the device is gone: "}, ""},
		"stuck": {nil, func(time.Duration) [6]float64 { return [6]float64{} },
			[]string{"ax ay az stuck for 1.0 s", "gesture: LSM6DSO (bus 1, address 0x6b): ax ay az stuck for 10.0 s\n"}, "stuck stuck"},
		"overrun, then gone": {func(h *i2ctest.Host, d time.Duration) time.Duration {
			h.Gone = h.Now() > 30*time.Second
			if h.Now() > 10*time.Second && h.Now() < 11*time.Second {
				return 8 * time.Second
			}
			return d
		}, still, []string{"the sensor's buffer overran, samples are lost; recognition starts again", "the device is gone"}, "overrun"},
	} {
		h, bus := chipHost(c.signal)
		bus.OnSleep = func(d time.Duration) time.Duration {
			if c.after != nil {
				return c.after(bus, d)
			}
			return d
		}
		status, out, errs := on(h, "", "-sensor", "lsm6dso:1:0x6b,accel=4", "-json")
		var notes []string
		for _, e := range events(t, out) {
			notes = append(notes, e.Event)
		}
		if status != 1 || strings.Join(notes, " ") != c.notes {
			t.Errorf("%s: status %d, %v, want %v", name, status, notes, c.notes)
		}
		for _, want := range c.errs {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: %s, want %q", name, errs, want)
			}
		}
	}
}

func TestKernelDevice(t *testing.T) {
	tree := iiotest.New(t)
	d := tree.Device("lsm6ds3", "accel", "anglvel")
	h := host{root: tree.Root, buses: func() []int { return nil }, clock: sensor.HostClock}
	for i := range int64(200) {
		d.Row(1e18+i*16e6, int16(i%7), int16(i%5), 20, 1, 2, int16(i%3))
	}
	d.Row(1e18+300*16e6, 1, 2, 3, 4, 5, 6) // from the future: all rows are there at once
	before := goruntime.NumGoroutine()
	go func() {
		for d.Get("buffer/enable") != "1" {
			time.Sleep(time.Millisecond)
		}
		d.Unplug()
	}()
	status, out, errs := on(h, "", "-sensor", "iio:lsm6ds3", "-json")
	got := events(t, out)
	if status != 1 || !strings.Contains(errs, "gesture: lsm6ds3 (iio:device0): ") || len(got) != 1 || got[0].Event != "jump" {
		t.Errorf("status %d, %v, %s", status, got, errs)
	}
	sameGoroutines(t, before)
}

// sameGoroutines waits for those that are just ending.
func sameGoroutines(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if goruntime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", goruntime.NumGoroutine(), before)
}

// looped gives lines for ever, with times that grow.
type looped struct {
	rows []string
	at   int
	line []byte
}

func (l *looped) Read(b []byte) (int, error) {
	if len(l.line) == 0 {
		l.line = append(strconv.AppendInt(append(l.line, l.rows[l.at%len(l.rows)]...), int64(10*l.at), 10), '\n')
		l.at++
	}
	n := copy(b, l.line)
	l.line = append(l.line[:0], l.line[n:]...)
	return n, nil
}

func (l *looped) Close() error { return nil }

// TestSteadyState counts what the way of a sample allocates: from a line to an answer of the network.
func TestSteadyState(t *testing.T) {
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	var rows []string
	for i, line := range strings.Split(strings.TrimSpace(csv), "\n") {
		if i > 0 {
			rows = append(rows, line[:strings.LastIndexByte(line, ',')+1])
		}
	}
	model, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	spotter, err := gesture.NewSpotter(model)
	if err != nil {
		t.Fatal(err)
	}
	src, err := sensor.NewText("demo", &looped{rows: rows}, sensor.TextOptions{Columns: demoColumns})
	if err != nil {
		t.Fatal(err)
	}
	o := sensing{host: thisHost}
	f, err := o.feed(device{src, true, true}, model, nil, spotter.Reset)
	if err != nil {
		t.Fatal(err)
	}
	sample := make([]float32, model.InputWidth())
	found := 0
	n := testing.AllocsPerRun(5000, func() {
		at, err := f.Next(sample)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := spotter.Push(sample, at); err != nil {
			t.Fatal(err)
		} else if ok {
			found++
		}
	})
	if n != 0 || found == 0 {
		t.Errorf("%v allocations a sample, %d gestures", n, found)
	}
}

// TestMain is the program itself where a test starts it so.
func TestMain(m *testing.M) {
	if os.Getenv("GESTURE_TEST_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestSignal ends a program that waits for a serial port while a command runs.
func TestSignal(t *testing.T) {
	other, path := pty.Open(t)
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	_, text, _ := gestureCommand("", "-json")
	first := events(t, text)[0]
	rows := strings.SplitAfter(csv, "\n")[1 : 1+int((first.End+0.9)/period)] // one gesture and the rest after it
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		c := exec.Command(os.Args[0], "-sensor", "serial:"+path, "-columns", demoColumns, "-exec", "sleep 60", "-exec-timeout", "1m")
		c.Env = append(os.Environ(), "GESTURE_TEST_PROGRAM=1")
		var errs bytes.Buffer
		c.Stderr = &errs
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		waitForPort(t, c.Process.Pid, path)
		for _, row := range rows {
			if _, err := other.WriteString(row); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.Contains(line, first.Label) {
			t.Errorf("%v: %q, %v", sig, line, err)
		}
		time.Sleep(200 * time.Millisecond) // until the command runs
		begin := time.Now()
		if err := c.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err = c.Wait()
		if took := time.Since(begin); err != nil || took > 10*time.Second || !strings.Contains(errs.String(), "gesture: sleep: killed\n") ||
			!strings.Contains(errs.String(), "gesture: 1 gestures in ") {
			t.Errorf("%v: %v after %v\n%s", sig, err, took, errs.String())
		}
	}
}

// waitForPort waits until a process has opened a port and thrown away what was in it.
func waitForPort(t *testing.T, pid int, path string) {
	t.Helper()
	for range 1000 {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil && to == path {
				time.Sleep(100 * time.Millisecond)
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s is not opened", path)
}

// otherChannel writes a model that wants what no IMU has.
func otherChannel(t *testing.T) string {
	t.Helper()
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	f := *m.File()
	f.Input.Channels = append(slices.Clone(f.Input.Channels[1:]), format.Channel{Name: "pressure", Unit: "Pa"})
	b, err := format.Encode(&f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "other.recur")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDoctor(t *testing.T) {
	h, bus := chipHost(still)
	tree := iiotest.New(t)
	tree.Device("bmi160", "accel")
	h.root = tree.Root
	status, out, errs := on(h, "", "doctor", "-sensor", "lsm6dso,gyro=500")
	for _, want := range []string{"tier ", "found     iio:device0", "bmi160: accel", "lsm6dso:1:0x6b", "measured  LSM6DSO (bus 1, address 0x6b)",
		"nominal 52", "gravity 9.80", "fine      nothing is wrong", "% of a core"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if status != 0 || errs != "" {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	status, out, _ = on(h, "", "doctor", "-sensor", "lsm6dso", "-json", "-seconds", "2", "-model", otherChannel(t))
	var r struct {
		Tier     string
		StepNS   float64 `json:"step_ns"`
		Found    []struct{ Sensor, What string }
		Measured struct {
			Rate, Gravity float64
			Channels      []struct {
				Name, Unit  string
				Mean, Noise float64
			}
		}
		Problems []string
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// n is uniform in 0 to 96: its mean is 48, its deviation 28.
	if status != 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "the sensor has no pressure") || len(r.Found) != 2 ||
		math.Abs(r.Measured.Rate/52-1) > 0.01 || math.Abs(r.Measured.Channels[0].Mean-0.048) > 0.005 ||
		math.Abs(r.Measured.Channels[0].Noise-0.028) > 0.003 || r.StepNS <= 0 || r.Tier == "" {
		t.Errorf("status %d, %+v", status, r)
	}
	bus.Gone = true
	if status, out, _ := on(h, "", "doctor", "-sensor", "lsm6dso:1:0x6b"); status != 1 || !strings.Contains(out, "PROBLEM   -sensor lsm6dso:1:0x6b: lsm6dso: nothing answers") {
		t.Errorf("status %d, %s", status, out)
	}
	tree2 := iiotest.New(t)
	h.root = tree2.Root
	if status, out, _ := on(h, "", "doctor"); status != 1 || !strings.Contains(out, "no sensor is found") {
		t.Errorf("status %d, %s", status, out)
	}
}

// TestDoctorFindsFaults has sensors that are wrong in ways that samples show.
func TestDoctorFindsFaults(t *testing.T) {
	for want, signal := range map[string]i2ctest.Signal{
		"it was moved": func(t time.Duration) [6]float64 {
			v := still(t)
			v[0] += 5 * math.Sin(t.Seconds()*20)
			return v
		},
		"gravity is 4.9": func(t time.Duration) [6]float64 {
			v := still(t)
			v[2] /= 2
			return v
		},
		"stuck (1)": func(t time.Duration) [6]float64 {
			v := still(t)
			v[3], v[4], v[5] = 0, 0, 0
			return v
		},
		"saturated (1)": func(t time.Duration) [6]float64 {
			v := still(t)
			v[4] = 100
			return v
		},
	} {
		h, _ := chipHost(signal)
		status, out, _ := on(h, "", "doctor", "-sensor", "lsm6dso")
		if status != 1 || !strings.Contains(out, "PROBLEM   LSM6DSO (bus 1, address 0x6b): "+want) {
			t.Errorf("%s: status %d\n%s", want, status, out)
		}
	}
}
