package elementary

import (
	"math"
	"testing"
)

func TestExpAndLog(t *testing.T) {
	for x := -39.9; x < 40; x += 0.0173 {
		if got, want := Exp(x), math.Exp(x); math.Abs(got-want) > 1e-12*want {
			t.Fatalf("Exp(%v) is %v, want %v", x, got, want)
		}
		if got := Log(math.Exp(x)); math.Abs(got-x) > 1e-12*(1+math.Abs(x)) {
			t.Fatalf("log(Exp(%v)) is %v", x, got)
		}
	}
}

func BenchmarkExp(b *testing.B) {
	x, sum := 0.1, 0.0
	for b.Loop() {
		sum += Exp(x)
		x = -x
	}
}

func BenchmarkLog(b *testing.B) {
	x, sum := 1.1, 0.0
	for b.Loop() {
		sum += Log(x)
		x = 2.1 - x
	}
}
