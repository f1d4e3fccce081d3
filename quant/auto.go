package quant

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// Budget is the error that Auto may leave.
type Budget struct {
	Most float64
	// Changed makes Most a share of the decisions (DecisionOf) that may change, by Score.Changed and by Score.Likely; else it is the relative RMS error of the output,
	// √(Σ (got-ref)² / Σ ref²), 0.01 being an SQNR of 40 dB.
	Changed bool
}

// Score is how far a model is from the float one on some sequences.
type Score struct {
	Sequences, Steps   int
	Decisions, Changed int
	// Likely is the share of decisions to expect changed: how often the lead of the first over the second is less than an error of it, over all
	// pairs of a lead and an error. It tells more than Changed where there are few decisions.
	Likely float64
	Error  float64 // relative RMS error of the output
}

// Within reports whether a score keeps a budget.
func (s *Score) Within(b Budget) bool {
	if b.Changed {
		return float64(s.Changed) <= b.Most*float64(s.Decisions) && s.Likely <= b.Most
	}
	return s.Error <= b.Most
}

// Layer is an operation with weights, or those that share them, for which Auto chooses one scheme.
type Layer struct {
	Ops    []int
	Scheme format.Scheme
	// Alone is the relative RMS error of the output with only this layer in a scheme, by scheme, measured on a part of the data.
	Alone [3]float64
	// Cost is what the layer costs a time step, by scheme (see the function); of what runs once a sequence, its share of a step.
	Cost [3]float64
}

// Choice is what Auto chose.
type Choice struct {
	File   *format.File
	Layers []Layer
	// Search is the score on sequences that the scales come from; Check that on others, held out, of which there are none where the data has
	// fewer than 8 sequences. Both keep the budget. Either may be of a part of what there is, to bound the time.
	Search, Check Score
	Trials        int // models that were run
}

// Auto chooses the scheme of every layer, so that the error stays within the budget at the least cost: it takes w8a8 throughout, upgrades
// the layers in the order of error removed by cost until the whole model keeps the budget, and then tries to take each upgrade back.
func Auto(g *Graph, calib [][]float32, budget Budget) (*Choice, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	if len(calib) == 0 {
		return nil, fmt.Errorf("choosing schemes: %w", ErrRange)
	}
	scales, held := split(calib)
	k, err := learn(g, Options{Calib: scales})
	if err != nil {
		return nil, err
	}
	a := &auto{g: g, know: k, budget: budget}
	float, err := a.model(make([]format.Scheme, len(g.Ops)))
	if err != nil {
		return nil, err
	}
	a.layers = layersOf(g, float.File(), meanSteps(calib, float))
	if len(a.layers) == 0 {
		return &Choice{File: float.File()}, nil
	}
	if err := a.take(float, scales, held); err != nil {
		return nil, err
	}
	return a.choose()
}

// split holds out one sequence of four where there are enough.
func split(calib [][]float32) (scales, held [][]float32) {
	const enough, one = 8, 4
	for i, x := range calib {
		if len(calib) >= enough && i%one == one-1 {
			held = append(held, x)
		} else {
			scales = append(scales, x)
		}
	}
	return scales, held
}

func meanSteps(calib [][]float32, m *runtime.Model) float64 {
	sum := 0
	for _, x := range calib {
		sum += len(x) / m.InputWidth()
	}
	return float64(sum) / float64(len(calib))
}

// layersOf lists the operations with weights, those that share them together.
func layersOf(g *Graph, f *format.File, steps float64) (layers []Layer) {
	of := map[*format.Blob]int{}
	for i := range g.Ops {
		op := &g.Ops[i]
		if !op.products() {
			continue
		}
		blob := f.Arg(&f.Ops[i], format.RoleW)
		n, ok := of[blob]
		if !ok {
			n = len(layers)
			of[blob] = n
			layers = append(layers, Layer{})
		}
		layers[n].Ops = append(layers[n].Ops, i)
		weights := float64(len(op.W) + len(op.U))
		work := weights * float64(op.repeats())
		often := 1.0
		if !g.Values[op.In[0].Value].PerStep {
			often = 1 / steps
		}
		for s := range prices {
			layers[n].Cost[s] += often * Cost(format.Scheme(s), weights, work)
		}
	}
	return layers
}

// Cost is what the products of a step cost: 1 for each byte of weights that is read, and 1 for each multiply-add of int8, of which w8a16 has
// two in place of one and f32, in the space that a float takes, four.
func Cost(s format.Scheme, weights, multiplyAdds float64) float64 {
	return float64(prices[s].bytes*weights) + float64(prices[s].work*multiplyAdds)
}

var prices = [3]struct{ bytes, work float64 }{format.F32: {4, 4}, format.W8A8: {1, 1}, format.W8A16: {1, 2}}

