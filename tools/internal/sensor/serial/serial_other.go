//go:build !linux

// Package serial opens serial ports for reading.
package serial

import (
	"errors"
	"io"
	"time"
)

// Open needs Linux.
func Open(path string, baud int, silent time.Duration) (io.ReadCloser, error) {
	return nil, errors.New("serial ports need Linux")
}
