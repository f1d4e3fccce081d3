package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/teach"
	"github.com/recur-go/recur/runtime"
)

// What is measured of teaching: models that were trained without some of the gestures, and without the subjects, are taught these gestures by
// each subject with a few examples, and judged on the subject's other recordings.
const (
	shots  = 5     // examples of each gesture
	draws  = 4     // of the recordings that the examples are from
	around = 0.096 // s of rest in a span of segments.csv, before the gesture and after
	beside = 0.32  // s of rest that an example has beside a span
)

// examples cuts gestures out of a recording, with the rest beside each.
func (r *recording) examples(m *runtime.Model, labels []string) []teach.Example {
	channels := m.InputWidth()
	rows := func(seconds float64) int { return int(math.Round(seconds * float64(m.File().Input.Rate))) }
	var list []teach.Example
	for i, s := range r.truth {
		if !slices.Contains(labels, s.label) {
			continue
		}
		lo, hi := 0, r.rows
		if i > 0 {
			lo = (r.truth[i-1].end + s.first + 1) / 2
		}
		if i+1 < len(r.truth) {
			hi = (s.end + r.truth[i+1].first) / 2
		}
		lo, hi = max(lo, s.first-rows(beside)), min(hi, s.end+rows(beside))
		list = append(list, teach.Example{Label: s.label, Rows: r.samples[lo*channels : hi*channels], First: s.first + rows(around) - lo, End: s.end - rows(around) - lo})
	}
	return list
}

// lesson is what a subject's teaching came to.
type lesson struct {
	split   string
	subject int
	taught  tally // among the gestures taught
	all     tally // those taught, among all gestures
	known   tally // those that the model knew, among all gestures
	stream  score // in whole recordings
	found   tally // those taught, in whole recordings
	unheard tally // gestures that the model was not taught, and that it takes for none
}

// tally counts.
type tally struct{ right, of int }

func (t *tally) add(right bool) {
	t.of++
	if right {
		t.right++
	}
}

func (t *tally) sum(o tally) { t.right, t.of = t.right+o.right, t.of+o.of }

func (t tally) percent() float64 { return 100 * float64(t.right) / float64(max(t.of, 1)) }

// split is a model that was trained without some gestures.
type split struct {
	name    string
	base    *runtime.Model // with statistics of the gestures that it knows
	known   []string
	unknown []string
	slack   float64
}

