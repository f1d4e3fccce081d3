package fromtflite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/quant"
	recur "github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/tflite"
	"github.com/recur-go/recur/tools/internal/tflite/tflitetest"
)

type random struct{ *rand.Rand }

func seeded(n uint64) random { return random{rand.New(rand.NewPCG(n, 7))} }

func (r random) vector(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// imported reads what the builder wrote, and imports it.
func imported(t *testing.T, b *tflitetest.Builder, o Options) (*quant.Graph, Layout) {
	t.Helper()
	m, err := tflite.Read(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	g, l, err := ImportLayout(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return g, l
}

// run calls a model once for every input, as one interpreter would.
func run(t *testing.T, b *tflitetest.Builder, o Options, inputs ...[]float32) (out [][]float32) {
	t.Helper()
	g, l := imported(t, b, o)
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := recur.New(f)
	if err != nil {
		t.Fatal(err)
	}
	s := m.NewSession()
	for _, x := range inputs {
		if !l.Keeps {
			s.Reset()
		}
		rows := 1
		if m.PerStep() {
			rows = len(x) / m.InputWidth()
		}
		y := make([]float32, rows*m.OutputWidth())
		if err := s.Run(x, y); err != nil {
			t.Fatal(err)
		}
		out = append(out, y)
	}
	return out
}

// same compares with a reference in float64.
func same(t *testing.T, name string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= 1e-5*math.Max(1, math.Abs(w))) {
			t.Errorf("%s: value %d is %v, want %v", name, i, got[i], w)
			return
		}
	}
}

func doubles(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// counted is 0, 1, 2, …
func counted(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return v
}

func product32(shape []int32) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}

// TestRearranging gives operators an input that counts its elements.
func TestRearranging(t *testing.T) {
	type builder = *tflitetest.Builder
	for _, c := range []struct {
		name    string
		shape   []int32
		options any
		inputs  func(b builder, x int32) []int32
		outputs int
		want    []float64 // of the last output
	}{
		{"RESHAPE", []int32{1, 2, 3}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(3, -1)} }, 1, []float64{0, 1, 2, 3, 4, 5}},
		{"RESHAPE", []int32{1, 2, 3}, &tflite.ReshapeOptions{Shape: []int32{6}}, func(b builder, x int32) []int32 { return []int32{x} }, 1, []float64{0, 1, 2, 3, 4, 5}},
		{"TRANSPOSE", []int32{1, 2, 3}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 2, 1)} }, 1, []float64{0, 3, 1, 4, 2, 5}},
		{"SQUEEZE", []int32{1, 2, 1}, &tflite.SqueezeOptions{Axes: []int32{-1}}, func(b builder, x int32) []int32 { return []int32{x} }, 1, []float64{0, 1}},
		{"EXPAND_DIMS", []int32{1, 2}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Scalar(-1)} }, 1, []float64{0, 1}},
		{"REVERSE_V2", []int32{1, 2, 3}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(1)} }, 1, []float64{3, 4, 5, 0, 1, 2}},
		{"TILE", []int32{1, 2}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(2, 2)} }, 1, []float64{0, 1, 0, 1, 0, 1, 0, 1}},
		{"GATHER", []int32{1, 4}, &tflite.GatherOptions{Axis: 1}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(3, 0, 3)} }, 1, []float64{3, 0, 3}},
		{"SPLIT", []int32{1, 4}, &tflite.SplitOptions{Parts: 2}, func(b builder, x int32) []int32 { return []int32{b.Scalar(1), x} }, 2, []float64{2, 3}},
		{"SPLIT_V", []int32{1, 5}, &tflite.SplitVOptions{Parts: 2}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(-1, 2), b.Scalar(1)} }, 2, []float64{3, 4}},
		{"UNPACK", []int32{1, 2, 2}, &tflite.UnpackOptions{Parts: 2, Axis: 1}, func(b builder, x int32) []int32 { return []int32{x} }, 2, []float64{2, 3}},
		{"PACK", []int32{1, 2}, &tflite.PackOptions{Parts: 2, Axis: -1}, func(b builder, x int32) []int32 { return []int32{x, x} }, 1, []float64{0, 0, 1, 1}},
		{"CONCATENATION", []int32{1, 2}, &tflite.ConcatenationOptions{Axis: 1, Activation: tflite.Relu}, func(b builder, x int32) []int32 { return []int32{x, b.Const([]float32{-1, 7}, 1, 2)} }, 1, []float64{0, 1, 0, 7}},
		{"SLICE", []int32{1, 3, 2}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 1, 0), b.Ints(1, -1, 1)} }, 1, []float64{2, 4}},
		{"STRIDED_SLICE", []int32{1, 6}, &tflite.StridedSliceOptions{BeginMask: 1, EndMask: 3}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 1), b.Ints(0, 0), b.Ints(1, 2)} }, 1, []float64{1, 3, 5}},
		{"STRIDED_SLICE", []int32{1, 6}, &tflite.StridedSliceOptions{BeginMask: 3, EndMask: 3}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 0), b.Ints(0, 0), b.Ints(1, -2)} }, 1, []float64{5, 3, 1}},
		{"STRIDED_SLICE", []int32{1, 3, 2}, &tflite.StridedSliceOptions{ShrinkAxisMask: 2, EllipsisMask: 4}, func(b builder, x int32) []int32 {
			return []int32{x, b.Ints(0, -1, 0), b.Ints(1, 0, 0), b.Ints(1, 1, 1)}
		}, 1, []float64{4, 5}},
		{"STRIDED_SLICE", []int32{1, 3, 2}, &tflite.StridedSliceOptions{EllipsisMask: 1, NewAxisMask: 2}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 0, 1), b.Ints(0, 0, 2), b.Ints(1, 1, 1)} }, 1, []float64{1, 3, 5}},
		{"STRIDED_SLICE", []int32{1, 6}, &tflite.StridedSliceOptions{Offset: true}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 2), b.Ints(1, 3), b.Ints(1, 1)} }, 1, []float64{2, 3, 4}},
		{"PAD", []int32{1, 2}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 0, 1, 2)} }, 1, []float64{0, 0, 1, 0, 0}},
		{"PADV2", []int32{1, 2}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 0, 1, 0), b.Const([]float32{9})} }, 1, []float64{9, 0, 1}},
		{"MIRROR_PAD", []int32{1, 3}, &tflite.MirrorPadOptions{}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 0, 2, 1)} }, 1, []float64{2, 1, 0, 1, 2, 1}},
		{"MIRROR_PAD", []int32{1, 3}, &tflite.MirrorPadOptions{Symmetric: true}, func(b builder, x int32) []int32 { return []int32{x, b.Ints(0, 0, 2, 1)} }, 1, []float64{1, 0, 0, 1, 2, 2}},
		{"BROADCAST_TO", []int32{1, 1, 2}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(1, 2, 2)} }, 1, []float64{0, 1, 0, 1}},
		{"SPACE_TO_BATCH_ND", []int32{1, 3, 1}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(2), b.Ints(0, 1)} }, 1, []float64{0, 2, 1, 0}},
		{"SPACE_TO_BATCH_ND", []int32{1, 2, 4, 1}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(2, 2), b.Ints(0, 0, 0, 0)} }, 1, []float64{0, 2, 1, 3, 4, 6, 5, 7}},
		{"BATCH_TO_SPACE_ND", []int32{4, 1, 2, 1}, nil, func(b builder, x int32) []int32 { return []int32{x, b.Ints(2, 2), b.Ints(0, 0, 1, 0)} }, 1, []float64{2, 1, 3, 6, 5, 7}},
		{"ADD_N", []int32{1, 3}, nil, func(b builder, x int32) []int32 { return []int32{x, x, b.Const([]float32{1, 0, 1}, 1, 3)} }, 1, []float64{1, 2, 5}},
	} {
		b := tflitetest.New()
		x := b.Input("x", c.shape...)
		var out []int32
		for range c.outputs {
			out = append(out, b.Float("y"))
		}
		b.Op(c.name, c.options, c.inputs(b, x), out)
		// The output depends on a computed value, not on the input itself.
		y := b.Float("z")
		b.Op("NEG", nil, []int32{out[c.outputs-1]}, []int32{y})
		b.Output(y)
		got := run(t, b, Options{}, counted(product32(c.shape)))[0]
		for i := range got {
			got[i] = -got[i]
		}
		same(t, fmt.Sprintf("%s %v %+v", c.name, c.shape, c.options), got, c.want)
	}
}

