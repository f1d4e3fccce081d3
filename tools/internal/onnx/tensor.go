package onnx

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// tensorData is the data of a tensor as it comes in the file: in raw, or in one of the typed fields.
type tensorData struct {
	raw       []byte
	hasRaw    bool
	floats    []uint64 // float_data, as bits
	doubles   []uint64 // double_data, as bits
	ints      []int64  // int32_data, int64_data or uint64_data
	external  bool
	place     []Entry // of external data: location, offset, length
	segmented bool
}

func (d *decoder) tensor(f field) (*Tensor, error) {
	t := &Tensor{}
	var data tensorData
	err := d.message("tensor", f, func(f field) (err error) {
		switch f.num {
		case 1:
			t.Dims, err = f.ints(t.Dims)
		case 2:
			var v int64
			v, err = f.int()
			t.Type = Type(v)
		case 3:
			data.segmented = true
		case 4:
			data.floats, err = f.fixed(data.floats, protowire.Fixed32Type)
		case 5, 7, 11:
			data.ints, err = f.ints(data.ints)
		case 8:
			t.Name, err = f.string()
		case 9:
			if f.wire != protowire.BytesType {
				return errType
			}
			data.raw, data.hasRaw = f.b, true
		case 10:
			data.doubles, err = f.fixed(data.doubles, protowire.Fixed64Type)
		case 13:
			data.external = true
			err = d.entry(f, &data.place)
		case 14:
			var v int64
			v, err = f.int()
			data.external = data.external || v != 0
		}
		return err
	})
	if err == nil && data.external {
		err = d.external(&data)
	}
	if err == nil {
		err = t.fill(&data)
	}
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return t, nil
}

// external finds the data of a tensor in a further file, of which it is all from offset on unless length says less.
func (d *decoder) external(t *tensorData) error {
	if d.open == nil {
		return errors.New("its data is in a second file (external data), which is not at hand")
	}
	at := map[string]string{"offset": "0"}
	for _, e := range t.place {
		at[e.Key] = e.Value
	}
	name := at["location"]
	b, ok := d.files[name]
	if !ok {
		var err error
		if b, err = d.open(name); err != nil {
			return fmt.Errorf("its data in a second file: %w", err)
		}
		d.files[name] = b
	}
	from, err := strconv.ParseUint(at["offset"], 10, 63)
	if err != nil || from > uint64(len(b)) {
		return fmt.Errorf("its data at byte %q of %s, which has %d", at["offset"], name, len(b))
	}
	b = b[from:]
	if length, given := at["length"]; given {
		n, err := strconv.ParseUint(length, 10, 63)
		if err != nil || n > uint64(len(b)) {
			return fmt.Errorf("%q bytes of data from byte %d of %s on, which has %d more", length, from, name, len(b))
		}
		b = b[:n]
	}
	t.raw, t.hasRaw = b, true
	return nil
}

// fill checks the shape against the data that is there, then decodes it.
func (t *Tensor) fill(d *tensorData) error {
	if d.segmented {
		return errors.New("segmented tensors are not supported")
	}
	count, err := elements(t.Dims)
	if err != nil || t.Type.bits() == 0 {
		return err
	}
	// Elements of less than a byte lie several in one, the last of which may be filled in part.
	want := (count + t.Type.share() - 1) / t.Type.share()
	if have := int64(d.count(t.Type)); have != want {
		return fmt.Errorf("shape %v wants %d elements, the data has %d", t.Dims, want, have)
	}
	if d.hasRaw && int64(len(d.raw)) != want*int64(max(t.Type.bits()/8, 1)) {
		return fmt.Errorf("%d bytes of data are not a whole number of elements", len(d.raw))
	}
	_, _, short := t.Type.Range()
	switch {
	case t.Type.Float():
		t.F = decode(d, t.Type, int(count), toFloat)
	case short:
		t.F = decode(d, t.Type, int(count), func(typ Type, bits uint64) float32 { return float32(toInt(typ, bits)) })
	default:
		t.I = decode(d, t.Type, int(count), toInt)
	}
	return nil
}