// repeats is how often an operation's matrix multiplies in a step.
func (op *Op) repeats() int {
	if op.Kind == format.Conv {
		w, err := format.ParseWindow(op.Dims)
		if err != nil {
			return 0 // validated before
		}
		_, points, _ := w.Points()
		return points
	}
	return max(op.Blocks(), 1)
}

// auto is a choice under way.
type auto struct {
	g      *Graph
	know   *knowledge
	budget Budget
	layers []Layer
	search *trial
	check  *trial // nil without sequences
	few    *trial // a part of all
	trials int
}

// trialWork is about how many multiply-adds Auto may spend on running models.
const trialWork = 2e10

// take chooses the sequences to try models on.
func (a *auto) take(float *runtime.Model, scales, held [][]float32) (err error) {
	work := stepWork(a.g)
	n := float64(len(a.layers))
	// Every layer is tried alone in two schemes, and taken back in at most two; in between are a few whole models.
	alone := int(trialWork / 4 / work / (2*n + 1))
	whole := int(trialWork * 3 / 4 / work / (2*n + 8))
	width := float.InputWidth()
	if a.budget.Changed && !float.PerStep() { // a share of few decisions cannot be told
		steps := meanSteps(slices.Concat(scales, held), float)
		whole = max(whole, int(math.Min(steps/a.budget.Most, 2*float64(whole))))
	}
	few := slices.Concat(upTo(scales, max(alone*3/4, 1), width), upTo(held, alone/4, width))
	if a.few, err = newTrial(float, few); err != nil {
		return err
	}
	rest := whole
	if held = upTo(held, whole/4, width); held != nil {
		rest -= whole / 4
		if a.check, err = newTrial(float, held); err != nil {
			return err
		}
	}
	a.search, err = newTrial(float, upTo(scales, rest, width))
	return err
}

// Some picks sequences to measure on, evenly among all, so that running a model on them takes less than a second.
func Some(g *Graph, seqs [][]float32) [][]float32 {
	const work = 5e9
	return upTo(seqs, int(work/stepWork(g)), g.Values[0].Width)
}

// stepWork is about what a time step costs, in multiply-adds.
func stepWork(g *Graph) float64 {
	const channel, unit = 30, 2000 // of an activation by vectors, and of a cell with other activations, one by one
	sum := 0.0
	for i := range g.Ops {
		op := &g.Ops[i]
		sum += float64(channel * op.Out.Width)
		if op.products() {
			sum += float64(op.repeats()) * float64(len(op.W)+len(op.U))
		}
		if op.Acts != nil {
			sum += float64(unit * op.Hidden * op.repeats())
		}
	}
	return sum
}

// upTo picks sequences, evenly among all, of no more than that many steps together. A single one that is longer is cut short.
func upTo(seqs [][]float32, steps, features int) (out [][]float32) {
	total := 0
	for _, x := range seqs {
		total += len(x) / features
	}
	if total <= steps {
		return seqs
	}
	steps = max(steps, 1)
	every := float64(total) / float64(steps)
	for at := 0.0; int(at) < len(seqs) && steps > 0; at += every {
		x := seqs[int(at)]
		n := len(x) / features
		if n > steps && out != nil {
			break
		}
		out = append(out, x[:min(n, steps)*features])
		steps -= n
	}
	return out
}

// model makes the model with a scheme for each operation.
func (a *auto) model(schemes []format.Scheme) (*runtime.Model, error) {
	f, err := a.know.build(a.g, schemes)
	if err != nil {
		return nil, err
	}
	return runtime.New(f)
}

// try runs the model of a mix, which has a scheme for each layer.
func (a *auto) try(t *trial, mix []format.Scheme) (Score, error) {
	m, err := a.model(a.schemes(mix))
	if err != nil {
		return Score{}, err
	}
	a.trials++
	return t.run(m)
}

func (a *auto) schemes(mix []format.Scheme) []format.Scheme {
	s := make([]format.Scheme, len(a.g.Ops))
	for n, l := range a.layers {
		for _, i := range l.Ops {
			s[i] = mix[n]
		}
	}
	return s
}

// keeps reports whether a mix keeps the budget on all sequences.
func (a *auto) keeps(mix []format.Scheme) (bool, error) {
	for _, t := range []*trial{a.search, a.check} {
		if t == nil {
			continue
		}
		s, err := a.try(t, mix)
		if err != nil || !s.Within(a.budget) {
			return false, err
		}
	}
	return true, nil
}

func (a *auto) choose() (*Choice, error) {
	if err := a.alone(); err != nil {
		return nil, err
	}
	mix, err := a.upgrade()
	if err != nil {
		return nil, err
	}
	if err := a.takeBack(mix); err != nil {
		return nil, err
	}
	c := &Choice{Layers: a.layers}
	for n := range mix {
		c.Layers[n].Scheme = mix[n]
	}
	if c.Search, err = a.try(a.search, mix); err != nil {
		return nil, err
	}
	if a.check != nil {
		if c.Check, err = a.try(a.check, mix); err != nil {
			return nil, err
		}
	}
	c.Trials = a.trials
	c.File, err = a.know.build(a.g, a.schemes(mix))
	return c, err
}

