package quant

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// Options say how Build quantises.
type Options struct {
	Scheme format.Scheme
	// Calib are sequences of T rows of input features each, from which the int8 schemes take the range of every activation.
	Calib [][]float32
	// Range bounds the magnitude of the input features in place of Calib; the ranges of later activations are then bounded by
	// interval arithmetic, which is wider than what occurs.
	Range float32
}

// ErrRange is returned for an int8 scheme without calibration data or a range.
var ErrRange = errors.New("an int8 scheme needs the range of the input: give calibration data or a range")

// Build packs a graph into a file. Int8 weights are symmetric with one scale a row; the scales of input activations, one a channel, are
// folded into the weights, so that a row of sums needs one factor only.
func Build(g *Graph, o Options) (*format.File, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	ranges := make([][]float32, len(g.Ops))
	if o.Scheme != format.F32 {
		var err error
		if ranges, err = inputRanges(g, o); err != nil {
			return nil, err
		}
	}
	b := &builder{g: g, f: &format.File{Meta: g.Meta, Input: g.Input, Labels: g.Labels, Values: g.Values, Output: g.Output}}
	for i := range g.Ops {
		op := &g.Ops[i]
		scheme := format.F32
		if op.Kind.Recurrent() || op.Kind == format.Dense {
			scheme = o.Scheme
		}
		if err := b.op(op, scheme, ranges[i]); err != nil {
			return nil, fmt.Errorf("operation %d (%v %q): %w", i, op.Kind, op.Name, err)
		}
	}
	return b.f, nil
}

// levels is the largest integer activation of a scheme.
func levels(s format.Scheme) float32 {
	if s == format.W8A16 {
		return kernels.MaxI16
	}
	return kernels.MaxI8
}

type builder struct {
	g  *Graph
	f  *format.File
	at *format.Op
}

func (b *builder) arg(role format.Role, blob format.Blob) {
	b.at.Args = append(b.at.Args, format.Arg{Role: role, Blob: len(b.f.Blobs)})
	b.f.Blobs = append(b.f.Blobs, blob)
}

// vector stores v without what is too small to matter, except in factors, where a file must not hold such.
func (b *builder) vector(role format.Role, v []float32) {
	if role != format.RoleScale && role != format.RoleXInv && role != format.RoleHInv {
		v = slices.Clone(v)
		for i, x := range v {
			if abs(x) < format.MinVector {
				v[i] = 0
			}
		}
	}
	b.arg(role, format.Blob{Kind: format.VecF32, Rows: len(v), Cols: 1, F32: v})
}

// matrix packs w, and for int8 schemes quantises it for inputs of which channel k has the magnitude limit[k].
func (b *builder) matrix(role, scale format.Role, w []float32, rows, cols int, limit []float32) {
	if b.at.Scheme == format.F32 {
		b.arg(role, format.Blob{Kind: format.MatF32, Rows: rows, Cols: cols, F32: kernels.PackF32(w, rows, cols)})
		return
	}
	q, scales := quantiseRows(w, rows, cols, limit, levels(b.at.Scheme))
	b.arg(role, format.Blob{Kind: format.MatI8, Rows: rows, Cols: cols, I8: kernels.PackI8(q, rows, cols)})
	b.vector(scale, scales)
}

// inverse writes the factors that take activations to integers.
func (b *builder) inverse(role format.Role, limit []float32) {
	if b.at.Scheme == format.F32 {
		return
	}
	inv := make([]float32, len(limit))
	for k, m := range limit {
		inv[k] = levels(b.at.Scheme) / m
	}
	b.vector(role, inv)
}

// quantiseRows returns symmetric int8 weights and the factor of each row's sums, for activations x[k]*levels/limit[k].
func quantiseRows(w []float32, rows, cols int, limit []float32, levels float32) (q []int8, scales []float32) {
	q, scales = make([]int8, rows*cols), make([]float32, rows)
	folded := make([]float64, cols)
	for r := range rows {
		most := 0.0
		for c := range cols {
			folded[c] = float64(w[r*cols+c]) * float64(limit[c]) / float64(levels)
			most = math.Max(most, math.Abs(folded[c]))
		}
		s := most / kernels.MaxI8
		if s < format.MinVector { // a row of zeros
			continue
		}
		scales[r] = float32(s)
		for c, v := range folded {
			q[r*cols+c] = int8(math.RoundToEven(v / s))
		}
	}
	return q, scales
}

// gateRows moves row gate*H + unit of a matrix with cols columns to kernels.GateRow, from the first of n gates on.
func gateRows(w []float32, first, n, hidden, cols int) []float32 {
	out := make([]float32, n*kernels.Align(hidden, kernels.UnitBlock)*cols)
	if w == nil {
		return out
	}
	for g := range n {
		for u := range hidden {
			copy(out[kernels.GateRow(n, g, u)*cols:][:cols], w[((first+g)*hidden+u)*cols:][:cols])
		}
	}
	return out
}

func filled(v float32, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func (b *builder) op(op *Op, scheme format.Scheme, limit []float32) error {
	b.f.Ops = append(b.f.Ops, format.Op{Kind: op.Kind, Scheme: scheme, Flags: op.Flags, Name: op.Name, Hidden: op.Hidden, In: op.In, Out: op.Out})
	b.at = &b.f.Ops[len(b.f.Ops)-1]
	in, h := op.In[0].Width, op.Hidden
	hp := kernels.Align(h, kernels.UnitBlock)
	switch op.Kind {
	case format.Affine:
		b.vector(format.RoleScale, op.Scale)
		b.vector(format.RoleShift, op.Shift)
	case format.Dense:
		b.matrix(format.RoleW, format.RoleWScale, op.W, op.Out.Width, in, limit)
		b.vector(format.RoleBias, orZero(op.B, op.Out.Width))
		b.inverse(format.RoleXInv, limit)
	case format.LSTM, format.GRU, format.RNN:
		n := b.at.Gates()
		hLimit := filled(1, h)
		if op.Flags&format.FlagReLU != 0 && scheme != format.F32 {
			hLimit = limit[in:]
			limit = limit[:in]
		}
		b.matrix(format.RoleW, format.RoleWScale, gateRows(op.W, 0, n, h, in), n*hp, in, limit)
		if op.Flags&format.FlagResetBefore != 0 {
			b.matrix(format.RoleU, format.RoleUScale, gateRows(op.U, 0, 2, h, h), 2*hp, h, hLimit)
			b.matrix(format.RoleUn, format.RoleUnScale, gateRows(op.U, 2, 1, h, h), hp, h, hLimit)
		} else {
			b.matrix(format.RoleU, format.RoleUScale, gateRows(op.U, 0, n, h, h), n*hp, h, hLimit)
		}
		b.vector(format.RoleBias, gateRows(op.B, 0, n, h, 1))
		if op.Kind == format.GRU && op.Flags&format.FlagResetBefore == 0 {
			b.vector(format.RoleBiasH, gateRows(op.BH, 0, n, h, 1))
		}
		if op.Peep != nil {
			b.vector(format.RolePeep, gateRows(op.Peep, 0, 3, h, 1))
		}
		if op.H0 != nil {
			b.vector(format.RoleH0, op.H0)
		}
		if op.C0 != nil {
			b.vector(format.RoleC0, op.C0)
		}
		b.inverse(format.RoleXInv, limit)
		b.inverse(format.RoleHInv, hLimit)
	}
	return nil
}

func orZero(v []float32, n int) []float32 {
	if v == nil {
		return make([]float32, n)
	}
	return v
}
