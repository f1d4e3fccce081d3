package mot

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/recur-go/recur/models/internal/embedded"
	"github.com/recur-go/recur/runtime"
)

//go:embed mot.recur
var filterFile []byte

//go:embed paper.recur
var paperFile []byte

//go:embed lstm.recur
var associationFile []byte

var filter, paperMotion, association embedded.Model

// Filter returns the learnt filter, the network of the default tracker, for Models. It is loaded once, as the others are; MODEL_CARD.md says what
// they were trained on.
func Filter() (*runtime.Model, error) { return filter.Load("mot.recur", filterFile) }

// PaperMotion returns the motion network of Milan et al. 2017, trained anew.
func PaperMotion() (*runtime.Model, error) { return paperMotion.Load("paper.recur", paperFile) }

// Association returns the association network of Milan et al. 2017, smaller and trained anew.
func Association() (*runtime.Model, error) { return association.Load("lstm.recur", associationFile) }

// NewDefault makes a tracker with the embedded filter and its configuration, for images of a size in pixels, 0 where it is unknown.
func NewDefault(width, height float64) (*Tracker, error) {
	m, err := Filter()
	if err != nil {
		return nil, err
	}
	c, err := ConfigOf(m)
	if err != nil {
		return nil, err
	}
	c.Width, c.Height = width, height
	return New(c, Models{Motion: m})
}

// The metadata of models: a motion model's configuration as JSON of the fields that differ from those of the motion's default, and the factor of
// the distances that an association model sees.
const (
	metaConfig = "mot.config"
	metaScale  = "mot.scale"
)

func meta(m *runtime.Model, key string) (value string, ok bool, err error) {
	for _, p := range m.File().Meta {
		if p.Key != key {
			continue
		}
		if ok {
			return "", false, fmt.Errorf("metadata %s is given twice", key)
		}
		value, ok = p.Value, true
	}
	return value, ok, nil
}

// ConfigOf is the configuration that a motion model was made for.
func ConfigOf(m *runtime.Model) (Config, error) {
	c := Learnt()
	if m.InputWidth() == paperInputs {
		c = Paper()
	}
	text, ok, err := meta(m, metaConfig)
	if err == nil && ok {
		if err = c.Override([]byte(text)); err != nil {
			err = fmt.Errorf("metadata %s: %w", metaConfig, err)
		}
	}
	return c, err
}

// scaleOf is what an association model's distances are multiplied by.
func scaleOf(m *runtime.Model) (float64, error) {
	text, ok, err := meta(m, metaScale)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, errors.New("metadata " + metaScale + " is missing")
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v > 0 && v <= maxPrice) {
		return 0, fmt.Errorf("metadata %s is %q, want a number above 0", metaScale, text)
	}
	return v, nil
}
