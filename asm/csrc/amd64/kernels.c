// Quantisation, gates and activations for AVX2 with FMA3 (8 lanes) and for AVX-512 (16). Each kernel is a leaf in the order of operations
// of the Go function of the same name in kernels. Built with -ffp-contract=off: a product and a sum are rounded apart unless fma says
// otherwise. At most six arguments of 8 bytes, one exit, and constants through a pointer: what c2goasm can carry over.
#include <immintrin.h>
#include <stdint.h>

typedef intptr_t word;
enum { UNITS = 8 }; // kernels.UnitBlock

// The table of constants, consts of kernels/tier_amd64.go: at MASK eight words of ones, then eight of zeros.
enum K {
	TANH_MAX, TANH_MIN, P0, P1, P2, P3, Q1, Q2, Q3, Q4,
	SIGMOID_MAX, SIGMOID_MIN, SP0, SP1, SP2, SP3, SD0, SD1, SD2, SD3, SD4,
	HALF, FLUSH, ABS, MAX_I8, MIN_I8, MAX_I16, MIN_I16, INV256, N256, ONE, UNUSED,
	MASK, END = MASK + 16,
};

#ifdef __AVX512F__

#define KERNEL(name) name##AVX512
enum { LANES = 16 };
typedef __m512 vec;
static inline vec konst(const float *k, enum K c) { return _mm512_set1_ps(k[c]); }
static inline vec broadcast(int32_t bits) { return _mm512_castsi512_ps(_mm512_set1_epi32(bits)); }
static inline vec load(const float *p) { return _mm512_loadu_ps(p); }
static inline void store(float *p, vec x) { _mm512_storeu_ps(p, x); }
static inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec quotient(vec a, vec b) { return _mm512_div_ps(a, b); }
static inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec min(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec max(vec a, vec b) { return _mm512_max_ps(a, b); }

// Two blocks of units; a gate of theirs lies n gates of UNITS apart.
static inline vec gate(const float *p, int n)
{
	return _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castps_pd(_mm512_castps256_ps512(_mm256_loadu_ps(p))),
		_mm256_loadu_pd((const double *)(p + n * UNITS)), 1));
}

static inline vec flush(const float *k, vec x)
{
	return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_and_ps(x, konst(k, ABS)), konst(k, FLUSH), _CMP_NLT_UQ), x);
}

static inline vec positive(vec x) { return _mm512_max_ps(x, _mm512_setzero_ps()); }
static inline vec integers(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }

// The first n lanes.
typedef __mmask16 lanes;
static inline lanes first(const float *k, word n) { return _bzhi_u32(-1, n < LANES ? n : LANES); }
static inline vec loadFirst(const float *p, lanes m) { return _mm512_maskz_loadu_ps(m, p); }

// Rounds x to the nearest integer, ties to even, and stores it as int8.
static inline vec storeInt8(int8_t *q, vec x, lanes m)
{
	__m512i i = _mm512_cvtps_epi32(x);
	_mm_mask_storeu_epi8(q, m, _mm512_cvtepi32_epi8(i));
	return _mm512_cvtepi32_ps(i);
}

#else

#define KERNEL(name) name##AVX2
enum { LANES = 8 };
typedef __m256 vec;
static inline vec konst(const float *k, enum K c) { return _mm256_broadcast_ss(k + c); }
static inline vec broadcast(int32_t bits) { return _mm256_castsi256_ps(_mm256_set1_epi32(bits)); }
static inline vec load(const float *p) { return _mm256_loadu_ps(p); }
static inline void store(float *p, vec x) { _mm256_storeu_ps(p, x); }
static inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec quotient(vec a, vec b) { return _mm256_div_ps(a, b); }
static inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec min(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec gate(const float *p, int n) { return _mm256_loadu_ps(p); }

static inline vec flush(const float *k, vec x)
{
	return _mm256_and_ps(x, _mm256_cmp_ps(_mm256_and_ps(x, konst(k, ABS)), konst(k, FLUSH), _CMP_NLT_UQ));
}

static inline vec positive(vec x) { return _mm256_max_ps(x, _mm256_setzero_ps()); }
static inline vec integers(const int32_t *p) { return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)p)); }

