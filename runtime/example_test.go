package runtime_test

import (
	"fmt"
	"log"

	"github.com/recur-go/recur/runtime"
)

// A session follows one stream, a step at a time.
func ExampleSession_Step() {
	m, err := runtime.Open("../models/gesture/stream.recur")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s := m.NewSession()
	x, y := make([]float32, m.InputWidth()), make([]float32, m.OutputWidth())
	for range 100 { // a second and a half at rest
		if err := s.Step(x, y); err != nil {
			log.Fatal(err)
		}
	}
	best := 0
	for i, p := range y {
		if p > y[best] {
			best = i
		}
	}
	fmt.Println(m.File().Labels[best])
	// Output: none
}

// A batch follows many streams. Those that have news step together; the others wait.
func ExampleBatch_Step() {
	m, err := runtime.Open("../models/gesture/stream.recur")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	b, err := m.NewBatch(3)
	if err != nil {
		log.Fatal(err)
	}
	in, out := m.InputWidth(), m.OutputWidth()
	xs, ys := make([]float32, 3*in), make([]float32, 3*out)
	for step := range 100 {
		streams := []int{0, 1, 2}
		if step%2 == 1 {
			streams = []int{2, 0} // row 0 is of stream 2
		}
		n := len(streams)
		if err := b.Step(streams, xs[:n*in], ys[:n*out]); err != nil {
			log.Fatal(err)
		}
	}
	if err := b.Reset(1); err != nil { // for the next that comes
		log.Fatal(err)
	}
	best := 0
	for i, p := range ys[:out] {
		if p > ys[best] {
			best = i
		}
	}
	fmt.Println("stream 2:", m.File().Labels[best])
	// Output: stream 2: none
}
