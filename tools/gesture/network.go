package main

import (
	"errors"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/recur-go/recur/models/gesture"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/sensor"
)

// network is what only programs built with the tag net can do.
type network struct {
	mqtt         string
	web          string
	webTLS       bool
	webCert, key string
}

// facts are what a page knows of the model and the sensor.
type facts struct {
	channels []sensor.Channel
	rate     float64  // samples a second
	labels   []string // of the answers; none where nothing is recognised
	none     string   // the label that says that there is no gesture
	delay    int      // samples by which answers are late
	phone    bool     // is the sensor
}

// facts are without answers.
func (o *options) facts(m *runtime.Model) (f facts) {
	f.channels, f.rate = wants(m)
	f.phone = o.spec == "phone"
	return f
}

// facts with answers are for a Spotter's model.
func (o *options) factsOfAnswers(m *runtime.Model) (f facts, err error) {
	f = o.facts(m)
	f.labels = m.File().Labels
	f.delay, f.none, err = gesture.Delay(m)
	return f, err
}

// opener opens a sensor.
type opener func() (device, error)

func (n *network) flags(fs *flag.FlagSet) {
	fs.StringVar(&n.mqtt, "mqtt", "", "publish each gesture as JSON at `URL`: tcp://[USER:PASSWORD@]HOST[:PORT]/TOPIC[?qos=0], mqtts:// with TLS"+tagNote)
	n.webFlags(fs)
}

// webFlags are those of commands whose sensor can be a phone.
func (n *network) webFlags(fs *flag.FlagSet) {
	fs.StringVar(&n.web, "web", "", "serve a page of what happens at `ADDRESS`, such as :8080 or 127.0.0.1:8080"+tagNote)
	fs.BoolVar(&n.webTLS, "web-tls", false, "serve it as https, which phones want that are the sensor, with a certificate made for it")
	fs.StringVar(&n.webCert, "web-cert", "", "serve it as https with the certificate of `FILE.pem`; with -web-tls it is made where it is not there")
	fs.StringVar(&n.key, "web-key", "", "`FILE.pem` of the certificate's key")
}

// used is the first flag that wants the network.
func (n *network) used() string {
	switch {
	case n.mqtt != "":
		return "-mqtt"
	case n.web != "":
		return "-web"
	}
	return ""
}

func (n *network) check() error {
	switch {
	case n.web == "" && (n.webTLS || n.webCert != "" || n.key != ""):
		return errors.New("-web-tls, -web-cert and -web-key go with -web")
	case (n.webCert == "") != (n.key == ""):
		return errors.New("-web-cert and -web-key go together")
	}
	return n.checkTag()
}

// outlet takes what happens to somewhere else. Nothing that it does makes the caller wait, and it keeps none of the slices.
type outlet interface {
	// sample is one of the model's, of time t in seconds, with the network's answer to it.
	sample(t float64, values, probabilities []float32)
	// gesture and trouble are objects as -json prints them.
	gesture(object []byte)
	trouble(object []byte)
	say(text string)
	// close publishes what waits, or, where now is true, only what goes at once.
	close(now bool)
}

type outlets []outlet

func (all outlets) sample(t float64, values, probabilities []float32) {
	for _, o := range all {
		o.sample(t, values, probabilities)
	}
}

func (all outlets) gesture(object []byte) {
	for _, o := range all {
		o.gesture(object)
	}
}

func (all outlets) say(text string) {
	for _, o := range all {
		o.say(text)
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

// untilSignal does work until it is done, or until SIGINT or SIGTERM comes, and leaves it alone then. Where stay is true it waits for one also
// after the work.
func untilSignal(work func() error, stay bool, say func(format string, args ...any)) (signalled bool, err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case <-signals:
		return true, nil
	case err := <-done:
		if err != nil || !stay {
			return false, err
		}
	}
	say("that is all; the page stays until the program is interrupted")
	<-signals
	return true, nil
}
