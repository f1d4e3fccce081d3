package torchfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/recur-go/recur/tools/internal/weights"
)

// class is the full name of a class or function that a pickle refers to.
type class string

var storageTypes = map[class]weights.Type{
	"torch.DoubleStorage": weights.F64, "torch.FloatStorage": weights.F32, "torch.HalfStorage": weights.F16,
	"torch.BFloat16Storage": weights.BF16, "torch.LongStorage": weights.I64, "torch.IntStorage": weights.I32,
	"torch.ShortStorage": weights.I16, "torch.CharStorage": weights.I8, "torch.ByteStorage": weights.U8, "torch.BoolStorage": weights.Bool,
	"torch.QInt8Storage": weights.I8, "torch.QUInt8Storage": weights.U8, "torch.QInt32Storage": weights.I32,
}

// constructors make the objects of the classes that may be called. None does more than keep its arguments.
var constructors = map[class]func(args tuple) (any, error){
	"collections.OrderedDict":                    orderedDict,
	"torch._utils._rebuild_tensor_v2":            rebuildTensor,
	"torch._utils._rebuild_qtensor":              rebuildQuantised,
	"torch._utils._rebuild_parameter":            firstArg,
	"torch._utils._rebuild_parameter_with_state": firstArg,
	"torch.Size":                         firstArg,
	"torch.jit._pickle.build_tensorlist": firstArg,
	"torch.jit._pickle.build_intlist":    firstArg,
	"torch.jit._pickle.build_doublelist": firstArg,
	"torch.jit._pickle.build_boollist":   firstArg,
	"torch.jit._pickle.restore_type_tag": firstArg,
}

const perTensor, perChannel = class("torch.per_tensor_affine"), class("torch.per_channel_affine")

// plain are names that stand for themselves.
var plain = map[class]bool{"torch.float64": true, "torch.float32": true, "torch.float16": true, "torch.bfloat16": true, "torch.int64": true,
	"torch.int32": true, "torch.int16": true, "torch.int8": true, "torch.uint8": true, "torch.bool": true,
	"torch.qint8": true, "torch.quint8": true, "torch.qint32": true, perTensor: true, perChannel: true, "numpy.ndarray": true}

// opaque are classes of values that checkpoints keep beside tensors. Nothing is kept of them.
var opaque = map[class]bool{"torch.device": true, "builtins.set": true, "__builtin__.set": true, "_codecs.encode": true, "numpy.dtype": true,
	"numpy.core.multiarray.scalar": true, "numpy._core.multiarray.scalar": true,
	"numpy.core.multiarray._reconstruct": true, "numpy._core.multiarray._reconstruct": true}

// nothing is an object of an opaque class.
type nothing struct{}

// find checks that a class may be used.
func (c class) find() (any, error) {
	if constructors[c] != nil || plain[c] || opaque[c] || c.script() {
		return c, nil
	}
	if _, ok := storageTypes[c]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("the class %q is not allowed in a state dict (torch.save(net.state_dict(), FILE) saves tensors only)", string(c))
}

// object is an instance of a class of TorchScript. Its state is a dict of attributes, or what a packed type keeps.
type object struct {
	class class
	state any
}

// bare is the class of an object in a state dict; its state comes with the name of its class in TorchScript.
const bare = class("torch.ScriptObject")

// script reports whether the objects of c are their state.
func (c class) script() bool { return c == bare || strings.HasPrefix(string(c), "__torch__.") }

func call(f, args any) (any, error) {
	c, ok1 := f.(class)
	a, ok2 := args.(tuple)
	if !ok1 || !ok2 {
		return nil, errors.New("a call of what is no class")
	}
	if make := constructors[c]; make != nil {
		v, err := make(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", string(c), err)
		}
		return v, nil
	}
	switch {
	case opaque[c]:
		return nothing{}, nil
	case c.script() && len(a) == 0:
		return &object{class: c}, nil
	}
	return nil, fmt.Errorf("the class %q cannot be called", string(c))
}

func build(target, state any) error {
	switch o := target.(type) {
	case *dict, nothing: // an OrderedDict's is _metadata, the versions of modules
	case *object:
		if named, ok := state.(tuple); ok && o.class == bare && len(named) == 2 {
			name, _ := named[1].(string)
			o.class, state = class(name), named[0]
		}
		o.state = state
	default:
		return errors.New("sets the state of what has none")
	}
	return nil
}

