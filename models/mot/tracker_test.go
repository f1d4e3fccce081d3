package mot

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

func newTracker(t testing.TB, override string) *Tracker {
	t.Helper()
	c := SORT()
	if override != "" {
		if err := c.Override([]byte(override)); err != nil {
			t.Fatal(err)
		}
	}
	tracker, err := New(c, Models{})
	if err != nil {
		t.Fatal(err)
	}
	return tracker
}

func at(x, y float64) Detection { return Detection{Corner(x, y, 40, 90), 0.9} }

// ids are those of the tracks of a frame, 0 where there are none at all.
func ids(t *testing.T, tracker *Tracker, found ...Detection) (ids []int) {
	t.Helper()
	tracks, err := tracker.Update(found)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tracks {
		ids = append(ids, tracks[i].ID)
	}
	return ids
}

func expect(t *testing.T, got []int, want ...int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("identities %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("identities %v, want %v", got, want)
		}
	}
}

// TestSORTLives checks birth, loss and death by the rules of SORT's published program.
func TestSORTLives(t *testing.T) {
	tracker := newTracker(t, "")
	for range 3 { // the first min_hits frames are reported at once
		expect(t, ids(t, tracker, at(100, 100)), 1)
	}
	for range 3 { // a later birth waits for min_hits matches
		expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1)
	}
	expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1, 2)
	expect(t, ids(t, tracker, at(100, 100)), 1) // unseen once
	for range 2 {
		expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1) // again in need of min_hits matches
	}
	expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1, 2)
	for range 2 { // unseen more than max_age frames
		expect(t, ids(t, tracker, at(100, 100)), 1)
	}
	for range 3 {
		expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1)
	}
	expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1, 3)
	tracker.Reset()
	expect(t, ids(t, tracker, at(500, 100)), 1)
}

const second = `{"max_age":30,"tentative_max_age":1,"min_hits":2,"early":false,"streak":false,"high_score":0.6,"birth_score":0.6,"low_stage":true,
	"low_min_iou":0.3,"replay":true,"tentative_last":true,"scene":true}`

// TestLongMemory loses a moving target for 20 frames.
func TestLongMemory(t *testing.T) {
	tracker := newTracker(t, second)
	for k := range 20 {
		tracker.Update([]Detection{at(100+4*float64(k), 100)})
	}
	for range 20 {
		expect(t, ids(t, tracker))
	}
	expect(t, ids(t, tracker, at(100+4*40, 100)), 1)
}

func TestLowScores(t *testing.T) {
	tracker := newTracker(t, second)
	weak := at(100, 100)
	weak.Score = 0.3
	for range 5 { // they make no target
		expect(t, ids(t, tracker, weak))
	}
	for range 2 {
		expect(t, ids(t, tracker, at(100, 100)))
	}
	expect(t, ids(t, tracker, at(100, 100)), 1)
	for range 5 { // but they keep one
		expect(t, ids(t, tracker, weak), 1)
	}
}

func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		override string
		want     []int
	}{{`{"max_age":30}`, nil}, {`{"max_age":30,"recover_min_iou":0.3,"recover_max_gap":10}`, []int{1}}} {
		tracker := newTracker(t, second)
		if err := tracker.config.Override([]byte(c.override)); err != nil {
			t.Fatal(err)
		}
		for k := range 10 {
			tracker.Update([]Detection{at(100+8*float64(k), 100)})
		}
		for range 9 { // it has stopped behind something
			tracker.Update(nil)
		}
		expect(t, ids(t, tracker, at(172, 100)), c.want...)
	}
}

func TestDuplicateBirths(t *testing.T) {
	for _, c := range []struct {
		override string
		want     []int
	}{{`{}`, []int{1, 2}}, {`{"birth_iou":0.5}`, []int{1}}} {
		tracker := newTracker(t, c.override)
		ids(t, tracker, at(100, 100))
		expect(t, ids(t, tracker, at(100, 100), at(104, 100)), c.want...)
	}
}

func TestOutside(t *testing.T) {
	tracker := newTracker(t, second)
	if err := tracker.config.Override([]byte(`{"width":640,"height":480,"max_outside":0.5}`)); err != nil {
		t.Fatal(err)
	}
	for k := range 10 {
		tracker.Update([]Detection{at(550+7*float64(k), 100)})
	}
	tracker.Update(nil)
	tracker.Update(nil)
	if n := len(tracker.live); n != 0 {
		t.Errorf("%d targets, want none outside of the image", n)
	}
}