// The first n lanes.
typedef __m256i lanes;
static inline lanes first(const float *k, word n) { return _mm256_loadu_si256((const __m256i *)(k + MASK + (n < LANES ? LANES - n : 0))); }
static inline vec loadFirst(const float *p, lanes m) { return _mm256_maskload_ps(p, m); }

// Rounds x to the nearest integer, ties to even, and stores all lanes as int8.
static inline vec storeInt8(int8_t *q, vec x, lanes m)
{
	__m256i i = _mm256_cvtps_epi32(x);
	__m128i w = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
	_mm_storel_epi64((__m128i *)q, _mm_packs_epi16(w, w));
	return _mm256_cvtepi32_ps(i);
}

#endif

// min and max give their second operand where the first is NaN: NaN becomes the maximum.
static inline vec clamp(const float *k, enum K c, vec x) { return max(min(x, konst(k, c)), konst(k, c + 1)); }

struct ratio { vec n, d; };

static inline struct ratio tanhRatio(const float *k, vec x)
{
	struct ratio r;
	x = clamp(k, TANH_MAX, x);
	vec u = mul(x, x);
	r.n = mul(x, fma(fma(fma(konst(k, P3), u, konst(k, P2)), u, konst(k, P1)), u, konst(k, P0)));
	r.d = fma(fma(fma(fma(konst(k, Q4), u, konst(k, Q3)), u, konst(k, Q2)), u, konst(k, Q1)), u, konst(k, ONE));
	return r;
}

static inline struct ratio sigmoidRatio(const float *k, vec x)
{
	struct ratio r;
	x = clamp(k, SIGMOID_MAX, x);
	vec u = mul(x, x);
	vec p = mul(x, fma(fma(fma(konst(k, SP3), u, konst(k, SP2)), u, konst(k, SP1)), u, konst(k, SP0)));
	r.d = fma(fma(fma(fma(konst(k, SD4), u, konst(k, SD3)), u, konst(k, SD2)), u, konst(k, SD1)), u, konst(k, SD0));
	r.n = fma(r.d, konst(k, HALF), p);
	return r;
}

static inline vec lstmCell(const float *k, vec i, vec f, vec g, vec c)
{
	struct ratio is = sigmoidRatio(k, i), fs = sigmoidRatio(k, f), gt = tanhRatio(k, g);
	vec igd = mul(is.d, gt.d);
	vec in = mul(mul(is.n, gt.n), fs.d);
	return flush(k, quotient(fma(mul(fs.n, c), igd, in), mul(fs.d, igd)));
}

static inline vec lstmHidden(const float *k, vec o, vec c)
{
	struct ratio os = sigmoidRatio(k, o), ct = tanhRatio(k, c);
	return flush(k, quotient(mul(os.n, ct.n), mul(os.d, ct.d)));
}

void KERNEL(LSTM)(float *h, float *c, const float *z, const float *k, word n)
{
	do {
		vec y = lstmCell(k, gate(z, 4), gate(z + UNITS, 4), gate(z + 2 * UNITS, 4), load(c));
		store(c, y);
		store(h, lstmHidden(k, gate(z + 3 * UNITS, 4), y));
		h += LANES;
		c += LANES;
		z += 4 * LANES;
	} while (--n);
}

void KERNEL(LSTMPeephole)(float *h, float *c, const float *z, const float *p, const float *k, word n)
{
	do {
		vec y = load(c);
		vec i = fma(gate(p, 3), y, gate(z, 4)), f = fma(gate(p + UNITS, 3), y, gate(z + UNITS, 4));
		y = lstmCell(k, i, f, gate(z + 2 * UNITS, 4), y);
		store(c, y);
		store(h, lstmHidden(k, fma(gate(p + 2 * UNITS, 3), y, gate(z + 3 * UNITS, 4)), y));
		h += LANES;
		c += LANES;
		z += 4 * LANES;
		p += 3 * LANES;
	} while (--n);
}

static inline vec gruMix(const float *k, vec z, vec n, vec h)
{
	struct ratio zs = sigmoidRatio(k, z), nt = tanhRatio(k, n);
	vec mix = fma(mul(zs.n, h), nt.d, mul(sub(zs.d, zs.n), nt.n));
	return flush(k, quotient(mix, mul(zs.d, nt.d)));
}

