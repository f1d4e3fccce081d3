package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/fromtflite"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/tflite"
)

// tfliteMeta is what meta.json of a TensorFlow Lite case says: one interpreter that ran a model step by step. The first axis of all arrays
// is the step.
type tfliteMeta struct {
	ID, Model       string
	Steps           int
	Inputs, Outputs []tfliteTensor
}

type tfliteTensor struct {
	Name   string
	Shape  []int64
	Dtype  string
	Quant  []float64 // of integers: scale, zero point, number of scales
	File   string
	Before *int `json:"feedback_from_output"` // the output whose value of the step before it holds
}

// What the output of a model of integers must have over its difference from the reference, in dB. The reference rounds activations, which ours
// does not, and its own kernels for integers differ from each other and from those for floats by as much; so it is enough that it comes to the
// same decisions, as long as the output is not something else altogether.
const (
	minSNR     = 15
	minDecided = 6
)

type tfliteCase struct {
	dir   string
	fresh bool // every step begins at the initial state
	tfliteMeta
}

// tfliteCases are the cases of a folder whose meta.json names a TensorFlow Lite model. That of a folder NAME_fresh may leave it to NAME_stream;
// its steps begin at the initial state.
func tfliteCases(dir, name string, b []byte) ([]*Case, bool) {
	var m tfliteMeta
	if json.Unmarshal(b, &m) != nil {
		return nil, false
	}
	base, fresh := strings.CutSuffix(dir, "_fresh")
	if m.Model == "" && fresh {
		b, err := os.ReadFile(filepath.Join(base+"_stream", "meta.json"))
		if err != nil || json.Unmarshal(b, &m) != nil {
			return nil, false
		}
	}
	if filepath.Ext(m.Model) != ".tflite" || m.Steps < 1 {
		return nil, false
	}
	return []*Case{{name, tfliteCase{dir, fresh, m}.run}}, true
}

func (k tfliteCase) run(c checker) ([]Output, error) {
	b, err := above(k.dir, k.Model)
	if err != nil {
		return nil, err
	}
	m, err := tflite.Read(b)
	if err != nil {
		return nil, err
	}
	var outputs []Output
	for i, index := range m.Subgraphs[0].Outputs {
		want, err := k.reference(i)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		o := Output{Name: m.Subgraphs[0].Tensors[index].Name, Status: Passed}
		o.add(k.check(c, m, o.Name, want))
		outputs = append(outputs, o)
	}
	if len(outputs) == 0 {
		return nil, errors.New("there is no reference for any output")
	}
	return outputs, nil
}

// reference is what came out of an output in all steps: by the reference kernels or, where these did not run the model, by the others.
func (k tfliteCase) reference(i int) ([]float32, error) {
	var t tfliteTensor
	if i < len(k.Outputs) {
		t = k.Outputs[i]
	}
	a, err := array(filepath.Join(k.dir, fmt.Sprintf("out_%d.npy", i)))
	if errors.Is(err, os.ErrNotExist) {
		a, err = array(filepath.Join(k.dir, fmt.Sprintf("out_wasm_%d.npy", i)))
	}
	if err != nil {
		return nil, err
	}
	return t.floats(a.Data), nil
}

// floats is what integers stand for.
func (t tfliteTensor) floats(v []float32) []float32 {
	if len(t.Quant) < 2 {
		return v
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(t.Quant[0] * (float64(x) - t.Quant[1]))
	}
	return out
}

