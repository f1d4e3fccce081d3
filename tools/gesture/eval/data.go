package main

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/sensor"
)

// span is a gesture in a recording: rows first to end-1.
type span struct {
	label      string
	first, end int
}

// recording is one file of the data set, at the rate and with the channels of a model, and the gestures in it.
type recording struct {
	subject, measurement int
	samples              []float32 // row after row
	rows                 int
	truth                []span // in time order
}

// The data set: channels in counts of a converter, of which the last three are given again in m/s² (MMA7260Q at ±1.5 g: 1.65 V at rest and
// 0.8 V/g by its data sheet, read with 10 bits of 5 V), and time in ms.
const (
	recordedRate = 62.5
	zero         = 1.65 / 5 * 1024
	gain         = sensor.Gravity / (0.8 / 5 * 1024)
)

var (
	counts       = strings.Split("aWx aWy aWz gWx gWz aFx aFy aFz gFx gFz", " ")
	finger       = []int{5, 6, 7}
	acceleration = []string{"ax", "ay", "az"}
)

// load reads the recordings of the subjects for a model, in order, from a copy of mobrobot_gestures: orig/subjectN_measurementM.csv and
// segments.csv (subject, measurement, gesture, first row, end row, …; a line of names first).
func load(dir string, m *runtime.Model, subjects []int) ([]*recording, error) {
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
		if err := r.read(root, name, m); err != nil {
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

func (r *recording) read(root fs.FS, name string, m *runtime.Model) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	src := &file{csv: gesture.NewReader(f, counts), row: make([]float32, len(counts))}
	input := m.File().Input
	var want []sensor.Channel
	for _, c := range input.Channels {
		want = append(want, sensor.Channel{Name: c.Name, Unit: c.Unit})
	}
	mapped, err := sensor.NewMap(want, src.Channels(), sensor.Identity, "")
	if err != nil {
		return err
	}
	stream := sensor.NewStream(src, sensor.Options{Rate: float64(input.Rate)})
	raw, sample := make([]float32, len(src.Channels())), make([]float32, len(want))
	first := 0.0 // s, time of the first row
	for {
		t, _, err := stream.Next(raw)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = mapped.Apply(sample, raw)
		}
		if err != nil {
			return err
		}
		if r.rows == 0 {
			first = t
		}
		r.samples = append(r.samples, sample...)
		r.rows++
	}
	for i, s := range r.truth {
		if s.first < 0 || s.first >= s.end || s.end > src.rows {
			return fmt.Errorf("segments.csv has %s in rows %d to %d, the file has %d", s.label, s.first, s.end, src.rows)
		}
		row := func(recorded int) int {
			k := math.Round((float64(recorded)/recordedRate - first) * float64(input.Rate))
			return min(max(int(k), 0), r.rows)
		}
		r.truth[i].first, r.truth[i].end = row(s.first), row(s.end)
	}
	return nil
}

// file is a recording as a sensor. Its rows are taken to be evenly spaced, as segments.csv counts them.
type file struct {
	csv  *gesture.Reader
	row  []float32
	rows int
}

func (f *file) Name() string  { return "recording" }
func (f *file) Rate() float64 { return recordedRate }
func (f *file) Close() error  { return nil }

func (f *file) Channels() (all []sensor.Channel) {
	for _, c := range counts {
		all = append(all, sensor.Channel{Name: c, Unit: "counts"})
	}
	for _, c := range acceleration {
		all = append(all, sensor.Channel{Name: c, Unit: sensor.MetresPerSecond2})
	}
	return all
}

func (f *file) Next(s *sensor.Sample) error {
	if _, err := f.csv.Next(f.row); err != nil {
		return err
	}
	copy(s.Values, f.row)
	for i, k := range finger {
		s.Values[len(f.row)+i] = float32((float64(f.row[k]) - zero) * gain)
	}
	s.Time = time.Duration(f.rows) * 16 * time.Millisecond // 1 / recordedRate
	f.rows++
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
