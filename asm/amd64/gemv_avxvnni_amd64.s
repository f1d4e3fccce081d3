//go:build amd64 && !purego

#include "textflag.h"
#include "quantise_amd64.h"

// VPDPBUSD in its VEX form, which processors without AVX-512 have and Go's assembler does not spell. A panel is 32 rows: four YMM
// accumulators, 128 bytes of weights for a group of 4 columns. Y10 turns signed activations into the unsigned ones that VPDPBUSD wants,
// and the sums begin at start = -128 * (sum of the row's weights) to undo it. The weight pointers are kept 128 bytes ahead, so that
// every displacement of two groups fits one byte.
//
// Two groups at once give eight accumulators, which hide the latency of VPDPBUSD, and the weights are read as one stream: panels side
// by side lie a multiple of 4 KiB apart where there are 128 columns, which the first-level caches take badly.
//
// SI: weights. DX: activations. BX: start. R11: scale, or 0. R12: add. DI: y. R13: groups, even and not 0. CX: panels left. AX: groups
// left.

#define CONSTANTS \
	MOVL         $0x80808080, AX \
	VMOVD        AX, X10         \
	VPBROADCASTD X10, Y10

#define START(i, a, b, c, d) \
	VMOVDQU (i*128)(BX), a    \
	VMOVDQU (i*128+32)(BX), b \
	VMOVDQU (i*128+64)(BX), c \
	VMOVDQU (i*128+96)(BX), d

// One load where two would compete with those of the weights.
#define ACTIVATIONS(x, even, odd) \
	VPBROADCASTQ x, odd           \
	VPXOR        Y10, odd, odd    \
	VPSHUFD      $0x00, odd, even \
	VPSHUFD      $0x55, odd, odd

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
	FLOAT(i*128, a, Y8)     \
	FLOAT(i*128+32, b, Y9)  \
	FLOAT(i*128+64, c, Y11) \
	FLOAT(i*128+96, d, Y12)

// func GemvAVXVNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int, from, inv *float32, cols int)
TEXT ·GemvAVXVNNI(SB), NOSPLIT, $0-88
	MOVQ  y+0(FP), DI
	MOVQ  w+8(FP), SI
	MOVQ  start+24(FP), BX
	MOVQ  scale+32(FP), R11
	MOVQ  add+40(FP), R12
	MOVQ  groups+48(FP), R13
	MOVQ  panels+56(FP), CX
	MOVQ  from+64(FP), R8
	TESTQ R8, R8
	JEQ   product
	MOVQ  x+16(FP), DX
	MOVQ  inv+72(FP), R9
	MOVQ  cols+80(FP), AX
	QUANTISE(product)

product:
	ADDQ $128, SI
	CONSTANTS

panel:
	TESTQ CX, CX
	JEQ   done
	MOVQ  x+16(FP), DX
	MOVQ  R13, AX
	START(0, Y0, Y1, Y2, Y3)
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7

groups:
	ACTIVATIONS((DX), Y8, Y9)
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x46; BYTE $0x80 // {vex} vpdpbusd ymm0, ymm8, ymmword ptr [rsi - 128]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x4e; BYTE $0xa0 // {vex} vpdpbusd ymm1, ymm8, ymmword ptr [rsi - 96]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x56; BYTE $0xc0 // {vex} vpdpbusd ymm2, ymm8, ymmword ptr [rsi - 64]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x5e; BYTE $0xe0 // {vex} vpdpbusd ymm3, ymm8, ymmword ptr [rsi - 32]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x26             // {vex} vpdpbusd ymm4, ymm9, ymmword ptr [rsi]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x6e; BYTE $0x20 // {vex} vpdpbusd ymm5, ymm9, ymmword ptr [rsi + 32]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x76; BYTE $0x40 // {vex} vpdpbusd ymm6, ymm9, ymmword ptr [rsi + 64]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x7e; BYTE $0x60 // {vex} vpdpbusd ymm7, ymm9, ymmword ptr [rsi + 96]
	ADDQ   $8, DX
	ADDQ   $256, SI
	SUBQ   $2, AX
	JNE    groups
	VPADDD Y4, Y0, Y0
	VPADDD Y5, Y1, Y1
	VPADDD Y6, Y2, Y2
	VPADDD Y7, Y3, Y3
	ADDQ   $128, BX
	SUBQ   $1, CX
	TESTQ  R11, R11
	JNE    float
	RAW(0, Y0, Y1, Y2, Y3)
	ADDQ   $128, DI
	JMP    panel

