package mot

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

func modelOf(t testing.TB, g *quant.Graph, o quant.Options) *runtime.Model {
	t.Helper()
	g.Input.Channels = make([]format.Channel, g.Values[0].Width)
	f, err := quant.Build(g, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func whole(g *quant.Graph, v int) format.Ref { return format.Ref{Value: v, Width: g.Values[v].Width} }

func randomVector(r *rand.Rand, n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

// randomFilter is a GRU with random weights, of a learnt filter's inputs and outputs, which spread so far.
func randomFilter(t testing.TB, hidden int, scheme format.Scheme, spread float64) *runtime.Model {
	r := rand.New(rand.NewPCG(11, 12))
	g := &quant.Graph{Values: []format.Value{{Width: learntInputs, PerStep: true}, {Width: hidden, PerStep: true}, {Width: learntOutputs, PerStep: true}}, Output: 2}
	g.Ops = []quant.Op{
		{Kind: format.GRU, Name: "gru", Hidden: hidden, In: []format.Ref{whole(g, 0)}, Out: whole(g, 1), W: randomVector(r, 3*hidden*learntInputs, 0.5),
			U: randomVector(r, 3*hidden*hidden, 0.5/math.Sqrt(float64(hidden))), B: randomVector(r, 3*hidden, 0.1), BH: randomVector(r, 3*hidden, 0.1)},
		{Kind: format.Dense, Name: "out", In: []format.Ref{whole(g, 1)}, Out: whole(g, 2), W: randomVector(r, learntOutputs*hidden, spread), B: randomVector(r, learntOutputs, spread/2)},
	}
	return modelOf(t, g, quant.Options{Scheme: scheme, Range: 2})
}

// follower is the learnt filter of one target as docs/mot.md writes it, in plain arithmetic.
type follower struct {
	s          *runtime.Session
	b          Box
	delta      [4]float64
	logSigma   [4]float64
	exist      float64
	saved      []byte
	savedB     Box
	savedDelta [4]float64
}

func (f *follower) pred() Box {
	return Box{f.b.X + f.delta[0]*f.b.H, f.b.Y + f.delta[1]*f.b.H, f.b.W * math.Exp(f.delta[2]), f.b.H * math.Exp(f.delta[3])}
}

func (f *follower) step(t *testing.T, z *Box, score float64, gap int, scene [2]float64, company int, cover, width float64) {
	p := f.pred()
	clamp := func(v, most float64) float64 { return math.Max(-most, math.Min(most, v)) }
	x := make([]float32, learntInputs)
	if z != nil {
		x[0], x[1] = float32(clamp((z.X-p.X)/p.H, 1)), float32(clamp((z.Y-p.Y)/p.H, 1))
		x[2], x[3] = float32(clamp(math.Log(z.W/p.W), 1)), float32(clamp(math.Log(z.H/p.H), 1))
		x[8], x[9] = 1, float32(1-math.Sqrt(clamp(1-score, 1)))
	}
	for k, v := range f.delta {
		x[4+k] = float32(v)
	}
	x[10] = float32(min(float64(gap), 30) / 30)
	x[11], x[12] = float32(clamp(scene[0]/p.H, 1)), float32(clamp(scene[1]/p.H, 1))
	x[13] = float32(math.Min(math.Max(float64(company-1), 0), 8) / 8)
	x[14] = float32(clamp(math.Min(p.X, width-p.X)/p.W, 2) / 2)
	x[15] = float32(cover)
	y := make([]float32, learntOutputs)
	if err := f.s.Step(x, y); err != nil {
		t.Fatal(err)
	}
	var u [4]float64
	for k := range u {
		u[k], f.delta[k], f.logSigma[k] = clamp(float64(y[k]), 1), clamp(float64(y[4+k]), 1), math.Max(-6, math.Min(2, float64(y[8+k])))
	}
	f.b = Box{p.X + u[0]*p.H, p.Y + u[1]*p.H, p.W * math.Exp(u[2]), p.H * math.Exp(u[3])}
	f.exist = 1 / (1 + math.Exp(-float64(y[12])))
}

func alike(a, b Box) bool {
	for _, d := range [...]float64{a.X - b.X, a.Y - b.Y, a.W - b.W, a.H - b.H} {
		if !(math.Abs(d) < 1e-3) {
			return false
		}
	}
	return true
}

// TestLearntFilter compares the filter of several targets with one follower each, over births, gaps and replays. A network in float32 follows
// small differences of its inputs smoothly, so that the arithmetic of package math will do for the reference.
func TestLearntFilter(t *testing.T) {
	const width, n = 640, 4
	m := randomFilter(t, 24, format.F32, 0.05)
	c := Learnt()
	c.Width, c.Height, c.MaxTargets = width, 480, n
	l, err := newLearnt(m, &c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	ts := make([]target, n)
	ref := make([]*follower, n)
	var slots []int
	for frame := range 60 {
		l.predict(ts, slots)
		if frame%3 == 0 && len(slots) < n {
			slots = append(slots, len(slots))
		}
		around := surroundings{matched: frame % 12, scene: [2]float64{r.NormFloat64() * 4, r.NormFloat64() * 4}}
		var again []int
		for _, i := range slots {
			g := &ts[i]
			switch {
			case ref[i] == nil:
				z := Box{100 + 60*float64(i), 200 + 10*float64(i), 40, 90}
				*g = target{born: true, seen: true, z: z, pred: z, last: z, score: 0.9}
				ref[i] = &follower{s: m.NewSession(), b: z}
			default:
				g.born = false
				if g.seen = r.Float64() < 0.6; g.seen {
					p := g.pred
					g.z = Box{p.X + r.NormFloat64()*10, p.Y + r.NormFloat64()*10, p.W * math.Exp(r.NormFloat64()*0.1), p.H * math.Exp(r.NormFloat64()*0.1)}
					g.score = r.Float64()
					if g.gap > 0 {
						again = append(again, i)
					}
				}
				if f := ref[i]; !alike(g.pred, f.pred()) || math.Abs(g.sigma[2]-math.Exp(f.logSigma[2])) > 1e-4 {
					t.Fatalf("frame %d, target %d: predicted %v ± %v, want %v ± %v", frame, i, g.pred, g.sigma, f.pred(), f.logSigma)
				}
			}
		}
		for _, i := range again {
			f, g := ref[i], &ts[i]
			if err := f.s.Restore(f.saved); err != nil {
				t.Fatal(err)
			}
			f.b, f.delta = f.savedB, f.savedDelta
			for k := 1; k <= g.gap; k++ {
				part := float64(k) / float64(g.gap+1)
				z := Box{g.last.X + part*(g.z.X-g.last.X), g.last.Y + part*(g.z.Y-g.last.Y), g.last.W + part*(g.z.W-g.last.W), g.last.H + part*(g.z.H-g.last.H)}
				f.step(t, &z, g.score, 0, [2]float64{}, 0, 0, width)
			}
		}
		if err := l.replay(ts, again); err != nil {
			t.Fatal(err)
		}
		for _, i := range again {
			ts[i].gap = 0
		}
		for _, i := range slots {
			g, f := &ts[i], ref[i]
			cover := 0.0
			p := f.pred()
			for _, j := range slots {
				o := &ts[j]
				if j != i && o.seen && o.z.Y+o.z.H/2 > p.Y+p.H/2 {
					w := math.Min(p.X+p.W/2, o.z.X+o.z.W/2) - math.Max(p.X-p.W/2, o.z.X-o.z.W/2)
					h := math.Min(p.Y+p.H/2, o.z.Y+o.z.H/2) - math.Max(p.Y-p.H/2, o.z.Y-o.z.H/2)
					cover = math.Max(cover, math.Max(w, 0)*math.Max(h, 0)/(p.W*p.H))
				}
			}
			z := &g.z
			if !g.seen {
				z = nil
			}
			f.step(t, z, g.score, g.gap, around.scene, around.matched, cover, width)
		}
		if err := l.update(ts, slots, &around); err != nil {
			t.Fatal(err)
		}
		for _, i := range slots {
			g, f := &ts[i], ref[i]
			if !alike(g.held, f.b) || math.Abs(g.exist-f.exist) > 1e-4 {
				t.Fatalf("frame %d, target %d: held %v exists %v, want %v %v", frame, i, g.held, g.exist, f.b, f.exist)
			}
			if !g.seen {
				g.gap++
				continue
			}
			g.gap, g.last = 0, g.z
			if err := l.save(i); err != nil {
				t.Fatal(err)
			}
			f.saved = make([]byte, f.s.StateSize())
			if err := f.s.Save(f.saved); err != nil {
				t.Fatal(err)
			}
			f.savedB, f.savedDelta = f.b, f.delta
		}
	}
}

func TestModelErrors(t *testing.T) {
	m := randomFilter(t, 8, format.F32, 0.05)
	for name, c := range map[string]struct {
		override string
		models   Models
	}{
		"no model":             {`{"motion":"gru"}`, Models{}},
		"no paper's model":     {`{"motion":"paper","width":640,"height":480}`, Models{}},
		"model of another":     {`{"motion":"paper","width":640,"height":480}`, Models{Motion: m}},
		"no association model": {`{"assoc":"lstm","width":640,"height":480}`, Models{}},
		"no image size":        {`{"assoc":"lstm"}`, Models{Assoc: nearestNet(t, 3, 0.1)}},
		"not an association":   {`{"assoc":"lstm","width":640,"height":480}`, Models{Assoc: m}},
	} {
		config := SORT()
		if err := config.Override([]byte(c.override)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(config, c.models); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
