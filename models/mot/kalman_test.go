package mot

import (
	"math"
	"math/rand/v2"
	"testing"
)

// dense is the filter as the paper writes it, with matrices of 7: x' = F x, P' = F P Fᵀ + Q; K = P Hᵀ (H P Hᵀ + R)⁻¹, x += K (z - H x),
// P = (I - K H) P. H P Hᵀ + R is inverted by elimination.
type dense struct {
	x [7]float64
	p [7][7]float64
}

func newDense(z Box) *dense {
	d := &dense{x: [7]float64{z.X, z.Y, z.W * z.H, z.W / z.H}}
	for i := range 7 {
		d.p[i][i] = 10
		if i >= 4 {
			d.p[i][i] = 10000
		}
	}
	return d
}

func (d *dense) predict() {
	if d.x[2]+d.x[6] <= 0 {
		d.x[6] = 0
	}
	var f, fp [7][7]float64
	for i := range 7 {
		f[i][i] = 1
		if i < 3 {
			f[i][i+4] = 1
		}
	}
	x, p := d.x, d.p
	d.x, d.p = [7]float64{}, [7][7]float64{}
	for i := range 7 {
		for k := range 7 {
			d.x[i] += f[i][k] * x[k]
			for j := range 7 {
				fp[i][j] += f[i][k] * p[k][j]
			}
		}
	}
	for i := range 7 {
		for j := range 7 {
			for k := range 7 {
				d.p[i][j] += fp[i][k] * f[j][k]
			}
		}
	}
	for i, q := range []float64{1, 1, 1, 1, 0.01, 0.01, 0.0001} {
		d.p[i][i] += q
	}
}

func (d *dense) observe(z Box) {
	measured := [4]float64{z.X, z.Y, z.W * z.H, z.W / z.H}
	var s [4][8]float64 // with the identity beside it
	for i := range 4 {
		for j := range 4 {
			s[i][j] = d.p[i][j]
		}
		s[i][i] += []float64{1, 1, 10, 10}[i]
		s[i][4+i] = 1
	}
	for c := range 4 {
		for j := 7; j >= c; j-- {
			s[c][j] /= s[c][c]
		}
		for r := range 4 {
			if factor := s[r][c]; r != c {
				for j := range 8 {
					s[r][j] -= factor * s[c][j]
				}
			}
		}
	}
	var gain [7][4]float64
	for i := range 7 {
		for j := range 4 {
			for k := range 4 {
				gain[i][j] += d.p[i][k] * s[k][4+j]
			}
		}
	}
	x, p := d.x, d.p
	for i := range 7 {
		for k := range 4 {
			d.x[i] += gain[i][k] * (measured[k] - x[k])
			for j := range 7 {
				d.p[i][j] -= gain[i][k] * p[k][j]
			}
		}
	}
}

func TestKalmanIsThePapers(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	z := Box{300, 200, 40, 90}
	var s kalmanState
	s.begin(z)
	d := newDense(z)
	for n := range 200 {
		s.predict()
		d.predict()
		z.X, z.Y, z.W, z.H = z.X+r.NormFloat64()*3+2, z.Y+r.NormFloat64(), z.W*math.Exp(r.NormFloat64()*0.1), z.H*math.Exp(r.NormFloat64()*0.1)
		if n%7 != 3 {
			s.observe(z)
			d.observe(z)
		}
		got := [7]float64{s.x.x, s.y.x, s.area.x, s.ratio, s.x.v, s.y.v, s.area.v}
		for i, want := range d.x {
			if math.Abs(got[i]-want) > 1e-6*(1+math.Abs(want)) {
				t.Fatalf("frame %d: state %v, want %v", n, got, d.x)
			}
		}
		p := [7]float64{s.x.pxx, s.y.pxx, s.area.pxx, s.pRatio, s.x.pvv, s.y.pvv, s.area.pvv}
		for i := range 7 {
			if want := d.p[i][i]; math.Abs(p[i]-want) > 1e-6*(1+want) {
				t.Fatalf("frame %d: variance %d is %v, want %v", n, i, p[i], want)
			}
		}
	}
}
