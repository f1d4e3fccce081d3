package i2ctest

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// MPU is an MPU-6050 or one of its kin.
type MPU struct {
	sampler
	ID       byte
	FIFOSize int
	reg      [128]byte
	fifo     []byte
	resetEnd time.Duration
}

// NewMPU sleeps, as it does after power-on.
func NewMPU(id byte, fifo int, signal Signal) *MPU {
	m := &MPU{sampler: sampler{Signal: signal}, ID: id, FIFOSize: fifo}
	m.reset(0)
	return m
}

func (m *MPU) reset(now time.Duration) {
	m.reg = [128]byte{0x6b: 0x40, 0x75: m.ID}
	m.fifo = m.fifo[:0]
	m.resetEnd = now
}

func (m *MPU) run(now time.Duration) {
	if m.reg[0x6b]&0x40 != 0 {
		m.next = now
		return
	}
	base := time.Millisecond
	if f := m.reg[0x1a] & 7; f == 0 || f == 7 {
		base /= 8
	}
	m.upTo(now, time.Duration(1+int(m.reg[0x19]))*base, m.sample)
}

func (m *MPU) sample(t time.Duration) {
	accel := 9.80665 * float64(int(2)<<(m.reg[0x1c]>>3&3)) / 32768
	gyro := math.Pi / 180 * float64(int(250)<<(m.reg[0x1b]>>3&3)) / 32768
	m.reg[0x3a] |= m.reg[0x38] & 0x01
	for k, v := range m.Signal(t) {
		at, unit, flag := 0x3b+2*k, accel, byte(0x08)
		if k >= 3 {
			at, unit, flag = at+2, gyro, 0x40>>(k-3)
		}
		binary.BigEndian.PutUint16(m.reg[at:], uint16(count(v, unit)))
		if m.reg[0x6a]&0x40 != 0 && m.reg[0x23]&flag != 0 {
			m.push(m.reg[at], m.reg[at+1])
		}
	}
}

// push overwrites the oldest bytes.
func (m *MPU) push(b ...byte) {
	m.fifo = append(m.fifo, b...)
	if over := len(m.fifo) - m.FIFOSize; over > 0 {
		m.fifo = slices.Delete(m.fifo, 0, over)
		m.reg[0x3a] |= m.reg[0x38] & 0x10
	}
}

func (m *MPU) Read(now time.Duration, reg byte, b []byte) {
	m.run(now)
	binary.BigEndian.PutUint16(m.reg[0x72:], uint16(len(m.fifo)))
	for i := range b {
		switch reg {
		case 0x74:
			b[i] = 0xff
			if len(m.fifo) > 0 {
				b[i] = m.fifo[0]
				m.fifo = slices.Delete(m.fifo, 0, 1)
			}
			continue
		case 0x3a:
			b[i] = m.reg[reg]
			m.reg[reg] = 0
		default:
			b[i] = m.reg[reg&127]
		}
		reg++
	}
}

func (m *MPU) Write(now time.Duration, reg, value byte) {
	m.run(now)
	switch {
	case reg == 0x6b && value&0x80 != 0:
		m.reset(now + 50*time.Millisecond)
		return
	case now < m.resetEnd, reg >= 0x3a && reg < 0x68, reg >= 0x72:
		return
	case reg == 0x6a && value&0x04 != 0:
		if value&0x40 == 0 {
			m.fifo = m.fifo[:0]
		}
		value &^= 0x04
	}
	m.reg[reg&127] = value
}
