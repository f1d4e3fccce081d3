package sensor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	maxLine    = 4096 // bytes
	maxColumns = 256
	maxName    = 64
	maxSkipped = 50 // lines in a row that a live source may garble
)

// TextOptions say what lines of text do not.
type TextOptions struct {
	Columns string  // names with commas between them, where the lines come without
	Rate    float64 // samples a second of lines that bear no time
	Clock   Clock   // tells the time of lines that bear none as they arrive; nil: a recording
	Live    bool    // lines can be garbled, and reading may begin within one
}

// Text is a Source of lines: comma-separated values under a line of names, or a JSON object a line. A column "t" or "time" gives the time
// in seconds; "time_ms" or "time [ms]", and us and ns, in other units. A name can bear its unit: "ax [g]". Axes that Parts knows are in SI
// units otherwise. A column "_" is not read.
type Text struct {
	name     string
	in       io.ReadCloser
	r        *bufio.Reader
	opt      TextOptions
	line     int
	first    []byte // line that was read to find the columns
	channels []Channel
	names    []string // of all columns
	column   []int    // of the values and the time: channel, isTime or ignored
	unit     float64  // ns of the time column, 0: there is none
	comma    byte
	object   *object // nil for comma-separated values
	seen     []bool  // channels
	count    int     // samples
	stamps   *Stamps
	time     float64 // ns, of the line being read
	skipped  int
}

const (
	isTime  = -1
	ignored = -2
)

