package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/shared"
)

// checkpoint is the network that Milan et al. published, rnnTracker_r300_l1_n1_m1_d4: its nine layers by their names there.
type checkpoint struct {
	hidden int
	layers map[string]layer
}

type layer struct {
	w, b    []float32 // w row-major
	in, out int
}

func readCheckpoint(t testing.TB, path string) *checkpoint {
	t.Helper()
	arrays, err := npy.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &checkpoint{layers: map[string]layer{}}
	parameters := 0
	for _, a := range arrays {
		name, part, _ := strings.Cut(strings.TrimSuffix(a.Name, ".npy"), ".")
		l := c.layers[name]
		if part == "W" {
			l.w, l.out, l.in = a.Data, a.Shape[0], a.Shape[1]
		} else {
			l.b = a.Data
		}
		c.layers[name] = l
		parameters += len(a.Data)
	}
	c.hidden = c.layers["h2h_Pred_L1"].out
	if len(c.layers) != 9 || parameters != 187809 || c.hidden != 300 {
		t.Fatalf("%d layers of %d parameters, %d hidden units", len(c.layers), parameters, c.hidden)
	}
	return c
}

// step is the forward pass in float64. x, z of 4; a = probability of a detection, and of none.
//
//	h*  = tanh(Wx x + Wh h)           x* = Wp h*
//	h'  = tanh(Wd (a₁ z + a₂ x*) + Wu h*)   x' = Wo h'
//	e'  = σ(w₃ (W₂ a + tanh(W₁ e)))
//
// each product with its bias.
func (c *checkpoint) step(h, x, z, a []float64, e float64) (next, predicted, updated []float64, exist float64) {
	before := c.tanhSum(pair{"i2h_Pred_L1", x}, pair{"h2h_Pred_L1", h})
	predicted = c.sum(pair{"state_Xstar_t", before})
	d := make([]float64, 4)
	for k := range d {
		d[k] = a[0]*z[k] + a[1]*predicted[k]
	}
	next = c.tanhSum(pair{"Det_Inp", d}, pair{"h2h_Upd_L1", before})
	updated = c.sum(pair{"state_X_t", next})
	inner := c.tanhSum(pair{"ter_ex", []float64{e}})
	for k, v := range c.sum(pair{"ter_lab", a}) {
		inner[k] += v
	}
	return next, predicted, updated, 1 / (1 + math.Exp(-c.sum(pair{"ter_out", inner})[0]))
}

type pair struct {
	layer string
	x     []float64
}

func (c *checkpoint) sum(pairs ...pair) []float64 {
	y := make([]float64, c.layers[pairs[0].layer].out)
	for _, p := range pairs {
		l := c.layers[p.layer]
		for r := range y {
			y[r] += float64(l.b[r])
			for k, v := range p.x {
				y[r] += float64(l.w[r*l.in+k]) * v
			}
		}
	}
	return y
}

func (c *checkpoint) tanhSum(pairs ...pair) []float64 {
	y := c.sum(pairs...)
	for i, v := range y {
		y[i] = math.Tanh(v)
	}
	return y
}

