package main

import (
	"fmt"
	"math"
	"strings"
)

var compareCommand = command{"compare", "say what a scheme costs, by layer and by time step", `
usage: recur compare MODEL FILE.recur -in X [flags]

Runs the float model and the .recur file made from it on the same sequences, and shows how far they differ after every
operation and along time.

  recur compare gesture.onnx gesture.recur -in test.npy
      test.npy is one sequence [T, features], or many [N, T, features]
  recur compare gesture.onnx gesture.recur -in test.npz -json
      all arrays of an archive; the numbers for programs
  recur compare gesture.onnx gesture.recur -in test.npz -html report.html
      a page with plots

SQNR is the signal to quantisation noise ratio, 10 log10(sum of squares / sum of squared errors): 20 dB is an error of
10 %, 40 dB of 1 %. Clipped is the share of what the weights multiply that is beyond the range of their scheme. A decision is
the largest channel of a softmax, or which channels of a sigmoid are above one half.`, compare}

func compare(c *call) error {
	var im importFlags
	im.define(c.flags)
	in := c.flags.String("in", "", "the input, a .npy or .npz `FILE`")
	asJSON := c.flags.Bool("json", false, "print JSON")
	page := c.flags.String("html", "", "write a page with plots to `FILE`")
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
	r, err := assess(ref, got, all(batches))
	if err != nil {
		return fmt.Errorf("%s and %s: %w", args[0], args[1], err)
	}
	r.Model, r.File, r.Data = args[0], args[1], *in
	if err := r.write(*page); err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(c.out, r)
	}
	r.print(c.out, false)
	return nil
}

type part struct {
	from, to  int
	max, mean float64
}

// pooled divides time into at most n parts of nearly equal length.
func pooled(steps []Difference, n int) []part {
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
