package kernels

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestFMA(t *testing.T) {
	check := func(a, b, c float32) {
		t.Helper()
		exact := new(big.Float).SetPrec(2000).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		exact.Add(exact, big.NewFloat(float64(c)))
		want, _ := exact.Float32()
		got := fma(a, b, c)
		if got != want {
			t.Fatalf("fma(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		check(float32(rng.NormFloat64()), float32(rng.NormFloat64()), float32(rng.NormFloat64()))
		check(float32(rng.NormFloat64()*0x1p-70), float32(rng.NormFloat64()*0x1p-70), float32(rng.NormFloat64()*0x1p-140))
	}
	// c half an ulp above or below a product's last place: float64 addition alone rounds these twice.
	for range 200_000 {
		a := 1 + float32(rng.IntN(1<<23))*0x1p-23
		b := 1 + float32(rng.IntN(1<<23))*0x1p-23
		check(a, float32(0x1p-24), b)
		check(a, math.Float32frombits(0x33800000|rng.Uint32()&7), b)
		check(-a*0x1p-54, b, 1+0x1p-23)
		check(a*0x1p-25, b, 1)
	}
}

func TestActivations(t *testing.T) {
	for bits := uint32(0); bits <= math.Float32bits(100); bits += 997 {
		for _, x := range []float32{math.Float32frombits(bits), -math.Float32frombits(bits)} {
			var y [1]float32
			Tanh(y[:], []float32{x})
			if e := math.Abs(float64(y[0]) - math.Tanh(float64(x))); !(e <= 4e-7) || !(y[0] >= -1 && y[0] <= 1) {
				t.Fatalf("tanh(%v) = %v, off by %v", x, y[0], e)
			}
			Sigmoid(y[:], []float32{x})
			if e := math.Abs(float64(y[0]) - 1/(1+math.Exp(-float64(x)))); !(e <= 4e-7) || !(y[0] >= 0 && y[0] <= 1) {
				t.Fatalf("sigmoid(%v) = %v, off by %v", x, y[0], e)
			}
			if x <= 0 {
				if e := math.Abs(float64(expf(x))/math.Exp(math.Max(float64(x), -86)) - 1); !(e <= 3e-7) {
					t.Fatalf("exp(%v) = %v, relative error %v", x, expf(x), e)
				}
			}
			if x >= 1 {
				if e := math.Abs(float64(logf(x)) - math.Log(float64(x))); !(e <= 1e-6) {
					t.Fatalf("log(%v) = %v, off by %v", x, logf(x), e)
				}
			}
		}
	}
}

// TestRatiosBounded covers every float32 in the upper binade of the approximation, where it comes closest to one.
func TestRatiosBounded(t *testing.T) {
	step := uint32(1)
	if testing.Short() {
		step = 61
	}
	for bits := math.Float32bits(6); bits <= math.Float32bits(tanhMax); bits += step {
		x := math.Float32frombits(bits)
		if p, q := tanhRatio(x); !(p <= q) {
			t.Fatalf("tanh(%v) = %v / %v exceeds 1", x, p, q)
		}
		if s, d := sigmoidRatio(-2 * x); !(s >= 0) {
			t.Fatalf("sigmoid(%v) = %v / %v is negative", -2*x, s, d)
		}
		if s, d := sigmoidRatio(2 * x); !(s <= d) {
			t.Fatalf("sigmoid(%v) = %v / %v exceeds 1", 2*x, s, d)
		}
	}
}

func TestQuantise(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	x, inv := make([]float32, 1000), make([]float32, 1000)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 40)
		inv[i] = float32(rng.Float64() * 3)
	}
	copy(x, []float32{0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 1e30, -1e30, 0})
	for i := range 10 {
		inv[i] = 1
	}
	q := make([]int8, len(x))
	QuantiseI8(q, x, inv)
	for i := range x {
		want := math.RoundToEven(math.Max(-127, math.Min(127, float64(x[i]*inv[i]))))
		if float64(q[i]) != want {
			t.Fatalf("%v * %v quantises to %d, want %v", x[i], inv[i], q[i], want)
		}
	}
	hi, lo := make([]int8, len(x)), make([]int8, len(x))
	for i := range inv {
		inv[i] *= 256
	}
	QuantiseI16(hi, lo, x, inv)
	for i := range x {
		v := math.Max(-MaxI16, math.Min(MaxI16, float64(x[i]*inv[i])))
		if got := 256*float64(hi[i]) + float64(lo[i]); !(math.Abs(got-v) <= 1) || hi[i] == -128 || lo[i] == -128 {
			t.Fatalf("%v quantises to 256*%d + %d", v, hi[i], lo[i])
		}
	}
}

