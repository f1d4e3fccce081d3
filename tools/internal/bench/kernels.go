package bench

import (
	"math/rand/v2"

	"github.com/recur-go/recur/kernels"
)

// KernelResult is the time of one call of a kernel. GBps counts the bytes read that grow with the work: the weights of a product, the
// inputs of the others. GOPS counts a multiply-add as two operations; for the others, each multiplication or multiply-add as two and each
// division as one, as docs/numerics.md writes them.
type KernelResult struct {
	Kernel   string  `json:"kernel"`
	Tier     string  `json:"tier"`
	Rows     int     `json:"rows"` // elements, or hidden units, of kernels without a matrix
	Cols     int     `json:"cols"`
	Columns  int     `json:"columns"`
	NsMin    float64 `json:"ns_min"`
	NsMedian float64 `json:"ns_median"`
	GBps     float64 `json:"gbps"`
	GOPS     float64 `json:"gops"`
	Limit    string  `json:"limit"`
	LimitNs  float64 `json:"limit_ns"`
	LimitPct float64 `json:"limit_pct"`        // of the minimum, by limits that are minima
	Typical  float64 `json:"limit_pct_median"` // of the median, by limits that are medians
	Bytes    int     `json:"bytes"`
	Ops      float64 `json:"ops"`
}

// elements is how many values the kernels without a matrix take.
const elements = 256

// kernelCase is a kernel with its data.
type kernelCase struct {
	KernelResult
	job    *job
	limits func(p *prober, tier string) []bound
}

// Kernels times every kernel on every tier.
func Kernels(o Options) (*Report, error) {
	tiers, err := o.tiers()
	if err != nil {
		return nil, err
	}
	r := &Report{Machine: Describe()}
	p := newProber(&r.Machine, tiers)
	var cases []*kernelCase
	var jobs []*job
	for _, tier := range tiers {
		for _, k := range append(products(o.Quick), elementwise()...) {
			k.Tier, k.job.tier = tier, tier
			p.read(tier, k.Bytes)
			cases, jobs = append(cases, k), append(jobs, k.job)
		}
	}
	measure(append(jobs, p.jobs...), o.effort(), o.Progress)
	for _, k := range cases {
		r.Results = append(r.Results, k.result(p))
	}
	r.Limits = p.limits()
	return r, nil
}

func (k *kernelCase) result(p *prober) KernelResult {
	res := k.KernelResult
	res.NsMin, res.NsMedian = k.job.min(), k.job.median()
	res.GBps, res.GOPS = float64(res.Bytes)/res.NsMin, res.Ops/res.NsMin
	b := k.bound(p)
	res.Limit, res.LimitNs, res.LimitPct = b.why, b.ns, Percent(b.ns, res.NsMin)
	res.Typical = Percent(k.bound(p.medians()).ns, res.NsMedian)
	return res
}

func (k *kernelCase) bound(p *prober) bound {
	return binding(append(k.limits(p, k.Tier), p.readBound(k.Tier, float64(k.Bytes), k.Bytes))...)
}

