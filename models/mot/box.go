package mot

import (
	"github.com/recur-go/recur/models/internal/elementary"
)

// Box is a rectangle in pixels: its centre and its size.
type Box struct{ X, Y, W, H float64 }

// Corner makes a box of its left upper corner and its size.
func Corner(left, top, width, height float64) Box {
	return Box{left + half(width), top + half(height), width, height}
}

// half keeps the compiler from fusing the halving, although that would be exact.
func half(v float64) float64 { return float64(v / 2) }

// Left and Top are the box's left upper corner.
func (b Box) Left() float64 { return b.X - half(b.W) }
func (b Box) Top() float64  { return b.Y - half(b.H) }

// maxPixel and minSize bound boxes, so that no product overflows, vanishes or loses all its digits.
const (
	maxPixel = 1 << 24
	minSize  = 1.0 / 1024
)

func (b Box) valid() bool {
	within := func(v float64) bool { return v >= -maxPixel && v <= maxPixel }
	return within(b.X) && within(b.Y) && b.W >= minSize && b.W <= maxPixel && b.H >= minSize && b.H <= maxPixel
}

// intersection is the area that two boxes share.
func intersection(a, b Box) float64 {
	w := min(a.X+half(a.W), b.X+half(b.W)) - max(a.X-half(a.W), b.X-half(b.W))
	h := min(a.Y+half(a.H), b.Y+half(b.H)) - max(a.Y-half(a.H), b.Y-half(b.H))
	if !(w > 0 && h > 0) {
		return 0
	}
	return float64(w * h)
}

// IoU is the intersection of two boxes over their union.
func IoU(a, b Box) float64 {
	shared := intersection(a, b)
	if shared == 0 {
		return 0
	}
	return shared / (float64(a.W*a.H) + float64(b.W*b.H) - shared)
}

// shift is a change of a box in its own units: of the centre in heights, and the logarithms of the factors of width and height.
type shift [4]float64

// plus moves a box.
func (b Box) plus(d shift) Box {
	return Box{b.X + float64(d[0]*b.H), b.Y + float64(d[1]*b.H), float64(b.W * elementary.Exp(d[2])), float64(b.H * elementary.Exp(d[3]))}
}

// minus is the shift that moves p to b.
func (b Box) minus(p Box) shift {
	return shift{(b.X - p.X) / p.H, (b.Y - p.Y) / p.H, elementary.Log(b.W / p.W), elementary.Log(b.H / p.H)}
}

// between is the box at the part f of the straight line from a to b.
func between(a, b Box, f float64) Box {
	mix := func(a, b float64) float64 { return a + float64(f*(b-a)) }
	return Box{mix(a.X, b.X), mix(a.Y, b.Y), mix(a.W, b.W), mix(a.H, b.H)}
}

// outside is the share of a box that lies outside of an image.
func (b Box) outside(width, height float64) float64 {
	image := Box{width / 2, height / 2, width, height}
	return 1 - intersection(b, image)/float64(b.W*b.H)
}
