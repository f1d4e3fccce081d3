package teach

import (
	"cmp"
	"math"
	"slices"
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
			diagonal += a[i*n+i] * a[i*n+i]
			for j := range i {
				off += a[i*n+j] * a[i*n+j]
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
	t := 1 / (math.Abs(tau) + math.Sqrt(1+tau*tau))
	if tau < 0 {
		t = -t
	}
	c := 1 / math.Sqrt(1+t*t)
	s := t * c
	for k := range n {
		x, y := a[k*n+p], a[k*n+q]
		a[k*n+p], a[k*n+q] = c*x-s*y, s*x+c*y
	}
	rp, rq := a[p*n:][:n], a[q*n:][:n]
	for k, x := range rp {
		y := rq[k]
		rp[k], rq[k] = c*x-s*y, s*x+c*y
	}
	vp, vq := v[p], v[q]
	for k, x := range vp {
		y := vq[k]
		vp[k], vq[k] = c*x-s*y, s*x+c*y
	}
}

func dot(a, b []float64) (s float64) {
	for i, x := range a {
		s += x * b[i]
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
				u[i] -= p * b[i]
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

