package main

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// need skips, or in CI fails, a test without a program that it runs.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); errors.Is(err, exec.ErrNotFound) {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

var wordLine = regexp.MustCompile(`(?m)^\s+WORD \$(0x[0-9a-f]{8}) // (.*)$`)

// offset is the target of a branch as llvm-mc writes it.
var offset = regexp.MustCompile(`^((?:b|b\.?[a-z]{2}|cbn?z [xw]\d+,|tbn?z [xw]\d+, #\d+,) )#(-?\d+)$`)

// TestAgainstGNU assembles every comment with GNU's assembler, which shares nothing with LLVM, and holds the words against it.
func TestAgainstGNU(t *testing.T) {
	for _, c := range []struct {
		arch, as, head string
		pc             int // how far ahead of an instruction a branch counts from
	}{
		{"arm64", "aarch64-linux-gnu-as", ".arch armv8.2-a+dotprod\n", 0},
		{"arm", "arm-linux-gnueabihf-as", ".syntax unified\n.arch armv7-a\n.fpu neon-vfpv4\n.arm\n", 8},
	} {
		t.Run(c.arch, func(t *testing.T) {
			need(t, c.as)
			files, err := filepath.Glob("../../" + c.arch + "/*.s")
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				words := wordLine.FindAllStringSubmatch(string(text), -1)
				source := c.head
				for _, w := range words {
					line := w[2]
					if m := offset.FindStringSubmatch(line); m != nil {
						n, _ := strconv.Atoi(m[2])
						line = fmt.Sprintf("%s. + %d", m[1], n+c.pc)
					}
					source += line + "\n"
				}
				object := filepath.Join(t.TempDir(), "o")
				cmd := exec.Command(c.as, "-o", object, "-")
				cmd.Stdin = strings.NewReader(source)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", file, err, out)
				}
				f, err := elf.Open(object)
				if err != nil {
					t.Fatal(err)
				}
				code, err := f.Section(".text").Data()
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				if len(code) != 4*len(words) {
					t.Fatalf("%s: %d bytes for %d instructions", file, len(code), len(words))
				}
				for i, w := range words {
					if got := fmt.Sprintf("0x%08x", binary.LittleEndian.Uint32(code[4*i:])); got != w[1] {
						t.Errorf("%s: %q is %s, the file has %s", file, w[2], got, w[1])
					}
				}
			}
		})
	}
}

// TestRefused checks that what Go's runtime could not bear is refused.
func TestRefused(t *testing.T) {
	need(t, clang, llvmMC)
	dir := t.TempDir()
	t.Chdir(dir)
	const decl = "// go: F(p *float32, n int)\n"
	try := func(arch, name, text string) error {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return run(arch, "", filepath.Join(dir, "out"), name)
	}
	const args = "const struct { float *p; long n; } *a"
	if err := try("arm64", "good.c", decl+"void F("+args+") { a->p[0] = a->p[1] * a->p[2]; }\n"); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"a constant in memory": "void F(" + args + ") { a->p[0] *= 1.2345f; a->p[1] = 3e33f / a->p[2]; }\n" +
			"static const volatile float k[4] = {1, 2, 3, 4};\n" + "// go: G(p *float32, n int)\nvoid G(" + args + ") { a->p[0] = k[a->n]; }\n",
		"a call":        "void g(float *);\nvoid F(" + args + ") { g(a->p); a->p[0] = 1; }\n",
		"the stack":     "void F(" + args + ") { volatile float x[9]; x[a->n] = 1; a->p[0] = x[a->n - 1]; }\n",
		"no definition": "// go: G(p *float32)\nvoid F(" + args + ") { }\n",
	} {
		if err := try("arm64", "bad.c", decl+text); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	const function = "// go: F(p *float32, n int)\n.globl F\n.type F, %%function\nF:\n\t%s\n\t%s\n.size F, . - F\n"
	for _, line := range []string{"mov x18, x0", "mov w27, w0", "ldr x28, [x0]", "mov x29, x0", "ldp x1, x30, [x0]", "str x0, [sp, #-16]!", "br x1", "adr x1, .", "svc #0", "b . + 64", "cbz x0, . - 4", "nop\n\tret x1"} {
		if err := try("arm64", "bad.S", fmt.Sprintf(function, line, "ret")); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
	for _, line := range []string{"mov r9, r0", "mov r10, r0", "push {r4}", "vpush {d8}", "mov lr, r0", "ldr r1, [pc]", "bl F", "blx r1", "bx r1", "bne . + 64", "ldr r0, [sp]", "mov pc, r0"} {
		if err := try("arm", "bad.S", fmt.Sprintf(function, line, "bx lr")); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
	for arch, ret := range map[string]string{"arm64": "ret", "arm": "bx lr"} {
		if err := try(arch, "good.S", fmt.Sprintf(function, "nop", ret)); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
		if err := try(arch, "bad.S", fmt.Sprintf(function, "nop", "nop")); err == nil {
			t.Errorf("%s: a function without a return is taken", arch)
		}
	}
}
