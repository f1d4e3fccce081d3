// Package teach adds gestures to a trained model from a few examples: the model's cells stay as they are, their hidden state, pooled over a
// gesture, is what a small classifier is fitted to. The result is an ordinary .recur file. docs/teaching.md says how well that does.
package teach

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unsafe"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// Options say what a model is taught.
type Options struct {
	Only  bool    // drop the gestures that the model knows: they become none
	Slack float64 // deviations from the usual distance at which a movement is like no gesture; 0: DefaultSlack
}

// DefaultSlack was chosen on subjects that the networks had not seen; docs/teaching.md has what others do.
const DefaultSlack = 7.0

// Report says what was learnt.
type Report struct {
	Gestures []Learnt
	Notes    []string // for people: what may not work well
}

// Learnt is a gesture of which there were examples.
type Learnt struct {
	Label    string
	Examples int
	Known    bool           // by the model before
	Unseen   int            // examples in which the taught stream model finds no gesture
	Right    int            // examples that are told right by what the others teach
	Wrong    map[string]int // the others, by what they are taken for
}

// Unlike is the label of a taught stream model that says that there is a gesture, and that it is like none of the others. A Spotter drops it.
const Unlike = "unlike"

// Limits of examples.
const (
	minExamples = 2 // of a new gesture
	minRows     = 6
	maxMillis   = 10000
)

const variants = 12 // made of each example

// samples are examples as the network sees them.
type samples struct {
	example  *Example // nil: a variant
	of       int      // which example it is a variant of
	label    string
	x        []float32 // network input, row after row
	first    int
	end      int
	moments  []int // steps at which it is embedded
	seen     bool  // the model takes it for a gesture
	embedded [][]float64
}

// teacher is teaching in progress.
type teacher struct {
	*base
	known *statistics
	all   []*samples
}

// Teach returns a model that knows the gestures of the examples too.
func Teach(m *runtime.Model, examples []Example, o Options) (*format.File, *Report, error) {
	b, err := newBase(m)
	if err != nil {
		return nil, nil, err
	}
	slack := cmp.Or(o.Slack, DefaultSlack)
	if !(slack > 0) {
		return nil, nil, fmt.Errorf("slack %v: want more than 0", slack)
	}
	t := &teacher{base: b}
	if t.known, err = readStatistics(b.file, b.known, b.width()); err != nil {
		return nil, nil, err
	}
	if t.known == nil && !o.Only {
		return nil, nil, errors.New("the model holds no statistics of the gestures that it knows: teach it the new ones only, or see docs/teaching.md")
	}
	if err := b.check(examples); err != nil {
		return nil, nil, err
	}
	if err := t.prepare(examples, variants); err != nil {
		return nil, nil, err
	}
	g := b.trunk()
	em := b.embed(g, nil)
	if err := t.embedAll(g, em); err != nil {
		return nil, nil, err
	}
	if unseen := t.unseen(); len(unseen) > 0 {
		motion, err := t.motion(unseen)
		if err != nil {
			return nil, nil, err
		}
		g = b.trunk()
		em = b.embed(g, motion)
		if err := t.embedAll(g, em); err != nil {
			return nil, nil, err
		}
	}
	c, report := t.fit(slack)
	f := t.finish(g, em, c, o)
	taught, err := runtime.New(f)
	if err == nil && t.stream {
		err = report.miss(taught, examples)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the taught model: %w", err)
	}
	slices.Sort(report.Notes)
	return f, report, nil
}

// miss counts the examples in which a model finds no gesture.
func (r *Report) miss(m *runtime.Model, examples []Example) error {
	s, err := gesture.NewSpotter(m)
	if err != nil {
		return err
	}
	width := m.InputWidth()
	for i := range examples {
		e := &examples[i]
		s.Reset()
		found := false
		for t := range len(e.Rows) / width {
			_, ok, err := s.Push(e.Rows[t*width:][:width], float64(t))
			if err != nil {
				return err
			}
			found = found || ok
		}
		if _, ok := s.Flush(); !ok && !found {
			k := slices.IndexFunc(r.Gestures, func(l Learnt) bool { return l.Label == e.Label })
			r.Gestures[k].Unseen++
		}
	}
	for _, l := range r.Gestures {
		if l.Unseen > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("in %d of %d examples of %s the model finds no gesture: it will miss it", l.Unseen, l.Examples, l.Label))
		}
	}
	return nil
}

