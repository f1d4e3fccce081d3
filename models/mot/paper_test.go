package mot

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// puppet answers as the paper's network should: the detection where there is one, and existence that grows and fades.
type puppet struct{ resets int }

func (p *puppet) Step(streams []int, xs, ys []float32) error {
	for k := range streams {
		x, y := xs[k*paperInputs:][:paperInputs], ys[k*paperOutputs:][:paperOutputs]
		copy(y, x[:4])
		copy(y[4:], x[:4])
		y[8] = x[10] - 0.3
		if x[8] > 0.5 {
			copy(y[4:], x[4:8])
			y[8] = 0.95
		}
	}
	return nil
}

func (p *puppet) Reset(int) error {
	p.resets++
	return nil
}

func paperTracker(t *testing.T, override string) (*Tracker, *puppet) {
	c := Paper()
	c.Width, c.Height = 1000, 500
	if err := c.Override([]byte(override)); err != nil {
		t.Fatal(err)
	}
	assign, err := newAssigner(&c, nil)
	if err != nil {
		t.Fatal(err)
	}
	net := &puppet{}
	return &Tracker{config: c, paper: &paper{config: c, net: net, assign: assign}}, net
}

// TestPaperLives checks the rules of the published program.
func TestPaperLives(t *testing.T) {
	for _, c := range []struct {
		override string
		want     int
	}{{`{}`, 2}, {`{"paper":{"new_ids":true}}`, 3}} {
		tracker, net := paperTracker(t, c.override)
		expect(t, ids(t, tracker, at(100, 100), at(500, 100))) // targets are reported after their first step
		expect(t, ids(t, tracker, at(100, 100), at(500, 100)), 1, 2)
		expect(t, ids(t, tracker, at(104, 100), at(504, 100)), 1, 2)
		expect(t, ids(t, tracker, at(100, 100)), 1, 2) // unseen, its existence fades
		expect(t, ids(t, tracker, at(100, 100)), 1)
		expect(t, ids(t, tracker, at(100, 100), at(800, 300)), 1)         // the dead target moves there
		expect(t, ids(t, tracker, at(100, 100), at(800, 300)), 1, c.want) // and keeps its identity, or not
		for range 4 {
			ids(t, tracker, at(100, 100))
		}
		if want := 2 + 2 + (c.want - 2); net.resets != want { // births, of all in frame 11, a new identity
			t.Errorf("%s: %d resets, want %d", c.override, net.resets, want)
		}
		tracks, err := tracker.Update([]Detection{at(120, 100)})
		if want := Corner(120, 100, 40, 90); err != nil || len(tracks) != 1 || IoU(tracks[0].Box, want) < 0.999 {
			t.Errorf("%v, %v, want %v", err, tracks, want)
		}
	}
}

// nearestNet gives each target a probability for every detection that falls with their distance, and for none as for one at the distance miss.
func nearestNet(t testing.TB, size int, miss float32) *runtime.Model {
	const steep = 50
	g := &quant.Graph{Meta: []format.Pair{{Key: metaScale, Value: strconv.Itoa(1)}}, Output: 1,
		Values: []format.Value{{Width: size * size, PerStep: true}, {Width: size + 1, PerStep: true}}}
	w, b := make([]float32, (size+1)*size*size), make([]float32, size+1)
	for k := range size {
		w[k*size*size+k] = -steep
	}
	b[size] = -steep * miss
	g.Ops = []quant.Op{{Kind: format.Dense, Name: "rows", In: []format.Ref{whole(g, 0)}, Out: whole(g, 1), W: w, B: b},
		{Kind: format.Softmax, Name: "softmax", In: []format.Ref{whole(g, 1)}, Out: whole(g, 1)}}
	return modelOf(t, g, quant.Options{})
}

// TestAssociationNet has a network that goes by distance agree with the optimal assignment by distance, with more targets and detections than
// it takes at once too.
func TestAssociationNet(t *testing.T) {
	const miss = 0.1
	c := Paper()
	c.Width, c.Height = 1000, 500
	optimal, err := newAssigner(&c, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Assoc = "lstm"
	asked, err := newAssigner(&c, nearestNet(t, 4, miss))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 10; n++ {
		var targets, found []normal
		for i := range n {
			x := float64(60 + 100*i)
			targets = append(targets, c.normal(Box{x, 200, 40, 90}))
			if i%3 != 1 {
				found = append([]normal{c.normal(Box{x + 15, 205, 42, 88})}, found...)
			}
		}
		found = append(found, c.normal(Box{500, 450, 40, 40})) // a false alarm
		want, err := optimal.solve(targets, found, make([]bool, len(found)), miss)
		if err != nil {
			t.Fatal(err)
		}
		got, err := asked.solve(targets, found, make([]bool, len(found)), miss)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%d targets: %v, want %v", n, got, want)
			}
		}
	}
}

// randomPaper is a network of one dense layer with random weights, of the inputs and outputs of the paper's.
func randomPaper(t testing.TB) *runtime.Model {
	r := rand.New(rand.NewPCG(15, 16))
	g := &quant.Graph{Values: []format.Value{{Width: paperInputs, PerStep: true}, {Width: paperOutputs, PerStep: true}}, Output: 1}
	g.Ops = []quant.Op{{Kind: format.Dense, Name: "out", In: []format.Ref{whole(g, 0)}, Out: whole(g, 1), W: randomVector(r, paperInputs*paperOutputs, 0.5)}}
	return modelOf(t, g, quant.Options{Scheme: format.W8A16, Range: 2})
}
