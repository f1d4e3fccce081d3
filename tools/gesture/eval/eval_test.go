package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/shared"
)

// Targets for the subjects that the shipped models have not seen.
const (
	segmentTarget = 95.7 // % of cut gestures
	streamTarget  = 90   // % of gestures found in order and with the right label
	falseTarget   = 3    // % of false events
)

func testRecordings(t *testing.T, m *runtime.Model) []*recording {
	recordings, err := load(shared.Dir(t, "data/mobrobot_gestures"), m, []int{15, 16, 17, 18, 19, 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(recordings) != 60 {
		t.Fatalf("%d recordings, want 60", len(recordings))
	}
	return recordings
}

func TestSegments(t *testing.T) {
	m, err := gesture.BLSTM()
	if err != nil {
		t.Fatal(err)
	}
	ds, err := classify(m, testRecordings(t, m))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d right, %.2f %%", right(ds), len(ds), percent(ds))
	if len(ds) != 540 || percent(ds) < segmentTarget {
		t.Errorf("%d gestures, %.2f %% right, want 540 and %v %%", len(ds), percent(ds), segmentTarget)
	}
}

// TestStream finds the gestures in whole recordings. Every recording holds the nine gestures in the same order, which nothing here
// may use: the spotter starts anew with each, and match knows no order of labels.
func TestStream(t *testing.T) {
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	recordings := testRecordings(t, m)
	events, err := spot(m, recordings)
	if err != nil {
		t.Fatal(err)
	}
	all := total(events, recordings)
	t.Logf("%+v: %.2f %% right, %.2f %% false", all, all.percent(all.right), all.percent(all.extra))
	if all.gestures != 540 || all.percent(all.right) < streamTarget || all.percent(all.extra) > falseTarget {
		t.Errorf("want 540 gestures, %v %% right and at most %v %% false", streamTarget, falseTarget)
	}
}

// TestRecord cuts the recordings as gesture record does.
func TestRecord(t *testing.T) {
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cut(m, testRecordings(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if c.gestures != 540 || c.right < 500 || c.extra > 25 || c.refused > 15 {
		t.Errorf("%+v", c)
	}
}

func TestMatch(t *testing.T) {
	truth := []span{{"a", 10, 20}, {"b", 30, 50}, {"c", 60, 70}}
	for _, c := range []struct {
		name   string
		events []span
		want   score
	}{
		{"all", []span{{"a", 10, 20}, {"b", 30, 50}, {"c", 60, 70}}, score{3, 3, 0, 0, 0}},
		{"none", nil, score{3, 0, 0, 3, 0}},
		{"other label", []span{{"x", 10, 20}}, score{3, 0, 1, 2, 0}},
		{"half of the event", []span{{"a", 16, 22}}, score{3, 1, 0, 2, 0}},
		{"less than half", []span{{"a", 17, 25}}, score{3, 0, 0, 3, 1}},
		{"long, around the gesture", []span{{"a", 0, 28}}, score{3, 1, 0, 2, 0}},
		{"in the rest", []span{{"a", 21, 29}}, score{3, 0, 0, 3, 1}},
		{"twice on one gesture", []span{{"b", 30, 40}, {"b", 41, 50}}, score{3, 1, 0, 2, 1}},
		{"over two gestures, then the second", []span{{"a", 5, 55}, {"b", 30, 50}}, score{3, 2, 0, 1, 0}},
		{"out of order", []span{{"c", 60, 70}, {"a", 10, 20}}, score{3, 1, 0, 2, 1}},
	} {
		if got := match(c.events, truth); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestF1(t *testing.T) {
	s := score{gestures: 10, right: 6, wrong: 2, missed: 2, extra: 1}
	if f := s.f1(); math.Abs(f-100*2*6/19.0) > 1e-9 { // 9 events, 10 gestures
		t.Errorf("F1 %v", f)
	}
}

func TestShuffle(t *testing.T) {
	r := &recording{rows: 90, truth: []span{{"a", 10, 20}, {"b", 30, 50}, {"c", 60, 80}}}
	for t := range r.rows {
		r.samples = append(r.samples, float32(t), 7)
	}
	changed := false
	for range 20 { // each is drawn anew
		for _, m := range shuffle([]*recording{r, r, r}, 2) {
			if m.rows != r.rows || len(m.samples) != len(r.samples) || len(m.truth) != 3 {
				t.Fatalf("%d rows, %v", m.rows, m.truth)
			}
			for i, g := range m.truth {
				k := slices.IndexFunc(r.truth, func(s span) bool { return s.label == g.label })
				changed = changed || k != i
				for row := range r.truth[k].end - r.truth[k].first {
					if got, want := m.samples[2*(g.first+row)], r.samples[2*(r.truth[k].first+row)]; got != want || m.samples[2*(g.first+row)+1] != 7 {
						t.Fatalf("%s, row %d: %v, want %v", g.label, row, got, want)
					}
				}
			}
			for i := 2; i < len(m.samples); i += 2 {
				if d := m.samples[i] - m.samples[i-2]; math.Abs(float64(d)) > 15 {
					t.Errorf("a jump of %v before row %d", d, i/2)
				}
			}
		}
	}
	if !changed {
		t.Error("the order is what it was")
	}
}

func TestParseSubjects(t *testing.T) {
	got, err := parseSubjects("3,7-9")
	if err != nil || len(got) != 4 || got[0] != 3 || got[3] != 9 {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "x", "3-", "-3", "9-7", "0", "1-99999"} {
		if _, err := parseSubjects(s); err == nil {
			t.Errorf("%q passed", s)
		}
	}
}

// dataset writes a small data set: one recording, a movement and a rest.
func dataset(t *testing.T, segments, csv string) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "orig"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"segments.csv": segments, "orig/subject1_measurement1.csv": csv} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	segmentsHead = "subject,measurement,gesture,first_row,end_row,score\n"
	aRow         = "1,2,3,4,5,6,7,8,9,10,"
	fiveRows     = aRow + "1\n" + aRow + "2\n" + aRow + "3\n" + aRow + "4\n" + aRow + "5\n"
)

func TestRun(t *testing.T) {
	const head, csv = segmentsHead, fiveRows
	for _, c := range []struct{ segments, csv, subjects, err string }{
		{head + "1,1,3,0,5,0\n", csv, "1", ""},
		{head + "1,1,3,0,6,0\n", csv, "1", "orig/subject1_measurement1.csv: segments.csv has G3 in rows 0 to 6, the file has 5"},
		{head + "1,1,3,0\n", csv, "1", "segments.csv: line 2 has 4 fields"},
		{head + "1,1,3,0,x,0\n", csv, "1", "segments.csv: line 2: "},
		{head + "1,1,3,0,5,0\n", "1,2\n", "1", "orig/subject1_measurement1.csv: line 1, column 3 (aWz): missing"},
		{head + "1,1,3,0,5,0\n", csv, "2", "no recordings of subjects [2]"},
		{head + "1,1,3,0,5,0\n", csv, "x", `subjects "x"`},
	} {
		var out bytes.Buffer
		err := run(&out, dataset(t, c.segments, c.csv), c.subjects, "", "../../../models/gesture")
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("error %v, want %q", err, c.err)
		case c.err == "":
			for _, want := range []string{"segments: ", "0 of 1 decisions differ", "0 of 1 recordings differ", "stream: 1 recordings", "all ", "random order ", "record: 0 of 1 "} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		}
	}
}
