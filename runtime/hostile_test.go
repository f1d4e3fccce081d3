package runtime_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/kernels"
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

// allocated is how many bytes have been allocated so far.
func allocated() uint64 {
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.TotalAlloc
}

// loadBytes is what loading a file of n bytes may allocate: its copy, and a small multiple of what it says.
func loadBytes(n int) uint64 { return 1<<17 + 32*uint64(n) }

const (
	hostileBytes = 1 << 26
	hostileWork  = 1 << 24
)

// tryHostile loads a file whose checksums are right and whatever else it holds, and runs it if it is valid.
func tryHostile(t testing.TB, b []byte) {
	reseal(b)
	before := allocated()
	m, err := runtime.Load(b, runtime.MaxBytes(hostileBytes), runtime.MaxWork(hostileWork))
	if n := allocated() - before; n > loadBytes(len(b)) {
		t.Fatalf("loading %d bytes allocated %d: %v", len(b), n, err)
	}
	if err != nil {
		return
	}
	before = allocated()
	s := m.NewSession()
	if n := allocated() - before; n > hostileBytes+1<<16 {
		t.Fatalf("a session allocated %d bytes", n)
	}
	steps, rows := 3, 1
	if m.PerStep() {
		rows = steps
	}
	x, y := make([]float32, steps*m.InputWidth()), make([]float32, rows*m.OutputWidth())
	for i := range x {
		x[i] = []float32{0, 1, -0.25, math.MaxFloat32, -math.MaxFloat32, 0x1p-149, -3e5}[i%7]
	}
	if err := s.Run(x, y); err != nil {
		t.Fatalf("a valid model does not run: %v", err)
	}
	checkFinite(t, y)

	before = allocated()
	batch, err := m.NewBatch(2)
	if n := allocated() - before; n > hostileBytes+1<<16 {
		t.Fatalf("a batch allocated %d bytes", n)
	}
	if err != nil { // it is two-way, or larger than a session
		return
	}
	y = make([]float32, 2*m.OutputWidth())
	if err := batch.Step([]int{1, 0}, x[:2*m.InputWidth()], y); err != nil {
		t.Fatalf("a valid model does not run in a batch: %v", err)
	}
	checkFinite(t, y)
}

func checkFinite(t testing.TB, y []float32) {
	t.Helper()
	for i, v := range y {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			t.Fatalf("output %d of a valid model is %v", i, v)
		}
	}
}

// targets are the bytes of a file that say what it computes: all up to the weights, and the integers among these, from docs/format.md.
func targets(b []byte) (at []int) {
	le := binary.LittleEndian
	section := func(k int) int { return int(le.Uint64(b[32*k+8:])) }
	weights := section(6)
	for i := range weights {
		at = append(at, i)
	}
	blobs := section(5)
	for i := range int(le.Uint32(b[blobs:])) {
		e := b[blobs+4+20*i:]
		if le.Uint32(e) != 4 {
			continue
		}
		from := weights + int(le.Uint64(e[12:]))
		for k := range 4 * int(le.Uint32(e[4:])) {
			at = append(at, from+k)
		}
	}
	return at
}

func goldenBytes(t testing.TB) (files [][]byte) {
	for _, path := range slices.Sorted(maps.Keys(goldenFiles)) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	return files
}

func TestHostile(t *testing.T) {
	tries := 20_000
	if testing.Short() {
		tries = 2000
	}
	rng := rand.New(rand.NewPCG(6, 9))
	for _, good := range append(goldenBytes(t), sampleFile(t)) {
		places := targets(good)
		bad := make([]byte, len(good))
		for range tries {
			copy(bad, good)
			for range 1 + rng.IntN(3) {
				i := places[rng.IntN(len(places))]
				switch rng.IntN(4) {
				case 0:
					bad[i] ^= 1 << rng.IntN(8)
				case 1:
					bad[i] = byte(rng.IntN(4))
				case 2:
					bad[i] = 0xff
				case 3:
					bad[i] = 1 << rng.IntN(8)
				}
			}
			tryHostile(t, bad)
		}
	}
}

