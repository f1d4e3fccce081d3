package main

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/recur-go/recur/models/mot"
	"github.com/recur-go/recur/models/mot/demo"
)

// TestScore compares with what testdata/score.py found by py-motmetrics.
func TestScore(t *testing.T) {
	text, err := os.ReadFile("testdata/score.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		Settings                         settings
		MOTA, IDF1                       float64
		Switches, Missed, False, Objects int
	}
	if err := json.Unmarshal(text, &want); err != nil || len(want) < 4 {
		t.Fatal(err, len(want))
	}
	for _, w := range want {
		o := options{motion: "kalman", set: w.Settings}
		c, models, err := o.settle()
		if err != nil {
			t.Fatal(err)
		}
		tracker, err := mot.New(c, models)
		if err != nil {
			t.Fatal(err)
		}
		score, scene := newScorer(), demo.New(demo.Seed)
		for {
			truth, found, ok := scene.Next()
			if !ok {
				break
			}
			tracks, err := tracker.Update(found)
			if err != nil {
				t.Fatal(err)
			}
			score.add(truth, tracks)
		}
		r := score.close()
		if math.Abs(r.mota()-w.MOTA) > 1e-8 || math.Abs(r.idf1()-w.IDF1) > 1e-8 || r.switches != w.Switches || r.truth-r.matches != w.Missed ||
			r.given-r.matches != w.False || r.truth != w.Objects {
			t.Errorf("%v: MOTA %v, IDF1 %v, %+v; want %+v", w.Settings, r.mota(), r.idf1(), r, w)
		}
	}
}
