package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/teach"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/shared"
)

func TestExamples(t *testing.T) {
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	in := m.InputWidth()
	r := &recording{truth: []span{{"a", 10, 40}, {"b", 50, 90}, {"c", 150, 190}}, rows: 195}
	for i := range r.rows * in {
		r.samples = append(r.samples, float32(i/in))
	}
	list := r.examples(m, []string{"b", "c"}) // 3 rows of rest in a span, 10 beside it
	if len(list) != 2 {
		t.Fatalf("%d examples", len(list))
	}
	for i, want := range []struct{ first, end, lo, hi int }{{53, 87, 45, 100}, {153, 187, 140, 195}} {
		e := list[i]
		lo := int(e.Rows[0])
		if lo != want.lo || lo+len(e.Rows)/in != want.hi || lo+e.First != want.first || lo+e.End != want.end {
			t.Errorf("rows %d to %d, gesture %d to %d; want %v", lo, lo+len(e.Rows)/in, lo+e.First, lo+e.End, want)
		}
	}
}

func TestSpread(t *testing.T) {
	lessons := []lesson{{taught: tally{1, 2}}, {taught: tally{2, 2}}, {taught: tally{3, 4}}}
	if m, d := spread(lessons, columns[0].f); m != 75 || math.Abs(d-25) > 1e-9 {
		t.Errorf("%v ± %v", m, d)
	}
}

func TestOpenSplits(t *testing.T) {
	dir, data := t.TempDir(), dataset(t, segmentsHead+"1,1,1,0,3,0\n1,1,2,3,5,0\n", fiveRows)
	if _, err := openSplits(dir, data, []int{1}); err == nil || !strings.Contains(err.Error(), "holds no") {
		t.Error(err)
	}
	// A model that knows all there is cannot be taught what is left.
	b, err := os.ReadFile("../../../models/gesture/stream.recur")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x", "stream.recur"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openSplits(dir, data, []int{1}); err == nil || !strings.Contains(err.Error(), "want some of the data's") {
		t.Error(err)
	}
}

// TestTeachShipped teaches the shipped model the gestures that it knows, by other names and in place of its own: its network has seen them, so
// this measures the way and not what new gestures would give.
func TestTeachShipped(t *testing.T) {
	dir := shared.Dir(t, "data/mobrobot_gestures")
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	recordings, err := load(dir, m, []int{17})
	if err != nil {
		t.Fatal(err)
	}
	var list []teach.Example
	for _, r := range recordings {
		list = append(list, r.examples(m, m.File().Labels)...)
	}
	if len(list) != 90 {
		t.Fatalf("%d examples", len(list))
	}
	for i := range list {
		list[i].Label = "my " + list[i].Label
	}
	half, rest := list[:45], list[45:] // five recordings each
	s := &split{base: m}
	for _, l := range []string{"my G1", "my G5", "my G8"} {
		s.unknown = append(s.unknown, l)
	}
	pick := func(e teach.Example) bool { return !slices.Contains(s.unknown, e.Label) }
	file, _, err := teach.Teach(m, slices.DeleteFunc(slices.Clone(half), pick), teach.Options{Only: true})
	if err != nil {
		t.Fatal(err)
	}
	taught, err := runtime.New(file)
	if err != nil {
		t.Fatal(err)
	}
	var got tally
	for _, e := range slices.DeleteFunc(slices.Clone(rest), pick) {
		p, err := answer(taught, &e)
		if err != nil {
			t.Fatal(err)
		}
		best := 0
		for k := range s.unknown {
			if p[k] > p[best] {
				best = k
			}
		}
		got.add(taught.File().Labels[best] == e.Label)
	}
	if got.of != 15 || got.right < 12 {
		t.Errorf("%d of %d right", got.right, got.of)
	}
}
