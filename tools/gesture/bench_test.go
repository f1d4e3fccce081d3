package main

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/demo"
	"github.com/recur-go/recur/tools/internal/sensor"
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

// imu plays samples over and over, 100 a second, with three more channels that nobody wants.
type imu struct {
	rows  []float32 // ax ay az
	count int
}

func (i *imu) Name() string               { return "imu" }
func (i *imu) Channels() []sensor.Channel { return sensor.Motion(0, 0) }
func (i *imu) Rate() float64              { return 100 }
func (i *imu) Close() error               { return nil }

func (i *imu) Next(s *sensor.Sample) error {
	k := 3 * i.count % len(i.rows)
	copy(s.Values, i.rows[k:k+3])
	s.Values[3] = float32(i.count & 1) // not stuck
	s.Time = time.Duration(i.count) * 10 * time.Millisecond
	i.count++
	return nil
}

// BenchmarkSensor100Hz is the whole way of a sensor's samples at 100 a second: resampling, the channels' map, network and spotter. An
// operation is a second of time. The demo rests half of the time; shaken is movement without end, in which the network sees every sample.
func BenchmarkSensor100Hz(b *testing.B) {
	var demoRows, shaken []float32
	sample := make([]float32, 3)
	for r := demo.New(demo.Seed); ; {
		if _, err := r.Next(sample); err != nil {
			break
		}
		for range 3 {
			demoRows = append(demoRows, sample...)
		}
	}
	for i := range 3000 {
		shaken = append(shaken, float32(i*7919%40-20))
	}
	for name, rows := range map[string][]float32{"demo": demoRows, "shaken": shaken} {
		b.Run(name, func(b *testing.B) {
			model, err := gesture.Stream()
			if err != nil {
				b.Fatal(err)
			}
			spotter, err := gesture.NewSpotter(model)
			if err != nil {
				b.Fatal(err)
			}
			o := sensing{host: thisHost}
			f, err := o.feed(device{&imu{rows: rows}, false, false}, model, nil, spotter.Reset)
			if err != nil {
				b.Fatal(err)
			}
			end := 1.0
			b.ReportAllocs()
			for b.Loop() {
				for t := 0.0; t < end; {
					if t, err = f.Next(sample); err != nil {
						b.Fatal(err)
					}
					if _, _, err := spotter.Push(sample, t); err != nil {
						b.Fatal(err)
					}
				}
				end++
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*100, "%core")
		})
	}
}