func (k tfliteCase) check(c checker, m *tflite.Model, output string, want []float32) (float64, error) {
	o := fromtflite.Options{Output: output, States: map[string]string{}}
	var x *tfliteTensor
	for i, in := range k.Inputs {
		switch {
		case in.Before == nil:
			x = &k.Inputs[i]
		case *in.Before < 0 || *in.Before >= len(m.Subgraphs[0].Outputs):
			return 0, fmt.Errorf("input %q is fed back from output %d", in.Name, *in.Before)
		default:
			o.States[in.Name] = m.Subgraphs[0].Tensors[m.Subgraphs[0].Outputs[*in.Before]].Name
		}
	}
	if x == nil {
		return 0, errors.New("no input varies")
	}
	g, l, err := fromtflite.ImportLayout(m, o)
	if err != nil {
		return 0, err
	}
	a, err := array(filepath.Join(k.dir, x.File))
	if err != nil {
		return 0, err
	}
	got, err := k.steps(g, l, x.floats(a.Data), x.Shape)
	if err != nil {
		return 0, err
	}
	if integers(m) && !c.given() {
		return similar(got, want, channels(l.Output))
	}
	return c.compare(got, want, Tolerance{1e-5, 1e-4})
}

// steps runs a model on every step, each sequence of the batch in a session of its own.
func (k tfliteCase) steps(g *quant.Graph, l fromtflite.Layout, x []float32, shape []int64) ([]float32, error) {
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		return nil, err
	}
	m, err := runtime.New(f)
	if err != nil {
		return nil, err
	}
	var sessions []*runtime.Session
	var out []float32
	size := len(x) / k.Steps
	for step := range k.Steps {
		in := arrange(&onnx.Tensor{Dims: shape, F: x[step*size:][:size]}, l.Input)
		rows := make([]result, len(in.sequences))
		for n, seq := range in.sequences {
			if len(sessions) == n {
				sessions = append(sessions, m.NewSession())
			}
			if k.fresh || !l.Keeps {
				sessions[n].Reset()
			}
			rows[n] = result{rows: 1}
			if m.PerStep() {
				rows[n].rows = in.steps
			}
			rows[n].y = make([]float32, rows[n].rows*m.OutputWidth())
			if err := sessions[n].Run(seq, rows[n].y); err != nil {
				return nil, err
			}
		}
		y, err := in.assemble(rows, l.Output)
		if err != nil {
			return nil, err
		}
		out = append(out, y.F...)
	}
	return out, nil
}

// integers reports whether a model has weights that are integers.
func integers(m *tflite.Model) bool {
	for _, g := range m.Subgraphs {
		for _, t := range g.Tensors {
			if t.Type.Integer() && t.Quantization != nil && len(t.Quantization.Scale) > 0 && len(m.Data(t)) > 0 {
				return true
			}
		}
	}
	return false
}

// similar compares by the ratio of the reference to the error, and by which of the width channels is the largest.
func similar(got, want []float32, width int) (worst float64, err error) {
	if len(got) != len(want) || width < 1 || len(want)%width != 0 {
		return 0, fmt.Errorf("%d values, want %d", len(got), len(want))
	}
	var signal, noise float64
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if d != d {
			return 0, fmt.Errorf("value %d is %v, want %v", i, got[i], w)
		}
		worst = math.Max(worst, d)
		signal += float64(w) * float64(w)
		noise += d * d
	}
	db := 10 * math.Log10(signal/noise)
	if noise == 0 || db >= minSNR || db >= minDecided && width > 1 && changed(got, want, width) == 0 {
		return worst, nil
	}
	return worst, fmt.Errorf("%.1f dB of signal over error, want %d; %d of %d decisions differ", db, minSNR, changed(got, want, width), len(want)/width)
}

// channels is the length of the last axis of an output, 1 if it counts steps or sequences.
func channels(layout [][]lower.Span) int {
	n := int64(1)
	if len(layout) > 0 {
		for _, s := range layout[len(layout)-1] {
			size, fixed := s.Size.Const()
			if s.Role != lower.Feature || !fixed {
				return 1
			}
			n *= size
		}
	}
	return int(n)
}

// changed counts the rows whose largest channel is another.
func changed(got, want []float32, width int) (n int) {
	for i := 0; i < len(want); i += width {
		if largest(got[i:][:width]) != largest(want[i:][:width]) {
			n++
		}
	}
	return n
}

func largest(v []float32) int {
	return slices.Index(v, slices.Max(v))
}
