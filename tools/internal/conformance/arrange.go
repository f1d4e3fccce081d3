package conformance

import (
	"fmt"

	"github.com/recur-go/recur/tools/internal/lower"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// arranged is an input as the sequences that the runtime takes, each with the steps one after the other.
type arranged struct {
	sequences [][]float32
	steps     int
}

func arrange(x *onnx.Tensor, roles []lower.Role) arranged {
	strides := make([]int, len(x.Dims))
	step := 1
	for i := len(strides) - 1; i >= 0; i-- {
		strides[i] = step
		step *= int(x.Dims[i])
	}
	at, counts := []int{0}, map[lower.Role]int{lower.Batch: 1, lower.Time: 1}
	for _, role := range []lower.Role{lower.Batch, lower.Time, lower.Feature} {
		for i, d := range x.Dims {
			if roles[i] == role {
				at = spread(at, int(d), strides[i])
				counts[role] *= int(d)
			}
		}
	}
	flat := make([]float32, len(at))
	for i, from := range at {
		flat[i] = x.F[from]
	}
	r := arranged{steps: counts[lower.Time]}
	size := len(flat) / counts[lower.Batch]
	for i := 0; i < len(flat); i += size {
		r.sequences = append(r.sequences, flat[i:i+size])
	}
	return r
}

// spread follows every index with those of a further, faster axis.
func spread(at []int, size, stride int) []int {
	out := make([]int, 0, len(at)*size)
	for _, from := range at {
		for k := range size {
			out = append(out, from+k*stride)
		}
	}
	return out
}

// assemble puts the results of all sequences in the tensor that the model returns.
func (r arranged) assemble(results []result, layout [][]lower.Span) (*onnx.Tensor, error) {
	t := &onnx.Tensor{Type: onnx.Float}
	places := []place{{}}
	for _, axis := range layout {
		length := 1
		for _, s := range axis {
			size, ok := r.size(s, len(results))
			if !ok {
				return nil, unsupported("an output with an axis of length %v", s.Size)
			}
			places = extend(places, s.Role, size)
			length *= size
		}
		t.Dims = append(t.Dims, int64(length))
	}
	for _, p := range places {
		if p.batch >= len(results) {
			return nil, fmt.Errorf("an output for sequence %d of %d", p.batch, len(results))
		}
		x := results[p.batch]
		width := len(x.y) / x.rows
		if p.step >= x.rows || p.channel >= width {
			return nil, fmt.Errorf("an output at step %d, channel %d; there are %d steps and %d channels", p.step, p.channel, x.rows, width)
		}
		t.F = append(t.F, x.y[p.step*width+p.channel])
	}
	return t, nil
}

func (r arranged) size(s lower.Span, batch int) (int, bool) {
	switch s.Role {
	case lower.Time:
		return r.steps, true
	case lower.Batch:
		return batch, true
	}
	n, ok := s.Size.Const()
	return int(n), ok
}

// place is where an element of the output comes from.
type place struct{ batch, step, channel int }

func extend(places []place, role lower.Role, size int) []place {
	out := make([]place, 0, len(places)*size)
	for _, p := range places {
		for k := range size {
			q := p
			switch role {
			case lower.Time:
				q.step = p.step*size + k
			case lower.Batch:
				q.batch = p.batch*size + k
			default:
				q.channel = p.channel*size + k
			}
			out = append(out, q)
		}
	}
	return out
}
