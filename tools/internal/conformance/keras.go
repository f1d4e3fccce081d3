package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/recur-go/recur/tools/internal/fromkeras"
)

// kerasCase is a folder with arrays whose first axis is the batch, and with a model elsewhere.
type kerasCase struct {
	dir string
	meta
}

func (k kerasCase) run(c checker) ([]Output, error) {
	b, err := above(k.dir, k.Model)
	if err != nil {
		return nil, err
	}
	m, err := fromkeras.Read(b)
	if err != nil {
		return nil, err
	}
	g, err := fromkeras.Import(m, fromkeras.Options{})
	if err != nil {
		return nil, err
	}
	x, err := array(filepath.Join(k.dir, "in_x.npy"))
	if err != nil {
		return nil, err
	}
	want, err := array(filepath.Join(k.dir, "out64_y.npy"))
	if err != nil {
		return nil, err
	}
	if len(x.Shape) == 0 || x.Shape[0] == 0 {
		return nil, fmt.Errorf("in_x.npy: shape %v", x.Shape)
	}
	var got []float32
	size := len(x.Data) / x.Shape[0]
	for n := range x.Shape[0] {
		y, _, err := compute(g, x.Data[n*size:][:size])
		if err != nil {
			return nil, err
		}
		got = append(got, y...)
	}
	t := Tolerance{Atol: 1e-5}
	if k.Std > 0 {
		t.Atol = 1e-4 * k.Std
	}
	o := Output{Name: "y", Status: Passed}
	o.add(c.compare(got, want.Data, t))
	return []Output{o}, nil
}

// above reads a file whose path is relative to dir or a folder above it.
func above(dir, path string) ([]byte, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for range 4 {
		b, err := os.ReadFile(filepath.Join(at, filepath.FromSlash(path)))
		if !errors.Is(err, os.ErrNotExist) {
			return b, err
		}
		at = filepath.Dir(at)
	}
	return nil, fmt.Errorf("%s: no %s in it or in the folders above", dir, path)
}
