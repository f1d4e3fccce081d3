package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// costs says what a scheme costs and what it saves: a network against its float form.
type costs struct {
	Model      string         `json:"model"`
	File       string         `json:"file"`
	Data       string         `json:"data,omitempty"`        // what was measured on
	Range      string         `json:"input_range,omitempty"` // where the scales of the input come from
	Sequences  int            `json:"sequences"`
	TimeSteps  int            `json:"time_steps"`    // of all sequences
	Longest    int            `json:"longest_steps"` // of a sequence
	FloatBytes int            `json:"bytes_f32"`     // of weights
	Bytes      int            `json:"bytes"`
	Work       float64        `json:"work_of_f32"` // quant.Cost relative to that of f32
	Choice     *choice        `json:"choice,omitempty"`
	Operations []opDifference `json:"operations"`
	PartSteps  int            `json:"steps_a_part,omitempty"` // of along_time
	Output     *Difference    `json:"output,omitempty"`
	Steps      []Difference   `json:"steps,omitempty"` // where the output is per step
	Decisions  *decisions     `json:"decisions,omitempty"`
	labels     []string
}

type opDifference struct {
	Kind       string  `json:"kind"`
	Name       string  `json:"name"`
	Scheme     string  `json:"scheme"`
	FloatBytes int     `json:"bytes_f32"`
	Bytes      int     `json:"bytes"`
	Work       float64 `json:"share_of_work"`
	*Difference
	Saturation *float64   `json:"saturation,omitempty"` // share of the activations that are beyond the range of an int8 scheme
	Errors     *octaves   `json:"error_histogram,omitempty"`
	AlongTime  *alongTime `json:"along_time,omitempty"` // where there are results at each step
	products   bool
	signal     float64 // RMS of the float results
}

// Difference is in the unit of the values; SQNR is nil where nothing differs.
type Difference struct {
	SQNR *float64 `json:"sqnr_db"`
	Max  float64  `json:"max_error"`
	Mean float64  `json:"mean_error"`
	Bias float64  `json:"bias"`
}

// octaves counts errors by magnitude: Counts[i] are those from 2^(First+i) on, below twice that. Those below 2^quant.FirstOctave count as
// if they had that magnitude.
type octaves struct {
	First  int   `json:"first_exponent"`
	Counts []int `json:"counts"`
}

type alongTime struct {
	SQNR       []*float64 `json:"sqnr_db"`
	Saturation []*float64 `json:"saturation,omitempty"`
	Errors     octaveRows `json:"error_histogram"`
}

// octaveRows are histograms with the same bins.
type octaveRows struct {
	First  int     `json:"first_exponent"`
	Counts [][]int `json:"counts"`
}

type decisions struct {
	Total   int      `json:"total"`
	Changed int      `json:"changed"`
	Changes []change `json:"changes,omitempty"`
}

type change struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Count int    `json:"count"`
}

// choice is how -scheme auto came to its schemes.
type choice struct {
	Budget string        `json:"budget"`
	Search score         `json:"search"`
	Check  *score        `json:"check,omitempty"` // on sequences that no scale comes from
	Cost   float64       `json:"cost_of_w8a8"`    // relative to w8a8 throughout
	Float  float64       `json:"cost_of_w8a8_if_f32"`
	Trials int           `json:"models_tried"`
	Layers []layerChoice `json:"layers"`
}

type score struct {
	Sequences int     `json:"sequences"`
	Error     float64 `json:"relative_error"`
	Decisions int     `json:"decisions,omitempty"` // of a classifier
	Changed   int     `json:"changed,omitempty"`
}

type layerChoice struct {
	Operations []int   `json:"operations"`
	Name       string  `json:"name"`
	Scheme     string  `json:"scheme"`
	W8A8       float64 `json:"relative_error_w8a8_alone"`
	W8A16      float64 `json:"relative_error_w8a16_alone"`
}

func measured(e *quant.Error) *Difference {
	return &Difference{SQNR: decibels(e), Max: e.Max(), Mean: e.Mean(), Bias: e.Bias()}
}

// decibels is nil where nothing differs. Where the reference is zero throughout, it is lowest.
func decibels(e *quant.Error) *float64 {
	const lowest = -300
	s := math.Max(e.SQNR(), lowest)
	if math.IsInf(s, 1) {
		return nil
	}
	return &s
}

func saturation(p *quant.Part) *float64 {
	if p.Activations == 0 {
		return nil
	}
	s := float64(p.Clipped) / float64(p.Activations)
	return &s
}

