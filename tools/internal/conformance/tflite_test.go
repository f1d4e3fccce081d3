package conformance

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/tflite"
	"github.com/recur-go/recur/tools/internal/tflite/tflitetest"
)

// counter is a model of y = k (x + v), which v is in the next step: a variable, or an input that is fed back. k is an integer of scale 1/2.
func counter(fedBack bool, k byte) []byte {
	b := tflitetest.New()
	x := b.Input("x", 1, 3)
	var v, handle int32
	if fedBack {
		v = b.Input("v", 1, 3)
	} else {
		handle, v = b.Tensor(tflite.Tensor{Name: "handle", Type: tflite.Resource}), b.Float("v", 1, 3)
		b.Op("VAR_HANDLE", &tflite.VarHandleOptions{Name: "v"}, nil, []int32{handle})
		b.Op("READ_VARIABLE", nil, []int32{handle}, []int32{v})
	}
	sum, y := b.Float("sum", 1, 3), b.Float("y", 1, 3)
	b.Op("ADD", nil, []int32{x, v}, []int32{sum})
	factor := b.Const([]float32{1})
	if k != 2 {
		factor = b.Bytes(tflite.Tensor{Name: "k", Type: tflite.Int8, Shape: []int32{1}, Quantization: &tflite.Quantization{Scale: []float32{0.5}}}, []byte{k})
	}
	b.Op("MUL", nil, []int32{sum, factor}, []int32{y})
	if !fedBack {
		b.Op("ASSIGN_VARIABLE", nil, []int32{handle, y}, nil)
	}
	b.Output(y)
	return b.Encode()
}

func TestTFLite(t *testing.T) {
	const head = `{"model": "m.tflite", "steps": 2, "inputs": [{"name": "x", "shape": [1, 3], "file": "in_0.npy"}`
	const feedback = `, {"name": "v", "shape": [1, 3], "feedback_from_output": 0}`
	const tail = `], "outputs": [{"name": "y"}]}`
	const integers = `], "outputs": [{"name": "y", "quant": [0.5, 10, 1]}]}`
	for name, c := range map[string]struct {
		meta    string
		fedBack bool
		k       byte
		file    string
		y       []float32
		status  Status
		reason  string
	}{
		"stream":    {head + tail, false, 2, "out_0.npy", []float32{1, 2, 3, 5, 7, 9}, Passed, ""},
		"other":     {head + tail, false, 2, "out_wasm_0.npy", []float32{1, 2, 3, 5, 7, 9}, Passed, ""},
		"wrong":     {head + tail, false, 2, "out_0.npy", []float32{1, 2, 3, 5, 7, 9.01}, Failed, "value 5"},
		"fed back":  {head + feedback + tail, true, 2, "out_0.npy", []float32{1, 2, 3, 5, 7, 9}, Passed, ""},
		"two":       {head + tail, true, 2, "out_0.npy", []float32{1, 2, 3, 5, 7, 9}, Unsupported, "2 inputs"},
		"integers":  {head + integers, false, 1, "out_0.npy", []float32{11, 12, 13, 15, 16, 18}, Passed, ""}, // of 0.5 1 1.5 2.25 3 3.75
		"decisions": {head + integers, false, 1, "out_0.npy", []float32{11, 12, 15, 14, 15, 23}, Passed, ""},
		"undecided": {head + integers, false, 1, "out_0.npy", []float32{11, 12, 15, 14, 23, 15}, Failed, "1 of 2 decisions differ"},
		"absent":    {head + tail, false, 2, "out_1.npy", nil, Failed, "no reference"},
	} {
		dir := filepath.Join(t.TempDir(), name+"_stream")
		write(t, dir, "meta.json", []byte(c.meta))
		write(t, dir, "m.tflite", counter(c.fedBack, c.k))
		write(t, dir, "in_0.npy", npyBytes(t, 1, 2, 3, 4, 5, 6))
		if c.y != nil {
			write(t, dir, c.file, npyBytes(t, c.y...))
		}
		if r := only(t, dir).Run(defaults); r.Status != c.status || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%s: %+v, want %s, %q", name, r, c.status, c.reason)
		}
	}
}

// TestTFLiteFresh has the states begin anew in every step, in a folder whose model is that of another.
func TestTFLiteFresh(t *testing.T) {
	root := t.TempDir()
	stream, fresh := filepath.Join(root, "m_stream"), filepath.Join(root, "m_fresh")
	write(t, stream, "meta.json", []byte(`{"model": "m.tflite", "steps": 2, "inputs": [{"name": "x", "shape": [1, 3], "file": "in_0.npy"}]}`))
	write(t, fresh, "meta.json", []byte(`{"id": "m_fresh"}`))
	write(t, root, "m.tflite", counter(false, 2))
	write(t, fresh, "in_0.npy", npyBytes(t, 1, 2, 3, 4, 5, 6))
	write(t, fresh, "out_0.npy", npyBytes(t, 1, 2, 3, 4, 5, 6))
	if r := only(t, fresh).Run(defaults); r.Status != Passed {
		t.Errorf("%+v", r)
	}
}
