package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// Case is a model with recorded input and output.
type Case struct {
	Name string
	run  func(checker) ([]Output, error)
}

const wanted = `want one of
  model.onnx with test_data_set_N/input_K.pb and output_K.pb   (ONNX backend tests)
  model.onnx with in_NAME.npy, and spec64_NAME.npy or out_NAME.npy
  meta.json naming inputs, outputs and sets, with models or weights, and setK_in_NAME.npy, setK_out_NAME.npy   (torch)
  weights with in_NAME.npy and out_NAME.npy; or NAME_KIND.pt with in_NAME.npy and out_KIND.npy or out_KIND_NAME.npy   (torch)
  meta.json naming the model, with in_x.npy and out64_y.npy   (Keras)
  meta.json naming the model, steps, inputs, state and outputs with their files   (streamed ONNX models)
  meta.json naming the model and steps, with in_K.npy and out_K.npy   (TensorFlow Lite)`

// ErrLayout is a folder that holds no case of a known layout.
var ErrLayout = errors.New("no test case: " + wanted)

// Find lists the cases of a folder, which is one itself or holds one a folder. Folders of another layout are errors, joined; the cases
// beside them are returned all the same.
func Find(dir string) ([]*Case, error) {
	cases, err := open(dir, filepath.Base(dir))
	if err == nil || !errors.Is(err, ErrLayout) {
		return cases, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		more, err := open(filepath.Join(dir, e.Name()), e.Name())
		cases = append(cases, more...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(cases) == 0 {
		errs = []error{fmt.Errorf("%s: %w", dir, ErrLayout)}
	}
	return cases, errors.Join(errs...)
}

// open recognises the layout of a folder by its files.
func open(dir, name string) ([]*Case, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder: %w", dir, ErrLayout)
	}
	has := func(pattern string) bool {
		found, _ := filepath.Glob(filepath.Join(quoted(dir), pattern))
		return len(found) > 0
	}
	single := func(c onnxCase) []*Case { return []*Case{{name, c.run}} }
	model := filepath.Join(dir, "model.onnx")
	switch {
	case has("model.onnx") && has("test_data_set_*"):
		return single(onnxCase{model, backendSets(dir), Tolerance{1e-5, 1e-3}}), nil
	case has("meta.json"):
		return described(dir, name)
	case has("*in_*.npy") && has("*out_*.npy") && len(weightsIn(dir)) > 0:
		return loose(dir, name, meta{}), nil
	case has("model.onnx") && has("in_*.npy") && (has("spec64_*.npy") || has("out_*.npy")):
		return single(onnxCase{model, func(m *onnx.Model) ([]set, error) { return namedSet(dir, m) }, Tolerance{1e-5, 0}}), nil
	}
	return nil, fmt.Errorf("%s: %w", dir, ErrLayout)
}

// quoted is a path as a pattern that matches it alone.
func quoted(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// meta is what meta.json of a PyTorch or Keras case says.
type meta struct {
	ID, Note        string
	Inputs, Outputs []string
	Sets            []struct{ K int }
	State           map[string]string // from inputs to the outputs that are to be put back into them
	Onnx            map[string]any    // the operators of the exports, by opset
	Quantised       float64           `json:"max_quant_vs_float"`
	Model           string
	Std             float64 `json:"out_std"`
}

// described are the cases of a folder with a meta.json.
func described(dir, name string) ([]*Case, error) {
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return nil, err
	}
	var run struct {
		Model string
		Steps int
		streamed
	}
	if json.Unmarshal(b, &run) == nil && run.Steps > 0 && filepath.Ext(run.Model) == ".onnx" && len(run.Outputs) > 0 {
		return []*Case{{name, streamedCase{dir, run.Model, run.Steps, run.streamed}.run}}, nil
	}
	if cases, ok := tfliteCases(dir, name, b); ok {
		return cases, nil
	}
	var m meta
	err = json.Unmarshal(b, &m)
	switch {
	case err == nil && len(m.Sets) > 0 && len(m.Inputs) > 0 && len(m.Outputs) > 0:
		return torchCases(dir, name, m)
	case err == nil && m.Model != "" && len(m.Sets) == 0:
		return []*Case{{name, kerasCase{dir, m}.run}}, nil
	case err == nil && m.Model == "" && len(weightsIn(dir)) > 0:
		return loose(dir, name, m), nil
	}
	return nil, fmt.Errorf("%s/meta.json: %w", dir, ErrLayout)
}

func torchCases(dir, name string, m meta) ([]*Case, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var cases []*Case
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".onnx" {
			file := filepath.Join(dir, e.Name())
			c := onnxCase{file, func(*onnx.Model) ([]set, error) { return torchSets(dir, m) }, Tolerance{1e-5, 0}}
			cases = append(cases, &Case{name + "/" + e.Name(), c.run})
		}
	}
	for _, file := range weightsIn(dir) {
		c := torchCase{file: filepath.Join(dir, file), meta: m}
		c.sets = func() ([]set, error) { return torchSets(dir, m) }
		cases = append(cases, &Case{name + "/" + file, c.run})
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s: no model beside meta.json: %w", dir, ErrLayout)
	}
	return cases, nil
}