float:
	DEQUANTISE(0, Y0, Y1, Y2, Y3)
	ADDQ $128, DI
	ADDQ $128, R11
	ADDQ $128, R12
	JMP  panel

done:
	VZEROUPPER
	RET

// func GemvBackAVXVNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int)
TEXT ·GemvBackAVXVNNI(SB), NOSPLIT, $0-64
	MOVQ  groups+48(FP), R13
	MOVQ  panels+56(FP), CX
	MOVQ  R13, SI
	IMULQ CX, SI
	SHLQ  $7, SI
	ADDQ  w+8(FP), SI
	ADDQ  $128, SI
	MOVQ  CX, R8
	SHLQ  $7, R8
	MOVQ  y+0(FP), DI
	ADDQ  R8, DI
	MOVQ  start+24(FP), BX
	ADDQ  R8, BX
	MOVQ  scale+32(FP), R11
	ADDQ  R8, R11
	MOVQ  add+40(FP), R12
	ADDQ  R8, R12
	MOVQ  x+16(FP), R8
	LEAQ  (R8)(R13*4), R8
	CONSTANTS

panelBack:
	SUBQ  $1, CX
	JLT   doneBack
	SUBQ  $128, DI
	SUBQ  $128, BX
	SUBQ  $128, R11
	SUBQ  $128, R12
	MOVQ  R8, DX
	MOVQ  R13, AX
	START(0, Y0, Y1, Y2, Y3)
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7

groupsBack:
	SUBQ   $8, DX
	SUBQ   $256, SI
	ACTIVATIONS((DX), Y8, Y9)
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x7e; BYTE $0x60 // {vex} vpdpbusd ymm7, ymm9, ymmword ptr [rsi + 96]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x76; BYTE $0x40 // {vex} vpdpbusd ymm6, ymm9, ymmword ptr [rsi + 64]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x6e; BYTE $0x20 // {vex} vpdpbusd ymm5, ymm9, ymmword ptr [rsi + 32]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x35; BYTE $0x50; BYTE $0x26             // {vex} vpdpbusd ymm4, ymm9, ymmword ptr [rsi]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x5e; BYTE $0xe0 // {vex} vpdpbusd ymm3, ymm8, ymmword ptr [rsi - 32]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x56; BYTE $0xc0 // {vex} vpdpbusd ymm2, ymm8, ymmword ptr [rsi - 64]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x4e; BYTE $0xa0 // {vex} vpdpbusd ymm1, ymm8, ymmword ptr [rsi - 96]
	BYTE   $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x46; BYTE $0x80 // {vex} vpdpbusd ymm0, ymm8, ymmword ptr [rsi - 128]
	SUBQ   $2, AX
	JNE    groupsBack
	VPADDD Y4, Y0, Y0
	VPADDD Y5, Y1, Y1
	VPADDD Y6, Y2, Y2
	VPADDD Y7, Y3, Y3
	DEQUANTISE(0, Y0, Y1, Y2, Y3)
	JMP    panelBack

doneBack:
	VZEROUPPER
	RET

// Two columns share the weights that are loaded. R15: bytes from one column of activations to the next. R10: of sums.

#define RAW1(a, b, c, d) \
	VMOVDQU a, (DI)(R10*1)   \
	VMOVDQU b, 32(DI)(R10*1) \
	VMOVDQU c, 64(DI)(R10*1) \
	VMOVDQU d, 96(DI)(R10*1)

// y = (hi * 256 + lo) * scale + add, hi and lo the two columns. Y14 is 256.
#define FLOAT16(off, hi, lo, tmp) \
	VCVTDQ2PS   hi, hi            \
	VCVTDQ2PS   lo, lo            \
	VFMADD213PS lo, Y14, hi       \
	VMOVUPS     off(R11), tmp     \
	VFMADD213PS off(R12), tmp, hi \
	VMOVUPS     hi, off(DI)

