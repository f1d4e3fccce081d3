package i2c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// lsm6ds3 is from the data sheet of the LSM6DS3 and those of the LSM6DSL and LSM6DS3TR-C, lsm6dso from that of the LSM6DSO.
var lsm6ds3 = family{
	names:     []string{"lsm6ds3", "lsm6dsl", "lsm6dsm"},
	addresses: []uint8{0x6a, 0x6b},
	who:       lsmWhoAmI,
	chips:     map[byte]string{0x69: "LSM6DS3", 0x6a: "LSM6DSL"},
	make: func(b Bus, id byte) chip {
		words := 2048 // of 16 bits
		if id == 0x69 {
			words = 4096
		}
		return &lsm3{lsm{bus: b}, words}
	},
}

var lsm6dso = family{
	names:     []string{"lsm6dso", "lsm6dsox", "lsm6dsr"},
	addresses: []uint8{0x6a, 0x6b},
	who:       lsmWhoAmI,
	chips:     map[byte]string{0x6c: "LSM6DSO", 0x6b: "LSM6DSR"},
	make:      func(b Bus, _ byte) chip { return &lsmO{lsm: lsm{bus: b}} },
}

const (
	lsmWhoAmI = 0x0f
	lsmCtrl1  = 0x10 // acceleration: rate, range
	lsmCtrl2  = 0x11 // angular velocity: rate, range
	lsmCtrl3  = 0x12
	lsmStatus = 0x1e
	lsmGyroX  = 0x22 // to the accelerometer's z

	lsmReset   = 0x01 // of Ctrl3
	lsmAddress = 0x04 // registers follow one another in a transfer
	lsmWhole   = 0x40 // low and high byte of one sample
	lsmBoth    = 0x03 // of Status

	lsmFIFOStatus = 0x3a
)

// lsm is what both families share.
type lsm struct {
	bus         Bus
	code        byte // of the rate
	accel, gyro int
	buf         [maxTransfer]byte
}

// lsmRates in Hz by code, from 1.
var lsmRates = [...]float64{12.5, 26, 52, 104, 208, 416, 833, 1660}

var (
	lsmAccelCode = map[int]byte{2: 0, 16: 1, 4: 2, 8: 3}
	lsmGyroCode  = map[int]byte{250: 0, 500: 1, 1000: 2, 2000: 3}
)

// configure resets the chip; off is the register that turns the FIFO off with a zero.
func (c *lsm) configure(opt *Options, sleep func(time.Duration) bool, off byte) error {
	c.accel, c.gyro = opt.Accel, opt.Gyro
	for i, hz := range lsmRates {
		if c.code = byte(i + 1); hz >= opt.Rate {
			break
		}
	}
	if err := c.bus.Write(lsmCtrl3, lsmReset|lsmAddress); err != nil {
		return err
	}
	for range 10 {
		sleep(10 * time.Millisecond)
		if err := c.bus.Read(lsmCtrl3, c.buf[:1]); err != nil {
			return err
		}
		if c.buf[0]&lsmReset == 0 {
			return registers(c.bus,
				[2]byte{lsmCtrl3, lsmAddress | lsmWhole},
				[2]byte{off, 0},
				[2]byte{lsmCtrl1, c.code<<4 | lsmAccelCode[c.accel]<<2},
				[2]byte{lsmCtrl2, c.code<<4 | lsmGyroCode[c.gyro]<<2})
		}
	}
	return errors.New("the reset does not end")
}

func (c *lsm) rate() float64 { return lsmRates[c.code-1] }

func (c *lsm) scales() (accel, gyro float64) {
	// 0.061 mg at 2 g, 8.75 m°/s at 250 °/s
	return float64(c.accel) / 2 * 0.061e-3 * sensor.Gravity, float64(c.gyro) / 250 * 8.75e-3 * math.Pi / 180
}

func (c *lsm) ready() (bool, error) {
	err := c.bus.Read(lsmStatus, c.buf[:1])
	return c.buf[0]&lsmBoth == lsmBoth, err
}

func (c *lsm) direct(out *raw) error {
	b := c.buf[:12]
	if err := c.bus.Read(lsmGyroX, b); err != nil {
		return err
	}
	out.set(b)
	return nil
}

// set takes words that have angular velocity first.
func (r *raw) set(b []byte) {
	for k := range r {
		r[(k+3)%6] = int16(binary.LittleEndian.Uint16(b[2*k:]))
	}
}

// stop turns both sensors off.
func (c *lsm) stop() { registers(c.bus, [2]byte{lsmCtrl1, 0}, [2]byte{lsmCtrl2, 0}) }

const (
	lsm3Decimation = 0x08 // FIFO_CTRL3
	lsm3Mode       = 0x0a // FIFO_CTRL5
	lsm3Data       = 0x3e

	lsm3All        = 0x09 // each sample of both
	lsm3Continuous = 0x06
	lsm3Overrun    = 0x40 // of the second byte of the status
	lsm3Empty      = 0x10
	lsm3Row        = 12 // bytes of a sample
)

