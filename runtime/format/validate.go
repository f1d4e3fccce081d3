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
	// maxElements bounds the elements of a blob.
	maxElements = 1 << 30
)

// MinVector is the least magnitude, other than 0, of what a vector blob holds: sums of such values stay far from the subnormal
// numbers, which not every platform's vector unit has.
const MinVector = 0x1p-40

// validate checks everything that execution relies on, so that a valid file cannot fail or fault when it runs.
func (f *File) validate() error {
	if err := f.validateValues(); err != nil {
		return err
	}
	for i := range f.Blobs {
		if err := f.Blobs[i].validate(); err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
	}
	return f.validateOps()
}

func (f *File) validateValues() error {
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
	return nil
}

// progress is what the operations so far have done.
type progress struct {
	written  []int        // channels of every value; writers go from left to right
	recalled map[Ref]bool // and not stored yet
	feedback bool         // a Recall
	backward bool         // a recurrent operation from the last step to the first
}

func (f *File) validateOps() error {
	w := progress{written: make([]int, len(f.Values)), recalled: map[Ref]bool{}}
	w.written[0] = f.Values[0].Width
	for i := range f.Ops {
		op := &f.Ops[i]
		if err := f.validateOp(op, &w); err != nil {
			return fmt.Errorf("operation %d (%v %q): %w", i, op.Kind, op.Name, err)
		}
		w.add(f, op)
	}
	if w.written[f.Output] != f.Values[f.Output].Width {
		return errors.New("the output is not written in full")
	}
	if w.feedback && w.backward {
		return errors.New("a step recalls what the one before stored, and another operation runs backwards over all steps")
	}
	for r := range w.recalled {
		return fmt.Errorf("channels %d to %d of value %d are recalled and never stored", r.Offset, r.Offset+r.Width, r.Value)
	}
	return nil
}

func (w *progress) add(f *File, op *Op) {
	switch op.Kind {
	case Store:
		delete(w.recalled, op.Out)
		return
	case Recall:
		w.recalled[op.Out] = true
		w.feedback = true
	}
	w.backward = w.backward || op.Flags&FlagReverse != 0 && f.Blocks(op) == 0
	if op.Out.Offset == w.written[op.Out.Value] {
		w.written[op.Out.Value] += op.Out.Width
	}
}

