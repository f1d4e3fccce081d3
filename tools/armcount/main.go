// Armcount counts the instructions that a step of a recurrent cell executes on ARM, of a batch of them (×20), of a tracker and of the gesture
// spotter, in qemu, and the cycles that llvm-mca gives the inner loops on several cores. Both are models of a board, and repeat to the
// instruction.
//
//	go run ./tools/armcount
//
// from the root of the module. It wants qemu-user, gcc and llvm-19's llvm-mca.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// steps is that of guest/main.go.
const steps = 100

var runs = []struct{ arch, qemu, getppid, cpu, tier string }{
	{"arm64", "qemu-aarch64", "173", "cortex-a53", "neon"},
	{"arm64", "qemu-aarch64", "173", "cortex-a72", "neon"},
	{"arm64", "qemu-aarch64", "173", "cortex-a76", "dotprod"},
	{"arm64", "qemu-aarch64", "173", "cortex-a72", "portable"},
	{"arm", "qemu-arm", "64", "cortex-a7", "neon"},
	{"arm", "qemu-arm", "64", "cortex-a7", "portable"},
}

func main() {
	counts := flag.Bool("counts", true, "count executed instructions")
	cycles := flag.Bool("cycles", true, "print llvm-mca's cycles")
	flag.Parse()
	if err := run(*counts, *cycles); err != nil {
		fmt.Fprintln(os.Stderr, "armcount:", err)
		os.Exit(1)
	}
}

func run(counts, cycles bool) error {
	if counts {
		if err := countAll(); err != nil {
			return err
		}
	}
	if cycles {
		return cycleTable()
	}
	return nil
}

func command(env []string, name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, e.String())
	}
	return o.String(), e.String(), err
}

func countAll() error {
	dir, err := os.MkdirTemp("", "armcount")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	plugin := filepath.Join(dir, "count.so")
	if _, _, err := command(nil, "gcc", "-O2", "-fPIC", "-shared", "-o", plugin, "tools/armcount/plugin/count.c"); err != nil {
		return err
	}
	for _, arch := range []string{"arm64", "arm"} {
		if _, _, err := command([]string{"GOOS=linux", "GOARCH=" + arch, "GOARM=7", "CGO_ENABLED=0"}, "go", "build", "-o", filepath.Join(dir, arch), "./tools/armcount/guest"); err != nil {
			return err
		}
	}
	fmt.Println("executed instructions a step")
	for _, r := range runs {
		env := []string{"RECUR_TIER=" + r.tier, "GODEBUG=asyncpreemptoff=1"}
		stdout, stderr, err := command(env, r.qemu, "-cpu", r.cpu, "-d", "plugin", "-plugin", plugin+",mark="+r.getppid, filepath.Join(dir, r.arch))
		if err != nil {
			return err
		}
		if err := report(r.arch, r.cpu, r.tier, stdout, stderr); err != nil {
			return err
		}
	}
	return nil
}

func report(arch, cpu, tier, stdout, stderr string) error {
	var marks []int
	for line := range strings.Lines(stderr) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "executed "); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			marks = append(marks, n)
		}
	}
	for line := range strings.Lines(stdout) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "tier "); ok && name != tier {
			return fmt.Errorf("%s runs tier %s, not %s", cpu, name, tier)
		}
		cell, ok := strings.CutPrefix(line, "cell ")
		if !ok {
			continue
		}
		if len(marks) < 2 {
			return fmt.Errorf("too few counts of %s in the log:\n%s", cell, stderr)
		}
		fmt.Printf("%-6s %-11s %-9s %-26s %8d\n", arch, cpu, tier, cell, (marks[1]-marks[0])/steps)
		marks = marks[2:]
	}
	return nil
}

