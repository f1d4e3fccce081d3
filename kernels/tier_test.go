package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"
)

// TestRequiredTier fails where the tier in use is not the one that RECUR_REQUIRE_TIER names: a run meant for one tier must not pass on
// another.
func TestRequiredTier(t *testing.T) {
	want := os.Getenv("RECUR_REQUIRE_TIER")
	if want == "" {
		t.Skip("RECUR_REQUIRE_TIER is not set")
	}
	if err := TierError(); err != nil {
		t.Fatal(err)
	}
	if Tier() != want {
		t.Fatalf("the tier in use is %s, of %v; want %s", Tier(), Tiers(), want)
	}
}

// eachTier runs f on every tier that this CPU has.
func eachTier(t *testing.T, f func(t *testing.T)) {
	defer func(was *table) { active = was }(active)
	for _, k := range tiers {
		active = k
		t.Run(k.name, f)
	}
}

// arena hands out buffers that end, or begin, where memory that faults begins, or ends. Around them lies a pattern that must stay.
type arena struct {
	t       testing.TB
	atStart bool
	pool    map[int][][]byte // pages not in use, by the size asked for
	used    []buffer
}

type buffer struct {
	pages      []byte
	from, size int
}

const pageSize = 4096

const pattern = 0xa5

func (a *arena) bytes(n int) []byte {
	size := Align(n, pageSize)
	if len(a.pool[size]) == 0 {
		a.pool[size] = append(a.pool[size], guarded(a.t, size))
	}
	last := len(a.pool[size]) - 1
	b := buffer{pages: a.pool[size][last], size: n}
	a.pool[size] = a.pool[size][:last]
	for i := range b.pages {
		b.pages[i] = pattern
	}
	if !a.atStart {
		b.from = len(b.pages) - n
	}
	a.used = append(a.used, b)
	return b.pages[b.from:][:n:n]
}

// release ends the use of all buffers, and reports whether something wrote around them.
func (a *arena) release() bool {
	whole := true
	for _, b := range a.used {
		for i, v := range b.pages {
			whole = whole && (v == pattern || i >= b.from && i < b.from+b.size)
		}
		size := Align(b.size, pageSize)
		a.pool[size] = append(a.pool[size], b.pages)
	}
	a.used = a.used[:0]
	return whole
}

func (a *arena) f32(n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(a.bytes(4*n)))), n)
}

func (a *arena) i32(n int) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(a.bytes(4*n)))), n)
}

func (a *arena) i8(n int) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(a.bytes(n)))), n)
}

// gen makes inputs: random ones, or the ends of the ranges.
type gen struct {
	*rand.Rand
	extreme bool
}

func (g gen) int8() int8 {
	if g.extreme {
		return int8(127 - 254*g.IntN(2))
	}
	return int8(g.IntN(255) - 127)
}

func (g gen) ints(x []int8) []int8 {
	for i := range x {
		x[i] = g.int8()
	}
	return x
}

// state fills x with finite numbers.
func (g gen) state(x []float32) []float32 {
	special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0x1p-60, -0x1p-60, 0x1.fffffep-61, -0x1.fffffep-61, 1e30, -1e30, 1e-40, -1e-45, 127.5, -126.5}
	for i := range x {
		x[i] = float32(g.NormFloat64() * math.Exp(3*g.NormFloat64()))
		if g.extreme && g.IntN(2) == 0 {
			x[i] = special[g.IntN(len(special))]
		}
	}
	return x
}

// any fills x with numbers, of which some may be infinite or none at all.
func (g gen) any(x []float32) []float32 {
	special := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 8, -8, 16, -16, math.Nextafter32(8, 9), math.MaxFloat32}
	g.state(x)
	for i := range x {
		if g.extreme && g.IntN(8) == 0 {
			x[i] = special[g.IntN(len(special))]
		}
	}
	return x
}

// same compares bits, and takes no NaN even for a NaN.
func same(got, want any) error {
	switch got := got.(type) {
	case []float32:
		for i, w := range want.([]float32) {
			if got[i] != got[i] || math.Float32bits(got[i]) != math.Float32bits(w) {
				return fmt.Errorf("value %d of %d is %x, portable gives %x", i, len(got), got[i], w)
			}
		}
	case []int8:
		for i, w := range want.([]int8) {
			if got[i] != w {
				return fmt.Errorf("value %d of %d is %d, portable gives %d", i, len(got), got[i], w)
			}
		}
	case []int32:
		for i, w := range want.([]int32) {
			if got[i] != w {
				return fmt.Errorf("value %d of %d is %d, portable gives %d", i, len(got), got[i], w)
			}
		}
	}
	return nil
}

