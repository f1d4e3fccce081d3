package fromonnx

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

// damaged are models with most of what the importer knows, small.
func damaged() [][]byte {
	rnd := rand.New(rand.NewSource(8))
	l := (&layerRef{op: "LSTM", dirs: []bool{false, true}, in: 2, hid: 2}).random(rnd, "bphc")
	g := (&layerRef{op: "GRU", dirs: []bool{true}, in: 4, hid: 2}).random(rnd, "bh")
	a := newModel(13).input("x", -1, -2, 2).layer(l, "x", "y", "h").
		node("Transpose", n("y"), n("yt"), intsAttr("perm", 0, 2, 1, 3)).ints("s", 0, 0, -1).node("Reshape", n("yt", "s"), n("yr")).
		layer(g, "yr", "z", "zh").ints("one", 1).node("Squeeze", n("z", "one"), n("zs")).scalar("at", -1).
		node("Gather", n("zs", "at"), n("last")).floats("w", []float32{1, 2, 3, 4, 5, 6}, 2, 3).floats("b", []float32{1, 2, 3}, 3).
		node("Gemm", n("last", "w", "b"), n("o")).node("Softmax", n("o"), n("out")).output("out")
	b := newModel(11).input("x", 1, 5, 2).node("Shape", n("x"), n("d")).scalar("i", 1).node("Gather", n("d", "i"), n("T")).
		ints("ax", 0).node("Unsqueeze", n("T"), n("T1"), intsAttr("axes", 0)).ints("one", 1).
		node("Concat", n("one", "T1", "one"), n("ks"), intAttr("axis", 0)).node("ConstantOfShape", n("ks"), n("k")).
		node("Add", n("x", "k"), n("xa")).node("ReduceMax", n("xa"), n("m"), intsAttr("axes", 1)).
		node("Split", n("m"), n("p", "q"), intAttr("axis", 2)).node("Concat", n("q", "p"), n("c"), intAttr("axis", 2)).
		ints("from", 1).ints("to", 9).node("Slice", n("c", "from", "to", "one"), n("e")).node("Tanh", n("c"), n("out")).output("out")
	all := [][]byte{onnxtest.Encode(&a.Model), onnxtest.Encode(&b.Model)}
	for _, m := range operatorModels() {
		all = append(all, onnxtest.Encode(&m.Model))
	}
	return all
}

