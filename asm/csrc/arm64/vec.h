// Eight float32 as two vectors worked on side by side, so that an in-order core has work while a result is due. Each kernel is a leaf
// in the order of operations of the Go function of the same name in kernels. Built with -ffp-contract=off, so that a product and a sum
// are rounded apart unless fma says otherwise, and without scheduling before registers are allocated: the order is that of the source, and
// nothing spills.
#include <arm_neon.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

typedef struct { float32x4_t v[2]; } vec;
typedef float32x4_t v4;
typedef int64_t word;

// The rows of the table of constants, each a value four times: armConsts of kernels/consts_neon.go. The order is that of use, so that two
// load as one.
enum K {
	TANH_MAX, TANH_MIN, P3, Q4, P2, Q3, P1, Q2, P0, Q1, ONE, FLUSH,
	SIGMOID_MAX, SIGMOID_MIN, SP3, SD4, SP2, SD3, SP1, SD2, SP0, SD1, TWO, HALF,
	MAX_I8, MIN_I8, MAX_I16, MIN_I16, MAGIC, INV256, N256,
};

#define EACH _Pragma("unroll") for (int i = 0; i < 2; i++)

// again makes the compiler forget what it loaded through k, once x is known: a constant stays in a register only until the next again.
INLINE const float *again(const float *k, v4 x)
{
	__asm__ volatile("" : "+r"(k) : "w"(x));
	return k;
}

INLINE v4 konst(const float *k, enum K c) { return vld1q_f32(k + 4 * c); }

// konst2 is two rows of the table by one instruction, where clang would load each row where it is used.
struct pair { v4 a, b; };
INLINE struct pair konst2(const float *k, enum K c)
{
	struct pair t;
	__asm__("ldp %q0, %q1, [%2, %3]" : "=w"(t.a), "=w"(t.b) : "r"(k), "i"(16 * c));
	return t;
}

INLINE vec load(const float *p) { vec y; EACH y.v[i] = vld1q_f32(p + 4 * i); return y; }
INLINE void store(float *p, vec x) { EACH vst1q_f32(p + 4 * i, x.v[i]); }
INLINE vec mul(vec a, vec b) { EACH a.v[i] = vmulq_f32(a.v[i], b.v[i]); return a; }
INLINE vec add(vec a, vec b) { EACH a.v[i] = vaddq_f32(a.v[i], b.v[i]); return a; }
INLINE vec sub(vec a, vec b) { EACH a.v[i] = vsubq_f32(a.v[i], b.v[i]); return a; }
INLINE vec quotient(vec a, vec b) { EACH a.v[i] = vdivq_f32(a.v[i], b.v[i]); return a; }
INLINE vec fma(vec a, vec b, vec c) { EACH c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]); return c; }
INLINE vec fmak(vec a, v4 b, vec c) { EACH c.v[i] = vfmaq_f32(c.v[i], a.v[i], b); return c; }

// NaN becomes max, as clamp of kernels/float.go has it.
INLINE vec clamp(vec x, v4 max, v4 min) { EACH x.v[i] = vmaxnmq_f32(vminnmq_f32(x.v[i], max), min); return x; }

INLINE vec flush(v4 least, vec x)
{
	EACH {
		uint32x4_t small = vcaltq_f32(x.v[i], least);
		x.v[i] = vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x.v[i]), small));
	}
	return x;
}

struct ratio { vec n, d; v4 next; };

// Evaluates n = x (((c3 u + c2) u + c1) u + c0) and d = (((e4 u + e3) u + e2) u + e1) u + e0, u = x², for the constants from row c of the
// table on: max, min, c3 e4 c2 e3 c1 e2 c0 e1 e0, and next is the row that follows. Each vector loads its own addends, since the result takes
// their registers.
INLINE struct ratio rational(const float *k, enum K c, vec x)
{
	struct ratio r;
	k = again(k, x.v[1]);
	struct pair t = konst2(k, c);
	x = clamp(x, t.a, t.b);
	vec u = mul(x, x);
	struct pair top = konst2(k, c + 2);
	EACH r.n.v[i] = top.a, r.d.v[i] = top.b;
	_Pragma("unroll") for (int j = 4; j < 10; j += 2)
		EACH {
			k = again(k, i == 0 && j == 4 ? u.v[1] : r.n.v[i]);
			t = konst2(k, c + j);
			r.n.v[i] = vfmaq_f32(t.a, u.v[i], r.n.v[i]);
			r.d.v[i] = vfmaq_f32(t.b, u.v[i], r.d.v[i]);
		}
	r.n = mul(x, r.n);
	k = again(k, r.n.v[0]);
	t = konst2(k, c + 10);
	r.next = t.b;
	r.d.v[0] = vfmaq_f32(t.a, u.v[0], r.d.v[0]);
	k = again(k, r.n.v[1]);
	r.d.v[1] = vfmaq_f32(konst(k, c + 10), u.v[1], r.d.v[1]);
	return r;
}

// The row after tanh's is FLUSH, that after sigmoid's HALF.
INLINE struct ratio tanhRatio(const float *k, vec x) { return rational(k, TANH_MAX, x); }

INLINE struct ratio sigmoidRatio(const float *k, vec x)
{
	struct ratio r = rational(k, SIGMOID_MAX, x);
	r.n = fmak(r.d, r.next, r.n);
	return r;
}
