package lower

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Poly is an integer that may depend on the lengths of time T and batch N: a polynomial with integer coefficients.
type Poly struct {
	c     int64  // the constant term
	terms []term // the others, none zero, in order
}

type term struct {
	coef int64
	t, n uint8 // powers of T and N
}

var (
	symT = Poly{terms: []term{{1, 1, 0}}}
	symN = Poly{terms: []term{{1, 0, 1}}}
)

const (
	maxPower = 4
	maxTerms = 8
)

// Int is a constant.
func Int(v int64) Poly { return Poly{c: v} }

// Const returns the value of a polynomial that depends on nothing.
func (p Poly) Const() (int64, bool) { return p.c, len(p.terms) == 0 }

func (p Poly) is(v int64) bool { return len(p.terms) == 0 && p.c == v }

// Equal reports whether p and q are the same polynomial.
func (p Poly) Equal(q Poly) bool { return p.c == q.c && slices.Equal(p.terms, q.terms) }

func (p Poly) String() string {
	var parts []string
	for _, t := range p.terms {
		s := strings.Repeat("*T", int(t.t)) + strings.Repeat("*N", int(t.n))
		parts = append(parts, strings.TrimPrefix(fmt.Sprintf("%d%s", t.coef, s), "1*"))
	}
	if p.c != 0 || len(parts) == 0 {
		parts = append(parts, fmt.Sprint(p.c))
	}
	return strings.Join(parts, "+")
}

var errPoly = &Unsupported{"shape arithmetic beyond what the converter follows"}

func (p Poly) all() []term { return append([]term{{p.c, 0, 0}}, p.terms...) }

func (p *Poly) accumulate(t term) error {
	if t.t > maxPower || t.n > maxPower {
		return errPoly
	}
	if t.t == 0 && t.n == 0 {
		var err error
		p.c, err = addInt(p.c, t.coef)
		return err
	}
	i, found := slices.BinarySearchFunc(p.terms, t, func(a, b term) int { return int(a.t)*256 + int(a.n) - int(b.t)*256 - int(b.n) })
	if !found {
		if t.coef != 0 {
			p.terms = slices.Insert(p.terms, i, t)
		}
		if len(p.terms) > maxTerms {
			return errPoly
		}
		return nil
	}
	sum, err := addInt(p.terms[i].coef, t.coef)
	p.terms[i].coef = sum
	if sum == 0 {
		p.terms = slices.Delete(p.terms, i, i+1)
	}
	return err
}

// Add returns p + q.
func (p Poly) Add(q Poly) (Poly, error) {
	r := Poly{c: p.c, terms: slices.Clone(p.terms)}
	for _, t := range q.all() {
		if err := r.accumulate(t); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Sub returns p - q.
func (p Poly) Sub(q Poly) (Poly, error) {
	m, err := q.Mul(Int(-1))
	if err != nil {
		return m, err
	}
	return p.Add(m)
}

// Mul returns p * q.
func (p Poly) Mul(q Poly) (Poly, error) {
	var r Poly
	for _, a := range p.all() {
		for _, b := range q.all() {
			c, err := mulInt(a.coef, b.coef)
			if err != nil {
				return r, err
			}
			if err := r.accumulate(term{c, a.t + b.t, a.n + b.n}); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// Div returns p / q rounded towards zero for constants; otherwise q must be a single term that divides p.
func (p Poly) Div(q Poly) (Poly, error) {
	pc, pk := p.Const()
	qc, qk := q.Const()
	if q.is(0) || qk && qc == -1 && pk && pc == math.MinInt64 {
		return Poly{}, unsupported("a division of %v by %v in shape arithmetic", p, q)
	}
	if pk && qk {
		return Int(pc / qc), nil
	}
	d, ok := q.single()
	var r Poly
	for _, a := range p.all() {
		if a.coef == 0 {
			continue
		}
		if !ok || a.coef%d.coef != 0 || a.t < d.t || a.n < d.n {
			return r, errPoly
		}
		if err := r.accumulate(term{a.coef / d.coef, a.t - d.t, a.n - d.n}); err != nil {
			return r, err
		}
	}
	return r, nil
}

// single returns the only term of p.
func (p Poly) single() (term, bool) {
	switch {
	case len(p.terms) == 0 && p.c != 0:
		return term{p.c, 0, 0}, true
	case len(p.terms) == 1 && p.c == 0:
		return p.terms[0], true
	}
	return term{}, false
}

func addInt(a, b int64) (int64, error) {
	s := a + b
	if (s > a) != (b > 0) && b != 0 {
		return 0, errPoly
	}
	return s, nil
}

func mulInt(a, b int64) (int64, error) {
	if a == 0 || b == 0 {
		return 0, nil
	}
	p := a * b
	if p/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, errPoly
	}
	return p, nil
}

// Lengths are constants.
func Lengths(v []int64) []Poly {
	out := make([]Poly, len(v))
	for i, x := range v {
		out[i] = Int(x)
	}
	return out
}
