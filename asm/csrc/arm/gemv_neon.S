@ Matrix-vector products by VMULL, VMLAL and VPADAL: the products of two groups of columns fit 16 bits, 2·127² < 2^15, and are added in pairs to
@ the 32-bit accumulators, two halves of each row's sum. Nothing is loaded that is not used, so nothing is read beyond an operand's end.

.include "func.inc"

@ Two groups of columns of 16 rows, half a panel: r2 is at the first group, r8 at the second, r11 at the activations.
.macro PASS
	vld2.32 {d0[], d1[]}, [r11]!
	vld1.8 {d2, d3, d4, d5}, [r2]!
	vld1.8 {d6, d7}, [r8]!
	vmull.s8 q4, d2, d0
	vmull.s8 q5, d3, d0
	vmull.s8 q6, d4, d0
	vmull.s8 q7, d5, d0
	vld1.8 {d2, d3}, [r8]!
	vmlal.s8 q4, d6, d1
	vmlal.s8 q5, d7, d1
	vld1.8 {d4, d5, d6, d7}, [r2], r0
	vmlal.s8 q6, d2, d1
	vmlal.s8 q7, d3, d1
	vpadal.s16 q8, q4
	vpadal.s16 q9, q5
	vmull.s8 q4, d4, d0
	vmull.s8 q5, d5, d0
	vld1.8 {d2, d3, d4, d5}, [r8], r0
	vpadal.s16 q10, q6
	vpadal.s16 q11, q7
	vmull.s8 q6, d6, d0
	vmull.s8 q7, d7, d0
	vmlal.s8 q4, d2, d1
	vmlal.s8 q5, d3, d1
	vmlal.s8 q6, d4, d1
	vmlal.s8 q7, d5, d1
	subs r12, r12, #2
	vpadal.s16 q12, q4
	vpadal.s16 q13, q5
	vpadal.s16 q14, q6
	vpadal.s16 q15, q7
.endm

@ Eight sums, in s\a to s\h, become sum·scale + add: by VFP, since the result may be subnormal. From r4 and r5 to r1.
.macro SCALE8 a, b, c, d, e, f, g, h
	vld1.32 {d8, d9, d10, d11}, [r4]!
	vld1.32 {d12, d13, d14, d15}, [r5]!
	vfma.f32 s24, s\a, s16
	vfma.f32 s25, s\b, s17
	vfma.f32 s26, s\c, s18
	vfma.f32 s27, s\d, s19
	vfma.f32 s28, s\e, s20
	vfma.f32 s29, s\f, s21
	vfma.f32 s30, s\g, s22
	vfma.f32 s31, s\h, s23
	vst1.32 {d12, d13, d14, d15}, [r1]!
.endm

@ go: GemvNEON(y unsafe.Pointer, w, x *int8, scale, add *float32, groups, panels int)
FUNC GemvNEON
	ldm r0, {r1, r2, r3, r4, r5, r6, r7}
	add r7, r7, r7
	mov r0, #224
1:
	vmov.i32 q8, #0
	vmov.i32 q9, #0
	vmov.i32 q10, #0
	vmov.i32 q11, #0
	vmov.i32 q12, #0
	vmov.i32 q13, #0
	vmov.i32 q14, #0
	vmov.i32 q15, #0
	add r8, r2, #128
	mov r11, r3
	mov r12, r6
2:
	@ LLVM-MCA-BEGIN GemvNEON 128
	PASS
	bne 2b
	@ LLVM-MCA-END
	vpadd.i32 d0, d16, d17
	vpadd.i32 d1, d18, d19
	vpadd.i32 d2, d20, d21
	vpadd.i32 d3, d22, d23
	vpadd.i32 d4, d24, d25
	vpadd.i32 d5, d26, d27
	vpadd.i32 d6, d28, d29
	vpadd.i32 d7, d30, d31
	tst r7, #1
	subne r2, r2, #64
	subeq r2, r2, r6, lsl #7
	addeq r2, r2, #64
	cmp r4, #0
	beq 3f
	vcvt.f32.s32 q0, q0
	vcvt.f32.s32 q1, q1
	vcvt.f32.s32 q2, q2
	vcvt.f32.s32 q3, q3
	SCALE8 0, 1, 2, 3, 4, 5, 6, 7
	SCALE8 8, 9, 10, 11, 12, 13, 14, 15
	subs r7, r7, #1
	bne 1b
	bx lr
