package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"unicode/utf8"
	"unsafe"

	"github.com/recur-go/recur/kernels"
)

// reader walks a section; after the first error every read returns zero values.
type reader struct {
	b   []byte
	off int
	err error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.b)-r.off {
		r.err = fmt.Errorf("%d bytes past the end", n-(len(r.b)-r.off))
	}
	if r.err != nil {
		return nil
	}
	r.off += n
	return r.b[r.off-n : r.off]
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// size reads a count or an extent that must fit in 31 bits.
func (r *reader) size(what string) int {
	v := r.u32()
	if v > math.MaxInt32 && r.err == nil {
		r.err = fmt.Errorf("%s %d is too large", what, v)
		return 0
	}
	return int(v)
}

// count reads the number of items that follow, each at least min bytes long: no more than the section can hold, so that it bounds
// what is allocated for them.
func (r *reader) count(what string, min int) int {
	n := r.size(what)
	if rest := len(r.b) - r.off; r.err == nil && n > rest/min {
		r.err = fmt.Errorf("%d %s do not fit in the %d bytes left", n, what, rest)
		return 0
	}
	return n
}

func (r *reader) str(what string) string {
	n := r.count(what, 1)
	b := r.take(n)
	if r.err == nil && !utf8.Valid(b) {
		r.err = fmt.Errorf("%s is not UTF-8", what)
	}
	return string(b)
}

func (r *reader) end() error {
	if r.err == nil && r.off != len(r.b) {
		r.err = fmt.Errorf("%d bytes left over", len(r.b)-r.off)
	}
	return r.err
}

// Decode reads a file. The weights of the result refer to b where the platform allows, so b must stay unchanged while it is used.
func Decode(b []byte) (*File, error) {
	sections, offsets, err := split(b)
	if err != nil {
		return nil, err
	}
	f := &File{}
	for k := secMeta; k < secEnd; k++ {
		r := &reader{b: sections[k]}
		switch k {
		case secMeta:
			decodeMeta(r, f)
		case secInput:
			decodeInput(r, f)
		case secLabels:
			decodeLabels(r, f)
		case secProgram:
			decodeProgram(r, f)
		case secBlobs:
			decodeBlobs(r, f, sections[secWeights])
		case secWeights:
			continue
		}
		if err := r.end(); err != nil {
			return nil, &Error{sectionNames[k], offsets[k], err}
		}
	}
	if err := f.validate(); err != nil {
		name := secProgram
		if errors.Is(err, errWeights) {
			name = secWeights
		}
		return nil, &Error{sectionNames[name], offsets[name], err}
	}
	return f, nil
}

// split checks the header, the section table and the checksums, and returns the sections by kind.
func split(b []byte) (sections [secEnd][]byte, offsets [secEnd]int64, err error) {
	fail := func(section string, off int, format string, args ...any) {
		err = &Error{section, int64(off), fmt.Errorf(format, args...)}
	}
	if len(b) < headerSize {
		fail("header", 0, "the file has %d bytes, a header alone has %d", len(b), headerSize)
		return
	}
	r := reader{b: b[:headerSize]}
	head := string(r.take(len(magic)))
	ver, n, tableSum, total := r.u16(), int(r.u16()), r.u32(), r.u64()
	reserved, headSum := r.u32(), r.u32()
	switch {
	case head != magic:
		fail("header", 0, "not a .recur file")
		return
	case crc32.Checksum(b[:headerSize-4], castagnoli) != headSum:
		fail("header", 0, "checksum mismatch")
		return
	case ver != version:
		fail("header", 0, "version %d, this build reads version %d", ver, version)
		return
	case total != uint64(len(b)):
		fail("header", 0, "the file has %d bytes, the header says %d", len(b), total)
		return
	case n != secEnd-1 || reserved != 0 || len(b) < headerSize+n*entrySize:
		fail("header", 0, "%d sections, want %d", n, secEnd-1)
		return
	}
	table := b[headerSize : headerSize+n*entrySize]
	if crc32.Checksum(table, castagnoli) != tableSum {
		fail("section table", headerSize, "checksum mismatch")
		return
	}
	r = reader{b: table}
	next := headerSize + n*entrySize
	for k := secMeta; k < secEnd; k++ {
		kind, sum, off, size, zero := r.u32(), r.u32(), r.u64(), r.u64(), r.u64()
		start := kernels.Align(next, align)
		switch {
		case kind != uint32(k) || zero != 0 || off != uint64(start):
			fail("section table", headerSize, "entry %d does not describe section %s at byte %d", k, sectionNames[k], start)
			return
		case start > len(b) || size > uint64(len(b)-start):
			fail(sectionNames[k], start, "%d bytes, past the end of the file", size)
			return
		}
		for _, v := range b[next:start] {
			if v != 0 {
				fail(sectionNames[k], next, "padding before the section is not zero")
				return
			}
		}
		next = start + int(size)
		s := b[start:next]
		if crc32.Checksum(s, castagnoli) != sum {
			fail(sectionNames[k], start, "checksum mismatch")
			return
		}
		sections[k], offsets[k] = s, int64(start)
	}
	if kernels.Align(next, align) != len(b) {
		fail("weights", int(offsets[secWeights]), "%d bytes after the last section", len(b)-next)
		return
	}
	for _, v := range b[next:] {
		if v != 0 {
			fail("weights", int(offsets[secWeights]), "padding after the section is not zero")
			return
		}
	}
	return
}

