package sensor

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// prefixes of the names that sensors' axes go by, and the letter that drivers here use.
var prefixes = map[string]string{
	"a": "a", "acc": "a", "accel": "a", "acceleration": "a", "accelerometer": "a",
	"g": "g", "gyr": "g", "gyro": "g", "gyroscope": "g", "anglvel": "g", "angularvelocity": "g", "w": "g", "omega": "g",
	"m": "m", "mag": "m", "magn": "m", "magnetometer": "m",
}

// Parts splits the name of a sensor's axis: "accel_x", "accX" and "ax" are the x of "a". Names that it does not know are ok = false.
func Parts(name string) (sensor string, axis int, ok bool) {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-. ", r) {
			return -1
		}
		return r
	}, strings.ToLower(name))
	if name == "" {
		return "", 0, false
	}
	axis = strings.IndexByte("xyz", name[len(name)-1])
	sensor = prefixes[name[:len(name)-1]]
	if axis < 0 || sensor == "" {
		return "", 0, false
	}
	return sensor, axis, true
}

// siUnit is that of Parts' sensors.
var siUnit = map[string]string{"a": MetresPerSecond2, "g": RadPerSecond, "m": Tesla}

// units are the values of one unit in SI.
var units = map[string]struct {
	si    string
	value float64
}{
	"m/s^2": {MetresPerSecond2, 1}, "m/s2": {MetresPerSecond2, 1}, "m/s²": {MetresPerSecond2, 1},
	"g": {MetresPerSecond2, Gravity}, "mg": {MetresPerSecond2, Gravity / 1000},
	"rad/s": {RadPerSecond, 1},
	"deg/s": {RadPerSecond, math.Pi / 180}, "dps": {RadPerSecond, math.Pi / 180}, "°/s": {RadPerSecond, math.Pi / 180},
	"mdps": {RadPerSecond, math.Pi / 180e3},
	"T":    {Tesla, 1}, "uT": {Tesla, 1e-6}, "µT": {Tesla, 1e-6},
}

// factor turns values of one unit into those of another. An unknown unit is taken to be the other.
func factor(from, to string) (float64, bool) {
	if from == to || from == "" || to == "" {
		return 1, true
	}
	f, okf := units[from]
	t, okt := units[to]
	if !okf || !okt || f.si != t.si {
		return 0, false
	}
	return f.value / t.value, true
}

// Axes turns vectors from a sensor's axes to those of the board or the body: row i gives the new axis i.
type Axes [3][3]float64

// Identity leaves axes as they are.
var Identity = Axes{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}

// ParseAxes reads three signed axes, "y,-x,z" for a new x along the sensor's y, or the nine numbers of a matrix, row by row. Axes must stay
// right-handed.
func ParseAxes(text string) (Axes, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
	var a Axes
	switch len(fields) {
	case 3:
		for i, f := range fields {
			sign, name := 1.0, strings.ToLower(strings.TrimPrefix(f, "+"))
			if rest, minus := strings.CutPrefix(name, "-"); minus {
				sign, name = -1, rest
			}
			k := strings.Index("xyz", name)
			if k < 0 || len(name) != 1 {
				return a, fmt.Errorf("axes %q: %q is none of x, y, z, -x, -y, -z", text, f)
			}
			a[i][k] = sign
		}
	case 9:
		for i, f := range fields {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil || math.Abs(v) > 1e3 || v != v {
				return a, fmt.Errorf("axes %q: %q is no number of a matrix", text, f)
			}
			a[i/3][i%3] = v
		}
	default:
		return a, fmt.Errorf("axes %q: want three axes such as y,-x,z or nine numbers", text)
	}
	switch d := a.det(); {
	case d < -1e-3:
		return a, fmt.Errorf("axes %q: a mirror image; the axes must stay right-handed", text)
	case d < 1e-3:
		return a, fmt.Errorf("axes %q: two of the axes are the same", text)
	}
	return a, nil
}

func (a *Axes) det() float64 {
	return a[0][0]*(a[1][1]*a[2][2]-a[1][2]*a[2][1]) - a[0][1]*(a[1][0]*a[2][2]-a[1][2]*a[2][0]) + a[0][2]*(a[1][0]*a[2][1]-a[1][1]*a[2][0])
}

// Apply turns v.
func (a *Axes) Apply(v [3]float32) (r [3]float32) {
	for i, row := range a {
		r[i] = float32(float64(row[0]*float64(v[0])) + float64(row[1]*float64(v[1])) + float64(row[2]*float64(v[2])))
	}
	return r
}

// Map makes a model's samples from a source's: each value is a weighted sum of the source's and a constant.
type Map struct {
	terms [][]term
	add   []float64
	in    int
}

type term struct {
	from   int
	weight float64
}

