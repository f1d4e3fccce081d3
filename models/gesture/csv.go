package gesture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

const (
	timeName = "time"
	maxLine  = 4096 // bytes
)

// Reader reads samples from comma-separated values: the channels in order, then the time in ms. Blank lines are skipped, and so is a
// first line of column names.
type Reader struct {
	scan  *bufio.Scanner
	names []string // of the columns
	line  int
	begun bool
}

// NewReader reads samples of the named channels from r, in constant memory.
func NewReader(r io.Reader, channels []string) *Reader {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, maxLine), maxLine)
	return &Reader{scan: scan, names: append(slices.Clip(channels), timeName)}
}

// Line is the number of the line last read, from 1.
func (r *Reader) Line() int { return r.line }

// Next reads the next sample and returns its time in seconds. After the last it returns io.EOF. A field that is missing or no number
// is an *InputError.
func (r *Reader) Next(sample []float32) (t float64, err error) {
	if len(sample) != len(r.names)-1 {
		return 0, fmt.Errorf("sample of %d values, the file's have %d", len(sample), len(r.names)-1)
	}
	for r.scan.Scan() {
		r.line++
		line := r.scan.Bytes()
		if r.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // byte order mark of spreadsheets
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if !r.begun {
			r.begun = true
			if isHeader(line) {
				if err := r.checkHeader(line); err != nil {
					return 0, err
				}
				continue
			}
		}
		return r.parse(sample, line)
	}
	switch err := r.scan.Err(); err {
	case nil:
		return 0, io.EOF
	case bufio.ErrTooLong:
		return 0, fmt.Errorf("line %d: more than %d bytes", r.line+1, maxLine)
	default:
		return 0, err
	}
}

func (r *Reader) parse(sample []float32, line []byte) (t float64, err error) {
	var field []byte
	var more bool
	for k := range r.names {
		field, line, more = cut(line)
		if t, err = r.number(k, field); err != nil {
			return 0, err
		}
		if k < len(sample) {
			sample[k] = float32(t)
		}
	}
	if more {
		return 0, r.tooMany()
	}
	return t / 1000, nil
}

func (r *Reader) number(column int, field []byte) (float64, error) {
	v, err := strconv.ParseFloat(string(field), 64)
	switch {
	case len(field) == 0:
		return 0, r.fail(column, "missing")
	case math.IsNaN(v) || math.IsInf(v, 0):
		return 0, r.fail(column, "%s is not finite", quoted(field))
	case err != nil:
		return 0, r.fail(column, "%s is not a number", quoted(field))
	}
	return v, nil
}

func (r *Reader) fail(column int, format string, args ...any) error {
	return &InputError{r.line, column + 1, r.names[column], fmt.Sprintf(format, args...)}
}

func (r *Reader) tooMany() error {
	return &InputError{r.line, len(r.names) + 1, "unknown", fmt.Sprintf("a line has %d fields", len(r.names))}
}

// quoted shows a field, the beginning of a long one.
func quoted(field []byte) string {
	if len(field) > 40 {
		return strconv.Quote(string(field[:40])) + "…"
	}
	return strconv.Quote(string(field))
}

func cut(line []byte) (field, rest []byte, more bool) {
	field, rest, more = bytes.Cut(line, []byte(","))
	return bytes.TrimSpace(field), rest, more
}

// isHeader reports whether no field is a number.
func isHeader(line []byte) bool {
	for more := true; more; {
		var field []byte
		field, line, more = cut(line)
		if _, err := strconv.ParseFloat(string(field), 64); err == nil || len(field) == 0 {
			return false
		}
	}
	return true
}

// checkHeader refuses names that it knows in places where it does not expect them, and a wrong number of names.
func (r *Reader) checkHeader(line []byte) error {
	var field []byte
	var more bool
	for k := range r.names {
		field, line, more = cut(line)
		if len(field) == 0 {
			return r.fail(k, "missing")
		}
		if at := slices.Index(r.names, string(bytes.Trim(field, `"`))); at >= 0 && at != k {
			return r.fail(k, "%s belongs to column %d", field, at+1)
		}
	}
	if more {
		return r.tooMany()
	}
	return nil
}
