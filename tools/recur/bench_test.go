package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// runLine runs a command line and returns what it printed.
func runLine(t *testing.T, want int, args ...string) (out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	if got := run(args, &o, &e); got != want {
		t.Fatalf("recur %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, want, o.String(), e.String())
	}
	return o.String(), e.String()
}

func TestCPU(t *testing.T) {
	out, _ := runLine(t, 0, "cpu")
	for _, want := range append(kernels.Tiers(), "caches", "cores") {
		if !strings.Contains(out, want) {
			t.Errorf("recur cpu lacks %q:\n%s", want, out)
		}
	}
	out, _ = runLine(t, 0, "cpu", "-json")
	var m struct {
		Arch, Tier string
		Tiers      []string
		Cores      int
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil || m.Tier != kernels.Tier() || len(m.Tiers) != len(kernels.Tiers()) || m.Cores < 1 || m.Arch == "" {
		t.Errorf("%+v, %v", m, err)
	}
}

// smallModel writes a .recur file of a GRU.
func smallModel(t *testing.T) string {
	const in, h = 3, 8
	g := &quant.Graph{Values: []format.Value{{Width: in, PerStep: true}, {Width: h, PerStep: true}}, Output: 1,
		Input: format.Input{Channels: []format.Channel{{Name: "x"}, {Name: "y"}, {Name: "z"}}},
		Ops: []quant.Op{{Kind: format.GRU, Name: "gru", Hidden: h, In: []format.Ref{{Width: in}}, Out: format.Ref{Value: 1, Width: h},
			W: make([]float32, 3*h*in), U: make([]float32, 3*h*h)}}}
	f, err := quant.Build(g, quant.Options{Scheme: format.W8A8, Range: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := format.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "small.recur")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBench(t *testing.T) {
	tier := kernels.Tiers()[len(kernels.Tiers())-1]
	page := filepath.Join(t.TempDir(), "bench.html")
	for _, args := range [][]string{
		{"bench", "kernels"},
		{"bench", "cells", "-cell", "rnn", "-input", "3", "-hidden", "9", "-scheme", "w8a16"},
		{"bench", "cells", "-cell", "lstm", "-input", "3", "-hidden", "9", "-steps", "20", "-two-way"},
		{"bench", "model", smallModel(t), "-steps", "10", "-html", page},
	} {
		out, errs := runLine(t, 0, append(args, "-quick", "-json", "-tier", tier)...)
		var r struct {
			Machine, Limits map[string]any
			Results         []struct {
				Tier     string
				NsMin    float64 `json:"ns_min"`
				LimitPct float64 `json:"limit_pct"`
			}
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if len(r.Machine) == 0 || len(r.Limits) == 0 || len(r.Results) == 0 || errs != "" {
			t.Errorf("%v: %+v, %q on stderr", args, r, errs)
		}
		for _, x := range r.Results {
			if x.Tier != tier || !(x.NsMin > 0 && x.LimitPct > 0) {
				t.Errorf("%v: %+v", args, x)
			}
		}
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte("</svg>")) {
		t.Errorf("the page: %v", err)
	}
	if out, _ := runLine(t, 0, "bench", "model", smallModel(t), "-quick"); !strings.Contains(out, "roofline") {
		t.Errorf("no roofline:\n%s", out)
	}
}

func TestBenchMisused(t *testing.T) {
	for line, want := range map[string]int{
		"bench":                                    2,
		"bench gates":                              2,
		"bench model":                              2,
		"bench kernels x":                          2,
		"bench kernels -cell lstm":                 2,
		"bench cells -cell abacus":                 2,
		"bench cells -cell lstm -scheme w4":        2,
		"bench cells -input 3":                     2,
		"bench kernels -tier abacus":               1,
		"bench cells -cell lstm -hidden 0":         1,
		"bench cells -cell lstm -two-way":          1,
		"bench model missing.recur":                1,
		"bench cells -cell lstm -hidden 99999999":  1,
		"bench kernels -quick -html missing/bench": 1,
		"cpu x": 2,
	} {
		out, errs := runLine(t, want, strings.Fields(line)...)
		if out != "" || !strings.HasPrefix(errs, "recur ") {
			t.Errorf("recur %s: %q on stdout, %q on stderr", line, out, errs)
		}
	}
	for _, line := range []string{"bench -h", "bench kernels -h", "cpu -h"} {
		if out, _ := runLine(t, 0, strings.Fields(line)...); !strings.Contains(out, "usage: recur") {
			t.Errorf("recur %s teaches nothing: %s", line, out)
		}
	}
}
