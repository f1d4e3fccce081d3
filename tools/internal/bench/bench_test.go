package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct{ limit, ns, want float64 }{
		{90, 100, 90}, {100, 100, 100}, {0, 100, 0}, {100, 0, 0}, {math.NaN(), 1, 0},
	} {
		if got := Percent(c.limit, c.ns); got != c.want {
			t.Errorf("Percent(%v, %v) = %v, want %v", c.limit, c.ns, got, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	v := make([]float64, 1000)
	for i := range v {
		v[i] = float64((i*7919)%1000 + 1)
	}
	for _, c := range []struct{ q, want float64 }{{0, 1}, {0.5, 500}, {0.999, 999}, {1, 1000}} {
		if got := quantile(v, c.q); got != c.want {
			t.Errorf("quantile %v of 1 to 1000 is %v, want %v", c.q, got, c.want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

// fixed is a prober that has found 4 bytes and 8 int8 operations a nanosecond on the portable tier.
func fixed() *prober {
	m := &Machine{Caches: []Cache{{Level: 1, Bytes: 1 << 20}}}
	p := &prober{machine: m, reads: map[readKey]*job{}, ports: map[portKey]*job{}, gates: map[gateKey]*job{}, of: (*job).min}
	for _, n := range []int{1024, 2048, 4096, 8192} {
		p.reads[p.readKey("portable", n)] = &job{batches: []float64{float64(n) / 4, float64(n), float64(n)}}
	}
	p.ports[portKey{"portable", unitInt8}] = &job{batches: []float64{goProbes.ports[unitInt8].ops / 8}}
	return p
}

func TestBounds(t *testing.T) {
	p := fixed()
	if b := p.readBound("portable", 512, 1024); b != (bound{"read L1", 128}) {
		t.Errorf("reading 512 bytes at 4 bytes a nanosecond: %v", b)
	}
	if b := p.portBound("portable", unitInt8, 800); b != (bound{"int8 ports", 100}) {
		t.Errorf("800 operations at 8 a nanosecond: %v", b)
	}
	k := kernelCase{KernelResult: KernelResult{Tier: "portable", Bytes: 1024, Ops: 2048}, job: &job{batches: []float64{1000, 512, 700}},
		limits: func(p *prober, tier string) []bound { return []bound{p.portBound(tier, unitInt8, 2048)} }}
	if r := k.result(p); r.NsMin != 512 || r.NsMedian != 700 || r.GBps != 2 || r.GOPS != 4 || r.Limit != "read L1" && r.Limit != "int8 ports" || r.LimitNs != 256 || r.LimitPct != 50 || r.Typical != 100*1024/700.0 {
		t.Errorf("result %+v", r)
	}
}

func TestCellBound(t *testing.T) {
	m, err := Cell{Kind: format.LSTM, Scheme: format.W8A8, Input: 8, Hidden: 8, Steps: 1}.model()
	if err != nil {
		t.Fatal(err)
	}
	gates := gateKey{tier: "portable", kind: format.LSTM, units: 8}
	for _, c := range []struct {
		steps        int
		reading, ops float64
		want         float64
	}{
		// W and U are 32 by 8: 256 bytes, 512 operations each, so the 64 ns of multiplying bind, not the 64 of reading 256 bytes.
		{1, 512, 1024, 64 + 64 + 10},
		{32, 256*2 + 256*32, 1024 * 32, 32 * (64 + 64 + 10)},
	} {
		k := costOf(m.File(), c.steps)
		p := fixed()
		for _, n := range []int{256, 512} {
			p.reads[p.readKey("portable", n)] = &job{batches: []float64{512.0 / 4}}
		}
		p.gates[gates] = &job{batches: []float64{10}}
		reading, ops := 0.0, 0.0
		for _, q := range k.products {
			reading, ops = reading+q.bytes, ops+q.ops
		}
		if reading != c.reading || ops != c.ops || k.ops != c.ops || k.bytes != 512 {
			t.Errorf("%d steps: %v bytes read, %v operations (%v), %d bytes", c.steps, reading, ops, k.ops, k.bytes)
		}
		if b := p.bound("portable", k); math.Abs(b.ns-c.want) > 1e-9 || !strings.HasSuffix(b.why, " + gates") {
			t.Errorf("%d steps: bound %+v, want %v", c.steps, b, c.want)
		}
	}
}

func TestKernelsQuick(t *testing.T) {
	start := time.Now()
	r, err := Kernels(Options{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 3*time.Second && !testing.Short() {
		t.Errorf("a quick run took %v", d)
	}
	checkJSON(t, r, "kernel", "tier", "rows", "cols", "columns", "ns_min", "ns_median", "gbps", "gops", "limit", "limit_pct")
	names := map[string]bool{}
	for _, x := range r.Results {
		k := x.(KernelResult)
		names[k.Tier+" "+k.Kernel] = true
		if !(k.NsMin > 0 && k.NsMedian >= k.NsMin && k.GBps > 0 && k.GOPS > 0 && k.LimitPct > 0) || k.Limit == "" {
			t.Errorf("%+v", k)
		}
	}
	for _, tier := range kernels.Tiers() {
		for _, k := range []string{"gemv_i8", "gemv_f32", "quantise_i8", "dequantise_i8", "lstm_gates", "gru_gates", "rnn_gates", "sigmoid", "tanh"} {
			if !names[tier+" "+k] {
				t.Errorf("tier %s: no %s", tier, k)
			}
		}
	}
	checkPages(t, r)
}

func TestCellsQuick(t *testing.T) {
	tier := kernels.Tier()
	cells := []Cell{
		{Kind: format.LSTM, Scheme: format.W8A8, Input: 6, Hidden: 32, Steps: 1},
		{Kind: format.GRU, Scheme: format.W8A16, Input: 3, Hidden: 20, Steps: 7},
		{Kind: format.RNN, Scheme: format.F32, Input: 6, Hidden: 16, Steps: 5, TwoWay: true, Classes: 4},
	}
	r, err := Cells(Options{Quick: true, Tiers: []string{tier}}, cells)
	if err != nil {
		t.Fatal(err)
	}
	checkJSON(t, r, "cell", "scheme", "tier", "input", "hidden", "mode", "steps", "ns_min", "ns_median", "ns_p999", "allocs", "limit_pct")
	for i, x := range r.Results {
		c := x.(CellResult)
		if c.Scheme != cells[i].Scheme.String() || c.Input != cells[i].Input || c.Hidden != cells[i].Hidden || c.Steps != cells[i].Steps || c.Tier != tier {
			t.Errorf("%+v of %+v", c, cells[i])
		}
		if !(c.NsMin > 0 && c.NsMedian >= c.NsMin && c.NsP999 > 0 && c.NsMax >= c.NsP999 && c.LimitPct > 0) || c.Allocs != 0 {
			t.Errorf("%+v", c)
		}
		if want := []string{"step", "seq"}[min(1, c.Steps-1)]; c.Mode != want {
			t.Errorf("%d steps: mode %s", c.Steps, c.Mode)
		}
	}
	checkPages(t, r)
	if kernels.Tier() != tier {
		t.Errorf("the tier is now %s", kernels.Tier())
	}
}

func TestModel(t *testing.T) {
	c := Cell{Kind: format.LSTM, Scheme: format.W8A8, Input: 6, Hidden: 12, Steps: 1}
	m, err := c.model()
	if err != nil {
		t.Fatal(err)
	}
	b, err := format.Encode(m.File())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.recur")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Model(Options{Quick: true, Tiers: kernels.Tiers()[:1]}, path, 10)
	if err != nil {
		t.Fatal(err)
	}
	var modes []string
	for _, x := range r.Results {
		modes = append(modes, x.(CellResult).Mode)
		if c := x.(CellResult); c.Model != "m.recur" || c.Cell != "lstm" {
			t.Errorf("%+v", c)
		}
	}
	if !slices.Equal(modes, []string{"step", "seq"}) {
		t.Errorf("modes %v", modes)
	}
	if _, err := Model(Options{Quick: true}, path+".not", 10); err == nil {
		t.Error("a file that does not exist was timed")
	}
	// Weights of size 0 and gates only after a pooling: every operation counts once.
	f, err := quant.Build(&quant.Graph{
		Input:  format.Input{Channels: []format.Channel{{Name: "x"}}},
		Values: []format.Value{{Width: 1, PerStep: true}, {Width: 1}, {Width: 3}}, Output: 2,
		Ops: []quant.Op{
			{Kind: format.Last, Name: "last", In: []format.Ref{{Width: 1}}, Out: format.Ref{Value: 1, Width: 1}},
			{Kind: format.Dense, Name: "dense", In: []format.Ref{{Value: 1, Width: 1}}, Out: format.Ref{Value: 2, Width: 3}, W: []float32{1, 2, 3}}},
	}, quant.Options{Scheme: format.F32})
	if err != nil {
		t.Fatal(err)
	}
	if k := costOf(f, 50); len(k.products) != 1 || k.products[0].ops != 2*32 || k.ops != 2*3 {
		t.Errorf("cost %+v of one product a sequence", k)
	}
}

func TestRefused(t *testing.T) {
	if _, err := Kernels(Options{Tiers: []string{"abacus"}}); err == nil || !strings.Contains(err.Error(), `"abacus"`) {
		t.Errorf("tier abacus: %v", err)
	}
	for _, c := range []Cell{
		{Kind: format.Dense, Input: 1, Hidden: 1, Steps: 1},
		{Kind: format.LSTM, Input: 0, Hidden: 1, Steps: 1},
		{Kind: format.LSTM, Input: 1 << 16, Hidden: 1 << 16, Steps: 1},
		{Kind: format.LSTM, Input: 1, Hidden: 1},
		{Kind: format.LSTM, Input: 1, Hidden: 1, Steps: 1, TwoWay: true},
	} {
		if _, err := Cells(Options{Quick: true}, []Cell{c}); err == nil {
			t.Errorf("%+v was timed", c)
		}
	}
}

// TestLimitRoutines runs the probes of every tier that this CPU has: a routine that is named but absent would not link, one that this
// CPU lacks would fault.
func TestLimitRoutines(t *testing.T) {
	p := make([]byte, 4*readBlock)
	for _, tier := range kernels.Tiers() {
		pr := tierProbes(tier)
		pr.read(p)
		if pr.ports[unitInt8].run == nil || pr.ports[unitFMA].run == nil {
			t.Errorf("tier %s has no ceiling for int8 or for fused products", tier)
		}
		for u, q := range pr.ports {
			q.run(0)
			q.run(3)
			if q.ops <= 0 || q.instructions == "" {
				t.Errorf("tier %s, %s: %+v", tier, u, q)
			}
		}
	}
}

func TestCaches(t *testing.T) {
	dir := t.TempDir()
	for i, c := range [][3]string{{"1", "48K", "Data"}, {"1", "32K", "Instruction"}, {"2", "1024K", "Unified"}, {"3", "32M", "Unified"}} {
		index := filepath.Join(dir, "index"+string(rune('0'+i)))
		os.Mkdir(index, 0o700)
		for j, name := range []string{"level", "size", "type"} {
			if err := os.WriteFile(filepath.Join(index, name), []byte(c[j]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := Machine{Caches: sysfsCaches(dir)}
	if len(m.Caches) != 3 || m.Caches[1].Bytes != 1<<20 {
		t.Fatalf("caches %+v", m.Caches)
	}
	for n, want := range map[int]string{1: "L1", 48 << 10: "L1", 49 << 10: "L2", 2 << 20: "L3", 33 << 20: "DRAM"} {
		if got := m.level(n); got != want {
			t.Errorf("%d bytes lie in %s, want %s", n, got, want)
		}
	}
	if got := levelSizes(m.Caches); !slices.Equal(got, []int{24 << 10, 512 << 10, 16 << 20, 128 << 20}) {
		t.Errorf("sizes %v", got)
	}
	if m := (Machine{}); m.level(1) != "" || len(levelSizes(nil)) == 0 {
		t.Error("a machine of which no cache is known")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.12345: "0.123", 1: "1", 1.999: "2", 12.34: "12.3", 123.4: "123", 12345.6: "12346"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func checkJSON(t *testing.T, r *Report, fields ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &top); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"machine", "limits", "results"} {
		if _, ok := top[k]; !ok {
			t.Errorf("no %q", k)
		}
	}
	var results []map[string]any
	if err := json.Unmarshal(top["results"], &results); err != nil || len(results) == 0 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, x := range results {
		for _, k := range fields {
			if _, ok := x[k]; !ok {
				t.Errorf("result without %q: %v", k, x)
			}
		}
	}
}

var external = regexp.MustCompile(`(?i)(src|href)\s*=|https?://|@import|url\(|<script`)

func checkPages(t *testing.T, r *Report) {
	t.Helper()
	var page, text bytes.Buffer
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if s := page.String(); !strings.Contains(s, "<svg") || strings.Count(s, "<svg") != strings.Count(s, "</svg>") || strings.Contains(s, "ZgotmplZ") || strings.Contains(s, "NaN") {
		t.Error("the page has no proper SVG")
	}
	if m := external.FindString(page.String()); m != "" {
		t.Errorf("the page refers to something outside: %q", m)
	}
	r.Text(&text)
	for _, want := range []string{"tiers", "GB/s", "ceilings", "roofline", "op/byte"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if strings.Contains(text.String(), "NaN") {
		t.Error("the text has NaN")
	}
}
