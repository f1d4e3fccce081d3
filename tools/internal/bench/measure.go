package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/recur-go/recur/kernels"
)

// effort is how long a run measures.
type effort struct {
	rounds  int
	batch   time.Duration // of calls timed together
	share   time.Duration // of a round, at most, for one case: slower cases sit rounds out
	samples int           // batches that a case gets however slow it is
	singles int           // calls a round that are timed one by one
}

func (o *Options) effort() effort {
	if o.Quick {
		return effort{rounds: 12, batch: 20 * time.Microsecond, share: 100 * time.Microsecond, samples: 1, singles: 8}
	}
	return effort{rounds: 300, batch: 60 * time.Microsecond, share: 400 * time.Microsecond, samples: 7, singles: 40}
}

// job is something to time.
type job struct {
	tier   string // to set before it runs, or empty
	run    func(n int)
	single bool // also time calls one by one

	calls, every int
	batches      []float64 // ns a call
	ones         []float64 // ns
	allocs       float64
}

func (j *job) min() float64 {
	if len(j.batches) == 0 {
		return 0
	}
	return slices.Min(j.batches)
}

func (j *job) median() float64 { return quantile(j.batches, 0.5) }

// quantile returns the smallest value that at least the share q of v does not exceed; v is sorted afterwards.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[max(0, int(math.Ceil(q*float64(len(v))))-1)]
}

// measure times all jobs in turns: many short rounds, each in another order, so that what else the machine does meets all alike.
func measure(jobs []*job, e effort, progress func(done, total int)) {
	defer kernels.SetTier(kernels.Tier())
	for _, j := range jobs {
		j.calibrate(e)
	}
	order := rand.New(rand.NewPCG(1, 1))
	turns := slices.Clone(jobs)
	for r := range e.rounds {
		order.Shuffle(len(turns), func(a, b int) { turns[a], turns[b] = turns[b], turns[a] })
		for _, j := range turns {
			if r%j.every == 0 {
				j.turn(e)
			}
		}
		if progress != nil {
			progress(r+1, e.rounds)
		}
	}
}

func (j *job) enter() {
	if j.tier != "" {
		kernels.SetTier(j.tier) // one of kernels.Tiers()
	}
}

// calibrate finds how many calls make a batch.
func (j *job) calibrate(e effort) {
	j.enter()
	j.run(1)
	j.calls, j.every = 1, 1
	took := j.time(1)
	for took < e.batch && j.calls < 1<<20 {
		n := 2 * j.calls
		if took > 0 {
			n = max(n, min(100*j.calls, int(float64(j.calls)*float64(e.batch)/float64(took))))
		}
		j.calls = n
		took = j.time(n)
	}
	j.every = max(1, min(int(2*took/e.share), e.rounds/e.samples))
	turns := (e.rounds + j.every - 1) / j.every
	j.batches = make([]float64, 0, turns)
	if j.single {
		each := float64(took) / float64(j.calls)
		e.singles = max(1, min(e.singles, int(4*float64(e.share)/each)))
		j.ones = make([]float64, 0, turns*e.singles)
		j.allocs = allocations(j.run)
	}
}

// turn times one batch after a few calls that bring caches and branch predictors back.
func (j *job) turn(e effort) {
	j.enter()
	j.run(max(1, j.calls/8))
	j.batches = append(j.batches, float64(j.time(j.calls))/float64(j.calls))
	if j.single {
		turns := cap(j.batches)
		for range cap(j.ones) / turns {
			j.ones = append(j.ones, float64(j.time(1)))
		}
	}
}

func (j *job) time(n int) time.Duration {
	start := time.Now()
	j.run(n)
	return time.Since(start)
}

// clockNs is what two readings of the clock with nothing in between measure, in nanoseconds; a call timed alone includes it.
func clockNs() float64 {
	var v [999]float64
	for i := range v {
		start := time.Now()
		v[i] = float64(time.Since(start))
	}
	return quantile(v[:], 0.5)
}
