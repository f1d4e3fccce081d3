//go:build net

package main

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/recur-go/recur/tools/internal/mqtt/mqtttest"
)

func TestMQTT(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	b.Start()
	l := b.Listen(nil)
	status, out, errs := gestureCommand("", "-json", "-mqtt", "tcp://"+b.Address()+"/home/gesture")
	if status != 0 || !strings.Contains(errs, "mqtt: connected to "+b.Address()) {
		t.Errorf("status %d, %s", status, errs)
	}
	var want []string
	for line := range strings.Lines(out) {
		want = append(want, "home/gesture "+strings.TrimSpace(line))
	}
	l.Until(t, "home/gesture/status offline")
	got := slices.DeleteFunc(l.All(), func(m string) bool { return !strings.HasPrefix(m, "home/gesture ") })
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("published %q, want %q", got, want)
	}
}

// TestMQTTTrouble publishes what -json prints of the sensor, at a topic of its own.
func TestMQTTTrouble(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	b.Start()
	l := b.Listen(nil)
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	lines := strings.SplitAfter(csv, "\n")
	cut := strings.Join(lines[:200], "") + strings.Join(lines[300:], "")
	t.Setenv("MQTT_USER", "pi")
	_, out, _ := gestureCommand(cut, "-sensor", "csv:-", "-columns", demoColumns, "-json", "-mqtt", "tcp://"+b.Address()+"/a?qos=2")
	for line := range strings.Lines(out) {
		if strings.Contains(line, `"event":"gap"`) {
			l.Until(t, "a/trouble "+strings.TrimSpace(line))
			return
		}
	}
	t.Errorf("no gap: %s", out)
}

// TestMQTTSignal interrupts a program that reads from a pipe.
func TestMQTTSignal(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	b.Start()
	l := b.Listen(nil)
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	_, text, _ := gestureCommand("", "-json")
	c := exec.Command(os.Args[0], "-in", "-", "-mqtt", "tcp://"+b.Address()+"/a")
	c.Env = append(os.Environ(), "GESTURE_TEST_PROGRAM=1")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(csv, "\n")
	io.WriteString(in, strings.Join(lines[:len(lines)/2], ""))
	first, _, _ := strings.Cut(text, "\n")
	l.Until(t, "a "+first)
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	l.Until(t, "a/status offline")
}

func TestMQTTNoBroker(t *testing.T) {
	b := mqtttest.NewBroker(t, "") // never started
	status, out, errs := gestureCommand("", "-mqtt", "tcp://"+b.Address()+"/a")
	n := strings.Count(out, "\n")
	if status != 0 || n == 0 || !strings.Contains(errs, "connection refused; trying again") || !strings.Contains(errs, "messages were not published") {
		t.Errorf("status %d, %d lines, %s", status, n, errs)
	}
}

func TestMQTTURL(t *testing.T) {
	for url, want := range map[string]string{
		"pi":          `-mqtt: scheme ""`,
		"tcp://pi":    "-mqtt: no topic",
		"tcp://pi/a#": "-mqtt: a topic",
	} {
		if status, out, errs := gestureCommand("", "-mqtt", url); status != 2 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, %s%s", url, status, out, errs)
		}
	}
	if status, _, errs := gestureCommand("", "-mqtt", "mqtts://pi/a?ca=/absent.pem"); status != 1 || !strings.Contains(errs, "/absent.pem") {
		t.Errorf("status %d, %s", status, errs)
	}
}
