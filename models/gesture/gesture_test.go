package gesture

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/gesture/demo"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

func newSpotter(t testing.TB) *Spotter {
	t.Helper()
	m, err := Stream()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSpotter(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newClassifier(t testing.TB) *Classifier {
	t.Helper()
	m, err := BLSTM()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClassifier(m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const width = 3 // channels of the embedded models

// recorded returns the demo recording, row after row, and its times.
func recorded() (samples []float32, times []float64) {
	x := make([]float32, width)
	for r := demo.New(demo.Seed); ; {
		t, err := r.Next(x)
		if err == io.EOF {
			return samples, times
		}
		samples, times = append(samples, x...), append(times, t)
	}
}

// find runs the demo recording through a spotter.
func find(t *testing.T, s *Spotter, before func(row int)) (events []Event) {
	t.Helper()
	samples, times := recorded()
	for row, at := range times {
		before(row)
		e, ok, err := s.Push(samples[width*row:][:width], at)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			events = append(events, e)
		}
	}
	if e, ok := s.Flush(); ok {
		events = append(events, e)
	}
	return events
}

func TestDemo(t *testing.T) {
	s := newSpotter(t)
	events := find(t, s, func(int) {})
	var labels []string
	for _, e := range events {
		labels = append(labels, e.Label)
		if !(e.Start < e.End) || !(e.Confidence > 0.4 && e.Confidence <= 1) {
			t.Errorf("event %+v", e)
		}
	}
	if want := demo.Labels(); !slices.Equal(labels, want) {
		t.Errorf("found %v, want %v", labels, want)
	}
	s.Reset()
	if again := find(t, s, func(int) {}); !reflect.DeepEqual(again, events) {
		t.Error("other events after Reset")
	}
}

// gated returns a spotter of the embedded model with a motion gate.
func gated(t *testing.T) *Spotter {
	t.Helper()
	m, err := Stream()
	if err != nil {
		t.Fatal(err)
	}
	f := *m.File()
	f.Meta = append(slices.Clip(f.Meta), format.Pair{Key: "gesture.gate", Value: "0.1"}, format.Pair{Key: "gesture.gate_rows", Value: "16"},
		format.Pair{Key: "gesture.gate_alpha", Value: "0.25"})
	if m, err = runtime.New(&f); err != nil {
		t.Fatal(err)
	}
	s, err := NewSpotter(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGate finds the same gestures where the network does not see the rests, and shows that it does not.
func TestGate(t *testing.T) {
	s := gated(t)
	asleep := 0
	events := find(t, s, func(int) {
		if s.gate.still == s.gate.rows {
			asleep++
		}
	})
	var labels []string
	for _, e := range events {
		labels = append(labels, e.Label)
	}
	if want := demo.Labels(); !slices.Equal(labels, want) {
		t.Errorf("found %v, want %v", labels, want)
	}
	samples, _ := recorded()
	if rows := len(samples) / width; asleep < rows/10 || asleep > rows/2 {
		t.Errorf("the gate was closed for %d of %d samples", asleep, rows)
	}
	before := slices.Clone(s.p)
	for at := range 100 {
		if _, ok, err := s.Push(samples[len(samples)-width:], 1e6+float64(at)); ok || err != nil {
			t.Fatal(ok, err)
		}
		if at == 40 {
			copy(before, s.p)
		}
	}
	if !slices.Equal(s.p, before) {
		t.Error("the network ran while nothing moved")
	}
}

// TestSeeds shows that the demo recording is not a lucky one.
func TestSeeds(t *testing.T) {
	const seeds = 20
	s := newSpotter(t)
	want := demo.Labels()
	right, found := 0, 0
	x := make([]float32, width)
	for seed := range uint64(seeds) {
		s.Reset()
		var labels []string
		for r := demo.New(seed); ; {
			at, err := r.Next(x)
			if err == io.EOF {
				break
			}
			e, ok, err := s.Push(x, at)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				labels = append(labels, e.Label)
			}
		}
		found += len(labels)
		for i := range min(len(labels), len(want)) {
			if labels[i] == want[i] {
				right++
			}
		}
	}
	if all := seeds * len(want); right < all*9/10 || found > all*21/20 {
		t.Errorf("%d gestures right and %d found of %d", right, found, all)
	}
}

func TestBadSamplesChangeNothing(t *testing.T) {
	want := find(t, newSpotter(t), func(int) {})
	s := newSpotter(t)
	good, bad := make([]float32, width), make([]float32, width)
	at := 0.0
	got := find(t, s, func(row int) {
		at = float64(row) * 0.032
		for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e9} {
			copy(bad, good)
			bad[row%width] = v
			_, ok, err := s.Push(bad, at)
			e := (*InputError)(nil)
			if ok || !errors.As(err, &e) || e.Column != row%width+1 || e.Name != s.model.File().Input.Channels[row%width].Name {
				t.Fatalf("%v in channel %d: %v", v, row%width, err)
			}
		}
		for _, at := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), s.last} {
			_, ok, err := s.Push(good, at)
			e := (*InputError)(nil)
			if ok || !errors.As(err, &e) || e.Column != width+1 || e.Name != "time" {
				t.Fatalf("time %v: %v", at, err)
			}
		}
		for _, n := range []int{0, width - 1} {
			if _, _, err := s.Push(good[:n], at); err == nil {
				t.Fatalf("a sample of %d values passed", n)
			}
		}
	})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestFlush(t *testing.T) {
	s := newSpotter(t)
	samples, times := recorded()
	all := find(t, newSpotter(t), func(int) {})
	if _, ok := s.Flush(); ok {
		t.Error("an event from nothing")
	}
	row := 0
	for ; times[row] < all[0].End; row++ {
		if _, ok, err := s.Push(samples[width*row:][:width], times[row]); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if e, ok := s.Flush(); !ok || e.Start != all[0].Start || e.End > all[0].End {
		t.Errorf("%+v, %v", e, ok)
	}
	if _, ok := s.Flush(); ok {
		t.Error("the same event twice")
	}
}

func TestPushAllocatesNothing(t *testing.T) {
	s := newSpotter(t)
	samples, times := recorded()
	row, events := 0, 0
	n := testing.AllocsPerRun(len(times)-1, func() {
		_, ok, err := s.Push(samples[width*row:][:width], times[row])
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			events++
		}
		row++
	})
	if n != 0 || events == 0 {
		t.Errorf("%v allocations a sample, %d events", n, events)
	}
}

func TestProbabilities(t *testing.T) {
	m, err := Stream()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSpotter(m)
	if err != nil {
		t.Fatal(err)
	}
	rest, moved := append([]float32(nil), s.Probabilities()...), false
	r := demo.New(demo.Seed)
	sample := make([]float32, m.InputWidth())
	for {
		at, err := r.Next(sample)
		if err == io.EOF {
			break
		}
		if _, _, err := s.Push(sample, at); err != nil {
			t.Fatal(err)
		}
		sum := float32(0)
		for k, p := range s.Probabilities() {
			sum += p
			moved = moved || p > 0.5 && rest[k] == 0
		}
		if len(s.Probabilities()) != m.OutputWidth() || sum < 0.999 || sum > 1.001 {
			t.Fatalf("%v s: %v", at, s.Probabilities())
		}
	}
	if !moved {
		t.Error("no gesture is ever probable")
	}
	if s.Reset(); !slices.Equal(s.Probabilities(), rest) {
		t.Errorf("after Reset %v", s.Probabilities())
	}
}

func TestClassifyAllocatesNothing(t *testing.T) {
	c := newClassifier(t)
	samples, _ := recorded()
	c.Classify(samples[:width*50])
	if n := testing.AllocsPerRun(10, func() { c.Classify(samples[:width*40]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClassify(t *testing.T) {
	c := newClassifier(t)
	samples, times := recorded()
	row := func(at float64) int { return width * slices.IndexFunc(times, func(t float64) bool { return t >= at }) }
	for _, e := range find(t, newSpotter(t), func(int) {}) {
		a, b := row(e.Start-0.1), row(e.End+0.1)
		label, confidence, err := c.ClassifyAfter(samples[:a], samples[a:b])
		if err != nil || label != e.Label || !(confidence > 0.3 && confidence <= 1) {
			t.Errorf("%s at %v s: %s, confidence %v, %v", e.Label, e.Start, label, confidence, err)
		}
		if label, _, err := c.Classify(samples[a:b]); err != nil || label != e.Label {
			t.Errorf("%s at %v s, without what was before: %s, %v", e.Label, e.Start, label, err)
		}
	}
	for _, n := range []int{0, 1, width + 1} {
		if _, _, err := c.Classify(samples[:n]); err == nil {
			t.Errorf("a gesture of %d values passed", n)
		}
	}
	if _, _, err := c.ClassifyAfter(samples[:width+1], samples[width+1:][:width]); err == nil {
		t.Error("a sample and a third passed")
	}
	bad := slices.Clone(samples[:50*width])
	bad[12*width+1] = float32(math.NaN())
	e := (*InputError)(nil)
	if _, _, err := c.Classify(bad); !errors.As(err, &e) || e.Column != 2 || !strings.Contains(err.Error(), "sample 12") {
		t.Errorf("NaN: %v", err)
	}
	if _, _, err := c.ClassifyAfter(bad, samples[:10*width]); !errors.As(err, &e) || !strings.Contains(err.Error(), "sample 12") {
		t.Errorf("NaN before the gesture: %v", err)
	}
}

// TestBits pins every bit that the shipped networks put out for the demo recording, on every platform and tier.
func TestBits(t *testing.T) {
	const (
		wantStream = "27a6062899c4c5f494471a89214e0f965c376ed4057c8317e54c34d563c4b261"
		wantBLSTM  = "5553884086028e120bebb1f4ab7a3a6d6d53aa0dc9fc8ef3a171fabe4bec85dc"
	)
	s, c := newSpotter(t), newClassifier(t)
	samples, times := recorded()
	var stream, blstm []byte
	for row, at := range times {
		if _, _, err := s.Push(samples[width*row:][:width], at); err != nil {
			t.Fatal(err)
		}
		stream = appendBits(stream, s.p)
	}
	const rows = 40
	for row := 0; row+rows < len(times); row += rows {
		if _, _, err := c.Classify(samples[width*row:][:width*rows]); err != nil {
			t.Fatal(err)
		}
		blstm = appendBits(blstm, c.p)
	}
	for _, x := range []struct {
		name, want string
		bits       []byte
	}{{"stream", wantStream, stream}, {"blstm", wantBLSTM, blstm}} {
		sum := sha256.Sum256(x.bits)
		if got := hex.EncodeToString(sum[:]); got != x.want {
			t.Errorf("%s: the outputs have the hash\n%s, want\n%s", x.name, got, x.want)
		}
	}
}

func appendBits(b []byte, v []float32) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func TestModelsThatDoNotFit(t *testing.T) {
	stream, err := Stream()
	if err != nil {
		t.Fatal(err)
	}
	blstm, err := BLSTM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSpotter(blstm); err == nil || !strings.Contains(err.Error(), "two-way") {
		t.Errorf("a spotter of a two-way model: %v", err)
	}
	if _, err := NewClassifier(stream); err == nil || !strings.Contains(err.Error(), "one output a sample") {
		t.Errorf("a classifier of a stream model: %v", err)
	}
	set := func(key, value string) func(*format.File) {
		return func(f *format.File) {
			for i := range f.Meta {
				if f.Meta[i].Key == key {
					f.Meta[i].Value = value
				}
			}
		}
	}
	with := func(key, value string) func(*format.File) {
		return func(f *format.File) { f.Meta = append(f.Meta, format.Pair{Key: key, Value: value}) }
	}
	for _, c := range []struct {
		change func(*format.File)
		want   string
	}{
		{func(f *format.File) { f.Meta = nil }, "gesture.unit is missing"},
		{with("gesture.aplha", "1"), "gesture.aplha is unknown or given twice"},
		{with("gesture.clip", "4"), "gesture.clip is unknown or given twice"},
		{set("gesture.unit", "1 2"), "gesture.unit holds 2 numbers, want 3"},
		{set("gesture.unit", "1 1 0"), `gesture.unit is "0", want a number from`},
		{set("gesture.clip", "nan"), `gesture.clip is "nan", want a number from`},
		{set("gesture.alpha", "2"), `gesture.alpha is "2", want a number from 0 to 1`},
		{set("gesture.on", "0"), `gesture.on is "0", want a number from`},
		{set("gesture.off", "1.5"), `gesture.off is "1.5", want a number from`},
		{set("gesture.decay", ""), `gesture.decay is "", want a number from`},
		{set("gesture.delay", "-1"), `gesture.delay is "-1", want a whole number from 0`},
		{set("gesture.delay", "9999999"), `gesture.delay is "9999999", want a whole number`},
		{set("gesture.hold", "0"), `gesture.hold is "0", want a whole number from 1`},
		{set("gesture.min_rows", "1.5"), `gesture.min_rows is "1.5", want a whole number from 1`},
		{set("gesture.none", "G0"), "gesture.none names none of the labels"},
		{set("gesture.refractory", "-1"), `gesture.refractory is "-1", want a whole number from 0`},
		{with("gesture.gate", "0.2"), "gesture.gate needs gate_rows and gate_alpha"},
		{with("gesture.gate", "-1"), `gesture.gate is "-1", want a number from 0`},
		{func(f *format.File) { f.Labels = nil }, "no labels"},
		{func(f *format.File) { f.Labels[3] = "G\n4" }, `label 3 is "G\n4"`},
		{func(f *format.File) { f.Labels[3] = "G1" }, `label "G1" occurs twice`},
		{func(f *format.File) { f.Ops[len(f.Ops)-1].Kind = format.Sigmoid }, "ends in sigmoid, want softmax"},
	} {
		f := *stream.File()
		f.Meta, f.Labels, f.Ops = slices.Clone(f.Meta), slices.Clone(f.Labels), slices.Clone(f.Ops)
		c.change(&f)
		m, err := runtime.New(&f)
		if err != nil {
			t.Fatalf("%s: %v", c.want, err)
		}
		if _, err := NewSpotter(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
}

// section names the part of a .recur file that holds each byte, from the section table that docs/format.md describes; padding belongs
// to the section that follows, and at the end to the last.
func sections(b []byte) []string {
	const header, entry = 32, 32
	names := []string{"meta", "input", "labels", "program", "blobs", "weights"}
	of := make([]string, len(b))
	end := header + entry*len(names)
	for i := range end {
		of[i] = "section table"
	}
	for i := range header {
		of[i] = "header"
	}
	for k, name := range names {
		e := b[header+entry*k:]
		next := int(binary.LittleEndian.Uint64(e[8:]) + binary.LittleEndian.Uint64(e[16:]))
		for i := end; i < next; i++ {
			of[i] = name
		}
		end = next
	}
	for i := end; i < len(b); i++ {
		of[i] = names[len(names)-1]
	}
	return of
}

func wantSection(t *testing.T, file []byte, want, what string, at int) {
	t.Helper()
	_, err := runtime.Load(file)
	if e := (*format.Error)(nil); !errors.As(err, &e) || e.Section != want {
		t.Fatalf("%s %d: error %v, want one in section %s", what, at, err, want)
	}
}

// aligned returns a copy that starts where runtime.Load needs no other.
func aligned(b []byte) []byte {
	c := make([]byte, len(b)+64)
	skip := -int(reflect.ValueOf(c).Pointer()) & 63
	return append(c[:skip], b...)[skip:]
}

func TestEveryTruncation(t *testing.T) {
	for _, file := range [][]byte{streamFile, blstmFile} {
		b := aligned(file)
		for n := range b {
			wantSection(t, b[:n:n], "header", "truncated to", n)
		}
	}
}

func TestCorruptions(t *testing.T) {
	const tries = 10_000
	random := rand.New(rand.NewPCG(1, 2))
	for _, file := range [][]byte{streamFile, blstmFile} {
		b, of := aligned(file), sections(file)
		try := func(at int) {
			flip := byte(1 + random.IntN(255))
			b[at] ^= flip
			wantSection(t, b, of[at], "corrupted at", at)
			b[at] ^= flip
		}
		weights := slices.Index(of, "weights")
		for at := range weights { // where a lie could do harm, every byte
			try(at)
		}
		for range tries/2 - weights/2 {
			try(random.IntN(len(b)))
		}
	}
}