// set is the input and output of one run of a model, by name.
type set struct{ in, out map[string]*onnx.Tensor }

// backendSets reads test_data_set_N, whose files are numbered as the graph's inputs and outputs are.
func backendSets(dir string) func(*onnx.Model) ([]set, error) {
	return func(m *onnx.Model) ([]set, error) {
		folders, err := filepath.Glob(filepath.Join(quoted(dir), "test_data_set_*"))
		if err != nil {
			return nil, err
		}
		var sets []set
		for _, f := range folders {
			var s set
			if s.in, err = numbered(f, "input", inputs(m)); err == nil {
				s.out, err = numbered(f, "output", m.Graph.Outputs)
			}
			if err != nil {
				return nil, err
			}
			sets = append(sets, s)
		}
		return sets, nil
	}
}

// inputs are the graph's inputs that are not initializers.
func inputs(m *onnx.Model) []onnx.ValueInfo {
	return slices.DeleteFunc(slices.Clone(m.Graph.Inputs), func(v onnx.ValueInfo) bool {
		return slices.ContainsFunc(m.Graph.Initializers, func(t *onnx.Tensor) bool { return t.Name == v.Name })
	})
}

// numbered reads the tensors that are there. Optional inputs may be absent.
func numbered(dir, kind string, values []onnx.ValueInfo) (map[string]*onnx.Tensor, error) {
	out := map[string]*onnx.Tensor{}
	for k, v := range values {
		if v.Name == "" {
			continue
		}
		path := filepath.Join(dir, fmt.Sprintf("%s_%d.pb", kind, k))
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && v.Type == 0 {
			return nil, unsupported("%s %q is not a tensor", kind, v.Name)
		}
		var t *onnx.Tensor
		if err == nil {
			t, err = onnx.ReadTensor(b)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out[v.Name] = t
	}
	return out, nil
}

// namedSet reads in_NAME.npy and spec64_NAME.npy, or out_NAME.npy where that is absent.
func namedSet(dir string, m *onnx.Model) ([]set, error) {
	s := set{map[string]*onnx.Tensor{}, map[string]*onnx.Tensor{}}
	var errs []error
	for _, v := range inputs(m) {
		errs = append(errs, load(s.in, v.Name, dir, "in_"+v.Name))
	}
	for _, v := range m.Graph.Outputs {
		errs = append(errs, load(s.out, v.Name, dir, "spec64_"+v.Name, "out_"+v.Name))
	}
	return []set{s}, errors.Join(errs...)
}

// torchSets reads setK_in_NAME.npy, and setK_out64_NAME.npy or setK_out_NAME.npy.
func torchSets(dir string, m meta) ([]set, error) {
	var sets []set
	var errs []error
	for _, k := range m.Sets {
		s := set{map[string]*onnx.Tensor{}, map[string]*onnx.Tensor{}}
		for _, name := range m.Inputs {
			errs = append(errs, load(s.in, name, dir, fmt.Sprintf("set%d_in_%s", k.K, name)))
		}
		for _, name := range m.Outputs {
			errs = append(errs, load(s.out, name, dir, fmt.Sprintf("set%d_out64_%s", k.K, name), fmt.Sprintf("set%d_out_%s", k.K, name)))
		}
		sets = append(sets, s)
	}
	return sets, errors.Join(errs...)
}

// load reads the first of the files that is there.
func load(to map[string]*onnx.Tensor, name, dir string, files ...string) error {
	for _, f := range files {
		a, err := array(filepath.Join(dir, f+".npy"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		t := &onnx.Tensor{Name: name, Type: onnx.Float, F: a.Data}
		for _, d := range a.Shape {
			t.Dims = append(t.Dims, int64(d))
		}
		to[name] = t
		return nil
	}
	return nil
}

func array(path string) (*npy.Array, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a, err := npy.Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}
