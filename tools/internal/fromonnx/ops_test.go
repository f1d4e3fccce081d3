package fromonnx

import (
	"math"
	"math/rand"
	"slices"
	"testing"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

// array is a tensor in float64, for references that are written as the specification writes them.
type array struct {
	dims []int64
	v    []float64
}

// made is an array of which every element is f of its position.
func made(f func(i []int) float64, dims ...int64) array {
	a := array{dims: dims}
	i := make([]int, len(dims))
	for {
		a.v = append(a.v, f(i))
		ax := len(dims) - 1
		for ; ax >= 0; ax-- {
			if i[ax]++; int64(i[ax]) < dims[ax] {
				break
			}
			i[ax] = 0
		}
		if ax < 0 {
			return a
		}
	}
}

// at is an element, or 0 beyond the edges.
func (a array) at(i ...int) float64 {
	k := 0
	for ax, p := range i {
		if p < 0 || int64(p) >= a.dims[ax] {
			return 0
		}
		k = k*int(a.dims[ax]) + p
	}
	return a.v[k]
}

func (a array) each(f func(v float64) float64) array {
	out := array{a.dims, nil}
	for _, v := range a.v {
		out.v = append(out.v, f(v))
	}
	return out
}

// random is an array of float32 values.
func random(rnd *rand.Rand, dims ...int64) array {
	return made(func([]int) float64 { return float64(float32(rnd.NormFloat64())) }, dims...)
}

func (a array) floats() []float32 {
	var out []float32
	for _, v := range a.v {
		out = append(out, float32(v))
	}
	return out
}

// constant adds an array to a model as an initializer.
func (m *model) constant(name string, a array) *model { return m.floats(name, a.floats(), a.dims...) }

func (m *model) typed(name string, typ onnx.Type, v []int64, dims ...int64) *model {
	m.Graph.Initializers = append(m.Graph.Initializers, &onnx.Tensor{Name: name, Type: typ, Dims: dims, I: v})
	return m
}

func floatAttr(name string, v float32) *onnx.Attr { return &onnx.Attr{Name: name, F: v} }

// atOnce converts a model whose input is x, seen whole in each call, and runs it.
func atOnce(t *testing.T, m *model, x array) ([]float32, []int64) {
	t.Helper()
	read, err := onnx.Read(onnxtest.Encode(&m.Model))
	if err != nil {
		t.Fatal(err)
	}
	g, l, err := ImportLayout(read, Options{Roles: make([]lower.Role, len(x.dims))})
	if err != nil {
		t.Fatal(err)
	}
	var dims []int64
	for _, axis := range l.Output {
		n := int64(1)
		for _, s := range axis {
			k, _ := s.Size.Const()
			n *= k
		}
		dims = append(dims, n)
	}
	y, _ := runGraph(t, g, x.floats())
	return y, dims
}

// opCase is one node, or a few, from x to out.
type opCase struct {
	opset int64
	x     array
	build func(m *model)
	want  array
}

func (c opCase) run(t *testing.T) {
	t.Helper()
	m := newModel(c.opset).input("x", c.x.dims...)
	c.build(m)
	got, dims := atOnce(t, m.output("out"), c.x)
	if !slices.Equal(dims, c.want.dims) {
		t.Errorf("shape %v, want %v", dims, c.want.dims)
	}
	wants(t, got, c.want.v)
}

func runOps(t *testing.T, cases map[string]opCase) {
	for name, c := range cases {
		t.Run(name, c.run)
	}
}

// single is one node with x as its only input.
func single(op string, attrs ...*onnx.Attr) func(m *model) {
	return func(m *model) { m.node(op, n("x"), n("out"), attrs...) }
}

func TestFunctions(t *testing.T) {
	rnd := rand.New(rand.NewSource(20))
	x := made(func([]int) float64 { return float64(float32(3 * rnd.NormFloat64())) }, 2, 5, 3)
	positive := x.each(func(v float64) float64 { return float64(float32(math.Abs(v) + 0.1)) })
	type function struct {
		x    array
		f    func(v float64) float64
		attr []*onnx.Attr
	}
	above := func(f func(v float64) float64) func(v float64) float64 {
		return func(v float64) float64 {
			if v > 0 {
				return v
			}
			return f(v)
		}
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for name, c := range map[string]function{
		"Sigmoid": {x, sig, nil}, "Tanh": {x, math.Tanh, nil}, "Relu": {x, func(v float64) float64 { return max(v, 0) }, nil},
		"Exp": {x, math.Exp, nil}, "Log": {positive, math.Log, nil}, "Sqrt": {positive, math.Sqrt, nil}, "Abs": {x, math.Abs, nil},
		"Neg": {x, func(v float64) float64 { return -v }, nil}, "Floor": {x, math.Floor, nil}, "Ceil": {x, math.Ceil, nil},
		"Round": {x, math.RoundToEven, nil}, "Erf": {x, math.Erf, nil}, "Reciprocal": {positive, func(v float64) float64 { return 1 / v }, nil},
		"Sign":      {x, func(v float64) float64 { return truth(v > 0) - truth(v < 0) }, nil},
		"Softplus":  {x, func(v float64) float64 { return math.Log1p(math.Exp(v)) }, nil},
		"Softsign":  {x, func(v float64) float64 { return v / (1 + math.Abs(v)) }, nil},
		"LeakyRelu": {x, above(func(v float64) float64 { return 0.01 * v }), nil},
		"Elu":       {x, above(func(v float64) float64 { return 0.5 * math.Expm1(v) }), []*onnx.Attr{floatAttr("alpha", 0.5)}},
		"Selu": {x, func(v float64) float64 {
			return 1.0507009873554805 * above(func(v float64) float64 { return 1.6732632423543772 * math.Expm1(v) })(v)
		}, nil},
		"Celu":            {x, above(func(v float64) float64 { return 2 * math.Expm1(v/2) }), []*onnx.Attr{floatAttr("alpha", 2)}},
		"ThresholdedRelu": {x, func(v float64) float64 { return truth(v > 1) * v }, nil},
		"HardSigmoid":     {x, func(v float64) float64 { return min(max(0.25*v+0.5, 0), 1) }, []*onnx.Attr{floatAttr("alpha", 0.25)}},
		"HardSwish":       {x, func(v float64) float64 { return v * min(max(v/6+0.5, 0), 1) }, nil},
		"Gelu":            {x, func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) }, nil},
		"Mish":            {x, func(v float64) float64 { return v * math.Tanh(math.Log1p(math.Exp(v))) }, nil},
		"Swish":           {x, func(v float64) float64 { return v * sig(2*v) }, []*onnx.Attr{floatAttr("alpha", 2)}},
		"Shrink": {x, func(v float64) float64 { return truth(v > 1)*(v-0.5) + truth(v < -1)*(v+0.5) },
			[]*onnx.Attr{floatAttr("lambd", 1), floatAttr("bias", 0.5)}},
		"Clip":     {x, func(v float64) float64 { return min(max(v, -1), 2) }, []*onnx.Attr{floatAttr("min", -1), floatAttr("max", 2)}},
		"Identity": {x, func(v float64) float64 { return v }, nil},
	} {
		opset := int64(20)
		if name == "Clip" {
			opset = 9
		}
		t.Run(name, opCase{opset, c.x, single(name, c.attr...), c.x.each(c.f)}.run)
	}
	t.Run("Gelu by tanh", opCase{20, x, single("Gelu", strAttr("approximate", "tanh")), x.each(func(v float64) float64 {
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	})}.run)
}

