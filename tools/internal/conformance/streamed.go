package conformance

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/fromonnx"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// streamed is what meta.json of a streamed run says: a model called step by step, with the states that it gives fed back to it. The first
// axis of all arrays is the step.
type streamed struct {
	Inputs map[string]struct {
		File     string
		Shape    []int64 `json:"shape_per_step"`
		Constant bool
	}
	State map[string]struct {
		From  string `json:"from_output"`
		Shape []int64
	}
	Outputs map[string]struct {
		File  string
		Shape []int64 `json:"shape_per_step"`
		Noise float64 `json:"noise_floor_opt_vs_noopt"` // what two runs of the reference differ by
	}
}

type streamedCase struct {
	dir   string
	model string
	steps int
	streamed
}

func (k streamedCase) run(c checker) ([]Output, error) {
	b, err := above(k.dir, k.model)
	if err != nil {
		return nil, err
	}
	m, err := onnx.Read(b)
	if err != nil {
		return nil, err
	}
	in := map[string]*onnx.Tensor{}
	for name, v := range k.Inputs {
		if in[name], err = k.array(v.File, name); err != nil {
			return nil, err
		}
	}
	var outputs []Output
	for _, name := range slices.Sorted(maps.Keys(k.Outputs)) {
		want, err := k.array(k.Outputs[name].File, name)
		if err != nil {
			return nil, err
		}
		o := Output{Name: name, Status: Passed}
		t := Tolerance{Atol: math.Max(1e-5, 4*k.Outputs[name].Noise), Rtol: 1e-4}
		if len(k.State) > 0 {
			o.add(k.session(c, m, in, name, want, t))
		} else {
			for step := range k.steps {
				o.add(k.single(c, m, in, name, want, step, t))
			}
		}
		outputs = append(outputs, o)
	}
	return outputs, nil
}

func (k streamedCase) array(file, name string) (*onnx.Tensor, error) {
	a, err := array(filepath.Join(k.dir, file))
	if err != nil {
		return nil, err
	}
	t := &onnx.Tensor{Name: name, Type: onnx.Float, F: a.Data}
	for _, d := range a.Shape {
		t.Dims = append(t.Dims, int64(d))
	}
	return t, nil
}

// at is the part of an array for one step, with its shape in a call.
func (k streamedCase) at(t *onnx.Tensor, shape []int64, step int) *onnx.Tensor {
	size := len(t.F) / k.steps
	c := *t
	c.Dims, c.F = shape, t.F[step*size:][:size]
	return &c
}

// constant is an input that is the same in every step.
func (k streamedCase) constant(name string, t *onnx.Tensor) *onnx.Tensor {
	n := 1
	for _, d := range k.Inputs[name].Shape {
		n *= int(d)
	}
	c := *t
	c.Dims, c.F = k.Inputs[name].Shape, t.F[:min(n, len(t.F))]
	return &c
}

// single compares a step of a model without states.
func (k streamedCase) single(c checker, m *onnx.Model, in map[string]*onnx.Tensor, name string, want *onnx.Tensor, step int, t Tolerance) (float64, error) {
	s := set{in: map[string]*onnx.Tensor{}}
	for input, v := range k.Inputs {
		if v.Constant {
			s.in[input] = k.constant(input, in[input])
		} else {
			s.in[input] = k.at(in[input], v.Shape, step)
		}
	}
	got, err := evaluate(m, s, name)
	if err != nil {
		return 0, err
	}
	return c.compare(got.F, k.at(want, k.Outputs[name].Shape, step).F, t)
}

// session compares all steps of a session that keeps the states itself.
func (k streamedCase) session(c checker, m *onnx.Model, in map[string]*onnx.Tensor, name string, want *onnx.Tensor, t Tolerance) (float64, error) {
	o := fromonnx.Options{Output: name, States: map[string]string{}, Shapes: map[string][]int64{}}
	for state, v := range k.State {
		o.States[state] = v.From
		o.Shapes[state] = v.Shape
	}
	copied, g := *m, *m.Graph
	copied.Graph = &g
	g.Initializers = slices.Clone(g.Initializers)
	var x []float32
	for _, v := range inputs(m) {
		described, ok := k.Inputs[v.Name]
		switch {
		case !ok:
		case described.Constant:
			g.Initializers = append(g.Initializers, typed(k.constant(v.Name, in[v.Name]), v))
		default:
			o.Shapes[v.Name], x = described.Shape, in[v.Name].F
		}
	}
	graph, err := fromonnx.Import(&copied, o)
	if err != nil {
		return 0, err
	}
	f, err := quant.Build(graph, quant.Options{})
	if err != nil {
		return 0, err
	}
	model, err := runtime.New(f)
	if err != nil {
		return 0, err
	}
	if len(x) != k.steps*model.InputWidth() || len(want.F) != k.steps*model.OutputWidth() {
		return 0, fmt.Errorf("%d values in and %d out for %d steps of %d and %d", len(x), len(want.F), k.steps, model.InputWidth(), model.OutputWidth())
	}
	y := make([]float32, len(want.F))
	if err := model.NewSession().Run(x, y); err != nil {
		return 0, err
	}
	return c.compare(y, want.F, t)
}
