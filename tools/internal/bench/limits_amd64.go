//go:build !purego

package bench

import "github.com/recur-go/recur/asm/amd64"

var (
	readYMM = func(p []byte) { amd64.ReadYMM(&p[0], len(p)) }
	readZMM = func(p []byte) { amd64.ReadZMM(&p[0], len(p)) }

	floatYMM = map[unit]port{
		unitFMA:    {"VFMADD231PS ymm", 2 * 8 * amd64.LimitUnroll, amd64.LimitFMAYMM},
		unitMulAdd: {"VMULPS, VADDPS ymm", 2 * 8 * amd64.LimitUnroll, amd64.LimitMulAddYMM},
		unitDivide: {"VDIVPS ymm", 8 * amd64.LimitUnroll, amd64.LimitDivideYMM},
	}
	floatZMM = map[unit]port{
		unitFMA:    {"VFMADD231PS zmm", 2 * 16 * amd64.LimitUnroll, amd64.LimitFMAZMM},
		unitMulAdd: {"VMULPS, VADDPS zmm", 2 * 16 * amd64.LimitUnroll, amd64.LimitMulAddZMM},
		unitDivide: {"VDIVPS zmm", 16 * amd64.LimitUnroll, amd64.LimitDivideZMM},
	}
)

var archProbes = map[string]probes{
	"avx2": {"ymm", readYMM,
		with(floatYMM, port{"VPSIGNB, VPMADDUBSW, VPMADDWD, VPADDD ymm", 2 * 32 * amd64.LimitUnroll, amd64.LimitMaddYMM})},
	"avxvnni": {"ymm", readYMM,
		with(floatYMM, port{"VPDPBUSD ymm", 2 * 32 * amd64.LimitUnroll, amd64.LimitDotYMM})},
	"avx512vnni": {"zmm", readZMM,
		with(floatZMM, port{"VPDPBUSD zmm", 2 * 64 * amd64.LimitUnroll, amd64.LimitDotZMM})},
}
