package replace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func hello(w io.Writer) error {
	_, err := io.WriteString(w, "hello")
	return err
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for range 2 {
		if err := File(path, hello); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	bad := errors.New("bad")
	if err := File(path, func(w io.Writer) error { fmt.Fprint(w, "half"); return bad }); err != bad {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if err := File(filepath.Join(dir, "absent", "a"), hello); err == nil {
		t.Error("a file in no folder")
	}
}

// TestLink writes what a link names, and keeps the link.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	link, path := filepath.Join(dir, "link"), filepath.Join(dir, "a")
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Symlink(path, link), File(link, hello)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	b, e := os.ReadFile(path)
	if err != nil || e != nil || info.Mode()&os.ModeSymlink == 0 || string(b) != "hello" {
		t.Errorf("%v, %v, %v, %q", info, err, e, b)
	}
}

// TestPipe writes into what is no regular file, which stays what it is.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := fmt.Sprintf("/dev/fd/%d", w.Fd())
	if _, err := os.Stat(path); err != nil {
		t.Skip("no names of open files here")
	}
	if err := errors.Join(File(path, hello), w.Close()); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}
