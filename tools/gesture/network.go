package main

import (
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/tools/internal/sensor"
)

// network is what only programs built with the tag net can do.
type network struct {
	mqtt string
}

func (n *network) flags(fs *flag.FlagSet) {
	fs.StringVar(&n.mqtt, "mqtt", "", "publish each gesture as JSON at `URL`: tcp://[USER:PASSWORD@]HOST[:PORT]/TOPIC[?qos=0], mqtts:// with TLS"+tagNote)
}

// used is the first flag that wants the network.
func (n *network) used() string {
	switch {
	case n.mqtt != "":
		return "-mqtt"
	}
	return ""
}

// outlet takes what happens to somewhere else. Nothing that it does makes the caller wait, and it keeps none of the slices.
type outlet interface {
	// sample is one of the model's, of time t in seconds, with the network's answer to it.
	sample(t float64, values, probabilities []float32)
	// gesture and trouble are objects as -json prints them.
	gesture(object []byte)
	trouble(object []byte)
	// close publishes what waits, or, where now is true, only what goes at once.
	close(now bool)
}

type outlets []outlet

func (all outlets) sample(t float64, values []float32, s *gesture.Spotter) {
	for _, o := range all {
		o.sample(t, values, s.Probabilities())
	}
}

func (all outlets) trouble(e sensor.Event) {
	if len(all) == 0 {
		return
	}
	object := appendTrouble(nil, e)
	for _, o := range all {
		o.trouble(object)
	}
}

func (all outlets) close(now bool) {
	for _, o := range all {
		o.close(now)
	}
}

// untilSignal does work until it is done, or until SIGINT or SIGTERM comes, and leaves it alone then.
func untilSignal(work func() error) (signalled bool, err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case <-signals:
		return true, nil
	case err := <-done:
		return false, err
	}
}
