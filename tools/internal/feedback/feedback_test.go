package feedback

import (
	"maps"
	"testing"
)

func TestPair(t *testing.T) {
	v := func(name string, dims ...int64) Value { return Value{name, dims} }
	for _, c := range []struct {
		name    string
		in, out []Value
		want    map[string]string
	}{
		{"names", []Value{v("x", 1, 3), v("h_in", 1, 2), v("c_in", 1, 2)}, []Value{v("y", 1, 2), v("h_out", 1, 2), v("c_out", 1, 2)}, map[string]string{"h_in": "h_out", "c_in": "c_out"}},
		{"first and last", []Value{v("x", 1, 3), v("h0", 1, 2)}, []Value{v("y", 1, 2), v("hn", 1, 2)}, map[string]string{"h0": "hn"}},
		{"separators", []Value{v("state", 2, -1, 128), v("input", 1, 512)}, []Value{v("output", 1, 1), v("stateN")}, map[string]string{"state": "stateN"}},
		{"shapes", []Value{v("input_2", 1, 1, 257), v("input_3", 1, 2, 128)}, []Value{v("Identity", 1, 1, 257), v("Identity_1", 1, 2, 128)}, map[string]string{"input_3": "Identity_1"}},
		{"no names, one shape", []Value{v("a", 1, 3), v("b", 1, 2)}, []Value{v("p", 1, 2), v("q", 1, 2)}, nil},
		{"a name and another shape", []Value{v("x", 1, 3), v("h_in", 1, 2)}, []Value{v("y", 1, 9), v("h_out", 1, 5)}, nil},
		{"one left over", []Value{v("x", 1, 3), v("k", 1, 4), v("h_in", 1, 2)}, []Value{v("y", 1, 9), v("h_out", 1, 2)}, nil},
		{"one output", []Value{v("x", 1, 3), v("h_in", 1, 2)}, []Value{v("h_out", 1, 2)}, nil},
		{"marks alone", []Value{v("input", 1, 3), v("in", 1, 2)}, []Value{v("out", 1, 2), v("output", 1, 2)}, nil},
	} {
		if got := Pair(c.in, c.out); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
