package teach

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/models/gesture"
)

// Example is a gesture with some rest before and after it.
type Example struct {
	Label      string
	Rows       []float32 // samples, row after row
	First, End int       // samples First to End-1 are the gesture
	Line       int       // of the file, where the gesture begins; 0 elsewhere
	start      float64   // ms, time of the first sample
	end        float64   // ms, of the last
}

// Columns of a file of examples beside the channels.
const (
	timeColumn  = "time"  // ms
	labelColumn = "label" // empty: rest
)

const (
	maxExamples = 10000
	maxSamples  = 10000 // of an example
	maxLabel    = 100   // bytes
)

// table is a file of examples while it is read.
type table struct {
	csv      *csv.Reader
	names    []string // channels, time, label
	at       []int    // their columns
	channels int
}

// row is a line of the file.
type row struct {
	sample []float32
	time   float64
	label  string
	line   int
}

// Read reads examples from comma-separated values. The first line names the columns: the channels, time in ms and label, in any order; other
// columns are ignored. Neighbouring rows with the same label are one example; rows without a label are rest, and the rest beside a gesture
// belongs to it. Time that goes back begins another recording.
func Read(r io.Reader, channels []string) ([]Example, error) {
	t := &table{csv: csv.NewReader(r), names: append(slices.Clone(channels), timeColumn, labelColumn), channels: len(channels)}
	t.csv.ReuseRecord = true
	if err := t.header(); err != nil {
		return nil, err
	}
	var c collector
	for {
		v, err := t.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = c.add(v)
		}
		if err != nil {
			return nil, err
		}
	}
	c.recording()
	if len(c.examples) == 0 {
		return nil, errors.New("no row has a label")
	}
	return c.examples, nil
}

func (t *table) header() error {
	fields, err := t.csv.Read()
	if err == io.EOF {
		return errors.New("the file is empty")
	}
	if err != nil {
		return err
	}
	var have []string
	for i, f := range fields {
		f = strings.TrimSpace(f)
		if i == 0 {
			f = strings.TrimPrefix(f, "\ufeff")
		}
		have = append(have, f)
	}
	var missing []string
	for _, n := range t.names {
		k := slices.Index(have, n)
		if k < 0 {
			missing = append(missing, n)
		} else if slices.Contains(have[k+1:], n) {
			return fmt.Errorf("line 1: column %s occurs twice", n)
		}
		t.at = append(t.at, k)
	}
	if missing != nil {
		return fmt.Errorf("line 1: no column %s; the model's examples have %s", strings.Join(missing, ", "), strings.Join(t.names, ","))
	}
	return nil
}

func (t *table) next() (v row, err error) {
	fields, err := t.csv.Read()
	if err != nil {
		return v, err
	}
	v.line, _ = t.csv.FieldPos(0)
	v.sample = make([]float32, t.channels)
	for i := range t.channels + 1 {
		x, err := t.number(strings.TrimSpace(fields[t.at[i]]))
		if err != nil {
			return v, &gesture.InputError{Line: v.line, Column: t.at[i] + 1, Name: t.names[i], Reason: err.Error()}
		}
		if v.time = x; i < t.channels {
			v.sample[i] = float32(x)
		}
	}
	v.label = strings.TrimSpace(fields[t.at[t.channels+1]])
	if err := checkLabel(v.label); err != nil {
		return v, fmt.Errorf("line %d: %w", v.line, err)
	}
	return v, nil
}

func (t *table) number(field string) (float64, error) {
	const limit = 1e15 // of times in ms since 1970, and far more than a reading
	v, err := strconv.ParseFloat(field, 64)
	switch {
	case field == "":
		return 0, errors.New("missing")
	case math.Abs(v) > limit || v != v:
		return 0, fmt.Errorf("%s is no reading", strconv.Quote(field))
	case err != nil:
		return 0, fmt.Errorf("%s is not a number", strconv.Quote(field[:min(len(field), 40)]))
	}
	return v, nil
}

func checkLabel(label string) error {
	if len(label) > maxLabel || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("label %q: want printable text of at most %d bytes", label[:min(len(label), maxLabel)], maxLabel)
	}
	return nil
}

// collector cuts rows into examples.
type collector struct {
	examples  []Example
	rows      []row // of the recording
	run, rest int   // rows with and without a label at its end
}

func (c *collector) add(v row) error {
	if n := len(c.rows); n > 0 {
		if last := c.rows[n-1].time; v.time == last {
			return fmt.Errorf("line %d: the time is that of the line before", v.line)
		} else if v.time < last {
			c.recording()
		}
	}
	c.rows = append(c.rows, v)
	if v.label == "" {
		c.run, c.rest = 0, c.rest+1
	} else {
		c.run, c.rest = c.run+1, 0
	}
	switch {
	case c.run > maxSamples:
		return fmt.Errorf("line %d: %q has lasted for more than %d samples", v.line, v.label, maxSamples)
	case len(c.examples) > maxExamples:
		return fmt.Errorf("line %d: more than %d examples", v.line, maxExamples)
	case len(c.rows) > 4*maxSamples && c.rest > 2*margin:
		tail := slices.Clone(c.rows[len(c.rows)-margin:])
		c.recording()
		c.rows = append(c.rows, tail...)
	}
	return nil
}

// recording ends one.
func (c *collector) recording() {
	var runs [][2]int
	for i, v := range c.rows {
		switch n := len(runs); {
		case v.label == "":
		case n > 0 && runs[n-1][1] == i && c.rows[i-1].label == v.label:
			runs[n-1][1]++
		default:
			runs = append(runs, [2]int{i, i + 1})
		}
	}
	for k, r := range runs {
		lo, hi := 0, len(c.rows)
		if k > 0 {
			lo = (runs[k-1][1] + r[0] + 1) / 2
		}
		if k+1 < len(runs) {
			hi = (r[1] + runs[k+1][0]) / 2
		}
		c.examples = append(c.examples, example(c.rows, max(lo, r[0]-margin), r, min(hi, r[1]+margin)))
	}
	c.rows = c.rows[:0]
	c.run = 0
}

// margin is how many samples of rest beside a gesture are used.
const margin = 40

func example(rows []row, lo int, run [2]int, hi int) Example {
	e := Example{Label: rows[run[0]].label, First: run[0] - lo, End: run[1] - lo, Line: rows[run[0]].line, start: rows[lo].time, end: rows[hi-1].time}
	for _, v := range rows[lo:hi] {
		e.Rows = append(e.Rows, v.sample...)
	}
	return e
}

// period is the mean time from one sample to the next, in ms.
func (e *Example) period(channels int) float64 {
	if n := len(e.Rows) / channels; n > 1 {
		return (e.end - e.start) / float64(n-1)
	}
	return 0
}

// Header is the first line of a file of examples.
func Header(channels []string) []string {
	return append(slices.Clone(channels), timeColumn, labelColumn)
}

// Write writes an example of which the first sample has the time start; the others follow at an interval, both in ms.
func Write(w *csv.Writer, e *Example, channels int, start, interval float64) error {
	fields := make([]string, 0, channels+2)
	for t := range len(e.Rows) / channels {
		fields = fields[:0]
		for _, v := range e.Rows[t*channels:][:channels] {
			fields = append(fields, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		label := ""
		if t >= e.First && t < e.End {
			label = e.Label
		}
		at := math.Round((start+float64(float64(t)*interval))*1000) / 1000
		if err := w.Write(append(fields, strconv.FormatFloat(at, 'f', -1, 64), label)); err != nil {
			return err
		}
	}
	return nil
}
