package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/recur-go/recur/models/mot"
)

const (
	maxLine    = 1 << 20 // bytes
	maxFrame   = 1 << 30
	maxMissing = 100000 // frames without a line between two that have one
)

// reader reads the detections of frame after frame: MOT text, frame,id,left,top,width,height[,score…], of which a frame ends where the next begins
// or at a blank line, or a JSON object a frame.
type reader struct {
	scan    *bufio.Scanner
	name    string
	line    int
	frame   int // latest
	begun   bool
	held    []byte // line of the next frame, read already
	ids     map[int]int
	found   []mot.Detection
	pending bool
}

func newReader(r io.Reader, name string) *reader {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 1<<16), maxLine)
	return &reader{scan: scan, name: name, ids: map[int]int{}}
}

func (r *reader) fail(format string, args ...any) error {
	return fmt.Errorf("%s: line %d: %w", r.name, r.line, fmt.Errorf(format, args...))
}

// next returns the next frame that has lines, valid until the next call, and io.EOF after the last.
func (r *reader) next() (frame int, found []mot.Detection, err error) {
	r.found = r.found[:0]
	clear(r.ids)
	open := false
	for {
		if !r.pending {
			ok, err := r.read()
			if err != nil {
				return 0, nil, err
			}
			if !ok {
				if open {
					return r.frame, r.found, nil
				}
				return 0, nil, io.EOF
			}
		}
		r.pending = false
		line := r.held
		switch {
		case len(line) == 0 && open:
			return r.frame, r.found, nil
		case len(line) == 0:
			continue
		case line[0] == '{' && open:
			r.pending = true
			return r.frame, r.found, nil
		case line[0] == '{':
			return r.object(line)
		}
		d, frame, id, err := r.row(line)
		if err != nil {
			return 0, nil, err
		}
		if open && frame != r.frame {
			r.pending = true
			return r.frame, r.found, nil
		}
		if !open {
			if err := r.advance(frame); err != nil {
				return 0, nil, err
			}
			open = true
		}
		if id >= 0 {
			if first, twice := r.ids[id]; twice {
				return 0, nil, r.fail("id %d of frame %d is that of line %d too", id, frame, first)
			}
			r.ids[id] = r.line
		}
		if err := r.add(d); err != nil {
			return 0, nil, err
		}
	}
}

// read takes the next line.
func (r *reader) read() (ok bool, err error) {
	if !r.scan.Scan() {
		r.line++
		switch err := r.scan.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return false, r.fail("longer than %d bytes", maxLine)
		case err != nil:
			return false, r.fail("%w", err)
		}
		return false, nil
	}
	r.line++
	line := r.scan.Bytes()
	if r.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // byte order mark of spreadsheets
	}
	r.held = bytes.TrimSpace(line)
	return true, nil
}

// advance begins a frame.
func (r *reader) advance(frame int) error {
	switch {
	case frame < 0 || frame > maxFrame:
		return r.fail("frame %d: want 0 to %d", frame, maxFrame)
	case r.begun && frame <= r.frame:
		return r.fail("frame %d follows frame %d: frames must be in order, each in one piece", frame, r.frame)
	case frame-r.frame > maxMissing:
		return r.fail("frame %d follows frame %d: the limit is %d frames without a line", frame, r.frame, maxMissing)
	}
	r.begun, r.frame = true, frame
	return nil
}

func (r *reader) add(d mot.Detection) error {
	if !(d.W > 0 && d.H > 0) {
		return r.fail("a box of %v by %v pixels: want a size above 0", d.W, d.H)
	}
	if len(r.found) == mot.MaxDetections {
		return r.fail("more than %d detections in frame %d", mot.MaxDetections, r.frame)
	}
	r.found = append(r.found, d)
	return nil
}

var columns = [...]string{"frame", "id", "left", "top", "width", "height", "score"}

// row parses a line of MOT text. What follows the score is not looked at.
func (r *reader) row(line []byte) (d mot.Detection, frame, id int, err error) {
	const needed = 6
	v := [len(columns)]float64{6: 1}
	n := 0
	for ; n < len(v) && line != nil; n++ {
		var field []byte
		field, line, _ = cut(line)
		x, err := strconv.ParseFloat(string(field), 64)
		if err != nil {
			return d, 0, 0, r.fail("column %d (%s): %q is not a number", n+1, columns[n], clip(field))
		}
		if !(x >= -maxNumber && x <= maxNumber) {
			return d, 0, 0, r.fail("column %d (%s): %q is out of range", n+1, columns[n], clip(field))
		}
		if n < 2 && x != float64(int(x)) {
			return d, 0, 0, r.fail("column %d (%s): %q is not a whole number", n+1, columns[n], clip(field))
		}
		v[n] = x
	}
	if n < needed {
		return d, 0, 0, r.fail("column %d (%s): missing", n+1, columns[n])
	}
	return mot.Detection{Box: mot.Corner(v[2], v[3], v[4], v[5]), Score: v[6]}, int(v[0]), int(v[1]), nil
}

// maxNumber is beyond every number that has a use, and within all integers.
const maxNumber = 1 << 30

// cut returns the first field of a line, and what follows the comma, nil at the end.
func cut(line []byte) (field, rest []byte, found bool) {
	field, rest, found = bytes.Cut(line, []byte(","))
	if !found {
		rest = nil
	}
	return bytes.TrimSpace(field), rest, found
}

// clip keeps messages short.
func clip(b []byte) []byte { return b[:min(len(b), 40)] }

// object is a frame as JSON.
type object struct {
	Frame      *int `json:"frame"` // one more than the frame before where it is missing
	Detections []struct {
		Box   []float64 `json:"box"` // left, top, width, height
		Score *float64  `json:"score"`
		ID    *int      `json:"id"`
	} `json:"detections"`
}

func (r *reader) object(line []byte) (frame int, found []mot.Detection, err error) {
	var o object
	if err := json.Unmarshal(line, &o); err != nil {
		return 0, nil, r.fail("%w", err)
	}
	frame = r.frame + 1
	if o.Frame != nil {
		frame = *o.Frame
	}
	if err := r.advance(frame); err != nil {
		return 0, nil, err
	}
	for i := range o.Detections {
		in := &o.Detections[i]
		if len(in.Box) != 4 {
			return 0, nil, r.fail("detection %d: box of %d numbers, want left, top, width, height", i, len(in.Box))
		}
		for _, x := range in.Box {
			if !(x >= -maxNumber && x <= maxNumber) {
				return 0, nil, r.fail("detection %d: %v is out of range", i, x)
			}
		}
		d := mot.Detection{Box: mot.Corner(in.Box[0], in.Box[1], in.Box[2], in.Box[3]), Score: 1}
		if in.Score != nil {
			d.Score = *in.Score
		}
		if in.ID != nil && *in.ID >= 0 {
			if _, twice := r.ids[*in.ID]; twice {
				return 0, nil, r.fail("id %d occurs twice in frame %d", *in.ID, frame)
			}
			r.ids[*in.ID] = r.line
		}
		if err := r.add(d); err != nil {
			return 0, nil, err
		}
	}
	return r.frame, r.found, nil
}
