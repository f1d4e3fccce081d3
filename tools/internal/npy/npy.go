// Package npy reads and writes NumPy's .npy arrays, and reads .npz archives of them, as far as data for networks needs it:
// little-endian f4, f8, i2, i4, i8, i1 and u1. Sizes are bounded by the bytes that are there.
package npy

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Array is an array in row-major order. Whatever the type in the file, the data is float32.
type Array struct {
	Shape []int
	Data  []float32
}

const (
	magic     = "\x93NUMPY"
	maxHeader = 1 << 16
	maxRank   = 32
	maxBytes  = 1 << 30 // of one archive, unpacked
)

// Read decodes a .npy file.
func Read(b []byte) (*Array, error) {
	a, err := read(b)
	if err != nil {
		return nil, fmt.Errorf("npy: %w", err)
	}
	return a, nil
}

func read(b []byte) (*Array, error) {
	header, data, err := cut(b)
	if err != nil {
		return nil, err
	}
	descr, shape, fortran, err := parse(header)
	if err != nil {
		return nil, err
	}
	size, decode := element(descr)
	if decode == nil {
		return nil, fmt.Errorf("element type %s is not supported (only <f4, <f8 and integers)", descr)
	}
	n := 1
	for _, d := range shape {
		if d > 0 && n > len(data)/d {
			return nil, fmt.Errorf("shape %v wants more than the %d bytes that are there", shape, len(data))
		}
		n *= d
	}
	if len(data) != n*size {
		return nil, fmt.Errorf("shape %v of %s wants %d bytes, there are %d", shape, descr, n*size, len(data))
	}
	a := &Array{Shape: shape, Data: make([]float32, n)}
	for i := range a.Data {
		a.Data[i] = decode(data[i*size:])
	}
	if fortran {
		a.Data = rowMajor(a.Data, shape)
	}
	return a, nil
}

// cut splits a file into its header text and its data.
func cut(b []byte) (string, []byte, error) {
	if !bytes.HasPrefix(b, []byte(magic)) || len(b) < 10 {
		return "", nil, errors.New("not a .npy file")
	}
	start, n := 10, int(binary.LittleEndian.Uint16(b[8:]))
	if version := b[6]; version > 1 {
		if version > 3 || len(b) < 12 {
			return "", nil, fmt.Errorf("version %d is not supported", version)
		}
		start, n = 12, int(min(binary.LittleEndian.Uint32(b[8:]), maxHeader+1))
	}
	if n > maxHeader || len(b) < start+n {
		return "", nil, errors.New("the header is cut short")
	}
	return string(b[start : start+n]), b[start+n:], nil
}

var (
	descrField = regexp.MustCompile(`'descr':\s*'([^']*)'`)
	orderField = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	shapeField = regexp.MustCompile(`'shape':\s*\(([^)]*)\)`)
)

// parse reads the header, a Python dictionary.
func parse(header string) (descr string, shape []int, fortran bool, err error) {
	d, o, s := descrField.FindStringSubmatch(header), orderField.FindStringSubmatch(header), shapeField.FindStringSubmatch(header)
	if d == nil || o == nil || s == nil {
		return "", nil, false, errors.New("the header lacks descr, fortran_order or shape, or holds records")
	}
	for p := range strings.SplitSeq(s[1], ",") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 || v > math.MaxInt32 || len(shape) == maxRank {
			return "", nil, false, fmt.Errorf("bad shape (%s)", s[1])
		}
		shape = append(shape, v)
	}
	return d[1], shape, o[1] == "True", nil
}

// rowMajor reorders an array of which the first index runs fastest.
func rowMajor(v []float32, shape []int) []float32 {
	out := make([]float32, len(v))
	index := make([]int, len(shape))
	for _, x := range v {
		at := 0
		for k, i := range index {
			at = at*shape[k] + i
		}
		out[at] = x
		for k := range index {
			if index[k]++; index[k] < shape[k] {
				break
			}
			index[k] = 0
		}
	}
	return out
}

func element(descr string) (size int, decode func([]byte) float32) {
	le := binary.LittleEndian
	switch descr {
	case "<f4":
		return 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }
	case "<f8":
		return 8, func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }
	case "|i1":
		return 1, func(b []byte) float32 { return float32(int8(b[0])) }
	case "|u1":
		return 1, func(b []byte) float32 { return float32(b[0]) }
	case "<i2":
		return 2, func(b []byte) float32 { return float32(int16(le.Uint16(b))) }
	case "<i4":
		return 4, func(b []byte) float32 { return float32(int32(le.Uint32(b))) }
	case "<i8":
		return 8, func(b []byte) float32 { return float32(int64(le.Uint64(b))) }
	}
	return 0, nil
}

// Write encodes a as <f4.
func Write(w io.Writer, a *Array) error {
	n := 1
	shape := ""
	for _, d := range a.Shape {
		n *= d
		shape += strconv.Itoa(d) + ", "
	}
	if len(a.Shape) > 1 {
		shape = strings.TrimSuffix(shape, ", ")
	}
	if n != len(a.Data) {
		return fmt.Errorf("npy: shape %v does not fit %d elements", a.Shape, len(a.Data))
	}
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", strings.TrimSuffix(shape, " "))
	for (len(magic)+4+len(header)+1)%64 != 0 {
		header += " "
	}
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(header)+1))
	b = append(append(b, header...), '\n')
	for _, v := range a.Data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	_, err := w.Write(b)
	return err
}

// Named is an array with its name; that of a .npy file is empty.
type Named struct {
	Name string
	*Array
}

// ReadFile reads a .npy file, or all arrays of a .npz archive in the order of their names.
func ReadFile(path string) ([]Named, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxBytes)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte("PK")) {
		all, err := ReadZip(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return all, nil
	}
	a, err := Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return []Named{{"", a}}, nil
}

// ReadZip reads the arrays of a .npz archive, in the order of their names.
func ReadZip(b []byte) ([]Named, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("npz: %w", err)
	}
	left := int64(maxBytes)
	var all []Named
	for _, f := range z.File {
		name, isArray := strings.CutSuffix(f.Name, ".npy")
		if !isArray {
			return nil, fmt.Errorf("npz: %q is not an array", f.Name)
		}
		data, err := unpack(f, left)
		if err != nil {
			return nil, fmt.Errorf("npz: %q: %w", name, err)
		}
		left -= int64(len(data))
		a, err := Read(data)
		if err != nil {
			return nil, fmt.Errorf("npz: %q: %w", name, err)
		}
		all = append(all, Named{name, a})
	}
	slices.SortFunc(all, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// unpack reads an entry. Deflate shrinks by at most about a thousand, so what an entry claims is believed only up to that.
func unpack(f *zip.File, most int64) ([]byte, error) {
	if f.UncompressedSize64 > uint64(most) || f.UncompressedSize64/1100 > f.CompressedSize64+1 {
		return nil, fmt.Errorf("unpacks to %d bytes from %d", f.UncompressedSize64, f.CompressedSize64)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, int64(f.UncompressedSize64)+1))
	if err == nil && uint64(len(b)) != f.UncompressedSize64 {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}
