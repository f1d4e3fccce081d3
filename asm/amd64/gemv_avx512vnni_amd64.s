//go:build amd64 && !purego

#include "textflag.h"

// A panel is 32 rows: two ZMM accumulators, 128 bytes of weights for a group of 4 columns. Z31 turns signed activations into the
// unsigned ones that VPDPBUSD wants, and the sums begin at start = -128 * (sum of the row's weights) to undo it. Eight accumulators
// hide the latency of VPDPBUSD: those of four groups, since the weights shall be read as one stream. Panels side by side lie a
// multiple of 4 KiB apart where there are 128 columns, which the first-level caches take badly.
//
// SI: weights. DX: activations. BX: start. R11: scale, or 0. R12: add. DI: y. R13: groups, even and not 0. CX: panels left. AX: groups
// left. R14: groups in all panels; from 64 KiB on, more than a first-level cache holds, the weights are prefetched.

#define CONSTANTS \
	MOVL         $0x80808080, AX \
	VPBROADCASTD AX, Z31

#define START(i, lo, hi) \
	VMOVDQU32 (i*128)(BX), lo    \
	VMOVDQU32 (i*128+64)(BX), hi

#define ZERO(lo, hi) \
	VPXORD lo, lo, lo \
	VPXORD hi, hi, hi

#define DOT(w, x, lo, hi) \
	VPDPBUSD (w)(SI), x, lo    \
	VPDPBUSD (w+64)(SI), x, hi

#define ACTIVATIONS \
	VBROADCASTI32X4 (DX), Z16       \
	VPXORD          Z31, Z16, Z16   \
	VPSHUFD         $0x00, Z16, Z17 \
	VPSHUFD         $0x55, Z16, Z18 \
	VPSHUFD         $0xaa, Z16, Z19 \
	VPSHUFD         $0xff, Z16, Z20

// Four groups; the last instruction tells whether there are four more.
#define GROUPS \
	ACTIVATIONS           \
	DOT(0, Z17, Z0, Z1)   \
	DOT(128, Z18, Z2, Z3) \
	DOT(256, Z19, Z4, Z5) \
	DOT(384, Z20, Z6, Z7) \
	ADDQ $16, DX          \
	ADDQ $512, SI         \
	SUBQ $4, AX

#define SUM(lo, hi, lo2, hi2) \
	VPADDD lo2, lo, lo \
	VPADDD hi2, hi, hi

#define RAW(i, lo, hi) \
	VMOVDQU32 lo, (i*128)(DI)    \
	VMOVDQU32 hi, (i*128+64)(DI)

// y = sum * scale + add
#define DEQUANTISE(i, lo, hi) \
	VCVTDQ2PS   lo, lo                   \
	VCVTDQ2PS   hi, hi                   \
	VMOVUPS     (i*128)(R11), Z16        \
	VMOVUPS     (i*128+64)(R11), Z17     \
	VFMADD213PS (i*128)(R12), Z16, lo    \
	VFMADD213PS (i*128+64)(R12), Z17, hi \
	RAW(i, lo, hi)

// func GemvAVX512VNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int, from, inv *float32, cols int)
TEXT ·GemvAVX512VNNI(SB), NOSPLIT, $0-88
	PCALIGN $64
	MOVQ  y+0(FP), DI
	MOVQ  w+8(FP), SI
	MOVQ  start+24(FP), BX
	MOVQ  scale+32(FP), R11
	MOVQ  add+40(FP), R12
	MOVQ  groups+48(FP), R13
	MOVQ  panels+56(FP), CX
	MOVQ  R13, R14
	IMULQ CX, R14
	CONSTANTS
	MOVQ  from+64(FP), R8
	TESTQ R8, R8
	JEQ   panel

	// Quantise from into x. What the last lanes write beyond cols is zero, and part of the padding to 8.
	MOVQ         x+16(FP), DX
	MOVQ         inv+72(FP), R9
	MOVQ         cols+80(FP), AX
	MOVL         $0x42fe0000, R10
	VPBROADCASTD R10, Z20         // 127
	MOVL         $0xc2fe0000, R10
	VPBROADCASTD R10, Z21         // -127

