package fromonnx

import (
	"maps"
	"math"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/onnx"
	"github.com/recur-go/recur/tools/internal/onnx/onnxtest"
)

// shuffler changes models at random but keeps them readable, which damaged bytes seldom are: operators, inputs, attributes and constants
// meet that were not meant to.
type shuffler struct{ *rand.Rand }

func (s shuffler) number() int64 {
	odd := []int64{0, 1, -1, 2, 3, 4, 5, 7, -2, 16, 255, 1 << 10, 1 << 16, 1 << 20, 1 << 31, 1 << 40, math.MaxInt64, math.MinInt64}
	return odd[s.Intn(len(odd))]
}

func (s shuffler) small() int64 { return []int64{0, 1, -1, 2, 3, -2, 4, 6}[s.Intn(8)] }

func (s shuffler) any() int64 {
	if s.Intn(4) == 0 {
		return s.number()
	}
	return s.small()
}

func (s shuffler) names(g *onnx.Graph) []string {
	names := []string{"", "nowhere"}
	for _, v := range g.Inputs {
		names = append(names, v.Name)
	}
	for _, t := range g.Initializers {
		names = append(names, t.Name)
	}
	for _, n := range g.Nodes {
		names = append(names, n.Outputs...)
	}
	return names
}

var operatorNames = slices.Sorted(maps.Keys(operators))

func (s shuffler) attr(op string) *onnx.Attr {
	all := operators[op].attrs
	if len(all) == 0 {
		return nil
	}
	a := &onnx.Attr{Name: all[s.Intn(len(all))], I: s.any(), F: []float32{0, 0.5, 1, -1, 1e30}[s.Intn(5)]}
	for range s.Intn(5) {
		a.Ints = append(a.Ints, s.any())
	}
	words := []string{"", "SAME_UPPER", "SAME_LOWER", "VALID", "reflect", "wrap", "edge", "bidirectional", "reverse", "CRD", "ab,bc->ac", "ab->b", "tanh"}
	a.S = words[s.Intn(len(words))]
	return a
}

func (s shuffler) node(m *onnx.Model) {
	g := m.Graph
	n := g.Nodes[s.Intn(len(g.Nodes))]
	switch s.Intn(4) {
	case 0:
		n.Op, n.Domain, n.Attrs = operatorNames[s.Intn(len(operatorNames))], "", nil
		if domain, name, found := cutDomain(n.Op); found {
			n.Domain, n.Op = domain, name
		}
	case 1:
		names := s.names(g)
		k := s.Intn(len(n.Inputs) + 1)
		if k == len(n.Inputs) {
			n.Inputs = append(n.Inputs, "")
		}
		n.Inputs[k] = names[s.Intn(len(names))]
	case 2:
		if a := s.attr(opName(n)); a != nil {
			n.Attrs = append(slices.DeleteFunc(n.Attrs, func(b *onnx.Attr) bool { return b.Name == a.Name }), a)
		}
	case 3:
		c := *n
		c.Name, c.Outputs = n.Name+"'", []string{n.Outputs[0] + "'"}
		c.Inputs = slices.Clone(n.Inputs)
		g.Nodes = append(g.Nodes, &c)
		if s.Intn(2) == 0 {
			g.Outputs[0].Name = c.Outputs[0]
		}
	}
}

func cutDomain(name string) (domain, op string, found bool) {
	const mark = "com.microsoft::"
	if len(name) > len(mark) && name[:len(mark)] == mark {
		return mark[:len(mark)-2], name[len(mark):], true
	}
	return "", name, false
}

func (s shuffler) constant(m *onnx.Model) {
	t := m.Graph.Initializers[s.Intn(len(m.Graph.Initializers))]
	switch s.Intn(3) {
	case 0:
		s.Shuffle(len(t.Dims), func(i, k int) { t.Dims[i], t.Dims[k] = t.Dims[k], t.Dims[i] })
	case 1:
		n := int64(1)
		for _, d := range t.Dims {
			n *= d
		}
		t.Dims = [][]int64{{n}, {1, n}, {n, 1}, {1, 1, n}}[s.Intn(4)]
	case 2:
		if len(t.I) > 0 {
			t.I[s.Intn(len(t.I))] = s.any()
		}
	}
}

func (s shuffler) model(m *onnx.Model) *onnx.Model {
	for range 1 + s.Intn(4) {
		switch k := s.Intn(12); {
		case k < 7:
			s.node(m)
		case k < 10 && len(m.Graph.Initializers) > 0:
			s.constant(m)
		case k == 10:
			m.Opsets[""] = int64(6 + s.Intn(19))
		default:
			v := &m.Graph.Inputs[s.Intn(len(m.Graph.Inputs))]
			d := &v.Dims[s.Intn(len(v.Dims))]
			d.Value = []int64{-1, 1, 2, 3, 8, 0, 1 << 20}[s.Intn(7)]
		}
	}
	return m
}

// shuffled imports a model that is changed by a seed.
func shuffled(seed int64) ([]byte, error) {
	s := shuffler{rand.New(rand.NewSource(seed))}
	models := operatorModels()
	b := onnxtest.Encode(s.model(&models[s.Intn(len(models))].Model))
	return b, load(b)
}

func TestShuffled(t *testing.T) {
	imported := 0
	for seed := range int64(1500) {
		var b []byte
		var err error
		if d := took(func() { b, err = shuffled(seed) }); d > time.Second {
			t.Fatalf("seed %d took %v: %x", seed, d, b)
		}
		if err == nil {
			imported++
		}
	}
	if imported < 150 {
		t.Errorf("only %d models of 1500 can be imported", imported)
	}
}

func FuzzShuffled(f *testing.F) {
	for seed := range int64(64) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) { _, _ = shuffled(seed) })
}
