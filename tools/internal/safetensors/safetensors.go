// Package safetensors reads .safetensors files: a length, a JSON header, and the tensors' bytes.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/tools/internal/weights"
)

const (
	maxHeader  = 4 << 20
	maxTensors = 1 << 16
)

// Read returns the tensors in the order of the header. They refer to b.
func Read(b []byte) ([]*weights.Tensor, error) {
	all, err := read(b)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return all, nil
}

func read(b []byte) ([]*weights.Tensor, error) {
	if len(b) < 8 {
		return nil, errors.New("the file is cut short")
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-8) || n > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes in a file of %d", n, len(b))
	}
	entries, err := parse(b[8 : 8+n])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	data := b[8+n:]
	if err := cover(entries, len(data)); err != nil {
		return nil, err
	}
	var all []*weights.Tensor
	for _, e := range entries {
		t, err := e.tensor(data)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", e.name, err)
		}
		all = append(all, t)
	}
	return all, nil
}

type entry struct {
	name    string
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// parse reads the header, keeping its order.
func parse(header []byte) ([]entry, error) {
	d := json.NewDecoder(bytes.NewReader(header))
	d.DisallowUnknownFields()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var entries []entry
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if seen[name] || len(entries) == maxTensors {
			return nil, fmt.Errorf("tensor %q occurs twice, or there are more than %d", name, maxTensors)
		}
		seen[name] = true
		if name == "__metadata__" {
			var ignored map[string]string
			if err := d.Decode(&ignored); err != nil {
				return nil, err
			}
			continue
		}
		e := entry{name: name}
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		entries = append(entries, e)
	}
	_, err := d.Token()
	return entries, err
}

// cover checks that the tensors fill the data without gaps or overlaps, as the format demands.
func cover(entries []entry, size int) error {
	order := slices.Clone(entries)
	slices.SortStableFunc(order, func(a, b entry) int {
		return slices.Compare(a.Offsets[:], b.Offsets[:])
	})
	at := int64(0)
	for _, e := range order {
		if e.Offsets[0] != at || e.Offsets[1] < at || e.Offsets[1] > int64(size) {
			return fmt.Errorf("%q: bytes %d to %d, after %d of %d", e.name, e.Offsets[0], e.Offsets[1], at, size)
		}
		at = e.Offsets[1]
	}
	if at != int64(size) {
		return fmt.Errorf("the tensors end at byte %d of %d", at, size)
	}
	return nil
}

var types = map[string]weights.Type{"F64": weights.F64, "F32": weights.F32, "F16": weights.F16, "BF16": weights.BF16, "I64": weights.I64,
	"I32": weights.I32, "I16": weights.I16, "I8": weights.I8, "U8": weights.U8, "BOOL": weights.Bool}

func (e *entry) tensor(data []byte) (*weights.Tensor, error) {
	t, ok := types[e.DType]
	if !ok {
		return nil, fmt.Errorf("element type %q is not supported", e.DType)
	}
	data = data[e.Offsets[0]:e.Offsets[1]]
	x, err := weights.New(e.name, t, e.Shape, nil, 0, data)
	if err == nil && x.Len()*t.Size() != len(data) {
		err = fmt.Errorf("shape %v of %v in %d bytes", e.Shape, t, len(data))
	}
	return x, err
}
