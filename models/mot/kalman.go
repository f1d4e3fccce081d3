package mot

import "math"

// linear is one coordinate that moves at a constant velocity, with its covariance: a Kalman filter over position and velocity.
type linear struct {
	x, v          float64
	pxx, pxv, pvv float64
}

// predict adds process noise qx and qv.
func (l *linear) predict(qx, qv float64) {
	l.x += l.v
	l.pxx += float64(2*l.pxv) + l.pvv + qx
	l.pxv += l.pvv
	l.pvv += qv
}

// observe takes a measurement of variance r.
func (l *linear) observe(z, r float64) {
	s := l.pxx + r
	kx, kv := l.pxx/s, l.pxv/s
	e := z - l.x
	l.x += float64(kx * e)
	l.v += float64(kv * e)
	l.pvv -= float64(kv * l.pxv)
	l.pxv = float64((1 - kx) * l.pxv)
	l.pxx = float64((1 - kx) * l.pxx)
}

// kalmanState is that of one target: centre, area and the ratio of width to height, which has no velocity.
type kalmanState struct {
	x, y, area linear
	ratio      float64
	pRatio     float64
}

// kalman is the filter of Bewley et al., Simple Online and Realtime Tracking, ICIP 2016: a state of 7, [x y area ratio vx vy varea]. All its
// covariances are diagonal at the start and F joins each coordinate with its own velocity only, so that the filter of 7 falls into three of 2
// and one of 1.
type kalman struct {
	state, saved []kalmanState
}

// The noise is that of the paper's published program: as variances, of what the state starts with, of a frame, and of a measurement.
const (
	startPosition, startVelocity  = 10, 10000
	framePosition, frameVelocity  = 1, 0.01
	frameAreaVelocity             = 0.0001
	measurePosition, measureShape = 1, 10
)

func newKalman(targets int) *kalman {
	return &kalman{make([]kalmanState, targets), make([]kalmanState, targets)}
}

func (s *kalmanState) box() Box {
	w := math.Sqrt(s.area.x * s.ratio)
	return Box{s.x.x, s.y.x, w, s.area.x / w}
}

func (s *kalmanState) begin(z Box) {
	at := func(x float64) linear { return linear{x: x, pxx: startPosition, pvv: startVelocity} }
	*s = kalmanState{at(z.X), at(z.Y), at(float64(z.W * z.H)), z.W / z.H, startPosition}
}

func (s *kalmanState) predict() {
	if s.area.x+s.area.v <= 0 {
		s.area.v = 0
	}
	s.x.predict(framePosition, frameVelocity)
	s.y.predict(framePosition, frameVelocity)
	s.area.predict(framePosition, frameAreaVelocity)
	s.pRatio += framePosition
}

func (s *kalmanState) observe(z Box) {
	s.x.observe(z.X, measurePosition)
	s.y.observe(z.Y, measurePosition)
	s.area.observe(float64(z.W*z.H), measureShape)
	k := s.pRatio / (s.pRatio + measureShape)
	s.ratio += float64(k * (z.W/z.H - s.ratio))
	s.pRatio = float64((1 - k) * s.pRatio)
}

func (k *kalman) predict(ts []target, slots []int) {
	for _, i := range slots {
		s, t := &k.state[i], &ts[i]
		s.predict()
		t.pred = s.box()
		if !t.pred.valid() {
			t.dead = true
			continue
		}
		x, y := math.Sqrt(s.x.pxx+measurePosition)/t.pred.H, math.Sqrt(s.y.pxx+measurePosition)/t.pred.H
		area := math.Sqrt(s.area.pxx+measureShape) / (t.pred.W * t.pred.H)
		t.sigma = shift{x, y, area, area}
	}
}

func (k *kalman) update(ts []target, slots []int, around *surroundings) error {
	for _, i := range slots {
		s, t := &k.state[i], &ts[i]
		switch {
		case t.born:
			s.begin(t.z)
		case t.seen:
			s.observe(t.z)
		}
		t.held, t.exist = s.box(), 1
		if !t.held.valid() {
			t.dead = true
		}
	}
	return nil
}

func (k *kalman) save(i int) error {
	k.saved[i] = k.state[i]
	return nil
}

func (k *kalman) replay(ts []target, slots []int) error {
	for _, i := range slots {
		s, t := &k.state[i], &ts[i]
		*s = k.saved[i]
		for n := range t.gap {
			s.predict()
			s.observe(between(t.last, t.z, float64(n+1)/float64(t.gap+1)))
		}
		s.predict()
	}
	return nil
}
