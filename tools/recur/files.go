package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/fromkeras"
	"github.com/recur-go/recur/tools/internal/fromonnx"
	"github.com/recur-go/recur/tools/internal/fromtflite"
	"github.com/recur-go/recur/tools/internal/fromtorch"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/tflite"
)

const maxModelBytes = 1 << 30

// importFlags are the flags of commands that read a foreign model.
type importFlags struct {
	output, arch string
	fixed        map[string]float32
	states       map[string]string
	shapes       map[string][]int64
	folder       string   // of the model
	guesses      []string // what the description says it does not know
}

func (f *importFlags) define(s *flag.FlagSet) {
	s.StringVar(&f.output, "output", "", "the output of an ONNX, TensorFlow Lite or Keras model to compute, by `NAME` (default: its first)")
	f.fixed, f.shapes = map[string]float32{}, map[string][]int64{}
	s.Func("zero", "further inputs of an ONNX, TensorFlow Lite or Keras model to fix at zero, such as initial states, by `NAMES` with commas", f.addZeros)
	s.Func("fix", "further inputs of an ONNX, TensorFlow Lite or Keras model to fix at a number, `NAME=VALUE,…`", f.addFixed)
	s.Func("state", "inputs of an ONNX, TensorFlow Lite or Keras model that hold in each step what an output gave in the one before, `INPUT=OUTPUT,…`, or none "+
		"(default: of ONNX and TensorFlow Lite found by names and shapes)", f.addStates)
	s.Func("shape", "the shape of an input of an ONNX, TensorFlow Lite or Keras model that leaves it open, `NAME=1x576`; may be repeated", f.addShape)
	s.StringVar(&f.arch, "arch", "", "what the layers of a PyTorch model are, a JSON `FILE` such as recur describe writes")
}

func (f *importFlags) addZeros(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		f.fixed[name] = 0
	}
	return nil
}

// pairs calls use for every NAME=VALUE of a list.
func pairs(list string, use func(name, value string) error) error {
	for p := range strings.SplitSeq(list, ",") {
		i := strings.LastIndex(p, "=")
		if i <= 0 || i == len(p)-1 {
			return fmt.Errorf("%q: want NAME=VALUE", p)
		}
		if err := use(p[:i], p[i+1:]); err != nil {
			return err
		}
	}
	return nil
}

func (f *importFlags) addFixed(list string) error {
	return pairs(list, func(name, value string) error {
		v, err := strconv.ParseFloat(value, 32)
		f.fixed[name] = float32(v)
		return err
	})
}

func (f *importFlags) addStates(list string) error {
	if f.states == nil {
		f.states = map[string]string{}
	}
	if list == "none" {
		return nil
	}
	return pairs(list, func(name, value string) error { f.states[name] = value; return nil })
}

func (f *importFlags) addShape(one string) error {
	return pairs(one, func(name, value string) error {
		var dims []int64
		for d := range strings.SplitSeq(value, "x") {
			n, err := strconv.ParseInt(d, 10, 32)
			if err != nil || n < 1 {
				return fmt.Errorf("%q: want sizes such as 1x576", value)
			}
			dims = append(dims, n)
		}
		f.shapes[name] = dims
		return nil
	})
}

// ofGraph reports whether a flag is set that only models take which say themselves what their layers are.
func (f *importFlags) ofGraph() bool {
	return f.output != "" || len(f.fixed) > 0 || f.states != nil || len(f.shapes) > 0
}

// importers read foreign models, by the extension of the file.
var importers = map[string]func(*importFlags, []byte) (*quant.Graph, error){
	".onnx": (*importFlags).onnx,
	".pt":   (*importFlags).torch, ".pth": (*importFlags).torch, ".safetensors": (*importFlags).torch,
	".tflite": (*importFlags).tflite,
	".h5":     (*importFlags).keras, ".hdf5": (*importFlags).keras, ".keras": (*importFlags).keras,
}

func importer(path string) func(*importFlags, []byte) (*quant.Graph, error) {
	return importers[strings.ToLower(filepath.Ext(path))]
}

func isForeign(path string) bool { return importer(path) != nil }

