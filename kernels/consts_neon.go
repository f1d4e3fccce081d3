//go:build (arm64 || arm.7) && !purego

package kernels

// armConsts is the table of asm/csrc/arm64/vec.h and asm/csrc/arm/gates.inc, each value as a vector of four.
var armConsts = [...][4]float32{
	all4(tanhMax), all4(-tanhMax), all4(p3), all4(q4), all4(p2), all4(q3), all4(p1), all4(q2), all4(p0), all4(q1), all4(1), all4(0x1p-60),
	all4(sigmoidMax), all4(-sigmoidMax), all4(sp3), all4(sd4), all4(sp2), all4(sd3), all4(sp1), all4(sd2), all4(sp0), all4(sd1), all4(sd0), all4(0.5),
	all4(MaxI8), all4(-MaxI8), all4(MaxI16), all4(-MaxI16), all4(roundMagic), all4(1.0 / 256), all4(256),
}

func all4(x float32) [4]float32 { return [4]float32{x, x, x, x} }