// TestShapeArithmetic computes a shape from that of the input, with integers that are known.
func TestShapeArithmetic(t *testing.T) {
	b := tflitetest.New()
	ints := func() int32 { return b.Tensor(tflite.Tensor{Name: "i", Type: tflite.Int32}) }
	x := b.Input("x", 1, 2, 3, 2)
	shape, rows, size, twice, dims := ints(), ints(), ints(), ints(), ints()
	b.Op("SHAPE", &tflite.ShapeOptions{Type: tflite.Int32}, []int32{x}, []int32{shape})
	b.Op("STRIDED_SLICE", &tflite.StridedSliceOptions{ShrinkAxisMask: 1}, []int32{shape, b.Ints(1), b.Ints(2), b.Ints(1)}, []int32{rows})
	b.Op("REDUCE_PROD", &tflite.ReducerOptions{}, []int32{shape, b.Ints(0)}, []int32{size})
	b.Op("FLOOR_DIV", nil, []int32{size, rows}, []int32{twice})
	b.Op("PACK", &tflite.PackOptions{Parts: 2}, []int32{rows, twice}, []int32{dims})
	y, z := b.Float("y"), b.Float("z")
	b.Op("RESHAPE", nil, []int32{x, dims}, []int32{y})
	b.Op("SUM", &tflite.ReducerOptions{KeepDims: true}, []int32{y, b.Ints(-1)}, []int32{z})
	b.Output(z)
	same(t, "sums", run(t, b, Options{}, counted(12))[0], []float64{15, 51})
}

