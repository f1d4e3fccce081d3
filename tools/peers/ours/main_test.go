package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a net's folder with random weights.
func write(t *testing.T, n net) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(k int) []float32 {
		v := make([]float32, k)
		for i := range v {
			v[i] = 2*rng.Float32() - 1
		}
		return v
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"net.json":    os.WriteFile(filepath.Join(dir, "net.json"), b, 0o644),
		"x.f32":       writeFloats(filepath.Join(dir, "x.f32"), random(n.Steps*n.Input)),
		"weights.f32": writeFloats(filepath.Join(dir, "weights.f32"), random(n.size())),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	return dir
}

// ask serves the requests and returns the replies.
func ask(t *testing.T, requests ...string) []map[string]any {
	t.Helper()
	var out strings.Builder
	if err := serve(strings.NewReader(strings.Join(requests, "\n")), &out); err != nil {
		t.Fatal(err)
	}
	var replies []map[string]any
	for lines := bufio.NewScanner(strings.NewReader(out.String())); lines.Scan(); {
		var r map[string]any
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("reply %q: %v", lines.Text(), err)
		}
		replies = append(replies, r)
	}
	if len(replies) != len(requests) {
		t.Fatalf("%d replies to %d requests: %v", len(replies), len(requests), replies)
	}
	return replies
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// reference computes the hidden states of a net without a head in float64, by the formulas alone.
func (n *net) reference() []float64 {
	h, in, rows := n.Hidden, n.Input, n.gates()*n.Hidden
	y := make([]float64, n.Steps*n.directions()*h)
	w := n.weights
	take := func(k int) []float32 { v := w[:k]; w = w[k:]; return v }
	for d := range n.directions() {
		W, U, B := take(rows*in), take(rows*h), take(rows)
		BH := make([]float32, rows)
		if n.Cell == "gru" {
			BH = take(rows)
		}
		state, cell := make([]float64, h), make([]float64, h)
		for k := range n.Steps {
			t := k
			if d == 1 {
				t = n.Steps - 1 - k
			}
			zx, zh := make([]float64, rows), make([]float64, rows)
			for r := range rows {
				zx[r], zh[r] = float64(B[r]), float64(BH[r])
				for c := range in {
					zx[r] += float64(W[r*in+c]) * float64(n.x[t*in+c])
				}
				for c := range h {
					zh[r] += float64(U[r*h+c]) * state[c]
				}
			}
			for u := range h {
				at := func(gate int) float64 { return zx[gate*h+u] + zh[gate*h+u] }
				if n.Cell == "lstm" {
					cell[u] = sigmoid(at(1))*cell[u] + sigmoid(at(0))*math.Tanh(at(2))
					state[u] = sigmoid(at(3)) * math.Tanh(cell[u])
				} else {
					z, r := sigmoid(at(0)), sigmoid(at(1))
					state[u] = (1-z)*math.Tanh(zx[2*h+u]+r*zh[2*h+u]) + z*state[u]
				}
				y[(t*n.directions()+d)*h+u] = state[u]
			}
		}
	}
	return y
}

func TestOutputs(t *testing.T) {
	for _, n := range []net{
		{Cell: "lstm", Input: 3, Hidden: 9, Steps: 21, Mode: "step"},
		{Cell: "gru", Input: 5, Hidden: 8, Steps: 21, Mode: "step"},
		{Cell: "lstm", Input: 3, Hidden: 9, Steps: 21, Mode: "seq", TwoWay: true},
		{Cell: "gru", Input: 3, Hidden: 9, Steps: 21, Mode: "seq", TwoWay: true},
	} {
		dir := write(t, n)
		read, err := readNet(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := read.reference()
		for scheme, tolerance := range map[string]float64{"f32": 1e-5, "w8a16": 0.05, "w8a8": 0.1} {
			out := filepath.Join(dir, "y.f32")
			r := ask(t, fmt.Sprintf(`{"cmd":"load","net":%q,"scheme":%q}`, dir, scheme),
				fmt.Sprintf(`{"cmd":"check","out":%q}`, out), `{"cmd":"time","ms":0.01}`)
			if r[0]["bytes"] == nil || len(r[1]) != 0 {
				t.Fatalf("%+v %s: %v", n, scheme, r)
			}
			low, _ := r[2]["min_ns"].(float64)
			median, _ := r[2]["median_ns"].(float64)
			if passes, _ := r[2]["passes"].(float64); !(low > 0 && low <= median && passes >= minPasses) {
				t.Errorf("%+v %s: times %v", n, scheme, r[2])
			}
			got, err := readFloats(out, len(want))
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if d := math.Abs(float64(got[i]) - want[i]); !(d <= tolerance) {
					t.Fatalf("%+v %s: output %d is %v, want %v", n, scheme, i, got[i], want[i])
				}
			}
		}
	}
}

