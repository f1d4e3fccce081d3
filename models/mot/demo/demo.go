// Package demo makes a synthetic scene for a tracker: people who walk across a square at several distances from a camera that shakes, pass in
// front of one another and behind a pillar, stop and turn back; and what a detector with misses, noise and false alarms finds of them.
package demo

import (
	"fmt"
	"io"
	"math"

	"github.com/recur-go/recur/models/mot"
)

// Seed is that of the scene that tools/mot plays.
const Seed = 3

// The camera, in pixels and metres.
const (
	Width, Height = 1280, 720
	FPS           = 25
	Good          = 0.6 // score from which the detector's boxes are mostly right
	Frames        = 500

	focal     = 900
	horizon   = 250
	eyeLevel  = 2.2
	pillar    = 640 // its middle
	pillarW   = 80
	pillarAt  = 6.0 // its distance
	walkers   = 20
	shakeStep = 1.2
)

// walker is a person at a distance, who crosses the view.
type walker struct {
	first         int     // frame
	x             float64 // in metres from the middle of the view
	distance      float64
	speed, away   float64 // metres a frame, to the right and away from the camera
	height        float64
	stops, starts int     // frames between which it stands
	back          bool    // and turns round
	gait          float64 // phase
}

// Scene plays frame after frame. It is the same on every platform: each floating-point operation is rounded on its own.
type Scene struct {
	random  random
	frame   int
	walkers []walker
	shake   [2]float64
	seen    []sight
	truth   []mot.Track
	found   []mot.Detection
}

// sight is a walker in the picture.
type sight struct {
	id       int
	box      mot.Box
	distance float64
}

// New starts the scene.
func New(seed uint64) *Scene {
	s := &Scene{random: random(seed)}
	r := &s.random
	for i := range walkers {
		w := walker{first: i*Frames/walkers - 60 + r.upTo(40), distance: r.between(4.5, 11.5), height: r.between(1.6, 1.9), gait: r.uniform()}
		side := float64(1 - i%2*2)
		w.speed = side * r.between(0.9, 1.6) / FPS
		w.away = r.between(-0.2, 0.2) / FPS
		w.x = -side * (float64(w.distance*(Width/2+30))/focal + 0.3)
		if i%3 == 2 {
			w.stops = w.first + 60 + r.upTo(80)
			w.starts = w.stops + 20 + r.upTo(30)
			w.back = i%2 == 0
		}
		s.walkers = append(s.walkers, w)
	}
	return s
}

// Next returns the truth of the next frame, numbers from 1 of the people in it, and what the detector finds; ok is false after the last. The
// slices are valid until the next call.
func (s *Scene) Next() (truth []mot.Track, found []mot.Detection, ok bool) {
	if s.frame == Frames {
		return nil, nil, false
	}
	s.frame++
	s.shake[0] = float64(0.9*s.shake[0]) + float64(shakeStep*s.random.normal())
	s.shake[1] = float64(0.9*s.shake[1]) + float64(shakeStep*0.5*s.random.normal())
	s.seen, s.truth, s.found = s.seen[:0], s.truth[:0], s.found[:0]
	for i := range s.walkers {
		w := &s.walkers[i]
		w.walk(s.frame)
		if b := s.project(w); s.frame >= w.first && b.X > 0 && b.X < Width {
			s.seen = append(s.seen, sight{i + 1, b, w.distance})
			s.truth = append(s.truth, mot.Track{ID: i + 1, Box: b, Score: 1})
		}
	}
	for i := range s.seen {
		s.detect(i)
	}
	for s.random.uniform() < 0.2 {
		h := s.random.between(60, 260)
		x, y := s.random.between(0, Width), s.random.between(horizon, horizon+300)
		s.add(mot.Box{X: x, Y: y, W: 0.4 * h, H: h}, s.random.between(0.4, 0.8))
	}
	return s.truth, s.found, true
}

func (w *walker) walk(frame int) {
	switch {
	case frame < w.first, frame > w.stops && frame < w.starts:
		return
	case frame == w.starts && w.back:
		w.speed = -w.speed
	}
	w.x += w.speed
	w.distance = max(w.distance+w.away, 4)
	w.gait += 0.04
}

