// Package quant turns a float network into a .recur file: it packs the weights, quantises them to int8 by row, finds the scales of
// activations from calibration data, and measures what that costs.
package quant

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// Graph is a network in float32 before it is packed. Values and the channel ranges that operations read and write are those of the
// file (runtime/format): two-way layers are two operations, one with format.FlagReverse, that write halves of one value.
type Graph struct {
	Meta   []format.Pair
	Input  format.Input
	Labels []string
	Range  []float32      // magnitude of each input channel, where the model says so
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
// A convolution has W [O, kernel points, channels of a group] and B [O], dense ones over Blocks parts of their input the W and B of a
// part; constants have B. Dims, Params and Index are the file's arguments of these names. Acts are the activations of a cell, with Clip
// and the parameters of each in ActParams; nil is the usual ones. CellClip limits the cell state of an LSTM unless it is 0.
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
	Dims         []int32
	Params       []float32
	Index        []int32
	Acts         []kernels.Activation
	ActParams    []float32
	CellClip     float32
}

// Blocks is format.File.Blocks.
func (op *Op) Blocks() int {
	switch {
	case (op.Kind.Recurrent() || op.Kind == format.Dense) && len(op.Dims) > 0:
		return int(op.Dims[0])
	case op.Kind == format.Dense:
		return 1
	}
	return 0
}

// bounded reports whether the hidden state of a recurrent operation stays in [-1, 1], or as far from it as its initial state is.
func (op *Op) bounded() bool { return len(op.In) == 1 && op.contained() }

// contained is bounded where the initial state may be one of the inputs.
func (op *Op) contained() bool {
	if op.Flags&format.FlagReLU != 0 {
		return false
	}
	if len(op.Acts) == 0 {
		return true
	}
	in := func(a kernels.Activation) bool {
		return a == kernels.ActSigmoid || a == kernels.ActTanh || a == kernels.ActHardSigmoid || a == kernels.ActSoftsign
	}
	switch op.Kind {
	case format.LSTM: // h is the product of the gate and the output
		return in(op.Acts[0]) && in(op.Acts[2])
	case format.GRU: // h is between h and the candidate if the gate is in [0, 1]
		return (op.Acts[0] == kernels.ActSigmoid || op.Acts[0] == kernels.ActHardSigmoid) && in(op.Acts[1])
	}
	return in(op.Acts[0])
}

// unit is the bound of a unit of a hidden state that is bounded.
func (op *Op) unit(u int) float32 {
	if op.H0 == nil {
		return 1
	}
	return max(1, abs(op.H0[u]))
}

// validate checks the lengths that Build relies on; the file's own validation checks the rest.
func (g *Graph) validate() error {
	if g.Range != nil && len(g.Range) != g.Values[0].Width {
		return fmt.Errorf("%d ranges for %d channels", len(g.Range), g.Values[0].Width)
	}
	for i := range g.Ops {
		if err := g.Ops[i].validate(g); err != nil {
			return fmt.Errorf("operation %d (%v %q): %w", i, g.Ops[i].Kind, g.Ops[i].Name, err)
		}
	}
	return nil
}

func (op *Op) validate(g *Graph) error {
	for _, r := range append(slices.Clone(op.In), op.Out) {
		if r.Value < 0 || r.Value >= len(g.Values) || r.Offset < 0 || r.Width < 1 || r.Offset+r.Width > g.Values[r.Value].Width {
			return fmt.Errorf("channels %d to %d of value %d do not exist", r.Offset, r.Offset+r.Width, r.Value)
		}
	}
	if len(op.In) == 0 {
		return finite("B", op.B)
	}
	in, out, h := op.In[0].Width, op.Out.Width, op.Hidden
	if n := op.Blocks(); n > 1 {
		in, out = in/n, out/n
	}
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
	case format.Conv:
		w, err := format.ParseWindow(op.Dims)
		if err != nil {
			return err
		}
		_, points, kernel := w.Points()
		want = []tensor{{"W", op.W, out / points * kernel * w.Channels / w.Groups, true}, {"B", op.B, out / points, false}}
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
		if err := finite(t.name, t.v); err != nil {
			return err
		}
	}
	return nil
}

func finite(name string, v []float32) error {
	for i, x := range v {
		if x != x || x > math.MaxFloat32 || x < -math.MaxFloat32 {
			return fmt.Errorf("%s: value %d is %v", name, i, x)
		}
	}
	return nil
}
