// Package live serves a page that shows a sensor's signal, a network's answers to it and the gestures in it as they happen, and takes the motion
// of a phone that shows the page for a sensor.
package live

import (
	"encoding/json"
	"strconv"
	"sync"
)

// Facts are what the page knows of the model.
type Facts struct {
	Channels []Channel `json:"channels"`
	Labels   []string  `json:"labels"`
	None     string    `json:"none"`  // the label that says that there is no gesture
	Rate     float64   `json:"rate"`  // samples a second
	Delay    float64   `json:"delay"` // s by which answers are late
	Phone    bool      `json:"phone"` // the sensor is a phone that shows the page
}

// Channel is one of the model's.
type Channel struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
}

// Board keeps the last half minute of samples, and the last notes, for everyone who looks. What it is told costs the one who tells a copy, whoever
// looks and however slowly.
type Board struct {
	facts []byte

	mu     sync.Mutex
	width  int       // values in a row: the time, the channels, the probabilities
	ring   []float64 // row n in ring[n % rows * width:]
	rows   uint64
	next   uint64 // row
	notes  [keptNotes]string
	notesN uint64
}

const (
	keptSeconds = 30
	keptNotes   = 200
	leastRows   = 256
	mostRows    = 1 << 14
)

// NewBoard is for a model.
func NewBoard(f Facts) *Board {
	b := &Board{width: 1 + len(f.Channels) + len(f.Labels)}
	b.facts, _ = json.Marshal(struct {
		Type string `json:"type"`
		Facts
	}{"facts", f}) // strings and finite numbers
	b.rows = uint64(min(max(keptSeconds*f.Rate, leastRows), mostRows))
	b.ring = make([]float64, int(b.rows)*b.width)
	return b
}

// Sample adds a sample of time t in seconds.
func (b *Board) Sample(t float64, values, probabilities []float32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	row := b.ring[b.next%b.rows*uint64(b.width):][:b.width]
	row[0] = t
	for k, v := range values {
		row[1+k] = float64(v)
	}
	for k, v := range probabilities {
		row[1+len(values)+k] = float64(v)
	}
	b.next++
}

// Note adds an object in JSON: what kind says is "gesture", "trouble", or "say", which has a text instead.
func (b *Board) Note(kind string, object []byte) {
	note := `{"type":"` + kind + `","object":` + string(object) + `}`
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[b.notesN%keptNotes] = note
	b.notesN++
}

// Say adds a line of text.
func (b *Board) Say(text string) {
	object, err := json.Marshal(text)
	if err == nil {
		b.Note("say", object)
	}
}

// reader is where one of those who look has got to.
type reader struct {
	row, note uint64
	values    []float64
}

// news appends what came since the last time, as messages for the page. Where rows have been overwritten, the first that remains is next.
func (b *Board) news(r *reader, messages [][]byte) [][]byte {
	b.mu.Lock()
	if b.next > b.rows {
		r.row = max(r.row, b.next-b.rows)
	}
	r.values = r.values[:0]
	for ; r.row < b.next; r.row++ {
		r.values = append(r.values, b.ring[r.row%b.rows*uint64(b.width):][:b.width]...)
	}
	if b.notesN > keptNotes {
		r.note = max(r.note, b.notesN-keptNotes)
	}
	var notes []string
	for ; r.note < b.notesN; r.note++ {
		notes = append(notes, b.notes[r.note%keptNotes])
	}
	width := b.width
	b.mu.Unlock()

	// At most rowsAMessage, so that a slow link is not asked to take it all at once.
	const rowsAMessage = 256
	for v := r.values; len(v) > 0; {
		n := min(len(v), rowsAMessage*width)
		messages = append(messages, appendRows(nil, v[:n], width))
		v = v[n:]
	}
	for _, n := range notes {
		messages = append(messages, []byte(n))
	}
	return messages
}

func appendRows(b []byte, values []float64, width int) []byte {
	b = append(b, `{"type":"rows","rows":[`...)
	for i, v := range values {
		switch {
		case i == 0:
			b = append(b, '[')
		case i%width == 0:
			b = append(b, "],["...)
		default:
			b = append(b, ',')
		}
		if i%width == 0 {
			b = strconv.AppendFloat(b, v, 'f', 4, 64)
		} else {
			b = strconv.AppendFloat(b, v, 'g', 4, 64)
		}
	}
	return append(b, "]]}"...)
}