quantise:
	SUBQ      $16, AX
	JLT       quantiseLast
	VMOVUPS   (R8), Z16
	VMULPS    (R9), Z16, Z16
	VMINPS    Z20, Z16, Z16
	VMAXPS    Z21, Z16, Z16
	VCVTPS2DQ Z16, Z16
	VPMOVDB   Z16, X16
	VMOVDQU32 X16, (DX)
	ADDQ      $64, R8
	ADDQ      $64, R9
	ADDQ      $16, DX
	JMP       quantise

quantiseLast:
	ADDQ      $16, AX
	JEQ       panel
	MOVL      $-1, R10
	BZHIL     AX, R10, R10
	KMOVW     R10, K1
	VMOVUPS.Z (R8), K1, Z16
	VMULPS.Z  (R9), Z16, K1, Z16
	VMINPS    Z20, Z16, Z16
	VMAXPS    Z21, Z16, Z16
	VCVTPS2DQ Z16, Z16
	VPMOVDB   Z16, X16
	VMOVQ     X16, (DX)
	CMPQ      AX, $8
	JLE       panel
	VPEXTRQ   $1, X16, 8(DX)

panel:
	TESTQ CX, CX
	JEQ   done
	MOVQ  x+16(FP), DX
	MOVQ  R13, AX
	START(0, Z0, Z1)
	ZERO(Z2, Z3)
	ZERO(Z4, Z5)
	ZERO(Z6, Z7)
	SUBQ  $4, AX
	JLT   last
	CMPQ  R14, $512
	JGE   far

groups:
	GROUPS
	JGE groups
	JMP last

far:
	PREFETCHT0 4096(SI)
	PREFETCHT0 4160(SI)
	PREFETCHT0 4224(SI)
	PREFETCHT0 4288(SI)
	PREFETCHT0 4352(SI)
	PREFETCHT0 4416(SI)
	PREFETCHT0 4480(SI)
	PREFETCHT0 4544(SI)
	GROUPS
	JGE        far

last:
	ADDQ        $4, AX
	JEQ         sum
	VPXORD.BCST (DX), Z31, Z17
	VPXORD.BCST 4(DX), Z31, Z18
	DOT(0, Z17, Z0, Z1)
	DOT(128, Z18, Z2, Z3)
	ADDQ        $256, SI

sum:
	SUM(Z0, Z1, Z2, Z3)
	SUM(Z4, Z5, Z6, Z7)
	SUM(Z0, Z1, Z4, Z5)
	ADDQ  $128, BX
	SUBQ  $1, CX
	TESTQ R11, R11
	JNE   float
	RAW(0, Z0, Z1)
	ADDQ  $128, DI
	JMP   panel

float:
	DEQUANTISE(0, Z0, Z1)
	ADDQ $128, DI
	ADDQ $128, R11
	ADDQ $128, R12
	JMP  panel

done:
	VZEROUPPER
	RET

#define DOT_BACK(w, x, lo, hi) \
	VPDPBUSD (w+64)(SI), x, hi \
	VPDPBUSD (w)(SI), x, lo

