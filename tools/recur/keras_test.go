package main

import (
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/hdf5/hdf5test"
)

func TestKeras(t *testing.T) {
	b := newFolder(t)
	model := func(class string) []byte {
		root := &hdf5test.Group{Attrs: map[string][]string{"model_config": {`{"class_name":"Sequential","config":[
			{"class_name":"` + class + `","config":{"name":"d","units":2,"activation":"softmax","batch_input_shape":[null,9,3]}}]}`}}}
		d := root.Sub("model_weights").Sub("d")
		d.Attrs = map[string][]string{"weight_names": {"kernel:0", "bias:0"}}
		d.Put("kernel:0", hdf5test.Dataset{Shape: []int{3, 2}, Data: []float32{1, 2, -1, 3, 0.5, 0}})
		d.Put("bias:0", hdf5test.Dataset{Shape: []int{2}, Data: []float32{0.25, -1}})
		return hdf5test.Encode(root)
	}
	b.write("net.h5", model("Dense"))
	b.write("bad.h5", model("Conv1D"))
	b.do(0, "convert net.h5 -o out.recur -scheme f32")
	b.do(0, "compare net.h5 out.recur -in many.npy")
	if _, errs := b.do(1, "convert bad.h5 -o out.recur -scheme f32"); !strings.Contains(errs, `Conv1D "d"`) {
		t.Error(errs)
	}
	if _, errs := b.do(1, "run net.h5 -arch bad.h5 -in one.npy"); !strings.Contains(errs, "do not apply") {
		t.Error(errs)
	}
}
