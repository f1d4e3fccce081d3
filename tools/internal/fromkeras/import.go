// Package fromkeras turns Keras models of versions 2 and 3, from .h5 and .keras files, into quant.Graph. The layers must form a chain.
package fromkeras

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/weights"
)

// Import lowers a model.
func Import(m *Model) (*quant.Graph, error) {
	n := &network{left: m.size}
	for _, l := range m.layers {
		if err := n.layer(l); err != nil {
			return nil, fmt.Errorf("%s %q: %w", l.class, l.config.Name, err)
		}
	}
	if n.x == nil {
		return nil, errors.New("the model has no layers")
	}
	g, err := n.tr.Finish(n.x)
	if err != nil {
		return nil, err
	}
	g.Input.Channels = make([]format.Channel, g.Values[0].Width)
	for i := range g.Input.Channels {
		g.Input.Channels[i].Name = fmt.Sprintf("x%d", i)
	}
	g.Meta = append(g.Meta, format.Pair{Key: "producer", Value: strings.TrimSpace("Keras " + m.version)})
	return g, nil
}

// network is a graph under construction.
type network struct {
	tr *lower.Tracer
	x  *lower.Tensor // [time, 1, channels], or [1, channels] without time

	left int // elements of weights that layers may still take, so that they cannot share what a small file holds
}

// budget bounds the elements that layers handle.
const budget = 1 << 27

// ignored are layers that do nothing when a model runs.
var ignored = map[string]bool{"InputLayer": true, "Dropout": true, "SpatialDropout1D": true, "GaussianNoise": true, "GaussianDropout": true,
	"AlphaDropout": true, "ActivityRegularization": true}

// builder returns what traces layers of a class, or nil.
func builder(class string) func(*network, *layer) (*lower.Tensor, error) {
	switch class {
	case "LSTM", "GRU", "SimpleRNN":
		return (*network).recurrent
	case "Bidirectional":
		return (*network).bidirectional
	case "Dense":
		return (*network).dense
	case "Activation":
		return (*network).activationLayer
	case "ReLU":
		return (*network).reluLayer
	case "Softmax":
		return (*network).softmaxLayer
	case "BatchNormalization":
		return (*network).batchNorm
	case "Rescaling":
		return (*network).rescaling
	case "Flatten":
		return (*network).flatten
	case "GlobalAveragePooling1D", "GlobalMaxPooling1D":
		return (*network).pool
	}
	return nil
}

func (l *layer) supported() bool {
	return ignored[l.class] || l.class == "TimeDistributed" || builder(l.class) != nil
}

func (n *network) layer(l *layer) error {
	if !l.supported() {
		return unsupported("layers of this class are not supported")
	}
	if n.x == nil {
		if err := n.input(l); err != nil {
			return err
		}
	}
	if err := n.tr.At(l.config.Name); err != nil {
		return err
	}
	if ignored[l.class] {
		return nil
	}
	if l.class == "TimeDistributed" {
		inner, err := parseLayer(l.config.Layer)
		if err != nil {
			return err
		}
		if inner.class != "Dense" && inner.class != "Activation" && !ignored[inner.class] {
			return unsupported("only Dense, Activation and Dropout can be distributed over time")
		}
		inner.weights = l.weights
		return n.layer(inner)
	}
	x, err := builder(l.class)(n, l)
	if err == nil {
		n.x = x
	}
	return err
}

// input starts the graph by the shape that the first layer has.
func (n *network) input(l *layer) error {
	shape := l.config.BatchShape
	if shape == nil {
		shape = l.config.BatchInputShape
	}
	if shape == nil && len(l.weights) > 0 && len(l.weights[0].Shape) == 2 {
		features := l.weights[0].Shape[0]
		shape = []*int{nil, nil, &features}
	}
	if len(shape) < 2 || len(shape) > 3 {
		return unsupported("an input of %d dimensions, not [batch, time, channels] or [batch, channels]", len(shape))
	}
	channels := shape[len(shape)-1]
	if channels == nil {
		return unsupported("an input whose number of channels is not fixed")
	}
	sizes, roles := []int64{1, int64(*channels)}, []lower.Role{lower.Feature, lower.Feature}
	if len(shape) == 3 {
		sizes, roles = append([]int64{-1}, sizes...), append([]lower.Role{lower.Time}, roles...)
	}
	var err error
	n.tr, n.x, err = lower.NewTracer(sizes, roles, budget)
	return err
}

// take returns the numbers of weights, which must have the given shapes.
func (n *network) take(all []*weights.Tensor, shapes ...[]int) ([][]float32, error) {
	if len(all) != len(shapes) {
		return nil, fmt.Errorf("%d arrays of weights, want %d", len(all), len(shapes))
	}
	out := make([][]float32, len(shapes))
	for i, w := range all {
		if !slices.Equal(w.Shape, shapes[i]) {
			return nil, fmt.Errorf("weights of shape %v, want %v", w.Shape, shapes[i])
		}
		if n.left -= w.Len(); n.left < 0 {
			return nil, errors.New("the layers share more weights than the file holds")
		}
		out[i] = w.Floats()
	}
	return out, nil
}

