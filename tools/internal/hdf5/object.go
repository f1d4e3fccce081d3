package hdf5

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/recur-go/recur/tools/internal/weights"
)

// Message types of object headers.
const (
	msgDataspace    = 0x01
	msgLinkInfo     = 0x02
	msgDatatype     = 0x03
	msgLink         = 0x06
	msgLayout       = 0x08
	msgFilters      = 0x0b
	msgAttribute    = 0x0c
	msgContinuation = 0x10
	msgSymbolTable  = 0x11
	msgAttrInfo     = 0x15
)

type message struct {
	typ  int
	data []byte
}

func (o *Object) find(typ int) []byte {
	for _, m := range o.messages {
		if m.typ == typ {
			return m.data
		}
	}
	return nil
}

// header reads the messages of an object header of either version, following its continuations.
func (f *File) header(address uint64) ([]message, error) {
	c, err := f.at(address)
	if err != nil {
		return nil, err
	}
	h := &header{f: f}
	if bytes.HasPrefix(c.b, []byte("OHDR")) {
		err = h.second(c)
	} else {
		err = h.first(c)
	}
	return h.messages, err
}

type header struct {
	f        *File
	messages []message
	order    bool // messages of version 2 hold the order of their creation
}

func (h *header) first(c *cursor) error {
	if v := c.u8(); v != 1 {
		return fmt.Errorf("object header version %d is not supported", v)
	}
	c.skip(7)
	size := int(c.uint(4))
	c.skip(4)
	block := c.take(size)
	if c.err != nil {
		return c.err
	}
	return h.block(block, 1)
}

func (h *header) second(c *cursor) error {
	c.skip(4)
	if v := c.u8(); v != 2 {
		return fmt.Errorf("object header version %d is not supported", v)
	}
	flags := c.u8()
	if flags&0x20 != 0 {
		c.skip(16)
	}
	if flags&0x10 != 0 {
		c.skip(4)
	}
	h.order = flags&4 != 0
	size := c.uint(1 << (flags & 3))
	if size > uint64(len(c.b)) {
		return errors.New("a header beyond the end")
	}
	return h.block(c.take(int(size)), 2)
}

