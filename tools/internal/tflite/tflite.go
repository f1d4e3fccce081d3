// Package tflite reads TensorFlow Lite models: the tables of a flatbuffer, without generated code.
//
// Read trusts nothing: every offset is checked against the bytes that are there, every index against what it counts. It never panics,
// and allocates no more than a small multiple of the file, whose bytes serve as the constants' data.
package tflite

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
)

const (
	maxRank    = 32
	maxDecoded = 24 << 20
)

// Read decodes a model. The result refers to b, which must not be changed.
func Read(b []byte) (*Model, error) {
	if len(b) < 8 || string(b[4:8]) != "TFL3" {
		return nil, errors.New("tflite: not a TensorFlow Lite model of version 3")
	}
	m := &Model{}
	r := &reader{b: b, left: min(16*int64(len(b))+1<<16, maxDecoded)}
	root, err := r.follow(0)
	if err == nil {
		err = r.table(root, reflect.ValueOf(m).Elem())
	}
	if err == nil {
		err = m.outside(r)
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("tflite: %w", err)
	}
	return m, nil
}

// outside finds the data of buffers that lie beyond the tables. Offsets of 0 and 1 mean that there is none.
func (m *Model) outside(r *reader) error {
	for i, b := range m.Buffers {
		if b.Offset <= 1 {
			continue
		}
		if b.Offset > math.MaxInt64 || b.Size > math.MaxInt64 {
			return fmt.Errorf("buffer %d: %w", i, errOutside)
		}
		var err error
		if b.Data, err = r.window(int64(b.Offset), int64(b.Size)); err != nil {
			return fmt.Errorf("buffer %d: %w", i, err)
		}
	}
	return nil
}

// check holds every index against what it counts.
func (m *Model) check() error {
	switch {
	case m.Version != 3:
		return fmt.Errorf("schema version %d, not 3", m.Version)
	case len(m.Subgraphs) == 0:
		return errors.New("no subgraph: not a model, or cut short")
	}
	for i, g := range m.Subgraphs {
		if err := m.checkSubgraph(g); err != nil {
			return fmt.Errorf("subgraph %d: %w", i, err)
		}
	}
	for _, s := range m.Signatures {
		if int64(s.Subgraph) >= int64(len(m.Subgraphs)) {
			return fmt.Errorf("signature %q: no subgraph %d", s.Key, s.Subgraph)
		}
		for _, a := range append(append([]*Alias{}, s.Inputs...), s.Outputs...) {
			if int64(a.Tensor) >= int64(len(m.Subgraphs[s.Subgraph].Tensors)) {
				return fmt.Errorf("signature %q: no tensor %d", s.Key, a.Tensor)
			}
		}
	}
	return nil
}

func (m *Model) checkSubgraph(g *Subgraph) error {
	for i, t := range g.Tensors {
		if err := m.checkTensor(t); err != nil {
			return fmt.Errorf("tensor %d %q: %w", i, t.Name, err)
		}
	}
	if err := g.within(0, g.Inputs, g.Outputs); err != nil {
		return err
	}
	for i, o := range g.Operators {
		if int64(o.Code) >= int64(len(m.Codes)) {
			return fmt.Errorf("operator %d: no operator code %d", i, o.Code)
		}
		err := g.within(-1, o.Inputs, o.Intermediates)
		if err == nil {
			err = g.within(0, o.Outputs)
		}
		if err != nil {
			return fmt.Errorf("operator %d, %s: %w", i, m.Op(o), err)
		}
	}
	return nil
}

// within checks that tensors exist; first is 0, or -1 where tensors may be left out.
func (g *Subgraph) within(first int32, lists ...[]int32) error {
	for _, l := range lists {
		for _, i := range l {
			if i < first || int(i) >= len(g.Tensors) {
				return fmt.Errorf("no tensor %d", i)
			}
		}
	}
	return nil
}

func (m *Model) checkTensor(t *Tensor) error {
	if int64(t.Buffer) >= int64(len(m.Buffers)) && t.Buffer != 0 {
		return fmt.Errorf("no buffer %d", t.Buffer)
	}
	if len(t.Shape) > maxRank {
		return fmt.Errorf("%d dimensions", len(t.Shape))
	}
	for _, d := range t.Shape {
		if d < 0 {
			return fmt.Errorf("shape %v", t.Shape)
		}
	}
	return nil
}

// Op is the name of an operator in the schema; of a custom one, what the file calls it.
func (m *Model) Op(o *Operator) string {
	c := m.Codes[o.Code]
	code := max(int64(c.Code), int64(c.ByteCode))
	switch {
	case code < 0 || code >= int64(len(opNames)):
		return fmt.Sprintf("operator %d", code)
	case opNames[code] == "CUSTOM":
		return fmt.Sprintf("custom operator %q", c.Custom)
	}
	return opNames[code]
}

// Code is the number of an operator in the schema, -1 if there is none of that name.
func Code(name string) int32 { return int32(slices.Index(opNames, name)) }
