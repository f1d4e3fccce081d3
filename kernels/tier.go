package kernels

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// table is a tier: an implementation of every kernel. All give the same bits as portable. Length checks belong to the exported
// functions, before the call: assembly does not check.
type table struct {
	name          string
	mulI8         func(m *MatrixI8, sums []int32, x []int8, n int)
	quantiseI8    func(q []int8, x, inv []float32)
	quantiseI16   func(hi, lo []int8, x, inv []float32)
	dequantise    func(y []float32, sums []int32, scale, add []float32)
	dequantiseI16 func(y []float32, hi, lo []int32, scale, add []float32)
	lstm          func(h, c, z []float32)
	lstmPeephole  func(h, c, z, peep []float32)
	gru           func(h, x, u []float32)
	gruReset      func(rh, h, x, u []float32)
	gruUpdate     func(h, x, u, un []float32)
	rnn           func(h, z []float32)
	rnnReLU       func(h, z []float32)
	tanh          func(y, x []float32)
	sigmoid       func(y, x []float32)
	mulAddF32     func(m *MatrixF32, y, add []float32, addStride int, x []float32, stride, n int)

	// linear8 and linear16 are LinearI8.Mul8 and Mul16 where a tier can do better than to quantise, multiply and dequantise one after
	// the other; or nil.
	linear8, linear16 func(l *LinearI8, w *Work, y, add []float32, addStride int, x []float32, stride, n int)
	// back is linear8 of one column, from the last weights to the first, for matrices of more than backBytes; or nil.
	back      func(l *LinearI8, q []int8, y, add, x []float32)
	backBytes int
	// rowSums says that mulI8 wants MatrixI8.start.
	rowSums bool
}

var portable = table{
	name:          "portable",
	mulI8:         mulI8,
	quantiseI8:    quantiseI8,
	quantiseI16:   quantiseI16,
	dequantise:    dequantise,
	dequantiseI16: dequantiseI16,
	lstm:          lstm,
	lstmPeephole:  lstmPeephole,
	gru:           gru,
	gruReset:      gruReset,
	gruUpdate:     gruUpdate,
	rnn:           rnn,
	rnnReLU:       rnnReLU,
	tanh:          tanh,
	sigmoid:       sigmoid,
	mulAddF32:     mulAddF32,
}

// tiers lists what this CPU can run, the slowest first; the last is the default.
var tiers = append([]*table{&portable}, archTiers()...)

var (
	active  = tiers[len(tiers)-1]
	tierErr error
)

func init() {
	if name := os.Getenv("RECUR_TIER"); name != "" {
		tierErr = SetTier(name)
	}
}

// Tiers lists the tiers that this CPU can run, the slowest first.
func Tiers() []string {
	names := make([]string, len(tiers))
	for i, t := range tiers {
		names[i] = t.name
	}
	return names
}

// Tier is the tier in use: the fastest, or the one that the environment variable RECUR_TIER names.
func Tier() string { return active.name }

// TierError is what was wrong with RECUR_TIER, if anything was.
func TierError() error { return tierErr }

// SetTier changes the tier, for tests and benchmarks. No kernel may be running.
func SetTier(name string) error {
	i := slices.IndexFunc(tiers, func(t *table) bool { return t.name == name })
	if i < 0 {
		return fmt.Errorf("tier %q: this build on this CPU has %s", name, strings.Join(Tiers(), ", "))
	}
	active = tiers[i]
	return nil
}
