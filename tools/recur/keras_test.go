package main

import (
	"slices"
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
	b.write("bad.h5", model("Attention"))
	b.do(0, "convert net.h5 -o out.recur -scheme f32")
	b.do(0, "compare net.h5 out.recur -in many.npy")
	if _, errs := b.do(1, "convert bad.h5 -o out.recur -scheme f32"); !strings.Contains(errs, `Attention "d"`) {
		t.Error(errs)
	}
	if _, errs := b.do(1, "run net.h5 -arch bad.h5 -in one.npy"); !strings.Contains(errs, "-arch does not apply") {
		t.Error(errs)
	}

	window := &hdf5test.Group{Attrs: map[string][]string{"model_config": {`{"class_name":"Sequential","config":[
		{"class_name":"Conv1D","config":{"name":"c","filters":1,"kernel_size":[2],"batch_input_shape":[null,9,3]}}]}`}}}
	c := window.Sub("model_weights").Sub("c")
	c.Attrs = map[string][]string{"weight_names": {"kernel:0", "bias:0"}}
	c.Put("kernel:0", hdf5test.Dataset{Shape: []int{2, 3, 1}, Data: []float32{1, 0, 0, -1, 0, 0}})
	c.Put("bias:0", hdf5test.Dataset{Shape: []int{1}, Data: []float32{2}})
	b.write("window.h5", hdf5test.Encode(window))
	b.do(0, "convert window.h5 -o window.recur -calib many.npy")
	b.do(0, "compare window.h5 window.recur -in many.npy")
	b.do(0, "run window.h5 -in many.npy -out y.npy")
	x, y := b.read("many.npy"), b.read("y.npy")
	if !slices.Equal(y.Shape, []int{4, 8}) {
		t.Fatalf("shape %v", y.Shape)
	}
	for i, v := range y.Data {
		at := i/8*27 + i%8*3
		if want := x.Data[at] - x.Data[at+3] + 2; max(v-want, want-v) > 1e-6 {
			t.Errorf("element %d is %v, want %v", i, v, want)
		}
	}
	b.do(0, "run net.h5 -output d -in one.npy")
	if _, errs := b.do(1, "run net.h5 -output e -in one.npy"); !strings.Contains(errs, `no output "e"; it has d`) {
		t.Error(errs)
	}
}
