@ The cell updates of kernels/cells.go. A block is eight units, done as two times four: r7 counts fours, r11 is the bytes from one gate to the
@ next.

.include "gates.inc"

@ k is in r4.
.macro BLOCKS
	add r5, r4, #SIGMOID
	add r7, r7, r7
	mov r11, #32
.endm

@ Ends a loop over fours: r\p goes on to the other half of the block, or past what is left of it, rest bytes, to the next block.
.macro GATES p, rest
	add \p, \p, #16
	tst r7, #1
	addne \p, \p, #\rest
.endm

.macro LSTM4 peephole
	mov r8, r3
	vld1.32 {d0, d1}, [r8], r11
	vld1.32 {d10, d11}, [r8], r11
	vld1.32 {d2, d3}, [r8], r11
	.if \peephole
	mov r0, r6
	vld1.32 {d6, d7}, [r2]
	vld1.32 {d4, d5}, [r0], r11
	VFMA4 0, 2, 3
	vld1.32 {d4, d5}, [r0], r11
	VFMA4 5, 2, 3
	.endif
	SIGMOID4 0, 8, 9
	TANH4X 1, 13
	vmul.f32 q4, q8, q13
	VMUL4 0, 0, 1
	SIGMOID4 5, 2, 3
	VMUL4 0, 0, 2
	vld1.32 {d6, d7}, [r2]
	vmul.f32 q3, q5, q3
	VFMA4 0, 3, 4
	vmul.f32 q1, q2, q4
	VDIV4 0, 0, 1
	FLUSH4 0, 14, 12
	vst1.32 {d0, d1}, [r2]!
	vld1.32 {d2, d3}, [r8]
	.if \peephole
	vld1.32 {d4, d5}, [r0]
	VFMA4 1, 2, 0
	.endif
	SIGMOID4 1, 2, 3
	TANH4 0, 8
	vmul.f32 q0, q0, q1
	vmul.f32 q1, q2, q8
	VDIV4 0, 0, 1
	FLUSH4 0, 9, 12
	vst1.32 {d0, d1}, [r1]!
.endm

@ go: LSTM(h, c, z, k *float32, blocks int)
FUNC LSTM
	ldm r0, {r1, r2, r3, r4, r7}
	BLOCKS
1:
	LSTM4 0
	GATES r3, 96
	subs r7, r7, #1
	bne 1b
END LSTM

@ go: LSTMPeephole(h, c, z, peep, k *float32, blocks int)
FUNC LSTMPeephole
	ldm r0, {r1, r2, r3, r6}
	ldr r4, [r0, #16]
	ldr r7, [r0, #20]
	BLOCKS
1:
	LSTM4 1
	GATES r3, 96
	GATES r6, 64
	subs r7, r7, #1
	bne 1b
END LSTMPeephole

@ The sums of gate z are at r2 and r3, n is in q2: h at r1 becomes the mixture.
.macro GRUMIX4
	TANH4X 2, 4
	vld1.32 {d0, d1}, [r2]
	vld1.32 {d2, d3}, [r3]
	vadd.f32 q0, q0, q1
	SIGMOID4 0, 8, 9
	vsub.f32 q1, q8, q0
	VMUL4 1, 1, 2
	vld1.32 {d4, d5}, [r1]
	vmul.f32 q0, q0, q2
	VFMA4 1, 0, 4
	vmul.f32 q0, q8, q4
	VDIV4 0, 1, 0
	FLUSH4 0, 5, 12
	vst1.32 {d0, d1}, [r1]!
.endm

@ go: GRU(h, x, u, k *float32, blocks int)
FUNC GRU
	ldm r0, {r1, r2, r3, r4, r7}
	BLOCKS
1:
	add r8, r2, #32
	add r0, r3, #32
	vld1.32 {d0, d1}, [r8], r11
	vld1.32 {d2, d3}, [r0], r11
	vadd.f32 q0, q0, q1
	SIGMOID4 0, 1, 2
	VDIV4 0, 0, 1
	vld1.32 {d2, d3}, [r0]
	vld1.32 {d4, d5}, [r8]
	VFMA4 2, 0, 1
	GRUMIX4
	GATES r2, 64
	GATES r3, 64
	subs r7, r7, #1
	bne 1b
END GRU

@ go: GRUReset(rh, h, x, u, k *float32, blocks int)
FUNC GRUReset
	ldm r0, {r1, r6}
	ldr r2, [r0, #8]
	ldr r3, [r0, #12]
	ldr r4, [r0, #16]
	ldr r7, [r0, #20]
	BLOCKS
	add r12, r4, #FLUSH
	vld1.32 {d26, d27}, [r12]
1:
	add r8, r2, #32
	add r0, r3, #32
	vld1.32 {d0, d1}, [r8]
	vld1.32 {d2, d3}, [r0]
	vadd.f32 q0, q0, q1
	SIGMOID4 0, 1, 2
	vld1.32 {d4, d5}, [r6]!
	vmul.f32 q0, q0, q2
	VDIV4 0, 0, 1
	FLUSH4 0, 13, 12
	vst1.32 {d0, d1}, [r1]!
	GATES r2, 64
	GATES r3, 32
	subs r7, r7, #1
	bne 1b
END GRUReset

@ go: GRUUpdate(h, x, u, un, k *float32, blocks int)
FUNC GRUUpdate
	ldm r0, {r1, r2, r3, r6}
	ldr r4, [r0, #16]
	ldr r7, [r0, #20]
	BLOCKS
1:
	add r8, r2, #64
	vld1.32 {d4, d5}, [r8]
	vld1.32 {d2, d3}, [r6]!
	VADD4 2, 2, 1
	GRUMIX4
	GATES r2, 64
	GATES r3, 32
	subs r7, r7, #1
	bne 1b
END GRUUpdate

@ go: RNN(h, z, k *float32, blocks int)
FUNC RNN
	ldm r0, {r1, r2, r4, r7}
	BLOCKS
1:
	vld1.32 {d0, d1}, [r2]!
	TANH4 0, 1
	VDIV4 0, 0, 1
	FLUSH4 0, 2, 12
	vst1.32 {d0, d1}, [r1]!
	subs r7, r7, #1
	bne 1b
END RNN

@ go: RNNReLU(h, z, k *float32, blocks int)
FUNC RNNReLU
	ldm r0, {r1, r2, r4, r7}
	BLOCKS
	add r12, r4, #FLUSH
	vld1.32 {d26, d27}, [r12]
1:
	vld1.32 {d0, d1}, [r2]!
	vcge.f32 q1, q0, q13
	vand q0, q0, q1
	vst1.32 {d0, d1}, [r1]!
	subs r7, r7, #1
	bne 1b
END RNNReLU
