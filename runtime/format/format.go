// Package format is the .recur file: its data structures, Encode and Decode. docs/format.md describes the bytes.
//
// Decode trusts nothing: every offset, count and product is bounded before use, and every error is an *Error that names
// the section. A decoded File refers to the bytes it was decoded from, so these must stay unchanged and mapped.
package format

import "fmt"

// File is a decoded model: a list of operations over values, and the blobs of weights they refer to.
type File struct {
	Meta   []Pair
	Input  Input
	Labels []string
	Values []Value // Values[0] is the input of the network
	Ops    []Op    // in execution order
	Output int     // index into Values
	Blobs  []Blob
}

// Pair is one entry of the metadata.
type Pair struct{ Key, Value string }

// Input describes what one time step of the network's input holds.
type Input struct {
	Rate     float32 // samples per second; 0 if unknown
	Channels []Channel
}

// Channel is one input feature.
type Channel struct{ Name, Unit string }

// Value is a vector that operations read and write: one vector a time step, or one for the whole sequence.
type Value struct {
	Width   int
	PerStep bool
}

// Ref is a range of channels of a value.
type Ref struct {
	Value  int
	Offset int
	Width  int
}

// Op is one operation.
type Op struct {
	Kind   Kind
	Scheme Scheme
	Flags  Flags
	Name   string
	Hidden int // hidden size of a recurrent operation, else 0
	In     []Ref
	Out    Ref
	Args   []Arg
}

// Arg binds a blob to the role it plays in an operation.
type Arg struct {
	Role Role
	Blob int
}

// Arg returns the blob that plays the role in op, or nil.
func (f *File) Arg(op *Op, role Role) *Blob {
	for _, a := range op.Args {
		if a.Role == role {
			return &f.Blobs[a.Blob]
		}
	}
	return nil
}

// Dims returns the sizes of an operation, or nil.
func (f *File) Dims(op *Op) []int32 {
	if b := f.Arg(op, RoleDims); b != nil {
		return b.I32
	}
	return nil
}

// PerStep reports whether an operation runs for every step.
func (f *File) PerStep(op *Op) bool {
	r := op.Out
	if len(op.In) > 0 {
		r = op.In[0]
	}
	return f.Values[r.Value].PerStep
}

// Inputs is how many channels an operation reads.
func (op *Op) Inputs() (n int) {
	for _, r := range op.In {
		n += r.Width
	}
	return n
}

// Blocks is how often a dense or recurrent operation finds an input side by side in one step: a dense one multiplies each, a
// recurrent one takes them as its time steps, from its initial state on; 0 if its steps are those of the session.
func (f *File) Blocks(op *Op) int {
	if d := f.Dims(op); len(d) > 0 {
		return int(d[0])
	}
	if op.Kind == Dense {
		return 1
	}
	return 0
}

// Kind is what an operation computes.
type Kind uint16

// The operations. Recurrent cells carry their state from step to step; pooling turns a per-step value into a per-sequence one.
const (
	Affine Kind = 1 + iota // y = x*Scale + Shift, by channel
	Dense                  // y = W x + Bias
	LSTM                   // gates i f g o
	GRU                    // gates z r n, h' = (1-z)n + z h
	RNN                    // h' = tanh(W x + U h + Bias), or ReLU with FlagReLU
	Sigmoid
	Tanh
	ReLU
	Softmax
	LogSoftmax
	Last  // pooling over time
	First // "
	Mean  // "
	Max   // "

	Const  // y = Bias, without an input
	Gather // y[i] = x[Index[i]], x the inputs side by side
	Add    // of two inputs; one that is narrower than the output repeats, here and below
	Sub
	Mul
	Div
	Minimum
	Maximum
	Pow
	Less   // 1 where a < b, else 0
	Equal  // 1 where a = b, else 0
	Select // of three inputs: b where a is not 0, else c
	Exp
	Log
	Sqrt
	Abs
	Round // to the nearest integer, ties to even
	Floor
	Erf
	Softplus
	Softsign
	Clip            // to Params: lowest, highest
	ELU             // Params: alpha
	LeakyReLU       // Params: alpha
	ThresholdedReLU // Params: alpha
	HardSigmoid     // Params: alpha, beta
	Sum             // of every Dims[0] neighbouring channels, and so below
	Product
	Lowest
	Highest
	Normalise // (x-mean)/sqrt(variance+eps) of every Dims[0] channels; Params: eps
	MatMul    // batches of two inputs; Dims: batches, rows, inner size, columns
	Conv      // Dims: see Window; channels last
	MaxPool   // "
	MeanPool  // "
	Recall    // what Store kept in the step before, without an input
	Store     // keeps its input for the Recall with the same output
	kindEnd
)

