package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/fromtorch"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/torchfile/torchtest"
)

// TestTorch runs cases with what the suites have not; make.py beside them says what they are.
func TestTorch(t *testing.T) {
	cases, err := Find(filepath.Join("testdata", "torch"))
	if err != nil || len(cases) != 5 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		if r := c.Run(defaults); r.Status != Passed {
			t.Errorf("%s: %s", r.Case, r.Reason)
		}
	}
}

// accumulate is an nn.RNN of one unit with ReLU and an nn.Linear: the output is a sum over time, doubled.
func accumulate() []byte {
	one := func(name string, v float32) torchtest.Tensor {
		return torchtest.Tensor{Name: name, Shape: []int{1, 1}, Data: []float32{v}}
	}
	return torchtest.Zip("", one("r.weight_ih_l0", 1), one("r.weight_hh_l0", 1), one("fc.weight", 2))
}

func writeArray(t *testing.T, dir, name string, shape []int, v ...float32) {
	t.Helper()
	var b bytes.Buffer
	if err := npy.Write(&b, &npy.Array{Shape: shape, Data: v}); err != nil {
		t.Fatal(err)
	}
	write(t, dir, name, b.Bytes())
}

// TestWeights runs weights without a model: two sequences of three steps, of which the second is one step long.
func TestWeights(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "case")
	write(t, dir, "model.pt", accumulate())
	write(t, dir, "meta.json", []byte(`{"id":"relu","inputs":["x","lens","h0"],"outputs":["y","hn"],"sets":[{"k":3}]}`))
	writeArray(t, dir, "set3_in_x.npy", []int{3, 2, 1}, 1, 5, 2, 7, 3, 7) // time first
	writeArray(t, dir, "set3_in_lens.npy", []int{2}, 3, 1)
	writeArray(t, dir, "set3_in_h0.npy", []int{1, 2, 1}, 10, 20)
	writeArray(t, dir, "set3_out64_y.npy", []int{3, 2, 1}, 22, 50, 26, 0, 32, 0)
	writeArray(t, dir, "set3_out64_hn.npy", []int{1, 2, 1}, 16, 25)
	if r := only(t, dir).Run(defaults); r.Status != Passed || len(r.Outputs) != 2 {
		t.Errorf("%+v", r)
	}
	writeArray(t, dir, "set3_out64_hn.npy", []int{1, 2, 1}, 16, 26)
	if r := only(t, dir).Run(defaults); r.Status != Failed || r.Worst != 1 || r.Right() != 1 {
		t.Errorf("a wrong state: %+v", r)
	}
	for arch, want := range map[string]Status{
		`{"layers":[{"type":"rnn","weights":"r","nonlinearity":"relu"},{"type":"linear","weights":"fc"}]}`:                Failed,
		`{"layers":[{"type":"rnn","weights":"r","nonlinearity":"elu"},{"type":"linear","weights":"fc"}]}`:                 Unsupported,
		`{"layers":[{"type":"rnn","weights":"r"},{"type":"rnn","weights":"r"},{"type":"linear","weights":"fc"}]}`:         Unsupported,
		`{"layers":[{"type":"rnn","weights":"r","nonlinearity":"relu"},{"type":"last"},{"type":"linear","weights":"fc"}]`: Failed,
	} {
		write(t, dir, "model.json", []byte(arch))
		if r := only(t, dir).Run(defaults); r.Status != want {
			t.Errorf("%s: %+v, want %s", arch, r, want)
		}
	}
}