func products(quick bool) (cases []*kernelCase) {
	sizes := [][2]int{{256, 128}, {512, 256}, {1024, 512}, {2048, 1024}, {8192, 4096}}
	if quick {
		sizes = [][2]int{{256, 128}, {512, 256}}
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for _, s := range sizes {
		m := randomI8(rng, s[0], s[1])
		for _, n := range []int{1, 2, 4} {
			cases = append(cases, gemvI8(rng, m, n))
		}
	}
	for _, s := range sizes[:2] {
		cases = append(cases, gemvF32(rng, s[0], s[1]))
	}
	return cases
}

func randomI8(rng *rand.Rand, rows, cols int) *kernels.MatrixI8 {
	w := make([]int8, rows*cols)
	for i := range w {
		w[i] = int8(rng.IntN(255) - 127)
	}
	packed := aligned[int8](kernels.PackedI8(rows, cols))
	copy(packed, kernels.PackI8(w, rows, cols))
	m, err := kernels.NewMatrixI8(rows, cols, packed)
	if err != nil {
		panic(err) // the sizes and weights are ours
	}
	return &m
}

func gemvI8(rng *rand.Rand, m *kernels.MatrixI8, n int) *kernelCase {
	x, sums := aligned[int8](n*m.PaddedCols()), aligned[int32](n*m.PaddedRows())
	for i := range x {
		x[i] = int8(rng.IntN(255) - 127)
	}
	k := &kernelCase{KernelResult: KernelResult{Kernel: "gemv_i8", Rows: m.Rows, Cols: m.Cols, Columns: n, Bytes: m.Bytes(),
		Ops: 2 * float64(m.Rows) * float64(m.Cols) * float64(n)}}
	k.job = &job{run: func(calls int) {
		for range calls {
			m.Mul(sums, x, n)
		}
	}}
	k.limits = func(p *prober, tier string) []bound {
		return []bound{p.portBound(tier, unitInt8, 2*float64(m.Bytes())*float64(n))}
	}
	return k
}

func gemvF32(rng *rand.Rand, rows, cols int) *kernelCase {
	packed := aligned[float32](kernels.PackedF32(rows, cols))
	copy(packed, kernels.PackF32(uniform(rng, rows*cols, 1), rows, cols))
	m, err := kernels.NewMatrixF32(rows, cols, packed)
	if err != nil {
		panic(err)
	}
	x, y, add := uniform(rng, cols, 1), aligned[float32](m.PaddedRows()), aligned[float32](m.PaddedRows())
	k := &kernelCase{KernelResult: KernelResult{Kernel: "gemv_f32", Rows: rows, Cols: cols, Columns: 1, Bytes: m.Bytes(),
		Ops: 2 * float64(rows) * float64(cols)}}
	k.job = &job{run: func(calls int) {
		for range calls {
			m.MulAdd(y, add, 0, x, cols, 1)
		}
	}}
	k.limits = func(p *prober, tier string) []bound {
		return []bound{p.portBound(tier, unitMulAdd, 2*float64(m.Bytes())/4)}
	}
	return k
}

func elementwise() []*kernelCase {
	rng := rand.New(rand.NewPCG(3, 3))
	const n = elements
	x, y, z, u := uniform(rng, n, 4), aligned[float32](n), uniform(rng, 4*n, 4), uniform(rng, 3*n, 4)
	h, c := uniform(rng, n, 1), uniform(rng, n, 1)
	inv, scale := uniform(rng, n, 30), uniform(rng, n, 0.01)
	hi, lo := aligned[int8](n), aligned[int8](n)
	sums, sums2 := aligned[int32](n), aligned[int32](n)
	for i := range sums {
		sums[i], sums2[i] = int32(rng.IntN(20000)-10000), int32(rng.IntN(20000)-10000)
	}
	return []*kernelCase{
		element("quantise_i8", 8, 1, 0, func() { kernels.QuantiseI8(hi, x, inv) }),
		element("quantise_i16", 8, 3, 0, func() { kernels.QuantiseI16(hi, lo, x, inv) }),
		element("dequantise_i8", 12, 1, 0, func() { kernels.Dequantise(y, sums, scale, x) }),
		element("dequantise_i16", 16, 2, 0, func() { kernels.DequantiseI16(y, sums, sums2, scale, x) }),
		element("sigmoid", 4, 10, 1, func() { kernels.Sigmoid(y, x) }),
		element("tanh", 4, 9, 1, func() { kernels.Tanh(y, x) }),
		element("lstm_gates", 20, 56, 2, func() { kernels.LSTM(h, c, z) }),
		element("gru_gates", 28, 34, 2, func() { kernels.GRU(h, z[:3*n], u) }),
		element("rnn_gates", 4, 9, 1, func() { kernels.RNN(h, z[:n]) }),
	}
}

// element is a kernel that for each element or hidden unit reads some bytes, multiplies and divides.
func element(name string, bytes int, muls, divs float64, f func()) *kernelCase {
	k := &kernelCase{KernelResult: KernelResult{Kernel: name, Rows: elements, Cols: 1, Columns: 1, Bytes: bytes * elements, Ops: (2*muls + divs) * elements}}
	k.job = &job{run: func(calls int) {
		for range calls {
			f()
		}
	}}
	k.limits = func(p *prober, tier string) []bound {
		return []bound{p.portBound(tier, unitFMA, 2*muls*elements), p.portBound(tier, unitDivide, divs*elements)}
	}
	return k
}
