package fromtflite

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/tflite"
	"github.com/recur-go/recur/tools/internal/tflite/tflitetest"
)

// lstmNet is an LSTM with random weights, some of which may be left out.
type lstmNet struct {
	inputs, units, outputs int
	w, u, bias, norm       [4][]float32
	peep                   [3][]float32
	proj, projBias         []float32
	cellClip, projClip     float32
	act                    tflite.Activation
}

// newLSTM makes the parts that parts names: coupled, peepholes, projection, bias of the projection, normalisation, and no bias.
func newLSTM(r random, inputs, units int, parts string) *lstmNet {
	l := &lstmNet{inputs: inputs, units: units, outputs: units, act: tflite.Tanh}
	has := func(part string) bool { return slices.Contains(strings.Fields(parts), part) }
	if has("projection") || has("projection+bias") {
		l.outputs = units - 2
		l.proj = r.vector(l.outputs * units)
	}
	if has("projection+bias") {
		l.projBias = r.vector(l.outputs)
	}
	for g := range 4 {
		l.w[g], l.u[g] = r.vector(units*inputs), r.vector(units*l.outputs)
		if !has("unbiased") {
			l.bias[g] = r.vector(units)
		}
		if has("normalisation") {
			l.norm[g] = r.vector(units)
		}
		if g < 3 && has("peepholes") {
			l.peep[g] = r.vector(units)
		}
	}
	if has("coupled") {
		l.w[0], l.u[0], l.bias[0], l.norm[0], l.peep[0] = nil, nil, nil, nil, nil
	}
	return l
}