// block reads the messages of one block, and of those that continue it.
func (h *header) block(b []byte, version int) error {
	c := &cursor{b: b}
	least := 8
	if version == 2 {
		least = 4
	}
	for len(c.b) >= least {
		if len(h.messages) == maxMessages {
			return fmt.Errorf("more than %d messages", maxMessages)
		}
		if err := h.f.spend(least); err != nil {
			return err
		}
		m, shared := h.message(c, version)
		if c.err != nil {
			return c.err
		}
		if shared && (m.typ == msgDatatype || m.typ == msgDataspace) {
			return errors.New("shared types are not supported")
		}
		h.messages = append(h.messages, m)
		if m.typ == msgContinuation {
			if err := h.continued(m.data, version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *header) message(c *cursor, version int) (m message, shared bool) {
	var size int
	var flags uint8
	if version == 1 {
		m.typ, size, flags = int(c.u16()), int(c.u16()), c.u8()
		c.skip(3)
	} else {
		m.typ, size, flags = int(c.u8()), int(c.u16()), c.u8()
		if h.order {
			c.skip(2)
		}
	}
	m.data = c.take(size)
	return m, flags&2 != 0
}

func (h *header) continued(b []byte, version int) error {
	c := &cursor{b: b}
	address, size := c.u64(), c.u64()
	if c.err != nil {
		return c.err
	}
	next, err := h.f.at(address)
	if err != nil {
		return err
	}
	if size > uint64(len(next.b)) || version == 2 && size < 8 {
		return errors.New("a header beyond the end")
	}
	block := next.take(int(size))
	if version == 2 {
		if string(block[:4]) != "OCHK" {
			return errors.New("a header that continues nowhere")
		}
		block = block[4 : len(block)-4]
	}
	return h.block(block, version)
}

// list finds the children of a group.
func (o *Object) list() error {
	if o.children != nil {
		return nil
	}
	children := map[string]uint64{}
	if table := o.find(msgSymbolTable); table != nil {
		c := &cursor{b: table}
		tree, heap := c.u64(), c.u64()
		if c.err != nil {
			return c.err
		}
		names, err := o.f.localHeap(heap)
		if err != nil {
			return err
		}
		if err := o.f.tree(tree, maxDepth, names, children); err != nil {
			return err
		}
	}
	for _, m := range o.messages {
		if err := link(m, children); err != nil {
			return err
		}
	}
	o.children = children
	return nil
}

func (f *File) localHeap(address uint64) ([]byte, error) {
	c, err := f.expect(address, "HEAP")
	if err != nil {
		return nil, err
	}
	c.skip(4)
	size := c.u64()
	c.skip(8)
	data := c.u64()
	if c.err != nil {
		return nil, c.err
	}
	at, err := f.at(data)
	if err != nil {
		return nil, err
	}
	return at.b[:min(size, uint64(len(at.b)))], nil
}

// tree collects the entries of a group's tree, whose levels fall from node to node.
func (f *File) tree(address uint64, above int, names []byte, into map[string]uint64) error {
	c, err := f.expect(address, "TREE")
	if err != nil {
		return err
	}
	kind, level, entries := c.u8(), int(c.u8()), int(c.u16())
	if kind != 0 || level >= above {
		return errors.New("a tree that is none of names, or loops")
	}
	c.skip(2*8 + 8)
	for range entries {
		child := c.u64()
		c.skip(8)
		if c.err != nil {
			return c.err
		}
		if err := f.spend(1); err != nil {
			return err
		}
		if level > 0 {
			err = f.tree(child, level, names, into)
		} else {
			err = f.symbols(child, names, into)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *File) symbols(address uint64, names []byte, into map[string]uint64) error {
	c, err := f.expect(address, "SNOD")
	if err != nil {
		return err
	}
	c.skip(2)
	for range int(c.u16()) {
		offset, object, cache := c.u64(), c.u64(), c.uint(4)
		c.skip(4 + 16)
		if c.err != nil {
			return c.err
		}
		if offset >= uint64(len(names)) {
			return errors.New("a name beyond its heap")
		}
		name, _, found := bytes.Cut(names[offset:min(offset+maxName, uint64(len(names)))], []byte{0})
		if !found {
			return errors.New("a name without end")
		}
		if err := f.spend(1 + len(name)); err != nil {
			return err
		}
		if err := add(string(name), object, cache == 2, into); err != nil {
			return err
		}
	}
	return c.err
}

const maxName = 1 << 10

func add(name string, object uint64, symbolic bool, into map[string]uint64) error {
	switch {
	case symbolic:
		return fmt.Errorf("%q is a symbolic link, which is not supported", name)
	case len(into) == maxChildren:
		return fmt.Errorf("more than %d objects in a group", maxChildren)
	}
	into[name] = object
	return nil
}

// link reads what version 2 headers say of a group's children.
func link(m message, into map[string]uint64) error {
	c := &cursor{b: m.data}
	switch m.typ {
	case msgLinkInfo:
		c.skip(1)
		if flags := c.u8(); flags&1 != 0 {
			c.skip(8)
		}
		if heap := c.u64(); c.err == nil && heap != undefined {
			return errors.New("groups in dense storage are not supported; save the file with libver=\"earliest\"")
		}
	case msgLink:
		c.skip(1)
		flags, kind := c.u8(), uint8(0)
		if flags&8 != 0 {
			kind = c.u8()
		}
		if flags&4 != 0 {
			c.skip(8)
		}
		if flags&0x10 != 0 {
			c.skip(1)
		}
		name := c.take(int(min(c.uint(1<<(flags&3)), maxName+1)))
		if c.err != nil || len(name) > maxName {
			return errors.New("a name that is cut short or too long")
		}
		if kind != 0 {
			return add(string(name), 0, true, into)
		}
		object := c.u64()
		if c.err != nil {
			return c.err
		}
		return add(string(name), object, false, into)
	}
	return c.err
}

const maxRank = 32

// dataspace returns the dimensions of a dataset or attribute.
func dataspace(b []byte) ([]int64, error) {
	c := &cursor{b: b}
	version, rank := c.u8(), int(c.u8())
	c.skip(1)
	switch version {
	case 1:
		c.skip(5)
	case 2:
		if c.u8() == 2 {
			return nil, errors.New("an empty dataspace")
		}
	default:
		return nil, fmt.Errorf("dataspace version %d is not supported", version)
	}
	if rank > maxRank {
		return nil, fmt.Errorf("%d dimensions", rank)
	}
	dims := make([]int64, rank)
	for i := range dims {
		dims[i] = int64(c.u64())
	}
	return dims, c.err
}

// Datatype classes.
const (
	classInteger = 0
	classFloat   = 1
	classString  = 3
	classVariant = 9
)

type datatype struct {
	class int
	bits  uint32
	size  int
	props []byte
}

func parseType(b []byte) (datatype, error) {
	c := &cursor{b: b}
	class := c.u8()
	t := datatype{class: int(class & 15), bits: uint32(c.uint(3)), size: int(c.uint(4))}
	t.props = c.b
	return t, c.err
}

// number is the element type of a dataset.
func number(b []byte) (weights.Type, error) {
	t, err := parseType(b)
	if err != nil {
		return 0, err
	}
	if (t.class == classFloat || t.class == classInteger) && t.bits&1 != 0 {
		return 0, errors.New("big-endian numbers are not supported")
	}
	switch {
	case t.class == classFloat && len(t.props) >= 12:
		exponent := int(t.props[5])
		for _, k := range []struct {
			size, exponent int
			t              weights.Type
		}{{4, 8, weights.F32}, {8, 11, weights.F64}, {2, 5, weights.F16}, {2, 8, weights.BF16}} {
			if t.size == k.size && exponent == k.exponent {
				return k.t, nil
			}
		}
	case t.class == classInteger && t.bits&8 != 0:
		for _, k := range []weights.Type{weights.I64, weights.I32, weights.I16, weights.I8} {
			if t.size == k.Size() {
				return k, nil
			}
		}
	}
	return 0, fmt.Errorf("elements of class %d and %d bytes are not supported", t.class, t.size)
}