// graph is the network as operations: an input row x z a e, an output row x* x' e'.
func (c *checkpoint) graph() *quant.Graph {
	n := c.hidden
	g := &quant.Graph{Input: format.Input{Channels: make([]format.Channel, 11)}}
	add := func(width int) format.Ref {
		g.Values = append(g.Values, format.Value{Width: width, PerStep: true})
		return format.Ref{Value: len(g.Values) - 1, Width: width}
	}
	part := func(r format.Ref, at, width int) format.Ref {
		return format.Ref{Value: r.Value, Offset: r.Offset + at, Width: width}
	}
	op := func(o quant.Op, out format.Ref, in ...format.Ref) {
		o.In, o.Out, o.Name = in, out, o.Kind.String()
		g.Ops = append(g.Ops, o)
	}
	dense := func(out format.Ref, in format.Ref, layers ...string) { // of the layers' inputs side by side
		o := quant.Op{Kind: format.Dense, W: make([]float32, out.Width*in.Width), B: make([]float32, out.Width)}
		at := 0
		for _, name := range layers {
			l := c.layers[name]
			for r := range l.out {
				o.B[r] += l.b[r]
				copy(o.W[r*in.Width+at:], l.w[r*l.in:][:l.in])
			}
			at += l.in
		}
		op(o, out, in)
	}
	x := add(11)
	predict := add(n + 4) // h and x
	update := add(n + 4)  // h*, and a z + a x*
	found, missed := add(4), add(4)
	next, ter, label, sum, y := add(n), add(n), add(n), add(n), add(9)
	h, star, before := part(predict, 0, n), part(y, 0, 4), part(update, 0, n)
	op(quant.Op{Kind: format.Recall}, h)
	op(quant.Op{Kind: format.Gather, Index: []int32{0, 1, 2, 3}}, part(predict, n, 4), part(x, 0, 4))
	dense(before, predict, "h2h_Pred_L1", "i2h_Pred_L1")
	op(quant.Op{Kind: format.Tanh}, before, before)
	dense(star, before, "state_Xstar_t")
	op(quant.Op{Kind: format.Mul}, found, part(x, 4, 4), part(x, 8, 1))
	op(quant.Op{Kind: format.Mul}, missed, star, part(x, 9, 1))
	op(quant.Op{Kind: format.Add}, part(update, n, 4), found, missed)
	dense(next, update, "h2h_Upd_L1", "Det_Inp")
	op(quant.Op{Kind: format.Tanh}, next, next)
	dense(part(y, 4, 4), next, "state_X_t")
	dense(ter, part(x, 10, 1), "ter_ex")
	op(quant.Op{Kind: format.Tanh}, ter, ter)
	dense(label, part(x, 8, 2), "ter_lab")
	op(quant.Op{Kind: format.Add}, sum, ter, label)
	dense(part(y, 8, 1), sum, "ter_out")
	op(quant.Op{Kind: format.Sigmoid}, part(y, 8, 1), part(y, 8, 1))
	op(quant.Op{Kind: format.Store}, h, next)
	g.Output = y.Value
	return g
}

// walk is a ground-truth track with what a detector would find of it: per frame a normalised box, and whether it is found.
type walk struct {
	z     [][4]float64
	found []bool
}

var trainingSequences = []struct {
	name          string
	width, height float64
}{{"TUD-Stadtmitte", 640, 480}, {"ETH-Bahnhof", 640, 480}, {"ADL-Rundle-6", 1920, 1080}, {"KITTI-13", 1242, 375}, {"PETS09-S2L1", 768, 576}}

