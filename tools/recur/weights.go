package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/runtime/format"
)

// weightStats says how the numbers of a blob are spread, as they are stored, without padding.
type weightStats struct {
	Role      string      `json:"role"`
	Rows      int         `json:"rows"`
	Columns   int         `json:"columns"`
	Int8      bool        `json:"int8"`
	Min       float64     `json:"min"`
	Max       float64     `json:"max"`
	Zeros     float64     `json:"zeros"`            // share of the numbers
	Histogram [bins]int   `json:"histogram"`        // from -Reach to Reach
	Reach     float64     `json:"reach"`            // 127 of int8, else the largest magnitude
	Scales    *[2]float64 `json:"scales,omitempty"` // smallest and largest factor of a row
}

const bins = 31

// factors are the blobs of factors that belong to the rows of a matrix.
var factors = map[format.Role]format.Role{format.RoleW: format.RoleWScale, format.RoleU: format.RoleUScale, format.RoleUn: format.RoleUnScale}

// weightsOf measures the blobs of an operation; factors of rows count with their matrix, and indices and sizes are no weights.
func weightsOf(f *format.File, op *format.Op) (out []weightStats) {
	for _, a := range op.Args {
		factor := a.Role == format.RoleWScale || a.Role == format.RoleUScale || a.Role == format.RoleUnScale
		if factor || f.Blobs[a.Blob].Kind == format.VecI32 {
			continue
		}
		w := measure(op, a.Role, &f.Blobs[a.Blob])
		if s := f.Arg(op, factors[a.Role]); s != nil {
			low, high := bounds(logical(op, a.Role, s))
			w.Scales = &[2]float64{low, high}
		}
		out = append(out, w)
	}
	return out
}

func measure(op *format.Op, role format.Role, b *format.Blob) weightStats {
	v := logical(op, role, b)
	w := weightStats{Role: role.String(), Rows: len(v) / b.Cols, Columns: b.Cols, Int8: b.Kind == format.MatI8}
	w.Min, w.Max = bounds(v)
	w.Reach = math.Max(math.Abs(w.Min), math.Abs(w.Max))
	if w.Int8 {
		w.Reach = kernels.MaxI8
	}
	zeros := 0
	for _, x := range v {
		if x == 0 {
			zeros++
		}
		w.Histogram[w.bin(float64(x))]++
	}
	w.Zeros = float64(zeros) / float64(len(v))
	return w
}

// bin is the place of x; the one in the middle holds zero.
func (w *weightStats) bin(x float64) int {
	if w.Reach == 0 {
		return bins / 2
	}
	return min(int((x/w.Reach+1)/2*bins), bins-1)
}

func bounds(v []float32) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, x := range v {
		low, high = math.Min(low, float64(x)), math.Max(high, float64(x))
	}
	return low, high
}

// logical are the numbers of a blob without padding, row by row.
func logical(op *format.Op, role format.Role, b *format.Blob) []float32 {
	const panel = 32
	gates := gatesOf(op, role)
	v := make([]float32, 0, b.Rows*b.Cols)
	for r := range b.Rows {
		if gates > 0 && r/(kernels.UnitBlock*gates)*kernels.UnitBlock+r%kernels.UnitBlock >= op.Hidden {
			continue
		}
		for c := range b.Cols {
			switch b.Kind {
			case format.MatI8:
				v = append(v, float32(b.I8[r/panel*panel*kernels.Align(b.Cols, 8)+c/4*4*panel+r%panel*4+c%4]))
			case format.MatF32:
				v = append(v, b.F32[r/panel*panel*b.Cols+c*panel+r%panel])
			default:
				v = append(v, b.F32[r])
			}
		}
	}
	return v
}

// gatesOf is the number of gates whose rows a blob holds, or 0 if its rows are not those of gates.
func gatesOf(op *format.Op, role format.Role) int {
	if !op.Kind.Recurrent() {
		return 0
	}
	switch role {
	case format.RoleW, format.RoleBias, format.RoleBiasH:
		return op.Gates()
	case format.RoleU:
		if op.Flags&format.FlagResetBefore != 0 {
			return 2
		}
		return op.Gates()
	case format.RoleUn:
		return 1
	case format.RolePeep:
		return 3
	}
	return 0
}

// spark is the histogram as a line of bars.
func (w *weightStats) spark() string {
	const bars = "▁▂▃▄▅▆▇█"
	most := w.tallest()
	var s strings.Builder
	for _, n := range w.Histogram {
		if n == 0 {
			s.WriteByte(' ')
			continue
		}
		s.WriteRune([]rune(bars)[(8*n-1)/most])
	}
	return s.String()
}

func (w *weightStats) tallest() int {
	most := 1
	for _, n := range w.Histogram {
		most = max(most, n)
	}
	return most
}

func (w *weightStats) scales() string {
	if w.Scales == nil {
		return "-"
	}
	return fmt.Sprintf("%.3g to %.3g", w.Scales[0], w.Scales[1])
}

func (w *weightStats) stored() string {
	if w.Int8 {
		return "int8"
	}
	return "f32"
}

// printWeights lists the blobs of every operation.
func (r *report) printWeights(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\n#\tblob\tshape\tstored\tmin\tmax\tzeros\tscales\tfrom -reach to reach")
	for i, o := range r.Operations {
		for _, b := range o.Weights {
			fmt.Fprintf(t, "%d\t%s\t%d×%d\t%s\t%.3g\t%.3g\t%.1f %%\t%s\t|%s|\n", i, b.Role, b.Rows, b.Columns, b.stored(), b.Min, b.Max, 100*b.Zeros, b.scales(), b.spark())
		}
	}
	t.Flush()
}
