//go:build arm64 && !purego

#include "textflag.h"

// func Read(p *byte, size int)
TEXT ·Read(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD size+8(FP), R1
	LSR  $9, R1
	CBZ  R1, done

loop:
	FMOVQ 0(R0), F0
	FMOVQ 16(R0), F1
	FMOVQ 32(R0), F2
	FMOVQ 48(R0), F3
	FMOVQ 64(R0), F4
	FMOVQ 80(R0), F5
	FMOVQ 96(R0), F6
	FMOVQ 112(R0), F7
	FMOVQ 128(R0), F8
	FMOVQ 144(R0), F9
	FMOVQ 160(R0), F10
	FMOVQ 176(R0), F11
	FMOVQ 192(R0), F12
	FMOVQ 208(R0), F13
	FMOVQ 224(R0), F14
	FMOVQ 240(R0), F15
	FMOVQ 256(R0), F0
	FMOVQ 272(R0), F1
	FMOVQ 288(R0), F2
	FMOVQ 304(R0), F3
	FMOVQ 320(R0), F4
	FMOVQ 336(R0), F5
	FMOVQ 352(R0), F6
	FMOVQ 368(R0), F7
	FMOVQ 384(R0), F8
	FMOVQ 400(R0), F9
	FMOVQ 416(R0), F10
	FMOVQ 432(R0), F11
	FMOVQ 448(R0), F12
	FMOVQ 464(R0), F13
	FMOVQ 480(R0), F14
	FMOVQ 496(R0), F15
	ADD   $512, R0
	SUBS  $1, R1
	BNE   loop

done:
	RET

// func LimitMlal(n int)
TEXT ·LimitMlal(SB), NOSPLIT, $0-8
	MOVD n+0(FP), R0
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	CBZ  R0, done

loop:
	WORD $0x0e31c212 // smull v18.8h, v16.8b, v17.8b
	WORD $0x0e318212 // smlal v18.8h, v16.8b, v17.8b
	WORD $0x4e606a40 // sadalp v0.4s, v18.8h
	WORD $0x0e31c213 // smull v19.8h, v16.8b, v17.8b
	WORD $0x0e318213 // smlal v19.8h, v16.8b, v17.8b
	WORD $0x4e606a61 // sadalp v1.4s, v19.8h
	WORD $0x0e31c214 // smull v20.8h, v16.8b, v17.8b
	WORD $0x0e318214 // smlal v20.8h, v16.8b, v17.8b
	WORD $0x4e606a82 // sadalp v2.4s, v20.8h
	WORD $0x0e31c215 // smull v21.8h, v16.8b, v17.8b
	WORD $0x0e318215 // smlal v21.8h, v16.8b, v17.8b
	WORD $0x4e606aa3 // sadalp v3.4s, v21.8h
	WORD $0x0e31c212 // smull v18.8h, v16.8b, v17.8b
	WORD $0x0e318212 // smlal v18.8h, v16.8b, v17.8b
	WORD $0x4e606a44 // sadalp v4.4s, v18.8h
	WORD $0x0e31c213 // smull v19.8h, v16.8b, v17.8b
	WORD $0x0e318213 // smlal v19.8h, v16.8b, v17.8b
	WORD $0x4e606a65 // sadalp v5.4s, v19.8h
	WORD $0x0e31c214 // smull v20.8h, v16.8b, v17.8b
	WORD $0x0e318214 // smlal v20.8h, v16.8b, v17.8b
	WORD $0x4e606a86 // sadalp v6.4s, v20.8h
	WORD $0x0e31c215 // smull v21.8h, v16.8b, v17.8b
	WORD $0x0e318215 // smlal v21.8h, v16.8b, v17.8b
	WORD $0x4e606aa7 // sadalp v7.4s, v21.8h
	WORD $0x0e31c212 // smull v18.8h, v16.8b, v17.8b
	WORD $0x0e318212 // smlal v18.8h, v16.8b, v17.8b
	WORD $0x4e606a48 // sadalp v8.4s, v18.8h
	WORD $0x0e31c213 // smull v19.8h, v16.8b, v17.8b
	WORD $0x0e318213 // smlal v19.8h, v16.8b, v17.8b
	WORD $0x4e606a69 // sadalp v9.4s, v19.8h
	WORD $0x0e31c214 // smull v20.8h, v16.8b, v17.8b
	WORD $0x0e318214 // smlal v20.8h, v16.8b, v17.8b
	WORD $0x4e606a8a // sadalp v10.4s, v20.8h
	WORD $0x0e31c215 // smull v21.8h, v16.8b, v17.8b
	WORD $0x0e318215 // smlal v21.8h, v16.8b, v17.8b
	WORD $0x4e606aab // sadalp v11.4s, v21.8h
	SUBS $1, R0
	BNE  loop

done:
	RET

// func LimitDot(n int)
TEXT ·LimitDot(SB), NOSPLIT, $0-8
	MOVD n+0(FP), R0
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	CBZ  R0, done

loop:
	WORD $0x4f91e200 // sdot v0.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e201 // sdot v1.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e202 // sdot v2.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e203 // sdot v3.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e204 // sdot v4.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e205 // sdot v5.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e206 // sdot v6.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e207 // sdot v7.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e208 // sdot v8.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e209 // sdot v9.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e20a // sdot v10.4s, v16.16b, v17.4b[0]
	WORD $0x4f91e20b // sdot v11.4s, v16.16b, v17.4b[0]
	SUBS $1, R0
	BNE  loop

done:
	RET

// func LimitFMA(n int)
TEXT ·LimitFMA(SB), NOSPLIT, $0-8
	MOVD n+0(FP), R0
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	CBZ  R0, done

loop:
	VFMLA V16.S4, V17.S4, V0.S4
	VFMLA V16.S4, V17.S4, V1.S4
	VFMLA V16.S4, V17.S4, V2.S4
	VFMLA V16.S4, V17.S4, V3.S4
	VFMLA V16.S4, V17.S4, V4.S4
	VFMLA V16.S4, V17.S4, V5.S4
	VFMLA V16.S4, V17.S4, V6.S4
	VFMLA V16.S4, V17.S4, V7.S4
	VFMLA V16.S4, V17.S4, V8.S4
	VFMLA V16.S4, V17.S4, V9.S4
	VFMLA V16.S4, V17.S4, V10.S4
	VFMLA V16.S4, V17.S4, V11.S4
	SUBS  $1, R0
	BNE   loop

done:
	RET

// func LimitMulAdd(n int)
TEXT ·LimitMulAdd(SB), NOSPLIT, $0-8
	MOVD n+0(FP), R0
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	VEOR V10.B16, V10.B16, V10.B16
	VEOR V11.B16, V11.B16, V11.B16
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	CBZ  R0, done

loop:
	WORD $0x6e31de12 // fmul v18.4s, v16.4s, v17.4s
	WORD $0x4e32d400 // fadd v0.4s, v0.4s, v18.4s
	WORD $0x6e31de13 // fmul v19.4s, v16.4s, v17.4s
	WORD $0x4e33d421 // fadd v1.4s, v1.4s, v19.4s
	WORD $0x6e31de14 // fmul v20.4s, v16.4s, v17.4s
	WORD $0x4e34d442 // fadd v2.4s, v2.4s, v20.4s
	WORD $0x6e31de15 // fmul v21.4s, v16.4s, v17.4s
	WORD $0x4e35d463 // fadd v3.4s, v3.4s, v21.4s
	WORD $0x6e31de12 // fmul v18.4s, v16.4s, v17.4s
	WORD $0x4e32d484 // fadd v4.4s, v4.4s, v18.4s
	WORD $0x6e31de13 // fmul v19.4s, v16.4s, v17.4s
	WORD $0x4e33d4a5 // fadd v5.4s, v5.4s, v19.4s
	WORD $0x6e31de14 // fmul v20.4s, v16.4s, v17.4s
	WORD $0x4e34d4c6 // fadd v6.4s, v6.4s, v20.4s
	WORD $0x6e31de15 // fmul v21.4s, v16.4s, v17.4s
	WORD $0x4e35d4e7 // fadd v7.4s, v7.4s, v21.4s
	WORD $0x6e31de12 // fmul v18.4s, v16.4s, v17.4s
	WORD $0x4e32d508 // fadd v8.4s, v8.4s, v18.4s
	WORD $0x6e31de13 // fmul v19.4s, v16.4s, v17.4s
	WORD $0x4e33d529 // fadd v9.4s, v9.4s, v19.4s
	WORD $0x6e31de14 // fmul v20.4s, v16.4s, v17.4s
	WORD $0x4e34d54a // fadd v10.4s, v10.4s, v20.4s
	WORD $0x6e31de15 // fmul v21.4s, v16.4s, v17.4s
	WORD $0x4e35d56b // fadd v11.4s, v11.4s, v21.4s
	SUBS $1, R0
	BNE  loop

done:
	RET

// func LimitDivide(n int)
TEXT ·LimitDivide(SB), NOSPLIT, $0-8
	MOVD n+0(FP), R0
	MOVW $0x3fa66666, R1 // 1.3
	VDUP R1, V17.S4
	MOVW $0x3f8ccccd, R1 // 1.1
	VDUP R1, V16.S4
	CBZ  R0, done

loop:
	WORD $0x6e31fe00 // fdiv v0.4s, v16.4s, v17.4s
	WORD $0x6e31fe01 // fdiv v1.4s, v16.4s, v17.4s
	WORD $0x6e31fe02 // fdiv v2.4s, v16.4s, v17.4s
	WORD $0x6e31fe03 // fdiv v3.4s, v16.4s, v17.4s
	WORD $0x6e31fe04 // fdiv v4.4s, v16.4s, v17.4s
	WORD $0x6e31fe05 // fdiv v5.4s, v16.4s, v17.4s
	WORD $0x6e31fe06 // fdiv v6.4s, v16.4s, v17.4s
	WORD $0x6e31fe07 // fdiv v7.4s, v16.4s, v17.4s
	WORD $0x6e31fe08 // fdiv v8.4s, v16.4s, v17.4s
	WORD $0x6e31fe09 // fdiv v9.4s, v16.4s, v17.4s
	WORD $0x6e31fe0a // fdiv v10.4s, v16.4s, v17.4s
	WORD $0x6e31fe0b // fdiv v11.4s, v16.4s, v17.4s
	SUBS $1, R0
	BNE  loop

done:
	RET
