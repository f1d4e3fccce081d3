package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/demo"
	"github.com/recur-go/recur/models/gesture/teach"
)

// demoFile writes the demo recording of a seed.
func demoFile(t *testing.T, dir string, seed uint64) string {
	t.Helper()
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := demo.WriteCSV(&b, gesture.Channels(m), seed); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "demo.csv")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// onlyFiles wants nothing else in a folder, as temporary files.
func onlyFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(names, " ") {
		t.Errorf("files %q, want %q", have, names)
	}
}

func readExamples(t *testing.T, path string) []teach.Example {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := gesture.Stream()
	if err != nil {
		t.Fatal(err)
	}
	list, err := teach.Read(bytes.NewReader(b), gesture.Channels(m))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	in, out := demoFile(t, dir, 3), filepath.Join(dir, "my.csv")
	status, stdout, errs := gestureCommand("", "record", "-label", "wave", "-n", "3", "-o", out, "-in", in)
	if status != 0 || stdout != "" {
		t.Fatalf("status %d, %s", status, errs)
	}
	for _, want := range []string{"hold still for a second", "now make the gesture wave", "example 3: ", "3 examples of wave added to " + out} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q lacks %q", errs, want)
		}
	}
	if err := os.Chmod(out, 0o600); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(out)
	csv, _ := os.ReadFile(in)
	if status, _, errs := gestureCommand(string(csv), "record", "-label", "push, hard", "-n", "2", "-o", out, "-in", "-"); status != 0 {
		t.Fatalf("status %d, %s", status, errs)
	}
	both, _ := os.ReadFile(out)
	if !bytes.HasPrefix(both, first) {
		t.Error("what was there has changed")
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	var labels []string
	for _, e := range readExamples(t, out) {
		labels = append(labels, e.Label)
	}
	if strings.Join(labels, ";") != "wave;wave;wave;push, hard;push, hard" {
		t.Errorf("labels %q", labels)
	}
	onlyFiles(t, dir, "demo.csv", "my.csv")
}