// steady is a filter that leaves targets where they were seen, and finds all of them as probable.
type steady struct{ exist float64 }

func (f *steady) predict(ts []target, slots []int) {
	for _, i := range slots {
		ts[i].pred, ts[i].sigma = ts[i].held, shift{1, 1, 1, 1}
	}
}

func (f *steady) replay([]target, []int) error { return nil }

func (f *steady) update(ts []target, slots []int, _ *surroundings) error {
	for _, i := range slots {
		if ts[i].exist = f.exist; ts[i].seen {
			ts[i].held = ts[i].z
		}
	}
	return nil
}

func (f *steady) save(int) error { return nil }

// TestLives plays what becomes of a target under each setting of births, deaths and reports. A frame is the existence that the filter finds, and
// where objects are.
func TestLives(t *testing.T) {
	type frame struct {
		exist float64
		x     []float64
		want  []int
	}
	at0, at1 := []float64{0}, []int{1}
	for _, c := range []struct {
		name, override string
		frames         []frame
	}{
		{"confirmed from an existence on", `{"birth_min_exist":0.5}`, []frame{{0.4, at0, nil}, {0.5, at0, at1}, {0.4, at0, at1}}},
		{"kept from an existence on", `{"keep_min_exist":0.5}`, []frame{{0.6, at0, at1}, {0.4, at0, nil}, {0.5, at0, at1}}},
		{"reported while unseen", `{"max_age":5,"report_gap":2}`, []frame{{1, at0, at1}, {1, nil, at1}, {1, nil, at1}, {1, nil, nil}, {1, at0, at1}}},
		{"if it exists", `{"max_age":5,"report_gap":5,"report_min_exist":0.5}`, []frame{{0.4, at0, at1}, {0.5, nil, at1}, {0.4, nil, nil}, {0.4, at0, at1}}},
		{"ends with its existence", `{"max_age":5,"min_exist":0.5}`, []frame{{0.4, at0, at1}, {0.5, nil, nil}, {1, at0, at1}, {0.4, nil, nil}, {1, at0, []int{2}}}},
		{"unconfirmed, ends sooner", `{"max_age":5,"tentative_max_age":1,"min_hits":1}`,
			[]frame{{1, at0, nil}, {1, nil, nil}, {1, at0, at1}, {1, nil, nil}, {1, nil, nil}, {1, at0, at1}, {1, []float64{0, 300}, at1}, {1, at0, at1}, {1, at0, at1},
				{1, []float64{0, 300}, at1}, {1, []float64{0, 300}, []int{1, 2}}}},
		{"outside, ends later", `{"max_age":9,"width":640,"height":480,"max_outside":0.5,"outside_max_age":2}`,
			[]frame{{1, []float64{630}, at1}, {1, nil, nil}, {1, nil, nil}, {1, []float64{630}, at1}, {1, nil, nil}, {1, nil, nil}, {1, nil, nil}, {1, []float64{630}, []int{2}}}},
		{"of two in one place, the longer seen stays", `{"max_age":9,"duplicate_iou":0.5}`,
			[]frame{{1, []float64{0}, at1}, {1, []float64{0, 100}, []int{1, 2}}, {1, []float64{0, 80}, []int{1, 2}}, {1, []float64{0, 60}, []int{1, 2}}, {1, []float64{0, 40}, []int{1, 2}},
				{1, []float64{0, 20}, []int{1, 2}}, {1, []float64{0, 5}, []int{1}}}},
		{"the longer seen, not the older", `{"max_age":9,"min_iou":0.2,"duplicate_iou":0.5}`,
			[]frame{{1, []float64{0, 20}, []int{1, 2}}, {1, []float64{20}, []int{2}}, {1, []float64{20}, []int{2}}, {1, []float64{12}, []int{2}}, {1, []float64{0}, []int{2}}}},
		{"births from a score on", `{"birth_score":0.91}`, []frame{{1, at0, nil}, {1, at0, nil}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tracker := newTracker(t, `{"min_hits":0,"streak":false,"early":false}`)
			if err := tracker.config.Override([]byte(c.override)); err != nil {
				t.Fatal(err)
			}
			filter := &steady{}
			tracker.filter = filter
			for _, f := range c.frames {
				filter.exist = f.exist
				var found []Detection
				for _, x := range f.x {
					found = append(found, at(x, 100))
				}
				expect(t, ids(t, tracker, found...), f.want...)
			}
		})
	}
}

