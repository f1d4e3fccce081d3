package fromonnx

import (
	"math"
	"math/rand"
	"slices"
	"testing"

	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

// integers are random numbers of a range.
func integers(rnd *rand.Rand, low, high int64, dims ...int64) (v []int64, a array) {
	a = made(func([]int) float64 {
		v = append(v, low+rnd.Int63n(high-low+1))
		return float64(v[len(v)-1])
	}, dims...)
	return v, a
}

func rounded(v, zero, low, high float64) float64 {
	return min(max(math.RoundToEven(v)+zero, low), high)
}

// quotient is what a runtime in float32 divides to, before it rounds.
func quotient(v float64, scale float32) float64 { return float64(float32(v) / scale) }

func TestQuantisedWeights(t *testing.T) {
	rnd := rand.New(rand.NewSource(30))
	x := random(rnd, 3, 8)
	q8, w8 := integers(rnd, -128, 127, 8, 4)
	q4, w4 := integers(rnd, -8, 7, 8, 4)
	scales, zeros := []float32{0.01, 0.02, 0.03, 0.04}, []int64{3, -2, 0, 7}
	product := func(w func(k, j int) float64) array {
		return made(func(i []int) (s float64) {
			for k := range 8 {
				s += x.at(i[0], k) * w(k, i[1])
			}
			return s
		}, 3, 4)
	}
	runOps(t, map[string]opCase{
		"int8, a scale for each column": {13, x, func(m *model) {
			m.typed("q", onnx.Int8, q8, 8, 4).floats("s", scales, 4).typed("z", onnx.Int8, zeros, 4).
				node("DequantizeLinear", n("q", "s", "z"), n("w"), intAttr("axis", 1)).node("MatMul", n("x", "w"), n("out"))
		}, product(func(k, j int) float64 { return float64(scales[j]) * (w8.at(k, j) - float64(zeros[j])) })},
		"int4, blocks of 4 rows": {21, x, func(m *model) {
			m.typed("q", onnx.Int4, packed(q4, 4), 8, 4).floats("s", slices.Concat(scales, []float32{1, 2, 3, 4}), 2, 4).
				node("DequantizeLinear", n("q", "s"), n("w"), intAttr("axis", 0), intAttr("block_size", 4)).node("MatMul", n("x", "w"), n("out"))
		}, product(func(k, j int) float64 {
			if k < 4 {
				return float64(scales[j]) * w4.at(k, j)
			}
			return float64(j+1) * w4.at(k, j)
		})},
		"float8": {19, x, func(m *model) {
			m.typed("q", onnx.Float8E4M3FN, slices.Repeat([]int64{0x38, 0xb9, 0x01, 0x7e}, 8), 8, 4).floats("s", []float32{0.5}).
				node("DequantizeLinear", n("q", "s"), n("w")).node("MatMul", n("x", "w"), n("out"))
		}, product(func(_, j int) float64 { return []float64{0.5, -0.5625, 0x1p-10, 224}[j] })},
	})
}

// packed are numbers of few bits as the bytes that hold them, the first in the lowest bits.
func packed(v []int64, bits int) []int64 {
	n := 8 / bits
	out := make([]int64, (len(v)+n-1)/n)
	for i, x := range v {
		out[i/n] |= (x & (1<<bits - 1)) << (i % n * bits)
	}
	return out
}

func TestQuantisedActivations(t *testing.T) {
	rnd := rand.New(rand.NewSource(31))
	x := random(rnd, 2, 3, 5)
	qdq := func(v float64, s float32, z, low, high float64) float64 {
		return (rounded(quotient(v, s), z, low, high) - z) * float64(s)
	}
	column := []float32{0.1, 0.25, 0.03}
	weights, w := integers(rnd, -127, 127, 5, 4)
	dynamic := func(a array) (scale float32, zero float64) {
		low, high := float32(min(slices.Min(a.v), 0)), float32(max(slices.Max(a.v), 0))
		scale = (high - low) / 255
		return scale, rounded(-float64(low/scale), 0, 0, 255)
	}
	scale, zero := dynamic(x)
	byColumn := []float32{0.5, 0.25, 2, 1}
	dynamicProduct := made(func(i []int) (s float64) {
		for k := range 5 {
			q := rounded(quotient(x.at(i[0], i[1], k), scale), zero, 0, 255)
			s += (q - zero) * w.at(k, i[2])
		}
		return s * float64(scale) * float64(byColumn[i[2]])
	}, 2, 3, 4)
	pair := func(m *model, attrs ...*onnx.Attr) {
		m.node("QuantizeLinear", n("x", "s", "z"), n("q"), attrs...).node("DequantizeLinear", n("q", "s", "z"), n("out"), attrs...)
	}
	runOps(t, map[string]opCase{
		"uint8": {13, x, func(m *model) { m.floats("s", []float32{0.02}).typed("z", onnx.Uint8, []int64{120}); pair(m) },
			x.each(func(v float64) float64 { return qdq(v, 0.02, 120, 0, 255) })},
		"int8, along an axis": {13, x, func(m *model) {
			m.floats("s", column, 3).typed("z", onnx.Int8, []int64{1, -3, 20}, 3)
			pair(m, intAttr("axis", 1))
		}, made(func(i []int) float64 { return qdq(x.at(i...), column[i[1]], []float64{1, -3, 20}[i[1]], -128, 127) }, 2, 3, 5)},
		"int16 by its attribute": {21, x, func(m *model) {
			m.floats("s", []float32{0.0001}).node("QuantizeLinear", n("x", "s"), n("q"), intAttr("output_dtype", int64(onnx.Int16))).
				node("DequantizeLinear", n("q", "s"), n("out"))
		}, x.each(func(v float64) float64 { return qdq(v, 0.0001, 0, -32768, 32767) })},
		"dynamic": {13, x, func(m *model) {
			m.typed("w", onnx.Int8, weights, 5, 4).floats("ws", byColumn, 4).node("DynamicQuantizeLinear", n("x"), n("q", "qs", "qz")).
				node("MatMulInteger", n("q", "w", "qz"), n("i")).node("Cast", n("i"), n("f"), intAttr("to", 1)).
				node("Mul", n("qs", "ws"), n("s")).node("Mul", n("f", "s"), n("out"))
		}, dynamicProduct},
		"dynamic, fused": {13, x, func(m *model) {
			m.typed("w", onnx.Int8, weights, 5, 4).floats("ws", byColumn, 4).node("DynamicQuantizeMatMul", n("x", "w", "ws"), n("out"))
			m.Graph.Nodes[0].Domain = "com.microsoft"
		}, dynamicProduct},
		"dynamic, half fused": {13, x, func(m *model) {
			m.typed("w", onnx.Int8, weights, 5, 4).floats("ws", byColumn, 4).node("DynamicQuantizeLinear", n("x"), n("q", "qs", "qz")).
				node("MatMulIntegerToFloat", n("q", "w", "qs", "ws", "qz"), n("out"))
			m.Graph.Nodes[1].Domain = "com.microsoft"
		}, dynamicProduct},
	})
}

func TestQuantisedOperators(t *testing.T) {
	rnd := rand.New(rand.NewSource(32))
	qx, x := integers(rnd, 0, 255, 2, 6)
	qa, a := integers(rnd, 0, 255, 1, 2, 5)
	qw, w := integers(rnd, -128, 127, 6, 3)
	qf, f := integers(rnd, 0, 255, 3, 2, 3)
	bias := []int64{100, -5000, 70000}
	_, _ = qx, qa
	filters := []float32{0.01, 0.02, 0.04}
	acc := func(i []int) float64 {
		s := float64(bias[i[1]])
		for c := range 2 {
			for k := range 3 {
				if p := i[2] + k - 1; p >= 0 && p < 5 {
					s += (a.at(0, c, p) - 100) * (f.at(i[1], c, k) - 128)
				}
			}
		}
		return s
	}
	runOps(t, map[string]opCase{
		"QLinearMatMul": {10, x, func(m *model) {
			m.floats("as", []float32{0.02}).typed("az", onnx.Uint8, []int64{128}).typed("w", onnx.Int8, qw, 6, 3).floats("ws", []float32{0.1}).
				typed("wz", onnx.Int8, []int64{3}).floats("ys", []float32{0.7}).typed("yz", onnx.Uint8, []int64{110}).
				node("QLinearMatMul", n("x", "as", "az", "w", "ws", "wz", "ys", "yz"), n("out"))
		}, made(func(i []int) float64 {
			s := 0.0
			for k := range 6 {
				s += (x.at(i[0], k) - 128) * (w.at(k, i[1]) - 3)
			}
			return rounded(float64(float32(s)*(float32(0.02)*float32(0.1)/float32(0.7))), 110, 0, 255)
		}, 2, 3)},
		"QLinearConv": {10, a, func(m *model) {
			m.floats("as", []float32{0.5}).typed("az", onnx.Uint8, []int64{100}).typed("w", onnx.Uint8, qf, 3, 2, 3).floats("ws", filters, 3).
				typed("wz", onnx.Uint8, []int64{128, 128, 128}, 3).floats("ys", []float32{2}).typed("yz", onnx.Uint8, []int64{90}).
				typed("b", onnx.Int32, bias, 3).
				node("QLinearConv", n("x", "as", "az", "w", "ws", "wz", "ys", "yz", "b"), n("out"), intsAttr("pads", 1, 1))
		}, made(func(i []int) float64 {
			return rounded(float64(float32(acc(i))*(float32(0.5)*filters[i[1]]/2)), 90, 0, 255)
		}, 1, 3, 5)},
		"QGemm and QLinearAdd": {10, x, func(m *model) {
			m.floats("as", []float32{0.02}).typed("az", onnx.Uint8, []int64{128}).typed("w", onnx.Int8, qw, 6, 3).floats("ws", []float32{0.1}).
				typed("wz", onnx.Int8, []int64{0}).typed("b", onnx.Int32, bias, 3).floats("ys", []float32{0.7}).typed("yz", onnx.Uint8, []int64{110}).
				node("QGemm", n("x", "as", "az", "w", "ws", "wz", "b", "ys", "yz"), n("y")).
				node("QLinearAdd", n("y", "ys", "yz", "y", "ys", "yz", "ws", "az"), n("out"))
			m.Graph.Nodes[0].Domain, m.Graph.Nodes[1].Domain = "com.microsoft", "com.microsoft"
		}, made(func(i []int) float64 {
			s := float64(bias[i[1]])
			for k := range 6 {
				s += (x.at(i[0], k) - 128) * w.at(k, i[1])
			}
			y := (rounded(s*0.02*0.1/0.7, 110, 0, 255) - 110) * 0.7
			return rounded(2*y/0.1, 128, 0, 255)
		}, 2, 3)},
		"QLinearConcat and QLinearSigmoid": {10, x, func(m *model) {
			m.floats("as", []float32{0.02}).typed("az", onnx.Uint8, []int64{128}).floats("ys", []float32{0.05}).typed("yz", onnx.Uint8, []int64{100}).
				node("QLinearSigmoid", n("x", "as", "az", "as"), n("y")).
				node("QLinearConcat", n("ys", "yz", "x", "as", "az", "y", "as", ""), n("out"), intAttr("axis", 1))
			m.Graph.Nodes[0].Domain, m.Graph.Nodes[1].Domain = "com.microsoft", "com.microsoft"
		}, made(func(i []int) float64 {
			v := 0.02 * (x.at(i[0], i[1]%6) - 128)
			if i[1] >= 6 {
				v = rounded(sig(v)/0.02, 0, 0, 255) * 0.02
			}
			return rounded(v/0.05, 100, 0, 255)
		}, 2, 12)},
		"ConvInteger": {10, a, func(m *model) {
			m.typed("az", onnx.Uint8, []int64{100}).typed("w", onnx.Uint8, qf, 3, 2, 3).typed("wz", onnx.Uint8, []int64{128}).
				node("ConvInteger", n("x", "w", "az", "wz"), n("out"), intsAttr("pads", 1, 1))
		}, made(func(i []int) float64 { return acc(i) - float64(bias[i[1]]) }, 1, 3, 5)},
	})
}

// A dynamically quantised LSTM is the LSTM with the weights that the integers stand for.
func TestDynamicQuantizeLSTM(t *testing.T) {
	rnd := rand.New(rand.NewSource(33))
	l := &layerRef{op: "LSTM", dirs: []bool{false, true}, in: 3, hid: 4}
	l.random(rnd, "bc")
	qw, w := integers(rnd, 0, 255, 2, 3, 16)
	qr, r := integers(rnd, -128, 127, 2, 4, 16)
	perGate := random(rnd, 2, 16).each(func(v float64) float64 { return float64(float32(math.Abs(v)/100 + 0.001)) })
	turn := func(a array, scale func(d, g int) float64, zero float64) []float32 {
		return made(func(i []int) float64 { return (a.at(i[0], i[2], i[1]) - zero) * scale(i[0], i[1]) }, 2, 16, a.dims[1]).floats()
	}
	l.w = turn(w, func(d, g int) float64 { return perGate.at(d, g) }, 128)
	l.r = turn(r, func(d, _ int) float64 { return float64([]float32{0.004, 0.006}[d]) }, 0)
	x, flat := sample(rnd, 3)
	y, _ := l.run(x)
	m := newModel(13).input("x", -1, 1, 3).typed("W", onnx.Uint8, qw, 2, 3, 16).typed("R", onnx.Int8, qr, 2, 4, 16).
		constant("ws", perGate).typed("wz", onnx.Uint8, slices.Repeat([]int64{128}, 32), 2, 16).floats("rs", []float32{0.004, 0.006}, 2).
		typed("rz", onnx.Int8, []int64{0, 0}, 2).floats("B", l.b, 2, 32).floats("C", l.c0, 2, 1, 4)
	if l.h0 == nil {
		l.h0 = make([]float32, 8)
	}
	m.node("DynamicQuantizeLSTM", n("x", "W", "R", "B", "", "", "C", "", "ws", "wz", "rs", "rz"), n("y"), strAttr("direction", "bidirectional"),
		intAttr("hidden_size", 4)).node("Transpose", n("y"), n("out"), intsAttr("perm", 0, 2, 1, 3))
	m.Graph.Nodes[0].Domain = "com.microsoft"
	wants(t, imported(t, m.output("out"), flat), slices.Concat(y...))
}

// Where the number of steps is open, each step is quantised by its own range.
func TestDynamicQuantisationOfSteps(t *testing.T) {
	rnd := rand.New(rand.NewSource(34))
	x, flat := sample(rnd, 3)
	m := newModel(13).input("x", -1, -2, 3).node("DynamicQuantizeLinear", n("x"), n("q", "s", "z")).node("DequantizeLinear", n("q", "s", "z"), n("out"))
	var want []float64
	for _, row := range x {
		low, high := float32(min(slices.Min(row), 0)), float32(max(slices.Max(row), 0))
		scale := (high - low) / 255
		zero := rounded(-float64(low/scale), 0, 0, 255)
		for _, v := range row {
			want = append(want, (rounded(quotient(v, scale), zero, 0, 255)-zero)*float64(scale))
		}
	}
	wants(t, imported(t, m.output("out"), flat), want)
}

// Inputs of integers are numbers to the runtime.
func TestIntegerInput(t *testing.T) {
	m := newModel(13).input("x", -1, 2).floats("s", []float32{0.5, 2}, 2).typed("z", onnx.Uint8, []int64{128, 3}, 2).
		node("DequantizeLinear", n("x", "s", "z"), n("y"), intAttr("axis", 1)).output("y")
	m.Graph.Inputs[0].Type = onnx.Uint8
	read, err := onnx.Read(onnxtest.Encode(&m.Model))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Import(read, Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, _ := runGraph(t, g, []float32{0, 0, 255, 255})
	wants(t, y, []float64{-64, -6, 63.5, 504})
}