// NewText reads the first lines, to learn what is in them.
func NewText(name string, in io.ReadCloser, opt TextOptions) (*Text, error) {
	t := &Text{name: name, in: in, r: bufio.NewReaderSize(in, maxLine), opt: opt, comma: ','}
	if err := t.learn(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t.seen = make([]bool, len(t.channels))
	if t.unit == 0 {
		switch {
		case opt.Clock != nil && opt.Rate > 0:
			t.stamps = NewStamps(opt.Rate)
		case opt.Clock == nil && opt.Rate <= 0:
			return nil, fmt.Errorf("%s: there is no time among %s; without it, -rate must say how many samples a second there are",
				name, strings.Join(t.names, ", "))
		}
	}
	return t, nil
}

func (t *Text) Name() string        { return t.name }
func (t *Text) Channels() []Channel { return t.channels }
func (t *Text) Close() error        { return t.in.Close() }

// Rate is known where the lines bear no time.
func (t *Text) Rate() float64 {
	if t.unit == 0 {
		return t.opt.Rate
	}
	return 0
}

// Next reads a line. A line that cannot be read is an error in a recording, and counted in Lost in a live source.
func (t *Text) Next(s *Sample) error {
	for {
		line, err := t.read()
		if err == nil {
			if err = t.parse(line, s.Values); err == nil {
				t.skipped = 0
				return t.stamp(s)
			}
			err = fmt.Errorf("line %d: %w", t.line, err)
		}
		var bad *lineError
		if !t.opt.Live || !errors.As(err, &bad) {
			return err
		}
		s.Lost++
		if t.skipped++; t.skipped >= maxSkipped {
			return fmt.Errorf("%d lines in a row cannot be read: %w", t.skipped, err)
		}
	}
}

func (t *Text) stamp(s *Sample) error {
	switch {
	case t.unit > 0:
		s.Time = time.Duration(t.time)
	case t.stamps != nil:
		s.Time, _ = t.stamps.Burst(t.opt.Clock.Now(), 1)
	case t.opt.Clock != nil:
		s.Time = t.opt.Clock.Now()
	default:
		s.Time = time.Duration(float64(t.count) / t.opt.Rate * 1e9)
	}
	t.count++
	return nil
}

// lineError is about the contents of a line.
type lineError struct{ reason string }

func (e *lineError) Error() string { return e.reason }

func bad(format string, args ...any) error { return &lineError{fmt.Sprintf(format, args...)} }

// read returns the next line that is not blank.
func (t *Text) read() ([]byte, error) {
	if line := t.first; line != nil {
		t.first = nil
		return line, nil
	}
	for {
		line, err := t.r.ReadSlice('\n')
		t.line++
		if err == bufio.ErrBufferFull {
			for err == bufio.ErrBufferFull {
				_, err = t.r.ReadSlice('\n')
			}
			if err == nil || err == io.EOF {
				return nil, fmt.Errorf("line %d: %w", t.line, bad("more than %d bytes", maxLine))
			}
		}
		if err != nil && (err != io.EOF || len(line) == 0) {
			return nil, err
		}
		if t.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // byte order mark of spreadsheets
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// learn finds the columns in the options or in the first lines.
func (t *Text) learn() error {
	if t.opt.Columns != "" {
		return t.learnGiven()
	}
	const tries = 10
	for try := 0; ; try++ {
		line, err := t.read()
		switch {
		case err == io.EOF:
			return errors.New("no samples")
		case err != nil:
			return err
		}
		if line[0] == '{' {
			err = t.learnObject(line)
		} else {
			err = t.learnHeader(line)
		}
		if err == nil || !t.opt.Live || try == tries {
			return err
		}
	}
}

// learnGiven takes the names from the options, whatever a first line of names says.
func (t *Text) learnGiven() error {
	if err := t.columns(strings.Split(t.opt.Columns, ",")); err != nil {
		return err
	}
	line, err := t.read()
	var garbled *lineError
	switch {
	case err == io.EOF:
		return errors.New("no samples")
	case t.opt.Live && errors.As(err, &garbled):
		return nil
	case err != nil:
		return err
	case line[0] == '{':
		t.asObjects()
		t.first = bytes.Clone(line)
	default:
		t.findComma(line)
		if t.numbers(line) {
			t.first = bytes.Clone(line)
		}
	}
	return nil
}

func (t *Text) findComma(line []byte) {
	for _, c := range []byte(",;\t") {
		if bytes.IndexByte(line, c) >= 0 {
			t.comma = c
			return
		}
	}
}

// numbers reports whether there is a number among the fields of a line.
func (t *Text) numbers(line []byte) bool {
	for f := range bytes.SplitSeq(line, t.separator()) {
		if _, err := strconv.ParseFloat(string(bytes.TrimSpace(f)), 64); err == nil {
			return true
		}
	}
	return false
}

func (t *Text) learnHeader(line []byte) error {
	if t.findComma(line); t.numbers(line) {
		return fmt.Errorf("line %d: a line of names must come first (or -columns give them), not %.40q", t.line, line)
	}
	return t.columns(strings.Split(string(line), string(t.comma)))
}

func (t *Text) learnObject(line []byte) error {
	o := &object{}
	var names []string
	if err := o.scan(line, func(path []byte, _ float64) error {
		if len(names) == maxColumns {
			return bad("more than %d numbers", maxColumns)
		}
		names = append(names, string(path))
		return nil
	}); err != nil {
		return fmt.Errorf("line %d: %w", t.line, err)
	}
	if err := t.columns(names); err != nil {
		return err
	}
	t.first = bytes.Clone(line)
	t.asObjects()
	return nil
}

func (t *Text) asObjects() {
	t.object = &object{}
	t.object.found = t.member
}

// columns takes names with units.
func (t *Text) columns(fields []string) error {
	if len(fields) > maxColumns {
		return fmt.Errorf("line %d: more than %d columns", t.line, maxColumns)
	}
	t.names, t.column, t.channels, t.unit = nil, nil, nil, 0
	for _, f := range fields {
		name, unit := splitUnit(strings.Trim(strings.TrimSpace(f), `"`))
		if name == "" || len(name) > maxName {
			return fmt.Errorf("line %d: %.40q is no name of a column", t.line, name)
		}
		if name == "_" {
			t.names, t.column = append(t.names, name), append(t.column, ignored)
			continue
		}
		for _, other := range t.names {
			if other == name {
				return fmt.Errorf("line %d: two columns are called %q", t.line, name)
			}
		}
		t.names = append(t.names, name)
		if ns := timeUnit(name, unit); ns > 0 {
			if t.unit > 0 {
				return fmt.Errorf("line %d: two columns are times", t.line)
			}
			t.unit = ns
			t.column = append(t.column, isTime)
			continue
		}
		if sensor, _, ok := Parts(name); ok && unit == "" {
			unit = siUnit[sensor]
		}
		t.column = append(t.column, len(t.channels))
		t.channels = append(t.channels, Channel{Name: name, Unit: unit})
	}
	if len(t.channels) == 0 {
		return fmt.Errorf("line %d: no channels", t.line)
	}
	return nil
}

// splitUnit takes "ax [g]" or "ax (g)" apart.
func splitUnit(text string) (name, unit string) {
	for _, b := range []string{"[]", "()"} {
		if name, rest, ok := strings.Cut(text, b[:1]); ok {
			if unit, ok := strings.CutSuffix(rest, b[1:]); ok {
				return strings.TrimSpace(name), strings.TrimSpace(unit)
			}
		}
	}
	return text, ""
}

var timeUnits = map[string]float64{"": 1e9, "s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1}

// timeUnit returns the nanoseconds of a unit if the name is that of a time, else 0.
func timeUnit(name, unit string) float64 {
	base, suffix, _ := strings.Cut(strings.ToLower(name), "_")
	switch base {
	case "t", "ts", "time", "timestamp":
		if suffix == "" {
			suffix = unit
		}
		return timeUnits[suffix]
	}
	return 0
}

func (t *Text) parse(line []byte, values []float32) error {
	if t.object != nil {
		return t.parseObject(line, values)
	}
	for k := range t.names {
		field, rest, more := bytes.Cut(line, t.separator())
		if more != (k < len(t.names)-1) {
			return bad("the number of fields is not %d", len(t.names))
		}
		line = rest
		if t.column[k] == ignored {
			continue
		}
		v, err := strconv.ParseFloat(string(bytes.TrimSpace(field)), 64)
		if err != nil && !math.IsInf(v, 0) {
			return bad("column %d (%s): %.40q is not a number", k+1, t.names[k], field)
		}
		if err := t.put(k, v, values); err != nil {
			return err
		}
	}
	return nil
}

var commas = [...][]byte{[]byte(","), []byte(";"), []byte("\t")}

func (t *Text) separator() []byte {
	for _, c := range commas {
		if c[0] == t.comma {
			return c
		}
	}
	return commas[0]
}

func (t *Text) put(column int, v float64, values []float32) error {
	if c := t.column[column]; c != isTime {
		values[c] = float32(v)
		t.seen[c] = true
		return nil
	}
	t.time = v * t.unit
	if !(math.Abs(t.time) < math.MaxInt64/2) {
		return bad("%v is no time", v)
	}
	return nil
}

func (t *Text) parseObject(line []byte, values []float32) error {
	clear(t.seen)
	t.time = math.NaN()
	t.object.values = values
	if err := t.object.scan(line, t.object.found); err != nil {
		return err
	}
	for c, ok := range t.seen {
		if !ok {
			return bad("%s is missing", t.channels[c].Name)
		}
	}
	if t.unit > 0 && t.time != t.time {
		return bad("the time is missing")
	}
	return nil
}

func (t *Text) member(path []byte, v float64) error {
	for k, name := range t.names {
		if string(path) == name {
			return t.put(k, v, t.object.values)
		}
	}
	return nil
}

// object finds the numbers in an object of JSON; those of objects in it have names with "_" between: {"accel":{"x":1}} is accel_x, and so is
// the first of {"accel":[1,2,3]}.
type object struct {
	line   []byte
	path   []byte
	found  func(path []byte, v float64) error
	values []float32
}

const maxDepth = 4

func (o *object) scan(line []byte, found func(path []byte, v float64) error) error {
	o.line, o.path = line, o.path[:0]
	if err := o.members(found, 0); err != nil {
		return err
	}
	if o.skip(); len(o.line) > 0 {
		return bad("text after the object")
	}
	return nil
}

func (o *object) skip() { o.line = bytes.TrimLeft(o.line, " \t") }

// take removes c from the front if it is there.
func (o *object) take(c byte) bool {
	if o.skip(); len(o.line) == 0 || o.line[0] != c {
		return false
	}
	o.line = o.line[1:]
	return true
}

func (o *object) members(found func(path []byte, v float64) error, depth int) error {
	if !o.take('{') || depth == maxDepth {
		return bad("want an object")
	}
	if o.take('}') {
		return nil
	}
	outer := len(o.path)
	for {
		key, err := o.text()
		if err != nil {
			return err
		}
		if outer > 0 {
			o.path = append(o.path, '_')
		}
		o.path = append(o.path, key...)
		if !o.take(':') {
			return bad("want a colon after a name")
		}
		if err := o.value(found, depth); err != nil {
			return err
		}
		o.path = o.path[:outer]
		if o.take('}') {
			return nil
		}
		if !o.take(',') {
			return bad("the object does not end")
		}
	}
}

// text is a string as it is written, with its escapes.
func (o *object) text() ([]byte, error) {
	if !o.take('"') {
		return nil, bad("want a string")
	}
	for i := 0; i < len(o.line); i++ {
		switch o.line[i] {
		case '\\':
			i++
		case '"':
			s := o.line[:i]
			o.line = o.line[i+1:]
			return s, nil
		}
	}
	return nil, bad("a string does not end")
}

func (o *object) value(found func(path []byte, v float64) error, depth int) error {
	o.skip()
	if len(o.line) == 0 {
		return bad("a value is missing")
	}
	switch o.line[0] {
	case '{':
		return o.members(found, depth+1)
	case '[':
		return o.elements(found, depth+1)
	case '"':
		_, err := o.text()
		return err
	}
	n := bytes.IndexAny(o.line, ",}] \t")
	if n < 0 {
		n = len(o.line)
	}
	word := o.line[:n]
	o.line = o.line[n:]
	switch string(word) {
	case "true", "false", "null":
		return nil
	}
	v, err := strconv.ParseFloat(string(word), 64)
	if err != nil && !math.IsInf(v, 0) {
		return bad("%.40q is not a number", word)
	}
	return found(o.path, v)
}

func (o *object) elements(found func(path []byte, v float64) error, depth int) error {
	o.take('[')
	if depth == maxDepth {
		return bad("arrays too deep")
	}
	outer := len(o.path)
	for i := 0; ; i++ {
		if o.take(']') {
			return nil
		}
		if i > 0 && !o.take(',') {
			return bad("the array does not end")
		}
		if i < 3 {
			o.path = append(o.path, '_', "xyz"[i])
		} else {
			o.path = strconv.AppendInt(append(o.path, '_'), int64(i), 10)
		}
		if err := o.value(found, depth); err != nil {
			return err
		}
		o.path = o.path[:outer]
	}
}