func (n *network) width() int {
	s := n.x.Shape()
	w, _ := s[len(s)-1].Const()
	return int(w)
}

// transpose turns [rows, columns] into [columns, rows].
func transpose(v []float32, rows, columns int) []float32 {
	out := make([]float32, len(v))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = v[r*columns+c]
		}
	}
	return out
}

const maxUnits = 1 << 16

func (n *network) dense(l *layer) (*lower.Tensor, error) {
	in, units := n.width(), l.config.Units
	if units < 1 || units > maxUnits {
		return nil, fmt.Errorf("%d units", units)
	}
	shapes := [][]int{{in, units}}
	if flag(l.config.UseBias) {
		shapes = append(shapes, []int{units})
	}
	w, err := n.take(l.weights, shapes...)
	if err != nil {
		return nil, err
	}
	var bias []float32
	if len(w) > 1 {
		bias = w[1]
	}
	x, err := n.tr.Dense(n.x, transpose(w[0], in, units), units, bias)
	if err != nil {
		return nil, err
	}
	return n.activate(x, l.config.Activation)
}

func (n *network) activate(x *lower.Tensor, raw json.RawMessage) (*lower.Tensor, error) {
	name, err := function(raw)
	if err != nil {
		return nil, err
	}
	last := x.Rank() - 1
	switch name {
	case "linear":
		return x, nil
	case "relu":
		return n.tr.Unary(format.ReLU, x)
	case "sigmoid":
		return n.tr.Unary(format.Sigmoid, x)
	case "tanh":
		return n.tr.Unary(format.Tanh, x)
	case "softmax":
		return n.tr.Softmax(format.Softmax, x, last, last)
	case "log_softmax":
		return n.tr.Softmax(format.LogSoftmax, x, last, last)
	}
	return nil, unsupported("the activation %q is not supported", name)
}

func (n *network) activationLayer(l *layer) (*lower.Tensor, error) {
	return n.activate(n.x, l.config.Activation)
}

func (n *network) reluLayer(l *layer) (*lower.Tensor, error) {
	slope := string(l.config.NegativeSlope)
	if l.config.MaxValue != nil || l.config.Threshold != 0 || slope != "" && slope != "0" && slope != "0.0" && slope != "[0.0]" && slope != "null" {
		return nil, unsupported("a bound, slope or threshold is not supported")
	}
	return n.tr.Unary(format.ReLU, n.x)
}

func (n *network) softmaxLayer(l *layer) (*lower.Tensor, error) {
	if err := l.lastAxis(n.x.Rank()); err != nil {
		return nil, err
	}
	last := n.x.Rank() - 1
	return n.tr.Softmax(format.Softmax, n.x, last, last)
}

// lastAxis checks that a layer works along the channels. Keras counts the axes as we do: [batch, time, channels].
func (l *layer) lastAxis(rank int) error {
	switch strings.Trim(string(l.config.Axis), "[] \n") {
	case "", "-1", fmt.Sprint(rank - 1):
		return nil
	}
	return unsupported("axis %s is not supported, only the channels'", l.config.Axis)
}

func (n *network) batchNorm(l *layer) (*lower.Tensor, error) {
	if err := l.lastAxis(n.x.Rank()); err != nil {
		return nil, err
	}
	scale, center := string(l.config.Scale) != "false", flag(l.config.Center)
	eps := 1e-3
	if l.config.Epsilon != nil {
		eps = *l.config.Epsilon
	}
	shapes := slices.Repeat([][]int{{n.width()}}, 2)
	for _, has := range []bool{scale, center} {
		if has {
			shapes = append(shapes, shapes[0])
		}
	}
	w, err := n.take(l.weights, shapes...)
	if err != nil {
		return nil, err
	}
	var gamma, beta []float32
	if scale {
		gamma, w = w[0], w[1:]
	}
	if center {
		beta, w = w[0], w[1:]
	}
	return n.tr.Normalise(n.x, w[0], w[1], gamma, beta, eps)
}

func (n *network) rescaling(l *layer) (*lower.Tensor, error) {
	var scale, offset float32
	if json.Unmarshal(l.config.Scale, &scale) != nil || len(l.config.Offset) > 0 && json.Unmarshal(l.config.Offset, &offset) != nil {
		return nil, unsupported("a scale or offset that is not one number")
	}
	return n.tr.Scale(n.x, slices.Repeat([]float32{scale}, n.width()), slices.Repeat([]float32{offset}, n.width()))
}

func (n *network) flatten(*layer) (*lower.Tensor, error) {
	if n.timed() {
		return nil, unsupported("time flattened into channels is not supported")
	}
	return n.x, nil
}

