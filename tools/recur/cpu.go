package main

import (
	"encoding/json"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/tools/internal/bench"
)

var cpuCommand = command{"cpu", "show what this processor has and which kernels it runs", `
usage: recur cpu [-json]

Shows the processor, its features that the kernels use, the tiers of kernels that it can run, the slowest first, which of
them is in use, and its caches.

  recur cpu
  recur cpu -json | jq -r .tiers[]
      one tier a line
  RECUR_TIER=portable recur cpu
      the same with another tier in use`, cpu}

func cpu(c *call) error {
	asJSON := c.flags.Bool("json", false, "print one JSON object")
	if _, err := c.parse(); err != nil {
		return err
	}
	if err := kernels.TierError(); err != nil {
		return err
	}
	m := bench.Describe()
	if *asJSON {
		e := json.NewEncoder(c.out)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	m.Text(c.out)
	return nil
}
