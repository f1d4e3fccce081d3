package main

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkFirstResult measures the time from starting the program to its first line for the demo recording.
func BenchmarkFirstResult(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "gesture")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	best := time.Hour
	for b.Loop() {
		cmd := exec.Command(bin)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(begin))
		b.StopTimer()
		io.Copy(io.Discard, out)
		cmd.Wait()
		b.StartTimer()
	}
	b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
}