// weigh reports sizes and shares of the work, for sequences of the given mean length.
func weigh(float, m *runtime.Model, meanSteps float64) *costs {
	f, ref := m.File(), float.File()
	s := &costs{FloatBytes: weightBytes(ref), Bytes: weightBytes(f), labels: f.Labels}
	var work, floatWork float64
	for i := range f.Ops {
		op := &f.Ops[i]
		o := opDifference{Kind: op.Kind.String(), Name: op.Name, Scheme: op.Scheme.String(), FloatBytes: opBytes(ref, &ref.Ops[i]), Bytes: opBytes(f, op)}
		if o.products = op.Kind.Products(); o.products {
			count, products := parameters(f, op)
			often := 1.0
			if !f.PerStep(op) {
				often = 1 / meanSteps
			}
			o.Work = often * quant.Cost(op.Scheme, float64(count), float64(products))
			work += o.Work
			floatWork += often * quant.Cost(format.F32, float64(count), float64(products))
		}
		s.Operations = append(s.Operations, o)
	}
	for i := range s.Operations {
		if work > 0 {
			s.Operations[i].Work /= work
		}
	}
	if floatWork > 0 {
		s.Work = work / floatWork
	}
	return s
}

func opBytes(f *format.File, op *format.Op) (n int) {
	for _, a := range op.Args {
		n += blobBytes(&f.Blobs[a.Blob])
	}
	return n
}

func weightBytes(f *format.File) (n int) {
	for i := range f.Blobs {
		n += blobBytes(&f.Blobs[i])
	}
	return n
}

func blobBytes(b *format.Blob) int { return len(b.I8) + 4*len(b.F32) + 4*len(b.I32) }

// assess compares a network with its float form on sequences.
func assess(float, m *runtime.Model, seqs [][]float32) (*costs, error) {
	r, err := quant.Compare(float, m, seqs)
	if err != nil {
		return nil, err
	}
	steps, longest := 0, 0
	for _, x := range seqs {
		n := len(x) / m.InputWidth()
		steps += n
		longest = max(longest, n)
	}
	s := weigh(float, m, float64(steps)/float64(len(seqs)))
	s.Sequences, s.TimeSteps, s.Longest, s.PartSteps = len(seqs), steps, longest, r.PartSteps
	s.Output = measured(&r.Output)
	for i := range r.Ops {
		s.Operations[i].compare(&r.Ops[i])
	}
	if m.PerStep() {
		for i := range r.Steps {
			s.Steps = append(s.Steps, *measured(&r.Steps[i]))
		}
	}
	if r.Decision != quant.NoDecision {
		s.Decisions = &decisions{r.Decisions, r.Changed, changes(r.Changes, s.labels)}
	}
	return s, nil
}

func (o *opDifference) compare(r *quant.OpComparison) {
	o.Difference, o.Saturation, o.signal = measured(&r.Error), saturation(&r.Part), r.Signal()
	if o.SQNR == nil {
		return
	}
	first, last := extent(&r.Octaves)
	o.Errors = &octaves{first + quant.FirstOctave, r.Octaves[first : last+1]}
	if len(r.Parts) < 2 {
		return
	}
	a := &alongTime{Errors: octaveRows{First: first + quant.FirstOctave}}
	for i := range r.Parts {
		p := &r.Parts[i]
		a.SQNR = append(a.SQNR, decibels(&p.Error))
		if o.Saturation != nil {
			a.Saturation = append(a.Saturation, saturation(p))
		}
		a.Errors.Counts = append(a.Errors.Counts, p.Octaves[first:last+1])
	}
	o.AlongTime = a
}

// extent is the first and the last bin that is not empty.
func extent(o *quant.Octaves) (first, last int) {
	used := func(n int) bool { return n > 0 }
	first = max(slices.IndexFunc(o[:], used), 0)
	for last = len(o) - 1; last > first && o[last] == 0; last-- {
	}
	return first, last
}

// changes lists the decisions that changed, the most frequent first.
func changes(n map[[2]int]int, labels []string) (out []change) {
	label := func(i int) string {
		if i < len(labels) {
			return labels[i]
		}
		return fmt.Sprint(i)
	}
	var pairs [][2]int
	for p := range n {
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b [2]int) int {
		if n[a] != n[b] {
			return n[b] - n[a]
		}
		return slices.Compare(a[:], b[:])
	})
	for _, p := range pairs {
		out = append(out, change{label(p[0]), label(p[1]), n[p]})
	}
	return out
}

// explain reports how schemes were chosen.
func explain(c *quant.Choice, b quant.Budget) *choice {
	f := c.File
	decides := b.Changed || quant.DecisionOf(f) != quant.NoDecision
	e := &choice{Budget: describeBudget(b), Search: scored(&c.Search, decides), Trials: c.Trials}
	if c.Check.Sequences > 0 {
		check := scored(&c.Check, decides)
		e.Check = &check
	}
	var least, most float64
	for i := range c.Layers {
		l := &c.Layers[i]
		e.Cost += l.Cost[l.Scheme]
		least += l.Cost[format.W8A8]
		most += l.Cost[format.F32]
		e.Layers = append(e.Layers, layerChoice{l.Ops, f.Ops[l.Ops[0]].Name, l.Scheme.String(), l.Alone[format.W8A8], l.Alone[format.W8A16]})
	}
	if least > 0 {
		e.Cost /= least
		e.Float = most / least
	}
	return e
}

