package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/fromonnx"
	"github.com/recur-go/recur/tools/internal/replace"
)

var convertCommand = command{"convert", "make a .recur file from an ONNX, TensorFlow Lite, PyTorch or Keras model", `
usage: recur convert MODEL -o OUT.recur [flags]

Converts a recurrent network to a .recur file, and says what that costs. The int8 schemes need to know how large the inputs get:
give some typical input, or a bound. Without either, the range comes from the model where it is quantised or normalises its input.

  recur convert gesture.onnx -o gesture.recur -calib train.npz
      int8 weights and activations (w8a8), scales from the sequences in train.npz: each array is one sequence
      [T, features] or a batch [N, T, features]
  recur convert tracker.onnx -o tracker.recur -scheme w8a16 -range 1
      16-bit activations, for nets whose output is a position; every input is within [-1, 1]
  recur convert gesture.onnx -o gesture.recur -calib train.npz -scheme auto -budget 0.01
      the cheapest mix of schemes by layer whose output has a relative RMS error of at most 0.01, which is the same as 40dB. It is
      kept on sequences that no scale comes from too, if there are 8 or more: a quarter is held out
  recur convert gesture.onnx -o gesture.recur -calib train.npz -scheme auto -budget changed=0.5%
      the cheapest mix that changes at most 0.5 % of the decisions of a classifier
  recur convert gesture.onnx -o gesture.recur -calib train.npz -html report.html
      what the schemes cost, with plots: errors of every layer along time, clipped activations, bytes, work (-json for programs)
  recur convert gesture.onnx -o exact.recur -scheme f32
      float32 throughout, for reference
  recur convert gesture.onnx -o gesture.recur -calib train.npz -labels wave,tap,circle -channels ax,ay,az -rate 100
      with names for its outputs and inputs, which the file keeps
  recur convert stream.onnx -o stream.recur -scheme f32 -zero h0,c0
      initial states that are inputs of the model start at zero; the session keeps them from step to step
  recur convert vad.onnx -o vad.recur -scheme f32 -shape input=1x576 -fix sr=16000 -state state=stateN
      a model that works on one frame a call and hands its state around: the session keeps it. Where names or shapes make plain
      which inputs are states, -state is not needed

  recur convert gesture.pt -arch gesture.json -o gesture.recur -range 1
      PyTorch weights (.pt, .pth, .safetensors), with what recur describe gesture.pt wrote and you have corrected

  recur convert gesture.keras -o gesture.recur -range 1
      a Keras model, .keras or .h5, as model.save writes it. One that cannot run step by step, since it convolves over time, say,
      takes a whole window in a step; its calibration data are windows [N, T, features]
  recur convert gesture.tflite -o gesture.recur -range 1
      a TensorFlow Lite model, of floats or of integers; -output, -fix, -state and their like apply as to ONNX

From PyTorch by way of ONNX: torch.onnx.export(net, example, "net.onnx", dynamo=False, dynamic_axes={"x": {0: "T"}}). Where the model's
metadata has the properties labels, channels, units or rate, these are taken over.`, convert}

