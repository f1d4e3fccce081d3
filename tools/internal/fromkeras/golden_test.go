package fromkeras

import (
	"archive/tar"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/npy"
)

// saved is a model that Keras saved, with what it makes of an input.
type saved struct {
	files map[string][]byte // by extension
	x     *npy.Array
	y     map[string]*npy.Array
}

// golden reads what testdata/make.py wrote.
func golden(t testing.TB, version string) map[string]*saved {
	t.Helper()
	f, err := os.Open("testdata/" + version + ".tar.bz2")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]*saved{}
	for r := tar.NewReader(bzip2.NewReader(f)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, file, _ := strings.Cut(h.Name, "/")
		if all[name] == nil {
			all[name] = &saved{files: map[string][]byte{}, y: map[string]*npy.Array{}}
		}
		base, ext, _ := strings.Cut(file, ".")
		if ext != "npy" {
			all[name].files[ext] = b
			continue
		}
		a, err := npy.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if base == "x" {
			all[name].x = a
		} else {
			all[name].y[base] = a
		}
	}
}

// beyond are the saved models that are refused, by a part of the error.
var beyond = map[string]string{
	"keras2/two_inputs.h5":    "the model has 2 inputs",
	"keras3/two_inputs.keras": "the model has 2 inputs",
	// Keras 3 writes operators to .h5 in a way in which it does not read them.
	"keras3/operators.h5":        `: layers of this class`,
	"keras3/operators_static.h5": `: layers of this class`,
	"keras3/operators_more.h5":   `: layers of this class`,
}

// TestGolden holds models as Keras saves them against what Keras computes.
func TestGolden(t *testing.T) {
	for _, version := range []string{"keras2", "keras3"} {
		for name, s := range golden(t, version) {
			for ext, b := range s.files {
				which := fmt.Sprint(version, "/", name, ".", ext)
				t.Run(which, func(t *testing.T) { s.check(t, b, name, beyond[which]) })
			}
		}
	}
}

func (s *saved) check(t *testing.T, b []byte, name, refusal string) {
	got, err := s.compute(b, name)
	if refusal != "" {
		var u *lower.Unsupported
		if !errors.As(err, &u) || !strings.Contains(err.Error(), refusal) {
			t.Errorf("%v, want %q", err, refusal)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s.compare(t, got, "y0")
}

func (s *saved) compare(t *testing.T, got []float32, output string) {
	t.Helper()
	var want []float64
	most := 1.0
	for _, v := range s.y[output].Data {
		want = append(want, float64(v))
		most = math.Max(most, math.Abs(float64(v)))
	}
	if d := difference(got, want); !(d <= 1e-5*most) {
		t.Errorf("differs by %g; %d values, want %v", d, len(got), s.y[output].Shape)
	}
}

// compute runs the sequences of the batch; models with a state get them as one stream.
func (s *saved) compute(b []byte, name string) ([]float32, error) {
	o := Options{}
	if name == "decoder" {
		o.States = map[string]string{"h": "rnn:1", "c": "rnn:2"}
	}
	m, err := build(b, o)
	if err != nil {
		return nil, err
	}
	stream := name == "decoder" || strings.HasPrefix(name, "stateful")
	session := m.NewSession()
	size := len(s.x.Data) / s.x.Shape[0]
	var got []float32
	for k := range s.x.Shape[0] {
		if !stream {
			session.Reset()
		}
		y := make([]float32, outputs(m, size))
		if err := session.Run(s.x.Data[k*size:][:size], y); err != nil {
			return nil, err
		}
		got = append(got, y...)
	}
	return got, nil
}

func build(b []byte, o Options) (*runtime.Model, error) {
	m, err := Read(b)
	if err != nil {
		return nil, err
	}
	g, err := Import(m, o)
	if err != nil {
		return nil, err
	}
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		return nil, err
	}
	return runtime.New(f)
}

// outputs is how many values a model gives for an input of the given size.
func outputs(m *runtime.Model, inputs int) int {
	if m.PerStep() {
		return inputs / m.InputWidth() * m.OutputWidth()
	}
	return m.OutputWidth()
}

func TestOutputs(t *testing.T) {
	for version, ext := range map[string]string{"keras2": "h5", "keras3": "keras"} {
		s := golden(t, version)["outputs"]
		for name, want := range map[string]string{"": "y0", "left": "y0", "right": "y1"} {
			m, err := build(s.files[ext], Options{Output: name})
			if err != nil {
				t.Fatal(err)
			}
			var got []float32
			for k := range s.x.Shape[0] {
				size := len(s.x.Data) / s.x.Shape[0]
				y := make([]float32, m.OutputWidth())
				if err := m.NewSession().Run(s.x.Data[k*size:][:size], y); err != nil {
					t.Fatal(err)
				}
				got = append(got, y...)
			}
			s.compare(t, got, want)
		}
		if _, err := build(s.files[ext], Options{Output: "middle"}); err == nil || !strings.Contains(err.Error(), "left, right") {
			t.Error(err)
		}
	}
}

// TestFixed starts the decoder from states that are zero.
func TestFixed(t *testing.T) {
	s := golden(t, "keras3")["decoder"]
	m, err := build(s.files["keras"], Options{Fixed: map[string]float32{"h": 0, "c": 0}})
	if err != nil {
		t.Fatal(err)
	}
	y := make([]float32, m.OutputWidth())
	if err := m.NewSession().Run(s.x.Data[:3], y); err != nil {
		t.Fatal(err)
	}
	if d := difference(y, []float64{float64(s.y["y0"].Data[0]), float64(s.y["y0"].Data[1])}); !(d < 1e-5) {
		t.Errorf("differs by %g", d)
	}
	for want, o := range map[string]Options{
		"has 3 inputs":        {},
		"has 2 inputs":        {Fixed: map[string]float32{"h": 0}},
		`no input "q"`:        {Fixed: map[string]float32{"q": 0}},
		`no output "q"`:       {States: map[string]string{"h": "q"}},
		"rnn:1, rnn:2":        {States: map[string]string{"h": "rnn"}},
		"depends on no input": {Fixed: map[string]float32{"h": 0, "c": 0, "x": 0}},
	} {
		if _, err := build(s.files["keras"], o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestStreams runs models that have a memory of their own in parts of a sequence, which must not matter.
func TestStreams(t *testing.T) {
	for version, ext := range map[string]string{"keras2": "h5", "keras3": "keras"} {
		for _, name := range []string{"causal", "conv1d_causal", "masked", "pointwise", "lstm_open"} {
			s := golden(t, version)[name]
			m, err := build(s.files[ext], Options{})
			if err != nil {
				t.Fatal(err)
			}
			if m.InputWidth() != 3 {
				t.Errorf("%s takes %d values a step", name, m.InputWidth())
				continue
			}
			size := len(s.x.Data) / s.x.Shape[0]
			whole, parts := make([]float32, outputs(m, size)), make([]float32, outputs(m, size))
			session := m.NewSession()
			if err := session.Run(s.x.Data[:size], whole); err != nil {
				t.Fatal(err)
			}
			session.Reset()
			for from, n := 0, 3; from < size; from, n = from+n, 6 {
				n = min(n, size-from)
				y := parts
				if m.PerStep() {
					y = parts[from/3*m.OutputWidth():][:n/3*m.OutputWidth()]
				}
				if err := session.Run(s.x.Data[from:][:n], y); err != nil {
					t.Fatal(err)
				}
			}
			for i := range whole {
				if whole[i] != parts[i] {
					t.Errorf("%s: value %d is %v, in parts %v", name, i, whole[i], parts[i])
				}
			}
		}
	}
}
