package gesture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/recur-go/recur/runtime/format"
)

const prefix = "gesture."

// meta reads the entries of a model's metadata that begin with "gesture."; all of them must be known and be given once. After the
// first error every read returns zero.
type meta struct {
	entries []format.Pair
	err     error
}

func newMeta(f *format.File) *meta {
	m := &meta{}
	for _, p := range f.Meta {
		if key, ok := strings.CutPrefix(p.Key, prefix); ok {
			m.entries = append(m.entries, format.Pair{Key: key, Value: p.Value})
		}
	}
	return m
}

func (m *meta) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf("metadata "+prefix+format, args...)
	}
}

// take removes the entry from those left.
func (m *meta) take(key string) string {
	for i, p := range m.entries {
		if p.Key == key {
			m.entries = append(m.entries[:i:i], m.entries[i+1:]...)
			return p.Value
		}
	}
	m.fail("%s is missing", key)
	return ""
}

func (m *meta) number(key, text string, lo, hi float32) float32 {
	v, err := strconv.ParseFloat(text, 32)
	if err != nil || !(float32(v) >= lo && float32(v) <= hi) {
		m.fail("%s is %q, want a number from %v to %v", key, text, lo, hi)
		return 0
	}
	return float32(v)
}

func (m *meta) float(key string, lo, hi float32) float32 { return m.number(key, m.take(key), lo, hi) }

func (m *meta) has(key string) bool {
	return slices.ContainsFunc(m.entries, func(p format.Pair) bool { return p.Key == key })
}

// optional is 0 where there is no such entry.
func (m *meta) optional(key string, lo, hi float32) float32 {
	if !m.has(key) {
		return 0
	}
	return m.float(key, lo, hi)
}

// optionalCount is 0 where there is no such entry.
func (m *meta) optionalCount(key string, lo, hi int) int {
	if !m.has(key) {
		return 0
	}
	return m.count(key, lo, hi)
}

func (m *meta) floats(key string, n int, lo, hi float32) []float32 {
	fields := strings.Fields(m.take(key))
	if len(fields) != n {
		m.fail("%s holds %d numbers, want %d", key, len(fields), n)
		return nil
	}
	v := make([]float32, n)
	for i, f := range fields {
		v[i] = m.number(key, f, lo, hi)
	}
	return v
}

func (m *meta) count(key string, lo, hi int) int {
	text := m.take(key)
	v, err := strconv.Atoi(text)
	if err != nil || v < lo || v > hi {
		m.fail("%s is %q, want a whole number from %d to %d", key, text, lo, hi)
		return 0
	}
	return v
}

// end refuses entries that nobody asked for: a misspelt key must not pass.
func (m *meta) end() error {
	if len(m.entries) > 0 {
		m.fail("%s is unknown or given twice", m.entries[0].Key)
	}
	return m.err
}
