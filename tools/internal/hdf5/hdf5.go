// Package hdf5 reads the part of HDF5 in which Keras saves weights: groups, contiguous datasets of numbers, and attributes that are
// strings. It follows the HDF5 File Format Specification, version 3.0. Chunked and compressed datasets are refused.
package hdf5

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/weights"
)

const (
	magic     = "\x89HDF\r\n\x1a\n"
	undefined = ^uint64(0)

	maxMessages = 1 << 12 // of one object
	maxChildren = 1 << 14 // of one group
	maxDepth    = 16      // of a group's tree of names
)

// File is an HDF5 file in memory.
type File struct {
	b    []byte
	root uint64
	work int // operations and bytes that may still be spent, so that tables that overlap cannot multiply
}

// Open finds the root group.
func Open(b []byte) (*File, error) {
	f := &File{b: b, work: 1<<20 + 4*len(b)}
	if err := f.superblock(); err != nil {
		return nil, fmt.Errorf("HDF5: %w", err)
	}
	return f, nil
}

func (f *File) superblock() error {
	if !bytes.HasPrefix(f.b, []byte(magic)) {
		return errors.New("not an HDF5 file")
	}
	c := &cursor{b: f.b[len(magic):]}
	version := c.u8()
	var offsets, lengths uint8
	var base uint64
	switch version {
	case 0, 1:
		c.skip(4)
		offsets, lengths = c.u8(), c.u8()
		c.skip(9 + 4*int(version))
		base = c.u64()
		c.skip(3 * 8)
		c.skip(8) // the root's name
		f.root = c.u64()
	case 2, 3:
		offsets, lengths = c.u8(), c.u8()
		c.skip(1)
		base = c.u64()
		c.skip(2 * 8)
		f.root = c.u64()
	default:
		return fmt.Errorf("superblock version %d is not supported", version)
	}
	if c.err == nil && (offsets != 8 || lengths != 8 || base != 0) {
		return fmt.Errorf("offsets of %d bytes, lengths of %d, from byte %d are not supported", offsets, lengths, base)
	}
	return c.err
}

// at is the file from an address on.
func (f *File) at(address uint64) (*cursor, error) {
	if address >= uint64(len(f.b)) {
		return nil, fmt.Errorf("address %#x lies beyond the file", address)
	}
	return &cursor{b: f.b[address:]}, nil
}

// expect is at for a structure that starts with a signature.
func (f *File) expect(address uint64, signature string) (*cursor, error) {
	c, err := f.at(address)
	if err != nil {
		return nil, err
	}
	if got := c.take(4); string(got) != signature {
		return nil, fmt.Errorf("%q at %#x, want %q", got, address, signature)
	}
	return c, nil
}

func (f *File) spend(n int) error {
	if f.work -= n; f.work < 0 {
		return errors.New("the tables refer to more than the file holds")
	}
	return nil
}

// cursor reads little-endian fields. After a read past the end, all reads are zero and err is set.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.err, c.b = errors.New("a structure is cut short"), nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) skip(n int) { c.take(n) }

// uint reads a number of n bytes.
func (c *cursor) uint(n int) uint64 {
	var w [8]byte
	copy(w[:], c.take(n))
	return binary.LittleEndian.Uint64(w[:])
}

func (c *cursor) u8() uint8   { return uint8(c.uint(1)) }
func (c *cursor) u16() uint16 { return uint16(c.uint(2)) }
func (c *cursor) u64() uint64 { return c.uint(8) }

// length reads a length, which is at most what is left of the file.
func (c *cursor) length() int {
	n := c.u64()
	if n > uint64(len(c.b)) && c.err == nil {
		c.err, c.b = errors.New("a length beyond the end"), nil
	}
	return int(min(n, uint64(len(c.b))))
}

// Object is a group or a dataset.
type Object struct {
	f        *File
	path     string
	messages []message
	children map[string]uint64 // nil until they are listed
}

// Root returns the root group.
func (f *File) Root() (*Object, error) { return f.object("", f.root) }

func (f *File) object(path string, address uint64) (*Object, error) {
	o := &Object{f: f, path: path}
	m, err := f.header(address)
	if err != nil {
		return nil, o.fail(err)
	}
	o.messages = m
	return o, nil
}

func (o *Object) fail(err error) error { return fmt.Errorf("HDF5 object %q: %w", "/"+o.path, err) }

// Path is the object's name from the root, with slashes.
func (o *Object) Path() string { return o.path }

// Names lists the objects of a group, sorted.
func (o *Object) Names() ([]string, error) {
	if err := o.list(); err != nil {
		return nil, o.fail(err)
	}
	out := make([]string, 0, len(o.children))
	for name := range o.children {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// Child returns the object at a path below a group, or nil if there is none.
func (o *Object) Child(path string) (*Object, error) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if err := o.list(); err != nil {
			return nil, o.fail(err)
		}
		address, ok := o.children[name]
		if !ok {
			return nil, nil
		}
		var err error
		if o, err = o.f.object(strings.TrimPrefix(o.path+"/"+name, "/"), address); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Tensor returns the numbers of a dataset.
func (o *Object) Tensor() (*weights.Tensor, error) {
	t, err := o.tensor()
	if err != nil {
		return nil, o.fail(err)
	}
	return t, nil
}

func (o *Object) tensor() (*weights.Tensor, error) {
	space, typ, layout := o.find(msgDataspace), o.find(msgDatatype), o.find(msgLayout)
	if space == nil || typ == nil || layout == nil {
		return nil, errors.New("not a dataset")
	}
	if filters := o.find(msgFilters); len(filters) > 1 && filters[1] > 0 {
		return nil, errCompressed
	}
	dims, err := dataspace(space)
	if err != nil {
		return nil, err
	}
	t, err := number(typ)
	if err != nil {
		return nil, err
	}
	data, err := o.f.data(layout)
	if err != nil {
		return nil, err
	}
	return weights.New(o.path, t, dims, nil, 0, data)
}

var errCompressed = errors.New("chunked or compressed data is not supported; save the model again without compression (model.save, or h5repack -l CONTI -f NONE)")

// data returns the bytes of a dataset.
func (f *File) data(layout []byte) ([]byte, error) {
	c := &cursor{b: layout}
	version, class := c.u8(), c.u8()
	if version != 3 && version != 4 {
		return nil, fmt.Errorf("data layout version %d is not supported", version)
	}
	switch class {
	case 0:
		data := c.take(int(c.u16()))
		return data, c.err
	case 1:
		address, size := c.u64(), c.u64()
		if c.err != nil || size == 0 {
			return nil, c.err
		}
		at, err := f.at(address)
		if err != nil {
			return nil, err
		}
		if size > uint64(len(at.b)) {
			return nil, fmt.Errorf("%d bytes of data at %#x in a file of %d", size, address, len(f.b))
		}
		return at.b[:size], nil
	}
	return nil, errCompressed
}

// Dataset reports whether the object holds an array.
func (o *Object) Dataset() bool { return o.find(msgLayout) != nil }
