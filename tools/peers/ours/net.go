package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// net is a folder that ../nets.py writes: net.json, and little-endian float32 in x.f32 and weights.f32. The weights are those of
// quant.Op one after the other: W, U, B, and BH for a GRU; a two-way net has a second set, for the backward direction; then, where
// there are classes, W and B of the dense layer before the softmax.
type net struct {
	Name    string `json:"name"`
	Cell    string `json:"cell"` // lstm or gru
	Input   int    `json:"input"`
	Hidden  int    `json:"hidden"`
	TwoWay  bool   `json:"two_way"`
	Classes int    `json:"classes"` // 0: the output is the hidden state
	Steps   int    `json:"steps"`
	Mode    string `json:"mode"` // step: one time step a call; seq: the sequence in one call

	x, weights []float32
}

// maxSize bounds each number of net.json, so that no product of them overflows.
const maxSize = 1 << 15

func readNet(dir string) (*net, error) {
	b, err := os.ReadFile(filepath.Join(dir, "net.json"))
	if err != nil {
		return nil, err
	}
	n := new(net)
	if err := json.Unmarshal(b, n); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "net.json"), err)
	}
	if err := n.valid(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "net.json"), err)
	}
	if n.x, err = readFloats(filepath.Join(dir, "x.f32"), n.Steps*n.Input); err != nil {
		return nil, err
	}
	n.weights, err = readFloats(filepath.Join(dir, "weights.f32"), n.size())
	return n, err
}

func (n *net) valid() error {
	for name, v := range map[string]int{"input": n.Input, "hidden": n.Hidden, "steps": n.Steps} {
		if v < 1 || v > maxSize {
			return fmt.Errorf("%s is %d, want 1 to %d", name, v, maxSize)
		}
	}
	switch {
	case n.Classes < 0 || n.Classes > maxSize:
		return fmt.Errorf("classes is %d, want 0 to %d", n.Classes, maxSize)
	case n.Cell != "lstm" && n.Cell != "gru":
		return fmt.Errorf("cell is %q, want lstm or gru", n.Cell)
	case n.Mode != "step" && n.Mode != "seq":
		return fmt.Errorf("mode is %q, want step or seq", n.Mode)
	case n.Mode == "step" && n.TwoWay:
		return fmt.Errorf("a two-way net has no single step: its mode is seq")
	}
	return nil
}

func (n *net) gates() int {
	if n.Cell == "gru" {
		return 3
	}
	return 4
}

func (n *net) directions() int {
	if n.TwoWay {
		return 2
	}
	return 1
}

// size is the number of weights.
func (n *net) size() int {
	rows := n.gates() * n.Hidden
	cell := rows * (n.Input + n.Hidden + 1)
	if n.Cell == "gru" {
		cell += rows
	}
	return n.directions()*cell + n.Classes*(n.directions()*n.Hidden+1)
}

func readFloats(path string, want int) ([]float32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != 4*want {
		return nil, fmt.Errorf("%s: %d bytes, want %d", path, len(b), 4*want)
	}
	v := make([]float32, want)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}

func writeFloats(path string, v []float32) error {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return os.WriteFile(path, b, 0o644)
}

func (n *net) graph() *quant.Graph {
	width := n.directions() * n.Hidden
	g := &quant.Graph{Values: []format.Value{{Width: n.Input, PerStep: true}, {Width: width, PerStep: true}}, Output: 1}
	for i := range n.Input {
		g.Input.Channels = append(g.Input.Channels, format.Channel{Name: fmt.Sprintf("x%d", i)})
	}
	w := n.weights
	take := func(k int) []float32 {
		v := w[:k:k]
		w = w[k:]
		return v
	}
	kind, rows := format.LSTM, n.gates()*n.Hidden
	if n.Cell == "gru" {
		kind = format.GRU
	}
	for d := range n.directions() {
		op := quant.Op{Kind: kind, Name: fmt.Sprintf("%s%d", n.Cell, d), Hidden: n.Hidden,
			In: []format.Ref{{Width: n.Input}}, Out: format.Ref{Value: 1, Offset: d * n.Hidden, Width: n.Hidden}}
		if d == 1 {
			op.Flags = format.FlagReverse
		}
		op.W, op.U, op.B = take(rows*n.Input), take(rows*n.Hidden), take(rows)
		if kind == format.GRU {
			op.BH = take(rows)
		}
		g.Ops = append(g.Ops, op)
	}
	if n.Classes > 0 {
		g.Values = append(g.Values, format.Value{Width: n.Classes, PerStep: true}, format.Value{Width: n.Classes, PerStep: true})
		g.Ops = append(g.Ops,
			quant.Op{Kind: format.Dense, Name: "out", In: []format.Ref{{Value: 1, Width: width}}, Out: format.Ref{Value: 2, Width: n.Classes},
				W: take(n.Classes * width), B: take(n.Classes)},
			quant.Op{Kind: format.Softmax, Name: "softmax", In: []format.Ref{{Value: 2, Width: n.Classes}}, Out: format.Ref{Value: 3, Width: n.Classes}})
		g.Output = 3
	}
	return g
}