// openSplits opens the models FOLDER/*/stream.recur.
func openSplits(folder, data string, train []int) ([]*split, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*", "stream.recur"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("%s holds no */stream.recur (%v)", folder, err)
	}
	var list []*split
	for _, n := range names {
		s, err := openSplit(n, data, train)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func openSplit(path, data string, train []int) (*split, error) {
	m, err := runtime.Open(path)
	if err != nil {
		return nil, err
	}
	recordings, err := load(data, m, train)
	if err != nil {
		return nil, err
	}
	s := &split{name: filepath.Base(filepath.Dir(path))}
	_, none, err := gesture.Delay(m)
	if err != nil {
		return nil, err
	}
	for _, g := range recordings[0].truth {
		if slices.Contains(m.File().Labels, g.label) {
			s.known = append(s.known, g.label)
		} else {
			s.unknown = append(s.unknown, g.label)
		}
	}
	if len(s.known) != len(m.File().Labels)-1 || len(s.unknown) < 2 {
		return nil, fmt.Errorf("labels %v: want some of the data's, and %s", m.File().Labels, none)
	}
	var examples []teach.Example
	for _, r := range recordings {
		examples = append(examples, moving(m, r.examples(m, s.known))...)
	}
	f, err := teach.Remember(m, examples)
	if err != nil {
		return nil, err
	}
	s.base, err = runtime.New(f)
	return s, err
}

// runTeach measures all splits.
func runTeach(w io.Writer, folder, data, trained, tested string, slack float64) error {
	train, err := parseSubjects(trained)
	if err != nil {
		return err
	}
	test, err := parseSubjects(tested)
	if err != nil {
		return err
	}
	splits, err := openSplits(folder, data, train)
	if err != nil {
		return err
	}
	var lessons []lesson
	for _, s := range splits {
		s.slack = slack
		judge, err := load(data, s.base, test)
		if err != nil {
			return err
		}
		for _, subject := range test {
			own := slices.DeleteFunc(slices.Clone(judge), func(r *recording) bool { return r.subject != subject })
			l, err := s.teach(own, subject)
			if err != nil {
				return fmt.Errorf("%s, subject %d: %w", s.name, subject, err)
			}
			lessons = append(lessons, l)
		}
		printLessons(os.Stderr, s.name, slices.DeleteFunc(slices.Clone(lessons), func(l lesson) bool { return l.split != s.name }))
	}
	printTeaching(w, lessons)
	return nil
}

func (s *split) teach(own []*recording, subject int) (l lesson, err error) {
	l.split, l.subject = s.name, subject
	random := rand.New(rand.NewPCG(uint64(subject), 1))
	for range draws {
		order := random.Perm(len(own))
		var lesson, test []*recording
		for i, k := range order {
			if i < shots {
				lesson = append(lesson, own[k])
			} else {
				test = append(test, own[k])
			}
		}
		m, err := s.taught(lesson, s.unknown)
		if err != nil {
			return l, err
		}
		for _, r := range test {
			if err := s.judge(&l, m, r); err != nil {
				return l, err
			}
		}
		k := random.IntN(len(s.unknown))
		if err := s.judgeUnheard(&l, lesson, test, k); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (s *split) taught(recordings []*recording, labels []string) (*runtime.Model, error) {
	var examples []teach.Example
	for _, r := range recordings {
		examples = append(examples, moving(s.base, r.examples(s.base, labels))...)
	}
	f, _, err := teach.Teach(s.base, examples, teach.Options{Slack: s.slack})
	if err != nil {
		return nil, err
	}
	return runtime.New(f)
}

// moving are the examples in which there is a movement: a few spans of the data set lie beside their gestures, and nobody could record them.
func moving(m *runtime.Model, list []teach.Example) []teach.Example {
	return slices.DeleteFunc(list, func(e teach.Example) bool {
		_, at, err := gesture.NetworkInput(m, e.Rows)
		return err != nil || len(at) < 8
	})
}

// judge names the gestures of a recording one by one, and finds them in the whole.
func (s *split) judge(l *lesson, m *runtime.Model, r *recording) error {
	in := m.InputWidth()
	labels := m.File().Labels
	for _, e := range r.examples(m, append(slices.Clone(s.known), s.unknown...)) {
		p, err := answer(m, &e)
		if err != nil {
			return err
		}
		among := func(names []string) string {
			best := ""
			for k, n := range labels {
				if slices.Contains(names, n) && p[k] > 0 && (best == "" || p[k] > p[slices.Index(labels, best)]) {
					best = n
				}
			}
			return best
		}
		all := among(append(slices.Clone(s.known), s.unknown...))
		if slices.Contains(s.unknown, e.Label) {
			l.taught.add(among(s.unknown) == e.Label)
			l.all.add(all == e.Label)
		} else {
			l.known.add(all == e.Label)
		}
	}
	spotter, err := gesture.NewSpotter(m)
	if err != nil {
		return err
	}
	events, err := follow(spotter, in, r)
	if err != nil {
		return err
	}
	l.stream.add(match(events, r.truth))
	found := make([]bool, len(r.truth))
	for i, j := range hits(events, r.truth) {
		found[max(j, 0)] = found[max(j, 0)] || j >= 0 && events[i].label == r.truth[j].label
	}
	for j, g := range r.truth {
		if slices.Contains(s.unknown, g.label) {
			l.found.add(found[j])
		}
	}
	return nil
}

// answer is the model's to a gesture that is cut out: the sum of its answers at the end.
func answer(m *runtime.Model, e *teach.Example) ([]float32, error) {
	x, at, err := gesture.NetworkInput(m, e.Rows)
	if err != nil {
		return nil, err
	}
	out := m.OutputWidth()
	n := len(at)
	p, y := make([]float32, out), make([]float32, n*out)
	if n == 0 { // nothing moves
		return p, nil
	}
	if err := m.NewSession().Run(x, y); err != nil {
		return nil, err
	}
	delay, _, err := gesture.Delay(m)
	if err != nil {
		return nil, err
	}
	end, _ := slices.BinarySearch(at, e.End)
	for k := -6; k <= 3; k++ {
		t := max(0, min(end-1+delay+k, n-1))
		for i, v := range y[t*out:][:out] {
			p[i] += v
		}
	}
	return p, nil
}

// judgeUnheard leaves one gesture out of the lesson and counts how often the model takes it for none.
func (s *split) judgeUnheard(l *lesson, given, test []*recording, k int) error {
	m, err := s.taught(given, slices.Delete(slices.Clone(s.unknown), k, k+1))
	if err != nil {
		return err
	}
	spotter, err := gesture.NewSpotter(m)
	if err != nil {
		return err
	}
	for _, r := range test {
		events, err := follow(spotter, m.InputWidth(), r)
		if err != nil {
			return err
		}
		for _, t := range r.truth {
			if t.label == s.unknown[k] {
				l.unheard.add(!slices.ContainsFunc(events, func(e span) bool { return min(e.end, t.end)-max(e.first, t.first) > 0 }))
			}
		}
	}
	return nil
}

// spread is mean and standard deviation of a value of the lessons.
func spread(lessons []lesson, f func(l *lesson) float64) (mean, deviation float64) {
	for i := range lessons {
		mean += f(&lessons[i]) / float64(len(lessons))
	}
	for i := range lessons {
		d := f(&lessons[i]) - mean
		deviation += d * d
	}
	return mean, math.Sqrt(deviation / float64(max(len(lessons)-1, 1)))
}

var columns = []struct {
	name string
	f    func(l *lesson) float64
}{
	{"taught, of taught", func(l *lesson) float64 { return l.taught.percent() }},
	{"taught, of all", func(l *lesson) float64 { return l.all.percent() }},
	{"known, of all", func(l *lesson) float64 { return l.known.percent() }},
	{"all, of all", func(l *lesson) float64 {
		t := l.all
		t.sum(l.known)
		return t.percent()
	}},
	{"stream F1", func(l *lesson) float64 { return l.stream.f1() }},
	{"stream right", func(l *lesson) float64 { return l.stream.percent(l.stream.right) }},
	{"taught, stream", func(l *lesson) float64 { return l.found.percent() }},
	{"stream false", func(l *lesson) float64 { return l.stream.percent(l.stream.extra) }},
	{"untaught refused", func(l *lesson) float64 { return l.unheard.percent() }},
}

func printLessons(w io.Writer, name string, lessons []lesson) {
	fmt.Fprintf(w, "%s:", name)
	for _, c := range columns {
		m, _ := spread(lessons, c.f)
		fmt.Fprintf(w, "  %s %.1f", c.name, m)
	}
	fmt.Fprintln(w)
}

func printTeaching(w io.Writer, lessons []lesson) {
	var splits []string
	var subjects []int
	for _, l := range lessons {
		splits, subjects = append(splits, l.split), append(subjects, l.subject)
	}
	slices.Sort(subjects)
	splits, subjects = slices.Compact(splits), slices.Compact(subjects)
	row := func(name string, keep func(l lesson) bool) {
		fmt.Fprintf(w, "| %s |", name)
		own := slices.DeleteFunc(slices.Clone(lessons), func(l lesson) bool { return !keep(l) })
		for _, c := range columns {
			m, d := spread(own, c.f)
			fmt.Fprintf(w, " %.1f ± %.1f |", m, d)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "| |")
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprint(w, "\n|---|")
	for range columns {
		fmt.Fprint(w, "---|")
	}
	fmt.Fprintln(w)
	for _, s := range splits {
		row("without "+s, func(l lesson) bool { return l.split == s })
	}
	for _, s := range subjects {
		row(fmt.Sprintf("subject %d", s), func(l lesson) bool { return l.subject == s })
	}
	row("all", func(lesson) bool { return true })
}
