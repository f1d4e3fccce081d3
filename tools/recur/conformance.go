package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/recur-go/recur/tools/internal/conformance"
)

var conformanceCommand = command{"conformance", "run test cases: models with recorded input and output", `
usage: recur conformance DIR... [flags]

Converts the model of every test case to f32, runs it on the recorded input, and holds the output against the recorded one. A
DIR is a case, or holds one a folder.

  recur conformance onnx/backend/test/data/node
      the tests of the ONNX project: CASE/model.onnx, CASE/test_data_set_0/input_0.pb and output_0.pb
  recur conformance node/test_lstm_defaults
      one case
  recur conformance suites/torch suites/ort-matrix -failed
      only what failed, and the totals
  recur conformance suites/torch -atol 1e-4 -json

Layouts: ONNX backend tests; model.onnx with in_NAME.npy and spec64_NAME.npy (or out_NAME.npy); meta.json that names inputs,
outputs and sets, with models or weights and setK_in_NAME.npy, setK_out64_NAME.npy (or setK_out_NAME.npy); weights (.pt, .pth,
.safetensors) with in_NAME.npy and out_NAME.npy, or out_KIND_NAME.npy for the files whose names end in _KIND; meta.json that names
a Keras model, with in_x.npy and out64_y.npy; meta.json of a streamed run, that names an ONNX model, steps, inputs, state and
outputs; meta.json that names a TensorFlow Lite model and steps, with in_K.npy and out_K.npy. A folder of another layout is an error.

Weights do not say what the layers are. A description beside them does (model.json of model.pt, or arch.json); else recur describe
guesses one, and it is corrected by what the arrays show (an output for every step, a softmax) and by the name, note and exported
operators that meta.json gives. Steps beyond the length of a sequence are not compared.

A case passes if all outputs of the model are right. It is unsupported if the converter refuses the model or one of its outputs; the
reason follows. An error counts as none within atol, or within rtol times the reference: 1e-5 and 1e-3 for .pb files, 1e-5 and 0 for
.npy files (times the largest value, where a reference in float32 is all there is), for a Keras model 1e-4 times the spread of its
output, for quantised weights max_quant_vs_float of meta.json. A TensorFlow Lite model is allowed 1e-5 and 1e-4. One of integers has its
reference rounded at every layer, and ours is not: 15 dB of signal over error are enough, or 6 dB and the same decisions. Of chaotic cases, named saturate, the output has to be finite and in
range, no more.

Exits with 1 if a case failed or a folder holds none.`, runConformance}

func runConformance(c *call) error {
	o := conformance.Options{}
	c.flags.Float64Var(&o.Atol, "atol", -1, "the absolute error that is allowed, in place of the layout's")
	c.flags.Float64Var(&o.Rtol, "rtol", -1, "the relative error that is allowed, in place of the layout's")
	asJSON := c.flags.Bool("json", false, "print one JSON object")
	onlyFailed := c.flags.Bool("failed", false, "list the cases that failed only")
	dirs, err := c.parse("DIR...")
	if err != nil {
		return err
	}
	all := conformanceReport{}
	var errs []error
	for _, dir := range dirs {
		cases, err := conformance.Find(dir)
		if err != nil {
			errs = append(errs, err)
		}
		s := conformanceSuite{Dir: dir}
		for _, k := range cases {
			s.Cases = append(s.Cases, k.Run(o))
		}
		s.count()
		all.add(s)
	}
	if err := all.show(c.out, *asJSON, *onlyFailed); err != nil {
		return err
	}
	if all.Failed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d cases failed", all.Failed, all.Passed+all.Failed+all.Unsupported))
	}
	return errors.Join(errs...)
}

type conformanceReport struct {
	Suites []conformanceSuite `json:"suites"`
	conformanceTotals
}

type conformanceSuite struct {
	Dir   string               `json:"dir"`
	Cases []conformance.Result `json:"cases"`
	conformanceTotals
}

type conformanceTotals struct {
	Passed      int `json:"passed"`
	Failed      int `json:"failed"`
	Unsupported int `json:"unsupported"`
	Partly      int `json:"partly"`  // unsupported, with other outputs that are right
	Chaotic     int `json:"chaotic"` // passed, without being compared
}

func (s *conformanceSuite) count() {
	for _, r := range s.Cases {
		switch r.Status {
		case conformance.Passed:
			s.Passed++
			if r.Chaotic {
				s.Chaotic++
			}
		case conformance.Failed:
			s.Failed++
		default:
			s.Unsupported++
			if r.Right() > 0 {
				s.Partly++
			}
		}
	}
}

func (t *conformanceReport) add(s conformanceSuite) {
	t.Suites = append(t.Suites, s)
	t.Passed += s.Passed
	t.Failed += s.Failed
	t.Unsupported += s.Unsupported
	t.Partly += s.Partly
	t.Chaotic += s.Chaotic
}

func (t conformanceTotals) String() string {
	s := fmt.Sprintf("%d passed, %d failed, %d unsupported", t.Passed, t.Failed, t.Unsupported)
	if t.Partly > 0 {
		s += fmt.Sprintf(" (%d of these are right in other outputs)", t.Partly)
	}
	if t.Chaotic > 0 {
		s += fmt.Sprintf("; %d of those that passed are chaotic and were not compared", t.Chaotic)
	}
	return s
}

func (t *conformanceReport) show(w io.Writer, asJSON, onlyFailed bool) error {
	if asJSON {
		return writeJSON(w, t)
	}
	for _, s := range t.Suites {
		s.print(w, onlyFailed)
	}
	if len(t.Suites) > 1 {
		fmt.Fprintf(w, "all: %v\n", t.conformanceTotals)
	}
	return nil
}

func (s *conformanceSuite) print(w io.Writer, onlyFailed bool) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range s.Cases {
		if r.Status == conformance.Failed || !onlyFailed {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Status, r.Case, worstError(r), remark(r))
		}
	}
	t.Flush()
	reasons := map[string]int{}
	for _, r := range s.Cases {
		if r.Status == conformance.Unsupported {
			reasons[kindOf(r.Reason)]++
		}
	}
	for _, why := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(reasons[b]-reasons[a], strings.Compare(a, b))
	}) {
		fmt.Fprintf(w, "%4d unsupported: %s\n", reasons[why], why)
	}
	fmt.Fprintf(w, "%s: %v\n", s.Dir, s.conformanceTotals)
}

func worstError(r conformance.Result) string {
	switch {
	case r.Right() == 0 && r.Status != conformance.Failed:
		return "-"
	case r.Chaotic:
		return "chaotic"
	}
	return fmt.Sprintf("%.2g", r.Worst)
}

// remark says why a case did not pass, and what of it is right.
func remark(r conformance.Result) string {
	s := oneLine(r.Reason)
	if n := r.Right(); n > 0 && r.Status != conformance.Passed {
		s += fmt.Sprintf(" (%d of %d outputs are right)", n, len(r.Outputs))
	}
	return s
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// kindOf is a reason without the names of the case that it came from.
func kindOf(reason string) string {
	s := oneLine(reason)
	for {
		before, rest, ok := strings.Cut(s, `"`)
		if !ok {
			break
		}
		_, after, ok := strings.Cut(rest, `"`)
		if !ok {
			break
		}
		s = before + "…" + after
	}
	if rest, ok := strings.CutPrefix(s, "output "); ok && !strings.HasPrefix(rest, "…") {
		_, s, _ = strings.Cut(rest, ": ")
	}
	return s
}
