package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/fromonnx"
)

var convertCommand = command{"convert", "make a .recur file from an ONNX, PyTorch or Keras model", `
usage: recur convert MODEL -o OUT.recur [flags]

Converts a recurrent network to a .recur file. The int8 schemes need to know how large the inputs get: give some typical
input, or a bound.

  recur convert gesture.onnx -o gesture.recur -calib train.npz
      int8 weights and activations (w8a8), scales from the sequences in train.npz: each array is one sequence
      [T, features] or a batch [N, T, features]
  recur convert tracker.onnx -o tracker.recur -scheme w8a16 -range 1
      16-bit activations, for nets whose output is a position; every input is within [-1, 1]
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

From PyTorch by way of ONNX: torch.onnx.export(net, example, "net.onnx", dynamo=False, dynamic_axes={"x": {0: "T"}}). Where the model's
metadata has the properties labels, channels, units or rate, these are taken over.`, convert}

func convert(c *call) error {
	var im importFlags
	im.define(c.flags)
	out := c.flags.String("o", "", "the `FILE` to write")
	scheme := c.flags.String("scheme", "w8a8", "`SCHEME` of the products: w8a8, w8a16 or f32")
	calib := c.flags.String("calib", "", "typical input, a .npz or .npy `FILE`, from which the int8 schemes take their scales")
	bound := c.flags.Float64("range", 0, "in place of -calib: all inputs lie within -`R` and R")
	var about describing
	about.define(c)
	args, err := c.parse("MODEL")
	if err != nil {
		return err
	}
	s, err := format.ParseScheme(*scheme)
	switch {
	case err != nil:
		return usageError{err}
	case *out == "":
		return misused("where to? -o OUT.recur")
	case *calib != "" && *bound != 0:
		return misused("-calib or -range, not both")
	case !(*bound >= 0 && *bound < 1e30):
		return misused("-range %v", *bound)
	case !isForeign(args[0]):
		return misused("%s: want an .onnx, .pt, .pth, .safetensors, .keras or .h5 file", args[0])
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
	o := quant.Options{Scheme: s, Range: float32(*bound)}
	if *calib != "" {
		batches, err := readBatches(*calib, g.Values[0].Width)
		if err != nil {
			return err
		}
		o.Calib = all(batches)
	}
	return c.build(g, o, args[0], *out)
}

func (c *call) build(g *quant.Graph, o quant.Options, source, out string) error {
	f, err := quant.Build(g, o)
	if errors.Is(err, quant.ErrRange) {
		return fmt.Errorf("%s needs to know how large the inputs get: give typical input (-calib FILE.npz) or a bound (-range R), or use -scheme f32", o.Scheme)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	b, err := format.Encode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	m, err := runtime.Load(b)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if err := writeFile(out, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
		return err
	}
	fmt.Fprintf(c.err, "%s: %d operations, %s, %d -> %d channels, %d bytes\n", out, len(f.Ops), o.Scheme, m.InputWidth(), m.OutputWidth(), len(b))
	return c.cost(g, o, m, source)
}

// cost says what the scheme changes on the calibration data.
func (c *call) cost(g *quant.Graph, o quant.Options, m *runtime.Model, source string) error {
	if o.Scheme == format.F32 || len(o.Calib) == 0 {
		return nil
	}
	const most = 64
	ref, err := assemble(source, g)
	if err != nil {
		return err
	}
	r, err := quant.Compare(ref, m, o.Calib[:min(len(o.Calib), most)])
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "on the calibration data, against float: %.1f dB, largest error %.2g", r.Output.SQNR(), r.Output.Max())
	if decides(m.File()) {
		fmt.Fprintf(c.err, ", %d of %d decisions changed", r.Changed, r.Decisions)
	}
	fmt.Fprintln(c.err)
	return nil
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
