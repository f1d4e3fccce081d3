package mot

import (
	"testing"

	"github.com/recur-go/recur/runtime"
)

// crowd is what a detector finds of 20 people who walk to and fro and pass one another; of every seven detections one is missing.
func crowd(frame int, found []Detection) []Detection {
	for i := range 20 {
		if (frame*5+i*3)%7 == 0 {
			continue
		}
		way := (frame*(3+i%5) + 97*i) % 3200 // there and back
		found = append(found, Detection{Box{float64(160 + min(way, 3200-way)), 300 + 25*float64(i), 50 + float64(i), 120 + 3*float64(i)}, 0.95})
	}
	return found
}

// BenchmarkUpdate reports frames a second at 20 people.
func BenchmarkUpdate(b *testing.B) {
	filter, err := Filter()
	if err != nil {
		b.Fatal(err)
	}
	paper, err := PaperMotion()
	if err != nil {
		b.Fatal(err)
	}
	association, err := Association()
	if err != nil {
		b.Fatal(err)
	}
	var frames [1000][]Detection
	for i := range frames {
		frames[i] = crowd(i, nil)
	}
	for _, c := range []struct {
		name, assoc string
		motion      *runtime.Model
	}{
		{"kalman", "hungarian", nil}, {"learnt", "hungarian", filter}, {"learnt+lstm", "lstm", filter}, {"paper", "hungarian", paper}, {"paper+lstm", "lstm", paper},
	} {
		b.Run(c.name, func(b *testing.B) {
			config := SORT()
			if c.motion != nil {
				var err error
				if config, err = ConfigOf(c.motion); err != nil {
					b.Fatal(err)
				}
			}
			config.Assoc, config.Width, config.Height = c.assoc, 1920, 1080
			t, err := New(config, Models{c.motion, association})
			if err != nil {
				b.Fatal(err)
			}
			for _, found := range frames[:100] {
				t.Update(found)
			}
			b.ReportAllocs()
			i, targets, begin := 100, 0, cpuTime()
			for b.Loop() {
				if _, err := t.Update(frames[i%len(frames)]); err != nil {
					b.Fatal(err)
				}
				targets += t.Targets()
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
			if busy := cpuTime() - begin; busy > 0 { // what a core does where others want it too
				b.ReportMetric(float64(b.N)/busy.Seconds(), "frames/core-s")
			}
			b.ReportMetric(float64(targets)/float64(b.N), "targets")
		})
	}
}
