package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/replace"
)

var inspectCommand = command{"inspect", "show what is in a .recur file", `
usage: recur inspect FILE [flags]

Shows the input, the operations with their sizes and cost, labels and metadata of a .recur file, or of a model of
another format as it would be converted.

  recur inspect gesture.recur
  recur inspect gesture.onnx
      can it be converted, and to what?
  recur inspect gesture.recur -json
      the same for programs
  recur inspect gesture.recur -weights
      how the numbers of every blob of weights are spread, as they are stored: a row of bars from -reach to reach (127 for
      int8), and the factors of the rows
  recur inspect gesture.recur -html gesture.html
      a page with a picture of the network and the histograms

Multiply-adds are those of the matrix products: for each time step, or once a sequence for operations after a pooling
over time. Bytes are those of the weights and scales as stored.`, inspect}

// report is what inspect shows.
type report struct {
	File         string            `json:"file"`
	Bytes        int64             `json:"bytes,omitempty"` // of a .recur file
	Input        input             `json:"input"`
	Output       output            `json:"output"`
	TwoWay       bool              `json:"two_way"`
	Operations   []operation       `json:"operations"`
	Parameters   int               `json:"parameters"`
	PerStep      int               `json:"multiply_adds_per_step"`
	PerSequence  int               `json:"multiply_adds_per_sequence"`
	WeightBytes  int               `json:"weight_bytes"`
	SessionState int               `json:"state_bytes"`
	Meta         map[string]string `json:"metadata,omitempty"`
	meta         []format.Pair
}

type input struct {
	Width    int       `json:"width"`
	Rate     float32   `json:"rate,omitempty"`
	Channels []channel `json:"channels"`
}

type channel struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
}

type output struct {
	Width   int      `json:"width"`
	PerStep bool     `json:"per_step"`
	Labels  []string `json:"labels,omitempty"`
}

type operation struct {
	Kind         string   `json:"kind"`
	Name         string   `json:"name"`
	Scheme       string   `json:"scheme"`
	In           int      `json:"in"`
	Out          int      `json:"out"`
	Hidden       int      `json:"hidden,omitempty"`
	Gates        string   `json:"gates,omitempty"` // in the order of their rows
	Notes        []string `json:"notes,omitempty"`
	PerStep      bool     `json:"per_step"`
	Parameters   int      `json:"parameters"`
	MultiplyAdds int      `json:"multiply_adds"`
	Bytes        int      `json:"bytes"`

	Weights []weightStats `json:"weights,omitempty"`
}