// A kernelCase runs a kernel of the active tier on n elements (or units) that it makes of g, in buffers of a, and returns what was
// written.
type kernelCase struct {
	name string
	run  func(a *arena, g gen, n int) []any
}

var vectorCases = []kernelCase{
	{"quantiseI8", func(a *arena, g gen, n int) []any {
		q, x, inv := a.i8(n), g.any(a.f32(n)), g.state(a.f32(n))
		QuantiseI8(q, x, inv)
		return []any{q}
	}},
	{"quantiseI16", func(a *arena, g gen, n int) []any {
		hi, lo, x, inv := a.i8(n), a.i8(n), g.any(a.f32(n)), g.state(a.f32(n))
		for i := range inv {
			inv[i] *= 256
		}
		QuantiseI16(hi, lo, x, inv)
		return []any{hi, lo}
	}},
	{"dequantise", func(a *arena, g gen, n int) []any {
		y, sums, scale, add := a.f32(n), g.sums(a.i32(n)), g.state(a.f32(n)), g.state(a.f32(n))
		Dequantise(y, sums, scale, add)
		Dequantise(add, sums, scale, add)
		return []any{y, add}
	}},
	{"dequantiseI16", func(a *arena, g gen, n int) []any {
		y, hi, lo, scale, add := a.f32(n), g.sums(a.i32(n)), g.sums(a.i32(n)), g.scales(a.f32(n)), g.state(a.f32(n))
		DequantiseI16(y, hi, lo, scale, add)
		DequantiseI16(add, hi, lo, scale, add)
		return []any{y, add}
	}},
	{"tanh", func(a *arena, g gen, n int) []any {
		y, x := a.f32(n), g.any(a.f32(n))
		Tanh(y, x)
		Tanh(x, x)
		return []any{y, x}
	}},
	{"sigmoid", func(a *arena, g gen, n int) []any {
		y, x := a.f32(n), g.any(a.f32(n))
		Sigmoid(y, x)
		Sigmoid(x, x)
		return []any{y, x}
	}},
}

func (g gen) sums(x []int32) []int32 {
	for i := range x {
		x[i] = int32(g.Uint32()) >> g.IntN(20)
	}
	return x
}

// scales fills x with numbers that no product with a sum takes beyond float32.
func (g gen) scales(x []float32) []float32 {
	for i := range x {
		x[i] = float32(math.Exp(-5 + 3*g.NormFloat64()))
	}
	return x
}

var cellCases = []kernelCase{
	{"lstm", func(a *arena, g gen, n int) []any {
		h, c, z := a.f32(n), g.state(a.f32(n)), g.any(a.f32(4*n))
		LSTM(h, c, z)
		return []any{c, h}
	}},
	{"lstmPeephole", func(a *arena, g gen, n int) []any {
		h, c, z, peep := a.f32(n), g.state(a.f32(n)), g.any(a.f32(4*n)), g.scales(a.f32(3*n))
		LSTMPeephole(h, c, z, peep)
		return []any{c, h}
	}},
	{"gru", func(a *arena, g gen, n int) []any {
		h, x, u := g.state(a.f32(n)), g.any(a.f32(3*n)), g.any(a.f32(3*n))
		GRU(h, x, u)
		return []any{h}
	}},
	{"gruReset", func(a *arena, g gen, n int) []any {
		rh, h, x, u := a.f32(n), g.state(a.f32(n)), g.any(a.f32(3*n)), g.any(a.f32(2*n))
		GRUReset(rh, h, x, u)
		return []any{rh}
	}},
	{"gruUpdate", func(a *arena, g gen, n int) []any {
		h, x, u, un := g.state(a.f32(n)), g.any(a.f32(3*n)), g.any(a.f32(2*n)), g.any(a.f32(n))
		GRUUpdate(h, x, u, un)
		return []any{h}
	}},
	{"rnn", func(a *arena, g gen, n int) []any {
		h, z := a.f32(n), g.any(a.f32(n))
		RNN(h, z)
		return []any{h}
	}},
	{"rnnReLU", func(a *arena, g gen, n int) []any {
		h, z := a.f32(n), g.state(a.f32(n))
		RNNReLU(h, z)
		return []any{h}
	}},
}

