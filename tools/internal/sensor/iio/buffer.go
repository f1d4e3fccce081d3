package iio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// element is one of the numbers in a row of the buffer.
type element struct {
	name          string
	index         int
	at            int // byte of the row
	bytes         int // of storage
	bits, shift   int
	signed, isBig bool
}

// parseType reads a type such as le:s16/16>>0, be:u12/16>>4 or le:s16/16X3>>0: order, sign, bits that count, bits of storage, elements, shift.
func parseType(text string) (e element, repeat int, err error) {
	bad := fmt.Errorf("%.40q is no type of an element", text)
	order, rest, ok := strings.Cut(text, ":")
	if !ok || (order != "le" && order != "be") || rest == "" || (rest[0] != 's' && rest[0] != 'u') {
		return e, 0, bad
	}
	e.isBig, e.signed = order == "be", rest[0] == 's'
	bits, rest, ok := strings.Cut(rest[1:], "/")
	if !ok {
		return e, 0, bad
	}
	storage, shift, ok := strings.Cut(rest, ">>")
	if !ok {
		shift = "0"
	}
	storage, count, repeated := strings.Cut(storage, "X")
	if !repeated {
		count = "1"
	}
	var n [4]int
	for i, f := range []string{bits, storage, shift, count} {
		if n[i], err = strconv.Atoi(f); err != nil {
			return e, 0, bad
		}
	}
	e.bits, e.bytes, e.shift, repeat = n[0], n[1]/8, n[2], n[3]
	power := e.bytes == 1 || e.bytes == 2 || e.bytes == 4 || e.bytes == 8
	if !power || n[1]%8 != 0 || e.bits < 1 || e.shift < 0 || e.bits+e.shift > n[1] || repeat < 1 || repeat > 64 {
		return e, 0, bad
	}
	return e, repeat, nil
}

func (e *element) value(row []byte) int64 {
	var order binary.ByteOrder = binary.LittleEndian
	if e.isBig {
		order = binary.BigEndian
	}
	var v uint64
	switch b := row[e.at:]; e.bytes {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(order.Uint16(b))
	case 4:
		v = uint64(order.Uint32(b))
	default:
		v = order.Uint64(b)
	}
	v = v >> e.shift << (64 - e.bits)
	if e.signed {
		return int64(v) >> (64 - e.bits)
	}
	return int64(v >> (64 - e.bits))
}

// layout places the enabled elements, each aligned to its size, and returns the size of a row.
func layout(elements []element, repeats []int) int {
	at, largest := 0, 1
	for i := range elements {
		e := &elements[i]
		size := e.bytes * repeats[i]
		at = (at + e.bytes - 1) / e.bytes * e.bytes
		e.at = at
		at += size
		largest = max(largest, e.bytes)
	}
	return (at + largest - 1) / largest * largest
}

const (
	stampName  = "in_timestamp"
	silentRows = 5 // that a slow device may keep us waiting for
)

// buffer is a Source of the rows that a driver puts into a device's buffer.
type buffer struct {
	dev      *Device
	opt      Options
	f        *os.File
	rate     float64
	channels []sensor.Channel
	kinds    []kindOf
	stamp    *element // nil: the rows bear no time
	row      int      // bytes
	data     []byte   // rows that were read, from at on
	at, n    int
	fresh    bool // rows were just read, and their first is at
	stamps   *sensor.Stamps
	time     time.Duration // of the next row
	period   time.Duration
}

// kindOf is three axes of a row.
type kindOf struct {
	scaling
	axes [3]*element
}

func (d *Device) openBuffer(opt Options) (sensor.Source, error) {
	path := filepath.Join(d.root, "dev", d.Node)
	f, err := os.Open(path) // the kernel lets one program in at a time
	if err != nil {
		return nil, denied(err)
	}
	b := &buffer{dev: d, opt: opt, f: f}
	if err := b.start(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *buffer) start() (err error) {
	d := b.dev
	if err := d.write("buffer/enable", "0"); err != nil {
		return err
	}
	if d.any("current_timestamp_clock") != "" {
		if err := d.write("current_timestamp_clock", "monotonic"); err != nil {
			return err
		}
	}
	trigger, err := d.setTrigger(b.opt.Trigger)
	if err != nil {
		return err
	}
	if b.rate, err = d.setRate(b.opt.Rate, trigger); err != nil {
		return err
	}
	if err := b.selectElements(); err != nil {
		return err
	}
	if err := b.setLength(); err != nil {
		return err
	}
	if b.stamp == nil {
		if b.rate <= 0 {
			return errors.New("neither rows with a time nor a rate")
		}
		b.stamps = sensor.NewStamps(b.rate)
	}
	if b.rate > 0 {
		b.opt.Silent = max(b.opt.Silent, time.Duration(silentRows*1e9/b.rate))
	}
	return d.write("buffer/enable", "1")
}

// setTrigger makes sure that something tells the device when to measure, where it needs that. It returns the file of the trigger's rate,
// relative to the device, or "".
func (d *Device) setTrigger(name string) (rateFile string, err error) {
	const file = "trigger/current_trigger"
	if d.any(file) == "" {
		return "", nil
	}
	now, err := readText(d.file(file))
	if err != nil {
		return "", err
	}
	if name == "" {
		name = now
	}
	for _, t := range d.Triggers {
		if name == "" && strings.HasPrefix(t, d.Name) {
			name = t
		}
	}
	if name == "" && d.any("buffer/watermark") != "" && d.any("buffer/hwfifo_enabled") != "" {
		return "", nil // it fills a buffer of its own
	}
	if !slices.Contains(d.Triggers, name) {
		return "", fmt.Errorf("no trigger %q; the system has %q, and ,trigger=NAME chooses one", name, d.Triggers)
	}
	if name != now {
		if err := d.write(file, name); err != nil {
			return "", err
		}
	}
	return d.triggerRate(name), nil
}

func (d *Device) triggerRate(name string) string {
	found, _ := filepath.Glob(filepath.Join(d.root, "sys/bus/iio/devices", "trigger*", "name"))
	for _, f := range found {
		if text, err := readText(f); err == nil && text == name {
			rel := "../" + filepath.Base(filepath.Dir(f)) + "/sampling_frequency"
			if exists(d.file(rel)) {
				return rel
			}
		}
	}
	return ""
}

// selectElements enables the axes and the time stamp, and nothing else.
func (b *buffer) selectElements() error {
	d := b.dev
	want := []string{}
	for _, kind := range d.Kinds {
		for _, axis := range []string{"x", "y", "z"} {
			want = append(want, "in_"+kind+"_"+axis)
		}
	}
	if d.any("scan_elements/"+stampName+"_en") != "" {
		want = append(want, stampName)
	}
	files, err := filepath.Glob(d.file("scan_elements/*_en"))
	if err != nil {
		return err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), "_en")
		value := "0"
		if slices.Contains(want, name) {
			value = "1"
		}
		if err := d.write("scan_elements/"+name+"_en", value); err != nil {
			return err
		}
	}
	var elements []element
	repeats := map[string]int{}
	for _, name := range want {
		e, repeat, err := d.element(name)
		if err != nil {
			return err
		}
		elements = append(elements, e)
		repeats[name] = repeat
	}
	slices.SortStableFunc(elements, func(a, b element) int { return a.index - b.index })
	var inOrder []int
	for _, e := range elements {
		inOrder = append(inOrder, repeats[e.name])
	}
	b.row = layout(elements, inOrder)
	return b.wire(elements)
}

