// Package mot follows many objects from frame to frame: it takes the boxes that a detector found in each frame of a video, and gives every object
// an identity. docs/mot.md explains the method.
//
// A Tracker works frame by frame: what it reports of a frame depends on that frame and those before only.
package mot

import (
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/models/internal/elementary"
	"github.com/recur-go/recur/runtime"
)

// Detection is a box that a detector found.
type Detection struct {
	Box
	Score float64 // the detector's confidence
}

// Track is an object in a frame.
type Track struct {
	ID int // from 1
	Box
	Score float64 // of the detection it was last seen by
	Gap   int     // frames since then; 0: it was seen in this frame
}

// DetectionError is a detection that cannot be used.
type DetectionError struct {
	Index  int // in the frame, from 0
	Reason string
}

func (e *DetectionError) Error() string { return fmt.Sprintf("detection %d: %s", e.Index, e.Reason) }

// Tracker belongs to one goroutine.
type Tracker struct {
	config  Config
	weights features
	paper   *paper // it does everything, where it is there
	filter  motion
	assign  *assigner

	frame   int
	next    int // identity
	ignored int // detections
	targets []target
	free    []int // slots of targets
	live    []int // slots in order of birth

	found     []candidate
	high, low []int // detections that no target has got
	rows      [2][]int
	lost      []int
	solver    Solver
	features  features
	x, z      []normal
	claimed   []bool
	common    surroundings
	xs, ys    []float64
	tracks    []Track
	pairs     func(*Pair)
}

// Models are the networks that a configuration may want; others may be nil.
type Models struct {
	Motion *runtime.Model // for motion gru or paper
	Assoc  *runtime.Model // for association lstm
}

// New makes a tracker.
func New(c Config, m Models) (t *Tracker, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Motion == "paper" {
		p, err := newPaper(&c, m)
		if err != nil {
			return nil, err
		}
		return &Tracker{config: c, paper: p}, nil
	}
	t = &Tracker{config: c, weights: c.Weights.vector(), targets: make([]target, c.MaxTargets)}
	switch c.Motion {
	case "kalman":
		t.filter = newKalman(c.MaxTargets)
	case "gru":
		t.filter, err = newLearnt(m.Motion, &c)
	}
	if err == nil {
		t.assign, err = newAssigner(&c, m.Assoc)
	}
	if err != nil {
		return nil, err
	}
	t.Reset()
	return t, nil
}

// Reset forgets all targets, and identities begin at 1.
func (t *Tracker) Reset() {
	if t.paper != nil {
		t.paper.reset()
		return
	}
	t.frame, t.next, t.ignored = 0, 0, 0
	t.live, t.free = t.live[:0], t.free[:0]
	for i := range t.targets {
		t.free = append(t.free, len(t.targets)-1-i)
	}
}

// Targets is how many objects are held, those that are lost or not confirmed too.
func (t *Tracker) Targets() int {
	if t.paper != nil {
		return len(t.paper.slots)
	}
	return len(t.live)
}

// Ignored is how many detections had too low a score to be looked at, since the beginning or the last Reset.
func (t *Tracker) Ignored() int {
	if t.paper != nil {
		return t.paper.ignored
	}
	return t.ignored
}

func (t *Tracker) check(found []Detection) error {
	if len(found) > MaxDetections {
		return fmt.Errorf("%d detections in a frame: the limit is %d", len(found), MaxDetections)
	}
	for i := range found {
		if d := &found[i]; !d.valid() {
			return &DetectionError{i, fmt.Sprintf("a box at %v, %v of %v by %v pixels: want sizes of %v or more, and numbers within ±%d", d.X, d.Y, d.W, d.H, minSize, maxPixel)}
		} else if !(math.Abs(d.Score) <= math.MaxFloat32) {
			return &DetectionError{i, fmt.Sprintf("score %v", d.Score)}
		}
	}
	return nil
}

// Update takes the detections of the next frame and returns the objects in it, by identity. The slice is valid until the next Update. On an error
// that comes from the detections the tracker is unchanged. Update allocates errors only, once its scratch has grown to the frames' size.
func (t *Tracker) Update(found []Detection) ([]Track, error) {
	if err := t.check(found); err != nil {
		return nil, err
	}
	if t.paper != nil {
		return t.paper.update(found)
	}
	t.frame++
	t.begin(found)
	if err := t.associate(); err != nil {
		return nil, err
	}
	t.common = t.around()
	t.bear()
	if err := t.move(); err != nil {
		return nil, err
	}
	t.age()
	t.bury()
	return t.report(), nil
}

// begin predicts the targets and takes in the frame.
func (t *Tracker) begin(found []Detection) {
	t.filter.predict(t.targets, t.live)
	t.bury()
	for _, i := range t.live {
		g := &t.targets[i]
		g.born, g.seen = false, false
		g.point(g.pred)
		g.logSigma = elementary.Log(g.sigma[0]) + elementary.Log(g.sigma[1])
	}
	t.found, t.high, t.low = t.found[:0], t.high[:0], t.low[:0]
	for j := range found {
		d := &found[j]
		score := t.config.stretch(d.Score)
		t.found = append(t.found, candidate{d.Box, score, d.Score, elementary.Log(d.W), elementary.Log(d.H)})
		switch {
		case score < t.config.MinScore:
			t.ignored++
		case score < t.config.HighScore:
			t.low = append(t.low, j)
			if !t.config.LowStage {
				t.ignored++
			}
		default:
			t.high = append(t.high, j)
		}
	}
}

