package fromonnx

import (
	"github.com/recur-go/recur/tools/internal/feedback"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// findStates pairs inputs with the outputs that hold their next value.
func (p *program) findStates() map[string]string {
	var free []onnx.ValueInfo
	for _, v := range p.model.Graph.Inputs {
		_, constant := p.consts[v.Name]
		_, fixed := p.fixed[v.Name]
		if !constant && !fixed && v.HasShape && (v.Type == 0 || v.Type.Float()) {
			free = append(free, v)
		}
	}
	return feedback.Pair(shapes(free), shapes(p.model.Graph.Outputs))
}

func shapes(list []onnx.ValueInfo) []feedback.Value {
	out := make([]feedback.Value, len(list))
	for i, v := range list {
		out[i].Name = v.Name
		for _, d := range v.Dims {
			out[i].Dims = append(out[i].Dims, d.Value)
		}
	}
	return out
}
