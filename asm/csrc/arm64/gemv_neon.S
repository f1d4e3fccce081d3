// Matrix-vector products by SMULL, SMLAL and SADALP. The products of two groups of columns fit 16 bits, 2·127² < 2^15, and are added in pairs
// to the 32-bit accumulators, two halves of each row's sum.
//
// The order is for the Cortex-A53, which issues in order: a result is used six or more vector instructions later. Nothing is loaded that
// is not used, so nothing is read beyond an operand's end.

.include "func.inc"

// Four rows: S multiplies the weights a of the first group, M adds the products of the weights b of the second, A adds all to the sums, or
// starts the sums where add is saddlp.
.macro S a, p0, p1, x
	smull v\p0\().8h, v\a\().8b, v\x\().8b
	smull2 v\p1\().8h, v\a\().16b, v\x\().16b
.endm
.macro M b, p0, p1, x
	smlal v\p0\().8h, v\b\().8b, v\x\().8b
	smlal2 v\p1\().8h, v\b\().16b, v\x\().16b
.endm
.macro A p0, p1, s0, s1, add
	\add v\s0\().4s, v\p0\().8h
	\add v\s1\().4s, v\p1\().8h
.endm

.macro PAIRS
	addp v16.4s, v16.4s, v17.4s
	addp v17.4s, v18.4s, v19.4s
	addp v18.4s, v20.4s, v21.4s
	addp v19.4s, v22.4s, v23.4s
	addp v20.4s, v24.4s, v25.4s
	addp v21.4s, v26.4s, v27.4s
	addp v22.4s, v28.4s, v29.4s
	addp v23.4s, v30.4s, v31.4s
.endm

// One column, two groups of 32 rows.
.macro PASS add
	ld2r {v0.4s, v1.4s}, [x8], #8
	ldp q2, q3, [x2]
	ldp q6, q7, [x2, #32]
	ldp q4, q5, [x2, #128]
	S 2, 10, 11, 0
	S 3, 12, 13, 0
	ldp q8, q9, [x2, #160]
	S 6, 14, 15, 0
	M 4, 10, 11, 1
	ldp q2, q3, [x2, #64]
	M 5, 12, 13, 1
	M 8, 14, 15, 1
	ldp q4, q5, [x2, #192]
	A 10, 11, 16, 17, \add
	S 7, 10, 11, 0
	A 12, 13, 18, 19, \add
	ldp q6, q7, [x2, #96]
	S 2, 12, 13, 0
	A 14, 15, 20, 21, \add
	S 3, 14, 15, 0
	M 9, 10, 11, 1
	ldp q8, q9, [x2, #224]
	M 4, 12, 13, 1
	M 5, 14, 15, 1
	A 10, 11, 22, 23, \add
	S 6, 10, 11, 0
	A 12, 13, 24, 25, \add
	S 7, 12, 13, 0
	A 14, 15, 26, 27, \add
	M 8, 10, 11, 1
	M 9, 12, 13, 1
	A 10, 11, 28, 29, \add
	A 12, 13, 30, 31, \add
	add x2, x2, #256
	subs x9, x9, #2
.endm

// go: GemvNEON(y unsafe.Pointer, w, x *int8, scale, add *float32, groups, panels int)
FUNC GemvNEON
	ldp x1, x2, [x0]
	ldp x3, x4, [x0, #16]
	ldp x5, x6, [x0, #32]
	ldr x7, [x0, #48]
1:
	mov x8, x3
	mov x9, x6
	PASS saddlp
	b.eq 3f
2:
	// LLVM-MCA-BEGIN GemvNEON 256
	PASS sadalp
	b.ne 2b
	// LLVM-MCA-END
3:
	PAIRS
	subs x7, x7, #1
	cbz x4, 4f
	DEQUANTISE 16, 17, 18, 19
	DEQUANTISE 20, 21, 22, 23
	b.ne 1b
	ret
4:
	stp q16, q17, [x1], #32
	stp q18, q19, [x1], #32
	stp q20, q21, [x1], #32
	stp q22, q23, [x1], #32
	b.ne 1b
END GemvNEON

// Two columns, two groups of 16 rows.
.macro PASS2 add
	ld2r {v0.4s, v1.4s}, [x8], #8
	ldp q4, q5, [x2]
	ld2r {v2.4s, v3.4s}, [x10], #8
	ldp q6, q7, [x2, #128]
	S 4, 10, 11, 0
	S 4, 12, 13, 2
	S 5, 14, 15, 0
	ldp q8, q9, [x2, #32]
	M 6, 10, 11, 1
	M 6, 12, 13, 3
	M 7, 14, 15, 1
	A 10, 11, 16, 17, \add
	S 5, 10, 11, 2
	ldp q4, q5, [x2, #160]
	A 12, 13, 24, 25, \add
	S 8, 12, 13, 0
	A 14, 15, 18, 19, \add
	S 8, 14, 15, 2
	M 7, 10, 11, 3
	M 4, 12, 13, 1
	M 4, 14, 15, 3
	A 10, 11, 26, 27, \add
	S 9, 10, 11, 0
	A 12, 13, 20, 21, \add
	S 9, 12, 13, 2
	A 14, 15, 28, 29, \add
	M 5, 10, 11, 1
	M 5, 12, 13, 3
	A 10, 11, 22, 23, \add
	A 12, 13, 30, 31, \add
	add x2, x2, #256
	subs x9, x9, #2
.endm

// Two columns go through half a panel together: 16 rows, with accumulators v16 to v23 for the first column and v24 to v31 for the second.
// go: Gemv2NEON(y unsafe.Pointer, stride int, w, x *int8, scale, add *float32, groups, panels int)
FUNC Gemv2NEON
	ldp x1, x15, [x0]
	ldp x2, x3, [x0, #16]
	ldp x4, x5, [x0, #32]
	ldp x6, x7, [x0, #48]
	add x7, x7, x7
	lsl x16, x6, #7
	sub x16, xzr, x16
	add x16, x16, #64 // from the end of the first half back to the second
	mov x17, #-64     // from the end of the second half to the next panel
	add x14, x3, x6, lsl #2
1:
	mov x8, x3
	mov x10, x14
	mov x9, x6
	PASS2 saddlp
	b.eq 3f
2:
	// LLVM-MCA-BEGIN Gemv2NEON 256
	PASS2 sadalp
	b.ne 2b
	// LLVM-MCA-END
3:
	PAIRS
	add x2, x2, x16
	mov x9, x16
	mov x16, x17
	mov x17, x9
	subs x7, x7, #1
	cbz x4, 4f
	DEQUANTISE16 16, 17, 18, 19, 20, 21, 22, 23
	b.ne 1b
	ret
4:
	add x9, x1, x15
	stp q16, q17, [x1], #32
	stp q18, q19, [x1], #32
	stp q20, q21, [x9]
	stp q22, q23, [x9, #32]
	b.ne 1b
END Gemv2NEON
