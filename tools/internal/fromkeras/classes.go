package fromkeras

import (
	"fmt"

	"github.com/recur-go/recur/tools/internal/lower"
)

// class is how layers of one class are imported.
type class struct {
	run     func(*use) ([]value, error)
	weights func(*config) (trained, other int) // of the layer itself
}

// classes are those of Keras that can be imported. The table is filled when the program starts since layers hold layers.
var classes map[string]class

func init() {
	conv := func(f single) class { return class{plain(f), kernel} }
	merge := func(f merging) class { return class{run: f.run} }
	classes = map[string]class{
		"InputLayer": {run: through(same)}, "Identity": {run: through(same)}, "ActivityRegularization": {run: through(same)},
		"Dropout": {run: through(same)}, "SpatialDropout1D": {run: through(same)}, "SpatialDropout2D": {run: through(same)},
		"SpatialDropout3D": {run: through(same)}, "AlphaDropout": {run: through(same)}, "GaussianDropout": {run: through(same)},
		"GaussianNoise": {run: through(same)},

		"Dense":              {through((*use).dense), kernel},
		"Activation":         {run: through((*use).activationLayer)},
		"ReLU":               {run: through((*use).relu)},
		"LeakyReLU":          {run: through((*use).leakyReLU)},
		"PReLU":              {through((*use).preLU), always(1)},
		"ELU":                {run: through((*use).elu)},
		"ThresholdedReLU":    {run: through((*use).thresholdedReLU)},
		"Softmax":            {run: unmasked((*use).softmaxLayer)},
		"Rescaling":          {run: unmasked((*use).rescaling)},
		"Normalization":      {unmasked((*use).normalization), moments},
		"BatchNormalization": {through((*use).batchNorm), func(c *config) (int, int) { return gammaBeta(c), 2 }},
		"LayerNormalization": {through((*use).layerNorm), func(c *config) (int, int) { return gammaBeta(c), 0 }},
		"GroupNormalization": {through((*use).groupNorm), func(c *config) (int, int) { return gammaBeta(c), 0 }},

		"Conv1D": conv((*use).conv), "Conv2D": conv((*use).conv),
		"DepthwiseConv1D": conv((*use).depthwise), "DepthwiseConv2D": conv((*use).depthwise),
		"SeparableConv1D": {plain((*use).separable), twoKernels}, "SeparableConv2D": {plain((*use).separable), twoKernels},
		"Conv1DTranspose": conv((*use).convTranspose), "Conv2DTranspose": conv((*use).convTranspose),
		"MaxPooling1D": {run: plain((*use).pool)}, "MaxPooling2D": {run: plain((*use).pool)},
		"AveragePooling1D": {run: plain((*use).pool)}, "AveragePooling2D": {run: plain((*use).pool)},
		"GlobalMaxPooling1D": {run: plain((*use).globalPool)}, "GlobalMaxPooling2D": {run: plain((*use).globalPool)},
		"GlobalAveragePooling1D": {run: (*use).globalMean}, "GlobalAveragePooling2D": {run: plain((*use).globalPool)},
		"ZeroPadding1D": {run: plain((*use).zeroPadding)}, "ZeroPadding2D": {run: plain((*use).zeroPadding)},
		"Cropping1D": {run: plain((*use).cropping)}, "Cropping2D": {run: plain((*use).cropping)},
		"UpSampling1D": {run: plain((*use).upSampling)}, "UpSampling2D": {run: plain((*use).upSampling)},

		"Flatten":      {run: plain((*use).flatten)},
		"Reshape":      {run: plain((*use).reshape)},
		"Permute":      {run: plain((*use).permute)},
		"RepeatVector": {run: plain((*use).repeatVector)},
		"Masking":      {run: (*use).masking},

		"Add": merge(sumOf), "Subtract": merge(pairwise(lower.Sub)), "Multiply": merge(fold(lower.Mul)), "Average": merge(meanOf),
		"Maximum": merge(fold(lower.Max)), "Minimum": merge(fold(lower.Min)), "Concatenate": merge(concatenate), "Dot": merge(dot),

		"LSTM": {(*use).recurrent, cellWeights}, "GRU": {(*use).recurrent, cellWeights}, "SimpleRNN": {(*use).recurrent, cellWeights},
		"CuDNNLSTM": {(*use).recurrent, always(3)}, "CuDNNGRU": {(*use).recurrent, always(3)},
		"RNN": {run: (*use).recurrent}, "Bidirectional": {run: (*use).bidirectional},
		"LSTMCell": {(*use).alone, cellWeights}, "GRUCell": {(*use).alone, cellWeights}, "SimpleRNNCell": {(*use).alone, cellWeights},
		"StackedRNNCells": {run: (*use).alone},
		"TimeDistributed": {run: (*use).timeDistributed},
		"Sequential":      {run: (*use).model}, "Functional": {run: (*use).model}, "Model": {run: (*use).model},
	}
}

// single makes a tensor of one.
type single func(*use, *lower.Tensor) (*lower.Tensor, error)

func (f single) run(u *use) (*lower.Tensor, error) {
	if len(u.in) != 1 {
		return nil, fmt.Errorf("%d inputs, want 1", len(u.in))
	}
	return f(u, u.in[0].t)
}

// plain is a layer that does not hand masks on.
func plain(f single) func(*use) ([]value, error) {
	return func(u *use) ([]value, error) {
		t, err := f.run(u)
		return []value{{t: t}}, err
	}
}

// through is a layer that leaves masks as they are.
func through(f single) func(*use) ([]value, error) {
	return func(u *use) ([]value, error) {
		t, err := f.run(u)
		if err != nil {
			return nil, err
		}
		return []value{{t, u.in[0].keep}}, nil
	}
}

// unmasked is a layer in which masks mean something, or different things in different versions of Keras.
func unmasked(f single) func(*use) ([]value, error) {
	return func(u *use) ([]value, error) {
		if u.in[0].keep != nil {
			return nil, unsupported("it comes after Masking")
		}
		return plain(f)(u)
	}
}

func same(_ *use, x *lower.Tensor) (*lower.Tensor, error) { return x, nil }

func always(n int) func(*config) (int, int) { return func(*config) (int, int) { return n, 0 } }

// kernel is a matrix and a bias.
func kernel(c *config) (int, int) {
	if flag(c.UseBias) {
		return 2, 0
	}
	return 1, 0
}

func twoKernels(c *config) (int, int) {
	n, _ := kernel(c)
	return n + 1, 0
}

func cellWeights(c *config) (int, int) {
	n, _ := kernel(c)
	return n + 1, 0
}

func moments(c *config) (int, int) {
	if absent(c.Mean) {
		return 0, 3
	}
	return 0, 0
}

func (c *config) scaled() bool   { return string(c.Scale) != "false" }
func (c *config) centered() bool { return flag(c.Center) }

func gammaBeta(c *config) (n int) {
	for _, has := range []bool{c.scaled(), c.centered()} {
		if has {
			n++
		}
	}
	return n
}

// model is a model used as a layer.
func (u *use) model() ([]value, error) {
	g := u.layer.graph
	return u.network.graph(g, g.outputs, u.in)
}
