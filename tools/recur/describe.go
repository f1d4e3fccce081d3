package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/fromtorch"
	"github.com/recur-go/recur/tools/internal/replace"
)

var describeCommand = command{"describe", "guess what the layers of a PyTorch model are", `
usage: recur describe MODEL.pt [-o ARCH.json]

Writes a description of the network that the weights in a .pt, .pth or .safetensors file belong to, as recur convert needs
it. Names and shapes tell the layers; what they cannot tell, such as activations and what becomes of time, is guessed, and
the notes say so. Correct it by hand, and drop the notes as you like; docs/import.md explains each field.

  recur describe gesture.pt -o gesture.json
  recur convert gesture.pt -arch gesture.json -o gesture.recur -range 1`, describeModel}

func describeModel(c *call) error {
	out := c.flags.String("o", "", "the `FILE` to write (default: print)")
	args, err := c.parse("MODEL.pt")
	if err != nil {
		return err
	}
	if !slices.Contains(fromtorch.Extensions, strings.ToLower(filepath.Ext(args[0]))) {
		return misused("%s: want a .pt, .pth or .safetensors file", args[0])
	}
	b, err := readFile(args[0], maxModelBytes)
	if err != nil {
		return err
	}
	f, err := fromtorch.Read(b)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	a, err := fromtorch.Describe(f)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if *out == "" {
		return writeJSON(c.out, a)
	}
	return replace.File(*out, func(w io.Writer) error { return writeJSON(w, a) })
}
