package kernels

// The cell updates take gate vectors in the order of GateRow, of units rounded up to UnitBlock, and state vectors of the same number of
// units. They share divisions between gates: σ and tanh enter as numerator over denominator.

// LSTM updates the cell and hidden state of an LSTM from its gate sums z, gates i f g o (Hochreiter and Schmidhuber 1997, with the
// forget gate of Gers et al. 2000):
//
//	c = σ(f) c + σ(i) tanh(g)
//	h = σ(o) tanh(c)
func LSTM(h, c, z []float32) {
	active.lstm(h, c[:len(h)], z[:4*len(h)])
}

func lstm(h, c, z []float32) {
	for b := range len(h) / UnitBlock {
		z := z[b*4*UnitBlock:][:4*UnitBlock]
		for l := range UnitBlock {
			u := b*UnitBlock + l
			c[u] = lstmCell(z[l], z[UnitBlock+l], z[2*UnitBlock+l], c[u])
			h[u] = lstmHidden(z[3*UnitBlock+l], c[u])
		}
	}
}

// LSTMPeephole is LSTM with peephole weights, gates i f o in peep (Gers et al. 2002): i and f see the old cell state, o the new one.
func LSTMPeephole(h, c, z, peep []float32) {
	active.lstmPeephole(h, c[:len(h)], z[:4*len(h)], peep[:3*len(h)])
}

func lstmPeephole(h, c, z, peep []float32) {
	for b := range len(h) / UnitBlock {
		z := z[b*4*UnitBlock:][:4*UnitBlock]
		p := peep[b*3*UnitBlock:][:3*UnitBlock]
		for l := range UnitBlock {
			u := b*UnitBlock + l
			i := fma(p[l], c[u], z[l])
			f := fma(p[UnitBlock+l], c[u], z[UnitBlock+l])
			c[u] = lstmCell(i, f, z[2*UnitBlock+l], c[u])
			h[u] = lstmHidden(fma(p[2*UnitBlock+l], c[u], z[3*UnitBlock+l]), c[u])
		}
	}
}

func lstmCell(i, f, g, c float32) float32 {
	is, id := sigmoidRatio(i)
	fs, fd := sigmoidRatio(f)
	gp, gq := tanhRatio(g)
	igd := float32(id * gq)
	in := float32(float32(is*gp) * fd)
	return flush(fma(float32(fs*c), igd, in) / float32(fd*igd))
}

func lstmHidden(o, c float32) float32 {
	os, od := sigmoidRatio(o)
	cp, cq := tanhRatio(c)
	return flush(float32(os*cp) / float32(od*cq))
}

// GRU updates the hidden state of a GRU whose reset gate multiplies the hidden product (cuDNN's and PyTorch's form; ONNX
// linear_before_reset = 1). x and u are the gate sums of the input and of the hidden state, gates z r n:
//
//	n = tanh(x_n + σ(x_r + u_r) u_n)
//	h = (1 - σ(x_z + u_z)) n + σ(x_z + u_z) h
func GRU(h, x, u []float32) {
	active.gru(h, x[:3*len(h)], u[:3*len(h)])
}

func gru(h, x, u []float32) {
	for b := range len(h) / UnitBlock {
		x := x[b*3*UnitBlock:][:3*UnitBlock]
		u := u[b*3*UnitBlock:][:3*UnitBlock]
		for l := range UnitBlock {
			k := b*UnitBlock + l
			rs, rd := sigmoidRatio(x[UnitBlock+l] + u[UnitBlock+l])
			n := fma(rs/rd, u[2*UnitBlock+l], x[2*UnitBlock+l])
			h[k] = gruMix(x[l]+u[l], n, h[k])
		}
	}
}

// GRUReset is the first half of a GRU whose reset gate multiplies the hidden state before the product (Cho et al. 2014; ONNX
// linear_before_reset = 0): rh = σ(x_r + u_r) h. x holds the gates z r n, u the gates z r.
func GRUReset(rh, h, x, u []float32) {
	active.gruReset(rh[:len(h)], h, x[:3*len(h)], u[:2*len(h)])
}

func gruReset(rh, h, x, u []float32) {
	for b := range len(h) / UnitBlock {
		x := x[b*3*UnitBlock:][:3*UnitBlock]
		u := u[b*2*UnitBlock:][:2*UnitBlock]
		for l := range UnitBlock {
			rs, rd := sigmoidRatio(x[UnitBlock+l] + u[UnitBlock+l])
			rh[b*UnitBlock+l] = flush(float32(rs*h[b*UnitBlock+l]) / rd)
		}
	}
}

// GRUUpdate is the second half: n = tanh(x_n + un), h = (1 - σ(x_z + u_z)) n + σ(x_z + u_z) h. un holds one sum a unit.
func GRUUpdate(h, x, u, un []float32) {
	active.gruUpdate(h, x[:3*len(h)], u[:2*len(h)], un[:len(h)])
}

func gruUpdate(h, x, u, un []float32) {
	for b := range len(h) / UnitBlock {
		x := x[b*3*UnitBlock:][:3*UnitBlock]
		u := u[b*2*UnitBlock:][:2*UnitBlock]
		for l := range UnitBlock {
			k := b*UnitBlock + l
			h[k] = gruMix(x[l]+u[l], x[2*UnitBlock+l]+un[k], h[k])
		}
	}
}

func gruMix(z, n, h float32) float32 {
	zs, zd := sigmoidRatio(z)
	np, nq := tanhRatio(n)
	mix := fma(float32(zs*h), nq, float32((zd-zs)*np))
	return flush(mix / float32(zd*nq))
}

// RNN updates the hidden state of an Elman cell: h = tanh(z).
func RNN(h, z []float32) {
	active.rnn(h, z[:len(h)])
}

func rnn(h, z []float32) {
	for i := range h {
		p, q := tanhRatio(z[i])
		h[i] = flush(p / q)
	}
}

// RNNReLU is RNN with ReLU in place of tanh.
func RNNReLU(h, z []float32) {
	active.rnnReLU(h, z[:len(h)])
}

func rnnReLU(h, z []float32) {
	for i := range h {
		v := z[i]
		if !(v > 0) {
			v = 0
		}
		h[i] = flush(v)
	}
}