func scored(s *quant.Score, decides bool) score {
	if !decides {
		return score{Sequences: s.Sequences, Error: s.Error}
	}
	return score{s.Sequences, s.Error, s.Decisions, s.Changed}
}

// print shows the report; a short one leaves out operations without weights.
func (s *costs) print(w io.Writer, short bool) {
	if s.Choice != nil {
		s.Choice.print(w)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "#\tkind\tname\tscheme\tbytes\tof f32\twork\t")
	if s.Output != nil {
		fmt.Fprint(t, "SQNR dB\tmax error\tmean error\tclipped\t")
	}
	fmt.Fprintln(t)
	for i := range s.Operations {
		if o := &s.Operations[i]; o.products || !short {
			fmt.Fprintf(t, "%d\t%s\n", i, o.row())
		}
	}
	if s.Output != nil {
		fmt.Fprintf(t, "\t\toutput\t\t%d\t%s\t\t%s\t%.2g\t%.2g\t\t\n", s.Bytes, percentOf(s.Bytes, s.FloatBytes), s.Output.Decibels(), s.Output.Max, s.Output.Mean)
	}
	t.Flush()
	if len(s.Steps) > 1 && !short {
		s.printSteps(w)
	}
	if s.Output == nil {
		return
	}
	fmt.Fprintf(w, "\n%d sequences with %d steps", s.Sequences, s.TimeSteps)
	if d := s.Decisions; d != nil {
		fmt.Fprintf(w, "; %d of %d decisions changed", d.Changed, d.Total)
		for i, c := range d.Changes {
			if i == 5 {
				fmt.Fprintf(w, ", …")
				break
			}
			fmt.Fprintf(w, "%s %d from %s to %s", map[bool]string{true: ":", false: ","}[i == 0], c.Count, c.From, c.To)
		}
	}
	fmt.Fprintln(w)
}

func (o *opDifference) row() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\t%s\t%s\t", o.Kind, shorten(o.Name), o.Scheme)
	if o.products {
		fmt.Fprintf(&b, "%d\t%s\t%.1f %%\t", o.Bytes, percentOf(o.Bytes, o.FloatBytes), 100*o.Work)
	} else {
		b.WriteString("-\t-\t-\t")
	}
	if o.Difference == nil {
		return b.String()
	}
	fmt.Fprintf(&b, "%s\t%.2g\t%.2g\t", o.Decibels(), o.Max, o.Mean)
	if o.Saturation != nil {
		fmt.Fprintf(&b, "%.2g %%\t", 100**o.Saturation)
	} else {
		b.WriteString("-\t")
	}
	return b.String()
}

func percentOf(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(of))
}

func (c *choice) print(w io.Writer) {
	fmt.Fprintf(w, "chosen for %s: %s", c.Budget, c.Search.String())
	if c.Check != nil {
		fmt.Fprintf(w, "; held out: %s", c.Check.String())
	}
	fmt.Fprintf(w, "\n%.2f times the cost of w8a8 throughout, of which f32 has %.2f; %d models tried\n", c.Cost, c.Float, c.Trials)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "error alone in\tw8a8\tw8a16\tchosen\t")
	for _, l := range c.Layers {
		fmt.Fprintf(t, "%s\t%.2g\t%.2g\t%s\t\n", shorten(l.Title()), l.W8A8, l.W8A16, l.Scheme)
	}
	t.Flush()
	fmt.Fprintln(w)
}

// Title names the operations.
func (l layerChoice) Title() string {
	if n := len(l.Operations); n > 1 {
		return fmt.Sprintf("%s and %d with its weights", l.Name, n-1)
	}
	return l.Name
}

func (s score) String() string {
	text := fmt.Sprintf("error %.2g on %d sequences", s.Error, s.Sequences)
	if s.Decisions > 0 {
		text += fmt.Sprintf(", %d of %d decisions changed", s.Changed, s.Decisions)
	}
	return text
}

func (d *Difference) Decibels() string {
	if d.SQNR == nil {
		return "exact"
	}
	return fmt.Sprintf("%.1f", *d.SQNR)
}

// printSteps shows the mean error of the output along time, as a line of bars and in eight parts.
func (s *costs) printSteps(w io.Writer) {
	fmt.Fprintf(w, "\nmean error of the output along time\n  %s\n", bars(pooled(s.Steps, 64)))
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "steps\tmax error\tmean error\t")
	for _, p := range pooled(s.Steps, 8) {
		fmt.Fprintf(t, "%d-%d\t%.2g\t%.2g\t\n", p.from, p.to-1, p.max, p.mean)
	}
	t.Flush()
}