void KERNEL(GRU)(float *h, const float *x, const float *u, const float *k, word n)
{
	do {
		struct ratio rs = sigmoidRatio(k, add(gate(x + UNITS, 3), gate(u + UNITS, 3)));
		vec m = fma(quotient(rs.n, rs.d), gate(u + 2 * UNITS, 3), gate(x + 2 * UNITS, 3));
		store(h, gruMix(k, add(gate(x, 3), gate(u, 3)), m, load(h)));
		h += LANES;
		x += 3 * LANES;
		u += 3 * LANES;
	} while (--n);
}

void KERNEL(GRUReset)(float *rh, const float *h, const float *x, const float *u, const float *k, word n)
{
	do {
		struct ratio rs = sigmoidRatio(k, add(gate(x + UNITS, 3), gate(u + UNITS, 2)));
		store(rh, flush(k, quotient(mul(rs.n, load(h)), rs.d)));
		rh += LANES;
		h += LANES;
		x += 3 * LANES;
		u += 2 * LANES;
	} while (--n);
}

void KERNEL(GRUUpdate)(float *h, const float *x, const float *u, const float *un, const float *k, word n)
{
	do {
		vec m = add(gate(x + 2 * UNITS, 3), load(un));
		store(h, gruMix(k, add(gate(x, 3), gate(u, 2)), m, load(h)));
		h += LANES;
		x += 3 * LANES;
		u += 2 * LANES;
		un += LANES;
	} while (--n);
}

void KERNEL(RNN)(float *h, const float *z, const float *k, word n)
{
	do {
		struct ratio t = tanhRatio(k, load(z));
		store(h, flush(k, quotient(t.n, t.d)));
		h += LANES;
		z += LANES;
	} while (--n);
}

void KERNEL(RNNReLU)(float *h, const float *z, const float *k, word n)
{
	do {
		store(h, flush(k, positive(load(z))));
		h += LANES;
		z += LANES;
	} while (--n);
}

void KERNEL(Tanh)(float *y, const float *x, const float *k, word n)
{
	do {
		struct ratio t = tanhRatio(k, load(x));
		store(y, quotient(t.n, t.d));
		y += LANES;
		x += LANES;
	} while (--n);
}

void KERNEL(Sigmoid)(float *y, const float *x, const float *k, word n)
{
	do {
		struct ratio s = sigmoidRatio(k, load(x));
		store(y, quotient(s.n, s.d));
		y += LANES;
		x += LANES;
	} while (--n);
}

// The quantising kernels take n values, any number. For AVX2 they write zeros up to a multiple of 8.

void KERNEL(QuantiseI8)(int8_t *q, const float *x, const float *inv, const float *k, word n)
{
	do {
		lanes m = first(k, n);
		storeInt8(q, clamp(k, MAX_I8, mul(loadFirst(x, m), loadFirst(inv, m))), m);
		q += LANES;
		x += LANES;
		inv += LANES;
	} while ((n -= LANES) > 0);
}

void KERNEL(QuantiseI16)(int8_t *hi, int8_t *lo, const float *x, const float *inv, const float *k, word n)
{
	do {
		lanes m = first(k, n);
		vec v = clamp(k, MAX_I16, mul(loadFirst(x, m), loadFirst(inv, m)));
		vec h = storeInt8(hi, mul(v, konst(k, INV256)), m);
		storeInt8(lo, clamp(k, MAX_I8, sub(v, mul(h, konst(k, N256)))), m);
		hi += LANES;
		lo += LANES;
		x += LANES;
		inv += LANES;
	} while ((n -= LANES) > 0);
}

void KERNEL(Dequantise)(float *y, const int32_t *sums, const float *scale, const float *sum, word n)
{
	do {
		store(y, fma(integers(sums), load(scale), load(sum)));
		y += LANES;
		sums += LANES;
		scale += LANES;
		sum += LANES;
	} while (--n);
}

void KERNEL(DequantiseI16)(float *y, const int32_t *hi, const int32_t *lo, const float *scale, const float *sum, word n)
{
	int32_t bits = 0x43800000; // 256; unseen by the compiler, which would load it from a table of its own
	__asm__("" : "+r"(bits));
	const vec n256 = broadcast(bits);
	do {
		store(y, fma(fma(integers(hi), n256, integers(lo)), load(scale), load(sum)));
		y += LANES;
		hi += LANES;
		lo += LANES;
		scale += LANES;
		sum += LANES;
	} while (--n);
}