// project is the walker's box in the picture; its width swings with the steps.
func (s *Scene) project(w *walker) mot.Box {
	scale := focal / w.distance
	h := float64(w.height * scale)
	_, swing := math.Modf(w.gait)
	width := float64(h * (0.32 + float64(0.2*math.Abs(swing-0.5))))
	foot := horizon + float64(eyeLevel*scale)
	return mot.Box{X: Width/2 + float64(w.x*scale) + s.shake[0], Y: foot - half(h) + s.shake[1], W: width, H: h}
}

// visible is about the share of a walker that nobody nearer and no pillar covers.
func (s *Scene) visible(i int) float64 {
	a := &s.seen[i]
	left := 1.0
	hide := func(l, r float64) {
		overlap := min(a.box.X+half(a.box.W), r) - max(a.box.X-half(a.box.W), l)
		left = min(left, 1-max(overlap, 0)/a.box.W)
	}
	for j := range s.seen {
		if b := &s.seen[j]; b.distance < a.distance {
			hide(b.box.X-half(b.box.W), b.box.X+half(b.box.W))
		}
	}
	if a.distance > pillarAt {
		hide(pillar-pillarW/2+s.shake[0], pillar+pillarW/2+s.shake[0])
	}
	return left
}

// detect finds a walker as a detector would: what is half hidden sometimes, with less confidence and noise in proportion to its size.
func (s *Scene) detect(i int) {
	r := &s.random
	chance, visible := 0.95, s.visible(i)
	if visible < 0.6 {
		chance = max(float64(2*(visible-0.25)), 0)
	}
	luck := r.uniform()
	b := s.seen[i].box
	noise := func(share float64) float64 { return float64(float64(share*b.H) * r.normal()) }
	b.X, b.Y, b.W, b.H = b.X+noise(0.015), b.Y+noise(0.015), max(b.W+noise(0.02), 4), max(b.H+noise(0.02), 8)
	score := 0.4 + float64(0.58*visible) + float64(0.05*r.normal())
	if luck < chance {
		s.add(b, score)
	}
}

// add rounds to what the text form holds.
func (s *Scene) add(b mot.Box, score float64) {
	tenth := func(v float64) float64 { return math.RoundToEven(float64(v*10)) / 10 }
	score = math.RoundToEven(float64(min(max(score, 0.05), 0.999)*1000)) / 1000
	s.found = append(s.found, mot.Detection{Box: mot.Corner(tenth(b.Left()), tenth(b.Top()), tenth(b.W), tenth(b.H)), Score: score})
}

// WriteDetections writes what the detector finds in MOT format.
func WriteDetections(w io.Writer, seed uint64) error {
	s := New(seed)
	for {
		_, found, ok := s.Next()
		if !ok {
			return nil
		}
		for _, d := range found {
			if _, err := fmt.Fprintf(w, "%d,-1,%.1f,%.1f,%.1f,%.1f,%.3f\n", s.frame, d.Left(), d.Top(), d.W, d.H, d.Score); err != nil {
				return err
			}
		}
	}
}

func half(v float64) float64 { return float64(v / 2) }

// WriteTruth writes the true tracks in MOT format.
func WriteTruth(w io.Writer, seed uint64) error {
	s := New(seed)
	for {
		truth, _, ok := s.Next()
		if !ok {
			return nil
		}
		for _, t := range truth {
			if _, err := fmt.Fprintf(w, "%d,%d,%.3f,%.3f,%.3f,%.3f,1,-1,-1,-1\n", s.frame, t.ID, t.Left(), t.Top(), t.W, t.H); err != nil {
				return err
			}
		}
	}
}

// random is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) upTo(n int) int { return int(r.next() >> 33 % uint64(n)) }

func (r *random) uniform() float64 { return float64(float64(r.next()>>11) / (1 << 53)) }

func (r *random) between(lo, hi float64) float64 { return lo + float64((hi-lo)*r.uniform()) }

// normal is the sum of 12 uniform numbers of variance 1/12, less its mean.
func (r *random) normal() float64 {
	sum := -6.0
	for range 12 {
		sum += r.uniform()
	}
	return sum
}
