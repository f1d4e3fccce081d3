// Package torchfile reads the tensors of what torch.save and torch.jit.save write: state dicts and checkpoints that hold them, as zip
// archives or in the format before PyTorch 1.6, and the attributes of TorchScript modules.
//
// Such files are programs for a pickle machine. This one executes nothing: the few classes it accepts only keep their arguments, and any
// other is an error that names it.
package torchfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/recur-go/recur/tools/internal/stored"
	"github.com/recur-go/recur/tools/internal/weights"
)

// File is what a file holds.
type File struct {
	Tensors []*weights.Tensor
	Modules []Module // of a TorchScript archive, in the order of their definition
}

// Module is a module of a TorchScript archive.
type Module struct {
	Name      string            // its keys, joined with dots
	Class     string            // as in torch.nn.modules.activation.ELU
	Constants map[string]string // what its class declares Final, as written
}

// Read returns what a file holds, with the tensors in its order. One in nested dicts is named by their keys, joined with dots: a
// checkpoint {"model": {"fc.bias": …}} has "model.fc.bias". Quantised modules' tensors are named as those of the modules they were made
// from. Lists and what else is no dict and no tensor are left out. The tensors refer to b.
func Read(b []byte) (*File, error) {
	f, err := read(b)
	if err == nil {
		f.Tensors, err = unpacked(f.Tensors)
	}
	if err != nil {
		return nil, fmt.Errorf("PyTorch file: %w", err)
	}
	return f, nil
}

func read(b []byte) (*File, error) {
	if bytes.HasPrefix(b, []byte("PK")) {
		return readZip(b)
	}
	if len(b) == 0 || b[0] != 0x80 {
		return nil, errors.New("neither a zip archive nor a pickle")
	}
	return readLegacy(b)
}

const maxPickle = 64 << 20

func readZip(b []byte) (*File, error) {
	a, err := stored.Open(b)
	if err != nil {
		return nil, err
	}
	root, found := "", false
	for _, name := range a.Names() {
		if dir, ok := strings.CutSuffix(name, "data.pkl"); ok && (dir == "" || strings.HasSuffix(dir, "/")) && (!found || len(dir) < len(root)) {
			root, found = dir, true
		}
	}
	if !found {
		return nil, errors.New("the archive holds no data.pkl")
	}
	if a.Has(root + "byteorder") {
		if order, err := a.Read(root + "byteorder"); err != nil || string(order) != "little" {
			return nil, fmt.Errorf("byte order %.10q is not supported", order)
		}
	}
	pickle, err := a.Read(root + "data.pkl")
	if err != nil {
		return nil, err
	}
	s := &scope{map[string]*storage{}}
	v, _, err := unpickle(pickle[:min(len(pickle), maxPickle)], s)
	if err != nil {
		return nil, err
	}
	f, err := flatten(v, func(s *storage) ([]byte, error) { return a.Read(root + "data/" + s.key) })
	if err == nil {
		(&code{archive: a, root: root + "code/"}).declare(f.Modules)
	}
	return f, err
}

// legacyMagic is 0x1950a86a20f9469cfc6c.
const legacyMagic = wide("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// readLegacy reads five pickles (magic, version, system, the object, storage keys) and after them the storages in the order of the keys.
func readLegacy(b []byte) (*File, error) {
	s := &scope{map[string]*storage{}}
	var v [5]any
	for i := range v {
		var err error
		if v[i], b, err = unpickle(b, s); err != nil {
			return nil, err
		}
		switch {
		case i == 0 && v[0] != any(legacyMagic):
			return nil, errors.New("a pickle that torch.save did not write")
		case i == 1 && v[1] != any(int64(1001)):
			return nil, errors.New("an unknown version of the format")
		}
	}
	if d, ok := v[2].(*dict); !ok || d.get("little_endian") != any(true) {
		return nil, errors.New("the byte order is not little-endian")
	}
	for _, k := range sequence(v[4]) {
		key, _ := k.(string)
		st := s.storages[key]
		if st == nil || st.data != nil {
			return nil, fmt.Errorf("storage %q is unknown, or there twice", key)
		}
		if len(b) < 8 || binary.LittleEndian.Uint64(b) != uint64(st.count) {
			return nil, fmt.Errorf("storage %q is cut short, or has another size than %d", key, st.count)
		}
		b = b[8:]
		if st.count > int64(len(b)/st.typ.Size()) {
			return nil, fmt.Errorf("storage %q of %d elements is cut short", key, st.count)
		}
		n := int(st.count) * st.typ.Size()
		st.data, b = b[:n:n], b[n:]
	}
	return flatten(v[3], func(s *storage) ([]byte, error) { return nil, fmt.Errorf("storage %q is missing", s.key) })
}

func (d *dict) get(key string) any {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] == any(key) {
			return d.values[i]
		}
	}
	return nil
}

