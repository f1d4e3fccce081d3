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

// Tensor is a constant. Floating-point types arrive as F, integers and booleans as I; the other is nil, and both are nil where
// Type is none of those below.
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
)

// Float reports whether it is a floating-point type that Read understands.
func (t Type) Float() bool { return t == Float || t == Float16 || t == Double || t == BFloat16 }

// Integer reports whether it is an integer or boolean type.
func (t Type) Integer() bool { return t.size() > 0 && !t.Float() }

// size is the number of bytes of an element, 0 for a type that is not understood.
func (t Type) size() int {
	switch t {
	case Uint8, Int8, Bool:
		return 1
	case Uint16, Int16, Float16, BFloat16:
		return 2
	case Float, Int32, Uint32:
		return 4
	case Int64, Double, Uint64:
		return 8
	}
	return 0
}
