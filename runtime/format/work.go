package format

import "github.com/recur-go/recur/kernels"

// channelWork is what a channel of an operation without products is taken to cost, in multiply-adds.
const channelWork = 16

// Work is about what a step costs, in multiply-adds: weights are shared between operations and used again and again in one, so the size of
// the file says nothing. What operations over the whole sequence cost is counted too.
func (f *File) Work() int64 {
	const enough = 1 << 60 // no operation adds more than 2^53
	total := int64(0)
	for i := range f.Ops {
		if total += f.work(&f.Ops[i]); total > enough {
			break
		}
	}
	return total
}

func (f *File) work(op *Op) int64 {
	out := int64(op.Out.Width)
	n := channelWork * max(out, int64(op.Inputs()))
	switch {
	case op.Kind == MatMul:
		return n + out*int64(f.Dims(op)[2])
	case op.Kind == Dense:
		return n + int64(f.Blocks(op))*f.products(op, RoleW)
	case op.Kind.Recurrent():
		step := f.products(op, RoleW) + f.products(op, RoleU) + f.products(op, RoleUn) + channelWork*int64(op.Gates()*op.Hidden)
		return n + int64(max(f.Blocks(op), 1))*step
	case op.Kind != Conv && op.Kind != MaxPool && op.Kind != MeanPool:
		return n
	}
	w, err := ParseWindow(f.Dims(op))
	if err != nil {
		return n
	}
	_, points, kernel := w.Points()
	switch {
	case op.Kind != Conv:
		return n + out*int64(kernel)
	case w.Groups > 1:
		return n + out*int64(kernel)*int64(w.Channels/w.Groups)
	}
	return n + int64(points)*f.products(op, RoleW)
}

// products is the size of a matrix as it is multiplied, 0 if there is none.
func (f *File) products(op *Op, role Role) int64 {
	b := f.Arg(op, role)
	if b == nil {
		return 0
	}
	return int64(kernels.Align(b.Rows, kernels.PanelRows)) * int64(b.Cols)
}
