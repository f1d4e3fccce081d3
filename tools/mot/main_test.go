package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/mot"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden compares what the demo prints with the files that .ci/run compares on emulated boards too.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		file string
		args []string
	}{{"testdata/demo.txt.sha256", nil}, {"testdata/demo.jsonl.sha256", []string{"-json"}}} {
		status, got, errs := motCommand("", c.args...)
		if status != 0 || !strings.Contains(errs, "mot: MOTA ") || !strings.Contains(errs, "mot: 500 frames, ") {
			t.Errorf("%s: status %d, %s", c.file, status, errs)
		}
		sum := sha256.Sum256([]byte(got))
		got = hex.EncodeToString(sum[:]) + "\n"
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
			t.Errorf("%s differs from %s", c.file, got)
		}
	}
}

// motCommand runs a command line.
func motCommand(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// rows is MOT text of two objects that walk, the second of which is hidden for a while.
func rows(frames int) string {
	var b strings.Builder
	for k := 1; k <= frames; k++ {
		fmt.Fprintf(&b, "%d,-1,%d,50,40,90,0.9,-1,-1,-1\n", k, 100+2*k)
		if k%20 < 15 {
			fmt.Fprintf(&b, "%d,-1,%d,50,40,90,0.8\n", k, 400-2*k)
		}
	}
	return b.String()
}

func TestForms(t *testing.T) {
	text := rows(50)
	status, want, errs := motCommand(text, "-in", "-", "-motion", "kalman")
	if status != 0 || strings.Count(want, "\n") < 60 || !strings.Contains(errs, "mot: 50 frames, 90 detections;") {
		t.Fatalf("status %d, %s\n%s", status, errs, want)
	}
	file := filepath.Join(t.TempDir(), "det.txt")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, got, errs := motCommand("", "-in", file, "-motion", "kalman"); status != 0 || got != want {
		t.Errorf("-in FILE: status %d, %s", status, errs)
	}
	out := filepath.Join(t.TempDir(), "res.txt")
	if status, got, errs := motCommand(text, "-in", "-", "-motion", "kalman", "-out", out); status != 0 || got != "" {
		t.Errorf("-out: status %d, %s, %s", status, errs, got)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != want {
		t.Errorf("-out: %v, or other tracks", err)
	}
	for name, text := range map[string]string{
		"CRLF":               strings.ReplaceAll(text, "\n", "\r\n"),
		"spaces":             strings.ReplaceAll(text, ",", ", "),
		"byte order mark":    "\ufeff" + text,
		"no last line break": strings.TrimSuffix(text, "\n"),
		"objects":            objects(t, text),
	} {
		if status, got, errs := motCommand(text, "-in", "-", "-motion", "kalman"); status != 0 || got != want {
			t.Errorf("%s: status %d, %s\n%s", name, status, errs, got)
		}
	}
	if status, got, errs := motCommand(text, "-in", "-", "-motion", "kalman", "-json"); status != 0 || fromObjects(t, got) != want {
		t.Errorf("-json: status %d, %s\n%s", status, errs, got)
	}
}

// objects is MOT text as lines of JSON.
func objects(t *testing.T, text string) string {
	r := newReader(strings.NewReader(text), "text")
	var b strings.Builder
	for {
		frame, found, err := r.next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, `{"frame":%d,"detections":[`, frame)
		for i, d := range found {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"box":[%v,%v,%v,%v],"score":%v}`, d.Left(), d.Top(), d.W, d.H, d.Score)
		}
		b.WriteString("]}\n")
	}
}

// fromObjects is the tool's JSON as MOT text.
func fromObjects(t *testing.T, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		var o struct {
			Frame  int
			Tracks []struct {
				ID    int
				Box   [4]float64
				Score float64
				Gap   int
			}
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, k := range o.Tracks {
			fmt.Fprintf(&b, "%d,%d,%.3f,%.3f,%.3f,%.3f,%.3f,-1,-1,-1\n", o.Frame, k.ID, k.Box[0], k.Box[1], k.Box[2], k.Box[3], k.Score)
		}
	}
	return b.String()
}

func TestSettings(t *testing.T) {
	status, out, errs := motCommand("", "-show-config", "-motion", "kalman", "-set", "max_age=7", "-set", "cost=logit", "-set", "paper.new_ids=true", "-image", "640x480.5")
	var c mot.Config
	if err := json.Unmarshal([]byte(out), &c); err != nil || status != 0 {
		t.Fatalf("status %d, %s, %v", status, errs, err)
	}
	want := mot.SORT()
	want.MaxAge, want.Cost, want.Paper.NewIDs, want.Width, want.Height = 7, "logit", true, 640, 480.5
	if c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
	file := filepath.Join(t.TempDir(), "my.json")
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, again, errs := motCommand("", "-show-config", "-config", file); status != 0 || again != out {
		t.Errorf("-config: status %d, %s\n%s", status, errs, again)
	}
}

// TestGood feeds a detector whose scores are low: that must be said, and -good must help.
func TestGood(t *testing.T) {
	text := strings.NewReplacer(",0.9,", ",0.7,", ",0.8\n", ",0.6\n").Replace(rows(200))
	const warning = "score too low to be looked at"
	status, out, errs := motCommand(text, "-in", "-", "-set", "high_score=0.95", "-set", "low_stage=false")
	if status != 0 || strings.Count(errs, warning) != 1 || out != "" {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	status, out, errs = motCommand(text, "-in", "-", "-set", "high_score=0.95", "-set", "low_stage=false", "-good", "0.5")
	if status != 0 || strings.Contains(errs, warning) || strings.Count(out, "\n") < 300 || !strings.Contains(out, ",0.700,-1,-1,-1\n") {
		t.Errorf("-good: status %d, %s\n%.500s", status, errs, out)
	}
}

// TestLive checks that the tracks of a frame come out as soon as the frame has ended.
func TestLive(t *testing.T) {
	for name, end := range map[string]string{"blank line": "1,-1,10,10,30,60,0.9\n\n", "object": `{"detections":[{"box":[10,10,30,60],"score":0.9}]}` + "\n"} {
		in, feed := io.Pipe()
		out, printed := io.Pipe()
		done := make(chan int)
		go func() { done <- run([]string{"-in", "-", "-motion", "kalman"}, in, printed, io.Discard) }()
		go io.WriteString(feed, end)
		b := make([]byte, 200)
		n, err := out.Read(b)
		if want := "1,1,10.000,10.000,30.000,60.000,0.900,-1,-1,-1\n"; err != nil || string(b[:n]) != want {
			t.Errorf("%s: %v, %q, want %q", name, err, b[:n], want)
		}
		feed.Close()
		if status := <-done; status != 0 {
			t.Errorf("%s: status %d", name, status)
		}
	}
}

// TestInterrupt writes the drawing of a live stream that an interrupt has ended.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sends a signal to itself")
	}
	page := filepath.Join(t.TempDir(), "a.html")
	in, feed := io.Pipe()
	errs, log := io.Pipe()
	done := make(chan int)
	go func() { done <- run([]string{"-in", "-", "-draw", page}, in, io.Discard, log) }()
	if _, err := io.WriteString(feed, "1,-1,10,10,30,60,0.9\n\n"); err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 200)
	n, err := errs.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), "mot: waiting for the end") {
		t.Errorf("%v, %q", err, b[:n])
	}
	go io.Copy(io.Discard, errs)
	feed.Close()
	if status := <-done; status != 0 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
}

func TestFailures(t *testing.T) {
	const row = "3,-1,10,10,30,60,0.9\n"
	dir := t.TempDir()
	for _, c := range []struct {
		stdin  string
		args   string
		status int
		errs   string
	}{
		{"", "-in -", 1, "mot: standard input: no detections\n"},
		{"\n\n", "-in -", 1, "mot: standard input: no detections\n"},
		{row + "3,-1,10,10,30,x\n", "-in -", 1, "mot: standard input: line 2: column 6 (height): \"x\" is not a number\n"},
		{row + "\n3,-1,10\n", "-in -", 1, "mot: standard input: line 3: column 4 (top): missing\n"},
		{row + "3,-1,10,10,30,NaN\n", "-in -", 1, "mot: standard input: line 2: column 6 (height): \"NaN\" is out of range\n"},
		{row + "3,-1,10,1e30,30,60\n", "-in -", 1, "mot: standard input: line 2: column 4 (top): \"1e30\" is out of range\n"},
		{row + "3,-1,10,10,-30,60\n", "-in -", 1, "mot: standard input: line 2: a box of -30 by 60 pixels: want a size above 0\n"},
		{row + "3.5,-1,10,10,30,60\n", "-in -", 1, "mot: standard input: line 2: column 1 (frame): \"3.5\" is not a whole number\n"},
		{row + "2,-1,10,10,30,60\n", "-in -", 1, "mot: standard input: line 2: frame 2 follows frame 3: frames must be in order, each in one piece\n"},
		{"-2,-1,10,10,30,60\n", "-in -", 1, "mot: standard input: line 1: frame -2: want 0 to 1073741824\n"},
		{row + "1000000,-1,10,10,30,60\n", "-in -", 1, "mot: standard input: line 2: frame 1000000 follows frame 3: the limit is 100000 frames without a line\n"},
		{"1,7,10,10,30,60\n1,7,20,20,30,60\n", "-in -", 1, "mot: standard input: line 2: id 7 of frame 1 is that of line 1 too\n"},
		{"{\"detections\":[{\"box\":[1,2,3]}]}\n", "-in -", 1, "mot: standard input: line 1: detection 0: box of 3 numbers, want left, top, width, height\n"},
		{"{\"frame\":\n", "-in -", 1, "mot: standard input: line 1: unexpected end of JSON input\n"},
		{"{\"frame\":1,\"detections\":[{\"box\":[1,2,3,4],\"id\":1},{\"box\":[1,2,3,4],\"id\":1}]}\n", "-in -", 1, "mot: standard input: line 1: id 1 occurs twice in frame 1\n"},
		{strings.Repeat(row, 5000), "-in -", 1, "mot: standard input: line 4097: more than 4096 detections in frame 3\n"},
		{row + strings.Repeat("1", 2<<20), "-in -", 1, "mot: standard input: line 2: longer than 1048576 bytes\n"},
		{"", "-in " + filepath.Join(dir, "absent.txt"), 1, "absent.txt"},
		{"", "-in - -config " + filepath.Join(dir, "absent.json"), 1, "absent.json"},
		{row, "-in - -out " + filepath.Join(dir, "absent", "res.txt"), 1, "absent"},
		{row, "-in - -set max_agee=3", 1, "mot: -set max_agee=3: json: unknown field \"max_agee\"\n"},
		{row, "-in - -set max_age=-3", 1, "mot: -set max_age=-3: max_age is -3, want 0 to 1048576\n"},
		{"", "-image 3", 2, "mot: -image \"3\": want a size like 1920x1080; mot -h explains\n"},
		{"", "-set max_age", 2, "want NAME=VALUE"},
		{"", "-frequency 3", 2, "mot: flag provided but not defined: -frequency; mot -h explains\n"},
		{"", "det.txt", 2, "mot: unexpected argument \"det.txt\": name a file with -in; mot -h explains\n"},
	} {
		status, _, errs := motCommand(c.stdin, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(errs, c.errs) {
			t.Errorf("%.40q %s: status %d, error %q; want %d, %q", c.stdin, c.args, status, errs, c.status, c.errs)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v, and left over: %v", err, files)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(rows(3))
	f.Add("1,2,3,4,5,6\n\n{\"frame\":9,\"detections\":[{\"box\":[1,2,3,4]}]}\n9,")
	f.Add("\ufeff 1 , 2,3,4 ,5,6, 7,8,9\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := newReader(strings.NewReader(text), "fuzz")
		last := -1
		for {
			frame, found, err := r.next()
			if err != nil {
				return
			}
			if frame <= last || len(found) > 4096 {
				t.Fatalf("frame %d after %d, of %d detections", frame, last, len(found))
			}
			for _, d := range found {
				if !(d.W > 0 && d.H > 0) {
					t.Fatalf("detection %v", d)
				}
			}
			last = frame
		}
	})
}
