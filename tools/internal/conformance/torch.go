package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/fromtorch"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/torchfile"
	"github.com/recur-go/recur/tools/internal/weights"
)

// torchCase is a file of weights with sets of arrays. What the layers are, a description beside it says; without one it is guessed, and
// the guess corrected by what the recorded arrays and meta.json tell.
type torchCase struct {
	file string
	meta
	sets   func() ([]set, error)
	narrow bool // the references were computed in float32
}

func (k torchCase) run(c checker) ([]Output, error) {
	b, err := os.ReadFile(k.file)
	if err != nil {
		return nil, err
	}
	f, err := fromtorch.Read(b)
	if err != nil {
		return nil, err
	}
	sets, err := k.sets()
	if err != nil {
		return nil, err
	}
	r, err := rolesOf(k.meta, sets)
	if err != nil {
		return nil, err
	}
	n := network{file: f, roles: r}
	n.arch, err = k.arch()
	if err == nil && n.arch == nil {
		if n.arch, err = fromtorch.Describe(f); err == nil {
			r.correct(n.arch, k.meta, sets)
			n.atOnce = n.arch.Steps == 0 && slices.ContainsFunc(n.arch.Layers, func(l fromtorch.Layer) bool { return l.Type == "conv1d" })
		}
	}
	if err != nil {
		return nil, err
	}
	var outputs []Output
	for _, name := range k.Outputs {
		o := Output{Name: name, Status: Passed}
		compared := false
		for _, s := range sets {
			if want := s.out[name]; want != nil {
				compared = true
				o.add(n.check(c, k.allowed(f.Tensors, want), s, name, want))
			}
		}
		if compared {
			outputs = append(outputs, o)
		}
	}
	if len(outputs) == 0 {
		return nil, errors.New("there is no reference for any output")
	}
	return outputs, nil
}

// arch reads the description beside the weights, model.json of model.pt or arch.json. There may be none.
func (k torchCase) arch() (*fromtorch.Arch, error) {
	for _, name := range []string{strings.TrimSuffix(k.file, filepath.Ext(k.file)) + ".json", filepath.Join(filepath.Dir(k.file), "arch.json")} {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		a, err := fromtorch.Parse(b)
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return a, err
	}
	return nil, nil
}

// allowed is the tolerance for an output. A reference in float32 is no better than its own roundings, which are relative to its largest
// values; one that rounded activations to int8 is no better than it says.
func (k torchCase) allowed(all []*weights.Tensor, want *onnx.Tensor) Tolerance {
	t := Tolerance{1e-5, 0}
	if k.narrow {
		for _, v := range want.F {
			t.Atol = math.Max(t.Atol, 1e-5*math.Abs(float64(v)))
		}
	}
	if slices.ContainsFunc(all, (*weights.Tensor).IsQuantised) {
		t.Atol = math.Max(t.Atol, k.Quantised)
	}
	return t
}

// network computes outputs from a file of weights.
type network struct {
	file *torchfile.File
	arch *fromtorch.Arch
	roles
	atOnce bool // it takes as many steps at once as there are
}

// check returns the error of one output, over the sequences of a set.
func (n network) check(c checker, t Tolerance, s set, name string, want *onnx.Tensor) (float64, error) {
	var got, right []float32
	for k := range n.sequences(s) {
		y, w, err := n.compute(s, k, n.outputs[name], want)
		if err != nil {
			return 0, err
		}
		got, right = append(got, y...), append(right, w...)
	}
	return c.compare(got, right, t)
}

// compute returns an output for sequence k, and what is recorded for it.
func (n network) compute(s set, k int, o output, want *onnx.Tensor) (got, recorded []float32, err error) {
	w := n.ofSequence(want, o, k)
	x, steps := n.input(s, k)
	if o.kind != results && len(want.Dims) == stepStates {
		// The state after every step is the final one of what came up to then.
		width := len(x) / steps
		for t := range steps {
			y, err := n.result(s, k, o, x[:(t+1)*width])
			if err != nil {
				return nil, nil, err
			}
			got = append(got, y.y...)
		}
		return got, w, nil
	}
	y, err := n.result(s, k, o, x)
	if err != nil {
		return nil, nil, err
	}
	if o.perStep && y.rows == steps { // beyond the length of a sequence there is only padding
		w = w[:min(len(w), len(y.y))]
	}
	return y.y, w, nil
}

func (n network) result(s set, k int, o output, x []float32) (result, error) {
	a, all, err := n.started(s, k, o)
	if err != nil {
		return result{}, err
	}
	g, err := fromtorch.Import(all, a)
	if err != nil {
		return result{}, err
	}
	if len(x)%g.Values[0].Width != 0 {
		return result{}, fmt.Errorf("%d values of input for a network that takes %d a step", len(x), g.Values[0].Width)
	}
	return calculate(g, x)
}

// started is the description of an output, with the initial states of sequence k as tensors beside the weights.
func (n network) started(s set, k int, o output) (*fromtorch.Arch, []*weights.Tensor, error) {
	a := *n.arch
	a.Layers = slices.Clone(a.Layers)
	if n.atOnce {
		_, a.Steps = n.input(s, k)
	}
	var cells []int
	for i, l := range a.Layers {
		if l.Recurrent() {
			cells = append(cells, i)
		}
	}
	all := slices.Clone(n.file.Tensors)
	for _, from := range []struct {
		names []string
		field func(*fromtorch.Layer) *string
	}{{n.h, func(l *fromtorch.Layer) *string { return &l.H0 }}, {n.c, func(l *fromtorch.Layer) *string { return &l.C0 }}} {
		if len(from.names) > 0 && len(from.names) != len(cells) {
			return nil, nil, unsupported("%d initial states for %d recurrent modules", len(from.names), len(cells))
		}
		for i, name := range from.names {
			t := s.in[name]
			if t == nil {
				continue
			}
			state := "initial " + name
			*from.field(&a.Layers[cells[i]]) = state
			if a.Root != "" {
				state = a.Root + "." + state
			}
			x, err := tensor(state, part(t, len(t.Dims)-2, k).F)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, x)
		}
	}
	if o.kind == results {
		return &a, all, nil
	}
	if o.index >= len(cells) || n.states(o.kind) != len(cells) {
		return nil, nil, unsupported("%d states of %d recurrent modules", n.states(o.kind), len(cells))
	}
	return upTo(&a, cells[o.index], o.kind), all, nil
}

// upTo ends a network with the states of a layer.
func upTo(a *fromtorch.Arch, at int, kind string) *fromtorch.Arch {
	for _, l := range a.Layers[at+1:] {
		for _, name := range []string{l.H0, l.C0} {
			if name != "" {
				a.Ignore = append(slices.Clip(a.Ignore), name)
			}
		}
		if l.Weights != nil {
			a.Ignore = append(slices.Clip(a.Ignore), *l.Weights)
		}
	}
	a.Layers = a.Layers[:at+1]
	a.Layers[at].Output = kind
	return a
}

func tensor(name string, v []float32) (*weights.Tensor, error) {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return weights.New(name, weights.F32, []int64{int64(len(v))}, nil, 0, b)
}