func TestMulI8(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, rows := range []int{1, 7, 31, 32, 33, 64, 96} {
		for _, cols := range []int{1, 3, 4, 5, 7, 8, 9, 16, 17, 31, 100, 128} {
			for _, fill := range []string{"random", "extreme"} {
				t.Run(fmt.Sprintf("%dx%d/%s", rows, cols, fill), func(t *testing.T) {
					value := func() int8 {
						if fill == "extreme" {
							return int8(127 - 254*rng.IntN(2))
						}
						return int8(rng.IntN(255) - 127)
					}
					const n = 3
					w := make([]int8, rows*cols)
					for i := range w {
						w[i] = value()
					}
					m, err := NewMatrixI8(rows, cols, PackI8(w, rows, cols))
					if err != nil {
						t.Fatal(err)
					}
					x := make([]int8, n*m.PaddedCols())
					for j := range n {
						for c := range cols {
							x[j*m.PaddedCols()+c] = value()
						}
					}
					sums := make([]int32, n*m.PaddedRows())
					m.Mul(sums, x, n)
					for j := range n {
						for r := range m.PaddedRows() {
							var want int32
							for c := range cols {
								if r < rows {
									want += int32(w[r*cols+c]) * int32(x[j*m.PaddedCols()+c])
									if m.At(r, c) != w[r*cols+c] {
										t.Fatalf("weight %d,%d packed wrongly", r, c)
									}
								}
							}
							if got := sums[j*m.PaddedRows()+r]; got != want {
								t.Fatalf("column %d row %d: %d, want %d", j, r, got, want)
							}
						}
					}
				})
			}
		}
	}
}

func TestMulAddF32(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, rows := range []int{1, 33, 64} {
		for _, cols := range []int{1, 5, 40} {
			w := make([]float32, rows*cols)
			for i := range w {
				w[i] = float32(rng.NormFloat64())
			}
			m, err := NewMatrixF32(rows, cols, PackF32(w, rows, cols))
			if err != nil {
				t.Fatal(err)
			}
			add, x := make([]float32, m.PaddedRows()), make([]float32, 2*cols)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			for i := range add {
				add[i] = float32(rng.NormFloat64())
			}
			y := make([]float32, 2*m.PaddedRows())
			m.MulAdd(y, add, 0, x, cols, 2)
			for j := range 2 {
				for r := range rows {
					want := add[r]
					for c := range cols {
						want += float32(w[r*cols+c] * x[j*cols+c])
					}
					if got := y[j*m.PaddedRows()+r]; got != want {
						t.Fatalf("%dx%d column %d row %d: %v, want %v", rows, cols, j, r, got, want)
					}
				}
			}
		}
	}
}

