package fromonnx

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/shared"
)

const tolerance = 1e-5

// refused lists the torch cases that are refused, by a part of the error.
var refused = map[string]string{
	"packed_lstm":     "only one can vary",
	"packed_gru_bi":   "only one can vary",
	"stream_lstmcell": "only one can vary",
}

func TestTorchExports(t *testing.T) {
	dir := shared.Dir(t, "suites/torch")
	files, err := filepath.Glob(filepath.Join(dir+"*", "*", "model_op*.onnx")) // torch and torch-real
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in %s (%v)", dir, err)
	}
	passed, refusals := 0, 0
	for _, f := range files {
		c := torchCase{t, filepath.Base(filepath.Dir(f)), f}
		meta := c.meta()
		for _, output := range meta.Outputs {
			name := c.name + "/" + filepath.Base(f) + " " + output
			worst, err := c.check(meta, output)
			want, isRefused := refused[c.name]
			var u *lower.Unsupported
			switch {
			case isRefused && (!errors.As(err, &u) || !strings.Contains(err.Error(), want)):
				t.Errorf("%s: got %v, want an error with %q", name, err, want)
			case isRefused:
				refusals++
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case !(worst <= tolerance):
				t.Errorf("%s: differs by %g", name, worst)
			default:
				passed++
			}
		}
	}
	t.Logf("%d files: %d outputs pass, %d are refused", len(files), passed, refusals)
}

type torchCase struct {
	t    *testing.T
	name string
	file string
}

type torchMeta struct {
	Inputs, Outputs []string
	Sets            []struct{ K int }
}

func (c torchCase) meta() (m torchMeta) {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(c.file), "meta.json"))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c torchCase) array(set int, kind, name string) *npy.Array {
	all, err := npy.ReadFile(filepath.Join(filepath.Dir(c.file), "set"+string(rune('0'+set))+"_"+kind+"_"+name+".npy"))
	if err != nil {
		c.t.Fatal(err)
	}
	return all[0].Array
}

// check returns the largest difference of an output from the float64 reference over all sets. Further inputs become constants, for
// each sequence of the batch its own.
func (c torchCase) check(meta torchMeta, output string) (float64, error) {
	worst := 0.0
	for _, set := range meta.Sets {
		x := c.array(set.K, "in", meta.Inputs[0])
		want := c.array(set.K, "out64", output)
		_, roles, err := c.load(meta, set.K, output, 0)
		if err != nil {
			return 0, err
		}
		ax := slices.Index(roles, lower.Batch)
		for n := range x.Shape[ax] {
			g, _, err := c.load(meta, set.K, output, n)
			if err != nil {
				return 0, err
			}
			got, perStep := c.run(g, pick(x, ax, n))
			at := ax
			if !perStep {
				at = len(want.Shape) - 2 // [N, O] or [D, N, H]
			}
			worst = math.Max(worst, difference(got, pick(want, at, n)))
		}
	}
	return worst, nil
}

func (c torchCase) load(meta torchMeta, set int, output string, n int) (*quant.Graph, []lower.Role, error) {
	m := readModel(c.t, c.file)
	for _, name := range meta.Inputs[1:] {
		if _, isRefused := refused[c.name]; isRefused {
			break
		}
		state := c.array(set, "in", name)
		t := &onnx.Tensor{Name: name, Type: onnx.Float, F: pick(state, 1, n)}
		t.Dims = []int64{int64(state.Shape[0]), 1, int64(state.Shape[2])}
		m.Graph.Initializers = append(m.Graph.Initializers, t)
	}
	p, err := plan(m, Options{Output: output, States: map[string]string{}})
	if err != nil {
		return nil, nil, err
	}
	g, layout, err := p.lower()
	if err == nil {
		describe(g, m)
	}
	return g, layout.Input, err
}

// TestRecurrentMatrix runs single-node models over the attributes of the recurrent operators. Those named saturate are chaotic: two
// right implementations drift apart, so only their range is checked.
func TestRecurrentMatrix(t *testing.T) {
	dir := shared.Dir(t, "suites/ort-matrix")
	files, err := filepath.Glob(filepath.Join(dir, "*", "model.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in %s (%v)", dir, err)
	}
	passed, refusals := 0, map[string]int{}
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f))
		worst, err := matrixCase(t, f)
		var u *lower.Unsupported
		switch {
		case errors.As(err, &u):
			refusals[u.Why]++
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case !(worst <= tolerance) && !(strings.Contains(name, "saturate") && worst <= 2):
			t.Errorf("%s: differs by %g", name, worst)
		default:
			passed++
		}
	}
	t.Logf("%d of %d models pass; refused: %v", passed, len(files), refusals)
	if passed < 59 {
		t.Errorf("%d models pass, there were 59", passed)
	}
}

