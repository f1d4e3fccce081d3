package teach

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/gesture"
)

var ab = []string{"a", "b"}

func TestRead(t *testing.T) {
	const text = "\ufefftime, b ,note,label,a\n0,1,x,,2\n20,1,,wave,3\n40,1,,wave,4\n60,1,,,5\n80,1,,\"push, hard\",6\n10,7,,wave,8\n"
	got, err := Read(strings.NewReader(text), ab)
	if err != nil {
		t.Fatal(err)
	}
	want := []Example{
		{Label: "wave", Rows: []float32{2, 1, 3, 1, 4, 1}, First: 1, End: 3, Line: 3, start: 0, end: 40},
		{Label: "push, hard", Rows: []float32{6, 1}, First: 0, End: 1, Line: 6, start: 80, end: 80},
		{Label: "wave", Rows: []float32{8, 7}, First: 0, End: 1, Line: 7, start: 10, end: 10},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if fmt.Sprintf("%+v", got[i]) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("example %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestReadErrors(t *testing.T) {
	const head = "a,b,time,label\n"
	for text, want := range map[string]string{
		"":                                   "empty",
		"a,time,label\n":                     "line 1: no column b; the model's examples have a,b,time,label",
		"a,b,time\n1,2,3\n":                  "no column label",
		"a,b,time,label,a\n":                 "column a occurs twice",
		head:                                 "no row has a label",
		head + "1,2,0,\n":                    "no row has a label",
		head + "1,2,0\n":                     "line 2",
		head + "1,nan,0,x\n":                 `line 2, column 2 (b): "nan" is no reading`,
		head + "1,inf,0,x\n":                 `line 2, column 2 (b): "inf" is no reading`,
		head + "1,,0,x\n":                    "line 2, column 2 (b): missing",
		head + "1,2,zero,x\n":                `line 2, column 3 (time): "zero" is not a number`,
		head + "1,2,0,x\n1,2,0,x\n":          "line 3: the time is that of the line before",
		head + "1,2,0,\"x\ny\"\n":            `line 2: label "x\ny"`,
		head + "1,2,0," + long + "\n":        "at most 100 bytes",
		head + "1,2,0,\"x\n":                 "line 2",
		"a,b,time,label\n1,2,0,x\n1,2,3,4,5": "wrong number of fields",
	} {
		_, err := Read(strings.NewReader(text), ab)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		var input *gesture.InputError
		if strings.Contains(want, "column 2 (") && !errors.As(err, &input) {
			t.Errorf("%q: %T", text, err)
		}
	}
}

var long = strings.Repeat("x", 101)

// TestLongFile: what is read of a long recording must not all be kept, and the rest beside gestures must not be lost.
func TestLongFile(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("a,b,time,label\n")
	const gestures, every = 6, 20011
	for i := range gestures * every {
		label := ""
		if i%every > every-50 && i%every < every-20 {
			label = "wave"
		}
		fmt.Fprintf(&b, "1,2,%d,%s\n", i, label)
	}
	list, err := Read(&b, ab)
	if err != nil || len(list) != gestures {
		t.Fatalf("%d examples, %v", len(list), err)
	}
	for _, e := range list {
		if e.First != margin || e.End-e.First != 29 {
			t.Errorf("samples %d to %d", e.First, e.End)
		}
	}
	endless := "a,b,time,label\n"
	for i := range maxSamples + 2 {
		endless += fmt.Sprintf("1,2,%d,x\n", i)
	}
	if _, err := Read(strings.NewReader(endless), ab); err == nil || !strings.Contains(err.Error(), "has lasted") {
		t.Error(err)
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write(Header(ab))
	want := []Example{{Label: "a, b", Rows: []float32{1, 2.5, -3e-7, 4, 5, 6}, First: 1, End: 2}, {Label: "c", Rows: []float32{1, 2, 3, 4}, First: 0, End: 2}}
	for i := range want {
		if err := Write(w, &want[i], 2, 0, 16); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	got, err := Read(&b, ab)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, e := range got {
		if e.Label != want[i].Label || !slices.Equal(e.Rows, want[i].Rows) || e.First != want[i].First || e.End != want[i].End || e.period(2) != 16 {
			t.Errorf("%+v, want %+v", e, want[i])
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("a,b,time,label\n1,2,0,x\n1,2,16,x\n")
	f.Add("a,b,time,label\n1,2,0,\"x\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Read(strings.NewReader(text), ab)
		if err == nil && len(list) == 0 {
			t.Error("neither examples nor an error")
		}
		for _, e := range list {
			if e.First < 0 || e.First >= e.End || e.End > len(e.Rows)/2 || e.Label == "" {
				t.Errorf("%+v", e)
			}
		}
	})
}
