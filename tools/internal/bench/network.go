package bench

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

// Cell is a network to time: one recurrent layer, the output of which is its hidden state.
type Cell struct {
	Kind    format.Kind
	Scheme  format.Scheme
	Input   int
	Hidden  int
	Steps   int  // 1: time Step; more: Run of so many steps
	TwoWay  bool // two layers of Hidden units, one of them backwards; needs more than 1 step
	Classes int  // if not 0, a dense layer and softmax of so many classes a step follow
}

// DefaultCells are those of the table in README.md.
func DefaultCells() (cells []Cell) {
	for _, c := range []struct {
		kind  format.Kind
		sizes [][2]int
	}{
		{format.LSTM, [][2]int{{6, 32}, {6, 64}, {32, 128}, {64, 256}, {256, 512}}},
		{format.GRU, [][2]int{{6, 32}, {6, 64}, {32, 128}, {64, 256}}},
	} {
		for _, s := range c.sizes {
			cells = append(cells, Cell{Kind: c.kind, Scheme: format.W8A8, Input: s[0], Hidden: s[1], Steps: 1})
		}
	}
	return append(cells,
		Cell{Kind: format.LSTM, Scheme: format.W8A8, Input: 64, Hidden: 256, Steps: 100},
		Cell{Kind: format.LSTM, Scheme: format.W8A8, Input: 6, Hidden: 100, Steps: 60, TwoWay: true, Classes: 14})
}

// maxWeights bounds the weights of a random network.
const maxWeights = 1 << 28

func (c Cell) validate() error {
	switch {
	case !c.Kind.Recurrent():
		return fmt.Errorf("cell %v: want lstm, gru or rnn", c.Kind)
	case c.Input < 1 || c.Input > 1<<16 || c.Hidden < 1 || c.Hidden > 1<<16:
		return fmt.Errorf("cell %d to %d: want sizes from 1 to %d", c.Input, c.Hidden, 1<<16)
	case 8*int64(c.Hidden)*int64(c.Input+c.Hidden) > maxWeights:
		return fmt.Errorf("cell %d to %d: more than %d weights", c.Input, c.Hidden, maxWeights)
	case c.Steps < 1 || c.Steps > 1<<16:
		return fmt.Errorf("%d steps: want 1 to %d", c.Steps, 1<<16)
	case c.TwoWay && c.Steps == 1:
		return fmt.Errorf("a two-way cell runs whole sequences: want more than 1 step")
	}
	return nil
}

// model builds the network with random weights that keep the state away from saturation.
func (c Cell) model() (*runtime.Model, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(uint64(c.Input), uint64(c.Hidden)))
	width := c.Hidden
	if c.TwoWay {
		width *= 2
	}
	g := &quant.Graph{Values: []format.Value{{Width: c.Input, PerStep: true}, {Width: width, PerStep: true}}, Output: 1}
	for i := range c.Input {
		g.Input.Channels = append(g.Input.Channels, format.Channel{Name: fmt.Sprint("x", i)})
	}
	in := format.Ref{Value: 0, Width: c.Input}
	g.Ops = append(g.Ops, c.layer(rng, 0, in, format.Ref{Value: 1, Width: c.Hidden}))
	if c.TwoWay {
		g.Ops = append(g.Ops, c.layer(rng, format.FlagReverse, in, format.Ref{Value: 1, Offset: c.Hidden, Width: c.Hidden}))
	}
	if c.Classes > 0 {
		c.classify(g, rng, width)
	}
	f, err := quant.Build(g, quant.Options{Scheme: c.Scheme, Range: 3})
	if err != nil {
		return nil, err
	}
	return runtime.New(f)
}

func (c Cell) layer(rng *rand.Rand, flags format.Flags, in, out format.Ref) quant.Op {
	gates := map[format.Kind]int{format.LSTM: 4, format.GRU: 3, format.RNN: 1}[c.Kind]
	h := c.Hidden
	op := quant.Op{Kind: c.Kind, Flags: flags, Name: c.Kind.String(), Hidden: h, In: []format.Ref{in}, Out: out,
		W: uniform(rng, gates*h*c.Input, 1/sqrt(c.Input)), U: uniform(rng, gates*h*h, 1/sqrt(h)), B: uniform(rng, gates*h, 0.1)}
	if c.Kind == format.GRU {
		op.BH = uniform(rng, gates*h, 0.1)
	}
	return op
}

func (c Cell) classify(g *quant.Graph, rng *rand.Rand, width int) {
	hidden := format.Ref{Value: 1, Width: width}
	g.Values = append(g.Values, format.Value{Width: c.Classes, PerStep: true})
	logits := format.Ref{Value: 2, Width: c.Classes}
	g.Output = 2
	g.Ops = append(g.Ops,
		quant.Op{Kind: format.Dense, Name: "dense", In: []format.Ref{hidden}, Out: logits, W: uniform(rng, c.Classes*width, 1/sqrt(width))},
		quant.Op{Kind: format.Softmax, Name: "softmax", In: []format.Ref{logits}, Out: logits})
}

func sqrt(n int) float32 { return float32(math.Sqrt(float64(n))) }