type lsm3 struct {
	lsm
	words int
}

func (c *lsm3) capacity() int { return c.words / (lsm3Row / 2) }

func (c *lsm3) setup(opt *Options, sleep func(time.Duration) bool) error {
	return c.configure(opt, sleep, lsm3Mode)
}

func (c *lsm3) restart() error {
	return registers(c.bus,
		[2]byte{lsm3Mode, 0},
		[2]byte{lsm3Decimation, lsm3All},
		[2]byte{lsm3Mode, c.code<<3 | lsm3Continuous})
}

func (c *lsm3) drain(out []raw) (n int, overflow bool, err error) {
	if err := c.bus.Read(lsmFIFOStatus, c.buf[:4]); err != nil {
		return 0, false, err
	}
	words := int(c.buf[0]) | int(c.buf[1]&0x0f)<<8
	pattern := int(c.buf[2]) | int(c.buf[3]&3)<<8 // the word that is read next, of those of a sample
	switch {
	case c.buf[1]&lsm3Overrun != 0:
		return 0, true, nil
	case c.buf[1]&lsm3Empty != 0:
		return 0, false, nil
	case words > c.words:
		return 0, false, fmt.Errorf("%d words in a FIFO of %d", words, c.words)
	case pattern != 0:
		return 0, true, nil
	}
	n = min(words/(lsm3Row/2), len(out))
	const most = maxTransfer / lsm3Row
	for i := 0; i < n; {
		b := c.buf[:min(n-i, most)*lsm3Row]
		if err := c.bus.Read(lsm3Data, b); err != nil {
			return 0, true, err
		}
		for ; len(b) > 0; b = b[lsm3Row:] {
			out[i].set(b)
			i++
		}
	}
	return n, false, nil
}

const (
	lsmOBatch = 0x09 // FIFO_CTRL3
	lsmOMode  = 0x0a // FIFO_CTRL4
	lsmOCtrl9 = 0x18
	lsmOData  = 0x78

	lsmODevice = 0xe2 // DEVICE_CONF, which the data sheet wants set, with what is set after a reset

	lsmOContinuous = 0x06
	lsmOOverrun    = 0x48 // of the second byte of the status: now, or before
	lsmOWords      = 512
	lsmOWord       = 7 // bytes: a tag and three values
	lsmOGyro       = 1 // tags
	lsmOAccel      = 2
)

type lsmO struct {
	lsm
	half raw
	have [2]bool // angular velocity, acceleration
	slot byte    // of the halves
}

func (c *lsmO) capacity() int { return lsmOWords / 2 }

func (c *lsmO) setup(opt *Options, sleep func(time.Duration) bool) error {
	if err := c.configure(opt, sleep, lsmOMode); err != nil {
		return err
	}
	return c.bus.Write(lsmOCtrl9, lsmODevice)
}

func (c *lsmO) restart() error {
	c.have = [2]bool{}
	return registers(c.bus,
		[2]byte{lsmOMode, 0},
		[2]byte{lsmOBatch, c.code<<4 | c.code},
		[2]byte{lsmOMode, lsmOContinuous})
}

func (c *lsmO) drain(out []raw) (n int, overflow bool, err error) {
	if err := c.bus.Read(lsmFIFOStatus, c.buf[:2]); err != nil {
		return 0, false, err
	}
	if c.buf[1]&lsmOOverrun != 0 {
		return 0, true, nil
	}
	words := int(c.buf[0]) | int(c.buf[1]&3)<<8
	if words > lsmOWords {
		return 0, false, fmt.Errorf("%d words in a FIFO of %d", words, lsmOWords)
	}
	const most = maxTransfer / lsmOWord
	for words > 0 && n < len(out) {
		b := c.buf[:min(words, most)*lsmOWord]
		if err := c.bus.Read(lsmOData, b); err != nil {
			return 0, true, err
		}
		words -= len(b) / lsmOWord
		for ; len(b) > 0; b = b[lsmOWord:] {
			if c.word(b) {
				out[n] = c.half
				c.have = [2]bool{}
				n++
			}
		}
	}
	return n, false, nil
}

// word takes one half of a sample, and reports whether it is whole. Both halves have the same slot, a number from 0 to 3.
func (c *lsmO) word(b []byte) bool {
	tag, slot := b[0]>>3, b[0]>>1&3
	if tag != lsmOGyro && tag != lsmOAccel {
		return false
	}
	if slot != c.slot {
		c.have = [2]bool{}
		c.slot = slot
	}
	at, half := 3, 0
	if tag == lsmOAccel {
		at, half = 0, 1
	}
	for k := range 3 {
		c.half[at+k] = int16(binary.LittleEndian.Uint16(b[1+2*k:]))
	}
	c.have[half] = true
	return c.have[0] && c.have[1]
}
