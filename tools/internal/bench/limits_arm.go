//go:build arm.7 && !purego

package bench

import "github.com/recur-go/recur/asm/arm"

var archProbes = map[string]probes{
	"neon": {"4 d", func(p []byte) { arm.Read(&p[0], len(p)) }, map[unit]port{
		unitInt8:   {"VMULL, VMLAL, VPADAL", 2 * 16 * arm.LimitUnroll, arm.LimitMlal},
		unitFMA:    {"VFMA f32 q", 2 * 4 * arm.LimitUnroll, arm.LimitFMA},
		unitMulAdd: {"VMUL, VADD f32 q", 2 * 4 * arm.LimitUnroll, arm.LimitMulAdd},
	}},
}
