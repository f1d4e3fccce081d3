//go:build net && !js

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/recur-go/recur/tools/internal/live"
	"github.com/recur-go/recur/tools/internal/mqtt"
)

const tagNote = ""

func (n *network) checkTag() error {
	if n.mqtt != "" {
		if _, err := mqtt.Parse(n.mqtt); err != nil {
			return fmt.Errorf("-mqtt: %w", err)
		}
	}
	return nil
}

// start begins to serve what the flags say; phone opens the sensor that is a phone, where there is a page for it.
func (n *network) start(h host, f facts, say func(format string, args ...any)) (all outlets, phone opener, err error) {
	if n.mqtt != "" {
		p, err := startMQTT(n.mqtt, say)
		if err != nil {
			return nil, nil, fmt.Errorf("-mqtt: %w", err)
		}
		all = append(all, publisher{p})
	}
	if n.web != "" {
		w, err := n.startWeb(h, f, say)
		if err != nil {
			all.close(true)
			return nil, nil, fmt.Errorf("-web: %w", err)
		}
		all, phone = append(all, w), w.openPhone
	}
	return all, phone, nil
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
func (p publisher) say(string)                           {}

func (p publisher) close(now bool) {
	wait := 10 * time.Second
	if now {
		wait = 2 * time.Second
	}
	p.Close(wait)
}

// web is the page and what is shown on it.
type web struct {
	board  *live.Board
	phone  *live.Phone
	server *live.Server
}

func (n *network) startWeb(h host, f facts, say func(format string, args ...any)) (*web, error) {
	w := &web{board: live.NewBoard(f.live())}
	if f.phone {
		w.phone = live.NewPhone(h.clock())
	}
	cert, err := n.certificate(say)
	if err != nil {
		return nil, err
	}
	if w.server, err = live.Serve(n.web, cert, w.board, w.phone); err != nil {
		return nil, err
	}
	say("the page is at %s", strings.Join(w.server.URLs(), " and "))
	return w, nil
}

func (f facts) live() live.Facts {
	all := live.Facts{Labels: f.labels, None: f.none, Rate: f.rate, Phone: f.phone}
	if f.rate > 0 {
		all.Delay = float64(f.delay) / f.rate
	}
	for _, c := range f.channels {
		all.Channels = append(all.Channels, live.Channel{Name: c.Name, Unit: c.Unit})
	}
	return all
}

func (n *network) certificate(say func(format string, args ...any)) (*tls.Certificate, error) {
	var c tls.Certificate
	var err error
	switch {
	case n.webTLS:
		if c, err = live.SelfSigned(n.webCert, n.key); err == nil {
			say("SHA-256 of the certificate, which browsers do not know: %s", live.Fingerprint(c))
		}
	case n.webCert != "":
		c, err = tls.LoadX509KeyPair(n.webCert, n.key)
	default:
		return nil, nil
	}
	return &c, err
}

func (w *web) openPhone() (device, error) { return device{w.phone, true, false}, nil }

func (w *web) sample(t float64, values, probabilities []float32) {
	w.board.Sample(t, values, probabilities)
}
func (w *web) gesture(object []byte) { w.board.Note("gesture", object) }
func (w *web) trouble(object []byte) { w.board.Note("trouble", object) }
func (w *web) say(text string)       { w.board.Say(text) }
func (w *web) close(bool)            { w.server.Close() }
