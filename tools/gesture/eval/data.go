package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/models/gesture"
)

// span is a gesture in a recording: rows first to end-1.
type span struct {
	label      string
	first, end int
}

// recording is one file of the data set and the gestures in it.
type recording struct {
	subject, measurement int
	samples              []float32 // row after row
	times                []float64 // s
	truth                []span    // in time order
}

// load reads the recordings of the subjects, in order, from a copy of mobrobot_gestures: orig/subjectN_measurementM.csv and
// segments.csv (subject, measurement, gesture, first row, end row, …; a line of names first).
func load(dir string, channels []string, subjects []int) ([]*recording, error) {
	root := os.DirFS(dir)
	truth, err := readTruth(root)
	if err != nil {
		return nil, err
	}
	var out []*recording
	for key, spans := range truth {
		if !slices.Contains(subjects, key[0]) {
			continue
		}
		r := &recording{subject: key[0], measurement: key[1], truth: spans}
		name := fmt.Sprintf("orig/subject%d_measurement%d.csv", r.subject, r.measurement)
		if err := r.read(root, name, channels); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no recordings of subjects %v", dir, subjects)
	}
	slices.SortFunc(out, func(a, b *recording) int {
		return cmp.Or(a.subject-b.subject, a.measurement-b.measurement)
	})
	return out, nil
}

func (r *recording) read(root fs.FS, name string, channels []string) error {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	csv := gesture.NewReader(bytes.NewReader(b), channels)
	sample := make([]float32, len(channels))
	for {
		t, err := csv.Next(sample)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		r.samples = append(r.samples, sample...)
		r.times = append(r.times, t)
	}
	for _, s := range r.truth {
		if s.first < 0 || s.first >= s.end || s.end > len(r.times) {
			return fmt.Errorf("segments.csv has %s in rows %d to %d, the file has %d", s.label, s.first, s.end, len(r.times))
		}
	}
	return nil
}

func readTruth(root fs.FS) (map[[2]int][]span, error) {
	const name = "segments.csv"
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	truth := map[[2]int][]span{}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i, line := range lines[1:] {
		var v [5]int
		fields := strings.Split(line, ",")
		if len(fields) < len(v) {
			return nil, fmt.Errorf("%s: line %d has %d fields", name, i+2, len(fields))
		}
		for k := range v {
			if v[k], err = strconv.Atoi(fields[k]); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", name, i+2, err)
			}
		}
		key := [2]int{v[0], v[1]}
		truth[key] = append(truth[key], span{"G" + strconv.Itoa(v[2]), v[3], v[4]})
	}
	for _, s := range truth {
		slices.SortFunc(s, func(a, b span) int { return a.first - b.first })
	}
	return truth, nil
}

// parseSubjects reads lists such as 1-14 or 1,5,15-20.
func parseSubjects(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		a, err := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err != nil || err2 != nil || a < 1 || b < a || b > 1000 {
			return nil, fmt.Errorf("subjects %q: want a list such as 1,5,15-20", s)
		}
		for k := a; k <= b; k++ {
			out = append(out, k)
		}
	}
	return out, nil
}
