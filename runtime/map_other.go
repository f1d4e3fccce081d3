//go:build !unix

package runtime

import "os"

// mapFile reads a file where there is no mapping.
func mapFile(path string) (b []byte, unmap func() error, err error) {
	b, err = os.ReadFile(path)
	return b, func() error { return nil }, err
}
