package fromtflite

import (
	"fmt"
	"math"
	"testing"

	"github.com/recur-go/recur/tools/internal/tflite"
	"github.com/recur-go/recur/tools/internal/tflite/tflitetest"
)

// plane is an array [height, width, channels].
type plane struct {
	h, w, c int
	v       []float64
}

func newPlane(h, w, c int) plane { return plane{h, w, c, make([]float64, h*w*c)} }

func (p plane) at(y, x, c int) *float64 { return &p.v[(y*p.w+x)*p.c+c] }

// before is the padding in front of an axis, by the rule of TensorFlow.
func before(p tflite.Padding, in, out, kernel, stride, dilation int) int {
	if p == tflite.Valid {
		return 0
	}
	return max((out-1)*stride+(kernel-1)*dilation+1-in, 0) / 2
}

func length(p tflite.Padding, in, kernel, stride, dilation int) int {
	if p == tflite.Same {
		return (in + stride - 1) / stride
	}
	return (in - (kernel-1)*dilation - 1 + stride) / stride
}

// windows calls f for every output point, with the input points that its window of kh by kw sees.
func windows(x plane, p tflite.Padding, kh, kw, sh, sw, dh, dw, channels int, f func(out *float64, oc int, see func(func(y, x, ky, kx int)))) plane {
	out := newPlane(length(p, x.h, kh, sh, dh), length(p, x.w, kw, sw, dw), channels)
	top, left := before(p, x.h, out.h, kh, sh, dh), before(p, x.w, out.w, kw, sw, dw)
	for oy := range out.h {
		for ox := range out.w {
			for oc := range channels {
				f(out.at(oy, ox, oc), oc, func(use func(y, x, ky, kx int)) {
					for ky := range kh {
						for kx := range kw {
							y, xx := oy*sh-top+ky*dh, ox*sw-left+kx*dw
							if y >= 0 && y < x.h && xx >= 0 && xx < x.w {
								use(y, xx, ky, kx)
							}
						}
					}
				})
			}
		}
	}
	return out
}

func TestConv2D(t *testing.T) {
	for i, c := range []struct {
		h, w, in, out, kh, kw, sh, sw, dh, dw, groups int
		p                                             tflite.Padding
	}{
		{5, 6, 2, 3, 3, 3, 1, 1, 1, 1, 1, tflite.Same},
		{5, 6, 2, 3, 3, 2, 2, 1, 1, 1, 1, tflite.Valid},
		{6, 7, 2, 4, 2, 3, 2, 2, 1, 1, 2, tflite.Same},
		{9, 8, 1, 2, 3, 3, 1, 1, 2, 3, 1, tflite.Same},
		{9, 8, 1, 2, 3, 3, 1, 2, 3, 2, 1, tflite.Valid},
		{1, 9, 3, 2, 1, 4, 1, 3, 1, 1, 1, tflite.Same},
	} {
		r := seeded(uint64(i))
		per := c.in / c.groups
		x, w, bias := r.vector(c.h*c.w*c.in), r.vector(c.out*c.kh*c.kw*per), r.vector(c.out)
		p := plane{c.h, c.w, c.in, doubles(x)}
		want := windows(p, c.p, c.kh, c.kw, c.sh, c.sw, c.dh, c.dw, c.out, func(out *float64, oc int, see func(func(y, x, ky, kx int))) {
			*out = float64(bias[oc])
			see(func(y, x, ky, kx int) {
				for k := range per {
					*out += float64(w[((oc*c.kh+ky)*c.kw+kx)*per+k]) * *p.at(y, x, oc/(c.out/c.groups)*per+k)
				}
			})
			*out = math.Max(*out, 0)
		})
		b := tflitetest.New()
		y := b.Float("y")
		b.Op("CONV_2D", &tflite.Conv2DOptions{Padding: c.p, StrideH: int32(c.sh), StrideW: int32(c.sw), DilationH: int32(c.dh), DilationW: int32(c.dw), Activation: tflite.Relu},
			[]int32{b.Input("x", 1, int32(c.h), int32(c.w), int32(c.in)), b.Const(w, int32(c.out), int32(c.kh), int32(c.kw), int32(per)), b.Const(bias, int32(c.out))}, []int32{y})
		b.Output(y)
		same(t, fmt.Sprintf("%+v", c), run(t, b, Options{}, x)[0], want.v)
	}
}

