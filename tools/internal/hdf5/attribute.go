package hdf5

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Attr returns the strings of an attribute; one that is no array has one. It is nil if there is none of that name.
func (o *Object) Attr(name string) ([]string, error) {
	for _, m := range o.messages {
		if err := o.f.spend(1); err != nil {
			return nil, o.fail(err)
		}
		if m.typ == msgAttrInfo {
			if err := compactAttrs(m.data); err != nil {
				return nil, o.fail(err)
			}
		}
		if m.typ != msgAttribute {
			continue
		}
		a, err := parseAttr(m.data)
		if err != nil {
			return nil, o.fail(fmt.Errorf("attribute: %w", err))
		}
		if a.name != name {
			continue
		}
		v, err := o.f.strings(a)
		if err != nil {
			return nil, o.fail(fmt.Errorf("attribute %q: %w", name, err))
		}
		return v, nil
	}
	return nil, nil
}

func compactAttrs(b []byte) error {
	c := &cursor{b: b}
	c.skip(1)
	if flags := c.u8(); flags&1 != 0 {
		c.skip(2)
	}
	if heap := c.u64(); c.err == nil && heap != undefined {
		return errors.New("attributes in dense storage are not supported; save the file with libver=\"earliest\"")
	}
	return c.err
}

type attribute struct {
	name       string
	typ, space []byte
	data       []byte
}

func parseAttr(b []byte) (attribute, error) {
	c := &cursor{b: b}
	version := c.u8()
	if version < 1 || version > 3 {
		return attribute{}, fmt.Errorf("version %d is not supported", version)
	}
	flags := c.u8()
	n, nt, ns := int(c.u16()), int(c.u16()), int(c.u16())
	if version == 3 {
		c.skip(1)
	}
	if version > 1 && flags&3 != 0 {
		return attribute{}, errors.New("shared types are not supported")
	}
	field := func(size int) []byte {
		v := c.take(size)
		if version == 1 {
			c.skip(-size & 7)
		}
		return v
	}
	a := attribute{}
	name, _, _ := bytes.Cut(field(n), []byte{0})
	a.name, a.typ, a.space = string(name), field(nt), field(ns)
	a.data = c.b
	return a, c.err
}

func (f *File) strings(a attribute) ([]string, error) {
	dims, err := dataspace(a.space)
	if err != nil {
		return nil, err
	}
	if slices.Contains(dims, 0) {
		return []string{}, nil // of whatever type: an empty list of names is written as numbers
	}
	t, err := parseType(a.typ)
	if err != nil {
		return nil, err
	}
	variant := t.class == classVariant && t.bits&15 == 1 && t.size == 16
	if !variant && t.class != classString {
		return nil, errors.New("not a string")
	}
	n := int64(1)
	for _, d := range dims {
		if d < 0 || t.size == 0 || d > 0 && n > int64(len(a.data)/t.size)/d {
			return nil, fmt.Errorf("%v strings of %d bytes in %d", dims, t.size, len(a.data))
		}
		n *= d
	}
	if n*int64(t.size) > int64(len(a.data)) {
		return nil, fmt.Errorf("%d strings of %d bytes in %d", n, t.size, len(a.data))
	}
	out := make([]string, n)
	for i := range out {
		v := a.data[i*t.size:][:t.size]
		if variant {
			if v, err = f.global(v); err != nil {
				return nil, err
			}
		}
		if err := f.spend(len(v)); err != nil {
			return nil, err
		}
		v, _, _ = bytes.Cut(v, []byte{0})
		out[i] = string(v)
	}
	return out, nil
}

// global reads what a reference into a global heap refers to.
func (f *File) global(ref []byte) ([]byte, error) {
	r := &cursor{b: ref}
	length, address, index := r.uint(4), r.u64(), r.uint(4)
	if length == 0 {
		return nil, nil
	}
	c, err := f.expect(address, "GCOL")
	if err != nil {
		return nil, err
	}
	c.skip(4)
	total := c.u64()
	if total < 16 || total-16 > uint64(len(c.b)) {
		return nil, errors.New("a heap beyond the end")
	}
	c = &cursor{b: c.b[:total-16]}
	for len(c.b) >= 16 {
		if err := f.spend(1); err != nil {
			return nil, err
		}
		i := uint64(c.u16())
		c.skip(6)
		n := c.length()
		if i == 0 {
			break
		}
		data := c.take(n)
		c.skip(min(-n&7, len(c.b)))
		if i == index {
			if c.err == nil && length > uint64(len(data)) {
				c.err = errors.New("a string longer than its object")
			}
			return data[:min(length, uint64(len(data)))], c.err
		}
	}
	return nil, fmt.Errorf("the heap lacks object %d", index)
}
