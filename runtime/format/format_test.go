package format_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime/format"
)

// file is a GRU with a dense layer, a softmax and a mean over time.
func file(t *testing.T, scheme format.Scheme) *format.File {
	t.Helper()
	const in, h, out = 2, 3, 2
	weights := func(n int) []float32 {
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(i%7-3) / 4
		}
		return w
	}
	ref := func(v, n int) format.Ref { return format.Ref{Value: v, Width: n} }
	g := &quant.Graph{
		Meta:   []format.Pair{{Key: "name", Value: "test"}},
		Input:  format.Input{Rate: 50, Channels: []format.Channel{{Name: "a", Unit: "g"}, {Name: "b"}}},
		Labels: []string{"yes", "no"},
		Values: []format.Value{{Width: in, PerStep: true}, {Width: h, PerStep: true}, {Width: out, PerStep: true}, {Width: out}},
		Output: 3,
		Ops: []quant.Op{
			{Kind: format.GRU, Name: "gru", Hidden: h, In: []format.Ref{ref(0, in)}, Out: ref(1, h), W: weights(3 * h * in), U: weights(3 * h * h), B: weights(3 * h)},
			{Kind: format.Dense, Name: "out", In: []format.Ref{ref(1, h)}, Out: ref(2, out), W: weights(out * h)},
			{Kind: format.Softmax, Name: "softmax", In: []format.Ref{ref(2, out)}, Out: ref(2, out)},
			{Kind: format.Mean, Name: "mean", In: []format.Ref{ref(2, out)}, Out: ref(3, out)},
		},
	}
	f, err := quant.Build(g, quant.Options{Scheme: scheme, Range: 1})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRoundTrip(t *testing.T) {
	for _, scheme := range []format.Scheme{format.F32, format.W8A8, format.W8A16} {
		f := file(t, scheme)
		b, err := format.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := format.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%v: decoded to something else", scheme)
		}
	}
}

// TestValidate has a case for each rule of a file's program: what breaks it is refused by name, when written and so when read.
func TestValidate(t *testing.T) {
	arg := func(f *format.File, op int, role format.Role) *format.Blob { return f.Arg(&f.Ops[op], role) }
	for name, c := range map[string]struct {
		change func(f *format.File)
		want   string
	}{
		"input not per step":       {func(f *format.File) { f.Values[0].PerStep = false }, "value 0, the input"},
		"no width":                 {func(f *format.File) { f.Values[1].Width = 0 }, "value 1: width 0"},
		"too wide":                 {func(f *format.File) { f.Values[1].Width = 1 << 22 }, "value 1: width"},
		"channels":                 {func(f *format.File) { f.Input.Channels = f.Input.Channels[1:] }, "1 channels described"},
		"rate":                     {func(f *format.File) { f.Input.Rate = float32(math.NaN()) }, "sample rate NaN"},
		"output":                   {func(f *format.File) { f.Output = 4 }, "output is value 4 of 4"},
		"labels":                   {func(f *format.File) { f.Labels = f.Labels[:1] }, "1 labels for an output of 2"},
		"kind":                     {func(f *format.File) { f.Ops[0].Kind = 99 }, "unknown kind"},
		"scheme":                   {func(f *format.File) { f.Ops[0].Scheme = 7 }, "unknown kind, scheme scheme(7)"},
		"scheme without products":  {func(f *format.File) { f.Ops[3].Scheme = format.W8A8 }, "without products"},
		"flags":                    {func(f *format.File) { f.Ops[0].Flags = format.FlagReLU }, "do not apply"},
		"two inputs":               {func(f *format.File) { f.Ops[1].In = append(f.Ops[1].In, f.Ops[1].In[0]) }, "2 inputs, want 1"},
		"absent value":             {func(f *format.File) { f.Ops[1].In[0].Value = 9 }, "value 9 do not exist"},
		"absent channels":          {func(f *format.File) { f.Ops[1].In[0].Offset = 1 }, "channels 1 to 4 of value 1"},
		"read before written":      {func(f *format.File) { f.Ops = f.Ops[1:] }, "before it is written"},
		"written twice":            {func(f *format.File) { f.Ops = append(f.Ops[:2:2], f.Ops[1:]...) }, "writes channel 0 of value 2, want 2"},
		"input written":            {func(f *format.File) { f.Ops[2].In[0] = format.Ref{Width: 2}; f.Ops[2].Out = f.Ops[2].In[0] }, "writes channel 0 of value 0"},
		"output not written":       {func(f *format.File) { f.Ops = f.Ops[:3] }, "not written in full"},
		"pooling of a sequence":    {func(f *format.File) { f.Ops[3].In[0].Value = 3 }, `(mean "mean")`},
		"per step and not":         {func(f *format.File) { f.Ops[2].Out.Value = 3 }, "both be per step"},
		"hidden size":              {func(f *format.File) { f.Ops[0].Hidden = 0 }, "hidden size 0"},
		"hidden size of a dense":   {func(f *format.File) { f.Ops[1].Hidden = 1 }, "in an operation without one"},
		"width of a mean":          {func(f *format.File) { f.Ops[3].In[0].Width = 1 }, "output width 2, want 1"},
		"role twice":               {func(f *format.File) { f.Ops[1].Args = append(f.Ops[1].Args, f.Ops[1].Args[0]) }, "given twice"},
		"role unknown":             {func(f *format.File) { f.Ops[1].Args[0].Role = 77 }, "role(77) is unknown"},
		"role that does not apply": {func(f *format.File) { f.Ops[1].Args = append(f.Ops[1].Args, format.Arg{Role: format.RolePeep}) }, "peephole does not apply"},
		"role missing":             {func(f *format.File) { f.Ops[1].Args = f.Ops[1].Args[1:] }, "argument w is missing"},
		"absent blob":              {func(f *format.File) { f.Ops[1].Args[0].Blob = 99 }, "blob 99 of"},
		"blob of another shape":    {func(f *format.File) { f.Ops[1].Args[0].Blob = f.Ops[0].Args[0].Blob }, "argument w is a"},
		"short blob":               {func(f *format.File) { b := arg(f, 1, format.RoleBias); b.F32 = b.F32[1:] }, "holds 1 elements"},
		"NaN":                      {func(f *format.File) { arg(f, 1, format.RoleBias).F32[0] = float32(math.NaN()) }, "element 0 is NaN"},
		"huge":                     {func(f *format.File) { arg(f, 1, format.RoleBias).F32[1] = 0x1p61 }, "element 1 is"},
		"subnormal":                {func(f *format.File) { arg(f, 1, format.RoleBias).F32[1] = 0x1p-130 }, "element 1 is"},
		"-128":                     {func(f *format.File) { arg(f, 1, format.RoleW).I8[0] = -128 }, "-128"},
		"padding":                  {func(f *format.File) { arg(f, 1, format.RoleW).I8[3] = 1 }, "padding after row 0"},
	} {
		f := file(t, format.W8A8)
		c.change(f)
		if _, err := format.Encode(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
