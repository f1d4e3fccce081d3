package i2ctest

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

var (
	accelRanges = [...]float64{2, 16, 4, 8}
	rates       = [...]float64{0, 12.5, 26, 52, 104, 208, 416, 833, 1660}
)

// LSM is an LSM6DS3 or, with Tagged, an LSM6DSO.
type LSM struct {
	sampler
	ID       byte
	Words    int // of the FIFO
	Tagged   bool
	reg      [128]byte
	fifo     [][7]byte // tag and three values; without Tagged the values are words of their own
	taken    int       // bytes of the first
	overrun  bool
	slot     byte
	resetEnd time.Duration
}

// NewLSM is off, as it is after power-on.
func NewLSM(id byte, words int, tagged bool, signal Signal) *LSM {
	m := &LSM{sampler: sampler{Signal: signal}, ID: id, Words: words, Tagged: tagged}
	m.reset()
	return m
}

func (m *LSM) reset() {
	m.reg = [128]byte{0x0f: m.ID, 0x12: 0x04}
	m.empty()
}

func (m *LSM) empty() { m.fifo, m.taken, m.overrun = m.fifo[:0], 0, false }

func (m *LSM) run(now time.Duration) {
	if m.resetEnd > 0 && now >= m.resetEnd {
		m.resetEnd = 0
		m.reset()
	}
	rate := rates[min(int(m.reg[0x10]>>4), len(rates)-1)]
	if rate == 0 || m.reg[0x11]>>4 != m.reg[0x10]>>4 {
		m.next = now
		return
	}
	m.upTo(now, time.Duration(1e9/rate), m.sample)
}

func (m *LSM) sample(t time.Duration) {
	accel := accelRanges[m.reg[0x10]>>2&3] / 2 * 0.061e-3 * 9.80665
	gyro := float64(int(1)<<(m.reg[0x11]>>2&3)) * 8.75e-3 * math.Pi / 180
	v := m.Signal(t)
	for k := range 6 {
		unit := gyro
		if k >= 3 {
			unit = accel
		}
		binary.LittleEndian.PutUint16(m.reg[0x22+2*k:], uint16(count(v[(k+3)%6], unit)))
	}
	m.reg[0x1e] |= 3
	if !m.on() {
		return
	}
	m.slot = (m.slot + 1) & 3
	m.push(1, m.reg[0x22:])
	m.push(2, m.reg[0x28:])
}

// on reports whether both sensors go into the FIFO.
func (m *LSM) on() bool {
	if m.Tagged {
		return m.reg[0x0a]&7 == 6 && m.reg[0x09]&15 == m.reg[0x10]>>4 && m.reg[0x09]>>4 == m.reg[0x11]>>4
	}
	return m.reg[0x0a]&7 == 6 && m.reg[0x0a]>>3&15 == m.reg[0x10]>>4 && m.reg[0x08] == 0x09
}

// push overwrites the oldest.
func (m *LSM) push(tag byte, b []byte) {
	w := [7]byte{tag<<3 | m.slot<<1}
	copy(w[1:], b[:6])
	m.fifo = append(m.fifo, w)
	each := 3
	if m.Tagged {
		each = 1
	}
	if len(m.fifo)*each > m.Words {
		m.fifo = slices.Delete(m.fifo, 0, 1)
		m.taken = 0
		m.overrun = true
	}
}

func (m *LSM) status() {
	words := len(m.fifo)
	if m.Tagged {
		m.reg[0x3a], m.reg[0x3b] = byte(words), byte(words>>8)
		if m.overrun {
			m.reg[0x3b] |= 0x48
		}
		return
	}
	pattern := 0
	if words > 0 {
		pattern = m.taken / 2
		if m.fifo[0][0]>>3 == 2 {
			pattern += 3
		}
	}
	words = 3*words - m.taken/2
	m.reg[0x3a], m.reg[0x3b] = byte(words), byte(words>>8)
	if words == 0 {
		m.reg[0x3b] |= 0x10
	}
	if m.overrun {
		m.reg[0x3b] |= 0x40
	}
	m.reg[0x3c], m.reg[0x3d] = byte(pattern), byte(pattern>>8)
}

// take is a byte out of the FIFO.
func (m *LSM) take() (b byte) {
	if len(m.fifo) == 0 {
		return 0xff
	}
	from := 1
	if m.Tagged {
		from = 0
	}
	b = m.fifo[0][from+m.taken]
	if m.taken++; from+m.taken == 7 {
		m.fifo, m.taken = slices.Delete(m.fifo, 0, 1), 0
	}
	return b
}

func (m *LSM) Read(now time.Duration, reg byte, b []byte) {
	m.run(now)
	m.status()
	first, last := byte(0x3e), byte(0x3f)
	if m.Tagged {
		first, last = 0x78, 0x7e
	}
	for i := range b {
		switch {
		case reg >= first && reg <= last:
			b[i] = m.take()
			if reg == last { // the address goes round
				reg = first
				continue
			}
		default:
			if reg == 0x22 || reg == 0x28 {
				m.reg[0x1e] &^= 3
			}
			b[i] = m.reg[reg&127]
		}
		if m.reg[0x12]&0x04 != 0 {
			reg++
		}
	}
}

func (m *LSM) Write(now time.Duration, reg, value byte) {
	m.run(now)
	switch {
	case reg == 0x12 && value&1 != 0:
		m.resetEnd = now + 15*time.Millisecond
	case reg == 0x0f, reg >= 0x1e && reg < 0x40:
		return
	case reg == 0x0a && value&7 == 0:
		m.empty()
	}
	m.reg[reg&127] = value
}
