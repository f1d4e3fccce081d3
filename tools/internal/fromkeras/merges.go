package fromkeras

import (
	"errors"
	"fmt"
	"slices"

	"github.com/recur-go/recur/tools/internal/lower"
)

// merging makes one tensor of several.
type merging func(*use, []*lower.Tensor) (*lower.Tensor, error)

func (f merging) run(u *use) ([]value, error) {
	var in []*lower.Tensor
	for _, v := range u.in {
		if v.keep != nil {
			return nil, unsupported("it comes after Masking")
		}
		in = append(in, v.t)
	}
	if len(in) < 2 {
		return nil, fmt.Errorf("%d inputs, want at least 2", len(in))
	}
	y, err := f(u, in)
	return []value{{t: y}}, err
}

// level gives all tensors as many dimensions as the one with most, by axes after the batch.
func (u *use) level(in []*lower.Tensor) ([]*lower.Tensor, error) {
	rank := 0
	for _, t := range in {
		rank = max(rank, t.Rank())
	}
	in = slices.Clone(in)
	for i := range in {
		for in[i].Rank() < rank {
			var err error
			if in[i], err = u.tr.Unsqueeze(in[i], []int64{1}); err != nil {
				return nil, err
			}
		}
	}
	return in, nil
}

// fold combines tensors one after the other.
func fold(op lower.Arith) merging {
	return func(u *use, in []*lower.Tensor) (*lower.Tensor, error) {
		in, err := u.level(in)
		if err != nil {
			return nil, err
		}
		y := in[0]
		for _, t := range in[1:] {
			if y, err = u.tr.Binary(op, y, t); err != nil {
				return nil, err
			}
		}
		return y, nil
	}
}

func sumOf(u *use, in []*lower.Tensor) (*lower.Tensor, error) { return fold(lower.Add)(u, in) }

func meanOf(u *use, in []*lower.Tensor) (*lower.Tensor, error) {
	y, err := sumOf(u, in)
	return u.times(y, 1/float32(len(in)), err)
}

func pairwise(op lower.Arith) merging {
	return func(u *use, in []*lower.Tensor) (*lower.Tensor, error) {
		if len(in) != 2 {
			return nil, fmt.Errorf("%d inputs, want 2", len(in))
		}
		return fold(op)(u, in)
	}
}

func concatenate(u *use, in []*lower.Tensor) (*lower.Tensor, error) {
	axes, err := u.axes(in[0], -1)
	if err != nil {
		return nil, err
	}
	if len(axes) != 1 {
		return nil, fmt.Errorf("axes %v", axes)
	}
	for _, t := range in {
		if t.Rank() != in[0].Rank() {
			return nil, errors.New("inputs of different numbers of dimensions")
		}
	}
	return u.tr.Concat(in, axes[0])
}

// dot multiplies two tensors along an axis of each, for each sequence of the batch.
func dot(u *use, in []*lower.Tensor) (*lower.Tensor, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%d inputs, want 2", len(in))
	}
	v, err := spread(u.config.Axes, 2, -1)
	if err != nil {
		return nil, err
	}
	var rest [2][]lower.Poly // the axes that are left
	for i := range in {
		ax, err := lower.AxisIndex(int64(v[i]), in[i].Rank())
		if err != nil || ax == 0 {
			return nil, fmt.Errorf("axes %v", v)
		}
		if u.config.Normalize {
			if in[i], err = u.unit(in[i], ax); err != nil {
				return nil, err
			}
		}
		if in[i], rest[i], err = u.matrix(in[i], ax, i == 0); err != nil {
			return nil, err
		}
	}
	y, err := u.tr.MatMul(in[0], in[1])
	if err != nil {
		return nil, err
	}
	dims := append(append([]lower.Poly{y.Shape()[0]}, rest[0]...), rest[1]...)
	if len(dims) == 1 {
		dims = append(dims, lower.Int(1))
	}
	return u.tr.Reshape(y, dims, true)
}

// matrix arranges x as [batch, rest, axis], or [batch, axis, rest].
func (u *use) matrix(x *lower.Tensor, ax int, last bool) (*lower.Tensor, []lower.Poly, error) {
	perm, rest := []int64{0}, []lower.Poly(nil)
	total := lower.Int(1)
	if !last {
		perm = append(perm, int64(ax))
	}
	for a := 1; a < x.Rank(); a++ {
		if a != ax {
			perm, rest = append(perm, int64(a)), append(rest, x.Shape()[a])
			var err error
			if total, err = total.Mul(x.Shape()[a]); err != nil {
				return nil, nil, err
			}
		}
	}
	n := x.Shape()[ax]
	dims := []lower.Poly{x.Shape()[0], n, total}
	if last {
		perm, dims = append(perm, int64(ax)), []lower.Poly{x.Shape()[0], total, n}
	}
	x, err := u.tr.Transpose(x, perm)
	if err != nil {
		return nil, nil, err
	}
	x, err = u.tr.Reshape(x, dims, true)
	return x, rest, err
}

// unit divides by the Euclidean norm along an axis, of which the square is at least 1e-12.
func (u *use) unit(x *lower.Tensor, ax int) (*lower.Tensor, error) {
	square, err := u.tr.Binary(lower.Mul, x, x)
	if err != nil {
		return nil, err
	}
	sum, err := u.combine(lower.ReduceSum, square, []int{ax}, true)
	if err != nil {
		return nil, err
	}
	if sum, err = u.with(lower.Max, sum, 1e-12); err != nil {
		return nil, err
	}
	if sum, err = u.with(lower.Pow, sum, 0.5); err != nil {
		return nil, err
	}
	return u.tr.Binary(lower.Div, x, sum)
}