func (b *Blob) validate() error {
	n, _ := b.elements()
	have := len(b.F32)
	switch b.Kind {
	case MatI8:
		have = len(b.I8)
	case VecI32:
		have = len(b.I32)
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

func (f *File) validateOp(op *Op, w *progress) error {
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
	if allowed := op.Kind.flags(); op.Flags&^allowed != 0 {
		return fmt.Errorf("flags %#x do not apply", op.Flags)
	}
	if err := f.validateRoles(op); err != nil {
		return err
	}
	if least, most := f.inputs(op); len(op.In) < least || len(op.In) > most {
		return fmt.Errorf("%d inputs, want %d to %d", len(op.In), least, most)
	}
	out := op.Out
	if err := ref(out); err != nil {
		return err
	}
	for _, in := range op.In {
		if err := ref(in); err != nil {
			return err
		}
		if in.Offset+in.Width > w.written[in.Value] {
			return fmt.Errorf("reads channel %d of value %d before it is written", in.Offset+in.Width-1, in.Value)
		}
		if err := f.validateSteps(op, in); err != nil {
			return err
		}
	}
	// An operation may rewrite just what it reads, or append to a value; so no step of an operation sees another's output.
	inPlace := len(op.In) == 1 && out == op.In[0] && out.Value != 0 && (op.Kind == Affine || op.Kind.Elementwise() && op.Kind != LogSoftmax)
	switch {
	case op.Kind == Store:
		if !w.recalled[out] {
			return errors.New("stores what is not recalled before, or a second time")
		}
	case !inPlace && out.Offset != w.written[out.Value]:
		return fmt.Errorf("writes channel %d of value %d, want %d", out.Offset, out.Value, w.written[out.Value])
	case op.Kind == Recall && !f.Values[out.Value].PerStep:
		return errors.New("recalls a per-sequence value")
	}
	if err := f.validateArgs(op); err != nil {
		return err
	}
	return f.validateShape(op)
}

// inputs is how many inputs an operation may have.
func (f *File) inputs(op *Op) (least, most int) {
	switch {
	case op.Kind == Const || op.Kind == Recall:
		return 0, 0
	case op.Kind == Gather:
		return 1, len(f.Values)
	case op.Kind.Binary() || op.Kind == MatMul:
		return 2, 2
	case op.Kind == Select:
		return 3, 3
	case op.Kind == LSTM && f.Blocks(op) > 0:
		return 1, 3
	case op.Kind.Recurrent() && f.Blocks(op) > 0:
		return 1, 2
	}
	return 1, 1
}

func (f *File) validateSteps(op *Op, in Ref) error {
	perStep := f.Values[in.Value].PerStep
	switch {
	case op.Kind.Pooling():
		if !perStep || f.Values[op.Out.Value].PerStep {
			return errors.New("pooling goes from a per-step value to a per-sequence one")
		}
	case perStep != f.Values[op.Out.Value].PerStep:
		return errors.New("input and output must both be per step, or both per sequence")
	case op.Kind.Recurrent() && !perStep && f.Blocks(op) == 0:
		return errors.New("recurrence over a per-sequence value")
	}
	return nil
}

func (f *File) validateShape(op *Op) error {
	if !op.Kind.Recurrent() && op.Hidden != 0 {
		return fmt.Errorf("hidden size %d in an operation without one", op.Hidden)
	}
	if !op.Kind.Products() && op.Scheme != F32 {
		return fmt.Errorf("scheme %v in an operation without products", op.Scheme)
	}
	out := op.Out.Width
	var in int
	if len(op.In) > 0 {
		in = op.In[0].Width
	}
	switch {
	case op.Kind.Recurrent():
		return f.validateCell(op)
	case op.Kind == Dense, op.Kind == Conv: // by the shape of their matrix
		return nil
	case op.Kind == MaxPool, op.Kind == MeanPool:
		w, err := f.window(op)
		if err == nil && out != w.Channels*w.outputs() {
			err = fmt.Errorf("output width %d, want %d", out, w.Channels*w.outputs())
		}
		return err
	case op.Kind == Const, op.Kind == Recall:
		return nil
	case op.Kind == Gather:
		return f.validateIndex(op)
	case op.Kind.Binary(), op.Kind == Select:
		for _, r := range op.In {
			if out%r.Width != 0 {
				return fmt.Errorf("%d channels do not repeat to %d", r.Width, out)
			}
		}
		return nil
	case op.Kind == MatMul:
		return f.validateProduct(op)
	case op.Kind.Reduction():
		n := f.Dims(op)
		if len(n) != 1 || n[0] < 1 || in%int(n[0]) != 0 || out != in/int(n[0]) {
			return fmt.Errorf("%d channels reduced by %v to %d", in, n, out)
		}
		return nil
	case op.Kind == Normalise && f.Arg(op, RoleParams).F32[0] < 0:
		return errors.New("a variance less than 0")
	case op.Kind == Normalise, op.Kind == Softmax, op.Kind == LogSoftmax:
		if n := f.Dims(op); n != nil && (len(n) != 1 || n[0] < 1 || in%int(n[0]) != 0) {
			return fmt.Errorf("%d channels in groups of %v", in, n)
		}
	}
	if out != in {
		return fmt.Errorf("output width %d, want %d", out, in)
	}
	return nil
}

func (k Kind) flags() Flags {
	switch k {
	case LSTM:
		return FlagReverse | FlagCoupled | FlagCell
	case GRU:
		return FlagReverse | FlagResetBefore
	case RNN:
		return FlagReverse | FlagReLU
	}
	return 0
}

func (f *File) validateCell(op *Op) error {
	if op.Hidden < 1 || op.Hidden > maxHidden {
		return fmt.Errorf("hidden size %d, want 1 to %d", op.Hidden, maxHidden)
	}
	n := max(f.Blocks(op), 1)
	want := int64(n) * int64(op.Hidden)
	if op.Flags&FlagCell != 0 {
		want += int64(op.Hidden)
	}
	if int64(op.Out.Width) != want {
		return fmt.Errorf("output width %d, want %d", op.Out.Width, want)
	}
	for i, r := range op.In[1:] {
		if r.Width != op.Hidden {
			return fmt.Errorf("initial state %d has %d channels, want %d", i, r.Width, op.Hidden)
		}
	}
	if b := f.Arg(op, RoleCellClip); b != nil && !(b.F32[0] > 0) {
		return fmt.Errorf("cell state limited to %v", b.F32[0])
	}
	return f.validateActs(op)
}

func (f *File) validateActs(op *Op) error {
	b := f.Arg(op, RoleActs)
	if b == nil {
		return nil
	}
	for _, a := range b.I32 {
		if a < 0 || kernels.Activation(a) >= kernels.ActivationEnd {
			return fmt.Errorf("unknown activation %d", a)
		}
	}
	if clip := f.Arg(op, RoleActParams).F32[0]; clip < 0 {
		return fmt.Errorf("gate sums limited to %v", clip)
	}
	if op.Flags&FlagReLU != 0 {
		return errors.New("ReLU and other activations")
	}
	return nil
}

func (f *File) validateIndex(op *Op) error {
	total := int64(0)
	for _, r := range op.In {
		total += int64(r.Width)
	}
	if total > maxElements {
		return fmt.Errorf("inputs of %d channels", total)
	}
	for i, k := range f.Arg(op, RoleIndex).I32 {
		if k < 0 || int64(k) >= total {
			return fmt.Errorf("index %d is %d, the inputs have %d channels", i, k, total)
		}
	}
	return nil
}

func (f *File) validateProduct(op *Op) error {
	d := f.Dims(op)
	for _, n := range d {
		if n < 1 || n > maxWidth {
			return fmt.Errorf("a product of sizes %v", d)
		}
	}
	b, m, k, n := int64(d[0]), int64(d[1]), int64(d[2]), int64(d[3])
	if m*k > maxWidth || k*n > maxWidth || m*n > maxWidth || b*m*k != int64(op.In[0].Width) || b*k*n != int64(op.In[1].Width) ||
		b*m*n != int64(op.Out.Width) {
		return fmt.Errorf("a product of sizes %v", d)
	}
	return nil
}

// window is the window of an operation over channels of the right number.
func (f *File) window(op *Op) (*Window, error) {
	w, err := ParseWindow(f.Dims(op))
	if err != nil {
		return nil, err
	}
	if points, _, _ := w.Points(); op.In[0].Width != w.Channels*points {
		return nil, fmt.Errorf("a window over %d channels of %d points, the input has %d", w.Channels, points, op.In[0].Width)
	}
	if op.Kind != Conv && w.Groups != 1 || op.Kind != MeanPool && w.CountPadding {
		return nil, errors.New("a window with groups or counted padding where these do not apply")
	}
	return w, nil
}

func (w *Window) outputs() int {
	_, n, _ := w.Points()
	return n
}

// slot is the shape that a role must have in an operation.
type slot struct {
	role       Role
	rows, cols int
	matrix     bool
	integer    bool
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
func (f *File) slots(op *Op) ([]slot, error) {
	in := 0
	if len(op.In) > 0 {
		in = op.In[0].Width
	}
	out := op.Out.Width
	switch {
	case op.Kind == Affine:
		return []slot{{role: RoleScale, rows: in}, {role: RoleShift, rows: in}}, nil
	case op.Kind == Dense:
		return f.denseSlots(op, in, out)
	case op.Kind == Conv:
		return f.convSlots(op)
	case op.Kind.Recurrent():
		return f.cellSlots(op, in)
	case op.Kind == Const:
		return []slot{{role: RoleBias, rows: out}}, nil
	case op.Kind == Gather:
		return []slot{{role: RoleIndex, rows: out, integer: true}}, nil
	case op.Kind == Recall:
		return []slot{{role: RoleH0, rows: out, optional: true}}, nil
	case op.Kind.Reduction():
		return []slot{dims(1)}, nil
	case op.Kind == MatMul:
		return []slot{dims(4)}, nil
	case op.Kind == MaxPool, op.Kind == MeanPool:
		return []slot{dims(len(f.Dims(op)))}, nil
	case op.Kind == Softmax, op.Kind == LogSoftmax:
		return []slot{{role: RoleDims, rows: 1, integer: true, optional: true}}, nil
	}
	var s []slot
	if n := op.Kind.Params(); n > 0 {
		s = append(s, slot{role: RoleParams, rows: n})
	}
	if op.Kind == Normalise {
		s = append(s, dims(1))
	}
	return s, nil
}

func dims(n int) slot { return slot{role: RoleDims, rows: n, integer: true} }

// product lists the arguments of a matrix in the operation's scheme.
func (op *Op) product(role, scale Role, rows, cols int) []slot {
	s := []slot{{role: role, rows: rows, cols: cols, matrix: true}}
	if op.Scheme != F32 {
		s = append(s, slot{role: scale, rows: rows})
	}
	return s
}

func (f *File) denseSlots(op *Op, in, out int) ([]slot, error) {
	n := f.Blocks(op)
	if n < 1 || in%n != 0 || out%n != 0 {
		return nil, fmt.Errorf("%d products from %d to %d channels", n, in, out)
	}
	in, out = in/n, out/n
	s := append(op.product(RoleW, RoleWScale, out, in), slot{role: RoleBias, rows: out}, slot{role: RoleDims, rows: 1, integer: true, optional: true})
	if op.Scheme != F32 {
		s = append(s, slot{role: RoleXInv, rows: in})
	}
	return s, nil
}

// convSlots: with one group a matrix, [outputs, kernel points, channels]; with several a vector of the same order.
func (f *File) convSlots(op *Op) ([]slot, error) {
	w, err := f.window(op)
	if err != nil {
		return nil, err
	}
	_, points, kernel := w.Points()
	outputs, cols := op.Out.Width/points, kernel*w.Channels/w.Groups
	if outputs*points != op.Out.Width || outputs%w.Groups != 0 || int64(outputs)*int64(cols) > maxElements {
		return nil, fmt.Errorf("output width %d for %d points in %d groups", op.Out.Width, points, w.Groups)
	}
	s := []slot{dims(len(f.Dims(op))), {role: RoleBias, rows: outputs}}
	if w.Groups > 1 {
		if op.Scheme != F32 {
			return nil, fmt.Errorf("scheme %v with %d groups", op.Scheme, w.Groups)
		}
		return append(s, slot{role: RoleW, rows: outputs * cols}), nil
	}
	s = append(s, op.product(RoleW, RoleWScale, outputs, cols)...)
	if op.Scheme != F32 {
		s = append(s, slot{role: RoleXInv, rows: cols})
	}
	return s, nil
}

func (f *File) cellSlots(op *Op, in int) ([]slot, error) {
	h := op.Hidden
	if h < 1 || h > maxHidden {
		return nil, fmt.Errorf("hidden size %d, want 1 to %d", h, maxHidden)
	}
	blocks := max(f.Blocks(op), 1)
	if in%blocks != 0 {
		return nil, fmt.Errorf("%d channels in %d steps", in, blocks)
	}
	in /= blocks
	hp := kernels.Align(h, kernels.UnitBlock)
	rows := op.Gates() * hp
	s := op.product(RoleW, RoleWScale, rows, in)
	if op.Flags&FlagResetBefore != 0 {
		s = append(s, op.product(RoleU, RoleUScale, 2*hp, h)...)
		s = append(s, op.product(RoleUn, RoleUnScale, hp, h)...)
	} else {
		s = append(s, op.product(RoleU, RoleUScale, rows, h)...)
	}
	s = append(s, slot{role: RoleBias, rows: rows}, slot{role: RoleH0, rows: h, optional: true},
		slot{role: RoleDims, rows: 1, integer: true, optional: true})
	if op.Kind == GRU && op.Flags&FlagResetBefore == 0 {
		s = append(s, slot{role: RoleBiasH, rows: rows})
	}
	if op.Kind == LSTM {
		s = append(s, slot{role: RoleC0, rows: h, optional: true}, slot{role: RolePeep, rows: 3 * hp, optional: true},
			slot{role: RoleCellClip, rows: 1, optional: true})
	}
	if f.Arg(op, RoleActs) != nil || op.Flags&FlagCoupled != 0 {
		n := op.Activations()
		s = append(s, slot{role: RoleActs, rows: n, integer: true}, slot{role: RoleActParams, rows: 1 + 2*n})
	}
	if op.Scheme != F32 {
		s = append(s, slot{role: RoleHInv, rows: h}, slot{role: RoleXInv, rows: in})
	}
	return s, nil
}

// Activations is how many activations RoleActs of a recurrent operation names.
func (op *Op) Activations() int {
	switch op.Kind {
	case LSTM:
		return 3
	case GRU:
		return 2
	}
	return 1
}

// validateRoles checks that each argument is given once, and of those that say what the others are that they can be read.
func (f *File) validateRoles(op *Op) error {
	var seen [roleEnd]bool
	for _, a := range op.Args {
		if a.Role == 0 || a.Role >= roleEnd || seen[a.Role] {
			return fmt.Errorf("argument %v is unknown or given twice", a.Role)
		}
		if a.Blob < 0 || a.Blob >= len(f.Blobs) {
			return fmt.Errorf("argument %v is blob %d of %d", a.Role, a.Blob, len(f.Blobs))
		}
		b := &f.Blobs[a.Blob]
		if a.Role == RoleDims || a.Role == RoleActs || a.Role == RoleIndex {
			if b.Kind != VecI32 || a.Role != RoleIndex && b.Rows > windowHeader+maxAxes*windowAxis {
				return fmt.Errorf("argument %v is a %v of %d by %d", a.Role, b.Kind, b.Rows, b.Cols)
			}
		}
		if a.Role == RoleDims && (op.Kind.Recurrent() || op.Kind == Dense) && b.I32[0] < 1 {
			return fmt.Errorf("%d blocks", b.I32[0])
		}
		seen[a.Role] = true
	}
	return nil
}

func (f *File) validateArgs(op *Op) error {
	slots, err := f.slots(op)
	if err != nil {
		return err
	}
	left := map[Role]bool{}
	for _, a := range op.Args {
		left[a.Role] = true
	}
	for _, s := range slots {
		if !left[s.role] {
			if s.optional {
				continue
			}
			return fmt.Errorf("argument %v is missing", s.role)
		}
		delete(left, s.role)
		kind, cols := VecF32, 1
		switch {
		case s.integer:
			kind = VecI32
		case s.matrix && op.Scheme != F32:
			kind, cols = MatI8, s.cols
		case s.matrix:
			kind, cols = MatF32, s.cols
		}
		b := f.Arg(op, s.role)
		if b.Kind != kind || b.Rows != s.rows || b.Cols != cols {
			return fmt.Errorf("argument %v is a %v of %d by %d, want a %v of %d by %d", s.role, b.Kind, b.Rows, b.Cols, kind, s.rows, cols)
		}
	}
	for _, a := range op.Args {
		if left[a.Role] {
			return fmt.Errorf("argument %v does not apply", a.Role)
		}
	}
	return nil
}
