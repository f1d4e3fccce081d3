package runtime

import (
	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// grid is a window over the input of an operation. Axes that its file leaves out come first, of length 1.
type grid struct {
	in, out  format.Ref
	win      *format.Window
	axes     [3]format.WindowAxis
	channels int
	outs     int // points of the output
	kernel   int // points of the kernel
	lines    int // of the kernel along the last axis
}

func newGrid(b *builder, op *format.Op) (grid, error) {
	w, err := format.ParseWindow(b.file.Dims(op))
	if err != nil {
		return grid{}, err
	}
	g := grid{in: op.In[0], out: op.Out, win: w, channels: w.Channels}
	_, g.outs, g.kernel = w.Points()
	missing := len(g.axes) - len(w.Axes)
	copy(g.axes[missing:], w.Axes)
	for i := range missing {
		g.axes[i] = format.WindowAxis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	}
	g.lines = g.kernel / g.axes[2].Kernel
	return g, nil
}

// origin is where the window of output point o begins, which may be before the input.
func (g *grid) origin(o int) (at [3]int) {
	for i := len(g.axes) - 1; i >= 0; i-- {
		a := &g.axes[i]
		at[i] = o%a.Out*a.Stride - a.Pad
		o /= a.Out
	}
	return at
}

// span is the part of a line of the kernel that lies in the input when the window begins at: n points from point first of the line on,
// the first of them over the given point of the input, the others each a dilation further.
func (g *grid) span(at *[3]int, line int) (first, n, point int) {
	a, b, c := &g.axes[0], &g.axes[1], &g.axes[2]
	p, q, r := at[0]+line/b.Kernel*a.Dilation, at[1]+line%b.Kernel*b.Dilation, at[2]
	if p < 0 || p >= a.In || q < 0 || q >= b.In || r >= c.In {
		return 0, 0, 0
	}
	if r < 0 {
		first = (c.Dilation - 1 - r) / c.Dilation
	}
	if n = min(c.Kernel, (c.In-1-r)/c.Dilation+1) - first; n <= 0 {
		return 0, 0, 0
	}
	return first, n, (p*b.In+q)*c.In + r + first*c.Dilation
}

// counted is how many points of the kernel lie in the input or its padding when the window begins at.
func (g *grid) counted(at *[3]int) int {
	n := 1
	for i, a := range g.axes {
		n *= min(max((a.In+a.End-at[i]+a.Dilation-1)/a.Dilation, 0), a.Kernel)
	}
	return n
}

// conv is a convolution: for each output point, the product of a matrix and of the channels that its kernel sees.
type conv struct {
	stateless
	grid
	w       linear
	bias    []float32
	outputs int
	size    int       // of what the kernel sees
	points  int       // of which that is copied together
	filters []float32 // with groups: [outputs, kernel, channels of a group]
}

// patchSize bounds what a convolution copies before it multiplies, if one point has less: it should stay in the cache.
const patchSize = 1 << 14

func newConv(b *builder, op *format.Op) (*conv, error) {
	g, err := newGrid(b, op)
	if err != nil {
		return nil, err
	}
	c := &conv{grid: g, outputs: op.Out.Width / g.outs, size: g.kernel * g.channels}
	if g.win.Groups > 1 {
		c.filters = b.file.Arg(op, format.RoleW).F32
		c.bias = b.file.Arg(op, format.RoleBias).F32
		return c, nil
	}
	c.w, err = newLinear(b, op, format.RoleW, format.RoleWScale, format.RoleXInv)
	c.bias = b.padded(op, format.RoleBias)
	c.points = min(max(patchSize/c.size, 1), BlockSteps)
	b.plan.patch = max(b.plan.patch, c.points*c.size)
	return c, err
}

func (c *conv) run(s *machine, n int) {
	for t := range n {
		if c.filters != nil {
			c.grouped(s.at(c.out, t), s.at(c.in, t))
		} else {
			c.step(s, s.at(c.out, t), s.at(c.in, t))
		}
	}
}

func (c *conv) step(s *machine, y, x []float32) {
	for o, n := 0, 0; o < c.outs; o += n {
		var point int
		if point, n = c.inside(o); n > 0 {
			c.w.mul(s, s.gates, c.bias, 0, x[point*c.channels:], c.axes[2].Stride*c.channels, n)
		} else {
			n = c.patches(s.patch, x, o)
			c.w.mul(s, s.gates, c.bias, 0, s.patch, c.size, n)
		}
		for j := range n {
			c.w.copy(y[(o+j)*c.outputs:][:c.outputs], s.gates[j*c.w.rows:])
		}
	}
}

// inside is at how many output points from o on, on a line and up to BlockSteps, the kernel sees channels that lie side by side in the input,
// and the first input point.
func (c *conv) inside(o int) (point, n int) {
	a := &c.axes[2]
	if c.lines > 1 || a.Dilation > 1 && a.Kernel > 1 {
		return 0, 0
	}
	at := c.origin(o)
	first, n, point := c.span(&at, 0)
	if first > 0 || n < a.Kernel {
		return 0, 0
	}
	fit := (a.In-a.Kernel-at[2])/a.Stride + 1
	return point, min(fit, a.Out-o%a.Out, BlockSteps)
}

// patches writes what the kernel sees at some output points from o on, and returns at how many.
func (c *conv) patches(dst, x []float32, o int) int {
	for j := range c.points {
		if _, n := c.inside(o + j); j > 0 && (n > 0 || o+j == c.outs) {
			return j
		}
		at := c.origin(o + j)
		for line := range c.lines {
			size := c.axes[2].Kernel * c.channels
			c.line(dst[j*c.size+line*size:][:size], x, &at, line)
		}
	}
	return c.points
}

// line writes what a line of the kernel sees.
func (c *conv) line(dst, x []float32, at *[3]int, line int) {
	ch, step := c.channels, c.axes[2].Dilation
	first, n, point := c.span(at, line)
	clear(dst[:first*ch])
	clear(dst[(first+n)*ch:])
	dst = dst[first*ch:][:n*ch]
	if step == 1 {
		copy(dst, x[point*ch:])
		return
	}
	for i := range n {
		copy(dst[i*ch:][:ch], x[(point+i*step)*ch:])
	}
}

// grouped adds, for every output, the products in the order of the kernel's points and the group's channels.
func (c *conv) grouped(y, x []float32) {
	for o := range c.outs {
		row := y[o*c.outputs:][:c.outputs]
		copy(row, c.bias)
		at := c.origin(o)
		for line := range c.lines {
			first, n, point := c.span(&at, line)
			for i := range n {
				k := line*c.axes[2].Kernel + first + i
				c.addPoint(row, x[(point+i*c.axes[2].Dilation)*c.channels:][:c.channels], k)
			}
		}
		kernels.Settle(row, row)
	}
}

// addPoint adds the products of kernel point k.
func (c *conv) addPoint(row, seen []float32, k int) {
	in, outs := c.channels/c.win.Groups, c.outputs/c.win.Groups
	at, step := k*in, c.kernel*in // of the filter, from one output to the next
	if in == 1 && outs == 1 {
		row = row[:len(seen)]
		for r, v := range seen {
			row[r] += float32(c.filters[at+r*step] * v)
		}
		return
	}
	for ; len(row) > 0; row, seen = row[outs:], seen[in:] {
		for r := range row[:outs] {
			sum := row[r]
			for i, w := range c.filters[at:][:in] {
				sum += float32(w * seen[i])
			}
			row[r] = sum
			at += step
		}
	}
}

// windowPool is the largest or the mean of the points that a window sees, by channel; 0 where it sees none.
type windowPool struct {
	stateless
	grid
	mean bool
}

func newWindowPool(b *builder, op *format.Op) (*windowPool, error) {
	g, err := newGrid(b, op)
	return &windowPool{grid: g, mean: op.Kind == format.MeanPool}, err
}

func (p *windowPool) run(s *machine, n int) {
	for t := range n {
		x, y := s.at(p.in, t), s.at(p.out, t)
		for o := range p.outs {
			p.point(y[o*p.channels:][:p.channels], x, o)
		}
	}
}

func (p *windowPool) point(y, x []float32, o int) {
	count := 0
	at := p.origin(o)
	clear(y)
	for line := range p.lines {
		_, n, point := p.span(&at, line)
		for i := range n {
			seen := x[(point+i*p.axes[2].Dilation)*p.channels:][:len(y)]
			switch {
			case count == 0:
				copy(y, seen)
			case p.mean:
				for c, v := range seen {
					y[c] += v
				}
			default:
				for c, v := range seen {
					y[c] = max(y[c], v)
				}
			}
			count++
		}
	}
	if !p.mean {
		return
	}
	if p.win.CountPadding {
		count = p.counted(&at)
	}
	for c := range y {
		y[c] /= float32(max(count, 1))
	}
	kernels.Settle(y, y)
}