// Remember returns a model that holds what teaching needs to know of its gestures, from examples of each.
func Remember(m *runtime.Model, examples []Example) (*format.File, error) {
	b, err := newBase(m)
	if err != nil {
		return nil, err
	}
	if err := b.check(examples); err != nil {
		return nil, err
	}
	for _, l := range b.known {
		if !slices.ContainsFunc(examples, func(e Example) bool { return e.Label == l }) {
			return nil, fmt.Errorf("there is no example of %q", l)
		}
	}
	t := &teacher{base: b}
	if err := t.prepare(examples, 0); err != nil {
		return nil, err
	}
	g := b.trunk()
	if err := t.embedAll(g, b.embed(g, nil)); err != nil {
		return nil, err
	}
	groups := t.groups(nil)
	for _, g := range groups {
		if !slices.Contains(b.known, g.label) {
			return nil, fmt.Errorf("the model does not know %q", g.label)
		}
	}
	slices.SortFunc(groups, func(x, y group) int { return slices.Index(b.known, x.label) - slices.Index(b.known, y.label) })
	f := *b.file
	f.Meta = append(withoutStatistics(f.Meta), newStatistics(groups, b.width()).pair())
	return &f, nil
}

func withoutStatistics(meta []format.Pair) []format.Pair {
	return slices.DeleteFunc(slices.Clone(meta), func(p format.Pair) bool { return p.Key == statisticsKey })
}

// check refuses examples that nothing can be learnt from.
func (b *base) check(examples []Example) error {
	n := len(b.channels)
	count := map[string]int{}
	for i := range examples {
		e := &examples[i]
		if err := e.check(n, b.file.Input.Rate); err != nil {
			return e.fail(err)
		}
		if e.Label == b.none || e.Label == Unlike {
			return e.fail(fmt.Errorf("%q is what the model says where there is no such gesture", e.Label))
		}
		count[e.Label]++
		for j := range examples[:i] {
			if o := &examples[j]; o.Label != e.Label && bytes.Equal(o.gesture(n), e.gesture(n)) {
				return e.fail(fmt.Errorf("the same samples are an example of %q, too", o.Label))
			}
		}
	}
	for _, e := range examples {
		if k := count[e.Label]; k < minExamples && !slices.Contains(b.known, e.Label) {
			return e.fail(fmt.Errorf("the only example: want %d or more of a gesture, better 5", minExamples))
		}
	}
	return nil
}

func (e *Example) fail(err error) error {
	if e.Line > 0 {
		return fmt.Errorf("%q in line %d: %w", e.Label, e.Line, err)
	}
	return fmt.Errorf("%q: %w", e.Label, err)
}

