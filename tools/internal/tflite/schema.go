package tflite

import "reflect"

// The tables of the schema as structs: field by field in the schema's order, which is what decode goes by. A field named _ takes a
// place and is not read. A tag default holds the value of a field that the file leaves out, where it is not zero. What the importer
// has no use for is left out at a table's end.

// Model is the root of a file. Its vectors hold no nil.
type Model struct {
	Version     uint32
	Codes       []*OperatorCode
	Subgraphs   []*Subgraph // the first is the one to run
	Description string
	Buffers     []*Buffer
	_           []int32
	Metadata    []*Metadata
	Signatures  []*Signature
}

// OperatorCode is a kind of operator that the file uses.
type OperatorCode struct {
	ByteCode int8 // of files before the number of operators exceeded 127, and repeated in later ones
	Custom   string
	Version  int32 `default:"1"`
	Code     int32
}

// Subgraph is a list of operators in the order in which they run.
type Subgraph struct {
	Tensors         []*Tensor
	Inputs, Outputs []int32
	Operators       []*Operator
	Name            string
}

// Tensor is a value of a subgraph.
type Tensor struct {
	Shape        []int32
	Type         Type
	Buffer       uint32 // an empty one unless the tensor is a constant
	Name         string
	Quantization *Quantization
	Variable     bool // it keeps its value from one run of the model to the next
	Sparsity     *Sparsity
	Signature    []int32 // the shape, with -1 for lengths that are open; nil if none is
	HasRank      bool
}

// Quantization says what the integers of a tensor stand for: Scale·(q - ZeroPoint). There is one scale, or one for every index of
// axis Dimension.
type Quantization struct {
	Min, Max    []float32
	Scale       []float32
	ZeroPoint   []int64
	DetailsType uint8
	_           any
	Dimension   int32
}

// Sparsity is that of a tensor which does not hold its zeros.
type Sparsity struct{}

// Buffer holds the bytes of constants. Those of large files lie beyond the tables, at Offset, and are found by Read.
type Buffer struct {
	Data         []byte // a part of the file
	Offset, Size uint64
}

// Operator is one call of an operator. A tensor of -1 is one that is left out.
type Operator struct {
	Code            uint32
	Inputs, Outputs []int32
	OptionsType     uint8
	Options         any // a pointer to one of the structs below, or nil
	_               []byte
	_               int8
	_               []bool
	Intermediates   []int32
}

// Metadata names a buffer.
type Metadata struct {
	Name   string
	Buffer uint32
}

// Signature gives names to the inputs and outputs of a subgraph.
type Signature struct {
	Inputs, Outputs []*Alias
	Key             string
	_               string
	Subgraph        uint32
}

// Alias is a name for a tensor.
type Alias struct {
	Name   string
	Tensor uint32
}

// Type is the element type of a tensor.
type Type int8

// The element types.
const (
	Float32 Type = iota
	Float16
	Int32
	Uint8
	Int64
	String
	Bool
	Int16
	Complex64
	Int8
	Float64
	Complex128
	Uint64
	Resource
	Variant
	Uint32
	Uint16
	Int4
	Bfloat16
)

// Activation is applied to the result of an operator.
type Activation int8

// The activations.
const (
	None Activation = iota
	Relu
	ReluN1To1
	Relu6
	Tanh
	SignBit
)

// Padding is how a window treats the border.
type Padding int8

// The paddings.
const (
	Same Padding = iota
	Valid
)

// Conv2DOptions belong to CONV_2D.
type Conv2DOptions struct {
	Padding              Padding
	StrideW, StrideH     int32
	Activation           Activation
	DilationW, DilationH int32 `default:"1"`
}

// DepthwiseConv2DOptions belong to DEPTHWISE_CONV_2D.
type DepthwiseConv2DOptions struct {
	Padding              Padding
	StrideW, StrideH     int32
	Multiplier           int32
	Activation           Activation
	DilationW, DilationH int32 `default:"1"`
}

// TransposeConvOptions belong to TRANSPOSE_CONV.
type TransposeConvOptions struct {
	Padding          Padding
	StrideW, StrideH int32
	Activation       Activation
}

// Pool2DOptions belong to AVERAGE_POOL_2D and MAX_POOL_2D.
type Pool2DOptions struct {
	Padding          Padding
	StrideW, StrideH int32
	FilterW, FilterH int32
	Activation       Activation
}

// FullyConnectedOptions belong to FULLY_CONNECTED.
type FullyConnectedOptions struct {
	Activation Activation
	Shuffled   int8 // 0, or the order of weights of a kernel of old
	KeepDims   bool
}

// SVDFOptions belong to SVDF.
type SVDFOptions struct {
	Rank       int32
	Activation Activation
}

// RNNOptions belong to RNN.
type RNNOptions struct {
	Activation Activation
}

// SequenceRNNOptions belong to UNIDIRECTIONAL_SEQUENCE_RNN.
type SequenceRNNOptions struct {
	TimeMajor  bool
	Activation Activation
}

// BidirectionalRNNOptions belong to BIDIRECTIONAL_SEQUENCE_RNN.
type BidirectionalRNNOptions struct {
	TimeMajor  bool
	Activation Activation
	Merge      bool
}

// LSTMOptions belong to LSTM. A clip of 0 is none.
type LSTMOptions struct {
	Activation         Activation
	CellClip, ProjClip float32
	Basic              bool // the kernel with all weights in one matrix
}

// SequenceLSTMOptions belong to UNIDIRECTIONAL_SEQUENCE_LSTM. A clip of 0 is none.
type SequenceLSTMOptions struct {
	Activation         Activation
	CellClip, ProjClip float32
	TimeMajor          bool
	_                  bool
	Diagonal           bool // recurrent matrices by their diagonals
}