const (
	maxDepth   = 32
	maxEntries = 1 << 20
	maxTensors = 1 << 16
	maxName    = 1 << 10
)

// flattener collects the tensors in nested dicts, which may be shared, or hold themselves.
type flattener struct {
	fetch func(*storage) ([]byte, error)
	seen  map[string]int
	out   File
	left  int
}

func flatten(v any, fetch func(*storage) ([]byte, error)) (*File, error) {
	f := &flattener{fetch: fetch, seen: map[string]int{}, left: maxEntries}
	switch v.(type) {
	case *dict, *object:
	case *view:
		return nil, errors.New("a single tensor without a name")
	default:
		return nil, errors.New("no state dict")
	}
	if err := f.walk("", v, 0); err != nil {
		return nil, err
	}
	return &f.out, nil
}

// walk adds the tensors in v, which has the given name.
func (f *flattener) walk(name string, v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("dicts in dicts, more than %d deep", maxDepth)
	}
	if f.left--; f.left < 0 {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	switch v := v.(type) {
	case *view:
		return f.add(name, v)
	case *object:
		return f.object(name, v, depth)
	case tuple:
		if strings.HasSuffix(name, packedParams) {
			return f.linear(name, v)
		}
	case *dict:
		for i, k := range v.keys {
			inner, err := keyName(name, k)
			if err == nil {
				err = f.walk(inner, v.values[i], depth+1)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func keyName(parent string, key any) (string, error) {
	var name string
	switch k := key.(type) {
	case string:
		name = k
	case int64:
		name = strconv.FormatInt(k, 10)
	default:
		return "", fmt.Errorf("%q: a key that is neither a string nor a number", parent)
	}
	if parent != "" {
		name = parent + "." + name
	}
	if len(name) > maxName {
		return "", fmt.Errorf("a name of %d bytes", len(name))
	}
	return name, nil
}

func (f *flattener) add(name string, v *view) error {
	t, err := f.tensor(name, v)
	if err != nil {
		return err
	}
	if at, twice := f.seen[name]; twice {
		f.out.Tensors[at] = t
		return nil
	}
	if len(f.out.Tensors) == maxTensors {
		return fmt.Errorf("more than %d tensors", maxTensors)
	}
	f.seen[name] = len(f.out.Tensors)
	f.out.Tensors = append(f.out.Tensors, t)
	return nil
}

// tensor finds the data of a view.
func (f *flattener) tensor(name string, v *view) (*weights.Tensor, error) {
	s := v.storage
	if s.data == nil {
		data, err := f.fetch(s)
		if err != nil {
			return nil, err
		}
		if s.count > math.MaxInt64/8 || int64(len(data)) != s.count*int64(s.typ.Size()) {
			return nil, fmt.Errorf("storage %q has %d bytes, not %d of %v", s.key, len(data), s.count, s.typ)
		}
		s.data = data
	}
	t, err := weights.New(name, s.typ, v.shape, v.stride, v.offset, s.data)
	if err == nil && v.scales != nil {
		t, err = f.quantised(t, v.scales)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return t, nil
}
