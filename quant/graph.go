// Package quant turns a float network into a .recur file: it packs the weights, quantises them to int8 by row, finds the scales of
// activations from calibration data, and measures what that costs.
package quant

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/runtime/format"
)

// Graph is a network in float32 before it is packed. Values and the channel ranges that operations read and write are those of the
// file (runtime/format): two-way layers are two operations, one with format.FlagReverse, that write halves of one value.
type Graph struct {
	Meta   []format.Pair
	Input  format.Input
	Labels []string
	Values []format.Value // Values[0] is the input
	Ops    []Op
	Output int
}

// Op is one operation with weights in natural layout. I is the input width, H the hidden size, O the output width.
//
//	affine  Scale [I], Shift [I]
//	dense   W [O, I], B [O]
//	lstm    W [4H, I], U [4H, H], B [4H], gates in the order i f g o; Peep [3H], gates i f o; H0, C0 [H]
//	gru     W [3H, I], U [3H, H], B [3H] on the input side, BH [3H] on the hidden side, gates z r n; H0 [H]
//	rnn     W [H, I], U [H, H], B [H]; H0 [H]
//
// A nil B, BH, Peep, H0 or C0 is zero. Matrices are row-major. The gate order is fixed; importers permute.
type Op struct {
	Kind         format.Kind
	Flags        format.Flags
	Name         string
	Hidden       int
	In           []format.Ref
	Out          format.Ref
	W, U         []float32
	B, BH        []float32
	Peep         []float32
	H0, C0       []float32
	Scale, Shift []float32
}

// validate checks the lengths that Build relies on; the file's own validation checks the rest.
func (g *Graph) validate() error {
	for i := range g.Ops {
		if err := g.Ops[i].validate(g); err != nil {
			return fmt.Errorf("operation %d (%v %q): %w", i, g.Ops[i].Kind, g.Ops[i].Name, err)
		}
	}
	return nil
}

func (op *Op) validate(g *Graph) error {
	if len(op.In) != 1 {
		return fmt.Errorf("%d inputs, want 1", len(op.In))
	}
	for _, r := range []format.Ref{op.In[0], op.Out} {
		if r.Value < 0 || r.Value >= len(g.Values) || r.Offset < 0 || r.Width < 1 || r.Offset+r.Width > g.Values[r.Value].Width {
			return fmt.Errorf("channels %d to %d of value %d do not exist", r.Offset, r.Offset+r.Width, r.Value)
		}
	}
	in, out, h := op.In[0].Width, op.Out.Width, op.Hidden
	type tensor struct {
		name     string
		v        []float32
		n        int
		required bool
	}
	var want []tensor
	switch op.Kind {
	case format.Affine:
		want = []tensor{{"scale", op.Scale, in, true}, {"shift", op.Shift, in, true}}
	case format.Dense:
		want = []tensor{{"W", op.W, out * in, true}, {"B", op.B, out, false}}
	case format.LSTM, format.GRU, format.RNN:
		n := (&format.Op{Kind: op.Kind}).Gates()
		want = []tensor{{"W", op.W, n * h * in, true}, {"U", op.U, n * h * h, true}, {"B", op.B, n * h, false}, {"BH", op.BH, n * h, false},
			{"peepholes", op.Peep, 3 * h, false}, {"h0", op.H0, h, false}, {"c0", op.C0, h, false}}
	}
	if op.BH != nil && (op.Kind != format.GRU || op.Flags&format.FlagResetBefore != 0) {
		return errors.New("a bias on the hidden side applies to a GRU that resets after the product")
	}
	for _, t := range want {
		if len(t.v) != t.n && (t.required || t.v != nil) {
			return fmt.Errorf("%s holds %d values, want %d", t.name, len(t.v), t.n)
		}
		for i, v := range t.v {
			if v != v || v > math.MaxFloat32 || v < -math.MaxFloat32 {
				return fmt.Errorf("%s: value %d is %v", t.name, i, v)
			}
		}
	}
	return nil
}
