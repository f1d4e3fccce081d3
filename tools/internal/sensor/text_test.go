package sensor

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

func readAll(t *testing.T, text string, opt TextOptions) (names []string, got []string, err error) {
	t.Helper()
	src, err := NewText("in", &closer{Reader: strings.NewReader(text)}, opt)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range src.Channels() {
		names = append(names, c.Name+":"+c.Unit)
	}
	for len(got) < 1000 {
		v := Sample{Values: make([]float32, len(names))}
		if err := src.Next(&v); err != nil {
			return names, got, err
		}
		line := fmt.Sprintf("%v%v", v.Time, v.Values)
		if v.Lost > 0 {
			line += fmt.Sprint(" lost ", v.Lost)
		}
		got = append(got, line)
	}
	t.Fatal("no end")
	return nil, nil, nil
}

func TestText(t *testing.T) {
	si := []string{"ax:m/s^2", "gz:rad/s"}
	two := []string{"1s[1 2]", "1.5s[3 -4]"}
	for name, c := range map[string]struct {
		text  string
		opt   TextOptions
		names []string
		want  []string
	}{
		"seconds":                              {"t,ax,gz\n1,1,2\n1.5,3,-4\n", TextOptions{}, si, two},
		"no last line break":                   {"t,ax,gz\n1,1,2\n1.5,3,-4", TextOptions{}, si, two},
		"blank lines and CRLF":                 {"\ufefft,ax,gz\r\n\r\n1, 1, 2\r\n 1.5,3,-4\r\n\r\n", TextOptions{}, si, two},
		"time last, quoted":                    {"\"ax\",\"gz\",\"time_ms\"\n1,2,1000\n3,-4,1500\n", TextOptions{}, si, two},
		"time in a unit":                       {"ax,gz,timestamp [us]\n1,2,1e6\n3,-4,1500000\n", TextOptions{}, si, two},
		"semicolons":                           {"t_ns;ax;gz\n1000000000;1;2\n1500000000;3;-4\n", TextOptions{}, si, two},
		"tabs":                                 {"t\tax\tgz\n1\t1\t2\n1.5\t3\t-4\n", TextOptions{}, si, two},
		"names in options":                     {"1,1,2\n1.5,3,-4\n", TextOptions{Columns: "t,ax,gz"}, si, two},
		"names in options, others in the file": {"p\tq\tr\n1\t1\t2\n1.5\t3\t-4\n", TextOptions{Columns: "t,ax,gz"}, si, two},
		"columns left out":                     {"1,wave,1,2\n1.5,wave,3,-4\n", TextOptions{Columns: "t,_,ax,gz"}, si, two},
		"own units":                            {"t,ax [g],temp (K),p\n1,1,2,3\n", TextOptions{}, []string{"ax:g", "temp:K", "p:"}, []string{"1s[1 2 3]"}},
		"without time":                         {"ax,gz\n1,2\n3,-4\n", TextOptions{Rate: 2}, si, []string{"0s[1 2]", "500ms[3 -4]"}},
		"what is no number":                    {"t,ax\n1,nan\n2,inf\n3,1e60\n", TextOptions{}, si[:1], []string{"1s[NaN]", "2s[+Inf]", "3s[+Inf]"}},
		"objects":                              {`{"t":1,"ax":1,"gz":2}` + "\n" + `{ "gz" : -4, "note": "a \"b\" }", "ok":true, "ax":3,"t":15e-1}` + "\n", TextOptions{}, si, two},
		"objects in objects": {`{"t_ms":1000,"accel":{"x":1},"gyro":[7,8,2]}` + "\n" + `{"t_ms":1500,"accel":{"x":3},"gyro":[7,8,-4],"extra":[]}`, TextOptions{},
			[]string{"accel_x:m/s^2", "gyro_x:rad/s", "gyro_y:rad/s", "gyro_z:rad/s"}, []string{"1s[1 7 8 2]", "1.5s[3 7 8 -4]"}},
		"objects, names in options": {`{"t":1,"ax":1,"gz":2}` + "\n" + `{"t":1.5,"ax":3,"gz":-4}`, TextOptions{Columns: "t,ax,gz"}, si, two},
		"NaN in an object":          {`{"t":1,"ax":NaN}`, TextOptions{}, si[:1], []string{"1s[NaN]"}},
		"begun within a line":       {"5,6\nt,ax,gz\n1,1,2\n1.5,3,-4\n", TextOptions{Live: true}, si, two},
		"garbled":                   {"t,ax,gz\n1,1,2\n1.2,x\n\x00\x01\n1.4,,3\n1.5,3,-4\n", TextOptions{Live: true}, si, []string{two[0], two[1] + " lost 3"}},
		"garbled objects":           {`{"t":1,"ax":1,"gz":2}` + "\n" + `{"t":1.2,"ax` + "\n" + `{"t":1.5,"ax":3,"gz":-4}`, TextOptions{Live: true}, si, []string{two[0], two[1] + " lost 1"}},
		"a long line":               {"t,ax,gz\n1,1,2\n" + strings.Repeat("9", 3*maxLine) + "\n1.5,3,-4\n", TextOptions{Live: true}, si, []string{two[0], two[1] + " lost 1"}},
	} {
		names, got, err := readAll(t, c.text, c.opt)
		if err != io.EOF || !reflect.DeepEqual(names, c.names) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q %q %v, want %q %q", name, names, got, err, c.names, c.want)
		}
	}
}

