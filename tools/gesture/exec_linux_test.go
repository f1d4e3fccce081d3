package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/recur-go/recur/models/gesture"
)

func TestSplit(t *testing.T) {
	for command, want := range map[string][]string{
		"a":                          {"a"},
		"  a  b\tc ":                 {"a", "b", "c"},
		`a 'b c' "d e" f\ g`:         {"a", "b c", "d e", "f g"},
		`a '' ""`:                    {"a", "", ""},
		`a b'c'"d"e`:                 {"a", "bcde"},
		`a '\n' "\"\\" \'`:           {"a", `\n`, `"\`, "'"},
		`a $HOME ; | & > * {label}`:  {"a", "$HOME", ";", "|", "&", ">", "*", "{label}"},
		`a '{"l":"{label}"}' {} {L}`: {"a", `{"l":"{label}"}`, "{}", "{L}"},
		`a é'ü'`:                     {"a", "éü"},
	} {
		if got, err := split(command); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q; %v", command, got, want, err)
		}
	}
	for command, want := range map[string]string{
		"": "no command", " ": "no command", "'' a": "no command", "a 'b": "a quote does not end", `a "b`: "a quote does not end", `a \`: "a quote does not end",
		"{label} a": "must not depend", "a {lable}": "no {lable}: want {label}, {confidence}, {start}, {end}", "a x{{time}": "no {time}",
	} {
		if _, err := split(command); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", command, err, want)
		}
	}
}

func TestFill(t *testing.T) {
	args := []string{"a", "{label}", "x{start}-{end}", "{confidence}{label}"}
	got := fill(args, gesture.Event{Start: 1.25, End: 2, Label: "{end} ; rm", Confidence: 0.5})
	if want := []string{"a", "{end} ; rm", "x1.250-2.000", "0.500{end} ; rm"}; !reflect.DeepEqual(got, want) || args[1] != "{label}" {
		t.Errorf("%q, want %q", got, want)
	}
}

// talk collects what actions report.
type talk struct {
	mu   sync.Mutex
	said []string
}

func (l *talk) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func TestExec(t *testing.T) {
	before := goruntime.NumGoroutine()
	file := filepath.Join(t.TempDir(), "out")
	status, out, errs := gestureCommand("", "-exec", `sh -c 'echo "$@" >>`+file+`; echo from $1' x {label} "{start} to {end}" {confidence}`)
	b, err := os.ReadFile(file)
	if err != nil || status != 0 {
		t.Fatalf("status %d, %s, %v", status, errs, err)
	}
	var want strings.Builder
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		fmt.Fprintf(&want, "%s %s to %s %s\n", f[5], f[0], f[3], f[7])
	}
	// The demo has more gestures at once than can wait.
	if got := string(b); got != want.String() && !strings.Contains(errs, "wait for their command") || !strings.HasPrefix(want.String(), got[:40]) {
		t.Errorf("commands got\n%swant\n%s%s", got, want.String(), errs)
	}
	if strings.Contains(out, "from") || !strings.Contains(errs, "from G3\n") {
		t.Errorf("the commands' output is in the wrong place:\n%s%s", out, errs)
	}
	sameGoroutines(t, before)
}

func TestExecFails(t *testing.T) {
	status, _, errs := gestureCommand("", "-exec", "sh -c 'exit 3'")
	if status != 0 || !strings.Contains(errs, "gesture: sh: exit status 3\n") {
		t.Errorf("status %d, %s", status, errs)
	}
}

// TestExecNeverBlocks has a command that takes long, and more gestures than can wait.
func TestExecNeverBlocks(t *testing.T) {
	var log talk
	a, err := newAction("sleep 60", time.Minute, &bytes.Buffer{}, log.say)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	const pushed = 50
	for i := range pushed {
		a.push(gesture.Event{Label: "G" + strconv.Itoa(i)})
		if i == 0 {
			for len(a.queue) > 0 { // until the worker has it
				time.Sleep(time.Millisecond)
			}
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("pushing took %v", took)
	}
	log.mu.Lock()
	if len(log.said) != pushed-1-queueLength || log.said[0] != "8 gestures wait for their command; none is run for G9 at 0.000 s" {
		t.Errorf("%d reports, the first %q", len(log.said), log.said[0])
	}
	log.said = nil
	log.mu.Unlock()
	a.close(true)
	if time.Since(begin) > 10*time.Second || len(log.said) != 1+queueLength || log.said[0] != "sleep: killed" ||
		log.said[1] != "no command is run for G1 at 0.000 s" {
		t.Errorf("%v, %q", time.Since(begin), log.said)
	}
}

func TestExecPushAllocatesNothing(t *testing.T) {
	a := &action{queue: make(chan gesture.Event, 2000)}
	if n := testing.AllocsPerRun(1000, func() { a.push(gesture.Event{Label: "G1"}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestExecLeavesSomethingBehind has a command that ends, and a child of it that holds its output.
func TestExecLeavesSomethingBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	var log talk
	a, err := newAction("sh -c 'sleep 60 & echo $! >"+file+"'", time.Minute, &bytes.Buffer{}, log.say)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	a.push(gesture.Event{Label: "G1"})
	a.close(false)
	if took := time.Since(begin); took > 20*time.Second || len(log.said) > 0 {
		t.Errorf("took %v, %q", took, log.said)
	}
	b, _ := os.ReadFile(file)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Errorf("the child %q does not live on: %v", b, err)
	}
}

// TestExecTimeout makes sure that what a command has started goes with it.
func TestExecTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	var log talk
	var out bytes.Buffer
	a, err := newAction("sh -c 'sleep 60 & echo $! >"+file+"; wait'", 300*time.Millisecond, &out, log.say)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	a.push(gesture.Event{Label: "G1"})
	a.close(false)
	if took := time.Since(begin); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if !reflect.DeepEqual(log.said, []string{"sh: killed after 300ms"}) {
		t.Errorf("%q", log.said)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		// A zombie without a parent that waits still has its number.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if syscall.Kill(pid, 0) == syscall.ESRCH || err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d lives on", pid)
}
