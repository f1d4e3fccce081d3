// Package check holds instructions that Go's assembler was given as bytes against the instructions that their comments name, by a
// disassembler that had no part in making them. A wrong byte is silent: nothing else reads the comment.
package check

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Disassembler is the program this package runs, of Debian's llvm-16.
const Disassembler = "llvm-mc-16"

// ErrNoDisassembler is returned where Disassembler is not installed.
var ErrNoDisassembler = errors.New(Disassembler + " is not installed")

// An arch is what an architecture's assembly looks like.
type arch struct {
	args  []string       // of the disassembler
	sizes map[string]int // bytes of a directive
}

// arches by the suffix of a file's name.
var arches = map[string]arch{
	"_amd64.s": {
		args:  []string{"-triple=x86_64", "-output-asm-variant=1", "-mattr=+avx2,+fma,+bmi,+bmi2,+avxvnni,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512vnni"},
		sizes: map[string]int{"BYTE": 1, "WORD": 2, "LONG": 4, "QUAD": 8},
	},
	"_arm64.s": {
		args:  []string{"-triple=aarch64", "-mattr=+v8.2a,+dotprod"},
		sizes: map[string]int{"WORD": 4},
	},
	"_arm.s": {
		args:  []string{"-triple=armv7a", "-mattr=+neon,+vfp4"},
		sizes: map[string]int{"WORD": 4},
	},
}

// An instruction is one line of a file: its bytes, and what the comment says they are.
type instruction struct {
	line  int
	bytes []byte
	text  string
}

// Tree checks every assembly file below a folder, and returns the number of instructions that it held against their comments.
func Tree(tree fs.FS) (checked int, err error) {
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".s" && path.Ext(name) != ".h" {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		n, err := File(name, string(text))
		if err != nil {
			return fmt.Errorf("%s:%w", name, err)
		}
		checked += n
		return nil
	})
	return checked, err
}

// File checks one file; its errors begin with the number of the line.
func File(name, text string) (checked int, err error) {
	for suffix, a := range arches {
		if strings.HasSuffix(strings.TrimSuffix(name, path.Ext(name))+".s", suffix) {
			list, err := a.parse(text)
			if err != nil {
				return 0, err
			}
			return len(list), a.compare(list)
		}
	}
	if m := directive.FindString(text); m != "" {
		return 0, fmt.Errorf("1: %q, and the name says no architecture that is known here", m)
	}
	return 0, nil
}

var directive = regexp.MustCompile(`\b(BYTE|WORD|LONG|QUAD)\s+\$(0x[0-9a-fA-F]+|\S+)`)

func (a arch) parse(text string) (list []instruction, err error) {
	for i, line := range strings.Split(text, "\n") {
		code, comment, commented := strings.Cut(line, "//")
		found := directive.FindAllStringSubmatch(code, -1)
		if len(found) == 0 {
			continue
		}
		ins := instruction{line: i + 1, text: strings.TrimSpace(comment)}
		if !commented || ins.text == "" {
			return nil, fmt.Errorf("%d: %s: no comment names the instruction", ins.line, strings.TrimSpace(code))
		}
		for _, m := range found {
			size := a.sizes[m[1]]
			if size == 0 {
				return nil, fmt.Errorf("%d: %s is no directive for instructions here", ins.line, m[1])
			}
			v, err := strconv.ParseUint(m[2], 0, 8*size)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", ins.line, err)
			}
			for range size {
				ins.bytes = append(ins.bytes, byte(v))
				v >>= 8
			}
		}
		list = append(list, ins)
	}
	return list, nil
}

// compare disassembles all instructions at once, and where that does not give what the comments say, the first that differs alone.
func (a arch) compare(list []instruction) error {
	if len(list) == 0 {
		return nil
	}
	lines, err := a.disassemble(list)
	if err != nil {
		return err
	}
	for i, ins := range list {
		if i < len(lines) && normal(lines[i]) == normal(ins.text) {
			continue
		}
		alone, err := a.disassemble(list[i : i+1])
		if err != nil {
			return err
		}
		return fmt.Errorf("%d: % x is %q, the comment says %q", ins.line, ins.bytes, strings.Join(alone, "; "), ins.text)
	}
	if len(lines) != len(list) {
		return fmt.Errorf("%d: %d instructions in %d lines", list[len(list)-1].line, len(lines), len(list))
	}
	return nil
}

func (a arch) disassemble(list []instruction) (lines []string, err error) {
	program, err := exec.LookPath(Disassembler)
	if err != nil {
		return nil, fmt.Errorf("0: %w", ErrNoDisassembler)
	}
	var in, stderr bytes.Buffer
	for _, ins := range list {
		for _, b := range ins.bytes {
			fmt.Fprintf(&in, "%#02x ", b)
		}
		in.WriteByte('\n')
	}
	cmd := exec.Command(program, append([]string{"--disassemble"}, a.args...)...)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%d: %s: %w: %s", list[0].line, Disassembler, err, stderr.Bytes())
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if line = strings.TrimSpace(line); line != "" && line != ".text" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

var unsigned = regexp.MustCompile(`\b[1-9][0-9]{9}\b`)

// normal reduces an instruction to what matters: the space between mnemonic and operands, the notes of a disassembler, and whether 32
// bits are signed do not.
func normal(s string) string {
	s, _, _ = strings.Cut(s, " # ")
	s, _, _ = strings.Cut(s, " @ ")
	s = unsigned.ReplaceAllStringFunc(s, func(n string) string {
		if v, err := strconv.ParseUint(n, 10, 32); err == nil {
			return strconv.Itoa(int(int32(v)))
		}
		return n
	})
	return strings.Join(strings.Fields(strings.ToLower(s)), " ")
}