// func GemvBackAVX512VNNI(y unsafe.Pointer, w, x *int8, start *int32, scale, add *float32, groups, panels int)
TEXT ·GemvBackAVX512VNNI(SB), NOSPLIT, $0-64
	PCALIGN $64
	MOVQ  groups+48(FP), R13
	MOVQ  panels+56(FP), CX
	MOVQ  R13, SI
	IMULQ CX, SI
	SHLQ  $7, SI
	ADDQ  w+8(FP), SI
	MOVQ  CX, R8
	SHLQ  $7, R8             // past the last panel
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
	SUBQ        $1, CX
	JLT         doneBack
	SUBQ        $128, DI
	SUBQ        $128, BX
	SUBQ        $128, R11
	SUBQ        $128, R12
	MOVQ        R8, DX
	MOVQ        R13, AX
	START(0, Z0, Z1)
	ZERO(Z2, Z3)
	ZERO(Z4, Z5)
	ZERO(Z6, Z7)
	TESTQ       $2, AX
	JEQ         groupsBack
	SUBQ        $8, DX
	SUBQ        $256, SI
	VPXORD.BCST (DX), Z31, Z17
	VPXORD.BCST 4(DX), Z31, Z18
	DOT_BACK(128, Z18, Z2, Z3)
	DOT_BACK(0, Z17, Z0, Z1)
	SUBQ        $2, AX
	JEQ         sumBack

groupsBack:
	SUBQ $16, DX
	SUBQ $512, SI
	ACTIVATIONS
	DOT_BACK(384, Z20, Z6, Z7)
	DOT_BACK(256, Z19, Z4, Z5)
	DOT_BACK(128, Z18, Z2, Z3)
	DOT_BACK(0, Z17, Z0, Z1)
	SUBQ $4, AX
	JNE  groupsBack

sumBack:
	SUM(Z0, Z1, Z2, Z3)
	SUM(Z4, Z5, Z6, Z7)
	SUM(Z0, Z1, Z4, Z5)
	DEQUANTISE(0, Z0, Z1)
	JMP panelBack

doneBack:
	VZEROUPPER
	RET

// Several columns share the weights that are loaded. R15: bytes from one column of activations to the next. R10: of sums.

#define DOT2(w, x0, x1, lo0, hi0, lo1, hi1) \
	VMOVDQU32 (w)(SI), Z20    \
	VMOVDQU32 (w+64)(SI), Z21 \
	VPDPBUSD  Z20, x0, lo0    \
	VPDPBUSD  Z21, x0, hi0    \
	VPDPBUSD  Z20, x1, lo1    \
	VPDPBUSD  Z21, x1, hi1

#define RAW1(i, lo, hi) \
	VMOVDQU32 lo, (i*128)(DI)(R10*1)    \
	VMOVDQU32 hi, (i*128+64)(DI)(R10*1)

#define COPY(lo, hi, lo1, hi1) \
	VMOVDQA32 lo, lo1 \
	VMOVDQA32 hi, hi1

// y = (hi * 256 + lo) * scale + add, hi and lo the two columns. Z30 is 256.
#define DEQUANTISE16(i, hi0, hi1, lo0, lo1) \
	VCVTDQ2PS   hi0, hi0                  \
	VCVTDQ2PS   hi1, hi1                  \
	VCVTDQ2PS   lo0, lo0                  \
	VCVTDQ2PS   lo1, lo1                  \
	VFMADD213PS lo0, Z30, hi0             \
	VFMADD213PS lo1, Z30, hi1             \
	VMOVUPS     (i*128)(R11), Z16         \
	VMOVUPS     (i*128+64)(R11), Z17      \
	VFMADD213PS (i*128)(R12), Z16, hi0    \
	VFMADD213PS (i*128+64)(R12), Z17, hi1 \
	RAW(i, hi0, hi1)

// func Gemv2AVX512VNNI(y unsafe.Pointer, stride int, w, x *int8, start *int32, scale, add *float32, groups, panels, addStride int)
TEXT ·Gemv2AVX512VNNI(SB), NOSPLIT, $0-80
	PCALIGN      $64
	MOVQ         y+0(FP), DI
	MOVQ         stride+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         start+32(FP), BX
	MOVQ         scale+40(FP), R11
	MOVQ         add+48(FP), R12
	MOVQ         groups+56(FP), R13
	MOVQ         panels+64(FP), CX
	LEAQ         (R13*4), R15
	MOVL         $0x43800000, AX
	VPBROADCASTD AX, Z30
	CONSTANTS