// alone measures what each layer costs in either int8 scheme, the others float.
func (a *auto) alone() error {
	for n := range a.layers {
		for _, s := range []format.Scheme{format.W8A8, format.W8A16} {
			mix := make([]format.Scheme, len(a.layers))
			mix[n] = s
			score, err := a.try(a.few, mix)
			if err != nil {
				return err
			}
			a.layers[n].Alone[s] = score.Error
		}
	}
	return nil
}

type upgrade struct {
	layer int
	to    format.Scheme
}

// upgrade is the first mix on the path that keeps the budget, found by bisection.
func (a *auto) upgrade() ([]format.Scheme, error) {
	path := a.path()
	after := func(n int) []format.Scheme {
		mix := make([]format.Scheme, len(a.layers))
		for i := range mix {
			mix[i] = format.W8A8
		}
		for _, u := range path[:n] {
			mix[u.layer] = u.to
		}
		return mix
	}
	ok, err := a.keeps(after(0))
	if ok || err != nil {
		return after(0), err
	}
	// The end of the path is float throughout.
	n := 1 + sort.Search(len(path)-1, func(i int) bool {
		var ok bool
		if err == nil {
			ok, err = a.keeps(after(i + 1))
		}
		return ok
	})
	return after(n), err
}

// path lists all upgrades, each time the one that removes most error for what it costs. The errors of layers are taken for independent, so
// that their squares add up.
func (a *auto) path() (path []upgrade) {
	now := make([]format.Scheme, len(a.layers))
	for i := range now {
		now[i] = format.W8A8
	}
	for {
		best, gain := upgrade{-1, 0}, math.Inf(-1)
		for n := range a.layers {
			l := &a.layers[n]
			for _, to := range []format.Scheme{format.W8A16, format.F32} {
				if now[n] == format.F32 || l.Cost[to] <= l.Cost[now[n]] {
					continue
				}
				removed := l.Alone[now[n]]*l.Alone[now[n]] - float64(l.Alone[to]*l.Alone[to])
				if g := removed / (l.Cost[to] - l.Cost[now[n]]); g > gain {
					best, gain = upgrade{n, to}, g
				}
			}
		}
		if best.layer < 0 {
			return path
		}
		now[best.layer] = best.to
		path = append(path, best)
	}
}

// takeBack lowers the schemes of layers where the budget is kept all the same, those that save most first.
func (a *auto) takeBack(mix []format.Scheme) error {
	order := make([]int, 0, len(mix))
	for n, s := range mix {
		if s != format.W8A8 {
			order = append(order, n)
		}
	}
	saved := func(n int) float64 { return a.layers[n].Cost[mix[n]] - a.layers[n].Cost[format.W8A8] }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(saved(j), saved(i)) })
	for _, n := range order {
		was := mix[n]
		for _, s := range []format.Scheme{format.W8A8, format.W8A16} {
			if s == was {
				break
			}
			mix[n] = s
			ok, err := a.keeps(mix)
			if err != nil {
				return err
			}
			if ok {
				break
			}
			mix[n] = was
		}
	}
	return nil
}

// trial are sequences with what the float model makes of them.
type trial struct {
	seqs   [][]float32
	refs   [][]float32
	choice decisions
	width  int
	steps  int
}

func newTrial(float *runtime.Model, seqs [][]float32) (*trial, error) {
	t := &trial{seqs: seqs, width: float.OutputWidth(), choice: decisionsOf(float.File())}
	for i, x := range seqs {
		y, err := outputOf(float, x)
		if err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
		t.refs = append(t.refs, y)
		t.steps += len(x) / float.InputWidth()
		for at := 0; at < len(y); at += t.width {
			t.choice.refer(y[at:][:t.width])
		}
	}
	slices.Sort(t.choice.leads)
	return t, nil
}

func outputOf(m *runtime.Model, x []float32) ([]float32, error) {
	y := make([]float32, outputs(m, x))
	return y, m.NewSession().Run(x, y)
}

func (t *trial) run(m *runtime.Model) (Score, error) {
	s := Score{Sequences: len(t.seqs), Steps: t.steps}
	var e Error
	likely := 0.0
	for i, x := range t.seqs {
		y, err := outputOf(m, x)
		if err != nil {
			return s, fmt.Errorf("sequence %d: %w", i, err)
		}
		e.Add(t.refs[i], y)
		for at := 0; at < len(y); at += t.width {
			ref, got := t.refs[i][at:][:t.width], y[at:][:t.width]
			s.Decisions++
			likely += t.choice.likely(ref, got)
			if t.choice.kind.changed(ref, got) {
				s.Changed++
			}
		}
	}
	s.Error = e.Relative()
	s.Likely = likely / float64(s.Decisions)
	return s, nil
}
