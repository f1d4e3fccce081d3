package fromtorch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/safetensors"
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

func read(t testing.TB, b []byte) []*weights.Tensor {
	t.Helper()
	all, err := torchfile.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

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
		tensor("head.1.weight", 7, 6), tensor("head.3.weight", 2, 7), tensor("hidden", 1, 5)})
	a, err := Describe(read(t, torchtest.Zip("model_state_dict", net...)))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, l := range a.Layers {
		got += l.Type + " "
		if l.Weights != nil {
			got += *l.Weights + " "
		}
	}
	if want := "lstm rnn last linear head.0 linear head.1 relu linear head.3 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if g := a.Guesses(); len(g) != 3 || !strings.HasPrefix(g[1], "layer 5 (relu): guessed") {
		t.Errorf("guesses %q", g)
	}
	if a.Root != "model_state_dict" || !slices.Equal(a.Ignore, []string{"hidden"}) {
		t.Errorf("root %q, ignore %q", a.Root, a.Ignore)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(read(t, torchtest.Zip("model_state_dict", net...)), parse(t, string(text))); err != nil {
		t.Error(err)
	}
	slices.Reverse(net)
	b, err := Describe(read(t, torchtest.Zip("", net...)))
	if err != nil || len(b.Layers) != len(a.Layers) || b.Layers[0].Type != "lstm" || *b.Layers[5].Weights != "head.3" {
		t.Errorf("a file in reverse order: %+v, %v", b, err)
	}
}

