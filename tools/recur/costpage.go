package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"

	"github.com/recur-go/recur/tools/internal/replace"
)

//go:embed cost.html
var costSource string

var costPage = template.Must(template.New("cost").Funcs(template.FuncMap{"percent": percentOf, "share": share, "bytes": thousands}).Parse(costSource))

func share(v float64) string { return fmt.Sprintf("%.3g %%", 100*v) }

// thousands groups digits.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// write writes the page if there is a path.
func (s *costs) write(path string) error {
	if path == "" {
		return nil
	}
	return replace.File(path, s.html)
}

// html writes the report as a page that needs nothing else.
func (s *costs) html(w io.Writer) error {
	v := costView{costs: s}
	for i := range s.Operations {
		o := &s.Operations[i]
		if o.Difference != nil && o.SQNR != nil && o.products {
			v.Layers = append(v.Layers, o.layer(i, s))
		}
	}
	v.Quality = s.heat("SQNR of every operation along time", "loud", func(a *alongTime) []*float64 { return a.SQNR }, loud)
	v.Clipped = s.heat("Share of clipped activations along time", "clip", func(a *alongTime) []*float64 { return a.Saturation }, clippedShade)
	v.Along = s.along()
	return costPage.Execute(w, v)
}

type costView struct {
	*costs
	Quality, Clipped *heat
	Along            *curves
	Layers           []layer
}

// Headline sums the report up.
func (v costView) Headline() []string {
	lines := []string{fmt.Sprintf("%s bytes of weights, %s of f32; %.0f %% of the work of f32.", thousands(v.Bytes), percentOf(v.Bytes, v.FloatBytes), 100*v.Work)}
	if v.Range != "" {
		lines = append(lines, "The scales of the input come from "+v.Range+".")
	}
	if v.Output == nil {
		return append(lines, "Without data, nothing was measured.")
	}
	lines = append(lines, fmt.Sprintf("On %s, %d sequences with %d steps: SQNR of the output %s, largest error %.2g.", v.Data, v.Sequences, v.TimeSteps,
		withUnit(v.Output), v.Output.Max))
	if d := v.Decisions; d != nil {
		lines = append(lines, fmt.Sprintf("%d of %d decisions changed (%s).", d.Changed, d.Total, share(float64(d.Changed)/float64(max(d.Total, 1)))))
	}
	return lines
}

func withUnit(d *Difference) string {
	if d.SQNR == nil {
		return d.Decibels()
	}
	return d.Decibels() + " dB"
}

const fewChanges = 12

// Frequent are the most frequent changes.
func (d *decisions) Frequent() []change { return d.Changes[:min(fewChanges, len(d.Changes))] }

// Others is how often other changes happened.
func (d *decisions) Others() (n int) {
	for _, c := range d.Changes[len(d.Frequent()):] {
		n += c.Count
	}
	return n
}

// Bar is the width of the share of the work as a bar of 60.
func (o opDifference) Bar() float64 { return 60 * o.Work }

// heat is a map with a row for every operation and a column for every part of time.
type heat struct {
	About, Class  string
	Width, Height int
	Rows          []heatRow
	Ticks         []tick
}

// Tall is the height with the labels of time.
func (h *heat) Tall() int { return h.Height + 20 }

type heatRow struct {
	Y     int
	Label string
	Cells []cell
}

type cell struct {
	X, Y, W, H float64
	Shade      string // opacity
	Title      string
}

type tick struct {
	X     float64
	Label string
}

const (
	mapWidth  = 640
	rowHeight = 18
	labelRoom = 230
)

// heat draws what the parts of operations have; nil where nothing has.
func (s *costs) heat(about, class string, parts func(*alongTime) []*float64, shade func(float64) (opacity float64, text string)) *heat {
	h := &heat{About: about, Class: class, Width: labelRoom + mapWidth + 20}
	seen := false
	for i := range s.Operations {
		o := &s.Operations[i]
		if o.AlongTime == nil {
			continue
		}
		values := parts(o.AlongTime)
		if values == nil {
			continue
		}
		row := heatRow{Y: len(h.Rows) * rowHeight, Label: clip(fmt.Sprintf("%d %s %s", i, o.Kind, shorten(o.Name)))}
		for k, v := range values {
			if v == nil {
				continue
			}
			opacity, text := shade(*v)
			seen = seen || opacity > 0
			row.Cells = append(row.Cells, cell{X: labelRoom + column(k, len(values)), Y: float64(row.Y), W: columnWidth(len(values)), H: rowHeight - 1,
				Shade: number2(opacity), Title: s.span(k) + ": " + text})
		}
		h.Rows = append(h.Rows, row)
		h.Ticks = s.ticks(len(values), labelRoom)
	}
	if !seen {
		return nil
	}
	h.Height = len(h.Rows) * rowHeight
	return h
}

func column(k, n int) float64 { return round2(float64(k) * mapWidth / float64(n)) }

func columnWidth(n int) float64 { return round2(mapWidth / float64(n)) }

func round2(v float64) float64 { return math.Round(v*100) / 100 }

func number2(v float64) string { return fmt.Sprintf("%.2f", v) }

// span names a part of time.
func (s *costs) span(k int) string {
	if s.PartSteps == 1 {
		return fmt.Sprintf("step %d", k)
	}
	return fmt.Sprintf("steps %d to %d", k*s.PartSteps, min((k+1)*s.PartSteps, s.Longest)-1)
}

// ticks label time below a map of n columns.
func (s *costs) ticks(n, left int) (out []tick) {
	for i := range 5 {
		at := i * n / 4
		out = append(out, tick{float64(left) + column(at, n), fmt.Sprint(min(at*s.PartSteps, s.Longest))})
	}
	return out
}

