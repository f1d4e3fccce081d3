// QUANTISE quantises AX values, 1 or more, of (R8) by (R9) into (DX), as QuantiseI8 does, and goes on to done. The last lanes write
// zeros up to a multiple of 8. It uses Y11 to Y15 and R10.
#define QUANTISE(done) \
	MOVL         $0x42fe0000, R10 /* 127 */   \
	VMOVD        R10, X12                     \
	VPBROADCASTD X12, Y12                     \
	MOVL         $0xc2fe0000, R10 /* -127 */  \
	VMOVD        R10, X13                     \
	VPBROADCASTD X13, Y13                     \
	SUBQ         $8, AX                       \
	JLT          quantiseLast                 \
quantise: \
	VMOVUPS      (R8), Y11                    \
	VMULPS       (R9), Y11, Y11               \
	NARROW                                    \
	ADDQ         $32, R8                      \
	ADDQ         $32, R9                      \
	ADDQ         $8, DX                       \
	SUBQ         $8, AX                       \
	JGE          quantise                     \
quantiseLast: \
	ADDQ         $8, AX                       \
	JEQ          done                         \
	NEGQ         AX                           \
	LEAQ         ·firstLanes+32(SB), R10      \
	VMOVDQU      (R10)(AX*4), Y14             \
	VMASKMOVPS   (R8), Y14, Y11               \
	VMASKMOVPS   (R9), Y14, Y15               \
	VMULPS       Y15, Y11, Y11                \
	NARROW                                    \
	JMP          done

// Where Y11 is no number, VMINPS gives its other operand.
#define NARROW \
	VMINPS       Y12, Y11, Y11  \
	VMAXPS       Y13, Y11, Y11  \
	VCVTPS2DQ    Y11, Y11       \
	VEXTRACTI128 $1, Y11, X14   \
	VPACKSSDW    X14, X11, X11  \
	VPACKSSWB    X11, X11, X11  \
	VMOVQ        X11, (DX)
