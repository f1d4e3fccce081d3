package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) {
	r.Machine.Text(w)
	fmt.Fprintln(w)
	r.limitsText(w)
	fmt.Fprintln(w)
	r.resultsText(w)
	if c := r.mainChart(); c != nil {
		fmt.Fprintln(w)
		c.text(w)
	}
}

// Text writes what is known of the machine.
func (m *Machine) Text(w io.Writer) {
	t := table{left: 2}
	row := func(name, f string, args ...any) { t.rows = append(t.rows, []string{name, fmt.Sprintf(f, args...)}) }
	row("cpu", "%s, %d cores", m.CPU, m.Cores)
	row("build", "%s/%s, %s", m.OS, m.Arch, m.Go)
	row("features", "%s", orNone(m.kernelFeatures()))
	var tiers []string
	for _, name := range m.Tiers {
		if name == m.Tier {
			name += " (in use)"
		}
		tiers = append(tiers, name)
	}
	row("tiers", "%s", strings.Join(tiers, ", "))
	var caches []string
	for _, c := range m.Caches {
		s := fmt.Sprintf("L%d %s", c.Level, byteCount(c.Bytes))
		if c.Shared != "" {
			s += " (CPU " + c.Shared + ")"
		}
		caches = append(caches, s)
	}
	row("caches", "%s", orNone(caches))
	row("clock", "%s ns to read twice", number(m.ClockNs))
	t.write(w)
}

func orNone(v []string) string {
	if len(v) == 0 {
		return "unknown"
	}
	return strings.Join(v, ", ")
}

// kernelFeatures are the features that choose between tiers.
func (m *Machine) kernelFeatures() (names []string) {
	for _, f := range []string{"AVX2", "FMA3", "AVXVNNI", "AVX512F", "AVX512BW", "AVX512VL", "AVX512VNNI", "ASIMD", "ASIMDHP", "ASIMDDP", "SVE",
		"VFP", "VFPv3", "VFPv4", "NEON"} {
		if slices.Contains(m.Features, f) {
			names = append(names, f)
		}
	}
	return names
}

func (r *Report) limitsText(w io.Writer) {
	var vectors []string
	bySize := map[int]map[string]string{}
	level := map[int]string{}
	for _, l := range r.Limits.Read {
		if !slices.Contains(vectors, l.Vector) {
			vectors = append(vectors, l.Vector)
		}
		if bySize[l.Bytes] == nil {
			bySize[l.Bytes] = map[string]string{}
		}
		bySize[l.Bytes][l.Vector], level[l.Bytes] = number(l.GBps), l.Level
	}
	fmt.Fprintln(w, "read, GB/s: loads and nothing else")
	t := table{left: 1, rows: [][]string{append([]string{"", "size"}, vectors...)}}
	for _, n := range slices.Sorted(maps.Keys(bySize)) {
		row := []string{level[n], byteCount(n)}
		for _, v := range vectors {
			row = append(row, bySize[n][v])
		}
		t.rows = append(t.rows, row)
	}
	t.write(w)
	fmt.Fprintln(w, "\nceilings, GOP/s: independent instructions on registers, a multiply-add is two operations")
	t = table{left: 2, text: true}
	for _, l := range r.Limits.Ports {
		t.rows = append(t.rows, []string{l.Tier, l.Unit, number(l.GOPS), l.Instructions})
	}
	t.write(w)
}

func (r *Report) resultsText(w io.Writer) {
	t := table{left: 2, text: true}
	for i, x := range r.Results {
		switch k := x.(type) {
		case KernelResult:
			if i == 0 {
				t.rows = append(t.rows, []string{"tier", "kernel", "size", "columns", "ns min", "median", "GB/s", "GOP/s", "% min", "% median", "of limit"})
			}
			t.rows = append(t.rows, []string{k.Tier, k.Kernel, k.size(), fmt.Sprint(k.Columns), number(k.NsMin), number(k.NsMedian), number(k.GBps),
				number(k.GOPS), percent(k.LimitPct), percent(k.Typical), k.Limit})
		case CellResult:
			if i == 0 {
				t.rows = append(t.rows, []string{"network", "tier", "ns min", "median", "p99.9", "max", "allocs", "ns a step", "% min", "% median", "of limit"})
			}
			t.rows = append(t.rows, []string{k.name(), k.Tier, number(k.NsMin), number(k.NsMedian), number(k.NsP999), number(k.NsMax),
				number(k.Allocs), number(k.NsMin / float64(k.Steps)), percent(k.LimitPct), percent(k.Typical), k.Limit})
		}
	}
	t.write(w)
}

// table lines up columns: the first few to the left, the others to the right, but for the last one where that is text.
type table struct {
	left int
	text bool
	rows [][]string
}

func (t *table) write(w io.Writer) {
	var width []int
	for _, row := range t.rows {
		for i, s := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		for i, s := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
			if i < t.left || t.text && i == len(width)-1 {
				s += pad
			} else {
				s = pad + s
			}
			b.WriteString("  " + s)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// size is rows by columns of a matrix, or the number of elements.
func (k *KernelResult) size() string {
	if k.Cols == 1 {
		return fmt.Sprint(k.Rows)
	}
	return fmt.Sprintf("%d×%d", k.Rows, k.Cols)
}

func (c *CellResult) name() string {
	s := c.Cell
	if c.Model != "" {
		s = c.Model
	}
	s += fmt.Sprintf(" %d→%d", c.Input, c.Hidden)
	if c.TwoWay {
		s += "×2"
	}
	if c.Scheme != "w8a8" {
		s += " " + c.Scheme
	}
	if c.Mode == "seq" {
		s += fmt.Sprintf(", %d steps", c.Steps)
	}
	return s
}

func percent(p float64) string {
	if p == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", p)
}

// number prints three significant digits, and all before the point.
func number(v float64) string {
	digits := 0
	if a := math.Abs(v); a > 0 && a < 100 {
		digits = min(3, 2-int(math.Floor(math.Log10(a))))
	}
	s := fmt.Sprintf("%.*f", digits, v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func byteCount(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<19) == 0:
		return number(float64(n)/(1<<20)) + " MiB"
	case n >= 1<<10:
		return number(float64(n)/(1<<10)) + " KiB"
	}
	return fmt.Sprint(n, " B")
}
