package mot

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
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

// randomAssociation is two layers of LSTM with random weights, of the inputs and outputs of an association model.
func randomAssociation(t testing.TB, size, hidden int) *runtime.Model {
	r := rand.New(rand.NewPCG(31, 32))
	g := &quant.Graph{Meta: []format.Pair{{Key: metaScale, Value: strconv.Itoa(5)}}, Output: 3,
		Values: []format.Value{{Width: size * size, PerStep: true}, {Width: hidden, PerStep: true}, {Width: hidden, PerStep: true}, {Width: size + 1, PerStep: true}}}
	in := size * size
	for k := range 2 {
		g.Ops = append(g.Ops, quant.Op{Kind: format.LSTM, Name: fmt.Sprint("lstm", k), Hidden: hidden, In: []format.Ref{whole(g, k)}, Out: whole(g, k+1),
			W: randomVector(r, 4*hidden*in, 1/math.Sqrt(float64(in))), U: randomVector(r, 4*hidden*hidden, 1/math.Sqrt(float64(hidden))), B: randomVector(r, 4*hidden, 0.1)})
		in = hidden
	}
	g.Ops = append(g.Ops, quant.Op{Kind: format.Dense, Name: "out", In: []format.Ref{whole(g, 2)}, Out: whole(g, 3), W: randomVector(r, (size+1)*hidden, 0.3)},
		quant.Op{Kind: format.Softmax, Name: "softmax", In: []format.Ref{whole(g, 3)}, Out: whole(g, 3)})
	return modelOf(t, g, quant.Options{Scheme: format.W8A16, Range: 1})
}

// BenchmarkUpdate reports frames a second at 20 people. The association network has random weights: what it answers does not change what it costs.
func BenchmarkUpdate(b *testing.B) {
	filter, err := Filter()
	if err != nil {
		b.Fatal(err)
	}
	learnt, err := ConfigOf(filter)
	if err != nil {
		b.Fatal(err)
	}
	lstm := learnt
	lstm.Assoc = "lstm"
	var frames [1000][]Detection
	for i := range frames {
		frames[i] = crowd(i, nil)
	}
	for _, c := range []struct {
		name   string
		config Config
		models Models
	}{
		{"kalman", SORT(), Models{}},
		{"learnt", learnt, Models{Motion: filter}},
		{"learnt+lstm", lstm, Models{Motion: filter, Assoc: randomAssociation(b, 20, 128)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.config.Width, c.config.Height = 1920, 1080
			t, err := New(c.config, c.models)
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
