package hdf5

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/hdf5/hdf5test"
	"github.com/recur-go/recur/tools/internal/shared"
)

func example() *hdf5test.Group {
	g := &hdf5test.Group{Attrs: map[string][]string{"keras_version": {"2.15.0"}, "layer_names": {"dense", "lstm_1"}, "none": {}}}
	g.Put("dense/dense/kernel:0", hdf5test.Dataset{Shape: []int{2, 3}, Data: []float32{1, 2, 3, 4, 5, 6}})
	g.Put("dense/dense/bias:0", hdf5test.Dataset{Shape: []int{3}, Data: []float32{-1, 0, 1}})
	g.Put("chunked", hdf5test.Dataset{Shape: []int{1}, Data: []float32{1}, Chunked: true})
	g.Put("filtered", hdf5test.Dataset{Shape: []int{1}, Data: []float32{1}, Filtered: true})
	g.Put("claims", hdf5test.Dataset{Shape: []int{1 << 20, 1 << 20}, Data: []float32{1}})
	return g
}

func open(t testing.TB, b []byte) *Object {
	t.Helper()
	f, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func child(t testing.TB, o *Object, path string) *Object {
	t.Helper()
	c, err := o.Child(path)
	if err != nil || c == nil {
		t.Fatalf("%s: %v, %v", path, c, err)
	}
	return c
}

func TestRead(t *testing.T) {
	root := open(t, hdf5test.Encode(example()))
	names, err := root.Names()
	if err != nil || !slices.Equal(names, []string{"chunked", "claims", "dense", "filtered"}) {
		t.Errorf("%q, %v", names, err)
	}
	x, err := child(t, root, "dense/dense/kernel:0").Tensor()
	if err != nil || !slices.Equal(x.Shape, []int{2, 3}) || !slices.Equal(x.Floats(), []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("%v, %v", x, err)
	}
	for name, want := range map[string][]string{"keras_version": {"2.15.0"}, "layer_names": {"dense", "lstm_1"}, "none": {}, "absent": nil} {
		got, err := root.Attr(name)
		if err != nil || !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if c, err := root.Child("dense/other"); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
}

func TestRefused(t *testing.T) {
	root := open(t, hdf5test.Encode(example()))
	for path, want := range map[string]string{"chunked": "save the model again", "filtered": "save the model again", "claims": "more than the 4 bytes",
		"dense": "not a dataset"} {
		if _, err := child(t, root, path).Tensor(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/"+path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// walk reads everything there is.
func walk(o *Object, depth int) {
	o.Tensor()
	for _, a := range []string{"layer_names", "keras_version", "none"} {
		o.Attr(a)
	}
	names, err := o.Names()
	if err != nil || depth == 0 {
		return
	}
	for _, n := range names {
		if c, err := o.Child(n); err == nil && c != nil {
			walk(c, depth-1)
		}
	}
}

func TestDamaged(t *testing.T) {
	b := hdf5test.Encode(example())
	read := func(b []byte) {
		f, err := Open(b)
		if err != nil {
			return
		}
		if root, err := f.Root(); err == nil {
			walk(root, 4)
		}
	}
	for n := range b {
		read(b[:n])
	}
	for i := range b {
		for _, flip := range []byte{1, 0x10, 0x80, 0xff} {
			c := bytes.Clone(b)
			c[i] ^= flip
			read(c)
		}
	}
}

// TestLoops lets structures refer to themselves.
func TestLoops(t *testing.T) {
	b := hdf5test.Encode(example())
	refer := func(signature string, offset int) []byte {
		c := bytes.Clone(b)
		at := bytes.LastIndex(c, []byte(signature))
		binary.LittleEndian.PutUint64(c[at+offset:], uint64(at))
		return c
	}
	tree := refer("TREE", 32)
	tree[bytes.LastIndex(tree, []byte("TREE"))+5] = 3
	root := int(binary.LittleEndian.Uint64(b[64:]))
	header := bytes.Clone(b)
	// The continuation is the last message of the root's header.
	size := int(binary.LittleEndian.Uint32(header[root+8:]))
	binary.LittleEndian.PutUint64(header[root+16+size-16:], uint64(root+16))
	binary.LittleEndian.PutUint64(header[root+16+size-8:], uint64(size))
	group := bytes.Clone(b)
	at := bytes.LastIndex(group, []byte("SNOD"))
	for i := range 4 {
		binary.LittleEndian.PutUint64(group[at+8+40*i+8:], uint64(root))
	}
	for name, c := range map[string][]byte{"tree": tree, "header": header, "group": group} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if f, err := Open(c); err == nil {
			if o, err := f.Root(); err == nil {
				walk(o, 12)
			}
		}
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; took > time.Second || used > 256<<20 {
			t.Errorf("%s: took %v and %d MB", name, took, used>>20)
		}
	}
}

// TestSuites reads every weight of published Keras files.
func TestSuites(t *testing.T) {
	dir := shared.Dir(t, "suites/models")
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.h5"))
	more, _ := filepath.Glob(filepath.Join(dir, "*", "*.hdf5"))
	read := 0
	for _, path := range append(files, more...) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		root := open(t, b)
		if c, _ := root.Child("model_weights"); c != nil {
			root = c
		}
		layers, err := root.Attr("layer_names")
		if err != nil || len(layers) == 0 {
			t.Errorf("%s: layers %q, %v", path, layers, err)
		}
		for _, l := range layers {
			g := child(t, root, l)
			names, err := g.Attr("weight_names")
			if err != nil {
				t.Error(path, err)
			}
			for _, n := range names {
				if x, err := child(t, g, n).Tensor(); err != nil || x.Len() == 0 {
					t.Error(path, err)
				}
				read++
			}
		}
	}
	t.Logf("%d tensors in %d files", read, len(files)+len(more))
}

func FuzzRead(f *testing.F) {
	f.Add(hdf5test.Encode(example()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if f, err := Open(b); err == nil {
			if root, err := f.Root(); err == nil {
				walk(root, 4)
			}
		}
	})
}
