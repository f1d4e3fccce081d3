package torchfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The values of a pickle: nil, bool, int64, float64, string, tuple, *list, *dict, and what classes.go makes. An integer of more than
// 64 bits is a wide.
type (
	tuple []any
	list  struct{ items []any }
	wide  string // little-endian
	mark  struct{}
)

// dict keeps the order of its entries. A key that is set twice occurs twice; the later one counts.
type dict struct {
	keys, values []any
}

// maxOps bounds the values that a pickle can make, and so memory; large checkpoints have some ten thousand.
const maxOps = 1 << 20

// unpickler runs one pickle. It knows the opcodes that state dicts are written with; nothing it does has an effect outside of it.
type unpickler struct {
	b     []byte
	ops   int
	stack []any
	memo  map[uint64]any
	scope *scope
}

var errShort = errors.New("the pickle is cut short")

// unpickle returns the value of the pickle at the start of b, and what follows it.
func unpickle(b []byte, s *scope) (v any, rest []byte, err error) {
	u := &unpickler{b: b, memo: map[uint64]any{}, scope: s}
	for {
		op, err := u.take(1)
		if err != nil {
			return nil, nil, err
		}
		if op[0] == '.' {
			v, err := u.pop()
			return v, u.b, err
		}
		if u.ops++; u.ops > maxOps {
			return nil, nil, fmt.Errorf("the pickle has more than %d operations", maxOps)
		}
		if err := u.step(op[0]); err != nil {
			return nil, nil, fmt.Errorf("pickle, byte %d: %w", len(b)-len(u.b)-1, err)
		}
	}
}

func (u *unpickler) step(op byte) error {
	if done, err := u.literal(op); done || err != nil {
		return err
	}
	if done, err := u.text(op); done || err != nil {
		return err
	}
	if done, err := u.remember(op); done || err != nil {
		return err
	}
	return u.compose(op)
}

func (u *unpickler) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.b)) {
		return nil, errShort
	}
	b := u.b[:n]
	u.b = u.b[n:]
	return b, nil
}

// uint reads a little-endian number of n bytes.
func (u *unpickler) uint(n int) (uint64, error) {
	b, err := u.take(uint64(n))
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:]), err
}

func (u *unpickler) line() (string, error) {
	i := bytes.IndexByte(u.b[:min(len(u.b), maxName)], '\n')
	if i < 0 {
		return "", errShort
	}
	s := string(u.b[:i])
	u.b = u.b[i+1:]
	return s, nil
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) pop() (any, error) {
	n := len(u.stack)
	if n == 0 {
		return nil, errors.New("the stack is empty")
	}
	v := u.stack[n-1]
	u.stack = u.stack[:n-1]
	if _, marked := v.(mark); marked {
		return nil, errors.New("a mark where a value is wanted")
	}
	return v, nil
}

func (u *unpickler) popN(n int) ([]any, error) {
	out := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		var err error
		if out[i], err = u.pop(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// toMark pops everything above the topmost mark, and the mark.
func (u *unpickler) toMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, marked := u.stack[i].(mark); marked {
			out := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return out, nil
		}
	}
	return nil, errors.New("no mark")
}

func (u *unpickler) top() any {
	if len(u.stack) == 0 {
		return nil
	}
	return u.stack[len(u.stack)-1]
}

func (u *unpickler) literal(op byte) (bool, error) {
	switch op {
	case 0x80: // PROTO
		v, err := u.uint(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("pickle protocol %d", v)
		}
		return true, err
	case 0x95: // FRAME
		_, err := u.take(8)
		return true, err
	case 'N':
		u.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		u.push(op == 0x88)
	case 'J': // BININT
		v, err := u.uint(4)
		u.push(int64(int32(v)))
		return true, err
	case 'K', 'M': // BININT1, BININT2
		v, err := u.uint(1 + int(op-'K')/2)
		u.push(int64(v))
		return true, err
	case 0x8a: // LONG1
		return true, u.long()
	case 'G': // BINFLOAT, big-endian
		b, err := u.take(8)
		if err == nil {
			u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
		}
		return true, err
	default:
		return false, nil
	}
	return true, nil
}

func (u *unpickler) long() error {
	n, err := u.uint(1)
	if err != nil {
		return err
	}
	b, err := u.take(n)
	if err != nil {
		return err
	}
	if n > 8 {
		u.push(wide(b))
		return nil
	}
	v := int64(0)
	for i, x := range b {
		v |= int64(x) << (8 * i)
	}
	if n > 0 {
		v = v << (64 - 8*n) >> (64 - 8*n)
	}
	u.push(v)
	return nil
}

