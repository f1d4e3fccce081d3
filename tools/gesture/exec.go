package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/recur-go/recur/models/gesture"
)

// queueLength is how many gestures can wait for their command.
const queueLength = 8

// outputWait is how long what a command left behind may hold on to its output.
const outputWait = time.Second

// action runs a command for each gesture, one after the other, in a goroutine of its own.
type action struct {
	args    []string
	timeout time.Duration
	output  io.Writer // of the command
	report  func(format string, args ...any)
	queue   chan gesture.Event
	done    sync.WaitGroup
	cancel  context.CancelFunc
	context context.Context
}

// newAction takes a command line as split does.
func newAction(command string, timeout time.Duration, output io.Writer, report func(string, ...any)) (*action, error) {
	args, err := split(command)
	if err != nil {
		return nil, fmt.Errorf("-exec %q: %w", command, err)
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return nil, fmt.Errorf("-exec: %w", err)
	}
	a := &action{args: args, timeout: timeout, output: output, report: report, queue: make(chan gesture.Event, queueLength)}
	a.context, a.cancel = context.WithCancel(context.Background())
	a.done.Go(a.work)
	return a, nil
}

// push never waits: where too many gestures do, this one is reported and forgotten.
func (a *action) push(e gesture.Event) {
	select {
	case a.queue <- e:
	default:
		a.report("%d gestures wait for their command; none is run for %s at %.3f s", queueLength, e.Label, e.Start)
	}
}

// close waits for the commands of all gestures so far, or, where now is true, kills the one that runs and forgets the rest.
func (a *action) close(now bool) {
	if now {
		a.cancel()
	}
	close(a.queue)
	a.done.Wait()
	a.cancel()
}

func (a *action) work() {
	for e := range a.queue {
		if a.context.Err() != nil {
			a.report("no command is run for %s at %.3f s", e.Label, e.Start)
			continue
		}
		if err := a.run(e); err != nil {
			a.report("%s: %v", a.args[0], err)
		}
	}
}

func (a *action) run(e gesture.Event) error {
	ctx, cancel := context.WithTimeout(a.context, a.timeout)
	defer cancel()
	args := fill(a.args, e)
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stdout, c.Stderr = a.output, a.output
	c.WaitDelay = outputWait
	ownGroup(c)
	err := c.Run()
	switch {
	case a.context.Err() != nil:
		return errors.New("killed")
	case ctx.Err() != nil:
		return fmt.Errorf("killed after %v", a.timeout)
	case errors.Is(err, exec.ErrWaitDelay): // it left something behind that holds its output, and did well itself
		return nil
	}
	return err
}

var places = []string{"{label}", "{confidence}", "{start}", "{end}"}

// fill puts the gesture in the places. Each argument stays one, whatever it holds.
func fill(args []string, e gesture.Event) []string {
	values := strings.NewReplacer(
		"{label}", e.Label,
		"{confidence}", strconv.FormatFloat(float64(e.Confidence), 'f', decimals, 64),
		"{start}", strconv.FormatFloat(e.Start, 'f', decimals, 64),
		"{end}", strconv.FormatFloat(e.End, 'f', decimals, 64))
	filled := slices.Clone(args)
	for i := range filled {
		filled[i] = values.Replace(filled[i])
	}
	return filled
}

// placesIn returns what looks like a place: a lower-case word in braces.
func placesIn(text string) (found []string) {
	for {
		_, rest, ok := strings.Cut(text, "{")
		if !ok {
			return found
		}
		text = strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz_")
		if n := len(rest) - len(text); n > 0 && strings.HasPrefix(text, "}") {
			found = append(found, "{"+rest[:n]+"}")
		}
	}
}

// split cuts a command line at spaces. Quotes of both kinds keep what is between them together; a backslash takes the next character as it
// is, except between single quotes. Nothing else has a meaning: no shell is run.
func split(command string) (args []string, err error) {
	var word strings.Builder
	var quote rune
	within, escaped := false, false
	for _, r := range command {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			within, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			within, quote = true, r
		case quote == 0 && strings.ContainsRune(" \t\n", r):
			if within {
				args = append(args, word.String())
				word.Reset()
			}
			within = false
		default:
			within = true
			word.WriteRune(r)
		}
	}
	if within {
		args = append(args, word.String())
	}
	return args, check(args, quote != 0 || escaped)
}

func check(args []string, open bool) error {
	switch {
	case open:
		return errors.New("a quote does not end")
	case len(args) == 0 || args[0] == "":
		return errors.New("no command")
	case len(placesIn(args[0])) > 0:
		return errors.New("the command itself must not depend on the gesture")
	}
	for _, a := range args {
		for _, p := range placesIn(a) {
			if !slices.Contains(places, p) {
				return fmt.Errorf("no %s: want %s", p, strings.Join(places, ", "))
			}
		}
	}
	return nil
}
