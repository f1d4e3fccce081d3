package tflite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// reader decodes tables of a flatbuffer into structs. The nesting of the structs bounds that of the tables. What lies in the file once
// may be referred to many times, so what is decoded counts against a budget.
type reader struct {
	b    []byte
	left int64 // bytes of structs and vectors that may still be decoded
}

var (
	le         = binary.LittleEndian
	errOutside = errors.New("leaves the file")
)

func (r *reader) spend(n int64) error {
	if r.left -= n; r.left < 0 {
		return errors.New("the file's parts are used over and over")
	}
	return nil
}

// window is the n bytes at a position.
func (r *reader) window(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || at > int64(len(r.b)) || n > int64(len(r.b))-at {
		return nil, errOutside
	}
	return r.b[at:][:n], nil
}

// follow returns the position that the offset stored at a position refers to.
func (r *reader) follow(at int64) (int64, error) {
	b, err := r.window(at, 4)
	if err != nil {
		return 0, err
	}
	return at + int64(le.Uint32(b)), nil
}

// table decodes the table at a position into a struct. Fields that the table lacks keep their defaults.
func (r *reader) table(at int64, to reflect.Value) error {
	if err := r.spend(16 + int64(to.Type().Size())); err != nil {
		return err
	}
	slots, size, err := r.layout(at)
	if err != nil {
		return err
	}
	member := uint8(0) // of the union that follows its number
	for i := range to.NumField() {
		f := to.Type().Field(i)
		field := int64(0)
		if 2*i+2 <= len(slots) {
			field = int64(le.Uint16(slots[2*i:]))
		}
		switch {
		case f.Name == "_":
			continue
		case field == 0:
			if f.Tag.Get("default") == "1" {
				setOne(to.Field(i))
			}
			continue
		case field+stored(f.Type) > size:
			return fmt.Errorf("%s: leaves its table", f.Name)
		}
		if err := r.field(at+field, to.Field(i), member); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if f.Type.Kind() == reflect.Uint8 {
			member = uint8(to.Field(i).Uint())
		}
	}
	return nil
}

func setOne(v reflect.Value) {
	if v.Kind() == reflect.Bool {
		v.SetBool(true)
		return
	}
	v.SetInt(1)
}

// layout returns where in a table its fields lie, two bytes each, and the table's size.
func (r *reader) layout(at int64) (slots []byte, size int64, err error) {
	b, err := r.window(at, 4)
	if err != nil {
		return nil, 0, err
	}
	vtable := at - int64(int32(le.Uint32(b)))
	head, err := r.window(vtable, 4)
	if err != nil {
		return nil, 0, err
	}
	length, size := int64(le.Uint16(head)), int64(le.Uint16(head[2:]))
	if length < 4 || size < 4 {
		return nil, 0, fmt.Errorf("a table of %d bytes with a description of %d", size, length)
	}
	if _, err := r.window(at, size); err != nil {
		return nil, 0, err
	}
	slots, err = r.window(vtable, length)
	if err != nil {
		return nil, 0, err
	}
	return slots[4:], size, nil
}

// stored is the number of bytes that a value takes in a table or vector: what is not a number is an offset.
func stored(t reflect.Type) int64 {
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Uint8, reflect.Int32, reflect.Uint32, reflect.Float32, reflect.Int64, reflect.Uint64:
		return int64(t.Size())
	}
	return 4
}

// field decodes the value stored at a position.
func (r *reader) field(at int64, to reflect.Value, member uint8) error {
	b, err := r.window(at, stored(to.Type()))
	if err != nil {
		return err
	}
	switch to.Kind() {
	case reflect.Bool:
		to.SetBool(b[0] != 0)
	case reflect.Int8:
		to.SetInt(int64(int8(b[0])))
	case reflect.Uint8:
		to.SetUint(uint64(b[0]))
	case reflect.Int32:
		to.SetInt(int64(int32(le.Uint32(b))))
	case reflect.Uint32:
		to.SetUint(uint64(le.Uint32(b)))
	case reflect.Float32:
		to.SetFloat(float64(math.Float32frombits(le.Uint32(b))))
	case reflect.Int64:
		to.SetInt(int64(le.Uint64(b)))
	case reflect.Uint64:
		to.SetUint(le.Uint64(b))
	case reflect.Pointer:
		return r.pointer(at, to)
	case reflect.Interface:
		return r.union(at, to, member)
	default:
		return r.vector(at, to)
	}
	return nil
}

func (r *reader) pointer(at int64, to reflect.Value) error {
	at, err := r.follow(at)
	if err != nil {
		return err
	}
	to.Set(reflect.New(to.Type().Elem()))
	return r.table(at, to.Elem())
}

// union decodes the options of a type that is known, and leaves others nil.
func (r *reader) union(at int64, to reflect.Value, member uint8) error {
	options, ok := optionsByType[member]
	if !ok {
		return nil
	}
	p := reflect.New(reflect.PointerTo(reflect.TypeOf(options))).Elem()
	if err := r.pointer(at, p); err != nil {
		return err
	}
	to.Set(p)
	return nil
}

// vector decodes a string or slice. Bytes are not copied.
func (r *reader) vector(at int64, to reflect.Value) error {
	at, err := r.follow(at)
	if err != nil {
		return err
	}
	head, err := r.window(at, 4)
	if err != nil {
		return err
	}
	count, size := int64(le.Uint32(head)), int64(1)
	if to.Kind() == reflect.Slice {
		size = stored(to.Type().Elem())
	}
	b, err := r.window(at+4, count*size)
	if err != nil {
		return fmt.Errorf("%d elements: %w", count, err)
	}
	if to.Type() == reflect.TypeFor[[]byte]() {
		to.SetBytes(b)
		return nil
	}
	if err := r.spend(2 * int64(len(b))); err != nil {
		return err
	}
	if to.Kind() == reflect.String {
		to.SetString(string(b))
		return nil
	}
	to.Set(reflect.MakeSlice(to.Type(), int(count), int(count)))
	for i := range int(count) {
		if err := r.field(at+4+int64(i)*size, to.Index(i), 0); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}