func (d *Device) element(name string) (element, int, error) {
	text, err := readText(d.file("scan_elements/" + name + "_type"))
	if err != nil {
		return element{}, 0, err
	}
	e, repeat, err := parseType(text)
	if err != nil {
		return e, 0, fmt.Errorf("%s: %w", name, err)
	}
	index, err := d.number("scan_elements/" + name + "_index")
	e.name, e.index = name, int(index)
	return e, repeat, err
}

// wire finds the elements of each axis.
func (b *buffer) wire(elements []element) error {
	of := func(name string) *element {
		for i := range elements {
			if elements[i].name == name {
				return &elements[i]
			}
		}
		return nil
	}
	b.stamp = of(stampName)
	for _, kind := range b.dev.Kinds {
		s, err := b.dev.scaling(kind)
		if err != nil {
			return err
		}
		k := kindOf{scaling: s}
		bits := 64
		for i, axis := range []string{"x", "y", "z"} {
			k.axes[i] = of("in_" + kind + "_" + axis)
			bits = min(bits, k.axes[i].bits)
		}
		b.kinds = append(b.kinds, k)
		b.channels = append(b.channels, channels(kind, s.limit(bits))...)
	}
	return nil
}

// setLength gives the buffer room for two seconds, and lets it wake us 50 times a second.
func (b *buffer) setLength() error {
	rate := b.rate
	if rate <= 0 {
		rate = 100
	}
	if err := b.dev.write("buffer/length", strconv.Itoa(max(64, int(2*rate)))); err != nil {
		return err
	}
	if b.dev.any("buffer/watermark") != "" {
		if err := b.dev.write("buffer/watermark", strconv.Itoa(max(1, int(rate/50)))); err != nil {
			return err
		}
	}
	const rows = 64
	b.data = make([]byte, rows*b.row)
	return nil
}

func (b *buffer) Name() string               { return b.dev.String() }
func (b *buffer) Channels() []sensor.Channel { return b.channels }
func (b *buffer) Rate() float64              { return b.rate }

func (b *buffer) Close() error {
	b.dev.write("buffer/enable", "0") // fails where the device is gone
	return b.f.Close()
}

func (b *buffer) Next(s *sensor.Sample) error {
	for b.n-b.at < b.row {
		if err := b.fill(); err != nil {
			return err
		}
	}
	row := b.data[b.at:][:b.row]
	if b.stamp != nil {
		s.Time = time.Duration(b.stamp.value(row))
	} else {
		s.Time = b.arrival()
	}
	b.at += b.row
	for i := range b.kinds {
		k := &b.kinds[i]
		var raw [3]int64
		for axis, e := range k.axes {
			raw[axis] = e.value(row)
		}
		k.apply(s.Values[3*i:], &raw)
	}
	return nil
}

// arrival is the time of a row that bears none.
func (b *buffer) arrival() time.Duration {
	if b.fresh {
		b.time, b.period = b.stamps.Burst(b.opt.Clock.Now(), (b.n-b.at)/b.row)
		b.fresh = false
	}
	t := b.time
	b.time += b.period
	return t
}

func (b *buffer) fill() error {
	b.n = copy(b.data, b.data[b.at:b.n])
	b.at = 0
	// A file that cannot have a deadline is not a device, and never waits.
	_ = b.f.SetReadDeadline(time.Now().Add(b.opt.Silent))
	n, err := b.f.Read(b.data[b.n:])
	b.n += n
	b.fresh = true
	switch {
	case err == nil:
		return nil
	case err == io.EOF:
		return sensor.ErrGone
	case errors.Is(err, os.ErrDeadlineExceeded) && !exists(b.dev.file("name")):
		return sensor.ErrGone
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w for %v", sensor.ErrSilent, b.opt.Silent)
	}
	return gone(err)
}
