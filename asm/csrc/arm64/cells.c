#include "vec.h"

enum { UNITS = 8 }; // kernels.UnitBlock, and the size of vec

INLINE vec lstmCell(const float *k, vec i, vec f, vec g, vec c)
{
	struct ratio is = sigmoidRatio(k, i), gt = tanhRatio(k, g);
	vec igd = mul(is.d, gt.d);
	vec in = mul(is.n, gt.n);
	struct ratio fs = sigmoidRatio(k, f);
	return flush(gt.next, quotient(fma(mul(fs.n, c), igd, mul(in, fs.d)), mul(fs.d, igd)));
}

INLINE vec lstmHidden(const float *k, vec o, vec c)
{
	struct ratio os = sigmoidRatio(k, o), ct = tanhRatio(k, c);
	return flush(ct.next, quotient(mul(os.n, ct.n), mul(os.d, ct.d)));
}

// go: LSTM(h, c, z, k *float32, blocks int)
void LSTM(const struct { float *h, *c; const float *z, *k; word blocks; } *a)
{
	float *h = a->h, *c = a->c;
	const float *z = a->z, *k = a->k;
	word n = a->blocks;
	do {
		vec y = lstmCell(k, load(z), load(z + UNITS), load(z + 2 * UNITS), load(c));
		store(c, y);
		c += UNITS;
		store(h, lstmHidden(k, load(z + 3 * UNITS), y));
		h += UNITS;
		z += 4 * UNITS;
	} while (--n);
}

// go: LSTMPeephole(h, c, z, peep, k *float32, blocks int)
void LSTMPeephole(const struct { float *h, *c; const float *z, *p, *k; word blocks; } *a)
{
	float *h = a->h, *c = a->c;
	const float *z = a->z, *p = a->p, *k = a->k;
	word n = a->blocks;
	do {
		vec y = load(c);
		vec i = fma(load(p), y, load(z)), f = fma(load(p + UNITS), y, load(z + UNITS));
		y = lstmCell(k, i, f, load(z + 2 * UNITS), y);
		store(c, y);
		c += UNITS;
		store(h, lstmHidden(k, fma(load(p + 2 * UNITS), y, load(z + 3 * UNITS)), y));
		h += UNITS;
		z += 4 * UNITS;
		p += 3 * UNITS;
	} while (--n);
}

INLINE vec gruMix(const float *k, vec z, vec n, vec h)
{
	struct ratio nt = tanhRatio(k, n), zs = sigmoidRatio(k, z);
	vec mix = fma(mul(zs.n, h), nt.d, mul(sub(zs.d, zs.n), nt.n));
	return flush(nt.next, quotient(mix, mul(zs.d, nt.d)));
}

// go: GRU(h, x, u, k *float32, blocks int)
void GRU(const struct { float *h; const float *x, *u, *k; word blocks; } *a)
{
	float *h = a->h;
	const float *x = a->x, *u = a->u, *k = a->k;
	word m = a->blocks;
	do {
		struct ratio rs = sigmoidRatio(k, add(load(x + UNITS), load(u + UNITS)));
		vec n = fma(quotient(rs.n, rs.d), load(u + 2 * UNITS), load(x + 2 * UNITS));
		store(h, gruMix(k, add(load(x), load(u)), n, load(h)));
		h += UNITS;
		x += 3 * UNITS;
		u += 3 * UNITS;
	} while (--m);
}

// go: GRUReset(rh, h, x, u, k *float32, blocks int)
void GRUReset(const struct { float *rh; const float *h, *x, *u, *k; word blocks; } *a)
{
	float *rh = a->rh;
	const float *h = a->h, *x = a->x, *u = a->u, *k = a->k;
	word m = a->blocks;
	do {
		struct ratio rs = sigmoidRatio(k, add(load(x + UNITS), load(u + UNITS)));
		store(rh, flush(konst(k, FLUSH), quotient(mul(rs.n, load(h)), rs.d)));
		rh += UNITS;
		h += UNITS;
		x += 3 * UNITS;
		u += 2 * UNITS;
	} while (--m);
}

// go: GRUUpdate(h, x, u, un, k *float32, blocks int)
void GRUUpdate(const struct { float *h; const float *x, *u, *un, *k; word blocks; } *a)
{
	float *h = a->h;
	const float *x = a->x, *u = a->u, *un = a->un, *k = a->k;
	word m = a->blocks;
	do {
		vec n = add(load(x + 2 * UNITS), load(un));
		store(h, gruMix(k, add(load(x), load(u)), n, load(h)));
		h += UNITS;
		x += 3 * UNITS;
		u += 2 * UNITS;
		un += UNITS;
	} while (--m);
}

// go: RNN(h, z, k *float32, blocks int)
void RNN(const struct { float *h; const float *z, *k; word blocks; } *a)
{
	float *h = a->h;
	const float *z = a->z, *k = a->k;
	word m = a->blocks;
	do {
		struct ratio t = tanhRatio(k, load(z));
		store(h, flush(t.next, quotient(t.n, t.d)));
		h += UNITS;
		z += UNITS;
	} while (--m);
}

// go: RNNReLU(h, z, k *float32, blocks int)
void RNNReLU(const struct { float *h; const float *z, *k; word blocks; } *a)
{
	float *h = a->h;
	const float *z = a->z, *k = a->k;
	word m = a->blocks;
	do {
		vec v = load(z);
		EACH { // a NaN is not larger than zero
			uint32x4_t large = vcgeq_f32(v.v[i], konst(k, FLUSH));
			v.v[i] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v.v[i]), large));
		}
		store(h, v);
		h += UNITS;
		z += UNITS;
	} while (--m);
}
