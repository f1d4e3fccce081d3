//go:build !unix

package fromkeras

import "time"

var begin = time.Now()

func clock() time.Duration { return time.Since(begin) }
