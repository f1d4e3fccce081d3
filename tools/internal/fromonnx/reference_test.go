package fromonnx

import (
	"math"
	"math/rand"

	"github.com/recur-go/recur/tools/internal/onnx"
)

// layerRef is a recurrent layer as the ONNX specification writes it, in float64, for a batch of one.
type layerRef struct {
	op      string // LSTM, GRU, RNN
	dirs    []bool // reversed, by direction
	in, hid int
	w, r    []float32 // [D, G*H, I], [D, G*H, H]
	b, p    []float32 // [D, 2*G*H], [D, 3*H]; nil is zero
	h0, c0  []float32 // [D, H]; nil is zero
	after   bool      // linear_before_reset
	relu    bool
}

func (l *layerRef) gates() int { return map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[l.op] }

// random fills the weights of a layer; the optional ones only if asked for.
func (l *layerRef) random(rnd *rand.Rand, options string) *layerRef {
	fill := func(want string, n int) []float32 {
		if want != "" && !contains(options, want) {
			return nil
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rnd.NormFloat64() * 0.5)
		}
		return v
	}
	d, rows := len(l.dirs), l.gates()*l.hid
	l.w, l.r = fill("", d*rows*l.in), fill("", d*rows*l.hid)
	l.b, l.p = fill("b", d*2*rows), fill("p", d*3*l.hid)
	l.h0, l.c0 = fill("h", d*l.hid), fill("c", d*l.hid)
	return l
}

func contains(s, sub string) bool {
	for i := range s {
		if s[i:i+1] == sub {
			return true
		}
	}
	return false
}

func sig(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// run returns Y as [T][D*H], and the final hidden states [D*H].
func (l *layerRef) run(x [][]float64) (y [][]float64, last []float64) {
	y = make([][]float64, len(x))
	for t := range y {
		y[t] = make([]float64, len(l.dirs)*l.hid)
	}
	for d, reversed := range l.dirs {
		h, c := state(l.h0, d, l.hid), state(l.c0, d, l.hid)
		for k := range x {
			t := k
			if reversed {
				t = len(x) - 1 - k
			}
			h, c = l.step(d, x[t], h, c)
			copy(y[t][d*l.hid:], h)
		}
		last = append(last, h...)
	}
	return y, last
}

func state(v []float32, d, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		if v != nil {
			out[i] = float64(v[d*n+i])
		}
	}
	return out
}

// product is gate g of W x + Wb, or R h + Rb with the matrix m of width len(v); side 0 or 1 selects the bias.
func (l *layerRef) product(m []float32, d, g, unit, side int, v []float64) float64 {
	rows := l.gates() * l.hid
	row := g*l.hid + unit
	s := 0.0
	for k, x := range v {
		s += float64(m[(d*rows+row)*len(v)+k]) * x
	}
	if l.b != nil {
		s += float64(l.b[d*2*rows+side*rows+row])
	}
	return s
}

func (l *layerRef) step(d int, x, h, c []float64) (h1, c1 []float64) {
	h1, c1 = make([]float64, l.hid), make([]float64, l.hid)
	both := func(g, u int) float64 { return l.product(l.w, d, g, u, 0, x) + l.product(l.r, d, g, u, 1, h) }
	peep := func(g, u int, c []float64) float64 {
		if l.p == nil {
			return 0
		}
		return float64(l.p[d*3*l.hid+g*l.hid+u]) * c[u]
	}
	switch l.op {
	case "RNN":
		for u := range h1 {
			h1[u] = math.Tanh(both(0, u))
			if l.relu {
				h1[u] = math.Max(both(0, u), 0)
			}
		}
	case "LSTM": // gates i o f c, peepholes i o f
		for u := range h1 {
			i, f := sig(both(0, u)+peep(0, u, c)), sig(both(2, u)+peep(2, u, c))
			c1[u] = f*c[u] + i*math.Tanh(both(3, u))
			h1[u] = sig(both(1, u)+peep(1, u, c1)) * math.Tanh(c1[u])
		}
	case "GRU": // gates z r h
		rh := make([]float64, l.hid)
		for u := range h1 {
			rh[u] = sig(both(1, u)) * h[u]
		}
		for u := range h1 {
			n := l.product(l.w, d, 2, u, 0, x)
			if l.after {
				n += sig(both(1, u)) * l.product(l.r, d, 2, u, 1, h)
			} else {
				n += l.product(l.r, d, 2, u, 1, rh)
			}
			z := sig(both(0, u))
			h1[u] = (1-z)*math.Tanh(n) + z*h[u]
		}
	}
	return h1, c1
}

