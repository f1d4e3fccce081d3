// Command c2go turns the C kernels of asm/csrc/amd64 into Go assembly: clang, c2goasm, asm2plan9s with the GNU assembler, asmfmt. It
// runs by go generate, on an amd64 host, and refuses what these tools get wrong without a word.
//
//	c2go -c ../csrc/amd64/kernels.c -stubs kernels_avx2_amd64.go -- -mavx2 -mfma
//
// writes kernels_avx2_amd64.s beside the stubs, whose functions bear the names of the C functions.
package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const clang = "clang-16"

// No red zone and no frame, since Go's stack has neither; no table of constants or of jumps, which c2goasm reaches through BP.
var flags = strings.Fields(`-O3 -masm=intel -mno-red-zone -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-exceptions
	-ffreestanding -fno-builtin -fno-jump-tables -fno-unroll-loops -fno-vectorize -fno-slp-vectorize -ffp-contract=off
	-Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function`)

func main() {
	log.SetFlags(0)
	log.SetPrefix("c2go: ")
	source := flag.String("c", "", "the C file")
	stubs := flag.String("stubs", "", "the Go file that declares the functions")
	flag.Parse()
	if err := run(*source, *stubs, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(source, stubs string, isa []string) error {
	out, ok := strings.CutSuffix(stubs, ".go")
	if !ok {
		return fmt.Errorf("stubs %q: not a .go file", stubs)
	}
	out += ".s"
	dir, err := os.MkdirTemp("", "c2go")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	asm, object, work := filepath.Join(dir, "c.s"), filepath.Join(dir, "c.o"), filepath.Join(dir, "go.s")

	args := append(append([]string{}, flags...), isa...)
	if _, err := command(clang, append(args, "-S", "-o", asm, source)...); err != nil {
		return err
	}
	if _, err := command(clang, "-c", "-o", object, asm); err != nil {
		return err
	}
	text, err := os.ReadFile(asm)
	if err != nil {
		return err
	}
	if err := refuse(string(text)); err != nil {
		return fmt.Errorf("%s %v: %w", source, isa, err)
	}
	declared, err := declarations(stubs)
	if err != nil {
		return err
	}
	// c2goasm wants the declarations beside its output, each name after an underscore.
	if err := os.WriteFile(filepath.Join(dir, "go.go"), []byte(strings.Join(declared, "\n")), 0o666); err != nil {
		return err
	}
	if _, err := command("go", "tool", "c2goasm", asm, work); err != nil {
		return err
	}
	if err := edit(work, restoreSizes); err != nil {
		return err
	}
	// Without yasm on the path all goes to the GNU assembler, whichever machine this is.
	if _, err := gasOnly("go", "tool", "asm2plan9s", work); err != nil {
		return err
	}
	if err := edit(work, header); err != nil {
		return err
	}
	if _, err := command("go", "tool", "asmfmt", "-w", work); err != nil {
		return err
	}
	b, err := os.ReadFile(work)
	if err != nil {
		return err
	}
	if err := compare(string(b), object, len(declared)); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	return os.WriteFile(out, b, 0o666)
}

func command(name string, args ...string) ([]byte, error) {
	return output(exec.Command(name, args...))
}

func gasOnly(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var dirs []string
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(d, "yasm")); err == nil {
			return nil, fmt.Errorf("%s has yasm, which asm2plan9s would prefer to the GNU assembler: take it off the path", d)
		}
		dirs = append(dirs, d)
	}
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(dirs, string(filepath.ListSeparator)))
	return output(cmd)
}

func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s%s", cmd.Args, err, b, stderr.Bytes())
	}
	return b, nil
}

func edit(path string, f func(string) (string, error)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s, err := f(string(b))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(s), 0o666)
}

var traps = []struct{ pattern, why string }{
	{`\.LCPI`, "a table of constants, which c2goasm reaches through BP: the frame pointer would be lost to tracebacks"},
	{`\bcall\b`, "a call"},
	{`\b[er]?bp\b|\bbpl\b`, "BP, the frame pointer"},
	{`\b[er]?sp\b|\bspl\b|\bpush\b|\bpop\b`, "the stack, which a leaf of frame 0 has not"},
	{`\br1[45][dwb]?\b`, "R14 or R15, which some of Go's builds reserve"},
	{`\.Ljti|\bjmp\s+(qword|r)`, "a jump table"},
	{`\{vex\}`, "a {vex} prefix, which c2goasm leaves as it is"},
	{`\brip\b`, "an address relative to RIP"},
	{`\.rodata|\.data\b|\.bss`, "a data section"},
}

func refuse(asm string) error {
	for _, t := range traps {
		re := regexp.MustCompile(t.pattern)
		for i, line := range strings.Split(asm, "\n") {
			code, _, _ := strings.Cut(line, "#")
			if re.MatchString(code) {
				return fmt.Errorf("line %d of clang's assembly, %q: %s", i+1, strings.TrimSpace(line), t.why)
			}
		}
	}
	functions := strings.Count(asm, ",@function\n")
	if n := len(regexp.MustCompile(`(?m)^\s+ret\b`).FindAllString(asm, -1)); n != functions {
		return fmt.Errorf("%d returns in %d functions: c2goasm follows one each", n, functions)
	}
	return nil
}

