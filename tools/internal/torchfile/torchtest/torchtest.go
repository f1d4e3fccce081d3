// Package torchtest writes PyTorch files for tests.
package torchtest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Tensor is an entry of a state dict, written with a storage of its own.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Pickle builds a pickle of protocol 2.
type Pickle struct{ bytes.Buffer }

func (p *Pickle) Op(s string) *Pickle { p.WriteString(s); return p }

func (p *Pickle) Int(v int) *Pickle {
	p.Write(binary.LittleEndian.AppendUint32([]byte{'J'}, uint32(v)))
	return p
}

func (p *Pickle) Text(s string) *Pickle {
	p.Write(binary.LittleEndian.AppendUint32([]byte{'X'}, uint32(len(s))))
	p.WriteString(s)
	return p
}

func (p *Pickle) Class(module, name string) *Pickle { return p.Op("c" + module + "\n" + name + "\n") }

func (p *Pickle) Ints(v []int) *Pickle {
	p.Op("(")
	for _, x := range v {
		p.Int(x)
	}
	return p.Op("t")
}

// View pushes a tensor of a storage.
func (p *Pickle) View(class, key string, count, offset int, shape, stride []int, legacy bool) *Pickle {
	p.Class("torch._utils", "_rebuild_tensor_v2").Op("((").Text("storage").Class("torch", class).Text(key).Text("cpu").Int(count)
	if legacy {
		p.Op("N")
	}
	p.Op("tQ").Int(offset).Ints(shape).Ints(stride).Op("\x89")
	return p.Class("collections", "OrderedDict").Op(")RtR")
}

func (p *Pickle) stateDict(all []Tensor, legacy bool) {
	p.Class("collections", "OrderedDict").Op(")R(")
	for i, t := range all {
		stride := make([]int, len(t.Shape))
		n := 1
		for k, d := range slices.Backward(t.Shape) {
			stride[k] = n
			n *= d
		}
		p.Text(t.Name).View("FloatStorage", fmt.Sprint(i), len(t.Data), 0, t.Shape, stride, legacy)
	}
	p.Op("u}(").Text("_metadata").Op("}ub")
}

// Zip is a state dict as torch.save writes it, under a key of a checkpoint if under is not empty.
func Zip(under string, all ...Tensor) []byte {
	p := &Pickle{}
	p.Op("\x80\x02")
	if under != "" {
		p.Op("}(").Text("epoch").Int(3).Text(under)
	}
	p.stateDict(all, false)
	if under != "" {
		p.Op("u")
	}
	files := map[string][]byte{}
	for i, t := range all {
		files[fmt.Sprint("data/", i)] = floats(t.Data)
	}
	return Archive(p.Op(".").String(), files)
}

// Archive is a zip file around a pickle.
func Archive(pickle string, files map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, data []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "net/" + name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	add("data.pkl", []byte(pickle))
	add("byteorder", []byte("little"))
	names := []string{}
	for name := range files {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		add(name, files[name])
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Legacy is a state dict in the format before PyTorch 1.6.
func Legacy(all ...Tensor) []byte {
	p := &Pickle{}
	p.Op("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")
	p.Op("\x80\x02M\xe9\x03.")
	p.Op("\x80\x02}(").Text("little_endian").Op("\x88u.")
	p.Op("\x80\x02").stateDict(all, true)
	p.Op(".\x80\x02](")
	for i := range all {
		p.Text(fmt.Sprint(i))
	}
	p.Op("e.")
	for _, t := range all {
		p.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(t.Data))))
		p.Write(floats(t.Data))
	}
	return p.Bytes()
}

func floats(v []float32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}
