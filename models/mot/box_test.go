package mot

import (
	"math"
	"testing"
)

func TestShifts(t *testing.T) {
	p, b := Box{100, 50, 30, 60}, Box{130, 41, 33, 90}
	d := b.minus(p)
	want := shift{0.5, -0.15, math.Log(1.1), math.Log(1.5)}
	back := p.plus(d)
	for i := range d {
		if math.Abs(d[i]-want[i]) > 1e-12 {
			t.Errorf("shift %v, want %v", d, want)
		}
	}
	if math.Abs(back.X-b.X)+math.Abs(back.Y-b.Y)+math.Abs(back.W-b.W)+math.Abs(back.H-b.H) > 1e-9 {
		t.Errorf("moved to %v, want %v", back, b)
	}
}

func TestIoU(t *testing.T) {
	a := Corner(0, 0, 10, 10)
	for _, c := range []struct {
		b    Box
		want float64
	}{{a, 1}, {Corner(5, 0, 10, 10), 50. / 150}, {Corner(2, 2, 5, 5), 0.25}, {Corner(10, 0, 5, 5), 0}, {Corner(20, 20, 5, 5), 0}} {
		if got := IoU(a, c.b); math.Abs(got-c.want) > 1e-12 || got != IoU(c.b, a) {
			t.Errorf("%v: %v, want %v", c.b, got, c.want)
		}
	}
	if got := Corner(-5, 0, 10, 10).outside(100, 100); math.Abs(got-0.5) > 1e-12 {
		t.Errorf("outside %v, want half", got)
	}
}
