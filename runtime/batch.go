package runtime

import "fmt"

// Batch is several independent streams through a model, which step together through one pass over the weights: faster than a session
// each, and to the bit what that gives. It belongs to one goroutine at a time.
type Batch struct {
	machine
	group  int     // streams that go through the operations together
	seen   []int64 // of each stream: the last call of Step that lists it
	called int64
}

// NewBatch returns n streams at the initial state. Only NewBatch allocates. A two-way model, less than one stream, and more memory than
// the model's MaxBytes are errors.
func (m *Model) NewBatch(n int) (*Batch, error) {
	if m.twoWay {
		return nil, ErrTwoWay
	}
	if n < 1 {
		return nil, fmt.Errorf("batch of %d streams", n)
	}
	// Unlike the steps of a sequence, streams need nothing of each other, even where a step reads what the one before stored.
	group := min(m.fitting(), n)
	if int64(n) > (m.maxBytes-m.workBytes(group, group))/m.streamBytes() {
		return nil, fmt.Errorf("a batch of %d streams needs more than %d bytes, the limit", n, m.maxBytes)
	}
	b := &Batch{machine: m.newMachine(n, group), group: group, seen: make([]int64, n)}
	b.apart = m.plan.fixed
	b.reserve(group)
	return b, nil
}

// Streams is the number of streams.
func (b *Batch) Streams() int { return len(b.steps) }

// Step runs one time step of each stream that is listed, in any order; the others keep their state. Row k of xs, InputWidth features, is
// the input of streams[k]; row k of ys, OutputWidth values, receives its output: that of Session.Step. An empty list does nothing. Wrong
// lengths, a stream that does not exist or is listed twice, and a NaN or infinite feature are errors; all states are then unchanged.
func (b *Batch) Step(streams []int, xs, ys []float32) error {
	n, in, out := len(streams), b.m.InputWidth(), b.m.OutputWidth()
	if len(xs) != n*in || len(ys) != n*out {
		return fmt.Errorf("step of %d streams, from %d features into %d values: the model takes %d and gives %d", n, len(xs), len(ys), n*in, n*out)
	}
	b.called++
	for row, k := range streams {
		if err := b.check(k); err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
		if b.seen[k] == b.called {
			return fmt.Errorf("row %d: stream %d is listed twice", row, k)
		}
		b.seen[k] = b.called
	}
	if i := notFinite(xs); i >= 0 {
		row := i / in
		return fmt.Errorf("row %d (stream %d): %w", row, streams[row], b.featureError(xs, i))
	}
	for from := 0; from < n; from += b.group {
		k := min(b.group, n-from)
		b.streams = streams[from:][:k]
		b.adjacent = adjacent(b.streams)
		b.block(xs[from*in:][:k*in], k)
		b.copyOut(ys[from*out:][:k*out], k)
	}
	b.streams = nil
	return nil
}

func adjacent(streams []int) bool {
	for i, k := range streams {
		if k != streams[0]+i {
			return false
		}
	}
	return true
}

func (b *Batch) check(i int) error {
	if i < 0 || i >= len(b.steps) {
		return fmt.Errorf("stream %d of %d", i, len(b.steps))
	}
	return nil
}

// Reset returns stream i to the initial state.
func (b *Batch) Reset(i int) error {
	if err := b.check(i); err != nil {
		return err
	}
	b.reset(i)
	return nil
}

// Copy gives stream dst the state of stream src.
func (b *Batch) Copy(dst, src int) error {
	if err := b.check(dst); err != nil {
		return err
	}
	if err := b.check(src); err != nil {
		return err
	}
	copy(b.stateOf(dst), b.stateOf(src))
	b.steps[dst] = b.steps[src]
	return nil
}

// StateSize is the length in bytes of the saved state of a stream.
func (b *Batch) StateSize() int { return b.stateSize() }

// Save writes the state of stream i to dst, of StateSize bytes, as Session.Save does.
func (b *Batch) Save(i int, dst []byte) error {
	if err := b.check(i); err != nil {
		return err
	}
	return b.save(i, dst)
}

// Restore sets the state of stream i to one that Save, or Session.Save, wrote, of the same model. On an error the state is unchanged.
func (b *Batch) Restore(i int, src []byte) error {
	if err := b.check(i); err != nil {
		return err
	}
	return b.restore(i, src)
}
