package fromkeras

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	memory "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/tools/internal/hdf5/hdf5test"
	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/npy"
	"github.com/recur-go/recur/tools/internal/shared"
)

// array is random, with a fixed seed.
func array(seed int64, shape ...int) hdf5test.Dataset {
	rnd := rand.New(rand.NewSource(seed))
	n := 1
	for _, d := range shape {
		n *= d
	}
	d := hdf5test.Dataset{Shape: shape, Data: make([]float32, n)}
	for i := range d.Data {
		d.Data[i] = float32(rnd.NormFloat64() * 0.5)
	}
	return d
}

// entry is a layer of a test model: its JSON, and its weights by their paths in the two formats.
type entry struct {
	class, config string
	folder        string
	weights       []hdf5test.Dataset
	paths         []string
}

func cell(class, config, folder string, w ...hdf5test.Dataset) entry {
	e := entry{class: class, config: config, folder: folder, weights: w}
	for i := range w {
		e.paths = append(e.paths, fmt.Sprint("cell/vars/", i))
	}
	return e
}

func flat(class, config, folder string, w ...hdf5test.Dataset) entry {
	e := cell(class, config, folder, w...)
	for i := range w {
		e.paths[i] = fmt.Sprint("vars/", i)
	}
	return e
}

func (e entry) json(i int) string {
	return fmt.Sprintf(`{"class_name":%q,"config":{"name":"layer%d",%s}}`, e.class, i, e.config)
}

func configOf(input string, entries []entry) string {
	all := []string{fmt.Sprintf(`{"class_name":"InputLayer","config":{"name":"in","batch_input_shape":%s}}`, input)}
	for i, e := range entries {
		all = append(all, e.json(i))
	}
	return `{"class_name":"Sequential","config":{"name":"s","layers":[` + strings.Join(all, ",") + `]}}`
}

func h5(config string, entries []entry) []byte {
	root := &hdf5test.Group{Attrs: map[string][]string{"model_config": {config}, "keras_version": {"2.4.0"}}}
	root.Sub("model_weights")
	for i, e := range entries {
		g := root.Sub("model_weights").Sub(fmt.Sprint("layer", i))
		g.Attrs = map[string][]string{"weight_names": {}}
		for k, w := range e.weights {
			name := fmt.Sprintf("layer%d/w%d:0", i, k)
			g.Put(name, w)
			g.Attrs["weight_names"] = append(g.Attrs["weight_names"], name)
		}
	}
	return hdf5test.Encode(root)
}

