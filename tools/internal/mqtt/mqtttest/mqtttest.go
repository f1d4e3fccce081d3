// Package mqtttest runs an MQTT broker, mosquitto, and what can go wrong on the way to it.
package mqtttest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Broker is a mosquitto of our own.
type Broker struct {
	t      *testing.T
	port   int
	config string
	cmd    *exec.Cmd
}

// NewBroker has a port, and does not run yet; more are lines of its configuration. The test is skipped, or with CI set fails, where there is no
// mosquitto.
func NewBroker(t *testing.T, more string) *Broker {
	t.Helper()
	if _, err := exec.LookPath("mosquitto"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("mosquitto is not installed")
		}
		t.Skip("mosquitto is not installed (Debian: mosquitto)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{t: t, port: l.Addr().(*net.TCPAddr).Port, config: filepath.Join(t.TempDir(), "mosquitto.conf")}
	l.Close()
	if more == "" {
		more = "allow_anonymous true\n"
	}
	text := fmt.Sprintf("listener %d 127.0.0.1\n%s", b.port, more)
	if os.Geteuid() == 0 {
		text += "user root\n"
	}
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// Start waits until it listens.
func (b *Broker) Start() {
	b.t.Helper()
	b.cmd = exec.Command("mosquitto", "-c", b.config)
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	for range 200 {
		if c, err := net.Dial("tcp", b.Address()); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatal("the broker does not listen")
}

// Stop kills it.
func (b *Broker) Stop() {
	if b.cmd != nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
	}
	b.cmd = nil
}

// Address is HOST:PORT.
func (b *Broker) Address() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

// Listener is another client of the broker, which hears everything.
type Listener struct {
	mu    sync.Mutex
	got   []string
	times int // that it has connected
	c     paho.Client
}

// Listen connects a listener, now or as soon as it can. change, unless nil, changes its options.
func (b *Broker) Listen(change func(*paho.ClientOptions)) *Listener {
	b.t.Helper()
	l := &Listener{}
	o := paho.NewClientOptions().AddBroker("tcp://" + b.Address()).SetClientID("listener").SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond)
	o.SetMaxReconnectInterval(50 * time.Millisecond).SetConnectTimeout(5 * time.Second)
	o.SetOnConnectHandler(func(c paho.Client) {
		c.Subscribe("#", 1, func(_ paho.Client, m paho.Message) {
			l.mu.Lock()
			defer l.mu.Unlock()
			text := m.Topic() + " " + string(m.Payload())
			if m.Retained() {
				text += " retained"
			}
			l.got = append(l.got, text)
		}).WaitTimeout(10 * time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.times++
	})
	if change != nil {
		change(o)
	}
	l.c = paho.NewClient(o)
	l.c.Connect().WaitTimeout(10 * time.Second)
	b.t.Cleanup(func() { l.c.Disconnect(100) })
	return l
}

// All are the messages so far: topic, payload, "retained".
func (l *Listener) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// Until waits for a message, retained or not, unless text says that it is.
func (l *Listener) Until(t *testing.T, text string) {
	t.Helper()
	for range 500 {
		got := l.All()
		if slices.Contains(got, text) || slices.Contains(got, text+" retained") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no %q in %q", text, l.All())
}

// Connected waits until it hears, for the n-th time.
func (l *Listener) Connected(t *testing.T, n int) {
	t.Helper()
	for range 500 {
		l.mu.Lock()
		times := l.times
		l.mu.Unlock()
		if times >= n {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the listener does not connect")
}

// Proxy passes bytes on, and holds back those of the broker when told to.
type Proxy struct {
	l    net.Listener
	to   string
	mu   sync.Mutex
	free *sync.Cond
	held bool
	open []net.Conn
}

// NewProxy listens and connects to an address.
func NewProxy(t *testing.T, to string) *Proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{l: l, to: to}
	p.free = sync.NewCond(&p.mu)
	t.Cleanup(func() { l.Close(); p.Hold(false); p.Cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// Address is HOST:PORT.
func (p *Proxy) Address() string { return p.l.Addr().String() }

func (p *Proxy) serve(c net.Conn) {
	b, err := net.Dial("tcp", p.to)
	if err != nil {
		c.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, c, b)
	p.mu.Unlock()
	go func() { io.Copy(b, c); b.Close() }()
	buffer := make([]byte, 4096)
	for {
		n, err := b.Read(buffer)
		p.mu.Lock()
		for p.held {
			p.free.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			c.Write(buffer[:n])
		}
		if err != nil {
			c.Close()
			return
		}
	}
}

// Hold holds back what the broker says, or lets it go.
func (p *Proxy) Hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = on
	p.free.Broadcast()
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}
