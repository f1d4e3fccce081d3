package mot

import (
	"math"
	"reflect"
)

// Weights are those of the logarithm of the odds that a detection is of a target: their sum, each times its feature.
type Weights struct {
	Bias        float64 `json:"bias"`         // 1
	IoU         float64 `json:"iou"`          // of prediction and detection
	LastIoU     float64 `json:"last_iou"`     // of last observation and detection
	Position    float64 `json:"position"`     // Mahalanobis distance of the centre, squared, at most 25
	Size        float64 `json:"size"`         // and of the logarithms of width and height
	Laplace     float64 `json:"laplace"`      // sum of the magnitudes of the centre's distances in standard deviations, at most 10
	LaplaceSize float64 `json:"laplace_size"` // and of the sizes'
	Distance    float64 `json:"distance"`     // of the centres, in heights of the prediction, at most 5
	Height      float64 `json:"height"`       // magnitude of the logarithm of the heights' quotient
	Width       float64 `json:"width"`        // and of the widths'
	Direction   float64 `json:"direction"`    // cosine of the angle between the target's way so far and that to the detection; 0 where it has none
	LogSigma    float64 `json:"log_sigma"`    // sum of the logarithms of the centre's standard deviations
	Gap         float64 `json:"gap"`          // frames unseen before, over 30, at most 1
	GapIoU      float64 `json:"gap_iou"`      // that times the IoU
	Lost        float64 `json:"lost"`         // 1 where it was unseen in the frame before
	Score       float64 `json:"score"`        // of the detection
	Existence   float64 `json:"existence"`    // probability that the target exists
	Young       float64 `json:"young"`        // 1 where the target is not confirmed
}

// defaultWeights are guesses, for a filter without weights of its own.
var defaultWeights = Weights{Bias: -1, IoU: 6, Position: -0.1, Distance: -1, Height: -2, Gap: -1}

// FeatureNames are the JSON names of Weights, in order.
func FeatureNames() []string {
	v := reflect.TypeFor[Weights]()
	var names []string
	for i := range v.NumField() {
		names = append(names, v.Field(i).Tag.Get("json"))
	}
	return names
}

// pairFeatures is the number of features, and of fields of Weights.
const pairFeatures = 18

type features [pairFeatures]float64

func (w *Weights) vector() features {
	return features{w.Bias, w.IoU, w.LastIoU, w.Position, w.Size, w.Laplace, w.LaplaceSize, w.Distance, w.Height, w.Width, w.Direction, w.LogSigma, w.Gap, w.GapIoU,
		w.Lost, w.Score, w.Existence, w.Young}
}

// candidate is a detection with what its pairs need.
type candidate struct {
	Box
	score      float64 // stretched
	said       float64 // by the detector
	logW, logH float64
}

// pair computes the features of a target and a detection. near is false where they neither overlap nor lie within sigmas standard deviations.
func (t *target) pair(f *features, d *candidate, sigmas float64) (near bool) {
	x, y := (d.X-t.aim.X)/t.aim.H, (d.Y-t.aim.Y)/t.aim.H
	sx, sy := x/t.sigma[0], y/t.sigma[1]
	position := float64(sx*sx) + float64(sy*sy)
	overlap := math.Abs(d.X-t.aim.X) < half(d.W+t.aim.W) && math.Abs(d.Y-t.aim.Y) < half(d.H+t.aim.H)
	if !overlap && !(position <= float64(sigmas*sigmas)) {
		return false
	}
	iou := IoU(t.aim, d.Box)
	w, h := d.logW-t.logW, d.logH-t.logH
	sw, sh := w/t.sigma[2], h/t.sigma[3]
	gap := float64(min(t.gap, maxGap)) / maxGap
	*f = features{
		1,
		iou,
		IoU(t.last, d.Box),
		min(position, 25),
		min(float64(sw*sw)+float64(sh*sh), 25),
		min(math.Abs(sx)+math.Abs(sy), 10),
		min(math.Abs(sw)+math.Abs(sh), 10),
		min(math.Sqrt(float64(x*x)+float64(y*y)), 5),
		math.Abs(h),
		math.Abs(w),
		t.direction(d.Box),
		t.logSigma,
		gap,
		float64(gap * iou),
		truth(t.gap > 0),
		d.score,
		t.exist,
		truth(!t.confirmed),
	}
	return true
}

// maxGap is the gap of which the features for longer ones are.
const maxGap = 30

// direction is the cosine of the angle between the way to the last observation and the way from there to b.
func (t *target) direction(b Box) float64 {
	if t.ways == 0 {
		return 0
	}
	from := &t.way[t.ways-1]
	ax, ay := t.last.X-from.X, t.last.Y-from.Y
	bx, by := b.X-t.last.X, b.Y-t.last.Y
	square := float64((float64(ax*ax) + float64(ay*ay)) * (float64(bx*bx) + float64(by*by)))
	if !(square > 0) {
		return 0
	}
	return (float64(ax*bx) + float64(ay*by)) / math.Sqrt(square)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// dot is the sum of products, in order.
func (w *features) dot(f *features) (sum float64) {
	for i, v := range w {
		sum += float64(v * f[i])
	}
	return sum
}
