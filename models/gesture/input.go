package gesture

// scale turns distances from a baseline, in counts, into network input. Every operation is rounded to float32 on its own (the
// conversions keep the compiler from fusing), so that all platforms agree.
type scale struct {
	inv  []float32 // 1 / counts of one unit
	clip float32
}

func (m *meta) scale(channels int) scale {
	s := scale{inv: m.floats("unit", channels, 1e-3, 1e6), clip: m.float("clip", 1e-3, 1e3)}
	for k, unit := range s.inv {
		s.inv[k] = 1 / unit
	}
	return s
}

func (s *scale) apply(k int, d float32) float32 {
	return min(max(float32(d*s.inv[k]), -s.clip), s.clip)
}

// baseline follows the resting level of each channel, and moves a little towards every sample.
type baseline struct {
	scale
	alpha float32
	level []float32
	begun bool
}

// next writes the network's input for a sample.
func (b *baseline) next(x, sample []float32) {
	if !b.begun {
		copy(b.level, sample)
		b.begun = true
	}
	for k, v := range sample {
		d := v - b.level[k]
		x[k] = b.apply(k, d)
		b.level[k] += float32(b.alpha * d)
	}
}

// restLevel is the mean of the first n rows of channel k.
func restLevel(rows []float32, k, channels, n int) float32 {
	var sum float32
	for t := range n {
		sum += rows[t*channels+k]
	}
	return sum / float32(n)
}