// TestSharedBlobs loads files that say little and refer to it often: what they cost must not grow faster than they do.
func TestSharedBlobs(t *testing.T) {
	const often = 3000
	ref := func(v, n int) format.Ref { return format.Ref{Value: v, Width: n} }
	vector := func(n int) format.Blob {
		return format.Blob{Kind: format.VecF32, Rows: n, Cols: 1, F32: make([]float32, n)}
	}
	integers := func(v ...int32) format.Blob { return format.Blob{Kind: format.VecI32, Rows: len(v), Cols: 1, I32: v} }
	index := make([]int32, 1000)
	for i := range index {
		index[i] = int32(i * 7 % 1001)
	}
	for name, c := range map[string]struct {
		op    format.Op
		blobs []format.Blob
		in    int
		out   int
	}{
		"gather":          {format.Op{Kind: format.Gather, Args: []format.Arg{{Role: format.RoleIndex}}}, []format.Blob{integers(index...)}, 1001, 1000},
		"gather of parts": {format.Op{Kind: format.Gather, In: []format.Ref{ref(0, 1000), ref(0, 1)}, Args: []format.Arg{{Role: format.RoleIndex}}}, []format.Blob{integers(index...)}, 1001, 1000},
		"pool": {format.Op{Kind: format.MaxPool, Args: []format.Arg{{Role: format.RoleDims}}}, []format.Blob{integers(1, 1, 0, 1001, 1, 1<<20, 1, 1, 0, 0)},
			1001, 1},
		"dense": {format.Op{Kind: format.Dense, Scheme: format.W8A8, Args: []format.Arg{{Role: format.RoleW}, {Role: format.RoleWScale, Blob: 1}, {Role: format.RoleBias, Blob: 1},
			{Role: format.RoleXInv, Blob: 2}}}, []format.Blob{{Kind: format.MatI8, Rows: 1001, Cols: 1001, I8: make([]int8, kernels.PackedI8(1001, 1001))},
			vector(1001), vector(1001)}, 1001, 1001},
		"constant": {format.Op{Kind: format.Const, Args: []format.Arg{{Role: format.RoleBias}}}, []format.Blob{vector(1000)}, 1, 1000},
	} {
		f := &format.File{Input: format.Input{Channels: channels(c.in)}, Values: []format.Value{{Width: c.in, PerStep: true}}, Output: 1, Blobs: c.blobs}
		for i := range often {
			op := c.op
			if op.In == nil && op.Kind != format.Const {
				op.In = []format.Ref{ref(0, c.in)}
			}
			op.Out = ref(i+1, c.out)
			f.Values = append(f.Values, format.Value{Width: c.out, PerStep: true})
			f.Ops = append(f.Ops, op)
		}
		b, err := format.Encode(f)
		if err != nil {
			t.Fatal(name, err)
		}
		before, start := allocated(), time.Now()
		m, err := runtime.Load(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := allocated() - before; n > loadBytes(len(b)) {
			t.Errorf("%s: loading %d bytes allocated %d", name, len(b), n)
		}
		if d := time.Since(start); d > 5*time.Second { // a tenth of a second on a laptop; the race detector and emulators are slow
			t.Errorf("%s: loading %d bytes took %v", name, len(b), d)
		}
		if _, err := runtime.Load(b, runtime.MaxWork(1<<13)); err == nil || !strings.Contains(err.Error(), "multiply-adds") {
			t.Errorf("%s: a limit of the work: %v", name, err)
		}
		m.NewSession()
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(sampleFile(f))
	for _, b := range goldenBytes(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { tryHostile(t, append([]byte(nil), b...)) })
}

// FuzzPatched changes what valid files say, four bytes of input for one byte of a file.
func FuzzPatched(f *testing.F) {
	files := append(goldenBytes(f), sampleFile(f))
	var places [][]int
	for _, b := range files {
		places = append(places, targets(b))
	}
	f.Add(uint8(0), []byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		k := int(which) % len(files)
		b := append([]byte(nil), files[k]...)
		for ; len(patches) >= 4; patches = patches[4:] {
			i := int(patches[0]) | int(patches[1])<<8 | int(patches[2])<<16
			b[places[k][i%len(places[k])]] = patches[3]
		}
		tryHostile(t, b)
	})
}
