//go:build !net || js

package main

import "fmt"

const tagNote = "; only in programs built with -tags net, which this one is not"

func (n *network) checkTag() error {
	if f := n.used(); f != "" {
		return fmt.Errorf("%s is not in this program: build it with -tags net", f)
	}
	return nil
}

func (n *network) start(host, facts, func(format string, args ...any)) (outlets, opener, error) {
	return nil, nil, nil
}