// operatorModels have the operators around the recurrent ones, in chains.
func operatorModels() []*model {
	rnd := rand.New(rand.NewSource(10))
	image := newModel(18).input("x", 1, 2, 4, 4).constant("w", random(rnd, 4, 1, 3, 2)).constant("v", random(rnd, 4, 1, 2, 2)).
		node("Conv", n("x", "w"), n("a"), intAttr("group", 2), strAttr("auto_pad", "SAME_UPPER"), intsAttr("strides", 2, 1)).
		node("ConvTranspose", n("a", "v"), n("b"), intAttr("group", 4), intsAttr("strides", 2, 2), intsAttr("output_padding", 1, 0)).
		node("MaxPool", n("b"), n("c"), intsAttr("kernel_shape", 2, 2), intAttr("ceil_mode", 1), intsAttr("dilations", 2, 1)).
		node("AveragePool", n("c"), n("d"), intsAttr("kernel_shape", 2, 2), intsAttr("pads", 1, 0, 1, 0), intAttr("count_include_pad", 1)).
		ints("pads", 1, 2).ints("axis", 3).node("Pad", n("d", "pads", "", "axis"), n("e"), strAttr("mode", "reflect")).
		node("DepthToSpace", n("e"), n("f"), intAttr("blocksize", 2)).node("GlobalAveragePool", n("f"), n("g")).output("g")
	norms := newModel(21).input("x", 2, 4, 3).constant("s", random(rnd, 3)).constant("c", random(rnd, 4)).
		node("LayerNormalization", n("x", "s", "s"), n("a", "m", "i")).node("Mul", n("a", "i"), n("b")).
		node("InstanceNormalization", n("b", "c", "c"), n("d")).node("GroupNormalization", n("d", "c", "c"), n("e"), intAttr("num_groups", 2)).
		node("BatchNormalization", n("e", "c", "c", "c", "c"), n("f"), intAttr("training_mode", 1)).
		node("LpNormalization", n("f"), n("g")).node("ReduceLogSumExp", n("g"), n("h")).node("ReduceL2", n("g"), n("j")).
		node("LogSoftmax", n("g"), n("k"), intAttr("axis", 1)).node("Sub", n("k", "h"), n("l")).node("Div", n("l", "j"), n("out")).output("out")
	products := newModel(13).input("x", 2, 3, 4).constant("w", random(rnd, 4, 3)).constant("u", random(rnd, 3, 3)).
		node("MatMul", n("x", "w"), n("a")).node("MatMul", n("u", "a"), n("b")).node("MatMul", n("a", "b"), n("c")).
		node("Einsum", n("c", "x"), n("d"), strAttr("equation", "bij,bik->bkj")).ints("flat", 6, 4).node("Reshape", n("d", "flat"), n("e")).
		node("Gemm", n("e", "e"), n("f"), intAttr("transA", 1)).ints("one", 1).node("CumSum", n("f", "one"), n("g")).
		node("ArgMax", n("g"), n("h"), intAttr("axis", 1)).ints("depth", 4).floats("hot", []float32{0, 1}, 2).
		node("OneHot", n("h", "depth", "hot"), n("i")).node("Where", n("i", "g", "h"), n("out")).output("out")
	q, _ := integers(rnd, -8, 7, 4, 4)
	quantised := newModel(21).input("x", 3, 4).typed("w", onnx.Int4, packed(q, 4), 4, 4).floats("s", []float32{1, 2, 3, 4}, 4).
		typed("z", onnx.Int8, []int64{1, 2, 3, 4}, 4).floats("blocks", []float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4).typed("v", onnx.Int8, q, 4, 4).
		node("QuantizeLinear", n("x", "s", "z"), n("a")).node("DequantizeLinear", n("a", "s", "z"), n("b")).
		node("DequantizeLinear", n("w", "blocks"), n("c"), intAttr("axis", 0), intAttr("block_size", 2)).node("MatMul", n("b", "c"), n("d")).
		node("DynamicQuantizeLinear", n("d"), n("e", "es", "ez")).node("MatMulInteger", n("e", "v", "ez", "z"), n("f")).
		node("Cast", n("f"), n("g"), intAttr("to", 1)).node("Mul", n("g", "es"), n("out")).output("out")
	places := newModel(16).input("x", 2, 3, 4).typed("e", onnx.Int64, []int64{0, -1}, 2, 1, 1).typed("r", onnx.Int64, []int64{1, 2, 0, 0}, 2, 2).
		ints("times", 1, 2, 1).constant("up", random(rnd, 2, 4)).scalar("k", 1).node("GatherElements", n("x", "e"), n("a")).
		node("GatherND", n("x", "r"), n("b")).node("ScatterND", n("x", "r", "up"), n("c")).node("Tile", n("c", "times"), n("d")).
		node("Trilu", n("d", "k"), n("f")).node("Concat", n("f", "x"), n("g"), intAttr("axis", 1)).node("Add", n("a", "b"), n("h")).
		node("ReduceSum", n("g"), n("i"), intAttr("keepdims", 0)).node("Add", n("h", "i"), n("j")).node("Clip", n("j", "k", "k"), n("l")).
		node("Mod", n("l", "k"), n("m"), intAttr("fmod", 1)).node("Cast", n("m"), n("o"), intAttr("to", 7)).node("Div", n("o", "k"), n("out")).output("out")
	known := newModel(18).input("x", 2, 3).node("Size", n("x"), n("size")).scalar("zero", 0).scalar("two", 2).
		node("Range", n("zero", "size", "two"), n("r")).node("Pow", n("r", "two"), n("p")).node("ReduceMax", n("p"), n("q"), intAttr("keepdims", 0)).
		node("NonZero", n("p"), n("nz")).node("ReduceProd", n("nz"), n("np"), intAttr("keepdims", 0)).
		node("Add", n("q", "np"), n("t")).node("CastLike", n("t", "x"), n("u")).node("Gelu", n("x"), n("y")).node("Mish", n("y"), n("z")).
		node("PRelu", n("z", "u"), n("a")).node("Max", n("a", "x", "u"), n("out")).output("out")
	return []*model{image, norms, products, quantised, places, known}
}