func TestTextErrors(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		opt  TextOptions
		want string
	}{
		"empty":                {"", TextOptions{}, "in: no samples"},
		"empty, with names":    {"\n", TextOptions{Columns: "t,ax"}, "in: no samples"},
		"no names":             {"1,2,3\n", TextOptions{}, "in: line 1: a line of names must come first (or -columns give them), not \"1,2,3\""},
		"an unnamed column":    {"t,,ax\n", TextOptions{}, "in: line 1: \"\" is no name of a column"},
		"a name twice":         {"t,ax,ax\n", TextOptions{}, `in: line 1: two columns are called "ax"`},
		"two times":            {"t,ax,time_ms\n", TextOptions{}, "in: line 1: two columns are times"},
		"only a time":          {"t\n", TextOptions{}, "in: line 1: no channels"},
		"no time":              {"ax,ay\n", TextOptions{}, "in: there is no time among ax, ay; without it, -rate must say how many samples a second there are"},
		"too many columns":     {strings.Repeat("a,", 300), TextOptions{}, "in: line 1: more than 256 columns"},
		"too few fields":       {"t,ax\n1\n", TextOptions{}, "line 2: the number of fields is not 2"},
		"too many fields":      {"t,ax\n1,2,3\n", TextOptions{}, "line 2: the number of fields is not 2"},
		"no number":            {"t,ax\n1,2\n2,five\n", TextOptions{}, `line 3: column 2 (ax): "five" is not a number`},
		"no time in it":        {"t,ax\nnan,2\n", TextOptions{}, "line 2: NaN is no time"},
		"a time of centuries":  {"t,ax\n1e12,2\n", TextOptions{}, "line 2: 1e+12 is no time"},
		"a long line":          {"t,ax\n" + strings.Repeat("9", 2*maxLine) + "\n", TextOptions{}, "line 2: more than 4096 bytes"},
		"a long line, no end":  {"t,ax\n" + strings.Repeat("9", 2*maxLine), TextOptions{}, "line 2: more than 4096 bytes"},
		"a member missing":     {`{"t":1,"ax":2}` + "\n" + `{"t":1}`, TextOptions{}, "line 2: ax is missing"},
		"the time missing":     {`{"t":1,"ax":2}` + "\n" + `{"ax":1}`, TextOptions{}, "line 2: the time is missing"},
		"a null":               {`{"t":1,"ax":2}` + "\n" + `{"t":1,"ax":null}`, TextOptions{}, "line 2: ax is missing"},
		"no object":            {`{"t":1,"ax":2}` + "\n[]", TextOptions{}, "line 2: want an object"},
		"half an object":       {`{"t":1,"ax":2}` + "\n" + `{"t":1,"ax":2`, TextOptions{}, "line 2: the object does not end"},
		"text after an object": {`{"t":1,"ax":2}{}`, TextOptions{}, "in: line 1: text after the object"},
		"a deep object":        {strings.Repeat(`{"a":`, 500), TextOptions{}, "in: line 1: want an object"},
		"a deep array":         {`{"a":` + strings.Repeat(`[`, 1000), TextOptions{}, "in: line 1: arrays too deep"},
		"a string":             {`{"a`, TextOptions{}, "in: line 1: a string does not end"},
		"a word":               {`{"a":b}`, TextOptions{}, `in: line 1: "b" is not a number`},
		"nothing but noise":    {"t,ax\n" + strings.Repeat("?\n", 200), TextOptions{Live: true}, "50 lines in a row cannot be read: line 51: the number of fields is not 2"},
		"noise for a header":   {strings.Repeat("1\n", 200), TextOptions{Live: true}, "in: line 11: a line of names must come first (or -columns give them), not \"1\""},
	} {
		if _, _, err := readAll(t, c.text, c.opt); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// ticking gives a line every 10 ms.
type ticking struct {
	clock *fakeClock
	line  string
	n     int
}

func (r *ticking) Read(b []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	r.n--
	r.clock.Sleep(10 * time.Millisecond)
	return copy(b, r.line), nil
}

// TestArrival stamps lines that bear no time as they come.
func TestArrival(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		clock := &fakeClock{}
		in := &closer{Reader: &ticking{clock: clock, line: "1,2\n", n: 300}}
		src, err := NewText("in", in, TextOptions{Columns: "ax,ay", Clock: clock, Rate: rate, Live: true})
		if err != nil {
			t.Fatal(err)
		}
		v := Sample{Values: make([]float32, 2)}
		var last time.Duration
		for i := range 300 {
			if err := src.Next(&v); err != nil {
				t.Fatal(err)
			}
			step := v.Time - last
			last = v.Time
			if i > 0 && (step < 9*time.Millisecond || step > 11*time.Millisecond) {
				t.Errorf("rate %v: a step of %v", rate, step)
			}
		}
		if err := src.Next(&v); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

// looped gives its text for ever.
type looped struct {
	text string
	at   int
}

func (l *looped) Read(b []byte) (int, error) {
	n := copy(b, l.text[l.at:])
	l.at = (l.at + n) % len(l.text)
	return n, nil
}

func TestTextAllocatesNothing(t *testing.T) {
	for _, text := range []string{"1.25,1.5,-2,3,4.125,5,6e-3\n", `{"t":1.25,"ax":1.5,"ay":2,"az":3.5,"gyro":{"x":1,"y":2,"z":3}}` + "\n"} {
		opt := TextOptions{}
		if text[0] != '{' {
			opt.Columns = "t,ax,ay,az,gx,gy,gz"
		}
		src, err := NewText("in", &closer{Reader: &looped{text: text}}, opt)
		if err != nil {
			t.Fatal(err)
		}
		v := Sample{Values: make([]float32, len(src.Channels()))}
		if n := testing.AllocsPerRun(1000, func() {
			if err := src.Next(&v); err != nil {
				t.Fatal(err)
			}
		}); n != 0 || len(v.Values) != 6 {
			t.Errorf("%q: %v allocations a sample of %d", text, n, len(v.Values))
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("t,ax\n1,2\n", false)
	f.Add(`{"t":1,"accel":{"x":[1,2]}}`, true)
	f.Fuzz(func(t *testing.T, text string, live bool) {
		src, err := NewText("in", &closer{Reader: strings.NewReader(text)}, TextOptions{Live: live, Rate: 10})
		if err != nil {
			return
		}
		v := Sample{Values: make([]float32, len(src.Channels()))}
		for range 100 {
			if src.Next(&v) != nil {
				return
			}
		}
	})
}
