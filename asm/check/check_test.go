package check

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestAssembly(t *testing.T) {
	n, err := Tree(os.DirFS(".."))
	if errors.Is(err, ErrNoDisassembler) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n < 1000 {
		t.Fatalf("only %d instructions found", n)
	}
	t.Logf("%d instructions are what their comments say", n)
}

// TestWrong checks that the checker refuses what it is there for.
func TestWrong(t *testing.T) {
	const good = "\tBYTE $0xc4; BYTE $0xe2; BYTE $0x3d; BYTE $0x50; BYTE $0x46; BYTE $0x80 // {vex} vpdpbusd ymm0, ymm8, ymmword ptr [rsi - 128]\n"
	if n, err := File("a_amd64.s", good); errors.Is(err, ErrNoDisassembler) && os.Getenv("CI") != "true" {
		t.Skip(err)
	} else if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	for what, text := range map[string]string{
		"a register":     strings.Replace(good, "ymm8", "ymm9", 1),
		"a displacement": strings.Replace(good, "0x80", "0x7f", 1),
		"no VEX prefix":  strings.Replace(good, "{vex} ", "", 1),
		"a byte less":    strings.Replace(good, "; BYTE $0x80", "", 1),
		"a byte more":    good + "\tBYTE $0xc3; BYTE $0xc3 // ret\n",
		"no comment":     "\tBYTE $0xc3\n",
	} {
		if _, err := File("a_amd64.s", text); err == nil {
			t.Errorf("%s passes:\n%s", what, text)
		}
	}
	for name, text := range map[string]string{
		"a_arm64.s": "\tWORD $0x4e208420 // add v0.16b, v1.16b, v1.16b\n",
		"a_arm.s":   "\tWORD $0xf2000840 // vadd.i8 q0, q0, q1\n",
		"a.s":       "\tWORD $0 // nop\n",
	} {
		if _, err := File(name, text); err == nil {
			t.Errorf("%s passes:\n%s", name, text)
		}
	}
}