var kindNames = [...]string{Affine: "affine", Dense: "dense", LSTM: "lstm", GRU: "gru", RNN: "rnn", Sigmoid: "sigmoid", Tanh: "tanh",
	ReLU: "relu", Softmax: "softmax", LogSoftmax: "log_softmax", Last: "last", First: "first", Mean: "mean", Max: "max",
	Const: "const", Gather: "gather", Add: "add", Sub: "sub", Mul: "mul", Div: "div", Minimum: "minimum", Maximum: "maximum", Pow: "pow",
	Less: "less", Equal: "equal", Select: "select", Exp: "exp", Log: "log", Sqrt: "sqrt", Abs: "abs", Round: "round", Floor: "floor",
	Erf: "erf", Softplus: "softplus", Softsign: "softsign", Clip: "clip", ELU: "elu", LeakyReLU: "leaky_relu",
	ThresholdedReLU: "thresholded_relu", HardSigmoid: "hard_sigmoid", Sum: "sum", Product: "product", Lowest: "lowest", Highest: "highest",
	Normalise: "normalise", MatMul: "matmul", Conv: "conv", MaxPool: "max_pool", MeanPool: "mean_pool", Recall: "recall", Store: "store"}

func (k Kind) String() string {
	if k > 0 && k < kindEnd {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint16(k))
}

// Recurrent reports whether the operation carries a hidden state.
func (k Kind) Recurrent() bool { return k == LSTM || k == GRU || k == RNN }

// Pooling reports whether the operation reduces over time.
func (k Kind) Pooling() bool { return k >= Last && k <= Max }

// Elementwise reports whether the operation has one input and writes as many channels as it reads, without weights.
func (k Kind) Elementwise() bool {
	return k >= Sigmoid && k <= LogSoftmax || k >= Exp && k <= HardSigmoid || k == Normalise
}

// Binary reports whether the operation combines two inputs channel by channel.
func (k Kind) Binary() bool { return k >= Add && k <= Equal }

// Reduction reports whether the operation makes one channel of every Dims[0].
func (k Kind) Reduction() bool { return k >= Sum && k <= Highest }

// Products reports whether the operation multiplies by a matrix of weights, and so may have an int8 scheme.
func (k Kind) Products() bool { return k.Recurrent() || k == Dense || k == Conv }

// Params is how many parameters the operation has.
func (k Kind) Params() int {
	switch k {
	case ELU, LeakyReLU, ThresholdedReLU, Normalise:
		return 1
	case Clip, HardSigmoid:
		return 2
	}
	return 0
}

// Scheme is how an operation's products are computed.
type Scheme uint8

const (
	F32   Scheme = iota // float32 weights and activations
	W8A8                // int8 weights, int8 activations
	W8A16               // int8 weights, 16-bit activations as two int8 columns
	schemeEnd
)

var schemeNames = [...]string{F32: "f32", W8A8: "w8a8", W8A16: "w8a16"}

func (s Scheme) String() string {
	if s < schemeEnd {
		return schemeNames[s]
	}
	return fmt.Sprintf("scheme(%d)", uint8(s))
}

// ParseScheme is the inverse of Scheme.String.
func ParseScheme(s string) (Scheme, error) {
	for i, n := range schemeNames {
		if n == s {
			return Scheme(i), nil
		}
	}
	return 0, fmt.Errorf("unknown scheme %q (want f32, w8a8 or w8a16)", s)
}

