package mot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Config is how a tracker works. The JSON names are those of `mot -config`.
type Config struct {
	Motion string `json:"motion"` // kalman, gru or paper
	Assoc  string `json:"assoc"`  // hungarian or lstm
	Cost   string `json:"cost"`   // of a pair in an optimal assignment: iou, or logit by Weights

	MaxTargets int     `json:"max_targets"`            // held at once; a birth beyond is dropped
	Width      float64 `json:"width" range:"positive"` // of the image in pixels; 0: unknown
	Height     float64 `json:"height" range:"positive"`

	// GoodScore is the score from which about nine in ten of the detector's boxes are right, where that differs from the detector that the model
	// is for: scores are stretched so that it becomes the score from which this one looks at detections (high_score, or min_score if greater).
	// 0: as they are.
	GoodScore float64 `json:"good_score" range:"share"`
	MinScore  float64 `json:"min_score"`  // detections below are not looked at
	HighScore float64 `json:"high_score"` // those below join targets in the second stage only, and make none

	// The stages of association, each over what the ones before have left. 1: high scores.
	MinIoU   float64 `json:"min_iou" range:"share"`      // cost iou: pairs below are forbidden
	MinLogit float64 `json:"min_logit"`                  // cost logit
	MaxSigma float64 `json:"max_sigma" range:"positive"` // cost logit: pairs neither overlapping nor within so many standard deviations are forbidden
	// 2: low scores, for targets that are not lost for long.
	LowStage    bool    `json:"low_stage"`
	LowMaxGap   int     `json:"low_max_gap"` // frames unseen before
	LowMinIoU   float64 `json:"low_min_iou" range:"share"`
	LowMinLogit float64 `json:"low_min_logit"`
	// 3: targets by their last observation.
	RecoverMinIoU float64 `json:"recover_min_iou" range:"share"` // 0: no such stage
	RecoverMaxGap int     `json:"recover_max_gap"`
	// Targets that are not confirmed come after all stages for those that are.
	TentativeLast bool `json:"tentative_last"`

	Replay  bool    `json:"replay"` // seen again, a target's filter runs anew along the straight line between the observations
	Scene   bool    `json:"scene"`  // unmatched predictions move with the matched targets' common deviation
	Weights Weights `json:"weights"`

	BirthScore    float64 `json:"birth_score"`                   // detections below make no target
	BirthIoU      float64 `json:"birth_iou" range:"share"`       // nor do those that overlap one seen in this frame by more; 1: all may
	BirthMinExist float64 `json:"birth_min_exist" range:"share"` // a target whose existence is less probable is not confirmed
	MinHits       int     `json:"min_hits"`                      // matches after the first that confirm a target
	Early         bool    `json:"early"`                         // targets of the first min_hits frames are confirmed at once
	Streak        bool    `json:"streak"`                        // they must be in a row, and a miss takes the confirmation back

	MaxAge          int     `json:"max_age"`                     // unseen frames that a target survives
	TentativeMaxAge int     `json:"tentative_max_age"`           // and one that is not confirmed
	MinExist        float64 `json:"min_exist" range:"share"`     // an unseen target whose existence the net finds less probable ends
	MaxOutside      float64 `json:"max_outside" range:"share"`   // an unseen target of which a greater share lies outside of the image ends; 1: none
	OutsideMaxAge   int     `json:"outside_max_age"`             // unseen frames that it survives nevertheless
	DuplicateIoU    float64 `json:"duplicate_iou" range:"share"` // of two targets that overlap by more the one seen for less long ends; 1: none

	ReportDetection bool    `json:"report_detection"`               // the matched detection's box rather than the filter's
	ReportGap       int     `json:"report_gap"`                     // unseen frames in which a confirmed target is reported where it is predicted
	ReportMinExist  float64 `json:"report_min_exist" range:"share"` // if its existence is so probable
	KeepMinExist    float64 `json:"keep_min_exist" range:"share"`   // a confirmed target that is seen is reported if its existence is so probable

	Paper PaperConfig `json:"paper"`
}

// PaperConfig is for motion paper, which uses only this, Assoc, MaxTargets, Width, Height and MinScore of a Config.
type PaperConfig struct {
	MissDistance float64 `json:"miss_distance" range:"positive"` // price of a target without detection, as a distance in units of the image
	MinExist     float64 `json:"min_exist" range:"share"`        // targets below are neither reported nor kept from moving to an unclaimed detection
	ResetFrames  int     `json:"reset_frames"`                   // hidden states return to zero every so many frames; 0: never
	NewIDs       bool    `json:"new_ids"`                        // a target that moves to an unclaimed detection gets a new identity and state
}

