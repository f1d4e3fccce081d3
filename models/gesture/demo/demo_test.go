package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"testing"
)

// TestGolden pins the recording, on every platform.
func TestGolden(t *testing.T) {
	const want = "a78d97579ba516d60064d23e92d4fd977edcf4518bcd4b43b17caf576e944bb8"
	var b bytes.Buffer
	names := []string{"aWx", "aWy", "aWz", "gWx", "gWz", "aFx", "aFy", "aFz", "gFx", "gFz"}
	if err := WriteCSV(&b, names, Seed); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the recording has the hash\n%s, want\n%s", got, want)
	}
}

// TestCurves shows that the curves begin and end at rest and stay within the converter's range.
func TestCurves(t *testing.T) {
	if len(classes) != len(script) || len(Labels()) != len(script) {
		t.Fatalf("%d classes, %d in the script", len(classes), len(script))
	}
	for _, c := range classes {
		for k := range rest {
			for row := range c.rows {
				v := float64(rest[k])
				for i, s := range basis(row, c.rows) {
					v += float64(c.coef[k][i]) * s
				}
				v /= 10
				if v < -100 || v > 1123 {
					t.Errorf("%s: channel %d is %.0f in row %d", c.label, k, v, row)
				}
				if at := v - float64(rest[k])/10; row == 0 && math.Abs(at) > 60 {
					t.Errorf("%s: channel %d begins %.0f from rest", c.label, k, at)
				}
			}
		}
	}
}

func TestNoise(t *testing.T) {
	r := random(1)
	const n = 100_000
	var sum, squares float64
	for range n {
		v := r.normal()
		sum += v
		squares += v * v
	}
	if mean, variance := sum/n, squares/n; math.Abs(mean) > 0.02 || math.Abs(variance-1) > 0.03 {
		t.Errorf("mean %v, variance %v", mean, variance)
	}
}

func TestEnd(t *testing.T) {
	r := New(Seed)
	x := make([]float32, channels)
	if _, err := r.Next(x[1:]); err == nil {
		t.Error("a sample of 9 values passed")
	}
	last := -1.0
	for {
		at, err := r.Next(x)
		if err == io.EOF {
			break
		}
		if !(at > last) {
			t.Fatalf("time %v after %v", at, last)
		}
		last = at
	}
	for range 3 {
		if _, err := r.Next(x); err != io.EOF {
			t.Fatal("goes on after the end")
		}
	}
}