func convert(c *call) error {
	var im importFlags
	im.define(c.flags)
	out := c.flags.String("o", "", "the `FILE` to write")
	scheme := c.flags.String("scheme", "w8a8", "`SCHEME` of the products: w8a8, w8a16, f32 or auto")
	budget := c.flags.String("budget", "", "with -scheme auto: the largest relative RMS `ERROR` of the output (0.02, or 34dB), or with changed=0.5% the share of decisions that may change (default 0.02)")
	calib := c.flags.String("calib", "", "typical input, a .npz or .npy `FILE`, from which the int8 schemes take their scales")
	bound := c.flags.Float64("range", 0, "in place of -calib: all inputs lie within -`R` and R")
	asJSON := c.flags.Bool("json", false, "print the report as JSON")
	page := c.flags.String("html", "", "write the report, with plots, to `FILE`")
	var about describing
	about.define(c)
	args, err := c.parse("MODEL")
	if err != nil {
		return err
	}
	auto := *scheme == "auto"
	s, err := format.W8A8, error(nil)
	if !auto {
		s, err = format.ParseScheme(*scheme)
	} else if *budget == "" {
		*budget = "0.02"
	}
	if err == nil && *budget != "" {
		_, err = parseBudget(*budget)
	}
	switch {
	case err != nil:
		return usageError{err}
	case !auto && *budget != "":
		return misused("-budget goes with -scheme auto")
	case auto && *calib == "":
		return misused("-scheme auto needs data to measure on: -calib FILE.npz")
	case *out == "":
		return misused("where to? -o OUT.recur")
	case *calib != "" && *bound != 0:
		return misused("-calib or -range, not both")
	case !(*bound >= 0 && *bound < 1e30):
		return misused("-range %v", *bound)
	case !isForeign(args[0]):
		return misused("%s: want an .onnx, .tflite, .pt, .pth, .safetensors, .keras or .h5 file", args[0])
	}
	g, err := im.load(args[0])
	if err != nil {
		return err
	}
	for _, guess := range im.guesses {
		fmt.Fprintf(c.err, "%s: %s\n", im.arch, guess)
	}
	for _, p := range g.Meta {
		if p.Key == "states" {
			fmt.Fprintf(c.err, "states that the session keeps: %s\n", p.Value)
		}
	}
	if err := about.apply(g); err != nil {
		return err
	}
	v := conversion{call: c, source: args[0], out: *out, data: *calib, g: g, o: quant.Options{Scheme: s, Range: float32(*bound)}}
	if auto {
		v.budget = *budget
	}
	if *calib != "" {
		batches, err := readBatches(*calib, g.Values[0].Width)
		if err != nil {
			return err
		}
		v.o.Calib = all(batches)
	}
	r, err := v.run()
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := r.write(*page); err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(c.out, r)
	}
	if v.o.Scheme != format.F32 {
		r.print(c.err, true)
	}
	return nil
}

// conversion is a model that becomes a file.
type conversion struct {
	*call
	source, out, data string
	g                 *quant.Graph
	o                 quant.Options
	budget            string // of -scheme auto
}

// run writes the file, and reports what it costs.
func (v *conversion) run() (*costs, error) {
	f, why, err := v.quantise()
	if errors.Is(err, quant.ErrRange) {
		return nil, errors.New("int8 needs to know how large the inputs get, and the model does not say: give typical input (-calib FILE.npz) or a bound (-range R), or use -scheme f32")
	}
	if err != nil {
		return nil, err
	}
	b, err := format.Encode(f)
	if err != nil {
		return nil, err
	}
	m, err := runtime.Load(b)
	if err != nil {
		return nil, err
	}
	if err := replace.File(v.out, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
		return nil, err
	}
	fmt.Fprintf(v.err, "%s: %d operations, %s, %d -> %d channels, %d bytes\n", v.out, len(f.Ops), schemesOf(f), m.InputWidth(), m.OutputWidth(), len(b))
	return v.report(m, why)
}

func (v *conversion) quantise() (*format.File, *choice, error) {
	if v.budget == "" {
		f, err := quant.Build(v.g, v.o)
		return f, nil, err
	}
	budget, err := parseBudget(v.budget)
	if err != nil {
		return nil, nil, err
	}
	c, err := quant.Auto(v.g, v.o.Calib, budget)
	if err != nil {
		return nil, nil, err
	}
	return c.File, explain(c, budget), nil
}

// report says what the schemes cost on the calibration data, or on a part of it if there is much.
func (v *conversion) report(m *runtime.Model, why *choice) (*costs, error) {
	float, err := assemble(v.source, v.g)
	if err != nil {
		return nil, err
	}
	seqs := quant.Some(v.g, v.o.Calib)
	r := weigh(float, m, 1)
	if len(seqs) > 0 {
		if r, err = assess(float, m, seqs); err != nil {
			return nil, err
		}
		r.Data = fmt.Sprintf("the calibration data, %s", v.data)
		if len(seqs) < len(v.o.Calib) {
			r.Data += fmt.Sprintf(" (%d of %d sequences)", len(seqs), len(v.o.Calib))
		}
	}
	r.Model, r.File, r.Choice = v.source, v.out, why
	if schemesOf(m.File()) != format.F32.String() {
		r.Range = v.o.RangeSource(v.g).String()
		if why != nil && why.Check != nil {
			r.Range += ", less the sequences held out"
		}
		fmt.Fprintf(v.err, "the scales of the input come from %s\n", r.Range)
	}
	return r, nil
}

