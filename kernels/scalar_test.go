package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var third = float64(float32(0.3)) // no power of two, as parameters are in files

// unary are the functions of one number, with their float64 references.
var unary = map[string]struct {
	f   func(y, x []float32)
	ref func(x float64) float64
}{
	"exp": {Exp, math.Exp},
	"log": {Log, func(x float64) float64 {
		if x <= 0 {
			return math.Inf(-1)
		}
		return math.Log(x)
	}},
	"sqrt":  {Sqrt, func(x float64) float64 { return math.Sqrt(math.Max(x, 0)) }},
	"abs":   {Abs, math.Abs},
	"round": {Round, math.RoundToEven},
	"floor": {Floor, math.Floor},
	"erf":   {Erf, math.Erf},
	"softplus": {Softplus, func(x float64) float64 {
		return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
	}},
	"softsign":           {Softsign, func(x float64) float64 { return x / (1 + math.Abs(x)) }},
	"clip":               {func(y, x []float32) { Clip(y, x, -1.5, 6) }, func(x float64) float64 { return math.Min(math.Max(x, -1.5), 6) }},
	"elu":                {func(y, x []float32) { ELU(y, x, 1.5) }, func(x float64) float64 { return math.Max(x, 0) + 1.5*math.Expm1(math.Min(x, 0)) }},
	"leaky relu":         {func(y, x []float32) { LeakyReLU(y, x, 0.3) }, func(x float64) float64 { return math.Max(x, 0) + third*math.Min(x, 0) }},
	"thresholded relu":   {func(y, x []float32) { ThresholdedReLU(y, x, 0.5) }, func(x float64) float64 { return map[bool]float64{true: x}[x > 0.5] }},
	"hard sigmoid":       {func(y, x []float32) { HardSigmoid(y, x, 0.3, 0.5) }, func(x float64) float64 { return math.Min(math.Max(third*x+0.5, 0), 1) }},
	"sigmoid of softmax": {func(y, x []float32) { pairSoftmax(y, x) }, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
}

// pairSoftmax is the softmax of x and 0, for each x.
func pairSoftmax(y, x []float32) {
	for i, v := range x {
		pair := []float32{v, 0}
		Softmax(pair, pair)
		y[i] = pair[0]
	}
}

// tolerance is the stated error in units in the last place of the result, and absolute where that is more.
func tolerance(name string) (ulps, absolute float64) {
	switch name {
	case "softsign": // two roundings to float32
		return 1.5, 0
	case "hard sigmoid": // and a difference
		return 0.501, 6e-8
	case "sigmoid of softmax":
		return 0, 4e-7
	}
	return 0.501, 0
}

// finiteReference is what settle makes of a result, but for rounding.
func finiteReference(x float64) float64 {
	switch {
	case x != x || math.Abs(x) < 0x1p-100:
		return 0
	case math.Abs(x) > math.MaxFloat32:
		return math.Copysign(math.MaxFloat32, x)
	}
	return x
}

func ulp(x float64) float64 {
	_, e := math.Frexp(x)
	return math.Ldexp(1, e-24)
}

// everyFloat calls f with numbers from the whole range of float32, a step of their bits apart.
func everyFloat(step uint32, f func(x float32)) {
	for bits := uint32(0); bits < 0x7f80_0000; bits += step {
		f(math.Float32frombits(bits))
		f(-math.Float32frombits(bits))
	}
}

func TestFunctions(t *testing.T) {
	step := uint32(4999)
	if testing.Short() {
		step = 99991
	}
	for name, c := range unary {
		ulps, absolute := tolerance(name)
		worst := 0.0
		everyFloat(step, func(x float32) {
			var y [1]float32
			c.f(y[:], []float32{x})
			want := finiteReference(c.ref(float64(x)))
			e := math.Abs(float64(y[0]) - want)
			if m := math.Abs(want); math.Abs(m-0x1p-100) < 0x1p-120 { // to 0 or not, by the last bit
				return
			}
			if want != 0 {
				worst = max(worst, e/ulp(want))
			}
			if !(e <= math.Max(ulps*ulp(want), absolute)) {
				t.Fatalf("%s(%v) = %v, want %v", name, x, y[0], want)
			}
		})
		t.Logf("%s: %.4f units in the last place", name, worst)
	}
}

// binary are the operations on two numbers.
var binary = map[string]struct {
	op  Arith
	ref func(a, b float64) float64
}{
	"add": {Add, func(a, b float64) float64 { return a + b }},
	"sub": {Sub, func(a, b float64) float64 { return a - b }},
	"mul": {Mul, func(a, b float64) float64 { return a * b }},
	"div": {Div, func(a, b float64) float64 { return a / b }},
	"min": {Minimum, math.Min},
	"max": {Maximum, math.Max},
	"pow": {Pow, func(a, b float64) float64 {
		switch {
		case a < 0 && b != math.Trunc(b):
			return 0
		case a == 0 && b < 0:
			return math.Inf(1)
		}
		return math.Pow(a, b)
	}},
	"less":  {Less, func(a, b float64) float64 { return map[bool]float64{true: 1}[a < b] }},
	"equal": {Equal, func(a, b float64) float64 { return map[bool]float64{true: 1}[a == b] }},
}

func TestBinary(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	number := func() float32 {
		switch rng.IntN(4) {
		case 0:
			return float32(rng.IntN(9) - 4)
		case 1:
			return math.Float32frombits(rng.Uint32()&0xff7f_ffff&^(1<<30) | 0x3000_0000&rng.Uint32())
		}
		return float32(rng.NormFloat64() * 5)
	}
	for name, c := range binary {
		for range 40_000 {
			a, b := number(), number()
			if name == "pow" {
				b = min(max(b, -200), 200)
			}
			var y [1]float32
			Combine(c.op, y[:], []float32{a}, []float32{b})
			exact := c.ref(float64(a), float64(b))
			want := finiteReference(exact)
			if m := math.Abs(exact); math.Abs(m-0x1p-100) < 0x1p-120 {
				continue
			}
			if e := math.Abs(float64(y[0]) - want); !(e <= 0.501*ulp(want)) {
				t.Fatalf("%s(%v, %v) = %v, want %v", name, a, b, y[0], want)
			}
		}
	}
}

// special are the numbers where functions are not what they are elsewhere; none is a number that an operation puts out, but for 0, 1 and
// the largest.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32,
	-math.SmallestNonzeroFloat32, 0x1p-126, -0x1p-126, 0x1p-101, 2, -3, 0.5, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

// checkSettled fails unless y is finite and no number that a vector unit might flush.
func checkSettled(t *testing.T, y []float32, what string, args ...any) {
	t.Helper()
	for _, v := range y {
		if m := math.Abs(float64(v)); !(m <= math.MaxFloat32) || m != 0 && m < 0x1p-100 {
			t.Fatalf("%s: %v", fmt.Sprintf(what, args...), v)
		}
	}
}

func TestAlwaysFinite(t *testing.T) {
	var y [1]float32
	for _, a := range special {
		for name, c := range unary {
			c.f(y[:], []float32{a})
			if name != "sigmoid of softmax" { // Softmax refuses nothing and settles nothing: its inputs are finite
				checkSettled(t, y[:], "%s(%v)", name, a)
			}
		}
		for _, b := range special {
			for name, c := range binary {
				Combine(c.op, y[:], []float32{a}, []float32{b})
				checkSettled(t, y[:], "%s(%v, %v)", name, a, b)
			}
			for _, c := range special {
				x := []float32{a, b, c}
				three := make([]float32, 3)
				Normalise(three, x, 3, 0)
				checkSettled(t, three, "normalise %v", x)
				Affine(three, x, []float32{b, c, a}, []float32{c, a, b})
				checkSettled(t, three, "affine %v", x)
				Clip(y[:], x[:1], b, c)
				checkSettled(t, y[:], "clip %v", x)
				HardSigmoid(y[:], x[:1], b, c)
				checkSettled(t, y[:], "hard sigmoid %v", x)
				ELU(y[:], x[:1], b)
				checkSettled(t, y[:], "elu %v", x)
				for name, f := range map[string]func(y, x []float32, n int){"sum": Sum, "product": Product, "highest": Highest, "lowest": Lowest} {
					f(y[:], x, 3)
					checkSettled(t, y[:], "%s of %v", name, x)
				}
				MatMul(three, x, x, 1, 1, 3)
				checkSettled(t, three, "product of %v", x)
				MatMul(y[:], x, x, 1, 3, 1)
				checkSettled(t, y[:], "product of %v", x)
				Limit(three, x)
				for _, v := range three {
					if m := math.Abs(float64(v)); !(m <= 0x1p60) || m != 0 && m < 0x1p-60 {
						t.Fatalf("limit of %v: %v", x, three)
					}
				}
			}
		}
	}
}

func TestPowers(t *testing.T) {
	huge := float32(math.MaxFloat32)
	for _, c := range [][3]float32{{0, 0, 1}, {0, 2, 0}, {0, -1, huge}, {-2, 3, -8}, {-2, 2, 4}, {-2, 0.5, 0}, {-8, 1.0 / 3, 0}, {4, 0.5, 2}, {1, 1e30, 1},
		{1e30, 2, huge}, {-1e30, 3, -huge}, {2, -200, 0}, {1e-30, -2, huge}, {3, 1, 3}, {-1, 1e9, 1}, {10, 5, 1e5}} {
		var y [1]float32
		Combine(Pow, y[:], c[:1], c[1:2])
		if y[0] != c[2] {
			t.Errorf("%v^%v = %v, want %v", c[0], c[1], y[0], c[2])
		}
	}
}

// TestRepetition is that of operands that are shorter than the result.
func TestRepetition(t *testing.T) {
	r := func(i ...float32) []float32 { return i }
	y := make([]float32, 6)
	for _, c := range []struct{ a, b, want []float32 }{
		{r(1, 2, 3, 4, 5, 6), r(10), r(11, 12, 13, 14, 15, 16)},
		{r(1, 2, 3), r(10, 20), r(11, 22, 13, 21, 12, 23)},
		{r(1, 2), r(1, 2, 3, 4, 5, 6), r(2, 4, 4, 6, 6, 8)},
		{r(1), r(2), r(3, 3, 3, 3, 3, 3)},
	} {
		if Combine(Add, y, c.a, c.b); !slices.Equal(y, c.want) {
			t.Errorf("%v + %v = %v, want %v", c.a, c.b, y, c.want)
		}
	}
	for _, n := range []int{1, 2, 3, 50, 64, 65, 100, 300} { // around the memory that short ones are repeated in
		a, b, long := make([]float32, n), make([]float32, 6*n), make([]float32, 6*n)
		for i := range b {
			a[i%n], b[i] = float32(i%n), float32(1000*i)
		}
		Combine(Sub, long, b, a)
		for i, v := range long {
			if v != b[i]-a[i%n] {
				t.Fatalf("%d of %d: %v, want %v", i, n, v, b[i]-a[i%n])
			}
		}
	}
	if Select(y, r(1, 0, -1), r(1, 2, 3, 4, 5, 6), r(-1, -2)); !slices.Equal(y, r(1, -2, 3, 4, -1, 6)) {
		t.Errorf("selected %v", y)
	}
}

// TestReductions holds what combines neighbours against float64 in its written order.
func TestReductions(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	for _, n := range []int{1, 2, 3, 7, 64, 1000} {
		const groups = 3
		x := make([]float32, groups*n)
		for i := range x {
			x[i] = float32(rng.NormFloat64()*0.1 + 1)
		}
		for name, c := range map[string]struct {
			f     func(y, x []float32, n int)
			start float64
			ref   func(s, x float64) float64
		}{
			"sum":     {Sum, 0, func(s, x float64) float64 { return s + x }},
			"product": {Product, 1, func(s, x float64) float64 { return s * x }},
			"highest": {Highest, math.Inf(-1), math.Max},
			"lowest":  {Lowest, math.Inf(1), math.Min},
		} {
			y := make([]float32, groups)
			c.f(y, x, n)
			for g := range groups {
				want := c.start
				for _, v := range x[g*n:][:n] {
					want = c.ref(want, float64(v))
				}
				if y[g] != float32(want) {
					t.Errorf("%s of %d: %v, want %v", name, n, y[g], want)
				}
			}
		}
		y := make([]float32, len(x))
		Normalise(y, x, n, 1e-5)
		for g := range groups {
			var mean, variance float64
			for _, v := range x[g*n:][:n] {
				mean += float64(v) / float64(n)
			}
			for _, v := range x[g*n:][:n] {
				variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
			}
			for i, v := range x[g*n:][:n] {
				want := (float64(v) - mean) / math.Sqrt(variance+float64(float32(1e-5)))
				if e := math.Abs(float64(y[g*n+i]) - want); !(e <= 1e-6) {
					t.Errorf("normalised %d: %v, want %v", n, y[g*n+i], want)
				}
			}
		}
		if Normalise(x, x, n, 1e-5); !slices.Equal(x, y) {
			t.Errorf("normalised %d in place: another result", n)
		}
	}
}

func TestMatMul(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 1))
	for _, s := range [][3]int{{1, 1, 1}, {1, 5, 1}, {3, 1, 4}, {4, 7, 3}, {16, 33, 9}} {
		m, k, n := s[0], s[1], s[2]
		a, b := make([]float32, m*k), make([]float32, k*n)
		for i := range a {
			a[i] = float32(rng.NormFloat64())
		}
		for i := range b {
			b[i] = float32(rng.NormFloat64())
		}
		y := make([]float32, m*n)
		MatMul(y, a, b, m, k, n)
		for r := range m {
			for c := range n {
				var want float32
				for i := range k {
					want += float32(a[r*k+i] * b[i*n+c])
				}
				if y[r*n+c] != want {
					t.Fatalf("%v: element %d,%d is %v, want %v", s, r, c, y[r*n+c], want)
				}
			}
		}
	}
}