// NewMap finds each channel that is wanted among those that a source has: first in the rules, then by its name, then as the same axis by
// another name. A sensor's axes are turned by axes first. A rule is NAME=CHANNEL, NAME=-CHANNEL, NAME=CHANNEL*NUMBER or
// NAME=CHANNEL*NUMBER+NUMBER, in the source's unit, and gives the value as the model wants it; rules have commas between them.
func NewMap(want, have []Channel, axes Axes, rules string) (*Map, error) {
	given, err := parseRules(rules, want)
	if err != nil {
		return nil, err
	}
	m := &Map{terms: make([][]term, len(want)), add: make([]float64, len(want)), in: len(have)}
	var missing, unit []string
	for i, w := range want {
		r, ruled := given[w.Name]
		if !ruled {
			r = rule{from: w.Name, gain: 1}
		}
		k := find(r.from, have, !ruled)
		if k < 0 {
			missing = append(missing, w.Name)
			continue
		}
		if !ruled {
			f, ok := factor(have[k].Unit, w.Unit)
			if !ok {
				unit = append(unit, w.Name)
				continue
			}
			r.gain = f
		}
		if m.terms[i], err = turned(k, have, axes, r.gain); err != nil {
			return nil, err
		}
		m.add[i] = r.add
	}
	if len(missing)+len(unit) > 0 {
		return nil, &MismatchError{want, have, missing, unit}
	}
	return m, nil
}

// turned is channel k after the axes are turned, times gain.
func turned(k int, have []Channel, axes Axes, gain float64) (terms []term, err error) {
	sensor, axis, ok := Parts(have[k].Name)
	if !ok || axes == Identity {
		return []term{{k, gain}}, nil
	}
	for j, w := range axes[axis] {
		if w == 0 {
			continue
		}
		from := -1
		for i, c := range have {
			if s, a, ok := Parts(c.Name); ok && s == sensor && a == j {
				from = i
			}
		}
		if from < 0 {
			return nil, fmt.Errorf("%s cannot be turned: the sensor has no %s%c", have[k].Name, sensor, "xyz"[j])
		}
		terms = append(terms, term{from, w * gain})
	}
	return terms, nil
}

// find returns the index of a channel, -1 if it is not there; alias lets another name of the axis do.
func find(name string, have []Channel, alias bool) int {
	for i, c := range have {
		if c.Name == name {
			return i
		}
	}
	sensor, axis, ok := Parts(name)
	for i, c := range have {
		if s, a, known := Parts(c.Name); alias && ok && known && s == sensor && a == axis {
			return i
		}
	}
	return -1
}

type rule struct {
	from      string
	gain, add float64
}

func parseRules(text string, want []Channel) (map[string]rule, error) {
	rules := map[string]rule{}
	if strings.TrimSpace(text) == "" {
		return rules, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok:
			return nil, fmt.Errorf("map %q: want NAME=CHANNEL", part)
		case find(name, want, false) < 0:
			return nil, fmt.Errorf("map %q: the model has no channel %q; it has %s", part, name, list(want))
		}
		if _, twice := rules[name]; twice {
			return nil, fmt.Errorf("map %q: %s is given twice", part, name)
		}
		r, err := parseRule(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("map %q: %w", part, err)
		}
		rules[name] = r
	}
	return rules, nil
}

func parseRule(text string) (r rule, err error) {
	r.gain = 1
	if rest, minus := strings.CutPrefix(text, "-"); minus {
		r.gain, text = -1, rest
	}
	from, scale, scaled := strings.Cut(text, "*")
	r.from = strings.TrimSpace(from)
	if r.from == "" {
		return r, errors.New("no channel")
	}
	if !scaled {
		return r, nil
	}
	if i := offsetAt(scale); i >= 0 {
		if r.add, err = number(scale[i:]); err != nil {
			return r, err
		}
		scale = scale[:i]
	}
	g, err := number(scale)
	r.gain *= g
	return r, err
}

// offsetAt finds the sign between two numbers.
func offsetAt(s string) int {
	for i := 1; i < len(s); i++ {
		if (s[i] == '+' || s[i] == '-') && !strings.ContainsRune("eE", rune(s[i-1])) {
			return i
		}
	}
	return -1
}

func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is no number", text)
	}
	return v, nil
}

// Apply writes what the model wants to sample. Products are rounded on their own, for the same bits on every platform.
func (m *Map) Apply(sample, values []float32) error {
	if len(sample) != len(m.terms) || len(values) != m.in {
		return fmt.Errorf("%d values for a sample of %d, want %d for %d", len(values), len(sample), m.in, len(m.terms))
	}
	for i, terms := range m.terms {
		v := m.add[i]
		for _, t := range terms {
			v += float64(t.weight * float64(values[t.from]))
		}
		sample[i] = float32(v)
	}
	return nil
}

// MismatchError says that a source does not give what a model wants.
type MismatchError struct {
	Want, Have    []Channel
	Missing, Unit []string // channels that are not there, and those whose unit cannot be had
}

func (e *MismatchError) Error() string {
	var s []string
	if len(e.Missing) > 0 {
		s = append(s, "the sensor has no "+strings.Join(e.Missing, ", "))
	}
	if len(e.Unit) > 0 {
		s = append(s, "the unit of "+strings.Join(e.Unit, ", ")+" cannot be converted")
	}
	return strings.Join(s, ", and ") + "\n  the model wants  " + list(e.Want) + "\n  the sensor gives " + list(e.Have) +
		"\n  -map NAME=CHANNEL*GAIN+OFFSET,… says what is what"
}

func list(channels []Channel) string {
	var b strings.Builder
	for i, c := range channels {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(c.Name)
		if c.Unit != "" {
			b.WriteString(" [" + c.Unit + "]")
		}
	}
	return b.String()
}
