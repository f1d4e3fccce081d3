package teach

import (
	"math"
	"slices"

	"github.com/recur-go/recur/runtime/format"
)

// How the classifier is fitted; chosen on subjects that the networks had not seen, docs/teaching.md says how.
const (
	shrink     = 0.05 // of correlations towards 0
	directions = 8    // of the projection at least: those that tell gestures apart, and others where gestures are few
	prior      = 3.0  // examples that the mean of a gesture counts that the model knew before
)

// classifier is linear discriminant analysis: embeddings are projected to where those of one gesture have about unit variance in every
// direction; the likeliest gesture is that of the nearest mean.
type classifier struct {
	labels     []string
	projection [][]float64 // of an embedding, after the centre is subtracted
	centre     []float64
	means      [][]float64 // projected
	limit      float64     // squared distance from a mean beyond which an embedding is like no gesture
}

// fit makes a classifier of the means of gestures, and of the covariance within them.
func fit(labels []string, means [][]float64, cov []float64) *classifier {
	n := len(means[0])
	c := &classifier{labels: labels, centre: mean(means)}
	spread := make([]float64, n)
	for i := range n {
		spread[i] = math.Sqrt(max(cov[i*n+i], least*least))
	}
	joint := make([]float64, n*n)
	for i := range n {
		for j := range n {
			joint[i*n+j] = (1 - shrink) * cov[i*n+j] / (spread[i] * spread[j])
		}
		joint[i*n+i] = 1
	}
	values, vectors := eigen(joint, n)
	whiten := make([][]float64, n)
	for i, v := range vectors {
		whiten[i] = make([]float64, n)
		for k := range n {
			whiten[i][k] = v[k] / (spread[k] * math.Sqrt(max(values[i], shrink/2)))
		}
	}
	var basis [][]float64
	for _, m := range means {
		if u, ok := orthonormal(multiply(whiten, minus(m, c.centre)), basis); ok {
			basis = append(basis, u)
		}
	}
	for i := 0; i < n && len(basis) < directions; i++ {
		axis := make([]float64, n)
		axis[i] = 1
		if u, ok := orthonormal(axis, basis); ok {
			basis = append(basis, u)
		}
	}
	for _, u := range basis {
		row := make([]float64, n)
		for i, w := range whiten {
			for k, v := range w {
				row[k] += float64(u[i] * v)
			}
		}
		c.projection = append(c.projection, row)
	}
	for _, m := range means {
		c.means = append(c.means, c.project(m))
	}
	return c
}

func multiply(w [][]float64, x []float64) []float64 {
	y := make([]float64, len(w))
	for i, r := range w {
		y[i] = dot(r, x)
	}
	return y
}

func minus(a, b []float64) []float64 {
	d := slices.Clone(a)
	for i, v := range b {
		d[i] -= v
	}
	return d
}

func (c *classifier) project(e []float64) []float64 {
	return multiply(c.projection, minus(e, c.centre))
}

func distance(a, b []float64) (d float64) {
	for i, v := range a {
		d += float64((v - b[i]) * (v - b[i]))
	}
	return d
}

// nearest is the gesture of the nearest mean, and the squared distance; own, if not nil, replaces the mean of gesture k.
func (c *classifier) nearest(z []float64, k int, own []float64) (best int, d float64) {
	d = math.Inf(1)
	for i, m := range c.means {
		if i == k && own != nil {
			m = own
		}
		if v := distance(z, m); v < d {
			best, d = i, v
		}
	}
	return best, d
}

// usual is mean and deviation of the squared distance from the own mean, of embeddings with a covariance (normal: sums of squares weighted by
// its eigenvalues).
func (c *classifier) usual(cov []float64) (mean, deviation float64) {
	n := len(c.centre)
	r := len(c.projection)
	half := make([][]float64, r)
	for i, p := range c.projection {
		half[i] = make([]float64, n)
		for k := range n {
			half[i][k] = dot(cov[k*n:][:n], p)
		}
	}
	squares := 0.0
	for i, h := range half {
		for j, p := range c.projection {
			v := dot(h, p)
			squares += float64(v * v)
			if i == j {
				mean += v
			}
		}
	}
	return mean, math.Sqrt(2 * squares)
}

// head appends the classifier: the probability of each gesture, then that of none of them.
func (c *classifier) head(g *graph, e format.Ref) format.Ref {
	n, classes := len(c.centre), len(c.means)
	var w, bias []float64
	for _, p := range c.projection {
		w = append(w, p...)
		bias = append(bias, -dot(p, c.centre))
	}
	z := g.dense("project", e, w, bias)
	w, bias = make([]float64, 0, n*classes), nil
	for _, m := range c.means {
		w = append(w, m...)
		bias = append(bias, -dot(m, m)/2)
	}
	scores := g.dense("score", z, w, bias)
	squares := g.apply(format.Mul, "squares", z.Width, refs(z, z))
	far := g.apply(format.Sum, "far", 1, refs(squares), g.integers(format.RoleDims, int32(z.Width)))
	unlike := g.affine("unlike", far, 0.5, float32(-c.limit/2))
	p := g.join("likely", scores, unlike)
	return g.op(format.Softmax, "likely", p, refs(p))
}

// join appends values side by side.
func (g *graph) join(name string, in ...format.Ref) format.Ref {
	var index []int32
	for _, r := range in {
		for range r.Width {
			index = append(index, int32(len(index)))
		}
	}
	return g.apply(format.Gather, name, len(index), in, g.integers(format.RoleIndex, index...))
}
