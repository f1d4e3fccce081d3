//go:build unix

package fromkeras

import (
	"syscall"
	"time"
)

// clock is the time that the process has computed, which a busy machine does not lengthen.
func clock() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
