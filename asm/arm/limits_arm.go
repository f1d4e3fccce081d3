//go:build arm.7 && !purego

package arm

// What the machine can do at most, for benchmarks. Read loads memory and does nothing else; the others run n rounds of LimitUnroll
// independent instructions, or sequences of them, that touch registers only. All need NEON.

// ReadBlock is the multiple to which the length of what Read loads is rounded down.
const ReadBlock = 512

// LimitUnroll is the number of independent instructions in a round.
const LimitUnroll = 8

// Read loads size bytes from p on, 32 at a time.
//
//go:noescape
func Read(p *byte, size int)

// LimitMlal runs VMULL, VMLAL and VPADAL: 16 multiply-adds of int8 each.
func LimitMlal(n int)

// LimitFMA runs VFMA on 4 float32 each. The processor must have VFPv4.
func LimitFMA(n int)

// LimitMulAdd runs VMUL and VADD on 4 float32 each.
func LimitMulAdd(n int)
