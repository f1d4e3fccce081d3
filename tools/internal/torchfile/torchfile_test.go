package torchfile

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/safetensors"
	"github.com/recur-go/recur/tools/internal/shared"
	"github.com/recur-go/recur/tools/internal/stored"
	"github.com/recur-go/recur/tools/internal/torchfile/torchtest"
	"github.com/recur-go/recur/tools/internal/weights"
)

var state = []torchtest.Tensor{
	{Name: "rnn.weight_ih_l0", Shape: []int{3, 2}, Data: []float32{1, 2, 3, 4, 5, 6}},
	{Name: "fc.bias", Shape: []int{2}, Data: []float32{-1, 0.5}},
	{Name: "steps", Shape: []int{}, Data: []float32{7}},
}

func tensors(b []byte) ([]*weights.Tensor, error) {
	f, err := Read(b)
	if err != nil {
		return nil, err
	}
	return f.Tensors, nil
}

func TestStateDicts(t *testing.T) {
	for name, c := range map[string]struct {
		file   []byte
		prefix string
	}{
		"zip":        {torchtest.Zip("", state...), ""},
		"checkpoint": {torchtest.Zip("model_state_dict", state...), "model_state_dict."},
		"legacy":     {torchtest.Legacy(state...), ""},
	} {
		all, err := tensors(c.file)
		if err != nil || len(all) != len(state) {
			t.Errorf("%s: %d tensors, %v", name, len(all), err)
			continue
		}
		for i, x := range all {
			w := state[i]
			if x.Name != c.prefix+w.Name || !slices.Equal(x.Shape, w.Shape) || !slices.Equal(x.Floats(), w.Data) {
				t.Errorf("%s: %q %v %v, want %+v", name, x.Name, x.Shape, x.Floats(), w)
			}
		}
	}
}

func pickle(build func(p *torchtest.Pickle)) []byte {
	p := &torchtest.Pickle{}
	p.Op("\x80\x02")
	build(p)
	return torchtest.Archive(p.Op(".").String(), map[string][]byte{"data/0": {0, 1, 2, 3, 4, 5, 6, 7}})
}

func TestViewsSharedAndTyped(t *testing.T) {
	all, err := tensors(pickle(func(p *torchtest.Pickle) {
		p.Op("}(").Text("t").View("ByteStorage", "0", 8, 1, []int{3, 2}, []int{1, 3}, false)
		p.Text("same").View("ByteStorage", "0", 8, 6, []int{2}, []int{1}, false)
		p.Text("label").Text("x").Text("param").Class("torch._utils", "_rebuild_parameter").Op("(")
		p.View("ByteStorage", "0", 8, 0, nil, nil, false).Op("\x88").Class("collections", "OrderedDict").Op(")RtRu")
	}))
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for i, want := range [][]float32{{1, 4, 2, 5, 3, 6}, {6, 7}, {0}} {
		if !slices.Equal(all[i].Floats(), want) {
			t.Errorf("%q: %v, want %v", all[i].Name, all[i].Floats(), want)
		}
	}
}

func TestScriptModules(t *testing.T) {
	all, err := tensors(pickle(func(p *torchtest.Pickle) {
		p.Class("__torch__.net", "Net").Op(")\x81}(").Text("training").Op("\x89").Text("fc").Class("__torch__.linear", "Linear").Op(")\x81}(")
		p.Text("bias").View("ByteStorage", "0", 8, 0, []int{8}, []int{1}, false).Op("ubub")
	}))
	if err != nil || len(all) != 1 || all[0].Name != "fc.bias" {
		t.Fatal(all, err)
	}
}

// quantised pushes a tensor of 8 elements whose quantiser build pushes.
func quantised(p *torchtest.Pickle, build func()) {
	p.Class("torch._utils", "_rebuild_qtensor").Op("((").Text("storage").Class("torch", "QInt8Storage").Text("0").Text("cpu").Int(8)
	p.Op("tQ").Int(0).Ints([]int{2, 4}).Ints([]int{4, 1})
	build()
	p.Op("\x89NtR")
}

