package i2c

import "testing"

// TestHalves has words of the LSM6DSO's FIFO, of which some are missing: halves of different samples must not meet.
func TestHalves(t *testing.T) {
	const gyro, accel, temperature = 1, 2, 3
	c := &lsmO{}
	for i, w := range []struct {
		tag, slot, value byte
		whole            bool
		want             raw
	}{
		{gyro, 0, 1, false, raw{}},
		{accel, 0, 2, true, raw{2, 2, 2, 1, 1, 1}},
		{accel, 1, 3, false, raw{}},
		{temperature, 1, 99, false, raw{}},
		{gyro, 1, 4, true, raw{3, 3, 3, 4, 4, 4}},
		{gyro, 2, 5, false, raw{}},
		{accel, 3, 6, false, raw{}},
		{gyro, 0, 7, false, raw{}},
		{accel, 0, 8, true, raw{8, 8, 8, 7, 7, 7}},
	} {
		whole := c.word([]byte{w.tag<<3 | w.slot<<1, w.value, 0, w.value, 0, w.value, 0})
		if whole != w.whole || whole && c.half != w.want {
			t.Errorf("word %d: %v, %v; want %v, %v", i, whole, c.half, w.whole, w.want)
		}
		if whole {
			c.have = [2]bool{}
		}
	}
}
