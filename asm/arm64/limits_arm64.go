//go:build !purego

package arm64

// What the machine can do at most, for benchmarks. Read loads memory and does nothing else; the others run n rounds of LimitUnroll
// independent instructions, or sequences of them, that touch registers only.

// ReadBlock is the multiple to which the length of what Read loads is rounded down.
const ReadBlock = 512

// LimitUnroll is the number of independent instructions in a round.
const LimitUnroll = 12

// Read loads size bytes from p on, 16 at a time.
//
//go:noescape
func Read(p *byte, size int)

// LimitMlal runs SMULL, SMLAL and SADALP: 16 multiply-adds of int8 each.
func LimitMlal(n int)

// LimitDot runs SDOT: 16 multiply-adds of int8 each. The processor must have it.
func LimitDot(n int)

// LimitFMA runs FMLA on 4 float32 each.
func LimitFMA(n int)

// LimitMulAdd runs FMUL and FADD on 4 float32 each.
func LimitMulAdd(n int)

// LimitDivide runs FDIV on 4 float32 each.
func LimitDivide(n int)
