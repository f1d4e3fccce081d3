// Package onnxtest writes small ONNX models for tests.
package onnxtest

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/recur-go/recur/tools/internal/onnx"
)

// Encode writes a model. Tensors of type Float and Int64 are written as raw data, others in the typed fields.
func Encode(m *onnx.Model) []byte {
	var b message
	b.int(1, m.IRVersion)
	b.string(2, m.Producer)
	b.string(3, m.ProducerVersion)
	for domain, version := range m.Opsets {
		var o message
		o.string(1, domain)
		o.int(2, version)
		b.message(8, o)
	}
	for _, e := range m.Meta {
		var o message
		o.string(1, e.Key)
		o.string(2, e.Value)
		b.message(14, o)
	}
	b.message(7, graph(m.Graph))
	return b
}

type message []byte

func (b *message) int(num protowire.Number, v int64) {
	*b = protowire.AppendVarint(protowire.AppendTag(*b, num, protowire.VarintType), uint64(v))
}

func (b *message) float(num protowire.Number, v float32) {
	*b = protowire.AppendFixed32(protowire.AppendTag(*b, num, protowire.Fixed32Type), math.Float32bits(v))
}

func (b *message) bytes(num protowire.Number, v []byte) {
	*b = protowire.AppendBytes(protowire.AppendTag(*b, num, protowire.BytesType), v)
}

func (b *message) string(num protowire.Number, v string) { b.bytes(num, []byte(v)) }

func (b *message) message(num protowire.Number, v message) { b.bytes(num, v) }

func graph(g *onnx.Graph) (b message) {
	b.string(2, g.Name)
	for _, n := range g.Nodes {
		b.message(1, node(n))
	}
	for _, t := range g.Initializers {
		b.message(5, Tensor(t))
	}
	for _, v := range g.Inputs {
		b.message(11, valueInfo(v))
	}
	for _, v := range g.Outputs {
		b.message(12, valueInfo(v))
	}
	return b
}

func node(n *onnx.Node) (b message) {
	for _, s := range n.Inputs {
		b.string(1, s)
	}
	for _, s := range n.Outputs {
		b.string(2, s)
	}
	b.string(3, n.Name)
	b.string(4, n.Op)
	b.string(7, n.Domain)
	for _, a := range n.Attrs {
		b.message(5, attr(a))
	}
	return b
}

func attr(a *onnx.Attr) (b message) {
	b.string(1, a.Name)
	if a.F != 0 {
		b.float(2, a.F)
	}
	if a.I != 0 {
		b.int(3, a.I)
	}
	if a.S != "" {
		b.string(4, a.S)
	}
	if a.T != nil {
		b.message(5, Tensor(a.T))
	}
	if a.G != nil {
		b.message(6, graph(a.G))
	}
	for _, v := range a.Floats {
		b.float(7, v)
	}
	for _, v := range a.Ints {
		b.int(8, v)
	}
	for _, s := range a.Strings {
		b.string(9, s)
	}
	return b
}

// Tensor writes a TensorProto.
func Tensor(t *onnx.Tensor) (b message) {
	for _, d := range t.Dims {
		b.int(1, d)
	}
	b.int(2, int64(t.Type))
	b.string(8, t.Name)
	var data []byte
	switch t.Type {
	case onnx.Float:
		for _, v := range t.F {
			data = protowire.AppendFixed32(data, math.Float32bits(v))
		}
		b.bytes(9, data)
	case onnx.Int64:
		for _, v := range t.I {
			data = protowire.AppendFixed64(data, uint64(v))
		}
		b.bytes(9, data)
	case onnx.Double:
		for _, v := range t.F {
			data = protowire.AppendFixed64(data, math.Float64bits(float64(v)))
		}
		b.bytes(10, data)
	default:
		for _, v := range t.I {
			data = protowire.AppendVarint(data, uint64(v))
		}
		b.bytes(5, data)
	}
	return b
}

func valueInfo(v onnx.ValueInfo) (b message) {
	var shape message
	for _, d := range v.Dims {
		var dim message
		if d.Param != "" {
			dim.string(2, d.Param)
		} else {
			dim.int(1, d.Value)
		}
		shape.message(1, dim)
	}
	var tensor message
	tensor.int(1, int64(v.Type))
	if v.HasShape {
		tensor.message(2, shape)
	}
	var t message
	t.message(1, tensor)
	b.string(1, v.Name)
	b.message(2, t)
	return b
}