// TestScene moves the camera under three people, of whom the detector is sure of two, who tell how it moved, or of one, who does not.
func TestScene(t *testing.T) {
	for _, seen := range [][]float64{{0, 200}, {0}} {
		tracker := newTracker(t, `{"min_hits":0,"streak":false,"early":false,"max_age":9,"scene":true,"low_stage":true,"low_min_iou":0.9,"low_max_gap":9,"high_score":0.5}`)
		tracker.filter = &steady{1}
		ids(t, tracker, at(0, 100), at(200, 100), at(400, 100))
		var found []Detection
		for _, x := range seen {
			found = append(found, at(x+10, 100))
		}
		weak := at(410, 100)
		weak.Score = 0.3
		if _, err := tracker.Update(append(found, weak)); err != nil {
			t.Fatal(err)
		}
		if g := &tracker.targets[tracker.live[2]]; g.seen != (len(seen) == 2) {
			t.Errorf("%d seen: the hidden one was found: %v", len(seen), g.seen)
		}
	}
}

func TestLimits(t *testing.T) {
	tracker := newTracker(t, `{"max_targets":3}`)
	expect(t, ids(t, tracker, at(0, 0), at(100, 0), at(200, 0), at(300, 0)), 1, 2, 3)
	if _, err := tracker.Update(make([]Detection, MaxDetections+1)); err == nil || !strings.Contains(err.Error(), "limit is 4096") {
		t.Errorf("%v", err)
	}
	for _, bad := range []Detection{
		{Box{math.NaN(), 0, 1, 1}, 1}, {Box{0, math.Inf(1), 1, 1}, 1}, {Box{0, 0, 0, 1}, 1}, {Box{0, 0, 1, -1}, 1}, {Box{0, 0, 1, math.NaN()}, 1},
		{Box{1e30, 0, 1, 1}, 1}, {Box{0, 0, 1, 1}, math.NaN()}, {Box{0, 0, 1, 1}, math.Inf(-1)},
	} {
		_, err := tracker.Update([]Detection{at(0, 0), bad})
		var e *DetectionError
		if !errors.As(err, &e) || e.Index != 1 {
			t.Errorf("%v: %v", bad, err)
		}
	}
	expect(t, ids(t, tracker, at(0, 0), at(100, 0), at(200, 0)), 1, 2, 3)
}

func TestOverride(t *testing.T) {
	c := SORT()
	for _, bad := range []string{``, `[]`, `{"max_agee":3}`, `{"max_age":-1}`, `{"min_iou":1.5}`, `{"max_targets":0}`, `{"max_targets":5000}`, `{"motion":"x"}`,
		`{"weights":{"iou":1e30}}`, `{"max_age":1}{}`, `{"width":-1}`, `{"paper":{"miss_distance":-1}}`} {
		if err := c.Override([]byte(bad)); err == nil {
			t.Errorf("%s passed", bad)
		}
	}
	if c != SORT() {
		t.Errorf("a bad override changed %v", c)
	}
	if err := c.Override([]byte(`{"weights":{"height":-3},"max_age":7}`)); err != nil || c.Weights.Height != -3 || c.MaxAge != 7 || c.Weights.IoU != defaultWeights.IoU {
		t.Errorf("%v: %v", err, c)
	}
	again := SORT()
	if err := again.Override([]byte(c.String())); err != nil || again != c {
		t.Errorf("%v: %v, want %v", err, again, c)
	}
}

func TestUpdateAllocatesNothing(t *testing.T) {
	filter, err := Filter()
	if err != nil {
		t.Fatal(err)
	}
	learnt, err := ConfigOf(filter)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, override string
		config         Config
		motion         *runtime.Model
	}{
		{"SORT", `{}`, SORT(), nil},
		{"all stages", second, SORT(), nil},
		{"logit", `{"cost":"logit","replay":true,"max_age":30}`, SORT(), nil},
		{"learnt", `{"replay":true}`, learnt, filter},
		{"association net", `{"assoc":"lstm"}`, learnt, filter},
		{"paper", `{}`, Paper(), randomPaper(t)},
		{"paper, association net", `{"assoc":"lstm"}`, Paper(), randomPaper(t)},
	} {
		c.config.Width, c.config.Height = 1920, 1080
		if err := c.config.Override([]byte(c.override)); err != nil {
			t.Fatal(err)
		}
		tracker, err := New(c.config, Models{Motion: c.motion, Assoc: nearestNet(t, 8, 0.1)})
		if err != nil {
			t.Fatal(err)
		}
		frame := 0
		found := make([]Detection, 0, 20)
		step := func() {
			if _, err := tracker.Update(crowd(frame, found)); err != nil {
				t.Fatal(err)
			}
			frame++
		}
		for range 100 {
			step()
		}
		if n := testing.AllocsPerRun(200, step); n != 0 {
			t.Errorf("%s: %v allocations a frame", c.name, n)
		}
	}
}

