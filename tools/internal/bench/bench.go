// Package bench times the kernels and whole networks, and says how near each comes to what the machine can do at all: the rate at which
// a loop of loads reads memory, and the rate at which independent instructions multiply, both measured in the same run.
package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/kernels"
)

// Options say what to time and for how long.
type Options struct {
	Tiers    []string // all that this CPU can run, if empty
	Quick    bool     // a few rounds: numbers that only show that everything works
	Progress func(done, total int)
}

func (o *Options) tiers() ([]string, error) {
	have := kernels.Tiers()
	if len(o.Tiers) == 0 {
		return have, nil
	}
	for _, t := range o.Tiers {
		if !slices.Contains(have, t) {
			return nil, fmt.Errorf("tier %q: this build on this CPU has %s", t, strings.Join(have, ", "))
		}
	}
	return o.Tiers, nil
}

// Report is what a run of the benchmarks found. Results holds KernelResult or CellResult values.
type Report struct {
	Machine Machine `json:"machine"`
	Limits  Limits  `json:"limits"`
	Results []any   `json:"results"`
}

// Percent is the share of a limit that is reached, 100 where the time taken is the least possible. It is 0 where the limit is unknown.
func Percent(limitNs, ns float64) float64 {
	if !(limitNs > 0 && ns > 0) {
		return 0
	}
	return 100 * limitNs / ns
}