var (
	reFunc     = regexp.MustCompile(`(?m)^func (\w+)\(([^)]*)\)(.*)$`)
	reRegister = regexp.MustCompile(`^(g|[ABCD][XLH]|[SD]IL?|[SB]PL?|R\d+|[XYZKMF]\d+|FP|SB|PC|SP)$`)
)

// declarations returns the functions of a file of stubs for c2goasm.
func declarations(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range reFunc.FindAllStringSubmatch(string(b), -1) {
		var params []string
		pending := 0
		for p := range strings.SplitSeq(m[2], ",") {
			name, typ, typed := strings.Cut(strings.TrimSpace(p), " ")
			if reRegister.MatchString(name) {
				return nil, fmt.Errorf("%s: %s: parameter %s is the name of a register", path, m[1], name)
			}
			if params = append(params, name); !typed {
				pending++
				continue
			}
			if !strings.HasPrefix(typ, "*") && typ != "int" {
				return nil, fmt.Errorf("%s: %s: parameter %s is a %s; only pointers and int pass in the registers c2goasm fills", path, m[1], name, typ)
			}
			pending = 0
		}
		if pending != 0 || len(params) > 6 || m[3] != "" {
			return nil, fmt.Errorf("%s: %s: want at most 6 parameters, the last with a type, and no result", path, m[1])
		}
		out = append(out, fmt.Sprintf("func _%s(%s)", m[1], strings.Join(params, ", ")))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no functions", path)
	}
	return out, nil
}

// restoreSizes undoes what c2goasm does to the operands' sizes for yasm: the GNU assembler takes "dword [rcx+4]" for rcx+4+4.
func restoreSizes(s string) (string, error) {
	lines := strings.Split(s, "\n")
	size := regexp.MustCompile(`\b(byte|word|dword|qword|oword|yword|zword|xmmword|ymmword|zmmword)( ptr)? \[`)
	names := map[string]string{"oword": "xmmword", "yword": "ymmword", "zword": "zmmword"}
	for i, line := range lines {
		code, comment, ok := strings.Cut(line, "//")
		if !ok {
			continue
		}
		comment = size.ReplaceAllStringFunc(comment, func(m string) string {
			word := size.FindStringSubmatch(m)[1]
			if n := names[word]; n != "" {
				word = n
			}
			return word + " ptr ["
		})
		if regexp.MustCompile(`\b(oword|yword|zword)\b`).MatchString(comment) {
			return "", fmt.Errorf("operand size not understood: %s", line)
		}
		lines[i] = code + "//" + comment
	}
	return strings.Join(lines, "\n"), nil
}

var reText = regexp.MustCompile(`(?m)^TEXT ·_(\w+)\(SB\), \$0-(\d+)$`)

func header(s string) (string, error) {
	_, body, ok := strings.Cut(s, "\nTEXT ")
	if !ok {
		return "", errors.New("c2goasm wrote no TEXT")
	}
	body = "TEXT " + body
	if n, m := strings.Count(body, "TEXT "), len(reText.FindAllString(body, -1)); n != m {
		return "", fmt.Errorf("%d of %d functions have a frame of 0 and a name as expected", m, n)
	}
	body = reText.ReplaceAllString(body, "TEXT ·$1(SB), NOSPLIT, $$0-$2")
	body = regexp.MustCompile(`(?m)^\s*#(NO_)?APP\n`).ReplaceAllString(body, "")
	body = regexp.MustCompile(`\n{3,}`).ReplaceAllString(body, "\n\n")
	return "// Code generated by asm/internal/c2go. DO NOT EDIT.\n\n//go:build amd64 && !purego\n\n#include \"textflag.h\"\n\n" +
		strings.TrimRight(body, "\n") + "\n", nil
}

// compare holds every instruction of the Go assembly against clang's object code: bytes against bytes, and what Go's assembler shall
// encode itself by its name.
func compare(goasm, object string, functions int) error {
	code, err := symbols(object)
	if err != nil {
		return err
	}
	if len(code) != functions {
		return fmt.Errorf("clang made %d functions, the stubs declare %d", len(code), functions)
	}
	seen := 0
	for part := range strings.SplitSeq(goasm, "TEXT ·") {
		name, body, ok := strings.Cut(part, "(SB)")
		if !ok {
			continue
		}
		seen++
		rest, ok := code[name]
		if !ok {
			return fmt.Errorf("%s: not among clang's functions", name)
		}
		for line := range strings.SplitSeq(body, "\n") {
			if rest, err = consume(rest, line); err != nil {
				return fmt.Errorf("%s: %q: %w", name, strings.TrimSpace(line), err)
			}
		}
		if rest = skipNops(rest); len(rest) != 0 {
			return fmt.Errorf("%s ends %d bytes before clang's", name, len(rest))
		}
	}
	if seen != functions {
		return fmt.Errorf("%d functions, want %d", seen, functions)
	}
	return nil
}

