//go:build !purego

package bench

import "github.com/recur-go/recur/asm/arm64"

var (
	readQ = func(p []byte) { arm64.Read(&p[0], len(p)) }

	floatQ = map[unit]port{
		unitFMA:    {"FMLA 4s", 2 * 4 * arm64.LimitUnroll, arm64.LimitFMA},
		unitMulAdd: {"FMUL, FADD 4s", 2 * 4 * arm64.LimitUnroll, arm64.LimitMulAdd},
		unitDivide: {"FDIV 4s", 4 * arm64.LimitUnroll, arm64.LimitDivide},
	}
)

var archProbes = map[string]probes{
	"neon":    {"q", readQ, with(floatQ, port{"SMULL, SMLAL, SADALP", 2 * 16 * arm64.LimitUnroll, arm64.LimitMlal})},
	"dotprod": {"q", readQ, with(floatQ, port{"SDOT", 2 * 16 * arm64.LimitUnroll, arm64.LimitDot})},
}
