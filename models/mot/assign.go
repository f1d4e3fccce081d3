package mot

import "math"

// Solver finds the cheapest assignment of rows to columns, in which a row may stay without a column at a price, and a pair that was not added is
// forbidden. It takes the shortest augmenting path for each row (Jonker and Volgenant, Computing 38, 1987), over sparse rows and with a column of
// its own for each row that is to stay without. It allocates only to grow.
type Solver struct {
	start []int32 // of each row: its first pair; one more at the end
	cols  []int32 // of the pairs
	costs []float64
	miss  float64
	width int

	u, v     []float64 // potentials of rows and columns: cost - u - v ≥ 0, and 0 where assigned
	row      []int32   // of each column: the row it is assigned to, or -1
	col      []int32   // of each row: its column, or -1
	dist     []float64 // of each column: length of the shortest path to it
	from     []int32   // of each column: the row before it on that path
	seen     []int32   // columns that have a dist
	done     []bool    // columns whose dist is final
	finished []int32   // those columns
}

// Begin starts a problem with that many columns, in which a row may stay without one at the price miss.
func (s *Solver) Begin(cols int, miss float64) {
	s.start = append(s.start[:0], 0)
	s.cols, s.costs = s.cols[:0], s.costs[:0]
	s.miss, s.width = miss, cols
}

// Add allows the row in progress a column. A cost that is not finite, or not below the price of staying without, is never chosen, so it is left
// out. No column may be added twice to a row.
func (s *Solver) Add(col int, cost float64) {
	if cost < s.miss && cost >= -math.MaxFloat64 {
		s.cols = append(s.cols, int32(col))
		s.costs = append(s.costs, cost)
	}
}

// EndRow ends a row and begins the next.
func (s *Solver) EndRow() { s.start = append(s.start, int32(len(s.cols))) }

// Solve returns for each row its column, or -1. The slice is valid until the next Solve.
func (s *Solver) Solve() []int32 {
	rows := len(s.start) - 1
	s.u, s.col = resize(s.u, rows), resize(s.col, rows)
	s.v, s.row = resize(s.v, s.width), resize(s.row, s.width)
	s.dist, s.from, s.done = resize(s.dist, s.width), resize(s.from, s.width), resize(s.done, s.width)
	s.seen, s.finished = resize(s.seen, s.width)[:0], resize(s.finished, s.width)[:0]
	for j := range s.width {
		s.v[j], s.row[j], s.dist[j], s.done[j] = 0, -1, math.Inf(1), false
	}
	for i := range rows {
		s.col[i] = -1
		s.u[i] = s.miss
		for _, c := range s.costs[s.start[i]:s.start[i+1]] {
			s.u[i] = min(s.u[i], c)
		}
	}
	for i := range rows {
		s.augment(int32(i))
	}
	return s.col
}

// augment gives a row a column, or leaves one of the rows without on the way to where it is cheapest.
func (s *Solver) augment(first int32) {
	i, length := first, 0.0
	alone, aloneAt := math.Inf(1), first // length of the path to a row that stays without a column, and that row
	sink := int32(-1)
	for {
		if d := length + (s.miss - s.u[i]); d < alone {
			alone, aloneAt = d, i
		}
		s.relax(i, length)
		j := s.nearest()
		if j < 0 || s.dist[j] >= alone {
			length = alone
			break
		}
		length = s.dist[j]
		if s.row[j] < 0 {
			sink = j
			break
		}
		s.done[j] = true
		s.finished = append(s.finished, j)
		i = s.row[j]
	}
	s.u[first] += length
	for _, j := range s.finished {
		s.u[s.row[j]] += length - s.dist[j]
		s.v[j] -= length - s.dist[j]
	}
	if sink < 0 {
		sink = s.col[aloneAt]
		s.col[aloneAt] = -1
	}
	for sink >= 0 { // none where the first row itself stays without
		i := s.from[sink]
		s.row[sink] = i
		s.col[i], sink = sink, s.col[i]
		if i == first {
			break
		}
	}
	for _, j := range s.seen {
		s.dist[j], s.done[j] = math.Inf(1), false
	}
	s.seen, s.finished = s.seen[:0], s.finished[:0]
}

// relax follows the pairs of a row at the end of a path.
func (s *Solver) relax(i int32, length float64) {
	for k := s.start[i]; k < s.start[i+1]; k++ {
		j := s.cols[k]
		if s.done[j] {
			continue
		}
		d := length + ((s.costs[k] - s.u[i]) - s.v[j])
		if d < s.dist[j] {
			if math.IsInf(s.dist[j], 1) {
				s.seen = append(s.seen, j)
			}
			s.dist[j], s.from[j] = d, i
		}
	}
}

// nearest is the column with the shortest path that is not final, a free one before others; -1: there is none.
func (s *Solver) nearest() int32 {
	best := int32(-1)
	for _, j := range s.seen {
		if s.done[j] {
			continue
		}
		if best < 0 || s.dist[j] < s.dist[best] || s.dist[j] == s.dist[best] && s.row[j] < 0 && s.row[best] >= 0 {
			best = j
		}
	}
	return best
}

// resize returns a slice of n elements, of any content.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
