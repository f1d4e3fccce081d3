//go:build !net || js

package main

import (
	"strings"
	"testing"
)

func TestWithoutNetwork(t *testing.T) {
	for _, args := range [][]string{{"-mqtt", "tcp://pi/a"}, {"-web", ":8080"}} {
		if status, out, errs := gestureCommand("", args...); status != 2 || out != "" || errs != "gesture: "+args[0]+" is not in this program: build it with -tags net; gesture -h explains\n" {
			t.Errorf("%v: status %d, %s%s", args, status, out, errs)
		}
	}
	if _, out, _ := gestureCommand("", "-h"); !strings.Contains(out, "only in programs built with -tags net, which this one is not") {
		t.Errorf("-h does not say it: %s", out)
	}
}