// loud shades 60 dB and more not at all, 10 dB and less fully.
func loud(sqnr float64) (opacity float64, text string) {
	return math.Min(math.Max((60-sqnr)/50, 0), 1), fmt.Sprintf("%.1f dB", sqnr)
}

// clippedShade shades 10 % fully, a thousandth of that hardly.
func clippedShade(v float64) (opacity float64, text string) {
	if v > 0 {
		opacity = math.Min(math.Max(1+math.Log10(v*10)/3.5, 0.1), 1)
	}
	return opacity, share(v)
}

// curves are the largest and the mean error of the output at every step.
type curves struct {
	Max, Mean string // points
	Top       string
	Ticks     []tick
}

const curveHeight = 120

func (s *costs) along() *curves {
	if len(s.Steps) < 2 {
		return nil
	}
	parts := pooled(s.Steps, mapWidth)
	top := 0.0
	for _, p := range parts {
		top = math.Max(top, p.max)
	}
	if top == 0 {
		return nil
	}
	c := &curves{Top: fmt.Sprintf("%.2g", top)}
	for i, p := range parts {
		x := labelRoom + round2(float64(i)*mapWidth/float64(len(parts)-1))
		c.Max += fmt.Sprintf("%g,%g ", x, round2(curveHeight*(1-p.max/top)))
		c.Mean += fmt.Sprintf("%g,%g ", x, round2(curveHeight*(1-p.mean/top)))
	}
	for i := range 5 {
		c.Ticks = append(c.Ticks, tick{labelRoom + float64(i)*mapWidth/4, fmt.Sprint(i * (len(s.Steps) - 1) / 4)})
	}
	return c
}

// layer is an operation with weights.
type layer struct {
	Title, Facts, More string
	Errors             figure
	Width              int
	Signal             float64 // place of the RMS of the float results in the histogram, -1 if they are 0
	SignalText         string
	Along              *density
}

// density is how errors are spread along time: a column for every part of time, a row for every octave.
type density struct {
	Height    int
	Cells     []cell
	High, Low string
	Ticks     []tick
}

const (
	octaveWidth  = 11
	figureHeight = 90
	octaveHeight = 8
)

func (o *opDifference) layer(i int, s *costs) layer {
	l := layer{Title: fmt.Sprintf("%d %s %s", i, o.Kind, o.Name), Signal: -1,
		Facts: fmt.Sprintf("%s, %s bytes, %s of f32, %s of the work", o.Scheme, thousands(o.Bytes), percentOf(o.Bytes, o.FloatBytes), share(o.Work)),
		More:  fmt.Sprintf("SQNR %s, largest error %.2g, mean %.2g, bias %.2g", withUnit(o.Difference), o.Max, o.Mean, o.Bias)}
	if o.Saturation != nil {
		l.More += fmt.Sprintf("; %s of the activations clipped", share(*o.Saturation))
	}
	axis := o.octaveAxis()
	counts := axis.fold(o.Errors.First, o.Errors.Counts)
	top := slices.Max(counts)
	l.Errors.Low, l.Errors.High = power(axis.first), power(axis.last)
	for k, n := range counts {
		if n > 0 {
			h := max(1, n*figureHeight/top)
			l.Errors.Bars = append(l.Errors.Bars, bar{k * octaveWidth, figureHeight - h, octaveWidth - 1, h})
		}
	}
	l.Width = len(counts) * octaveWidth
	if o.signal > 0 {
		l.SignalText = fmt.Sprintf("%.2g", o.signal)
		l.Signal = round2((math.Log2(o.signal) - float64(axis.first)) * octaveWidth)
	}
	if o.AlongTime != nil {
		l.Along = o.AlongTime.density(axis, s)
	}
	return l
}

// octaveAxis are exponents of two.
type octaveAxis struct{ first, last int }

// octaveAxis reaches from errors so small that they do not matter to the largest ones, and to the results themselves.
func (o *opDifference) octaveAxis() octaveAxis {
	const most = 20
	a := octaveAxis{o.Errors.First, o.Errors.First + len(o.Errors.Counts)}
	if o.signal > 0 {
		a.last = min(max(a.last, int(math.Ceil(math.Log2(o.signal)))+1), a.last+most)
	}
	a.first = min(max(a.first, a.last-most), o.Errors.First+len(o.Errors.Counts)-1)
	return a
}

// fold puts counts from an exponent on, in place on the axis, those below it into its first.
func (a octaveAxis) fold(first int, counts []int) []int {
	out := make([]int, a.last-a.first)
	for i, n := range counts {
		out[max(first+i-a.first, 0)] += n
	}
	return out
}

func (a *alongTime) density(axis octaveAxis, s *costs) *density {
	rows := a.Errors.Counts
	n := axis.last - axis.first
	d := &density{Height: n * octaveHeight, High: power(axis.last), Low: power(axis.first), Ticks: s.ticks(len(rows), 0)}
	for k := range rows {
		counts := axis.fold(a.Errors.First, rows[k])
		total, top := 0, 1
		for _, c := range counts {
			total += c
			top = max(top, c)
		}
		for i, c := range counts {
			if c > 0 {
				d.Cells = append(d.Cells, cell{X: column(k, len(rows)), Y: float64((n - 1 - i) * octaveHeight), W: columnWidth(len(rows)), H: octaveHeight,
					Shade: number2(math.Max(float64(c)/float64(top), 0.03)),
					Title: fmt.Sprintf("%s: %s of the errors from %s on", s.span(k), share(float64(c)/float64(total)), power(axis.first+i))})
			}
		}
	}
	return d
}

func power(exponent int) string { return fmt.Sprintf("%.2g", math.Exp2(float64(exponent))) }
