package onnx_test

import (
	"errors"
	"math"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	. "github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

func example() *Model {
	inner := &Graph{Name: "then", Nodes: []*Node{{Name: "i", Op: "Identity", Inputs: []string{"x"}, Outputs: []string{"z"}}}}
	return &Model{
		IRVersion: 8, Producer: "pytorch", ProducerVersion: "2.0",
		Opsets: map[string]int64{"": 17, "com.example": 1},
		Meta:   []Entry{{"labels", "a,b"}},
		Graph: &Graph{
			Name: "g",
			Nodes: []*Node{
				{Name: "n", Op: "LSTM", Inputs: []string{"x", "w", "", "b"}, Outputs: []string{"", "h"}, Attrs: []*Attr{
					{Name: "i", I: -3}, {Name: "f", F: 0.5}, {Name: "s", S: "reverse"}, {Name: "ints", Ints: []int64{1, -1, 1 << 40}},
					{Name: "floats", Floats: []float32{1, -2}}, {Name: "strings", Strings: []string{"Tanh", ""}},
					{Name: "t", T: &Tensor{Name: "c", Type: Int64, Dims: []int64{}, I: []int64{7}}}, {Name: "g", G: inner}}},
				{Name: "m", Op: "Custom", Domain: "com.example", Inputs: []string{"h"}, Outputs: []string{"y"}},
			},
			Initializers: []*Tensor{
				{Name: "w", Type: Float, Dims: []int64{2, 3}, F: []float32{1, 2, 3, 4, 5, 6}},
				{Name: "d", Type: Double, Dims: []int64{2}, F: []float32{0.25, -1}},
				{Name: "h", Type: Float16, Dims: []int64{4}, F: []float32{1, -2, 0.333251953125, 5.9604645e-08}},
				{Name: "k", Type: Int32, Dims: []int64{2}, I: []int64{-1, 1 << 20}},
				{Name: "l", Type: Int64, Dims: []int64{0}, I: []int64{}},
				{Name: "u", Type: Uint8, Dims: []int64{1}, F: []float32{200}},
				{Name: "b", Type: Bool, Dims: []int64{2}, I: []int64{1, 0}},
			},
			Inputs: []ValueInfo{{Name: "x", Type: Float, HasShape: true, Dims: []Dim{{Value: -1, Param: "T"}, {Value: 1}, {Value: 3}}},
				{Name: "q", Type: Float}},
			Outputs: []ValueInfo{{Name: "y", Type: Float, HasShape: true}},
		},
	}
}

// encoded writes the example; the float16 values are given as bits.
func encoded() []byte {
	m := example()
	h := m.Graph.Initializers[2]
	h.F, h.I = nil, []int64{0x3c00, 0xc000, 0x3555, 1}
	u := m.Graph.Initializers[5]
	u.F, u.I = nil, []int64{200}
	return onnxtest.Encode(m)
}

func TestRoundTrip(t *testing.T) {
	got, err := Read(encoded())
	if err != nil {
		t.Fatal(err)
	}
	want := example()
	want.Graph.Nodes[0].Attrs[6].T.Dims = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got.Graph, want.Graph)
	}
}

func TestHalf(t *testing.T) {
	for bits, want := range map[int64]float32{0: 0, 0x7bff: 65504, 0x0400: 6.1035156e-05, 0xfc00: float32(math.Inf(-1)), 0x03ff: 6.097555e-05} {
		m := example()
		m.Graph.Initializers = []*Tensor{{Name: "h", Type: Float16, Dims: []int64{1}, I: []int64{bits}}}
		got, err := Read(onnxtest.Encode(m))
		if err != nil {
			t.Fatal(err)
		}
		if v := got.Graph.Initializers[0].F[0]; v != want {
			t.Errorf("%#x: got %v, want %v", bits, v, want)
		}
	}
}

func TestTruncated(t *testing.T) {
	b := encoded()
	failed := 0
	for n := range b {
		if _, err := Read(b[:n]); err != nil {
			failed++
		}
	}
	if failed < len(b)/2 {
		t.Errorf("only %d of %d truncations fail", failed, len(b))
	}
}

func TestCorrupted(t *testing.T) {
	b := encoded()
	rnd := rand.New(rand.NewSource(1))
	for range 20000 {
		c := append([]byte(nil), b...)
		c[rnd.Intn(len(c))] = byte(rnd.Intn(256))
		_, _ = Read(c)
	}
}