func TestRecordFailures(t *testing.T) {
	dir := t.TempDir()
	in, out := demoFile(t, dir, 3), filepath.Join(dir, "my.csv")
	other := filepath.Join(dir, "other.csv")
	if err := os.WriteFile(other, []byte("x,y,time,label\n1,2,3,a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const still = "1,2,3,"
	record := func(args ...string) []string { return append([]string{"record"}, args...) }
	for _, c := range []struct {
		stdin  string
		args   []string
		status int
		errs   string
	}{
		{"", record("-o", out, "-in", in), 2, "no -label"},
		{"", record("-label", "a", "-in", in), 2, "no -o"},
		{"", record("-label", "a", "-o", out), 2, "neither -sensor nor -in"},
		{"", record("-label", "a", "-o", out, "-in", in, "-sensor", "iio"), 2, "both -in and -sensor"},
		{"", record("-label", "a", "-o", out, "-in", in, "-n", "-1"), 2, "-n -1"},
		{"", record("-label", "a", "-o", out, "-in", in, "-enter"), 2, "-enter goes with a sensor"},
		{"", record("-label", "a", "-o", out, "-in", in, "x"), 2, `unexpected argument "x"`},
		{"", record("-label", "a", "-o", other, "-in", in), 1, "it is no file of this model's examples"},
		{"", record("-label", "a", "-o", dir, "-in", in), 1, dir},
		{"", record("-label", "a", "-o", filepath.Join(dir, "no", "my.csv"), "-in", in), 1, "no such file"},
		{"", record("-label", "a", "-o", out, "-in", filepath.Join(dir, "absent.csv")), 1, "absent.csv"},
		{still + "0\n" + still + "16\n", record("-label", "a", "-o", out, "-in", "-"), 1, "standard input: no example"},
		{still + "16\n" + still + "0\n", record("-label", "a", "-o", out, "-in", "-"), 1, "0 s is not after 0.016 s"},
		{"1,2,x,3\n", record("-label", "a", "-o", out, "-in", "-"), 1, `column 3 (az): "x" is not a number`},
	} {
		status, stdout, errs := gestureCommand(c.stdin, c.args...)
		if status != c.status || stdout != "" || !strings.Contains(errs, c.errs) {
			t.Errorf("%v: status %d, %q; want %d, %q", c.args, status, errs, c.status, c.errs)
		}
	}
	onlyFiles(t, dir, "demo.csv", "other.csv")

	// What was recorded before the input ended is kept.
	status, _, errs := gestureCommand("", "record", "-label", "a", "-n", "50", "-o", out, "-in", in)
	if status != 1 || !strings.Contains(errs, "of 50 examples") || len(readExamples(t, out)) < 5 {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestTeachCommand(t *testing.T) {
	dir := t.TempDir()
	data, model := filepath.Join(dir, "my.csv"), filepath.Join(dir, "my.recur")
	file := &exampleFile{path: data, channels: []string{"ax", "ay", "az"}}
	var lessons []teach.Example
	for seed := uint64(1); seed < 5; seed++ { // the movements of G3 and G7, by new names
		r := recorded(t, dir, seed)
		r[0].Label, r[1].Label = "wave", "push"
		lessons = append(lessons, r[:2]...)
	}
	if err := file.add(lessons, 32); err != nil {
		t.Fatal(err)
	}
	status, stdout, errs := gestureCommand("", "teach", "-data", data, "-only", "-o", model)
	if status != 0 || stdout != "wave: 4 examples, 4 told right by the others\npush: 4 examples, 4 told right by the others\n" {
		t.Fatalf("status %d, %s%s", status, stdout, errs)
	}
	status, stdout, errs = gestureCommand("", "-model", model, "-in", demoFile(t, dir, 9))
	if status != 0 || strings.Count(stdout, "wave") != 1 || strings.Count(stdout, "push") != 1 {
		t.Errorf("status %d, %s%s", status, stdout, errs)
	}
	var report teach.Report
	if status, stdout, _ = gestureCommand("", "teach", "-data", data, "-only", "-json", "-o", model); status != 0 || json.Unmarshal([]byte(stdout), &report) != nil ||
		len(report.Gestures) != 2 || report.Gestures[1].Label != "push" || report.Gestures[1].Examples != 4 {
		t.Errorf("status %d, %s", status, stdout)
	}
}

// recorded are the movements of a demo recording.
func recorded(t *testing.T, dir string, seed uint64) []teach.Example {
	t.Helper()
	out := filepath.Join(dir, "all.csv")
	defer os.Remove(out)
	if status, _, errs := gestureCommand("", "record", "-label", "all", "-n", "0", "-o", out, "-in", demoFile(t, dir, seed)); status != 0 {
		t.Fatal(errs)
	}
	return readExamples(t, out)
}

func TestReportJSON(t *testing.T) {
	want := teach.Report{Notes: []string{`2 of "a"`, `b\c`}, Gestures: []teach.Learnt{
		{Label: `say "hi"`, Examples: 5, Known: true, Unseen: 1, Right: 3, Wrong: map[string]int{"x": 1, "ü, y": 1}},
		{Label: "b", Examples: 2, Right: 2, Wrong: map[string]int{}}}}
	var got teach.Report
	if err := json.Unmarshal(appendReport(nil, &want), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v", appendReport(nil, &want), got, err)
	}
	if err := json.Unmarshal(appendReport(nil, &teach.Report{}), &got); err != nil {
		t.Error(err)
	}
}

func TestTeachFailures(t *testing.T) {
	dir := t.TempDir()
	const head = "ax,ay,az,time,label\n"
	out := filepath.Join(dir, "my.recur")
	if err := os.WriteFile(out, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin  string
		args   []string
		status int
		errs   string
	}{
		{"", []string{"-o", out}, 2, "no -data"},
		{"", []string{"-data", "-"}, 2, "no -o"},
		{"", []string{"-data", "-", "-o", out, "-only", "-remember"}, 2, "both -only and -remember"},
		{"", []string{"-data", "-", "-o", out, "-slack", "0"}, 2, "want more than 0"},
		{"", []string{"-data", "-", "-o", out}, 1, "-: the file is empty"},
		{"", []string{"-data", filepath.Join(dir, "absent.csv"), "-o", out}, 1, "absent.csv"},
		{"", []string{"-data", "-", "-o", out, "-base", filepath.Join(dir, "absent.recur")}, 1, "absent.recur"},
		{"", []string{"-data", "-", "-o", out, "-base", out}, 1, out + ": header"},
		{strings.Replace(head, "az", "q", 1), []string{"-data", "-", "-o", out}, 1, "no column az"},
		{head + "1,2,nan,0,a\n", []string{"-data", "-", "-o", out}, 1, `line 2, column 3 (az): "nan" is no reading`},
		{head + "1,2,3,0,\n", []string{"-data", "-", "-o", out}, 1, "no row has a label"},
		{head + "1,2,3,0,a\n", []string{"-data", "-", "-o", out, "-only"}, 1, `"a" in line 2: a gesture of 1 samples: too short`},
	} {
		status, stdout, errs := gestureCommand(c.stdin, append([]string{"teach"}, c.args...)...)
		if status != c.status || stdout != "" || !strings.Contains(errs, c.errs) {
			t.Errorf("%v: status %d, %q; want %d, %q", c.args, status, errs, c.status, c.errs)
		}
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "before" {
		t.Errorf("the model of before is %q, %v", b, err)
	}
	onlyFiles(t, dir, "my.recur")
}

// TestTeachWriteFails: a failure to write leaves what was there.
func TestTeachWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := writeFile(filepath.Join(dir, "absent", "x"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := writeFile(dir, []byte("x")); err == nil {
		t.Error("wrote a folder")
	}
	onlyFiles(t, dir)
}

func TestSubcommandHelp(t *testing.T) {
	for _, c := range []string{"record", "teach"} {
		status, stdout, errs := gestureCommand("", c, "-h")
		if status != 0 || errs != "" || !strings.Contains(stdout, "gesture "+c+" ") || !strings.Contains(stdout, "-o FILE") {
			t.Errorf("%s: status %d, %s%s", c, status, stdout, errs)
		}
	}
}

// TestRecordKeys begins and ends examples with Enter.
func TestRecordKeys(t *testing.T) {
	pressed := make(chan struct{}, 1)
	var log bytes.Buffer
	r := &recorder{rate: 62.5, width: 2, label: "a", wanted: 2, w: &log, keys: pressed}
	r.begin()
	for i := range 400 {
		if i == 100 || i == 160 || i == 200 || i == 205 || i == 300 || i == 350 {
			pressed <- struct{}{}
		}
		r.push([]float32{float32(i), float32(i % 7)})
	}
	if len(r.examples) != 2 || !strings.Contains(log.String(), "too short") {
		t.Fatalf("%d examples, %s", len(r.examples), &log)
	}
	if e := r.examples[0]; e.Rows[2*e.First] != 100 || e.End-e.First != 61 || e.First != 18 {
		t.Errorf("samples %d to %d, the first %v", e.First, e.End, e.Rows[2*e.First])
	}
}