// load imports a foreign model.
func (f *importFlags) load(path string) (*quant.Graph, error) {
	b, err := readFile(path, maxModelBytes)
	if err != nil {
		return nil, err
	}
	f.folder = filepath.Dir(path)
	g, err := importer(path)(f, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	g.Meta = append([]format.Pair{{Key: "source", Value: filepath.Base(path)}}, g.Meta...)
	return g, nil
}

// beside reads a further file of a model, which must lie in the model's folder.
func (f *importFlags) beside(name string) ([]byte, error) {
	root, err := os.OpenRoot(f.folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	return readAll(file, name, maxModelBytes)
}

func (f *importFlags) onnx(b []byte) (*quant.Graph, error) {
	if f.arch != "" {
		return nil, errors.New("an ONNX model says itself what its layers are; -arch does not apply")
	}
	m, err := onnx.ReadWith(b, f.beside)
	if err != nil {
		return nil, err
	}
	return fromonnx.Import(m, fromonnx.Options{Output: f.output, Fixed: f.fixed, States: f.states, Shapes: f.shapes})
}

func (f *importFlags) tflite(b []byte) (*quant.Graph, error) {
	if f.arch != "" {
		return nil, errors.New("a TensorFlow Lite model says itself what its layers are; -arch does not apply")
	}
	m, err := tflite.Read(b)
	if err != nil {
		return nil, err
	}
	return fromtflite.Import(m, fromtflite.Options{Output: f.output, Fixed: f.fixed, States: f.states, Shapes: f.shapes})
}

func (f *importFlags) torch(b []byte) (*quant.Graph, error) {
	if f.ofGraph() {
		return nil, errors.New("-output, -zero, -fix, -state and -shape apply to ONNX, TensorFlow Lite and Keras models only")
	}
	if f.arch == "" {
		return nil, errors.New("PyTorch weights do not say what the layers are: give -arch FILE.json (recur describe writes a first version)")
	}
	text, err := readFile(f.arch, maxArchBytes)
	if err != nil {
		return nil, err
	}
	a, err := fromtorch.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.arch, err)
	}
	f.guesses = a.Guesses()
	w, err := fromtorch.Read(b)
	if err != nil {
		return nil, err
	}
	return fromtorch.Import(w.Tensors, a)
}

func (f *importFlags) keras(b []byte) (*quant.Graph, error) {
	if f.arch != "" {
		return nil, errors.New("a Keras model says itself what its layers are; -arch does not apply")
	}
	m, err := fromkeras.Read(b)
	if err != nil {
		return nil, err
	}
	return fromkeras.Import(m, fromkeras.Options{Output: f.output, Fixed: f.fixed, States: f.states, Shapes: f.shapes})
}

const maxArchBytes = 1 << 20

// open opens a .recur file, or converts a foreign model in memory to f32.
func (f *importFlags) open(path string) (*runtime.Model, error) {
	if isForeign(path) {
		g, err := f.load(path)
		if err != nil {
			return nil, err
		}
		return assemble(path, g)
	}
	if f.ofGraph() || f.arch != "" {
		return nil, misused("-output, -zero, -fix, -state, -shape and -arch apply to models of other formats only")
	}
	return runtime.Open(path)
}

// assemble makes a graph an f32 model.
func assemble(path string, g *quant.Graph) (*runtime.Model, error) {
	f, err := quant.Build(g, quant.Options{Scheme: format.F32})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := runtime.New(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return readAll(f, path, most)
}

// readAll reads and closes a file.
func readAll(f *os.File, path string, most int64) ([]byte, error) {
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes, more than %d", path, info.Size(), most)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return b, err
}

// batch is an array of input sequences: a number of them, or just one if it has no axis for that.
type batch struct {
	seqs  [][]float32
	steps int
	many  bool
}

// readBatches reads the arrays of a .npy or .npz file as sequences of the given number of features.
func readBatches(path string, features int) ([]batch, error) {
	arrays, err := npy.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []batch
	for _, a := range arrays {
		where := path
		if a.Name != "" {
			where += ": " + a.Name
		}
		b, err := sequences(a.Array, features)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		out = append(out, b)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no arrays", path)
	}
	return out, nil
}

// sequences splits an array [T, features] or [N, T, features]. The features of a step may have several axes, as those of a model have that
// takes a window of fixed length in one step; a single step may stand alone.
func sequences(a *npy.Array, features int) (batch, error) {
	lead, ok := leading(a.Shape, features)
	if !ok || len(lead) > 2 {
		err := fmt.Errorf("shape %v, want [T, %d] or [N, T, %d], where the %d features may be those of several axes", a.Shape, features, features, features)
		if n := len(a.Shape); n > 1 {
			err = fmt.Errorf("%d features a step, the model takes %d (%w)", a.Shape[n-1], features, err)
		}
		return batch{}, err
	}
	b := batch{steps: 1, many: len(lead) == 2}
	if len(lead) > 0 {
		b.steps = lead[len(lead)-1]
	}
	if len(a.Data) == 0 {
		return b, fmt.Errorf("shape %v holds no steps", a.Shape)
	}
	for i, v := range a.Data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return b, fmt.Errorf("element %v is %v", index(i, a.Shape), v)
		}
	}
	size := b.steps * features
	for i := 0; i < len(a.Data); i += size {
		b.seqs = append(b.seqs, a.Data[i:i+size])
	}
	return b, nil
}

// leading are the axes before those that hold the features of one step.
func leading(shape []int, features int) ([]int, bool) {
	n := 1
	for i, d := range slices.Backward(shape) {
		n *= d
		if n == features {
			return shape[:i], true
		}
		if n > features {
			break
		}
	}
	return nil, false
}

// index is the place of element i in an array.
func index(i int, shape []int) []int {
	out := make([]int, len(shape))
	for k, d := range slices.Backward(shape) {
		out[k] = i % d
		i /= d
	}
	return out
}

func all(batches []batch) (seqs [][]float32) {
	for _, b := range batches {
		seqs = append(seqs, b.seqs...)
	}
	return seqs
}