// SORT is the configuration of Bewley et al. 2016.
func SORT() Config {
	return Config{
		Motion: "kalman", Assoc: "hungarian", Cost: "iou",
		MaxTargets: DefaultTargets,
		MinIoU:     0.3, BirthIoU: 1, MinHits: 3, Early: true, Streak: true,
		MaxAge: 1, TentativeMaxAge: 1, MaxOutside: 1, DuplicateIoU: 1,
		Weights: defaultWeights,
	}
}

// Learnt is the configuration of a learnt filter whose file says nothing else.
func Learnt() Config {
	return Config{
		Motion: "gru", Assoc: "hungarian", Cost: "logit",
		MaxTargets: DefaultTargets,
		HighScore:  0.6, BirthScore: 0.6, MaxSigma: 4, LowStage: true, LowMinIoU: 0.3, RecoverMinIoU: 0.3, RecoverMaxGap: 30, TentativeLast: true,
		Replay: true, Scene: true, Weights: defaultWeights,
		BirthIoU: 0.7, MinHits: 2, Early: true,
		MaxAge: 30, TentativeMaxAge: 1, MaxOutside: 0.7, DuplicateIoU: 1,
	}
}

// Paper is the configuration of the published program of Milan et al. 2017.
func Paper() Config {
	return Config{
		Motion: "paper", Assoc: "hungarian", Cost: "iou",
		MaxTargets: DefaultTargets, BirthIoU: 1, MaxOutside: 1, DuplicateIoU: 1,
		Paper: PaperConfig{MissDistance: 0.1, MinExist: 0.5, ResetFrames: 10},
	}
}

// Override sets the fields that a JSON object holds. Unknown names are errors.
func (c *Config) Override(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	next := *c
	if err := d.Decode(&next); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON object")
	}
	if err := next.check(); err != nil {
		return err
	}
	*c = next
	return nil
}

// String is JSON of all fields.
func (c *Config) String() string {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// good is the score that GoodScore becomes.
func (c *Config) good() float64 { return max(c.HighScore, c.MinScore) }

// stretch makes a detector's score one of the detector that the model is for: linear from 0 to the good score, and from there to 1.
func (c *Config) stretch(score float64) float64 {
	from, to := c.GoodScore, c.good()
	if from <= 0 || from >= 1 || to <= 0 || to >= 1 {
		return score
	}
	if score < from {
		return float64(score*to) / from
	}
	return 1 - float64((1-score)*(1-to))/(1-from)
}

const (
	// DefaultTargets and MaxTargets are how many targets a tracker holds at once, by default and at most.
	DefaultTargets = 256
	MaxTargets     = 1024
	// MaxDetections is how many a frame may have.
	MaxDetections = 4096

	maxFrames = 1 << 20
	maxPrice  = 1 << 20
)

func (c *Config) check() error {
	oneOf := func(name, got string, want ...string) error {
		for _, w := range want {
			if got == w {
				return nil
			}
		}
		return fmt.Errorf("%s is %q, want one of %q", name, got, want)
	}
	if err := errors.Join(oneOf("motion", c.Motion, "kalman", "gru", "paper"), oneOf("assoc", c.Assoc, "hungarian", "lstm"),
		oneOf("cost", c.Cost, "iou", "logit")); err != nil {
		return err
	}
	if c.MaxTargets < 1 || c.MaxTargets > MaxTargets {
		return fmt.Errorf("max_targets is %d, want 1 to %d", c.MaxTargets, MaxTargets)
	}
	return checkRanges(reflect.ValueOf(c).Elem())
}

// checkRanges knows a field's range from its tag; without one, a count may be 0 to maxFrames and another number be within ±maxPrice.
func checkRanges(v reflect.Value) error {
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		var x, lo, hi float64
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			if err := checkRanges(f); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		case reflect.Float64:
			x, lo, hi = f.Float(), -maxPrice, maxPrice
		case reflect.Int:
			x, lo, hi = float64(f.Int()), 0, maxFrames
		default:
			continue
		}
		switch v.Type().Field(i).Tag.Get("range") {
		case "share":
			lo, hi = 0, 1
		case "positive":
			lo, hi = 0, maxPixel
		}
		if !(x >= lo && x <= hi) {
			return fmt.Errorf("%s is %.10g, want %.10g to %.10g", name, x, lo, hi)
		}
	}
	return nil
}