func (n *network) timed() bool { return n.x.Rank() == 3 }

func (n *network) pool(l *layer) (*lower.Tensor, error) {
	if !n.timed() {
		return nil, errors.New("there is no time left")
	}
	if l.config.DataFormat == "channels_first" || l.config.KeepDims {
		return nil, unsupported("channels_first and keepdims are not supported")
	}
	kind := format.Mean
	if l.class == "GlobalMaxPooling1D" {
		kind = format.Max
	}
	return n.tr.Pool(kind, n.x, []int{0}, false)
}

func (n *network) recurrent(l *layer) (*lower.Tensor, error) {
	op, err := n.cell(l, l.weights)
	if err != nil {
		return nil, err
	}
	if l.config.GoBackwards {
		op.Flags |= format.FlagReverse
		if l.config.ReturnSequences {
			return nil, unsupported("go_backwards with return_sequences is not supported")
		}
	}
	return n.emit(l, op)
}

func (n *network) emit(l *layer, cells ...quant.Op) (*lower.Tensor, error) {
	steps, final, err := n.tr.Layer(n.x, cells)
	if l.config.ReturnSequences {
		return steps, err
	}
	return final, err
}

func (n *network) bidirectional(l *layer) (*lower.Tensor, error) {
	if l.config.Layer == nil {
		return nil, errors.New("no layer to run in two directions")
	}
	forward, err := parseLayer(l.config.Layer)
	if err != nil {
		return nil, err
	}
	backward := forward
	if raw := l.config.BackwardLayer; len(raw) > 0 && string(raw) != "null" {
		if backward, err = parseLayer(raw); err != nil {
			return nil, err
		}
	}
	if l.config.MergeMode == nil || *l.config.MergeMode != "concat" {
		return nil, unsupported("directions are only concatenated, not merged otherwise")
	}
	if forward.config.GoBackwards || forward.config.ReturnSequences != backward.config.ReturnSequences || len(l.weights)%2 != 0 {
		return nil, unsupported("directions that differ are not supported")
	}
	half := len(l.weights) / 2
	f, err := n.cell(forward, l.weights[:half])
	if err != nil {
		return nil, err
	}
	b, err := n.cell(backward, l.weights[half:])
	if err != nil {
		return nil, err
	}
	if f.Hidden != b.Hidden {
		return nil, unsupported("directions that differ are not supported")
	}
	b.Flags |= format.FlagReverse
	return n.emit(forward, f, b)
}

var kinds = map[string]format.Kind{"LSTM": format.LSTM, "GRU": format.GRU, "SimpleRNN": format.RNN}

// cell is one direction of a recurrent layer. The gates are i f c o and z r h, which is our order.
func (n *network) cell(l *layer, w []*weights.Tensor) (op quant.Op, err error) {
	c := &l.config
	kind, ok := kinds[l.class]
	switch {
	case !ok:
		return op, unsupported("%s is not supported in two directions", l.class)
	case !n.timed():
		return op, errors.New("there is no time left")
	case c.ReturnState || c.TimeMajor:
		return op, unsupported("return_state and time_major are not supported")
	case c.Units < 1 || c.Units > maxUnits:
		return op, fmt.Errorf("%d units", c.Units)
	}
	op = quant.Op{Kind: kind, Hidden: c.Units}
	if err := cellActivations(c, &op); err != nil {
		return op, err
	}
	in, rows := n.width(), (&format.Op{Kind: kind}).Gates()*c.Units
	after := kind == format.GRU && c.ResetAfter
	if kind == format.GRU && !after {
		op.Flags |= format.FlagResetBefore
	}
	shapes := [][]int{{in, rows}, {c.Units, rows}}
	switch {
	case flag(c.UseBias) && after:
		shapes = append(shapes, []int{2, rows})
	case flag(c.UseBias):
		shapes = append(shapes, []int{rows})
	}
	v, err := n.take(w, shapes...)
	if err != nil {
		return op, err
	}
	op.W, op.U = transpose(v[0], in, rows), transpose(v[1], c.Units, rows)
	if len(v) > 2 {
		op.B = v[2][:rows]
	}
	if len(v) > 2 && after {
		op.BH = slices.Clone(v[2][rows:])
		for i := range 2 * c.Units {
			op.B[i] += op.BH[i]
			op.BH[i] = 0
		}
	}
	return op, nil
}

func cellActivations(c *config, op *quant.Op) error {
	name, err := function(c.Activation)
	if err != nil {
		return err
	}
	if op.Kind == format.RNN && name == "relu" {
		op.Flags |= format.FlagReLU
		return nil
	}
	if name != "tanh" {
		return unsupported("the activation %q is not supported in a cell", name)
	}
	if op.Kind == format.RNN {
		return nil
	}
	if name, err = function(c.RecurrentActivation); err == nil && name != "sigmoid" {
		err = unsupported("the recurrent activation %q is not supported", name)
	}
	return err
}
