//go:build amd64 && !purego

#include "textflag.h"
#include "quantise_amd64.h"

// VPMADDUBSW multiplies unsigned by signed bytes and adds pairs in saturating int16: |x| by sign(x)*w is exact, since neither is ever
// -128 and 2*127*127 fits. A panel is 32 rows: four YMM accumulators, 128 bytes of weights for a group of 4 columns.
//
// SI R8: weights of two panels. DX: activations. R11: scale, or 0. R12: add. DI: y. R13: groups, even and not 0. CX: panels left. R14:
// bytes of a panel. AX: groups left. Y8: x. Y9: |x|. Y10: int16 ones.

#define ACTIVATIONS \
	VPBROADCASTD (DX), Y8 \
	VPABSB       Y8, Y9   \
	ADDQ         $4, DX

#define DOT(w, tmp, acc) \
	VMOVDQU    w, tmp        \
	VPSIGNB    Y8, tmp, tmp  \
	VPMADDUBSW tmp, Y9, tmp  \
	VPMADDWD   Y10, tmp, tmp \
	VPADDD     tmp, acc, acc

#define PANEL(w, a, b, c, d) \
	DOT((w), Y11, a)   \
	DOT(32(w), Y12, b) \
	DOT(64(w), Y13, c) \
	DOT(96(w), Y14, d) \
	ADDQ $128, w

#define ZERO(a, b, c, d) \
	VPXOR a, a, a \
	VPXOR b, b, b \
	VPXOR c, c, c \
	VPXOR d, d, d

#define RAW(i, a, b, c, d) \
	VMOVDQU a, (i*128)(DI)    \
	VMOVDQU b, (i*128+32)(DI) \
	VMOVDQU c, (i*128+64)(DI) \
	VMOVDQU d, (i*128+96)(DI)

#define FLOAT(off, acc, tmp) \
	VCVTDQ2PS   acc, acc             \
	VMOVUPS     (off)(R11), tmp      \
	VFMADD213PS (off)(R12), tmp, acc \
	VMOVUPS     acc, (off)(DI)

// y = sum * scale + add
#define DEQUANTISE(i, a, b, c, d) \
	FLOAT(i*128, a, Y11)    \
	FLOAT(i*128+32, b, Y12) \
	FLOAT(i*128+64, c, Y13) \
	FLOAT(i*128+96, d, Y14)

// Eight words of ones, then eight of zeros: a window of eight over them masks all but the first lanes.
DATA ·firstLanes+0(SB)/8, $-1
DATA ·firstLanes+8(SB)/8, $-1
DATA ·firstLanes+16(SB)/8, $-1
DATA ·firstLanes+24(SB)/8, $-1
DATA ·firstLanes+32(SB)/8, $0
DATA ·firstLanes+40(SB)/8, $0
DATA ·firstLanes+48(SB)/8, $0
DATA ·firstLanes+56(SB)/8, $0
GLOBL ·firstLanes(SB), RODATA|NOPTR, $64

// func GemvAVX2(y unsafe.Pointer, w, x *int8, scale, add *float32, groups, panels int, from, inv *float32, cols int)
TEXT ·GemvAVX2(SB), NOSPLIT, $0-80
	PCALIGN $64
	MOVQ  y+0(FP), DI
	MOVQ  w+8(FP), SI
	MOVQ  scale+24(FP), R11
	MOVQ  add+32(FP), R12
	MOVQ  groups+40(FP), R13
	MOVQ  panels+48(FP), CX
	MOVQ  R13, R14
	SHLQ  $7, R14
	MOVQ  from+56(FP), R8
	TESTQ R8, R8
	JEQ   product
	MOVQ  x+16(FP), DX
	MOVQ  inv+64(FP), R9
	MOVQ  cols+72(FP), AX
	QUANTISE(product)

product:
	VPCMPEQW Y10, Y10, Y10
	VPSRLW   $15, Y10, Y10

two:
	CMPQ CX, $2
	JLT  one
	MOVQ x+16(FP), DX
	LEAQ (SI)(R14*1), R8
	MOVQ R13, AX
	ZERO(Y0, Y1, Y2, Y3)
	ZERO(Y4, Y5, Y6, Y7)

