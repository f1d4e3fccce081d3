package main

import (
	"strings"
	"testing"

	"github.com/recur-go/recur/tools/internal/tflite"
	"github.com/recur-go/recur/tools/internal/tflite/tflitetest"
)

func TestTFLite(t *testing.T) {
	b := newFolder(t)
	model := func(op string) []byte {
		m := tflitetest.New()
		x, h := m.Input("x", 1, 3), m.Input("h", 1, 2)
		w, next, y := m.Const([]float32{1, 2, -1, 3, 0.5, 0}, 2, 3), m.Float("h_next", 1, 2), m.Float("y", 1, 2)
		dense := m.Float("dense", 1, 2)
		m.Op("FULLY_CONNECTED", &tflite.FullyConnectedOptions{Activation: tflite.Relu}, []int32{x, w, -1}, []int32{dense})
		m.Op(op, nil, []int32{dense, h}, []int32{next})
		m.Op("SOFTMAX", &tflite.SoftmaxOptions{Beta: 1}, []int32{next}, []int32{y})
		m.Output(y, next)
		return m.Encode()
	}
	b.write("net.tflite", model("ADD"))
	b.write("bad.tflite", model("ATAN2"))
	b.write("cut.tflite", model("ADD")[:100])
	b.do(0, "convert net.tflite -o out.recur -scheme f32")
	b.do(0, "compare net.tflite out.recur -in many.npy")
	b.do(0, "convert net.tflite -o out.recur -scheme f32 -output h_next -state h=h_next")
	b.do(0, "convert net.tflite -o out.recur -scheme f32 -zero h -state none")
	if _, errs := b.do(1, "convert net.tflite -o out.recur -scheme f32 -state none"); !strings.Contains(errs, "2 inputs (x, h)") {
		t.Error(errs)
	}
	if _, errs := b.do(1, "convert bad.tflite -o out.recur -scheme f32"); !strings.Contains(errs, `ATAN2 "h_next"`) {
		t.Error(errs)
	}
	if _, errs := b.do(1, "convert cut.tflite -o out.recur -scheme f32"); !strings.Contains(errs, "tflite:") {
		t.Error(errs)
	}
	if _, errs := b.do(1, "run net.tflite -arch bad.tflite -in one.npy"); !strings.Contains(errs, "does not apply") {
		t.Error(errs)
	}
}
