package onnx

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	maxNesting  = 16      // of graphs in attributes
	maxMessages = 1 << 18 // a message of two bytes becomes a struct of a hundred
	maxRank     = 32
)

// Read decodes a model in one file. The result shares no memory with b.
func Read(b []byte) (*Model, error) { return ReadWith(b, nil) }

// ReadWith decodes a model whose tensors may lie in further files. Their names come from the model: open must not follow them out of the
// model's folder.
func ReadWith(b []byte, open func(name string) ([]byte, error)) (*Model, error) {
	d := decoder{messages: maxMessages, open: open, files: map[string][]byte{}}
	m := &Model{Opsets: map[string]int64{}}
	err := d.model(b, m)
	if err == nil && m.Graph == nil {
		err = errors.New("no graph: not an ONNX model, or cut short")
	}
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return m, nil
}

// ReadTensor decodes a tensor that is a file of its own.
func ReadTensor(b []byte) (*Tensor, error) {
	d := decoder{messages: maxMessages}
	t, err := d.tensor(field{wire: protowire.BytesType, b: b})
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return t, nil
}

type decoder struct {
	messages int
	open     func(name string) ([]byte, error)
	files    map[string][]byte
}

// field is one field of a message: bytes, or the bits of a number.
type field struct {
	num  protowire.Number
	wire protowire.Type
	n    uint64
	b    []byte
}

var errType = errors.New("wrong wire type")

func (f field) string() (string, error) {
	if f.wire != protowire.BytesType {
		return "", errType
	}
	return string(f.b), nil
}

func (f field) int() (int64, error) {
	if f.wire != protowire.VarintType {
		return 0, errType
	}
	return int64(f.n), nil
}

func (f field) float() (float32, error) {
	if f.wire != protowire.Fixed32Type {
		return 0, errType
	}
	return math.Float32frombits(uint32(f.n)), nil
}

// ints appends a repeated integer, packed or not.
func (f field) ints(to []int64) ([]int64, error) {
	if f.wire == protowire.VarintType {
		return append(to, int64(f.n)), nil
	}
	if f.wire != protowire.BytesType {
		return nil, errType
	}
	for b := f.b; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		to, b = append(to, int64(v)), b[n:]
	}
	return to, nil
}

// fixed appends a repeated fixed-size number of the given wire type, packed or not.
func (f field) fixed(to []uint64, wire protowire.Type) ([]uint64, error) {
	if f.wire == wire {
		return append(to, f.n), nil
	}
	size := 4
	if wire == protowire.Fixed64Type {
		size = 8
	}
	if f.wire != protowire.BytesType || len(f.b)%size != 0 {
		return nil, errType
	}
	for b := f.b; len(b) > 0; b = b[size:] {
		to = append(to, littleEndian(b[:size]))
	}
	return to, nil
}

func littleEndian(b []byte) (v uint64) {
	for i, x := range b {
		v |= uint64(x) << (8 * i)
	}
	return v
}

// each calls use for every field of the message b.
func (d *decoder) each(what string, b []byte, use func(field) error) error {
	if d.messages--; d.messages < 0 {
		return fmt.Errorf("more than %d messages", maxMessages)
	}
	for len(b) > 0 {
		f, n, err := next(b)
		if err == nil {
			err = use(f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, wrapField(f, err))
		}
		b = b[n:]
	}
	return nil
}

func wrapField(f field, err error) error {
	if errors.Is(err, errType) && f.num > 0 {
		return fmt.Errorf("field %d: %w", f.num, err)
	}
	return err
}

func next(b []byte) (field, int, error) {
	num, wire, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, 0, protowire.ParseError(n)
	}
	f, m := field{num: num, wire: wire}, 0
	switch wire {
	case protowire.VarintType:
		f.n, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed32Type:
		var v uint32
		v, m = protowire.ConsumeFixed32(b[n:])
		f.n = uint64(v)
	case protowire.Fixed64Type:
		f.n, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		f.b, m = protowire.ConsumeBytes(b[n:])
	default:
		return field{num: num}, 0, errType
	}
	if m < 0 {
		return field{num: num}, 0, protowire.ParseError(m)
	}
	return f, n + m, nil
}

func (d *decoder) model(b []byte, m *Model) error {
	return d.each("model", b, func(f field) (err error) {
		switch f.num {
		case 1:
			m.IRVersion, err = f.int()
		case 2:
			m.Producer, err = f.string()
		case 3:
			m.ProducerVersion, err = f.string()
		case 7:
			if m.Graph != nil {
				return errors.New("two graphs")
			}
			m.Graph, err = d.graph(f, 0)
		case 8:
			err = d.opset(f, m.Opsets)
		case 14:
			err = d.entry(f, &m.Meta)
		}
		return err
	})
}

func (d *decoder) opset(f field, to map[string]int64) error {
	var domain string
	var version int64
	err := d.message("opset", f, func(f field) (err error) {
		switch f.num {
		case 1:
			domain, err = f.string()
		case 2:
			version, err = f.int()
		}
		return err
	})
	to[standard(domain)] = version
	return err
}

