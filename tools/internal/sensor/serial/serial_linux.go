// Package serial opens serial ports for reading.
package serial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/recur-go/recur/tools/internal/sensor"
)

type port struct {
	f      *os.File
	silent time.Duration
}

// Open sets a port to 8 data bits, no parity, one stop bit and any baud rate that its driver can do. Where nothing comes for the time
// silent, Read fails with sensor.ErrSilent, and where the port goes with sensor.ErrGone.
func Open(path string, baud int, silent time.Duration) (io.ReadCloser, error) {
	if baud < 50 || baud > 20e6 {
		return nil, fmt.Errorf("%s: %d is no baud rate", path, baud)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: be a member of group dialout (docs/sensors.md)", err)
	}
	if err != nil {
		return nil, err
	}
	if err := configure(f, baud); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &port{f, silent}, nil
}

func configure(f *os.File, baud int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS2)
		if err != nil {
			failed = fmt.Errorf("no serial port: %w", err)
			return
		}
		raw(t)
		t.Cflag = t.Cflag&^unix.CBAUD&^(unix.CBAUD<<unix.IBSHIFT) | unix.BOTHER | unix.BOTHER<<unix.IBSHIFT
		t.Ispeed, t.Ospeed = uint32(baud), uint32(baud)
		if err := unix.IoctlSetTermios(int(fd), unix.TCSETS2, t); err != nil {
			failed = fmt.Errorf("%d baud: %w", baud, err)
			return
		}
		failed = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCIFLUSH) // what came at another rate
	})
	return errors.Join(err, failed)
}

// raw is cfmakeraw.
func raw(t *unix.Termios) {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CSTOPB | unix.CRTSCTS
	t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
}

func (p *port) Read(b []byte) (int, error) {
	if err := p.f.SetReadDeadline(time.Now().Add(p.silent)); err != nil {
		return 0, err
	}
	n, err := p.f.Read(b)
	switch {
	case err == io.EOF, errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		err = sensor.ErrGone
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w for %v", sensor.ErrSilent, p.silent)
	}
	return n, err
}

func (p *port) Close() error { return p.f.Close() }