// TestKinds pairs weights and outputs by the end of their names.
func TestKinds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "relu")
	write(t, dir, "net_a.pt", accumulate())
	write(t, dir, "net_b.pt", accumulate())
	write(t, dir, "arch.json", []byte(`{"layers":[{"type":"rnn","weights":"r","nonlinearity":"relu"},{"type":"last"},{"type":"linear","weights":"fc"}]}`))
	writeArray(t, dir, "in_x.npy", []int{1, 2, 1}, 1, 2)
	writeArray(t, dir, "out_a.npy", []int{1, 1}, 6)
	writeArray(t, dir, "out_b_y.npy", []int{1, 1}, 7)
	cases, err := Find(dir)
	if err != nil || len(cases) != 2 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	if r := cases[0].Run(defaults); r.Status != Passed || len(r.Outputs) != 1 {
		t.Errorf("%+v", r)
	}
	if r := cases[1].Run(defaults); r.Status != Failed || !strings.Contains(r.Reason, "value 0 is 6, want 7") {
		t.Errorf("%+v", r)
	}
	// Without a case of its own kind, a file is run on all arrays, of which there are two outputs here.
	if err := os.Rename(filepath.Join(dir, "net_b.pt"), filepath.Join(dir, "net.pt")); err != nil {
		t.Fatal(err)
	}
	if cases, err = Find(dir); err != nil || len(cases) != 2 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	if r := cases[0].Run(defaults); r.Status != Unsupported || !strings.Contains(r.Reason, "2 outputs") {
		t.Errorf("%+v", r)
	}
}

func ops(names ...any) map[string]any { return map[string]any{"17": names} }

// TestCorrected puts into guesses what meta.json and the shapes of arrays tell.
func TestCorrected(t *testing.T) {
	guess := `{"layers":[{"type":"lstm","weights":"r","note":"two-way"},{"type":"last","note":"guessed"},{"type":"linear","weights":"a"},{"type":"relu","note":"guessed"},
		{"type":"linear","weights":"b"}]}`
	for _, c := range []struct {
		name  string
		meta  meta
		y     []int64
		value []float32
		want  string
	}{
		{"as guessed", meta{}, []int64{1, 2}, []float32{3, 4}, "lstm last linear relu linear"},
		{"an output a step", meta{}, []int64{1, 3, 2}, []float32{1, 2, 3, 4, 5, 6}, "lstm linear relu linear"},
		{"a note", meta{Note: "MLP with ELU(32)"}, []int64{1, 2}, []float32{3, 4}, "lstm last linear elu linear"},
		{"operators", meta{Note: "not with ELU", Onnx: ops("LSTM", "ReduceMean", "Gemm", "Relu", "Sigmoid")}, []int64{1, 2}, []float32{3, 4},
			"lstm mean linear relu linear sigmoid"},
		{"no operator between", meta{Onnx: ops("LSTM", "ReduceMax", "Gemm")}, []int64{1, 2}, []float32{3, 4}, "lstm max linear linear"},
		{"gates written out", meta{Onnx: ops("Split", "Sigmoid", "Tanh", "Gemm", "Relu", "Reshape")}, []int64{1, 2}, []float32{3, 4}, "lstm last linear relu linear"},
		{"a distribution", meta{}, []int64{1, 2}, []float32{0.25, 0.75}, "lstm last linear relu linear softmax"},
		{"its logarithm", meta{}, []int64{1, 2}, []float32{-0.6931472, -0.6931472}, "lstm last linear relu linear log_softmax"},
		{"final states", meta{ID: "cls_hn"}, []int64{1, 2}, []float32{3, 4}, "lstm final linear relu linear"},
		{"final states exported", meta{Onnx: ops("LSTM", "Gemm", "Relu")}, []int64{1, 2}, []float32{3, 4}, "lstm final linear relu linear"},
		{"steps exported", meta{Onnx: ops("LSTM", "Gemm", "Relu", "Reshape")}, []int64{1, 2}, []float32{3, 4}, "lstm last linear relu linear"},
	} {
		a, err := fromtorch.Parse([]byte(guess))
		if err != nil {
			t.Fatal(err)
		}
		x := &onnx.Tensor{Dims: []int64{1, 3, 1}, F: make([]float32, 3)}
		sets := []set{{map[string]*onnx.Tensor{"x": x}, map[string]*onnx.Tensor{"y": {Dims: c.y, F: c.value}}}}
		c.meta.Inputs, c.meta.Outputs = []string{"x"}, []string{"y"}
		r, err := rolesOf(c.meta, sets)
		if err != nil {
			t.Fatal(err)
		}
		r.correct(a, c.meta, sets)
		var got []string
		for _, l := range a.Layers {
			got = append(got, strings.TrimSpace(l.Type+" "+l.Output))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}