// walks reads the tracks of the sequences that trackers are trained on, up to so many frames of each. Every seventh detection or so is missed,
// some in a row.
func walks(t testing.TB, dir string, frames int) (all []walk) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, s := range trainingSequences {
		text, err := os.ReadFile(filepath.Join(dir, "gt", s.name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		tracks := map[string]*walk{}
		var ids []string
		for line := range strings.Lines(string(text)) {
			f := strings.Split(line, ",")
			var v [4]float64
			for k := range v {
				if v[k], err = strconv.ParseFloat(f[2+k], 64); err != nil {
					t.Fatal(err)
				}
			}
			if tracks[f[1]] == nil {
				tracks[f[1]], ids = &walk{}, append(ids, f[1])
			}
			w := tracks[f[1]]
			w.z = append(w.z, [4]float64{(v[0]+v[2]/2)/s.width - 0.5, (v[1]+v[3]/2)/s.height - 0.5, v[2]/s.width - 0.5, v[3]/s.height - 0.5})
		}
		for _, id := range ids {
			w := tracks[id]
			if len(w.z) < 5 {
				continue
			}
			w.z = w.z[:min(len(w.z), frames)]
			lost := 0
			for k := range w.z {
				if lost--; lost < 0 && k > 0 && r.Float64() < 0.1 {
					lost = r.IntN(3)
				}
				w.found = append(w.found, k == 0 || lost < 0)
			}
			all = append(all, *w)
		}
	}
	return all
}

// follow runs the reference along a walk, each step from what the one before came to, and returns inputs and outputs, row by row. A state is made
// anew every reset frames, as the published program does, unless reset is 0.
func (c *checkpoint) follow(w *walk, reset int) (xs []float32, ys []float64) {
	h, x, e := make([]float64, c.hidden), w.z[0][:], 0.5
	for k := range w.z {
		if reset > 0 && k%reset == 0 {
			clear(h)
		}
		z, a := x, []float64{0.001, 0.999}
		if w.found[k] {
			z, a = w.z[k][:], []float64{0.999, 0.001}
		}
		for _, v := range [][]float64{x, z, a, {e}} {
			for _, v := range v {
				xs = append(xs, float32(v))
			}
		}
		var star []float64
		h, star, x, e = c.step(h, x, z, a, e)
		ys = append(append(append(ys, star...), x...), e)
	}
	return xs, ys
}

// answer is the model's way along a walk, each step from what its own one before came to.
func answer(t testing.TB, m *runtime.Model, w *walk, xs []float32, reset int) []float32 {
	s := m.NewSession()
	ys := make([]float32, 9*len(w.z))
	for k := range w.z {
		if reset > 0 && k%reset == 0 {
			s.Reset()
		}
		x := slices.Clone(xs[11*k:][:11])
		if k > 0 {
			before := ys[9*(k-1):][:9]
			copy(x, before[4:8])
			if !w.found[k] {
				copy(x[4:], before[4:8])
			}
			x[10] = before[8]
		}
		if err := s.Step(x, ys[9*k:][:9]); err != nil {
			t.Fatal(err)
		}
	}
	return ys
}

// TestCheckpoint has the runtime follow tracks of real people with the published network, each scheme on its own way, and compares with a plain
// evaluation of its equations.
func TestCheckpoint(t *testing.T) {
	dir := shared.Dir(t, "data/mot15")
	c := readCheckpoint(t, filepath.Join(dir, "rnntracking", "rnnTracker_r300_weights.npz"))
	all := walks(t, dir, 60)
	if testing.Short() {
		all = all[:20]
	}
	const imageWidth = 1920
	for _, reset := range []int{0, 10} {
		var inputs [][]float32
		var outputs [][]float64
		for i := range all {
			xs, ys := c.follow(&all[i], reset)
			inputs, outputs = append(inputs, xs), append(outputs, ys)
		}
		calib := func(first int) (some [][]float32) {
			for i := first; i < len(inputs); i += 4 {
				some = append(some, inputs[i])
			}
			return some
		}
		for _, scheme := range []format.Scheme{format.F32, format.W8A16} {
			f, err := quant.Build(c.graph(), quant.Options{Scheme: scheme, Calib: calib(1)})
			if err != nil {
				t.Fatal(err)
			}
			m, err := runtime.New(f)
			if err != nil {
				t.Fatal(err)
			}
			var worst, worstPixels, sum float64
			n := 0
			for i := range all {
				if i%4 == 1 { // these have calibrated it
					continue
				}
				got := answer(t, m, &all[i], inputs[i], reset)
				for k := 0; k < len(got); k += 9 {
					for j, v := range got[k:][:9] {
						worst = max(worst, math.Abs(float64(v)-outputs[i][k+j]))
					}
					dx, dy := imageWidth*(float64(got[k+4])-outputs[i][k+4]), imageWidth*(float64(got[k+5])-outputs[i][k+5])
					sum += math.Hypot(dx, dy)
					for j := 4; j < 8; j++ {
						worstPixels = max(worstPixels, imageWidth*math.Abs(float64(got[k+j])-outputs[i][k+j]))
					}
					n++
				}
			}
			mean := sum / float64(n)
			t.Logf("state anew every %d frames, %v: %d steps of %d tracks, worst %.2g; at %d pixels mean %.3f worst %.3f", reset, scheme, n, len(all)*3/4, worst, imageWidth, mean, worstPixels)
			if scheme == format.F32 && worst > 1e-5 {
				t.Errorf("float32 differs by %v, want 1e-5 at most", worst)
			}
			if mean > 2 || worstPixels > 6 {
				t.Errorf("%v differs by %v pixels in the mean, %v at most; want 2 and 6", scheme, mean, worstPixels)
			}
		}
	}
}