func standard(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func (d *decoder) entry(f field, to *[]Entry) error {
	var e Entry
	err := d.message("metadata", f, func(f field) (err error) {
		switch f.num {
		case 1:
			e.Key, err = f.string()
		case 2:
			e.Value, err = f.string()
		}
		return err
	})
	*to = append(*to, e)
	return err
}

// message is each for a field that holds a message.
func (d *decoder) message(what string, f field, use func(field) error) error {
	if f.wire != protowire.BytesType {
		return fmt.Errorf("%s: %w", what, errType)
	}
	return d.each(what, f.b, use)
}

func (d *decoder) graph(f field, depth int) (*Graph, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("graphs nested more than %d deep", maxNesting)
	}
	g := &Graph{}
	err := d.message("graph", f, func(f field) (err error) {
		switch f.num {
		case 1:
			var n *Node
			if n, err = d.node(f, depth); err != nil {
				return fmt.Errorf("node %d: %w", len(g.Nodes), err)
			}
			g.Nodes = append(g.Nodes, n)
		case 2:
			g.Name, err = f.string()
		case 5:
			var t *Tensor
			if t, err = d.tensor(f); err != nil {
				return fmt.Errorf("initializer %d: %w", len(g.Initializers), err)
			}
			g.Initializers = append(g.Initializers, t)
		case 11:
			err = d.valueInfo(f, &g.Inputs)
		case 12:
			err = d.valueInfo(f, &g.Outputs)
		case 15:
			err = errors.New("sparse initializers are not supported")
		}
		return err
	})
	return g, err
}

func (d *decoder) node(f field, depth int) (*Node, error) {
	n := &Node{}
	err := d.message("node", f, func(f field) (err error) {
		var s string
		switch f.num {
		case 1:
			s, err = f.string()
			n.Inputs = append(n.Inputs, s)
		case 2:
			s, err = f.string()
			n.Outputs = append(n.Outputs, s)
		case 3:
			n.Name, err = f.string()
		case 4:
			n.Op, err = f.string()
		case 5:
			var a *Attr
			if a, err = d.attr(f, depth); err != nil {
				return fmt.Errorf("attribute %q: %w", a.Name, err)
			}
			n.Attrs = append(n.Attrs, a)
		case 7:
			s, err = f.string()
			n.Domain = standard(s)
		}
		return err
	})
	if err != nil && (n.Op != "" || n.Name != "") {
		return nil, fmt.Errorf("%s %q: %w", n.Op, n.Name, err)
	}
	return n, err
}

func (d *decoder) attr(f field, depth int) (*Attr, error) {
	a := &Attr{}
	err := d.message("attribute", f, func(f field) (err error) {
		var s string
		switch f.num {
		case 1:
			a.Name, err = f.string()
		case 2:
			a.F, err = f.float()
		case 3:
			a.I, err = f.int()
		case 4:
			a.S, err = f.string()
		case 5:
			a.T, err = d.tensor(f)
		case 6:
			a.G, err = d.graph(f, depth+1)
		case 7:
			a.Floats, err = floats(f, a.Floats)
		case 8:
			a.Ints, err = f.ints(a.Ints)
		case 9:
			s, err = f.string()
			a.Strings = append(a.Strings, s)
		case 21:
			a.Ref, err = f.string()
		}
		return err
	})
	return a, err
}

func floats(f field, to []float32) ([]float32, error) {
	bits, err := f.fixed(nil, protowire.Fixed32Type)
	for _, v := range bits {
		to = append(to, math.Float32frombits(uint32(v)))
	}
	return to, err
}

func (d *decoder) valueInfo(f field, to *[]ValueInfo) error {
	var v ValueInfo
	err := d.message("value", f, func(f field) (err error) {
		switch f.num {
		case 1:
			v.Name, err = f.string()
		case 2:
			err = d.valueType(f, &v)
		}
		return err
	})
	*to = append(*to, v)
	return err
}

func (d *decoder) valueType(f field, v *ValueInfo) error {
	return d.message("type", f, func(f field) error {
		if f.num != 1 { // sequences, maps and optionals have no element type
			return nil
		}
		return d.message("tensor type", f, func(f field) (err error) {
			switch f.num {
			case 1:
				var t int64
				t, err = f.int()
				v.Type = Type(t)
			case 2:
				v.HasShape = true
				err = d.shape(f, v)
			}
			return err
		})
	})
}

func (d *decoder) shape(f field, v *ValueInfo) error {
	return d.message("shape", f, func(f field) error {
		if f.num != 1 {
			return nil
		}
		dim := Dim{Value: -1}
		err := d.message("dimension", f, func(f field) (err error) {
			switch f.num {
			case 1:
				dim.Value, err = f.int()
			case 2:
				dim.Param, err = f.string()
			}
			return err
		})
		if v.Dims = append(v.Dims, dim); len(v.Dims) > maxRank {
			return fmt.Errorf("more than %d dimensions", maxRank)
		}
		return err
	})
}
