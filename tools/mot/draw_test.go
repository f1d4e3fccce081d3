package main

import (
	"encoding/json"
	"image/gif"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recur-go/recur/models/mot"
)

func TestDrawHTML(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tracks.html")
	status, out, errs := motCommand(rows(40), "-in", "-", "-motion", "kalman", "-draw", file, "-fps", "30")
	if status != 0 {
		t.Fatalf("status %d, %s", status, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if page := string(text); strings.Contains(page, "http") || strings.Contains(page, "src=") {
		t.Error("the page wants something from elsewhere")
	}
	_, rest, _ := strings.Cut(string(text), "const data = ")
	rest, _, _ = strings.Cut(rest, ";\n")
	var data struct {
		Width, Height, FPS float64
		First              int
		Frames             []struct{ T, D [][]float64 }
	}
	if err := json.Unmarshal([]byte(rest), &data); err != nil {
		t.Fatal(err)
	}
	boxes := 0
	for _, f := range data.Frames {
		boxes += len(f.T)
	}
	if len(data.Frames) != 40 || boxes != strings.Count(out, "\n") || data.FPS != 30 || data.First != 1 || data.Width != 438 || data.Height != 140 {
		t.Errorf("%v by %v, %v frames a second, first %d, %d frames of %d boxes", data.Width, data.Height, data.FPS, data.First, len(data.Frames), boxes)
	}
}

func TestDrawGIF(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tracks.gif")
	if status, _, errs := motCommand(rows(40), "-in", "-", "-motion", "kalman", "-draw", file, "-image", "1280x720"); status != 0 {
		t.Fatalf("status %d, %s", status, errs)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	film, err := gif.DecodeAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(film.Image) != 40 || film.Config.Width != 640 || film.Config.Height != 360 || film.Delay[0] != 4 {
		t.Errorf("%d pictures of %d by %d, %v", len(film.Image), film.Config.Width, film.Config.Height, film.Delay[0])
	}
	// At frame 10 the first object's left upper corner is at 120, 50, half that in the picture, and its trail is below.
	p := film.Image[9]
	edge := p.ColorIndexAt(59, 40) == hueOf(1) || p.ColorIndexAt(60, 40) == hueOf(1)
	if !edge || p.ColorIndexAt(75, 70) == background || p.ColorIndexAt(300, 300) != background {
		t.Errorf("edge %v, colours %d and %d", edge, p.ColorIndexAt(75, 70), p.ColorIndexAt(300, 300))
	}
}

// TestDrawBounded draws no more than a drawing may hold, and boxes far outside.
func TestDrawBounded(t *testing.T) {
	d := drawing{path: filepath.Join(t.TempDir(), "tracks.gif"), fps: 25}
	far := []mot.Track{{ID: 1 << 30, Box: mot.Box{X: 1 << 24, Y: -1 << 24, W: 1 << 24, H: 1 << 24}}}
	d.add(1, []mot.Detection{{Box: far[0].Box}}, far)
	for k := range maxDrawn / mot.MaxDetections * 2 {
		d.add(2+k, make([]mot.Detection, mot.MaxDetections), far)
	}
	var log strings.Builder
	if err := d.write(&log); err != nil || !d.cut || d.boxes > maxDrawn || !strings.Contains(log.String(), "the limit is 1048576 boxes") {
		t.Errorf("%v, %d boxes, %q", err, d.boxes, log.String())
	}
}
