package mot

import (
	"math"
	"math/rand/v2"
	"testing"
)

// problem is a matrix of costs, forbidden ones not finite.
type problem struct {
	cost [][]float64
	cols int
	miss float64
}

func randomProblem(r *rand.Rand, rows, cols int, sparse float64, levels int) problem {
	p := problem{cols: cols, miss: float64(r.IntN(5)-1) / 2}
	for range rows {
		row := make([]float64, cols)
		for j := range row {
			row[j] = r.Float64()*4 - 2
			if levels > 0 { // many ties
				row[j] = float64(r.IntN(levels)) - 1
			}
			if r.Float64() < sparse {
				row[j] = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[r.IntN(3)]
			}
		}
		p.cost = append(p.cost, row)
	}
	return p
}

func (p *problem) solve(s *Solver) []int32 {
	s.Begin(p.cols, p.miss)
	for _, row := range p.cost {
		for j, c := range row {
			s.Add(j, c)
		}
		s.EndRow()
	}
	return s.Solve()
}

// price is the sum of an assignment; ok is false where it breaks a rule.
func (p *problem) price(col []int32) (sum float64, ok bool) {
	taken := map[int32]bool{}
	for i, j := range col {
		if j < 0 {
			sum += p.miss
			continue
		}
		c := p.cost[i][j]
		if taken[j] || math.IsNaN(c) || math.IsInf(c, 0) {
			return 0, false
		}
		taken[j] = true
		sum += c
	}
	return sum, len(col) == len(p.cost)
}

// cheapest tries every assignment of the rows from i on.
func (p *problem) cheapest(i int, taken uint) float64 {
	if i == len(p.cost) {
		return 0
	}
	best := p.miss + p.cheapest(i+1, taken)
	for j, c := range p.cost[i] {
		if taken>>j&1 == 0 && !math.IsNaN(c) && !math.IsInf(c, 0) {
			best = min(best, c+p.cheapest(i+1, taken|1<<j))
		}
	}
	return best
}

func TestSolverAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Solver
	for n := range 4000 {
		p := randomProblem(r, r.IntN(7), r.IntN(7), []float64{0, 0.3, 0.9}[n%3], []int{0, 0, 3}[n/3%3])
		got, ok := p.price(p.solve(&s))
		if want := p.cheapest(0, 0); !ok || math.Abs(got-want) > 1e-9 {
			t.Fatalf("problem %d: %v, %v, want %v: %+v", n, got, ok, want, p)
		}
	}
}

// TestSolverIsOptimal proves by weak duality that no assignment of larger problems is cheaper: the potentials price every pair at most at its cost.
func TestSolverIsOptimal(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s Solver
	for n := range 200 {
		p := randomProblem(r, r.IntN(90), r.IntN(90), []float64{0, 0.5, 0.97}[n%3], []int{0, 5}[n%2])
		col := p.solve(&s)
		got, ok := p.price(col)
		bound := 0.0
		for i := range p.cost {
			bound += s.u[i]
			if s.u[i] > p.miss+1e-9 {
				t.Fatalf("problem %d: potential of row %d is %v, a miss costs %v", n, i, s.u[i], p.miss)
			}
			for j, c := range p.cost[i] {
				if !math.IsNaN(c) && !math.IsInf(c, 0) && c < p.miss && c-s.u[i]-s.v[j] < -1e-9 {
					t.Fatalf("problem %d: potentials of row %d and column %d are above the cost", n, i, j)
				}
			}
		}
		for j := range p.cols {
			bound += s.v[j]
			if s.v[j] > 0 {
				t.Fatalf("problem %d: potential of column %d is %v", n, j, s.v[j])
			}
		}
		if !ok || math.Abs(got-bound) > 1e-7 {
			t.Fatalf("problem %d: %v, %v; the bound is %v", n, got, ok, bound)
		}
	}
}

func TestSolverAllocatesNothing(t *testing.T) {
	p := randomProblem(rand.New(rand.NewPCG(5, 6)), 40, 50, 0.5, 0)
	var s Solver
	p.solve(&s)
	if n := testing.AllocsPerRun(20, func() { p.solve(&s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSolver(b *testing.B) {
	for _, c := range []struct {
		name       string
		rows, cols int
		sparse     float64
	}{{"20x20", 20, 20, 0}, {"20x20gated", 20, 20, 0.85}, {"1024x4096", 1024, 4096, 0}} {
		b.Run(c.name, func(b *testing.B) {
			p := randomProblem(rand.New(rand.NewPCG(7, 8)), c.rows, c.cols, c.sparse, 0)
			p.miss = 4
			var s Solver
			for b.Loop() {
				p.solve(&s)
			}
		})
	}
}
