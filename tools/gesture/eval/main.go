// Eval measures the gesture models on the recordings of the data set mobrobot_gestures: the two-way model on gestures that are already
// cut out, the one-way model with its spotter on the whole recordings, and on recordings whose gestures are put into random order.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/teach"
	"github.com/recur-go/recur/runtime"
)

func main() {
	data := flag.String("data", "../shared/data/mobrobot_gestures", "`folder` of the data set: orig/*.csv and segments.csv")
	subjects := flag.String("subjects", "15-20", "`list` of subjects; the shipped models were trained on 1-14")
	models := flag.String("models", "", "measure blstm.recur and stream.recur of this `folder` in place of the shipped ones")
	against := flag.String("against", "", "count the decisions in which the models of this `folder`, say in float, differ")
	lessons := flag.String("teach", "", "measure teaching with the models of this `folder`, as tools/train/gesture/heldout.py leaves it")
	train := flag.String("train", "1-14", "with -teach: `list` of subjects that these models were trained on")
	slack := flag.Float64("slack", teach.DefaultSlack, "with -teach: `deviations` from the usual at which a movement is like no gesture")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "eval: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	err := error(nil)
	if *lessons != "" {
		err = runTeach(os.Stdout, *lessons, *data, *train, *subjects, *slack)
	} else {
		err = run(os.Stdout, *data, *subjects, *models, *against)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

type pair struct{ blstm, stream *runtime.Model }

// open returns the models of a folder, the shipped ones where it has no name.
func open(dir string) (p pair, err error) {
	blstm, stream := gesture.BLSTM, gesture.Stream
	if dir != "" {
		blstm = func() (*runtime.Model, error) { return runtime.Open(filepath.Join(dir, "blstm.recur")) }
		stream = func() (*runtime.Model, error) { return runtime.Open(filepath.Join(dir, "stream.recur")) }
	}
	if p.blstm, err = blstm(); err != nil {
		return p, err
	}
	p.stream, err = stream()
	return p, err
}

// result is what a pair of models said about the recordings.
type result struct {
	segments   []decision
	recordings []*recording // as the stream model takes them
	events     [][]span     // of each recording
	shuffled   score
	cut        cutting
}

func measure(p pair, data string, subjects []int) (r result, err error) {
	recordings, err := load(data, p.blstm, subjects)
	if err != nil {
		return r, err
	}
	if r.segments, err = classify(p.blstm, recordings); err != nil {
		return r, err
	}
	if r.recordings, err = load(data, p.stream, subjects); err != nil {
		return r, err
	}
	if r.events, err = spot(p.stream, r.recordings); err != nil {
		return r, err
	}
	mixed := shuffle(r.recordings, p.stream.InputWidth())
	events, err := spot(p.stream, mixed)
	if err != nil {
		return r, err
	}
	r.shuffled = total(events, mixed)
	r.cut, err = cut(p.stream, r.recordings)
	return r, err
}

func run(w io.Writer, data, list, models, against string) error {
	subjects, err := parseSubjects(list)
	if err != nil {
		return err
	}
	p, err := open(models)
	if err != nil {
		return err
	}
	r, err := measure(p, data, subjects)
	if err != nil {
		return err
	}
	printSegments(w, r.segments, subjects)
	printStream(w, &r, subjects)
	r.cut.print(w)
	if against == "" {
		return nil
	}
	if p, err = open(against); err != nil {
		return err
	}
	other, err := measure(p, data, subjects)
	if err != nil {
		return fmt.Errorf("%s: %w", against, err)
	}
	fmt.Fprintf(w, "against %s\n", against)
	fmt.Fprintf(w, "  segments: %.2f %% right there, %d of %d decisions differ\n", percent(other.segments), changedDecisions(r.segments, other.segments), len(r.segments))
	all := total(other.events, other.recordings)
	fmt.Fprintf(w, "  stream: F1 %.2f %%, %.2f %% right and %.2f %% false there, the labels of %d of %d recordings differ\n", all.f1(), all.percent(all.right),
		all.percent(all.extra), changedSequences(r.events, other.events), len(r.recordings))
	return nil
}

func printSegments(w io.Writer, ds []decision, subjects []int) {
	fmt.Fprintf(w, "segments: %d of %d right, %.2f %%\n", right(ds), len(ds), percent(ds))
	for _, s := range subjects {
		own := slices.DeleteFunc(slices.Clone(ds), func(d decision) bool { return d.subject != s })
		if len(own) > 0 {
			fmt.Fprintf(w, "  subject %2d: %3d of %d\n", s, right(own), len(own))
		}
	}
	printConfusion(w, ds)
}

func printConfusion(w io.Writer, ds []decision) {
	count := map[[2]string]int{}
	var labels []string
	for _, d := range ds {
		count[[2]string{d.truth, d.label}]++
		labels = append(labels, d.truth, d.label)
	}
	slices.Sort(labels)
	labels = slices.Compact(labels)
	fmt.Fprintf(w, "  truth \\ answer")
	for _, l := range labels {
		fmt.Fprintf(w, " %4s", l)
	}
	for _, a := range labels {
		fmt.Fprintf(w, "\n  %14s", a)
		for _, b := range labels {
			fmt.Fprintf(w, " %4d", count[[2]string{a, b}])
		}
	}
	fmt.Fprintln(w)
}

func printStream(w io.Writer, r *result, subjects []int) {
	row := func(name string, s score) {
		fmt.Fprintf(w, "  %-12s %8d %5d %6d %6d %6d   %6.2f %%  %6.2f %%  %6.2f %%\n", name, s.gestures, s.right, s.wrong, s.missed, s.extra,
			s.percent(s.right), s.percent(s.extra), s.f1())
	}
	fmt.Fprintf(w, "stream: %d recordings\n  %-12s %8s %5s %6s %6s %6s   %8s  %8s  %8s\n", len(r.recordings), "", "gestures", "right", "label", "missed",
		"false", "right", "false", "F1")
	for _, s := range subjects {
		var own score
		for i, rec := range r.recordings {
			if rec.subject == s {
				own.add(match(r.events[i], rec.truth))
			}
		}
		if own.gestures > 0 {
			row(fmt.Sprintf("subject %d", s), own)
		}
	}
	row("all", total(r.events, r.recordings))
	row("random order", r.shuffled)
}