func orderedDict(args tuple) (any, error) {
	if len(args) != 0 {
		return nil, errors.New("arguments, as Python 2 wrote them; load and save the file with a newer PyTorch")
	}
	return &dict{}, nil
}

// sequence returns the items of a list or tuple.
func sequence(v any) []any {
	switch v := v.(type) {
	case tuple:
		return v
	case *list:
		return v.items
	}
	return nil
}

func firstArg(args tuple) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("no arguments")
	}
	return args[0], nil
}

// view is a tensor whose storage has not been found yet.
type view struct {
	storage       *storage
	offset        int64
	shape, stride []int64
	scales        *scales // of a quantised tensor
}

// scales are numbers, or views of tensors that hold them.
type scales struct {
	scale, zero any
	axis        int64
}

// The arguments are storage, offset, size, stride, requires_grad, backward_hooks and perhaps metadata.
func rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, errors.New("too few arguments")
	}
	v := &view{}
	var ok [4]bool
	v.storage, ok[0] = args[0].(*storage)
	v.offset, ok[1] = args[1].(int64)
	v.shape, ok[2] = integers(args[2])
	v.stride, ok[3] = integers(args[3])
	if ok != [4]bool{true, true, true, true} {
		return nil, errors.New("bad arguments")
	}
	return v, nil
}

// The fifth argument is the quantiser: its kind, scale, zero and, with one of each a channel, axis.
func rebuildQuantised(args tuple) (any, error) {
	v, err := rebuildTensor(args)
	if err != nil {
		return nil, err
	}
	q, _ := args[min(4, len(args)-1)].(tuple)
	var s scales
	ok := [3]bool{}
	switch {
	case len(q) == 3 && q[0] == any(perTensor):
		s.scale, ok[0] = q[1].(float64)
		s.zero, ok[1] = q[2].(int64)
		ok[2] = true
	case len(q) == 4 && q[0] == any(perChannel):
		s.scale, ok[0] = plainView(q[1])
		s.zero, ok[1] = plainView(q[2])
		s.axis, ok[2] = q[3].(int64)
	}
	if ok != [3]bool{true, true, true} {
		return nil, errors.New("a quantiser of an unknown kind")
	}
	v.(*view).scales = &s
	return v, nil
}

func plainView(x any) (*view, bool) {
	v, ok := x.(*view)
	return v, ok && v.scales == nil
}

const maxRank = 32

func integers(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if len(t) > maxRank {
		return nil, false
	}
	out := make([]int64, len(t))
	for i, x := range t {
		n, isInt := x.(int64)
		out[i], ok = n, ok && isInt
	}
	return out, ok
}

// storage is an array of the file that tensors are views of.
type storage struct {
	key   string
	typ   weights.Type
	count int64
	data  []byte // nil until it is found
}

// scope is what the persistent ids of a pickle refer to.
type scope struct{ storages map[string]*storage }

// storage resolves a persistent id: ("storage", class, key, location, count), and a sixth field in old files.
func (s *scope) storage(id any) (any, error) {
	t, _ := id.(tuple)
	if len(t) < 5 || len(t) > 6 || t[0] != any("storage") {
		return nil, errors.New("a persistent id that is no storage")
	}
	c, ok1 := t[1].(class)
	key, ok2 := t[2].(string)
	count, ok3 := t[4].(int64)
	typ, ok4 := storageTypes[c]
	if ok1 && !ok4 {
		return nil, fmt.Errorf("a storage of class %q", string(c))
	}
	if !ok1 || !ok2 || !ok3 || count < 0 {
		return nil, fmt.Errorf("a storage of class %T with key %T and size %T", t[1], t[2], t[4])
	}
	if len(t) == 6 && t[5] != nil {
		return nil, errors.New("a storage that is a view of another; load and save the file with a newer PyTorch")
	}
	old := s.storages[key]
	if old == nil {
		old = &storage{key: key, typ: typ, count: count}
		s.storages[key] = old
	}
	if old.typ != typ || old.count != count {
		return nil, fmt.Errorf("storage %q has two types or sizes", key)
	}
	return old, nil
}
