package mot

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/models/internal/elementary"
	"github.com/recur-go/recur/runtime"
)

// assigner assigns detections to targets by the distance of their boxes in units of the image: by an LSTM, or optimally.
type assigner struct {
	solver Solver
	net    *runtime.Session
	size   int       // targets, and detections, that the network sees
	scale  float64   // of the distances it sees, of which the greatest is 1
	c      []float32 // distances, a row of size for each target
	x, y   []float32
	cols   []int32
	near   []near
	order  []int // indices of the detections that the network sees
}

// near is a detection and the distance of the nearest target.
type near struct {
	index    int
	distance float64
}

func newAssigner(c *Config, m *runtime.Model) (*assigner, error) {
	a := &assigner{}
	if c.Assoc != "lstm" {
		return a, nil
	}
	if m == nil {
		return nil, errors.New("association lstm wants a model")
	}
	if c.Width == 0 || c.Height == 0 {
		return nil, errors.New("association lstm wants the size of the image")
	}
	a.size = m.OutputWidth() - 1
	if a.size < 1 || m.InputWidth() != a.size*a.size || !m.PerStep() || m.TwoWay() {
		return nil, fmt.Errorf("the association model takes %d values and gives %d: want N² and N+1, at each step", m.InputWidth(), m.OutputWidth())
	}
	var err error
	if a.scale, err = scaleOf(m); err != nil {
		return nil, err
	}
	a.net = m.NewSession()
	a.c = make([]float32, m.InputWidth())
	a.x, a.y = make([]float32, a.size*m.InputWidth()), make([]float32, a.size*m.OutputWidth())
	return a, nil
}

// solve returns for each target the index of a detection that is not taken, or -1; miss is the price of none where the assignment is optimal.
func (a *assigner) solve(targets, found []normal, taken []bool, miss float64) ([]int32, error) {
	if a.net == nil {
		a.solver.Begin(len(found), miss)
		for i := range targets {
			for j := range found {
				if !taken[j] {
					a.solver.Add(j, targets[i].distance(&found[j]))
				}
			}
			a.solver.EndRow()
		}
		return a.solver.Solve(), nil
	}
	a.cols = resize(a.cols, len(targets))
	for i := range a.cols {
		a.cols[i] = -1
	}
	for i := 0; i < len(targets); i += a.size {
		if err := a.block(a.cols[i:min(i+a.size, len(targets))], targets[i:min(i+a.size, len(targets))], found, taken); err != nil {
			return nil, err
		}
	}
	return a.cols, nil
}

// block assigns detections to as many targets as the network takes, of the nearest detections as many as it takes.
func (a *assigner) block(cols []int32, targets, found []normal, taken []bool) error {
	a.choose(targets, found, taken)
	if len(a.order) == 0 {
		return nil
	}
	in, out, n := a.size*a.size, a.size+1, len(targets)
	a.measure(targets, found)
	for i := range targets {
		x := a.x[i*in:][:in]
		copy(x[copy(x, a.c[i*a.size:]):], a.c)
	}
	a.net.Reset()
	if err := a.net.Run(a.x[:n*in], a.y[:n*out]); err != nil {
		return err
	}
	a.solver.Begin(len(a.order), 0)
	for i := range targets {
		y := a.y[i*out:][:out]
		none := y[a.size]
		for k := range a.order {
			if p := y[k]; p > none { // others are never chosen
				const least = 1e-9
				a.solver.Add(k, elementary.Log(max(float64(none), least))-elementary.Log(float64(p)))
			}
		}
		a.solver.EndRow()
	}
	for i, k := range a.solver.Solve() {
		if k >= 0 {
			cols[i] = int32(a.order[k])
			taken[cols[i]] = true
		}
	}
	return nil
}

// choose fills order with the detections that the network is to see, by their index.
func (a *assigner) choose(targets, found []normal, taken []bool) {
	a.near = a.near[:0]
	for j := range found {
		if taken[j] {
			continue
		}
		least := math.Inf(1)
		for i := range targets {
			least = min(least, targets[i].distance(&found[j]))
		}
		a.near = append(a.near, near{j, least})
	}
	if len(a.near) > a.size {
		slices.SortStableFunc(a.near, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
		a.near = a.near[:a.size]
		slices.SortFunc(a.near, func(a, b near) int { return a.index - b.index })
	}
	a.order = a.order[:0]
	for _, n := range a.near {
		a.order = append(a.order, n.index)
	}
}

// measure fills the matrix of distances. Places without a pair are far. The network sees it turned, so that its target's row is the first.
func (a *assigner) measure(targets, found []normal) {
	for k := range a.c {
		a.c[k] = 1
	}
	for i := range targets {
		row := a.c[i*a.size:]
		for k, j := range a.order {
			row[k] = float32(min(float64(a.scale*targets[i].distance(&found[j])), 1))
		}
	}
}