// load reads and imports, however damaged the bytes are.
func load(b []byte) error {
	m, err := onnx.Read(b)
	if err == nil {
		_, err = Import(m, Options{})
	}
	return err
}

// took is how long f takes: the shortest of a few if that is long, as other work may be done beside it.
func took(f func()) time.Duration {
	d := time.Hour
	for range 5 {
		start := time.Now()
		f()
		if d = min(d, time.Since(start)); d < time.Second {
			break
		}
	}
	return d
}

func TestDamaged(t *testing.T) {
	rnd := rand.New(rand.NewSource(9))
	for _, b := range damaged() {
		if err := load(b); err != nil {
			t.Fatal(err)
		}
		for k := range b {
			_ = load(b[:k])
		}
		for range 2500 {
			c := bytes.Clone(b)
			c[rnd.Intn(len(c))] = byte(rnd.Intn(256))
			if d := took(func() { _ = load(c) }); d > time.Second {
				t.Fatalf("took %v: %x", d, c)
			}
		}
	}
}

// Models that would grow without bound while they are traced.
func TestBudget(t *testing.T) {
	chain := func(turns int, op func(m *model, from, to string)) *model {
		m := newModel(21).input("x", -1, 1<<12)
		last := "x"
		for i := range turns {
			next := fmt.Sprint("t", i)
			op(m, last, next)
			last = next
		}
		return m.output(last)
	}
	for name, m := range map[string]*model{
		"doubled":   chain(5000, func(m *model, from, to string) { m.node("Concat", n(from, from), n(to), intAttr("axis", 1)) }),
		"computed":  chain(20000, func(m *model, from, to string) { m.node("Tanh", n(from), n(to)) }),
		"quantised": chain(5000, func(m *model, from, to string) { m.node("DynamicQuantizeLinear", n(from), n(to, "", "")) }),
		"ranges": chain(20000, func(m *model, from, to string) {
			m.scalar(to+"n", 1<<16).scalar(to+"o", 1).node("Range", n(to+"o", to+"n", to+"o"), n(to+"r")).node("Size", n(to+"r"), n(to+"s")).
				node("CastLike", n(to+"s", "x"), n(to+"f")).node("Add", n(from, to+"f"), n(to))
		}),
		"constant products": chain(5000, func(m *model, from, to string) {
			if from == "x" {
				m.ints("shape", 1<<10, 1<<10).node("ConstantOfShape", n("shape"), n("square"))
			}
			m.node("MatMul", n("square", "square"), n(to+"p")).node("ReduceSum", n(to+"p"), n(to+"s"), intAttr("keepdims", 0)).node("Add", n(from, to+"s"), n(to))
		}),
		"triangles": chain(5000, func(m *model, from, to string) {
			if from == "x" {
				m.ints("shape", 1<<16, 1<<16).node("ConstantOfShape", n("shape"), n("square"))
			}
			m.node("Trilu", n("square"), n(to+"p")).node("ReduceSum", n(to+"p"), n(to+"s"), intAttr("keepdims", 0)).node("Add", n(from, to+"s"), n(to))
		}),
		"axes": chain(5000, func(m *model, from, to string) {
			if from == "x" {
				m.ints("shape", slices.Repeat([]int64{1}, 1<<16)...).floats("k", []float32{1})
			}
			m.node("Reshape", n("k", "shape"), n(to+"p")).node("ReduceSum", n(to+"p"), n(to+"s"), intAttr("keepdims", 0)).node("Add", n(from, to+"s"), n(to))
		}),
		"spread": chain(1, func(m *model, _, to string) {
			m.ints("image", 1, 1, 1<<12).node("Reshape", n("x", "image"), n("i")).floats("w", []float32{1}, 1, 1, 1).
				node("ConvTranspose", n("i", "w"), n(to), intsAttr("strides", 1<<20))
		}),
	} {
		d := took(func() {
			if _, err := Import(&m.Model, Options{}); err == nil {
				t.Errorf("%s: no error", name)
			}
		})
		if d > time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func FuzzImport(f *testing.F) {
	for _, b := range damaged() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { _ = load(b) })
}
