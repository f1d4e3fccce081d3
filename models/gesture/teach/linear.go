package teach

import (
	"cmp"
	"math"
	"slices"

	"github.com/recur-go/recur/models/internal/elementary"
)

// eigen decomposes a symmetric matrix [n, n], which it overwrites, by Jacobi rotations: values from the largest to the smallest, and their
// unit vectors, one a row.
func eigen(a []float64, n int) (values []float64, vectors [][]float64) {
	v := make([][]float64, n)
	for i := range v {
		v[i] = make([]float64, n)
		v[i][i] = 1
	}
	for range 30 {
		off, diagonal := 0.0, 0.0
		for i := range n {
			diagonal += float64(a[i*n+i] * a[i*n+i])
			for j := range i {
				off += float64(a[i*n+j] * a[i*n+j])
			}
		}
		if off <= 1e-18*diagonal {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				rotate(a, v, n, p, q)
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(a[j*n+j], a[i*n+i]) })
	for _, i := range order {
		values = append(values, a[i*n+i])
		vectors = append(vectors, v[i])
	}
	return values, vectors
}

// rotate makes element p, q zero (Golub, Van Loan: Matrix Computations, 8.5).
func rotate(a []float64, v [][]float64, n, p, q int) {
	apq := a[p*n+q]
	if math.Abs(apq) < 1e-300 {
		return
	}
	tau := (a[q*n+q] - a[p*n+p]) / (2 * apq)
	t := 1 / (math.Abs(tau) + math.Sqrt(1+float64(tau*tau)))
	if tau < 0 {
		t = -t
	}
	c := 1 / math.Sqrt(1+float64(t*t))
	s := t * c
	for k := range n {
		x, y := a[k*n+p], a[k*n+q]
		a[k*n+p], a[k*n+q] = float64(c*x)-float64(s*y), float64(s*x)+float64(c*y)
	}
	rp, rq := a[p*n:][:n], a[q*n:][:n]
	for k, x := range rp {
		y := rq[k]
		rp[k], rq[k] = float64(c*x)-float64(s*y), float64(s*x)+float64(c*y)
	}
	vp, vq := v[p], v[q]
	for k, x := range vp {
		y := vq[k]
		vp[k], vq[k] = float64(c*x)-float64(s*y), float64(s*x)+float64(c*y)
	}
}

func dot(a, b []float64) (s float64) {
	for i, x := range a {
		s += float64(x * b[i])
	}
	return s
}

// orthonormal makes v orthogonal to the unit vectors of a basis, and of length 1; ok is false where it depends on them.
func orthonormal(v []float64, basis [][]float64) (u []float64, ok bool) {
	u = slices.Clone(v)
	before := math.Sqrt(dot(u, u))
	for range 2 { // once more for what rounding left
		for _, b := range basis {
			p := dot(u, b)
			for i := range u {
				u[i] -= float64(p * b[i])
			}
		}
	}
	after := math.Sqrt(dot(u, u))
	if !(after > 1e-6*before) {
		return nil, false
	}
	for i := range u {
		u[i] /= after
	}
	return u, true
}

// logistic is the probability 1/(1+exp(-(w x + b))).
type logistic struct {
	w []float64
	b float64
}

func (l *logistic) at(x []float64) float64 { return elementary.Sigmoid(dot(l.w, x) + l.b) }

// fitLogistic minimises the loss of rows x of class y plus decay/2 |w|² by gradient descent with momentum (Nesterov). Both classes weigh the
// same.
func fitLogistic(x [][]float64, y []bool, decay float64) *logistic {
	const steps = 300
	n := len(x[0])
	positive := 0.0
	squares := 0.0
	for k, v := range x {
		if y[k] {
			positive++
		}
		squares = max(squares, dot(v, v)+1)
	}
	rate := 1 / (float64(squares/4) + decay)
	l, last := &logistic{w: make([]float64, n)}, &logistic{w: make([]float64, n)}
	g := make([]float64, n)
	for step := range steps {
		m := float64(step) / float64(step+3)
		ahead := &logistic{w: make([]float64, n), b: l.b + float64(m*(l.b-last.b))}
		for i := range g {
			ahead.w[i] = l.w[i] + float64(m*(l.w[i]-last.w[i]))
			g[i] = float64(decay * ahead.w[i])
		}
		gb := 0.0
		for k, v := range x {
			d := ahead.at(v) / (2 * (float64(len(x)) - positive))
			if y[k] {
				d = (ahead.at(v) - 1) / (2 * positive)
			}
			gb += d
			for i, xi := range v {
				g[i] += float64(d * xi)
			}
		}
		last = l
		l = &logistic{w: make([]float64, n), b: ahead.b - float64(rate*gb)}
		for i := range g {
			l.w[i] = ahead.w[i] - float64(rate*g[i])
		}
	}
	return l
}

// calibrate stretches l so that nearly no row of the class false, and half of those of the class true, pass from -sure to sure: a Spotter
// wants quiet rests.
func (l *logistic) calibrate(x [][]float64, y []bool) {
	const sure = 3.5
	var no, yes []float64
	for k, v := range x {
		if s := dot(l.w, v) + l.b; y[k] {
			yes = append(yes, s)
		} else {
			no = append(no, s)
		}
	}
	slices.Sort(no)
	slices.Sort(yes)
	low, high := no[len(no)*98/100], yes[len(yes)/2]
	stretch := 2 * sure / max(high-low, 0.5)
	for i := range l.w {
		l.w[i] *= stretch
	}
	l.b = float64((l.b-low)*stretch) - sure
}
