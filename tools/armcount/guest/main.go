// Guest steps recurrent cells, trackers and the gesture spotter for armcount, with a call of getppid before and after what is to be counted.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/mot"
	"github.com/recur-go/recur/quant"
	recur "github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/sensor"
)

// steps is how many are counted at once; the system call itself counts for less than one instruction a step.
const steps = 100

func main() {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	fmt.Println("tier", kernels.Tier())
	for _, c := range []struct {
		kind          format.Kind
		scheme        format.Scheme
		input, hidden int
		streams       int // of a batch; 0 is a session
	}{
		{format.LSTM, format.W8A8, 6, 32, 0},
		{format.LSTM, format.W8A8, 32, 128, 0},
		{format.LSTM, format.W8A8, 64, 256, 0},
		{format.LSTM, format.W8A16, 64, 256, 0},
		{format.GRU, format.W8A8, 6, 32, 0},
		{format.GRU, format.W8A8, 64, 256, 0},
		{format.LSTM, format.F32, 6, 32, 0},
		{format.GRU, format.W8A16, 13, 64, 0},
		{format.GRU, format.W8A16, 13, 64, 20},
		{format.GRU, format.W8A8, 13, 64, 0},
		{format.GRU, format.W8A8, 13, 64, 20},
	} {
		if err := count(c.kind, c.scheme, c.input, c.hidden, c.streams); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		name := fmt.Sprintf("%v %d→%d %v", c.kind, c.input, c.hidden, c.scheme)
		if c.streams > 0 {
			name += fmt.Sprint(" ×", c.streams)
		}
		fmt.Println("cell", name)
	}
	for _, motion := range []string{"kalman", "gru"} {
		targets, err := countTracker(motion)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("cell mot %s, %.1f targets\n", motion, targets)
	}
	if err := countGesture(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("cell gesture, from 100 Hz")
}

// imu is a sensor that is shaken, so that no motion gate spares the network.
type imu struct{ sample int }

func (i *imu) Name() string               { return "imu" }
func (i *imu) Channels() []sensor.Channel { return sensor.Motion(0, 0) }
func (i *imu) Rate() float64              { return 100 }
func (i *imu) Close() error               { return nil }

func (i *imu) Next(s *sensor.Sample) error {
	for k := range s.Values {
		s.Values[k] = float32((i.sample*7919+k*104729)%40 - 20)
	}
	s.Time = time.Duration(i.sample) * 10 * time.Millisecond
	i.sample++
	return nil
}

// countGesture takes the embedded model's samples from a sensor of 100 Hz.
func countGesture() error {
	m, err := gesture.Stream()
	if err != nil {
		return err
	}
	spotter, err := gesture.NewSpotter(m)
	if err != nil {
		return err
	}
	src, input := &imu{}, m.File().Input
	var want []sensor.Channel
	for _, c := range input.Channels {
		want = append(want, sensor.Channel{Name: c.Name, Unit: c.Unit})
	}
	mapped, err := sensor.NewMap(want, src.Channels(), sensor.Identity, "")
	if err != nil {
		return err
	}
	stream := sensor.NewStream(src, sensor.Options{Rate: float64(input.Rate)})
	raw, x := make([]float32, len(src.Channels())), make([]float32, len(want))
	for i := range 2 * steps {
		if i == steps {
			syscall.Getppid()
		}
		t, _, err := stream.Next(raw)
		if err == nil {
			err = mapped.Apply(x, raw)
		}
		if err == nil {
			_, _, err = spotter.Push(x, t)
		}
		if err != nil {
			return err
		}
	}
	syscall.Getppid()
	return nil
}

// countTracker follows 20 people who walk to and fro and pass one another; of every seven detections one is missing.
func countTracker(motion string) (targets float64, err error) {
	t, err := mot.NewDefault(1920, 1080)
	if motion == "kalman" {
		t, err = mot.New(mot.SORT(), mot.Models{})
	}
	if err != nil {
		return 0, err
	}
	const before = 100
	sum := 0
	var found [20]mot.Detection
	for frame := range before + steps {
		if frame == before {
			syscall.Getppid()
		}
		n := 0
		for i := range found {
			if (frame*5+i*3)%7 == 0 {
				continue
			}
			way := (frame*(3+i%5) + 97*i) % 3200 // there and back
			x := float64(160 + min(way, 3200-way))
			found[n] = mot.Detection{Box: mot.Box{X: x, Y: 300 + 25*float64(i), W: 50 + float64(i), H: 120 + 3*float64(i)}, Score: 0.95}
			n++
		}
		if _, err := t.Update(found[:n]); err != nil {
			return 0, err
		}
		if frame >= before {
			sum += t.Targets()
		}
	}
	syscall.Getppid()
	return float64(sum) / steps, nil
}

func count(kind format.Kind, scheme format.Scheme, input, hidden, streams int) error {
	rng := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = 0.2 * float32(rng.NormFloat64())
		}
		return v
	}
	gates := 4
	if kind == format.GRU {
		gates = 3
	}
	g := &quant.Graph{Values: []format.Value{{Width: input, PerStep: true}, {Width: hidden, PerStep: true}}, Output: 1}
	for i := range input {
		g.Input.Channels = append(g.Input.Channels, format.Channel{Name: fmt.Sprint("x", i)})
	}
	g.Ops = []quant.Op{{Kind: kind, Name: "cell", Hidden: hidden, In: []format.Ref{{Width: input}}, Out: format.Ref{Value: 1, Width: hidden},
		W: values(gates * hidden * input), U: values(gates * hidden * hidden), B: values(gates * hidden)}}
	f, err := quant.Build(g, quant.Options{Scheme: scheme, Range: 3})
	if err != nil {
		return err
	}
	m, err := recur.New(f)
	if err != nil {
		return err
	}
	step, err := stepper(m, streams, values)
	if err != nil {
		return err
	}
	for range 2 {
		if err := step(); err != nil {
			return err
		}
	}
	syscall.Getppid()
	for range steps {
		if err := step(); err != nil {
			return err
		}
	}
	syscall.Getppid()
	return nil
}

func stepper(m *recur.Model, streams int, values func(n int) []float32) (func() error, error) {
	rows := max(streams, 1)
	x, y := values(rows*m.InputWidth()), make([]float32, rows*m.OutputWidth())
	if streams == 0 {
		s := m.NewSession()
		return func() error { return s.Step(x, y) }, nil
	}
	b, err := m.NewBatch(streams)
	if err != nil {
		return nil, err
	}
	all := make([]int, streams)
	for i := range all {
		all[i] = i
	}
	return func() error { return b.Step(all, x, y) }, nil
}
