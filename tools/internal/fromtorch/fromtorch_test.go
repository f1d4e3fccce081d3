package fromtorch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/shared"
	"github.com/recur-go/recur/tools/internal/torchfile"
	"github.com/recur-go/recur/tools/internal/torchfile/torchtest"
	"github.com/recur-go/recur/tools/internal/weights"
)

const tolerance = 1e-5

func tensor(name string, shape ...int) torchtest.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := torchtest.Tensor{Name: name, Shape: shape, Data: make([]float32, n)}
	for i := range t.Data {
		t.Data[i] = float32(math.Sin(float64(i+len(name)) * 1.7))
	}
	return t
}

// lstm is an nn.LSTM of one level.
func lstm(prefix string, in, hidden int) []torchtest.Tensor {
	return []torchtest.Tensor{tensor(prefix+"weight_ih_l0", 4*hidden, in), tensor(prefix+"weight_hh_l0", 4*hidden, hidden),
		tensor(prefix+"bias_ih_l0", 4*hidden), tensor(prefix+"bias_hh_l0", 4*hidden)}
}

func file(t testing.TB, b []byte) *torchfile.File {
	t.Helper()
	f, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t testing.TB, b []byte) []*weights.Tensor { return file(t, b).Tensors }

func parse(t testing.TB, s string) *Arch {
	t.Helper()
	a, err := Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDescribe(t *testing.T) {
	net := slices.Concat(lstm("rnn.", 3, 5), []torchtest.Tensor{tensor("head.0.weight", 6, 5), tensor("head.0.bias", 6),
		tensor("head.1.weight", 7, 6), tensor("head.3.weight", 2, 7)})
	a, err := Describe(file(t, torchtest.Zip("model_state_dict", net...)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(a), "lstm rnn, last, linear head.0, linear head.1, relu, linear head.3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if g := a.Guesses(); len(g) != 3 || !strings.HasPrefix(g[1], "layer 5 (relu): guessed") {
		t.Errorf("guesses %q", g)
	}
	if a.Root != "model_state_dict" {
		t.Errorf("root %q", a.Root)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(read(t, torchtest.Zip("model_state_dict", net...)), parse(t, string(text))); err != nil {
		t.Error(err)
	}
}

// zeros is a tensor of zeros.
func zeros(name string, shape ...int) torchtest.Tensor {
	z := tensor(name, shape...)
	clear(z.Data)
	return z
}

// linear is an nn.Linear.
func linear(name string, out, in int) []torchtest.Tensor {
	return []torchtest.Tensor{tensor(name+".weight", out, in), tensor(name+".bias", out)}
}

func batchNorm(name string, n int) []torchtest.Tensor {
	variance := tensor(name+".running_var", n)
	for i := range variance.Data {
		variance.Data[i] = 0.5 + float32(i)
	}
	return []torchtest.Tensor{tensor(name+".weight", n), tensor(name+".bias", n), tensor(name+".running_mean", n), variance,
		tensor(name + ".num_batches_tracked")}
}

// TestGuesses describes networks of usual shapes.
func TestGuesses(t *testing.T) {
	cell := lstm("rnn.", 3, 5)
	for _, c := range []struct {
		name    string
		tensors [][]torchtest.Tensor
		want    string // or the error
		ignore  string
	}{
		{"in reverse order", [][]torchtest.Tensor{linear("out", 2, 4), linear("fc", 4, 5), cell}, "lstm rnn, last, linear fc, relu, linear out", ""},
		{"batch normalisation before the activation", [][]torchtest.Tensor{linear("a", 4, 3), batchNorm("bn", 4), linear("b", 2, 4)},
			"linear a, batchnorm1d bn, relu, linear b", ""},
		{"batch normalisation after it", [][]torchtest.Tensor{linear("0", 4, 3), batchNorm("2", 4), linear("3", 2, 4)},
			"linear 0, relu, batchnorm1d 2, linear 3", ""},
		{"a normalised state", [][]torchtest.Tensor{cell, {tensor("norm.weight", 5), tensor("norm.bias", 5)}, linear("fc", 2, 5)},
			"lstm rnn, last, layer_norm norm, linear fc", ""},
		{"slopes", [][]torchtest.Tensor{linear("a", 4, 3), {tensor("act.weight", 1)}, linear("b", 2, 4)}, "linear a, prelu act, linear b", ""},
		{"states in buffers", [][]torchtest.Tensor{{zeros("hidden_state", 1, 1, 5), zeros("cell_state", 1, 1, 5)}, cell, linear("fc", 2, 5)},
			"lstm rnn, linear fc", "hidden_state cell_state"},
		{"learned states", [][]torchtest.Tensor{{tensor("h0", 1, 1, 5), tensor("c0", 1, 1, 5)}, cell}, "lstm rnn", ""},
		{"all steps side by side", [][]torchtest.Tensor{cell, linear("fc", 2, 35)}, "lstm rnn, flatten, linear fc", ""},
		{"convolutions", [][]torchtest.Tensor{{tensor("conv.weight", 4, 3, 3), tensor("conv.bias", 4)}, lstm("rnn.", 4, 5), linear("fc", 2, 5)},
			"conv1d conv, relu, lstm rnn, last, linear fc", ""},
		{"an actor beside its critic", [][]torchtest.Tensor{{tensor("std", 2)}, linear("actor.0", 4, 5), linear("actor.2", 2, 4), linear("critic.0", 4, 5),
			linear("critic.2", 1, 4), lstm("memory_a.rnn.", 3, 5), lstm("memory_c.rnn.", 3, 5)},
			"lstm memory_a.rnn, linear actor.0, relu, linear actor.2", "std critic.0 critic.2 memory_c.rnn"},
		{"a tensor of no layer", [][]torchtest.Tensor{cell, {tensor("rnn.scale", 7)}}, "lstm rnn, unknown rnn.scale", ""},
		{"attention", [][]torchtest.Tensor{cell, linear("attention", 1, 5), linear("fc", 2, 5)}, "!attention (attention)", ""},
		{"attention with heads", [][]torchtest.Tensor{{tensor("att.in_proj_weight", 9, 3), tensor("att.in_proj_bias", 9)}, linear("att.out_proj", 3, 3)},
			"!multi-head attention (att)", ""},
		{"an embedding", [][]torchtest.Tensor{{tensor("emb.weight", 100, 3)}, cell}, "!embedding (emb)", ""},
		{"images", [][]torchtest.Tensor{{tensor("a.weight", 4, 3, 3, 3), tensor("b.weight", 4, 3, 3, 3)}}, "!conv2d (a, b)", ""},
		{"branches", [][]torchtest.Tensor{lstm("a.", 3, 5), lstm("b.", 3, 4), linear("fc", 2, 9)}, "!a, b take the same input side by side", ""},
		{"weights in two parts", [][]torchtest.Tensor{{tensor("c.weight_g", 4, 1), tensor("c.weight_v", 4, 3)}}, "!there are c.weight_g, c.weight_v", ""},
	} {
		a, err := Describe(file(t, torchtest.Zip("", slices.Concat(c.tensors...)...)))
		if want, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", c.name, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if reordered := strings.Contains(a.Note, "order of the layers is guessed"); reordered != (c.name == "in reverse order" || c.name == "an actor beside its critic") {
			t.Errorf("%s: note %q", c.name, a.Note)
		}
		if got := text(a); got != c.want || strings.Join(a.Ignore, " ") != c.ignore {
			t.Errorf("%s: %q without %q, want %q without %q", c.name, got, a.Ignore, c.want, c.ignore)
		}
		_, err = Import(read(t, torchtest.Zip("", slices.Concat(c.tensors...)...)), a)
		u := (*lower.Unsupported)(nil)
		if strings.Contains(c.want, unknown) != errors.As(err, &u) && c.name != "convolutions" {
			t.Errorf("%s, as described: %v", c.name, err)
		}
	}
}

// TestSteps finds out how many steps a network takes from what a flattened width leaves of them.
func TestSteps(t *testing.T) {
	a, err := Describe(file(t, torchtest.Zip("", slices.Concat(lstm("rnn.", 6, 8), linear("a", 3, 8), linear("b", 2, 8))...)))
	if err != nil || a.Steps != 0 || !strings.Contains(a.Note, "do not fit each other") {
		t.Errorf("two heads: %+v, %v", a, err)
	}
	a, err = Describe(file(t, torchtest.Zip("", slices.Concat(lstm("rnn.", 3, 5), linear("fc", 2, 35))...)))
	if err != nil || a.Steps != 7 || a.Layers[1].Order != "" {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = Describe(file(t, torchtest.Zip("", slices.Concat([]torchtest.Tensor{tensor("0.weight", 4, 3, 5)}, linear("3", 2, 24))...)))
	if err != nil || a.Steps != 6 || a.Layers[2].Order != "channels" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestRefused(t *testing.T) {
	net := slices.Concat(lstm("rnn.", 3, 5), []torchtest.Tensor{tensor("fc.weight", 2, 5), tensor("fc.bias", 2), tensor("sq.weight", 5, 5),
		tensor("conv.weight", 4, 3, 3), tensor("p.weight_ih_l0", 20, 3), tensor("p.weight_hh_l0", 20, 2), tensor("p.weight_hr_l0", 2, 5),
		tensor("p.weight_ih_l0_reverse", 20, 3)})
	for arch, want := range map[string]string{
		`{"layers":[{"type":"lstm","weights":"rnn"}]}`:                                                                 "leave out conv.weight, fc.bias, fc.weight, p.weight_hh_l0 and 4 more",
		`{"layers":[{"type":"conv2d","weights":"fc"}]}`:                                                                "layer 1 (conv2d \"fc\"): layers of this type",
		`{"layers":[{"type":"conv1d","weights":"conv"}]}`:                                                              `by "steps" how many`,
		`{"steps":2,"layers":[{"type":"conv1d","weights":"conv"}]}`:                                                    "a window of 3 points over 2",
		`{"steps":9,"layers":[{"type":"conv1d","weights":"conv","groups":3}]}`:                                         "from 9 to 4 channels in 3 groups",
		`{"steps":9,"layers":[{"type":"conv1d","weights":"conv","stride":-1}]}`:                                        "stride -1",
		`{"steps":9,"layers":[{"type":"conv1d","weights":"conv","dilation":99999999}]}`:                                "dilation 99999999",
		`{"steps":9,"layers":[{"type":"lstm","weights":"rnn"},{"type":"maxpool1d"}]}`:                                  "a window of 0 steps",
		`{"steps":9,"layers":[{"type":"lstm","weights":"rnn"},{"type":"avgpool1d","kernel_size":3,"padding":2}]}`:      "more than half",
		`{"steps":99999999,"layers":[{"type":"lstm","weights":"rnn"}]}`:                                                "must be a fixed number of channels",
		`{"layers":[{"type":"lstm","weights":"rnn"},{"type":"flatten"}]}`:                                              `by "steps" how many`,
		`{"layers":[{"type":"lstm","weights":"rnn"},{"type":"hardtanh","min_val":1,"max_val":0}]}`:                     "from 1 to 0",
		`{"layers":[{"type":"lstm","weights":"rnn"},{"type":"gelu","approximate":"x"}]}`:                               `approximate "x"`,
		`{"layers":[{"type":"lstm","weights":"rnn","h0":"fc.bias"}]}`:                                                  "of fewer cells",
		`{"layers":[{"type":"lstm","weights":"rnn","c0":"sq.weight"}]}`:                                                "of more cells",
		`{"layers":[{"type":"lstm","weights":"rnn","h0":"x"}]}`:                                                        `no tensor "x"`,
		`{"layers":[{"type":"lstm","weights":"p"}]}`:                                                                   "(proj_size) of a two-way LSTM",
		`{"layers":[{"type":"gru","weights":"rnn"}]}`:                                                                  "3 rows for each of its 5 units",
		`{"layers":[{"type":"lstm","weights":"rnn"},{"type":"linear","weights":"rnn"}]}`:                               `no tensor "rnn.weight"`,
		`{"layers":[{"type":"linear","weights":"fc"},{"type":"lstm","weights":"rnn"}]}`:                                "not [20 2]",
		`{"layers":[{"type":"relu"}]}`:                                                                                 "must have weights",
		`{"layers":[{"type":"lstm","weights":"rnn","eps":1}]}`:                                                         `has no "eps"`,
		`{"layers":[{"type":"lstm","weights":"rnn","output":"all"}]}`:                                                  `output "all"`,
		`{"layers":[{"type":"lstm","weights":"rnn"},{"type":"last"},{"type":"mean"}]}`:                                 "no time left",
		`{"layers":[{"type":"lstm","weights":"rnn"},{"type":"affine","scale":[1,2]}]}`:                                 "2 values for 5 channels",
		`{"root":"model","layers":[{"type":"lstm","weights":"rnn"}]}`:                                                  "no tensors under",
		`{"layers":[{"type":"lstm","weights":"rnn"}` + strings.Repeat(`,{"type":"linear","weights":"sq"}`, 400) + `]}`: "more than 8 times",
		`{"layers":[{"type":"dropout"}]}`:                                                                              "no layer has weights",
	} {
		_, err := Import(read(t, torchtest.Zip("", net...)), parse(t, arch))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: %v, want %q", arch, err, want)
		}
	}
	for _, bad := range []string{``, `{}`, `{"layers":[]}`, `{"layers":[{"kind":"lstm"}]}`, `{"layers":[{"type":"last"}]}{}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestNormalised checks batch normalisation, pooling and inline scales against their definitions.
func TestNormalised(t *testing.T) {
	net := slices.Concat(linear("fc", 2, 2), batchNorm("bn", 2))
	variance := net[5]
	g, err := Import(read(t, torchtest.Legacy(net...)), parse(t, `{"layers":[{"type":"affine","scale":[2,3],"shift":[1]},{"type":"linear","weights":"fc"},
		{"type":"batchnorm1d","weights":"bn","eps":0.25},{"type":"mean"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{0.5, -1, 2, 0.25, -0.75, 1}
	want := make([]float64, 2)
	for s := 0; s < len(x); s += 2 {
		for o := range want {
			y := float64(net[1].Data[o])
			for i := range 2 {
				y += float64(net[0].Data[2*o+i]) * (float64(x[s+i])*float64(2+i) + 1)
			}
			y = (y-float64(net[4].Data[o]))/math.Sqrt(float64(variance.Data[o])+0.25)*float64(net[2].Data[o]) + float64(net[3].Data[o])
			want[o] += y / 3
		}
	}
	got, _ := run(t, g, x)
	for o := range want {
		if math.Abs(float64(got[o])-want[o]) > 1e-6 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// TestTorchScript takes a published controller from its archive, of which the description knows all, and runs it step by step.
func TestTorchScript(t *testing.T) {
	dir := shared.Dir(t, "suites")
	b, err := os.ReadFile(filepath.Join(dir, "models", "unitree", "unitree_g1_motion.torchscript.pt"))
	if err != nil {
		t.Fatal(err)
	}
	f := file(t, b)
	a, err := Describe(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(a), "lstm memory, linear actor.0, elu, linear actor.2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	g, err := Import(f.Tensors, a)
	if err != nil {
		t.Fatal(err)
	}
	m := model(t, g)
	x, want := array(t, filepath.Join(dir, "torch-real", "unitree_g1", "in_x.npy")), array(t, filepath.Join(dir, "torch-real", "unitree_g1", "out_action.npy"))
	s, got := m.NewSession(), make([]float32, len(want.Data))
	steps := x.Shape[0]
	for k := range steps {
		if err := s.Step(x.Data[k*m.InputWidth():][:m.InputWidth()], got[k*m.OutputWidth():][:m.OutputWidth()]); err != nil {
			t.Fatal(err)
		}
	}
	// The reference is in float32, and its largest value is 10.
	if worst := difference(got, want.Data); !(worst <= 10*tolerance) {
		t.Errorf("differs by %g", worst)
	}
}

// text lists layers and what they take their weights from.
func text(a *Arch) string {
	var parts []string
	for _, l := range a.Layers {
		s := l.Type
		if l.Weights != nil {
			s += " " + *l.Weights
		}
		parts = append(parts, strings.TrimSpace(s))
	}
	return strings.Join(parts, ", ")
}

func array(t *testing.T, path string) *npy.Array {
	t.Helper()
	all, err := npy.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Array
}

func model(t *testing.T, g *quant.Graph) *runtime.Model {
	t.Helper()
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func run(t *testing.T, g *quant.Graph, x []float32) (y []float32, perStep bool) {
	t.Helper()
	m := model(t, g)
	rows := 1
	if m.PerStep() {
		rows = len(x) / m.InputWidth()
	}
	y = make([]float32, rows*m.OutputWidth())
	if err := m.NewSession().Run(x, y); err != nil {
		t.Fatal(err)
	}
	return y, m.PerStep()
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

// TestMany reads a description and makes one of a file of as many tensors as can be.
func TestMany(t *testing.T) {
	var all []*weights.Tensor
	for i := range 1 << 16 {
		x, err := weights.New(fmt.Sprintf("m%d.weight", i), weights.U8, []int64{1, 1}, nil, 0, make([]byte, 1))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	arch := parse(t, `{"layers":[{"type":"linear","weights":"m0"}]}`)
	took := time.Hour // the shortest of a few, as other tests run beside this one
	for range 3 {
		start := time.Now()
		if _, err := Describe(&torchfile.File{Tensors: all}); err == nil || !strings.Contains(err.Error(), "more than 1024 layers") {
			t.Error(err)
		}
		if _, err := Describe(&torchfile.File{Tensors: all[:1000]}); err != nil {
			t.Error(err)
		}
		if _, err := Import(all, arch); err == nil || !strings.Contains(err.Error(), "leave out") {
			t.Error(err)
		}
		took = min(took, time.Since(start))
	}
	if took > time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzImport(f *testing.F) {
	net := slices.Concat(lstm("rnn.", 3, 5), []torchtest.Tensor{tensor("fc.weight", 2, 5), tensor("fc.bias", 2)})
	f.Add(torchtest.Legacy(net...), []byte(`{"layers":[{"type":"lstm","weights":"rnn","output":"final"},{"type":"linear","weights":"fc"}]}`))
	f.Add(torchtest.Legacy(net...), []byte(`{"layers":[{"type":"gru"},{"type":"affine","scale":[1]},{"type":"max"},{"type":"softmax"}]}`))
	f.Add(torchtest.Legacy(slices.Concat(lstm("rnn.", 3, 5), linear("fc", 2, 35))...), []byte(`{"steps":7,"layers":[{"type":"linear","weights":"sq"},
		{"type":"maxpool1d","kernel_size":2},{"type":"gelu"},{"type":"prelu","weights":"fc"},{"type":"flatten"}]}`))
	for _, name := range []string{"scripted/script", "projected/state_dict", "windows/state_dict"} {
		b, err := os.ReadFile(filepath.Join("..", "conformance", "testdata", "torch", name+".pt"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte(`{"steps":22,"layers":[{"type":"conv1d","weights":"conv.0","stride":2,"padding":"same"},{"type":"lstm","weights":"rnn","output":"cells"}]}`))
	}
	f.Fuzz(func(t *testing.T, file, arch []byte) {
		w, err := Read(file)
		if err != nil {
			return
		}
		if a, err := Describe(w); err == nil {
			Import(w.Tensors, a)
		}
		if a, err := Parse(arch); err == nil {
			Import(w.Tensors, a)
		}
	})
}
