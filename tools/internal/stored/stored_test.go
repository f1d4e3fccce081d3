package stored

import (
	"archive/zip"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func pack(t testing.TB, method uint16, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = fmt.Fprint(w, "content of ", name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRead(t *testing.T) {
	a, err := Open(pack(t, zip.Store, "b", "dir/a"))
	if err != nil || !slices.Equal(a.Names(), []string{"b", "dir/a"}) || !a.Has("b") || a.Has("a") {
		t.Fatal(a, err)
	}
	if data, err := a.Read("dir/a"); err != nil || string(data) != "content of dir/a" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := a.Read("a"); err == nil {
		t.Error("an entry that is not there")
	}
}

func TestRefused(t *testing.T) {
	a, err := Open(pack(t, zip.Deflate, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read("x"); err == nil || !strings.Contains(err.Error(), "zip -0") {
		t.Errorf("compressed: %v", err)
	}
	b := pack(t, zip.Store, "x")
	b[bytes.Index(b, []byte("content"))] ^= 1
	if a, err = Open(b); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read("x"); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("damaged: %v", err)
	}
	if a, err = Open(pack(t, zip.Store, "x")); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = a.Read("x")
	}
	if !strings.Contains(err.Error(), "wants") {
		t.Errorf("read again and again: %v", err)
	}
}

func TestText(t *testing.T) {
	const most = len("content of dir/a")
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		a, err := Open(pack(t, method, "dir/a"))
		if err != nil {
			t.Fatal(err)
		}
		if data, err := a.Text("dir/a", most); err != nil || string(data) != "content of dir/a" {
			t.Errorf("%q, %v", data, err)
		}
		if _, err := a.Text("dir/a", most-1); err == nil || !strings.Contains(err.Error(), "more than 15") {
			t.Errorf("a long entry: %v", err)
		}
		if _, err := a.Text("a", most); err == nil {
			t.Error("an entry that is not there")
		}
		a.entries["dir/a"].UncompressedSize64 -= 2
		if _, err := a.Text("dir/a", most); err == nil {
			t.Error("an entry that is longer than it claims")
		}
	}
}
