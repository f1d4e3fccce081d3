package main

import (
	"image"
	"image/color"
	"image/gif"
	"io"
	"math"
	"strconv"

	"github.com/recur-go/recur/models/mot"
)

const (
	gifWidth   = 640
	gifFrames  = 1000 // at most; of a longer video every second is drawn, or every third, …
	gifTrail   = 30
	gifColours = 32 // of identities, each in full and at half its brightness

	background = 0
	pale       = 1 // detections
	firstHue   = 2
)

// gifPalette has the hues in the order in which the golden angle meets them.
func gifPalette() color.Palette {
	p := color.Palette{color.RGBA{0x1d, 0x21, 0x26, 0xff}, color.RGBA{0x50, 0x58, 0x62, 0xff}}
	for i := range gifColours {
		_, turn := math.Modf(float64(i) * 0.381966)
		c := hue(turn)
		p = append(p, c, color.RGBA{c.R / 2, c.G / 2, c.B / 2, 0xff})
	}
	return p
}

// hue is a bright colour at that part of the circle.
func hue(turn float64) color.RGBA {
	part := func(shift float64) uint8 {
		_, x := math.Modf(turn + shift)
		return uint8(96 + 159*min(max(math.Abs(6*x-3)-1, 0), 1))
	}
	return color.RGBA{part(0), part(2. / 3), part(1. / 3), 0xff}
}

// gif draws the tracks as a film.
func (d *drawing) gif(w io.Writer) error {
	width, height := d.size()
	c := canvas{scale: min(1, gifWidth/width)}
	c.bounds = image.Rect(0, 0, max(int(width*c.scale), 1), max(int(height*c.scale), 1))
	palette := gifPalette()
	step := (len(d.frames)-1)/gifFrames + 1
	film := &gif.GIF{Config: image.Config{ColorModel: palette, Width: c.bounds.Dx(), Height: c.bounds.Dy()}}
	delay := max(int(math.Round(100*float64(step)/d.fps)), 2) // in hundredths; viewers slow less than 2 down
	for k := 0; k < len(d.frames); k += step {
		c.image = image.NewPaletted(c.bounds, palette)
		c.frame(d.frames, k)
		film.Image, film.Delay, film.Disposal = append(film.Image, c.image), append(film.Delay, delay), append(film.Disposal, gif.DisposalNone)
	}
	return gif.EncodeAll(w, film)
}

type canvas struct {
	image  *image.Paletted
	bounds image.Rectangle
	scale  float64
}

func (c *canvas) frame(frames []drawnFrame, k int) {
	for _, b := range frames[k].found {
		c.box(b, pale)
	}
	before := map[int]image.Point{}
	for i := max(0, k-gifTrail); i <= k; i++ {
		for _, t := range frames[i].tracks {
			p := c.at(t.X, t.Y+t.H/2)
			if q, ok := before[t.ID]; ok {
				c.line(q, p, hueOf(t.ID)+1)
			}
			before[t.ID] = p
		}
	}
	for _, t := range frames[k].tracks {
		c.box(t.Box, hueOf(t.ID))
		c.number(t.ID, c.at(t.Left(), t.Top()), hueOf(t.ID))
	}
}

func hueOf(id int) uint8 { return firstHue + uint8(2*(id%gifColours)) }

// at is a place in the picture, far outside of it at most by its size.
func (c *canvas) at(x, y float64) image.Point {
	within := func(v float64, size int) int { return int(min(max(v*c.scale, -float64(size)), 2*float64(size))) }
	return image.Point{within(x, c.bounds.Dx()), within(y, c.bounds.Dy())}
}

func (c *canvas) set(x, y int, colour uint8) {
	if (image.Point{x, y}).In(c.bounds) {
		c.image.Pix[y*c.image.Stride+x] = colour
	}
}

func (c *canvas) box(b mot.Box, colour uint8) {
	p, q := c.at(b.Left(), b.Top()), c.at(b.Left()+b.W, b.Top()+b.H)
	for x := p.X; x <= q.X; x++ {
		c.set(x, p.Y, colour)
		c.set(x, q.Y, colour)
	}
	for y := p.Y; y <= q.Y; y++ {
		c.set(p.X, y, colour)
		c.set(q.X, y, colour)
	}
}

func (c *canvas) line(p, q image.Point, colour uint8) {
	n := max(abs(q.X-p.X), abs(q.Y-p.Y), 1)
	for i := range n + 1 {
		c.set(p.X+(q.X-p.X)*i/n, p.Y+(q.Y-p.Y)*i/n, colour)
	}
}

func abs(v int) int { return max(v, -v) }

// digits are 3 by 5 dots, a row in three bits, the first row highest.
var digits = [10]uint16{0b111_101_101_101_111, 0b010_110_010_010_111, 0b111_001_111_100_111, 0b111_001_111_001_111, 0b101_101_111_001_001,
	0b111_100_111_001_111, 0b111_100_111_101_111, 0b111_001_010_010_010, 0b111_101_111_101_111, 0b111_101_111_001_111}

// number writes above and right of p.
func (c *canvas) number(n int, p image.Point, colour uint8) {
	for _, d := range strconv.Itoa(n) {
		for bit := range 15 {
			if digits[d-'0']>>(14-bit)&1 == 1 {
				c.set(p.X+bit%3, p.Y-7+bit/3, colour)
			}
		}
		p.X += 4
	}
}