// schemesOf names the schemes of the operations with weights.
func schemesOf(f *format.File) string {
	var seen [3]bool
	for i := range f.Ops {
		if f.Ops[i].Kind.Products() {
			seen[f.Ops[i].Scheme] = true
		}
	}
	var names []string
	for _, s := range []format.Scheme{format.W8A8, format.W8A16, format.F32} {
		if seen[s] {
			names = append(names, s.String())
		}
	}
	if names == nil {
		return format.F32.String()
	}
	return strings.Join(names, " and ")
}

// parseBudget reads what -budget says.
func parseBudget(s string) (b quant.Budget, err error) {
	number := s
	unit := 1.0
	if rest, ok := strings.CutPrefix(s, "changed="); ok {
		b.Changed = true
		number = rest
	}
	if rest, ok := strings.CutSuffix(number, "%"); ok && b.Changed {
		number, unit = rest, 0.01
	}
	if rest, ok := strings.CutSuffix(number, "dB"); ok && !b.Changed {
		db, err := strconv.ParseFloat(rest, 64)
		b.Most = math.Pow(10, -db/20)
		return b, budgetError(s, err, b.Most)
	}
	v, err := strconv.ParseFloat(number, 64)
	b.Most = v * unit
	return b, budgetError(s, err, b.Most)
}

func budgetError(s string, err error, most float64) error {
	if err == nil && most >= 0 && most <= 1 {
		return nil
	}
	return fmt.Errorf("-budget %q: want an error such as 0.02 or 34dB, or a share of the decisions such as changed=0.5%%", s)
}

func describeBudget(b quant.Budget) string {
	if b.Changed {
		return fmt.Sprintf("at most %.3g %% of the decisions changed", 100*b.Most)
	}
	return fmt.Sprintf("a relative error of the output of at most %.3g", b.Most)
}

// describing are the flags that name the inputs and outputs.
type describing struct {
	labels, channels, units string
	rate                    float64
	meta                    []format.Pair
}

func (d *describing) define(c *call) {
	c.flags.StringVar(&d.labels, "labels", "", "`NAMES` of the output channels, with commas")
	c.flags.StringVar(&d.channels, "channels", "", "`NAMES` of the input channels, with commas")
	c.flags.StringVar(&d.units, "units", "", "`UNITS` of the input channels, with commas")
	c.flags.Float64Var(&d.rate, "rate", 0, "time steps per second, `HZ`")
	c.flags.Func("meta", "metadata to keep in the file, `KEY=VALUE`; may be repeated", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return errors.New("want KEY=VALUE")
		}
		d.meta = append(d.meta, format.Pair{Key: key, Value: value})
		return nil
	})
}

func (d *describing) apply(g *quant.Graph) error {
	list := func(flag, s string, want int, use func(i int, v string)) error {
		if s == "" {
			return nil
		}
		v := fromonnx.List(s)
		if len(v) != want {
			return misused("-%s names %d channels, the model has %d", flag, len(v), want)
		}
		for i, x := range v {
			use(i, x)
		}
		return nil
	}
	outputs := g.Values[g.Output].Width
	labels := make([]string, outputs)
	if d.labels != "" {
		g.Labels = labels
	}
	if d.rate < 0 || d.rate > 1e9 {
		return misused("-rate %v", d.rate)
	}
	if d.rate > 0 {
		g.Input.Rate = float32(d.rate)
	}
	g.Meta = append(g.Meta, d.meta...)
	ch := g.Input.Channels
	return errors.Join(
		list("labels", d.labels, outputs, func(i int, v string) { labels[i] = v }),
		list("channels", d.channels, len(ch), func(i int, v string) { ch[i].Name = v }),
		list("units", d.units, len(ch), func(i int, v string) { ch[i].Unit = v }))
}
