package bench

import (
	_ "embed"
	"html/template"
	"io"
	"math"
)

//go:embed report.html
var pageSource string

var page = template.Must(template.New("report").Funcs(template.FuncMap{"number": number, "percent": percent, "bytes": byteCount}).Parse(pageSource))

// HTML writes the report as a page that needs nothing else, the roofline of every tier drawn as SVG.
func (r *Report) HTML(w io.Writer) error {
	v := struct {
		*Report
		Features []string
		Kernels  []kernelRow
		Cells    []cellRow
		Charts   []drawing
	}{Report: r, Features: r.Machine.kernelFeatures()}
	for _, x := range r.Results {
		switch k := x.(type) {
		case KernelResult:
			v.Kernels = append(v.Kernels, kernelRow{k, k.size()})
		case CellResult:
			v.Cells = append(v.Cells, cellRow{k, k.name(), k.NsMin / float64(k.Steps)})
		}
	}
	for _, c := range r.charts() {
		v.Charts = append(v.Charts, c.draw())
	}
	return page.Execute(w, v)
}

type kernelRow struct {
	KernelResult
	Size string
}

type cellRow struct {
	CellResult
	Name   string
	NsStep float64
}

// drawing is a chart in the coordinates of its picture, y downwards.
type drawing struct {
	*chart
	Left, Top, Right, Bottom float64
	Lines                    []segment
	Dots                     []dot
	X, Y                     []tick
}

type segment struct {
	X1, Y1, X2, Y2 float64
	Label          string
	DX, DY         float64 // of the label from the start
	Ceiling        bool
}

type dot struct {
	X, Y  float64
	Mark  string
	Point point
}

type tick struct {
	At    float64
	Label string
}

func (c *chart) draw() drawing {
	const width, height, left, top = 680, 380, 60, 20
	p := c.plane(width, height)
	x := func(intensity float64) float64 { return round1(left + p.x(intensity)) }
	y := func(gops float64) float64 { return round1(top + height - p.y(gops)) }
	d := drawing{chart: c, Left: left, Top: top, Right: left + width, Bottom: top + height}
	first, last, least := math.Exp2(p.x0), math.Exp2(p.x1), math.Exp2(p.y0)
	d.Lines = append(d.Lines, segment{d.Left, y(c.Ceiling.GOPS), d.Right, y(c.Ceiling.GOPS), c.Ceiling.Instructions, 6, -5, true})
	for _, roof := range c.Roofs {
		from, to := max(first, least/roof.GBps), min(last, c.Ceiling.GOPS/roof.GBps)
		if from < to {
			dx, dy := 6.0, 12.0
			if from > first { // it starts on the axis
				dx, dy = 18, -2
			}
			d.Lines = append(d.Lines, segment{x(from), y(c.at(roof, from)), x(to), y(c.at(roof, to)), roof.Level + " " + number(roof.GBps) + " GB/s", dx, dy, false})
		}
	}
	for i, q := range c.Points {
		d.Dots = append(d.Dots, dot{x(q.Intensity), y(q.GOPS), string(mark(i)), q})
	}
	for e := p.x0; e <= p.x1; e++ {
		d.X = append(d.X, tick{x(math.Exp2(e)), number(math.Exp2(e))})
	}
	for e := p.y0; e <= p.y1; e++ {
		d.Y = append(d.Y, tick{y(math.Exp2(e)), number(math.Exp2(e))})
	}
	return d
}

func round1(v float64) float64 { return math.Round(v*10) / 10 }
