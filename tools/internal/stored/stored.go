// Package stored reads zip archives whose arrays are not compressed, as PyTorch and Keras write them, without copying.
package stored

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

// Archive is a zip file in memory.
type Archive struct {
	b       []byte
	names   []string
	entries map[string]*zip.File
	left    int // bytes that may still be read, since the entries of a hostile file may overlap
}

// Open reads the directory of an archive.
func Open(b []byte) (*Archive, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	a := &Archive{b: b, entries: map[string]*zip.File{}, left: len(b)}
	for _, f := range z.File {
		a.names = append(a.names, f.Name)
		a.entries[f.Name] = f
	}
	return a, nil
}

// Names lists the entries in the order of the directory.
func (a *Archive) Names() []string { return a.names }

// Has reports whether there is an entry of that name.
func (a *Archive) Has(name string) bool { return a.entries[name] != nil }

// Read returns an entry, a part of the archive's bytes. All entries that are read must fit in the file together.
func (a *Archive) Read(name string) ([]byte, error) {
	f := a.entries[name]
	if f == nil {
		return nil, fmt.Errorf("the archive lacks %q", name)
	}
	if f.Method != zip.Store {
		return nil, fmt.Errorf("%q is compressed; pack the archive again without compression (zip -0)", name)
	}
	at, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	if n := f.UncompressedSize64; at < 0 || at > int64(len(a.b)) || n > uint64(len(a.b))-uint64(at) || n > uint64(a.left) {
		return nil, fmt.Errorf("%q wants %d bytes of a file of %d", name, n, len(a.b))
	}
	a.left -= int(f.UncompressedSize64)
	data := a.b[at:][:f.UncompressedSize64]
	if crc32.ChecksumIEEE(data) != f.CRC32 {
		return nil, fmt.Errorf("%q is damaged (checksum)", name)
	}
	return data, nil
}

// Text returns an entry that may be compressed. It fails if there is more than most bytes of it.
func (a *Archive) Text(name string, most int) ([]byte, error) {
	f := a.entries[name]
	if f == nil {
		return nil, fmt.Errorf("the archive lacks %q", name)
	}
	size := f.UncompressedSize64
	if size > uint64(most) {
		return nil, fmt.Errorf("%q has %d bytes, more than %d", name, size, most)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, int64(size)+1))
	if err == nil && uint64(len(b)) != size {
		err = fmt.Errorf("more than the %d bytes it claims", size)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return b, nil
}