// share is how many elements lie in one number of the data.
func (t Type) share() int64 { return max(8/int64(t.bits()), 1) }

// elements is the product of dims, with every factor and the result checked.
func elements(dims []int64) (int64, error) {
	if len(dims) > maxRank {
		return 0, fmt.Errorf("more than %d dimensions", maxRank)
	}
	n := int64(1)
	for _, v := range dims {
		if v < 0 || v > math.MaxInt32 || n > math.MaxInt32 {
			return 0, fmt.Errorf("shape %v is out of range", dims)
		}
		n *= v
	}
	return n, nil
}

// count is the number of elements in the field that holds data of type t.
func (d *tensorData) count(t Type) int {
	switch {
	case d.hasRaw:
		return len(d.raw) / max(t.bits()/8, 1)
	case t == Float:
		return len(d.floats)
	case t == Double:
		return len(d.doubles)
	}
	return len(d.ints)
}

func decode[E float32 | int64](d *tensorData, t Type, n int, value func(Type, uint64) E) []E {
	out := make([]E, n)
	for i := range out {
		out[i] = value(t, d.bits(t, i))
	}
	return out
}

// bits is the bit pattern of element i; float16, bfloat16 and narrower floats lie in int32_data where there is no raw data. Of elements
// that share a byte, the first has its lowest bits.
func (d *tensorData) bits(t Type, i int) uint64 {
	if n := int(t.share()); n > 1 {
		b := uint64(0)
		if d.hasRaw {
			b = uint64(d.raw[i/n])
		} else {
			b = uint64(d.ints[i/n])
		}
		return b >> (i % n * t.bits()) & (1<<t.bits() - 1)
	}
	size := t.bits() / 8
	switch {
	case d.hasRaw:
		return littleEndian(d.raw[i*size : (i+1)*size])
	case t == Float:
		return d.floats[i]
	case t == Double:
		return d.doubles[i]
	}
	return uint64(d.ints[i])
}

func toFloat(t Type, bits uint64) float32 {
	switch t {
	case Double:
		return float32(math.Float64frombits(bits))
	case Float16:
		return half(uint16(bits))
	case BFloat16:
		return math.Float32frombits(uint32(bits) << 16)
	case Float8E5M2:
		return half(uint16(bits) << 8)
	case Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2FNUZ, Float4E2M1:
		return narrow(t, uint32(bits))
	}
	return math.Float32frombits(uint32(bits))
}

func toInt(t Type, bits uint64) int64 {
	switch t {
	case Int2:
		return int64(int8(bits<<6)) >> 6
	case Int4:
		return int64(int8(bits<<4)) >> 4
	case Int8:
		return int64(int8(bits))
	case Uint8:
		return int64(uint8(bits))
	case Int16:
		return int64(int16(bits))
	case Uint16:
		return int64(uint16(bits))
	case Int32:
		return int64(int32(bits))
	case Uint32:
		return int64(uint32(bits))
	case Bool:
		if bits&0xff != 0 {
			return 1
		}
		return 0
	}
	return int64(bits)
}

// half is the value of an IEEE 754 binary16.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0:
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// narrow is the value of a float of 8 or 4 bits that is no short binary16. None has infinities.
func narrow(t Type, bits uint32) float32 {
	fraction, bias, size, nan := 3, 7, 8, bits&0x7f == 0x7f
	switch t {
	case Float8E4M3FNUZ:
		bias, nan = 8, bits == 0x80
	case Float8E5M2FNUZ:
		fraction, bias, nan = 2, 16, bits == 0x80
	case Float4E2M1:
		fraction, bias, size, nan = 1, 1, 4, false
	}
	if nan {
		return float32(math.NaN())
	}
	sign := 1.0
	if bits>>(size-1)&1 != 0 {
		sign = -1
	}
	exponent := int(bits & (1<<(size-1) - 1) >> fraction)
	mantissa := float64(bits & (1<<fraction - 1))
	if exponent == 0 {
		exponent = 1
	} else {
		mantissa += float64(int(1) << fraction)
	}
	return float32(sign * math.Ldexp(mantissa, exponent-bias-fraction))
}
