//go:build arm.7 && !purego

#include "textflag.h"

// func Read(p *byte, size int)
TEXT ·Read(SB), NOSPLIT, $0-8
	MOVW p+0(FP), R0
	MOVW size+4(FP), R1
	MOVW R1>>9, R1
	CMP  $0, R1
	BEQ  done

loop:
	WORD  $0xf420020d // vld1.8 {d0, d1, d2, d3}, [r0]!
	WORD  $0xf420420d // vld1.8 {d4, d5, d6, d7}, [r0]!
	WORD  $0xf420820d // vld1.8 {d8, d9, d10, d11}, [r0]!
	WORD  $0xf420c20d // vld1.8 {d12, d13, d14, d15}, [r0]!
	WORD  $0xf420020d // vld1.8 {d0, d1, d2, d3}, [r0]!
	WORD  $0xf420420d // vld1.8 {d4, d5, d6, d7}, [r0]!
	WORD  $0xf420820d // vld1.8 {d8, d9, d10, d11}, [r0]!
	WORD  $0xf420c20d // vld1.8 {d12, d13, d14, d15}, [r0]!
	WORD  $0xf420020d // vld1.8 {d0, d1, d2, d3}, [r0]!
	WORD  $0xf420420d // vld1.8 {d4, d5, d6, d7}, [r0]!
	WORD  $0xf420820d // vld1.8 {d8, d9, d10, d11}, [r0]!
	WORD  $0xf420c20d // vld1.8 {d12, d13, d14, d15}, [r0]!
	WORD  $0xf420020d // vld1.8 {d0, d1, d2, d3}, [r0]!
	WORD  $0xf420420d // vld1.8 {d4, d5, d6, d7}, [r0]!
	WORD  $0xf420820d // vld1.8 {d8, d9, d10, d11}, [r0]!
	WORD  $0xf420c20d // vld1.8 {d12, d13, d14, d15}, [r0]!
	SUB.S $1, R1
	BNE   loop

done:
	RET

// func LimitMlal(n int)
TEXT ·LimitMlal(SB), NOSPLIT, $0-4
	MOVW n+0(FP), R0
	WORD $0xf3000150 // veor q0, q0, q0
	WORD $0xf3022152 // veor q1, q1, q1
	WORD $0xf3044154 // veor q2, q2, q2
	WORD $0xf3066156 // veor q3, q3, q3
	WORD $0xf3088158 // veor q4, q4, q4
	WORD $0xf30aa15a // veor q5, q5, q5
	WORD $0xf30cc15c // veor q6, q6, q6
	WORD $0xf30ee15e // veor q7, q7, q7
	WORD $0xf34881f8 // veor q12, q12, q12
	WORD $0xf34aa1fa // veor q13, q13, q13
	CMP  $0, R0
	BEQ  done

loop:
	WORD  $0xf2c80caa // vmull.s8 q8, d24, d26
	WORD  $0xf2c808aa // vmlal.s8 q8, d24, d26
	WORD  $0xf3b40660 // vpadal.s16 q0, q8
	WORD  $0xf2c82caa // vmull.s8 q9, d24, d26
	WORD  $0xf2c828aa // vmlal.s8 q9, d24, d26
	WORD  $0xf3b42662 // vpadal.s16 q1, q9
	WORD  $0xf2c84caa // vmull.s8 q10, d24, d26
	WORD  $0xf2c848aa // vmlal.s8 q10, d24, d26
	WORD  $0xf3b44664 // vpadal.s16 q2, q10
	WORD  $0xf2c86caa // vmull.s8 q11, d24, d26
	WORD  $0xf2c868aa // vmlal.s8 q11, d24, d26
	WORD  $0xf3b46666 // vpadal.s16 q3, q11
	WORD  $0xf2c80caa // vmull.s8 q8, d24, d26
	WORD  $0xf2c808aa // vmlal.s8 q8, d24, d26
	WORD  $0xf3b48660 // vpadal.s16 q4, q8
	WORD  $0xf2c82caa // vmull.s8 q9, d24, d26
	WORD  $0xf2c828aa // vmlal.s8 q9, d24, d26
	WORD  $0xf3b4a662 // vpadal.s16 q5, q9
	WORD  $0xf2c84caa // vmull.s8 q10, d24, d26
	WORD  $0xf2c848aa // vmlal.s8 q10, d24, d26
	WORD  $0xf3b4c664 // vpadal.s16 q6, q10
	WORD  $0xf2c86caa // vmull.s8 q11, d24, d26
	WORD  $0xf2c868aa // vmlal.s8 q11, d24, d26
	WORD  $0xf3b4e666 // vpadal.s16 q7, q11
	SUB.S $1, R0
	BNE   loop

