package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConformance(t *testing.T) {
	b := newFolder(t)
	b.do(0, "run net.onnx -in one.npy -out y.npy")
	y, x := b.read("y.npy"), b.read("one.npy")
	for _, name := range []string{"a.case", "b.case"} {
		if err := os.MkdirAll(b.path("all.cases/"+name), 0o700); err != nil {
			t.Fatal(err)
		}
		model, err := os.ReadFile(b.path("net.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join("all.cases", name)
		b.write(at+"/model.onnx", model)
		b.array(at+"/in_x.npy", x.Data, 9, 1, 3)
		b.array(at+"/out_p.npy", y.Data, 9, 1, 2)
	}
	out, _ := b.do(0, "conformance all.cases all.cases/a.case")
	for _, want := range []string{"passed  b.case", "2 passed, 0 failed, 0 unsupported", "all: 3 passed"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	y.Data[0] += 0.1
	b.array("all.cases/b.case/out_p.npy", y.Data, 9, 1, 2)
	out, errs := b.do(1, "conformance all.cases -failed")
	if !strings.Contains(out, "failed  b.case  0.1") || strings.Contains(out, "a.case") || !strings.Contains(errs, "1 of 2 cases failed") {
		t.Error(out, errs)
	}
	b.do(0, "conformance all.cases -atol 1")
	out, _ = b.do(1, "conformance -json all.cases")
	var r conformanceReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Passed != 1 || r.Failed != 1 || len(r.Suites[0].Cases) != 2 {
		t.Errorf("%v %+v", err, r)
	}
	if _, errs := b.do(1, "conformance no.cases"); !strings.Contains(errs, "no.cases") {
		t.Error(errs)
	}
	b.do(2, "conformance")
}
