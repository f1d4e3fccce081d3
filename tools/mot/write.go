package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/recur-go/recur/models/mot"
)

// printer writes the tracks of a frame at once: MOT text, or a JSON object a frame.
type printer struct {
	w    io.Writer
	json bool
	b    []byte
}

func (p *printer) print(frame int, tracks []mot.Track) error {
	if p.json {
		p.b = appendJSON(p.b[:0], frame, tracks)
	} else {
		p.b = appendText(p.b[:0], frame, tracks)
	}
	if len(p.b) == 0 {
		return nil
	}
	_, err := p.w.Write(p.b)
	return err
}

const decimals = 3 // of pixels and scores

func appendNumber(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'f', decimals, 64) }

func appendText(b []byte, frame int, tracks []mot.Track) []byte {
	for i := range tracks {
		t := &tracks[i]
		b = strconv.AppendInt(b, int64(frame), 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, int64(t.ID), 10)
		for _, v := range [...]float64{t.Left(), t.Top(), t.W, t.H, t.Score} {
			b = append(b, ',')
			b = appendNumber(b, v)
		}
		b = append(b, ",-1,-1,-1\n"...)
	}
	return b
}

func appendJSON(b []byte, frame int, tracks []mot.Track) []byte {
	b = append(b, `{"frame":`...)
	b = strconv.AppendInt(b, int64(frame), 10)
	b = append(b, `,"tracks":[`...)
	for i := range tracks {
		t := &tracks[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = strconv.AppendInt(b, int64(t.ID), 10)
		b = append(b, `,"box":[`...)
		for k, v := range [...]float64{t.Left(), t.Top(), t.W, t.H} {
			if k > 0 {
				b = append(b, ',')
			}
			b = appendNumber(b, v)
		}
		b = append(b, `],"score":`...)
		b = appendNumber(b, t.Score)
		b = append(b, `,"gap":`...)
		b = strconv.AppendInt(b, int64(t.Gap), 10)
		b = append(b, '}')
	}
	return append(b, "]}\n"...)
}

// pairWriter returns what writes pairs as lines of CSV, after one of names.
func pairWriter(w io.Writer) func(*mot.Pair) {
	io.WriteString(w, "frame,stage,detection,last_frame,last_detection,"+strings.Join(mot.FeatureNames(), ",")+"\n")
	var b []byte
	return func(p *mot.Pair) {
		b = fmt.Appendf(b[:0], "%d,%s,%d,%d,%d", p.Frame, p.Stage, p.Detection, p.LastFrame, p.LastDetection)
		for _, v := range p.Features {
			b = append(b, ',')
			b = strconv.AppendFloat(b, v, 'g', 7, 64)
		}
		w.Write(append(b, '\n'))
	}
}
