package main

import (
	"fmt"
	"io"

	"github.com/recur-go/recur/models/mot"
)

// scorer compares tracks with the truth, by CLEAR MOT (Bernardin and Stiefelhagen, EURASIP J. Image and Video Processing 2008) and by identity
// (Ristani et al., ECCV workshops 2016). It is for the demo; testdata/score.py shows that it agrees with py-motmetrics.
type scorer struct {
	solver mot.Solver
	last   map[int]int    // of each true identity: the one it was matched with last
	both   map[[2]int]int // frames in which a true and a given identity overlap enough
	ids    [2]map[int]int // true and given identities, numbered
	result result
}

type result struct {
	truth, given, matches, switches int // boxes, and changes of identity
	identity                        int // boxes of the right identity, one for each true one
}

const minOverlap = 0.5

func newScorer() *scorer {
	return &scorer{last: map[int]int{}, both: map[[2]int]int{}, ids: [2]map[int]int{{}, {}}}
}

func (s *scorer) add(truth, given []mot.Track) {
	s.result.truth += len(truth)
	s.result.given += len(given)
	for k, tracks := range [2][]mot.Track{truth, given} {
		for i := range tracks {
			if _, ok := s.ids[k][tracks[i].ID]; !ok {
				s.ids[k][tracks[i].ID] = len(s.ids[k])
			}
		}
	}
	taken := make([]bool, len(given))
	var rest []mot.Track
	for i := range truth {
		g := &truth[i]
		kept := false
		for j := range given {
			enough := mot.IoU(g.Box, given[j].Box) >= minOverlap
			if enough {
				s.both[[2]int{s.ids[0][g.ID], s.ids[1][given[j].ID]}]++
			}
			if last, ok := s.last[g.ID]; ok && last == given[j].ID && enough && !taken[j] {
				taken[j], kept = true, true
				s.result.matches++
			}
		}
		if !kept {
			rest = append(rest, *g)
		}
	}
	s.solver.Begin(len(given), 1e6) // as many as can be are matched
	for i := range rest {
		for j := range given {
			if iou := mot.IoU(rest[i].Box, given[j].Box); iou >= minOverlap && !taken[j] {
				s.solver.Add(j, -iou)
			}
		}
		s.solver.EndRow()
	}
	for i, j := range s.solver.Solve() {
		if j < 0 {
			continue
		}
		id := rest[i].ID
		if last, ok := s.last[id]; ok && last != given[j].ID {
			s.result.switches++
		}
		s.last[id] = given[j].ID
		s.result.matches++
	}
}

// close finds the assignment of identities that has the most frames in common.
func (s *scorer) close() result {
	s.solver.Begin(len(s.ids[1]), 0)
	for i := range len(s.ids[0]) {
		for j := range len(s.ids[1]) {
			if n := s.both[[2]int{i, j}]; n > 0 {
				s.solver.Add(j, -float64(n))
			}
		}
		s.solver.EndRow()
	}
	s.result.identity = 0
	for i, j := range s.solver.Solve() {
		if j >= 0 {
			s.result.identity += s.both[[2]int{i, int(j)}]
		}
	}
	return s.result
}

func (r *result) mota() float64 {
	missed, false := r.truth-r.matches, r.given-r.matches
	return 1 - float64(missed+false+r.switches)/float64(max(r.truth, 1))
}

func (r *result) idf1() float64 {
	return 2 * float64(r.identity) / float64(max(r.truth+r.given, 1))
}

func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "mot: MOTA %.1f %%, IDF1 %.1f %%, %d identity switches, %d boxes missed, %d false, of %d\n", 100*r.mota(), 100*r.idf1(), r.switches,
		r.truth-r.matches, r.given-r.matches, r.truth)
}