func TestStretch(t *testing.T) {
	c := Config{HighScore: 0.9, MinScore: 0.5, GoodScore: 0.4}
	for _, p := range [][2]float64{{0, 0}, {0.2, 0.45}, {0.4, 0.9}, {0.7, 0.95}, {1, 1}} {
		if got := c.stretch(p[0]); math.Abs(got-p[1]) > 1e-12 {
			t.Errorf("%v becomes %v, want %v", p[0], got, p[1])
		}
	}
	for _, c := range []Config{{}, {HighScore: 0.9}, {GoodScore: 0.4}, {HighScore: 0.9, GoodScore: 1}, {HighScore: 7, GoodScore: 0.4}} {
		if got := c.stretch(0.3); got != 0.3 {
			t.Errorf("%v: 0.3 becomes %v", c, got)
		}
	}
}

// TestHostile feeds boxes of every size and place, in crowds and alone, with settings that keep what they can.
func TestHostile(t *testing.T) {
	net, wild := randomFilter(t, 12, format.W8A16, 0.05), randomFilter(t, 12, format.F32, 1e17)
	paper := randomPaper(t)
	for _, override := range []string{``, second, `{"cost":"logit","replay":true,"max_age":40,"max_sigma":9}`, `{"motion":"gru","cost":"logit","max_sigma":9,"replay":true,"max_age":40,"scene":true}`,
		`{"motion":"gru","replay":true,"assoc":"lstm","max_age":20}`,
		`{"motion":"gru","cost":"logit","max_sigma":9,"replay":true,"max_age":41}`, `{"motion":"paper"}`, `{"motion":"paper","assoc":"lstm","paper":{"new_ids":true}}`} {
		c := SORT()
		c.MaxTargets, c.Width, c.Height = 50, 640, 480
		if override != "" {
			if err := c.Override([]byte(override)); err != nil {
				t.Fatal(err)
			}
		}
		m := Models{Motion: net, Assoc: nearestNet(t, 4, 0.1)}
		switch {
		case c.Motion == "paper":
			m.Motion = paper
		case c.MaxAge == 41:
			m.Motion = wild
		}
		tracker, err := New(c, m)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(41, 42))
		for frame := range 300 {
			var found []Detection
			for range r.IntN(1 + frame%70) {
				any := func() float64 { return math.Ldexp(r.Float64()+0.01, r.IntN(34)-9) }
				b := Box{any() - any(), any() - any(), min(max(any(), minSize), maxPixel), min(max(any(), minSize), maxPixel)}
				if frame%5 > 1 {
					b = Box{100 + r.Float64()*300, 100 + r.Float64()*200, 20 + r.Float64()*5, 40 + r.Float64()*5}
				}
				if b.X, b.Y = min(max(b.X, -maxPixel), maxPixel), min(max(b.Y, -maxPixel), maxPixel); frame%9 != 3 {
					found = append(found, Detection{b, r.NormFloat64()})
				}
			}
			tracks, err := tracker.Update(found)
			if err != nil {
				t.Fatalf("%s: frame %d: %v", override, frame, err)
			}
			for i := range tracks {
				if b := &tracks[i]; !b.valid() || i > 0 && b.ID <= tracks[i-1].ID || b.ID < 1 || len(tracks) > c.MaxTargets {
					t.Fatalf("%s: frame %d: %v", override, frame, tracks)
				}
			}
		}
	}
}

// TestOnline plays a scene to its end, and once more only to a frame in the middle: what was said of the frames up to there must not differ.
func TestOnline(t *testing.T) {
	play := func(frames int) (said []Track) {
		tracker, err := NewDefault(1920, 1080)
		if err != nil {
			t.Fatal(err)
		}
		for frame := range frames {
			tracks, err := tracker.Update(crowd(frame, nil))
			if err != nil {
				t.Fatal(err)
			}
			said = append(said, tracks...)
		}
		return said
	}
	all, some := play(200), play(101)
	if len(some) < 1000 || len(all) <= len(some) {
		t.Fatalf("%d boxes, %d in half of the time", len(all), len(some))
	}
	for i := range some {
		if some[i] != all[i] {
			t.Fatalf("box %d: %v, with more frames to come %v", i, some[i], all[i])
		}
	}
}
