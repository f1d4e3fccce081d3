package main

import (
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/torchfile/torchtest"
)

// writeTorch adds to the folder weights of a GRU of 2 units over 3 channels and of a matrix [2, 2], as a checkpoint net.pt.
func (b *folder) writeTorch() {
	tensor := func(name string, shape ...int) torchtest.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		t := torchtest.Tensor{Name: name, Shape: shape}
		for i := range n {
			t.Data = append(t.Data, float32(i%7-3)/4)
		}
		return t
	}
	b.write("net.pt", torchtest.Zip("model_state_dict", tensor("gru.weight_ih_l0", 6, 3), tensor("gru.weight_hh_l0", 6, 2),
		tensor("gru.bias_ih_l0", 6), tensor("gru.bias_hh_l0", 6), tensor("fc.weight", 2, 2)))
}

func TestDescribeAndConvert(t *testing.T) {
	b := newFolder(t)
	b.writeTorch()
	out, _ := b.do(0, "describe net.pt")
	for _, want := range []string{`"root": "model_state_dict"`, `"type": "gru"`, `"weights": "fc"`, "guessed: the last time step"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	b.do(0, "describe net.pt -o arch.json")
	if _, errs := b.do(0, "convert net.pt -arch arch.json -o out.recur -scheme w8a16 -range 3"); !strings.Contains(errs, "layer 2 (last): guessed") {
		t.Error(errs)
	}
	b.do(0, "compare net.pt -arch arch.json out.recur -in many.npy")
	b.do(0, "run net.pt -arch arch.json -in many.npy -out y.npy")
	if y := b.read("y.npy"); len(y.Data) != 4*2 {
		t.Errorf("shape %v", y.Shape)
	}
	b.write("bad.json", []byte(`{"layers":[{"type":"elu"}]}`))
	for line, want := range map[string]string{
		"convert net.pt -o out.recur -range 3":                "recur describe",
		"convert net.pt -arch bad.json -o out.recur -range 3": "layer 1 (elu)",
		"convert net.pt -arch net.pt -o out.recur -range 3":   "architecture:",
		"run net.onnx -arch bad.json -in one.npy":             "does not apply",
		"run net.pt -zero h -in one.npy":                      "ONNX, TensorFlow Lite and Keras models only",
	} {
		if _, errs := b.do(1, line); !strings.Contains(errs, want) {
			t.Errorf("%s: %s", line, errs)
		}
	}
	b.do(2, "describe net.onnx")
}
