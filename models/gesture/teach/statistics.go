package teach

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/runtime/format"
)

// statistics are what is known of the embeddings of gestures: the mean of each, and how those of one gesture differ.
type statistics struct {
	labels []string
	counts []float64
	means  [][]float64
	spread []float64 // standard deviation of each channel within a gesture
	joint  []float64 // correlations within a gesture, [width, width]
	dof    float64   // examples less gestures that spread and joint are from
	width  int
}

// group is the embeddings of a gesture.
type group struct {
	label string
	rows  [][]float64
}

func mean(rows [][]float64) []float64 {
	m := make([]float64, len(rows[0]))
	for _, r := range rows {
		for i, v := range r {
			m[i] += v / float64(len(rows))
		}
	}
	return m
}

// scatter adds to s the products of differences from the mean.
func scatter(s []float64, rows [][]float64, mean []float64) {
	n := len(mean)
	d := make([]float64, n)
	for _, r := range rows {
		for i, v := range r {
			d[i] = v - mean[i]
		}
		for i, a := range d {
			for j := range i + 1 {
				s[i*n+j] += float64(a * d[j])
			}
		}
	}
}

// mirror fills what is above the diagonal, and divides by a count.
func mirror(s []float64, n int, count float64) {
	for i := range n {
		for j := range i + 1 {
			s[i*n+j] /= count
			s[j*n+i] = s[i*n+j]
		}
	}
}

// least is the smallest deviation of a channel that is believed.
const least = 1e-3

func newStatistics(groups []group, width int) *statistics {
	s := &statistics{width: width}
	cov := make([]float64, width*width)
	for _, g := range groups {
		m := mean(g.rows)
		s.labels, s.counts, s.means = append(s.labels, g.label), append(s.counts, float64(len(g.rows))), append(s.means, m)
		scatter(cov, g.rows, m)
		s.dof += float64(len(g.rows) - 1)
	}
	mirror(cov, width, max(s.dof, 1))
	s.setCovariance(cov)
	return s
}

func (s *statistics) setCovariance(cov []float64) {
	n := s.width
	s.spread, s.joint = make([]float64, n), make([]float64, n*n)
	for i := range n {
		s.spread[i] = math.Sqrt(max(cov[i*n+i], least*least))
	}
	for i := range n {
		for j := range n {
			s.joint[i*n+j] = cov[i*n+j] / (s.spread[i] * s.spread[j])
		}
		s.joint[i*n+i] = 1
	}
}

func (s *statistics) covariance() []float64 {
	n := s.width
	c := slices.Clone(s.joint)
	for i := range n {
		for j := range n {
			c[i*n+j] *= s.spread[i] * s.spread[j]
		}
	}
	return c
}

// Statistics of a model's gestures, in the order of its labels, are kept as metadata. In base64: one byte for the version, then little-endian
// float32 counts, means and spread, and the correlations below the diagonal as int8 of 127.
const (
	statisticsKey     = prefix + "statistics"
	statisticsVersion = 1
)

func (s *statistics) pair() format.Pair {
	b := []byte{statisticsVersion}
	put := func(v []float64) {
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
	}
	put([]float64{s.dof})
	put(s.counts)
	for _, m := range s.means {
		put(m)
	}
	put(s.spread)
	for i := range s.width {
		for j := range i {
			b = append(b, byte(int8(math.Round(127*max(-1, min(1, s.joint[i*s.width+j]))))))
		}
	}
	return format.Pair{Key: statisticsKey, Value: base64.StdEncoding.EncodeToString(b)}
}

// readStatistics returns nil where a file has none.
func readStatistics(f *format.File, labels []string, width int) (*statistics, error) {
	s := &statistics{labels: labels, width: width}
	k := slices.IndexFunc(f.Meta, func(p format.Pair) bool { return p.Key == statisticsKey })
	if k < 0 {
		return nil, nil
	}
	text := f.Meta[k].Value
	b, err := base64.StdEncoding.DecodeString(text)
	n := len(s.labels)
	if want := 1 + 4*(1+n+n*width+width) + width*(width-1)/2; err != nil || len(b) != want || b[0] != statisticsVersion {
		return nil, fmt.Errorf("metadata %s does not fit the model: %d bytes, want %d", statisticsKey, len(b), want)
	}
	b = b[1:]
	take := func(k int) []float64 {
		v := make([]float64, k)
		for i := range v {
			v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
			b = b[4:]
			if !(math.Abs(v[i]) < 1e6) && err == nil {
				err = fmt.Errorf("metadata %s holds %v", statisticsKey, v[i])
			}
		}
		return v
	}
	s.dof = take(1)[0]
	s.counts = take(n)
	for range n {
		s.means = append(s.means, take(width))
	}
	s.spread = take(width)
	s.joint = make([]float64, width*width)
	for i := range width {
		s.joint[i*width+i] = 1
		for j := range i {
			r := float64(int8(b[0])) / 127
			s.joint[i*width+j], s.joint[j*width+i] = r, r
			b = b[1:]
		}
	}
	for _, v := range append(slices.Clone(s.spread), s.counts...) {
		if !(v > 0) && err == nil {
			err = fmt.Errorf("metadata %s holds a deviation or a count of %v", statisticsKey, v)
		}
	}
	return s, err
}