// BidirectionalLSTMOptions belong to BIDIRECTIONAL_SEQUENCE_LSTM. A clip of 0 is none.
type BidirectionalLSTMOptions struct {
	Activation         Activation
	CellClip, ProjClip float32
	Merge              bool
	TimeMajor          bool `default:"1"`
}

// SoftmaxOptions belong to SOFTMAX.
type SoftmaxOptions struct{ Beta float32 }

// ConcatenationOptions belong to CONCATENATION.
type ConcatenationOptions struct {
	Axis       int32
	Activation Activation
}

// AddOptions belong to ADD.
type AddOptions struct{ Activation Activation }

// SubOptions belong to SUB.
type SubOptions struct{ Activation Activation }

// MulOptions belong to MUL.
type MulOptions struct{ Activation Activation }

// DivOptions belong to DIV.
type DivOptions struct{ Activation Activation }

// ReshapeOptions belong to RESHAPE.
type ReshapeOptions struct{ Shape []int32 }

// SqueezeOptions belong to SQUEEZE.
type SqueezeOptions struct{ Axes []int32 }

// SplitOptions belong to SPLIT and, with a number of their own, to SPLIT_V.
type SplitOptions struct{ Parts int32 }

// SplitVOptions belong to SPLIT_V.
type SplitVOptions struct{ Parts int32 }

// FakeQuantOptions belong to FAKE_QUANT.
type FakeQuantOptions struct {
	Min, Max float32
	Bits     int32
	Narrow   bool
}

// PackOptions belong to PACK.
type PackOptions struct{ Parts, Axis int32 }

// UnpackOptions belong to UNPACK.
type UnpackOptions struct{ Parts, Axis int32 }

// GatherOptions belong to GATHER.
type GatherOptions struct{ Axis, BatchDims int32 }

// ReducerOptions belong to MEAN, SUM and their like.
type ReducerOptions struct{ KeepDims bool }

// StridedSliceOptions belong to STRIDED_SLICE; bit i of a mask speaks of axis i.
type StridedSliceOptions struct {
	BeginMask, EndMask, EllipsisMask, NewAxisMask, ShrinkAxisMask int32
	Offset                                                        bool // ends count from the beginnings
}

// CastOptions belong to CAST.
type CastOptions struct{ From, To Type }

// ShapeOptions belong to SHAPE.
type ShapeOptions struct{ Type Type }

// LeakyReluOptions belong to LEAKY_RELU.
type LeakyReluOptions struct{ Alpha float32 }

// MirrorPadOptions belong to MIRROR_PAD.
type MirrorPadOptions struct{ Symmetric bool } // else the border is not repeated

// IfOptions belong to IF.
type IfOptions struct{ Then, Else int32 }

// WhileOptions belong to WHILE.
type WhileOptions struct{ Condition, Body int32 }

// CallOptions belong to CALL.
type CallOptions struct{ Subgraph uint32 }

// CallOnceOptions belong to CALL_ONCE.
type CallOnceOptions struct{ Subgraph int32 }

// BatchMatMulOptions belong to BATCH_MATMUL; they say which operand is transposed.
type BatchMatMulOptions struct{ TransposeX, TransposeY bool }

// CumsumOptions belong to CUMSUM.
type CumsumOptions struct{ Exclusive, Reverse bool }

// GeluOptions belong to GELU.
type GeluOptions struct{ Approximate bool }

// ReverseSequenceOptions belong to REVERSE_SEQUENCE.
type ReverseSequenceOptions struct{ Time, Batch int32 }

// OneHotOptions belong to ONE_HOT.
type OneHotOptions struct{ Axis int32 }

// VarHandleOptions belong to VAR_HANDLE.
type VarHandleOptions struct{ Container, Name string }

// optionsByType are the members of the union of options that are read.
var optionsByType = map[uint8]any{
	1: Conv2DOptions{}, 2: DepthwiseConv2DOptions{}, 5: Pool2DOptions{}, 6: SVDFOptions{}, 7: RNNOptions{}, 8: FullyConnectedOptions{}, 9: SoftmaxOptions{},
	10: ConcatenationOptions{}, 11: AddOptions{}, 14: LSTMOptions{}, 16: CallOptions{}, 17: ReshapeOptions{}, 21: MulOptions{},
	23: GatherOptions{}, 27: ReducerOptions{}, 28: SubOptions{}, 29: DivOptions{}, 30: SqueezeOptions{}, 31: SequenceRNNOptions{},
	32: StridedSliceOptions{}, 35: SplitOptions{}, 37: CastOptions{}, 49: TransposeConvOptions{}, 55: ShapeOptions{}, 58: FakeQuantOptions{}, 59: PackOptions{},
	61: OneHotOptions{}, 64: UnpackOptions{}, 69: BidirectionalLSTMOptions{}, 70: BidirectionalRNNOptions{}, 71: SequenceLSTMOptions{},
	75: LeakyReluOptions{}, 77: MirrorPadOptions{}, 79: SplitVOptions{}, 87: ReverseSequenceOptions{}, 92: IfOptions{}, 93: WhileOptions{},
	101: BatchMatMulOptions{}, 102: CumsumOptions{}, 103: CallOnceOptions{}, 111: VarHandleOptions{}, 116: GeluOptions{},
}

// OptionsType is the number of options in the union, 0 if they are none that is read.
func OptionsType(options any) uint8 {
	for number, o := range optionsByType {
		if options != nil && reflect.TypeOf(options) == reflect.PointerTo(reflect.TypeOf(o)) {
			return number
		}
	}
	return 0
}
