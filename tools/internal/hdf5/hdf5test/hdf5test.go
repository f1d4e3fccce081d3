// Package hdf5test writes HDF5 files for tests, in the version of the format that Keras uses.
package hdf5test

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// Group is a group, with attributes: one string is written to the heap, any other number in place.
type Group struct {
	Attrs  map[string][]string
	Groups map[string]*Group
	Data   map[string]Dataset
}

// Dataset is a contiguous array of float32, unless Filtered or Chunked spoil it.
type Dataset struct {
	Shape             []int
	Data              []float32
	Filtered, Chunked bool
}

// Put adds a dataset at a path, with the groups on the way.
func (g *Group) Put(path string, d Dataset) {
	head, rest, nested := strings.Cut(path, "/")
	if !nested {
		if g.Data == nil {
			g.Data = map[string]Dataset{}
		}
		g.Data[head] = d
		return
	}
	g.Sub(head).Put(rest, d)
}

// Sub returns the group of that name, a new one if need be.
func (g *Group) Sub(name string) *Group {
	if g.Groups == nil {
		g.Groups = map[string]*Group{}
	}
	if g.Groups[name] == nil {
		g.Groups[name] = &Group{}
	}
	return g.Groups[name]
}

type writer struct{ b []byte }

var le = binary.LittleEndian

func u16(v int) []byte { return le.AppendUint16(nil, uint16(v)) }
func u32(v int) []byte { return le.AppendUint32(nil, uint32(v)) }
func u64(v int) []byte { return le.AppendUint64(nil, uint64(v)) }

func join(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case int:
			b = append(b, byte(p))
		}
	}
	return b
}

func pad(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// put appends a structure and returns its address.
func (w *writer) put(b []byte) int {
	at := len(w.b)
	w.b = pad(append(w.b, b...))
	return at
}

// Encode returns the file.
func Encode(root *Group) []byte {
	w := &writer{make([]byte, 96)}
	at := w.group(root)
	undefined := []byte(strings.Repeat("\xff", 8))
	copy(w.b, join("\x89HDF\r\n\x1a\n", 0, 0, 0, 0, 0, 8, 8, 0, u16(4), u16(16), u32(0), u64(0), undefined, u64(len(w.b)), undefined,
		u64(0), u64(at)))
	return w.b
}

func (w *writer) object(messages ...[]byte) int {
	body := slices.Concat(messages...)
	// The last message lies in a block of its own, as those do that are added later.
	last := messages[len(messages)-1]
	next := w.put(last)
	body = append(body[:len(body)-len(last)], message(0x10, join(u64(next), u64(len(last))))...)
	return w.put(join(1, 0, u16(len(messages)+1), u32(1), u32(len(body)), u32(0), body))
}

func message(typ int, data []byte) []byte {
	data = pad(data)
	return join(u16(typ), u16(len(data)), 0, 0, 0, 0, data)
}

func space(dims ...int) []byte {
	b := join(1, len(dims), 0, 0, 0, 0, 0, 0)
	for _, d := range dims {
		b = append(b, u64(d)...)
	}
	return b
}

var float32Type = join(0x11, 0x20, 31, 0, u32(4), u16(0), u16(32), 23, 8, 0, 23, u32(127))

func (w *writer) dataset(d Dataset) int {
	var data []byte
	for _, v := range d.Data {
		data = le.AppendUint32(data, math.Float32bits(v))
	}
	layout := join(3, 1, u64(w.put(data)), u64(len(data)))
	if d.Chunked {
		layout[1] = 2
	}
	filters := join(1, 0)
	if d.Filtered {
		filters[1] = 1
	}
	return w.object(message(1, space(d.Shape...)), message(3, float32Type), message(0x0b, filters), message(8, layout))
}

func (w *writer) group(g *Group) int {
	at := map[string]int{}
	for name, d := range g.Data {
		at[name] = w.dataset(d)
	}
	for name, sub := range g.Groups {
		at[name] = w.group(sub)
	}
	names := make([]string, 0, len(at))
	for name := range at {
		names = append(names, name)
	}
	slices.Sort(names)
	heap, symbols := make([]byte, 8), join("SNOD", 1, 0, u16(len(names)))
	for _, name := range names {
		symbols = append(symbols, join(u64(len(heap)), u64(at[name]), u32(0), u32(0), make([]byte, 16))...)
		heap = pad(append(heap, name+"\x00"...))
	}
	segment := w.put(heap)
	heapAt := w.put(join("HEAP", 0, 0, 0, 0, u64(len(heap)), u64(1), u64(segment)))
	undefined := strings.Repeat("\xff", 8)
	tree := w.put(join("TREE", 0, 0, u16(1), undefined, undefined, u64(0), u64(w.put(symbols)), u64(0)))
	messages := [][]byte{message(0x11, join(u64(tree), u64(heapAt)))}
	attrs := make([]string, 0, len(g.Attrs))
	for name := range g.Attrs {
		attrs = append(attrs, name)
	}
	slices.Sort(attrs)
	for _, name := range attrs {
		messages = append(messages, message(0x0c, w.attribute(name, g.Attrs[name])))
	}
	return w.object(messages...)
}

func (w *writer) attribute(name string, v []string) []byte {
	size := 1
	for _, s := range v {
		size = max(size, len(s))
	}
	typ, dims, data := join(0x13, 1, 0, 0, u32(size)), space(len(v)), []byte{}
	for _, s := range v {
		data = append(data, s+strings.Repeat("\x00", size-len(s))...)
	}
	switch len(v) {
	case 0:
		typ = float32Type
	case 1:
		object := pad([]byte(v[0]))
		heap := w.put(join("GCOL", 1, 0, 0, 0, u64(16+16+len(object)+16), u16(1), u16(0), u32(0), u64(len(v[0])), object, make([]byte, 16)))
		typ, dims = join(0x19, 1, 0, 0, u32(16), 0x13, 0, 0, 0, u32(1)), space()
		data = join(u32(len(v[0])), u64(heap), u32(1))
	}
	named := []byte(name + "\x00")
	return join(1, 0, u16(len(named)), u16(len(typ)), u16(len(dims)), pad(named), pad(typ), pad(dims), data)
}
