package mot

// Pair is a target and a detection that may belong together, for the fitting of Weights.
type Pair struct {
	Frame         int // from 1
	Stage         string
	Detection     int // index in the frame
	LastFrame     int // that the target was seen in
	LastDetection int // and its detection there
	Features      []float64
}

// SetPairs makes f see every pair that has a cost by Weights. The pair is valid during the call only. A nil f ends it.
func (t *Tracker) SetPairs(f func(*Pair)) { t.pairs = f }

// stage is a step of the association.
type stage struct {
	name     string
	byLast   bool // by the last observation rather than the prediction
	maxGap   int
	minIoU   float64
	minLogit float64
}

// associate gives detections to targets, stage after stage.
func (t *Tracker) associate() (err error) {
	c := &t.config
	first := stage{"high", false, maxFrames, c.MinIoU, c.MinLogit}
	low := stage{"low", false, c.LowMaxGap, c.LowMinIoU, c.LowMinLogit}
	byLast := stage{"recover", true, c.RecoverMaxGap, c.RecoverMinIoU, 0}
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
	if rows, t.high, err = t.match(&first, rows, t.high); err != nil {
		return err
	}
	if c.Scene {
		t.follow()
	}
	if c.LowStage {
		if rows, t.low, err = t.match(&low, rows, t.low); err != nil {
			return err
		}
	}
	if c.RecoverMinIoU > 0 {
		if rows, t.high, err = t.match(&byLast, rows, t.high); err != nil {
			return err
		}
	}
	if c.TentativeLast {
		_, t.high, err = t.match(&first, tentative, t.high)
	}
	return err
}

// follow moves what unmatched targets are looked for by with the scene.
func (t *Tracker) follow() {
	scene := t.around().scene
	for _, i := range t.live {
		if g := &t.targets[i]; !g.seen {
			aim := g.pred
			aim.X, aim.Y = aim.X+scene[0], aim.Y+scene[1]
			g.point(aim)
		}
	}
}

// match assigns detections to targets, and returns those of both that are left, in the same slices.
func (t *Tracker) match(s *stage, rows, found []int) (restRows, restFound []int, err error) {
	if len(rows) == 0 || len(found) == 0 {
		return rows, found, nil
	}
	byLogit := t.config.Cost == "logit" && !s.byLast
	var cols []int32
	if t.assign.net != nil && s.name == "high" {
		cols, err = t.ask(rows, found)
		byLogit = false
	} else {
		cols = t.solve(s, rows, found, byLogit)
	}
	if err != nil {
		return nil, nil, err
	}
	restRows = rows[:0]
	for k, j := range cols {
		g := &t.targets[rows[k]]
		if j >= 0 && (byLogit || t.iou(s, g, found[j]) >= s.minIoU) {
			d := &t.found[found[j]]
			g.seen, g.z, g.score, g.said, g.found = true, d.Box, d.score, d.said, found[j]
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
	return restRows, restFound, nil
}

// solve assigns at the least sum of prices.
func (t *Tracker) solve(s *stage, rows, found []int, byLogit bool) []int32 {
	miss := 0.0
	if byLogit {
		miss = -s.minLogit
	}
	t.solver.Begin(len(found), miss)
	for _, i := range rows {
		g := &t.targets[i]
		if g.gap <= s.maxGap {
			t.price(s, g, found, byLogit)
		}
		t.solver.EndRow()
	}
	return t.solver.Solve()
}

// ask has the association network assign.
func (t *Tracker) ask(rows, found []int) ([]int32, error) {
	t.x, t.z, t.claimed = t.x[:0], t.z[:0], t.claimed[:0]
	for _, i := range rows {
		t.x = append(t.x, t.config.normal(t.targets[i].aim))
	}
	for _, j := range found {
		t.z, t.claimed = append(t.z, t.config.normal(t.found[j].Box)), append(t.claimed, false)
	}
	return t.assign.solve(t.x, t.z, t.claimed, 0)
}

// price adds the pairs of a target to the solver.
func (t *Tracker) price(s *stage, g *target, found []int, byLogit bool) {
	f := &t.features
	for k, j := range found {
		if !byLogit {
			t.solver.Add(k, -t.iou(s, g, j))
			continue
		}
		if g.pair(f, &t.found[j], t.config.MaxSigma) {
			t.solver.Add(k, -t.weights.dot(f))
			if t.pairs != nil {
				t.pairs(&Pair{t.frame, s.name, j, t.frame - 1 - g.gap, g.found, f[:]})
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