// cores are llvm-mca's names; its cortex-a76 is a copy of its cortex-a57, so neoverse-n1, the A76's sibling, stands for that, and it has no
// model of the Cortex-A7. The peaks are multiply-adds a cycle: an in-order core issues one vector instruction a cycle, of which 64
// multiply-adds take 12 by SMULL and 4 by SDOT; an A72 has one multiplier of vectors, which gives 8 products, and an N1 two for SDOT.
var cores = []struct {
	arch, cpu  string
	mlal, sdot float64
}{
	{"arm64", "cortex-a53", 64. / 12, 0},
	{"arm64", "cortex-a55", 64. / 12, 16},
	{"arm64", "cortex-a72", 8, 0},
	{"arm64", "neoverse-n1", 8, 32},
	{"arm", "cortex-a9", 64. / 12, 0},
	{"arm", "cortex-a57", 8, 0},
}

var (
	triples = map[string][]string{"arm64": {"-mtriple=aarch64", "-mattr=+dotprod"}, "arm": {"-mtriple=armv7", "-mattr=+neon,+vfp4"}}
	region  = regexp.MustCompile(`(?ms)^\t(?://|@) LLVM-MCA-BEGIN (\w+) (\d+)\n(.*?)^\t(?://|@) LLVM-MCA-END`)
	macro   = regexp.MustCompile(`(?ms)^\.macro .*?^\.endm\n`)
	label   = regexp.MustCompile(`\b\d[bf]$`)
)

// cycleTable feeds the marked loops of the assembly sources to llvm-mca. The number after a loop's name is how many multiply-adds of int8
// one pass does.
func cycleTable() error {
	mca := "llvm-mca-19"
	if _, err := exec.LookPath(mca); err != nil {
		mca = "llvm-mca-16"
	}
	fmt.Printf("\ncycles of the inner loops, %s\n", mca)
	for _, arch := range []string{"arm64", "arm"} {
		sources, err := filepath.Glob("asm/csrc/" + arch + "/gemv*.S")
		if err != nil {
			return err
		}
		var macros string
		shared, err := os.ReadFile("asm/csrc/" + arch + "/func.inc")
		if err == nil {
			macros = string(bytes.Join(macro.FindAll(shared, -1), nil))
		}
		for _, source := range sources {
			text, err := os.ReadFile(source)
			if err != nil {
				return err
			}
			own := macros + string(bytes.Join(macro.FindAll(text, -1), nil))
			for _, m := range region.FindAllStringSubmatch(string(text), -1) {
				macs, _ := strconv.Atoi(m[2])
				var body strings.Builder
				for line := range strings.Lines(m[3]) {
					body.WriteString(label.ReplaceAllString(strings.TrimRight(line, "\n"), "#0") + "\n")
				}
				for _, c := range cores {
					peak := c.mlal
					if strings.Contains(own, "sdot") {
						peak = c.sdot
					}
					if c.arch != arch || peak == 0 {
						continue
					}
					if err := cyclesOf(mca, c.arch, c.cpu, m[1], own+body.String(), macs, peak); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

var total = regexp.MustCompile(`(Instructions|Total Cycles):\s+(\d+)`)

func cyclesOf(mca, arch, cpu, name, text string, macs int, peak float64) error {
	file, err := os.CreateTemp("", "armcount*.s")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	const passes = 400
	out, _, err := command(nil, mca, append(triples[arch], "-mcpu="+cpu, fmt.Sprint("-iterations=", passes), file.Name())...)
	if err != nil {
		return err
	}
	n := map[string]float64{}
	for _, m := range total.FindAllStringSubmatch(out, -1) {
		if _, ok := n[m[1]]; !ok {
			n[m[1]], _ = strconv.ParseFloat(m[2], 64)
		}
	}
	cycles := n["Total Cycles"] / passes
	speed := float64(macs) / cycles
	fmt.Printf("%-6s %-12s %-11s %3.0f instructions %6.1f cycles %6.2f multiply-adds a cycle, %3.0f %% of peak\n", arch, name, cpu,
		n["Instructions"]/passes, cycles, speed, 100*speed/peak)
	return nil
}
