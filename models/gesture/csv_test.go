package gesture

import (
	"io"
	"strings"
	"testing"
)

var channels = []string{"aWx", "aWy", "aWz", "gWx", "gWz", "aFx", "aFy", "aFz", "gFx", "gFz"}

func TestReader(t *testing.T) {
	const row = "1,2,3,4,5,6,7,8,9,10,"
	for _, c := range []struct {
		name, text string
		rows       int    // read before the end or the error
		err        string // "" for none
	}{
		{"plain", row + "16\n" + row + "32\n", 2, ""},
		{"no newline at the end", row + "16\n" + row + "32", 2, ""},
		{"CRLF, blanks, spaces", "\r\n" + row + "16\r\n\r\n  \n 1 ,2,3,4,5,6,7,8,9,10\t, 32 \r\n\n", 2, ""},
		{"header", "aWx,aWy,aWz,gWx,gWz,aFx,aFy,aFz,gFx,gFz,time\n" + row + "16\n", 1, ""},
		{"other header", "\n\"a\",b,c,d,e,f,g,h,i,j,time (ms)\n" + row + "16\n", 1, ""},
		{"byte order mark", "\ufeff" + row + "16\n", 1, ""},
		{"fractions, exponents, signs", "+1.5,-2,3e2,.4,5.,6,7,8,9,10,16.25\n", 1, ""},
		{"empty", "", 0, ""},
		{"header only", "a,b,c,d,e,f,g,h,i,j,k\n", 0, ""},

		{"short line", row + "16\n1,2,3\n", 1, "line 2, column 4 (gWx): missing"},
		{"no time", row + "16\n1,2,3,4,5,6,7,8,9,10\n", 1, "line 2, column 11 (time): missing"},
		{"empty field", row + "16\n\n1,2,3,4,,6,7,8,9,10,32\n", 1, "line 3, column 5 (gWz): missing"},
		{"empty last field", row + "\n", 0, "line 1, column 11 (time): missing"},
		{"text", row + "16\n1,x2,3,4,5,6,7,8,9,10,32\n", 1, `line 2, column 2 (aWy): "x2" is not a number`},
		{"text in the first line", "1,2,3,4,5,6,7,8,9,gFz,16\n", 0, `line 1, column 10 (gFz): "gFz" is not a number`},
		{"second header", "a,b,c,d,e,f,g,h,i,j,k\na,b,c,d,e,f,g,h,i,j,k\n", 0, `line 2, column 1 (aWx): "a" is not a number`},
		{"time that is text", row + "now\n", 0, `line 1, column 11 (time): "now" is not a number`},
		{"NaN", "1,2,3,4,5,NaN,7,8,9,10,16\n", 0, `line 1, column 6 (aFx): "NaN" is not finite`},
		{"infinite", "1,2,3,4,5,6,-inf,8,9,10,16\n", 0, `line 1, column 7 (aFy): "-inf" is not finite`},
		{"too large", "1,2,3,4,5,6,7,1e999,9,10,16\n", 0, `line 1, column 8 (aFz): "1e999" is not finite`},
		{"infinite time", row + "Inf\n", 0, `line 1, column 11 (time): "Inf" is not finite`},
		{"one field too many", row + "16,0\n", 0, "line 1, column 12 (unknown): a line has 11 fields"},
		{"trailing comma", row + "16,\n", 0, "line 1, column 12 (unknown): a line has 11 fields"},
		{"semicolons", "1;2;3;4;5;6;7;8;9;10;16\n1;2;3\n", 0, "line 1, column 2 (aWy): missing"},
		{"header of other order", "aWx,aWz,aWy,d,e,f,g,h,i,j,time\n", 0, "line 1, column 2 (aWy): aWz belongs to column 3"},
		{"header with time first", "time,aWx,aWy,aWz,gWx,gWz,aFx,aFy,aFz,gFx,gFz\n", 0, "line 1, column 1 (aWx): time belongs to column 11"},
		{"short header", "a,b,c\n", 0, "line 1, column 4 (gWx): missing"},
		{"long line", row + "16\n" + strings.Repeat("1", 5000) + "\n", 1, "line 2: more than 4096 bytes"},
		{"binary", row + "16\n\x00\x01\x02,\xff\n", 1, `line 2, column 1 (aWx): "\x00\x01\x02" is not a number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(c.text), channels)
			sample := make([]float32, 10)
			rows := 0
			_, err := r.Next(sample)
			for ; err == nil; _, err = r.Next(sample) {
				rows++
			}
			got := err.Error()
			if err == io.EOF {
				got = ""
			}
			// a text line alone is taken for a header of the wrong width, unless its first field is a number
			if got != c.err || rows != c.rows {
				t.Errorf("%d rows, error %q; want %d rows, error %q", rows, got, c.rows, c.err)
			}
		})
	}
}

func TestReaderValues(t *testing.T) {
	r := NewReader(strings.NewReader("255,215,464,277,274,364,300,480,274,273,37\n0.5,-1,2e2,3,4,5,6,7,8,1023,53.5\n"), channels)
	want := [][]float32{{255, 215, 464, 277, 274, 364, 300, 480, 274, 273}, {.5, -1, 200, 3, 4, 5, 6, 7, 8, 1023}}
	times := []float64{0.037, 0.0535}
	sample := make([]float32, 10)
	for i, w := range want {
		at, err := r.Next(sample)
		if err != nil || at != times[i] || r.Line() != i+1 {
			t.Fatalf("row %d: time %v, line %d, %v", i, at, r.Line(), err)
		}
		for k := range w {
			if sample[k] != w[k] {
				t.Errorf("row %d: %v, want %v", i, sample, w)
			}
		}
	}
	if _, err := r.Next(sample[:9]); err == nil {
		t.Error("a sample of 9 values passed")
	}
}

// endless repeats a line.
type endless struct {
	line string
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.line[e.at:])
	e.at = (e.at + n) % len(e.line)
	return n, nil
}

func TestReaderAllocatesNothing(t *testing.T) {
	r := NewReader(&endless{line: "255,215,464.5,277,274,364,300,480,274,273,1234567.25\n"}, channels)
	sample := make([]float32, 10)
	if n := testing.AllocsPerRun(1000, func() { r.Next(sample) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add("1,2,3,4,5,6,7,8,9,10,16\n")
	f.Add("a,b,c,d,e,f,g,h,i,j,k\r\n\n1,2,,")
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(strings.NewReader(text), channels)
		sample := make([]float32, len(channels))
		for {
			_, err := r.Next(sample)
			if err == io.EOF {
				return
			}
			if err != nil {
				if !strings.HasPrefix(err.Error(), "line ") {
					t.Fatalf("%q: %v", text, err)
				}
				return
			}
		}
	})
}