panel2:
	TESTQ CX, CX
	JEQ   done2
	MOVQ  x+24(FP), DX
	MOVQ  R13, AX
	START(0, Z0, Z1)
	COPY(Z0, Z1, Z2, Z3)
	ZERO(Z4, Z5)
	ZERO(Z6, Z7)

groups2:
	VPXORD.BCST (DX), Z31, Z16
	VPXORD.BCST 4(DX), Z31, Z17
	VPXORD.BCST (DX)(R15*1), Z31, Z18
	VPXORD.BCST 4(DX)(R15*1), Z31, Z19
	DOT2(0, Z16, Z18, Z0, Z1, Z2, Z3)
	DOT2(128, Z17, Z19, Z4, Z5, Z6, Z7)
	ADDQ        $8, DX
	ADDQ        $256, SI
	SUBQ        $2, AX
	JNE         groups2
	SUM(Z0, Z1, Z4, Z5)
	SUM(Z2, Z3, Z6, Z7)
	ADDQ        $128, BX
	SUBQ        $1, CX
	TESTQ       R11, R11
	JNE         float2
	RAW(0, Z0, Z1)
	RAW1(0, Z2, Z3)
	ADDQ        $128, DI
	JMP         panel2

float2:
	TESTQ R10, R10
	JEQ   pair2
	MOVQ  addStride+72(FP), AX
	DEQUANTISE(0, Z0, Z1)
	ADDQ  R10, DI
	ADDQ  AX, R12
	DEQUANTISE(0, Z2, Z3)
	SUBQ  R10, DI
	SUBQ  AX, R12
	JMP   next2

pair2:
	DEQUANTISE16(0, Z0, Z1, Z2, Z3)

next2:
	ADDQ $128, DI
	ADDQ $128, R11
	ADDQ $128, R12
	JMP  panel2

done2:
	VZEROUPPER
	RET

// Four columns keep VPDPBUSD busy with what two panels at once bring. R8: the other panel. R14: bytes of a panel. R9: 3*R15.
#define PANEL4(w, lo0, hi0, lo1, hi1, lo2, hi2, lo3, hi3) \
	VMOVDQU32 (w), Z20      \
	VMOVDQU32 64(w), Z21    \
	VPDPBUSD  Z20, Z16, lo0 \
	VPDPBUSD  Z21, Z16, hi0 \
	VPDPBUSD  Z20, Z17, lo1 \
	VPDPBUSD  Z21, Z17, hi1 \
	VPDPBUSD  Z20, Z18, lo2 \
	VPDPBUSD  Z21, Z18, hi2 \
	VPDPBUSD  Z20, Z19, lo3 \
	VPDPBUSD  Z21, Z19, hi3 \
	ADDQ      $128, w

#define ACTIVATIONS4 \
	VPXORD.BCST (DX), Z31, Z16        \
	VPXORD.BCST (DX)(R15*1), Z31, Z17 \
	VPXORD.BCST (DX)(R15*2), Z31, Z18 \
	VPXORD.BCST (DX)(R9*1), Z31, Z19  \
	ADDQ        $4, DX

// func Gemv4AVX512VNNI(y unsafe.Pointer, stride int, w, x *int8, start *int32, scale, add *float32, groups, panels, addStride int, pairs bool)
TEXT ·Gemv4AVX512VNNI(SB), NOSPLIT, $0-81
	PCALIGN      $64
	MOVQ         y+0(FP), DI
	MOVQ         stride+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         start+32(FP), BX
	MOVQ         scale+40(FP), R11
	MOVQ         add+48(FP), R12
	MOVQ         groups+56(FP), R13
	MOVQ         panels+64(FP), CX
	MOVQ         R13, R14
	SHLQ         $7, R14
	LEAQ         (R13*4), R15
	LEAQ         (R15)(R15*2), R9
	MOVL         $0x43800000, AX
	VPBROADCASTD AX, Z30
	CONSTANTS