// against runs a case on the active tier and on portable, in buffers at both ends of their pages.
func (c kernelCase) against(t *testing.T, arenas []*arena, n int) {
	t.Helper()
	tier := active
	for _, extreme := range []bool{false, true} {
		for _, a := range arenas {
			make := func() gen { return gen{rand.New(rand.NewPCG(uint64(n), 1)), extreme} }
			active = &portable
			var want []any
			for _, w := range c.run(a, make(), n) {
				want = append(want, clone(w))
			}
			a.release()
			active = tier
			for i, got := range c.run(a, make(), n) {
				if err := same(got, want[i]); err != nil {
					t.Fatalf("%s of %d, extreme %v, output %d: %v", c.name, n, extreme, i, err)
				}
			}
			if !a.release() {
				t.Fatalf("%s of %d writes beside its buffers", c.name, n)
			}
		}
	}
}

func clone(x any) any {
	switch x := x.(type) {
	case []float32:
		return append([]float32(nil), x...)
	case []int8:
		return append([]int8(nil), x...)
	}
	return append([]int32(nil), x.([]int32)...)
}

func newArenas(t testing.TB) []*arena {
	return []*arena{{t: t, pool: map[int][][]byte{}}, {t: t, pool: map[int][][]byte{}, atStart: true}}
}

func TestTierVectors(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		arenas := newArenas(t)
		for _, c := range vectorCases {
			for n := 1; n <= 70; n++ {
				c.against(t, arenas, n)
			}
			for _, n := range []int{96, 100, 127, 128, 129, 255, 256, 257, 1000, 1023} {
				c.against(t, arenas, n)
			}
		}
		for _, c := range cellCases {
			for n := UnitBlock; n <= 17*UnitBlock; n += UnitBlock {
				c.against(t, arenas, n)
			}
		}
	})
}

// TestTierProducts holds the products against portable at sizes around every unroll: of rows, of columns and of vectors.
func TestTierProducts(t *testing.T) {
	allRows, allCols, allN := []int{1, 32, 33, 64, 96, 128, 160, 224, 256, 288}, []int{1, 4, 5, 8, 9, 16, 17, 24, 31, 32, 100}, []int{1, 2, 3, 4, 5, 7, 8}
	if testing.Short() {
		allRows, allCols, allN = []int{32, 96, 128, 224}, []int{1, 8, 9, 40}, []int{1, 3, 5}
	}
	eachTier(t, func(t *testing.T) {
		arenas := newArenas(t)
		for _, rows := range allRows {
			for _, cols := range allCols {
				for _, n := range allN {
					productCase(rows, cols).against(t, arenas, n)
					floatCase(rows, cols).against(t, arenas, n)
				}
				for _, n := range []int{1, 3, 7} {
					linearCase(rows, cols).against(t, arenas, n)
				}
			}
		}
		for _, size := range [][2]int{{256, 129}, {288, 136}, {416, 100}} { // more than turnBytes, in one call
			linearCase(size[0], size[1]).against(t, arenas, 1)
		}
		// More weights than one call goes through, and more columns than that in a panel, up to the most there may be.
		for _, size := range [][2]int{{160, 1000}, {640, 512}, {96, MaxCols/4 + 4}, {33, MaxCols}} {
			if testing.Short() && size[1] > 1000 {
				continue
			}
			for _, n := range []int{1, 5} {
				productCase(size[0], size[1]).against(t, arenas, n)
			}
			linearCase(size[0], size[1]).against(t, arenas, 1)
		}
		floatCase(320, 300).against(t, arenas, 2)
	})
}

func productCase(rows, cols int) kernelCase {
	return kernelCase{fmt.Sprintf("product %dx%d", rows, cols), func(a *arena, g gen, n int) []any {
		m := g.matrix(a, rows, cols)
		sums, x := a.i32(n*m.PaddedRows()), g.ints(a.i8(n*m.PaddedCols()))
		m.Mul(sums, x, n)
		return []any{sums}
	}}
}

