package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRefuse(t *testing.T) {
	const good = "\t.type\tf,@function\nf:\n\tvmovups\tymm0, ymmword ptr [rdi]\n\tvzeroupper\n\tret\n"
	if err := refuse(good); err != nil {
		t.Fatal(err)
	}
	for what, line := range map[string]string{
		"a constant":           "\tvmulps\tymm0, ymm0, ymmword ptr [rip + .LCPI0_0]",
		"a call":               "\tcall\tmemset@PLT",
		"the frame pointer":    "\tmov\trbp, rdi",
		"its low half":         "\tmov\tebp, edi",
		"a spill":              "\tvmovups\tymmword ptr [rsp + 32], ymm1",
		"a saved register":     "\tpush\trbx",
		"the goroutine":        "\tmov\tr14, rdi",
		"a jump table":         "\tjmp\tqword ptr [rax + 8*rcx]",
		"a VEX prefix":         "\t{vex} vpdpbusd ymm0, ymm1, ymm2",
		"a second return":      "\tret",
		"data":                 "\t.section\t.rodata.cst4",
		"an address of a name": "\tlea\trax, [rip + table]",
	} {
		if err := refuse(strings.Replace(good, "\tvzeroupper\n", "\tvzeroupper\n"+line+"\n", 1)); err == nil {
			t.Errorf("%s passes: %q", what, line)
		}
	}
}

func TestDeclarations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stubs.go")
	for _, c := range []struct{ text, want string }{
		{"func F(a, b *float32, n int)\n", "func _F(a, b, n)"},
		{"func F(a, b, c, d, e, f *float32, n int)\n", ""},
		{"func F(a *float32, scale float32)\n", ""},
		{"func F(g *float32)\n", ""},
		{"func F(a *float32, DI int)\n", ""},
		{"func F(a *float32) int\n", ""},
		{"var x int\n", ""},
	} {
		if err := os.WriteFile(path, []byte("package p\n\n"+c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := declarations(path)
		if (err == nil) != (c.want != "") || err == nil && got[0] != c.want {
			t.Errorf("%q gives %q, %v", c.text, got, err)
		}
	}
}

func TestRestoreSizes(t *testing.T) {
	got, err := restoreSizes("    // vaddps ymm0, ymm1, yword [rdi+4]\n    // vbroadcastss ymm0, dword [rcx+4]\n")
	if want := "    // vaddps ymm0, ymm1, ymmword ptr [rdi+4]\n    // vbroadcastss ymm0, dword ptr [rcx+4]\n"; err != nil || got != want {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := restoreSizes("    // vaddps ymm0, yword ptr fs:[0]\n"); err == nil {
		t.Fatal("a size that was not put back passes")
	}
}

// TestCompare changes what the tools made of a function, as they do when they go wrong.
func TestCompare(t *testing.T) {
	if _, err := exec.LookPath(clang); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	source, object := filepath.Join(dir, "f.s"), filepath.Join(dir, "f.o")
	text := ".intel_syntax noprefix\n.globl F\n.type F,@function\nF:\n1: vbroadcastss ymm0, dword ptr [rcx + 4]\nvmovups ymmword ptr [rdi], ymm0\ndec rsi\njne 1b\nvzeroupper\nret\n.size F, .-F\n"
	if err := os.WriteFile(source, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := command(clang, "-c", "-o", object, source); err != nil {
		t.Fatal(err)
	}
	const good = `TEXT ·F(SB), NOSPLIT, $0-24

	MOVQ y+0(FP), DI
	MOVQ n+8(FP), SI
	MOVQ k+16(FP), CX

LBB0_1:
	LONG $0x187de2c4; WORD $0x0441 // vbroadcastss ymm0, dword ptr [rcx + 4]
	LONG $0x0711fcc5               // vmovups ymmword ptr [rdi], ymm0
	WORD $0xff48; BYTE $0xce       // dec rsi
	JNE  LBB0_1
	VZEROUPPER
	RET
`
	if err := compare(good, object, 1); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"a displacement 4 too far":   {"0x0441", "0x0841"},
		"a dropped instruction":      {"	LONG $0x0711fcc5               // vmovups ymmword ptr [rdi], ymm0\n", ""},
		"another condition":          {"JNE ", "JEQ "},
		"no VZEROUPPER":              {"	VZEROUPPER\n", ""},
		"the end missing":            {"	RET\n", ""},
		"an instruction of Go's":     {"	VZEROUPPER\n", "	VZEROUPPER\n	MOVQ AX, BX\n"},
		"a frame pointer in use":     {"	VZEROUPPER\n", "	LEAQ LCDATA1<>(SB), BP\n	VZEROUPPER\n"},
		"a function of another name": {"·F(", "·G("},
	} {
		if err := compare(strings.Replace(good, change[0], change[1], 1), object, 1); err == nil {
			t.Errorf("%s passes", what)
		}
	}
}
