// Package demo makes a synthetic recording of gestures: the mean curve of each gesture as a low-order polynomial, played at a seeded
// speed, between rests, with seeded sensor noise. It holds no recording of a person.
package demo

import (
	"fmt"
	"io"
	"math"
	"strconv"
)

//go:generate go run gen.go

// Seed is that of the recording that tools/gesture plays; it begins with a short rest.
const Seed = 23

// period is the time from one sample to the next, in ms.
const period = 32

// script is the order of the gestures, as indices of classes.
var script = [...]int{2, 6, 0, 8, 4, 1, 7, 3, 5}

type class struct {
	label string
	rows  int // median duration
	coef  [channels][order]int16
}

// Labels are the gestures of the recording, in order.
func Labels() []string {
	var labels []string
	for _, c := range script {
		labels = append(labels, classes[c].label)
	}
	return labels
}

// Recording plays the samples. It is the same on every platform: each floating-point operation is rounded on its own.
type Recording struct {
	random random
	row    int // of the recording
	part   int // rest, gesture, rest, …, rest
	at, n  int // row of the part, and its rows
}

// New starts the recording. The seed varies noise, speed and rests.
func New(seed uint64) *Recording {
	r := &Recording{random: random(seed), part: -1}
	r.next()
	return r
}

func (r *Recording) next() {
	r.part++
	r.at, r.n = 0, 32+r.random.upTo(32)
	if c := r.class(); c != nil {
		r.n = c.rows * (90 + r.random.upTo(21)) / 100
	}
}

// class is that of the gesture in progress, nil during a rest.
func (r *Recording) class() *class {
	if i := r.part / 2; r.part%2 == 1 && i < len(script) {
		return &classes[script[i]]
	}
	return nil
}

// Next writes the next sample, in m/s², and returns its time in seconds; after the last, io.EOF.
func (r *Recording) Next(sample []float32) (t float64, err error) {
	if len(sample) != channels {
		return 0, fmt.Errorf("sample of %d values, the demo's have %d", len(sample), channels)
	}
	if r.at == r.n {
		r.next()
	}
	if r.part > 2*len(script) {
		return 0, io.EOF
	}
	var shape [order]float64
	c := r.class()
	if c != nil {
		shape = basis(r.at, r.n)
	}
	for k := range sample {
		v := float64(rest[k]) + float64(float64(noise[k])*r.random.normal())
		if c != nil {
			for i, s := range shape {
				v += float64(float64(c.coef[k][i]) * s)
			}
		}
		sample[k] = float32(math.RoundToEven(v)) / 100
	}
	t = float64(r.row*period) / 1000
	r.row++
	r.at++
	return t, nil
}

// basis is (1-u²) P_k(u) for the Legendre polynomials P_k, at the middle of row t of n.
func basis(t, n int) (b [order]float64) {
	u := float64(2*t+1)/float64(n) - 1
	p, before := 1.0, 0.0
	fade := 1 - float64(u*u)
	for k := range b {
		b[k] = fade * p
		f := float64(k)
		p, before = (float64(float64((2*f+1)*u)*p)-float64(f*before))/(f+1), p
	}
	return b
}

// random is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) upTo(n int) int { return int(r.next() >> 33 % uint64(n)) }

// normal is the sum of 12 uniform numbers of variance 1/12, less its mean.
func (r *random) normal() float64 {
	sum := -6 * 0xffff
	for range 3 {
		for z := r.next(); z != 0; z >>= 16 {
			sum += int(z & 0xffff)
		}
	}
	return float64(sum) / 0x10000
}

// WriteCSV writes the recording of the seed as gesture.Reader reads it, with a line of column names.
func WriteCSV(w io.Writer, names []string, seed uint64) error {
	var line []byte
	for _, n := range names {
		line = append(append(line, n...), ',')
	}
	line = append(line, "time\n"...)
	sample := make([]float32, channels)
	for r := New(seed); ; {
		if _, err := w.Write(line); err != nil {
			return err
		}
		t, err := r.Next(sample)
		if err != nil { // the end
			return nil
		}
		line = line[:0]
		for _, v := range sample {
			line = append(strconv.AppendFloat(line, float64(v), 'f', -1, 32), ',')
		}
		line = append(strconv.AppendFloat(line, math.RoundToEven(t*1000), 'f', -1, 64), '\n')
	}
}
