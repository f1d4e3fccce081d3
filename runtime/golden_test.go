package runtime_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

var update = flag.Bool("update", false, "write the golden files")

// golden is the hash of the outputs of every cell, direction, pooling and scheme: the same on every platform and tier.
const golden = "2ff05130cead560191c086561d6ba744c41d505246048c260232ee0db35baf58"

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

// goldenFiles are models of every kind of operation in all schemes, with the hash of what they put out.
var goldenFiles = map[string]string{
	"testdata/everything.recur": "f6107beab7428bedf8bad8686bf20e8b6bbc2cb88415b348740dfbf096e059ce",
	"testdata/pooled.recur":     "bb22149d0c7ce252629c7cbf2afd9127d6014c899ee379d52b6cbe2fde3f3c25",
}

// writeGolden writes a model of everything, in which operations take turns with the schemes.
func writeGolden(t *testing.T, path string) {
	t.Helper()
	r := random{rand.New(rand.NewPCG(1, 33))}
	g := everything(r, path == "testdata/pooled.recur")
	o := quant.Options{Calib: [][]float32{r.vector(12*40, 1)}}
	for i := range g.Ops {
		o.Schemes = append(o.Schemes, []format.Scheme{format.F32, format.W8A8, format.W8A16}[i%3])
	}
	f, err := quant.Build(g, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := format.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenFiles runs files as they were written once, on numbers that no function of package math made.
func TestGoldenFiles(t *testing.T) {
	for path, want := range goldenFiles {
		if *update {
			writeGolden(t, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := runtime.Load(b)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(2, 33))
		x := make([]float32, 60*m.InputWidth())
		for i := range x {
			x[i] = float32(rng.IntN(4001)-2000) / 1000
		}
		sum := sha256.New()
		for _, y := range run(t, m, x) {
			binary.Write(sum, binary.LittleEndian, math.Float32bits(y))
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			t.Errorf("%s, tier %s: outputs hash to %s, want %s", path, kernels.Tier(), got, want)
		}
	}
}
