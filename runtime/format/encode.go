package format

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

const (
	magic   = "RECUR\r\n\x1a" // as PNG's: a text-mode transfer or a truncated copy shows
	version = 1
	align   = 64

	headerSize = 32
	// HeaderSum is the place of the header's checksum, which depends on every byte of the file.
	HeaderSum = headerSize - 4
	entrySize = 32
)

// The sections, in the order in which they lie in the file.
const (
	secMeta = 1 + iota
	secInput
	secLabels
	secProgram
	secBlobs
	secWeights
	secEnd
)

var sectionNames = [...]string{secMeta: "meta", secInput: "input", secLabels: "labels", secProgram: "program", secBlobs: "blobs",
	secWeights: "weights"}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type writer struct{ b []byte }

func (w *writer) u16(v uint16) { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v int)    { w.b = binary.LittleEndian.AppendUint32(w.b, uint32(v)) }
func (w *writer) u64(v int)    { w.b = binary.LittleEndian.AppendUint64(w.b, uint64(v)) }
func (w *writer) f32(v float32) {
	w.b = binary.LittleEndian.AppendUint32(w.b, math.Float32bits(v))
}
func (w *writer) str(s string) {
	w.u32(len(s))
	w.b = append(w.b, s...)
}
func (w *writer) pad() {
	for len(w.b)%align != 0 {
		w.b = append(w.b, 0)
	}
}

// Encode returns the bytes of the file. The result passes Decode, or Encode fails.
func Encode(f *File) ([]byte, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	var sections [secEnd]writer
	m := &sections[secMeta]
	m.u32(len(f.Meta))
	for _, p := range f.Meta {
		m.str(p.Key)
		m.str(p.Value)
	}
	in := &sections[secInput]
	in.f32(f.Input.Rate)
	in.u32(len(f.Input.Channels))
	for _, c := range f.Input.Channels {
		in.str(c.Name)
		in.str(c.Unit)
	}
	l := &sections[secLabels]
	l.u32(len(f.Labels))
	for _, s := range f.Labels {
		l.str(s)
	}
	encodeProgram(&sections[secProgram], f)
	encodeBlobs(&sections[secBlobs], &sections[secWeights], f.Blobs)

	out := writer{make([]byte, headerSize+(secEnd-1)*entrySize)}
	out.pad()
	table := writer{}
	for k := secMeta; k < secEnd; k++ {
		s := sections[k].b
		table.u32(k)
		table.u32(int(crc32.Checksum(s, castagnoli)))
		table.u64(len(out.b))
		table.u64(len(s))
		table.u64(0)
		out.b = append(out.b, s...)
		out.pad()
	}
	head := writer{}
	head.b = append(head.b, magic...)
	head.u16(version)
	head.u16(secEnd - 1)
	head.u32(int(crc32.Checksum(table.b, castagnoli)))
	head.u64(len(out.b))
	head.u32(0)
	head.u32(int(crc32.Checksum(head.b, castagnoli)))
	copy(out.b, head.b)
	copy(out.b[headerSize:], table.b)
	return out.b, nil
}

func encodeProgram(w *writer, f *File) {
	ref := func(r Ref) {
		w.u32(r.Value)
		w.u32(r.Offset)
		w.u32(r.Width)
	}
	w.u32(len(f.Values))
	for _, v := range f.Values {
		w.u32(v.Width)
		if v.PerStep {
			w.u32(1)
		} else {
			w.u32(0)
		}
	}
	w.u32(f.Output)
	w.u32(len(f.Ops))
	for i := range f.Ops {
		op := &f.Ops[i]
		w.u16(uint16(op.Kind))
		w.b = append(w.b, byte(op.Scheme), byte(op.Flags))
		w.str(op.Name)
		w.u32(op.Hidden)
		w.u32(len(op.In))
		for _, r := range op.In {
			ref(r)
		}
		ref(op.Out)
		w.u32(len(op.Args))
		for _, a := range op.Args {
			w.u32(int(a.Role))
			w.u32(a.Blob)
		}
	}
}

func encodeBlobs(w, weights *writer, blobs []Blob) {
	w.u32(len(blobs))
	for i := range blobs {
		b := &blobs[i]
		weights.pad()
		w.u32(int(b.Kind))
		w.u32(b.Rows)
		w.u32(b.Cols)
		w.u64(len(weights.b))
		for _, v := range b.I8 {
			weights.b = append(weights.b, byte(v))
		}
		for _, v := range b.I32 {
			weights.u32(int(v))
		}
		for _, v := range b.F32 {
			weights.f32(v)
		}
	}
}