done:
	RET

// func LimitFMA(n int)
TEXT ·LimitFMA(SB), NOSPLIT, $0-4
	MOVW n+0(FP), R0
	WORD $0xf3000150 // veor q0, q0, q0
	WORD $0xf3022152 // veor q1, q1, q1
	WORD $0xf3044154 // veor q2, q2, q2
	WORD $0xf3066156 // veor q3, q3, q3
	WORD $0xf3088158 // veor q4, q4, q4
	WORD $0xf30aa15a // veor q5, q5, q5
	WORD $0xf30cc15c // veor q6, q6, q6
	WORD $0xf30ee15e // veor q7, q7, q7
	WORD $0xf34881f8 // veor q12, q12, q12
	WORD $0xf34aa1fa // veor q13, q13, q13
	CMP  $0, R0
	BEQ  done

loop:
	WORD  $0xf2080cfa // vfma.f32 q0, q12, q13
	WORD  $0xf2082cfa // vfma.f32 q1, q12, q13
	WORD  $0xf2084cfa // vfma.f32 q2, q12, q13
	WORD  $0xf2086cfa // vfma.f32 q3, q12, q13
	WORD  $0xf2088cfa // vfma.f32 q4, q12, q13
	WORD  $0xf208acfa // vfma.f32 q5, q12, q13
	WORD  $0xf208ccfa // vfma.f32 q6, q12, q13
	WORD  $0xf208ecfa // vfma.f32 q7, q12, q13
	SUB.S $1, R0
	BNE   loop

done:
	RET

// func LimitMulAdd(n int)
TEXT ·LimitMulAdd(SB), NOSPLIT, $0-4
	MOVW n+0(FP), R0
	WORD $0xf3000150 // veor q0, q0, q0
	WORD $0xf3022152 // veor q1, q1, q1
	WORD $0xf3044154 // veor q2, q2, q2
	WORD $0xf3066156 // veor q3, q3, q3
	WORD $0xf3088158 // veor q4, q4, q4
	WORD $0xf30aa15a // veor q5, q5, q5
	WORD $0xf30cc15c // veor q6, q6, q6
	WORD $0xf30ee15e // veor q7, q7, q7
	WORD $0xf34881f8 // veor q12, q12, q12
	WORD $0xf34aa1fa // veor q13, q13, q13
	CMP  $0, R0
	BEQ  done

loop:
	WORD  $0xf3480dfa // vmul.f32 q8, q12, q13
	WORD  $0xf2000d60 // vadd.f32 q0, q0, q8
	WORD  $0xf3482dfa // vmul.f32 q9, q12, q13
	WORD  $0xf2022d62 // vadd.f32 q1, q1, q9
	WORD  $0xf3484dfa // vmul.f32 q10, q12, q13
	WORD  $0xf2044d64 // vadd.f32 q2, q2, q10
	WORD  $0xf3486dfa // vmul.f32 q11, q12, q13
	WORD  $0xf2066d66 // vadd.f32 q3, q3, q11
	WORD  $0xf3480dfa // vmul.f32 q8, q12, q13
	WORD  $0xf2088d60 // vadd.f32 q4, q4, q8
	WORD  $0xf3482dfa // vmul.f32 q9, q12, q13
	WORD  $0xf20aad62 // vadd.f32 q5, q5, q9
	WORD  $0xf3484dfa // vmul.f32 q10, q12, q13
	WORD  $0xf20ccd64 // vadd.f32 q6, q6, q10
	WORD  $0xf3486dfa // vmul.f32 q11, q12, q13
	WORD  $0xf20eed66 // vadd.f32 q7, q7, q11
	SUB.S $1, R0
	BNE   loop

done:
	RET