func TestElementwise(t *testing.T) {
	x := []float32{-2.5, -1, -0.25, 0.5, 1, 3, 7}
	for _, c := range []struct {
		name    string
		options any
		f       func(x float64) float64
	}{
		{"LOGISTIC", nil, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
		{"TANH", nil, math.Tanh},
		{"RELU", nil, func(x float64) float64 { return math.Max(x, 0) }},
		{"RELU6", nil, func(x float64) float64 { return math.Min(math.Max(x, 0), 6) }},
		{"RELU_N1_TO_1", nil, func(x float64) float64 { return math.Min(math.Max(x, -1), 1) }},
		{"RELU_0_TO_1", nil, func(x float64) float64 { return math.Min(math.Max(x, 0), 1) }},
		{"LEAKY_RELU", &tflite.LeakyReluOptions{Alpha: 0.25}, func(x float64) float64 { return math.Max(x, 0.25*x) }},
		{"ELU", nil, func(x float64) float64 { return math.Max(x, 0) + math.Expm1(math.Min(x, 0)) }},
		{"HARD_SWISH", nil, func(x float64) float64 { return x * math.Min(math.Max(x+3, 0), 6) / 6 }},
		{"GELU", &tflite.GeluOptions{}, func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }},
		{"GELU", &tflite.GeluOptions{Approximate: true}, func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}},
		{"EXP", nil, math.Exp},
		{"ABS", nil, math.Abs},
		{"NEG", nil, func(x float64) float64 { return -x }},
		{"SQUARE", nil, func(x float64) float64 { return x * x }},
		{"FLOOR", nil, math.Floor},
		{"CEIL", nil, math.Ceil},
		{"ROUND", nil, math.RoundToEven},
		{"FAKE_QUANT", &tflite.FakeQuantOptions{Min: -1, Max: 2}, func(x float64) float64 { return math.Min(math.Max(x, -1), 2) }},
	} {
		same(t, c.name, unaryRun(t, c.name, c.options, x), each(x, c.f))
	}
	positive := []float32{0.25, 1, 4, 9}
	same(t, "LOG", unaryRun(t, "LOG", nil, positive), each(positive, math.Log))
	same(t, "SQRT", unaryRun(t, "SQRT", nil, positive), each(positive, math.Sqrt))
	same(t, "RSQRT", unaryRun(t, "RSQRT", nil, positive), each(positive, func(x float64) float64 { return 1 / math.Sqrt(x) }))
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) / 2)
	}
	same(t, "SOFTMAX", unaryRun(t, "SOFTMAX", &tflite.SoftmaxOptions{Beta: 0.5}, x), each(x, func(x float64) float64 { return math.Exp(x/2) / sum }))
	length := 0.0
	for _, v := range x {
		length += float64(v) * float64(v)
	}
	same(t, "L2_NORMALIZATION", unaryRun(t, "L2_NORMALIZATION", nil, x), each(x, func(x float64) float64 { return x / math.Sqrt(length) }))
}

func unaryRun(t *testing.T, name string, options any, x []float32) []float32 {
	t.Helper()
	b := tflitetest.New()
	y := b.Float("y")
	b.Op(name, options, []int32{b.Input("x", 1, int32(len(x)))}, []int32{y})
	b.Output(y)
	return run(t, b, Options{}, x)[0]
}

func each(x []float32, f func(float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = f(float64(v))
	}
	return out
}

func TestBinary(t *testing.T) {
	x, k := []float32{-2, -1, 0.5, 3}, []float32{1, -1, 2, 0.5}
	truth := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	for _, c := range []struct {
		name    string
		options any
		f       func(a, b float64) float64
	}{
		{"ADD", &tflite.AddOptions{Activation: tflite.Relu}, func(a, b float64) float64 { return math.Max(a+b, 0) }},
		{"SUB", &tflite.SubOptions{Activation: tflite.ReluN1To1}, func(a, b float64) float64 { return math.Min(math.Max(a-b, -1), 1) }},
		{"MUL", &tflite.MulOptions{Activation: tflite.Relu}, func(a, b float64) float64 { return math.Max(a*b, 0) }},
		{"DIV", &tflite.DivOptions{Activation: tflite.Relu6}, func(a, b float64) float64 { return math.Min(math.Max(a/b, 0), 6) }},
		{"MINIMUM", nil, math.Min},
		{"MAXIMUM", nil, math.Max},
		{"SQUARED_DIFFERENCE", nil, func(a, b float64) float64 { return (a - b) * (a - b) }},
		{"FLOOR_DIV", nil, func(a, b float64) float64 { return math.Floor(a / b) }},
		{"LESS", nil, func(a, b float64) float64 { return truth(a < b) }},
		{"LESS_EQUAL", nil, func(a, b float64) float64 { return truth(a <= b) }},
		{"GREATER", nil, func(a, b float64) float64 { return truth(a > b) }},
		{"GREATER_EQUAL", nil, func(a, b float64) float64 { return truth(a >= b) }},
		{"EQUAL", nil, func(a, b float64) float64 { return truth(a == b) }},
		{"NOT_EQUAL", nil, func(a, b float64) float64 { return truth(a != b) }},
		{"PRELU", nil, func(a, b float64) float64 { return math.Max(a, 0) + b*math.Min(a, 0) }},
	} {
		for _, constant := range []bool{true, false} {
			b := tflitetest.New()
			in := b.Input("x", 1, 4)
			other := b.Const(k, 1, 4)
			if !constant { // the constant plus 0·x
				zero, sum := b.Float("zero"), b.Float("sum")
				b.Op("MUL", nil, []int32{in, b.Const([]float32{0})}, []int32{zero})
				b.Op("ADD", nil, []int32{zero, other}, []int32{sum})
				other = sum
			}
			y := b.Float("y")
			b.Op(c.name, c.options, []int32{in, other}, []int32{y})
			b.Output(y)
			want := make([]float64, 4)
			for i := range want {
				want[i] = c.f(float64(x[i]), float64(k[i]))
			}
			same(t, c.name, run(t, b, Options{}, x)[0], want)
		}
	}
}

