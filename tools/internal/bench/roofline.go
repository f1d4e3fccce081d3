package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// chart is the roofline of a tier (Williams, Waterman and Patterson, "Roofline", Comm. ACM 52, 2009): what can be computed at most for
// each operation done per byte of weights read, and what is.
type chart struct {
	Tier    string
	Roofs   []ReadLimit // one for each cache level
	Ceiling PortLimit
	Points  []point
}

type point struct {
	Label     string
	Intensity float64 // operations a byte
	GOPS      float64
	Pct       float64
}

// charts draws one for each tier and unit that has products.
func (r *Report) charts() (out []*chart) {
	for _, tier := range r.Machine.Tiers {
		for _, u := range []unit{unitInt8, unitMulAdd} {
			c := &chart{Tier: tier, Points: r.points(tier, u)}
			i := slices.IndexFunc(r.Limits.Ports, func(l PortLimit) bool { return l.Tier == tier && l.Unit == string(u) })
			if len(c.Points) == 0 || i < 0 {
				continue
			}
			c.Ceiling, c.Roofs = r.Limits.Ports[i], r.roofs(tier)
			out = append(out, c)
		}
	}
	return out
}

// mainChart is that of int8 products on the fastest tier, if there are any.
func (r *Report) mainChart() (main *chart) {
	for _, c := range r.charts() {
		if main == nil || c.Ceiling.Unit == string(unitInt8) {
			main = c
		}
	}
	return main
}

func (r *Report) points(tier string, u unit) (points []point) {
	for _, x := range r.Results {
		switch k := x.(type) {
		case KernelResult:
			if k.Tier == tier && (k.Kernel == "gemv_i8" && u == unitInt8 || k.Kernel == "gemv_f32" && u == unitMulAdd) {
				points = append(points, point{fmt.Sprintf("%s ×%d", k.size(), k.Columns), k.Ops / float64(k.Bytes), k.GOPS, k.LimitPct})
			}
		case CellResult:
			if k.Tier == tier && k.GBps > 0 && (k.Scheme == "f32") == (u == unitMulAdd) {
				points = append(points, point{k.name(), k.GOPS / k.GBps, k.GOPS, k.LimitPct})
			}
		}
	}
	return points
}

// roofs picks the size that stands for each cache level.
func (r *Report) roofs(tier string) (roofs []ReadLimit) {
	sizes := levelSizes(r.Machine.Caches)
	for _, l := range r.Limits.Read {
		if l.Vector == tierProbes(tier).vector && slices.Contains(sizes, l.Bytes) {
			roofs = append(roofs, l)
		}
	}
	return roofs
}

// at is what a roof lets through at an intensity.
func (c *chart) at(roof ReadLimit, intensity float64) float64 {
	return min(c.Ceiling.GOPS, roof.GBps*intensity)
}

// plane maps a chart's logarithmic axes to a rectangle from 0, 0 at the lower left.
type plane struct {
	x0, x1, y0, y1 float64 // log2
	width, height  float64
}

func (c *chart) plane(width, height float64) plane {
	p := plane{x0: 0, x1: 4, y0: math.Inf(1), y1: math.Log2(c.Ceiling.GOPS), width: width, height: height}
	for _, q := range c.Points {
		x, y := math.Log2(q.Intensity), math.Log2(q.GOPS)
		p.x0, p.x1, p.y0, p.y1 = min(p.x0, x), max(p.x1, x), min(p.y0, y), max(p.y1, y)
	}
	p.y0 = min(p.y0, p.y1-4)
	p.x0, p.x1, p.y0, p.y1 = math.Floor(p.x0), math.Ceil(p.x1), math.Floor(p.y0), math.Ceil(p.y1+0.1)
	return p
}

func (p plane) x(intensity float64) float64 {
	return p.width * (math.Log2(intensity) - p.x0) / (p.x1 - p.x0)
}

func (p plane) y(gops float64) float64 {
	return p.height * (math.Log2(gops) - p.y0) / (p.y1 - p.y0)
}

// text draws the chart with characters: roofs as dots, results as letters.
func (c *chart) text(w io.Writer) {
	const columns, rows = 72, 18
	p := c.plane(columns-1, rows-1)
	grid := make([][]rune, rows)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", columns))
	}
	put := func(x, y float64, r rune) {
		i, j := rows-1-int(math.Round(y)), int(math.Round(x))
		if i >= 0 && i < rows && j >= 0 && j < columns {
			grid[i][j] = r
		}
	}
	for j := range columns {
		intensity := math.Exp2(p.x0 + (p.x1-p.x0)*float64(j)/(columns-1))
		put(float64(j), p.y(c.Ceiling.GOPS), '─')
		for _, roof := range c.Roofs {
			if g := c.at(roof, intensity); g < c.Ceiling.GOPS {
				put(float64(j), p.y(g), '·')
			}
		}
	}
	for i, q := range slices.Backward(c.Points) {
		put(p.x(q.Intensity), p.y(q.GOPS), mark(i))
	}
	fmt.Fprintf(w, "roofline of tier %s: GOP/s over operations per byte of weights; ── %s at %s GOP/s\n", c.Tier, c.Ceiling.Instructions, number(c.Ceiling.GOPS))
	labels := make([]string, rows)
	for e := p.y0; e <= p.y1; e++ {
		labels[rows-1-int(math.Round(p.y(math.Exp2(e))))] = number(math.Exp2(e))
	}
	for i, line := range grid {
		fmt.Fprintf(w, "%6s │%s\n", labels[i], strings.TrimRight(string(line), " "))
	}
	fmt.Fprintf(w, "%6s └%s\n", "", strings.Repeat("─", columns))
	axis := []byte(strings.Repeat(" ", columns+8))
	for e := p.x0; e <= p.x1; e++ {
		copy(axis[int(math.Round(p.x(math.Exp2(e)))):], number(math.Exp2(e)))
	}
	fmt.Fprintf(w, "%8s%s op/byte\n", "", strings.TrimRight(string(axis), " "))
	t := table{left: 2}
	for _, roof := range slices.Backward(c.Roofs) {
		t.rows = append(t.rows, []string{"·", strings.TrimSpace("read " + roof.Level), number(roof.GBps) + " GB/s"})
	}
	for i, q := range c.Points {
		t.rows = append(t.rows, []string{string(mark(i)), q.Label, number(q.GOPS) + " GOP/s", percent(q.Pct) + " %"})
	}
	t.write(w)
}

// mark is the letter of a point.
func mark(i int) rune {
	const marks = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if i < len(marks) {
		return rune(marks[i])
	}
	return '+'
}