// point says where the target is looked for.
func (t *target) point(aim Box) {
	t.aim, t.logW, t.logH = aim, elementary.Log(aim.W), elementary.Log(aim.H)
}

// around looks at the targets matched so far.
func (t *Tracker) around() (s surroundings) {
	const least = 2
	t.xs, t.ys = t.xs[:0], t.ys[:0]
	for _, i := range t.live {
		if g := &t.targets[i]; g.seen {
			t.xs, t.ys = append(t.xs, g.z.X-g.pred.X), append(t.ys, g.z.Y-g.pred.Y)
		}
	}
	s.matched = len(t.xs)
	if s.matched >= least {
		s.scene = [2]float64{median(t.xs), median(t.ys)}
	}
	return s
}

func median(x []float64) float64 {
	slices.Sort(x)
	n := len(x)
	return (x[n/2] + x[(n-1)/2]) / 2
}

// bear makes targets of the detections that none has got.
func (t *Tracker) bear() {
	old := len(t.live)
	for _, j := range t.high {
		d := &t.found[j]
		if d.score < t.config.BirthScore || len(t.free) == 0 || t.taken(d.Box, t.live[:old]) {
			continue
		}
		i := t.free[len(t.free)-1]
		t.free = t.free[:len(t.free)-1]
		t.live = append(t.live, i)
		t.targets[i] = target{born: true, seen: true, z: d.Box, score: d.score, said: d.said, last: d.Box, pred: d.Box, held: d.Box, found: j}
	}
}

// taken reports whether a box is on top of a target that was seen.
func (t *Tracker) taken(b Box, slots []int) bool {
	if t.config.BirthIoU == 1 {
		return false
	}
	for _, i := range slots {
		if g := &t.targets[i]; g.seen && IoU(g.z, b) > t.config.BirthIoU {
			return true
		}
	}
	return false
}

// move runs the filter.
func (t *Tracker) move() error {
	if t.config.Replay {
		t.lost = t.lost[:0]
		for _, i := range t.live {
			if g := &t.targets[i]; g.seen && g.gap > 0 {
				t.lost = append(t.lost, i)
			}
		}
		if err := t.filter.replay(t.targets, t.lost); err != nil {
			return err
		}
		for _, i := range t.lost {
			t.targets[i].gap = 0
		}
	}
	if err := t.filter.update(t.targets, t.live, &t.common); err != nil {
		return err
	}
	for _, i := range t.live {
		g := &t.targets[i]
		if !g.seen || !t.config.Replay {
			continue
		}
		if err := t.filter.save(i); err != nil {
			return err
		}
	}
	return nil
}

// age counts, confirms and ends targets.
func (t *Tracker) age() {
	c := &t.config
	for _, i := range t.live {
		g := &t.targets[i]
		g.age++
		switch {
		case g.born:
			g.see()
		case g.seen:
			g.hits++
			g.see()
		default:
			g.gap++
			if c.Streak {
				g.hits = 0
			}
		}
		enough := (g.hits >= c.MinHits || c.Early && t.frame <= c.MinHits) && g.exist >= c.BirthMinExist
		g.confirmed = enough || g.confirmed && !c.Streak
		g.dead = g.dead || g.gap > 0 && t.ends(g)
	}
	if c.DuplicateIoU < 1 {
		t.endDuplicates()
	}
}

// ends reports whether an unseen target is given up.
func (t *Tracker) ends(g *target) bool {
	c := &t.config
	most := c.MaxAge
	if !g.confirmed && !c.Streak {
		most = c.TentativeMaxAge
	}
	return g.gap > most || g.exist < c.MinExist ||
		c.Width > 0 && c.Height > 0 && g.gap > c.OutsideMaxAge && g.held.outside(c.Width, c.Height) > c.MaxOutside
}

func (t *Tracker) endDuplicates() {
	for k, i := range t.live {
		a := &t.targets[i]
		for _, j := range t.live[:k] {
			b := &t.targets[j]
			if a.dead || b.dead || IoU(a.held, b.held) <= t.config.DuplicateIoU {
				continue
			}
			if a.age-a.gap > b.age-b.gap {
				b.dead = true
			} else {
				a.dead = true
			}
		}
	}
}

// bury frees the slots of dead targets.
func (t *Tracker) bury() {
	live := t.live[:0]
	for _, i := range t.live {
		if t.targets[i].dead {
			t.free = append(t.free, i)
		} else {
			live = append(live, i)
		}
	}
	t.live = live
}

func (t *Tracker) report() []Track {
	c := &t.config
	t.tracks = t.tracks[:0]
	for _, i := range t.live {
		g := &t.targets[i]
		least := c.KeepMinExist
		if g.gap > 0 {
			least = c.ReportMinExist
		}
		if !g.confirmed || g.gap > c.ReportGap || g.exist < least {
			continue
		}
		if g.id == 0 {
			t.next++
			g.id = t.next
		}
		box := g.held
		if c.ReportDetection && g.seen {
			box = g.z
		}
		t.tracks = append(t.tracks, Track{g.id, box, g.said, g.gap})
	}
	sortTracks(t.tracks)
	return t.tracks
}

func sortTracks(t []Track) {
	slices.SortFunc(t, func(a, b Track) int { return a.ID - b.ID })
}
