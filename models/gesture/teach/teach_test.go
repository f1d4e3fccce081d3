package teach

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/demo"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

const (
	testRate = 31.25 // of the embedded models and the demo
	channels = 3
)

func streamModel(t testing.TB) *runtime.Model {
	t.Helper()
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// played is the demo recording of a seed.
func played(t testing.TB, seed uint64) (rows []float32) {
	t.Helper()
	r := demo.New(seed)
	sample := make([]float32, channels)
	for {
		if _, err := r.Next(sample); err == io.EOF {
			return rows
		} else if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, sample...)
	}
}

// examplesOf cuts the demo recordings of seeds.
func examplesOf(t testing.TB, m *runtime.Model, seeds ...uint64) (list []Example) {
	t.Helper()
	units, err := gesture.Units(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range seeds {
		s := NewSegmenter(units, testRate)
		var found []Example
		for rows := played(t, seed); len(rows) > 0; rows = rows[channels:] {
			e, err := s.Push(rows[:channels])
			if e != nil && !errors.Is(err, ErrRefused) || err != nil && e != nil { // flat tops of the synthetic curves are no fault here
				found = append(found, *e)
			}
		}
		labels := demo.Labels()
		if len(found) != len(labels) {
			t.Logf("seed %d: %d movements", seed, len(found))
			continue
		}
		for i := range found {
			found[i].Label = labels[i]
		}
		list = append(list, found...)
	}
	return list
}

func of(list []Example, label string) []Example {
	return slices.DeleteFunc(slices.Clone(list), func(e Example) bool { return e.Label != label })
}

// swapped is a movement that the models do not know: what was along x is along y, and so on.
func swapped(list []Example, label string) []Example {
	out := slices.Clone(list)
	for i := range out {
		e := &out[i]
		e.Label = label
		rows := slices.Clone(e.Rows)
		for k := range rows {
			c := k % channels
			from := (c + 1) % channels
			rows[k] = e.Rows[c] + e.Rows[k-c+from] - e.Rows[from]
		}
		e.Rows = rows
	}
	return out
}

// reversed plays movements backwards.
func reversed(list []Example, label string) []Example {
	out := slices.Clone(list)
	for i := range out {
		e := &out[i]
		n := len(e.Rows) / channels
		rows := make([]float32, 0, len(e.Rows))
		for t := range n {
			rows = append(rows, e.Rows[(n-1-t)*channels:][:channels]...)
		}
		*e = Example{Label: label, Rows: rows, First: n - e.End, End: n - e.First}
	}
	return out
}

func remembered(t testing.TB, m *runtime.Model, known []Example) *runtime.Model {
	t.Helper()
	f, err := Remember(m, known)
	if err != nil {
		t.Fatal(err)
	}
	r, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// spotted are the labels that a model finds in examples, each between rests; "" where it finds none, or more than one.
func spotted(t testing.TB, m *runtime.Model, list []Example) (labels []string) {
	t.Helper()
	s, err := gesture.NewSpotter(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		s.Reset()
		var found []string
		add := func(v gesture.Event, ok bool) {
			if ok {
				found = append(found, v.Label)
			}
		}
		n := len(e.Rows) / channels
		for i := range n + 50 {
			v, ok, err := s.Push(e.Rows[min(i, n-1)*channels:][:channels], float64(i)/testRate)
			if err != nil {
				t.Fatal(err)
			}
			add(v, ok)
		}
		v, ok := s.Flush()
		add(v, ok)
		if len(found) != 1 {
			found = []string{""}
		}
		labels = append(labels, found[0])
	}
	return labels
}

func count(labels []string, label string) (n int) {
	for _, l := range labels {
		if l == label {
			n++
		}
	}
	return n
}

func TestTeach(t *testing.T) {
	m := streamModel(t)
	known := examplesOf(t, m, 1, 2, 3, 4, 5, 7)
	if len(known) < 54 {
		t.Fatalf("%d examples of the demo", len(known))
	}
	turn, back := reversed(of(known, "G9"), "turn"), reversed(of(known, "G5"), "back")
	f, report, err := Teach(m, append(slices.Clone(turn[:3]), back[:3]...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", report)
	if len(report.Gestures) != 2 || report.Gestures[0].Label != "turn" || report.Gestures[0].Examples != 3 || report.Gestures[0].Known {
		t.Errorf("report %+v", report)
	}
	taught, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	for label, list := range map[string][]Example{"turn": turn[3:], "back": back[3:]} {
		if got := spotted(t, taught, list); count(got, label) < len(list)-1 {
			t.Errorf("%s: found %q", label, got)
		}
	}
	right := 0
	for _, e := range known {
		right += count(spotted(t, taught, []Example{e}), e.Label)
	}
	if right < len(known)*9/10 {
		t.Errorf("%d of %d known gestures found", right, len(known))
	}
	if want := append(slices.DeleteFunc(slices.Clone(m.File().Labels), func(l string) bool { return l == "none" }), "turn", "back", Unlike, "none"); !slices.Equal(f.Labels, want) {
		t.Errorf("labels %q, want %q", f.Labels, want)
	}
	checkBlobs(t, m.File(), f)

	if _, _, err := Teach(taught, turn[:3], Options{}); err == nil || !strings.Contains(err.Error(), "taught before") {
		t.Errorf("taught again: %v", err)
	}
	again, _, err := Teach(m, append(slices.Clone(turn[:3]), back[:3]...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := format.Encode(f)
	if b, _ := format.Encode(again); string(a) != string(b) {
		t.Error("the same examples make another file")
	}
}

// TestGolden: the same examples make the same file on every architecture.
func TestGolden(t *testing.T) {
	m := streamModel(t)
	known := examplesOf(t, m, 1, 2)
	taught, _, err := Teach(m, append(reversed(of(known, "G9"), "turn"), faint(of(known, "G3"), "faint")...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(taught.Ops, func(o format.Op) bool { return o.Name == prefix+"still" }) {
		t.Error("the logistic regression has no part in it")
	}
	for _, c := range []struct {
		name string
		file *format.File
		want string
	}{
		{"taught", taught, "d55ec4f7cca5874c6fdb1dfd4c05d5bc29bc7fdd64d8b97ac7e20d6c8dab964b"},
		{"remembered", remembered(t, m, known).File(), "def1e13d60a5c8a47df7006d56ee28e21592c67df7c79f510f8a8955d81d762f"},
	} {
		b, err := format.Encode(c.file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != c.want {
			t.Errorf("%s: the file has the hash\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

func TestLoosen(t *testing.T) {
	f := &format.File{}
	f.Input.Rate = testRate
	for key, value := range map[string]string{"on": "0.9", "off": "0.1", "hold": "1", "gate_rows": "16", "min_rows": "16"} {
		f.Meta = append(f.Meta, format.Pair{Key: "gesture." + key, Value: value})
	}
	f.Labels = []string{"flick"}
	lesson := &teacher{base: &base{file: f}, all: []*samples{{label: "flick", example: &Example{First: 3, End: 13}}}}
	lesson.loosen(f)
	want := map[string]string{"on": "0.5", "off": "0.1", "hold": "4", "gate_rows": "31", "min_rows": "5"}
	for _, p := range f.Meta {
		if w := want[strings.TrimPrefix(p.Key, "gesture.")]; p.Value != w {
			t.Errorf("%s is %s, want %s", p.Key, p.Value, w)
		}
	}
}

// hurried plays movements twice as fast.
func hurried(list []Example, label string) []Example {
	out := slices.Clone(list)
	for i := range out {
		e := &out[i]
		var rows []float32
		for t := range len(e.Rows) / channels {
			if t < e.First || t >= e.End || (t-e.First)%2 == 0 {
				rows = append(rows, e.Rows[t*channels:][:channels]...)
			}
		}
		*e = Example{Label: label, Rows: rows, First: e.First, End: e.First + (e.End-e.First+1)/2}
	}
	return out
}

// TestShort teaches a gesture that is shorter than those that the model has events for.
func TestShort(t *testing.T) {
	m := streamModel(t)
	flick := hurried(of(examplesOf(t, m, 1, 2, 3, 4, 5, 7), "G3"), "flick")
	if got := spotted(t, m, flick); count(got, "") != len(flick) {
		t.Errorf("the model finds %q before it is taught", got)
	}
	f, report, err := Teach(m, flick[:3], Options{})
	if err != nil {
		t.Fatal(err)
	}
	taught, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	if got := spotted(t, taught, flick[3:]); count(got, "flick") != len(got) || report.Gestures[0].Unseen != 0 {
		t.Errorf("found %q; %+v", got, report)
	}
	if got := spotted(t, m, flick); count(got, "") != len(flick) {
		t.Errorf("the model before finds %q afterwards", got)
	}
}

// TestSlack: with less slack, more of what was not taught is refused.
func TestSlack(t *testing.T) {
	m := streamModel(t)
	known := examplesOf(t, m, 1, 2, 3, 4)
	turn := reversed(of(known, "G9"), "turn")
	var others []Example
	for _, l := range []string{"G1", "G2", "G4", "G6", "G8"} {
		others = append(others, swapped(of(known, l), "other")...)
	}
	refused := func(slack float64) int {
		f, _, err := Teach(m, turn[:3], Options{Slack: slack})
		if err != nil {
			t.Fatal(err)
		}
		taught, err := runtime.New(f)
		if err != nil {
			t.Fatal(err)
		}
		return count(spotted(t, taught, others), "")
	}
	if strict, lax := refused(2), refused(100); strict <= lax {
		t.Errorf("%d refused with little slack, %d with much", strict, lax)
	}
	if _, _, err := Teach(m, turn[:3], Options{Slack: math.NaN()}); err == nil {
		t.Error("slack NaN: no error")
	}
}

// faint puts movements in which the model sees none in place of others.
func faint(list []Example, label string) []Example {
	out := slices.Clone(list)
	for i, e := range out {
		rows := slices.Clone(e.Rows)
		for k := range rows {
			rows[k] = rows[k%channels] + float32(k%7)/1000
		}
		out[i] = Example{Label: label, Rows: rows, First: e.First, End: e.End}
	}
	return out
}

// TestUnseen: the report says so where the taught model misses its examples.
func TestUnseen(t *testing.T) {
	m := streamModel(t)
	still := faint(of(examplesOf(t, m, 1, 2, 3, 4), "G3"), "nothing")
	_, report, err := Teach(m, still, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Gestures[0].Unseen != len(still) || len(report.Notes) == 0 || !strings.Contains(report.Notes[0], "finds no gesture: it will miss it") {
		t.Errorf("%+v", report)
	}
}

// checkBlobs wants the base's weights to be the first of the taught model's.
func checkBlobs(t *testing.T, base, taught *format.File) {
	t.Helper()
	for i := range base.Blobs {
		a, b := &base.Blobs[i], &taught.Blobs[i]
		if a.Kind != b.Kind || !slices.Equal(a.I8, b.I8) || !slices.Equal(a.F32, b.F32) || !slices.Equal(a.I32, b.I32) {
			t.Fatalf("blob %d of the base has changed", i)
		}
	}
}

// TestOnly teaches new gestures in place of the known ones; the network takes the movements of one for rest.
func TestOnly(t *testing.T) {
	m := streamModel(t)
	known := examplesOf(t, m, 1, 2, 3, 4, 5, 7)
	swap, back := swapped(of(known, "G4"), "swap"), reversed(of(known, "G5"), "back")
	lesson := append(slices.Clone(swap[:4]), back[:4]...)
	plain := *m.File()
	plain.Meta = withoutStatistics(plain.Meta)
	m, err := runtime.New(&plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]*runtime.Model{"without statistics": m, "with": remembered(t, m, known)} {
		f, _, err := Teach(base, lesson, Options{Only: true})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"swap", "back", Unlike, "none"}; !slices.Equal(f.Labels, want) {
			t.Errorf("%s: labels %q, want %q", name, f.Labels, want)
		}
		taught, err := runtime.New(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := append(spotted(t, taught, swap[4:]), spotted(t, taught, back[4:])...); count(got, "swap") < len(swap)-5 || count(got, "back") < len(back)-5 {
			t.Errorf("%s: found %q", name, got)
		}
		if name == "with" {
			others := spotted(t, taught, of(known, "G1"))
			if n := count(others, ""); n < len(others)-1 {
				t.Errorf("%s: other gestures are found as %q", name, others)
			}
		}
	}
	if _, _, err := Teach(m, lesson, Options{}); err == nil || !strings.Contains(err.Error(), "no statistics") {
		t.Errorf("without statistics: %v", err)
	}
}

// TestSequence teaches the model for gestures that are already cut out.
func TestSequence(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes on an emulated board")
	}
	m, err := gesture.BLSTM()
	if err != nil {
		t.Fatal(err)
	}
	known := examplesOf(t, streamModel(t), 1, 2, 3, 4, 5, 7)
	base := remembered(t, m, known)
	swap := swapped(of(known, "G4"), "swap")
	f, _, err := Teach(base, swap[:3], Options{})
	if err != nil {
		t.Fatal(err)
	}
	taught, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	c, err := gesture.NewClassifier(taught)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	list := append(slices.Clone(swap[3:]), known...)
	for _, e := range list {
		lo, hi := max(0, e.First-3), min(len(e.Rows)/channels, e.End+3)
		label, _, err := c.Classify(e.Rows[lo*channels : hi*channels])
		if err != nil {
			t.Fatal(err)
		}
		if label == e.Label {
			right++
		}
	}
	if right < len(list)*9/10 {
		t.Errorf("%d of %d right", right, len(list))
	}
}

// TestKnownLabel gives examples of a gesture that the model knows.
func TestKnownLabel(t *testing.T) {
	m := streamModel(t)
	known := examplesOf(t, m, 1, 2, 3, 4)
	base := remembered(t, m, known)
	f, report, err := Teach(base, of(known, "G3")[:2], Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Gestures) != 1 || !report.Gestures[0].Known || len(f.Labels) != len(m.File().Labels)+1 {
		t.Errorf("%+v, labels %q", report, f.Labels)
	}
}

func TestRefusals(t *testing.T) {
	m := streamModel(t)
	known := examplesOf(t, m, 1, 2)
	swap := swapped(of(known, "G4"), "swap")
	other := slices.Clone(swap)
	for i := range other {
		other[i].Label = "other"
	}
	change := func(f func(e *Example)) []Example {
		list := slices.Clone(swap)
		f(&list[0])
		return list
	}
	for name, c := range map[string]struct {
		list []Example
		want string
	}{
		"one example":   {swap[:1], `"swap": the only example`},
		"two labels":    {append(slices.Clone(swap), other...), `the same samples are an example of "swap", too`},
		"none":          {change(func(e *Example) { e.Label = "none" }), "no such gesture"},
		"unlike":        {change(func(e *Example) { e.Label = Unlike }), "no such gesture"},
		"no label":      {change(func(e *Example) { e.Label = "" }), "no label"},
		"control":       {change(func(e *Example) { e.Label = "a\nb" }), "printable"},
		"short":         {change(func(e *Example) { e.End = e.First + 3 }), "too short"},
		"outside":       {change(func(e *Example) { e.End = 1 << 20 }), "do not exist"},
		"long":          {change(func(e *Example) { e.Rows = slices.Repeat(e.Rows, 50); e.End = len(e.Rows) / channels }), "longer than"},
		"not a reading": {change(func(e *Example) { e.Rows = slices.Clone(e.Rows); e.Rows[5] = 1e30 }), "no sensor reading"},
		"other rate":    {change(func(e *Example) { e.start, e.end = 0, 40*float64(len(e.Rows)/channels) }), "samples a second, the model was trained at 31.25"},
	} {
		if _, _, err := Teach(m, c.list, Options{Only: true}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Remember(m, of(known, "G4")); err == nil || !strings.Contains(err.Error(), `no example of "G1"`) {
		t.Errorf("remember some: %v", err)
	}
	if _, err := Remember(m, append(known, swap...)); err == nil || !strings.Contains(err.Error(), `does not know "swap"`) {
		t.Errorf("remember others: %v", err)
	}
}

func TestStatistics(t *testing.T) {
	const width = 6
	random := rand.New(rand.NewPCG(1, 1))
	groups := []group{{label: "a"}, {label: "b"}}
	for i := range groups {
		for range 200 {
			r := make([]float64, width)
			for k := range r {
				r[k] = float64(i) + random.NormFloat64()*float64(k+1)
			}
			r[1] += r[0]
			groups[i].rows = append(groups[i].rows, r)
		}
	}
	s := newStatistics(groups, width)
	f := &format.File{Meta: []format.Pair{{Key: "x", Value: "y"}, s.pair()}}
	got, err := readStatistics(f, s.labels, width)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.labels, s.labels) || got.dof != 398 {
		t.Errorf("%q, %v", got.labels, got.dof)
	}
	a, b := s.covariance(), got.covariance()
	for i := range a {
		if math.Abs(a[i]-b[i]) > 0.005*s.spread[i/width]*s.spread[i%width] {
			t.Errorf("covariance %d: %v, want %v", i, b[i], a[i])
		}
	}
	for k := range width {
		if math.Abs(got.means[1][k]-s.means[1][k]) > 1e-6 {
			t.Errorf("mean %v, want %v", got.means[1], s.means[1])
		}
	}
	if len(withoutStatistics(f.Meta)) != 1 {
		t.Errorf("left %v", withoutStatistics(f.Meta))
	}
	if none, err := readStatistics(&format.File{}, s.labels, width); none != nil || err != nil {
		t.Errorf("of no metadata %v, %v", none, err)
	}
	for name, value := range map[string]string{"short": "AQ==", "no base64": "???", "another version": "B" + f.Meta[1].Value[1:]} {
		bad := &format.File{Meta: slices.Clone(f.Meta)}
		bad.Meta[1].Value = value
		if _, err := readStatistics(bad, s.labels, width); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := readStatistics(f, s.labels, width+1); err == nil {
		t.Error("another width: no error")
	}
}

func TestEigen(t *testing.T) {
	const n = 12
	random := rand.New(rand.NewPCG(3, 1))
	a := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			a[i*n+j] = random.NormFloat64()
			a[j*n+i] = a[i*n+j]
		}
	}
	values, vectors := eigen(slices.Clone(a), n)
	for k, v := range vectors {
		if k > 0 && values[k] > values[k-1] {
			t.Errorf("values %v are not in order", values)
		}
		for i := range n {
			if d := dot(a[i*n:][:n], v) - values[k]*v[i]; math.Abs(d) > 1e-7 {
				t.Errorf("vector %d: off by %v", k, d)
			}
		}
		for j, w := range vectors {
			if d := dot(v, w); math.Abs(d-float64(index(j == k))) > 1e-9 {
				t.Errorf("vectors %d and %d: product %v", k, j, d)
			}
		}
	}
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestAugment(t *testing.T) {
	names := []string{"aWx", "aWy", "aWz", "gWx", "gWz", "ax", "az", "ay"}
	if got, want := triads(names), [][3]int{{0, 1, 2}, {5, 7, 6}}; !slices.Equal(got, want) {
		t.Errorf("triads %v, want %v", got, want)
	}
	r := rotation(0.3, -0.2, 0.5)
	for i := range 3 {
		for j := range 3 {
			if d := dot(r[3*i:][:3], r[3*j:][:3]) - float64(index(i == j)); math.Abs(d) > 1e-10 {
				t.Errorf("rows %d, %d of the rotation: %v", i, j, d)
			}
		}
	}
	e := examplesOf(t, streamModel(t), 1)[0]
	a := newAugmenter(gesture.Channels(streamModel(t)))
	for range 50 {
		v := a.variant(&e)
		if n := len(v.Rows) / channels; len(v.Rows)%channels != 0 || v.First <= 0 || v.First >= v.End || v.End > n {
			t.Fatalf("%d rows, gesture in %d to %d", n, v.First, v.End)
		}
		if slices.ContainsFunc(v.Rows, func(x float32) bool { return x != x }) {
			t.Fatal("not a number")
		}
	}
}

func TestSegmenter(t *testing.T) {
	m := streamModel(t)
	units, _ := gesture.Units(m)
	rows := played(t, demo.Seed)
	s := NewSegmenter(units, testRate)
	var found int
	for r := rows; len(r) > 0; r = r[channels:] {
		e, err := s.Push(r[:channels])
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
		if e != nil {
			found++
			if n := len(e.Rows) / channels; e.First < 4 || e.End <= e.First || n-e.End < 4 {
				t.Errorf("gesture in %d to %d of %d", e.First, e.End, n)
			}
		}
	}
	if found < 8 || found > 10 || !s.Settled() || s.Moving() {
		t.Errorf("%d movements", found)
	}
	// A movement that never ends keeps a bounded number of samples, and is refused.
	for i := range 20000 {
		e, err := s.Push(slices.Repeat([]float32{500 * float32(i%2)}, channels))
		if e != nil || err != nil {
			t.Fatal(e, err)
		}
	}
	if len(s.rows) > channels*200 {
		t.Errorf("%d samples kept", len(s.rows)/channels)
	}
	refused := error(nil)
	for range 200 {
		if _, err := s.Push(make([]float32, channels)); err != nil {
			refused = err
		}
	}
	if !errors.Is(refused, ErrRefused) || !strings.Contains(refused.Error(), "longer") {
		t.Errorf("an endless movement: %v", refused)
	}
}

func TestGood(t *testing.T) {
	wave := func(n int) *Example {
		e := &Example{First: 10, End: 10 + n}
		for i := range n + 20 {
			e.Rows = append(e.Rows, float32(i%10), float32(math.Sin(float64(i)/3)))
		}
		return e
	}
	if err := Good(wave(50), 2, testRate); err != nil {
		t.Error(err)
	}
	if err := Good(wave(5), 2, testRate); err == nil || !strings.Contains(err.Error(), "too short") {
		t.Error(err)
	}
	if err := Good(wave(500), 2, testRate); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Error(err)
	}
	e := wave(50)
	for i := 20; i < 40; i++ {
		e.Rows[2*i+1] = 2
	}
	if err := Good(e, 2, testRate); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "channel 2 stays at 2") {
		t.Error(err)
	}
}
