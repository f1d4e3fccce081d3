package format

import (
	"errors"
	"fmt"
	"math"

	"github.com/recur-go/recur/kernels"
)

var errWeights = errors.New("bad weights")

// Limits that keep every product of sizes within an int on 32-bit platforms.
const (
	maxWidth  = 1 << 22 // of all values together, since a session holds them all
	maxHidden = kernels.MaxCols / 2
)

// MinVector is the least magnitude, other than 0, of what a vector blob holds: sums of such values stay far from the subnormal
// numbers, which not every platform's vector unit has.
const MinVector = 0x1p-40

// validate checks everything that execution relies on, so that a valid file cannot fail or fault when it runs.
func (f *File) validate() error {
	if len(f.Values) == 0 || !f.Values[0].PerStep {
		return errors.New("value 0, the input, is missing or not per step")
	}
	left := maxWidth
	for i, v := range f.Values {
		if v.Width < 1 || v.Width > left {
			return fmt.Errorf("value %d: width %d, want 1 to %d", i, v.Width, left)
		}
		left -= v.Width
	}
	if n := len(f.Input.Channels); n != f.Values[0].Width {
		return fmt.Errorf("%d channels described, the input has %d", n, f.Values[0].Width)
	}
	if r := f.Input.Rate; !(r >= 0 && r <= math.MaxFloat32) {
		return fmt.Errorf("sample rate %v", r)
	}
	if f.Output <= 0 || f.Output >= len(f.Values) {
		return fmt.Errorf("output is value %d of %d", f.Output, len(f.Values))
	}
	if n := len(f.Labels); n != 0 && n != f.Values[f.Output].Width {
		return fmt.Errorf("%d labels for an output of %d", n, f.Values[f.Output].Width)
	}
	for i := range f.Blobs {
		if err := f.Blobs[i].validate(); err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
	}
	written := make([]int, len(f.Values)) // channels written so far; writers go from left to right
	written[0] = f.Values[0].Width
	for i := range f.Ops {
		op := &f.Ops[i]
		if err := f.validateOp(op, written); err != nil {
			return fmt.Errorf("operation %d (%v %q): %w", i, op.Kind, op.Name, err)
		}
		if op.Out.Offset == written[op.Out.Value] {
			written[op.Out.Value] += op.Out.Width
		}
	}
	if written[f.Output] != f.Values[f.Output].Width {
		return errors.New("the output is not written in full")
	}
	return nil
}

func (b *Blob) validate() error {
	n, _ := b.elements()
	have := len(b.F32)
	if b.Kind == MatI8 {
		have = len(b.I8)
	}
	if n < 0 || int64(have) != n {
		return fmt.Errorf("%v of %d by %d holds %d elements", b.Kind, b.Rows, b.Cols, have)
	}
	if b.Kind == MatI8 {
		if err := kernels.CheckI8(b.Rows, b.Cols, b.I8); err != nil {
			return fmt.Errorf("%w: %w", errWeights, err)
		}
	}
	least := float32(MinVector)
	if b.Kind == MatF32 {
		least = 0
	}
	for i, w := range b.F32 {
		if m := max(w, -w); !(m <= 0x1p60) || m < least && w != 0 {
			return fmt.Errorf("%w: element %d is %v, want 0 or a magnitude of %g to 2^60", errWeights, i, w, least)
		}
	}
	return nil
}

func (f *File) validateOp(op *Op, written []int) error {
	ref := func(r Ref) error {
		if r.Value < 0 || r.Value >= len(f.Values) || r.Width < 1 || r.Offset < 0 || r.Width > f.Values[r.Value].Width ||
			r.Offset > f.Values[r.Value].Width-r.Width {
			return fmt.Errorf("channels %d to %d of value %d do not exist", r.Offset, r.Offset+r.Width, r.Value)
		}
		return nil
	}
	if op.Kind == 0 || op.Kind >= kindEnd || op.Scheme >= schemeEnd || op.Flags >= flagsEnd {
		return fmt.Errorf("unknown kind, scheme %v or flags %#x", op.Scheme, op.Flags)
	}
	if len(op.In) != 1 {
		return fmt.Errorf("%d inputs, want 1", len(op.In))
	}
	in, out := op.In[0], op.Out
	if err := errors.Join(ref(in), ref(out)); err != nil {
		return err
	}
	if in.Offset+in.Width > written[in.Value] {
		return fmt.Errorf("reads channel %d of value %d before it is written", in.Offset+in.Width-1, in.Value)
	}
	// An operation may rewrite just what it reads, or append to a value; so no step of an operation sees another's output.
	inPlace := out == in && in.Value != 0 && (op.Kind == Affine || op.Kind.Elementwise() && op.Kind != LogSoftmax)
	if !inPlace && out.Offset != written[out.Value] {
		return fmt.Errorf("writes channel %d of value %d, want %d", out.Offset, out.Value, written[out.Value])
	}
	perStep := f.Values[in.Value].PerStep
	switch {
	case op.Kind.Pooling():
		if !perStep || f.Values[out.Value].PerStep {
			return errors.New("pooling goes from a per-step value to a per-sequence one")
		}
	case perStep != f.Values[out.Value].PerStep:
		return errors.New("input and output must both be per step, or both per sequence")
	case op.Kind.Recurrent() && !perStep:
		return errors.New("recurrence over a per-sequence value")
	}
	if err := op.validateShape(in.Width, out.Width); err != nil {
		return err
	}
	return f.validateArgs(op)
}

