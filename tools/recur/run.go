package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/replace"
)

var runCommand = command{"run", "run a model on an array", `
usage: recur run FILE -in X.npy [-out Y.npy] [flags]

Runs a .recur file, or a model of another format converted to f32 on the way, on sequences of input features.

  recur run gesture.recur -in x.npy -out y.npy
      x [T, features]: y is [T, out], or [out] where the model gives one result for the sequence
      x [N, T, features]: N independent sequences; y is [N, T, out] or [N, out]
      a model that takes whole windows [T, features] in a step (recur inspect shows T*features channels): x [N, T, features]
      holds N steps; y is [N, out]
  recur run gesture.recur -in x.npy
      print the result, a line a step (or sequence)
  recur run gesture.onnx -in x.npy -out y.npy
      the float reference`, runModel}

func runModel(c *call) error {
	var im importFlags
	im.define(c.flags)
	in := c.flags.String("in", "", "the input, a .npy `FILE`")
	out := c.flags.String("out", "", "the .npy `FILE` to write (default: print text)")
	args, err := c.parse("FILE")
	if err != nil {
		return err
	}
	if *in == "" {
		return misused("on what? -in X.npy")
	}
	m, err := im.open(args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	batches, err := readBatches(*in, m.InputWidth())
	if err != nil {
		return err
	}
	if len(batches) != 1 {
		return fmt.Errorf("%s: %d arrays, want one", *in, len(batches))
	}
	y, err := runBatch(m, batches[0])
	if err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	if *out == "" {
		return printRows(c.out, y)
	}
	return replace.File(*out, func(w io.Writer) error { return npy.Write(w, y) })
}

// runBatch runs every sequence from the initial state.
func runBatch(m *runtime.Model, b batch) (*npy.Array, error) {
	width := m.OutputWidth()
	shape := []int{width}
	if m.PerStep() {
		shape = []int{b.steps, width}
		width *= b.steps
	}
	if b.many {
		shape = append([]int{len(b.seqs)}, shape...)
	}
	y := &npy.Array{Shape: shape, Data: make([]float32, len(b.seqs)*width)}
	s := m.NewSession()
	for i, x := range b.seqs {
		s.Reset()
		if err := s.Run(x, y.Data[i*width:(i+1)*width]); err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	return y, nil
}

// printRows writes the last axis of an array as lines, with an empty line between the sequences of a batch.
func printRows(w io.Writer, y *npy.Array) error {
	rank := len(y.Shape)
	width := y.Shape[rank-1]
	var line []byte
	for i := 0; i < len(y.Data); i += width {
		if rank == 3 && i > 0 && i/width%y.Shape[1] == 0 {
			line = append(line, '\n')
		}
		for k, v := range y.Data[i : i+width] {
			if k > 0 {
				line = append(line, ' ')
			}
			line = strconv.AppendFloat(line, float64(v), 'g', -1, 32)
		}
		line = append(line, '\n')
	}
	_, err := w.Write(line)
	return err
}