func TestSelect(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4)
	yes, y := b.Tensor(tflite.Tensor{Name: "yes", Type: tflite.Bool}), b.Float("y")
	b.Op("GREATER", nil, []int32{x, b.Const([]float32{0})}, []int32{yes})
	b.Op("SELECT_V2", nil, []int32{yes, x, b.Const([]float32{7})}, []int32{y})
	b.Output(y)
	same(t, "select", run(t, b, Options{}, []float32{-1, 2, -3, 4})[0], []float64{7, 2, 7, 4})
}

func TestReductions(t *testing.T) {
	x := []float32{1, -2, 3, 4, 5, -6}
	for name, want := range map[string][]float64{"MEAN": {2. / 3, 1}, "SUM": {2, 3}, "REDUCE_MAX": {3, 5}, "REDUCE_MIN": {-2, -6}, "REDUCE_PROD": {-6, -120}} {
		for _, keep := range []bool{false, true} {
			b := tflitetest.New()
			y := b.Float("y")
			b.Op(name, &tflite.ReducerOptions{KeepDims: keep}, []int32{b.Input("x", 1, 2, 3), b.Ints(-1, 2)}, []int32{y})
			b.Output(y)
			same(t, name, run(t, b, Options{}, x)[0], want)
		}
	}
}

func TestFullyConnected(t *testing.T) {
	r := seeded(1)
	w, bias, x := r.vector(6), []float32{0.5, -0.5}, r.vector(6)
	var want []float64
	for row := range 2 {
		for o := range 2 {
			s := float64(bias[o])
			for k := range 3 {
				s += float64(w[o*3+k]) * float64(x[row*3+k])
			}
			want = append(want, math.Max(s, 0))
		}
	}
	for _, keep := range []bool{false, true} {
		for _, computed := range []bool{false, true} {
			b := tflitetest.New()
			in := b.Input("x", 1, 2, 3)
			weights := b.Const(w, 2, 3)
			if computed { // the weights plus 0·x
				zero, sum := b.Float("zero"), b.Float("sum")
				row := b.Float("row")
				b.Op("RESHAPE", nil, []int32{in, b.Ints(2, 3)}, []int32{row})
				b.Op("MUL", nil, []int32{row, b.Const([]float32{0})}, []int32{zero})
				b.Op("ADD", nil, []int32{zero, weights}, []int32{sum})
				weights = sum
			}
			y := b.Float("y")
			b.Op("FULLY_CONNECTED", &tflite.FullyConnectedOptions{Activation: tflite.Relu, KeepDims: keep}, []int32{in, weights, b.Const(bias, 2)}, []int32{y})
			b.Output(y)
			same(t, "dense", run(t, b, Options{}, x)[0], want)
		}
	}
}

func TestBatchMatMul(t *testing.T) {
	x, k := counted(6), []float32{1, 0, -1, 2, 1, 0}
	// x is [2, 3], k is [3, 2] or [2, 3] turned.
	for _, turned := range []bool{false, true} {
		b := tflitetest.New()
		y := b.Float("y")
		shape := []int32{3, 2}
		if turned {
			shape = []int32{2, 3}
		}
		b.Op("BATCH_MATMUL", &tflite.BatchMatMulOptions{TransposeY: turned}, []int32{b.Input("x", 1, 2, 3), b.Const(k, shape...)}, []int32{y})
		b.Output(y)
		var want []float64
		for r := range 2 {
			for c := range 2 {
				s := 0.0
				for i := range 3 {
					w := k[i*2+c]
					if turned {
						w = k[c*3+i]
					}
					s += float64(x[r*3+i]) * float64(w)
				}
				want = append(want, s)
			}
		}
		same(t, "known", run(t, b, Options{}, x)[0], want)
	}
	b := tflitetest.New()
	in, y := b.Input("x", 1, 2, 3), b.Float("y")
	b.Op("BATCH_MATMUL", &tflite.BatchMatMulOptions{TransposeX: true}, []int32{in, in}, []int32{y})
	b.Output(y)
	same(t, "computed", run(t, b, Options{}, x)[0], []float64{9, 12, 15, 12, 17, 22, 15, 22, 29})
}

// integers is a constant of int8 or int32 with scales.
func integers(b *tflitetest.Builder, typ tflite.Type, q tflite.Quantization, v []int32, shape ...int32) int32 {
	var data []byte
	for _, x := range v {
		if typ == tflite.Int8 {
			data = append(data, byte(x))
		} else {
			data = binary.LittleEndian.AppendUint32(data, uint32(x))
		}
	}
	return b.Bytes(tflite.Tensor{Name: "q", Type: typ, Shape: shape, Quantization: &q}, data)
}

