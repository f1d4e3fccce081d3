package conformance

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
	"github.com/recur-go/recur/tools/internal/shared"
)

var defaults = Options{Tolerance{-1, -1}}

// TestSuites holds the suites to the number that passes, so that none is lost.
func TestSuites(t *testing.T) {
	root := shared.Dir(t, "suites")
	for _, s := range []struct {
		name            string
		passed, outputs int
		incomplete      string // a folder without a reference
	}{
		{"onnx-node", 370, 505, ""},
		{"ort-matrix", 135, 306, ""},
		{"torch", 231, 559, ""},
		{"torch-real", 12, 16, ""},
		{"keras-ref", 14, 14, ""},
		{"ort", 10, 14, ""},
		{"tflite-ref", 11, 13, "litert_lstm_quantized2"},
	} {
		cases, err := Find(filepath.Join(root, s.name))
		if err != nil && (s.incomplete == "" || strings.Count(err.Error(), "no test case") != 1 || !strings.Contains(err.Error(), s.incomplete)) {
			t.Errorf("%s: %v", s.name, err)
		}
		passed, outputs := 0, 0
		for _, c := range cases {
			r := c.Run(defaults)
			outputs += r.Right()
			switch r.Status {
			case Passed:
				passed++
			case Failed:
				t.Errorf("%s/%s: %s", s.name, r.Case, r.Reason)
			}
		}
		t.Logf("%s: %d of %d cases pass, and %d outputs", s.name, passed, len(cases), outputs)
		if passed < s.passed || outputs < s.outputs {
			t.Errorf("%s: %d cases and %d outputs pass, there were %d and %d", s.name, passed, outputs, s.passed, s.outputs)
		}
	}
}

// doubled is a model of y = x + x0, x and x0 [2, 3], both of them inputs.
func doubled(op string) []byte {
	v := func(name string) onnx.ValueInfo {
		return onnx.ValueInfo{Name: name, Type: onnx.Float, HasShape: true, Dims: []onnx.Dim{{Value: 2}, {Value: 3}}}
	}
	return onnxtest.Encode(&onnx.Model{IRVersion: 8, Opsets: map[string]int64{"": 17}, Graph: &onnx.Graph{
		Inputs: []onnx.ValueInfo{v("x"), v("x0")}, Outputs: []onnx.ValueInfo{v("y")},
		Nodes: []*onnx.Node{{Name: "n", Op: op, Inputs: []string{"x", "x0"}, Outputs: []string{"y"}}}}})
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func pb(v ...float32) []byte {
	return onnxtest.Tensor(&onnx.Tensor{Type: onnx.Float, Dims: []int64{2, 3}, F: v})
}

func npyBytes(t *testing.T, v ...float32) []byte {
	var b bytes.Buffer
	if err := npy.Write(&b, &npy.Array{Shape: []int{2, 3}, Data: v}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStatus(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name, op string
		y        []float32
		status   Status
		reason   string
	}{
		{"right", "Add", []float32{11, 22, 33, 44, 55, 66}, Passed, ""},
		{"within 1e-3", "Add", []float32{11, 22, 33, 44, 55, 66.06}, Passed, ""},
		{"wrong", "Add", []float32{11, 22, 33, 44, 55, 67}, Failed, "value 5 is 66, want 67"},
		{"nan", "Add", []float32{11, 22, 33, 44, 55, nan}, Failed, "value 5"},
		{"unknown", "Xyz", []float32{11, 22, 33, 44, 55, 66}, Unsupported, "Xyz"},
		{"saturate", "Add", []float32{66, 11, 0, 0, 0, 0}, Passed, ""},
		{"saturate small", "Add", []float32{0, 0, 0, 0, 0, 0}, Failed, "out of range"},
	} {
		dir := filepath.Join(t.TempDir(), c.name)
		write(t, dir, "model.onnx", doubled(c.op))
		write(t, dir, "test_data_set_0/input_0.pb", pb(1, 2, 3, 4, 5, 6))
		write(t, dir, "test_data_set_0/input_1.pb", pb(10, 20, 30, 40, 50, 60))
		write(t, dir, "test_data_set_0/output_0.pb", pb(c.y...))
		r := only(t, dir).Run(defaults)
		if r.Status != c.status || !strings.Contains(r.Reason, c.reason) || r.Chaotic != strings.HasPrefix(c.name, "saturate") {
			t.Errorf("%s: %+v, want %s, %q", c.name, r, c.status, c.reason)
		}
	}
}

func only(t *testing.T, dir string) *Case {
	t.Helper()
	cases, err := Find(dir)
	if err != nil || len(cases) != 1 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	return cases[0]
}

func TestTolerance(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "model.onnx", doubled("Add"))
	write(t, dir, "in_x.npy", npyBytes(t, 1, 2, 3, 4, 5, 6))
	write(t, dir, "in_x0.npy", npyBytes(t, 10, 20, 30, 40, 50, 60))
	write(t, dir, "out_y.npy", npyBytes(t, 11.25, 22, 33, 44, 55, 66))
	for _, c := range []struct {
		o    Options
		want Status
	}{
		{defaults, Failed}, {Options{Tolerance{0.25, -1}}, Passed}, {Options{Tolerance{0, 0.1}}, Passed}, {Options{Tolerance{0.2, 0.01}}, Failed},
	} {
		if r := only(t, dir).Run(c.o); r.Status != c.want || r.Worst != 0.25 {
			t.Errorf("%+v: %+v, want %s", c.o, r, c.want)
		}
	}
	write(t, dir, "spec64_y.npy", npyBytes(t, 11, 22, 33, 44, 55, 66))
	if r := only(t, dir).Run(defaults); r.Status != Passed {
		t.Errorf("the float64 reference counts first: %+v", r)
	}
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "other/a.txt", nil)
	if _, err := Find(dir); !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), "test_data_set_N") {
		t.Error(err)
	}
	if _, err := Find(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	write(t, dir, "cut/model.onnx", doubled("Add")[:20])
	write(t, dir, "cut/test_data_set_0/input_0.pb", []byte{1})
	write(t, dir, "meta/meta.json", []byte(`{"sets":1}`))
	cases, err := Find(dir)
	if len(cases) != 1 || cases[0].Run(defaults).Status != Failed || err == nil || !strings.Contains(err.Error(), "other") || !strings.Contains(err.Error(), "meta.json") {
		t.Errorf("%d cases, %v", len(cases), err)
	}
}
