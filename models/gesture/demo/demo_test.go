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
	const want = "a9e33289d437a510404b9850589a2ed0429504f6a0b2e3a295c60777a68d9c22"
	var b bytes.Buffer
	if err := WriteCSV(&b, []string{"ax", "ay", "az"}, Seed); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the recording has the hash\n%s, want\n%s", got, want)
	}
}

// TestCurves shows that the curves begin and end at rest and stay within what a hand does.
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
				v /= 100
				if math.Abs(v) > 30 {
					t.Errorf("%s: channel %d is %.1f m/s² in row %d", c.label, k, v, row)
				}
				if at := v - float64(rest[k])/100; row == 0 && math.Abs(at) > 5 {
					t.Errorf("%s: channel %d begins %.1f m/s² from rest", c.label, k, at)
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
		t.Error("a sample that lacks a value passed")
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
