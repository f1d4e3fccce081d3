package main

import "math/rand/v2"

// shuffle puts the gestures of each recording into random order: it is cut in the middle of its rests, and where pieces meet, the jump of the
// level fades until the next gesture begins.
func shuffle(recordings []*recording, channels int) (out []*recording) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, r := range recordings {
		cuts := []int{0}
		for i := range r.truth[1:] {
			cuts = append(cuts, (r.truth[i].end+r.truth[i+1].first)/2)
		}
		cuts = append(cuts, r.rows)
		mixed := &recording{subject: r.subject, measurement: r.measurement}
		for _, k := range random.Perm(len(r.truth)) {
			mixed.join(r, r.truth[k], cuts[k], cuts[k+1], channels)
		}
		out = append(out, mixed)
	}
	return out
}

// join appends rows first to end-1 of another recording, which hold a gesture.
func (r *recording) join(from *recording, gesture span, first, end, channels int) {
	const edge = 3 // rows that say what the level is
	piece := from.samples[first*channels : end*channels]
	jump := make([]float32, channels)
	if r.rows > 0 {
		for c := range jump {
			jump[c] = mean(r.samples[max(0, r.rows-edge)*channels:], c, channels) - mean(piece[:min(edge*channels, len(piece))], c, channels)
		}
	}
	fade := max(1, gesture.first-first)
	for i, v := range piece {
		if t := i / channels; t < fade {
			v += jump[i%channels] * (1 - float32(t)/float32(fade))
		}
		r.samples = append(r.samples, v)
	}
	r.truth = append(r.truth, span{gesture.label, r.rows + gesture.first - first, r.rows + gesture.end - first})
	r.rows += end - first
}

// mean is that of a channel of some rows.
func mean(rows []float32, channel, channels int) (m float32) {
	for k := channel; k < len(rows); k += channels {
		m += rows[k] / float32(len(rows)/channels)
	}
	return m
}