func (e *Example) gesture(channels int) []byte {
	v := e.Rows[e.First*channels : e.End*channels]
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

func (e *Example) check(channels int, rate float32) error {
	rows := len(e.Rows) / channels
	if err := checkLabel(e.Label); err != nil || e.Label == "" {
		return errors.Join(errors.New("no label"), err)
	}
	if rows*channels != len(e.Rows) || e.First < 0 || e.First >= e.End || e.End > rows {
		return fmt.Errorf("samples %d to %d of %d do not exist", e.First, e.End, rows)
	}
	if n := e.End - e.First; n < minRows {
		return fmt.Errorf("a gesture of %d samples: too short", n)
	}
	p := e.period(channels)
	if p > 0 && rate > 0 && (p*float64(rate) < 800 || p*float64(rate) > 1250) {
		return fmt.Errorf("%.1f samples a second, the model was trained at %.4g", 1000/p, rate)
	}
	if rate > 0 && float64(e.End-e.First)/float64(rate)*1000 > maxMillis {
		return fmt.Errorf("a gesture of %d samples: longer than %d s", e.End-e.First, maxMillis/1000)
	}
	return nil
}

// prepare makes n variants of each example, and of all what the network sees.
func (t *teacher) prepare(examples []Example, n int) error {
	a := newAugmenter(t.channels)
	for i := range examples {
		e := &examples[i]
		list := []Example{*e}
		for range n {
			list = append(list, a.variant(e))
		}
		for k := range list {
			s := &samples{of: i, label: e.Label, first: list[k].First, end: list[k].End}
			if k == 0 {
				s.example = e
			}
			rows := list[k].Rows
			if !t.stream { // cut out, with a little rest
				rest := int(math.Round(0.1 * float64(t.file.Input.Rate)))
				lo, hi := max(0, s.first-rest), min(len(rows)/len(t.channels), s.end+rest)
				rows = rows[lo*len(t.channels) : hi*len(t.channels)]
				s.first, s.end = s.first-lo, s.end-lo
			}
			x, at, err := gesture.NetworkInput(t.model, rows)
			if err == nil && len(at) < minRows {
				if k > 0 {
					continue
				}
				err = errors.New("the model's motion gate sees no movement")
			}
			if err != nil {
				return e.fail(err)
			}
			s.x = x
			s.first, _ = slices.BinarySearch(at, s.first)
			s.end, _ = slices.BinarySearch(at, s.end)
			t.all = append(t.all, s)
		}
	}
	return nil
}

// run gives the values of a probe for all samples, row after row.
func (t *teacher) run(m *runtime.Model, do func(s *samples, y []float32)) error {
	session := m.NewSession()
	for _, s := range t.all {
		n := 1
		if m.PerStep() {
			n = len(s.x) / len(t.channels)
		}
		y := make([]float32, n*m.OutputWidth())
		session.Reset()
		if err := session.Run(s.x, y); err != nil {
			return err
		}
		do(s, y)
	}
	return nil
}

func doubles(v []float32) []float64 {
	d := make([]float64, len(v))
	for i, x := range v {
		d[i] = float64(x)
	}
	return d
}

// Steps of a stream at which embeddings are taken, from the end of a gesture on, as late as the answers: those that a Spotter decides by.
const (
	earliest = -9
	latest   = 24
	every    = 3
	noticed  = 0.2 // probability of a gesture that goes on
	surely   = 0.5 // and of one that begins
	mostly   = 0.6 // of an example, share in which it goes on, or it is not seen

	interrupted = 0.128 // s without a gesture that do not end it
	awake       = 1.0   // s of rest that the network sees, so that what it summed up of a gesture fades before the next
)

func (t *teacher) embedAll(g *graph, em embedding) error {
	if t.stream {
		m, err := t.probe(g, em.any)
		if err != nil {
			return err
		}
		if err := t.run(m, func(s *samples, any []float32) { s.notice(any, t.delay) }); err != nil {
			return err
		}
	}
	m, err := t.probe(g, em.e)
	if err != nil {
		return err
	}
	w := t.width()
	return t.run(m, func(s *samples, e []float32) {
		if !t.stream {
			s.embedded = [][]float64{doubles(e)}
			return
		}
		for _, r := range s.moments {
			s.embedded = append(s.embedded, doubles(e[r*w:][:w]))
		}
	})
}

// unseen are the new gestures of which the model does not take most examples for gestures.
func (t *teacher) unseen() (labels []string) {
	if !t.stream {
		return nil
	}
	for _, g := range t.groups(nil) {
		seen, of := 0, 0
		for _, s := range t.all {
			if s.label == g.label && s.example != nil {
				of++
				if s.seen {
					seen++
				}
			}
		}
		if 2*seen <= of && !slices.Contains(t.base.known, g.label) {
			labels = append(labels, g.label)
		}
	}
	return labels
}

const motionDecay = 1e-2

// motion learns to tell examples of the labels from the rest beside all examples.
func (t *teacher) motion(labels []string) (*logistic, error) {
	g := t.trunk()
	m, err := t.probe(g, t.hidden)
	if err != nil {
		return nil, err
	}
	var x [][]float64
	var y []bool
	positive := 0
	err = t.run(m, func(s *samples, h []float32) {
		if s.example == nil {
			return
		}
		w := t.hidden.Width
		for r := range len(h) / w {
			begun, ended := r >= s.first+t.delay, r >= s.end+t.delay
			switch {
			case r < s.first || ended: // rest
			case begun && slices.Contains(labels, s.label):
				positive++
			default: // either is right, or the model sees it
				continue
			}
			x, y = append(x, doubles(h[r*w:][:w])), append(y, begun && !ended)
		}
	})
	if err != nil || positive == 0 || positive == len(x) {
		return nil, errors.Join(err, errors.New("no rest beside the examples"))
	}
	l := fitLogistic(x, y, motionDecay)
	l.calibrate(x, y)
	return l, nil
}

// notice finds the moments for embeddings, and whether the model takes the example for a gesture.
func (s *samples) notice(any []float32, delay int) {
	last := min(s.end-1+delay, len(any)-1)
	s.moments, s.embedded, s.seen = nil, nil, false
	end, rows := -1, 0
	for r := min(s.first, last); r < min(len(any), last+latest); r++ {
		s.seen = s.seen || any[r] >= surely
		if any[r] >= noticed && r <= last {
			end = r
			rows++
		}
	}
	s.seen = s.seen && float64(rows) >= mostly*float64(s.end-s.first)
	if end < 0 {
		end = last
	}
	for r := max(0, end+earliest); r < min(len(any), last+latest); r += every {
		if any[r] >= noticed {
			s.moments = append(s.moments, r)
		}
	}
	if len(s.moments) == 0 {
		s.moments = []int{end}
	}
}

// groups are the embeddings by label, in the order of first occurrence; without, if not nil, says which examples are left out.
func (t *teacher) groups(without func(s *samples) bool) (list []group) {
	for _, s := range t.all {
		if without != nil && without(s) {
			continue
		}
		k := slices.IndexFunc(list, func(g group) bool { return g.label == s.label })
		if k < 0 {
			k = len(list)
			list = append(list, group{label: s.label})
		}
		list[k].rows = append(list[k].rows, s.embedded...)
	}
	return list
}

// fit makes the classifier.
func (t *teacher) fit(slack float64) (*classifier, *Report) {
	groups := t.groups(nil)
	own := newStatistics(groups, t.width())
	var labels []string
	var means [][]float64
	cov := own.covariance()
	if t.known != nil {
		old := t.known.covariance()
		for i, v := range old {
			cov[i] = (cov[i] + v) / 2
		}
		labels, means = slices.Clone(t.known.labels), slices.Clone(t.known.means)
	}
	for i, l := range own.labels {
		k := slices.Index(labels, l)
		if k < 0 {
			labels, means = append(labels, l), append(means, own.means[i])
			continue
		}
		n := float64(t.examples(l))
		m := slices.Clone(means[k])
		for j := range m {
			m[j] = (float64(prior*m[j]) + float64(n*own.means[i][j])) / (prior + n)
		}
		means[k] = m
	}
	c := fit(labels, means, cov)
	report, far := t.review(c)
	if t.known == nil { // a handful of examples says little of how far others lie
		mean, deviation := c.usual(cov)
		c.limit = 4 * max(far, mean+float64(slack*deviation))
		return c, report
	}
	mean, deviation := c.usual(t.known.covariance())
	c.limit = max(far, mean+float64(slack*deviation))
	return c, report
}

func (t *teacher) examples(label string) (n int) {
	for _, s := range t.all {
		if s.example != nil && s.label == label {
			n++
		}
	}
	return n
}

// review tells each example by what the others teach, and returns how far from its mean the farthest is.
func (t *teacher) review(c *classifier) (*Report, float64) {
	r := &Report{}
	far := 0.0
	for k, label := range c.labels {
		n := t.examples(label)
		if n == 0 {
			continue
		}
		l := Learnt{Label: label, Examples: n, Known: slices.Contains(t.base.known, label), Wrong: map[string]int{}}
		for _, s := range t.all {
			if s.example == nil || s.label != label {
				continue
			}
			z := c.project(mean(s.embedded))
			own := c.means[k]
			if !l.Known {
				others := t.groups(func(o *samples) bool { return o.label != label || o.of == s.of })
				own = c.project(mean(others[0].rows))
			}
			best, d := c.nearest(z, k, own)
			if best == k {
				l.Right++
				far = max(far, d)
			} else {
				l.Wrong[c.labels[best]]++
			}
		}
		r.Gestures = append(r.Gestures, l)
		for other, n := range l.Wrong {
			if 3*n >= l.Examples {
				r.Notes = append(r.Notes, fmt.Sprintf("%d of %d examples of %s look like %s", n, l.Examples, label, other))
			}
		}
	}
	return r, far
}

// loosen changes the constants by which a Spotter finds events, which suit the gestures that the base was trained on: of others it is less sure,
// and with interruptions. Where the base wants longer events, they may be half as long as the examples of each gesture usually are.
func (t *teacher) loosen(f *format.File) {
	change := func(key string, to func(v float64) float64) {
		k := slices.IndexFunc(f.Meta, func(p format.Pair) bool { return p.Key == "gesture."+key })
		if k < 0 {
			return
		}
		if v, err := strconv.ParseFloat(f.Meta[k].Value, 64); err == nil {
			f.Meta[k].Value = strconv.FormatFloat(to(v), 'g', -1, 64)
		}
	}
	change("gate_rows", func(v float64) float64 { return max(v, math.Round(awake*t.rate())) })
	change("on", func(v float64) float64 { return min(v, surely) })
	change("off", func(v float64) float64 { return min(v, noticed) })
	change("hold", func(v float64) float64 { return max(v, math.Round(interrupted*t.rate())) })
	for _, l := range f.Labels {
		var rows []int
		for _, s := range t.all {
			if s.example != nil && s.label == l {
				rows = append(rows, s.example.End-s.example.First)
			}
		}
		if slices.Sort(rows); len(rows) > 0 {
			change("min_rows", func(v float64) float64 { return min(v, float64(max(1, rows[len(rows)/2]/2))) })
		}
	}
}

// finish appends the head and describes the model.
func (t *teacher) finish(g *graph, em embedding, c *classifier, o Options) *format.File {
	p := c.head(g, em.e)
	var labels []string
	var index []int32
	for k, l := range c.labels {
		if !o.Only || t.examples(l) > 0 {
			labels, index = append(labels, l), append(index, int32(k))
		}
	}
	kept := g.apply(format.Gather, "gesture", len(index), refs(p), g.integers(format.RoleIndex, index...))
	total := g.apply(format.Sum, "gesture", 1, refs(kept), g.integers(format.RoleDims, int32(kept.Width)))
	out := g.join("answer", kept, g.affine("unlike", total, -1, 1))
	if t.stream {
		labels = append(labels, Unlike)
		out = g.join("answer", g.apply(format.Mul, "answer", out.Width, refs(out, em.any)), em.none)
	}
	labels = append(labels, t.none)
	// The end is a softmax, as that of the model before.
	g.op(format.Clip, "answer", out, refs(out), g.vector(format.RoleParams, 1e-9, 1))
	g.op(format.Log, "answer", out, refs(out))
	g.op(format.Softmax, "answer", out, refs(out))
	f := g.f
	f.Output = out.Value
	f.Labels = labels
	f.Meta = withoutStatistics(f.Meta) // a copy
	if t.stream {
		f.Meta = append(f.Meta, format.Pair{Key: "gesture.unlike", Value: Unlike})
		t.loosen(f)
	}
	for _, l := range labels {
		if n := t.examples(l); n > 0 {
			f.Meta = append(f.Meta, format.Pair{Key: prefix + "taught", Value: fmt.Sprintf("%s, %d examples", l, n)})
		}
	}
	return f
}
