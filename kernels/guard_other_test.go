//go:build !unix

package kernels

import "testing"

// guarded returns size bytes of memory; nothing guards it here.
func guarded(_ testing.TB, size int) []byte { return make([]byte, (size+4095)&^4095) }
