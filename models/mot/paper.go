package mot

import (
	"errors"
	"fmt"
	"math"
)

// The network of Milan et al., Online Multi-Target Tracking Using Recurrent Neural Networks, AAAI 2017, for one target: of its state, the
// detection assigned to it, the probabilities that there is one and that there is none, and the probability that the target exists, it makes the
// state predicted, the state updated and the probability that it exists.
const (
	paperInputs  = 4 + 4 + 2 + 1
	paperOutputs = 4 + 4 + 1
)

// certainty is how probable the network is told that an assignment is: the published program mixes in as much noise.
const certainty = 0.999

// normal is a box in units of the image with its middle at zero: centre, width and height, each less one half.
type normal [4]float32

// slot is a target of the paper's tracker: they never end, but move to detections that no other claims.
type slot struct {
	id    int
	x     normal
	exist float32
	score float64
	gap   int
	found int // index of its detection in the frame, or -1
}

// streams are independent states of one network: a runtime.Batch.
type streams interface {
	Step(streams []int, xs, ys []float32) error
	Reset(i int) error
}

// paper is the tracker of the paper's published program. Where that has as many slots as the fullest frame of a video has detections, this one
// adds slots when it needs them.
type paper struct {
	config  Config
	net     streams
	assign  *assigner
	frame   int
	ignored int
	next    int
	slots   []slot
	z       []normal
	taken   []bool
	x       []normal
	streams []int
	xs, ys  []float32
	tracks  []Track
}

func newPaper(c *Config, m Models) (*paper, error) {
	if m.Motion == nil {
		return nil, errors.New("motion paper wants a model")
	}
	if in, out := m.Motion.InputWidth(), m.Motion.OutputWidth(); in != paperInputs || out != paperOutputs || !m.Motion.PerStep() {
		return nil, fmt.Errorf("the motion model takes %d values and gives %d: want %d and %d, at each step", in, out, paperInputs, paperOutputs)
	}
	if c.Width == 0 || c.Height == 0 {
		return nil, errors.New("motion paper wants the size of the image")
	}
	net, err := m.Motion.NewBatch(c.MaxTargets)
	if err != nil {
		return nil, err
	}
	assign, err := newAssigner(c, m.Assoc)
	if err != nil {
		return nil, err
	}
	return &paper{config: *c, net: net, assign: assign}, nil
}

func (p *paper) reset() { p.frame, p.next, p.ignored, p.slots = 0, 0, 0, p.slots[:0] }

func (c *Config) normal(b Box) normal {
	return normal{float32(b.X/c.Width - 0.5), float32(b.Y/c.Height - 0.5), float32(b.W/c.Width - 0.5), float32(b.H/c.Height - 0.5)}
}

func (c *Config) box(n *normal) Box {
	return Box{float64((float64(n[0]) + 0.5) * c.Width), float64((float64(n[1]) + 0.5) * c.Height),
		float64((float64(n[2]) + 0.5) * c.Width), float64((float64(n[3]) + 0.5) * c.Height)}
}

// distance is Euclidean.
func (n *normal) distance(m *normal) float64 {
	sum := 0.0
	for k, v := range n {
		d := float64(v) - float64(m[k])
		sum += float64(d * d)
	}
	return math.Sqrt(sum)
}

func (p *paper) update(found []Detection) ([]Track, error) {
	p.frame++
	p.z = p.z[:0]
	for i := range found {
		p.z = append(p.z, p.config.normal(found[i].Box))
	}
	p.taken = resize(p.taken, len(found))
	for i, d := range found {
		if p.taken[i] = p.config.stretch(d.Score) < p.config.MinScore; p.taken[i] {
			p.ignored++
		}
	}
	if err := p.match(found); err != nil {
		return nil, err
	}
	if err := p.step(); err != nil {
		return nil, err
	}
	if err := p.move(); err != nil {
		return nil, err
	}
	return p.report(), nil
}

func (p *paper) match(found []Detection) error {
	p.x = p.x[:0]
	for i := range p.slots {
		p.x = append(p.x, p.slots[i].x)
	}
	cols, err := p.assign.solve(p.x, p.z, p.taken, p.config.Paper.MissDistance)
	if err != nil {
		return err
	}
	for i := range p.slots {
		s := &p.slots[i]
		s.found = int(cols[i])
		s.gap++
		if s.found >= 0 {
			p.taken[s.found] = true
			s.score, s.gap = found[s.found].Score, 0
		}
	}
	return nil
}

func (p *paper) step() error {
	n := len(p.slots)
	p.streams, p.xs, p.ys = p.streams[:0], resize(p.xs, n*paperInputs), resize(p.ys, n*paperOutputs)
	fresh := p.config.Paper.ResetFrames > 0 && (p.frame-1)%p.config.Paper.ResetFrames == 0
	for i := range p.slots {
		if fresh {
			if err := p.net.Reset(i); err != nil {
				return err
			}
		}
		s, x := &p.slots[i], p.xs[i*paperInputs:][:paperInputs]
		z, match := s.x, float32(1-certainty)
		if s.found >= 0 {
			z, match = p.z[s.found], certainty
		}
		copy(x, s.x[:])
		copy(x[4:], z[:])
		x[8], x[9], x[10] = match, 1-match, s.exist
		p.streams = append(p.streams, i)
	}
	if err := p.net.Step(p.streams, p.xs, p.ys); err != nil {
		return err
	}
	for i := range p.slots {
		s, y := &p.slots[i], p.ys[i*paperOutputs:][:paperOutputs]
		for k := range s.x {
			s.x[k] = min(max(y[4+k], -2), 2) // a box twice the image away means nothing more than once
		}
		s.exist = min(max(y[8], 0), 1)
	}
	return nil
}

// move sends the dead to detections that no target claims, the first to the nearest, and makes targets of what is left.
func (p *paper) move() error {
	for i := range p.slots {
		s := &p.slots[i]
		if float64(s.exist) >= p.config.Paper.MinExist {
			continue
		}
		if j := p.nearest(&s.x); j >= 0 {
			s.x, p.taken[j] = p.z[j], true
			if p.config.Paper.NewIDs {
				if err := p.begin(i, j); err != nil {
					return err
				}
			}
		}
	}
	for j := range p.z {
		if !p.taken[j] && len(p.slots) < p.config.MaxTargets {
			p.slots = append(p.slots, slot{})
			if err := p.begin(len(p.slots)-1, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin makes a target of a detection.
func (p *paper) begin(i, j int) error {
	p.next++
	p.slots[i] = slot{id: p.next, x: p.z[j], exist: 0.5, found: j}
	return p.net.Reset(i)
}

// nearest is the detection without a target whose centre is nearest to that of x, or -1.
func (p *paper) nearest(x *normal) int {
	best, least := -1, math.Inf(1)
	for j := range p.z {
		dx, dy := float64(p.z[j][0])-float64(x[0]), float64(p.z[j][1])-float64(x[1])
		if d := float64(dx*dx) + float64(dy*dy); !p.taken[j] && d < least {
			best, least = j, d
		}
	}
	return best
}

func (p *paper) report() []Track {
	p.tracks = p.tracks[:0]
	for i := range p.slots {
		s := &p.slots[i]
		if b := p.config.box(&s.x); float64(s.exist) > p.config.Paper.MinExist && b.valid() {
			p.tracks = append(p.tracks, Track{s.id, b, s.score, s.gap})
		}
	}
	sortTracks(p.tracks)
	return p.tracks
}
