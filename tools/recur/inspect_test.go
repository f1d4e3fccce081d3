package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

func TestInspectWeights(t *testing.T) {
	b := newFolder(t)
	for scheme, scales := range map[string]bool{"f32": false, "w8a8": true} {
		b.do(0, "convert net.onnx -o net.recur -range 3 -scheme "+scheme)
		out, _ := b.do(0, "inspect net.recur -weights -json")
		var r report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		w := r.Operations[0].Weights[0]
		total := 0
		for _, n := range w.Histogram {
			total += n
		}
		if w.Role != "w" || w.Rows != 15 || w.Columns != 3 || total != 45 || w.Zeros > 0.1 || w.Int8 != scales || (w.Scales != nil) != scales {
			t.Errorf("%s: %+v, want the 15 rows of 5 units", scheme, w)
		}
		out, _ = b.do(0, "inspect net.recur -weights")
		if !strings.Contains(out, "15×3") || scales && !strings.Contains(out, "-127") {
			t.Error(out)
		}
	}
	if out, _ := b.do(0, "inspect net.recur -json"); strings.Contains(out, "histogram") {
		t.Error("weights that were not asked for")
	}
}

// Without padding there are the numbers that were put in, whatever the layout.
func TestLogical(t *testing.T) {
	b := newFolder(t)
	b.do(0, "convert net.onnx -o net.recur -scheme f32")
	m, err := runtime.Open(b.path("net.recur"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	file, err := os.ReadFile(b.path("net.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range []int{0, 2} { // the first matrix of the cell and that of the dense layer
		op := &m.File().Ops[i]
		got := logical(op, op.Args[0].Role, &m.File().Blobs[op.Args[0].Blob])
		want := slices.Clone(source.Graph.Initializers[k].F)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("operation %d: %v, want %v", i, got, want)
		}
	}
}

func TestInspectPage(t *testing.T) {
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
	m.Meta = []onnx.Entry{{Key: evil, Value: evil}, {Key: "labels", Value: `["<img src=x>","b"]`}, {Key: "channels", Value: `["<b>","y","z"]`}}
	b.write("evil.onnx", onnxtest.Encode(m))
	for _, line := range []string{"inspect evil.onnx -html page.html", "inspect page.recur -html page.html -json"} {
		if strings.Contains(line, ".recur") {
			b.do(0, "convert evil.onnx -o page.recur -range 3")
		}
		b.do(0, line)
		text, err := os.ReadFile(b.path("page.html"))
		if err != nil {
			t.Fatal(err)
		}
		page := string(text)
		if found := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|<b>[^<]*y|<[a-z][^>]*\s(src|href)=|@import|url\([^#]|https?:`).FindString(page); found != "" {
			t.Errorf("%s: %q in the page", line, found)
		}
		for _, want := range []string{"0 gru", "5 hidden, gates z r n", "1 dense", "2 softmax", "&lt;script", `class="bar"`, "<figcaption>"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q in the page", line, want)
			}
		}
		for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
			if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if n := strings.Count(page, `class="arrow"`); n != 4 {
			t.Errorf("%s: %d arrows, want 4", line, n)
		}
	}
}

// Every kind of operation can be looked at.
func TestInspectEverything(t *testing.T) {
	for _, file := range []string{"everything", "pooled"} {
		page := filepath.Join(t.TempDir(), "page.html")
		var out, errs strings.Builder
		if rc := run([]string{"inspect", "../../runtime/testdata/" + file + ".recur", "-weights", "-html", page}, &out, &errs); rc != 0 {
			t.Fatalf("%s: exit status %d: %s", file, rc, errs.String())
		}
		m, err := runtime.Open("../../runtime/testdata/" + file + ".recur")
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range m.File().Ops {
			if !strings.Contains(out.String(), op.Kind.String()) {
				t.Errorf("%s: no %v in the table", file, op.Kind)
			}
		}
		m.Close()
	}
}
