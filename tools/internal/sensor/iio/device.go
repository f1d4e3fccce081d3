// Package iio reads accelerometers and gyroscopes through the Linux kernel's industrial I/O drivers: the buffer of a device, which brings
// the kernel's time stamps, or its readings in sysfs. Documentation/ABI/testing/sysfs-bus-iio in the kernel says what the files mean.
package iio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// Device is one that measures acceleration or angular velocity.
type Device struct {
	Node     string   // iio:device0
	Name     string   // the driver's
	Kinds    []string // of "accel" and "anglvel", what it has x, y and z of
	Buffered bool     // it has a buffer
	Triggers []string // that the system has
	root     string
}

func (d *Device) dir() string             { return filepath.Join(d.root, "sys/bus/iio/devices", d.Node) }
func (d *Device) file(name string) string { return filepath.Join(d.dir(), filepath.FromSlash(name)) }
func (d *Device) String() string          { return d.Name + " (" + d.Node + ")" }

func (d *Device) has(kind string) bool { return slices.Contains(d.Kinds, kind) }

// axes of a kind, and the letter of its channels.
var letters = map[string]string{"accel": "a", "anglvel": "g"}

// List finds the devices under root, which is / but in tests.
func List(root string) ([]Device, error) {
	dir := filepath.Join(root, "sys/bus/iio/devices")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without IIO, or no driver of it
	}
	if err != nil {
		return nil, err
	}
	var devices []Device
	var triggers []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "trigger") {
			if name, err := readText(filepath.Join(dir, e.Name(), "name")); err == nil {
				triggers = append(triggers, name)
			}
		}
		if !strings.HasPrefix(e.Name(), "iio:device") {
			continue
		}
		d := Device{Node: e.Name(), root: root}
		if d.Name, err = readText(d.file("name")); err != nil {
			continue // it goes just now
		}
		for _, kind := range []string{"accel", "anglvel"} {
			if exists(d.file("in_"+kind+"_x_raw")) || exists(d.file("scan_elements/in_"+kind+"_x_en")) {
				d.Kinds = append(d.Kinds, kind)
			}
		}
		d.Buffered = exists(d.file("buffer/enable")) && exists(d.file("scan_elements"))
		if len(d.Kinds) > 0 {
			devices = append(devices, d)
		}
	}
	for i := range devices {
		devices[i].Triggers = triggers
	}
	return devices, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readText(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), gone(err)
}

func (d *Device) number(file string) (float64, error) {
	text, err := readText(d.file(file))
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != v {
		return 0, fmt.Errorf("%s holds %.40q, want a number", d.file(file), text)
	}
	return v, nil
}

// write leaves a file alone that holds the value already: reading needs no rights.
func (d *Device) write(file, value string) error {
	if now, err := readText(d.file(file)); err == nil && now == value {
		return nil
	}
	f, err := os.OpenFile(d.file(file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return denied(err)
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: writing %q: %w", d.file(file), value, gone(err))
	}
	return nil
}

// denied adds what helps.
func denied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (docs/sensors.md has a udev rule; ,mode=poll needs no right to write)", err)
	}
	return gone(err)
}

// any is the first file that exists of those with these names.
func (d *Device) any(names ...string) string {
	for _, n := range names {
		if exists(d.file(n)) {
			return n
		}
	}
	return ""
}

// scaling is what turns raw readings of one kind into SI units on the board's axes.
type scaling struct {
	scale, offset [3]float64
	mount         sensor.Axes
}

func (d *Device) scaling(kind string) (s scaling, err error) {
	s.mount = sensor.Identity
	for i, axis := range []string{"x", "y", "z"} {
		s.scale[i] = 1
		one, all := "in_"+kind+"_"+axis+"_", "in_"+kind+"_"
		if f := d.any(one+"scale", all+"scale"); f != "" {
			if s.scale[i], err = d.number(f); err != nil {
				return s, err
			}
		}
		if f := d.any(one+"offset", all+"offset"); f != "" {
			if s.offset[i], err = d.number(f); err != nil {
				return s, err
			}
		}
	}
	if f := d.any("in_"+kind+"_mount_matrix", "in_mount_matrix", "mount_matrix"); f != "" {
		text, err := readText(d.file(f))
		if err != nil {
			return s, err
		}
		if s.mount, err = sensor.ParseAxes(text); err != nil {
			return s, fmt.Errorf("%s: %w", d.file(f), err)
		}
	}
	return s, nil
}

// apply turns raw readings into values.
func (s *scaling) apply(values []float32, raw *[3]int64) {
	var v [3]float32
	for i, r := range raw {
		v[i] = float32(float64(float64(r)+s.offset[i]) * s.scale[i])
	}
	v = s.mount.Apply(v)
	copy(values, v[:])
}

// limit is the magnitude of the readings at the end of the range of signed numbers of so many bits, as far as all axes are turned by
// right angles.
func (s *scaling) limit(bits int) float32 {
	if bits <= 1 || bits > 32 {
		return 0
	}
	least := 0.0
	for i := range 3 {
		if full := (float64(int64(1)<<(bits-1)-1) + s.offset[i]) * s.scale[i]; i == 0 || full < least {
			least = full
		}
	}
	return float32(least)
}

func channels(kind string, limit float32) (c []sensor.Channel) {
	all := sensor.Motion(limit, limit)
	if kind == "anglvel" {
		return all[3:]
	}
	return all[:3]
}

// setRate asks for at least rate samples a second, or for the most that the device can, and returns what it says that it gives; 0 if it
// does not say.
func (d *Device) setRate(rate float64, trigger string) (float64, error) {
	var files []string
	for _, k := range d.Kinds {
		files = append(files, "in_"+k+"_sampling_frequency")
	}
	files = append(files, "sampling_frequency", trigger)
	got := 0.0
	for _, f := range files {
		if f == "" || !exists(d.file(f)) {
			continue
		}
		if rate > 0 {
			if err := d.write(f, d.nearest(f, rate)); err != nil {
				return 0, err
			}
		}
		v, err := d.number(f)
		if err != nil {
			return 0, err
		}
		got = max(got, v)
	}
	return got, nil
}

// nearest is the least of the rates that can be had and are enough, as the device writes it.
func (d *Device) nearest(file string, rate float64) string {
	text, _ := readText(d.file(file + "_available"))
	best, most := "", ""
	bestRate, mostRate := 0.0, 0.0
	for _, f := range strings.Fields(strings.Trim(text, "[]")) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			continue
		}
		if v >= rate-1e-6 && (best == "" || v < bestRate) {
			best, bestRate = f, v
		}
		if most == "" || v > mostRate {
			most, mostRate = f, v
		}
	}
	switch {
	case strings.HasPrefix(text, "[") || most == "": // [min step max], or no list
		return strconv.FormatFloat(rate, 'f', -1, 64)
	case best == "":
		return most
	}
	return best
}