// TestIntegers has weights by channel, an input and an output of integers, and limits that make a ReLU superfluous.
func TestIntegers(t *testing.T) {
	b := tflitetest.New()
	q := func(name string, scale float32, zero int64, shape ...int32) int32 {
		return b.Tensor(tflite.Tensor{Name: name, Type: tflite.Int8, Shape: shape, Quantization: &tflite.Quantization{Scale: []float32{scale}, ZeroPoint: []int64{zero}}})
	}
	x := b.Input("x", 1, 2)
	limited := q("limited", 0.5, 0, 1, 2)
	b.Op("QUANTIZE", nil, []int32{x}, []int32{limited})
	w := integers(b, tflite.Int8, tflite.Quantization{Scale: []float32{0.5, 0.25}, ZeroPoint: []int64{0, 0}}, []int32{2, -4, 8, 4}, 2, 2) // 1 -2, 2 1
	bias := integers(b, tflite.Int32, tflite.Quantization{Scale: []float32{0.25, 0.125}}, []int32{4, -8}, 2)                              // 1 -1
	y := q("y", 1, -128, 1, 2)
	b.Op("FULLY_CONNECTED", &tflite.FullyConnectedOptions{}, []int32{limited, w, bias}, []int32{y})
	z := b.Float("z")
	b.Op("DEQUANTIZE", nil, []int32{y}, []int32{z})
	b.Output(z)
	// 100 is beyond what int8 with a scale of 0.5 can say, which is 63.5; and y is not below 0.
	for _, c := range []struct{ x, y [2]float32 }{{[2]float32{100, 1}, [2]float32{62.5, 127}}, {[2]float32{1, 2}, [2]float32{0, 3}}} {
		same(t, fmt.Sprint(c.x), run(t, b, Options{}, c.x[:])[0], doubles(c.y[:]))
	}
	b.Model.Subgraphs[0].Tensors[x].Type = tflite.Int8
	if _, err := Import(&b.Model, Options{}); err == nil || !strings.Contains(err.Error(), `input "x" holds int8`) {
		t.Errorf("integers without a scale as input: %v", err)
	}
	b.Model.Subgraphs[0].Tensors[x].Quantization = &tflite.Quantization{Scale: []float32{0.5}}
	same(t, "input of integers", run(t, b, Options{}, []float32{1, 2})[0], []float64{0, 3})
}

// TestSaturation limits what a convolution makes to what its integers can say, within its activation.
func TestSaturation(t *testing.T) {
	for _, c := range []struct {
		a    tflite.Activation
		zero int64
		want []float64 // of -200, -1, 3, 100 and 300
	}{
		{tflite.None, 0, []float64{-128, -1, 3, 100, 127}},
		{tflite.None, -128, []float64{0, 0, 3, 100, 255}},
		{tflite.Relu, 0, []float64{0, 0, 3, 100, 127}},
		{tflite.Relu6, 0, []float64{0, 0, 3, 6, 6}},
		{tflite.ReluN1To1, -128, []float64{0, 0, 1, 1, 1}},
	} {
		b := tflitetest.New()
		x := b.Input("x", 1, 5, 1, 1)
		y := b.Tensor(tflite.Tensor{Name: "y", Type: tflite.Int8, Quantization: &tflite.Quantization{Scale: []float32{1}, ZeroPoint: []int64{c.zero}}})
		b.Op("CONV_2D", &tflite.Conv2DOptions{Padding: tflite.Valid, StrideW: 1, StrideH: 1, Activation: c.a},
			[]int32{x, integers(b, tflite.Int8, tflite.Quantization{Scale: []float32{0.5}}, []int32{2}, 1, 1, 1, 1), -1}, []int32{y})
		b.Output(y)
		same(t, fmt.Sprintf("activation %d, zero point %d", c.a, c.zero), run(t, b, Options{}, []float32{-200, -1, 3, 100, 300})[0], c.want)
	}
}

// TestHalf has weights of float16 behind an operator, as float16 models do.
func TestHalf(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	half := b.Bytes(tflite.Tensor{Name: "w", Type: tflite.Float16, Shape: []int32{1, 2}}, []byte{0, 0x3c, 0, 0xc0}) // 1 -2
	w, y := b.Float("w32", 1, 2), b.Float("y")
	b.Op("DEQUANTIZE", nil, []int32{half}, []int32{w})
	b.Op("FULLY_CONNECTED", &tflite.FullyConnectedOptions{}, []int32{x, w, -1}, []int32{y})
	b.Output(y)
	same(t, "half", run(t, b, Options{}, []float32{3, 4})[0], []float64{-5})
}

// accumulator adds its input to a state.
func accumulator() *tflitetest.Builder {
	b := tflitetest.New()
	x, h := b.Input("x", 1, 3), b.Input("state_in", 1, 1, 2)
	rows, sum, next, y := b.Float("rows"), b.Float("sum"), b.Float("state_out", 1, 1, 2), b.Float("y", 1, 3)
	b.Op("STRIDED_SLICE", &tflite.StridedSliceOptions{}, []int32{x, b.Ints(0, 0), b.Ints(1, 2), b.Ints(1, 1)}, []int32{rows})
	b.Op("ADD", nil, []int32{rows, h}, []int32{next})
	b.Op("SUM", &tflite.ReducerOptions{}, []int32{next, b.Ints(0, 1, 2)}, []int32{sum})
	b.Op("ADD", nil, []int32{x, sum}, []int32{y})
	b.Output(y, next)
	b.Model.Signatures = []*tflite.Signature{{Inputs: []*tflite.Alias{{Name: "h", Tensor: uint32(h)}}, Outputs: []*tflite.Alias{{Name: "h_next", Tensor: uint32(next)}}}}
	return b
}

