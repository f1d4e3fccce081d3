//go:build amd64 && !purego

#include "textflag.h"

// A panel is 32 rows of float32, two ZMM accumulators; every product is rounded before its sum, so there is no FMA. The sums of a row
// wait for each other, hence four panels at once.
//
// SI R8 R9 R10: weights of up to four panels. DX: x. R12: add. DI: y. R13: columns. CX: panels left. R14: bytes of a panel. AX: columns
// left.

#define LOAD(i, lo, hi) \
	VMOVUPS (i*128)(R12), lo    \
	VMOVUPS (i*128+64)(R12), hi

#define PANEL(w, lo, hi, t, u) \
	VMULPS (w), Z16, t   \
	VMULPS 64(w), Z16, u \
	VADDPS t, lo, lo     \
	VADDPS u, hi, hi     \
	ADDQ   $128, w

#define STORE(i, lo, hi) \
	VMOVUPS lo, (i*128)(DI)    \
	VMOVUPS hi, (i*128+64)(DI)

// func MulAddF32AVX512(y, w, x, add *float32, cols, panels int)
TEXT ·MulAddF32AVX512(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ w+8(FP), SI
	MOVQ add+24(FP), R12
	MOVQ cols+32(FP), R13
	MOVQ panels+40(FP), CX
	MOVQ R13, R14
	SHLQ $7, R14

four:
	CMPQ CX, $4
	JLT  two
	MOVQ x+16(FP), DX
	LEAQ (SI)(R14*1), R8
	LEAQ (SI)(R14*2), R9
	LEAQ (R8)(R14*2), R10
	MOVQ R13, AX
	LOAD(0, Z0, Z1)
	LOAD(1, Z2, Z3)
	LOAD(2, Z4, Z5)
	LOAD(3, Z6, Z7)

fourLoop:
	VBROADCASTSS (DX), Z16
	PANEL(SI, Z0, Z1, Z8, Z9)
	PANEL(R8, Z2, Z3, Z10, Z11)
	PANEL(R9, Z4, Z5, Z12, Z13)
	PANEL(R10, Z6, Z7, Z14, Z15)
	ADDQ         $4, DX
	SUBQ         $1, AX
	JNE          fourLoop
	STORE(0, Z0, Z1)
	STORE(1, Z2, Z3)
	STORE(2, Z4, Z5)
	STORE(3, Z6, Z7)
	MOVQ         R10, SI
	ADDQ         $512, DI
	ADDQ         $512, R12
	SUBQ         $4, CX
	JMP          four

two:
	CMPQ CX, $2
	JLT  one
	MOVQ x+16(FP), DX
	LEAQ (SI)(R14*1), R8
	MOVQ R13, AX
	LOAD(0, Z0, Z1)
	LOAD(1, Z2, Z3)

twoLoop:
	VBROADCASTSS (DX), Z16
	PANEL(SI, Z0, Z1, Z8, Z9)
	PANEL(R8, Z2, Z3, Z10, Z11)
	ADDQ         $4, DX
	SUBQ         $1, AX
	JNE          twoLoop
	STORE(0, Z0, Z1)
	STORE(1, Z2, Z3)
	MOVQ         R8, SI
	ADDQ         $256, DI
	ADDQ         $256, R12
	SUBQ         $2, CX

one:
	TESTQ CX, CX
	JEQ   done
	MOVQ  x+16(FP), DX
	LOAD(0, Z0, Z1)

oneLoop:
	VBROADCASTSS (DX), Z16
	PANEL(SI, Z0, Z1, Z8, Z9)
	ADDQ         $4, DX
	SUBQ         $1, R13
	JNE          oneLoop
	STORE(0, Z0, Z1)

done:
	VZEROUPPER
	RET
