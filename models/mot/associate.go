package mot

// Pair is a target and a detection that may belong together, for the fitting of Weights.
type Pair struct {
	Frame     int // from 1
	Stage     string
	Target    int // slot of the target; a slot is reused only after its target's end
	Birth     int // frame of the target's birth
	Detection int // index in the frame
	Features  []float64
}

// stage is a step of the association.
type stage struct {
	name     string
	byLast   bool // by the last observation rather than the prediction
	maxGap   int
	minIoU   float64
	minLogit float64
}

func (t *Tracker) associate() {
	c := &t.config
	first := stage{"high", false, maxFrames, c.MinIoU, c.MinLogit}
	low := stage{"low", false, c.LowMaxGap, c.LowMinIoU, c.LowMinLogit}
	recover := stage{"recover", true, c.RecoverMaxGap, c.RecoverMinIoU, 0}
	rows := t.rows[0][:0]
	tentative := t.rows[1][:0]
	for _, i := range t.live {
		if c.TentativeLast && !t.targets[i].confirmed {
			tentative = append(tentative, i)
		} else {
			rows = append(rows, i)
		}
	}
	t.rows = [2][]int{rows, tentative} // they keep their capacity
	rows, t.high = t.match(&first, rows, t.high)
	if c.Scene {
		scene := t.deviation()
		for _, i := range t.live {
			if g := &t.targets[i]; !g.seen {
				aim := g.pred
				aim.X, aim.Y = aim.X+scene[0], aim.Y+scene[1]
				g.point(aim)
			}
		}
	}
	if c.LowStage {
		rows, t.low = t.match(&low, rows, t.low)
	}
	if c.RecoverMinIoU > 0 {
		rows, t.high = t.match(&recover, rows, t.high)
	}
	if c.TentativeLast {
		_, t.high = t.match(&first, tentative, t.high)
	}
}

// match assigns detections to targets, and returns those of both that are left, in the same slices.
func (t *Tracker) match(s *stage, rows, found []int) (restRows, restFound []int) {
	if len(rows) == 0 || len(found) == 0 {
		return rows, found
	}
	logit := t.config.Cost == "logit" && !s.byLast
	miss := 0.0
	if logit {
		miss = -s.minLogit
	}
	t.solver.Begin(len(found), miss)
	for _, i := range rows {
		g := &t.targets[i]
		if g.gap <= s.maxGap {
			t.price(s, g, i, found, logit)
		}
		t.solver.EndRow()
	}
	restRows = rows[:0]
	for k, j := range t.solver.Solve() {
		g := &t.targets[rows[k]]
		if j >= 0 && (logit || t.iou(s, g, found[j]) >= s.minIoU) {
			d := &t.found[found[j]]
			g.seen, g.z, g.score = true, d.Box, d.Score
			found[j] = -1
			continue
		}
		restRows = append(restRows, rows[k])
	}
	restFound = found[:0]
	for _, j := range found {
		if j >= 0 {
			restFound = append(restFound, j)
		}
	}
	return restRows, restFound
}

// price adds the pairs of a target to the solver.
func (t *Tracker) price(s *stage, g *target, slot int, found []int, logit bool) {
	f := &t.features
	for k, j := range found {
		if !logit {
			t.solver.Add(k, -t.iou(s, g, j))
			continue
		}
		if g.pair(f, &t.found[j], t.config.MaxSigma) {
			t.solver.Add(k, -t.weights.dot(f))
			if t.observe != nil {
				t.observe(Pair{t.frame, s.name, slot, t.frame - g.age, j, f[:]})
			}
		}
	}
}

func (t *Tracker) iou(s *stage, g *target, found int) float64 {
	if s.byLast {
		return IoU(g.last, t.found[found].Box)
	}
	return IoU(g.aim, t.found[found].Box)
}
