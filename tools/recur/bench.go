package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/bench"
	"github.com/recur-go/recur/tools/internal/replace"
)

var benchCommand = command{"bench", "time kernels and networks against the limits of this machine", `
usage: recur bench kernels [flags]
       recur bench cells [flags]
       recur bench model FILE [flags]

Measures how fast this machine reads memory and multiplies, then the kernels, recurrent cells with random weights, or the
network of a .recur file, on every tier that the processor has; each as time and as percent of the limit that binds. All are
timed in turns in one run, since machines are shared: judge by the minimum and by the percentage.

  recur bench kernels
  recur bench cells -tier avx2
  recur bench cells -cell gru -input 10 -hidden 48 -scheme w8a16
      a cell of your own in place of the usual ones
  recur bench cells -cell lstm -input 10 -hidden 48 -steps 200 -two-way
  recur bench model gesture.recur -html bench.html
  recur bench kernels -quick -json
      a second or two: rough numbers

docs/kernels.md says how to read the results.`, runBench}

type benchFlags struct {
	tier, html, cell, scheme string
	input, hidden, steps     int
	twoWay, quick, json      bool
	shaped                   bool // a flag that goes with -cell is given
}

func (f *benchFlags) define(c *call) {
	s := c.flags
	s.StringVar(&f.tier, "tier", "", "time this `tier` only (recur cpu lists them)")
	s.StringVar(&f.html, "html", "", "also write a page with the roofline to `FILE`")
	s.BoolVar(&f.json, "json", false, "print one JSON object")
	s.BoolVar(&f.quick, "quick", false, "measure for a second or two only")
	s.StringVar(&f.cell, "cell", "", "cells: `KIND` lstm, gru or rnn, in place of the usual cells")
	s.IntVar(&f.input, "input", 6, "cells: `N` input features, with -cell")
	s.IntVar(&f.hidden, "hidden", 64, "cells: `N` hidden units, with -cell")
	s.StringVar(&f.scheme, "scheme", "w8a8", "cells: `SCHEME` w8a8, w8a16 or f32, with -cell")
	s.BoolVar(&f.twoWay, "two-way", false, "cells: forwards and backwards, with -cell")
	s.IntVar(&f.steps, "steps", 0, "whole sequences of `N` steps in place of single steps (cells, with -cell), or beside them (model: 100)")
}

func runBench(c *call) error {
	var f benchFlags
	f.define(c)
	what := ""
	if len(c.args) > 0 && c.args[0] != "" && c.args[0][0] != '-' {
		what, c.args = c.args[0], c.args[1:]
	}
	want := []string{}
	if what == "model" {
		want = append(want, "FILE")
	}
	rest, err := c.parse(want...)
	if err != nil {
		return err
	}
	c.flags.Visit(func(g *flag.Flag) {
		f.shaped = f.shaped || slices.Contains([]string{"input", "hidden", "scheme", "two-way"}, g.Name)
	})
	if err := kernels.TierError(); err != nil {
		return err
	}
	o := bench.Options{Quick: f.quick, Progress: progress(c.err)}
	if f.tier != "" {
		o.Tiers = []string{f.tier}
	}
	r, err := f.measure(what, rest, o)
	if err != nil {
		return err
	}
	if f.html != "" {
		if err := replace.File(f.html, r.HTML); err != nil {
			return err
		}
	}
	if f.json {
		return r.JSON(c.out)
	}
	r.Text(c.out)
	return nil
}

func (f *benchFlags) measure(what string, rest []string, o bench.Options) (*bench.Report, error) {
	if what != "cells" && f.cell != "" {
		return nil, misused("-cell applies to bench cells")
	}
	if f.cell == "" && f.shaped {
		return nil, misused("-input, -hidden, -scheme and -two-way describe the cell that -cell names")
	}
	switch what {
	case "kernels":
		if f.steps != 0 {
			return nil, misused("-steps applies to cells and model")
		}
		return bench.Kernels(o)
	case "cells":
		cells, err := f.cells()
		if err != nil {
			return nil, err
		}
		return bench.Cells(o, cells)
	case "model":
		switch {
		case f.steps == 0:
			f.steps = 100
		case f.steps < 0 || f.steps > 1<<16:
			return nil, misused("-steps %d: want 1 to %d", f.steps, 1<<16)
		}
		return bench.Model(o, rest[0], f.steps)
	case "":
		return nil, misused("what is to be timed: kernels, cells or model FILE")
	}
	return nil, misused("%q: want kernels, cells or model FILE", what)
}

func (f *benchFlags) cells() ([]bench.Cell, error) {
	if f.cell == "" {
		if f.steps != 0 {
			return nil, misused("-steps goes with -cell")
		}
		return bench.DefaultCells(), nil
	}
	c := bench.Cell{Input: f.input, Hidden: f.hidden, Steps: max(1, f.steps), TwoWay: f.twoWay}
	var err error
	if c.Scheme, err = format.ParseScheme(f.scheme); err != nil {
		return nil, usageError{err}
	}
	for _, k := range []format.Kind{format.LSTM, format.GRU, format.RNN} {
		if f.cell == k.String() {
			c.Kind = k
			return []bench.Cell{c}, nil
		}
	}
	return nil, misused("-cell %q: want lstm, gru or rnn", f.cell)
}

// progress counts on a terminal, and nowhere else.
func progress(w io.Writer) func(done, total int) {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(done, total int) {
		if done == total {
			fmt.Fprintf(w, "\r%-20s\r", "")
		} else if done%5 == 0 {
			fmt.Fprintf(w, "\rround %d of %d", done, total)
		}
	}
}
