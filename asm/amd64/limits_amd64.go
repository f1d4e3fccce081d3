//go:build !purego

package amd64

// What the machine can do at most, for benchmarks. Read* load memory and do nothing else; the others run n rounds of LimitUnroll independent
// instructions, or sequences of them, that touch registers only.

// ReadBlock is the multiple to which the length of what Read* load is rounded down.
const ReadBlock = 512

// LimitUnroll is the number of independent instructions in a round.
const LimitUnroll = 12

// ReadYMM loads size bytes from p on, 32 at a time, both halves side by side.
//
//go:noescape
func ReadYMM(p *byte, size int)

// ReadZMM is ReadYMM with 64 bytes at a time.
//
//go:noescape
func ReadZMM(p *byte, size int)

// LimitMaddYMM runs VPSIGNB, VPMADDUBSW, VPMADDWD and VPADDD, the exact product of 32 int8 pairs: 32 multiply-adds each.
func LimitMaddYMM(n int)

// LimitDotYMM runs VPDPBUSD in its VEX form: 32 multiply-adds each.
func LimitDotYMM(n int)

// LimitDotZMM runs VPDPBUSD on 512 bits: 64 multiply-adds each.
func LimitDotZMM(n int)

// LimitFMAYMM runs VFMADD231PS on 8 float32 each.
func LimitFMAYMM(n int)

// LimitFMAZMM runs VFMADD231PS on 16 float32 each.
func LimitFMAZMM(n int)

// LimitMulAddYMM runs VMULPS and VADDPS on 8 float32 each.
func LimitMulAddYMM(n int)

// LimitMulAddZMM runs VMULPS and VADDPS on 16 float32 each.
func LimitMulAddZMM(n int)

// LimitDivideYMM runs VDIVPS on 8 float32 each.
func LimitDivideYMM(n int)

// LimitDivideZMM runs VDIVPS on 16 float32 each.
func LimitDivideZMM(n int)
