package main

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

// folder holds a model net.onnx, x [T, 3] -> softmax [T, 2], and inputs one.npy [9, 3] and many.npy [4, 9, 3].
type folder struct {
	*testing.T
	dir string
}

func newFolder(t *testing.T) *folder {
	b := &folder{t, t.TempDir()}
	rnd := rand.New(rand.NewSource(1))
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rnd.NormFloat64() * 0.5)
		}
		return v
	}
	const h = 5
	m := &onnx.Model{IRVersion: 8, Producer: "test", Opsets: map[string]int64{"": 17}, Graph: &onnx.Graph{
		Inputs: []onnx.ValueInfo{{Name: "x", Type: onnx.Float, HasShape: true,
			Dims: []onnx.Dim{{Value: -1, Param: "T"}, {Value: 1}, {Value: 3}}}},
		Outputs: []onnx.ValueInfo{{Name: "p"}, {Name: "final"}},
		Initializers: []*onnx.Tensor{
			{Name: "W", Type: onnx.Float, Dims: []int64{1, 3 * h, 3}, F: random(9 * h)},
			{Name: "R", Type: onnx.Float, Dims: []int64{1, 3 * h, h}, F: random(3 * h * h)},
			{Name: "V", Type: onnx.Float, Dims: []int64{h, 2}, F: random(2 * h)},
			{Name: "one", Type: onnx.Int64, Dims: []int64{1}, I: []int64{1}},
		},
		Nodes: []*onnx.Node{
			{Name: "cell", Op: "GRU", Inputs: []string{"x", "W", "R"}, Outputs: []string{"y", "final"}},
			{Name: "squeeze", Op: "Squeeze", Inputs: []string{"y", "one"}, Outputs: []string{"s"}},
			{Name: "out", Op: "MatMul", Inputs: []string{"s", "V"}, Outputs: []string{"l"}},
			{Name: "softmax", Op: "Softmax", Inputs: []string{"l"}, Outputs: []string{"p"}},
		}}}
	b.write("net.onnx", onnxtest.Encode(m))
	b.array("one.npy", random(27), 9, 3)
	b.array("many.npy", random(108), 4, 9, 3)
	return b
}

func (b *folder) path(name string) string { return filepath.Join(b.dir, name) }

func (b *folder) write(name string, data []byte) {
	b.Helper()
	if err := os.WriteFile(b.path(name), data, 0o600); err != nil {
		b.Fatal(err)
	}
}

func (b *folder) array(name string, data []float32, shape ...int) {
	b.Helper()
	var buf bytes.Buffer
	if err := npy.Write(&buf, &npy.Array{Shape: shape, Data: data}); err != nil {
		b.Fatal(err)
	}
	b.write(name, buf.Bytes())
}

func (b *folder) read(name string) *npy.Array {
	b.Helper()
	all, err := npy.ReadFile(b.path(name))
	if err != nil {
		b.Fatal(err)
	}
	return all[0].Array
}

// do runs a command line, in which names with a dot are in the folder.
func (b *folder) do(want int, line string) (out, errs string) {
	b.Helper()
	args := strings.Fields(line)
	for i, a := range args {
		if strings.Contains(a, ".") && a[0] != '-' {
			args[i] = b.path(a)
		}
	}
	var o, e bytes.Buffer
	if got := run(args, &o, &e); got != want {
		b.Fatalf("recur %s: status %d, want %d: %s", line, got, want, e.String())
	}
	return o.String(), e.String()
}

