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
}

// constructors make the objects of the classes that may be called. None does more than keep its arguments.
var constructors = map[class]func(args tuple) (any, error){
	"collections.OrderedDict":            orderedDict,
	"torch._utils._rebuild_tensor_v2":    rebuildTensor,
	"torch._utils._rebuild_parameter":    firstArg,
	"torch.Size":                         firstArg,
	"torch.jit._pickle.build_tensorlist": firstArg,
	"torch.jit._pickle.build_intlist":    firstArg,
	"torch.jit._pickle.build_doublelist": firstArg,
	"torch.jit._pickle.build_boollist":   firstArg,
	"torch.jit._pickle.restore_type_tag": firstArg,
}

// plain are names that stand for themselves.
var plain = map[class]bool{"torch.float64": true, "torch.float32": true, "torch.float16": true, "torch.bfloat16": true, "torch.int64": true,
	"torch.int32": true, "torch.int16": true, "torch.int8": true, "torch.uint8": true, "torch.bool": true}

// find checks that a class may be used.
func (c class) find() (any, error) {
	if constructors[c] != nil || plain[c] || c.script() {
		return c, nil
	}
	if _, ok := storageTypes[c]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("the class %q is not allowed in a state dict (torch.save(net.state_dict(), FILE) saves tensors only)", string(c))
}

// script reports whether c is a module of a TorchScript archive. Its objects are their attributes.
func (c class) script() bool { return strings.HasPrefix(string(c), "__torch__.") }

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
	if c.script() && len(a) == 0 {
		return &dict{}, nil
	}
	return nil, fmt.Errorf("the class %q cannot be called", string(c))
}

func build(object, state any) error {
	d, ok := object.(*dict)
	if !ok {
		return errors.New("sets the state of what has none")
	}
	// The state of an OrderedDict is _metadata, the versions of modules. A TorchScript object starts empty: its state is all it has.
	if s, ok := state.(*dict); ok && len(d.keys) == 0 && s != d {
		d.keys, d.values = s.keys, s.values
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
