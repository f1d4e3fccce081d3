@ Four values at a time. Except for the quantisers, n is a multiple of 4 other than 0.

.include "gates.inc"

@ go: Tanh(y, x, k *float32, n int)
FUNC Tanh
	ldm r0, {r1, r2, r4, r7}
1:
	vld1.32 {d0, d1}, [r2]!
	TANH4X 0, 1
	VDIV4 0, 0, 1
	vst1.32 {d0, d1}, [r1]!
	subs r7, r7, #4
	bne 1b
END Tanh

@ go: Sigmoid(y, x, k *float32, n int)
FUNC Sigmoid
	ldm r0, {r1, r2, r5, r7}
	add r5, r5, #SIGMOID
1:
	vld1.32 {d0, d1}, [r2]!
	SIGMOID4 0, 1, 2
	VDIV4 0, 0, 1
	vst1.32 {d0, d1}, [r1]!
	subs r7, r7, #4
	bne 1b
END Sigmoid

@ The quantisers do any n from 4 on; what is left after the fours is done as the last four. The integer is in the low bits of the float32
@ that is the sum with the magic number, 1.5·2^23.

@ The low bytes of q into d, the low half of t.
.macro LOW_BYTES d, t, q
	vmovn.i32 d\d, q\q
	vmovn.i16 d\d, q\t
.endm

@ go: QuantiseI8(q *int8, x, inv, k *float32, n int)
FUNC QuantiseI8
	ldm r0, {r1, r2, r3, r4, r7}
	add r12, r4, #MAX_I8
	vld1.32 {d16, d17, d18, d19}, [r12]
	add r12, r4, #MAGIC
	vld1.32 {d20, d21}, [r12]
1:
	vld1.32 {d0, d1}, [r2]!
	vld1.32 {d2, d3}, [r3]!
	VMUL4 0, 0, 1
	CLAMP 0, 8, 9, 11
	vadd.f32 q0, q0, q10
	LOW_BYTES 0, 0, 0
	vst1.32 {d0[0]}, [r1]!
	subs r7, r7, #4
	beq 2f
	cmp r7, #4
	bge 1b
	sub r7, r7, #4
	add r1, r1, r7
	add r2, r2, r7, lsl #2
	add r3, r3, r7, lsl #2
	mov r7, #4
	b 1b
2:
END QuantiseI8

@ go: QuantiseI16(hi, lo *int8, x, inv, k *float32, n int)
FUNC QuantiseI16
	ldm r0, {r1, r2, r3, r4, r5, r7}
	add r12, r5, #MAX_I8
	vld1.32 {d26, d27, d28, d29}, [r12]
	add r12, r5, #MAX_I16
	vld1.32 {d16, d17, d18, d19}, [r12]!
	vld1.32 {d20, d21, d22, d23}, [r12]!
	vld1.32 {d24, d25}, [r12]
1:
	vld1.32 {d0, d1}, [r3]!
	vld1.32 {d2, d3}, [r4]!
	VMUL4 0, 0, 1
	CLAMP 0, 8, 9, 15
	vmul.f32 q1, q0, q11
	vadd.f32 q1, q1, q10
	vsub.f32 q2, q1, q10
	LOW_BYTES 6, 3, 1
	vmul.f32 q2, q2, q12
	vst1.32 {d6[0]}, [r1]!
	vsub.f32 q0, q0, q2
	CLAMP 0, 13, 14, 15
	vadd.f32 q0, q0, q10
	LOW_BYTES 0, 0, 0
	vst1.32 {d0[0]}, [r2]!
	subs r7, r7, #4
	beq 2f
	cmp r7, #4
	bge 1b
	sub r7, r7, #4
	add r1, r1, r7
	add r2, r2, r7
	add r3, r3, r7, lsl #2
	add r4, r4, r7, lsl #2
	mov r7, #4
	b 1b
2:
END QuantiseI16

@ go: Dequantise(y *float32, sums *int32, scale, add *float32, n int)
FUNC Dequantise
	ldm r0, {r1, r2, r3, r4, r7}
1:
	vld1.32 {d0, d1}, [r2]!
	vcvt.f32.s32 q0, q0
	vld1.32 {d2, d3}, [r3]!
	vld1.32 {d4, d5}, [r4]!
	VFMA4 2, 0, 1
	vst1.32 {d4, d5}, [r1]!
	subs r7, r7, #4
	bne 1b
END Dequantise

@ go: DequantiseI16(y *float32, hi, lo *int32, scale, add *float32, n int)
FUNC DequantiseI16
	ldm r0, {r1, r2, r3, r4, r5, r7}
	vmov.i32 q8, #0x43000000 @ 128
	vadd.f32 q8, q8, q8
1:
	vld1.32 {d0, d1}, [r2]!
	vcvt.f32.s32 q0, q0
	vld1.32 {d2, d3}, [r3]!
	vcvt.f32.s32 q1, q1
	vfma.f32 q1, q0, q8
	vld1.32 {d0, d1}, [r4]!
	vld1.32 {d4, d5}, [r5]!
	VFMA4 2, 0, 1
	vst1.32 {d4, d5}, [r1]!
	subs r7, r7, #4
	bne 1b
END DequantiseI16

@ Eight rows of a column: product and sum rounded apart, by VFP since either may be subnormal.
.macro COLUMN8 s0, s1, s2, s3, s4, s5, s6, s7
	vldmia r2!, {s16-s23}
	.irp s, 16, 17, 18, 19, 20, 21, 22, 23
	vmul.f32 s\s, s\s, s24
	.endr
	vadd.f32 s\s0, s\s0, s16
	vadd.f32 s\s1, s\s1, s17
	vadd.f32 s\s2, s\s2, s18
	vadd.f32 s\s3, s\s3, s19
	vadd.f32 s\s4, s\s4, s20
	vadd.f32 s\s5, s\s5, s21
	vadd.f32 s\s6, s\s6, s22
	vadd.f32 s\s7, s\s7, s23
.endm

@ go: MulAddF32(y, w, x, add *float32, cols, panels int)
FUNC MulAddF32
	ldm r0, {r1, r2, r3, r4, r6, r7}
	add r7, r7, r7
1:	@ half a panel
	vldmia r4!, {s0-s15}
	mov r8, r3
	mov r12, r6
2:
	vldmia r8!, {s24}
	COLUMN8 0, 1, 2, 3, 4, 5, 6, 7
	COLUMN8 8, 9, 10, 11, 12, 13, 14, 15
	add r2, r2, #64
	subs r12, r12, #1
	bne 2b
	vstmia r1!, {s0-s15}
	tst r7, #1
	subne r2, r2, #64
	subeq r2, r2, r6, lsl #7
	addeq r2, r2, #64
	subs r7, r7, #1
	bne 1b
END MulAddF32
