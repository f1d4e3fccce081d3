package runtime_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// pair is a batch and a session for each of its streams, which must always agree.
type pair struct {
	m        *runtime.Model
	batch    *runtime.Batch
	sessions []*runtime.Session
	r        random
}

func newPair(t *testing.T, m *runtime.Model, n int, r random) *pair {
	t.Helper()
	b, err := m.NewBatch(n)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{m: m, batch: b, r: r}
	for range n {
		p.sessions = append(p.sessions, m.NewSession())
	}
	return p
}

// some streams in any order, or neighbours.
func (p *pair) some() []int {
	n := len(p.sessions)
	streams := p.r.Perm(n)
	if p.r.IntN(3) == 0 {
		slices.Sort(streams)
	}
	from := p.r.IntN(n)
	return streams[from : from+p.r.IntN(n-from+1)]
}

// features are numbers that no function of package math made.
func (p *pair) features(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(p.r.IntN(4001)-2000) / 1000
	}
	return x
}

func (p *pair) step(t *testing.T, streams []int) {
	t.Helper()
	in, out := p.m.InputWidth(), p.m.OutputWidth()
	xs := p.features(len(streams) * in)
	got, want := make([]float32, len(streams)*out), make([]float32, len(streams)*out)
	if err := p.batch.Step(streams, xs, got); err != nil {
		t.Fatal(err)
	}
	for row, k := range streams {
		if err := p.sessions[k].Step(xs[row*in:][:in], want[row*out:][:out]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("streams %v, row %d: output %d is %v, a session gives %v", streams, i/out, i%out, got[i], want[i])
		}
	}
}

// change resets, copies or restores a stream.
func (p *pair) change(t *testing.T) {
	t.Helper()
	saved, other := make([]byte, p.batch.StateSize()), make([]byte, p.batch.StateSize())
	i, k := p.r.IntN(len(p.sessions)), p.r.IntN(len(p.sessions))
	var err error
	switch p.r.IntN(3) {
	case 0:
		p.sessions[i].Reset()
		err = p.batch.Reset(i)
	case 1:
		err = errors.Join(p.sessions[k].Save(saved), p.sessions[i].Restore(saved), p.batch.Copy(i, k))
	case 2:
		err = errors.Join(p.batch.Save(k, saved), p.sessions[k].Save(other), p.sessions[i].Restore(saved), p.batch.Restore(i, other))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pair) compareStates(t *testing.T) {
	t.Helper()
	got, want := make([]byte, p.batch.StateSize()), make([]byte, p.sessions[0].StateSize())
	for i, s := range p.sessions {
		if err := errors.Join(p.batch.Save(i, got), s.Save(want)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("stream %d has another state than its session", i)
		}
	}
}

func (p *pair) run(t *testing.T, rounds int) {
	t.Helper()
	all := make([]int, len(p.sessions))
	for i := range all {
		all[i] = i
	}
	p.step(t, all)
	for range rounds {
		p.step(t, p.some())
		p.change(t)
	}
	p.compareStates(t)
}

func goldenModels(t *testing.T) (ms []*runtime.Model) {
	for path := range goldenFiles {
		m, err := runtime.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		ms = append(ms, m)
	}
	return ms
}

// TestBatch lets streams come and go in batches of cells of every kind, beside sessions of their own.
func TestBatch(t *testing.T) {
	for i, v := range variants() {
		if v.twoWay || testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(v.String(), func(t *testing.T) {
			r := random{rand.New(rand.NewPCG(uint64(i), 40))}
			g := r.network(v.kind, v.flags, 6, v.hidden, false, v.pool)
			x := r.vector(6*37, 1)
			for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
				m := build(t, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
				newPair(t, m, 1+r.IntN(20), r).run(t, 6)
			}
		})
	}
}

// TestBatchEverything does so with every kind of operation.
func TestBatchEverything(t *testing.T) {
	ms, _ := modelsOfEverything(t, 3)
	for i, m := range append(ms, goldenModels(t)...) {
		r := random{rand.New(rand.NewPCG(uint64(i), 41))}
		for _, n := range []int{1, 2, 37} {
			newPair(t, m, n, r).run(t, 6)
		}
	}
}

// TestBatchLarge has more weights than a first-level cache holds, or than one call goes through.
func TestBatchLarge(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 42))}
	for _, kind := range []format.Kind{format.LSTM, format.GRU} {
		g := r.network(kind, 0, 70, 200, false, 0)
		x := r.vector(70*10, 1)
		for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
			m := build(t, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}})
			newPair(t, m, 17, r).run(t, 4)
		}
	}
}