// TestQuantised holds quantised state dicts against those of the networks they were made from.
func TestQuantised(t *testing.T) {
	for name, c := range map[string]struct {
		float string
		step  float32 // the largest error, of a tensor's largest weight
	}{
		"lstm_int8":    {"lstm", 1. / 255},
		"gru_channels": {"gru", 1. / 255},
		"gru_float16":  {"gru", 0x1p-11},
		"cells_int8":   {"cells", 1. / 255},
		"cells_script": {"cells", 1. / 255},
	} {
		got, err := tensors(load(t, filepath.Join("testdata", name+".pt")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := tensors(load(t, filepath.Join("testdata", c.float+".pt")))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d tensors, want %d", name, len(got), len(want))
		}
		for _, w := range want {
			i := slices.IndexFunc(got, func(x *weights.Tensor) bool { return x.Name == w.Name })
			if i < 0 || !slices.Equal(got[i].Shape, w.Shape) {
				t.Errorf("%s: no %q of shape %v", name, w.Name, w.Shape)
				continue
			}
			v, exact := got[i].Floats(), w.Floats()
			most := max(slices.Max(exact), -slices.Min(exact)) * c.step * 1.01
			for k := range exact {
				if d := v[k] - exact[k]; !(d <= most && -d <= most) {
					t.Errorf("%s: %q, element %d is %v, want %v", name, w.Name, k, v[k], exact[k])
					break
				}
			}
		}
	}
}

// TestDirections tells two directions from two levels by the widths of packed weights.
func TestDirections(t *testing.T) {
	for _, c := range []struct {
		inputs []int
		hidden int
		want   int // 0 is an error
	}{
		{[]int{3}, 4, 1}, {[]int{3, 4}, 4, 1}, {[]int{3, 3}, 4, 2}, {[]int{3, 3, 8, 8}, 4, 2}, {[]int{4, 4, 4}, 4, 1}, {[]int{4, 4, 4, 4}, 4, 1},
		{[]int{4, 4}, 4, 0}, {[]int{3, 3, 8}, 4, 0}, {[]int{3, 5}, 4, 0}, {nil, 4, 0},
	} {
		if got, err := (&layers{c.inputs, c.hidden}).directions(); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
}

// TestExtras reads a checkpoint with what is no tensor: set, device, and the numbers and arrays of NumPy.
func TestExtras(t *testing.T) {
	all, err := tensors(pickle(func(p *torchtest.Pickle) {
		p.Op("}(").Text("best").Class("numpy.core.multiarray", "scalar").Op("(").Class("numpy", "dtype").Text("f8").Op("\x89\x88\x87R(K\x03").Text("<").Op("tb")
		p.Class("_codecs", "encode").Text("x").Text("latin1").Op("\x86RtR")
		p.Text("on").Class("torch", "device").Text("cpu").Op("\x85R").Text("seen").Class("builtins", "set").Op("](K\x01e\x85R")
		p.Text("a").View("ByteStorage", "0", 8, 0, []int{8}, []int{1}, false).Op("u")
	}))
	if err != nil || len(all) != 1 || all[0].Name != "a" {
		t.Fatal(all, err)
	}
}

// TestModules reads what an archive declares of its modules.
func TestModules(t *testing.T) {
	f, err := Read(load(t, filepath.Join("..", "conformance", "testdata", "torch", "scripted", "script.pt")))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][3]string{"conv.0": {"torch.nn.modules.conv.Conv1d", "stride", "(2,)"}, "conv.1": {"torch.nn.modules.batchnorm.BatchNorm1d", "affine", "True"},
		"conv.2": {"torch.nn.modules.activation.ELU", "alpha", "0.5"}, "head": {"torch.nn.modules.container.Sequential", "training", ""}}
	for _, m := range f.Modules {
		if w, ok := want[m.Name]; ok && (m.Class != w[0] || m.Constants[w[1]] != w[2]) {
			t.Errorf("%+v, want %q", m, w)
		}
		delete(want, m.Name)
	}
	if len(want) > 0 || len(f.Modules) != 13 || f.Modules[0].Name != "" {
		t.Errorf("%d modules, without %v", len(f.Modules), want)
	}
}

func TestRefused(t *testing.T) {
	for want, build := range map[string]func(p *torchtest.Pickle){
		`"os.system" is not allowed`:       func(p *torchtest.Pickle) { p.Class("os", "system").Op("(").Text("true").Op("tR") },
		`"builtins.eval" is not allowed`:   func(p *torchtest.Pickle) { p.Text("builtins").Text("eval").Op("\x93") },
		`"__main__.Net" is not allowed`:    func(p *torchtest.Pickle) { p.Class("__main__", "Net").Op(")\x81") },
		`"torch.complex64" is not allowed`: func(p *torchtest.Pickle) { p.Class("torch", "complex64") },
		`_rebuild_qtensor: bad arguments`: func(p *torchtest.Pickle) {
			p.Class("torch._utils", "_rebuild_qtensor").Op("(NNNN").Class("torch", "per_tensor_affine").Op("NN\x87tR")
		},
		`a quantiser of an unknown kind`: func(p *torchtest.Pickle) { quantised(p, func() { p.Class("torch", "qint8").Int(1).Int(0).Op("\x87") }) },
		`scales of shape [8]`: func(p *torchtest.Pickle) {
			p.Op("}").Text("a")
			quantised(p, func() {
				p.Op("(").Class("torch", "per_channel_affine").View("QInt8Storage", "0", 8, 0, []int{8}, []int{1}, false)
				p.View("QInt8Storage", "0", 8, 0, []int{8}, []int{1}, false).Int(1).Op("t")
			})
			p.Op("s")
		},
		`packed weights of an unknown form`: func(p *torchtest.Pickle) { p.Op("}").Text("fc._packed_params._packed_params").Op("NN\x86s") },
		`packed as xnnpack.Conv are not`: func(p *torchtest.Pickle) {
			p.Op("}").Text("c").Class("__torch__.torch.classes.xnnpack", "Conv").Op(")\x81)bs")
		},
		`"torch.float32" cannot be called`: func(p *torchtest.Pickle) { p.Class("torch", "float32").Op(")R") },
		`FloatStorage" cannot be called`:   func(p *torchtest.Pickle) { p.Class("torch", "FloatStorage").Op(")\x81") },
		`a call of what is no class`:       func(p *torchtest.Pickle) { p.Text("x").Op(")R") },
		`too few arguments`:                func(p *torchtest.Pickle) { p.Class("torch._utils", "_rebuild_tensor_v2").Op(")R") },
		`sets the state of what has none`:  func(p *torchtest.Pickle) { p.Op("]}b") },
		`no mark`:                          func(p *torchtest.Pickle) { p.Op("t") },
		`a mark where`:                     func(p *torchtest.Pickle) { p.Op("(0") },
		`the stack is empty`:               func(p *torchtest.Pickle) { p.Op("0") },
		`memo 9 is empty`:                  func(p *torchtest.Pickle) { p.Op("h\x09") },
		`opcode 0x69`:                      func(p *torchtest.Pickle) { p.Op("i") },
		`a persistent id that is no`:       func(p *torchtest.Pickle) { p.Text("0").Op("Q") },
		`no state dict`:                    func(p *torchtest.Pickle) { p.Int(1) },
		`a single tensor`:                  func(p *torchtest.Pickle) { p.View("ByteStorage", "0", 8, 0, []int{8}, []int{1}, false) },
		`the archive lacks "net/data/1"`: func(p *torchtest.Pickle) {
			p.Op("}").Text("a").View("ByteStorage", "1", 8, 0, []int{8}, []int{1}, false).Op("s")
		},
		`lacks "net/data/../../etc/passwd"`: func(p *torchtest.Pickle) {
			p.Op("}").Text("a").View("ByteStorage", "../../etc/passwd", 8, 0, nil, nil, false).Op("s")
		},
		`not 2147483647 of float64`: func(p *torchtest.Pickle) {
			p.Op("}").Text("a").View("DoubleStorage", "0", 1<<31-1, 0, nil, nil, false).Op("s")
		},
		`shape [3 3]`: func(p *torchtest.Pickle) {
			p.Op("}").Text("a").View("ByteStorage", "0", 8, 0, []int{3, 3}, []int{3, 1}, false).Op("s")
		},
		`begins at element 9`: func(p *torchtest.Pickle) { p.Op("}").Text("a").View("ByteStorage", "0", 8, 9, nil, nil, false).Op("s") },
		`two types or sizes`: func(p *torchtest.Pickle) {
			p.View("ByteStorage", "0", 8, 0, nil, nil, false).View("CharStorage", "0", 8, 0, nil, nil, false)
		},
		`more than 32 deep`: func(p *torchtest.Pickle) { p.Op("}q\x01").Text("a").Op("h\x01s") },
	} {
		if _, err := Read(pickle(build)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestHostile gives pickles that are small and mean much: each must end soon, in little memory.
func TestHostile(t *testing.T) {
	nested := func(p *torchtest.Pickle, wide int) {
		p.Op("}q\x00")
		for range 24 {
			p.Op("}(")
			for i := range wide {
				p.Int(i).Op("h\x00")
			}
			p.Op("uq\x00")
		}
	}
	deepTuple := &torchtest.Pickle{}
	deepTuple.Op(")q\x00")
	for range 200 {
		deepTuple.Op("h\x00h\x00\x86q\x00")
	}
	for name, build := range map[string]func(p *torchtest.Pickle){
		"operations":      func(p *torchtest.Pickle) { p.Op(strings.Repeat("]", 8<<20)) },
		"shared dicts":    func(p *torchtest.Pickle) { nested(p, 20) },
		"tuple as id":     func(p *torchtest.Pickle) { p.Op(deepTuple.String()).Op("Q") },
		"tuple as class":  func(p *torchtest.Pickle) { p.Op("(").Text("storage").Op(deepTuple.String()).Op("h\x00h\x00N").Op("tQ") },
		"tuple as object": func(p *torchtest.Pickle) { p.Op(deepTuple.String()) },
		"long text":       func(p *torchtest.Pickle) { p.Op("X\xff\xff\xff\xff") },
		"longer text":     func(p *torchtest.Pickle) { p.Op("\x8d\xff\xff\xff\xff\xff\xff\xff\xff") },
		"class of names": func(p *torchtest.Pickle) {
			p.Text(strings.Repeat("x", 1<<20)).Op("q\x00").Op(strings.Repeat("h\x00h\x00\x930", 1000))
		},
	} {
		b := pickle(build)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if _, err := Read(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; took > time.Second || used > 256<<20 {
			t.Errorf("%s: took %v and %d MB", name, took, used>>20)
		}
	}
}

func TestDamaged(t *testing.T) {
	for name, b := range map[string][]byte{"zip": torchtest.Zip("model", state...), "legacy": torchtest.Legacy(state...)} {
		for n := range b {
			if _, err := Read(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are accepted", name, n, len(b))
			}
		}
		for i := range b {
			for _, flip := range []byte{1, 0x80, 0xff} {
				c := bytes.Clone(b)
				c[i] ^= flip
				all, err := tensors(c)
				for _, x := range all {
					if err == nil && len(x.Floats()) != x.Len() {
						t.Fatal("length")
					}
				}
			}
		}
	}
	whole := torchtest.Zip("", state...)
	at := bytes.Index(whole, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40})
	whole[at] ^= 1
	if _, err := Read(whole); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a flipped bit of a weight: %v", err)
	}
}

// TestSuites holds the two formats against the same weights in a .safetensors file.
func TestSuites(t *testing.T) {
	dir := shared.Dir(t, "suites/torch")
	files, err := filepath.Glob(filepath.Join(dir+"*", "*", "model.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	read := 0
	for _, f := range files {
		want, err := safetensors.Read(load(t, f))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"state_dict.pt", "state_dict_legacy.pt"} {
			path := filepath.Join(filepath.Dir(f), name)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			got, err := tensors(load(t, path))
			if err != nil || len(got) != len(want) {
				t.Errorf("%s: %d tensors, %v", path, len(got), err)
				continue
			}
			for i, w := range want {
				if got[i].Name != w.Name || !slices.Equal(got[i].Shape, w.Shape) || !slices.Equal(got[i].Floats(), w.Floats()) {
					t.Errorf("%s: %q differs", path, w.Name)
				}
			}
			read++
		}
	}
	t.Logf("%d files", read)
}

// TestPublished reads checkpoints as published.
func TestPublished(t *testing.T) {
	dir := shared.Dir(t, "suites/models")
	for name, want := range map[string]string{
		"presenter/presenter_gesture_lstm.pt":        "lstm1.weight_ih_l0",
		"ityTell/itytell_gesture_lstm.pth":           "fc.weight",
		"unitree/unitree_g1_motion.torchscript.pt":   "memory.weight_hh_l0",
		"gtcrn/model_trained_on_dns3.pt":             "model.dpgrnn1.intra_rnn.rnn1.weight_ih_l0",
		"ter-har/ter_har.pth":                        "head1.0.weight",
		"../torch/dynquant_lstm/state_dict_float.pt": "fc.bias",
		"../torch/dynquant_lstm/state_dict_quant.pt": "rnn.weight_ih_l0",
		"../torch/dtype_variants/lstm_bf16.pt":       "weight_ih_l0",
	} {
		all, err := tensors(load(t, filepath.Join(dir, filepath.FromSlash(name))))
		names := []string{}
		for _, x := range all {
			names = append(names, x.Name)
		}
		if err != nil || !slices.Contains(names, want) {
			t.Errorf("%s: %v, no %q in %v", name, err, want, names)
		}
	}
}

func load(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzRead(f *testing.F) {
	f.Add(torchtest.Zip("model", state...))
	f.Add(torchtest.Legacy(state...))
	for _, name := range []string{"lstm_int8", "gru_channels", "cells_script"} {
		f.Add(load(f, filepath.Join("testdata", name+".pt")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := tensors(b)
		for _, x := range all {
			if err == nil && len(x.Floats()) != x.Len() {
				t.Error("length")
			}
		}
	})
}

// FuzzPickle needs no checksums to be right.
func FuzzPickle(f *testing.F) {
	f.Add([]byte("\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01\x86u."))
	f.Add([]byte("\x80\x02cos\nsystem\n)R."))
	for _, name := range []string{"lstm_int8", "gru_channels", "cells_script"} {
		a, err := stored.Open(load(f, filepath.Join("testdata", name+".pt")))
		if err != nil {
			f.Fatal(err)
		}
		for _, entry := range a.Names() {
			if strings.HasSuffix(entry, "/data.pkl") {
				b, err := a.Read(entry)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := unpickle(b, &scope{map[string]*storage{}})
		if err == nil {
			if f, err := flatten(v, func(*storage) ([]byte, error) { return make([]byte, 64), nil }); err == nil {
				unpacked(f.Tensors)
			}
		}
	})
}