func (op *Op) validateShape(in, out int) error {
	allowed := Flags(0)
	want := in
	switch op.Kind {
	case LSTM, RNN, GRU:
		if op.Hidden < 1 || op.Hidden > maxHidden {
			return fmt.Errorf("hidden size %d, want 1 to %d", op.Hidden, maxHidden)
		}
		want = op.Hidden
		allowed = FlagReverse
		switch op.Kind {
		case GRU:
			allowed |= FlagResetBefore
		case RNN:
			allowed |= FlagReLU
		}
	case Dense:
		want = out
	}
	if op.Flags&^allowed != 0 {
		return fmt.Errorf("flags %#x do not apply", op.Flags)
	}
	if !op.Kind.Recurrent() && op.Hidden != 0 {
		return fmt.Errorf("hidden size %d in an operation without one", op.Hidden)
	}
	if !op.Kind.Recurrent() && op.Kind != Dense && op.Scheme != F32 {
		return fmt.Errorf("scheme %v in an operation without products", op.Scheme)
	}
	if out != want {
		return fmt.Errorf("output width %d, want %d", out, want)
	}
	return nil
}

// slot is the shape that a role must have in an operation.
type slot struct {
	role       Role
	rows, cols int
	matrix     bool
	optional   bool
}

// Gates returns the number of gates of a recurrent operation, 1 for others.
func (op *Op) Gates() int {
	switch op.Kind {
	case LSTM:
		return 4
	case GRU:
		return 3
	}
	return 1
}

// slots lists the arguments of an operation. Vectors that multiply or add to sums are as long as the rows of their matrix.
func (op *Op) slots() []slot {
	in, h := op.In[0].Width, op.Hidden
	hp := kernels.Align(h, kernels.UnitBlock)
	quant := op.Scheme != F32
	var s []slot
	matrix := func(role, scale Role, rows, cols int) {
		s = append(s, slot{role, rows, cols, true, false})
		if quant {
			s = append(s, slot{role: scale, rows: rows})
		}
	}
	switch op.Kind {
	case Affine:
		return []slot{{role: RoleScale, rows: in}, {role: RoleShift, rows: in}}
	case Dense:
		matrix(RoleW, RoleWScale, op.Out.Width, in)
		s = append(s, slot{role: RoleBias, rows: op.Out.Width})
	case LSTM, GRU, RNN:
		rows := op.Gates() * hp
		matrix(RoleW, RoleWScale, rows, in)
		if op.Flags&FlagResetBefore != 0 {
			matrix(RoleU, RoleUScale, 2*hp, h)
			matrix(RoleUn, RoleUnScale, hp, h)
		} else {
			matrix(RoleU, RoleUScale, rows, h)
		}
		s = append(s, slot{role: RoleBias, rows: rows}, slot{role: RoleH0, rows: h, optional: true})
		if op.Kind == GRU && op.Flags&FlagResetBefore == 0 {
			s = append(s, slot{role: RoleBiasH, rows: rows})
		}
		if op.Kind == LSTM {
			s = append(s, slot{role: RoleC0, rows: h, optional: true}, slot{role: RolePeep, rows: 3 * hp, optional: true})
		}
		if quant {
			s = append(s, slot{role: RoleHInv, rows: h})
		}
	}
	if quant {
		s = append(s, slot{role: RoleXInv, rows: in})
	}
	return s
}

func (f *File) validateArgs(op *Op) error {
	slots := op.slots()
	var seen [roleEnd]bool
	for _, a := range op.Args {
		if a.Role == 0 || a.Role >= roleEnd || seen[a.Role] {
			return fmt.Errorf("argument %v is unknown or given twice", a.Role)
		}
		if a.Blob < 0 || a.Blob >= len(f.Blobs) {
			return fmt.Errorf("argument %v is blob %d of %d", a.Role, a.Blob, len(f.Blobs))
		}
		seen[a.Role] = true
	}
	for _, s := range slots {
		if !seen[s.role] {
			if s.optional {
				continue
			}
			return fmt.Errorf("argument %v is missing", s.role)
		}
		seen[s.role] = false
		kind, cols := VecF32, 1
		if s.matrix {
			kind, cols = MatF32, s.cols
			if op.Scheme != F32 {
				kind = MatI8
			}
		}
		b := f.Arg(op, s.role)
		if b.Kind != kind || b.Rows != s.rows || b.Cols != cols {
			return fmt.Errorf("argument %v is a %v of %d by %d, want a %v of %d by %d", s.role, b.Kind, b.Rows, b.Cols, kind, s.rows, cols)
		}
	}
	for role, left := range seen {
		if left {
			return fmt.Errorf("argument %v does not apply", Role(role))
		}
	}
	return nil
}