twoLoop:
	ACTIVATIONS
	PANEL(SI, Y0, Y1, Y2, Y3)
	PANEL(R8, Y4, Y5, Y6, Y7)
	SUBQ  $1, AX
	JNE   twoLoop
	MOVQ  R8, SI
	SUBQ  $2, CX
	TESTQ R11, R11
	JNE   twoFloat
	RAW(0, Y0, Y1, Y2, Y3)
	RAW(1, Y4, Y5, Y6, Y7)
	ADDQ  $256, DI
	JMP   two

twoFloat:
	DEQUANTISE(0, Y0, Y1, Y2, Y3)
	DEQUANTISE(1, Y4, Y5, Y6, Y7)
	ADDQ $256, DI
	ADDQ $256, R11
	ADDQ $256, R12
	JMP  two

one:
	TESTQ CX, CX
	JEQ   done
	MOVQ  x+16(FP), DX
	MOVQ  R13, AX
	ZERO(Y0, Y1, Y2, Y3)

oneLoop:
	ACTIVATIONS
	PANEL(SI, Y0, Y1, Y2, Y3)
	SUBQ  $1, AX
	JNE   oneLoop
	TESTQ R11, R11
	JNE   oneFloat
	RAW(0, Y0, Y1, Y2, Y3)
	VZEROUPPER
	RET

oneFloat:
	DEQUANTISE(0, Y0, Y1, Y2, Y3)

done:
	VZEROUPPER
	RET

// func MulAddF32AVX2(y, w, x, add *float32, cols, panels int)
// A panel is 32 rows of float32, four YMM accumulators; the product is rounded before the sum, so there is no FMA.
TEXT ·MulAddF32AVX2(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ w+8(FP), SI
	MOVQ add+24(FP), R12
	MOVQ cols+32(FP), R13
	MOVQ panels+40(FP), CX
	MOVQ R13, R14
	SHLQ $7, R14

#define MULADD(w, tmp, acc) \
	VMULPS w, Y15, tmp   \
	VADDPS tmp, acc, acc

f32two:
	CMPQ    CX, $2
	JLT     f32one
	MOVQ    x+16(FP), DX
	LEAQ    (SI)(R14*1), R8
	MOVQ    R13, AX
	VMOVUPS (R12), Y0
	VMOVUPS 32(R12), Y1
	VMOVUPS 64(R12), Y2
	VMOVUPS 96(R12), Y3
	VMOVUPS 128(R12), Y4
	VMOVUPS 160(R12), Y5
	VMOVUPS 192(R12), Y6
	VMOVUPS 224(R12), Y7

f32twoLoop:
	VBROADCASTSS (DX), Y15
	MULADD((SI), Y8, Y0)
	MULADD(32(SI), Y9, Y1)
	MULADD(64(SI), Y10, Y2)
	MULADD(96(SI), Y11, Y3)
	MULADD((R8), Y12, Y4)
	MULADD(32(R8), Y13, Y5)
	MULADD(64(R8), Y14, Y6)
	MULADD(96(R8), Y8, Y7)
	ADDQ         $4, DX
	ADDQ         $128, SI
	ADDQ         $128, R8
	SUBQ         $1, AX
	JNE          f32twoLoop
	MOVQ         R8, SI
	RAW(0, Y0, Y1, Y2, Y3)
	RAW(1, Y4, Y5, Y6, Y7)
	ADDQ         $256, DI
	ADDQ         $256, R12
	SUBQ         $2, CX
	JMP          f32two

f32one:
	TESTQ   CX, CX
	JEQ     f32done
	MOVQ    x+16(FP), DX
	VMOVUPS (R12), Y0
	VMOVUPS 32(R12), Y1
	VMOVUPS 64(R12), Y2
	VMOVUPS 96(R12), Y3

f32oneLoop:
	VBROADCASTSS (DX), Y15
	MULADD((SI), Y8, Y0)
	MULADD(32(SI), Y9, Y1)
	MULADD(64(SI), Y10, Y2)
	MULADD(96(SI), Y11, Y3)
	ADDQ         $4, DX
	ADDQ         $128, SI
	SUBQ         $1, R13
	JNE          f32oneLoop
	RAW(0, Y0, Y1, Y2, Y3)

f32done:
	VZEROUPPER
	RET