func sigma(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// TestCells holds every cell against its equations in float64.
func TestCells(t *testing.T) {
	const units = 24
	rng := rand.New(rand.NewPCG(9, 10))
	vector := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * scale)
		}
		return v
	}
	near := func(t *testing.T, what string, got float32, want float64) {
		t.Helper()
		if e := math.Abs(float64(got) - want); !(e <= 2e-6*math.Max(1, math.Abs(want))) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
	for range 200 {
		for _, scale := range []float64{0.1, 1, 5, 50} {
			z, peep := vector(4*units, scale), vector(3*units, 0.5)
			h0, c0 := vector(units, 0.5), vector(units, 1)
			gate := func(v []float32, n, g, u int) float32 { return v[GateRow(n, g, u)] }
			for _, p := range [][]float32{nil, peep} {
				h, c := append([]float32(nil), h0...), append([]float32(nil), c0...)
				if p == nil {
					LSTM(h, c, z)
				} else {
					LSTMPeephole(h, c, z, p)
				}
				for u := range units {
					zi, zf, zo := gate(z, 4, 0, u), gate(z, 4, 1, u), gate(z, 4, 3, u)
					if p != nil {
						zi += gate(p, 3, 0, u) * c0[u]
						zf += gate(p, 3, 1, u) * c0[u]
						zo += gate(p, 3, 2, u) * c[u]
					}
					want := sigma(zf)*float64(c0[u]) + sigma(zi)*math.Tanh(float64(gate(z, 4, 2, u)))
					near(t, "LSTM c", c[u], want)
					near(t, "LSTM h", h[u], sigma(zo)*math.Tanh(float64(c[u])))
				}
			}
			x, hu, un := z[:3*units], vector(3*units, scale), vector(units, scale)
			h := append([]float32(nil), h0...)
			GRU(h, x, hu)
			for u := range units {
				zz := sigma(gate(x, 3, 0, u) + gate(hu, 3, 0, u))
				r := sigma(gate(x, 3, 1, u) + gate(hu, 3, 1, u))
				n := math.Tanh(float64(gate(x, 3, 2, u)) + r*float64(gate(hu, 3, 2, u)))
				// tanh's argument carries σ's error times u_n.
				if e := math.Abs(float64(h[u]) - ((1-zz)*n + zz*float64(h0[u]))); !(e <= 2e-6*math.Max(1, scale)) {
					t.Fatalf("GRU h: off by %v at scale %v", e, scale)
				}
			}
			h, rh := append([]float32(nil), h0...), make([]float32, units)
			GRUReset(rh, h, x, hu[:2*units])
			GRUUpdate(h, x, hu[:2*units], un)
			for u := range units {
				r := sigma(gate(x, 3, 1, u) + gate(hu, 2, 1, u))
				near(t, "GRU r*h", rh[u], r*float64(h0[u]))
				zz := sigma(gate(x, 3, 0, u) + gate(hu, 2, 0, u))
				n := math.Tanh(float64(gate(x, 3, 2, u) + un[u]))
				near(t, "GRU h", h[u], (1-zz)*n+zz*float64(h0[u]))
			}
			RNN(h, z[:units])
			near(t, "RNN h", h[3], math.Tanh(float64(z[3])))
			RNNReLU(h, z[:units])
			near(t, "ReLU h", h[3], math.Max(0, float64(z[3])))
		}
	}
}

func TestStatesDecayToZero(t *testing.T) {
	h, c, z := make([]float32, 8), make([]float32, 8), make([]float32, 32)
	c[0] = 1
	for range 200 { // σ(0) = 1/2 halves the cell state
		LSTM(h, c, z)
	}
	if c[0] != 0 || h[0] != 0 {
		t.Fatalf("c = %v, h = %v after 200 steps", c[0], h[0])
	}
}

func TestSoftmax(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for n := 1; n < 40; n++ {
		x, y, l := make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64() * 10)
		}
		Softmax(y, x)
		LogSoftmax(l, x)
		var sum float64
		for _, v := range x {
			sum += math.Exp(float64(v))
		}
		for i, v := range x {
			want := math.Exp(float64(v)) / sum
			if e := math.Abs(float64(y[i]) - want); !(e <= 1e-6) {
				t.Fatalf("softmax: %v, want %v", y[i], want)
			}
			if e := math.Abs(float64(l[i]) - math.Log(want)); !(e <= 1e-5) {
				t.Fatalf("log softmax: %v, want %v", l[i], math.Log(want))
			}
		}
	}
}
