package fromonnx

import (
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// written adds one step of a layer of one direction as single operators, from x and the states h and c to h1 and c1.
func (m *model) written(l *layerRef, x, h, c, h1, c1 string) *model {
	rows := int64(l.gates() * l.hid)
	m.floats(h1+"W", transposed(l.w, int(rows), l.in), int64(l.in), rows).floats(h1+"R", transposed(l.r, int(rows), l.hid), int64(l.hid), rows)
	m.floats(h1+"Wb", l.b[:rows], rows).floats(h1+"Rb", l.b[rows:2*rows], rows)
	at := func(s string) string { return h1 + s }
	m.node("MatMul", n(x, at("W")), n(at("xw"))).node("Add", n(at("xw"), at("Wb")), n(at("xb"))).
		node("MatMul", n(h, at("R")), n(at("hw"))).node("Add", n(at("Rb"), at("hw")), n(at("hb")))
	if l.op == "LSTM" {
		return m.node("Add", n(at("hb"), at("xb")), n(at("z"))).
			node("Split", n(at("z")), n(at("i"), at("o"), at("f"), at("g")), intAttr("axis", 1)).
			node("Sigmoid", n(at("i")), n(at("si"))).node("Sigmoid", n(at("o")), n(at("so"))).node("Sigmoid", n(at("f")), n(at("sf"))).
			node("Tanh", n(at("g")), n(at("tg"))).node("Mul", n(at("tg"), at("si")), n(at("ig"))).node("Mul", n(at("sf"), c), n(at("fc"))).
			node("Add", n(at("ig"), at("fc")), n(c1)).node("Tanh", n(c1), n(at("tc"))).node("Mul", n(at("tc"), at("so")), n(h1))
	}
	return m.node("Split", n(at("xb")), n(at("xz"), at("xr"), at("xn")), intAttr("axis", 1)).
		node("Split", n(at("hb")), n(at("hz"), at("hr"), at("hn")), intAttr("axis", 1)).
		node("Add", n(at("xz"), at("hz")), n(at("z"))).node("Sigmoid", n(at("z")), n(at("sz"))).
		node("Add", n(at("xr"), at("hr")), n(at("r"))).node("Sigmoid", n(at("r")), n(at("sr"))).
		node("Mul", n(at("sr"), at("hn")), n(at("rn"))).node("Add", n(at("xn"), at("rn")), n(at("n"))).node("Tanh", n(at("n")), n(at("tn"))).
		node("Sub", n(h, at("tn")), n(at("d"))).node("Mul", n(at("sz"), at("d")), n(at("zd"))).node("Add", n(at("zd"), at("tn")), n(h1))
}

func writtenLayer(op string, seed int64) (l *layerRef, x []float32, want []float64) {
	rnd := rand.New(rand.NewSource(seed))
	l = (&layerRef{op: op, dirs: []bool{false}, in: 3, hid: 5, after: true}).random(rnd, "b")
	rows, x := sample(rnd, 3)
	y, _ := l.run(rows)
	return l, x, slices.Concat(y...)
}

// kinds lists the operations of what a model becomes.
func kinds(t *testing.T, m *model, o Options) (k []format.Kind) {
	t.Helper()
	g, err := Import(&m.Model, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range g.Ops {
		k = append(k, op.Kind)
	}
	return k
}

// A cell written out, whose states are inputs and outputs, becomes the cell, with its states in the session.
func TestWrittenCells(t *testing.T) {
	for op, want := range map[string]format.Kind{"LSTM": format.LSTM, "GRU": format.GRU} {
		l, x, y := writtenLayer(op, 11)
		m := newModel(13).input("x", 1, 3).input("h_in", 1, 5)
		if op == "LSTM" {
			m.input("c_in", 1, 5)
		}
		m.written(l, "x", "h_in", "c_in", "h_out", "c_out").node("Identity", n("h_out"), n("y")).output("y").output("h_out")
		if op == "LSTM" {
			m.output("c_out")
		}
		wants(t, imported(t, m, x), y)
		if k := kinds(t, m, Options{}); !slices.Equal(k, []format.Kind{want}) {
			t.Errorf("%s: operations %v", op, k)
		}
	}
}

// What looks like a cell and is none is computed as it is written.
func TestAlmostCells(t *testing.T) {
	l, x, y := writtenLayer("LSTM", 12)
	m := newModel(13).input("x", 1, 3).input("h_in", 1, 5).input("c_in", 1, 5).written(l, "x", "h_in", "c_in", "h_out", "c_out").
		node("Identity", n("h_out"), n("y")).output("y").output("h_out").output("c_out")
	for _, node := range m.Graph.Nodes {
		if node.Op == "Sigmoid" && node.Inputs[0] == "h_outo" {
			node.Op = "Tanh"
		}
	}
	if k := kinds(t, m, Options{}); slices.Contains(k, format.LSTM) {
		t.Errorf("operations %v", k)
	}
	got := imported(t, m, x)
	if len(got) != len(y) || slices.Equal(got[:5], toFloat32(y[:5])) {
		t.Errorf("got %v", got)
	}
}

func toFloat32(v []float64) (out []float32) {
	for _, x := range v {
		out = append(out, float32(x))
	}
	return out
}

// body is a graph of one step of a layer; first are further inputs, and outputs before the states.
func body(l *layerRef, first, last []string) *onnx.Graph {
	b := &model{}
	b.Graph = &onnx.Graph{}
	for _, name := range first {
		b.input(name)
	}
	b.input("bh", 1, 5).input("bc", 1, 5)
	b.written(l, "bx", "bh", "bc", "bh1", "bc1").node("Identity", n("bh1"), n("by"))
	for _, name := range last {
		b.output(name)
	}
	return b.Graph
}

// A recurrence in Scan over time of any length is the cell; over a fixed length, it is written out.
func TestScan(t *testing.T) {
	l, x, y := writtenLayer("LSTM", 13)
	g := body(l, nil, []string{"bh1", "bc1", "by"})
	g.Inputs = append(g.Inputs, info("bx", []int64{1, 3}))
	for _, length := range []int64{-1, steps} {
		m := newModel(13).input("x", length, 1, 3).floats("zero", make([]float32, 5), 1, 5).
			node("Scan", n("zero", "zero", "x"), n("h", "c", "out"), intAttr("num_scan_inputs", 1), &onnx.Attr{Name: "body", G: g}).output("out")
		wants(t, imported(t, m, x), y)
		if k := kinds(t, m, Options{}); !slices.Contains(k, format.LSTM) || length < 0 && len(k) != 1 {
			t.Errorf("length %d: operations %v", length, k)
		} else if i := slices.Index(k, format.LSTM); slices.Contains(k[i+1:], format.LSTM) {
			t.Errorf("length %d: the steps of a fixed length are more than one operation: %v", length, k)
		}
		m.Graph.Outputs = nil
		wants(t, imported(t, m.output("h"), x), y[len(y)-5:])
	}
}

// Loop runs a known number of times, or until its condition is false.
func TestLoop(t *testing.T) {
	l, x, y := writtenLayer("GRU", 14)
	b := body(l, []string{"i", "go"}, []string{"more", "bh1", "bc", "by"})
	b.Nodes = append([]*onnx.Node{
		{Op: "Gather", Name: "row", Inputs: n("x", "i"), Outputs: n("bx")},
		{Op: "Less", Name: "less", Inputs: n("i", "last"), Outputs: n("more")},
	}, b.Nodes...)
	for _, c := range []struct{ count, last, runs int64 }{{steps, 100, steps}, {100, steps - 1, steps}, {3, 100, 3}} {
		m := newModel(13).input("x", steps, 1, 3).floats("zero", make([]float32, 5), 1, 5).scalar("count", c.count).scalar("last", c.last).
			node("Loop", n("count", "", "zero", "zero"), n("h", "c", "out"), &onnx.Attr{Name: "body", G: b}).output("h")
		wants(t, imported(t, m, x), y[(c.runs-1)*5:c.runs*5])
		m.Graph.Outputs = nil
		wants(t, imported(t, m.output("out"), x), y[:c.runs*5])
	}
}

// Only the branch that is taken is looked at, and it sees the names around it.
func TestIf(t *testing.T) {
	yes, no := &model{}, &model{}
	yes.Graph, no.Graph = &onnx.Graph{}, &onnx.Graph{}
	yes.node("Tanh", n("a"), n("r")).output("r")
	no.node("NonMaxSuppression", n("a"), n("r")).output("r")
	build := func(rate string) *model {
		m := newModel(13).input("x", -1, 1, 2).scalar("k", 16000).floats("one", []float32{1}, 1).node("Add", n("x", "one"), n("a"))
		m.Graph.Inputs = append(m.Graph.Inputs, onnx.ValueInfo{Name: "sr", Type: onnx.Int64, HasShape: true})
		return m.node("Equal", n(rate, "k"), n("is16")).
			node("If", n("is16"), n("out"), &onnx.Attr{Name: "then_branch", G: yes.Graph}, &onnx.Attr{Name: "else_branch", G: no.Graph}).output("out")
	}
	fixed := Options{Fixed: map[string]float32{"sr": 16000}}
	if k := kinds(t, build("sr"), fixed); !slices.Equal(k, []format.Kind{format.Affine, format.Tanh}) {
		t.Errorf("operations %v", k)
	}
	for want, o := range map[string]Options{"NonMaxSuppression": {Fixed: map[string]float32{"sr": 8000}}} {
		if _, err := Import(&build("sr").Model, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	m := build("sr")
	m.Graph.Nodes[1].Inputs = n("x", "k")
	if _, err := Import(&m.Model, fixed); err == nil {
		t.Error("a condition that depends on the input was taken")
	}
}

func TestCycle(t *testing.T) {
	m := newModel(13).input("x", -1, 2).node("Add", n("x", "b"), n("a")).node("Add", n("x", "a"), n("b")).output("b")
	if _, err := Import(&m.Model, Options{}); err == nil || !strings.Contains(err.Error(), "depends on its own output") {
		t.Errorf("got %v", err)
	}
}

// States are found by names, or by a shape that nothing else has.
func TestFindStates(t *testing.T) {
	for _, c := range []struct {
		in, out []string // name, or name:shape
		want    string
	}{
		{[]string{"x", "h_in", "c_in"}, []string{"y", "c_out", "h_out"}, "c_in=c_out,h_in=h_out"},
		{[]string{"input", "state", "sr:1 1"}, []string{"output", "stateN"}, ""}, // sr is not fixed
		{[]string{"input", "state"}, []string{"output", "stateN"}, "state=stateN"},
		{[]string{"input", "h0", "c0"}, []string{"output", "hn", "cn"}, "c0=cn,h0=hn"},
		{[]string{"input", "h", "c"}, []string{"output", "hn", "cn"}, "c=cn,h=hn"},
		{[]string{"prev_state", "mix"}, []string{"enh", "new_state"}, "prev_state=new_state"},
		{[]string{"a:1 4", "b:2 3"}, []string{"p:1 4", "q:2 3"}, "b=q"},
		{[]string{"a:1 4", "b:2 3", "c:2 3"}, []string{"p:1 4", "q:2 3", "r:2 3"}, ""},
		{[]string{"a", "b"}, []string{"y"}, ""},
	} {
		m := newModel(13)
		values := func(list []string) (v []onnx.ValueInfo) {
			for _, s := range list {
				name, shape, _ := strings.Cut(s, ":")
				dims := []int64{1, 5}
				if shape != "" {
					dims = []int64{int64(shape[0] - '0'), int64(shape[2] - '0')}
				}
				v = append(v, info(name, dims))
			}
			return v
		}
		m.Graph.Inputs, m.Graph.Outputs = values(c.in), values(c.out)
		p := &program{model: &m.Model}
		var got []string
		for in, out := range p.findStates() {
			got = append(got, in+"="+out)
		}
		slices.Sort(got)
		if s := strings.Join(got, ","); s != c.want {
			t.Errorf("%v, %v: got %q, want %q", c.in, c.out, s, c.want)
		}
	}
}

// An encoder's states start a decoder, whose first input is zero, for a batch of any size and sequences of any length.
func TestDecoder(t *testing.T) {
	rnd := rand.New(rand.NewSource(15))
	encoder := (&layerRef{op: "GRU", dirs: []bool{false}, in: 3, hid: 4, after: true}).random(rnd, "b")
	decoder := (&layerRef{op: "GRU", dirs: []bool{false}, in: 2, hid: 4, after: true}).random(rnd, "b")
	rows, x := sample(rnd, 3)
	_, h := encoder.run(rows)
	decoder.h0 = toFloat32(h)
	want, _ := decoder.run([][]float64{{0, 0}})
	for _, length := range []int64{-1, steps} {
		m := newModel(14).input("x", length, -2, 3).layer(encoder, "x", "y", "h").layer(decoder, "zeros", "out", "")
		m.Graph.Nodes[1].Inputs[5] = "h"
		m.ints("at", 1).node("Shape", n("x"), n("d")).node("Gather", n("d", "at"), n("N")).ints("one", 1).ints("two", 2).
			node("Concat", n("one", "N", "two"), n("s"), intAttr("axis", 0)).node("ConstantOfShape", n("s"), n("zeros"))
		wants(t, imported(t, m.output("out"), x), want[0])
	}
}

// Zeros that are made for a batch of any size start a layer whose steps lie in one call.
func TestOpenBatchInOneCall(t *testing.T) {
	rnd := rand.New(rand.NewSource(16))
	l := (&layerRef{op: "LSTM", dirs: []bool{false}, in: 3, hid: 4}).random(rnd, "b")
	rows, x := sample(rnd, 3)
	for _, row := range rows {
		for i := range row {
			row[i] *= 2
		}
	}
	_, h := l.run(rows)
	k := make([]float32, 27) // twice the middle of three steps
	k[1], k[13], k[25] = 2, 2, 2
	m := newModel(14).input("x", -1, 3, steps).floats("k", k, 3, 3, 3).node("Conv", n("x", "k"), n("c"), intsAttr("pads", 1, 1)).
		node("Transpose", n("c"), n("s"), intsAttr("perm", 2, 0, 1)).layer(l, "s", "", "h")
	m.Graph.Nodes[2].Inputs[5] = "zeros"
	m.ints("at", 0).node("Shape", n("x"), n("d")).node("Gather", n("d", "at"), n("N")).ints("one", 1).ints("four", 4).
		node("Concat", n("one", "N", "four"), n("z"), intAttr("axis", 0)).node("ConstantOfShape", n("z"), n("zeros"))
	flat := make([]float32, len(x)) // [3, steps]
	for i, v := range x {
		flat[i%3*steps+i/3] = v
	}
	wants(t, imported(t, m.output("h"), flat), h)
}

// A Scan that goes backwards, over a fixed length, and puts its outputs back in the order of the input.
func TestScanBackwards(t *testing.T) {
	rnd := rand.New(rand.NewSource(17))
	l := (&layerRef{op: "LSTM", dirs: []bool{false}, in: 3, hid: 5}).random(rnd, "b")
	rows, x := sample(rnd, 3)
	g := body(l, nil, []string{"bh1", "bc1", "by"})
	g.Inputs = append(g.Inputs, info("bx", []int64{1, 3}))
	m := newModel(13).input("x", steps, 1, 3).floats("zero", make([]float32, 5), 1, 5).
		node("Scan", n("zero", "zero", "x"), n("h", "c", "out"), intAttr("num_scan_inputs", 1), intsAttr("scan_input_directions", 1),
			intsAttr("scan_output_directions", 1), &onnx.Attr{Name: "body", G: g}).output("out")
	l.dirs = []bool{true}
	y, last := l.run(rows)
	wants(t, imported(t, m, x), slices.Concat(y...))
	m.Graph.Outputs = nil
	wants(t, imported(t, m.output("h"), x), last)
}

// Layers of the same weights that go on from each other's state, of several steps each, are one.
func TestLayersInParts(t *testing.T) {
	rnd := rand.New(rand.NewSource(18))
	l := (&layerRef{op: "GRU", dirs: []bool{false}, in: 3, hid: 4, after: true}).random(rnd, "b")
	rows, x := sample(rnd, 3)
	y, _ := l.run(rows)
	m := newModel(14).input("x", steps, 1, 3).ints("0", 0).ints("3", 3).ints("end", steps).
		node("Slice", n("x", "0", "3"), n("a")).node("Slice", n("x", "3", "end"), n("b")).
		layer(l, "a", "ya", "ha").layer(l, "b", "yb", "hb")
	m.Graph.Nodes[3].Inputs[5] = "ha"
	m.node("Concat", n("ya", "yb"), n("out"), intAttr("axis", 0)).output("out")
	wants(t, imported(t, m, x), slices.Concat(y...))
	if k := kinds(t, m, Options{}); !slices.Equal(k, []format.Kind{format.GRU}) {
		t.Errorf("operations %v", k)
	}
}
