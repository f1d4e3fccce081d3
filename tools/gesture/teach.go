package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/teach"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

const teachUsage = `gesture teach adds gestures to a model from a few examples of each, recorded with gesture record.

  gesture teach -data my.csv -o my.recur          the gestures of my.csv, beside those that the model knows
  gesture teach -data my.csv -only -o my.recur    in place of them
  gesture -model my.recur -sensor iio             use it
  gesture teach -data known.csv -remember -base stream.recur -o stream.recur
                                                  keep with a model what teaching wants to know of its own gestures

Flags:
`

// lesson is the command teach.
type lesson struct {
	data, base, out      string
	only, remember, json bool
	slack                float64
}

func teachCommand(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o := lesson{}
	fs := flag.NewFlagSet("gesture teach", flag.ContinueOnError)
	fs.StringVar(&o.data, "data", "", "learn from the examples of `FILE.csv`, - for standard input")
	fs.StringVar(&o.base, "base", "", "teach the model of `FILE` (default: the embedded one)")
	fs.StringVar(&o.out, "o", "", "write the taught model to `FILE.recur`")
	fs.BoolVar(&o.only, "only", false, "drop the gestures that the model knows and that have no example")
	fs.Float64Var(&o.slack, "slack", teach.DefaultSlack, "take for none of the gestures what is `DEVIATIONS` farther from them than usual; less refuses more")
	fs.BoolVar(&o.remember, "remember", false, "teach nothing: the examples are of the gestures that the model knows, and their statistics are stored with it")
	fs.BoolVar(&o.json, "json", false, "print what was learnt as JSON")
	return command(fs, teachUsage, args, stdout, stderr, o.check, func() error { return o.run(stdin, stdout, stderr) })
}

func (o *lesson) check() error {
	switch {
	case o.data == "":
		return errors.New("no -data")
	case o.out == "":
		return errors.New("no -o")
	case o.only && o.remember:
		return errors.New("both -only and -remember")
	case !(o.slack > 0):
		return fmt.Errorf("-slack %v: want more than 0", o.slack)
	}
	return nil
}

func (o *lesson) run(stdin io.Reader, stdout, stderr io.Writer) error {
	model, err := o.open()
	if err != nil {
		return err
	}
	examples, err := o.examples(stdin, gesture.Channels(model))
	if err != nil {
		return err
	}
	f, report, err := o.teach(model, examples)
	if err != nil {
		return fmt.Errorf("%s: %w", o.data, err)
	}
	b, err := format.Encode(f)
	if err != nil {
		return err
	}
	if err := writeFile(o.out, b); err != nil {
		return err
	}
	return o.print(report, stdout, stderr)
}

func (o *lesson) open() (*runtime.Model, error) {
	if o.base == "" {
		return gesture.Stream()
	}
	// The file is read rather than mapped: the taught one may take its place.
	b, err := os.ReadFile(o.base)
	if err != nil {
		return nil, err
	}
	m, err := runtime.Load(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.base, err)
	}
	return m, nil
}

func (o *lesson) examples(stdin io.Reader, channels []string) ([]teach.Example, error) {
	in := stdin
	if o.data != "-" {
		f, err := os.Open(o.data)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	examples, err := teach.Read(in, channels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.data, err)
	}
	return examples, nil
}

func (o *lesson) teach(m *runtime.Model, examples []teach.Example) (*format.File, *teach.Report, error) {
	if o.remember {
		f, err := teach.Remember(m, examples)
		return f, &teach.Report{}, err
	}
	return teach.Teach(m, examples, teach.Options{Only: o.only, Slack: o.slack})
}

func (o *lesson) print(r *teach.Report, stdout, stderr io.Writer) error {
	for _, n := range r.Notes {
		fmt.Fprintln(stderr, "gesture teach:", n)
	}
	if o.json {
		_, err := stdout.Write(append(appendReport(nil, r), '\n'))
		return err
	}
	for _, g := range r.Gestures {
		fmt.Fprintf(stdout, "%s: %d examples, %d told right by the others", g.Label, g.Examples, g.Right)
		var wrong []string
		for l, n := range g.Wrong {
			wrong = append(wrong, fmt.Sprintf("%d taken for %s", n, l))
		}
		slices.Sort(wrong)
		for _, w := range wrong {
			fmt.Fprintf(stdout, ", %s", w)
		}
		fmt.Fprintln(stdout)
	}
	fmt.Fprintf(stderr, "gesture teach: wrote %s\n", strings.TrimSpace(o.out))
	return nil
}

// appendReport writes JSON by hand: encoding/json would make the program for devices 8 % larger.
func appendReport(b []byte, r *teach.Report) []byte {
	b = append(b, `{"gestures":[`...)
	for i, g := range r.Gestures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"label":`...)
		b = appendString(b, g.Label)
		b = fmt.Appendf(b, `,"examples":%d,"known":%t,"unseen":%d,"right":%d,"wrong":{`, g.Examples, g.Known, g.Unseen, g.Right)
		for j, l := range slices.Sorted(maps.Keys(g.Wrong)) {
			if j > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(append(appendString(b, l), ':'), "%d", g.Wrong[l])
		}
		b = append(b, "}}"...)
	}
	b = append(b, `],"notes":[`...)
	for i, n := range r.Notes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, n)
	}
	return append(b, "]}"...)
}
