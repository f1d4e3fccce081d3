package tflite_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/shared"
	. "github.com/recur-go/recur/tools/internal/tflite"
	"github.com/recur-go/recur/tools/internal/tflite/tflitetest"
)

// example has every kind of table and field.
func example() *tflitetest.Builder {
	b := tflitetest.New()
	x := b.Input("x", 1, 4)
	w := b.Bytes(Tensor{Name: "w", Type: Int8, Shape: []int32{2, 4}, Quantization: &Quantization{Scale: []float32{0.5, 2}, ZeroPoint: []int64{0, 1}}},
		[]byte{1, 2, 0xff, 0x80, 1, 2, 3, 4})
	h := b.Tensor(Tensor{Name: "h", Shape: []int32{1, 2}, Variable: true, Signature: []int32{-1, 2}, HasRank: true, Sparsity: &Sparsity{},
		Quantization: &Quantization{Min: []float32{-1}, Max: []float32{3}}})
	y := b.Float("y", 1, 2)
	b.Op("FULLY_CONNECTED", &FullyConnectedOptions{Activation: Relu6, KeepDims: true}, []int32{x, w, -1}, []int32{y})
	o := b.Op("BIDIRECTIONAL_SEQUENCE_LSTM", &BidirectionalLSTMOptions{CellClip: 1.5, TimeMajor: true}, []int32{y, h}, []int32{y})
	o.Intermediates = []int32{h, -1}
	b.Op("CONV_2D", &Conv2DOptions{Padding: Valid, StrideW: 2, DilationH: 3, DilationW: 1}, []int32{x}, []int32{y})
	b.Op("GELU", &GeluOptions{Approximate: true}, []int32{y}, []int32{y})
	b.Op("RESHAPE", &ReshapeOptions{Shape: []int32{-1, 2}}, []int32{y, b.Ints(1, -2)}, []int32{y})
	b.Op("TANH", nil, []int32{y}, []int32{y})
	b.Output(y)
	body := b.Subgraph("body")
	b.Op("WHILE", &WhileOptions{Condition: 0, Body: body}, []int32{}, []int32{})
	m := &b.Model
	m.Codes = append(m.Codes, &OperatorCode{ByteCode: 32, Custom: "Mine", Version: 3})
	m.Metadata = []*Metadata{{"min_runtime_version", 1}}
	m.Signatures = []*Signature{{Inputs: []*Alias{{"in", 0}}, Outputs: []*Alias{{"out", 3}}, Key: "serving_default"}}
	m.Description = "MLIR Converted."
	return b
}

