package fromonnx

import (
	"errors"
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

const (
	steps     = 7
	tolerance = 1e-5
)

// sample is a sequence, as the reference and as the runtime take it.
func sample(rnd *rand.Rand, width int) (x [][]float64, flat []float32) {
	for range steps {
		row := make([]float64, width)
		for i := range row {
			flat = append(flat, float32(rnd.NormFloat64()))
			row[i] = float64(flat[len(flat)-1])
		}
		x = append(x, row)
	}
	return x, flat
}

// imported converts a model by way of its bytes, and runs it.
func imported(t *testing.T, m *model, x []float32) []float32 {
	t.Helper()
	read, err := onnx.Read(onnxtest.Encode(&m.Model))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Import(read, Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, _ := runGraph(t, g, x)
	return y
}

func runGraph(t *testing.T, g *quant.Graph, x []float32) ([]float32, *runtime.Model) {
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
	y := make([]float32, rows*m.OutputWidth())
	if err := m.NewSession().Run(x, y); err != nil {
		t.Fatal(err)
	}
	return y, m
}

func wants(t *testing.T, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(float64(got[i])-want[i]) <= tolerance*math.Max(1, math.Abs(want[i]))) {
			t.Fatalf("value %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

var ways = map[string][]bool{"forward": {false}, "reverse": {true}, "bidirectional": {false, true}}

// Every cell, direction and optional input against the text of the specification, for Y and for Y_h.
func TestCells(t *testing.T) {
	for way, dirs := range ways {
		for _, c := range []struct {
			name    string
			layer   layerRef
			options string
		}{
			{"lstm", layerRef{op: "LSTM"}, ""},
			{"lstm bias", layerRef{op: "LSTM"}, "b"},
			{"lstm all", layerRef{op: "LSTM"}, "bphc"},
			{"lstm c0", layerRef{op: "LSTM"}, "c"},
			{"gru", layerRef{op: "GRU"}, ""},
			{"gru all", layerRef{op: "GRU"}, "bh"},
			{"gru after", layerRef{op: "GRU", after: true}, ""},
			{"gru after all", layerRef{op: "GRU", after: true}, "bh"},
			{"rnn", layerRef{op: "RNN"}, "bh"},
			{"rnn relu", layerRef{op: "RNN", relu: true}, "b"},
		} {
			t.Run(way+" "+c.name, func(t *testing.T) {
				rnd := rand.New(rand.NewSource(1))
				l := c.layer
				l.dirs, l.in, l.hid = dirs, 3, 5
				l.random(rnd, c.options)
				x, flat := sample(rnd, 3)
				y, last := l.run(x)
				m := newModel(14).input("x", -1, 1, 3).layer(&l, "x", "y", "h").
					node("Transpose", n("y"), n("z"), intsAttr("perm", 0, 2, 1, 3)).
					ints("shape", 0, 0, -1).node("Reshape", n("z", "shape"), n("out"))
				wants(t, imported(t, m.output("out"), flat), slices.Concat(y...))
				m.Graph.Outputs = nil
				wants(t, imported(t, m.output("h"), flat), last)
			})
		}
	}
}

// layout 1 has the batch first in X, Y and the states.
func TestLayout(t *testing.T) {
	rnd := rand.New(rand.NewSource(2))
	l := (&layerRef{op: "GRU", dirs: []bool{false, true}, in: 3, hid: 4}).random(rnd, "bh")
	x, flat := sample(rnd, 3)
	y, last := l.run(x)
	m := newModel(14).input("x", -1, -2, 3).layer(l, "x", "y", "h", intAttr("layout", 1))
	for _, v := range m.Graph.Initializers {
		if strings.HasSuffix(v.Name, "H") {
			v.Dims = []int64{1, 2, 4}
		}
	}
	wants(t, imported(t, m.output("y"), flat), slices.Concat(y...))
	m.Graph.Outputs = nil
	wants(t, imported(t, m.output("h"), flat), last)
}

// What exporters write around the recurrent operators. Each takes y, [T, 1, 1, 4] of a layer over x [T, 1, 3], to out.
func TestSelections(t *testing.T) {
	rnd := rand.New(rand.NewSource(3))
	l := (&layerRef{op: "LSTM", dirs: []bool{false}, in: 3, hid: 4}).random(rnd, "b")
	x, flat := sample(rnd, 3)
	y, _ := l.run(x)
	first, last, mean, most := y[0], y[steps-1], make([]float64, 4), make([]float64, 4)
	for u := range 4 {
		most[u] = math.Inf(-1)
		for _, row := range y {
			mean[u] += row[u] / steps
			most[u] = math.Max(most[u], row[u])
		}
	}
	squeeze := func(m *model) *model {
		return m.ints("one", 1).node("Squeeze", n("y", "one"), n("s")) // [T, N, H]
	}
	byShape := func(m *model) *model { // the length of time minus one
		return squeeze(m).node("Shape", n("s"), n("dims")).scalar("zero", 0).scalar("uno", 1).
			node("Gather", n("dims", "zero"), n("T")).node("Sub", n("T", "uno"), n("at"))
	}
	for name, c := range map[string]struct {
		want  []float64
		build func(m *model)
	}{
		"gather -1": {last, func(m *model) { squeeze(m).scalar("at", -1).node("Gather", n("s", "at"), n("out")) }},
		"gather [-1]": {last, func(m *model) {
			squeeze(m).ints("at", -1).node("Gather", n("s", "at"), n("q")).ints("ax", 0).node("Squeeze", n("q", "ax"), n("out"))
		}},
		"gather T-1": {last, func(m *model) { byShape(m).node("Gather", n("s", "at"), n("out")) }},
		"slice -1":   {last, func(m *model) { slicing(squeeze(m), -1, math.MaxInt64) }},
		"slice 0:1":  {first, func(m *model) { slicing(squeeze(m), 0, 1) }},
		"slice all then last": {last, func(m *model) {
			slicing(squeeze(m), 0, math.MaxInt64).scalar("at", -1).node("Gather", n("out", "at"), n("out2"))
			m.Graph.Nodes[len(m.Graph.Nodes)-2].Outputs[0], m.Graph.Nodes[len(m.Graph.Nodes)-1].Inputs[0] = "mid", "mid"
			m.Graph.Nodes[len(m.Graph.Nodes)-1].Outputs[0] = "out"
		}},
		"first": {first, func(m *model) { squeeze(m).scalar("at", 0).node("Gather", n("s", "at"), n("out")) }},
		"mean": {mean, func(m *model) {
			squeeze(m).ints("t", 0).node("ReduceMean", n("s", "t"), n("out"), intAttr("keepdims", 0))
		}},
		"max": {most, func(m *model) { squeeze(m).ints("t", 0).node("ReduceMax", n("s", "t"), n("out")) }},
		"batch first mean": {mean, func(m *model) {
			squeeze(m).node("Transpose", n("s"), n("b"), intsAttr("perm", 1, 0, 2)).ints("t", 1).node("ReduceMean", n("b", "t"), n("out"))
		}},
		"final state": {last, func(m *model) { m.ints("ax", 0).node("Squeeze", n("h", "ax"), n("out")) }},
		"final state flattened": {last, func(m *model) {
			m.node("Transpose", n("h"), n("b"), intsAttr("perm", 1, 0, 2)).node("Flatten", n("b"), n("out"))
		}},
		"merged time and batch": {slices.Concat(y...), func(m *model) {
			squeeze(m).ints("flat", -1, 4).node("Reshape", n("s", "flat"), n("f")).node("Identity", n("f"), n("g")).
				node("Shape", n("s"), n("back")).node("Reshape", n("g", "back"), n("out"))
		}},
		"dropout": {slices.Concat(y...), func(m *model) { m.node("Dropout", n("y"), n("d")).node("Cast", n("d"), n("out"), intAttr("to", 1)) }},
		"halves swapped": {[]float64{last[2], last[3], last[0], last[1]}, func(m *model) {
			squeeze(m).scalar("at", -1).node("Gather", n("s", "at"), n("l")).ints("sizes", 2, 2).
				node("Split", n("l", "sizes"), n("a", "b"), intAttr("axis", 1)).node("Concat", n("b", "a"), n("out"), intAttr("axis", -1))
		}},
		"picked channels": {[]float64{last[3], last[0]}, func(m *model) {
			squeeze(m).scalar("at", -1).node("Gather", n("s", "at"), n("l")).ints("which", 3, 0).
				node("Gather", n("l", "which"), n("out"), intAttr("axis", 1))
		}},
		"first and last": {slices.Concat(first, last), func(m *model) {
			squeeze(m).scalar("at", 0).scalar("end", -1).node("Gather", n("s", "at"), n("a")).node("Gather", n("s", "end"), n("b")).
				node("Concat", n("a", "b"), n("out"), intAttr("axis", 1))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(18).input("x", -1, -2, 3).layer(l, "x", "y", "h")
			c.build(m)
			wants(t, imported(t, m.output("out"), flat), c.want)
		})
	}
}

// slicing adds s[from:to] along axis 0.
func slicing(m *model, from, to int64) *model {
	return m.ints("from", from).ints("to", to).ints("axis", 0).node("Slice", n("s", "from", "to", "axis"), n("out"))
}

// Arithmetic on the channels of x, [T, 3].
func TestArithmetic(t *testing.T) {
	rnd := rand.New(rand.NewSource(4))
	x, flat := sample(rnd, 3)
	w := []float32{1, -2, 3, 0.5, 0.25, -1} // [3, 2]
	each := func(f func(v []float64) []float64) (out []float64) {
		for _, row := range x {
			out = append(out, f(row)...)
		}
		return out
	}
	dense := func(v []float64) []float64 {
		return []float64{v[0] + 3*v[1] + 0.25*v[2] + 10, -2*v[0] + 0.5*v[1] - v[2] + 20}
	}
	elementwise := func(f func(float64) float64) []float64 {
		return each(func(v []float64) []float64 { return []float64{f(v[0]), f(v[1]), f(v[2])} })
	}
	softmax := func(v []float64) []float64 {
		s := math.Exp(v[0]) + math.Exp(v[1]) + math.Exp(v[2])
		return []float64{math.Exp(v[0]) / s, math.Exp(v[1]) / s, math.Exp(v[2]) / s}
	}
	for name, c := range map[string]struct {
		opset int64
		want  []float64
		build func(m *model)
	}{
		"gemm": {9, each(dense), func(m *model) { m.node("Gemm", n("x", "w", "b"), n("out")) }},
		"gemm transposed, scaled": {13, each(func(v []float64) []float64 {
			d := dense(v)
			return []float64{2*(d[0]-10) + 5, 2*(d[1]-20) + 10}
		}), func(m *model) {
			m.node("Transpose", n("w"), n("wt")).
				node("Gemm", n("x", "wt", "b"), n("out"), intAttr("transB", 1), &onnx.Attr{Name: "alpha", F: 2}, &onnx.Attr{Name: "beta", F: 0.5})
		}},
		"matmul add": {17, each(dense), func(m *model) { m.node("MatMul", n("x", "w"), n("p")).node("Add", n("b", "p"), n("out")) }},
		"normalised": {17, elementwise(func(v float64) float64 { return (v - 0.5) / 4 * 3 }), func(m *model) {
			m.floats("mu", []float32{0.5}, 1).floats("sd", []float32{4, 4, 4}, 1, 3).floats("k", []float32{3}).
				node("Sub", n("x", "mu"), n("a")).node("Div", n("a", "sd"), n("c")).node("Mul", n("c", "k"), n("out"))
		}},
		"one minus": {17, elementwise(func(v float64) float64 { return 1 - v }), func(m *model) {
			m.floats("u", []float32{1}).node("Sub", n("u", "x"), n("out"))
		}},
		"negated tanh": {17, elementwise(func(v float64) float64 { return -math.Tanh(v) }), func(m *model) {
			m.node("Tanh", n("x"), n("a")).node("Neg", n("a"), n("out"))
		}},
		"relu sigmoid": {17, elementwise(func(v float64) float64 { return sig(math.Max(v, 0)) }), func(m *model) {
			m.node("Relu", n("x"), n("a")).node("Sigmoid", n("a"), n("out"))
		}},
		"softmax 13": {13, each(softmax), func(m *model) { m.node("Softmax", n("x"), n("out")) }},
		"softmax 9":  {9, each(softmax), func(m *model) { m.node("Softmax", n("x"), n("out"), intAttr("axis", 1)) }},
		"log softmax": {13, each(func(v []float64) []float64 {
			s := softmax(v)
			return []float64{math.Log(s[0]), math.Log(s[1]), math.Log(s[2])}
		}), func(m *model) { m.node("LogSoftmax", n("x"), n("out"), intAttr("axis", -1)) }},
		"reversed channels": {13, each(func(v []float64) []float64 { return []float64{v[2], v[1], v[0]} }), func(m *model) {
			m.ints("from", -1).ints("to", math.MinInt64).ints("axis", 1).ints("step", -1).
				node("Slice", n("x", "from", "to", "axis", "step"), n("out"))
		}},
		"reversed then dense": {13, each(func(v []float64) []float64 { return dense([]float64{v[2], v[1], v[0]}) }), func(m *model) {
			m.ints("which", 2, 1, 0).node("Gather", n("x", "which"), n("r"), intAttr("axis", 1)).node("Gemm", n("r", "w", "b"), n("out"))
		}},
		"dense of a concatenation": {13, each(func(v []float64) []float64 {
			return dense([]float64{math.Tanh(v[0]), math.Tanh(v[1]), v[2]})
		}), func(m *model) {
			m.ints("ab", 0, 1).ints("c", 2).node("Gather", n("x", "ab"), n("p"), intAttr("axis", 1)).node("Tanh", n("p"), n("q")).
				node("Gather", n("x", "c"), n("r"), intAttr("axis", 1)).node("Concat", n("q", "r"), n("s"), intAttr("axis", 1)).
				node("Gemm", n("s", "w", "b"), n("out"))
		}},
		"where and range": {13, elementwise(func(v float64) float64 { return 2 * v }), func(m *model) { // [-1, 3] to [1, 3]
			m.ints("shape", -1, 3).ints("minus", -1).ints("one", 1).node("Equal", n("shape", "minus"), n("eq")).
				node("Where", n("eq", "one", "shape"), n("s2")).scalar("a", 0).scalar("z", 1).scalar("d", 1).
				node("Range", n("a", "z", "d"), n("axes")).floats("two", []float32{2}, 1, 1).node("Expand", n("two", "s2"), n("k")).
				node("Mul", n("x", "k"), n("out"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(c.opset).input("x", -1, 3).floats("w", w, 3, 2).floats("b", []float32{10, 20}, 2)
			c.build(m)
			wants(t, imported(t, m.output("out"), flat), c.want)
		})
	}
}

// Zero initial states as PyTorch builds them for a batch of unknown size, and two layers that share them.
func TestStackedZeroStates(t *testing.T) {
	rnd := rand.New(rand.NewSource(5))
	a := (&layerRef{op: "GRU", dirs: []bool{false}, in: 3, hid: 4, after: true}).random(rnd, "b")
	b := (&layerRef{op: "GRU", dirs: []bool{false}, in: 4, hid: 4, after: true}).random(rnd, "b")
	x, flat := sample(rnd, 3)
	mid, _ := a.run(x)
	y, _ := b.run(mid)
	m := newModel(13).input("x", -1, -2, 3).
		node("Shape", n("x"), n("dims")).scalar("uno", 1).node("Gather", n("dims", "uno"), n("N")).ints("ax0", 0).
		node("Unsqueeze", n("N", "ax0"), n("N1")).ints("two", 2).ints("four", 4).
		node("Concat", n("two", "N1", "four"), n("hs"), intAttr("axis", 0)).node("ConstantOfShape", n("hs"), n("zeros")).
		ints("i0", 0).ints("i1", 1).ints("i2", 2).
		node("Slice", n("zeros", "i0", "i1", "ax0"), n("ha")).node("Slice", n("zeros", "i1", "i2", "ax0"), n("hb"))
	m.layer(a, "x", "ya", "").ints("one", 1).node("Squeeze", n("ya", "one"), n("sa")).layer(b, "sa", "yb", "").node("Squeeze", n("yb", "one"), n("out"))
	for _, node := range m.Graph.Nodes {
		if node.Op == "GRU" {
			node.Inputs[5] = map[string]string{"x": "ha", "sa": "hb"}[node.Inputs[0]]
		}
	}
	wants(t, imported(t, m.output("out"), flat), slices.Concat(y...))
	g, err := Import(&m.Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Ops) != 2 || g.Ops[0].H0 != nil {
		t.Errorf("operations %+v, want two cells without initial states", g.Ops)
	}
}

// One output per direction only: the backward cell of Y[:, 0] is dropped, and its channels with it.
func TestUnusedDirection(t *testing.T) {
	rnd := rand.New(rand.NewSource(6))
	l := (&layerRef{op: "LSTM", dirs: []bool{false, true}, in: 3, hid: 4}).random(rnd, "b")
	x, flat := sample(rnd, 3)
	y, _ := l.run(x)
	for d := range 2 {
		m := newModel(13).input("x", -1, 1, 3).layer(l, "x", "y", "h").scalar("d", int64(d)).
			node("Gather", n("y", "d"), n("out"), intAttr("axis", 1))
		var want []float64
		for _, row := range y {
			want = append(want, row[4*d:4*d+4]...)
		}
		wants(t, imported(t, m.output("out"), flat), want)
		g, err := Import(&m.Model, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(g.Ops) != 1 || g.Values[1].Width != 4 {
			t.Errorf("direction %d: %d operations, values %v", d, len(g.Ops), g.Values)
		}
	}
}

func TestDescription(t *testing.T) {
	m := newModel(13).input("x", -1, 2).node("Tanh", n("x"), n("y")).output("y")
	m.Meta = []onnx.Entry{{Key: "labels", Value: `["up","down"]`}, {Key: "channels", Value: "ax, ay"}, {Key: "rate", Value: "100"},
		{Key: "units", Value: "m,m,m"}, {Key: "author", Value: "someone"}}
	g, err := Import(&m.Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Labels, []string{"up", "down"}) || g.Input.Rate != 100 || g.Input.Channels[1].Name != "ay" || g.Input.Channels[1].Unit != "" {
		t.Errorf("labels %q, input %+v", g.Labels, g.Input)
	}
	want := []format.Pair{{Key: "producer", Value: "test"}, {Key: "units", Value: "m,m,m"}, {Key: "author", Value: "someone"}}
	if !slices.Equal(g.Meta, want) {
		t.Errorf("metadata %v", g.Meta)
	}
}

// Everything that is refused says which operator and node, and why.
func TestRefused(t *testing.T) {
	rnd := rand.New(rand.NewSource(7))
	lstm := (&layerRef{op: "LSTM", dirs: []bool{false}, in: 3, hid: 4}).random(rnd, "b")
	gru := (&layerRef{op: "GRU", dirs: []bool{false}, in: 3, hid: 4}).random(rnd, "b")
	layer := func(l *layerRef, attrs ...*onnx.Attr) func(*model) {
		return func(m *model) { m.layer(l, "x", "out", "", attrs...) }
	}
	node := func(op string, in []string, attrs ...*onnx.Attr) func(*model) {
		return func(m *model) { m.layer(lstm, "x", "y", "h").node(op, in, n("out"), attrs...) }
	}
	for want, build := range map[string]func(*model){
		"LSTM node \"n_LSTM\": 2 activations for 1":                               layer(lstm, stringsAttr("activations", "Sigmoid", "Tanh")),
		"LSTM node \"n_LSTM\": the attribute mystery":                             layer(lstm, intAttr("mystery", 1)),
		"LSTM node \"n_LSTM\": hidden_size is 5":                                  layer(lstm, intAttr("hidden_size", 5)),
		"TopK node \"n_TopK\": the operator is not supported":                     node("TopK", n("y", "k")),
		"Transpose node \"n_Transpose\": permutation [0 0 1 2]":                   node("Transpose", n("y"), intsAttr("perm", 0, 0, 1, 2)),
		"MatMul node \"n_MatMul\": a product of 1 by 4 and 1 by 4":                node("MatMul", n("y", "y")),
		"Add node \"n_Add\": \"nowhere\" is used before it is computed":           func(m *model) { m.node("Add", n("x", "nowhere"), n("out")) },
		"Add node \"n_Add\": constant \"text\" has an element type":               func(m *model) { m.node("Add", n("x", "text"), n("out")) },
		"the model has 2 inputs (x, z)":                                           func(m *model) { m.input("z", 1, 1, 3).node("Add", n("x", "z"), n("out")) },
		"LSTM node \"n_LSTM\": an initial state of shape":                         func(m *model) { layer(lstm)(m); m.Graph.Nodes[0].Inputs[5] = "x" },
		"com.example::LSTM node \"n_LSTM\": the operator is not supported":        func(m *model) { layer(lstm)(m); m.Graph.Nodes[0].Domain = "com.example" },
		"LSTM node \"n_LSTM\": weights of shape":                                  func(m *model) { layer(lstm)(m); m.Graph.Initializers[1].Dims = []int64{1, 3, 16} },
		"\"out\" is computed twice":                                               func(m *model) { layer(lstm)(m); layer(gru)(m) },
		"output \"out\" depends on no input":                                      func(m *model) { m.floats("k", []float32{1}, 1).node("Identity", n("k"), n("out")) },
		"Reshape node \"n_Reshape\": a reshape":                                   func(m *model) { m.ints("s", 3, -1); node("Reshape", n("y", "s"))(m) },
		"Squeeze node \"n_Squeeze\": axis 3 to be removed has length 4":           func(m *model) { m.ints("ax", 3); node("Squeeze", n("y", "ax"))(m) },
		"Expand node \"n_Expand\": a shape, index or axis that is not known when": node("Expand", n("x", "y")),
		"ConstantOfShape node \"n_ConstantOfShape\": a shape with a length of": func(m *model) {
			m.ints("huge", 1<<40).node("ConstantOfShape", n("huge"), n("k")).node("Add", n("x", "k"), n("out"))
		},
		"Range node \"n_Range\": a range from -9223372036854775808 to 1 by 1": func(m *model) {
			m.scalar("low", math.MinInt64).scalar("one", 1).node("Range", n("low", "one", "one"), n("k")).node("Add", n("x", "k"), n("out"))
		},
		"ConvInteger node \"n_ConvInteger\": filters of 0 dimensions": func(m *model) {
			m.scalar("k", 1).node("ReduceSum", n("x"), n("s"), intAttr("keepdims", 0)).floats("w", []float32{1}).node("ConvInteger", n("s", "w"), n("out"))
		},
		"OneHot node \"n_OneHot\": values of shape []": func(m *model) {
			m.scalar("k", 2).floats("v", []float32{1}).node("OneHot", n("x", "k", "v"), n("out"))
		},
		"ReduceMax node \"n_ReduceMax\": a reduction of nothing": func(m *model) {
			m.ints("shape", 0, 1<<24, 1<<24).node("ConstantOfShape", n("shape"), n("k")).node("ReduceMax", n("k"), n("m"), intAttr("keepdims", 0)).
				node("Add", n("x", "m"), n("out"))
		},
		"MaxPool node \"n_MaxPool\": its output 1 is not supported": func(m *model) {
			m.node("MaxPool", n("x"), n("y", "at"), intsAttr("kernel_shape", 2)).node("Add", n("y", "at"), n("out"))
		},
		"QuantizeLinear node \"n_QuantizeLinear\": a quantisation to element type 17": func(m *model) {
			m.floats("s", []float32{1}).node("QuantizeLinear", n("x", "s"), n("out"), intAttr("output_dtype", int64(onnx.Float8E4M3FN)))
		},
		"Conv node \"n_Conv\": filters that are computed":       func(m *model) { m.node("Conv", n("x", "x"), n("out")) },
		"Sin node \"n_Sin\": an operand that is not a constant": func(m *model) { m.node("Sin", n("x"), n("out")) },
		"Dropout node \"n_Dropout\": training_mode": func(m *model) {
			m.floats("r", []float32{0.5}).ints("on", 1).node("Dropout", n("x", "r", "on"), n("out"))
		},
		"Gemm node \"n_Gemm\": matrices of 3 and 2 dimensions": func(m *model) {
			m.floats("w", make([]float32, 6), 3, 2).node("Gemm", n("x", "w"), n("out"))
		},
		"input \"x\": dimension 2 must be a fixed number": func(m *model) { m.Graph.Inputs[0] = info("x", []int64{-1, -2, -3}); m.node("Tanh", n("x"), n("out")) },
		"input \"x\" has no shape":                        func(m *model) { m.Graph.Inputs[0].HasShape = false; m.node("Tanh", n("x"), n("out")) },
	} {
		m := newModel(13).input("x", 4, 1, 3)
		m.Graph.Initializers = append(m.Graph.Initializers, &onnx.Tensor{Name: "text", Type: 8, Dims: []int64{1}})
		build(m)
		for _, node := range m.Graph.Nodes {
			if node.Op == "LSTM" && len(node.Outputs) == 2 && node.Outputs[1] != "" {
				node.Outputs = append(node.Outputs, "c")
			}
		}
		m.output("out")
		_, err := Import(&m.Model, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	m := newModel(13).input("x", 4, 3).node("Tanh", n("x"), n("y")).output("y")
	for want, o := range map[string]Options{
		"has no output \"z\"; it has y": {Output: "z"},
		"has no input \"h\"":            {Fixed: map[string]float32{"h": 0}},
		"depends on no input":           {Fixed: map[string]float32{"x": 0}},
	} {
		if _, err := Import(&m.Model, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The kind of an error survives: programs tell what is unsupported from what is broken.
func TestErrorKind(t *testing.T) {
	m := newModel(13).input("x", 4, 3).node("TopK", n("x"), n("y")).output("y")
	_, err := Import(&m.Model, Options{})
	var e *Error
	var u *lower.Unsupported
	if !errors.As(err, &e) || e.Op != "TopK" || e.Node != "n_TopK" || !errors.As(err, &u) {
		t.Errorf("got %#v", err)
	}
}
