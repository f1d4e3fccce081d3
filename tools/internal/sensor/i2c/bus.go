// Package i2c reads inertial sensors at an I²C bus without a kernel driver of their own: InvenSense MPU-6050, MPU-6500 and MPU-9250, and ST
// LSM6DS3, LSM6DSL, LSM6DSO and their kin. Register names are those of the data sheets.
package i2c

// Bus reaches the registers of the chip at one address.
type Bus interface {
	// Read fills b with the registers from reg on.
	Read(reg byte, b []byte) error
	Write(reg, value byte) error
	Close() error
}

// Dial opens bus n for the chip at an address.
type Dial func(n int, address uint8) (Bus, error)
