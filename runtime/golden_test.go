package runtime_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// golden is the hash of the outputs of every cell, direction, pooling and scheme: the same on every platform and tier.
const golden = "2c0cd137d975e97a39cfeb7d8a68d7ab6e76120fb3744c40b0d5e4979260fec9"

func TestGolden(t *testing.T) {
	const in, steps = 6, 37
	sum := sha256.New()
	for i, v := range variants() {
		r := random{rand.New(rand.NewPCG(uint64(i), 10))}
		g := r.network(v.kind, v.flags, in, v.hidden, v.twoWay, v.pool)
		x := r.vector(in*steps, 1)
		for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
			for _, y := range run(t, build(t, g, quant.Options{Scheme: scheme, Calib: [][]float32{x}}), x) {
				binary.Write(sum, binary.LittleEndian, math.Float32bits(y))
			}
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != golden {
		t.Errorf("tier %s: outputs hash to %s, want %s", kernels.Tier(), got, golden)
	}
}
