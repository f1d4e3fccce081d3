// Package embedded loads models that are part of a program.
package embedded

import (
	"fmt"
	"sync"

	"github.com/recur-go/recur/runtime"
)

// Model is loaded once. Where each is loaded by a function of its own, a program carries just the files that it uses.
type Model struct {
	once  sync.Once
	model *runtime.Model
	err   error
}

// Load returns the model of a file, whose name errors tell.
func (m *Model) Load(name string, file []byte) (*runtime.Model, error) {
	m.once.Do(func() {
		if m.model, m.err = runtime.Load(file); m.err != nil {
			m.err = fmt.Errorf("embedded %s: %w", name, m.err)
		}
	})
	return m.model, m.err
}
