//go:build !linux

package i2c

import "errors"

// HostBus needs Linux.
func HostBus(int, uint8) (Bus, error) { return nil, errors.New("I²C needs Linux") }

// HostBuses is empty.
func HostBuses() []int { return nil }
