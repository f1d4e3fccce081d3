package i2c

import (
	"strings"
	"testing"
	"unsafe"
)

// TestLayout compares with struct i2c_msg and struct i2c_rdwr_ioctl_data.
func TestLayout(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	if s, at := unsafe.Sizeof(message{}), unsafe.Offsetof(message{}.data); s != 8+word || at != 8 {
		t.Errorf("a message has %d bytes, its data is at %d", s, at)
	}
	if s, at := unsafe.Sizeof(transfer{}), unsafe.Offsetof(transfer{}.count); s != 2*word || at != word {
		t.Errorf("a transfer has %d bytes, its count is at %d", s, at)
	}
}

func TestNoBus(t *testing.T) {
	if _, err := HostBus(250, 0x68); err == nil || !strings.Contains(err.Error(), "i2c-dev") {
		t.Error(err)
	}
}