// Operators of two or more inputs, of which some or none are constants.
func TestCombinations(t *testing.T) {
	rnd := rand.New(rand.NewSource(21))
	x, row, col, one := random(rnd, 2, 3, 4), random(rnd, 4), random(rnd, 3, 1), random(rnd)
	negative := func(v float64) float64 { return min(v, 0) }
	with := func(op string, attrs ...*onnx.Attr) func(m *model) {
		return func(m *model) { m.node(op, n("x", "c"), n("out"), attrs...) }
	}
	pairs := func(c array, f func(v, c float64) float64) array {
		return made(func(i []int) float64 {
			switch len(c.dims) {
			case 0:
				return f(x.at(i...), c.v[0])
			case 1:
				return f(x.at(i...), c.at(i[2]))
			}
			return f(x.at(i...), c.at(i[1], i[2]%int(c.dims[1])))
		}, 2, 3, 4)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for name, c := range map[string]struct {
		op    string
		c     array
		f     func(v, c float64) float64
		attrs []*onnx.Attr
	}{
		"add":             {"Add", row, func(v, c float64) float64 { return v + c }, nil},
		"sub a column":    {"Sub", col, func(v, c float64) float64 { return v - c }, nil},
		"mul":             {"Mul", one, func(v, c float64) float64 { return v * c }, nil},
		"div a column":    {"Div", col, func(v, c float64) float64 { return v / c }, nil},
		"min":             {"Min", row, math.Min, nil},
		"max":             {"Max", col, math.Max, nil},
		"less":            {"Less", row, func(v, c float64) float64 { return truth(v < c) }, nil},
		"greater":         {"Greater", row, func(v, c float64) float64 { return truth(v > c) }, nil},
		"less or equal":   {"LessOrEqual", row, func(v, c float64) float64 { return truth(v <= c) }, nil},
		"greater, equal":  {"GreaterOrEqual", one, func(v, c float64) float64 { return truth(v >= c) }, nil},
		"mean":            {"Mean", row, func(v, c float64) float64 { return (v + c) / 2 }, nil},
		"sum":             {"Sum", row, func(v, c float64) float64 { return v + c }, nil},
		"prelu":           {"PRelu", col, func(v, c float64) float64 { return max(v, 0) + c*negative(v) }, nil},
		"prelu of one":    {"PRelu", one, func(v, c float64) float64 { return max(v, 0) + c*negative(v) }, nil},
		"mod with fmod":   {"Mod", col, math.Mod, []*onnx.Attr{intAttr("fmod", 1)}},
		"pow, negative 2": {"Pow", array{nil, []float64{2}}, math.Pow, nil},
		"pow, negative 3": {"Pow", array{nil, []float64{3}}, math.Pow, nil},
	} {
		t.Run(name, opCase{17, x, func(m *model) { m.constant("c", c.c); with(c.op, c.attrs...)(m) }, pairs(c.c, c.f)}.run)
	}
	square := x.each(func(v float64) float64 { return v * v })
	runOps(t, map[string]opCase{
		"computed with computed": {17, x, func(m *model) { m.node("Tanh", n("x"), n("y")).node("Mul", n("x", "y"), n("out")) },
			x.each(func(v float64) float64 { return v * math.Tanh(v) })},
		"constant first": {17, x, func(m *model) { m.constant("c", row).node("Sub", n("c", "x"), n("out")) },
			pairs(row, func(v, c float64) float64 { return c - v })},
		"constant by computed": {17, x, func(m *model) {
			m.constant("c", row).node("Mul", n("x", "x"), n("y")).node("Div", n("c", "y"), n("out"))
		}, made(func(i []int) float64 { return row.at(i[2]) / square.at(i...) }, 2, 3, 4)},
		"power of a constant": {17, x, func(m *model) { m.floats("c", []float32{1.5}).node("Pow", n("c", "x"), n("out")) },
			x.each(func(v float64) float64 { return math.Pow(1.5, v) })},
		"where": {17, x, func(m *model) {
			m.constant("c", row).floats("zero", []float32{0}).node("Less", n("x", "zero"), n("b")).node("Where", n("b", "c", "x"), n("out"))
		}, pairs(row, func(v, c float64) float64 { return truth(v < 0)*c + max(v, 0) })},
		"where by a mask": {17, x, func(m *model) {
			m.typed("mask", onnx.Bool, []int64{1, 0, 0, 1}, 4).constant("c", col).node("Where", n("mask", "x", "c"), n("out"))
		}, made(func(i []int) float64 {
			if i[2] == 0 || i[2] == 3 {
				return x.at(i...)
			}
			return col.at(i[1], 0)
		}, 2, 3, 4)},
		"logic": {17, x, func(m *model) {
			m.floats("zero", []float32{0}).floats("uno", []float32{1}).node("Less", n("zero", "x"), n("a")).node("Less", n("x", "uno"), n("b")).
				node("And", n("a", "b"), n("both")).node("Xor", n("a", "b"), n("either")).node("Or", n("both", "either"), n("any")).
				node("Not", n("both"), n("no")).node("And", n("any", "no"), n("z")).node("Cast", n("z"), n("out"), intAttr("to", 1))
		}, x.each(func(v float64) float64 { return truth((v > 0) != (v < 1)) })},
		"integers": {17, x, func(m *model) {
			m.ints("two", 2).floats("ten", []float32{10}).node("Mul", n("x", "ten"), n("a")).node("Cast", n("a"), n("b"), intAttr("to", 7)).
				node("Div", n("b", "two"), n("out"))
		}, x.each(func(v float64) float64 { return math.Trunc(math.Trunc(float64(float32(v)*10)) / 2) })},
		"as a boolean": {17, x, func(m *model) {
			m.node("Relu", n("x"), n("a")).node("Cast", n("a"), n("b"), intAttr("to", 9)).node("CastLike", n("b", "x"), n("out"))
		}, x.each(func(v float64) float64 { return truth(v > 0) })},
		"clip by inputs": {13, x, func(m *model) { m.floats("hi", []float32{0.5}).node("Clip", n("x", "", "hi"), n("out")) },
			x.each(func(v float64) float64 { return min(v, 0.5) })},
		"clip by a computed limit": {13, x, func(m *model) {
			m.node("ReduceMean", n("x"), n("mean"), intAttr("keepdims", 0)).node("Clip", n("x", "mean"), n("out"))
		}, x.each(func(v float64) float64 {
			s := 0.0
			for _, u := range x.v {
				s += u / 24
			}
			return max(v, s)
		})},
		"prelu of opset 6": {6, x, func(m *model) {
			m.constant("c", random(rand.New(rand.NewSource(1)), 3)).node("PRelu", n("x", "c"), n("out"))
		},
			made(func(i []int) float64 {
				return max(x.at(i...), 0) + random(rand.New(rand.NewSource(1)), 3).at(i[1])*negative(x.at(i...))
			}, 2, 3, 4)},
	})
}

func TestReductions(t *testing.T) {
	x := random(rand.New(rand.NewSource(22)), 2, 3, 4, 2)
	identity := func(v float64) float64 { return v }
	square := func(v float64) float64 { return v * v }
	add := func(a, b float64) float64 { return a + b }
	mul := func(a, b float64) float64 { return a * b }
	for op, c := range map[string]struct {
		before, after func(v float64) float64
		start         float64
		fold          func(a, b float64) float64
	}{
		"ReduceSum": {identity, identity, 0, add}, "ReduceMax": {identity, identity, math.Inf(-1), math.Max},
		"ReduceMin": {identity, identity, math.Inf(1), math.Min}, "ReduceProd": {identity, identity, 1, mul},
		"ReduceMean": {identity, func(v float64) float64 { return v / 8 }, 0, add}, "ReduceL1": {math.Abs, identity, 0, add},
		"ReduceL2": {square, math.Sqrt, 0, add}, "ReduceSumSquare": {square, identity, 0, add}, "ReduceLogSumExp": {math.Exp, math.Log, 0, add},
	} {
		want := made(func(i []int) float64 { // over axes 0 and 2
			s := c.start
			for a := range 2 {
				for b := range 4 {
					s = c.fold(s, c.before(x.at(a, i[0], b, i[1])))
				}
			}
			return c.after(s)
		}, 3, 2)
		kept := array{[]int64{1, 3, 1, 2}, want.v}
		t.Run(op, opCase{18, x, func(m *model) { m.ints("axes", 0, -2).node(op, n("x", "axes"), n("out")) }, kept}.run)
		if op != "ReduceSum" {
			t.Run(op+" before", opCase{11, x, single(op, intsAttr("axes", 2, 0), intAttr("keepdims", 0)), want}.run)
		}
	}
	runOps(t, map[string]opCase{
		"ReduceLogSum": {18, x.each(math.Abs), func(m *model) { m.ints("axes", 3).node("ReduceLogSum", n("x", "axes"), n("out")) },
			made(func(i []int) float64 {
				return math.Log(math.Abs(x.at(i[0], i[1], i[2], 0)) + math.Abs(x.at(i[0], i[1], i[2], 1)))
			}, 2, 3, 4, 1)},
		"no axes":  {18, x, single("ReduceSumSquare", intAttr("noop_with_empty_axes", 1)), x.each(square)},
		"all axes": {18, x, single("ReduceMax", intAttr("keepdims", 0)), array{nil, []float64{slices.Max(x.v)}}},
		"ArgMax": {13, x, single("ArgMax", intAttr("axis", 2)), made(func(i []int) float64 {
			best := 0
			for k := range 4 {
				if x.at(i[0], i[1], k, i[3]) > x.at(i[0], i[1], best, i[3]) {
					best = k
				}
			}
			return float64(best)
		}, 2, 3, 1, 2)},
		"CumSum": {14, x, func(m *model) { m.scalar("axis", 1).node("CumSum", n("x", "axis"), n("out"), intAttr("exclusive", 1)) },
			made(func(i []int) float64 {
				s := 0.0
				for k := range i[1] {
					s += x.at(i[0], k, i[2], i[3])
				}
				return s
			}, 2, 3, 4, 2)},
	})
}

// soft is the softmax of x over n neighbours.
func soft(x array, n int) array {
	out := array{dims: x.dims}
	for c := range slices.Chunk(x.v, n) {
		s := 0.0
		for _, v := range c {
			s += math.Exp(v)
		}
		for _, v := range c {
			out.v = append(out.v, math.Exp(v)/s)
		}
	}
	return out
}

// normal is x less its mean, by √(variance + eps), over n neighbours.
func normal(x array, n int, eps float64) (y array, mean, inverse []float64) {
	y.dims = x.dims
	for c := range slices.Chunk(x.v, n) {
		mu, sq := 0.0, 0.0
		for _, v := range c {
			mu += v / float64(n)
		}
		for _, v := range c {
			sq += (v - mu) * (v - mu) / float64(n)
		}
		mean, inverse = append(mean, mu), append(inverse, 1/math.Sqrt(sq+eps))
		for _, v := range c {
			y.v = append(y.v, (v-mu)/math.Sqrt(sq+eps))
		}
	}
	return y, mean, inverse
}

func TestNormalisations(t *testing.T) {
	rnd := rand.New(rand.NewSource(23))
	x, scale, bias := random(rnd, 2, 4, 6), random(rnd, 6), random(rnd, 6)
	perChannel, shift := random(rnd, 4), random(rnd, 4)
	byLast, mean, inverse := normal(x, 6, 1e-3)
	byGroup, _, _ := normal(x, 12, 1e-5)
	eps := floatAttr("epsilon", 1e-3)
	layer := func(m *model) {
		m.constant("s", scale).constant("b", bias).node("LayerNormalization", n("x", "s", "b"), n("y", "m", "i"), eps)
	}
	moments := func(v []float64) array { return array{[]int64{2, 4, 1}, v} }
	batch := func(m *model, op string, outs []string, attrs ...*onnx.Attr) {
		m.constant("s", perChannel).constant("b", shift).floats("mu", []float32{1, 2, 3, 4}, 4).floats("var", []float32{4, 1, 0.25, 2}, 4).
			node(op, n("x", "s", "b", "mu", "var"), outs, attrs...)
	}
	mu, va := []float64{1, 2, 3, 4}, []float64{4, 1, 0.25, 2}
	channels := func(f func(c int, v []float64) float64) []float64 {
		out := make([]float64, 4)
		for c := range out {
			out[c] = f(c, append(slices.Clone(x.v[c*6:c*6+6]), x.v[24+c*6:24+c*6+6]...))
		}
		return out
	}
	average := func(_ int, v []float64) float64 {
		s := 0.0
		for _, u := range v {
			s += u / 12
		}
		return s
	}
	seen := channels(average)
	spread := channels(func(c int, v []float64) float64 {
		s := 0.0
		for _, u := range v {
			s += (u - seen[c]) * (u - seen[c]) / 12
		}
		return s
	})
	runOps(t, map[string]opCase{
		"layer": {17, x, func(m *model) { layer(m); m.node("Identity", n("y"), n("out")) },
			made(func(i []int) float64 { return byLast.at(i...)*scale.at(i[2]) + bias.at(i[2]) }, 2, 4, 6)},
		"layer, mean":    {17, x, func(m *model) { layer(m); m.node("Identity", n("m"), n("out")) }, moments(mean)},
		"layer, inverse": {17, x, func(m *model) { layer(m); m.node("Identity", n("i"), n("out")) }, moments(inverse)},
		"instance": {17, x, func(m *model) {
			m.constant("s", perChannel).constant("b", shift).node("InstanceNormalization", n("x", "s", "b"), n("out"), eps)
		}, made(func(i []int) float64 { return byLast.at(i...)*perChannel.at(i[1]) + shift.at(i[1]) }, 2, 4, 6)},
		"group": {21, x, func(m *model) {
			m.constant("s", perChannel).constant("b", shift).node("GroupNormalization", n("x", "s", "b"), n("out"), intAttr("num_groups", 2))
		}, made(func(i []int) float64 { return byGroup.at(i...)*perChannel.at(i[1]) + shift.at(i[1]) }, 2, 4, 6)},
		"group before opset 21": {18, x, func(m *model) {
			m.floats("s", []float32{2, 3}, 2).floats("b", []float32{-1, 1}, 2).
				node("GroupNormalization", n("x", "s", "b"), n("out"), intAttr("num_groups", 2))
		}, made(func(i []int) float64 { return byGroup.at(i...)*float64(2+i[1]/2) + float64(i[1]/2*2-1) }, 2, 4, 6)},
		"rms": {23, x, func(m *model) { m.constant("s", scale).node("RMSNormalization", n("x", "s"), n("out"), eps) },
			made(func(i []int) float64 {
				s := 0.0
				for k := range 6 {
					s += x.at(i[0], i[1], k) * x.at(i[0], i[1], k) / 6
				}
				return x.at(i...) / math.Sqrt(s+1e-3) * scale.at(i[2])
			}, 2, 4, 6)},
		"lp 1": {17, x, single("LpNormalization", intAttr("p", 1), intAttr("axis", 1)), made(func(i []int) float64 {
			s := 0.0
			for k := range 4 {
				s += math.Abs(x.at(i[0], k, i[2]))
			}
			return x.at(i...) / s
		}, 2, 4, 6)},
		"batch": {15, x, func(m *model) { batch(m, "BatchNormalization", n("out"), eps) }, made(func(i []int) float64 {
			c := i[1]
			return (x.at(i...)-mu[c])/math.Sqrt(va[c]+1e-3)*perChannel.at(c) + shift.at(c)
		}, 2, 4, 6)},
		"batch of opset 7, each position": {7, x, func(m *model) {
			m.constant("s", random(rand.New(rand.NewSource(3)), 4, 6)).floats("zero", make([]float32, 24), 4, 6).
				floats("uno", slices.Repeat([]float32{1}, 24), 4, 6).
				node("BatchNormalization", n("x", "s", "zero", "zero", "uno"), n("out"), eps, intAttr("spatial", 0))
		}, made(func(i []int) float64 {
			return x.at(i...) / math.Sqrt(1+1e-3) * random(rand.New(rand.NewSource(3)), 4, 6).at(i[1], i[2])
		}, 2, 4, 6)},
		"batch in training": {15, x, func(m *model) { batch(m, "BatchNormalization", n("out", "nm", "nv"), eps, intAttr("training_mode", 1)) },
			made(func(i []int) float64 {
				return (x.at(i...)-seen[i[1]])/math.Sqrt(spread[i[1]]+1e-3)*perChannel.at(i[1]) + shift.at(i[1])
			}, 2, 4, 6)},
		"running variance": {15, x, func(m *model) {
			batch(m, "BatchNormalization", n("y", "nm", "out"), floatAttr("momentum", 0.75), intAttr("training_mode", 1))
		}, made(func(i []int) float64 { return 0.75*va[i[0]] + 0.25*spread[i[0]] }, 4)},
		"softmax of opset 11": {11, x, single("Softmax"), soft(x, 24)},
		"softmax of opset 13": {13, x, single("Softmax"), soft(x, 6)},
		"log of the softmax along the middle": {13, x, single("LogSoftmax", intAttr("axis", 1)), made(func(i []int) float64 {
			s := 0.0
			for k := range 4 {
				s += math.Exp(x.at(i[0], k, i[2]))
			}
			return x.at(i...) - math.Log(s)
		}, 2, 4, 6)},
		"hardmax": {13, x, single("Hardmax", intAttr("axis", 1)), made(func(i []int) float64 {
			for k := range 4 {
				if x.at(i[0], k, i[2]) > x.at(i...) {
					return 0
				}
			}
			return 1
		}, 2, 4, 6)},
	})
}

func TestProducts(t *testing.T) {
	rnd := rand.New(rand.NewSource(24))
	x, right, left, each := random(rnd, 2, 3, 4), random(rnd, 4, 5), random(rnd, 5, 3), random(rnd, 2, 4, 5)
	flat := random(rnd, 3, 4)
	row, square := random(rnd, 5), random(rnd, 3, 5)
	sum := func(n int, f func(k int) float64) (s float64) {
		for k := range n {
			s += f(k)
		}
		return s
	}
	runOps(t, map[string]opCase{
		"constant on the right": {17, x, func(m *model) { m.constant("w", right).node("MatMul", n("x", "w"), n("out")) },
			made(func(i []int) float64 {
				return sum(4, func(k int) float64 { return x.at(i[0], i[1], k) * right.at(k, i[2]) })
			}, 2, 3, 5)},
		"constant on the left": {17, x, func(m *model) { m.constant("w", left).node("MatMul", n("w", "x"), n("out")) },
			made(func(i []int) float64 {
				return sum(3, func(k int) float64 { return left.at(i[1], k) * x.at(i[0], k, i[2]) })
			}, 2, 5, 4)},
		"a constant for each": {17, x, func(m *model) { m.constant("w", each).node("MatMul", n("x", "w"), n("out")) },
			made(func(i []int) float64 {
				return sum(4, func(k int) float64 { return x.at(i[0], i[1], k) * each.at(i[0], k, i[2]) })
			}, 2, 3, 5)},
		"computed by computed": {17, x, func(m *model) {
			m.node("Tanh", n("x"), n("y")).node("Transpose", n("y"), n("yt"), intsAttr("perm", 0, 2, 1)).node("MatMul", n("x", "yt"), n("out"))
		}, made(func(i []int) float64 {
			return sum(4, func(k int) float64 { return x.at(i[0], i[1], k) * math.Tanh(x.at(i[0], i[2], k)) })
		}, 2, 3, 3)},
		"shared by the heads of a group": {17, x, func(m *model) { // [2, 1, 3, 4] expanded to [2, 2, 3, 4]
			m.ints("at", 1).ints("shape", 2, 2, 3, 4).node("Unsqueeze", n("x", "at"), n("u")).node("Expand", n("u", "shape"), n("e")).
				node("Transpose", n("e"), n("t"), intsAttr("perm", 0, 1, 3, 2)).ints("flat", 2, 2, 12).node("Reshape", n("e", "flat"), n("r")).
				node("Reshape", n("r", "shape"), n("q")).node("MatMul", n("q", "t"), n("out"))
		}, made(func(i []int) float64 {
			return sum(4, func(k int) float64 { return x.at(i[0], i[2], k) * x.at(i[0], i[3], k) })
		}, 2, 2, 3, 3)},
		"by a vector": {17, x, func(m *model) { m.constant("w", row).node("MatMul", n("p", "w"), n("out")); first(m, "MatMul", right) },
			made(func(i []int) float64 {
				return sum(5, func(j int) float64 {
					return row.at(j) * sum(4, func(k int) float64 { return x.at(i[0], i[1], k) * right.at(k, j) })
				})
			}, 2, 3)},
		"a vector by": {17, x, func(m *model) { m.floats("w", []float32{1, 2, -1}, 3).node("MatMul", n("w", "x"), n("out")) },
			made(func(i []int) float64 { return x.at(i[0], 0, i[1]) + 2*x.at(i[0], 1, i[1]) - x.at(i[0], 2, i[1]) }, 2, 4)},
		"gemm of a transposed input": {13, flat, func(m *model) {
			m.constant("w", left).node("Gemm", n("x", "w"), n("out"), intAttr("transA", 1), intAttr("transB", 1), floatAttr("alpha", 2))
		}, made(func(i []int) float64 {
			return 2 * sum(3, func(k int) float64 { return flat.at(k, i[0]) * left.at(i[1], k) })
		}, 4, 5)},
		"gemm with a matrix added": {13, flat, func(m *model) {
			m.constant("w", right).constant("c", square).node("Gemm", n("x", "w", "c"), n("out"), floatAttr("beta", 0.5))
		}, made(func(i []int) float64 {
			return sum(4, func(k int) float64 { return flat.at(i[0], k) * right.at(k, i[1]) }) + square.at(i...)/2
		}, 3, 5)},
		"gemm of computed matrices": {13, flat, func(m *model) {
			m.constant("col", random(rand.New(rand.NewSource(9)), 3, 1)).node("Gemm", n("x", "x", "col"), n("out"), intAttr("transB", 1))
		}, made(func(i []int) float64 {
			return sum(4, func(k int) float64 { return flat.at(i[0], k) * flat.at(i[1], k) }) + random(rand.New(rand.NewSource(9)), 3, 1).at(i[0], 0)
		}, 3, 3)},
		"einsum": {13, x, func(m *model) {
			m.constant("w", each).node("Einsum", n("x", "w"), n("out"), strAttr("equation", "bic, bcj -> jbi"))
		}, made(func(i []int) float64 {
			return sum(4, func(k int) float64 { return x.at(i[1], i[2], k) * each.at(i[1], k, i[0]) })
		}, 5, 2, 3)},
		"einsum of one": {13, x, single("Einsum", strAttr("equation", "abc->ca")), made(func(i []int) float64 {
			return sum(3, func(k int) float64 { return x.at(i[1], k, i[0]) })
		}, 4, 2)},
		"fused, with Relu": {13, flat, func(m *model) {
			m.constant("w", right).node("FusedGemm", n("x", "w"), n("out"), strAttr("activation", "Relu"))
			m.Graph.Nodes[0].Domain = "com.microsoft"
		}, made(func(i []int) float64 {
			return max(0, sum(4, func(k int) float64 { return flat.at(i[0], k) * right.at(k, i[1]) }))
		}, 3, 5)},
		"fused, with rows before the batch": {13, x, func(m *model) { // [2, 3, 4] is 3 matrices of 2 by 4
			m.constant("w", random(rand.New(rand.NewSource(2)), 3, 4, 5)).
				node("FusedMatMul", n("x", "w"), n("out"), intAttr("transBatchA", 1), floatAttr("alpha", 0.5))
			m.Graph.Nodes[0].Domain = "com.microsoft"
		}, made(func(i []int) float64 {
			w := random(rand.New(rand.NewSource(2)), 3, 4, 5)
			return 0.5 * sum(4, func(k int) float64 { return x.at(i[1], i[0], k) * w.at(i[0], k, i[2]) })
		}, 3, 2, 5)},
		"fused": {13, flat, func(m *model) {
			m.constant("w", right).node("FusedGemm", n("x", "w"), n("out"), strAttr("activation", "LeakyRelu"), floatAttr("activation_alpha", 0.25))
			m.Graph.Nodes[0].Domain = "com.microsoft"
		}, made(func(i []int) float64 {
			v := sum(4, func(k int) float64 { return flat.at(i[0], k) * right.at(k, i[1]) })
			return max(v, v/4)
		}, 3, 5)},
	})
}

// first puts p = op(x, w) before the nodes of a model.
func first(m *model, op string, w array) {
	m.constant("first", w)
	m.Graph.Nodes = slices.Insert(m.Graph.Nodes, 0, &onnx.Node{Name: "first", Op: op, Inputs: n("x", "first"), Outputs: n("p")})
}

func TestWindows(t *testing.T) {
	rnd := rand.New(rand.NewSource(25))
	line, image, cube := random(rnd, 2, 4, 9), random(rnd, 1, 2, 5, 6), random(rnd, 1, 2, 3, 3, 4)
	w1, b1 := random(rnd, 6, 2, 3), random(rnd, 6)
	w2, w3 := random(rnd, 3, 2, 2, 3), random(rnd, 1, 2, 2, 1, 2)
	spreading := random(rnd, 4, 3, 3)
	conv1 := func(i []int) float64 { // two groups, stride 2, dilation 2, padding 1 and 2
		s := b1.at(i[1])
		for c := range 2 {
			for k := range 3 {
				s += line.at(i[0], i[1]/3*2+c, i[2]*2+k*2-1) * w1.at(i[1], c, k)
			}
		}
		return s
	}
	// spread is the transposed convolution of line with two groups and stride 2: what falls on position p.
	spread := func(n, o, p int) (s float64) {
		for c := range 2 {
			for k := range 3 {
				if at := p - k; at%2 == 0 {
					s += line.at(n, o/3*2+c, at/2) * spreading.at(o/3*2+c, o%3, k)
				}
			}
		}
		return s
	}
	pooled := func(f func(in []float64) float64, h, w, stride, dilation, pad int) func(i []int) float64 {
		return func(i []int) float64 {
			var in []float64
			for a := range h {
				for b := range w {
					y, x := i[2]*stride+a*dilation-pad, i[3]*stride+b*dilation-pad
					if y >= 0 && y < 5 && x >= 0 && x < 6 {
						in = append(in, image.at(0, i[1], y, x))
					}
				}
			}
			return f(in)
		}
	}
	mean := func(in []float64) float64 {
		s := 0.0
		for _, v := range in {
			s += v / float64(len(in))
		}
		return s
	}
	runOps(t, map[string]opCase{
		"conv of a line": {11, line, func(m *model) {
			m.constant("w", w1).constant("b", b1).node("Conv", n("x", "w", "b"), n("out"), intAttr("group", 2), intsAttr("strides", 2),
				intsAttr("dilations", 2), intsAttr("pads", 1, 2))
		}, made(conv1, 2, 6, 4)},
		"conv of an image": {11, image, func(m *model) {
			m.constant("w", w2).node("Conv", n("x", "w"), n("out"), strAttr("auto_pad", "SAME_LOWER"), intsAttr("strides", 2, 1))
		}, made(func(i []int) (s float64) { // 5 rows by 2: padding 1 in all, at the end; 6 columns by 1: padding 2
			for c := range 2 {
				for a := range 2 {
					for b := range 3 {
						s += image.at(0, c, i[2]*2+a-1, i[3]+b-1) * w2.at(i[1], c, a, b)
					}
				}
			}
			return s
		}, 1, 3, 3, 6)},
		"conv of a cube": {11, cube, func(m *model) {
			m.constant("w", w3).node("Conv", n("x", "w"), n("out"), intsAttr("kernel_shape", 2, 1, 2))
		},
			made(func(i []int) (s float64) {
				for c := range 2 {
					for a := range 2 {
						for b := range 2 {
							s += cube.at(0, c, i[2]+a, i[3], i[4]+b) * w3.at(0, c, a, 0, b)
						}
					}
				}
				return s
			}, 1, 1, 2, 3, 3)},
		"conv of points": {11, line, func(m *model) {
			m.constant("w", random(rand.New(rand.NewSource(5)), 3, 4, 1)).node("Conv", n("x", "w"), n("out"))
		}, made(func(i []int) (s float64) {
			for c := range 4 {
				s += line.at(i[0], c, i[2]) * random(rand.New(rand.NewSource(5)), 3, 4, 1).at(i[1], c, 0)
			}
			return s
		}, 2, 3, 9)},
		"transposed": {11, line, func(m *model) {
			m.constant("w", spreading).node("ConvTranspose", n("x", "w"), n("out"), intAttr("group", 2), intsAttr("strides", 2),
				intsAttr("pads", 1, 0), intsAttr("output_padding", 1))
		}, made(func(i []int) float64 { return spread(i[0], i[1], i[2]+1) }, 2, 6, 19)},
		"transposed to a shape": {11, line, func(m *model) {
			m.constant("w", spreading).node("ConvTranspose", n("x", "w"), n("out"), intAttr("group", 2), intsAttr("strides", 2),
				intsAttr("output_shape", 16))
		}, made(func(i []int) float64 { return spread(i[0], i[1], i[2]+2) }, 2, 6, 16)}, // 3 too many: 2 from the beginning
		"max pool": {11, image, single("MaxPool", intsAttr("kernel_shape", 2, 2), intsAttr("strides", 2, 2), intsAttr("dilations", 2, 2), intAttr("ceil_mode", 1)),
			made(pooled(slices.Max[[]float64], 2, 2, 2, 2, 0), 1, 2, 2, 3)},
		"average pool": {11, image, single("AveragePool", intsAttr("kernel_shape", 3, 2), intsAttr("strides", 2, 2), intsAttr("pads", 1, 1, 1, 1)),
			made(pooled(mean, 3, 2, 2, 1, 1), 1, 2, 3, 4)},
		"average pool with the padding": {11, image, single("AveragePool", intsAttr("kernel_shape", 3, 2), intsAttr("strides", 2, 2),
			intsAttr("pads", 1, 1, 1, 1), intAttr("count_include_pad", 1)), made(pooled(func(in []float64) float64 {
			return mean(in) * float64(len(in)) / 6
		}, 3, 2, 2, 1, 1), 1, 2, 3, 4)},
		"global average": {11, image, single("GlobalAveragePool"), made(func(i []int) float64 { return mean(image.v[i[1]*30 : i[1]*30+30]) }, 1, 2, 1, 1)},
		"global max":     {11, image, single("GlobalMaxPool"), made(func(i []int) float64 { return slices.Max(image.v[i[1]*30 : i[1]*30+30]) }, 1, 2, 1, 1)},
		"global norm": {11, image, single("GlobalLpPool"), made(func(i []int) (s float64) {
			for _, v := range image.v[i[1]*30 : i[1]*30+30] {
				s += v * v
			}
			return math.Sqrt(s)
		}, 1, 2, 1, 1)},
	})
}

// A pooling or convolution over time and batch of open length has no meaning for a step, but one whose kernel is a point has.
func TestPointwiseOverTime(t *testing.T) {
	rnd := rand.New(rand.NewSource(26))
	x, flat := sample(rnd, 3)
	w := random(rnd, 2, 3, 1)
	m := newModel(17).input("x", -1, 3, -2).constant("w", w).node("Conv", n("x", "w"), n("out")).output("out")
	read, err := onnx.Read(onnxtest.Encode(&m.Model))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Import(read, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for _, row := range x {
		for o := range 2 {
			want = append(want, row[0]*w.at(o, 0, 0)+row[1]*w.at(o, 1, 0)+row[2]*w.at(o, 2, 0))
		}
	}
	got, _ := runGraph(t, g, flat)
	wants(t, got, want)
}

func TestRearrangements(t *testing.T) {
	rnd := rand.New(rand.NewSource(27))
	x, c := random(rnd, 2, 3, 4), random(rnd, 2, 1, 4)
	image := random(rnd, 1, 8, 2, 3)
	padded := func(at func(p int) int) array {
		return made(func(i []int) float64 {
			if p := at(i[2]); p >= 0 && p < 4 {
				return x.at(i[0], i[1], p)
			}
			return 9
		}, 2, 3, 9)
	}
	pads := func(mode string) func(m *model) {
		return func(m *model) {
			m.ints("pads", 2, 3).ints("axes", -1).floats("nine", []float32{9}).
				node("Pad", n("x", "pads", "nine", "axes"), n("out"), strAttr("mode", mode))
		}
	}
	runOps(t, map[string]opCase{
		"pad":              {18, x, pads("constant"), padded(func(p int) int { return p - 2 })},
		"pad by mirroring": {18, x, pads("reflect"), padded(func(p int) int { return []int{2, 1, 0, 1, 2, 3, 2, 1, 0}[p] })},
		"pad by the edge":  {18, x, pads("edge"), padded(func(p int) int { return min(max(p-2, 0), 3) })},
		"pad in a circle":  {19, x, pads("wrap"), padded(func(p int) int { return (p + 2) % 4 })},
		"pad of opset 2, shorter": {7, x, single("Pad", intsAttr("pads", 0, 0, -1, 0, 1, 0), floatAttr("value", 5)), made(func(i []int) float64 {
			if i[1] == 3 {
				return 5
			}
			return x.at(i[0], i[1], i[2]+1)
		}, 2, 4, 3)},
		"concatenated with a constant": {13, x, func(m *model) { m.constant("c", c).node("Concat", n("c", "x"), n("out"), intAttr("axis", 1)) },
			made(func(i []int) float64 {
				if i[1] == 0 {
					return c.at(i[0], 0, i[2])
				}
				return x.at(i[0], i[1]-1, i[2])
			}, 2, 4, 4)},
		"tiled": {13, x, func(m *model) { m.ints("times", 1, 2, 1).node("Tile", n("x", "times"), n("out")) },
			made(func(i []int) float64 { return x.at(i[0], i[1]%3, i[2]) }, 2, 6, 4)},
		"gather elements": {13, x, func(m *model) {
			m.typed("at", onnx.Int64, []int64{0, 2, -1, 1, 1, 0, 0, 2}, 2, 1, 4).node("GatherElements", n("x", "at"), n("out"), intAttr("axis", 1))
		}, made(func(i []int) float64 {
			return x.at(i[0], []int{0, 2, 2, 1, 1, 0, 0, 2}[i[0]*4+i[2]], i[2])
		}, 2, 1, 4)},
		"gather rows": {13, x, func(m *model) {
			m.typed("at", onnx.Int64, []int64{1, 0, 0, -1, 1, 2}, 3, 2).node("GatherND", n("x", "at"), n("out"))
		}, made(func(i []int) float64 { return x.at([]int{1, 0, 1}[i[0]], []int{0, 2, 2}[i[0]], i[1]) }, 3, 4)},
		"gather in batches": {13, x, func(m *model) {
			m.typed("at", onnx.Int64, []int64{2, 0}, 2, 1).node("GatherND", n("x", "at"), n("out"), intAttr("batch_dims", 1))
		}, made(func(i []int) float64 { return x.at(i[0], []int{2, 0}[i[0]], i[1]) }, 2, 4)},
		"scatter rows": {16, x, func(m *model) {
			m.typed("at", onnx.Int64, []int64{1, 2}, 1, 2).floats("new", []float32{1, 2, 3, 4}, 1, 4).node("ScatterND", n("x", "at", "new"), n("out"))
		}, made(func(i []int) float64 {
			if i[0] == 1 && i[1] == 2 {
				return float64(i[2] + 1)
			}
			return x.at(i...)
		}, 2, 3, 4)},
		"scatter elements": {16, x, func(m *model) {
			m.typed("at", onnx.Int64, []int64{-1, 0}, 2, 1, 1).floats("new", []float32{7, 8}, 2, 1, 1).
				node("ScatterElements", n("x", "at", "new"), n("out"), intAttr("axis", 2))
		}, made(func(i []int) float64 {
			switch {
			case i[0] == 0 && i[1] == 0 && i[2] == 3:
				return 7
			case i[0] == 1 && i[1] == 0 && i[2] == 0:
				return 8
			}
			return x.at(i...)
		}, 2, 3, 4)},
		"depth to space": {13, image, single("DepthToSpace", intAttr("blocksize", 2), strAttr("mode", "CRD")), made(func(i []int) float64 {
			return image.at(0, i[1]*4+i[2]%2*2+i[3]%2, i[2]/2, i[3]/2)
		}, 1, 2, 4, 6)},
		"and back": {13, image, func(m *model) {
			m.node("DepthToSpace", n("x"), n("y"), intAttr("blocksize", 2)).node("SpaceToDepth", n("y"), n("out"), intAttr("blocksize", 2))
		}, image},
		"triangle": {14, x, func(m *model) { m.scalar("k", 1).node("Trilu", n("x", "k"), n("out"), intAttr("upper", 0)) },
			made(func(i []int) float64 {
				if i[2] <= i[1]+1 {
					return x.at(i...)
				}
				return 0
			}, 2, 3, 4)},
		"reversed": {10, x, func(m *model) {
			m.ints("lens", 3, 3).node("ReverseSequence", n("x", "lens"), n("out"), intAttr("time_axis", 1), intAttr("batch_axis", 0))
		}, made(func(i []int) float64 { return x.at(i[0], 2-i[1], i[2]) }, 2, 3, 4)},
		"one hot": {13, x, func(m *model) {
			m.node("ArgMax", n("x"), n("at"), intAttr("axis", 2), intAttr("keepdims", 0)).ints("depth", 4).floats("v", []float32{-1, 3}, 2).
				node("OneHot", n("at", "depth", "v"), n("out"))
		}, made(func(i []int) float64 {
			for k := range 4 {
				if x.at(i[0], i[1], k) > x.at(i...) {
					return -1
				}
			}
			return 3
		}, 2, 3, 4)},
	})
}

// What exporters compute of shapes is known when the model is converted: each case leads to a constant that is added to x.
func TestShapeArithmetic(t *testing.T) {
	x := random(rand.New(rand.NewSource(28)), 2, 3)
	for name, c := range map[string]struct {
		build func(m *model) // to k
		want  func(i []int) float64
	}{
		"size": {func(m *model) { m.node("Size", n("x"), n("s")).node("CastLike", n("s", "x"), n("k")) }, func([]int) float64 { return 6 }},
		"range of floats": {func(m *model) {
			m.floats("a", []float32{1}).floats("z", []float32{2.4}).floats("d", []float32{0.5}).node("Range", n("a", "z", "d"), n("k"))
		}, func(i []int) float64 { return 1 + 0.5*float64(i[1]) }},
		"remainders": {func(m *model) {
			m.ints("a", 7, -7, 9).ints("b", 3).node("Mod", n("a", "b"), n("r")).node("Cast", n("r"), n("k"), intAttr("to", 1))
		}, func(i []int) float64 { return []float64{1, 2, 0}[i[1]] }},
		"powers and reductions": {func(m *model) {
			m.ints("a", 2, 3, 4).ints("two", 2).node("Pow", n("a", "two"), n("p")).node("ReduceMax", n("p"), n("r"), intAttr("keepdims", 0)).
				node("Cast", n("r"), n("k"), intAttr("to", 1))
		}, func([]int) float64 { return 16 }},
		"the positions that are not zero": {func(m *model) {
			m.floats("a", []float32{0, 5, 0, 2, 1}, 5).node("NonZero", n("a"), n("z")).node("Cast", n("z"), n("k"), intAttr("to", 1))
		}, func(i []int) float64 { return []float64{1, 3, 4}[i[1]] }},
		"a mask": {func(m *model) {
			m.typed("a", onnx.Bool, []int64{1, 0, 1}, 3).floats("low", []float32{-5}).floats("zero", []float32{0}).node("Not", n("a"), n("b")).
				node("Where", n("b", "low", "zero"), n("k"))
		}, func(i []int) float64 { return []float64{0, -5, 0}[i[1]] }},
		"weights of weights": {func(m *model) {
			m.floats("a", []float32{1, 2}, 1, 2).floats("b", []float32{1, 2, 3, 4, 5, 6}, 2, 3).node("MatMul", n("a", "b"), n("p")).
				node("ReduceL2", n("p"), n("l"), intsAttr("axes", 1)).node("Div", n("p", "l"), n("q")).node("Sin", n("q"), n("k"))
		}, func(i []int) float64 {
			return math.Sin([]float64{9, 12, 15}[i[1]] / math.Sqrt(81+144+225))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			opCase{15, x, func(m *model) { c.build(m); m.node("Add", n("x", "k"), n("out")) },
				made(func(i []int) float64 { return x.at(i...) + c.want(i) }, 2, 3)}.run(t)
		})
	}
}

// Constants that are the same for every step lie along time, whatever the other axes are.
func TestConstantsAlongTime(t *testing.T) {
	rnd := rand.New(rand.NewSource(29))
	x, flat := sample(rnd, 2)
	for name, c := range map[string]struct {
		roles []lower.Role
		dims  []int64
		build func(m *model)
		want  func(v []float64) []float64
	}{
		"a row for each channel": {[]lower.Role{lower.Feature, lower.Time}, []int64{2, steps}, func(m *model) {
			m.floats("k", slices.Concat(slices.Repeat([]float32{3}, steps), slices.Repeat([]float32{-1}, steps)), 2, steps).
				node("Sub", n("x", "k"), n("out"))
		}, func(v []float64) []float64 { return []float64{v[0] - 3, v[1] + 1} }},
		"concatenated": {[]lower.Role{lower.Time, lower.Feature}, []int64{-1, 2}, func(m *model) {
			m.node("Shape", n("x"), n("dims"), intAttr("end", 1)).ints("three", 3).node("Concat", n("dims", "three"), n("s"), intAttr("axis", 0)).
				floats("row", []float32{1, 2, 3}, 3).node("Expand", n("row", "s"), n("k")).node("Concat", n("k", "x"), n("out"), intAttr("axis", -1))
		}, func(v []float64) []float64 { return []float64{1, 2, 3, v[0], v[1]} }},
		"chosen": {[]lower.Role{lower.Time, lower.Feature}, []int64{-1, 2}, func(m *model) {
			m.floats("row", []float32{0.5, -0.5}, 2).node("Less", n("x", "row"), n("b")).node("Where", n("b", "row", "x"), n("out"))
		}, func(v []float64) []float64 { return []float64{max(v[0], 0.5), max(v[1], -0.5)} }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(17).input("x", c.dims...)
			c.build(m)
			g, err := Import(&m.output("out").Model, Options{Roles: c.roles})
			if err != nil {
				t.Fatal(err)
			}
			var want []float64
			for _, row := range x {
				want = append(want, c.want(row)...)
			}
			y, _ := runGraph(t, g, flat)
			wants(t, y, want)
		})
	}
}

// An axis that sequences and channels share is extended by constants for each channel of each sequence.
func TestConcatenationAcrossBatch(t *testing.T) {
	x := random(rand.New(rand.NewSource(35)), 3, 4)
	m := newModel(17).input("x", 2, 3, 4).ints("flat", 3, 8).ints("apart", 4, 2, 4).floats("five", []float32{5}).ints("row", 1, 8).
		node("Transpose", n("x"), n("a"), intsAttr("perm", 1, 0, 2)).node("Reshape", n("a", "flat"), n("b")).node("Expand", n("five", "row"), n("k")).
		node("Concat", n("b", "k"), n("c"), intAttr("axis", 0)).node("Reshape", n("c", "apart"), n("d")).
		node("Transpose", n("d"), n("out"), intsAttr("perm", 1, 0, 2)).output("out")
	g, err := Import(&m.Model, Options{Roles: []lower.Role{lower.Batch, lower.Feature, lower.Feature}})
	if err != nil {
		t.Fatal(err)
	}
	y, _ := runGraph(t, g, x.floats())
	wants(t, y, append(slices.Clone(x.v), 5, 5, 5, 5))
}
