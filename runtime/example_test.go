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
