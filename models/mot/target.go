package mot

// target is what a tracker knows of one object. Motion filters read and write the fields of the first block.
type target struct {
	born  bool    // in this frame
	seen  bool    // in this frame
	z     Box     // the detection of this frame
	score float64 // of the detection that it was last seen by, stretched
	gap   int     // frames unseen directly before this one
	last  Box     // the detection before z
	pred  Box     // where the filter expects it
	held  Box     // where the filter has it
	sigma shift   // how far off pred the next detection may be: docs/mot.md
	exist float64 // probability that it exists
	dead  bool

	id         int     // 0: never reported
	said       float64 // the score as the detector said it
	hits       int     // matches after the first
	age        int     // frames
	confirmed  bool
	aim        Box     // pred, moved with the scene
	way        [2]Box  // the observations before the last, the latest first
	ways       int     // how many of them there are
	found      int     // index of the last detection in its frame
	logW, logH float64 // logarithms of aim's size
	logSigma   float64 // sum of the logarithms of the first two of sigma
}

// motion filters the boxes of targets. Slots name targets; those of a call are all that live.
type motion interface {
	// predict writes pred and sigma.
	predict(ts []target, slots []int)
	// replay takes targets that are seen after a gap back to their last observation, along the straight line to the one of this frame, and
	// writes pred.
	replay(ts []target, slots []int) error
	// update writes held and exist.
	update(ts []target, slots []int, around *surroundings) error
	// save keeps a state for replay.
	save(slot int) error
}

// surroundings are what targets share in a frame.
type surroundings struct {
	matched int        // targets with a detection, births left out
	scene   [2]float64 // median of what their detections lie off the predictions, in pixels; 0 where there are few
}

// see takes the detection of this frame for the last observation.
func (t *target) see() {
	t.way[1], t.way[0] = t.way[0], t.last
	if t.born {
		t.ways = 0
	} else {
		t.ways = min(t.ways+1, len(t.way))
	}
	t.last = t.z
	t.gap = 0
}