func TestConvertRunCompare(t *testing.T) {
	b := newFolder(t)
	for _, c := range []struct {
		line string
		most float64
	}{
		{"convert net.onnx -o net.recur -scheme f32", 1e-6},
		{"convert -scheme w8a8 -calib many.npy -o net.recur net.onnx", 0.05},
		{"convert net.onnx -o net.recur -scheme w8a16 -range 3 -labels rest,go -channels ax,ay,az -units m,m,m -rate 50", 0.02},
	} {
		out, errs := b.do(0, c.line)
		if out != "" || !strings.Contains(errs, "3 operations") {
			t.Errorf("%s: printed %q, said %q", c.line, out, errs)
		}
		b.do(0, "run net.recur -in many.npy -out y.npy")
		b.do(0, "run net.onnx -in many.npy -out ref.npy")
		y, ref := b.read("y.npy"), b.read("ref.npy")
		if !slices.Equal(y.Shape, []int{4, 9, 2}) || !slices.Equal(ref.Shape, y.Shape) {
			t.Fatalf("%s: shapes %v and %v", c.line, y.Shape, ref.Shape)
		}
		for i, v := range y.Data {
			if d := math.Abs(float64(v - ref.Data[i])); d > c.most {
				t.Fatalf("%s: element %d differs by %v", c.line, i, d)
			}
		}
		out, _ = b.do(0, "compare net.onnx net.recur -in many.npy")
		for _, want := range []string{"gru", "cell", "SQNR dB", "mean error of the output along time", "of 36 decisions changed"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: compare does not say %q:\n%s", c.line, want, out)
			}
		}
	}
	left, _ := filepath.Glob(b.path(".*"))
	if len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestShapes(t *testing.T) {
	b := newFolder(t)
	for _, c := range []struct {
		line string
		want []int
	}{
		{"run net.onnx -in one.npy -out y.npy", []int{9, 2}},
		{"run net.onnx -in many.npy -out y.npy", []int{4, 9, 2}},
		{"run net.onnx -output final -in one.npy -out y.npy", []int{5}},
		{"run net.onnx -output final -in many.npy -out y.npy", []int{4, 5}},
	} {
		b.do(0, c.line)
		if y := b.read("y.npy"); !slices.Equal(y.Shape, c.want) {
			t.Errorf("%s: shape %v, want %v", c.line, y.Shape, c.want)
		}
	}
	out, _ := b.do(0, "run net.onnx -in many.npy")
	if n := strings.Count(out, "\n"); n != 4*9+3 {
		t.Errorf("%d lines, want 39", n)
	}
}

// TestSequences is of arrays whose last axes hold the features of a step.
func TestSequences(t *testing.T) {
	for _, c := range []struct {
		shape []int
		lead  []int // nil: refused
	}{
		{[]int{6}, []int{}}, {[]int{2, 3}, []int{}}, {[]int{5, 6}, []int{5}}, {[]int{5, 2, 3}, []int{5}}, {[]int{4, 5, 6}, []int{4, 5}},
		{[]int{4, 5, 3, 2}, []int{4, 5}}, {[]int{4, 5, 6, 1}, []int{4, 5}}, {[]int{5, 4, 3}, nil}, {[]int{2, 4, 5, 6}, nil}, {[]int{3}, nil}, {[]int{12}, nil},
	} {
		n := 1
		for _, d := range c.shape {
			n *= d
		}
		b, err := sequences(&npy.Array{Shape: c.shape, Data: make([]float32, n)}, 6)
		if c.lead == nil {
			if err == nil || !strings.Contains(err.Error(), "want [T, 6] or [N, T, 6]") {
				t.Errorf("%v: %v", c.shape, err)
			}
			continue
		}
		steps, many := 1, 1
		switch len(c.lead) {
		case 1:
			steps = c.lead[0]
		case 2:
			many, steps = c.lead[0], c.lead[1]
		}
		if err != nil || b.steps != steps || len(b.seqs) != many || b.many != (len(c.lead) == 2) || len(b.seqs[0]) != 6*steps {
			t.Errorf("%v: %d sequences of %d steps, many %v: %v", c.shape, len(b.seqs), b.steps, b.many, err)
		}
	}
}

