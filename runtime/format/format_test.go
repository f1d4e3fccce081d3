package format_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/kernels"
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

// wide is a file of operations of several inputs, windows, states and blocks.
func wide(t *testing.T) *format.File {
	t.Helper()
	line := format.Window{Channels: 2, Groups: 1, Axes: []format.WindowAxis{{In: 6, Out: 6, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}}}
	grouped, counted := line, line
	grouped.Groups, counted.CountPadding = 2, true
	g := &quant.Graph{Values: []format.Value{{Width: 12, PerStep: true}}}
	for range 12 {
		g.Input.Channels = append(g.Input.Channels, format.Channel{})
	}
	add := func(name string, op quant.Op, width int, perStep bool, in ...format.Ref) format.Ref {
		g.Values = append(g.Values, format.Value{Width: width, PerStep: perStep})
		op.Name, op.In, op.Out = name, in, format.Ref{Value: len(g.Values) - 1, Width: width}
		g.Ops = append(g.Ops, op)
		return op.Out
	}
	x := format.Ref{Width: 12}
	part := func(from, n int) format.Ref { return format.Ref{Offset: from, Width: n} }
	state := add("recall", quant.Op{Kind: format.Recall}, 4, true)
	add("const", quant.Op{Kind: format.Const, B: []float32{1, 2}}, 2, false)
	add("gather", quant.Op{Kind: format.Gather, Index: []int32{15, 0, 3}}, 3, true, x, state)
	add("add", quant.Op{Kind: format.Add}, 12, true, x, state)
	add("select", quant.Op{Kind: format.Select}, 12, true, x, state, part(0, 6))
	add("conv", quant.Op{Kind: format.Conv, Dims: line.Dims(), W: make([]float32, 4*6)}, 24, true, x)
	add("grouped", quant.Op{Kind: format.Conv, Dims: grouped.Dims(), W: make([]float32, 4*3)}, 24, true, x)
	add("max", quant.Op{Kind: format.MaxPool, Dims: line.Dims()}, 12, true, x)
	add("mean", quant.Op{Kind: format.MeanPool, Dims: counted.Dims()}, 12, true, x)
	add("matmul", quant.Op{Kind: format.MatMul, Dims: []int32{2, 3, 2, 1}}, 6, true, x, state)
	add("sum", quant.Op{Kind: format.Sum, Dims: []int32{4}}, 3, true, x)
	add("normalise", quant.Op{Kind: format.Normalise, Dims: []int32{4}, Params: []float32{1e-5}}, 12, true, x)
	add("softmax", quant.Op{Kind: format.Softmax, Dims: []int32{4}}, 12, true, x)
	add("clip", quant.Op{Kind: format.Clip, Params: []float32{-1, 1}}, 12, true, x)
	add("dense", quant.Op{Kind: format.Dense, Dims: []int32{3}, W: make([]float32, 2*4)}, 6, true, x)
	add("lstm", quant.Op{Kind: format.LSTM, Flags: format.FlagCell | format.FlagCoupled, Dims: []int32{3}, Hidden: 4, W: make([]float32, 16*4), U: make([]float32, 16*4),
		Acts: []kernels.Activation{kernels.ActHardSigmoid, kernels.ActTanh, kernels.ActTanh}, ActParams: []float32{1, 0.2, 0.5, 0, 0, 0, 0}, CellClip: 3},
		16, true, x, state, state)
	add("rnn", quant.Op{Kind: format.RNN, Hidden: 4, W: make([]float32, 4*12), U: make([]float32, 16)}, 4, true, x)
	g.Output = len(g.Values) - 1
	g.Ops = append(g.Ops, quant.Op{Kind: format.Store, Name: "store", In: []format.Ref{part(0, 4)}, Out: state})
	f, err := quant.Build(g, quant.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestValidateWide has a case for each rule of the operations that wide has.
func TestValidateWide(t *testing.T) {
	find := func(f *format.File, name string) *format.Op {
		for i := range f.Ops {
			if f.Ops[i].Name == name {
				return &f.Ops[i]
			}
		}
		t.Fatalf("no operation %q", name)
		return nil
	}
	// set replaces an argument, since blobs of the same content are one.
	set := func(f *format.File, name string, role format.Role, b format.Blob) {
		b.Cols = max(b.Cols, 1)
		b.Rows = len(b.I32) + len(b.F32)
		f.Blobs = append(f.Blobs, b)
		op := find(f, name)
		for i := range op.Args {
			if op.Args[i].Role == role {
				op.Args[i].Blob = len(f.Blobs) - 1
				return
			}
		}
		op.Args = append(op.Args, format.Arg{Role: role, Blob: len(f.Blobs) - 1})
	}
	integers := func(name string, role format.Role, v ...int32) func(f *format.File) {
		return func(f *format.File) { set(f, name, role, format.Blob{Kind: format.VecI32, I32: v}) }
	}
	floats := func(name string, role format.Role, v ...float32) func(f *format.File) {
		return func(f *format.File) { set(f, name, role, format.Blob{Kind: format.VecF32, F32: v}) }
	}
	without := func(name string, role format.Role) func(f *format.File) {
		return func(f *format.File) {
			op := find(f, name)
			op.Args = slices.DeleteFunc(op.Args, func(a format.Arg) bool { return a.Role == role })
		}
	}
	inputs := func(name string, in ...format.Ref) func(f *format.File) {
		return func(f *format.File) { find(f, name).In = in }
	}
	op := func(name string, change func(op *format.Op)) func(f *format.File) {
		return func(f *format.File) { change(find(f, name)) }
	}
	width := func(name string, n int) func(f *format.File) {
		return op(name, func(op *format.Op) { op.Out.Width = n })
	}
	remove := func(name string) func(f *format.File) {
		return func(f *format.File) {
			f.Ops = slices.DeleteFunc(f.Ops, func(op format.Op) bool { return op.Name == name })
		}
	}
	x := format.Ref{Width: 12}
	few := func(n int) format.Ref { return format.Ref{Width: n} }
	axis := func(change func(a *format.WindowAxis)) func(f *format.File) {
		a := format.WindowAxis{In: 6, Out: 6, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1, End: 1}
		change(&a)
		w := format.Window{Channels: 2, Groups: 1, Axes: []format.WindowAxis{a}}
		return integers("max", format.RoleDims, w.Dims()...)
	}
	one := []int32{2, 1, 0, 6, 6, 3, 1, 1, 1, 1}
	window := func(name string, i int, v int32) func(f *format.File) {
		d := slices.Clone(one)
		d[i] = v
		return integers(name, format.RoleDims, d...)
	}
	for name, c := range map[string]struct {
		change func(f *format.File)
		want   string
	}{
		"input of a constant":     {inputs("const", x), "1 inputs, want 0 to 0"},
		"input of a recall":       {inputs("recall", x), "1 inputs, want 0 to 0"},
		"no input":                {inputs("clip"), "0 inputs, want 1 to 1"},
		"one input of a sum":      {inputs("add", x), "1 inputs, want 2 to 2"},
		"one input of a product":  {inputs("matmul", x), "1 inputs, want 2 to 2"},
		"two inputs of a choice":  {inputs("select", x, x), "2 inputs, want 3 to 3"},
		"gather of nothing":       {inputs("gather"), "0 inputs, want 1 to"},
		"many inputs of an lstm":  {inputs("lstm", x, few(4), few(4), few(4)), "4 inputs, want 1 to 3"},
		"states without blocks":   {inputs("rnn", x, few(4)), "2 inputs, want 1 to 1"},
		"width of a state":        {inputs("lstm", x, few(4), few(3)), "initial state 1 has 3 channels, want 4"},
		"states of an rnn":        {func(f *format.File) { integers("rnn", format.RoleDims, 1)(f); inputs("rnn", x, few(4), few(4))(f) }, "3 inputs, want 1 to 2"},
		"inputs of both sorts":    {inputs("add", x, format.Ref{Value: 2, Width: 2}), "both be per step, or both per sequence"},
		"recall of a sequence":    {func(f *format.File) { f.Values[1].PerStep = false }, "recalls a per-sequence value"},
		"never stored":            {remove("store"), "channels 0 to 4 of value 1 are recalled and never stored"},
		"never recalled":          {func(f *format.File) { find(f, "store").Out.Value = 4; find(f, "store").Out.Width = 12 }, "stores what is not recalled before"},
		"stored twice":            {func(f *format.File) { f.Ops = append(f.Ops, *find(f, "store")) }, "or a second time"},
		"part of a state stored":  {op("store", func(op *format.Op) { op.Out.Width, op.In[0].Width = 3, 3 }), "stores what is not recalled before"},
		"width of what is stored": {inputs("store", few(3)), "output width 4, want 3"},
		"feedback and backwards":  {op("rnn", func(op *format.Op) { op.Flags |= format.FlagReverse }), "runs backwards over all steps"},
		"dims of floats":          {floats("sum", format.RoleDims, 4), "argument dims is a vector of 1 by 1"},
		"activations of floats":   {floats("lstm", format.RoleActs, 0, 0, 0), "argument activations is a vector"},
		"index of floats":         {floats("gather", format.RoleIndex, 0, 0, 0), "argument index is a vector"},
		"floats of integers":      {integers("clip", format.RoleParams, 0, 1), "want a vector of 2 by 1"},
		"columns of integers": {func(f *format.File) {
			set(f, "sum", format.RoleDims, format.Blob{Kind: format.VecI32, I32: []int32{4, 4}, Cols: 2})
		}, "int32 vector of 2 by 2 holds 2 elements"},
		"many dims":                  {integers("max", format.RoleDims, make([]int32, 25)...), "argument dims is a int32 vector of 25 by 1"},
		"no blocks":                  {integers("dense", format.RoleDims, 0), "0 blocks"},
		"negative blocks":            {integers("lstm", format.RoleDims, -1), "-1 blocks"},
		"blocks of a dense":          {integers("dense", format.RoleDims, 5), "5 products from 12 to 6 channels"},
		"blocks of a cell":           {integers("lstm", format.RoleDims, 5), "12 channels in 5 steps"},
		"two numbers of blocks":      {integers("dense", format.RoleDims, 3, 3), "argument dims is a int32 vector of 2 by 1"},
		"output of a cell":           {width("lstm", 12), "output width 12, want 16"},
		"output of a cell, no state": {op("lstm", func(op *format.Op) { op.Flags &^= format.FlagCell }), "output width 16, want 12"},
		"output of a constant":       {width("const", 1), "argument bias is a vector of 2 by 1"},
		"output of a recall":         {width("recall", 3), "reads channel 3 of value 1 before it is written"},
		"output of a gather":         {width("gather", 2), "argument index is a int32 vector of 3 by 1"},
		"output of a sum":            {width("add", 10), "12 channels do not repeat to 10"},
		"output of a choice":         {inputs("select", x, x, few(5)), "5 channels do not repeat to 12"},
		"output of a reduction":      {width("sum", 2), "12 channels reduced by [4] to 2"},
		"uneven reduction":           {integers("sum", format.RoleDims, 5), "12 channels reduced by [5] to 3"},
		"reduction of none":          {integers("sum", format.RoleDims, 0), "12 channels reduced by [0] to 3"},
		"reduction without a size":   {without("sum", format.RoleDims), "argument dims is missing"},
		"uneven groups":              {integers("softmax", format.RoleDims, 5), "12 channels in groups of [5]"},
		"groups of none":             {integers("normalise", format.RoleDims, 0), "12 channels in groups of [0]"},
		"normalise without a size":   {without("normalise", format.RoleDims), "argument dims is missing"},
		"negative variance":          {floats("normalise", format.RoleParams, -1), "variance less than 0"},
		"output of a function":       {width("clip", 11), "output width 11, want 12"},
		"one limit":                  {floats("clip", format.RoleParams, 1), "argument params is a vector of 1 by 1"},
		"negative index":             {integers("gather", format.RoleIndex, 0, -1, 2), "index 1 is -1"},
		"index beyond":               {integers("gather", format.RoleIndex, 0, 1, 16), "index 2 is 16, the inputs have 16 channels"},
		"sizes of a product":         {integers("matmul", format.RoleDims, 2, 3, 2, 2), "a product of sizes [2 3 2 2]"},
		"sizes of 0":                 {integers("matmul", format.RoleDims, 2, 0, 2, 1), "a product of sizes [2 0 2 1]"},
		"huge sizes":                 {integers("matmul", format.RoleDims, 1<<20, 1<<22, 1<<22, 1<<22), "a product of sizes"},
		"output of a product":        {width("matmul", 5), "a product of sizes"},
		"coupled without functions":  {func(f *format.File) { without("lstm", format.RoleActs)(f); without("lstm", format.RoleActParams)(f) }, "argument activations is missing"},
		"coupled gates of an rnn":    {op("rnn", func(op *format.Op) { op.Flags = format.FlagCoupled }), "do not apply"},
		"functions without numbers":  {without("lstm", format.RoleActParams), "argument activation parameters is missing"},
		"numbers without functions":  {floats("rnn", format.RoleActParams, 0, 0, 0), "argument activation parameters does not apply"},
		"two functions":              {integers("lstm", format.RoleActs, 0, 1), "argument activations is a int32 vector of 2 by 1"},
		"unknown function":           {integers("lstm", format.RoleActs, 0, 1, 99), "unknown activation 99"},
		"negative function":          {integers("lstm", format.RoleActs, 0, 1, -1), "unknown activation -1"},
		"negative limit":             {floats("lstm", format.RoleActParams, -1, 0, 0, 0, 0, 0, 0), "gate sums limited to -1"},
		"no limit of the cell":       {floats("lstm", format.RoleCellClip, 0), "cell state limited to 0"},
		"limit of an rnn":            {floats("rnn", format.RoleCellClip, 1), "argument cell clip does not apply"},
		"ReLU and functions": {func(f *format.File) {
			integers("rnn", format.RoleActs, 1)(f)
			floats("rnn", format.RoleActParams, 0, 0, 0)(f)
			find(f, "rnn").Flags = format.FlagReLU
		}, "ReLU and other activations"},
		"no window":                  {integers("max", format.RoleDims, one[:9]...), "9 numbers describe no window"},
		"window without axes":        {integers("max", format.RoleDims, one[:3]...), "3 numbers describe no window"},
		"window without dims":        {without("max", format.RoleDims), "argument dims is missing"},
		"convolution without dims":   {without("conv", format.RoleDims), "0 numbers describe no window"},
		"flags of a window":          {window("max", 2, 2), "describe no window"},
		"negative flags of a window": {window("max", 2, -1), "describe no window"},
		"window over no channels":    {window("max", 0, 0), "0 channels in 1 groups"},
		"no groups":                  {window("conv", 1, 0), "2 channels in 0 groups"},
		"uneven groups of a window":  {window("conv", 1, 3), "2 channels in 3 groups"},
		"window over no points":      {axis(func(a *format.WindowAxis) { a.In = 0 }), "axis 0 of a window"},
		"window without output":      {axis(func(a *format.WindowAxis) { a.Out = -1 }), "axis 0 of a window"},
		"window of no points":        {axis(func(a *format.WindowAxis) { a.Kernel = 0 }), "axis 0 of a window"},
		"window that stands":         {axis(func(a *format.WindowAxis) { a.Stride = 0 }), "axis 0 of a window"},
		"dilation of 0":              {axis(func(a *format.WindowAxis) { a.Dilation = 0 }), "axis 0 of a window"},
		"negative padding":           {axis(func(a *format.WindowAxis) { a.Pad = -1 }), "axis 0 of a window"},
		"negative padding, end":      {axis(func(a *format.WindowAxis) { a.End = -1 }), "axis 0 of a window"},
		"huge padding":               {axis(func(a *format.WindowAxis) { a.Pad = 1 << 23 }), "axis 0 of a window"},
		"huge steps":                 {axis(func(a *format.WindowAxis) { a.Stride, a.Out = 1<<20, 1<<20 }), "axis 0 of a window"},
		"huge dilation":              {axis(func(a *format.WindowAxis) { a.Dilation, a.Kernel = 1<<20, 1<<20 }), "axis 0 of a window"},
		"huge input":                 {axis(func(a *format.WindowAxis) { a.In = 1 << 22 }), "a window over more than"},
		"huge output":                {axis(func(a *format.WindowAxis) { a.Out = 1 << 22 }), "a window over more than"},
		"huge kernel":                {axis(func(a *format.WindowAxis) { a.Kernel = 1 << 22 }), "a window over more than"},
		// 2^22 points of each of three axes of 4 channels: 2^68 elements are 2^4 in 64 bits.
		"volume that overflows":      {integers("max", format.RoleDims, slices.Concat([]int32{4, 1, 0}, slices.Repeat([]int32{1 << 22, 1, 1, 1, 1, 0, 0}, 3))...), "a window over more than"},
		"window over fewer points":   {window("max", 3, 5), "a window over 2 channels of 5 points, the input has 12"},
		"groups of a pooling":        {window("max", 1, 2), "groups or counted padding"},
		"counted padding of a conv":  {window("conv", 2, 1), "groups or counted padding"},
		"counted padding of a max":   {window("max", 2, 1), "groups or counted padding"},
		"output of a pooling":        {width("max", 10), "output width 10, want 12"},
		"output of a convolution":    {width("conv", 23), "output width 23 for 6 points"},
		"uneven outputs of groups":   {width("grouped", 18), "output width 18 for 6 points in 2 groups"},
		"filters of a convolution":   {width("conv", 18), "argument bias is a vector of 4 by 1, want a vector of 3 by 1"},
		"filters of groups":          {floats("grouped", format.RoleW, make([]float32, 11)...), "argument w is a vector of 11 by 1, want a vector of 12 by 1"},
		"int8 groups":                {op("grouped", func(op *format.Op) { op.Scheme = format.W8A8 }), "scheme w8a8 with 2 groups"},
		"int8 convolution of floats": {op("conv", func(op *format.Op) { op.Scheme = format.W8A8 }), "argument w is a float32 matrix of 4 by 6, want a int8 matrix"},
		"scheme without products":    {op("matmul", func(op *format.Op) { op.Scheme = format.W8A8 }), "without products"},
		"a log softmax over its input": {func(f *format.File) {
			f.Ops = append(f.Ops, format.Op{Kind: format.LogSoftmax, In: []format.Ref{find(f, "clip").Out}, Out: find(f, "clip").Out})
		}, "writes channel 0 of value 14"},
		"a sum over its input": {func(f *format.File) {
			at := find(f, "add").Out
			f.Ops = append(f.Ops, format.Op{Kind: format.Add, In: []format.Ref{at, at}, Out: at})
		}, "writes channel 0 of value 4"},
		"hidden size of a function": {op("clip", func(op *format.Op) { op.Hidden = 1 }), "in an operation without one"},
	} {
		f := wide(t)
		if _, err := format.Encode(f); err != nil {
			t.Fatal(err)
		}
		c.change(f)
		if _, err := format.Encode(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestWideRoundTrip(t *testing.T) {
	f := wide(t)
	b, err := format.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := format.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, f) {
		t.Error("decoded to something else")
	}
}

// TestWork counts the products of a step, whose matrices are padded to 32 rows, and 16 for each channel.
func TestWork(t *testing.T) {
	f := wide(t)
	want := map[string]int64{"recall": 4 * 16, "const": 2 * 16, "gather": 16 * 16, "add": 16 * 16, "select": 22 * 16, "conv": 24*16 + 6*32*6, "grouped": 24*16 + 24*3,
		"max": 12*16 + 12*3, "mean": 12*16 + 12*3, "matmul": 16*16 + 6*2, "sum": 12 * 16, "normalise": 12 * 16, "softmax": 12 * 16, "clip": 12 * 16,
		"dense": 12*16 + 3*32*4, "lstm": 20*16 + 3*(32*4+32*4+16*16), "rnn": 12*16 + 32*12 + 32*4 + 4*16, "store": 4 * 16}
	total := int64(0)
	for i := range f.Ops {
		one := &format.File{Values: f.Values, Blobs: f.Blobs, Ops: f.Ops[i : i+1]}
		if n := want[f.Ops[i].Name]; one.Work() != n {
			t.Errorf("%s: %d, want %d", f.Ops[i].Name, one.Work(), n)
		}
		total += want[f.Ops[i].Name]
	}
	if f.Work() != total {
		t.Errorf("%d in all, want %d", f.Work(), total)
	}
}
