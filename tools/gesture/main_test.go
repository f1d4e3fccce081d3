package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// gestureCommand runs a command line.
func gestureCommand(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// TestGolden compares what the demo prints with the files that .ci/run compares on emulated boards too.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		file string
		args []string
	}{{"testdata/demo.txt", nil}, {"testdata/demo.jsonl", []string{"-json"}}} {
		status, got, errs := gestureCommand("", c.args...)
		if status != 0 || !strings.Contains(errs, "gesture: 9 gestures in ") || !strings.Contains(errs, "% of real time") {
			t.Errorf("%s: status %d, %s", c.file, status, errs)
		}
		if *update {
			if err := os.WriteFile(c.file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from\n%s", c.file, got)
		}
	}
}

func TestJSON(t *testing.T) {
	_, out, _ := gestureCommand("", "-json")
	for line := range strings.Lines(out) {
		var e struct {
			Start      float64 `json:"t_start"`
			End        float64 `json:"t_end"`
			Label      string
			Confidence float64
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil || !(e.Start < e.End) || e.Label == "" || !(e.Confidence > 0 && e.Confidence <= 1) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestCSV gives the demo recording in every form that the tool reads.
func TestCSV(t *testing.T) {
	_, want, _ := gestureCommand("")
	status, csv, errs := gestureCommand("", "-demo-csv", "-")
	if status != 0 || errs != "" || len(csv) > 100<<10 {
		t.Fatalf("status %d, %s, %d bytes", status, errs, len(csv))
	}
	file := filepath.Join(t.TempDir(), "demo.csv")
	if status, out, errs := gestureCommand("", "-demo-csv", file); status != 0 || out != "" || errs != "" {
		t.Fatalf("status %d, %s", status, errs)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != csv {
		t.Fatalf("%v, or another recording", err)
	}
	_, rows, _ := strings.Cut(csv, "\n")
	for name, text := range map[string]string{
		"-":                  csv,
		"without header":     rows,
		"CRLF":               strings.ReplaceAll(csv, "\n", "\r\n"),
		"blank lines":        strings.ReplaceAll(csv, "\n", "\n\n"),
		"no last line break": strings.TrimSuffix(csv, "\n"),
	} {
		if status, got, errs := gestureCommand(text, "-in", "-"); status != 0 || got != want {
			t.Errorf("%s: status %d, %s\n%s", name, status, errs, got)
		}
	}
	if status, got, errs := gestureCommand("", "-in", file); status != 0 || got != want {
		t.Errorf("-in FILE: status %d, %s\n%s", status, errs, got)
	}
}

func TestEventsStayPrinted(t *testing.T) {
	_, want, _ := gestureCommand("")
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	lines := strings.SplitAfter(csv, "\n")
	half := len(lines) / 2
	bad := strings.Join(lines[:half], "") + "1,x,3,4\n"
	status, got, errs := gestureCommand(bad, "-in", "-")
	if status != 1 || !strings.HasPrefix(want, got) || strings.Count(got, "\n") < 3 {
		t.Errorf("status %d, printed\n%s", status, got)
	}
	if want := "gesture: standard input: line " + strconv.Itoa(half+1) + `, column 2 (ay): "x" is not a number` + "\n"; errs != want {
		t.Errorf("error %q, want %q", errs, want)
	}
}

func TestFailures(t *testing.T) {
	const row = "1,2,3,"
	dir := t.TempDir()
	model := filepath.Join(dir, "bad.recur")
	if err := os.WriteFile(model, []byte("RECUR"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin  string
		args   []string
		status int
		errs   string
	}{
		{"", []string{"-in", "-"}, 1, "gesture: standard input: no samples\n"},
		{"a,b,c,d\n\n", []string{"-in", "-"}, 1, "gesture: standard input: no samples\n"},
		{row + "16\n" + row + "16\n", []string{"-in", "-"}, 1, "gesture: standard input: line 2, column 4 (time): 0.016 s is not after 0.016 s\n"},
		{row + "16\n\n" + row + "15\n", []string{"-in", "-"}, 1, "gesture: standard input: line 3, column 4 (time): 0.015 s is not after 0.016 s\n"},
		{"1,1e30,3,16\n", []string{"-in", "-"}, 1, "gesture: standard input: line 1, column 2 (ay): 1e+30 is no sensor reading\n"},
		{"1,2,nan,16\n", []string{"-in", "-"}, 1, "gesture: standard input: line 1, column 3 (az): \"nan\" is not finite\n"},
		{"1,2\n", []string{"-in", "-"}, 1, "gesture: standard input: line 1, column 3 (az): missing\n"},
		{"", []string{"-in", filepath.Join(dir, "absent.csv")}, 1, "absent.csv"},
		{"", []string{"-in", dir}, 1, dir},
		{"", []string{"-model", filepath.Join(dir, "absent.recur")}, 1, "absent.recur"},
		{"", []string{"-model", model}, 1, "header"},
		{"", []string{"-model", "../../models/gesture/blstm.recur"}, 1, "../../models/gesture/blstm.recur: a two-way model"},
		{"", []string{"-demo-csv", dir}, 1, dir},
		{"", []string{"-frequency", "3"}, 2, "gesture: flag provided but not defined: -frequency; gesture -h explains\n"},
		{"", []string{"-in"}, 2, "gesture: flag needs an argument: -in; gesture -h explains\n"},
		{"", []string{"rec.csv"}, 2, "gesture: unexpected argument \"rec.csv\": name a file with -in; gesture -h explains\n"},
	} {
		status, out, errs := gestureCommand(c.stdin, c.args...)
		if status != c.status || out != "" || !strings.Contains(errs, c.errs) {
			t.Errorf("%q %v: status %d, output %q, error %q; want %d, %q", c.stdin, c.args, status, out, errs, c.status, c.errs)
		}
	}
}

func TestHelp(t *testing.T) {
	status, out, errs := gestureCommand("", "-h")
	if status != 0 || errs != "" || !strings.Contains(out, "gesture -in rec.csv") || !strings.Contains(out, "-demo-csv FILE") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
}

func TestOwnModel(t *testing.T) {
	_, want, _ := gestureCommand("")
	if status, got, errs := gestureCommand("", "-model", "../../models/gesture/stream.recur"); status != 0 || got != want {
		t.Errorf("status %d, %s\n%s", status, errs, got)
	}
}

// lineWriter counts writes, and fails from the n-th on.
type lineWriter struct {
	lines []string
	n     int
}

func (w *lineWriter) Write(b []byte) (int, error) {
	if len(w.lines) == w.n {
		return 0, errors.New("no space left")
	}
	w.lines = append(w.lines, string(b))
	return len(b), nil
}

func TestEveryEventIsWrittenAtOnce(t *testing.T) {
	_, want, _ := gestureCommand("")
	w := &lineWriter{n: 100}
	if status := run(nil, nil, w, io.Discard); status != 0 || !slices.Equal(w.lines, slices.Collect(strings.Lines(want))) {
		t.Errorf("status %d, writes %q", status, w.lines)
	}
	var errs bytes.Buffer
	if status := run(nil, nil, &lineWriter{n: 2}, &errs); status != 1 || !strings.HasSuffix(errs.String(), "gesture: no space left\n") {
		t.Errorf("status %d, %s", status, errs.String())
	}
}

func TestRateNote(t *testing.T) {
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	var slow strings.Builder
	for i, line := range strings.SplitAfter(csv, "\n") {
		if i%2 == 1 {
			slow.WriteString(line)
		}
	}
	if _, _, errs := gestureCommand(slow.String(), "-in", "-"); !strings.Contains(errs, "the model was trained at 31.25") {
		t.Errorf("no note on half the sample rate: %s", errs)
	}
	if _, _, errs := gestureCommand(csv, "-in", "-"); strings.Contains(errs, "trained") {
		t.Errorf("a note on the right sample rate: %s", errs)
	}
}
