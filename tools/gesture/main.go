// Gesture finds hand gestures in the samples of two inertial sensors and prints them as they end.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/demo"
	"github.com/recur-go/recur/runtime"
)

const usage = `gesture finds hand gestures in the samples of two inertial sensors, wrist and finger, as they happen.

  gesture                          a synthetic demo recording
  gesture -in rec.csv              a file: 10 channels in ADC counts, then the time in ms
  sensor | gesture -in - -json     a live stream, one JSON object a gesture
  gesture -demo-csv demo.csv       write the demo recording, to see the format
  gesture -model my.recur -in -    a model of your own

Flags:
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// errUsage has been reported.
var errUsage = errors.New("usage")

type options struct {
	in, model, demoCSV string
	json               bool
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout, stderr)
	switch err {
	case nil:
	case flag.ErrHelp:
		return 0
	default:
		return 2
	}
	if err := o.run(stdin, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "gesture:", err)
		return 1
	}
	return 0
}

func parse(args []string, stdout, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("gesture", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.in, "in", "", "read samples from `FILE`, - for standard input (default: the demo recording)")
	fs.StringVar(&o.model, "model", "", "use the stream model of `FILE` (default: the embedded one)")
	fs.StringVar(&o.demoCSV, "demo-csv", "", "write the demo recording to `FILE`, - for standard output, and end")
	fs.BoolVar(&o.json, "json", false, "print JSON, one object a gesture")
	err = fs.Parse(args)
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: name a file with -in", fs.Arg(0))
	}
	switch {
	case err == flag.ErrHelp:
		io.WriteString(stdout, usage)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
	case err != nil:
		fmt.Fprintf(stderr, "gesture: %v; gesture -h explains\n", err)
		err = errUsage
	}
	return o, err
}

// input gives samples and their times in seconds, and io.EOF at the end.
type input struct {
	source interface {
		Next(sample []float32) (t float64, err error)
	}
	name string
	io.Closer
}

func (o *options) input(stdin io.Reader, names []string) (input, error) {
	switch o.in {
	case "":
		return input{demo.New(demo.Seed), "demo", io.NopCloser(nil)}, nil
	case "-":
		return input{gesture.NewReader(stdin, names), "standard input", io.NopCloser(nil)}, nil
	}
	f, err := os.Open(o.in)
	if err != nil {
		return input{}, err
	}
	return input{gesture.NewReader(f, names), o.in, f}, nil
}

// at says where in the input a sample is that cannot be used.
func (in *input) at(err error) error {
	r, isCSV := in.source.(*gesture.Reader)
	if e := (*gesture.InputError)(nil); isCSV && errors.As(err, &e) {
		e.Line = r.Line()
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

func (o *options) run(stdin io.Reader, stdout, stderr io.Writer) error {
	model, err := o.open()
	if err != nil {
		return err
	}
	spotter, err := gesture.NewSpotter(model)
	if err != nil {
		return fmt.Errorf("%s: %w", o.model, err)
	}
	names := gesture.Channels(model)
	if o.demoCSV != "" {
		return writeDemo(o.demoCSV, names, stdout)
	}
	in, err := o.input(stdin, names)
	if err != nil {
		return err
	}
	defer in.Close()
	if o.in == "" {
		fmt.Fprintln(stderr, "gesture: a synthetic demo recording; gesture -h lists other input")
	}
	sum, err := spot(spotter, &in, len(names), &printer{w: stdout, json: o.json})
	if err != nil {
		return err
	}
	sum.print(stderr, model.File().Input.Rate)
	return nil
}

func (o *options) open() (*runtime.Model, error) {
	if o.model == "" {
		return gesture.Stream()
	}
	return runtime.Open(o.model)
}

func writeDemo(path string, names []string, stdout io.Writer) error {
	if path == "-" {
		return demo.WriteCSV(stdout, names, demo.Seed)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(demo.WriteCSV(f, names, demo.Seed), f.Close())
}

// spot prints the gestures of an input as they end.
func spot(s *gesture.Spotter, in *input, width int, p *printer) (sum summary, err error) {
	sample := make([]float32, width)
	for {
		t, err := in.source.Next(sample)
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, in.at(err)
		}
		begin := time.Now()
		e, ok, err := s.Push(sample, t)
		if err != nil {
			return sum, in.at(err)
		}
		sum.add(t, time.Since(begin))
		if ok {
			sum.gestures++
			if err := p.print(e); err != nil {
				return sum, err
			}
		}
	}
	if sum.samples == 0 {
		return sum, fmt.Errorf("%s: no samples", in.name)
	}
	if e, ok := s.Flush(); ok {
		sum.gestures++
		return sum, p.print(e)
	}
	return sum, nil
}

// printer writes one line for each gesture, at once.
type printer struct {
	w    io.Writer
	json bool
	line []byte
}

func (p *printer) print(e gesture.Event) error {
	if p.json {
		p.line = appendJSON(p.line[:0], e)
	} else {
		p.line = appendText(p.line[:0], e)
	}
	p.line = append(p.line, '\n')
	_, err := p.w.Write(p.line)
	return err
}

const decimals = 3 // ms, and more than a confidence deserves

func appendJSON(b []byte, e gesture.Event) []byte {
	b = append(b, `{"t_start":`...)
	b = strconv.AppendFloat(b, e.Start, 'f', decimals, 64)
	b = append(b, `,"t_end":`...)
	b = strconv.AppendFloat(b, e.End, 'f', decimals, 64)
	b = append(b, `,"label":"`...)
	for _, c := range []byte(e.Label) { // a label holds no control characters
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	b = append(b, `","confidence":`...)
	b = strconv.AppendFloat(b, float64(e.Confidence), 'f', decimals, 64)
	return append(b, '}')
}

func appendText(b []byte, e gesture.Event) []byte {
	b = appendSeconds(b, e.Start)
	b = append(b, " s to "...)
	b = appendSeconds(b, e.End)
	b = append(b, " s  "...)
	b = append(b, e.Label...)
	b = append(b, "  confidence "...)
	return strconv.AppendFloat(b, float64(e.Confidence), 'f', decimals, 64)
}

// appendSeconds aligns times below a day or so.
func appendSeconds(b []byte, t float64) []byte {
	const width = 8
	var digits [32]byte
	d := strconv.AppendFloat(digits[:0], t, 'f', decimals, 64)
	for n := len(d); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, d...)
}

// summary counts what was done and how long it took, without the waiting for samples.
type summary struct {
	gestures, samples int
	first, last       float64
	busy              time.Duration
}

func (s *summary) add(t float64, d time.Duration) {
	if s.samples == 0 {
		s.first = t
	}
	s.last = t
	s.samples++
	s.busy += d
}

// print writes the summary; rate is the one that the model was trained at, 0 if unknown.
func (s *summary) print(w io.Writer, rate float32) {
	fmt.Fprintf(w, "gesture: %d gestures in %d samples", s.gestures, s.samples)
	busy := max(s.busy, 1).Seconds()
	fmt.Fprintf(w, "; %.0f samples a second", float64(s.samples)/busy)
	if span := s.last - s.first; span > 0 {
		fmt.Fprintf(w, ", %.3f %% of real time", 100*busy/span)
		got := float64(s.samples-1) / span
		if r := float64(rate); r > 0 && (got < 0.8*r || got > 1.25*r) {
			fmt.Fprintf(w, "\ngesture: %.1f samples for each second of time; the model was trained at %.1f", got, r)
		}
	}
	fmt.Fprintln(w)
}