// add writes the weights and states to a model, and returns the inputs of an operator after its first.
func (l *lstmNet) add(b *tflitetest.Builder) []int32 {
	optional := func(v []float32, shape ...int) int32 {
		if v == nil {
			return -1
		}
		dims := make([]int32, len(shape))
		for i, d := range shape {
			dims[i] = int32(d)
		}
		return b.Const(v, dims...)
	}
	var in []int32
	for g := range 4 {
		in = append(in, optional(l.w[g], l.units, l.inputs))
	}
	for g := range 4 {
		in = append(in, optional(l.u[g], l.units, l.outputs))
	}
	for g := range 3 {
		in = append(in, optional(l.peep[g], l.units))
	}
	for g := range 4 {
		in = append(in, optional(l.bias[g], l.units))
	}
	in = append(in, optional(l.proj, l.outputs, l.units), optional(l.projBias, l.outputs))
	in = append(in, b.Variable("h", 1, int32(l.outputs)), b.Variable("c", 1, int32(l.units)))
	for g := range 4 {
		in = append(in, optional(l.norm[g], l.units))
	}
	return in
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func activate(a tflite.Activation, x float64) float64 {
	switch a {
	case tflite.Relu:
		return math.Max(x, 0)
	case tflite.Relu6:
		return math.Min(math.Max(x, 0), 6)
	case tflite.Tanh:
		return math.Tanh(x)
	}
	return x
}

func limited(x float64, limit float32) float64 {
	if limit == 0 {
		return x
	}
	return math.Max(-float64(limit), math.Min(float64(limit), x))
}

func dot(w []float32, row int, x []float64) (s float64) {
	for k, v := range x {
		s += float64(w[row*len(x)+k]) * v
	}
	return s
}

// sums are those of a gate before its activation, as the reference kernels compute them.
func (l *lstmNet) sums(g int, x, h, c []float64) []float64 {
	z := make([]float64, l.units)
	peep := [4][]float32{l.peep[0], l.peep[1], nil, l.peep[2]}[g]
	for u := range z {
		z[u] = dot(l.w[g], u, x) + dot(l.u[g], u, h)
		if peep != nil {
			z[u] += float64(peep[u]) * c[u]
		}
	}
	if l.norm[g] != nil {
		mean, variance := 0.0, 0.0
		for _, v := range z {
			mean += v / float64(l.units)
		}
		for _, v := range z {
			variance += (v - mean) * (v - mean) / float64(l.units)
		}
		for u := range z {
			z[u] = (z[u] - mean) / math.Sqrt(variance+1e-8) * float64(l.norm[g][u])
		}
	}
	for u := range z {
		if l.bias[g] != nil {
			z[u] += float64(l.bias[g][u])
		}
	}
	return z
}

// step advances the states h and c.
func (l *lstmNet) step(x, h, c []float64) (h2, c2 []float64) {
	f, n := l.sums(1, x, h, c), l.sums(2, x, h, c)
	in := make([]float64, l.units)
	if l.w[0] != nil {
		in = l.sums(0, x, h, c)
	}
	c2 = make([]float64, l.units)
	for u := range c2 {
		f[u] = sigmoid(f[u])
		i := 1 - f[u]
		if l.w[0] != nil {
			i = sigmoid(in[u])
		}
		c2[u] = limited(f[u]*c[u]+i*activate(l.act, n[u]), l.cellClip)
	}
	o := l.sums(3, x, h, c2)
	h2 = make([]float64, l.units)
	for u := range h2 {
		h2[u] = sigmoid(o[u]) * activate(l.act, c2[u])
	}
	if l.proj == nil {
		return h2, c2
	}
	projected := make([]float64, l.outputs)
	for k := range projected {
		projected[k] = dot(l.proj, k, h2)
		if l.projBias != nil {
			projected[k] += float64(l.projBias[k])
		}
		projected[k] = limited(projected[k], l.projClip)
	}
	return projected, c2
}

// run returns the outputs of all steps, and the states after them; backwards if reverse.
func (l *lstmNet) run(x []float32, h, c []float64, reverse bool) (y []float64, h2, c2 []float64) {
	steps := len(x) / l.inputs
	y = make([]float64, steps*l.outputs)
	for k := range steps {
		t := k
		if reverse {
			t = steps - 1 - k
		}
		h, c = l.step(doubles(x[t*l.inputs:][:l.inputs]), h, c)
		copy(y[t*l.outputs:], h)
	}
	return y, h, c
}

func (l *lstmNet) zero() (h, c []float64) {
	return make([]float64, l.outputs), make([]float64, l.units)
}

// atOnce multiplies all n elements of a tensor by the identity, so that a call has to see all of them.
func atOnce(b *tflitetest.Builder, x int32, n int) int32 {
	w := make([]float32, n*n)
	for i := range n {
		w[i*n+i] = 1
	}
	y := b.Float("all")
	b.Op("FULLY_CONNECTED", &tflite.FullyConnectedOptions{}, []int32{x, b.Const(w, int32(n), int32(n)), -1}, []int32{y})
	return y
}

// TestLSTM runs layers of every kind twice: the second run goes on from the states of the first. Where the model looks at the whole sequence
// afterwards, a call takes all of it.
func TestLSTM(t *testing.T) {
	const inputs, units, steps = 3, 5, 4
	for i, c := range []struct {
		parts              string
		act                tflite.Activation
		cellClip, projClip float32
		cell               bool // one of the runtime's
	}{
		{"", tflite.Tanh, 10, 0, true},
		{"unbiased", tflite.Tanh, 0.3, 0, true},
		{"coupled", tflite.Tanh, 0, 0, true},
		{"coupled peepholes", tflite.Tanh, 0, 0, true},
		{"peepholes", tflite.Tanh, 0.5, 0, true},
		{"projection", tflite.Tanh, 0, 0, true},
		{"projection peepholes coupled", tflite.Tanh, 10, 0, true},
		{"projection+bias", tflite.Tanh, 0, 0, false},
		{"projection", tflite.Tanh, 0.5, 0.4, false},
		{"normalisation", tflite.Tanh, 10, 0, false},
		{"normalisation coupled peepholes projection+bias", tflite.Tanh, 0.5, 0.5, false},
		{"", tflite.Relu, 2, 0, true},
		{"", tflite.Relu6, 0, 0, false},
	} {
		for _, whole := range []bool{false, true} {
			for _, timeMajor := range []bool{false, true} {
				r := seeded(uint64(i))
				l := newLSTM(r, inputs, units, c.parts)
				l.act, l.cellClip, l.projClip = c.act, c.cellClip, c.projClip
				b := tflitetest.New()
				shape := []int32{1, steps, inputs}
				if timeMajor {
					shape = []int32{steps, 1, inputs}
				}
				x, y := b.Input("x", shape...), b.Float("y")
				b.Op("UNIDIRECTIONAL_SEQUENCE_LSTM", &tflite.SequenceLSTMOptions{Activation: c.act, CellClip: c.cellClip, ProjClip: c.projClip, TimeMajor: timeMajor},
					append([]int32{x}, l.add(b)...), []int32{y})
				if whole {
					y = atOnce(b, y, steps*l.outputs)
				}
				b.Output(y)
				name := fmt.Sprintf("%q, activation %d, whole %v, time first %v", c.parts, c.act, whole, timeMajor)
				g, layout := imported(t, b, Options{})
				if got := count(g, format.LSTM); got != 1 && c.cell || got != 0 && !c.cell {
					t.Errorf("%s: %d LSTM operations", name, got)
				}
				if width := map[bool]int{false: inputs, true: steps * inputs}[whole]; g.Values[0].Width != width || !layout.Keeps {
					t.Errorf("%s: a step has %d values, want %d; %+v", name, g.Values[0].Width, width, layout)
				}
				h, m := l.zero()
				xs := [][]float32{r.vector(steps * inputs), r.vector(steps * inputs)}
				for k, got := range run(t, b, Options{}, xs...) {
					var want []float64
					want, h, m = l.run(xs[k], h, m, false)
					same(t, fmt.Sprintf("%s, run %d", name, k), got, want)
				}
			}
		}
	}
}

// TestLSTMStep has the operator of one step.
func TestLSTMStep(t *testing.T) {
	for _, parts := range []string{"", "normalisation"} {
		r := seeded(5)
		l := newLSTM(r, 3, 4, parts)
		b := tflitetest.New()
		x, y := b.Input("x", 1, 3), b.Float("y")
		b.Op("LSTM", &tflite.LSTMOptions{Activation: tflite.Tanh}, append([]int32{x}, l.add(b)...), []int32{y})
		b.Output(y)
		h, c := l.zero()
		xs := [][]float32{r.vector(3), r.vector(3), r.vector(3)}
		for k, got := range run(t, b, Options{}, xs...) {
			var want []float64
			want, h, c = l.run(xs[k], h, c, false)
			same(t, fmt.Sprintf("%q, step %d", parts, k), got, want)
		}
	}
}

// TestBasicLSTM has the operator with one matrix, and states that are variables, outputs that return, or start anew.
func TestBasicLSTM(t *testing.T) {
	const inputs, units = 3, 4
	r := seeded(6)
	l := newLSTM(r, inputs, units, "")
	var w, bias []float32
	for _, g := range []int{0, 2, 1, 3} {
		for u := range units {
			w = append(append(w, l.w[g][u*inputs:][:inputs]...), l.u[g][u*units:][:units]...)
		}
		bias = append(bias, l.bias[g]...)
	}
	xs := [][]float32{r.vector(inputs), r.vector(inputs)}
	for _, kind := range []string{"variables", "fed back", "constant"} {
		b := tflitetest.New()
		x := b.Input("x", 1, inputs)
		var h0, c0 int32
		switch kind {
		case "variables":
			h0, c0 = b.Variable("h0", 1, units), b.Variable("c0", 1, units)
		case "fed back":
			h0, c0 = b.Input("h0", 1, units), b.Input("c0", 1, units)
		default:
			h0, c0 = b.Const(make([]float32, units), 1, units), b.Const(make([]float32, units), 1, units)
		}
		h, c := b.Float("h"), b.Float("c")
		b.Op("LSTM", &tflite.LSTMOptions{Activation: tflite.Tanh, Basic: true},
			[]int32{x, h0, b.Const(w, 4*units, inputs+units), b.Const(bias, 4*units), c0}, []int32{h, c, b.Float("joined"), b.Float("gates")})
		b.Output(h, c)
		o := Options{}
		if kind == "fed back" {
			o.States = map[string]string{"h0": "h", "c0": "c"}
		}
		sh, sc := l.zero()
		for k, got := range run(t, b, o, xs...) {
			var want []float64
			want, sh, sc = l.run(xs[k], sh, sc, false)
			same(t, fmt.Sprintf("%s, step %d", kind, k), got, want)
			if kind == "constant" {
				sh, sc = l.zero()
			}
		}
	}
}

func TestBidirectionalLSTM(t *testing.T) {
	const steps = 4
	for _, parts := range []string{"", "coupled projection", "projection+bias"} {
		for _, merge := range []bool{false, true} {
			r := seeded(7)
			fw, bw := newLSTM(r, 3, 5, parts), newLSTM(r, 3, 5, parts)
			b := tflitetest.New()
			x := b.Input("x", 1, steps, 3)
			f, w := fw.add(b), bw.add(b)
			in := append(append([]int32{x}, f[:17]...), w[:17]...)
			in = append(in, f[17], f[18], w[17], w[18], -1, -1, -1, -1, -1, -1, -1, -1, -1)
			out := []int32{b.Float("y")}
			if !merge {
				out = append(out, b.Float("back"))
			}
			b.Op("BIDIRECTIONAL_SEQUENCE_LSTM", &tflite.BidirectionalLSTMOptions{Activation: tflite.Tanh, Merge: merge}, in, out)
			b.Output(out...)
			fh, fc := fw.zero()
			bh, bc := bw.zero()
			xs := [][]float32{r.vector(steps * 3), r.vector(steps * 3)}
			results := [][][]float32{run(t, b, Options{}, xs...)}
			if !merge {
				results = append(results, run(t, b, Options{Output: "back"}, xs...))
			}
			for k := range xs {
				var yf, yb []float64
				yf, fh, fc = fw.run(xs[k], fh, fc, false)
				yb, bh, bc = bw.run(xs[k], bh, bc, true)
				name := fmt.Sprintf("%q, merged %v, run %d", parts, merge, k)
				if !merge {
					same(t, name, results[0][k], yf)
					same(t, name, results[1][k], yb)
					continue
				}
				var both []float64
				for s := range steps {
					both = append(append(both, yf[s*fw.outputs:][:fw.outputs]...), yb[s*bw.outputs:][:bw.outputs]...)
				}
				same(t, name, results[0][k], both)
			}
		}
	}
}

// rnnNet is h = f(W x + U h + b).
type rnnNet struct {
	inputs, units int
	w, u, bias    []float32
	act           tflite.Activation
}

func newRNN(r random, inputs, units int, act tflite.Activation) *rnnNet {
	n := &rnnNet{inputs, units, r.vector(units * inputs), r.vector(units * units), r.vector(units), act}
	for i := range n.u { // or a ReLU diverges
		n.u[i] *= 0.2
	}
	return n
}

func (n *rnnNet) add(b *tflitetest.Builder) []int32 {
	u := int32(n.units)
	return []int32{b.Const(n.w, u, int32(n.inputs)), b.Const(n.u, u, u), b.Const(n.bias, u), b.Variable("h", 1, u)}
}

func (n *rnnNet) run(x []float32, h []float64, reverse bool) (y, h2 []float64) {
	steps := len(x) / n.inputs
	y = make([]float64, steps*n.units)
	for k := range steps {
		t := k
		if reverse {
			t = steps - 1 - k
		}
		next := make([]float64, n.units)
		for u := range next {
			next[u] = activate(n.act, dot(n.w, u, doubles(x[t*n.inputs:][:n.inputs]))+dot(n.u, u, h)+float64(n.bias[u]))
		}
		h = next
		copy(y[t*n.units:], h)
	}
	return y, h
}

func TestRNN(t *testing.T) {
	const steps, inputs, units = 4, 3, 5
	for _, act := range []tflite.Activation{tflite.Tanh, tflite.Relu, tflite.None, tflite.Relu6} {
		for _, kind := range []string{"steps", "whole", "single"} {
			r := seeded(8)
			n := newRNN(r, inputs, units, act)
			b := tflitetest.New()
			y := b.Float("y")
			size := steps * inputs
			switch kind {
			case "single":
				size = inputs
				b.Op("RNN", &tflite.RNNOptions{Activation: act}, append([]int32{b.Input("x", 1, inputs)}, n.add(b)...), []int32{y})
			default:
				b.Op("UNIDIRECTIONAL_SEQUENCE_RNN", &tflite.SequenceRNNOptions{Activation: act}, append([]int32{b.Input("x", 1, steps, inputs)}, n.add(b)...), []int32{y})
			}
			if kind == "whole" {
				y = atOnce(b, y, steps*units)
			}
			b.Output(y)
			h := make([]float64, units)
			xs := [][]float32{r.vector(size), r.vector(size)}
			for k, got := range run(t, b, Options{}, xs...) {
				var want []float64
				want, h = n.run(xs[k], h, false)
				same(t, fmt.Sprintf("activation %d, %s, run %d", act, kind, k), got, want)
			}
		}
	}
}

func TestBidirectionalRNN(t *testing.T) {
	const steps = 4
	r := seeded(9)
	fw, bw := newRNN(r, 3, 5, tflite.Tanh), newRNN(r, 3, 5, tflite.Tanh)
	b := tflitetest.New()
	x, y := b.Input("x", 1, steps, 3), b.Float("y")
	b.Op("BIDIRECTIONAL_SEQUENCE_RNN", &tflite.BidirectionalRNNOptions{Activation: tflite.Tanh, Merge: true},
		slices.Concat([]int32{x}, fw.add(b), bw.add(b), []int32{-1, -1, -1}), []int32{y})
	b.Output(y)
	fh, bh := make([]float64, 5), make([]float64, 5)
	xs := [][]float32{r.vector(steps * 3), r.vector(steps * 3)}
	for k, got := range run(t, b, Options{}, xs...) {
		var yf, yb, both []float64
		yf, fh = fw.run(xs[k], fh, false)
		yb, bh = bw.run(xs[k], bh, true)
		for s := range steps {
			both = append(append(both, yf[s*5:][:5]...), yb[s*5:][:5]...)
		}
		same(t, fmt.Sprintf("run %d", k), got, both)
	}
}

// TestLast takes the last step of a sequence, as classifiers do: the session can still step.
func TestLast(t *testing.T) {
	const steps = 4
	r := seeded(10)
	l := newLSTM(r, 3, 5, "")
	b := tflitetest.New()
	x, y, last := b.Input("x", 1, steps, 3), b.Float("y"), b.Float("last")
	b.Op("UNIDIRECTIONAL_SEQUENCE_LSTM", &tflite.SequenceLSTMOptions{Activation: tflite.Tanh}, append([]int32{x}, l.add(b)...), []int32{y})
	b.Op("STRIDED_SLICE", &tflite.StridedSliceOptions{BeginMask: 5, EndMask: 7, ShrinkAxisMask: 2}, []int32{y, b.Ints(0, -1, 0), b.Ints(0, 0, 0), b.Ints(1, 1, 1)}, []int32{last})
	b.Output(last)
	if g, _ := imported(t, b, Options{}); g.Values[0].Width != 3 || count(g, format.Last) != 1 {
		t.Errorf("a step has %d values; operations %v", g.Values[0].Width, kinds(g))
	}
	h, c := l.zero()
	xs := [][]float32{r.vector(steps * 3), r.vector(steps * 3)}
	for k, got := range run(t, b, Options{}, xs...) {
		var want []float64
		want, h, c = l.run(xs[k], h, c, false)
		same(t, fmt.Sprintf("run %d", k), got, want[(steps-1)*5:])
	}
}

// TestSummary takes the mean over time of a layer whose state goes on to the next run: only a call that sees all can do both.
func TestSummary(t *testing.T) {
	const steps = 3
	r := seeded(11)
	l := newLSTM(r, 2, 4, "")
	b := tflitetest.New()
	x, y, mean := b.Input("x", 1, steps, 2), b.Float("y"), b.Float("mean")
	b.Op("UNIDIRECTIONAL_SEQUENCE_LSTM", &tflite.SequenceLSTMOptions{Activation: tflite.Tanh}, append([]int32{x}, l.add(b)...), []int32{y})
	b.Op("MEAN", &tflite.ReducerOptions{}, []int32{y, b.Ints(1)}, []int32{mean})
	b.Output(mean)
	h, c := l.zero()
	xs := [][]float32{r.vector(steps * 2), r.vector(steps * 2)}
	for k, got := range run(t, b, Options{}, xs...) {
		var all []float64
		all, h, c = l.run(xs[k], h, c, false)
		want := make([]float64, 4)
		for i, v := range all {
			want[i%4] += v / steps
		}
		same(t, fmt.Sprintf("run %d", k), got, want)
	}
}

// TestRecurrentRefused spoils an LSTM.
func TestRecurrentRefused(t *testing.T) {
	for want, spoil := range map[string]func(l *lstmNet, o *tflite.SequenceLSTMOptions, in []int32){
		"weights of a gate are missing": func(_ *lstmNet, _ *tflite.SequenceLSTMOptions, in []int32) { in[3] = -1 },
		"a state that is no variable":   func(_ *lstmNet, _ *tflite.SequenceLSTMOptions, in []int32) { in[18] = in[12] },
		"state 19 is missing":           func(_ *lstmNet, _ *tflite.SequenceLSTMOptions, in []int32) { in[19] = -1 },
		"without an activation":         func(_ *lstmNet, o *tflite.SequenceLSTMOptions, _ []int32) { o.Activation = tflite.None },
		"by their diagonals":            func(_ *lstmNet, o *tflite.SequenceLSTMOptions, _ []int32) { o.Diagonal = true },
		"of shape [5]":                  func(_ *lstmNet, _ *tflite.SequenceLSTMOptions, in []int32) { in[6] = in[12] },
		"want 5 elements":               func(_ *lstmNet, _ *tflite.SequenceLSTMOptions, in []int32) { in[13] = in[1] },
		"without a projection": func(l *lstmNet, _ *tflite.SequenceLSTMOptions, in []int32) {
			in[5], in[6], in[7], in[8] = in[1], in[2], in[3], in[4]
		},
	} {
		l := newLSTM(seeded(1), 3, 5, "")
		b := tflitetest.New()
		y := b.Float("y")
		in := append([]int32{b.Input("x", 1, 4, 3)}, l.add(b)...)
		o := &tflite.SequenceLSTMOptions{Activation: tflite.Tanh}
		spoil(l, o, in)
		b.Op("UNIDIRECTIONAL_SEQUENCE_LSTM", o, in, []int32{y})
		b.Output(y)
		if _, err := Import(&b.Model, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSVDF(t *testing.T) {
	const inputs, units, rank, steps = 3, 2, 2, 4
	const filters = units * rank
	r := seeded(12)
	w, overTime, bias := r.vector(filters*inputs), r.vector(filters*steps), r.vector(units)
	b := tflitetest.New()
	x, y := b.Input("x", 1, inputs), b.Float("y")
	b.Op("SVDF", &tflite.SVDFOptions{Rank: rank, Activation: tflite.Relu}, []int32{x, b.Const(w, filters, inputs), b.Const(overTime, filters, steps),
		b.Const(bias, units), b.Variable("memory", 1, filters*steps)}, []int32{y})
	b.Output(y)
	var xs [][]float32
	memory := make([][]float64, filters)
	for f := range memory {
		memory[f] = make([]float64, steps)
	}
	for range 6 {
		xs = append(xs, r.vector(inputs))
	}
	for k, got := range run(t, b, Options{}, xs...) {
		want := doubles(bias)
		for f := range memory {
			memory[f] = append(memory[f][1:], dot(w, f, doubles(xs[k])))
			want[f/rank] += dot(overTime, f, memory[f])
		}
		for u := range want {
			want[u] = math.Max(want[u], 0)
		}
		same(t, fmt.Sprint("step ", k), got, want)
	}
}
