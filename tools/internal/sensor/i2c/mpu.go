package i2c

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/recur-go/recur/tools/internal/sensor"
)

// mpu is from the register maps RM-MPU-6000A-00 4.2, RM-MPU-6500A-00 2.1 and RM-MPU-9250A-00 1.6.
var mpu = family{
	names:     []string{"mpu6050", "mpu6500", "mpu9250"},
	addresses: []uint8{0x68, 0x69},
	who:       0x75,
	chips:     map[byte]string{0x68: "MPU-6050", 0x70: "MPU-6500", 0x71: "MPU-9250", 0x73: "MPU-9255"},
	make: func(b Bus, id byte) chip {
		c := &mpuChip{bus: b, size: 512}
		if id == 0x68 {
			c.size = 1024
		} else {
			c.accelFilter = true
		}
		return c
	},
}

const (
	mpuSampleDivider = 0x19
	mpuConfig        = 0x1a
	mpuGyroConfig    = 0x1b
	mpuAccelConfig   = 0x1c
	mpuAccelConfig2  = 0x1d
	mpuFIFOEnable    = 0x23
	mpuIntEnable     = 0x38
	mpuIntStatus     = 0x3a
	mpuAccelX        = 0x3b // to the gyroscope's z, with the temperature between the two
	mpuUserControl   = 0x6a
	mpuPower1        = 0x6b
	mpuPower2        = 0x6c
	mpuFIFOCount     = 0x72
	mpuFIFOData      = 0x74

	mpuReset      = 0x80 // of Power1
	mpuSleep      = 0x40
	mpuClockGyro  = 0x01
	mpuFIFOOn     = 0x40 // of UserControl
	mpuFIFOReset  = 0x04
	mpuMotion     = 0x78 // of FIFOEnable: the three axes of both
	mpuOverflow   = 0x10 // of IntStatus and IntEnable
	mpuDataReady  = 0x01
	mpuRow        = 12 // bytes of a sample in the FIFO
	mpuInternal   = 1000
	mpuDirectSize = 14
)

type mpuChip struct {
	bus         Bus
	size        int  // bytes of the FIFO
	accelFilter bool // the accelerometer has a filter of its own
	divider     byte
	accel, gyro int
	buf         [maxTransfer]byte
}

// mpuBandwidths in Hz of the low-pass filters 1 to 6.
var mpuBandwidths = [...]float64{188, 98, 42, 20, 10, 5}

func (c *mpuChip) setup(opt *Options, sleep func(time.Duration) bool) error {
	c.accel, c.gyro = opt.Accel, opt.Gyro
	c.divider = byte(min(max(math.Floor(mpuInternal/opt.Rate), 1), 256) - 1)
	if err := c.bus.Write(mpuPower1, mpuReset); err != nil {
		return err
	}
	sleep(100 * time.Millisecond)
	if err := c.bus.Write(mpuPower1, mpuClockGyro); err != nil {
		return err
	}
	sleep(50 * time.Millisecond) // the gyroscope starts
	filter := byte(len(mpuBandwidths))
	for i, hz := range mpuBandwidths {
		if hz <= c.rate()/2 {
			filter = byte(i + 1)
			break
		}
	}
	err := registers(c.bus,
		[2]byte{mpuPower2, 0},
		[2]byte{mpuSampleDivider, c.divider},
		[2]byte{mpuConfig, filter},
		[2]byte{mpuGyroConfig, power(c.gyro/250) << 3},
		[2]byte{mpuAccelConfig, power(c.accel/2) << 3},
		[2]byte{mpuFIFOEnable, 0},
		[2]byte{mpuUserControl, 0},
		[2]byte{mpuIntEnable, mpuOverflow | mpuDataReady})
	if err == nil && c.accelFilter {
		err = c.bus.Write(mpuAccelConfig2, filter)
	}
	return err
}

// power is the exponent of a power of two.
func power(n int) (e byte) {
	for ; n > 1; n /= 2 {
		e++
	}
	return e
}

func (c *mpuChip) rate() float64 { return mpuInternal / (1 + float64(c.divider)) }
func (c *mpuChip) capacity() int { return c.size / mpuRow }

func (c *mpuChip) scales() (accel, gyro float64) {
	return float64(c.accel) * sensor.Gravity / 32768, float64(c.gyro) * math.Pi / 180 / 32768
}

func (c *mpuChip) restart() error {
	return registers(c.bus,
		[2]byte{mpuFIFOEnable, 0},
		[2]byte{mpuUserControl, mpuFIFOReset},
		[2]byte{mpuUserControl, mpuFIFOOn},
		[2]byte{mpuFIFOEnable, mpuMotion})
}

// drain looks for an overflow first: reading the status clears it. An overflow destroys the alignment of samples.
func (c *mpuChip) drain(out []raw) (n int, overflow bool, err error) {
	if err := c.bus.Read(mpuIntStatus, c.buf[:1]); err != nil {
		return 0, false, err
	}
	overflow = c.buf[0]&mpuOverflow != 0
	if err := c.bus.Read(mpuFIFOCount, c.buf[:2]); err != nil {
		return 0, overflow, err
	}
	count := int(binary.BigEndian.Uint16(c.buf[:]))
	if count > c.size {
		return 0, overflow, fmt.Errorf("%d bytes in a FIFO of %d", count, c.size)
	}
	if overflow || count > c.size-mpuRow {
		return 0, true, nil
	}
	n = min(count/mpuRow, len(out))
	const most = maxTransfer / mpuRow
	for i := 0; i < n; {
		rows := min(n-i, most)
		b := c.buf[:rows*mpuRow]
		if err := c.bus.Read(mpuFIFOData, b); err != nil {
			return 0, true, err // nobody knows what was taken out
		}
		for ; len(b) > 0; b = b[mpuRow:] {
			for k := range out[i] {
				out[i][k] = int16(binary.BigEndian.Uint16(b[2*k:]))
			}
			i++
		}
	}
	return n, false, nil
}

func (c *mpuChip) ready() (bool, error) {
	err := c.bus.Read(mpuIntStatus, c.buf[:1])
	return c.buf[0]&mpuDataReady != 0, err
}

func (c *mpuChip) direct(out *raw) error {
	b := c.buf[:mpuDirectSize]
	if err := c.bus.Read(mpuAccelX, b); err != nil {
		return err
	}
	for k := range out {
		at := 2 * k
		if k >= 3 {
			at += 2 // the temperature
		}
		out[k] = int16(binary.BigEndian.Uint16(b[at:]))
	}
	return nil
}

func (c *mpuChip) stop() { c.bus.Write(mpuPower1, mpuSleep) }