func linearCase(rows, cols int) kernelCase {
	return kernelCase{fmt.Sprintf("affine map %dx%d", rows, cols), func(a *arena, g gen, n int) []any {
		l := LinearI8{W: g.matrix(a, rows, cols), Inv: g.state(a.f32(cols))}
		height, width := l.W.PaddedRows(), l.W.PaddedCols()
		l.Scale = g.scales(a.f32(height))
		work8 := &Work{Q: a.i8(n * width), Sums: a.i32(n * height)}
		work16 := &Work{Q: a.i8(2 * n * width), Sums: a.i32(2 * n * height)}
		stride := cols + 3
		x := g.any(a.f32((n-1)*stride + cols))
		var results []any
		for _, addStride := range []int{0, height, height + 8} {
			y8, y16, add := a.f32(n*height), a.f32(n*height), g.state(a.f32((n-1)*addStride+height))
			l.Mul8(work8, y8, add, addStride, x, stride, n)
			l.Mul16(work16, y16, add, addStride, x, stride, n)
			results = append(results, y8, y16)
		}
		in8, in16 := a.f32(n*height), a.f32(n*height)
		copy(in16, g.state(in8))
		l.Mul8(work8, in8, in8, height, x, stride, n)
		l.Mul16(work16, in16, in16, height, x, stride, n)
		results = append(results, in8, in16)
		for range 2 { // once more, and again: a tier may go through the weights in turn from either end
			y := a.f32(height)
			l.Mul8(work8, y, l.Scale, 0, x, stride, 1)
			results = append(results, y)
		}
		return results
	}}
}

func (g gen) matrix(a *arena, rows, cols int) MatrixI8 {
	data := a.i8(PackedI8(rows, cols))
	copy(data, PackI8(g.ints(make([]int8, rows*cols)), rows, cols))
	m, err := NewMatrixI8(rows, cols, data)
	if err != nil {
		a.t.Fatal(err)
	}
	return m
}

func floatCase(rows, cols int) kernelCase {
	return kernelCase{fmt.Sprintf("float product %dx%d", rows, cols), func(a *arena, g gen, n int) []any {
		m, err := NewMatrixF32(rows, cols, g.scales(a.f32(PackedF32(rows, cols))))
		if err != nil {
			a.t.Fatal(err)
		}
		stride := cols + 5
		x := g.scales(a.f32((n-1)*stride + cols))
		for i := range x {
			x[i] -= 0.01
		}
		var results []any
		for _, addStride := range []int{0, m.PaddedRows()} {
			y, add := a.f32(n*m.PaddedRows()), g.scales(a.f32((n-1)*addStride+m.PaddedRows()))
			m.MulAdd(y, add, addStride, x, stride, n)
			results = append(results, y)
		}
		y := g.scales(a.f32(n * m.PaddedRows()))
		m.MulAdd(y, y, m.PaddedRows(), x, stride, n)
		return append(results, y)
	}}
}

func TestTierAllocations(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		arenas := newArenas(t)
		g := gen{rand.New(rand.NewPCG(1, 2)), false}
		l := LinearI8{W: g.matrix(arenas[0], 128, 50), Inv: make([]float32, 50), Scale: make([]float32, 128)}
		f32, err := NewMatrixF32(32, 5, make([]float32, 32*5))
		if err != nil {
			t.Fatal(err)
		}
		work := &Work{Q: make([]int8, 6*56), Sums: make([]int32, 6*128)}
		v := make([]float32, 1000)
		if n := testing.AllocsPerRun(10, func() {
			for _, n := range []int{1, 3} {
				l.Mul8(work, v, v[400:], 0, v, 50, n)
				l.Mul16(work, v, v[400:], 0, v, 50, n)
			}
			f32.MulAdd(v, v[100:], 0, v, 5, 2)
			Tanh(v[:13], v)
			Sigmoid(v[:13], v)
			LSTM(v[:24], v[100:], v[200:])
			LSTMPeephole(v[:24], v[100:], v[200:], v[300:])
			GRU(v[:24], v[100:], v[200:])
			GRUReset(v[:24], v[24:48], v[100:], v[200:])
			GRUUpdate(v[:24], v[100:], v[200:], v[300:])
			RNN(v[:24], v[100:])
			RNNReLU(v[:24], v[100:])
		}); n != 0 {
			t.Fatalf("%v allocations", n)
		}
	})
}