func TestBatchErrors(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 43))}
	m := build(t, r.network(format.GRU, 0, 3, 8, false, 0), quant.Options{})
	p := newPair(t, m, 4, r)
	p.run(t, 3)
	nan := float32(math.NaN())
	x := func(rows int, bad ...int) []float32 {
		v := make([]float32, rows*3)
		for _, i := range bad {
			v[i] = nan
		}
		return v
	}
	ys := func(rows int) []float32 { return slices.Repeat([]float32{7}, rows*5) }
	for _, c := range []struct {
		streams []int
		xs, ys  []float32
		want    string
	}{
		{[]int{0, 1}, x(1), ys(2), "the model takes 6 and gives 10"},
		{[]int{0, 1}, x(2), ys(3), "the model takes 6 and gives 10"},
		{nil, x(1), ys(0), "step of 0 streams"},
		{[]int{0, 4}, x(2), ys(2), "row 1: stream 4 of 4"},
		{[]int{-1}, x(1), ys(1), "row 0: stream -1 of 4"},
		{[]int{2, 0, 2}, x(3), ys(3), "row 2: stream 2 is listed twice"},
		{[]int{2, 3}, x(2, 4), ys(2), "row 1 (stream 3): feature 1 (x1) is NaN"},
	} {
		err := p.batch.Step(c.streams, c.xs, c.ys)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("streams %v: error %v, want %q", c.streams, err, c.want)
		}
		if slices.ContainsFunc(c.ys, func(v float32) bool { return v != 7 }) {
			t.Errorf("streams %v: an error changed the output", c.streams)
		}
	}
	for i, err := range []error{p.batch.Reset(4), p.batch.Reset(-1), p.batch.Copy(0, 4), p.batch.Copy(-1, 0), p.batch.Save(4, nil), p.batch.Restore(4, nil),
		p.batch.Save(0, make([]byte, 3)), p.batch.Restore(0, make([]byte, p.batch.StateSize()))} {
		if err == nil {
			t.Errorf("call %d: no error", i)
		}
	}
	p.compareStates(t)
	p.run(t, 3)

	if _, err := m.NewBatch(0); err == nil {
		t.Error("a batch of no streams")
	}
	if _, err := build(t, r.network(format.GRU, 0, 3, 8, true, 0), quant.Options{}).NewBatch(2); !errors.Is(err, runtime.ErrTwoWay) {
		t.Errorf("a batch of a two-way model: %v", err)
	}
	for _, n := range []int{1 << 26, math.MaxInt} {
		if _, err := m.NewBatch(n); err == nil {
			t.Errorf("a batch of %d streams is within the limit", n)
		}
	}
}

func TestBatchAllocatesNothing(t *testing.T) {
	ms, _ := modelsOfEverything(t, 4)
	was := kernels.Tier()
	defer kernels.SetTier(was)
	for _, tier := range kernels.Tiers() {
		kernels.SetTier(tier)
		for _, m := range ms {
			b, err := m.NewBatch(20)
			if err != nil {
				t.Fatal(err)
			}
			streams := rand.New(rand.NewPCG(1, 44)).Perm(20)
			x, y, saved := make([]float32, 20*m.InputWidth()), make([]float32, 20*m.OutputWidth()), make([]byte, b.StateSize())
			if a := testing.AllocsPerRun(3, func() {
				if err := errors.Join(b.Step(streams, x, y), b.Save(1, saved), b.Restore(2, saved), b.Copy(4, 3), b.Reset(5)); err != nil {
					t.Fatal(err)
				}
			}); a != 0 {
				t.Errorf("tier %s: %v allocations", tier, a)
			}
		}
	}
}