func TestStates(t *testing.T) {
	xs := [][]float32{{1, 2, 0}, {10, 20, 0}}
	for name, o := range map[string]Options{"found": {}, "given": {States: map[string]string{"state_in": "state_out"}},
		"by the signature": {Output: "y", States: map[string]string{"h": "h_next"}}} {
		out := run(t, accumulator(), o, xs...)
		same(t, name, out[0], []float64{4, 5, 3})
		same(t, name, out[1], []float64{43, 53, 33})
	}
	out := run(t, accumulator(), Options{Output: "h_next"}, xs...)
	same(t, "the state itself", out[1], []float64{11, 22})
	out = run(t, accumulator(), Options{States: map[string]string{}, Fixed: map[string]float32{"state_in": 1}}, xs...)
	same(t, "fixed", out[1], []float64{42, 52, 32})
	for want, o := range map[string]Options{
		"depends on no input": {States: map[string]string{}, Output: "state_out", Fixed: map[string]float32{"x": 0, "state_in": 0}},
		"2 inputs":            {States: map[string]string{}},
		`no output "z"`:       {Output: "z"},
		`no input "z"`:        {Fixed: map[string]float32{"z": 0}},
		`no output "q"`:       {States: map[string]string{"state_in": "q"}},
		"is 3, not 4":         {Shapes: map[string][]int64{"x": {1, 4}}},
		"3 are given":         {Shapes: map[string][]int64{"x": {1, 3, 1}}},
	} {
		b := accumulator()
		if _, err := Import(&b.Model, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

// TestVariables reads and sets a variable that begins at what runs once.
func TestVariables(t *testing.T) {
	b := tflitetest.New()
	handle := func() int32 {
		h := b.Tensor(tflite.Tensor{Name: "handle", Type: tflite.Resource})
		b.Op("VAR_HANDLE", &tflite.VarHandleOptions{Name: "v"}, nil, []int32{h})
		return h
	}
	x := b.Input("x", 1, 2)
	b.Op("CALL_ONCE", &tflite.CallOnceOptions{Subgraph: 1}, nil, nil)
	h, v, sum := handle(), b.Float("v", 1, 2), b.Float("sum")
	b.Op("READ_VARIABLE", nil, []int32{h}, []int32{v})
	b.Op("ADD", nil, []int32{x, v}, []int32{sum})
	b.Op("ASSIGN_VARIABLE", nil, []int32{h, sum}, nil)
	b.Output(sum)
	b.Subgraph("init")
	b.Op("ASSIGN_VARIABLE", nil, []int32{handle(), b.Const([]float32{10, 20}, 1, 2)}, nil)
	out := run(t, b, Options{}, []float32{1, 2}, []float32{3, 4})
	same(t, "first", out[0], []float64{11, 22})
	same(t, "second", out[1], []float64{14, 26})
}

func TestRefused(t *testing.T) {
	one := func(name string, options any, more ...int32) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) {
			y := b.Float("y")
			b.Op(name, options, append([]int32{x}, more...), []int32{y})
			b.Output(y)
		}
	}
	for _, c := range []struct {
		want  string
		build func(b *tflitetest.Builder, x int32)
	}{
		{`TOPK_V2 "y": the operator is not supported`, one("TOPK_V2", nil)},
		{`custom operator "" "y": the operator`, one("CUSTOM", nil)},
		{"1 inputs, at least 2 wanted", one("ADD", nil)},
		{"input 1 is missing", one("ADD", nil, -1)},
		{"weights in the order of a kernel", func(b *tflitetest.Builder, x int32) {
			one("FULLY_CONNECTED", &tflite.FullyConnectedOptions{Shuffled: 1}, b.Const(counted(4), 1, 4))(b, x)
		}},
		{"a gather by positions that depend on the input", func(b *tflitetest.Builder, x int32) { one("GATHER", nil, x)(b, x) }},
		{"a fused tanh", func(b *tflitetest.Builder, x int32) { one("ADD", &tflite.AddOptions{Activation: tflite.Tanh}, x)(b, x) }},
		{"fused activation 5", func(b *tflitetest.Builder, x int32) {
			one("ADD", &tflite.AddOptions{Activation: tflite.SignBit}, x)(b, x)
		}},
		{"stored without its zeros", func(b *tflitetest.Builder, x int32) {
			k := b.Const(counted(4), 1, 4)
			b.Model.Subgraphs[0].Tensors[k].Sparsity = &tflite.Sparsity{}
			one("ADD", nil, k)(b, x)
		}},
		{"no output", func(b *tflitetest.Builder, x int32) {}},
		{"computed twice", func(b *tflitetest.Builder, x int32) {
			one("TANH", nil)(b, x)
			b.Op("TANH", nil, []int32{x}, b.Model.Subgraphs[0].Outputs)
		}},
		{"used before it is computed", func(b *tflitetest.Builder, x int32) { one("ADD", nil, b.Float("later", 1, 4))(b, x) }},
		{"8 scales", func(b *tflitetest.Builder, x int32) {
			one("ADD", nil, integers(b, tflite.Int8, tflite.Quantization{Scale: make([]float32, 8)}, []int32{1, 2, 3, 4}, 1, 4))(b, x)
		}},
	} {
		b := tflitetest.New()
		c.build(b, b.Input("x", 1, 4))
		m, err := tflite.Read(b.Encode())
		if err == nil {
			_, err = Import(m, Options{})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestOpen has shapes that are not fixed.
func TestOpen(t *testing.T) {
	model := func(signature ...int32) *tflitetest.Builder {
		b := tflitetest.New()
		y := b.Float("y")
		x := b.Input("x", 1, 1, 2)
		b.Model.Subgraphs[0].Tensors[x].Signature = signature
		b.Op("SUM", &tflite.ReducerOptions{}, []int32{x, b.Ints(1, 2)}, []int32{y})
		b.Output(y)
		return b
	}
	same(t, "batch", run(t, model(-1, 1, 2), Options{}, []float32{1, 2})[0], []float64{3})
	same(t, "shape", run(t, model(-1, -1, 2), Options{Shapes: map[string][]int64{"x": {1, 2, 2}}}, counted(4))[0], []float64{6})
	b := model(1, -1, 2)
	if u := (*lower.Unsupported)(nil); !errors.As(second(Import(&b.Model, Options{})), &u) {
		t.Error("an open number of channels is no reason to refuse")
	}
}

func second[T any](_ T, err error) error { return err }

// loop is a model whose body runs turns times over a counter and a sum: y = x·2^turns.
func loop(turns int32) *tflitetest.Builder {
	b := tflitetest.New()
	ints := func(name string) int32 { return b.Tensor(tflite.Tensor{Name: name, Type: tflite.Int32}) }
	x := b.Input("x", 1, 2)
	n, y := ints("n"), b.Float("y", 1, 2)
	b.Op("WHILE", &tflite.WhileOptions{Condition: 1, Body: 2}, []int32{b.Scalar(0), x}, []int32{n, y})
	b.Output(y)
	b.Subgraph("condition")
	arguments := func() (int32, int32) {
		i, v := ints("i"), b.Float("v", 1, 2)
		g := b.Model.Subgraphs[len(b.Model.Subgraphs)-1]
		g.Inputs = []int32{i, v}
		return i, v
	}
	i, _ := arguments()
	less := b.Tensor(tflite.Tensor{Name: "less", Type: tflite.Bool})
	b.Op("LESS", nil, []int32{i, b.Scalar(turns)}, []int32{less})
	b.Output(less)
	b.Subgraph("body")
	i, v := arguments()
	next, twice := ints("next"), b.Float("twice", 1, 2)
	b.Op("ADD", nil, []int32{i, b.Scalar(1)}, []int32{next})
	b.Op("ADD", nil, []int32{v, v}, []int32{twice})
	b.Output(next, twice)
	return b
}

func TestWhile(t *testing.T) {
	for _, turns := range []int32{1, 5} {
		want := math.Pow(2, float64(turns))
		same(t, "loop", run(t, loop(turns), Options{}, []float32{1, -3})[0], []float64{want, -3 * want})
	}
	endless := loop(math.MaxInt32)
	if _, err := Import(&endless.Model, Options{}); err == nil || !strings.Contains(err.Error(), "turns") {
		t.Error(err)
	}
	depends := loop(3)
	cond := depends.Model.Subgraphs[1]
	cond.Operators[0].Inputs = []int32{1, cond.Operators[0].Inputs[1]}
	cond.Tensors[cond.Operators[0].Inputs[1]].Type = tflite.Float32
	if _, err := Import(&depends.Model, Options{}); err == nil || !strings.Contains(err.Error(), "a condition that depends on the input") {
		t.Error(err)
	}
}

func TestIf(t *testing.T) {
	for branch, want := range map[float32][]float64{0: {-1, 2}, 1: {2, -4}} {
		b := tflitetest.New()
		x := b.Input("x", 1, 2)
		yes, y := b.Input("yes"), b.Float("y")
		b.Model.Subgraphs[0].Tensors[yes].Type = tflite.Bool
		b.Op("IF", &tflite.IfOptions{Then: 1, Else: 2}, []int32{yes, x}, []int32{y})
		b.Output(y)
		for _, factor := range []float32{-2, 1} {
			b.Subgraph("branch")
			v, scaled := b.Input("v"), b.Float("scaled")
			b.Op("MUL", nil, []int32{v, b.Const([]float32{factor})}, []int32{scaled})
			b.Output(scaled)
		}
		same(t, "if", run(t, b, Options{Fixed: map[string]float32{"yes": branch}}, []float32{-1, 2})[0], want)
	}
}

// peak is how much the heap grows while f runs.
func peak(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most, done := m.HeapAlloc, m.HeapAlloc, make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	for {
		select {
		case <-done:
			return most - before
		case <-time.After(2 * time.Millisecond):
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
}

// TestHostile has models that claim to compute much, or forever.
func TestHostile(t *testing.T) {
	nested := loop(1 << 11)
	nested.Model.Subgraphs[2].Operators = append(nested.Model.Subgraphs[2].Operators, nested.Model.Subgraphs[0].Operators[0])
	recursive := loop(3)
	body := recursive.Model.Subgraphs[2]
	body.Operators = append([]*tflite.Operator{{Code: recursive.Model.Subgraphs[0].Operators[0].Code, Inputs: body.Inputs, Outputs: []int32{2, 3},
		Options: &tflite.WhileOptions{Condition: 1, Body: 2}}}, body.Operators...)
	large := tflitetest.New()
	y := large.Float("y")
	large.Op("TILE", nil, []int32{large.Input("x", 1, 1000), large.Ints(60000, 60000)}, []int32{y})
	large.Output(y)
	wide := tflitetest.New()
	y = wide.Float("y")
	wide.Op("TANH", nil, []int32{wide.Input("x", 1, 1<<16, 1<<15)}, []int32{y})
	wide.Output(y)
	filled := tflitetest.New()
	y = filled.Float("y")
	k := filled.Float("k")
	filled.Op("FILL", nil, []int32{filled.Ints(1<<30, 1<<30, 2), filled.Const([]float32{1})}, []int32{k})
	filled.Op("BATCH_MATMUL", nil, []int32{filled.Input("x", 1, 2), k}, []int32{y})
	filled.Output(y)
	heavy := loop(4000)
	for _, g := range heavy.Model.Subgraphs {
		for _, x := range g.Tensors {
			if len(x.Shape) == 2 {
				x.Shape = []int32{1, 1 << 19}
			}
		}
	}
	for name, b := range map[string]*tflitetest.Builder{"heavy": heavy, "nested": nested, "recursive": recursive, "large": large, "wide": wide, "filled": filled} {
		m, err := tflite.Read(b.Encode())
		if err != nil {
			t.Fatal(name, err)
		}
		took, used := time.Hour, uint64(0) // the shortest of a few, as other tests run beside this one
		for range 3 {
			start := time.Now()
			used = peak(func() { _, err = Import(m, Options{}) })
			if took = min(took, time.Since(start)); took < time.Second {
				break
			}
		}
		if err == nil || took > time.Second || used > 256<<20 {
			t.Errorf("%s: %v, took %v and %d MB", name, err, took, used>>20)
		}
	}
}

func kinds(g *quant.Graph) (out []format.Kind) {
	for _, op := range g.Ops {
		out = append(out, op.Kind)
	}
	return out
}

func count(g *quant.Graph, k format.Kind) int {
	return len(slices.DeleteFunc(kinds(g), func(x format.Kind) bool { return x != k }))
}

// seeds are models with most of what an importer looks at.
func seeds() []*tflitetest.Builder {
	lstm, conv := tflitetest.New(), tflitetest.New()
	l := newLSTM(seeded(1), 2, 3, "peepholes projection normalisation")
	y := lstm.Float("y")
	lstm.Op("UNIDIRECTIONAL_SEQUENCE_LSTM", &tflite.SequenceLSTMOptions{Activation: tflite.Tanh, CellClip: 1}, append([]int32{lstm.Input("x", 1, 2, 2)}, l.add(lstm)...), []int32{y})
	lstm.Output(y)
	z, padded := conv.Float("z"), conv.Float("padded")
	w := integers(conv, tflite.Int8, tflite.Quantization{Scale: []float32{0.5, 0.25}, ZeroPoint: []int64{0, 0}}, []int32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2, 1)
	conv.Op("PAD", nil, []int32{conv.Input("x", 1, 3, 3, 1), conv.Ints(0, 0, 1, 1, 0, 1, 0, 0)}, []int32{padded})
	conv.Op("CONV_2D", &tflite.Conv2DOptions{StrideH: 1, StrideW: 2, DilationH: 1, DilationW: 1, Activation: tflite.Relu6}, []int32{padded, w, -1}, []int32{z})
	conv.Output(z)
	return []*tflitetest.Builder{lstm, conv, loop(3), accumulator()}
}

func FuzzImport(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := tflite.Read(b)
		if err != nil {
			return
		}
		if g, err := Import(m, Options{}); err == nil {
			_, _ = quant.Build(g, quant.Options{})
		}
	})
}

// numbers are the integers and booleans that a model is made of.
func numbers(v reflect.Value) (out []reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			out = numbers(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				out = append(out, numbers(v.Field(i))...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, numbers(v.Index(i))...)
		}
	case reflect.Bool, reflect.Int8, reflect.Uint8, reflect.Int32, reflect.Uint32, reflect.Int64:
		out = append(out, v)
	}
	return out
}

// TestDamaged changes numbers to others that are likely to mean something.
func TestDamaged(t *testing.T) {
	r := seeded(13)
	values := []int64{-128, -2, -1, 0, 1, 2, 3, 4, 7, 100, 127, 1 << 20, math.MaxInt32}
	for _, s := range seeds() {
		b := s.Encode()
		for range 300 {
			m, err := tflite.Read(slices.Clone(b))
			if err != nil {
				t.Fatal(err)
			}
			all := numbers(reflect.ValueOf(m))
			for range 1 + r.IntN(3) {
				switch v, x := all[r.IntN(len(all))], values[r.IntN(len(values))]; {
				case v.Kind() == reflect.Bool:
					v.SetBool(!v.Bool())
				case v.CanInt():
					v.SetInt(x)
				default:
					v.SetUint(uint64(x))
				}
			}
			damaged, err := tflite.Read(tflitetest.Encode(m))
			if err != nil {
				continue
			}
			if g, err := Import(damaged, Options{}); err == nil {
				_, _ = quant.Build(g, quant.Options{})
			}
		}
	}
}
