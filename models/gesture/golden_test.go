package gesture

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/recur-go/recur/runtime/format"
)

// golden is what testdata/golden.py wrote; floats are bit patterns.
type golden struct {
	Scale   float32
	Spotter []struct {
		Params map[string]string
		P      []float32
		Events [][4]uint32 // class, first row, end row, confidence
	}
	Still []float32 // 16 times the network's input
	Gates []struct {
		Params map[string]string
		Awake  []int
	}
	Unit, Clip, Alpha string
	Raw               []uint32
	Stream            []uint32
	Segment           []uint32
	// the second half of Raw, with the level that the first leaves
	SegmentAfter []uint32 `json:"segment_after"`
}

func readGolden(t *testing.T) (g golden) {
	b, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDetectorAgainstPython(t *testing.T) {
	labels := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "none"}
	g := readGolden(t)
	for i, c := range g.Spotter {
		f := &format.File{Meta: []format.Pair{{Key: "gesture.none", Value: "none"}}}
		for k, v := range c.Params {
			f.Meta = append(f.Meta, format.Pair{Key: prefix + k, Value: v})
		}
		m := newMeta(f)
		m.take("alpha")
		d := newDetector(m, labels)
		if err := m.end(); err != nil {
			t.Fatal(err)
		}
		var events []Event
		p := make([]float32, len(labels))
		for row := range len(c.P) / len(p) {
			for k := range p {
				p[k] = c.P[row*len(p)+k] / g.Scale
			}
			if e, ok := d.push(p, float64(row)); ok {
				events = append(events, e)
			}
		}
		if e, ok := d.close(); ok {
			events = append(events, e)
		}
		if len(events) != len(c.Events) {
			t.Fatalf("case %d: %d events, want %d", i, len(events), len(c.Events))
		}
		for j, w := range c.Events {
			want := Event{float64(w[1]), float64(w[2] - 1), labels[w[0]], math.Float32frombits(w[3])}
			if events[j] != want {
				t.Errorf("case %d: event %d is %v, want %v", i, j, events[j], want)
			}
		}
	}
}

func TestGateAgainstPython(t *testing.T) {
	const in = 10
	g := readGolden(t)
	for i, c := range g.Gates {
		f := &format.File{}
		for _, k := range []string{"gate", "gate_rows", "gate_alpha"} {
			f.Meta = append(f.Meta, format.Pair{Key: prefix + k, Value: c.Params[k]})
		}
		m := newMeta(f)
		gate := newGate(m, in)
		if err := m.end(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			gate.reset()
			x := make([]float32, in)
			for row, want := range c.Awake {
				for k := range x {
					x[k] = g.Still[row*in+k] / 16
				}
				if got := gate.awake(x); got != (want == 1) {
					t.Fatalf("case %d: row %d: awake %v", i, row, got)
				}
			}
		}
	}
}

func equalBits(t *testing.T, what string, got []float32, want []uint32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, v := range got {
		if math.Float32bits(v) != want[i] && !(v == 0 && want[i]<<1 == 0) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, v, math.Float32frombits(want[i]))
		}
	}
}

func TestInputAgainstPython(t *testing.T) {
	const in = 4
	g := readGolden(t)
	m := newMeta(&format.File{Meta: []format.Pair{{Key: prefix + "unit", Value: g.Unit}, {Key: prefix + "clip", Value: g.Clip},
		{Key: prefix + "alpha", Value: g.Alpha}}})
	scale, alpha := m.scale(in), m.float("alpha", 0, 1)
	if err := m.end(); err != nil {
		t.Fatal(err)
	}
	raw := make([]float32, len(g.Raw))
	for i, b := range g.Raw {
		raw[i] = math.Float32frombits(b)
	}
	c := Classifier{scale: scale, alpha: alpha, level: make([]float32, in)}
	c.findLevel(nil, raw, in)
	c.normalise(raw, len(raw)/in, in)
	equalBits(t, "segment", c.x, g.Segment)
	before, rows := raw[:len(raw)/2], raw[len(raw)/2:]
	c.findLevel(before, rows, in)
	c.normalise(rows, len(rows)/in, in)
	equalBits(t, "segment after samples", c.x, g.SegmentAfter)

	b := baseline{scale: scale, alpha: alpha, level: make([]float32, in)}
	x := make([]float32, len(raw))
	for i := 0; i < len(x); i += in {
		b.next(x[i:][:in], raw[i:][:in])
	}
	equalBits(t, "stream", x, g.Stream)
}