var (
	reLoad  = regexp.MustCompile(`^MOVQ \w+\+\d+\(FP\), (DI|SI|DX|CX|R8|R9)$`)
	reLabel = regexp.MustCompile(`^\w+:$`)
	reJump  = regexp.MustCompile(`^(J[A-Z]{1,3}) \w+$`)
	reBytes = regexp.MustCompile(`(QUAD|LONG|WORD|BYTE) \$0x([0-9a-f]+)`)
	// The condition codes of the jumps that loops end with.
	conditions = map[string]byte{"JMP": 0xeb, "JEQ": 0x74, "JE": 0x74, "JNE": 0x75, "JLT": 0x7c, "JGE": 0x7d, "JLE": 0x7e, "JGT": 0x7f,
		"JL": 0x7c, "JG": 0x7f, "JB": 0x72, "JAE": 0x73, "JBE": 0x76, "JA": 0x77, "JCS": 0x72, "JCC": 0x73, "JLS": 0x76, "JHI": 0x77}
)

func consume(code []byte, line string) ([]byte, error) {
	line, _, _ = strings.Cut(line, "//")
	line = strings.Join(strings.Fields(line), " ")
	switch {
	case line == "" || strings.HasPrefix(line, ", NOSPLIT") || strings.HasPrefix(line, "#") || reLabel.MatchString(line) || reLoad.MatchString(line):
		return code, nil
	case reBytes.MatchString(line):
		for _, m := range reBytes.FindAllStringSubmatch(line, -1) {
			size := map[string]int{"QUAD": 8, "LONG": 4, "WORD": 2, "BYTE": 1}[m[1]]
			v, err := strconv.ParseUint(m[2], 16, 8*size)
			if err != nil {
				return nil, err
			}
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], v)
			if code = skipNopsBefore(code, b[:size]); !bytes.HasPrefix(code, b[:size]) {
				return nil, fmt.Errorf("clang has % x here", code[:min(12, len(code))])
			}
			code = code[size:]
		}
		return code, nil
	}
	code = skipNops(code)
	want := []byte(nil)
	n := 0
	if m := reJump.FindStringSubmatch(line); m != nil && conditions[m[1]] != 0 {
		c := conditions[m[1]]
		switch {
		case len(code) > 5 && m[1] != "JMP" && code[0] == 0x0f: // the near form
			want, n = []byte{0x0f, c + 0x10}, 6
		case len(code) > 4 && m[1] == "JMP" && code[0] == 0xe9:
			want, n = []byte{0xe9}, 5
		default:
			want, n = []byte{c}, 2
		}
	}
	switch line {
	case "VZEROUPPER":
		want, n = []byte{0xc5, 0xf8, 0x77}, 3
	case "RET":
		want, n = []byte{0xc3}, 1
	}
	if want == nil {
		return nil, errors.New("an instruction that this check does not know")
	}
	if !bytes.HasPrefix(code, want) || len(code) < n {
		return nil, fmt.Errorf("clang has % x here", code[:min(12, len(code))])
	}
	return code[n:], nil
}

// The fillers by which clang aligns loops, longest first; c2goasm leaves them out.
var nops = [][]byte{
	{0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, {0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, {0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0},
	{0x0f, 0x1f, 0x80, 0, 0, 0, 0}, {0x66, 0x0f, 0x1f, 0x44, 0, 0}, {0x0f, 0x1f, 0x44, 0, 0}, {0x0f, 0x1f, 0x40, 0}, {0x0f, 0x1f, 0},
	{0x66, 0x90}, {0x90}, {0x66},
}

func skipNops(code []byte) []byte {
next:
	for {
		for _, n := range nops {
			if bytes.HasPrefix(code, n) && (len(n) > 1 || n[0] == 0x90 || bytes.HasPrefix(code, []byte{0x66, 0x66}) || bytes.HasPrefix(code, []byte{0x66, 0x2e})) {
				code = code[len(n):]
				continue next
			}
		}
		return code
	}
}

// skipNopsBefore skips fillers only where the bytes do not match as they are.
func skipNopsBefore(code, want []byte) []byte {
	if bytes.HasPrefix(code, want) {
		return code
	}
	return skipNops(code)
}

// symbols returns the code of every function of an object file, which may hold no relocations.
func symbols(path string) (map[string][]byte, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text := f.Section(".text")
	if text == nil {
		return nil, errors.New("clang's object has no .text")
	}
	for _, s := range f.Sections {
		if (s.Type == elf.SHT_RELA || s.Type == elf.SHT_REL) && int(s.Info) < len(f.Sections) && f.Sections[s.Info] == text {
			return nil, errors.New("clang's object has relocations")
		}
	}
	code, err := text.Data()
	if err != nil {
		return nil, err
	}
	list, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, s := range list {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			out[s.Name] = code[s.Value : s.Value+s.Size]
		}
	}
	return out, nil
}
