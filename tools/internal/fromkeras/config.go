package fromkeras

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/recur-go/recur/tools/internal/lower"
)

func unsupported(f string, args ...any) error {
	return &lower.Unsupported{Why: fmt.Sprintf(f, args...)}
}

// config holds those parameters of layers that bear on what they compute. What Keras leaves out has its default.
type config struct {
	Name      string `json:"name"`
	Trainable *bool  `json:"trainable"`
	dtype

	BatchInputShape []*int          `json:"batch_input_shape"` // Keras 2
	BatchShape      []*int          `json:"batch_shape"`       // Keras 3
	Sparse, Ragged  bool            // of an input
	Layer           json.RawMessage `json:"layer"`
	BackwardLayer   json.RawMessage `json:"backward_layer"`
	Cell            json.RawMessage `json:"cell"`
	Cells           json.RawMessage `json:"cells"`

	Units               int      `json:"units"`
	Activation          function `json:"activation"`
	RecurrentActivation function `json:"recurrent_activation"`
	UseBias             *bool    `json:"use_bias"`
	ReturnSequences     bool     `json:"return_sequences"`
	ReturnState         bool     `json:"return_state"`
	GoBackwards         bool     `json:"go_backwards"`
	Stateful            bool     `json:"stateful"`
	TimeMajor           bool     `json:"time_major"`
	ZeroOutputForMask   bool     `json:"zero_output_for_mask"`
	ResetAfter          bool     `json:"reset_after"`
	ReverseStateOrder   bool     `json:"reverse_state_order"`
	MergeMode           *string  `json:"merge_mode"`

	Filters         int             `json:"filters"`
	KernelSize      json.RawMessage `json:"kernel_size"`
	PoolSize        json.RawMessage `json:"pool_size"`
	Strides         json.RawMessage `json:"strides"`
	Dilation        json.RawMessage `json:"dilation_rate"`
	Padding         json.RawMessage `json:"padding"`  // a name, or of ZeroPadding numbers
	Cropping        json.RawMessage `json:"cropping"` // numbers
	OutputPadding   json.RawMessage `json:"output_padding"`
	Size            json.RawMessage `json:"size"`
	Interpolation   string          `json:"interpolation"`
	Groups          *int            `json:"groups"`
	DepthMultiplier *int            `json:"depth_multiplier"`
	DataFormat      string          `json:"data_format"`
	KeepDims        bool            `json:"keepdims"`

	Axis        json.RawMessage `json:"axis"`
	Axes        json.RawMessage `json:"axes"`
	SharedAxes  json.RawMessage `json:"shared_axes"`
	Dims        json.RawMessage `json:"dims"`
	TargetShape json.RawMessage `json:"target_shape"`
	NewShape    json.RawMessage `json:"newshape"` // of the operation of Keras 3
	N           int             `json:"n"`
	Normalize   bool            `json:"normalize"`

	Epsilon    json.RawMessage `json:"epsilon"`
	Center     *bool           `json:"center"`
	Scale      json.RawMessage `json:"scale"` // true or false, or of Rescaling numbers
	Offset     json.RawMessage `json:"offset"`
	Mean       json.RawMessage `json:"mean"`
	Variance   json.RawMessage `json:"variance"`
	Invert     bool            `json:"invert"`
	RMSScaling bool            `json:"rms_scaling"`
	Renorm     bool            `json:"renorm"`

	Alpha         json.RawMessage `json:"alpha"`
	MaxValue      json.RawMessage `json:"max_value"`
	NegativeSlope json.RawMessage `json:"negative_slope"`
	Threshold     json.RawMessage `json:"threshold"`
	Theta         json.RawMessage `json:"theta"`
	MaskValue     json.RawMessage `json:"mask_value"`
	Function      json.RawMessage `json:"function"`
}

// dtype is the precision that a layer computes in, by name or as an object.
type dtype struct {
	DType json.RawMessage `json:"dtype"`
}

// quantised reports whether the weights of a layer are integers with scales.
func (d dtype) quantised() bool {
	var object struct {
		Class string `json:"class_name"`
	}
	return len(d.DType) > 0 && json.Unmarshal(d.DType, &object) == nil && object.Class != "" && object.Class != "DTypePolicy" &&
		object.Class != "Policy"
}

func flag(v *bool) bool { return v == nil || *v }

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// ints is a list of numbers; a single one is a list of one.
func ints(raw json.RawMessage) ([]int, error) {
	if absent(raw) {
		return nil, nil
	}
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return []int{one}, nil
	}
	var list []int
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%.40s is no list of integers", raw)
	}
	return list, nil
}

// spread is ints for n axes, for all of which one number may stand; nil is all otherwise.
func spread(raw json.RawMessage, n, otherwise int) ([]int, error) {
	v, err := ints(raw)
	if err != nil {
		return nil, err
	}
	if v == nil {
		v = []int{otherwise}
	}
	for len(v) == 1 && n > 1 && len(v) < n {
		for range n - 1 {
			v = append(v, v[0])
		}
	}
	if len(v) != n {
		return nil, fmt.Errorf("%.40s is not for %d axes", raw, n)
	}
	return v, nil
}

// numbers is a list of floats in any depth; Keras 3 writes arrays as objects.
func numbers(raw json.RawMessage) ([]float32, error) {
	if absent(raw) {
		return nil, nil
	}
	var object struct {
		Config struct {
			Value json.RawMessage `json:"value"`
		} `json:"config"`
	}
	if json.Unmarshal(raw, &object) == nil && !absent(object.Config.Value) {
		raw = object.Config.Value
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	out := []float32{}
	var walk func(v any) bool
	walk = func(v any) bool {
		switch v := v.(type) {
		case float64:
			out = append(out, float32(v))
			return true
		case []any:
			for _, x := range v {
				if !walk(x) {
					return false
				}
			}
			return true
		}
		return false
	}
	if !walk(v) {
		return nil, fmt.Errorf("%.40s is no list of numbers", raw)
	}
	return out, nil
}

func number(raw json.RawMessage, otherwise float64) (float32, error) {
	v, err := numbers(raw)
	switch {
	case err != nil:
		return 0, err
	case v == nil:
		return float32(otherwise), nil
	case len(v) != 1:
		return 0, fmt.Errorf("%.40s is not one number", raw)
	}
	return v[0], nil
}

// function is an activation, which is written in several ways: a name, an object around one, or a layer.
type function struct {
	raw json.RawMessage
	of  *activation
	err error
}

// activation is a function by its name, or a layer that is used as one.
type activation struct {
	name  string
	layer *layer
}

func (f *function) UnmarshalJSON(b []byte) error {
	f.raw = append(f.raw[:0], b...)
	return nil
}

func (f *function) get() (*activation, error) {
	if f.of == nil && f.err == nil {
		f.of, f.err = parseFunction(f.raw)
	}
	return f.of, f.err
}

func parseFunction(raw json.RawMessage) (*activation, error) {
	if absent(raw) {
		return &activation{name: "linear"}, nil
	}
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return &activation{name: name}, nil
	}
	var object struct {
		Class  string          `json:"class_name"`
		Config json.RawMessage `json:"config"`
	}
	if json.Unmarshal(raw, &object) != nil || object.Class == "" {
		return nil, errors.New("an activation that is no name")
	}
	if json.Unmarshal(object.Config, &name) == nil && name != "" {
		return &activation{name: name}, nil
	}
	if _, known := classes[object.Class]; !known {
		return &activation{name: object.Class}, nil
	}
	l, err := (&parser{1}).layer(raw, 0)
	if err == nil {
		err = l.foreign()
	}
	return &activation{layer: l}, err
}