func TestHead(t *testing.T) {
	n := net{Cell: "lstm", Input: 3, Hidden: 9, Steps: 7, Mode: "seq", TwoWay: true, Classes: 4}
	dir := write(t, n)
	out := filepath.Join(dir, "y.f32")
	ask(t, fmt.Sprintf(`{"cmd":"load","net":%q,"scheme":"f32"}`, dir), fmt.Sprintf(`{"cmd":"check","out":%q}`, out))
	y, err := readFloats(out, n.Steps*n.Classes)
	if err != nil {
		t.Fatal(err)
	}
	for step := range n.Steps {
		sum := 0.0
		for _, p := range y[step*n.Classes:][:n.Classes] {
			sum += float64(p)
		}
		if !(math.Abs(sum-1) < 1e-5) {
			t.Errorf("step %d: probabilities add up to %v", step, sum)
		}
	}
}

func TestErrors(t *testing.T) {
	good := net{Cell: "lstm", Input: 3, Hidden: 9, Steps: 7, Mode: "step"}
	load := func(dir string) string { return fmt.Sprintf(`{"cmd":"load","net":%q,"scheme":"f32"}`, dir) }
	with := func(change func(*net)) string {
		n := good
		change(&n)
		dir := write(t, good)
		b, _ := json.Marshal(n)
		if err := os.WriteFile(filepath.Join(dir, "net.json"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		return load(dir)
	}
	dir := write(t, good)
	for request, want := range map[string]string{
		`{`:                            "unexpected end",
		`{"cmd":"dance"}`:              "unknown command",
		`{"cmd":"check","out":"y"}`:    "check before load",
		`{"cmd":"time","ms":1}`:        "time before load",
		load(filepath.Join(dir, "no")): "no such file",
		fmt.Sprintf(`{"cmd":"load","net":%q,"scheme":"w4"}`, dir): "unknown scheme",
		with(func(n *net) { n.Hidden = 10 }):                      "want 2240",
		with(func(n *net) { n.Steps = 8 }):                        "x.f32: 84 bytes, want 96",
		with(func(n *net) { n.Hidden = 1 << 30 }):                 "hidden is",
		with(func(n *net) { n.Input = 0 }):                        "input is 0",
		with(func(n *net) { n.Classes = -1 }):                     "classes is -1",
		with(func(n *net) { n.Cell = "rnn" }):                     "cell is",
		with(func(n *net) { n.Mode = "" }):                        "mode is",
		with(func(n *net) { n.TwoWay = true }):                    "no single step",
	} {
		if got, _ := ask(t, request)[0]["error"].(string); !strings.Contains(got, want) {
			t.Errorf("%s: error %q, want one with %q", request, got, want)
		}
	}
	if got, _ := ask(t, load(dir), `{"cmd":"time","ms":-1}`)[1]["error"].(string); !strings.Contains(got, "ms must be") {
		t.Errorf("time of -1 ms: error %q", got)
	}
	if r := ask(t, `{"cmd":"info"}`)[0]; r["tier"] == "" || r["go"] == "" {
		t.Errorf("info: %v", r)
	}
}