// Flags vary an operation.
type Flags uint8

const (
	FlagReverse     Flags = 1 << iota // a recurrent operation that runs from the last step to the first
	FlagResetBefore                   // GRU: n = tanh(Wn x + Un (r*h) + b), ONNX linear_before_reset = 0
	FlagReLU                          // RNN: ReLU in place of tanh
	FlagCoupled                       // LSTM: the forget gate is 1 - i
	FlagCell                          // LSTM: the cell state follows the hidden state in the output
	flagsEnd
)

// Role is the part a blob plays in an operation. Shapes: I input width, H hidden size, Hp = H rounded up to 8, G the number of
// gates; gate vectors and rows are in the order of kernels.GateRow.
type Role uint16

const (
	RoleScale     Role = 1 + iota // affine: [I]
	RoleShift                     // affine: [I]
	RoleW                         // input weights: matrix, G*Hp (dense: O) by I
	RoleU                         // recurrent weights: matrix, G*Hp by H; GRU with FlagResetBefore: 2*Hp by H, gates z r
	RoleUn                        // GRU with FlagResetBefore: matrix, Hp by H
	RoleBias                      // [G*Hp]; dense: [O]
	RoleBiasH                     // GRU: [G*Hp], added to U h before the reset gate multiplies it
	RoleWScale                    // int8 schemes: factor of row r of W x, [rows of W]
	RoleUScale                    // int8 schemes: factor of row r of U h, [rows of U]
	RoleUnScale                   // int8 schemes: factor of row r of Un (r*h), [rows of Un]
	RoleXInv                      // int8 schemes: x[k]*XInv[k] is rounded to the integer activation, [I]
	RoleHInv                      // int8 schemes: the same for h, [H]
	RolePeep                      // LSTM: peephole weights, gates i f o, [3*Hp]
	RoleH0                        // initial hidden state, [H]
	RoleC0                        // LSTM: initial cell state, [H]
	RoleIndex                     // gather: int32 [O], channel of the inputs side by side
	RoleDims                      // int32: sizes, by the kind
	RoleParams                    // parameters, by the kind
	RoleActs                      // recurrent: int32, kernels.Activation: LSTM gates, candidate, output; GRU gates, candidate; RNN output
	RoleActParams                 // with RoleActs: clip of the gate sums (0: none), then alpha and beta of each
	RoleCellClip                  // LSTM: what the magnitude of the new cell state is limited to, [1]
	roleEnd
)

var roleNames = [...]string{RoleScale: "scale", RoleShift: "shift", RoleW: "w", RoleU: "u", RoleUn: "un", RoleBias: "bias", RoleBiasH: "bias_h",
	RoleWScale: "w_scale", RoleUScale: "u_scale", RoleUnScale: "un_scale", RoleXInv: "x_inv", RoleHInv: "h_inv", RolePeep: "peephole",
	RoleH0: "h0", RoleC0: "c0", RoleIndex: "index", RoleDims: "dims", RoleParams: "params", RoleActs: "activations",
	RoleActParams: "activation parameters", RoleCellClip: "cell clip"}

func (r Role) String() string {
	if r > 0 && r < roleEnd {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint16(r))
}

// BlobKind is the element type and layout of a blob.
type BlobKind uint16

const (
	VecF32 BlobKind = 1 + iota // Rows float32 values; Cols is 1
	MatI8                      // kernels.PackI8 layout, values in [-127, 127]
	MatF32                     // kernels.PackF32 layout
	VecI32                     // Rows int32 values; Cols is 1
	blobEnd
)

// Blob is an array of weights. Rows and Cols are the logical shape; the packed one is padded.
type Blob struct {
	Kind       BlobKind
	Rows, Cols int
	I8         []int8    // MatI8
	F32        []float32 // VecF32, MatF32
	I32        []int32   // VecI32
}

// Error is a file that cannot be decoded.
type Error struct {
	Section string // "header", "section table", or a section's name
	Offset  int64  // of the section in the file
	Err     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s (at byte %d): %v", e.Section, e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