func decodeMeta(r *reader, f *File) {
	for range r.count("entries", 8) {
		f.Meta = append(f.Meta, Pair{r.str("key"), r.str("value")})
	}
}

func decodeInput(r *reader, f *File) {
	f.Input.Rate = math.Float32frombits(r.u32())
	for range r.count("channels", 8) {
		f.Input.Channels = append(f.Input.Channels, Channel{r.str("name"), r.str("unit")})
	}
}

func decodeLabels(r *reader, f *File) {
	for range r.count("labels", 4) {
		f.Labels = append(f.Labels, r.str("label"))
	}
}

func decodeProgram(r *reader, f *File) {
	ref := func() Ref { return Ref{r.size("value"), r.size("offset"), r.size("width")} }
	for range r.count("values", 8) {
		width, per := r.size("width"), r.u32()
		if per > 1 && r.err == nil {
			r.err = fmt.Errorf("value %d: per-step mark %d, want 0 or 1", len(f.Values), per)
		}
		f.Values = append(f.Values, Value{width, per == 1})
	}
	f.Output = r.size("output")
	for range r.count("operations", 32) {
		var op Op
		op.Kind = Kind(r.u16())
		if b := r.take(2); b != nil {
			op.Scheme, op.Flags = Scheme(b[0]), Flags(b[1])
		}
		op.Name = r.str("name")
		op.Hidden = r.size("hidden size")
		for range r.count("inputs", 12) {
			op.In = append(op.In, ref())
		}
		op.Out = ref()
		for range r.count("arguments", 8) {
			op.Args = append(op.Args, Arg{Role(min(r.u32(), math.MaxUint16)), r.size("blob")})
		}
		if r.err != nil {
			return
		}
		f.Ops = append(f.Ops, op)
	}
}

func decodeBlobs(r *reader, f *File, weights []byte) {
	next := 0
	for i := range r.count("blobs", 20) {
		b := Blob{Kind: BlobKind(min(r.u32(), math.MaxUint16)), Rows: r.size("rows"), Cols: r.size("columns")}
		off := r.u64()
		if r.err != nil {
			return
		}
		n, size := b.elements()
		start := kernels.Align(next, align)
		switch {
		case b.Kind == 0 || b.Kind >= blobEnd:
			r.err = fmt.Errorf("blob %d: unknown kind %d", i, b.Kind)
		case n < 0:
			r.err = fmt.Errorf("blob %d: %d by %d is no shape of a %v", i, b.Rows, b.Cols, b.Kind)
		case off != uint64(start):
			r.err = fmt.Errorf("blob %d: offset %d, want %d", i, off, start)
		case start > len(weights) || n*size > int64(len(weights)-start):
			r.err = fmt.Errorf("blob %d: %d bytes past the end of the weights", i, int64(start)+n*size-int64(len(weights)))
		}
		if r.err != nil {
			return
		}
		next = start + int(n*size)
		data := weights[start:next]
		switch b.Kind {
		case MatI8:
			b.I8 = int8s(data)
		case VecI32:
			b.I32 = int32s(data)
		default:
			b.F32 = float32s(data)
		}
		f.Blobs = append(f.Blobs, b)
	}
	if r.err == nil && next != len(weights) {
		r.err = fmt.Errorf("%d bytes of weights belong to no blob", len(weights)-next)
	}
}

// elements returns the number of stored elements and their size in bytes, or a negative number for an impossible shape.
func (b *Blob) elements() (n, size int64) {
	rows, cols := int64(b.Rows), int64(b.Cols)
	if rows <= 0 || cols <= 0 || rows > maxElements || cols > maxElements || rows*cols > maxElements {
		return -1, 1
	}
	switch b.Kind {
	case MatI8:
		if cols > kernels.MaxCols {
			return -1, 1
		}
		return int64(kernels.PackedI8(b.Rows, b.Cols)), 1
	case MatF32:
		return int64(kernels.PackedF32(b.Rows, b.Cols)), 4
	case VecF32, VecI32:
		if cols == 1 {
			return rows, 4
		}
	}
	return -1, 1
}

func int8s(b []byte) []int8 {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// float32s refers to b where the host stores float32 as the file does, and copies elsewhere.
func float32s(b []byte) []float32 {
	if len(b) == 0 {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if littleEndian && uintptr(p)%4 == 0 {
		return unsafe.Slice((*float32)(p), len(b)/4)
	}
	f := make([]float32, len(b)/4)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return f
}

func int32s(b []byte) []int32 {
	v := make([]int32, len(b)/4)
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func (k BlobKind) String() string {
	switch k {
	case VecI32:
		return "int32 vector"
	case VecF32:
		return "vector"
	case MatI8:
		return "int8 matrix"
	case MatF32:
		return "float32 matrix"
	}
	return fmt.Sprintf("blob kind %d", uint16(k))
}
