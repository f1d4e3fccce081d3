package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/recur-go/recur/runtime/format"
)

//go:embed inspect.html
var inspectSource string

var inspectPage = template.Must(template.New("inspect").Funcs(template.FuncMap{"join": strings.Join}).Parse(inspectSource))

// html writes the report as a page that needs nothing else, with the network drawn as boxes and arrows.
func (r *report) html(w io.Writer, f *format.File) error {
	return inspectPage.Execute(w, struct {
		*report
		Way, Each string
		Picture   picture
		Layers    []layerFigures
		MetaPairs []format.Pair
	}{r, r.way(), r.each(), r.draw(f), r.figures(), r.meta})
}

// picture is the network in the coordinates of its drawing, y downwards.
type picture struct {
	Width, Height int
	Boxes         []box
	Arrows        []string // paths
}

type box struct {
	X, Y, W, H int
	Kind, Name string
	Full       string
	Lines      []boxLine
	End        bool // the input or the output of the network
}

type boxLine struct {
	Y    int
	Text string
}

const (
	boxWidth = 310
	boxGap   = 34
	lineStep = 17
	margin   = 60 // room for arrows that pass boxes by
)

// draw places every operation below those that it reads, side by side with those that could run at the same time.
func (r *report) draw(f *format.File) picture {
	level, before := levels(f)
	rows := arranged(level)
	widest := 1
	for _, row := range rows {
		widest = max(widest, len(row))
	}
	p := picture{Width: 2*margin + widest*(boxWidth+boxGap) - boxGap, Height: 4}
	for i := range r.Operations {
		p.Boxes = append(p.Boxes, opBox(&r.Operations[i], i))
	}
	p.Boxes = append(p.Boxes, r.inputBox(), r.outputBox())
	for _, row := range rows {
		p.place(row)
	}
	output := len(level) + 1
	for i, from := range before {
		for _, k := range from {
			p.arrow(k, i, level[i]-levelOf(level, k))
		}
		if f.Ops[i].Out.Value == f.Output {
			p.arrow(i, output, len(rows)-2-level[i])
		}
	}
	p.Height += 4
	return p
}

// arranged lists what stands side by side, from the network's input to its output.
func arranged(level []int) [][]int {
	input, output := len(level), len(level)+1
	rows := [][]int{{input}}
	for i, l := range level {
		for len(rows) < l+2 {
			rows = append(rows, nil)
		}
		rows[l+1] = append(rows[l+1], i)
	}
	return append(rows, []int{output})
}

// levelOf is that of an operation, or of the network's input.
func levelOf(level []int, i int) int {
	if i == len(level) {
		return -1
	}
	return level[i]
}

// levels says for every operation how many are before it, and which it reads; the network's input has the number after the last.
func levels(f *format.File) (level []int, before [][]int) {
	level, before = make([]int, len(f.Ops)), make([][]int, len(f.Ops))
	for i := range f.Ops {
		for _, in := range f.Ops[i].In {
			if in.Value == 0 && !slices.Contains(before[i], len(f.Ops)) {
				before[i] = append(before[i], len(f.Ops))
			}
			for k := range f.Ops[:i] {
				out := f.Ops[k].Out
				overlap := out.Value == in.Value && out.Offset < in.Offset+in.Width && in.Offset < out.Offset+out.Width
				if overlap && f.Ops[k].Kind != format.Store && !slices.Contains(before[i], k) {
					before[i] = append(before[i], k)
					level[i] = max(level[i], level[k]+1)
				}
			}
		}
	}
	return level, before
}

// place puts a row of boxes below what is there.
func (p *picture) place(row []int) {
	x := (p.Width - len(row)*(boxWidth+boxGap) + boxGap) / 2
	height := 0
	for _, i := range row {
		height = max(height, 36+lineStep*len(p.Boxes[i].Lines))
	}
	for k, i := range row {
		b := &p.Boxes[i]
		b.X, b.Y, b.W, b.H = x+k*(boxWidth+boxGap), p.Height, boxWidth, height
		if p.Height > 4 {
			b.Y += boxGap
		}
		for n := range b.Lines {
			b.Lines[n].Y = b.Y + (n+2)*lineStep + 6
		}
	}
	p.Height = p.Boxes[row[0]].Y + height
}

