package runtime_test

import (
	"math/rand/v2"
	goruntime "runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// BenchmarkPause reports how long the garbage collector stops the world while a goroutine steps a model of 8 MB: assembly cannot be
// stopped half-way, so a long call would make everybody wait.
func BenchmarkPause(b *testing.B) {
	const hidden = 1024
	r := random{rand.New(rand.NewPCG(1, 11))}
	all := func(v, n int) format.Ref { return format.Ref{Value: v, Width: n} }
	g := &quant.Graph{Input: format.Input{Channels: channels(hidden)}, Output: 1,
		Values: []format.Value{{Width: hidden, PerStep: true}, {Width: hidden, PerStep: true}},
		Ops:    []quant.Op{r.cellOp(format.LSTM, 0, all(0, hidden), all(1, hidden))}}
	m := build(b, g, quant.Options{Scheme: format.W8A8, Range: 4})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s := m.NewSession()
		x, y := make([]float32, hidden), make([]float32, hidden)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 100 {
				if err := s.Step(x, y); err != nil {
					panic(err)
				}
			}
		}
	}()
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	read := func() *metrics.Float64Histogram {
		metrics.Read(sample)
		return sample[0].Value.Float64Histogram()
	}
	before := append([]uint64(nil), read().Counts...)
	for b.Loop() {
		goruntime.GC()
		time.Sleep(time.Millisecond)
	}
	after := read()
	close(stop)
	<-done
	var total, seen uint64
	for i := range after.Counts {
		after.Counts[i] -= before[i]
		total += after.Counts[i]
	}
	for _, q := range []struct {
		name  string
		share float64
	}{{"median-µs", 0.5}, {"p90-µs", 0.9}} {
		seen = 0
		for i, n := range after.Counts {
			if seen += n; float64(seen) >= q.share*float64(total) {
				b.ReportMetric(after.Buckets[i+1]*1e6, q.name)
				break
			}
		}
	}
}
