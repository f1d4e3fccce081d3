package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/teach"
)

const recordUsage = `gesture record collects examples of a gesture, for gesture teach.

  gesture record -label wave -n 5 -o my.csv -sensor iio    five examples of a new gesture
  gesture record -label push -n 5 -o my.csv -sensor iio    and of another: the file grows
  gesture record -label wave -n 0 -o my.csv -in rec.csv    all movements of a recording
  gesture record -label wave -enter -o my.csv -sensor iio  Enter begins and ends each example
  gesture record -label wave -o my.csv -sensor phone -web :8443 -web-tls    with a phone that shows the page (docs/deploy.md)

Hold still for a second; then make the gesture, with a short rest after each.

Flags:
`

// recording is the command record.
type recording struct {
	options
	label, out string
	n          int
	enter      bool
}

func record(h host, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o := recording{}
	o.host = h
	fs := flag.NewFlagSet("gesture record", flag.ContinueOnError)
	fs.StringVar(&o.label, "label", "", "the gesture's `NAME`")
	fs.IntVar(&o.n, "n", 5, "record `COUNT` examples, 0: until the samples end")
	fs.StringVar(&o.out, "o", "", "add them to `FILE.csv`")
	fs.BoolVar(&o.enter, "enter", false, "begin and end each example with Enter")
	fs.StringVar(&o.in, "in", "", "read samples from `FILE`, - for standard input")
	fs.StringVar(&o.model, "model", "", "the model of `FILE` says which channels there are, and at which rate (default: the embedded one)")
	o.sensing.flags(fs)
	o.network.webFlags(fs)
	return command(fs, recordUsage, args, stdout, stderr, o.checkRecord, func() error { return o.record(stdin, stderr) })
}

// command runs a subcommand: 0 where it did what it should, 2 where the flags are wrong, 1 for all else.
func command(fs *flag.FlagSet, usage string, args []string, stdout, stderr io.Writer, check, run func() error) int {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err == nil {
		err = check()
	}
	switch {
	case err == flag.ErrHelp:
		io.WriteString(stdout, usage)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v; %s -h explains\n", fs.Name(), err, fs.Name())
		return 2
	}
	if err := run(); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", fs.Name(), err)
		return 1
	}
	return 0
}

func (o *recording) checkRecord() error {
	switch {
	case strings.TrimSpace(o.label) == "":
		return errors.New("no -label")
	case o.out == "":
		return errors.New("no -o")
	case o.n < 0 || o.n > 1000:
		return fmt.Errorf("-n %d: want 0 to 1000", o.n)
	case o.in == "" && o.spec == "":
		return errors.New("neither -sensor nor -in")
	case o.in != "" && o.spec != "":
		return errors.New("both -in and -sensor")
	case o.enter && (o.in != "" || strings.HasSuffix(o.spec, ":-")):
		return errors.New("-enter goes with a sensor: it wants standard input for itself")
	}
	if err := o.network.check(); err != nil {
		return err
	}
	return o.sensing.check()
}

func (o *recording) record(stdin io.Reader, stderr io.Writer) error {
	model, err := o.load()
	if err != nil {
		return err
	}
	units, err := gesture.Units(model)
	if err != nil {
		return err
	}
	file := &exampleFile{path: o.out, channels: gesture.Channels(model)}
	if _, err := file.read(); err != nil { // before anyone moves
		return err
	}
	rate := float64(model.File().Input.Rate)
	if rate == 0 {
		return errors.New("the model does not say how many samples a second it wants")
	}
	r := &recorder{segments: teach.NewSegmenter(units, rate), rate: rate, width: len(units), label: strings.TrimSpace(o.label), wanted: o.n, w: stderr}
	if r.outlets, o.sensing.phone, err = o.network.start(o.host, o.facts(model), r.say); err != nil {
		return err
	}
	defer r.outlets.close(true)
	in, err := o.options.open(stdin, model, &reporter{w: stderr, outlets: r.outlets}, r.begin)
	if err != nil {
		return err
	}
	defer in.Close()
	interrupted := new(atomic.Bool)
	if in.live() {
		var stop func()
		interrupted, stop = closeOnSignal(in)
		defer stop()
	}
	if o.enter {
		r.keys = keys(stdin)
	}
	r.begin()
	err = r.run(&in)
	if interrupted.Load() {
		err = nil
	}
	if len(r.examples) == 0 {
		return errors.Join(err, fmt.Errorf("%s: no example", in.name))
	}
	if werr := file.add(r.examples, 1000/rate); werr != nil {
		return errors.Join(err, werr)
	}
	fmt.Fprintf(stderr, "gesture record: %d examples of %s added to %s\n", len(r.examples), r.label, o.out)
	if err == nil && len(r.examples) < o.n {
		err = fmt.Errorf("%s ended after %d of %d examples", in.name, len(r.examples), o.n)
	}
	return err
}

