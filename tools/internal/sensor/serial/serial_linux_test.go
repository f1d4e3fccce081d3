package serial

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/recur-go/recur/tools/internal/sensor"
	"github.com/recur-go/recur/tools/internal/sensor/serial/pty"
)

func TestPort(t *testing.T) {
	other, path := pty.Open(t)
	for _, baud := range []int{9600, 115200, 250000} {
		p, err := Open(path, baud, 500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unix.IoctlGetTermios(int(p.(*port).f.Fd()), unix.TCGETS2)
		if err != nil || got.Ispeed != uint32(baud) || got.Ospeed != uint32(baud) {
			t.Errorf("%d baud: %+v, %v", baud, got, err)
		}
		p.Close()
	}
	p, err := Open(path, 115200, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const sent = "1,2\r\n\x03\x04\x11\x13\x7f"
	if _, err := io.WriteString(other, sent); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(sent))
	if _, err := io.ReadFull(p, b); err != nil || string(b) != sent {
		t.Errorf("%q, %v: want every byte as it was sent", b, err)
	}
	if _, err := p.Read(b); !errors.Is(err, sensor.ErrSilent) {
		t.Errorf("silence: %v", err)
	}
	other.Close()
	if _, err := p.Read(b); !errors.Is(err, sensor.ErrGone) {
		t.Errorf("gone: %v", err)
	}
}

func TestErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		baud int
		want string
	}{{file, 9600, "no serial port"}, {file, 0, "0 is no baud rate"}, {file + "x", 9600, "no such file"}} {
		if _, err := Open(c.path, c.baud, time.Second); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// TestLines reads samples that an Arduino would print, from the middle of a line on.
func TestLines(t *testing.T) {
	other, path := pty.Open(t)
	p, err := Open(path, 115200, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(other, "5,6\r\n10,1,2,3\r\n20,1,2,x\r\n30,4,5,6\r\n"); err != nil {
		t.Fatal(err)
	}
	src, err := sensor.NewText("port", p, sensor.TextOptions{Columns: "t_ms,ax,ay,az", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	v := sensor.Sample{Values: make([]float32, 3)}
	for i, want := range []sensor.Sample{{Time: 10 * time.Millisecond, Values: []float32{1, 2, 3}, Lost: 1}, {Time: 30 * time.Millisecond, Values: []float32{4, 5, 6}, Lost: 1}} {
		v.Lost = 0
		if err := src.Next(&v); err != nil || fmt.Sprint(v) != fmt.Sprint(want) {
			t.Errorf("sample %d: %v, want %v; %v", i, v, want, err)
		}
	}
}