// textWidth is how many bytes the length of a string takes, by opcode.
var textWidth = [256]int{'X': 4, 0x8c: 1, 0x8d: 8, 'T': 4, 'U': 1, 'B': 4, 'C': 1, 0x8e: 8}

// text reads strings, and bytes as strings.
func (u *unpickler) text(op byte) (bool, error) {
	width := textWidth[op]
	if width == 0 {
		return false, nil
	}
	n, err := u.uint(width)
	if err != nil {
		return true, err
	}
	b, err := u.take(n)
	u.push(string(b))
	return true, err
}

func (u *unpickler) remember(op byte) (bool, error) {
	switch op {
	case 'q', 'r': // BINPUT, LONG_BINPUT
		i, err := u.uint(1 + 3*int(op-'q'))
		u.memo[i] = u.top()
		return true, err
	case 0x94: // MEMOIZE
		u.memo[uint64(len(u.memo))] = u.top()
		return true, nil
	case 'h', 'j': // BINGET, LONG_BINGET
		i, err := u.uint(1 + 3*int(op-'h')/2)
		v, ok := u.memo[i]
		if _, marked := v.(mark); err == nil && (!ok || marked) {
			err = fmt.Errorf("memo %d is empty", i)
		}
		u.push(v)
		return true, err
	}
	return false, nil
}

func (u *unpickler) compose(op byte) error {
	switch op {
	case '(':
		u.push(mark{})
	case '0': // POP
		_, err := u.pop()
		return err
	case '1': // POP_MARK
		_, err := u.toMark()
		return err
	case ')':
		u.push(tuple{})
	case 't':
		v, err := u.toMark()
		u.push(tuple(v))
		return err
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		v, err := u.popN(int(op-0x85) + 1)
		u.push(tuple(v))
		return err
	case ']':
		u.push(&list{})
	case '}':
		u.push(&dict{})
	case 'a', 'e': // APPEND, APPENDS
		return u.extend(op == 'e')
	case 's', 'u': // SETITEM, SETITEMS
		return u.set(op == 'u')
	default:
		return u.object(op)
	}
	return nil
}

func (u *unpickler) items(many bool, one int) ([]any, error) {
	if many {
		return u.toMark()
	}
	return u.popN(one)
}

func (u *unpickler) extend(many bool) error {
	v, err := u.items(many, 1)
	if err != nil {
		return err
	}
	l, ok := u.top().(*list)
	if !ok {
		return errors.New("appends to what is no list")
	}
	l.items = append(l.items, v...)
	return nil
}

func (u *unpickler) set(many bool) error {
	v, err := u.items(many, 2)
	if err != nil {
		return err
	}
	d, ok := u.top().(*dict)
	if !ok || len(v)%2 != 0 {
		return errors.New("sets items of what is no dict")
	}
	for i := 0; i < len(v); i += 2 {
		d.keys, d.values = append(d.keys, v[i]), append(d.values, v[i+1])
	}
	return nil
}

// object runs the opcodes that name classes and call them.
func (u *unpickler) object(op byte) error {
	switch op {
	case 'c': // GLOBAL
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		if err != nil {
			return err
		}
		return u.pushed(class(module + "." + name).find())
	case 0x93: // STACK_GLOBAL
		v, err := u.popN(2)
		if err != nil {
			return err
		}
		module, ok1 := v[0].(string)
		name, ok2 := v[1].(string)
		if !ok1 || !ok2 || len(module)+len(name) > maxName {
			return errors.New("a class whose name is no string, or too long")
		}
		return u.pushed(class(module + "." + name).find())
	case 'R', 0x81: // REDUCE, NEWOBJ
		v, err := u.popN(2)
		if err != nil {
			return err
		}
		return u.pushed(call(v[0], v[1]))
	case 'b': // BUILD
		v, err := u.pop()
		if err != nil {
			return err
		}
		return build(u.top(), v)
	case 'Q': // BINPERSID
		v, err := u.pop()
		if err != nil {
			return err
		}
		return u.pushed(u.scope.storage(v))
	}
	return fmt.Errorf("opcode %#02x is not supported", op)
}

func (u *unpickler) pushed(v any, err error) error {
	if err == nil {
		u.push(v)
	}
	return err
}