// normal is a model as a reader sees it, in which nothing and no elements are the same.
func normal(t *testing.T, m *Model) string {
	t.Helper()
	for _, g := range m.Subgraphs {
		for _, o := range g.Operators {
			o.OptionsType = OptionsType(o.Options)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("[]", "null", `""`, "null").Replace(string(b))
}

func TestRoundTrip(t *testing.T) {
	b := example()
	got, err := Read(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if g, w := normal(t, got), normal(t, &b.Model); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	for i, o := range got.Subgraphs[0].Operators {
		if want := reflect.TypeOf(b.Model.Subgraphs[0].Operators[i].Options); reflect.TypeOf(o.Options) != want {
			t.Errorf("%s: options %T, want %v", got.Op(o), o.Options, want)
		}
	}
}

// Of a field that a file leaves out, the schema says what it is.
func TestDefaults(t *testing.T) {
	got, err := Read(example().Encode())
	if err != nil {
		t.Fatal(err)
	}
	ops := got.Subgraphs[0].Operators
	if c := ops[2].Options.(*Conv2DOptions); c.DilationW != 1 || c.DilationH != 3 || c.StrideH != 0 {
		t.Errorf("%+v", c)
	}
	if l := ops[1].Options.(*BidirectionalLSTMOptions); !l.TimeMajor || l.Merge {
		t.Errorf("%+v", l)
	}
}

func TestOp(t *testing.T) {
	m, err := Read(example().Encode())
	if err != nil {
		t.Fatal(err)
	}
	custom := &Operator{Code: uint32(len(m.Codes) - 1)}
	if got := m.Op(custom); got != `custom operator "Mine"` {
		t.Error(got)
	}
	for name, number := range map[string]int32{"ADD": 0, "CUSTOM": 32, "UNIDIRECTIONAL_SEQUENCE_LSTM": 44, "BATCH_MATMUL": 126, "VAR_HANDLE": 142,
		"GELU": 150, "STABLEHLO_COMPOSITE": 206} {
		if got := Code(name); got != number {
			t.Errorf("%s has number %d, want %d", name, got, number)
		}
	}
}

func TestData(t *testing.T) {
	b := tflitetest.New()
	per := func(zero ...int64) *Quantization { return &Quantization{Scale: []float32{0.5, 2}, ZeroPoint: zero} }
	for _, c := range []struct {
		name   string
		t      Tensor
		data   []byte
		floats []float32
		ints   []int64
	}{
		{"per channel", Tensor{Type: Int8, Shape: []int32{2, 2}, Quantization: per(0, 1)}, []byte{1, 0x80, 3, 0xff}, []float32{0.5, -64, 4, -4}, []int64{1, -128, 3, -1}},
		{"last axis", Tensor{Type: Uint8, Shape: []int32{2, 2}, Quantization: &Quantization{Scale: []float32{0.5, 2}, Dimension: 1}}, []byte{1, 2, 3, 255}, []float32{0.5, 4, 1.5, 510}, nil},
		{"bias", Tensor{Type: Int32, Shape: []int32{1}, Quantization: &Quantization{Scale: []float32{0.25}}}, []byte{0, 0, 0, 0x80}, []float32{-1 << 29}, []int64{math.MinInt32}},
		{"int16", Tensor{Type: Int16, Shape: []int32{1}, Quantization: &Quantization{Scale: []float32{1}, ZeroPoint: []int64{-1}}}, []byte{0xfe, 0xff}, []float32{-1}, []int64{-2}},
		{"int4", Tensor{Type: Int4, Shape: []int32{3}, Quantization: &Quantization{Scale: []float32{1}}}, []byte{0x8f, 0x07}, []float32{-1, -8, 7}, []int64{-1, -8, 7}},
		{"half", Tensor{Type: Float16, Shape: []int32{2}}, []byte{0, 0x3c, 0, 0xc0}, []float32{1, -2}, nil},
		{"bool", Tensor{Type: Bool, Shape: []int32{2}}, []byte{7, 0}, nil, []int64{1, 0}},
		{"int64", Tensor{Type: Int64}, []byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0}, nil, []int64{math.MaxInt32}},
		{"short", Tensor{Shape: []int32{2}}, make([]byte, 4), nil, nil},
		{"long", Tensor{Shape: []int32{2}}, make([]byte, 12), nil, nil},
		{"long ints", Tensor{Type: Int32}, make([]byte, 8), nil, nil},
		{"claims", Tensor{Type: Int8, Shape: []int32{1 << 30, 1 << 30, 1 << 30}}, make([]byte, 8), nil, nil},
		{"claims floats", Tensor{Shape: []int32{1 << 30, 1 << 30, 1 << 30}}, make([]byte, 8), nil, nil},
		{"claims nibbles", Tensor{Type: Int4, Shape: []int32{math.MaxInt32, math.MaxInt32, 2}}, make([]byte, 8), nil, nil},
		{"scales", Tensor{Type: Int8, Shape: []int32{3}, Quantization: per(0)}, make([]byte, 3), nil, []int64{0, 0, 0}},
		{"axis", Tensor{Type: Int8, Shape: []int32{2}, Quantization: &Quantization{Scale: []float32{1, 1}, Dimension: 7}}, make([]byte, 2), nil, []int64{0, 0}},
		{"zero points", Tensor{Type: Int8, Shape: []int32{2}, Quantization: per(0, 0, 0)}, make([]byte, 2), nil, []int64{0, 0}},
		{"nan", Tensor{Type: Int8, Shape: []int32{2}, Quantization: &Quantization{Scale: []float32{float32(math.NaN())}}}, []byte{1, 0}, nil, []int64{1, 0}},
		{"zeros", Tensor{Type: Int8, Shape: []int32{2}, Quantization: &Quantization{Scale: []float32{float32(math.Inf(1))}, ZeroPoint: []int64{3}}}, []byte{3, 3}, []float32{0, 0}, []int64{3, 3}},
		{"variable", Tensor{Variable: true}, make([]byte, 4), nil, nil},
		{"string", Tensor{Type: String}, make([]byte, 4), nil, nil},
	} {
		b.Bytes(c.t, c.data)
		tensor := b.Model.Subgraphs[0].Tensors[len(b.Model.Subgraphs[0].Tensors)-1]
		m, err := Read(b.Encode())
		if err != nil {
			t.Fatal(c.name, err)
		}
		f, ferr := m.Floats(tensor)
		if !slices.Equal(f, c.floats) || (ferr == nil) != (c.floats != nil) {
			t.Errorf("%s: floats %v, %v; want %v", c.name, f, ferr, c.floats)
		}
		i, ierr := m.Ints(tensor)
		if c.floats == nil && (!slices.Equal(i, c.ints) || (ierr == nil) != (c.ints != nil)) {
			t.Errorf("%s: ints %v, %v; want %v", c.name, i, ierr, c.ints)
		}
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		t         Tensor
		low, high float32
		ok        bool
	}{
		{Tensor{Type: Int8, Quantization: &Quantization{Scale: []float32{0.5}, ZeroPoint: []int64{-128}}}, 0, 127.5, true},
		{Tensor{Type: Int16, Quantization: &Quantization{Scale: []float32{1}}}, -32768, 32767, true},
		{Tensor{Quantization: &Quantization{Min: []float32{-1}, Max: []float32{2}}}, -1, 2, true},
		{Tensor{Quantization: &Quantization{Min: []float32{3}, Max: []float32{2}}}, 3, 2, false},
		{Tensor{Type: Int8, Quantization: &Quantization{Scale: []float32{0}}}, 0, 0, false},
		{Tensor{Type: Int8, Quantization: &Quantization{Scale: []float32{float32(math.Inf(1))}}}, 0, 0, false},
		{Tensor{}, 0, 0, false},
	} {
		if low, high, ok := c.t.Range(); ok != c.ok || ok && (low != c.low || high != c.high) {
			t.Errorf("%+v: %v to %v, %v", c.t, low, high, ok)
		}
	}
}

// Data beyond the tables, as in files of more than 2 GB.
func TestOutside(t *testing.T) {
	b := example()
	b.Model.Buffers[1] = &Buffer{Offset: 1 << 40, Size: 8}
	if _, err := Read(b.Encode()); err == nil || !strings.Contains(err.Error(), "buffer 1: leaves the file") {
		t.Error(err)
	}
	n := uint64(len(b.Encode()))
	b.Model.Buffers[1] = &Buffer{Offset: n, Size: 8}
	m, err := Read(append(b.Encode(), 1, 2, 3, 4, 5, 6, 7, 8))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := m.Ints(m.Subgraphs[0].Tensors[1]); err != nil || !slices.Equal(v, []int64{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Error(v, err)
	}
}

func TestRefused(t *testing.T) {
	for want, spoil := range map[string]func(*Model){
		"schema version 2":        func(m *Model) { m.Version = 2 },
		"no subgraph":             func(m *Model) { m.Subgraphs = nil },
		"no buffer 77":            func(m *Model) { m.Subgraphs[0].Tensors[0].Buffer = 77 },
		"shape [1 -4]":            func(m *Model) { m.Subgraphs[0].Tensors[0].Shape = []int32{1, -4} },
		"33 dimensions":           func(m *Model) { m.Subgraphs[0].Tensors[0].Shape = make([]int32, 33) },
		"no tensor 99":            func(m *Model) { m.Subgraphs[0].Operators[0].Inputs[1] = 99 },
		"no tensor -2":            func(m *Model) { m.Subgraphs[0].Operators[0].Inputs[1] = -2 },
		"no tensor -1":            func(m *Model) { m.Subgraphs[0].Operators[0].Outputs[0] = -1 },
		"no operator code 99":     func(m *Model) { m.Subgraphs[0].Operators[0].Code = 99 },
		`signature "s": no subgr`: func(m *Model) { m.Signatures = []*Signature{{Key: "s", Subgraph: 9}} },
		`"serving_default": no t`: func(m *Model) { m.Signatures[0].Outputs[0].Tensor = 99 },
	} {
		b := example()
		spoil(&b.Model)
		if _, err := Read(b.Encode()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, b := range [][]byte{nil, []byte("TFL3"), []byte("\x08\x00\x00\x00TFL2\x00\x00"), []byte("\x00\x00\x00\x00TFL3"), []byte("\xff\xff\xff\xffTFL3")} {
		if _, err := Read(b); err == nil {
			t.Errorf("%q is accepted", b)
		}
	}
}

func TestTruncated(t *testing.T) {
	b := example().Encode()
	for n := range len(b) - 8 {
		if _, err := Read(b[:n]); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(b))
		}
	}
}

// walk decodes all constants.
func walk(b []byte) {
	m, err := Read(b)
	if err != nil {
		return
	}
	for _, g := range m.Subgraphs {
		for _, x := range g.Tensors {
			m.Floats(x)
			m.Ints(x)
			x.Range()
		}
		for _, o := range g.Operators {
			m.Op(o)
		}
	}
}

func TestDamaged(t *testing.T) {
	b := example().Encode()
	for i := range b {
		for _, flip := range []byte{1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff} {
			c := bytes.Clone(b)
			c[i] ^= flip
			walk(c)
		}
	}
}

// TestHostile refers to the same parts of a file over and over, and counts what is not there.
func TestHostile(t *testing.T) {
	many := func(size int) []byte {
		b := tflitetest.New()
		b.Float("x", 1, 2, 3)
		b.Model.Subgraphs[0].Tensors = slices.Repeat(b.Model.Subgraphs[0].Tensors, size)
		return b.Encode()
	}
	claim := example().Encode()
	at := bytes.Index(claim, []byte("MLIR"))
	binary.LittleEndian.PutUint32(claim[at-4:], math.MaxUint32)
	shape := example()
	shape.Model.Subgraphs[0].Tensors[0].Shape = slices.Repeat([]int32{math.MaxInt32}, 8)
	for name, b := range map[string][]byte{"many": many(1 << 16), "many more": many(1 << 21), "claim": claim, "shape": shape.Encode()} {
		took, used := time.Hour, uint64(0) // the shortest of a few, as other tests run beside this one
		var err error
		for range 3 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err = Read(b)
			walk(b)
			took = min(took, time.Since(start))
			runtime.ReadMemStats(&after)
			if used = after.TotalAlloc - before.TotalAlloc; took < time.Second {
				break
			}
		}
		if took > time.Second || used > 256<<20 {
			t.Errorf("%s: took %v and %d MB", name, took, used>>20)
		}
		if strings.HasPrefix(name, "many") && (err == nil || !strings.Contains(err.Error(), "over and over")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSuites holds the operators of published models against those that another reader found.
func TestSuites(t *testing.T) {
	dir := shared.Dir(t, "suites")
	all, err := filepath.Glob(filepath.Join(dir, "tflite-ref", "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var meta struct {
			Model string
			Ops   map[string]int
		}
		if err := json.Unmarshal(text, &meta); err != nil || meta.Ops == nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, meta.Model))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Read(b)
		if err != nil {
			t.Errorf("%s: %v", meta.Model, err)
			continue
		}
		got := map[string]int{}
		for _, o := range m.Subgraphs[0].Operators {
			got[fmt.Sprintf("%s@v%d", m.Op(o), m.Codes[o.Code].Version)]++
		}
		if !maps.Equal(got, meta.Ops) {
			t.Errorf("%s: %v, want %v", meta.Model, got, meta.Ops)
		}
		compared++
	}
	if compared == 0 {
		t.Error("no model was compared")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(example().Encode())
	small := tflitetest.New()
	small.Op("TANH", nil, []int32{small.Input("x", 1)}, []int32{small.Float("y", 1)})
	f.Add(small.Encode())
	f.Fuzz(func(t *testing.T, b []byte) { walk(b) })
}