func archive(config string, entries []entry, separator string) []byte {
	root := &hdf5test.Group{}
	for _, e := range entries {
		for k, w := range e.weights {
			path := "layers/" + e.folder + "/" + e.paths[k]
			if separator != "/" {
				dir, leaf, _ := strings.Cut(path, "/vars/")
				root.Sub(strings.ReplaceAll(dir, "/", separator)).Put("vars/"+leaf, w)
				continue
			}
			root.Put(path, w)
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string][]byte{"config.json": []byte(config), "metadata.json": []byte(`{"keras_version":"3.1.0"}`),
		"model.weights.h5": hdf5test.Encode(root)} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// sequence is [time][channels] in float64.
type sequence [][]float64

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// product is x W + b for W [in, out], with b from row b.
func product(x []float64, w hdf5test.Dataset, b []float32) []float64 {
	out := make([]float64, w.Shape[1])
	for j := range out {
		if b != nil {
			out[j] = float64(b[j])
		}
		for i, v := range x {
			out[j] += v * float64(w.Data[i*len(out)+j])
		}
	}
	return out
}

// reference runs a cell by Keras' definition, gates i f c o and z r h.
func (e entry) reference(xs sequence, kind string, backward bool) (out sequence) {
	units := e.weights[1].Shape[0]
	h, c := make([]float64, units), make([]float64, units)
	var bias, inner []float32
	if len(e.weights) > 2 {
		bias = e.weights[2].Data
	}
	after := strings.Contains(e.config, `"reset_after":true`)
	if after {
		bias, inner = bias[:3*units], bias[3*units:]
	}
	out = make(sequence, len(xs))
	for s := range xs {
		t := s
		if backward {
			t = len(xs) - 1 - s
		}
		x := product(xs[t], e.weights[0], bias)
		u := product(h, e.weights[1], inner)
		next := make([]float64, units)
		for j := range units {
			switch kind {
			case "LSTM":
				gate := func(k int) float64 { return x[k*units+j] + u[k*units+j] }
				c[j] = sigmoid(gate(1))*c[j] + sigmoid(gate(0))*math.Tanh(gate(2))
				next[j] = sigmoid(gate(3)) * math.Tanh(c[j])
			case "GRU":
				z := sigmoid(x[j] + u[j])
				r := sigmoid(x[units+j] + u[units+j])
				n := x[2*units+j] + r*u[2*units+j]
				if !after {
					n = x[2*units+j]
					for i := range units {
						ri := sigmoid(x[units+i] + u[units+i])
						n += ri * h[i] * float64(e.weights[1].Data[i*3*units+2*units+j])
					}
				}
				next[j] = z*h[j] + (1-z)*math.Tanh(n)
			case "SimpleRNN":
				next[j] = math.Tanh(x[j] + u[j])
			}
		}
		h = next
		out[t] = h
	}
	return out
}

const input = `[null,6,3]`

var x = array(99, 6, 3)

func inputSequence() (xs sequence) {
	for t := range 6 {
		var row []float64
		for _, v := range x.Data[3*t : 3*t+3] {
			row = append(row, float64(v))
		}
		xs = append(xs, row)
	}
	return xs
}

// TestCells holds every cell, one-way and two-way, in both formats, against Keras' definition.
func TestCells(t *testing.T) {
	const u = 4
	for name, c := range map[string]struct {
		class, config string
		w             []hdf5test.Dataset
	}{
		"lstm":             {"LSTM", `"units":4,"activation":"tanh","recurrent_activation":"sigmoid"`, []hdf5test.Dataset{array(1, 3, 4*u), array(2, u, 4*u), array(3, 4*u)}},
		"lstm_nobias":      {"LSTM", `"units":4,"activation":"tanh","recurrent_activation":"sigmoid","use_bias":false`, []hdf5test.Dataset{array(1, 3, 4*u), array(2, u, 4*u)}},
		"gru":              {"GRU", `"units":4,"activation":"tanh","recurrent_activation":"sigmoid"`, []hdf5test.Dataset{array(4, 3, 3*u), array(5, u, 3*u), array(6, 3*u)}},
		"gru_reset_before": {"GRU", `"units":4,"activation":"tanh","recurrent_activation":"sigmoid","reset_after":false`, []hdf5test.Dataset{array(4, 3, 3*u), array(5, u, 3*u), array(6, 3*u)}},
		"gru_reset_after":  {"GRU", `"units":4,"activation":"tanh","recurrent_activation":"sigmoid","reset_after":true`, []hdf5test.Dataset{array(7, 3, 3*u), array(8, u, 3*u), array(9, 2, 3*u)}},
		"rnn":              {"SimpleRNN", `"units":4,"activation":{"class_name":"function","config":"tanh"}`, []hdf5test.Dataset{array(10, 3, u), array(11, u, u), array(12, u)}},
	} {
		second := make([]hdf5test.Dataset, len(c.w))
		for i, w := range c.w {
			second[i] = array(int64(50+i), w.Shape...)
		}
		for _, sequences := range []bool{false, true} {
			config := fmt.Sprintf(`%s,"return_sequences":%v`, c.config, sequences)
			one := cell(c.class, config, snake(c.class), c.w...)
			other := cell(c.class, config, "", second...)
			two := cell("Bidirectional", `"merge_mode":"concat","layer":`+one.json(9), "bidirectional", append(c.w[:len(c.w):len(c.w)], second...)...)
			for i := range two.paths {
				dir := "forward_layer"
				if i >= len(c.w) {
					dir = "backward_layer"
				}
				two.paths[i] = fmt.Sprintf("%s/cell/vars/%d", dir, i%len(c.w))
			}
			f, b := one.reference(inputSequence(), c.class, false), other.reference(inputSequence(), c.class, true)
			var want, both []float64
			for s := range f {
				want, both = append(want, f[s]...), append(append(both, f[s]...), b[s]...)
			}
			if !sequences {
				want, both = f[len(f)-1], append(append([]float64{}, f[len(f)-1]...), b[0]...)
			}
			expect(t, fmt.Sprint(name, sequences), []entry{one}, want)
			expect(t, fmt.Sprint(name, sequences, " two-way"), []entry{two}, both)
			if !sequences {
				back := cell(c.class, config+`,"go_backwards":true`, snake(c.class), c.w...)
				expect(t, name+" backwards", []entry{back}, one.reference(inputSequence(), c.class, true)[0])
			}
		}
	}
}

// expect runs a model from each format.
func expect(t *testing.T, name string, entries []entry, want []float64) {
	t.Helper()
	config := configOf(input, entries)
	for format, b := range map[string][]byte{"h5": h5(config, entries), "keras": archive(config, entries, "/"), "windows": archive(config, entries, `\`)} {
		got, err := convert(t, b, x.Data)
		if err != nil {
			t.Errorf("%s, %s: %v", name, format, err)
			continue
		}
		if worst := difference(got, want); !(worst < 1e-5) {
			t.Errorf("%s, %s: differs by %g", name, format, worst)
		}
	}
}

func convert(t *testing.T, b []byte, x []float32) ([]float32, error) {
	t.Helper()
	m, err := build(b, Options{})
	if err != nil {
		return nil, err
	}
	y := make([]float32, outputs(m, len(x)))
	return y, m.NewSession().Run(x, y)
}

func difference(got []float32, want []float64) float64 {
	if len(got) != len(want) {
		return math.NaN()
	}
	worst := 0.0
	for i := range got {
		worst = math.Max(worst, math.Abs(float64(got[i])-want[i]))
	}
	return worst
}

// TestLayers checks what has no state: the mean over time of batch-normalised, rescaled dense layers.
func TestLayers(t *testing.T) {
	w, b, norm := array(1, 3, 2), array(2, 2), []hdf5test.Dataset{array(3, 2), array(4, 2), array(5, 2), {Shape: []int{2}, Data: []float32{0.5, 2}}}
	entries := []entry{
		flat("Rescaling", `"scale":2,"offset":-1`, "rescaling"),
		flat("Dropout", `"rate":0.5`, "dropout"),
		flat("TimeDistributed", `"layer":{"class_name":"Dense","config":{"name":"inner","units":2,"activation":"relu"}}`, "time_distributed", w, b),
		flat("BatchNormalization", `"axis":[2],"epsilon":0.01`, "batch_normalization", norm...),
		flat("GlobalAveragePooling1D", `"data_format":"channels_last"`, "global_average_pooling1d"),
		flat("Flatten", `"trainable":true`, "flatten"),
	}
	entries[2].paths = []string{"layer/vars/0", "layer/vars/1"}
	want := make([]float64, 2)
	for _, row := range inputSequence() {
		for i := range row {
			row[i] = 2*row[i] - 1
		}
		for o, v := range product(row, w, b.Data) {
			v = max(v, 0)
			v = (v-float64(norm[2].Data[o]))/math.Sqrt(float64(norm[3].Data[o])+0.01)*float64(norm[0].Data[o]) + float64(norm[1].Data[o])
			want[o] += v / 6
		}
	}
	expect(t, "layers", entries, want)
}

// TestDependencies is of archives of Keras 2.12 to 2.14, which count layers with weights twice.
func TestDependencies(t *testing.T) {
	w := [][]hdf5test.Dataset{{array(1, 3, 2), array(2, 2)}, {array(3, 2, 4), array(4, 4)}}
	entries := []entry{
		flat("Dense", `"units":2`, "dense", w[0]...), flat("ReLU", `"x":0`, "re_lu"), flat("Dense", `"units":4`, "dense_2", w[1]...),
	}
	b := archive(configOf(input, entries), entries, "/")
	b = rezipped(t, b, "model.weights.h5", func() []byte {
		root := &hdf5test.Group{}
		for i, folder := range []string{"dense", "dense_2"} {
			for k, d := range w[i] {
				root.Put(fmt.Sprint("_layer_checkpoint_dependencies/", folder, "/vars/", k), d)
			}
		}
		return hdf5test.Encode(root)
	}())
	var want []float64
	for _, row := range inputSequence() {
		h := product(row, w[0][0], w[0][1].Data)
		for i := range h {
			h[i] = max(h[i], 0)
		}
		want = append(want, product(h, w[1][0], w[1][1].Data)...)
	}
	got, err := convert(t, b, x.Data)
	if err != nil || !(difference(got, want) < 1e-5) {
		t.Errorf("%v, want %v: %v", got, want, err)
	}
}

// rezipped replaces a file of an archive.
func rezipped(t *testing.T, b []byte, name string, data []byte) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range r.File {
		if f.Name != name {
			err = errors.Join(err, z.Copy(f))
		}
	}
	w, e := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if e == nil {
		_, e = w.Write(data)
	}
	if err := errors.Join(err, e, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFunctional(t *testing.T) {
	w := []hdf5test.Dataset{array(1, 3, 2), array(2, 2)}
	entries := []entry{flat("Dense", `"units":2`, "dense", w...)}
	var want []float64
	for _, row := range inputSequence() {
		want = append(want, product(row, w[0], w[1].Data)...)
	}
	const in = `{"class_name":"InputLayer","name":"in","config":{"name":"in","batch_shape":[null,6,3]},"inbound_nodes":[]}`
	dense := func(inbound string) string {
		return `{"class_name":"Dense","name":"layer0","config":{"name":"layer0","units":2},"inbound_nodes":` + inbound + `}`
	}
	config := func(layers, ends string) []byte {
		return h5(`{"class_name":"Functional","config":{"name":"net","layers":[`+layers+`],`+ends+`}}`, entries)
	}
	const ends = `"input_layers":[["in",0,0]],"output_layers":[["layer0",0,0]]`
	for name, inbound := range map[string]string{
		"keras 2": `[[["in",0,0,{}]]]`,
		"keras 3": `[{"args":[{"class_name":"__keras_tensor__","config":{"shape":[null,6,3],"keras_history":["in",0,0]}}],"kwargs":{}}]`,
	} {
		for _, ends := range []string{ends, `"input_layers":["in",0,0],"output_layers":["layer0",0,0]`, `"input_layers":{"a":["in",0,0]},"output_layers":{"b":["layer0",0,0]}`} {
			got, err := convert(t, config(dense(inbound)+","+in, ends), x.Data)
			if err != nil || !(difference(got, want) < 1e-5) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
	for want, layers := range map[string]string{
		"2 inputs, want 1":                 dense(`[[["in",0,0,{}],["in",0,0,{}]]]`) + "," + in,
		"depends on no input":              dense(`[[["layer0",0,0,{}]]]`) + "," + in,
		`layer "other" is missing`:         dense(`[[["other",0,0,{}]]]`) + "," + in,
		`it is called with mask`:           dense(`[[["in",0,0,{"mask":["in",0,0]}]]]`) + "," + in,
		`it is called with training`:       dense(`[[["in",0,0,{"training":true}]]]`) + "," + in,
		`layer "layer0": inbound_nodes`:    dense(`[[["in"]]]`) + "," + in,
		`layer "in" has no output 1`:       dense(`[[["in",0,1,{}]]]`) + "," + in,
		`layer "layer0" has no input`:      dense(`[]`) + "," + in + `,{"class_name":"Add","name":"layer1","config":{"name":"layer1"},"inbound_nodes":[[["in",0,0],["layer0",0,0]]]}`,
		`layer "layer1" feeds itself`:      dense(`[[["layer1",0,0,{}]]]`) + "," + in + `,{"class_name":"Add","name":"layer1","config":{"name":"layer1"},"inbound_nodes":[[["in",0,0],["layer0",0,0]]]}`,
		`call -1 of layer "in"`:            dense(`[[["in",-1,0,{}]]]`) + "," + in,
		`lengths 3 and 2 do not broadcast`: dense(`[[["in",0,0]]]`) + "," + in + `,{"class_name":"Add","name":"layer1","config":{"name":"layer1"},"inbound_nodes":[[["in",0,0],["layer0",0,0]]]}`,
	} {
		ends := ends
		if strings.Contains(layers, "layer1\",\"config") {
			ends = strings.Replace(ends, "layer0", "layer1", 1)
		}
		if _, err := convert(t, config(layers, ends), x.Data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestRefused names what cannot be imported.
func TestRefused(t *testing.T) {
	lstm := []hdf5test.Dataset{array(1, 3, 16), array(2, 4, 16), array(3, 16)}
	const usual = `"activation":"tanh","recurrent_activation":"sigmoid"`
	for want, e := range map[string]entry{
		`MultiHeadAttention "layer0": layers of this class`: flat("MultiHeadAttention", `"units":[1]`, "x"),
		`Attention "layer0"`:                                flat("Attention", `"x":0`, "x"),
		`Lambda "layer0"`:                                   flat("Lambda", `"function":["4wAAAA"]`, "x"),
		`Embedding "layer0"`:                                flat("Embedding", `"input_dim":3`, "x"),
		`My>LSTM "layer0"`:                                  flat("My>LSTM", `"units":4`, "x"),
		`ConvLSTM2D "layer0"`:                               flat("ConvLSTM2D", `"filters":4`, "x"),
		`LSTMCell "layer0": a cell outside`:                 flat("LSTMCell", `"units":4,`+usual, "x", lstm...),
		`LSTM "layer0": the activation "gelu"`:              cell("LSTM", `"units":4,"activation":"gelu","recurrent_activation":"sigmoid"`, "lstm", lstm...),
		`the activation "swish" is not supported in a cell`: cell("LSTM", `"units":4,"activation":"tanh","recurrent_activation":"swish"`, "lstm", lstm...),
		`the config leaves an activation out`:               cell("LSTM", `"units":4,"activation":"tanh"`, "lstm", lstm...),
		`time_major`:                                        cell("LSTM", `"units":4,"time_major":true,`+usual, "lstm", lstm...),
		`weights of shape [3 16], want [3 20]`:              cell("LSTM", `"units":5,`+usual, "lstm", lstm...),
		`0 arrays of weights, want 3`:                       cell("LSTM", `"units":5,`+usual, "lstm"),
		`the merge_mode "max" is not supported`:             cell("Bidirectional", `"merge_mode":"max","layer":{"class_name":"LSTM","config":{"units":4,`+usual+`}}`, "bidirectional", append(lstm, lstm...)...),
		`it wraps no layer`:                                 cell("Bidirectional", `"merge_mode":"concat"`, "bidirectional"),
		`Dense is not supported in two directions`:          cell("Bidirectional", `"layer":{"class_name":"Dense","config":{"units":1}}`, "bidirectional", array(1, 3, 1), array(2, 1), array(1, 3, 1), array(2, 1)),
		`the cell Dense is not supported`:                   cell("RNN", `"cell":{"class_name":"Dense","config":{"units":1}}`, "rnn", array(1, 3, 1), array(2, 1)),
		`PeepholeLSTMCell "p": layers of this class`:        cell("RNN", `"cell":{"class_name":"PeepholeLSTMCell","config":{"name":"p","units":1}}`, "rnn", array(1, 3, 1)),
		`the activation "sparsemax"`:                        flat("Activation", `"activation":"sparsemax"`, "activation"),
		`the activation "PReLU" has weights of its own`:     flat("Activation", `"activation":{"class_name":"PReLU","config":{}}`, "activation"),
		`the activation "Mine"`:                             flat("Activation", `"activation":{"class_name":"Mine","config":{}}`, "activation"),
		`-1 units`:                                          flat("Dense", `"units":-1`, "dense", lstm[:2]...),
		`its weights are quantised`:                         flat("Dense", `"units":2,"dtype":{"class_name":"QuantizedDTypePolicy"}`, "dense", lstm...),
		`TimeDistributed "": its input has no time`:         flat("TimeDistributed", `"layer":{"class_name":"TimeDistributed","config":{"layer":{"class_name":"ReLU","config":{}}}}`, "x"),
		`padding "reflect" is not supported`:                flat("Conv1D", `"filters":2,"kernel_size":[2],"padding":"reflect"`, "x", array(1, 2, 3, 2), array(2, 2)),
		`the interpolation "bilinear"`:                      flat("UpSampling1D", `"interpolation":"bilinear"`, "x"),
		`a window of 9 points over 6`:                       flat("MaxPooling1D", `"pool_size":9`, "x"),
		`a window of [0]`:                                   flat("MaxPooling1D", `"pool_size":0`, "x"),
		`the operation "" is not supported`:                 flat("TFOpLambda", `"x":0`, "x"),
		`the operation "einsum" is not supported`:           flat("TFOpLambda", `"function":"linalg.einsum"`, "x"),
		`an index of 0 dimensions`:                          flat("SlicingOpLambda", `"x":0`, "x"),
		`1 operands`:                                        flat("TFOpLambda", `"function":"math.add"`, "x"),
		`rms_scaling`:                                       flat("LayerNormalization", `"rms_scaling":true`, "x", array(1, 3), array(1, 3)),
	} {
		_, err := convert(t, h5(configOf(input, []entry{e}), []entry{e}), x.Data)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, b := range map[string][]byte{
		"weights only":                        hdf5test.Encode(&hdf5test.Group{}),
		"not an HDF5 file":                    []byte("x"),
		"zip":                                 []byte("PK\x03\x04"),
		`class "Net"`:                         h5(`{"class_name":"Net","config":{"layers":[{"class_name":"Dense","config":{}}]}}`, nil),
		"config:":                             h5(`{`, nil),
		"a layer without":                     h5(`{"class_name":"Sequential","config":[null]}`, nil),
		"no shape":                            h5(`{"class_name":"Sequential","config":[{"class_name":"ReLU","config":{}}]}`, nil),
		"only the batch":                      h5(configOf(`[null,6,null]`, nil), nil),
		"not 2 to 6":                          h5(configOf(`[null]`, nil), nil),
		`LSTM "layer0": layers of this class`: h5(`{"class_name":"Sequential","config":[{"module":"mine","class_name":"LSTM","config":{"name":"layer0","batch_input_shape":[null,6,3]}}]}`, nil),
	} {
		if _, err := convert(t, b, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestOpenTime is of models that leave the length of time open.
func TestOpenTime(t *testing.T) {
	conv := flat("Conv1D", `"filters":2,"kernel_size":[3]`, "conv1d", array(1, 3, 3, 2), array(2, 2))
	b := h5(configOf(`[null,null,3]`, []entry{conv}), []entry{conv})
	_, err := build(b, Options{})
	var u *lower.Unsupported
	if !errors.As(err, &u) || !strings.Contains(err.Error(), `Conv1D "layer0": `) || !strings.Contains(err.Error(), "-shape in=1xSTEPSx3") {
		t.Error(err)
	}
	m, err := build(b, Options{Shapes: map[string][]int64{"in": {1, 6, 3}}})
	if err != nil || m.InputWidth() != 18 || m.OutputWidth() != 8 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := build(b, Options{Shapes: map[string][]int64{"out": {1}}}); err == nil || !strings.Contains(err.Error(), `no input "out"; it has in`) {
		t.Error(err)
	}
}

// TestHostile gives configs and weights that are small and mean much.
func TestHostile(t *testing.T) {
	const deep = 9000
	nested := strings.Repeat(`{"class_name":"Bidirectional","config":{"name":"b","layer":`, deep/2) + "{}" + strings.Repeat("}}", deep/2)
	one := flat("Dense", `"units":512`, "dense", array(1, 512, 512), array(2, 512))
	shared := h5(configOf(`[null,6,512]`, []entry{one}), []entry{one})
	var all []string
	for range 1000 {
		all = append(all, one.json(0))
	}
	again := &hdf5test.Group{Attrs: map[string][]string{"model_config": {`{"class_name":"Sequential","config":[{"class_name":"InputLayer","config":{"batch_shape":[null,1,512]}},` +
		strings.Join(all, ",") + `]}`}}}
	layer := again.Sub("model_weights").Sub("layer0")
	layer.Attrs = map[string][]string{"weight_names": {"a", "b"}}
	layer.Put("a", one.weights[0])
	layer.Put("b", one.weights[1])
	parts := &hdf5test.Group{Attrs: map[string][]string{"model_config": again.Attrs["model_config"]}}
	layer = parts.Sub("model_weights").Sub("layer0")
	layer.Attrs = map[string][]string{}
	for i := range 4000 {
		layer.Attrs[fmt.Sprint("weight_names", i)] = []string{}
	}
	many := func(input, layer string, n int) []byte {
		layers := strings.TrimSuffix(strings.Repeat(layer+",", n), ",")
		return h5(`{"class_name":"Sequential","config":[{"class_name":"InputLayer","config":{"batch_input_shape":`+input+`}},`+layers+`]}`, nil)
	}
	thrice := `{"class_name":"ReLU","config":{}}`
	for i := range maxNesting - 2 {
		thrice = fmt.Sprintf(`{"class_name":"Functional","name":"m","config":{"name":"m","layers":[
			{"class_name":"InputLayer","name":"in","config":{"name":"in","batch_shape":[null,3,%d]}},%s],
			"input_layers":["in",0,0],"output_layers":["m",2,0]}}`, 2+i%2, strings.TrimSuffix(thrice, "}")+
			`,"name":"m","inbound_nodes":[[["in",0,0]],[["m",0,0]],[["m",1,0]]]}`)
	}
	for name, b := range map[string][]byte{
		"parts":       hdf5test.Encode(parts),
		"softmax":     many(`[null,512,1024]`, `{"class_name":"Softmax","config":{"axis":1}}`, 99),
		"pool":        many(`[null,512,1024]`, `{"class_name":"MaxPooling1D","config":{"strides":1,"padding":"same"}}`, 99),
		"pad":         many(`[null,16,16]`, `{"class_name":"ZeroPadding1D","config":{"padding":60000}}`, 99),
		"repeat":      many(`[null,1024]`, `{"class_name":"RepeatVector","config":{"n":65536}}`, 1),
		"gelu":        many(`[null,32,32]`, `{"class_name":"Activation","config":{"activation":"gelu"}}`, 4000),
		"thrice":      h5(thrice, nil),
		"deep":        h5(`{"class_name":"Sequential","config":[`+nested+`]}`, []entry{one}),
		"many layers": h5(`{"class_name":"Sequential","config":[{}`+strings.Repeat(",{}", 1<<20)+`]}`, []entry{one}),
		"shared":      hdf5test.Encode(again),
		"cut":         shared[:len(shared)-100],
	} {
		took, used, err := cost(b)
		if took > time.Second || used > 256<<20 || err == nil {
			t.Errorf("%s: %v, took %v and %d MB", name, err, took, used>>20)
		}
	}
}

func cost(b []byte) (took time.Duration, bytes uint64, err error) {
	var before, after memory.MemStats
	memory.ReadMemStats(&before)
	start := clock()
	_, err = build(b, Options{})
	took = clock() - start
	memory.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc, err
}

// TestPublished holds trained models as published against float64 outputs, within 1e-4 of their spread.
func TestPublished(t *testing.T) {
	dir := shared.Dir(t, "suites")
	cases, err := filepath.Glob(filepath.Join(dir, "keras-ref", "*", "meta.json"))
	if err != nil || len(cases) == 0 {
		t.Fatal("no models", err)
	}
	for _, path := range cases {
		name := filepath.Base(filepath.Dir(path))
		var meta struct {
			Model string  `json:"model"`
			Std   float64 `json:"out_std"`
		}
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &meta)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(meta.Model)))
		if err != nil {
			t.Fatal(err)
		}
		in, out := load(t, filepath.Dir(path), "in_x"), load(t, filepath.Dir(path), "out64_y")
		worst := 0.0
		for k := range in.Shape[0] {
			size, width := len(in.Data)/in.Shape[0], len(out.Data)/out.Shape[0]
			var got []float32
			if got, err = convert(t, b, in.Data[k*size:(k+1)*size]); err != nil {
				break
			}
			var want []float64
			for _, v := range out.Data[k*width : (k+1)*width] {
				want = append(want, float64(v))
			}
			worst = math.Max(worst, difference(got, want))
		}
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case !(worst <= 1e-4*meta.Std):
			t.Errorf("%s: differs by %g, of a spread of %g", name, worst, meta.Std)
		}
	}
	t.Logf("%d models", len(cases))
}

func load(t *testing.T, dir, name string) *npy.Array {
	t.Helper()
	all, err := npy.ReadFile(filepath.Join(dir, name+".npy"))
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Array
}

func TestDamaged(t *testing.T) {
	w := []hdf5test.Dataset{array(1, 3, 2), array(2, 2)}
	entries := []entry{flat("Dense", `"units":2,"activation":"softmax"`, "dense", w...)}
	config := configOf(input, entries)
	for _, b := range [][]byte{h5(config, entries), archive(config, entries, "/")} {
		for n := range b {
			if _, err := convert(t, b[:n], x.Data); err == nil && n < len(b)/2 {
				t.Errorf("%d of %d bytes are accepted", n, len(b))
			}
		}
		for i := range b {
			c := bytes.Clone(b)
			c[i] ^= 0xff
			if m, err := Read(c); err == nil {
				Import(m, Options{})
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	w := []hdf5test.Dataset{array(1, 3, 2), array(2, 2)}
	entries := []entry{flat("Dense", `"units":2,"activation":"softmax"`, "dense", w...)}
	f.Add(h5(configOf(input, entries), entries))
	f.Add(archive(configOf(input, entries), entries, `\`))
	f.Fuzz(func(t *testing.T, b []byte) { inTime(t, func() { imported(b) }) })
}

func imported(b []byte) {
	if m, err := Read(b); err == nil {
		Import(m, Options{})
	}
}

// FuzzDamaged is of files that Keras saved, with some bytes replaced.
func FuzzDamaged(f *testing.F) {
	var files [][]byte
	for _, version := range []string{"keras2", "keras3"} {
		cases := golden(f, version)
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			for _, ext := range slices.Sorted(maps.Keys(cases[name].files)) {
				files = append(files, cases[name].files[ext])
			}
		}
	}
	for i := range 8 {
		f.Add(uint16(i*31), int64(i))
	}
	f.Fuzz(func(t *testing.T, k uint16, seed int64) {
		b := bytes.Clone(files[int(k)%len(files)])
		rnd := rand.New(rand.NewSource(seed))
		for range 1 + rnd.Intn(8) {
			other := b[rnd.Intn(len(b)):]
			copy(b[rnd.Intn(len(b)):], [][]byte{{byte(rnd.Intn(256))}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0}, other[:min(8, len(other))]}[rnd.Intn(4)])
		}
		inTime(t, func() { imported(b) })
	})
}

// inTime fails if f takes longer than a hostile file may.
func inTime(t *testing.T, f func()) {
	start := clock()
	f()
	if took := clock() - start; took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// FuzzImport is of configs in which something is replaced, with the weights of the model that they are of.
func FuzzImport(f *testing.F) {
	cases := golden(f, "keras2")
	var files [][]byte
	var configs []string
	for i, name := range slices.Sorted(maps.Keys(cases)) {
		b := cases[name].files["h5"]
		root, err := openHDF5(b)
		if err != nil {
			f.Fatal(err)
		}
		text, err := root.Attr("model_config")
		if err != nil {
			f.Fatal(err)
		}
		files, configs = append(files, b), append(configs, text[0])
		f.Add(uint16(i), int64(i))
	}
	f.Fuzz(func(t *testing.T, k uint16, seed int64) {
		k %= uint16(len(files))
		config := mutated(t, configs[k], seed)
		inTime(t, func() {
			m, err := modelOf(files[k], config)
			if err != nil {
				return
			}
			if g, err := Import(m, Options{}); err == nil {
				quant.Build(g, quant.Options{})
			}
		})
	})
}

// modelOf is a model of another config than that in the file.
func modelOf(b, config []byte) (*Model, error) {
	top, err := parseModel(config)
	if err != nil {
		return nil, err
	}
	root, err := openHDF5(b)
	if err != nil {
		return nil, err
	}
	group, err := root.Child("model_weights")
	if err != nil {
		return nil, err
	}
	for _, l := range top.graph.layers {
		all, err := layerWeights(group, l.name)
		if err != nil {
			return nil, err
		}
		l.deal(all)
	}
	return &Model{version: "2", top: top, size: 1 << 16}, nil
}

// mutated replaces, repeats or removes some parts of a JSON text.
func mutated(t *testing.T, text string, seed int64) []byte {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewSource(seed))
	var all []any // what may stand in for a part
	var collect func(v any)
	collect = func(v any) {
		all = append(all, v)
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				collect(x)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				collect(v[k])
			}
		}
	}
	collect(v)
	for _, n := range []float64{0, 1, -1, 2, 3, 5, 7, 64, 1 << 16, 1 << 24, 1 << 31, 1 << 53, 0.5} {
		all = append(all, n, []any{n}, []any{n, n})
	}
	all = append(all, nil, true, false, "", "same", "causal", "channels_first", "concat", []any{}, map[string]any{})
	var change func(v any) any
	change = func(v any) any {
		if rnd.Intn(3) > 0 {
			switch v := v.(type) {
			case []any:
				if len(v) > 0 {
					i := rnd.Intn(len(v))
					out := slices.Clone(v)
					out[i] = change(v[i])
					return out
				}
			case map[string]any:
				if keys := slices.Sorted(maps.Keys(v)); len(keys) > 0 {
					k := keys[rnd.Intn(len(keys))]
					out := maps.Clone(v)
					out[k] = change(v[k])
					return out
				}
			}
		}
		switch v := v.(type) {
		case []any:
			if n := len(v); n > 0 && rnd.Intn(2) == 0 {
				return append(slices.Clone(v), v[rnd.Intn(n)])
			}
		case float64:
			return []any{v + 1, v - 1, -v, v * 2, 0.0}[rnd.Intn(5)]
		}
		return all[rnd.Intn(len(all))]
	}
	for range 1 + rnd.Intn(4) {
		v = change(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