func TestDepthwiseConv2D(t *testing.T) {
	const h, w, in, times, kh, kw = 5, 6, 3, 2, 3, 2
	for _, p := range []tflite.Padding{tflite.Same, tflite.Valid} {
		r := seeded(3)
		x, k := r.vector(h*w*in), r.vector(kh*kw*in*times)
		pl := plane{h, w, in, doubles(x)}
		want := windows(pl, p, kh, kw, 1, 2, 1, 1, in*times, func(out *float64, oc int, see func(func(y, x, ky, kx int))) {
			see(func(y, x, ky, kx int) { *out += float64(k[(ky*kw+kx)*in*times+oc]) * *pl.at(y, x, oc/times) })
		})
		b := tflitetest.New()
		y := b.Float("y")
		b.Op("DEPTHWISE_CONV_2D", &tflite.DepthwiseConv2DOptions{Padding: p, StrideH: 1, StrideW: 2, Multiplier: times, DilationH: 1, DilationW: 1},
			[]int32{b.Input("x", 1, h, w, in), b.Const(k, 1, kh, kw, in*times), -1}, []int32{y})
		b.Output(y)
		same(t, fmt.Sprint("padding ", p), run(t, b, Options{}, x)[0], want.v)
	}
}

// TestTransposeConv spreads every input point over the output, which the reference kernels do too.
func TestTransposeConv(t *testing.T) {
	for i, c := range []struct {
		h, w, in, out, kh, kw, stride, oh, ow int
		p                                     tflite.Padding
	}{
		{3, 4, 2, 3, 3, 2, 2, 6, 8, tflite.Same},
		{3, 4, 2, 3, 3, 3, 2, 5, 7, tflite.Same},
		{3, 4, 2, 1, 3, 2, 2, 7, 8, tflite.Valid},
		{3, 4, 1, 2, 2, 2, 3, 8, 11, tflite.Valid},
		{3, 3, 1, 1, 1, 2, 3, 9, 9, tflite.Same},
	} {
		r := seeded(uint64(i))
		x, w, bias := r.vector(c.h*c.w*c.in), r.vector(c.out*c.kh*c.kw*c.in), r.vector(c.out)
		p, want := plane{c.h, c.w, c.in, doubles(x)}, newPlane(c.oh, c.ow, c.out)
		for k := range want.v {
			want.v[k] = float64(bias[k%c.out])
		}
		// The padding is that of the convolution from the output to the input.
		top := before(c.p, c.oh, length(c.p, c.oh, c.kh, c.stride, 1), c.kh, c.stride, 1)
		left := before(c.p, c.ow, length(c.p, c.ow, c.kw, c.stride, 1), c.kw, c.stride, 1)
		for y := range c.h {
			for xx := range c.w {
				for ky := range c.kh {
					for kx := range c.kw {
						oy, ox := y*c.stride-top+ky, xx*c.stride-left+kx
						if oy < 0 || oy >= c.oh || ox < 0 || ox >= c.ow {
							continue
						}
						for o := range c.out {
							for k := range c.in {
								*want.at(oy, ox, o) += float64(w[((o*c.kh+ky)*c.kw+kx)*c.in+k]) * *p.at(y, xx, k)
							}
						}
					}
				}
			}
		}
		b := tflitetest.New()
		y := b.Float("y")
		b.Op("TRANSPOSE_CONV", &tflite.TransposeConvOptions{Padding: c.p, StrideH: int32(c.stride), StrideW: int32(c.stride)},
			[]int32{b.Ints(1, int32(c.oh), int32(c.ow), int32(c.out)), b.Const(w, int32(c.out), int32(c.kh), int32(c.kw), int32(c.in)),
				b.Input("x", 1, int32(c.h), int32(c.w), int32(c.in)), b.Const(bias, int32(c.out))}, []int32{y})
		b.Output(y)
		same(t, fmt.Sprintf("%+v", c), run(t, b, Options{}, x)[0], want.v)
	}
}

func TestPool2D(t *testing.T) {
	const h, w, in = 5, 6, 2
	for _, name := range []string{"MAX_POOL_2D", "AVERAGE_POOL_2D"} {
		for _, p := range []tflite.Padding{tflite.Same, tflite.Valid} {
			x := seeded(4).vector(h * w * in)
			pl := plane{h, w, in, doubles(x)}
			want := windows(pl, p, 3, 2, 2, 2, 1, 1, in, func(out *float64, oc int, see func(func(y, x, ky, kx int))) {
				n, most := 0.0, math.Inf(-1)
				see(func(y, x, _, _ int) {
					n++
					*out += *pl.at(y, x, oc)
					most = math.Max(most, *pl.at(y, x, oc))
				})
				if *out /= n; name == "MAX_POOL_2D" {
					*out = most
				}
				*out = math.Min(math.Max(*out, 0), 6)
			})
			b := tflitetest.New()
			y := b.Float("y")
			b.Op(name, &tflite.Pool2DOptions{Padding: p, StrideH: 2, StrideW: 2, FilterH: 3, FilterW: 2, Activation: tflite.Relu6}, []int32{b.Input("x", 1, h, w, in)}, []int32{y})
			b.Output(y)
			same(t, fmt.Sprint(name, " padding ", p), run(t, b, Options{}, x)[0], want.v)
		}
	}
}
