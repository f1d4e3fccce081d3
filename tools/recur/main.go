// Command recur converts trained recurrent networks to .recur files, looks into them, runs them, and says what int8 costs.
//
//	recur convert MODEL.onnx -o OUT.recur -calib FILE.npz
//	recur describe MODEL.pt -o ARCH.json
//	recur inspect OUT.recur
//	recur run OUT.recur -in X.npy -out Y.npy
//	recur compare MODEL.onnx OUT.recur -in X.npy
//	recur conformance CASES
//
// recur COMMAND -h explains each. It exits with 1 for bad input, 2 for a wrong command line.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// command is a subcommand: its flags are defined and read in run.
type command struct {
	name, about, help string
	run               func(c *call) error
}

var commands = []command{convertCommand, describeCommand, inspectCommand, runCommand, compareCommand, conformanceCommand, benchCommand, cpuCommand}

// call is a command line under way.
type call struct {
	flags    *flag.FlagSet
	args     []string
	out, err io.Writer
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func misused(f string, args ...any) error { return usageError{fmt.Errorf(f, args...)} }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes a command line and returns the exit status.
func run(args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		overview(errs)
		return 2
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		overview(out)
		return 0
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.execute(args[1:], out, errs)
		}
	}
	fmt.Fprintf(errs, "recur: unknown command %q\n", args[0])
	overview(errs)
	return 2
}

func overview(w io.Writer) {
	fmt.Fprintln(w, "recur turns trained recurrent networks into .recur files, and runs and measures them.\n\nusage: recur COMMAND [arguments]")
	fmt.Fprintln(w)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.about)
	}
	fmt.Fprintln(w, "\nrecur COMMAND -h shows how each is used.")
}

func (c command) execute(args []string, out, errs io.Writer) int {
	k := &call{flags: flag.NewFlagSet(c.name, flag.ContinueOnError), args: args, out: out, err: errs}
	k.flags.SetOutput(io.Discard)
	k.flags.Usage = func() {}
	err := c.run(k)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "%s\n\nflags:\n", strings.TrimSpace(c.help))
		k.flags.SetOutput(out)
		k.flags.PrintDefaults()
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(errs, "recur %s: %v\nrecur %s -h shows how it is used.\n", c.name, err, c.name)
		return 2
	}
	fmt.Fprintf(errs, "recur %s: %v\n", c.name, err)
	return 1
}

// parse reads the command line, in which flags and other arguments may be mixed, and returns the others. A last
// wanted one that ends in ... may be repeated.
func (c *call) parse(want ...string) ([]string, error) {
	var rest []string
	for args := c.args; ; {
		if err := c.flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err}
		}
		if args = c.flags.Args(); len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	if n := len(want); n > 0 && strings.HasSuffix(want[n-1], "...") && len(rest) >= n {
		return rest, nil
	}
	if len(rest) != len(want) {
		return nil, misused("%d arguments, want %s", len(rest), strings.Join(want, " "))
	}
	return rest, nil
}