// model builds ONNX models node by node.
type model struct{ onnx.Model }

func newModel(opset int64) *model {
	m := &model{onnx.Model{IRVersion: 8, Producer: "test", Opsets: map[string]int64{"": opset}, Graph: &onnx.Graph{}}}
	return m
}

// dims: a negative size is one that is not fixed.
func (m *model) input(name string, dims ...int64) *model {
	m.Graph.Inputs = append(m.Graph.Inputs, info(name, dims))
	return m
}

func info(name string, dims []int64) onnx.ValueInfo {
	v := onnx.ValueInfo{Name: name, Type: onnx.Float, HasShape: true}
	for _, d := range dims {
		if d < 0 {
			v.Dims = append(v.Dims, onnx.Dim{Value: -1, Param: string(rune('a' - d))})
		} else {
			v.Dims = append(v.Dims, onnx.Dim{Value: d})
		}
	}
	return v
}

func (m *model) output(names ...string) *model {
	for _, n := range names {
		m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: n, Type: onnx.Float})
	}
	return m
}

func (m *model) floats(name string, v []float32, dims ...int64) *model {
	m.Graph.Initializers = append(m.Graph.Initializers, &onnx.Tensor{Name: name, Type: onnx.Float, Dims: dims, F: v})
	return m
}

func (m *model) ints(name string, v ...int64) *model {
	t := &onnx.Tensor{Name: name, Type: onnx.Int64, Dims: []int64{int64(len(v))}, I: v}
	m.Graph.Initializers = append(m.Graph.Initializers, t)
	return m
}

func (m *model) scalar(name string, v int64) *model {
	m.Graph.Initializers = append(m.Graph.Initializers, &onnx.Tensor{Name: name, Type: onnx.Int64, I: []int64{v}})
	return m
}

// node adds a node; "" among in or out is left out.
func (m *model) node(op string, in, out []string, attrs ...*onnx.Attr) *model {
	m.Graph.Nodes = append(m.Graph.Nodes, &onnx.Node{Name: "n_" + op, Op: op, Inputs: in, Outputs: out, Attrs: attrs})
	return m
}

func n(s ...string) []string { return s }

func intAttr(name string, v int64) *onnx.Attr     { return &onnx.Attr{Name: name, I: v} }
func intsAttr(name string, v ...int64) *onnx.Attr { return &onnx.Attr{Name: name, Ints: v} }
func strAttr(name, v string) *onnx.Attr           { return &onnx.Attr{Name: name, S: v} }

func stringsAttr(name string, v ...string) *onnx.Attr { return &onnx.Attr{Name: name, Strings: v} }

// layer adds the node and weights of a reference layer, from x to y and yh.
func (m *model) layer(l *layerRef, x, y, yh string, attrs ...*onnx.Attr) *model {
	id := y + yh
	d, h, rows := int64(len(l.dirs)), int64(l.hid), int64(l.gates()*l.hid)
	in := []string{x, id + "W", id + "R", "", "", "", "", ""}
	m.floats(id+"W", l.w, d, rows, int64(l.in)).floats(id+"R", l.r, d, rows, h)
	for _, o := range []struct {
		at   int
		name string
		v    []float32
		dims []int64
	}{{3, "B", l.b, []int64{d, 2 * rows}}, {5, "H", l.h0, []int64{d, 1, h}}, {6, "C", l.c0, []int64{d, 1, h}}, {7, "P", l.p, []int64{d, 3 * h}}} {
		if o.v != nil {
			in[o.at] = id + o.name
			m.floats(id+o.name, o.v, o.dims...)
		}
	}
	direction := "forward"
	if len(l.dirs) == 2 {
		direction = "bidirectional"
	} else if l.dirs[0] {
		direction = "reverse"
	}
	attrs = append(attrs, strAttr("direction", direction), intAttr("hidden_size", h))
	if l.after {
		attrs = append(attrs, intAttr("linear_before_reset", 1))
	}
	if l.relu {
		list := make([]string, d)
		for i := range list {
			list[i] = "Relu"
		}
		attrs = append(attrs, stringsAttr("activations", list...))
	}
	return m.node(l.op, in, n(y, yh), attrs...)
}
