package npy

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file is a version 1 file with the given header and data.
func file(header string, data any) []byte {
	var b bytes.Buffer
	b.WriteString(magic + "\x01\x00")
	binary.Write(&b, binary.LittleEndian, uint16(len(header)))
	b.WriteString(header)
	binary.Write(&b, binary.LittleEndian, data)
	return b.Bytes()
}

func header(descr, order, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n", descr, order, shape)
}

func TestRoundTrip(t *testing.T) {
	for _, shape := range [][]int{{}, {3}, {2, 3}, {2, 1, 3}, {0, 4}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		a := &Array{Shape: shape, Data: make([]float32, n)}
		for i := range a.Data {
			a.Data[i] = float32(i) - 0.5
		}
		var b bytes.Buffer
		if err := Write(&b, a); err != nil {
			t.Fatal(err)
		}
		if b.Len()%4 != 0 || (b.Len()-4*n)%64 != 0 {
			t.Errorf("shape %v: the data is not aligned", shape)
		}
		got, err := Read(b.Bytes())
		if err != nil || !slices.Equal(got.Shape, a.Shape) || !slices.Equal(got.Data, a.Data) {
			t.Errorf("shape %v: got %v, %v", shape, got, err)
		}
	}
	if err := Write(&bytes.Buffer{}, &Array{Shape: []int{2}, Data: make([]float32, 3)}); err == nil {
		t.Error("a shape that does not fit is written")
	}
}

func TestTypes(t *testing.T) {
	want := []float32{1, -2, 3, 4, 5, 6}
	for _, b := range [][]byte{
		file(header("<f4", "False", "2, 3"), want),
		file(header("<f8", "False", "2, 3"), []float64{1, -2, 3, 4, 5, 6}),
		file(header("<i4", "False", "2, 3"), []int32{1, -2, 3, 4, 5, 6}),
		file(header("<i8", "False", "2, 3"), []int64{1, -2, 3, 4, 5, 6}),
		file(header("<i2", "False", "2, 3"), []int16{1, -2, 3, 4, 5, 6}),
		file(header("|i1", "False", "2, 3"), []int8{1, -2, 3, 4, 5, 6}),
		file(header("<f4", "True", "2, 3"), []float32{1, 4, -2, 5, 3, 6}),
	} {
		a, err := Read(b)
		if err != nil || !slices.Equal(a.Data, want) || !slices.Equal(a.Shape, []int{2, 3}) {
			t.Errorf("got %v, %v", a, err)
		}
	}
}

func TestBad(t *testing.T) {
	f4 := make([]float32, 6)
	for want, b := range map[string][]byte{
		"not a .npy":      []byte("hello"),
		"element type":    file(header(">f4", "False", "6,"), f4),
		"wants 28 bytes":  file(header("<f4", "False", "7,"), f4),
		"wants 20 bytes":  file(header("<f4", "False", "5,"), f4),
		"wants more than": file(header("<f4", "False", "2000000000, 2000000000, 2000000000"), f4),
		"bad shape":       file(header("<f4", "False", "-1,"), f4),
		"lacks":           file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", f4),
		"version 9":       []byte(magic + "\x09\x00\x00\x00\x00\x00"),
		"cut short":       []byte(magic + "\x01\x00\xff\xff{"),
	} {
		if _, err := Read(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func archive(t *testing.T, names ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, n := range names {
		w, err := z.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(file(header("<f4", "False", "1, 1"), []float32{float32(i)}))
	}
	z.Close()
	return b.Bytes()
}

func TestArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := os.WriteFile(path, archive(t, "b.npy", "a.npy"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := ReadFile(path)
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[0].Data[0] != 1 || all[1].Data[0] != 0 {
		t.Errorf("got %v, %v", all, err)
	}
	if _, err := ReadZip(archive(t, "a.txt")); err == nil {
		t.Error("a text file in an archive is accepted")
	}
}

func TestBomb(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "a.npy", Method: zip.Deflate, UncompressedSize64: 1 << 29, CompressedSize64: 10})
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 10))
	z.Close()
	if _, err := ReadZip(b.Bytes()); err == nil || !strings.Contains(err.Error(), "unpacks to") {
		t.Errorf("got %v", err)
	}
}

func TestDamaged(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for _, b := range [][]byte{file(header("<f8", "True", "2, 3"), make([]float64, 6)), archive(t, "a.npy", "b.npy")} {
		for n := range b {
			_, _ = Read(b[:n])
			_, _ = ReadZip(b[:n])
		}
		for range 5000 {
			c := slices.Clone(b)
			c[rnd.Intn(len(c))] = byte(rnd.Intn(256))
			_, _ = Read(c)
			_, _ = ReadZip(c)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(header("<f4", "False", "2, 3"), make([]float32, 6)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Read(b)
		_, _ = ReadZip(b)
	})
}
