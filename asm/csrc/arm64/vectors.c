#include "vec.h"

// Except for the quantisers, a function does n values, a multiple of 8 other than 0.
enum { STRIDE = 8 };

// go: Tanh(y, x, k *float32, n int)
void Tanh(const struct { float *y; const float *x, *k; word n; } *a)
{
	float *y = a->y;
	const float *x = a->x, *k = a->k;
	word n = a->n;
	do {
		struct ratio t = tanhRatio(k, load(x));
		store(y, quotient(t.n, t.d));
		y += STRIDE;
		x += STRIDE;
	} while ((n -= STRIDE) > 0);
}

// go: Sigmoid(y, x, k *float32, n int)
void Sigmoid(const struct { float *y; const float *x, *k; word n; } *a)
{
	float *y = a->y;
	const float *x = a->x, *k = a->k;
	word n = a->n;
	do {
		struct ratio t = sigmoidRatio(k, load(x));
		store(y, quotient(t.n, t.d));
		y += STRIDE;
		x += STRIDE;
	} while ((n -= STRIDE) > 0);
}

// Rounds to the nearest integer, ties to even: it is in the low bits, and the float32 is the integer plus the magic number.
INLINE vec rounded(const float *k, vec x) { EACH x.v[i] = vaddq_f32(x.v[i], konst(k, MAGIC)); return x; }

// The low bytes of the lanes.
INLINE void storeBytes(int8_t *q, vec x)
{
	int16x8_t h = vuzp1q_s16(vreinterpretq_s16_f32(x.v[0]), vreinterpretq_s16_f32(x.v[1]));
	vst1_s8(q, vmovn_s16(h));
}

INLINE vec quantised(vec x, vec inv, const float *k)
{
	return rounded(k, clamp(mul(x, inv), konst(k, MAX_I8), konst(k, MIN_I8)));
}

// Two vectors from places of their own: where fewer than eight are left, they overlap.
INLINE vec load2(const float *p, const float *q) { return (vec){{vld1q_f32(p), vld1q_f32(q)}}; }

INLINE void storeBytes2(int8_t *p, int8_t *q, vec x)
{
	int16x8_t h = vuzp1q_s16(vreinterpretq_s16_f32(x.v[0]), vreinterpretq_s16_f32(x.v[1]));
	int32x2_t b = vreinterpret_s32_s8(vmovn_s16(h));
	vst1_lane_s32((int32_t *)p, b, 0);
	vst1_lane_s32((int32_t *)q, b, 1);
}

// The quantisers do any n from 4 on; what is left after the eights is done as the last eight or, of fewer, as the first and the last four.

// go: QuantiseI8(q *int8, x, inv, k *float32, n int)
void QuantiseI8(const struct { int8_t *q; const float *x, *inv, *k; word n; } *a)
{
	int8_t *q = a->q;
	const float *x = a->x, *inv = a->inv, *k = a->k;
	uint64_t n = a->n;
	if (n < STRIDE) {
		storeBytes2(q, q + n - 4, quantised(load2(x, x + n - 4), load2(inv, inv + n - 4), k));
		return;
	}
	word left = n % STRIDE;
	n /= STRIDE;
	do {
		storeBytes(q, quantised(load(x), load(inv), k));
		q += STRIDE;
		x += STRIDE;
		inv += STRIDE;
	} while (--n);
	if (left) {
		word back = left - STRIDE;
		storeBytes(q + back, quantised(load(x + back), load(inv + back), k));
	}
}

INLINE vec quantised16(vec x, vec inv, const float *k, vec *lo)
{
	vec v = clamp(mul(x, inv), konst(k, MAX_I16), konst(k, MIN_I16)), h = v;
	EACH h.v[i] = vmulq_f32(h.v[i], konst(k, INV256));
	h = rounded(k, h);
	EACH v.v[i] = vfmsq_f32(v.v[i], vsubq_f32(h.v[i], konst(k, MAGIC)), konst(k, N256)); // the product is exact
	*lo = rounded(k, clamp(v, konst(k, MAX_I8), konst(k, MIN_I8)));
	return h;
}

// go: QuantiseI16(hi, lo *int8, x, inv, k *float32, n int)
void QuantiseI16(const struct { int8_t *hi, *lo; const float *x, *inv, *k; word n; } *a)
{
	int8_t *hi = a->hi, *lo = a->lo;
	const float *x = a->x, *inv = a->inv, *k = a->k;
	word n = a->n;
	vec rest;
	if (n < STRIDE) {
		word m = n - 4;
		storeBytes2(hi, hi + m, quantised16(load2(x, x + m), load2(inv, inv + m), k, &rest));
		storeBytes2(lo, lo + m, rest);
		return;
	}
	word left = n % STRIDE;
	n /= STRIDE;
	do {
		storeBytes(hi, quantised16(load(x), load(inv), k, &rest));
		storeBytes(lo, rest);
		hi += STRIDE;
		lo += STRIDE;
		x += STRIDE;
		inv += STRIDE;
	} while (--n);
	if (left) {
		word back = left - STRIDE;
		storeBytes(hi + back, quantised16(load(x + back), load(inv + back), k, &rest));
		storeBytes(lo + back, rest);
	}
}

INLINE vec loadInt(const int32_t *p) { vec y; EACH y.v[i] = vcvtq_f32_s32(vld1q_s32(p + 4 * i)); return y; }

// go: Dequantise(y *float32, sums *int32, scale, add *float32, n int)
void Dequantise(const struct { float *y; const int32_t *sums; const float *scale, *add; word n; } *a)
{
	float *y = a->y;
	const int32_t *sums = a->sums;
	const float *scale = a->scale, *plus = a->add;
	word n = a->n;
	do {
		store(y, fma(loadInt(sums), load(scale), load(plus)));
		y += STRIDE;
		sums += STRIDE;
		scale += STRIDE;
		plus += STRIDE;
	} while ((n -= STRIDE) > 0);
}

// go: DequantiseI16(y *float32, hi, lo *int32, scale, add, k *float32, n int)
void DequantiseI16(const struct { float *y; const int32_t *hi, *lo; const float *scale, *add, *k; word n; } *a)
{
	float *y = a->y;
	const int32_t *hi = a->hi, *lo = a->lo;
	const float *scale = a->scale, *plus = a->add, *k = a->k;
	word n = a->n;
	do {
		vec s = fmak(loadInt(hi), konst(k, N256), loadInt(lo));
		store(y, fma(s, load(scale), load(plus)));
		y += STRIDE;
		hi += STRIDE;
		lo += STRIDE;
		scale += STRIDE;
		plus += STRIDE;
	} while ((n -= STRIDE) > 0);
}

// go: MulAddF32(y, w, x, add *float32, cols, panels int)
void MulAddF32(const struct { float *y; const float *w, *x, *add; word cols, panels; } *a)
{
	float *y = a->y;
	const float *w = a->w, *plus = a->add;
	word panels = a->panels;
	do {
		const float *x = a->x;
		word cols = a->cols;
		v4 s[8];
		_Pragma("unroll") for (int i = 0; i < 8; i++) s[i] = vld1q_f32(plus + 4 * i);
		do {
			v4 v = vld1q_dup_f32(x++);
			_Pragma("unroll") for (int i = 0; i < 8; i++) s[i] = vaddq_f32(s[i], vmulq_f32(vld1q_f32(w + 4 * i), v));
			w += 32;
		} while (--cols);
		_Pragma("unroll") for (int i = 0; i < 8; i++) vst1q_f32(y + 4 * i, s[i]);
		y += 32;
		plus += 32;
	} while (--panels);
}