func message(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

func integer(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// tensor is a model with one initializer.
func tensor(parts ...[]byte) []byte { return message(7, message(5, join(parts...))) }

func TestHostile(t *testing.T) {
	nested := []byte{}
	for range 40 {
		nested = message(1, message(5, message(6, nested)))
	}
	many := []byte{}
	for range 300000 {
		many = append(many, message(1, nil)...)
	}
	float := integer(2, uint64(Float))
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":          {nil, "no graph"},
		"text":           {[]byte("this is no protobuf"), "onnx:"},
		"claims 100 GB":  {tensor(float, integer(1, 1<<31-1), integer(1, 12), message(9, make([]byte, 1024))), "wants"},
		"product":        {tensor(float, integer(1, 1<<31-1), integer(1, 1<<31-1), integer(1, 1<<31-1), message(9, nil)), "out of range"},
		"negative":       {tensor(float, integer(1, math.MaxUint64), message(9, nil)), "out of range"},
		"zero times big": {tensor(float, integer(1, 0), integer(1, 1<<60), message(9, nil)), "out of range"},
		"partial":        {tensor(float, integer(1, 1), message(9, make([]byte, 5))), "whole number"},
		"external":       {tensor(float, integer(14, 1)), "external data"},
		"segment":        {tensor(float, message(3, nil)), "segmented"},
		"deep":           {message(7, nested), "nested"},
		"many":           {message(7, many), "messages"},
		"two graphs":     {join(message(7, nil), message(7, nil)), "two graphs"},
		"group":          {protowire.AppendTag(nil, 3, protowire.StartGroupType), "wire type"},
		"graph is int":   {integer(7, 1), "wire type"},
		"sparse":         {message(7, message(15, nil)), "sparse"},
	} {
		start := time.Now()
		_, err := Read(c.b)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

// Types that no node uses are no reason to refuse a model.
func TestUnknownElementType(t *testing.T) {
	m, err := Read(tensor(integer(2, 8), integer(1, 1), message(6, []byte("text"))))
	if err != nil {
		t.Fatal(err)
	}
	if x := m.Graph.Initializers[0]; x.F != nil || x.I != nil {
		t.Errorf("a string tensor has data: %+v", x)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(encoded())
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = Read(b) })
}

// Numbers of less than a byte lie several in one, and the last byte may be filled in part.
func TestNarrowTypes(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		typ   Type
		bytes []byte
		want  []float32
	}{
		{Uint4, []byte{0xf1, 0x07}, []float32{1, 15, 7}},
		{Int4, []byte{0xf1, 0x08}, []float32{1, -1, -8}},
		{Uint2, []byte{0b11_10_01_00, 0b01}, []float32{0, 1, 2, 3, 1}},
		{Int2, []byte{0b11_10_01_00}, []float32{0, 1, -2, -1}},
		{Int8, []byte{0xff, 0x80}, []float32{-1, -128}},
		{Float4E2M1, []byte{0x21, 0xf7}, []float32{0.5, 1, 6, -6}},
		{Float8E4M3FN, []byte{0x38, 0x01, 0xfe, 0x7f}, []float32{1, 0x1p-9, -448, nan}},
		{Float8E4M3FNUZ, []byte{0x40, 0x01, 0xff, 0x80}, []float32{1, 0x1p-10, -240, nan}},
		{Float8E5M2, []byte{0x3c, 0x01, 0xfb, 0x7c}, []float32{1, 0x1p-16, -57344, float32(math.Inf(1))}},
		{Float8E5M2FNUZ, []byte{0x40, 0x01, 0xff, 0x80}, []float32{1, 0x1p-17, -57344, nan}},
	} {
		head := join(integer(1, uint64(len(c.want))), integer(2, uint64(c.typ)))
		typed := head
		for _, b := range c.bytes {
			typed = join(typed, integer(5, uint64(b)))
		}
		for form, b := range map[string][]byte{"raw": join(head, message(9, c.bytes)), "typed": typed} {
			got, err := ReadTensor(b)
			if err != nil {
				t.Fatalf("type %d, %s: %v", c.typ, form, err)
			}
			if got.I != nil || !sameFloats(got.F, c.want) {
				t.Errorf("type %d, %s: got %v %v, want %v", c.typ, form, got.I, got.F, c.want)
			}
		}
		if _, err := ReadTensor(join(head, message(9, append(c.bytes, 0)))); err == nil {
			t.Errorf("type %d: a byte too many is no error", c.typ)
		}
	}
}

func sameFloats(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return x == y || x != x && y != y })
}

// Data in a further file is found by its place, and nothing beyond the file.
func TestExternal(t *testing.T) {
	entry := func(key, value string) []byte {
		return message(13, join(message(1, []byte(key)), message(2, []byte(value))))
	}
	file := []byte{9, 9, 9, 9, 0, 0, 128, 63, 0, 0, 0, 64, 7}
	for _, c := range []struct {
		place []byte
		want  string
	}{
		{join(entry("location", "w.data"), entry("offset", "4"), entry("length", "8")), ""},
		{join(entry("location", "w.data"), entry("offset", "4")), "whole number"},
		{join(entry("location", "w.data"), entry("offset", "5"), entry("length", "9")), "9"},
		{join(entry("location", "w.data"), entry("offset", "14")), "14"},
		{join(entry("location", "w.data"), entry("offset", "-4")), "-4"},
		{entry("location", "other"), "no such file"},
	} {
		b := message(7, message(5, join(integer(1, 2), integer(2, uint64(Float)), message(8, []byte("w")), c.place, integer(14, 1))))
		m, err := ReadWith(b, func(name string) ([]byte, error) {
			if name != "w.data" {
				return nil, errors.New("no such file")
			}
			return file, nil
		})
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: %v", c.want, err)
		case c.want == "" && err != nil:
			t.Error(err)
		case c.want == "" && !slices.Equal(m.Graph.Initializers[0].F, []float32{1, 2}):
			t.Errorf("read %v", m.Graph.Initializers[0].F)
		}
		if _, err := Read(b); err == nil || !strings.Contains(err.Error(), "not at hand") {
			t.Errorf("without the file: %v", err)
		}
	}
}
