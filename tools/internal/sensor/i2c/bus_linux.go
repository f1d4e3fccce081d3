package i2c

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/i2c-dev.h and linux/i2c.h.
const (
	ioctlSlave = 0x0703
	ioctlRDWR  = 0x0707
	flagRead   = 0x0001
)

type message struct {
	address, flags, length uint16
	data                   *byte
}

type transfer struct {
	messages *message
	count    uint32
}

type hostBus struct {
	mu       sync.Mutex // Close may come while a transfer runs
	f        *os.File
	messages [2]message
	out      [2]byte
	transfer transfer
}

// HostBus opens /dev/i2c-n.
func HostBus(n int, address uint8) (Bus, error) {
	f, err := os.OpenFile("/dev/i2c-"+strconv.Itoa(n), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: is the bus enabled, and module i2c-dev loaded? (docs/sensors.md)", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: be a member of group i2c (docs/sensors.md)", err)
	case err != nil:
		return nil, err
	}
	b := &hostBus{f: f}
	// RDWR asks nobody whether the address is taken, SLAVE does.
	if err := b.ioctl(ioctlSlave, uintptr(address)); err != nil {
		f.Close()
		if err == unix.EBUSY {
			return nil, fmt.Errorf("a kernel driver holds address %#x of bus %d; use iio", address, n)
		}
		return nil, fmt.Errorf("bus %d, address %#x: %w", n, address, err)
	}
	for i := range b.messages {
		b.messages[i].address = uint16(address)
	}
	return b, nil
}

// HostBuses are the numbers of the buses that there are.
func HostBuses() (n []int) {
	found, _ := filepath.Glob("/dev/i2c-*")
	for _, f := range found {
		if i, err := strconv.Atoi(strings.TrimPrefix(f, "/dev/i2c-")); err == nil {
			n = append(n, i)
		}
	}
	slices.Sort(n)
	return n
}

func (b *hostBus) ioctl(request, arg uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, b.f.Fd(), request, arg); errno != 0 {
		return errno
	}
	return nil
}

func (b *hostBus) do(count uint32) error {
	b.transfer = transfer{&b.messages[0], count}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, b.f.Fd(), ioctlRDWR, uintptr(unsafe.Pointer(&b.transfer))); errno != 0 {
		return errno
	}
	return nil
}

func (b *hostBus) Read(reg byte, data []byte) error {
	if len(data) == 0 || len(data) > math.MaxUint16 {
		return fmt.Errorf("a transfer of %d bytes", len(data))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out[0] = reg
	b.messages[0].flags, b.messages[0].length, b.messages[0].data = 0, 1, &b.out[0]
	b.messages[1].flags, b.messages[1].length, b.messages[1].data = flagRead, uint16(len(data)), &data[0]
	return b.do(2)
}

func (b *hostBus) Write(reg, value byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out = [2]byte{reg, value}
	b.messages[0].flags, b.messages[0].length, b.messages[0].data = 0, 2, &b.out[0]
	return b.do(1)
}

func (b *hostBus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.f.Close()
}