func TestRefused(t *testing.T) {
	net := slices.Concat(lstm("rnn.", 3, 5), []torchtest.Tensor{tensor("fc.weight", 2, 5), tensor("fc.bias", 2), tensor("p.weight_hr_l0", 2, 5), tensor("sq.weight", 5, 5)},
		lstm("p.", 3, 5))
	for arch, want := range map[string]string{
		`{"layers":[{"type":"lstm","weights":"rnn"}]}`:                                                                 "leave out fc.bias, fc.weight, p.bias_hh_l0, p.bias_ih_l0 and 4 more",
		`{"layers":[{"type":"conv1d","weights":"fc"}]}`:                                                                "layer 1 (conv1d \"fc\"): layers of this type",
		`{"layers":[{"type":"lstm","weights":"p"}]}`:                                                                   "proj_size",
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
	variance := tensor("bn.running_var", 2)
	for i := range variance.Data {
		variance.Data[i] = 0.5 + float32(i)
	}
	net := []torchtest.Tensor{tensor("fc.weight", 2, 2), tensor("fc.bias", 2), tensor("bn.weight", 2), tensor("bn.bias", 2),
		tensor("bn.running_mean", 2), variance, tensor("bn.num_batches_tracked")}
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

// classifiers are the networks of the suites that are more than one layer.
var classifiers = map[string]string{
	"cls_lstm_last": `[{"type":"lstm","weights":"rnn"},{"type":"last"},{"type":"linear","weights":"fc"},{"type":"softmax"}]`,
	"cls_lstm_mean": `[{"type":"lstm","weights":"rnn"},{"type":"mean"},{"type":"linear","weights":"fc"},{"type":"softmax"}]`,
	"itytell":       `[{"type":"lstm","weights":"lstm"},{"type":"last"},{"type":"linear","weights":"fc"}]`,
	"presenter": `[{"type":"lstm","weights":"lstm1"},{"type":"lstm","weights":"lstm2"},{"type":"last"},{"type":"linear","weights":"fc1"},
		{"type":"relu"},{"type":"linear","weights":"fc2"}]`,
}

// skipped need a second input, lengths or states, or have files of their own: the tests below run them.
var skipped = map[string]bool{"packed_lstm": true, "packed_gru_bi": true, "lstm_initstate": true, "stream_lstmcell": true, "stream_lstm_l2": true,
	"dtype_variants": true, "dynquant_lstm": true, "unitree_g1": true}

func TestSuites(t *testing.T) {
	dir := shared.Dir(t, "suites/torch")
	metas, err := filepath.Glob(filepath.Join(dir+"*", "*", "meta.json"))
	if err != nil || len(metas) == 0 {
		t.Fatal("no cases", err)
	}
	passed, states := 0, 0
	for _, path := range metas {
		c := suiteCase{t, filepath.Dir(path)}
		if skipped[filepath.Base(c.dir)] {
			continue
		}
		for _, file := range files {
			for _, output := range c.meta().Outputs {
				if output == "cn" {
					states++
					continue
				}
				if worst := c.check(file, output); !(worst <= tolerance) {
					t.Errorf("%s/%s %s: differs by %g", filepath.Base(c.dir), file, output, worst)
					continue
				}
				passed++
			}
		}
	}
	t.Logf("%d outputs pass, %d are cell states", passed, states)
	if passed < 204 {
		t.Errorf("%d outputs pass, there were 204", passed)
	}
}

// timeFirst are the cases whose arrays are [time, batch, …].
var timeFirst = regexp.MustCompile(`^(lstm|gru)_l\d(_bi)?$`)

type suiteCase struct {
	t   *testing.T
	dir string
}

type suiteMeta struct {
	Outputs []string
	Sets    []struct{ K int }
}

func (c suiteCase) meta() (m suiteMeta) {
	b, err := os.ReadFile(filepath.Join(c.dir, "meta.json"))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c suiteCase) array(name string) *npy.Array {
	return array(c.t, filepath.Join(c.dir, name+".npy"))
}

// arch takes the guess for a bare layer, with the output and what the names of the cases say.
func (c suiteCase) arch(all []*weights.Tensor, output string) *Arch {
	name := filepath.Base(c.dir)
	if layers, ok := classifiers[name]; ok {
		return parse(c.t, `{"layers":`+layers+`}`)
	}
	a, err := Describe(all)
	if err != nil {
		c.t.Fatal(err)
	}
	if output == "hn" {
		a.Layers[0].Output = "states"
	}
	if strings.HasPrefix(name, "rnn_relu") {
		a.Layers[0].Nonlinearity = "relu"
	}
	return a
}

func (c suiteCase) check(file, output string) float64 {
	all := open(c.t, filepath.Join(c.dir, file))
	g, err := Import(all, c.arch(all, output))
	if err != nil {
		c.t.Errorf("%s/%s: %v", filepath.Base(c.dir), file, err)
		return math.NaN()
	}
	worst := 0.0
	for _, set := range c.meta().Sets {
		x := c.array(fmt.Sprintf("set%d_in_x", set.K))
		want := c.array(fmt.Sprintf("set%d_out64_%s", set.K, output))
		ax := 0
		if timeFirst.MatchString(filepath.Base(c.dir)) {
			ax = 1
		}
		for n := range x.Shape[ax] {
			got, perStep := run(c.t, g, pick(x, ax, n))
			at := ax
			if !perStep {
				at = len(want.Shape) - 2 // [N, O] or [levels, N, H]
			}
			worst = math.Max(worst, difference(got, pick(want, at, n)))
		}
	}
	return worst
}

// TestPacked runs sequences of different lengths, each on its own.
func TestPacked(t *testing.T) {
	dir := shared.Dir(t, "suites/torch")
	for name, layer := range map[string]string{"packed_lstm": "lstm", "packed_gru_bi": "gru"} {
		c := suiteCase{t, filepath.Join(dir, name)}
		for _, file := range files {
			g, err := Import(open(t, filepath.Join(c.dir, file)), parse(t, `{"layers":[{"type":"`+layer+`","weights":"r"},{"type":"linear","weights":"fc"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			x, lens, want := c.array("set0_in_x"), c.array("set0_in_lens"), c.array("set0_out64_y")
			for n, v := range lens.Data {
				steps := int(v)
				got, _ := run(t, g, pick(x, 0, n)[:steps*x.Shape[2]])
				if worst := difference(got, pick(want, 0, n)[:steps*want.Shape[2]]); !(worst <= tolerance) {
					t.Errorf("%s/%s, sequence %d: differs by %g", name, file, n, worst)
				}
			}
		}
	}
}

var files = []string{"model.safetensors", "state_dict.pt", "state_dict_legacy.pt"}

// TestStates runs networks from given states, which a description cannot hold: they are put into the graph.
func TestStates(t *testing.T) {
	dir := shared.Dir(t, "suites/torch")
	for _, s := range []struct{ name, layers, h, c, output string }{
		{"lstm_initstate", `{"type":"lstm"}`, "h0", "c0", "output"},
		{"stream_lstm_l2", `{"type":"lstm","weights":"r"},{"type":"linear","weights":"fc"}`, "h", "c", "y"},
		{"stream_lstmcell", `{"type":"lstm","weights":"c1"},{"type":"lstm","weights":"c2"},{"type":"linear","weights":"fc"}`, "h1 h2", "c1 c2", "y"},
	} {
		c := suiteCase{t, filepath.Join(dir, s.name)}
		x, want := c.array("set0_in_x"), c.array("set0_out64_"+s.output)
		for _, file := range files {
			g, err := Import(open(t, filepath.Join(c.dir, file)), parse(t, `{"layers":[`+s.layers+`]}`))
			if err != nil {
				t.Fatal(err)
			}
			for n := range x.Shape[0] {
				level := 0
				for i := range g.Ops {
					if g.Ops[i].Kind == format.LSTM {
						g.Ops[i].H0, g.Ops[i].C0 = c.state(s.h, level, n), c.state(s.c, level, n)
						level++
					}
				}
				got, _ := run(t, g, pick(x, 0, n))
				if worst := difference(got, pick(want, 0, n)); !(worst <= tolerance) {
					t.Errorf("%s/%s: differs by %g", s.name, file, worst)
				}
			}
		}
	}
}

// state is the state of a level for sequence n: of an array for each level, [batch, hidden], or one for all, [levels, batch, hidden].
func (c suiteCase) state(names string, level, n int) []float32 {
	list := strings.Fields(names)
	if len(list) > 1 {
		return pick(c.array("set0_in_"+list[level]), 0, n)
	}
	a := c.array("set0_in_" + names)
	return pick(&npy.Array{Shape: a.Shape[1:], Data: pick(a, 0, level)}, 0, n)
}

// TestTypes reads float64, float16 and bfloat16 weights; the references ran in these types, so their own error is the tolerance.
func TestTypes(t *testing.T) {
	dir := filepath.Join(shared.Dir(t, "suites/torch"), "dtype_variants")
	x := array(t, filepath.Join(dir, "in_x.npy"))
	for typ, tolerance := range map[string]float64{"f64": 1e-5, "f16": 2e-3, "bf16": 2e-2} {
		want := array(t, filepath.Join(dir, "out_"+typ+"_output.npy"))
		for _, ext := range []string{".pt", ".safetensors"} {
			all := open(t, filepath.Join(dir, "lstm_"+typ+ext))
			a, err := Describe(all)
			if err != nil {
				t.Fatal(err)
			}
			g, err := Import(all, a)
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for n := range x.Shape[1] {
				got, _ := run(t, g, pick(x, 1, n))
				worst = math.Max(worst, difference(got, pick(want, 1, n)))
			}
			if !(worst <= tolerance) {
				t.Errorf("%s%s: differs by %g", typ, ext, worst)
			}
		}
	}
}

// TestTorchScript takes the recurrent part of a published controller from its archive; its ELU is not supported.
func TestTorchScript(t *testing.T) {
	dir := shared.Dir(t, "suites")
	all := open(t, filepath.Join(dir, "models", "unitree", "unitree_g1_motion.torchscript.pt"))
	a, err := Describe(all)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Import(all, a); err != nil {
		t.Errorf("as guessed: %v", err)
	}
	g, err := Import(all, parse(t, `{"layers":[{"type":"lstm","weights":"memory"}],"ignore":["hidden_state","cell_state","actor"]}`))
	if err != nil {
		t.Fatal(err)
	}
	x, want := array(t, filepath.Join(dir, "torch-real", "unitree_g1", "in_x.npy")), array(t, filepath.Join(dir, "torch-real", "unitree_g1", "out_h.npy"))
	got, _ := run(t, g, x.Data)
	if worst := difference(got, want.Data); !(worst <= tolerance) {
		t.Errorf("differs by %g", worst)
	}
	_, err = Import(all, parse(t, `{"layers":[{"type":"lstm","weights":"memory"},{"type":"elu"}]}`))
	var u *lower.Unsupported
	if !errors.As(err, &u) {
		t.Errorf("elu: %v", err)
	}
}

func open(t *testing.T, path string) []*weights.Tensor {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) != ".safetensors" {
		return read(t, b)
	}
	all, err := safetensors.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func array(t *testing.T, path string) *npy.Array {
	t.Helper()
	all, err := npy.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Array
}

func run(t *testing.T, g *quant.Graph, x []float32) (y []float32, perStep bool) {
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
	y = make([]float32, rows*m.OutputWidth())
	if err := m.NewSession().Run(x, y); err != nil {
		t.Fatal(err)
	}
	return y, m.PerStep()
}

// pick returns the data at position n of an axis.
func pick(a *npy.Array, ax, n int) (out []float32) {
	inner := 1
	for _, d := range a.Shape[ax+1:] {
		inner *= d
	}
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

// TestMany describes a file of as many tensors as can be.
func TestMany(t *testing.T) {
	var all []*weights.Tensor
	for i := range 1 << 16 {
		name := fmt.Sprintf("m%d.weight", i)
		if i%2 == 0 {
			name = fmt.Sprintf("m%d.x", i)
		}
		x, err := weights.New(name, weights.U8, []int64{1, int64(1 + i%3)}, nil, 0, make([]byte, 3))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	start := time.Now()
	a, err := Describe(all)
	if err != nil {
		t.Fatal(err)
	}
	a.Layers = a.Layers[:1]
	if _, err := Import(all, a); err == nil || !strings.Contains(err.Error(), "leave out") {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzImport(f *testing.F) {
	net := slices.Concat(lstm("rnn.", 3, 5), []torchtest.Tensor{tensor("fc.weight", 2, 5), tensor("fc.bias", 2)})
	f.Add(torchtest.Legacy(net...), []byte(`{"layers":[{"type":"lstm","weights":"rnn","output":"final"},{"type":"linear","weights":"fc"}]}`))
	f.Add(torchtest.Legacy(net...), []byte(`{"layers":[{"type":"gru"},{"type":"affine","scale":[1]},{"type":"max"},{"type":"softmax"}]}`))
	f.Fuzz(func(t *testing.T, file, arch []byte) {
		all, err := torchfile.Read(file)
		if err != nil {
			return
		}
		if a, err := Describe(all); err == nil {
			Import(all, a)
		}
		if a, err := Parse(arch); err == nil {
			Import(all, a)
		}
	})
}
