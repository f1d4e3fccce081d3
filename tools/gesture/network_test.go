package main

import (
	"strings"
	"testing"
)

func TestPageFlags(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		errs   string
	}{
		{[]string{"-sensor", "phone"}, 1, "-sensor phone: it shows the page of -web"},
		{[]string{"-web-tls"}, 2, "go with -web"},
		{[]string{"-web", ":1", "-web-cert", "x"}, 2, "go together"},
		{[]string{"record", "-label", "a", "-o", "b", "-sensor", "phone", "-web-key", "x"}, 2, "go with -web"},
	} {
		if status, out, errs := gestureCommand("", c.args...); status != c.status || out != "" || !strings.Contains(errs, c.errs) {
			t.Errorf("%v: status %d, %s%s", c.args, status, out, errs)
		}
	}
	if status, out, _ := gestureCommand("", "doctor", "-sensor", "phone"); status != 1 || !strings.Contains(out, "-sensor phone: it shows the page of -web") {
		t.Errorf("doctor: status %d, %s", status, out)
	}
}