func inspect(c *call) error {
	var im importFlags
	im.define(c.flags)
	asJSON := c.flags.Bool("json", false, "print JSON")
	weights := c.flags.Bool("weights", false, "also show how the weights are spread")
	page := c.flags.String("html", "", "also write a page that draws the network to `FILE`")
	args, err := c.parse("FILE")
	if err != nil {
		return err
	}
	m, err := im.open(args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	r := describe(args[0], m)
	if *page != "" {
		drawn := describe(args[0], m)
		drawn.measure(m.File())
		if err := replace.File(*page, func(w io.Writer) error { return drawn.html(w, m.File()) }); err != nil {
			return err
		}
	}
	if *weights {
		r.measure(m.File())
	}
	if *asJSON {
		return writeJSON(c.out, r)
	}
	r.print(c.out)
	if *weights {
		r.printWeights(c.out)
	}
	return nil
}

// measure adds how the weights are spread.
func (r *report) measure(f *format.File) {
	for i := range r.Operations {
		r.Operations[i].Weights = weightsOf(f, &f.Ops[i])
	}
}

func (r *report) way() string {
	if r.TwoWay {
		return "two-way: needs the whole sequence"
	}
	return "one-way"
}

func (r *report) each() string {
	if r.Output.PerStep {
		return "for every step"
	}
	return "for the sequence"
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func describe(path string, m *runtime.Model) *report {
	f := m.File()
	r := &report{File: path, TwoWay: m.TwoWay(), SessionState: m.NewSession().StateSize(), meta: shortened(f.Meta), Meta: map[string]string{}}
	if info, err := os.Stat(path); err == nil && !isForeign(path) {
		r.Bytes = info.Size()
	}
	r.Input = input{Width: m.InputWidth(), Rate: f.Input.Rate}
	for _, ch := range f.Input.Channels {
		r.Input.Channels = append(r.Input.Channels, channel{ch.Name, ch.Unit})
	}
	r.Output = output{m.OutputWidth(), m.PerStep(), f.Labels}
	for i := range f.Ops {
		o := describeOp(f, &f.Ops[i])
		r.Operations = append(r.Operations, o)
		r.Parameters += o.Parameters
		r.WeightBytes += o.Bytes
		if o.PerStep {
			r.PerStep += o.MultiplyAdds
		} else {
			r.PerSequence += o.MultiplyAdds
		}
	}
	for _, p := range f.Meta {
		r.Meta[p.Key] = p.Value
	}
	return r
}

// shortened is metadata for people, who need not see all of what programs keep there.
func shortened(meta []format.Pair) []format.Pair {
	const most = 300
	meta = slices.Clone(meta)
	for i, p := range meta {
		if r := []rune(p.Value); len(r) > most {
			meta[i].Value = fmt.Sprintf("%s… (%d bytes)", string(r[:most/4]), len(p.Value))
		}
	}
	return meta
}

func describeOp(f *format.File, op *format.Op) operation {
	o := operation{Kind: op.Kind.String(), Name: op.Name, Scheme: op.Scheme.String(), In: op.Inputs(), Out: op.Out.Width, Hidden: op.Hidden,
		PerStep: f.PerStep(op)}
	o.Gates = map[format.Kind]string{format.LSTM: "i f g o", format.GRU: "z r n", format.RNN: "h"}[op.Kind]
	o.Parameters, o.MultiplyAdds = parameters(f, op)
	for _, a := range op.Args {
		b := &f.Blobs[a.Blob]
		o.Bytes += len(b.I8) + 4*len(b.F32) + 4*len(b.I32)
	}
	for _, n := range []struct {
		set  bool
		note string
	}{
		{op.Flags&format.FlagReverse != 0, "backward"},
		{op.Flags&format.FlagResetBefore != 0, "reset before"},
		{op.Flags&format.FlagReLU != 0, "relu"},
		{f.Arg(op, format.RolePeep) != nil, "peepholes"},
		{f.Arg(op, format.RoleH0) != nil || f.Arg(op, format.RoleC0) != nil, "initial state"},
		{op.Flags&format.FlagCoupled != 0, "coupled gates"},
		{op.Flags&format.FlagCell != 0, "cell state"},
		{op.Kind.Recurrent() && f.Blocks(op) > 0, fmt.Sprintf("%d steps a call", f.Blocks(op))},
		{op.Kind == format.Dense && f.Blocks(op) > 1, fmt.Sprintf("%d times", f.Blocks(op))},
		{f.Arg(op, format.RoleActs) != nil, "other activations"},
		{f.Arg(op, format.RoleCellClip) != nil, "clipped cell"},
	} {
		if n.set {
			o.Notes = append(o.Notes, n.note)
		}
	}
	return o
}

// parameters counts the trained numbers of an operation, without padding and scales, and the multiply-adds of its products.
func parameters(f *format.File, op *format.Op) (count, products int) {
	h, g := op.Hidden, op.Gates()
	var in int
	if len(op.In) > 0 {
		in = op.In[0].Width
	}
	switch {
	case op.Kind == format.Affine:
		return 2 * in, 0
	case op.Kind == format.Const:
		return op.Out.Width, 0
	case op.Kind == format.Dense:
		n := f.Blocks(op)
		in, out := in/n, op.Out.Width/n
		return out*in + out, n * out * in
	case op.Kind == format.Conv:
		return convolution(f, op)
	case op.Kind == format.MatMul:
		return 0, op.Out.Width * int(f.Dims(op)[2])
	case op.Kind.Recurrent():
		n := max(f.Blocks(op), 1)
		count = g*h*(in/n+h) + g*h
		products = n * (count - g*h)
	}
	for role, n := range map[format.Role]int{format.RoleBiasH: g * h, format.RolePeep: 3 * h, format.RoleH0: h, format.RoleC0: h} {
		if f.Arg(op, role) != nil {
			count += n
		}
	}
	return count, products
}

func convolution(f *format.File, op *format.Op) (count, products int) {
	w, err := format.ParseWindow(f.Dims(op))
	if err != nil {
		return 0, 0
	}
	_, points, kernel := w.Points()
	out := op.Out.Width / points
	size := kernel * w.Channels / w.Groups
	return out*size + out, op.Out.Width * size
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.File)
	fmt.Fprintf(w, "input   %d channels: %s", r.Input.Width, channelList(r.Input.Channels))
	if r.Input.Rate > 0 {
		fmt.Fprintf(w, ", %g steps a second", r.Input.Rate)
	}
	fmt.Fprintf(w, "\noutput  %d channels %s", r.Output.Width, r.each())
	if len(r.Output.Labels) > 0 {
		fmt.Fprintf(w, ": %s", strings.Join(r.Output.Labels, " "))
	}
	fmt.Fprintf(w, "\n%s\n\n", r.way())
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "#\tkind\tname\tin\tout\thidden\tscheme\tparameters\tmult-adds\tbytes\t  notes")
	for i, o := range r.Operations {
		notes := o.remarks()
		trailer := ""
		if len(notes) > 0 {
			trailer = "  " + strings.Join(notes, ", ")
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", i, o.Kind, shorten(o.Name), o.In, o.Out, orDash(o.Hidden), o.Scheme,
			o.Parameters, o.MultiplyAdds, o.Bytes, trailer)
	}
	t.Flush()
	fmt.Fprintf(w, "\n%d parameters in %d bytes; %d multiply-adds a step", r.Parameters, r.WeightBytes, r.PerStep)
	if r.PerSequence > 0 {
		fmt.Fprintf(w, " and %d a sequence", r.PerSequence)
	}
	fmt.Fprintf(w, "; %d bytes of state", r.SessionState)
	if r.Bytes > 0 {
		fmt.Fprintf(w, "; the file has %d bytes", r.Bytes)
	}
	fmt.Fprintln(w)
	for _, p := range r.meta {
		fmt.Fprintf(w, "%s: %s\n", p.Key, p.Value)
	}
}

func channelList(c []channel) string {
	const most = 12
	var parts []string
	for i, ch := range c {
		if i == most {
			parts = append(parts, fmt.Sprintf("… %s", c[len(c)-1].Name))
			break
		}
		s := ch.Name
		if ch.Unit != "" {
			s += " [" + ch.Unit + "]"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// shorten keeps the end of a long name, which says more than its start.
func shorten(s string) string {
	const most = 32
	if r := []rune(s); len(r) > most {
		return "…" + string(r[len(r)-most+1:])
	}
	return s
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
