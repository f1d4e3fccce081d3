//go:build net && !js

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/recur-go/recur/tools/internal/mqtt"
)

const tagNote = ""

func (n *network) check() error {
	if n.mqtt != "" {
		if _, err := mqtt.Parse(n.mqtt); err != nil {
			return fmt.Errorf("-mqtt: %w", err)
		}
	}
	return nil
}

// start begins to serve what the flags say.
func (n *network) start(say func(format string, args ...any)) (outlets, error) {
	var all outlets
	if n.mqtt != "" {
		p, err := startMQTT(n.mqtt, say)
		if err != nil {
			return nil, fmt.Errorf("-mqtt: %w", err)
		}
		all = append(all, publisher{p})
	}
	return all, nil
}

func startMQTT(url string, say func(format string, args ...any)) (*mqtt.Publisher, error) {
	t, err := mqtt.Parse(url)
	if err != nil {
		return nil, err
	}
	if t.User == "" { // others can read a program's arguments
		t.User, t.Password = os.Getenv("MQTT_USER"), os.Getenv("MQTT_PASSWORD")
	}
	return mqtt.New(t, mqtt.Options{}, say)
}

type publisher struct{ *mqtt.Publisher }

func (p publisher) sample(float64, []float32, []float32) {}
func (p publisher) gesture(object []byte)                { p.Publish("", object) }
func (p publisher) trouble(object []byte)                { p.Publish("/trouble", object) }

func (p publisher) close(now bool) {
	wait := 10 * time.Second
	if now {
		wait = 2 * time.Second
	}
	p.Close(wait)
}
