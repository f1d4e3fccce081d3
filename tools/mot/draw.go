package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/recur-go/recur/models/mot"
	"github.com/recur-go/recur/tools/internal/replace"
)

// maxDrawn is how many boxes a drawing holds, so that an endless stream does not fill the memory.
const maxDrawn = 1 << 20

// drawing collects frames to draw.
type drawing struct {
	path          string
	width, height float64 // 0: what the boxes need
	fps           float64
	first         int
	frames        []drawnFrame
	boxes         int
	cut           bool // there was more than it holds
}

type drawnFrame struct {
	tracks []mot.Track
	found  []mot.Box
}

func checkDrawing(path string) error {
	if ext := filepath.Ext(path); ext != ".gif" && ext != ".html" {
		return fmt.Errorf("-draw %s: want a name that ends in .gif or .html", path)
	}
	return nil
}

func (d *drawing) add(frame int, found []mot.Detection, tracks []mot.Track) {
	if d.boxes+len(found)+len(tracks)+1 > maxDrawn {
		d.cut = true
	}
	if d.cut {
		return
	}
	if len(d.frames) == 0 {
		d.first = frame
	}
	d.boxes += len(found) + len(tracks) + 1
	f := drawnFrame{tracks: append([]mot.Track(nil), tracks...)}
	for i := range found {
		f.found = append(f.found, found[i].Box)
	}
	d.frames = append(d.frames, f)
}

// size is that of the image, or of what the boxes need where that is unknown.
func (d *drawing) size() (width, height float64) {
	if d.width > 0 {
		return d.width, d.height
	}
	const most = 1 << 15
	for i := range d.frames {
		for _, b := range d.frames[i].found {
			width, height = max(width, b.X+b.W/2), max(height, b.Y+b.H/2)
		}
	}
	return min(max(math.Ceil(width), 16), most), min(max(math.Ceil(height), 16), most)
}

func (d *drawing) write(stderr io.Writer) error {
	if d.cut {
		fmt.Fprintf(stderr, "mot: %s holds the first %d frames, the limit is %d boxes\n", d.path, len(d.frames), maxDrawn)
	}
	draw := d.gif
	if filepath.Ext(d.path) == ".html" {
		draw = d.html
	}
	return replace.File(d.path, draw)
}

//go:embed player.html
var player string

// html is a page that plays the tracks, without anything from elsewhere.
func (d *drawing) html(w io.Writer) error {
	tenth := func(v float64) float64 { return math.Round(v*10) / 10 }
	corner := func(b mot.Box) []float64 { return []float64{tenth(b.Left()), tenth(b.Top()), tenth(b.W), tenth(b.H)} }
	type frame struct {
		Tracks [][]float64 `json:"t"` // identity, left, top, width, height, gap
		Found  [][]float64 `json:"d"` // left, top, width, height
	}
	var data struct {
		Width  float64 `json:"width"`
		Height float64 `json:"height"`
		FPS    float64 `json:"fps"`
		First  int     `json:"first"`
		Frames []frame `json:"frames"`
	}
	data.Width, data.Height = d.size()
	data.FPS, data.First = d.fps, d.first
	for i := range d.frames {
		f := frame{Tracks: [][]float64{}, Found: [][]float64{}}
		for _, t := range d.frames[i].tracks {
			f.Tracks = append(f.Tracks, append(append([]float64{float64(t.ID)}, corner(t.Box)...), float64(t.Gap)))
		}
		for _, b := range d.frames[i].found {
			f.Found = append(f.Found, corner(b))
		}
		data.Frames = append(data.Frames, f)
	}
	b, err := json.Marshal(&data)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.Replace(player, "null/*tracks*/", string(b), 1))
	return err
}
