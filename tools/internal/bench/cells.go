package bench

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// CellResult is the time of one call of Step or Run on a network. LimitNs is the least time by the limits measured in the same run.
type CellResult struct {
	Cell     string  `json:"cell"`
	Model    string  `json:"model,omitempty"` // file name
	Scheme   string  `json:"scheme"`
	Tier     string  `json:"tier"`
	Input    int     `json:"input"`
	Hidden   int     `json:"hidden"` // the largest
	TwoWay   bool    `json:"two_way"`
	Mode     string  `json:"mode"`  // step or seq
	Steps    int     `json:"steps"` // in one call
	NsMin    float64 `json:"ns_min"`
	NsMedian float64 `json:"ns_median"`
	NsP999   float64 `json:"ns_p999"` // of single calls, the clock's own time included
	NsMax    float64 `json:"ns_max"`
	Singles  int     `json:"singles"` // calls timed alone
	Allocs   float64 `json:"allocs"`  // a call
	Bytes    int     `json:"bytes"`   // weights, packed
	GBps     float64 `json:"gbps"`    // weights read
	GOPS     float64 `json:"gops"`    // a multiply-add is two operations
	Limit    string  `json:"limit"`
	LimitNs  float64 `json:"limit_ns"`
	LimitPct float64 `json:"limit_pct"`        // of the minimum, by limits that are minima
	Typical  float64 `json:"limit_pct_median"` // of the median, by limits that are medians
	Ops      float64 `json:"ops"`
}

// cellCase is a network on a tier.
type cellCase struct {
	CellResult
	job  *job
	cost cost
}

// Cells times networks with random weights on every tier, through Model.NewSession, Session.Step and Session.Run.
func Cells(o Options, cells []Cell) (*Report, error) {
	var subjects []subject
	for _, c := range cells {
		m, err := c.model()
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject{model: m, steps: c.Steps})
	}
	return networks(o, subjects)
}

// Model times the network in a .recur file: steps one by one, unless it is two-way, and sequences of so many steps.
func Model(o Options, path string, steps int) (*Report, error) {
	m, err := runtime.Open(path)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	name := filepath.Base(path)
	var subjects []subject
	if !m.TwoWay() {
		subjects = append(subjects, subject{m, 1, name})
	}
	if steps > 1 || m.TwoWay() {
		subjects = append(subjects, subject{m, steps, name})
	}
	return networks(o, subjects)
}

// subject is a network and how many steps a call takes.
type subject struct {
	model *runtime.Model
	steps int
	name  string
}

func networks(o Options, subjects []subject) (*Report, error) {
	tiers, err := o.tiers()
	if err != nil {
		return nil, err
	}
	r := &Report{Machine: Describe()}
	p := newProber(&r.Machine, tiers)
	var cases []*cellCase
	var jobs []*job
	for _, s := range subjects {
		for _, tier := range tiers {
			c := s.on(tier)
			p.prepare(tier, c.cost)
			cases, jobs = append(cases, c), append(jobs, c.job)
		}
	}
	measure(append(jobs, p.jobs...), o.effort(), o.Progress)
	for _, c := range cases {
		r.Results = append(r.Results, c.result(p))
	}
	r.Limits = p.limits()
	return r, nil
}

func (s subject) on(tier string) *cellCase {
	f := s.model.File()
	c := &cellCase{cost: costOf(f, s.steps)}
	c.CellResult = CellResult{Model: s.name, Tier: tier, Input: s.model.InputWidth(), TwoWay: s.model.TwoWay(), Mode: "step", Steps: s.steps,
		Bytes: c.cost.bytes, Ops: c.cost.ops}
	c.Cell, c.Scheme, c.Hidden = summary(f)
	if s.steps > 1 || s.model.TwoWay() {
		c.Mode = "seq"
	}
	c.job = &job{tier: tier, single: true, run: s.runner(c.Mode)}
	return c
}

// summary names the operations of a network that have weights or gates, the scheme of the first, and the largest hidden size.
func summary(f *format.File) (ops, scheme string, hidden int) {
	var names []string
	for _, op := range f.Ops {
		if op.Flags&format.FlagReverse == 0 {
			names = append(names, op.Kind.String())
		}
		if scheme == "" && (op.Kind.Recurrent() || op.Kind == format.Dense) {
			scheme = op.Scheme.String()
		}
		hidden = max(hidden, op.Hidden)
	}
	return strings.Join(slices.Compact(names), "+"), scheme, hidden
}

func (s subject) runner(mode string) func(n int) {
	const kept = 64 // different inputs
	m := s.model
	in, out := m.InputWidth(), m.OutputWidth()
	session := m.NewSession()
	rng := rand.New(rand.NewPCG(5, 5))
	check := func(err error) {
		if err != nil {
			panic(err) // the lengths are right and the inputs finite
		}
	}
	if mode == "step" {
		xs, y, at := uniform(rng, kept*in, 1), aligned[float32](out), 0
		return func(n int) {
			for range n {
				check(session.Step(xs[at*in:][:in], y))
				at = (at + 1) % kept
			}
		}
	}
	xs, ys := uniform(rng, s.steps*in, 1), aligned[float32](out)
	if m.PerStep() {
		ys = aligned[float32](s.steps * out)
	}
	return func(n int) {
		for range n {
			check(session.Run(xs, ys))
		}
	}
}

func (c *cellCase) result(p *prober) CellResult {
	r := c.CellResult
	j := c.job
	r.NsMin, r.NsMedian = j.min(), j.median()
	r.NsP999, r.NsMax, r.Singles, r.Allocs = quantile(j.ones, 0.999), quantile(j.ones, 1), len(j.ones), j.allocs
	read := 0.0
	for _, m := range c.cost.products {
		read += m.bytes
	}
	r.GBps, r.GOPS = read/r.NsMin, r.Ops/r.NsMin
	b := p.bound(r.Tier, c.cost)
	r.Limit, r.LimitNs, r.LimitPct = b.why, b.ns, Percent(b.ns, r.NsMin)
	r.Typical = Percent(p.medians().bound(r.Tier, c.cost).ns, r.NsMedian)
	return r
}