3:
	vst1.32 {d0, d1, d2, d3}, [r1]!
	vst1.32 {d4, d5, d6, d7}, [r1]!
	subs r7, r7, #1
	bne 1b
END GemvNEON

@ Two columns go through a quarter of a panel together, 8 rows.
@ go: Gemv2NEON(y unsafe.Pointer, stride int, w, x *int8, scale, add *float32, groups, panels int)
FUNC Gemv2NEON
	ldr r1, [r0]
	ldr r2, [r0, #8]
	ldr r4, [r0, #16]
	ldr r5, [r0, #20]
	ldr r7, [r0, #28]
	lsl r7, r7, #2
	mov r6, #240
1:
	vmov.i32 q8, #0
	vmov.i32 q9, #0
	vmov.i32 q10, #0
	vmov.i32 q11, #0
	vmov.i32 q12, #0
	vmov.i32 q13, #0
	vmov.i32 q14, #0
	vmov.i32 q15, #0
	add r8, r2, #128
	ldr r11, [r0, #12]
	ldr r3, [r0, #24]
	add r12, r11, r3, lsl #2
2:
	@ LLVM-MCA-BEGIN Gemv2NEON 128
	vld2.32 {d0[], d1[]}, [r11]!
	vld1.8 {d4, d5}, [r2]!
	vld2.32 {d2[], d3[]}, [r12]!
	vmull.s8 q4, d4, d0
	vld1.8 {d6, d7}, [r8]!
	vmull.s8 q5, d5, d0
	vmull.s8 q6, d4, d2
	vmull.s8 q7, d5, d2
	vld1.8 {d4, d5}, [r2], r6
	vmlal.s8 q4, d6, d1
	vmlal.s8 q5, d7, d1
	vmlal.s8 q6, d6, d3
	vmlal.s8 q7, d7, d3
	vld1.8 {d6, d7}, [r8], r6
	vpadal.s16 q8, q4
	vpadal.s16 q9, q5
	vmull.s8 q4, d4, d0
	vmull.s8 q5, d5, d0
	vpadal.s16 q12, q6
	vpadal.s16 q13, q7
	vmull.s8 q6, d4, d2
	vmull.s8 q7, d5, d2
	vmlal.s8 q4, d6, d1
	vmlal.s8 q5, d7, d1
	vmlal.s8 q6, d6, d3
	vmlal.s8 q7, d7, d3
	subs r3, r3, #2
	vpadal.s16 q10, q4
	vpadal.s16 q11, q5
	vpadal.s16 q14, q6
	vpadal.s16 q15, q7
	bne 2b
	@ LLVM-MCA-END
	vpadd.i32 d0, d16, d17
	vpadd.i32 d1, d18, d19
	vpadd.i32 d2, d20, d21
	vpadd.i32 d3, d22, d23
	vpadd.i32 d4, d24, d25
	vpadd.i32 d5, d26, d27
	vpadd.i32 d6, d28, d29
	vpadd.i32 d7, d30, d31
	sub r7, r7, #1
	tst r7, #3
	subeq r2, r2, #96
	ldr r3, [r0, #24]
	subne r2, r2, r3, lsl #7
	addne r2, r2, #32
	cmp r4, #0
	beq 3f
	vmov.i32 q8, #0x43000000 @ 128
	vadd.f32 q8, q8, q8
	vcvt.f32.s32 q0, q0
	vcvt.f32.s32 q1, q1
	vcvt.f32.s32 q2, q2
	vcvt.f32.s32 q3, q3
	vfma.f32 q2, q0, q8
	vfma.f32 q3, q1, q8
	SCALE8 8, 9, 10, 11, 12, 13, 14, 15
	cmp r7, #0
	bne 1b
	bx lr
3:
	ldr r3, [r0, #4]
	add r3, r1, r3
	vst1.32 {d0, d1, d2, d3}, [r1]!
	vst1.32 {d4, d5, d6, d7}, [r3]
	cmp r7, #0
	bne 1b
END Gemv2NEON
