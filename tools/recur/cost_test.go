package main

import (
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

func (b *folder) costs(line string) (c costs) {
	b.Helper()
	out, _ := b.do(0, line)
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		b.Fatalf("%s: %v: %s", line, err, out)
	}
	return c
}

func TestConvertReport(t *testing.T) {
	b := newFolder(t)
	c := b.costs("convert net.onnx -o net.recur -calib many.npy -json")
	if c.Sequences != 4 || c.TimeSteps != 36 || c.PartSteps != 1 || c.Output == nil || c.Decisions.Total != 36 || c.Range != "calibration data" {
		t.Errorf("%+v", c)
	}
	work := 0.0
	for i, o := range c.Operations {
		work += o.Work
		if products := i < 2; products != (o.Saturation != nil) || products != (o.Bytes < o.FloatBytes) {
			t.Errorf("operation %d: %+v", i, o)
		}
		if o.Difference == nil || o.SQNR == nil || len(o.AlongTime.SQNR) != 9 {
			t.Fatalf("operation %d: nothing was measured", i)
		}
		n := 0
		for _, k := range o.Errors.Counts {
			n += k
		}
		if want := 36 * []int{5, 2, 2}[i]; n != want {
			t.Errorf("operation %d: %d errors, want %d", i, n, want)
		}
	}
	if math.Abs(work-1) > 1e-9 || c.Bytes >= c.FloatBytes || !(c.Work > 0.2 && c.Work < 0.3) {
		t.Errorf("shares of work add up to %v, %v of that of f32; %d bytes of %d", work, c.Work, c.Bytes, c.FloatBytes)
	}
	same := b.costs("compare net.onnx net.recur -in many.npy -json")
	if *same.Output.SQNR != *c.Output.SQNR || same.Decisions.Changed != c.Decisions.Changed {
		t.Errorf("compare says %v, convert %v", same.Output, c.Output)
	}
	c = b.costs("convert net.onnx -o net.recur -range 3 -json")
	if c.Output != nil || c.Sequences != 0 || c.Range != "a bound that was given" || c.Operations[0].Difference != nil {
		t.Errorf("without data: %+v", c)
	}
	for line, want := range map[string]string{
		"convert net.onnx -o net.recur -calib many.npy":               "the scales of the input come from calibration data",
		"convert net.onnx -o net.recur -range 3":                      "the scales of the input come from a bound",
		"convert net.onnx -o net.recur -calib many.npy -scheme w8a16": "SQNR dB",
	} {
		if _, errs := b.do(0, line); !strings.Contains(errs, want) {
			t.Errorf("%s does not say %q: %s", line, want, errs)
		}
	}
}

func TestConvertAuto(t *testing.T) {
	b := newFolder(t)
	for _, c := range []struct {
		budget  string
		most    float64
		decides bool
	}{{"", 0.02, false}, {"-budget=0.005", 0.005, false}, {"-budget=60dB", 0.001, false}, {"-budget changed=0%", 0, true}} {
		r := b.costs("convert net.onnx -o net.recur -calib many.npy -scheme auto -json " + c.budget)
		x := r.Choice
		if x == nil || len(x.Layers) != 2 || x.Check != nil || x.Search.Sequences != 4 || x.Search.Decisions != 36 {
			t.Fatalf("%q: %+v", c.budget, x)
		}
		if !c.decides && x.Search.Error > c.most || c.decides && x.Search.Changed > 0 {
			t.Errorf("%q: %+v", c.budget, x.Search)
		}
		for _, l := range x.Layers {
			if r.Operations[l.Operations[0]].Scheme != l.Scheme {
				t.Errorf("%q: the file has another scheme than %+v", c.budget, l)
			}
		}
	}
	_, errs := b.do(0, "convert net.onnx -o net.recur -calib many.npy -scheme auto -budget=0.001")
	for _, want := range []string{"chosen for a relative error of the output of at most 0.001", "error alone in", "models tried"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q: %s", want, errs)
		}
	}
	for line, want := range map[string]string{
		"convert net.onnx -o out.recur -scheme auto":                                  "needs data",
		"convert net.onnx -o out.recur -calib many.npy -budget=0.1":                   "goes with -scheme auto",
		"convert net.onnx -o out.recur -calib many.npy -scheme auto -budget 2":        "want an error",
		"convert net.onnx -o out.recur -calib many.npy -scheme auto -budget changed=": "want an error",
		"convert net.onnx -o out.recur -calib many.npy -scheme auto -budget NaN":      "want an error",
		"convert net.onnx -o out.recur -calib many.npy -scheme auto -budget 1%":       "changed=",
	} {
		if _, errs := b.do(2, line); !strings.Contains(errs, want) {
			t.Errorf("%s: %s", line, errs)
		}
	}
}

func TestBudgets(t *testing.T) {
	for s, want := range map[string]quant.Budget{"0.02": {Most: 0.02}, "40dB": {Most: 0.01}, "0": {}, "changed=0.5%": {Most: 0.005, Changed: true},
		"changed=0.01": {Most: 0.01, Changed: true}} {
		got, err := parseBudget(s)
		if err != nil || got.Changed != want.Changed || math.Abs(got.Most-want.Most) > 1e-12 {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
}

// The page needs nothing else, its drawings are well formed, and names are text.
func TestCostPage(t *testing.T) {
	const evil = `<script src="//x">alert(1)</script>&"'`
	b := newFolder(t)
	file, err := os.ReadFile(b.path("net.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range m.Graph.Nodes {
		n.Name = evil + n.Op
	}
	m.Meta = []onnx.Entry{{Key: "labels", Value: `["<img src=x>","b"]`}}
	b.write("evil.onnx", onnxtest.Encode(m))
	v := b.read("many.npy").Data
	loud := append([]float32(nil), v...)
	loud[4*3] *= 1000
	b.array("loud.npy", loud, 4, 9, 3)
	for _, c := range []struct {
		line  string
		wants []string
	}{
		{"convert evil.onnx -o page.recur -calib many.npy -scheme auto -budget=0.005 -html page.html", []string{"How the schemes were chosen", "Errors of every operation"}},
		{"convert evil.onnx -o page.recur -range 1 -html page.html", []string{"nothing was measured"}},
		{"compare evil.onnx page.recur -in loud.npy -html page.html", []string{"Activations clipped along time", "Decisions that changed", "&lt;img src=x&gt;"}},
	} {
		b.do(0, c.line)
		text, err := os.ReadFile(b.path("page.html"))
		if err != nil {
			t.Fatal(err)
		}
		page := string(text)
		if found := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|<[a-z][^>]*\s(src|href)=|@import|url\([^#]|https?:|ZgotmplZ|NaN|Inf`).FindString(page); found != "" {
			t.Errorf("%s: %q in the page", c.line, found)
		}
		for _, want := range append(c.wants, "0 gru", "&lt;script", "bytes of weights") {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q in the page", c.line, want)
			}
		}
		for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
			if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
				t.Errorf("%s: %v", c.line, err)
			}
			for _, n := range regexp.MustCompile(`(?:x|y|width|height)="(-[^"]*)"`).FindAllStringSubmatch(svg, -1) {
				t.Errorf("%s: a place or size of %s", c.line, n[1])
			}
		}
	}
}
