// Package tflitetest writes small TensorFlow Lite models for tests.
package tflitetest

import (
	"encoding/binary"
	"math"
	"reflect"

	"github.com/recur-go/recur/tools/internal/tflite"
)

var le = binary.LittleEndian

// Encode writes a model. Numbers of zero, or of their default, are left out, as are nil pointers, slices and strings without elements.
func Encode(m *tflite.Model) []byte {
	w := &writer{append(make([]byte, 4), "TFL3"...), map[any]int{}}
	root := w.table(reflect.ValueOf(m).Elem())
	le.PutUint32(w.b, uint32(root))
	return w.b
}

// writer appends tables, each before what it refers to.
type writer struct {
	b       []byte
	written map[any]int // where the table of a pointer is
}

// reference is an offset that is still to be written.
type reference struct {
	at int
	to reflect.Value
}

func (w *writer) align() {
	for len(w.b)%8 != 0 {
		w.b = append(w.b, 0)
	}
}

// table writes a table with its description before it, and returns its position.
func (w *writer) table(v reflect.Value) int {
	w.align()
	vtable := len(w.b)
	w.b = append(w.b, make([]byte, (4+2*v.NumField()+7)/8*8)...)
	at := len(w.b)
	w.b = le.AppendUint32(w.b, uint32(at-vtable))
	var open []reference
	for i := range v.NumField() {
		f := v.Field(i)
		if v.Type().Field(i).Name == "_" || w.absent(f, v.Type().Field(i).Tag) && v.Type().Field(i).Name != "OptionsType" {
			continue
		}
		if v.Type().Field(i).Name == "OptionsType" {
			f = reflect.ValueOf(tflite.OptionsType(v.Field(i + 1).Interface()))
		}
		size := size(f.Type())
		for len(w.b)%size != 0 {
			w.b = append(w.b, 0)
		}
		le.PutUint16(w.b[vtable+4+2*i:], uint16(len(w.b)-at))
		open = w.value(f, open)
	}
	le.PutUint16(w.b[vtable:], uint16(4+2*v.NumField()))
	le.PutUint16(w.b[vtable+2:], uint16(len(w.b)-at))
	w.resolve(open)
	return at
}

func (w *writer) absent(f reflect.Value, tag reflect.StructTag) bool {
	switch f.Kind() {
	case reflect.String, reflect.Slice:
		return f.Len() == 0
	case reflect.Pointer, reflect.Interface:
		return f.IsNil()
	case reflect.Bool:
		return f.Bool() == (tag.Get("default") == "1")
	case reflect.Int32:
		if tag.Get("default") == "1" {
			return f.Int() == 1
		}
	}
	return f.IsZero()
}

func size(t reflect.Type) int {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.String, reflect.Slice:
		return 4
	}
	return int(t.Size())
}

// value appends a number, or a place for an offset.
func (w *writer) value(f reflect.Value, open []reference) []reference {
	switch f.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.String, reflect.Slice:
		open = append(open, reference{len(w.b), f})
		w.b = append(w.b, 0, 0, 0, 0)
	case reflect.Bool:
		b := byte(0)
		if f.Bool() {
			b = 1
		}
		w.b = append(w.b, b)
	case reflect.Int8:
		w.b = append(w.b, byte(f.Int()))
	case reflect.Uint8:
		w.b = append(w.b, byte(f.Uint()))
	case reflect.Int32:
		w.b = le.AppendUint32(w.b, uint32(f.Int()))
	case reflect.Uint32:
		w.b = le.AppendUint32(w.b, uint32(f.Uint()))
	case reflect.Float32:
		w.b = le.AppendUint32(w.b, math.Float32bits(float32(f.Float())))
	case reflect.Int64:
		w.b = le.AppendUint64(w.b, uint64(f.Int()))
	case reflect.Uint64:
		w.b = le.AppendUint64(w.b, f.Uint())
	}
	return open
}

func (w *writer) resolve(open []reference) {
	for _, r := range open {
		var at int
		switch r.to.Kind() {
		case reflect.Pointer:
			at = w.shared(r)
		case reflect.Interface:
			at = w.table(r.to.Elem().Elem())
		case reflect.String:
			w.align()
			at = len(w.b)
			w.b = append(append(le.AppendUint32(w.b, uint32(r.to.Len())), r.to.String()...), 0)
		default:
			at = w.vector(r.to)
		}
		le.PutUint32(w.b[r.at:], uint32(at-r.at))
	}
}

