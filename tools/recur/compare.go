package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

var compareCommand = command{"compare", "say what a scheme costs, by layer and by time step", `
usage: recur compare MODEL FILE.recur -in X [flags]

Runs the float model and the .recur file made from it on the same sequences, and shows how far they differ after every
operation and along time.

  recur compare gesture.onnx gesture.recur -in test.npy
      test.npy is one sequence [T, features], or many [N, T, features]
  recur compare gesture.onnx gesture.recur -in test.npz -json
      all arrays of an archive; the numbers for programs

SQNR is the signal to quantisation noise ratio, 10 log10(sum of squares / sum of squared errors): 20 dB is an error of
10 %, 40 dB of 1 %. A decision is the largest channel of an output.`, compare}

func compare(c *call) error {
	var im importFlags
	im.define(c.flags)
	in := c.flags.String("in", "", "the input, a .npy or .npz `FILE`")
	asJSON := c.flags.Bool("json", false, "print JSON")
	args, err := c.parse("MODEL", "FILE.recur")
	if err != nil {
		return err
	}
	switch {
	case *in == "":
		return misused("on what? -in X.npy")
	case !isForeign(args[0]) || isForeign(args[1]):
		return misused("want a model of another format and the FILE.recur made from it")
	}
	ref, err := im.open(args[0])
	if err != nil {
		return err
	}
	got, err := (&importFlags{}).open(args[1])
	if err != nil {
		return err
	}
	defer got.Close()
	batches, err := readBatches(*in, ref.InputWidth())
	if err != nil {
		return err
	}
	seqs := all(batches)
	r, err := quant.Compare(ref, got, seqs)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", args[0], args[1], err)
	}
	s := summarise(r, got.File(), len(seqs))
	if *asJSON {
		return writeJSON(c.out, s)
	}
	s.print(c.out)
	return nil
}

// comparison is what compare shows.
type comparison struct {
	Sequences  int            `json:"sequences"`
	Operations []opDifference `json:"operations"`
	Output     difference     `json:"output"`
	Steps      []difference   `json:"steps,omitempty"` // where the output is per step
	Decisions  *decisions     `json:"decisions,omitempty"`
}

type opDifference struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Scheme string `json:"scheme"`
	difference
}

// difference is in the unit of the values; SQNR is nil where nothing differs.
type difference struct {
	SQNR *float64 `json:"sqnr_db"`
	Max  float64  `json:"max_error"`
	Mean float64  `json:"mean_error"`
}

type decisions struct {
	Total   int `json:"total"`
	Changed int `json:"changed"`
}

func measured(e *quant.Error) difference {
	d := difference{Max: e.Max(), Mean: e.Mean()}
	if s := e.SQNR(); !math.IsInf(s, 0) && !math.IsNaN(s) {
		d.SQNR = &s
	}
	return d
}

func summarise(r *quant.Comparison, f *format.File, sequences int) *comparison {
	s := &comparison{Sequences: sequences, Output: measured(&r.Output)}
	for i := range r.Ops {
		op := &f.Ops[i]
		s.Operations = append(s.Operations, opDifference{op.Kind.String(), op.Name, op.Scheme.String(), measured(&r.Ops[i])})
	}
	if f.Values[f.Output].PerStep {
		for i := range r.Steps {
			s.Steps = append(s.Steps, measured(&r.Steps[i]))
		}
	}
	if decides(f) {
		s.Decisions = &decisions{r.Decisions, r.Changed}
	}
	return s
}

// decides reports whether the output is a softmax, or one pooled over time.
func decides(f *format.File) bool {
	at := f.Output
	for i := len(f.Ops) - 1; i >= 0; i-- {
		op := &f.Ops[i]
		switch {
		case op.Out.Value != at:
		case op.Kind == format.Softmax || op.Kind == format.LogSoftmax:
			return true
		case op.Kind.Pooling():
			at = op.In[0].Value
		default:
			return false
		}
	}
	return false
}

func (s *comparison) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "#\tkind\tname\tscheme\tSQNR dB\tmax error\tmean error\t")
	for i, o := range s.Operations {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%.2g\t%.2g\t\n", i, o.Kind, shorten(o.Name), o.Scheme, o.decibels(), o.Max, o.Mean)
	}
	fmt.Fprintf(t, "\t\toutput\t\t%s\t%.2g\t%.2g\t\n", s.Output.decibels(), s.Output.Max, s.Output.Mean)
	t.Flush()
	if len(s.Steps) > 1 {
		s.printSteps(w)
	}
	fmt.Fprintf(w, "\n%d sequences", s.Sequences)
	if d := s.Decisions; d != nil {
		fmt.Fprintf(w, "; %d of %d decisions changed", d.Changed, d.Total)
	}
	fmt.Fprintln(w)
}

func (d *difference) decibels() string {
	if d.SQNR == nil {
		return "exact"
	}
	return fmt.Sprintf("%.1f", *d.SQNR)
}

// printSteps shows the mean error of the output along time, as a line of bars and in eight parts.
func (s *comparison) printSteps(w io.Writer) {
	fmt.Fprintf(w, "\nmean error of the output along time\n  %s\n", bars(pooled(s.Steps, 64)))
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "steps\tmax error\tmean error\t")
	for _, p := range pooled(s.Steps, 8) {
		fmt.Fprintf(t, "%d-%d\t%.2g\t%.2g\t\n", p.from, p.to-1, p.max, p.mean)
	}
	t.Flush()
}

type part struct {
	from, to  int
	max, mean float64
}

// pooled divides time into at most n parts of nearly equal length.
func pooled(steps []difference, n int) []part {
	n = min(n, len(steps))
	parts := make([]part, n)
	for i := range parts {
		p := &parts[i]
		p.from, p.to = i*len(steps)/n, (i+1)*len(steps)/n
		for _, d := range steps[p.from:p.to] {
			p.max = math.Max(p.max, d.Max)
			p.mean += d.Mean / float64(p.to-p.from)
		}
	}
	return parts
}

func bars(parts []part) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	top := 0.0
	for _, p := range parts {
		top = math.Max(top, p.mean)
	}
	var b strings.Builder
	for _, p := range parts {
		k := 0
		if top > 0 {
			k = min(int(p.mean/top*float64(len(levels))), len(levels)-1)
		}
		b.WriteRune(levels[k])
	}
	return b.String()
}
