package gesture

// scale turns distances from a baseline, in the unit of the channel, into network input. Every operation is rounded to float32 on its own (the
// conversions keep the compiler from fusing), so that all platforms agree.
type scale struct {
	inv  []float32 // 1 / what makes 1 at the input
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

// gate tells movement from rest, so that the network need not run in rests: its state stays what it was.
type gate struct {
	least float32 // movement below it is rest; 0: there is no gate
	rows  int     // at rest before the gate closes
	alpha float32 // movement is the distance from a level that moves by this share of it each row
	level []float32
	begun bool
	still int
}

func newGate(m *meta, channels int) gate {
	g := gate{least: m.optional("gate", 0, 1e3)}
	if g.rows, g.alpha = m.optionalCount("gate_rows", 1, maxRows), m.optional("gate_alpha", 0, 1); g.least > 0 && (g.rows == 0 || g.alpha == 0) {
		m.fail("gate needs gate_rows and gate_alpha")
	}
	g.level = make([]float32, channels)
	g.least *= float32(channels)
	return g
}

func (g *gate) reset() { g.begun, g.still = false, g.rows }

// awake takes the network's input for a sample, and reports whether the network should see it.
func (g *gate) awake(x []float32) bool {
	if g.least == 0 {
		return true
	}
	if !g.begun {
		copy(g.level, x)
		g.begun = true
	}
	var sum float32
	for k, v := range x {
		d := v - g.level[k]
		g.level[k] += float32(g.alpha * d)
		sum += max(d, -d)
	}
	if sum >= g.least {
		g.still = 0
	} else if g.still < g.rows {
		g.still++
	}
	return g.still < g.rows
}
