package torchfile

import (
	"strings"

	"github.com/recur-go/recur/tools/internal/stored"
)

// code is the source of the modules in a TorchScript archive. Only its declarations are looked at, and what of it cannot be read counts
// as absent.
type code struct {
	archive *stored.Archive
	root    string
	classes map[string]map[string]string // by their full names, what they declare Final
	read    map[string]bool
	left    int
}

const maxCode = 4 << 20

// declare gives modules their constants, and their classes the names they have in Python.
func (c *code) declare(modules []Module) {
	c.classes, c.read, c.left = map[string]map[string]string{}, map[string]bool{}, maxCode
	for i := range modules {
		m := &modules[i]
		c.load(m.Class)
		m.Constants = c.classes[m.Class]
		m.Class = pythonName(m.Class)
	}
}

// load reads the file that declares a class: that of __torch__.a.b.C is a/b.py below __torch__.
func (c *code) load(class string) {
	dot := strings.LastIndexByte(class, '.')
	if dot < 0 || c.read[class[:dot]] {
		return
	}
	module := class[:dot]
	c.read[module] = true
	file := c.root + strings.ReplaceAll(module, ".", "/") + ".py"
	if !c.archive.Has(file) {
		return
	}
	text, err := c.archive.Text(file, c.left)
	if err != nil {
		c.left = 0
		return
	}
	c.left -= len(text)
	var constants map[string]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "class "); ok {
			name, _, _ := strings.Cut(rest, "(")
			constants = map[string]string{}
			c.classes[module+"."+name] = constants
			continue
		}
		name, rest, ok := strings.Cut(line, " : Final[")
		if _, value, ok2 := strings.Cut(rest, "] = "); ok && ok2 && constants != nil && strings.HasPrefix(name, "  ") {
			constants[name[2:]] = value
		}
	}
}

// pythonName leaves out what TorchScript adds to names: the __torch__ in front, and parts that tell modules of one class apart.
func pythonName(class string) string {
	var parts []string
	for part := range strings.SplitSeq(class, ".") {
		if part != "__torch__" && !strings.HasPrefix(part, "___torch_mangle_") {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}