func TestInspect(t *testing.T) {
	b := newFolder(t)
	b.do(0, "convert net.onnx -o net.recur -range 3 -labels rest,go -rate 50")
	out, _ := b.do(0, "inspect net.recur")
	for _, want := range []string{"3 channels: x0 x1 x2, 50 steps a second", "rest go", "one-way", "gru", "w8a8", "reset before", "source: net.onnx", "producer: test"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	var r report
	out, _ = b.do(0, "inspect net.recur -json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	// GRU: 15 rows of 3+5 and a bias; dense: 2 rows of 5 and a bias.
	if r.Parameters != 15*8+15+2*5+2 || r.PerStep != 15*8+10 || r.PerSequence != 0 || r.Output.Labels[1] != "go" || r.Bytes == 0 {
		t.Errorf("got %+v", r)
	}
	b.do(0, "inspect net.onnx")
}

func TestCompareJSON(t *testing.T) {
	b := newFolder(t)
	b.do(0, "convert net.onnx -o net.recur -scheme f32")
	out, _ := b.do(0, "compare net.onnx net.recur -in one.npy -json")
	var s costs
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	if s.Output.SQNR != nil || s.Output.Max != 0 || len(s.Steps) != 9 || s.Decisions == nil || s.Decisions.Total != 9 || len(s.Operations) != 3 {
		t.Errorf("f32 against itself: %s", out)
	}
}

func TestBadInput(t *testing.T) {
	b := newFolder(t)
	b.do(0, "convert net.onnx -o net.recur -scheme f32")
	v := make([]float32, 108)
	v[2*27+4*3+1] = float32(math.NaN())
	b.array("nan.npy", v, 4, 9, 3)
	v[2*27+4*3+1] = float32(math.Inf(-1))
	b.array("inf.npy", v, 36, 3)
	b.array("wide.npy", v[:36], 9, 4)
	b.array("flat.npy", v[:9], 9)
	b.array("none.npy", nil, 0, 3)
	b.write("text.npy", []byte("1,2,3\n"))
	model, err := os.ReadFile(b.path("net.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	b.write("cut.onnx", model[:len(model)/2])
	b.write("erf.onnx", bytes.Replace(model, []byte("Softmax"), []byte("Softplu"), 1))
	recur, err := os.ReadFile(b.path("net.recur"))
	if err != nil {
		t.Fatal(err)
	}
	b.write("cut.recur", recur[:len(recur)/2])
	for line, want := range map[string]string{
		"run net.recur -in nan.npy":                      "element [2 4 1] is NaN",
		"run net.recur -in inf.npy":                      "element [22 1] is -Inf",
		"run net.recur -in wide.npy":                     "4 features a step, the model takes 3",
		"run net.recur -in flat.npy":                     "want [T, 3] or [N, T, 3]",
		"run net.recur -in none.npy":                     "holds no steps",
		"run net.recur -in text.npy":                     "not a .npy file",
		"run net.recur -in gone.npy":                     "no such file",
		"run gone.recur -in one.npy":                     "no such file",
		"run cut.recur -in one.npy":                      "cut.recur",
		"run cut.onnx -in one.npy":                       "onnx:",
		"run erf.onnx -in one.npy":                       `Softplu node "softmax": the operator is not supported`,
		"run net.onnx -in one.npy -output q":             `no output "q"`,
		"run net.onnx -in one.npy -zero h":               `no input "h"`,
		"convert net.onnx -o out.recur":                  "int8 needs to know how large",
		"convert net.onnx -o out.recur -calib nan.npy":   "element [2 4 1] is NaN",
		"convert net.onnx -o out.recur -calib wide.npy":  "4 features a step, the model takes 3",
		"convert net.onnx -o gone/out.recur -scheme f32": "no such file",
		"compare net.onnx cut.recur -in one.npy":         "cut.recur",
		"inspect one.npy":                                "not a .recur file",
	} {
		if _, errs := b.do(1, line); !strings.Contains(errs, want) {
			t.Errorf("%s: said %q, want %q", line, errs, want)
		}
	}
	if _, err := os.Stat(b.path("out.recur")); err == nil {
		t.Error("a failed conversion left a file")
	}
}

func TestUsage(t *testing.T) {
	b := newFolder(t)
	for _, line := range []string{
		"", "frobnicate", "convert", "convert net.onnx", "convert net.onnx -o", "convert net.onnx -o a.recur -scheme int4",
		"convert net.onnx -o a.recur -range 1 -calib one.npy", "convert net.onnx -o a.recur -range -1", "convert one.npy -o a.recur",
		"convert net.onnx -o a.recur -range 1 -labels a", "convert net.onnx -o a.recur -range 1 -rate -5", "inspect", "inspect a.recur b.recur",
		"inspect a.recur -output y", "run net.onnx", "run -in one.npy", "compare net.onnx", "compare net.onnx a.recur", "compare a.recur net.onnx -in one.npy",
		"run net.onnx -in one.npy -mystery",
	} {
		if out, errs := b.do(2, line); out != "" || errs == "" {
			t.Errorf("%q: printed %q, said %q", line, out, errs)
		}
	}
	for _, c := range commands {
		out, errs := b.do(0, c.name+" -h")
		if errs != "" || !strings.Contains(out, "\n  recur "+c.name) || !strings.Contains(out, "flags:") {
			t.Errorf("%s -h: printed %q, said %q", c.name, out, errs)
		}
	}
	b.do(0, "-h")
}

// What is not a regular file is written to, not replaced.
func TestWriteToDevice(t *testing.T) {
	b := newFolder(t)
	if _, err := os.Stat(os.DevNull); err != nil {
		t.Skip(err)
	}
	var o, e bytes.Buffer
	if run([]string{"convert", b.path("net.onnx"), "-o", os.DevNull, "-scheme", "f32"}, &o, &e) != 0 {
		t.Fatal(e.String())
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s was replaced: %v %v", os.DevNull, info, err)
	}
}
