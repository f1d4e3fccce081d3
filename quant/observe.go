package quant

import (
	"fmt"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// product names a matrix of weights.
type product struct {
	op   int
	role format.Role
}

// sample is what a matrix multiplies over the calibration data: the range of every channel, means, and covariances within blocks of
// neighbouring channels.
type sample struct {
	rows    int
	most    []float32    // largest magnitude of each channel
	half    [2][]float32 // the same in either half of the data
	every   int          // one row of how many counts below
	n       int
	origin  []float64
	sum     []float64 // of x - origin
	block   int
	squares [][]float64 // of a block, row-major: sums of products of x - origin, of which the upper half counts
	shifted []float64
}

const (
	sampleRows = 2048 // rows that means and covariances are taken from, about
	maxBlock   = 128
)

// newSample is for a matrix of rows by cols; a small one gets small blocks, so that they take no more than a few times its memory.
func newSample(rows, cols, every int) *sample {
	s := &sample{every: every, most: make([]float32, cols), half: [2][]float32{make([]float32, cols), make([]float32, cols)},
		sum: make([]float64, cols), shifted: make([]float64, cols), block: min(maxBlock, 4*rows)}
	for c := 0; c < cols; c += s.block {
		n := min(s.block, cols-c)
		s.squares = append(s.squares, make([]float64, n*n))
	}
	return s
}

func (s *sample) add(x []float32, half int) {
	for i, v := range x {
		s.half[half][i] = max(s.half[half][i], abs(v))
		s.most[i] = max(s.most[i], abs(v))
	}
	count := s.rows%s.every == 0
	s.rows++
	if s.origin == nil {
		s.origin = make([]float64, len(x))
		for i, v := range x {
			s.origin[i] = float64(v)
		}
	}
	if !count {
		return
	}
	s.n++
	for i, v := range x {
		s.shifted[i] = float64(v) - s.origin[i]
		s.sum[i] += s.shifted[i]
	}
	for b, m := range s.squares {
		x := s.shifted[b*s.block:][:min(s.block, len(s.shifted)-b*s.block)]
		for i, v := range x {
			row := m[i*len(x):][i:len(x)]
			for j, w := range x[i:] {
				row[j] += float64(v * w)
			}
		}
	}
}

func (s *sample) mean(i int) float64 { return s.origin[i] + s.sum[i]/float64(s.n) }

// covariance is that of two channels of a block.
func (s *sample) covariance(block, i, j int) float64 {
	at, n := block*s.block, float64(s.n)
	width := min(s.block, len(s.sum)-at)
	return s.squares[block][i*width+j]/n - float64(s.sum[at+i]/n*(s.sum[at+j]/n))
}

// growth says how much larger the ranges are than those of half the data, in the mean over the channels.
func (s *sample) growth() float32 {
	sum, n := 0.0, 0
	for i, m := range s.most {
		if h := s.half[0][i] + s.half[1][i]; h > 0 {
			sum += 2 * float64(m/h)
			n++
		}
	}
	if n == 0 {
		return 1
	}
	return float32(sum / float64(n))
}

// observe runs the graph in float over the calibration data, and returns what every matrix multiplied.
func observe(g *Graph, calib [][]float32) (map[product]*sample, error) {
	f, err := Build(g, Options{})
	if err != nil {
		return nil, err
	}
	m, err := runtime.New(f)
	if err != nil {
		return nil, err
	}
	o := &observer{file: f, single: len(calib) == 1, samples: map[product]*sample{}, shared: map[*format.Blob]*sample{}}
	session := m.NewSession()
	session.SetProductTap(o.see)
	for _, x := range calib {
		o.total += int64(len(x) / m.InputWidth())
	}
	for i, x := range calib {
		o.start(i)
		session.Reset()
		if err := session.Run(x, make([]float32, outputs(m, x))); err != nil {
			return nil, fmt.Errorf("calibration sequence %d: %w", i, err)
		}
		o.done += int64(len(x) / m.InputWidth())
	}
	return o.samples, nil
}

type observer struct {
	file        *format.File
	samples     map[product]*sample
	shared      map[*format.Blob]*sample // operations with the same weights stay the same
	total, done int64                    // time steps
	sequence    int
	single      bool
}

// start prepares for the next sequence: a matrix may multiply many rows a time step, or few.
func (o *observer) start(sequence int) {
	o.sequence = sequence
	for _, s := range o.shared {
		s.every = every(int64(s.rows) * o.total / o.done)
	}
}

// every is one of how many rows to count when there are some in all.
func every(rows int64) int { return int(max(1, rows/sampleRows)) }

// half is that of the data to which a row belongs: every other sequence, or of a single one every other stretch.
func (o *observer) half(row int) int {
	if o.single {
		return row / int(min(64, 1+o.total/8)) % 2
	}
	return o.sequence % 2
}

func (o *observer) see(op int, w format.Role, x []float32) {
	p := product{op, w}
	s := o.samples[p]
	if s == nil {
		blob := o.file.Arg(&o.file.Ops[op], w)
		if s = o.shared[blob]; s == nil {
			s = newSample(blob.Rows, len(x), every(o.total))
			o.shared[blob] = s
		}
		o.samples[p] = s
	}
	s.add(x, o.half(s.rows))
}

// outputs is how many values a sequence gives.
func outputs(m *runtime.Model, x []float32) int {
	if m.PerStep() {
		return len(x) / m.InputWidth() * m.OutputWidth()
	}
	return m.OutputWidth()
}
