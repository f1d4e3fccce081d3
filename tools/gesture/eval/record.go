package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/models/gesture/teach"
	"github.com/recur-go/recur/runtime"
)

// cutting is what gesture record would cut out of recordings.
type cutting struct {
	score   // right: cut as segments.csv has them, by half at least; extra: movements that are none of them
	refused int
}

func cut(m *runtime.Model, recordings []*recording) (c cutting, err error) {
	units, err := gesture.Units(m)
	if err != nil {
		return c, err
	}
	width := len(units)
	for _, r := range recordings {
		s := teach.NewSegmenter(units, float64(m.File().Input.Rate))
		var found []span
		for t := range r.rows {
			e, err := s.Push(r.samples[t*width:][:width])
			if err != nil {
				c.refused++
			} else if e != nil {
				first := t + 1 - len(e.Rows)/width
				found = append(found, span{first: first + e.First, end: first + e.End})
			}
		}
		truth := slices.Clone(r.truth)
		for i := range truth {
			truth[i].label = ""
		}
		c.add(match(found, truth))
	}
	return c, nil
}

func (c *cutting) print(w io.Writer) {
	fmt.Fprintf(w, "record: %d of %d gestures cut out, %d movements refused, %d that are no gesture\n", c.right, c.gestures, c.refused, c.extra)
}