// matrixCase returns the largest difference over the outputs Y and Y_h.
func matrixCase(t *testing.T, file string) (float64, error) {
	dir := filepath.Dir(file)
	array := func(name string) *npy.Array {
		all, err := npy.ReadFile(filepath.Join(dir, name+".npy"))
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Array
	}
	worst := 0.0
	x := array("in_X")
	for _, output := range readModel(t, file).Graph.Outputs {
		for n := range x.Shape[1] {
			if output.Name == "Y_c" {
				continue
			}
			m := readModel(t, file)
			for _, in := range m.Graph.Inputs[1:] {
				v := &onnx.Tensor{Name: in.Name, Type: in.Type}
				switch a := array("in_" + in.Name); len(a.Shape) {
				case 1:
					v.Dims, v.I = []int64{1}, []int64{int64(a.Data[n])}
				default:
					v.Dims, v.F = []int64{int64(a.Shape[0]), 1, int64(a.Shape[2])}, pick(a, 1, n)
				}
				m.Graph.Initializers = append(m.Graph.Initializers, v)
			}
			g, err := Import(m, Options{Output: output.Name})
			if err != nil {
				return 0, err
			}
			want := array("spec64_" + output.Name)
			got, _ := runGraph(t, g, pick(x, 1, n))
			worst = math.Max(worst, difference(got, pick(want, len(want.Shape)-2, n)))
		}
	}
	return worst, nil
}

// TestPublishedModels runs trained models as published. DTLN works on one frame a call and hands its state around: as a session, frame
// by frame, it keeps it itself.
func TestPublishedModels(t *testing.T) {
	dir := shared.Dir(t, "suites")
	for _, c := range []struct {
		model, run, in, out string
		batch               int // axis of in, -1 if there is none; -2 if the first axis is time
		fixed               map[string]float32
		tolerance           float64
	}{
		{"ucr-lstm/vanilla_lstm_Coffee", "ucr__vanilla_lstm_Coffee", "input", "output", -1, nil, 1e-5},
		{"ucr-lstm/vanilla_lstm1_Coffee", "ucr__vanilla_lstm1_Coffee", "input", "output", -1, nil, 1e-5},
		{"ucr-lstm/lstm", "ucr__lstm_2709", "input", "output", -1, nil, 1e-5},
		{"tvm-lstm/pytorch_tvm_lstm", "tvm_lstm", "input.1", "45", 1, nil, 1e-4},
		{"ndm/gonnx_mlp", "gonnx__mlp", "data_input", "preds", 0, nil, 1e-5},
		{"dtln/dtln_model_1", "dtln__model_1", "input_2", "activation_2", -2, map[string]float32{"input_3": 0}, 1e-4},
	} {
		m := readModel(t, filepath.Join(dir, "models", filepath.FromSlash(c.model)+".onnx"))
		g, err := Import(m, Options{Fixed: c.fixed})
		if err != nil {
			t.Errorf("%s: %v", c.model, err)
			continue
		}
		read := func(name string) *npy.Array {
			all, err := npy.ReadFile(filepath.Join(dir, "ort", c.run, name+".npy"))
			if err != nil {
				t.Fatal(err)
			}
			return all[0].Array
		}
		x, want := read("in_"+c.in), read("out_"+c.out)
		worst := 0.0
		check := func(x, want []float32) {
			got, _ := runGraph(t, g, x)
			worst = math.Max(worst, difference(got, want))
		}
		for call := range x.Shape[0] {
			one := &npy.Array{Shape: x.Shape[1:], Data: pick(x, 0, call)}
			y := &npy.Array{Shape: want.Shape[1:], Data: pick(want, 0, call)}
			switch {
			case c.batch == -1:
				check(one.Data, y.Data)
			case c.batch >= 0:
				for n := range one.Shape[c.batch] {
					check(pick(one, c.batch, n), pick(y, 0, n))
				}
			}
		}
		if c.batch == -2 {
			check(x.Data, want.Data)
		}
		if !(worst <= c.tolerance) {
			t.Errorf("%s: differs by %g", c.model, worst)
		}
	}
}

func (c torchCase) run(g *quant.Graph, x []float32) (y []float32, perStep bool) {
	y, m := runGraph(c.t, g, x)
	return y, m.PerStep()
}

func runGraph(t *testing.T, g *quant.Graph, x []float32) ([]float32, *runtime.Model) {
	t.Helper()
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	rows := 1
	if m.PerStep() {
		rows = len(x) / m.InputWidth()
	}
	y := make([]float32, rows*m.OutputWidth())
	if err := m.NewSession().Run(x, y); err != nil {
		t.Fatal(err)
	}
	return y, m
}

func readModel(t *testing.T, path string) *onnx.Model {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pick returns the data at position n of an axis.
func pick(a *npy.Array, ax, n int) []float32 {
	inner := 1
	for _, d := range a.Shape[ax+1:] {
		inner *= d
	}
	var out []float32
	for o := n * inner; o < len(a.Data); o += a.Shape[ax] * inner {
		out = append(out, a.Data[o:][:inner]...)
	}
	return out
}

func difference(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.NaN()
	}
	worst := 0.0
	for i := range got {
		worst = math.Max(worst, math.Abs(float64(got[i])-float64(want[i])))
	}
	return worst
}