// arrow leads from one box to another some rows below; past other boxes it swings out to the right.
func (p *picture) arrow(from, to, rows int) {
	a, b := p.Boxes[from], p.Boxes[to]
	x1, y1, x2, y2 := a.X+a.W/2, a.Y+a.H, b.X+b.W/2, b.Y-6
	if rows <= 1 {
		half := (y1 + y2) / 2
		p.Arrows = append(p.Arrows, fmt.Sprintf("M%d %d C%d %d %d %d %d %d", x1, y1, x1, half, x2, half, x2, y2))
		return
	}
	side := p.Width - margin/3
	p.Arrows = append(p.Arrows, fmt.Sprintf("M%d %d C%d %d %d %d %d %d L%d %d C%d %d %d %d %d %d", x1, y1, x1, y1+boxGap, side, y1, side, y1+boxGap,
		side, y2-boxGap, side, y2, x2, y2-boxGap, x2, y2))
}

func (r *report) inputBox() box {
	return endBox("input", fmt.Sprintf("%d channels a step", r.Input.Width), channelList(r.Input.Channels))
}

func (r *report) outputBox() box {
	return endBox("output", fmt.Sprintf("%d channels %s", r.Output.Width, r.each()), strings.Join(r.Output.Labels, " "))
}

func endBox(kind, size, names string) box {
	b := box{Kind: kind, Full: names, End: true, Lines: []boxLine{{Text: size}}}
	if names != "" {
		b.Lines = append(b.Lines, boxLine{Text: clip(names)})
	}
	return b
}

// opBox says what an operation is and costs.
func opBox(o *operation, i int) box {
	shape := fmt.Sprintf("%d → %d", o.In, o.Out)
	if o.Hidden > 0 {
		shape += fmt.Sprintf(", %d hidden, gates %s", o.Hidden, o.Gates)
	}
	b := box{Kind: fmt.Sprintf("%d %s", i, o.Kind), Name: shorten(o.Name), Full: o.Name, Lines: []boxLine{{Text: shape}}}
	if o.Parameters > 0 {
		b.Lines = append(b.Lines, boxLine{Text: fmt.Sprintf("%d parameters, %d multiply-adds", o.Parameters, o.MultiplyAdds)},
			boxLine{Text: fmt.Sprintf("%d bytes, %s", o.Bytes, o.Scheme)})
	}
	if notes := o.remarks(); len(notes) > 0 {
		b.Lines = append(b.Lines, boxLine{Text: clip(strings.Join(notes, ", "))})
	}
	return b
}

// clip keeps the start of a text, as much as a box holds.
func clip(s string) string {
	const most = 42
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// layerFigures are the histograms of an operation.
type layerFigures struct {
	Title   string
	Figures []figure
}

type figure struct {
	Title, Facts, Low, High string
	Bars                    []bar
}

type bar struct{ X, Y, W, H int }

func (r *report) figures() (out []layerFigures) {
	for i, o := range r.Operations {
		if len(o.Weights) == 0 {
			continue
		}
		l := layerFigures{Title: fmt.Sprintf("%d %s %s", i, o.Kind, o.Name)}
		for k := range o.Weights {
			l.Figures = append(l.Figures, o.Weights[k].figure())
		}
		out = append(out, l)
	}
	return out
}

func (w *weightStats) figure() figure {
	const barWidth, height = 7, 70
	f := figure{Title: fmt.Sprintf("%s %d×%d, %s", w.Role, w.Rows, w.Columns, w.stored()), Low: fmt.Sprintf("%.3g", -w.Reach), High: fmt.Sprintf("%.3g", w.Reach),
		Facts: fmt.Sprintf("%.3g to %.3g, %.1f %% zeros", w.Min, w.Max, 100*w.Zeros)}
	if w.Scales != nil {
		f.Facts += ", scales " + w.scales()
	}
	most := w.tallest()
	for i, n := range w.Histogram {
		if n > 0 {
			h := max(1, n*height/most)
			f.Bars = append(f.Bars, bar{i * barWidth, height - h, barWidth - 1, h})
		}
	}
	return f
}

// remarks are the notes, and whether the operation runs once a sequence.
func (o *operation) remarks() []string {
	if o.PerStep {
		return o.Notes
	}
	return append(slices.Clone(o.Notes), "once a sequence")
}