two4:
	CMPQ CX, $2
	JLT  one4
	MOVQ x+24(FP), DX
	LEAQ (SI)(R14*1), R8
	MOVQ R13, AX
	START(0, Z0, Z1)
	START(1, Z8, Z9)
	COPY(Z0, Z1, Z2, Z3)
	COPY(Z0, Z1, Z4, Z5)
	COPY(Z0, Z1, Z6, Z7)
	COPY(Z8, Z9, Z10, Z11)
	COPY(Z8, Z9, Z12, Z13)
	COPY(Z8, Z9, Z14, Z15)

two4Loop:
	ACTIVATIONS4
	PANEL4(SI, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	PANEL4(R8, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15)
	SUBQ  $1, AX
	JNE   two4Loop
	MOVQ  R8, SI
	ADDQ  $256, BX
	SUBQ  $2, CX
	MOVQ  DI, R8
	TESTQ R11, R11
	JNE   two4Float
	RAW(0, Z0, Z1)
	RAW(1, Z8, Z9)
	RAW1(0, Z2, Z3)
	RAW1(1, Z10, Z11)
	LEAQ  (DI)(R10*2), DI
	RAW(0, Z4, Z5)
	RAW(1, Z12, Z13)
	RAW1(0, Z6, Z7)
	RAW1(1, Z14, Z15)
	LEAQ  256(R8), DI
	JMP   two4

two4Float:
	MOVQ addStride+72(FP), AX
	MOVQ R12, DX
	CMPB pairs+80(FP), $0
	JNE  two4Pairs
	DEQUANTISE(0, Z0, Z1)
	DEQUANTISE(1, Z8, Z9)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE(0, Z2, Z3)
	DEQUANTISE(1, Z10, Z11)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE(0, Z4, Z5)
	DEQUANTISE(1, Z12, Z13)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE(0, Z6, Z7)
	DEQUANTISE(1, Z14, Z15)

two4Next:
	LEAQ 256(R8), DI
	ADDQ $256, R11
	LEAQ 256(DX), R12
	JMP  two4

two4Pairs:
	DEQUANTISE16(0, Z0, Z1, Z2, Z3)
	DEQUANTISE16(1, Z8, Z9, Z10, Z11)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE16(0, Z4, Z5, Z6, Z7)
	DEQUANTISE16(1, Z12, Z13, Z14, Z15)
	JMP  two4Next

one4:
	TESTQ CX, CX
	JEQ   done4
	MOVQ  x+24(FP), DX
	MOVQ  R13, AX
	START(0, Z0, Z1)
	COPY(Z0, Z1, Z2, Z3)
	COPY(Z0, Z1, Z4, Z5)
	COPY(Z0, Z1, Z6, Z7)

one4Loop:
	ACTIVATIONS4
	PANEL4(SI, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	SUBQ  $1, AX
	JNE   one4Loop
	TESTQ R11, R11
	JNE   one4Float
	RAW(0, Z0, Z1)
	RAW1(0, Z2, Z3)
	LEAQ  (DI)(R10*2), DI
	RAW(0, Z4, Z5)
	RAW1(0, Z6, Z7)
	VZEROUPPER
	RET

one4Float:
	MOVQ addStride+72(FP), AX
	CMPB pairs+80(FP), $0
	JNE  one4Pairs
	DEQUANTISE(0, Z0, Z1)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE(0, Z2, Z3)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE(0, Z4, Z5)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE(0, Z6, Z7)
	VZEROUPPER
	RET

one4Pairs:
	DEQUANTISE16(0, Z0, Z1, Z2, Z3)
	ADDQ R10, DI
	ADDQ AX, R12
	DEQUANTISE16(0, Z4, Z5, Z6, Z7)

done4:
	VZEROUPPER
	RET