// recorder turns samples into examples and tells a person what to do.
type recorder struct {
	segments *teach.Segmenter
	rate     float64
	width    int
	label    string
	wanted   int
	w        io.Writer
	keys     <-chan struct{} // Enter; nil: movements are found
	outlets  outlets
	examples []teach.Example

	ready bool
	rows  []float32 // with keys: the latest samples, or those since Enter and some before
	first int       // row of rows where Enter was pressed, -1: it was not
}

// begin is for samples that do not go on from those before.
func (r *recorder) begin() {
	r.rows, r.first = nil, -1
	if r.segments != nil {
		r.segments.Break()
	}
}

func (r *recorder) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(r.w, "gesture record:", text)
	r.outlets.say(text)
}

func (r *recorder) done() bool { return r.wanted > 0 && len(r.examples) >= r.wanted }

func (r *recorder) run(in *input) error {
	sample := make([]float32, r.width)
	if r.keys == nil {
		r.say("hold still for a second")
	} else {
		r.say("press Enter, make the gesture, press Enter")
	}
	last := 0.0
	for n := 0; !r.done(); n++ {
		t, err := in.source.Next(sample)
		if err == io.EOF {
			return nil
		}
		if err == nil && n > 0 && !(t > last) && in.source != nil {
			if _, isFeed := in.source.(*feed); !isFeed {
				err = fmt.Errorf("%v s is not after %v s", t, last)
			}
		}
		if err != nil {
			return in.at(err)
		}
		last = t
		r.outlets.sample(t, sample, nil)
		r.push(sample)
	}
	return nil
}

func (r *recorder) push(sample []float32) {
	var e *teach.Example
	var err error
	if r.keys != nil {
		e, err = r.byKeys(sample)
	} else {
		e, err = r.segments.Push(sample)
	}
	switch {
	case err != nil:
		r.say("%v; once more", err)
	case e != nil:
		e.Label = r.label
		r.examples = append(r.examples, *e)
		r.say("example %d: %.2f s", len(r.examples), float64(e.End-e.First)/r.rate)
	case !r.ready && r.keys == nil && r.segments.Settled():
		r.say("now make the gesture %s, and rest after each", r.label)
		r.ready = true
	}
}

// byKeys cuts at Enter; before it and after it some rest is kept.
func (r *recorder) byKeys(sample []float32) (*teach.Example, error) {
	const rest = 0.3 // s
	r.rows = append(r.rows, sample...)
	keep := int(rest * r.rate)
	pressed := false
	select {
	case <-r.keys:
		pressed = true
	default:
	}
	n := len(r.rows) / r.width
	switch {
	case r.first < 0 && pressed:
		r.first = n - 1
	case r.first < 0 && n > keep:
		r.rows = slices.Delete(r.rows, 0, r.width)
	case r.first >= 0 && (pressed || float64(n) > 60*r.rate):
		e := &teach.Example{Rows: slices.Clone(r.rows), First: r.first, End: n}
		r.rows, r.first = nil, -1
		return e, teach.Good(e, r.width, r.rate)
	}
	return nil, nil
}

// keys tells of lines.
func keys(stdin io.Reader) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		for s := bufio.NewScanner(stdin); s.Scan(); {
			c <- struct{}{}
		}
	}()
	return c
}

// exampleFile is a file of examples that grows.
type exampleFile struct {
	path     string
	channels []string
}

// read returns the file, nothing where there is none, or says why nothing can be added to it.
func (f *exampleFile) read() ([]byte, error) {
	b, err := os.ReadFile(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, err := csv.NewReader(bytes.NewReader(b)).Read()
	if err != nil || !slices.Equal(head, teach.Header(f.channels)) {
		return nil, fmt.Errorf("%s: the columns are not %s: it is no file of this model's examples", f.path, strings.Join(teach.Header(f.channels), ","))
	}
	if _, err := teach.Read(bytes.NewReader(b), f.channels); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return b, nil
}

// add writes the file anew with more examples; interval is from one sample to the next, in ms. Each example begins at time 0, so that it does not
// go on from the one before.
func (f *exampleFile) add(examples []teach.Example, interval float64) error {
	b, err := f.read()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.Write(b)
	w := csv.NewWriter(&out)
	if len(b) == 0 {
		w.Write(teach.Header(f.channels))
	} else if b[len(b)-1] != '\n' {
		out.WriteByte('\n')
	}
	for i := range examples {
		if err := teach.Write(w, &examples[i], len(f.channels), 0, interval); err != nil {
			return err
		}
	}
	if w.Flush(); w.Error() != nil {
		return w.Error()
	}
	return writeFile(f.path, out.Bytes())
}

// writeFile replaces a file as a whole: whoever reads it sees the old one or the new one.
func writeFile(path string, b []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file", path)
		}
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
