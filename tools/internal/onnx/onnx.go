// Package onnx reads ONNX models from the protobuf wire format, without generated code.
//
// Read trusts nothing: every length is bounded by the bytes that are there, every product of dimensions is checked, nesting and
// the number of messages are limited. It never panics and allocates no more than a small multiple of the input.
package onnx

// Model is a model with the parts that an importer needs. Training information and local functions are not read.
type Model struct {
	IRVersion       int64
	Producer        string
	ProducerVersion string
	Opsets          map[string]int64 // version by domain; the standard operators have the domain ""
	Graph           *Graph
	Meta            []Entry
}

// Opset returns the version of the standard operators, or 0.
func (m *Model) Opset() int64 { return m.Opsets[""] }

// Entry is one of the model's metadata properties.
type Entry struct{ Key, Value string }

// Graph is a list of nodes in topological order, as the specification demands (Read does not check it).
type Graph struct {
	Name         string
	Nodes        []*Node
	Initializers []*Tensor
	Inputs       []ValueInfo // up to IR version 3 these also name the initializers
	Outputs      []ValueInfo
}

// Node is one call of an operator. An empty name among Inputs or Outputs is one that is left out.
type Node struct {
	Name    string
	Op      string
	Domain  string // "" for standard operators, also where the file says "ai.onnx"
	Inputs  []string
	Outputs []string
	Attrs   []*Attr
}

// Attr returns the attribute of that name, or nil.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Attr is an attribute; which field counts follows from the operator.
type Attr struct {
	Name    string
	Ref     string // set in local functions only
	F       float32
	I       int64
	S       string
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings []string
}

// Tensor is a constant. Floating-point types and integers of up to 16 bits, which are quantised numbers, arrive as F, wider integers and
// booleans as I; the other is nil, and both are nil where Type is none of those below.
type Tensor struct {
	Name string
	Type Type
	Dims []int64
	F    []float32
	I    []int64
}

// ValueInfo is a graph input or output.
type ValueInfo struct {
	Name     string
	Type     Type
	HasShape bool
	Dims     []Dim
}

// Dim is a dimension: Value if it is fixed, else -1, with the name Param if it has one.
type Dim struct {
	Value int64
	Param string
}

// Type is an element type.
type Type int32

// The element types that Read understands.
const (
	Float    Type = 1
	Uint8    Type = 2
	Int8     Type = 3
	Uint16   Type = 4
	Int16    Type = 5
	Int32    Type = 6
	Int64    Type = 7
	Bool     Type = 9
	Float16  Type = 10
	Double   Type = 11
	Uint32   Type = 12
	Uint64   Type = 13
	BFloat16 Type = 16

	Float8E4M3FN   Type = 17
	Float8E4M3FNUZ Type = 18
	Float8E5M2     Type = 19
	Float8E5M2FNUZ Type = 20
	Uint4          Type = 21
	Int4           Type = 22
	Float4E2M1     Type = 23
	Uint2          Type = 25
	Int2           Type = 26
)

// Float reports whether it is a floating-point type that Read understands.
func (t Type) Float() bool {
	return t == Float || t == Float16 || t == Double || t == BFloat16 || t.Narrow()
}

// Narrow reports whether it is a floating-point type of 8 bits or fewer.
func (t Type) Narrow() bool { return t >= Float8E4M3FN && t <= Float8E5M2FNUZ || t == Float4E2M1 }

// Integer reports whether it is an integer or boolean type.
func (t Type) Integer() bool { return t.bits() > 0 && !t.Float() }

// Range is what an integer type of up to 16 bits can hold; ok is false for other types.
func (t Type) Range() (low, high int64, ok bool) {
	n := t.bits()
	switch t {
	case Uint2, Uint4, Uint8, Uint16:
		return 0, 1<<n - 1, true
	case Int2, Int4, Int8, Int16:
		return -1 << (n - 1), 1<<(n-1) - 1, true
	}
	return 0, 0, false
}

// bits is the size of an element, 0 for a type that is not understood.
func (t Type) bits() int {
	switch t {
	case Uint2, Int2:
		return 2
	case Uint4, Int4, Float4E2M1:
		return 4
	case Uint8, Int8, Bool, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ:
		return 8
	case Uint16, Int16, Float16, BFloat16:
		return 16
	case Float, Int32, Uint32:
		return 32
	case Int64, Double, Uint64:
		return 64
	}
	return 0
}
