// Matrix-vector products by SDOT: four rows of a group of columns in a register, times the group's four activations, which are one element of
// a register. Nothing is loaded that is not used, so nothing is read beyond an operand's end.
//
// LDP of vector registers costs a Cortex-A76 what two LDR cost, and is one instruction less to fetch. A Cortex-A55 takes six cycles for it, but
// where arithmetic follows they are hidden: hence LDP where a group's loads end, and LDR before.

.include "func.inc"

.macro DOT s, w, x, i
	sdot v\s\().4s, v\w\().16b, v\x\().4b[\i]
.endm

.macro LOAD a, b, o
	ldr q\a, [x2, #\o]
	ldr q\b, [x2, #\o + 16]
.endm

// A group of 32 rows: the activations are element i of v0, the weights at offset o.
.macro GROUP i, o
	LOAD 1, 2, \o
	LOAD 3, 4, \o + 32
	LOAD 5, 6, \o + 64
	ldp q7, q24, [x2, #\o + 96]
	DOT 16, 1, 0, \i
	DOT 17, 2, 0, \i
	DOT 18, 3, 0, \i
	DOT 19, 4, 0, \i
	DOT 20, 5, 0, \i
	DOT 21, 6, 0, \i
	DOT 22, 7, 0, \i
	DOT 23, 24, 0, \i
.endm

// go: GemvDOTPROD(y unsafe.Pointer, w, x *int8, scale, add *float32, groups, panels int)
FUNC GemvDOTPROD
	ldp x1, x2, [x0]
	ldp x3, x4, [x0, #16]
	ldp x5, x6, [x0, #32]
	ldr x7, [x0, #48]
1:
	.irp r, 16, 17, 18, 19, 20, 21, 22, 23
	movi v\r\().4s, #0
	.endr
	mov x8, x3
	subs x9, x6, #4
	b.lt 3f
2:
	// LLVM-MCA-BEGIN GemvDOTPROD 512
	ldr q0, [x8], #16
	subs x9, x9, #4
	GROUP 0, 0
	GROUP 1, 128
	GROUP 2, 256
	GROUP 3, 384
	add x2, x2, #512
	b.ge 2b
	// LLVM-MCA-END
3:
	tbz x9, #1, 4f
	ldr d0, [x8]
	GROUP 0, 0
	GROUP 1, 128
	add x2, x2, #256
4:
	subs x7, x7, #1
	cbz x4, 5f
	DEQUANTISE 16, 17, 18, 19
	DEQUANTISE 20, 21, 22, 23
	b.ne 1b
	ret
5:
	stp q16, q17, [x1], #32
	stp q18, q19, [x1], #32
	stp q20, q21, [x1], #32
	stp q22, q23, [x1], #32
	b.ne 1b
END GemvDOTPROD

// A group for two columns, element i of v0 and of v1.
.macro GROUP2 i, o
	LOAD 2, 3, \o
	LOAD 4, 5, \o + 32
	LOAD 6, 7, \o + 64
	ldp q8, q9, [x2, #\o + 96]
	DOT 16, 2, 0, \i
	DOT 17, 3, 0, \i
	DOT 24, 2, 1, \i
	DOT 25, 3, 1, \i
	DOT 18, 4, 0, \i
	DOT 19, 5, 0, \i
	DOT 26, 4, 1, \i
	DOT 27, 5, 1, \i
	DOT 20, 6, 0, \i
	DOT 21, 7, 0, \i
	DOT 28, 6, 1, \i
	DOT 29, 7, 1, \i
	DOT 22, 8, 0, \i
	DOT 23, 9, 0, \i
	DOT 30, 8, 1, \i
	DOT 31, 9, 1, \i
.endm

// go: Gemv2DOTPROD(y unsafe.Pointer, stride int, w, x *int8, scale, add *float32, groups, panels int)
FUNC Gemv2DOTPROD
	ldp x1, x15, [x0]
	ldp x2, x3, [x0, #16]
	ldp x4, x5, [x0, #32]
	ldp x6, x7, [x0, #48]
	add x14, x3, x6, lsl #2
1:
	.irp r, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	movi v\r\().4s, #0
	.endr
	mov x8, x3
	mov x10, x14
	subs x9, x6, #4
	b.lt 3f
2:
	// LLVM-MCA-BEGIN Gemv2DOTPROD 1024
	ldr q0, [x8], #16
	ldr q1, [x10], #16
	subs x9, x9, #4
	GROUP2 0, 0
	GROUP2 1, 128
	GROUP2 2, 256
	GROUP2 3, 384
	add x2, x2, #512
	b.ge 2b
	// LLVM-MCA-END
3:
	tbz x9, #1, 4f
	ldr d0, [x8]
	ldr d1, [x10]
	GROUP2 0, 0
	GROUP2 1, 128
	add x2, x2, #256
4:
	subs x7, x7, #1
	cbz x4, 5f
	DEQUANTISE16 16, 17, 18, 19, 24, 25, 26, 27
	DEQUANTISE16 20, 21, 22, 23, 28, 29, 30, 31
	b.ne 1b
	ret
5:
	add x9, x1, x15
	stp q16, q17, [x1], #32
	stp q18, q19, [x1], #32
	stp q20, q21, [x1], #32
	stp q22, q23, [x1], #32
	stp q24, q25, [x9]
	stp q26, q27, [x9, #32]
	stp q28, q29, [x9, #64]
	stp q30, q31, [x9, #96]
	b.ne 1b
END Gemv2DOTPROD

// A group of half a panel, 16 rows, for four columns: element i of v0 to v3.
.macro GROUP4 i, o
	LOAD 4, 5, \o
	ldp q6, q7, [x2, #\o + 32]
	DOT 16, 4, 0, \i
	DOT 17, 5, 0, \i
	DOT 20, 4, 1, \i
	DOT 21, 5, 1, \i
	DOT 24, 4, 2, \i
	DOT 25, 5, 2, \i
	DOT 28, 4, 3, \i
	DOT 29, 5, 3, \i
	DOT 18, 6, 0, \i
	DOT 19, 7, 0, \i
	DOT 22, 6, 1, \i
	DOT 23, 7, 1, \i
	DOT 26, 6, 2, \i
	DOT 27, 7, 2, \i
	DOT 30, 6, 3, \i
	DOT 31, 7, 3, \i
.endm

// go: Gemv4DOTPROD(y unsafe.Pointer, stride int, w, x *int8, groups, panels int)
FUNC Gemv4DOTPROD
	ldp x1, x15, [x0]
	ldp x2, x3, [x0, #16]
	ldp x6, x7, [x0, #32]
	add x7, x7, x7
	lsl x16, x6, #7
	sub x16, xzr, x16
	add x16, x16, #64 // from the end of the first half back to the second
	mov x17, #-64     // from the end of the second half to the next panel
	lsl x14, x6, #2
1:
	.irp r, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	movi v\r\().4s, #0
	.endr
	mov x8, x3
	add x10, x8, x14
	add x11, x10, x14
	add x12, x11, x14
	subs x9, x6, #4
	b.lt 3f
2:
	// LLVM-MCA-BEGIN Gemv4DOTPROD 1024
	ldr q0, [x8], #16
	ldr q1, [x10], #16
	ldr q2, [x11], #16
	ldr q3, [x12], #16
	subs x9, x9, #4
	GROUP4 0, 0
	GROUP4 1, 128
	GROUP4 2, 256
	GROUP4 3, 384
	add x2, x2, #512
	b.ge 2b
	// LLVM-MCA-END
3:
	tbz x9, #1, 4f
	ldr d0, [x8]
	ldr d1, [x10]
	ldr d2, [x11]
	ldr d3, [x12]
	GROUP4 0, 0
	GROUP4 1, 128
	add x2, x2, #256
4:
	add x2, x2, x16
	mov x9, x16
	mov x16, x17
	mov x17, x9
	add x8, x1, x15
	add x10, x8, x15
	add x11, x10, x15
	stp q16, q17, [x1], #32
	stp q18, q19, [x1], #32
	stp q20, q21, [x8]
	stp q22, q23, [x8, #32]
	stp q24, q25, [x10]
	stp q26, q27, [x10, #32]
	stp q28, q29, [x11]
	stp q30, q31, [x11, #32]
	subs x7, x7, #1
	b.ne 1b
END Gemv4DOTPROD
