package main

import (
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/shared"
)

// classifier is a published model with a few recorded inputs.
type classifier struct {
	name   string
	models []string // the first that imports
	input  string
	hard   bool // w8a8 is not enough
}

// classifiers are those of the suites that end in classes.
func classifiers(t *testing.T) (out []classifier) {
	suites := shared.Dir(t, "suites")
	for _, name := range []string{"Crop_small_h5", "abdo_har_lstm_keras", "ankit_action_h5", "hatice_har_lstm_keras", "hema_action_keras", "hemant_lstm_keras",
		"kazuhito_keypoint_hdf5", "kazuhito_point_history_hdf5", "senku_action_keras", "thieulong_hand_grasping_h5"} {
		dir := filepath.Join(suites, "keras-ref", name)
		var meta struct{ Model string }
		b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
		if err == nil {
			err = json.Unmarshal(b, &meta)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, classifier{name, []string{filepath.Join(suites, meta.Model), filepath.Join(dir, "via_onnx.onnx")}, filepath.Join(dir, "in_x.npy"),
			name == "Crop_small_h5" || name == "senku_action_keras"})
	}
	for _, name := range []string{"itytell", "presenter"} {
		dir := filepath.Join(suites, "torch-real", name)
		out = append(out, classifier{name, []string{filepath.Join(dir, "model_op17.onnx")}, filepath.Join(dir, "set0_in_x.npy"), false})
	}
	for name, model := range map[string]string{"ucr__lstm_2709": "ucr-lstm/lstm.onnx", "ucr__vanilla_lstm_Coffee": "ucr-lstm/vanilla_lstm_Coffee.onnx",
		"tvm_lstm": "tvm-lstm/pytorch_tvm_lstm.onnx"} {
		in, err := filepath.Glob(filepath.Join(suites, "ort", name, "in_*.npy"))
		if err != nil || len(in) == 0 {
			t.Fatalf("%s: no input: %v", name, err)
		}
		out = append(out, classifier{name, []string{filepath.Join(suites, "models", model)}, in[0], false})
	}
	return out
}

// recording is a number of sequences [T, C].
type recording struct {
	data    []float32
	n, t, c int
}

func record(t *testing.T, path string, features int) recording {
	all, err := npy.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := all[0].Array
	r := recording{data: a.Data, t: 1, c: features}
	if rank := len(a.Shape); rank > 2 {
		r.t = a.Shape[rank-2]
	}
	r.n = len(a.Data) / (r.t * r.c)
	return r
}

// like draws sequences whose channels are mixtures of two recorded ones at other places in time. Wide ones vary in loudness by a factor of
// 16 and have an offset by channel, which brings forth more classes, and is harder for 8 bits.
func (r recording) like(rng *rand.Rand, n int, wide bool) (out [][]float32) {
	pick := func() []float32 {
		from, channel, at := rng.IntN(r.n), rng.IntN(r.c), rng.IntN(r.t)
		v := make([]float32, r.t)
		for i := range v {
			v[i] = r.data[(from*r.t+(i+at)%r.t)*r.c+channel]
		}
		return v
	}
	for range n {
		x := make([]float32, r.t*r.c)
		gain := 1.0
		if wide {
			gain = math.Exp2(rng.Float64()*4 - 1)
		}
		for c := range r.c {
			a, b, mix, offset := pick(), pick(), rng.Float64(), 0.0
			if wide {
				offset = (rng.Float64() - 0.5) * gain
			}
			for i := range r.t {
				x[i*r.c+c] = float32(gain*(mix*float64(a[i])+(1-mix)*float64(b[i])) + offset)
			}
		}
		out = append(out, x)
	}
	return out
}

var wide = flag.Bool("wide", false, "TestClassifiers: on inputs of wide range too")

// The suites record three or four inputs a model, so the data to calibrate on and the data to test on are drawn like them:
// 256 sequences for the one, 250 for the other, each a decision or more. On a wide range of inputs, which these networks were not made for,
// w8a8 is not enough for some; there only what auto chooses is held to the limit:
//
//	go test ./tools/recur -run TestClassifiers -v -wide
func TestClassifiers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const most = 1.0 // percent of the decisions
	for _, k := range classifiers(t) {
		g, float := k.load(t)
		in := record(t, k.input, g.Values[0].Width)
		for _, w := range []bool{false, true}[:1+btoi(*wide)] {
			calib, test := in.like(rand.New(rand.NewPCG(1, 1)), 256, w), in.like(rand.New(rand.NewPCG(2, 2)), 250, w)
			f, err := quant.Build(g, quant.Options{Scheme: format.W8A8, Calib: calib})
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			c, err := quant.Auto(g, calib, quant.Budget{Most: 0.005, Changed: true})
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			w8a8, auto := changed(t, float, f, test), changed(t, float, c.File, test)
			t.Logf("%-28s wide %-5v %2d classes: w8a8 %5.2f %%, auto %5.2f %% at %.2f times the cost (%s)", k.name, w, seen(t, float, test), w8a8, auto,
				explain(c, quant.Budget{}).Cost, schemesOf(c.File))
			if auto > most || !w && w8a8 > most && !k.hard {
				t.Errorf("%s: w8a8 changes %.2f %% of the decisions, auto %.2f %%, want at most %v %%", k.name, w8a8, auto, most)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// load imports the model.
func (k *classifier) load(t *testing.T) (*quant.Graph, *runtime.Model) {
	var g *quant.Graph
	var err error
	for _, m := range k.models {
		if g, err = (&importFlags{}).load(m); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", k.name, err)
	}
	float, err := assemble(k.name, g)
	if err != nil {
		t.Fatal(err)
	}
	return g, float
}

// changed is the share of the decisions that changed, in percent.
func changed(t *testing.T, float *runtime.Model, f *format.File, seqs [][]float32) float64 {
	m, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := quant.Compare(float, m, seqs)
	if err != nil {
		t.Fatal(err)
	}
	return 100 * float64(r.Changed) / float64(r.Decisions)
}

// seen is how many classes a model tells apart in the data.
func seen(t *testing.T, m *runtime.Model, seqs [][]float32) int {
	found := map[int]bool{}
	s := m.NewSession()
	for _, x := range seqs {
		rows := 1
		if m.PerStep() {
			rows = len(x) / m.InputWidth()
		}
		y := make([]float32, rows*m.OutputWidth())
		s.Reset()
		if err := s.Run(x, y); err != nil {
			t.Fatal(err)
		}
		for ; len(y) > 0; y = y[m.OutputWidth():] {
			best := 0
			for k, v := range y[:m.OutputWidth()] {
				if v > y[best] {
					best = k
				}
			}
			found[best] = true
		}
	}
	return len(found)
}
