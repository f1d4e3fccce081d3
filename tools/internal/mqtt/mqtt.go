// Package mqtt publishes messages to an MQTT broker (3.1.1) and never makes the caller wait: messages queue, and the oldest are dropped where the
// broker is away or slow for too long.
package mqtt

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Options of a Publisher. Zero values stand for what is sensible.
type Options struct {
	Queue     int           // messages that can wait
	FirstWait time.Duration // before the second try to connect; it doubles from one to the next
	MaxWait   time.Duration
	Patience  time.Duration // with the broker: for a connection, and for the receipt of a message
	KeepAlive time.Duration // between signs of life, by which a connection is known to be dead
}

func (o Options) orDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if o.Queue == 0 {
		o.Queue = 256
	}
	set(&o.FirstWait, time.Second)
	set(&o.MaxWait, time.Minute)
	set(&o.Patience, 10*time.Second)
	set(&o.KeepAlive, 30*time.Second)
	return o
}

// Publisher publishes in a goroutine of its own, one message after the other, in order. With QoS 1 or 2 a message is kept until the broker has
// confirmed it, so that it can come twice.
type Publisher struct {
	target Target
	opt    Options
	roots  *x509.CertPool
	report func(format string, args ...any)
	id     string

	mu    sync.Mutex
	ring  []message // message n in ring[n % len(ring)]
	first uint64    // the oldest
	next  uint64
	lost  uint64
	full  bool // and told

	wake    chan struct{}
	closing chan struct{}
	giveUp  chan struct{}
	done    sync.WaitGroup
	said    string
}

type message struct {
	topic   string
	payload []byte
}

// New begins to connect. report is told what happens, from a goroutine.
func New(t Target, opt Options, report func(format string, args ...any)) (*Publisher, error) {
	p := &Publisher{target: t, opt: opt.orDefaults(), report: report, id: "gesture-" + rand.Text()[:10],
		wake: make(chan struct{}, 1), closing: make(chan struct{}), giveUp: make(chan struct{})}
	if t.CA != "" {
		b, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		if p.roots = x509.NewCertPool(); !p.roots.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s has no certificate", t.CA)
		}
	}
	p.ring = make([]message, p.opt.Queue)
	p.done.Go(p.work)
	return p, nil
}

// Publish queues a message for the topic, or for the one below it that suffix names, and keeps no reference to payload. It never waits.
func (p *Publisher) Publish(suffix string, payload []byte) {
	p.mu.Lock()
	m := &p.ring[p.next%uint64(len(p.ring))]
	m.topic, m.payload = suffix, append(m.payload[:0], payload...)
	tell := false
	if p.next++; p.next-p.first > uint64(len(p.ring)) {
		p.first++
		p.lost++
		tell, p.full = !p.full, true
	}
	p.mu.Unlock()
	if tell {
		p.report("mqtt: %d messages wait for the broker; the oldest are dropped", len(p.ring))
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close gives what waits that long to be published, and says what was not.
func (p *Publisher) Close(wait time.Duration) {
	timer := time.AfterFunc(wait, func() { close(p.giveUp) })
	close(p.closing)
	p.done.Wait()
	timer.Stop()
	p.mu.Lock()
	left, lost := p.next-p.first, p.lost
	p.mu.Unlock()
	if lost > 0 {
		p.report("mqtt: %d messages were lost", lost)
	}
	if left > 0 {
		p.report("mqtt: %d messages were not published", left)
	}
}

func (p *Publisher) work() {
	wait := p.opt.FirstWait
	for {
		connected, err := p.session()
		if err == nil {
			return
		}
		if connected {
			wait = p.opt.FirstWait
		}
		if !errors.Is(err, errGivenUp) {
			p.say(fmt.Sprintf("mqtt: %s: %v; trying again", p.target.Address, err))
		}
		if p.isClosing() && p.empty() {
			return
		}
		select {
		case <-time.After(wait):
		case <-p.giveUp:
			return
		}
		wait = min(2*wait, p.opt.MaxWait)
	}
}

// say leaves out what it said last.
func (p *Publisher) say(text string) {
	if text != p.said {
		p.report("%s", text)
	}
	p.said = text
}

func (p *Publisher) isClosing() bool {
	select {
	case <-p.closing:
		return true
	default:
		return false
	}
}

func (p *Publisher) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first == p.next
}

var (
	errGivenUp = errors.New("given up")
	errSlow    = errors.New("no answer in time")
)

// session lasts as long as the connection. It returns nil where all is published and nothing will follow.
func (p *Publisher) session() (connected bool, err error) {
	gone := make(chan error, 1)
	c := paho.NewClient(p.options(gone))
	defer c.Disconnect(100)
	if err := p.await(c.Connect(), nil); err != nil {
		return false, err
	}
	if err := p.await(c.Publish(p.target.Topic+statusTopic, 1, true, "online"), gone); err != nil {
		return false, err
	}
	p.say("mqtt: connected to " + p.target.Address)
	for {
		n, m, ok := p.oldest()
		if !ok {
			p.tellLost()
		}
		if !ok && p.isClosing() {
			return true, p.await(c.Publish(p.target.Topic+statusTopic, 1, true, "offline"), gone)
		}
		if !ok {
			select {
			case <-p.wake:
			case <-p.closing:
			case err := <-gone:
				return true, err
			}
			continue
		}
		if err := p.await(c.Publish(p.target.Topic+m.topic, p.target.QoS, false, m.payload), gone); err != nil {
			return true, err
		}
		p.published(n)
	}
}

// oldest returns a copy of the message that has waited longest, and its number.
func (p *Publisher) oldest() (n uint64, m message, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == p.next {
		return 0, m, false
	}
	m = p.ring[p.first%uint64(len(p.ring))]
	m.payload = append([]byte(nil), m.payload...)
	return p.first, m, true
}

// published takes message n out of the queue, if it has not been dropped from it since.
func (p *Publisher) published(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < p.first { // dropped while it was on its way
		p.lost--
		return
	}
	p.first = n + 1
}

// tellLost reports what was lost since the last time, when the queue is empty again.
func (p *Publisher) tellLost() {
	p.mu.Lock()
	lost := p.lost
	p.lost, p.full = 0, false
	p.mu.Unlock()
	if lost > 0 {
		p.report("mqtt: %d messages were lost", lost)
	}
}

func (p *Publisher) await(t paho.Token, gone <-chan error) error {
	timer := time.NewTimer(p.opt.Patience)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case err := <-gone:
		return err
	case <-timer.C:
		return errSlow
	case <-p.giveUp:
		return errGivenUp
	}
}

func (p *Publisher) options(gone chan<- error) *paho.ClientOptions {
	o := paho.NewClientOptions()
	scheme := "tcp://"
	if p.target.TLS {
		scheme = "ssl://"
		host, _, _ := net.SplitHostPort(p.target.Address)
		o.SetTLSConfig(&tls.Config{RootCAs: p.roots, ServerName: host})
	}
	o.AddBroker(scheme + p.target.Address)
	o.SetClientID(p.id).SetUsername(p.target.User).SetPassword(p.target.Password)
	o.SetProtocolVersion(4).SetCleanSession(true)
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetConnectTimeout(p.opt.Patience).SetWriteTimeout(p.opt.Patience)
	o.SetKeepAlive(p.opt.KeepAlive).SetPingTimeout(p.opt.Patience)
	o.SetWill(p.target.Topic+statusTopic, "offline", 1, true)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) {
		select {
		case gone <- err:
		default:
		}
	})
	return o
}
