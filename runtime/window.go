package runtime

import "github.com/recur-go/recur/runtime/format"

// grid is a window over an operation's input with the input point of every kernel point at every output point.
type grid struct {
	in, out format.Ref
	win     *format.Window
	outs    int
	kernel  int
	points  []int32 // [outs, kernel]; -1 is padding
}

// maxTable bounds the points that are listed once, when the model is loaded, rather than found anew in each step.
const maxTable = 1 << 20

func newGrid(m *Model, op *format.Op) (grid, error) {
	w, err := format.ParseWindow(m.file.Dims(op))
	if err != nil {
		return grid{}, err
	}
	g := grid{in: op.In[0], out: op.Out, win: w}
	_, g.outs, g.kernel = w.Points()
	if g.outs*g.kernel <= maxTable {
		g.points = make([]int32, 0, g.outs*g.kernel)
		for o := range g.outs {
			for k := range g.kernel {
				g.points = append(g.points, int32(w.At(o, k)))
			}
		}
	}
	return g, nil
}

func (g *grid) at(o, k int) int {
	if g.points != nil {
		return int(g.points[o*g.kernel+k])
	}
	return g.win.At(o, k)
}

// conv is a convolution: for each output point, the product of a matrix and of the channels that its kernel sees.
type conv struct {
	stateless
	grid
	w       linear
	bias    []float32
	outputs int
	filters []float32 // with groups: [outputs, kernel, channels of a group]
}

func newConv(m *Model, op *format.Op) (*conv, error) {
	g, err := newGrid(m, op)
	if err != nil {
		return nil, err
	}
	c := &conv{grid: g, outputs: op.Out.Width / g.outs, bias: m.file.Arg(op, format.RoleBias).F32}
	if g.win.Groups > 1 {
		c.filters = m.file.Arg(op, format.RoleW).F32
		return c, nil
	}
	c.w, err = newLinear(m, op, format.RoleW, format.RoleWScale, format.RoleXInv)
	c.bias = padded(c.bias, c.w.rows)
	m.plan.patch = max(m.plan.patch, g.kernel*g.win.Channels)
	return c, err
}

func (c *conv) run(s *Session, n int) {
	for t := range n {
		x, y := s.at(c.in, t), s.at(c.out, t)
		if c.filters != nil {
			c.grouped(y, x)
			continue
		}
		for o := 0; o < c.outs; o += blockSteps {
			k := min(c.outs-o, blockSteps)
			size := c.patches(s.patch, x, o, k)
			c.w.mul(s, s.gates, c.bias, s.patch, size, k)
			for j := range k {
				copy(y[(o+j)*c.outputs:][:c.outputs], s.gates[j*c.w.rows:])
			}
		}
	}
}

// patches writes what the kernel sees at n output points from o on, and returns the size of one patch.
func (c *conv) patches(dst, x []float32, o, n int) int {
	ch := c.win.Channels
	for j := range n {
		for k := range c.kernel {
			to := dst[(j*c.kernel+k)*ch:][:ch]
			if p := c.grid.at(o+j, k); p >= 0 {
				copy(to, x[p*ch:])
			} else {
				clear(to)
			}
		}
	}
	return c.kernel * ch
}

// grouped adds, for every output, the products in the order of the kernel's points and the group's channels.
func (c *conv) grouped(y, x []float32) {
	ch := c.win.Channels
	in, outs := ch/c.win.Groups, c.outputs/c.win.Groups
	for o := range c.outs {
		row := y[o*c.outputs:][:c.outputs]
		copy(row, c.bias)
		for k := range c.kernel {
			p := c.grid.at(o, k)
			if p < 0 {
				continue
			}
			seen := x[p*ch:][:ch]
			for r := range row {
				filter := c.filters[(r*c.kernel+k)*in:][:in]
				for i, v := range seen[r/outs*in:][:in] {
					row[r] += float32(v * filter[i])
				}
			}
		}
	}
}

// windowPool is the largest or the mean of the points that a window sees, by channel; 0 where it sees none.
type windowPool struct {
	stateless
	grid
	mean bool
}

func newWindowPool(m *Model, op *format.Op) (*windowPool, error) {
	g, err := newGrid(m, op)
	return &windowPool{grid: g, mean: op.Kind == format.MeanPool}, err
}

func (p *windowPool) run(s *Session, n int) {
	for t := range n {
		x, y := s.at(p.in, t), s.at(p.out, t)
		for o := range p.outs {
			p.point(y[o*p.win.Channels:][:p.win.Channels], x, o)
		}
	}
}

func (p *windowPool) point(y, x []float32, o int) {
	count := 0
	clear(y)
	for k := range p.kernel {
		at := p.grid.at(o, k)
		if at < 0 {
			continue
		}
		for c, v := range x[at*len(y):][:len(y)] {
			switch {
			case p.mean:
				y[c] += v
			case count == 0 || v > y[c]:
				y[c] = v
			}
		}
		count++
	}
	if !p.mean {
		return
	}
	if p.win.CountPadding {
		count = p.win.Counted(o)
	}
	for c := range y {
		y[c] /= float32(max(count, 1))
	}
}