// func Gemv2AVXVNNI(y unsafe.Pointer, stride int, w, x *int8, start *int32, scale, add *float32, groups, panels, addStride int)
TEXT ·Gemv2AVXVNNI(SB), NOSPLIT, $0-80
	MOVQ         y+0(FP), DI
	MOVQ         stride+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         start+32(FP), BX
	MOVQ         scale+40(FP), R11
	MOVQ         add+48(FP), R12
	MOVQ         groups+56(FP), R13
	MOVQ         panels+64(FP), CX
	LEAQ         (R13*4), R15
	ADDQ         $128, SI
	MOVL         $0x43800000, AX
	VMOVD        AX, X14
	VPBROADCASTD X14, Y14
	CONSTANTS

panel2:
	TESTQ   CX, CX
	JEQ     done2
	MOVQ    x+24(FP), DX
	MOVQ    R13, AX
	START(0, Y0, Y1, Y2, Y3)
	VMOVDQA Y0, Y4
	VMOVDQA Y1, Y5
	VMOVDQA Y2, Y6
	VMOVDQA Y3, Y7

loop2:
	ACTIVATIONS((DX), Y8, Y11)
	ACTIVATIONS((DX)(R15*1), Y9, Y12)
	VMOVDQU -128(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x3d; BYTE $0x50; BYTE $0xc5 // {vex} vpdpbusd ymm0, ymm8, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x35; BYTE $0x50; BYTE $0xe5 // {vex} vpdpbusd ymm4, ymm9, ymm13
	VMOVDQU -96(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x3d; BYTE $0x50; BYTE $0xcd // {vex} vpdpbusd ymm1, ymm8, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x35; BYTE $0x50; BYTE $0xed // {vex} vpdpbusd ymm5, ymm9, ymm13
	VMOVDQU -64(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x3d; BYTE $0x50; BYTE $0xd5 // {vex} vpdpbusd ymm2, ymm8, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x35; BYTE $0x50; BYTE $0xf5 // {vex} vpdpbusd ymm6, ymm9, ymm13
	VMOVDQU -32(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x3d; BYTE $0x50; BYTE $0xdd // {vex} vpdpbusd ymm3, ymm8, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x35; BYTE $0x50; BYTE $0xfd // {vex} vpdpbusd ymm7, ymm9, ymm13
	VMOVDQU (SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x25; BYTE $0x50; BYTE $0xc5 // {vex} vpdpbusd ymm0, ymm11, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x1d; BYTE $0x50; BYTE $0xe5 // {vex} vpdpbusd ymm4, ymm12, ymm13
	VMOVDQU 32(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x25; BYTE $0x50; BYTE $0xcd // {vex} vpdpbusd ymm1, ymm11, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x1d; BYTE $0x50; BYTE $0xed // {vex} vpdpbusd ymm5, ymm12, ymm13
	VMOVDQU 64(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x25; BYTE $0x50; BYTE $0xd5 // {vex} vpdpbusd ymm2, ymm11, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x1d; BYTE $0x50; BYTE $0xf5 // {vex} vpdpbusd ymm6, ymm12, ymm13
	VMOVDQU 96(SI), Y13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x25; BYTE $0x50; BYTE $0xdd // {vex} vpdpbusd ymm3, ymm11, ymm13
	BYTE    $0xc4; BYTE $0xc2; BYTE $0x1d; BYTE $0x50; BYTE $0xfd // {vex} vpdpbusd ymm7, ymm12, ymm13
	ADDQ    $8, DX
	ADDQ    $256, SI
	SUBQ    $2, AX
	JNE     loop2
	ADDQ    $128, BX
	SUBQ    $1, CX
	TESTQ   R11, R11
	JNE     float2
	RAW(0, Y0, Y1, Y2, Y3)
	RAW1(Y4, Y5, Y6, Y7)
	ADDQ    $128, DI
	JMP     panel2

float2:
	TESTQ R10, R10
	JEQ   pair2
	MOVQ  addStride+72(FP), AX
	DEQUANTISE(0, Y0, Y1, Y2, Y3)
	ADDQ  R10, DI
	ADDQ  AX, R12
	DEQUANTISE(0, Y4, Y5, Y6, Y7)
	SUBQ  R10, DI
	SUBQ  AX, R12
	JMP   next2

pair2:
	FLOAT16(0, Y0, Y4, Y8)
	FLOAT16(32, Y1, Y5, Y9)
	FLOAT16(64, Y2, Y6, Y11)
	FLOAT16(96, Y3, Y7, Y12)

next2:
	ADDQ $128, DI
	ADDQ $128, R11
	ADDQ $128, R12
	JMP  panel2

done2:
	VZEROUPPER
	RET
