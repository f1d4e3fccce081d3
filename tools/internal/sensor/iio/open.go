package iio

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// Options say which device to open and how. The zero value is the first that measures motion.
type Options struct {
	Root    string        // of the file system, "" for /
	Name    string        // the device's name or the beginning of it, or its node
	Rate    float64       // samples a second that are enough, 0: as the device is set
	Poll    bool          // read sysfs even where there is a buffer
	Trigger string        // name of a trigger, "": the device's own
	Silent  time.Duration // without a sample for so long the device is at fault, 0: DefaultSilent
	Clock   sensor.Clock  // nil: the host's
}

// DefaultSilent is longer than any buffer takes to fill to its watermark.
const DefaultSilent = 2 * time.Second

// Open starts a device, or an accelerometer and a gyroscope where these are two.
func Open(opt Options) (sensor.Source, error) {
	if opt.Root == "" {
		opt.Root = "/"
	}
	if opt.Silent == 0 {
		opt.Silent = DefaultSilent
	}
	devices, err := List(opt.Root)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(devices, opt.Name)
	if err != nil {
		return nil, err
	}
	var src sensor.Source
	for _, d := range chosen {
		next, err := d.open(opt)
		if err != nil {
			if src != nil {
				src.Close()
			}
			return nil, fmt.Errorf("%s: %w", d.String(), err)
		}
		if src == nil {
			src = next
		} else {
			src = sensor.Join(src, next)
		}
	}
	return src, nil
}

// choose returns a device with both kinds, or one of each, or what there is.
func choose(devices []Device, name string) ([]*Device, error) {
	var accel, gyro *Device
	for i := range devices {
		d := &devices[i]
		if !strings.HasPrefix(d.Name, name) && d.Node != name && d.Node != "iio:"+name {
			continue
		}
		if d.has("accel") && d.has("anglvel") {
			return []*Device{d}, nil
		}
		if accel == nil && d.has("accel") {
			accel = d
		}
		if gyro == nil && d.has("anglvel") {
			gyro = d
		}
	}
	var chosen []*Device
	for _, d := range []*Device{accel, gyro} {
		if d != nil {
			chosen = append(chosen, d)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	if len(devices) == 0 {
		return nil, errors.New("no IIO device measures motion: is the sensor's driver loaded?")
	}
	var names []string
	for i := range devices {
		names = append(names, devices[i].String())
	}
	return nil, fmt.Errorf("no IIO device is called %q; there are %s", name, strings.Join(names, ", "))
}

func (d *Device) open(opt Options) (sensor.Source, error) {
	if opt.Clock == nil {
		opt.Clock = sensor.HostClock()
	}
	if opt.Poll || !d.Buffered {
		return d.openPolled(opt)
	}
	return d.openBuffer(opt)
}

// gone translates what a driver says once its device is away.
func gone(err error) error {
	if errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("%w: %w", sensor.ErrGone, err)
	}
	return err
}
