package gesture_test

import (
	"fmt"
	"io"
	"log"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/demo"
)

// Gestures in a stream of samples, here the synthetic demo recording.
func Example() {
	model, err := gesture.Stream()
	if err != nil {
		log.Fatal(err)
	}
	spotter, err := gesture.NewSpotter(model)
	if err != nil {
		log.Fatal(err)
	}
	sample := make([]float32, model.InputWidth())
	for sensor := demo.New(demo.Seed); ; {
		t, err := sensor.Next(sample)
		if err == io.EOF {
			break
		}
		e, ok, err := spotter.Push(sample, t)
		if err != nil {
			log.Fatal(err)
		}
		if ok {
			fmt.Println(e.Label)
		}
	}
	// Output:
	// G3
	// G7
	// G1
	// G9
	// G5
	// G2
	// G8
	// G4
	// G6
}

// A gesture that is already cut out of a recording, as rows of samples.
func ExampleClassifier() {
	model, err := gesture.BLSTM()
	if err != nil {
		log.Fatal(err)
	}
	classifier, err := gesture.NewClassifier(model)
	if err != nil {
		log.Fatal(err)
	}
	var before, rows []float32
	sample := make([]float32, model.InputWidth())
	for sensor := demo.New(demo.Seed); ; {
		t, _ := sensor.Next(sample)
		if t > 2 {
			break
		}
		if t < 1.1 {
			before = append(before, sample...)
		} else {
			rows = append(rows, sample...)
		}
	}
	label, _, err := classifier.ClassifyAfter(before, rows)
	fmt.Println(label, err)
	// Output: G3 <nil>
}
