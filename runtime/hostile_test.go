package runtime_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

func sampleFile(t testing.TB) []byte {
	r := random{rand.New(rand.NewPCG(4, 9))}
	f, err := quant.Build(r.network(format.GRU, format.FlagResetBefore, 3, 12, true, format.Mean), quant.Options{Scheme: format.W8A8, Range: 3})
	if err != nil {
		t.Fatal(err)
	}
	b, err := format.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reseal makes the checksums right again, from docs/format.md, so that what follows them is tried.
func reseal(b []byte) {
	sum := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	le := binary.LittleEndian
	if len(b) < 32 {
		return
	}
	n := int(le.Uint16(b[10:]))
	if len(b) < 32+32*n {
		return
	}
	for e := 32; e < 32+32*n; e += 32 {
		off, size := le.Uint64(b[e+8:]), le.Uint64(b[e+16:])
		if off <= uint64(len(b)) && size <= uint64(len(b))-off {
			le.PutUint32(b[e+4:], sum(b[off:off+size]))
		}
	}
	le.PutUint32(b[12:], sum(b[32:32+32*n]))
	le.PutUint64(b[16:], uint64(len(b)))
	le.PutUint32(b[28:], sum(b[:28]))
}

func TestCorruption(t *testing.T) {
	good := sampleFile(t)
	if _, err := runtime.Load(good); err != nil {
		t.Fatal(err)
	}
	named := func(what string, b []byte) {
		t.Helper()
		_, err := runtime.Load(b)
		var e *format.Error
		if !errors.As(err, &e) || e.Section == "" || !strings.Contains(err.Error(), e.Section) {
			t.Fatalf("%s: %v, want an error that names the section", what, err)
		}
	}
	for n := range good {
		named("truncated", good[:n:n])
	}
	named("extended", append(append([]byte(nil), good...), make([]byte, 64)...))
	rng := rand.New(rand.NewPCG(5, 9))
	bad := append([]byte(nil), good...)
	for range 10_000 {
		i := rng.IntN(len(bad))
		bad[i] ^= byte(1 + rng.IntN(255))
		named("corrupted", bad)
		bad[i] = good[i]
	}
}

// tryHostile loads a file whose checksums are right and whatever else it holds, and runs it if it is valid.
func tryHostile(t testing.TB, b []byte) {
	reseal(b)
	m, err := runtime.Load(b, runtime.MaxBytes(1<<26))
	if err != nil {
		return
	}
	s := m.NewSession()
	steps, rows := 3, 1
	if m.PerStep() {
		rows = steps
	}
	if err := s.Run(make([]float32, steps*m.InputWidth()), make([]float32, rows*m.OutputWidth())); err != nil {
		t.Fatalf("a valid model does not run: %v", err)
	}
}

func TestHostile(t *testing.T) {
	good := sampleFile(t)
	rng := rand.New(rand.NewPCG(6, 9))
	weights := int(binary.LittleEndian.Uint64(good[32+5*32+8:])) // where structure ends
	bad := make([]byte, len(good))
	for range 60_000 {
		copy(bad, good)
		for range 1 + rng.IntN(3) {
			i := rng.IntN(weights)
			switch rng.IntN(3) {
			case 0:
				bad[i] ^= 1 << rng.IntN(8)
			case 1:
				bad[i] = byte(rng.IntN(4))
			case 2:
				bad[i] = 0xff
			}
		}
		tryHostile(t, bad)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(sampleFile(f))
	f.Fuzz(func(t *testing.T, b []byte) { tryHostile(t, append([]byte(nil), b...)) })
}