// shared writes a table, unless one that was written from the same pointer lies ahead of the reference.
func (w *writer) shared(r reference) int {
	at, ok := w.written[r.to.Interface()]
	if !ok || at < r.at {
		at = w.table(r.to.Elem())
		w.written[r.to.Interface()] = at
	}
	return at
}

// vector writes the count so that the elements after it are aligned.
func (w *writer) vector(v reflect.Value) int {
	w.align()
	w.b = append(w.b, 0, 0, 0, 0)
	at := len(w.b)
	w.b = le.AppendUint32(w.b, uint32(v.Len()))
	var open []reference
	for i := range v.Len() {
		open = w.value(v.Index(i), open)
	}
	w.resolve(open)
	return at
}

// Builder puts a model together operator by operator.
type Builder struct {
	Model tflite.Model
	graph *tflite.Subgraph
}

// New starts a model of one subgraph.
func New() *Builder {
	g := &tflite.Subgraph{Name: "main"}
	return &Builder{Model: tflite.Model{Version: 3, Subgraphs: []*tflite.Subgraph{g}, Buffers: []*tflite.Buffer{{}}}, graph: g}
}

// Subgraph adds a subgraph, to which everything belongs that is added from now on.
func (b *Builder) Subgraph(name string) int32 {
	b.graph = &tflite.Subgraph{Name: name}
	b.Model.Subgraphs = append(b.Model.Subgraphs, b.graph)
	return int32(len(b.Model.Subgraphs) - 1)
}

// Tensor adds a tensor.
func (b *Builder) Tensor(t tflite.Tensor) int32 {
	b.graph.Tensors = append(b.graph.Tensors, &t)
	return int32(len(b.graph.Tensors) - 1)
}

// Float adds a computed tensor of floats.
func (b *Builder) Float(name string, shape ...int32) int32 {
	return b.Tensor(tflite.Tensor{Name: name, Shape: shape})
}

// Variable adds a tensor of floats that is kept from run to run.
func (b *Builder) Variable(name string, shape ...int32) int32 {
	return b.Tensor(tflite.Tensor{Name: name, Shape: shape, Variable: true})
}

// Input adds an input.
func (b *Builder) Input(name string, shape ...int32) int32 {
	t := b.Float(name, shape...)
	b.graph.Inputs = append(b.graph.Inputs, t)
	return t
}

// Output says which tensors are outputs.
func (b *Builder) Output(tensors ...int32) { b.graph.Outputs = append(b.graph.Outputs, tensors...) }

// Bytes adds a constant.
func (b *Builder) Bytes(t tflite.Tensor, data []byte) int32 {
	t.Buffer = uint32(len(b.Model.Buffers))
	b.Model.Buffers = append(b.Model.Buffers, &tflite.Buffer{Data: data})
	return b.Tensor(t)
}

// Const adds a constant of floats.
func (b *Builder) Const(v []float32, shape ...int32) int32 {
	var data []byte
	for _, x := range v {
		data = le.AppendUint32(data, math.Float32bits(x))
	}
	return b.Bytes(tflite.Tensor{Name: "const", Shape: shape}, data)
}

// Ints adds a constant vector of int32.
func (b *Builder) Ints(v ...int32) int32 {
	t := b.Scalar(v...)
	b.graph.Tensors[t].Shape = []int32{int32(len(v))}
	return t
}

// Scalar adds a constant of int32 without axes.
func (b *Builder) Scalar(v ...int32) int32 {
	var data []byte
	for _, x := range v {
		data = le.AppendUint32(data, uint32(x))
	}
	return b.Bytes(tflite.Tensor{Name: "ints", Type: tflite.Int32}, data)
}

// Op adds an operator by its name in the schema.
func (b *Builder) Op(name string, options any, in, out []int32) *tflite.Operator {
	code := tflite.Code(name)
	o := &tflite.Operator{Code: uint32(len(b.Model.Codes)), Inputs: in, Outputs: out, Options: options}
	b.Model.Codes = append(b.Model.Codes, &tflite.OperatorCode{ByteCode: int8(min(code, 127)), Code: code, Version: 1})
	b.graph.Operators = append(b.graph.Operators, o)
	return o
}

// Encode writes the model.
func (b *Builder) Encode() []byte { return Encode(&b.Model) }
