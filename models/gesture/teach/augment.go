package teach

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/recur-go/recur/models/internal/elementary"
)

// augmenter makes variants of examples: played faster or slower and unevenly, larger or smaller, with sensors worn a little turned.
type augmenter struct {
	random   *rand.Rand
	channels int
	triads   [][3]int // channels that are x, y and z of one sensor
}

// Deviations of what is varied; speed, wobble, amplitude and gain are of logarithms.
const (
	speed     = 0.15
	wobble    = 0.15
	amplitude = 0.15
	gain      = 0.05
	turn      = 5 * math.Pi / 180 // each component of a rotation vector
)

func newAugmenter(channels []string) *augmenter {
	return &augmenter{random: rand.New(rand.NewPCG(1, 2)), channels: len(channels), triads: triads(channels)}
}

// triads finds names that end in x, y and z and are the same before.
func triads(names []string) (found [][3]int) {
	at := map[string]int{}
	for i, n := range names {
		at[strings.ToLower(n)] = i
	}
	for i, n := range names {
		stem, ok := strings.CutSuffix(strings.ToLower(n), "x")
		y, hasY := at[stem+"y"]
		z, hasZ := at[stem+"z"]
		if ok && hasY && hasZ {
			found = append(found, [3]int{i, y, z})
		}
	}
	return found
}

// normal is about so distributed: the sum of twelve uniform numbers, since NormFloat64 differs between architectures.
func (a *augmenter) normal(deviation float64) float64 {
	sum := -6.0
	for range 12 {
		sum += float64(a.random.Float64())
	}
	return float64(sum * deviation)
}

// variant changes what differs from the level of rest, the mean of the samples before the gesture or of the first.
func (a *augmenter) variant(e *Example) Example {
	v := a.warp(e)
	n := a.channels
	level := make([]float64, n)
	rest := max(1, min(v.First, 8))
	for t := range rest {
		for k := range n {
			level[k] += float64(v.Rows[t*n+k]) / float64(rest)
		}
	}
	gains := make([]float64, n)
	size := a.normal(amplitude)
	for k := range gains {
		gains[k] = elementary.Exp(size + a.normal(gain))
	}
	turns := make([][9]float64, len(a.triads))
	for i := range turns {
		turns[i] = rotation(a.normal(turn), a.normal(turn), a.normal(turn))
	}
	d := make([]float64, n)
	for t := range len(v.Rows) / n {
		row := v.Rows[t*n:][:n]
		for k, x := range row {
			d[k] = float64((float64(x) - level[k]) * gains[k])
		}
		for i, c := range a.triads {
			x, y, z, r := d[c[0]], d[c[1]], d[c[2]], &turns[i]
			for j := range c {
				d[c[j]] = float64(r[3*j]*x) + float64(r[3*j+1]*y) + float64(r[3*j+2]*z)
			}
		}
		for k := range row {
			row[k] = float32(level[k] + d[k])
		}
	}
	return v
}

// warp resamples an example along an uneven time axis.
func (a *augmenter) warp(e *Example) Example {
	const knots = 5
	n := len(e.Rows) / a.channels
	m := max(8, int(math.Round(float64(n)*elementary.Exp(a.normal(speed)))))
	var rates [knots]float64
	for i := range rates {
		rates[i] = elementary.Exp(a.normal(wobble))
	}
	at := make([]float64, m)
	for t := 1; t < m; t++ {
		p := float64(float64(t) / float64(m-1) * (knots - 1))
		k := min(int(p), knots-2)
		at[t] = at[t-1] + rates[k] + float64((rates[k+1]-rates[k])*(p-float64(k)))
	}
	v := Example{Label: e.Label, Rows: make([]float32, m*a.channels), First: m, End: m}
	for t := range at {
		p := float64(at[t] / at[m-1] * float64(n-1))
		k := min(int(p), max(n-2, 0))
		w := p - float64(k)
		for c := range a.channels {
			x, y := float64(e.Rows[k*a.channels+c]), float64(e.Rows[min(k+1, n-1)*a.channels+c])
			v.Rows[t*a.channels+c] = float32(x + float64((y-x)*w))
		}
		if p >= float64(e.First) {
			v.First = min(v.First, t)
		}
		if p >= float64(e.End) {
			v.End = min(v.End, t)
		}
	}
	return v
}

// rotation is the matrix, row by row, of the quaternion 1 + (x i + y j + z k)/2: by about the length of the vector, in radians.
func rotation(x, y, z float64) [9]float64 {
	xx, yy, zz := float64(x*x/4), float64(y*y/4), float64(z*z/4)
	xy, xz, yz := float64(x*y/2), float64(x*z/2), float64(y*z/2)
	r := [9]float64{
		1 + xx - yy - zz, xy - z, xz + y,
		xy + z, 1 - xx + yy - zz, yz - x,
		xz - y, yz + x, 1 - xx - yy + zz,
	}
	for i := range r {
		r[i] /= 1 + xx + yy + zz
	}
	return r
}
