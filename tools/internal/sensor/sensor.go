// Package sensor reads inertial sensors and recordings of them. A Source gives samples with time stamps; a Stream brings a source to the
// rate of a model, and reports what was wrong on the way; a Map brings a source's channels to a model's names, order and units.
//
// Units are SI: m/s² for acceleration, rad/s for angular velocity, T for magnetic fields. Axes are right-handed, and a rotation is positive
// counter-clockwise for a viewer whom the axis points at. An accelerometer at rest reads +9.8 m/s² on the axis that points up.
package sensor

import (
	"errors"
	"time"
)

// Units of the channels that drivers give.
const (
	MetresPerSecond2 = "m/s^2"
	RadPerSecond     = "rad/s"
	Tesla            = "T"
)

// Gravity is the standard acceleration of free fall in m/s².
const Gravity = 9.80665

// Channel describes one of the values of a sample.
type Channel struct {
	Name  string  // ax ay az gx gy gz mx my mz for the axes of a sensor, others as the source calls them
	Unit  string  // "" where the source does not say
	Limit float32 // the magnitude that readings cannot exceed, 0 if unknown
}

// Motion are the channels of an accelerometer and a gyroscope with these ranges, in m/s² and rad/s.
func Motion(accel, gyro float32) []Channel {
	var channels []Channel
	for _, name := range [...]string{"ax", "ay", "az"} {
		channels = append(channels, Channel{name, MetresPerSecond2, accel})
	}
	for _, name := range [...]string{"gx", "gy", "gz"} {
		channels = append(channels, Channel{name, RadPerSecond, gyro})
	}
	return channels
}

// Overflow is the number of lost samples where a source does not know it.
const Overflow = -1

// Sample is one reading of all channels.
type Sample struct {
	Time   time.Duration // on the source's clock
	Values []float32     // of the caller, one for each channel
	Lost   int           // samples that the source lost just before this one, or Overflow
}

// Source gives samples. All methods but Close belong to one goroutine.
type Source interface {
	Name() string
	Channels() []Channel
	// Rate is the nominal number of samples a second, 0 if unknown.
	Rate() float64
	// Next waits for a sample. io.EOF is the end of a recording. It allocates nothing but errors.
	Next(*Sample) error
	// Close may be called while Next waits; Next then fails.
	Close() error
}

// Errors that end a source, beside those of the operating system.
var (
	ErrGone   = errors.New("the device is gone")
	ErrSilent = errors.New("no sample comes")
)
