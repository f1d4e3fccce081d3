package quant

import (
	"cmp"
	"math"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// rounder quantises the rows of a matrix for integer activations x[k]*unit[k].
type rounder struct {
	fold     []float64 // 1/unit
	mean     []float64 // of the integer activations, nil if they are not known
	feedback *feedback
}

// newRounder takes activations of which channel k has the magnitude limit[k]. Where what they are is known, s is not nil.
func newRounder(limit []float32, levels float32, s *sample) *rounder {
	r := &rounder{fold: make([]float64, len(limit))}
	for k, m := range limit {
		r.fold[k] = float64(m) / float64(levels)
	}
	if s != nil {
		r.mean = make([]float64, len(limit))
		for k := range r.mean {
			r.mean[k] = s.mean(k) / r.fold[k]
		}
		r.feedback = newFeedback(s, r.fold)
	}
	return r
}

// rows returns symmetric int8 weights with a factor for each row's sums, and how much each sum is too small in the mean.
func (r *rounder) rows(w []float32, rows, cols int) (q []int8, scales, shift []float32) {
	q, scales, shift = make([]int8, rows*cols), make([]float32, rows), make([]float32, rows)
	v, missing := make([]float64, cols), make([]float64, cols)
	for i := range rows {
		most := 0.0
		for c := range cols {
			v[c] = float64(w[i*cols+c]) * r.fold[c]
			most = math.Max(most, math.Abs(v[c]))
		}
		s := float32(most / kernels.MaxI8)
		if s < format.MinVector { // a row of zeros
			continue
		}
		scales[i] = s
		r.round(q[i*cols:][:cols], v, float64(s), missing)
		sum := 0.0
		for c, m := range r.mean {
			sum += float64(missing[c] * m)
		}
		shift[i] = float32(sum)
	}
	return q, scales, shift
}

// round sets q near v/s, and missing to v - q*s.
func (r *rounder) round(q []int8, v []float64, s float64, missing []float64) {
	if r.feedback != nil {
		r.feedback.round(q, v, s, missing)
		return
	}
	for c, x := range v {
		q[c] = int8(math.RoundToEven(x / s))
		missing[c] = x - float64(float64(q[c])*s)
	}
}

// feedback rounds weights one after the other so that each takes up what can be foreseen of the errors of those before, where
// activations go together: the covariance H of the activations is (I+U) D (I+U)ᵀ with U strictly upper, and weight k is rounded after
// adding Σ_{j<k} missing_j U_jk. This is LDLQ (Chee et al., QuIP, 2023), the same as GPTQ and OPTQ. Covariances between blocks of
// channels are left out.
type feedback struct {
	order []int       // of the channels
	u     [][]float64 // of a block: Uᵀ, row-major
	block int
	left  []float64 // errors, in the order of the channels
}

// damping keeps H regular where channels are constant or there are few rows, relative to the mean variance.
const damping = 0.01

func newFeedback(s *sample, fold []float64) *feedback {
	f := &feedback{block: s.block, left: make([]float64, len(fold))}
	for b := range s.squares {
		at := b * s.block
		n := min(s.block, len(fold)-at)
		h := func(i, j int) float64 { return s.covariance(b, min(i, j), max(i, j)) / (fold[at+i] * fold[at+j]) }
		order := make([]int, n)
		variance, total := make([]float64, n), 0.0
		for i := range order {
			order[i] = i
			variance[i] = h(i, i)
			total += variance[i]
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(variance[j], variance[i]) })
		const rounding = 1.0 / 12 // variance of the activations' own error
		u := make([]float64, n*n)
		for i, a := range order {
			for j, c := range order {
				u[i*n+j] = h(a, c)
			}
			u[i*n+i] += rounding + float64(damping*total/float64(n))
			f.order = append(f.order, at+a)
		}
		decompose(u, n)
		f.u = append(f.u, u)
	}
	return f
}

// decompose leaves Uᵀ below the diagonal of a symmetric matrix that is (I+U) D (I+U)ᵀ.
func decompose(h []float64, n int) {
	for k := n - 1; k >= 0; k-- {
		row := h[k*n:][:k]
		d := h[k*n+k]
		for i, v := range row {
			u := v / d
			for j, w := range row[:i+1] {
				h[i*n+j] -= float64(u * w)
			}
		}
		for i := range row {
			row[i] /= d
		}
	}
}

func (f *feedback) round(q []int8, v []float64, s float64, missing []float64) {
	for b, u := range f.u {
		at := b * f.block
		n := min(f.block, len(v)-at)
		left := f.left[at:][:n]
		for k, c := range f.order[at:][:n] {
			x := v[c]
			for i, e := range left[:k] {
				x += float64(e * u[k*n+i])
			}
			q[c] = int8(math.Max(-kernels.MaxI8, math.Min(kernels.MaxI8, math.RoundToEven(x/s))))
			left[k] = v[c] - float64(float64(q[c])*s)
			missing[c] = left[k]
		}
	}
}
