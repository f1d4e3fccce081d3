package mqtt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/recur-go/recur/tools/internal/mqtt/mqtttest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Target{
		"tcp://pi/a":      {Address: "pi:1883", Topic: "a", QoS: 1},
		"mqtt://pi/a/b c": {Address: "pi:1883", Topic: "a/b c", QoS: 1},
		"mqtts://u:p%40@[::1]/home/gesture?qos=0&ca=/x.pem": {Address: "[::1]:8883", TLS: true, CA: "/x.pem", User: "u", Password: "p@", Topic: "home/gesture"},
		"ssl://pi:99/%C3%A4?qos=2":                          {Address: "pi:99", TLS: true, Topic: "ä", QoS: 2},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": `scheme ""`, "pi:1883/a": `scheme "pi"`, "http://pi/a": `scheme "http"`, "tcp:///a": "no host", "tcp://pi": "no topic", "tcp://pi/": "no topic",
		"tcp://pi/a/": "no topic", "tcp://pi/a/#": "no +", "tcp://pi/a#b": "no +", "tcp://pi/+/a": "no +", "tcp://pi/a?qos=3": "qos=3: want", "tcp://pi/a?ca=x": "goes with mqtts",
		"tcp://pi/a?x=y": "x=y", "tcp://u:sesame@pi:port/a": "no URL", "tcp://u:sesame@pi\x7f/a": "no URL", "mqtts://u:sesame@pi/a?ca=": "ca=: want qos",
		"tcp://u:sesame@pi/" + strings.Repeat("a", 1<<16): "too long",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

type talk struct {
	mu   sync.Mutex
	said []string
}

func (l *talk) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func (l *talk) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.said, "\n")
}

func (l *talk) until(t *testing.T, text string) {
	t.Helper()
	for range 500 {
		if strings.Contains(l.String(), text) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no %q in %q", text, l.String())
}

var quick = Options{FirstWait: 50 * time.Millisecond, MaxWait: 200 * time.Millisecond, Patience: 3 * time.Second, KeepAlive: time.Second}

func publisher(t *testing.T, target Target, opt Options) (*Publisher, *talk) {
	t.Helper()
	log := &talk{}
	p, err := New(target, opt, log.say)
	if err != nil {
		t.Fatal(err)
	}
	return p, log
}

func numbered(n int) []string {
	var all []string
	for i := range n {
		all = append(all, "home/gesture "+strconv.Itoa(i))
	}
	return all
}

// messages are those at the topic itself, each once: with QoS 1 one can come twice.
func messages(got []string) (all []string) {
	for _, m := range got {
		if strings.HasPrefix(m, "home/gesture ") && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

func TestPublish(t *testing.T) {
	for qos := range byte(3) {
		b := mqtttest.NewBroker(t, "")
		b.Start()
		l := b.Listen(nil)
		p, log := publisher(t, Target{Address: b.Address(), Topic: "home/gesture", QoS: qos}, quick)
		l.Until(t, "home/gesture/status online")
		buffer := make([]byte, 8)
		for i := range 20 {
			p.Publish("", strconv.AppendInt(buffer[:0], int64(i), 10))
		}
		p.Publish("/trouble", []byte("gap"))
		p.Close(5 * time.Second)
		l.Until(t, "home/gesture/status offline")
		if got := l.All(); !slices.Equal(messages(got), numbered(20)) || !slices.Contains(got, "home/gesture/trouble gap") {
			t.Errorf("QoS %d: %q", qos, got)
		}
		if want := "mqtt: connected to " + b.Address(); log.String() != want {
			t.Errorf("QoS %d: said %q, want %q", qos, log, want)
		}
		b.Listen(func(o *paho.ClientOptions) { o.SetClientID("late") }).Until(t, "home/gesture/status offline retained")
	}
}

// TestDownAtStart has no broker at first, and then a new one in the middle. The proxy lets the listener be there before the publisher.
func TestDownAtStart(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	way := mqtttest.NewProxy(t, b.Address())
	p, log := publisher(t, Target{Address: way.Address(), Topic: "home/gesture", QoS: 1}, quick)
	for i := range 10 {
		p.Publish("", []byte(strconv.Itoa(i)))
	}
	log.until(t, "trying again")
	way.Hold(true)
	b.Start()
	l := b.Listen(nil)
	l.Connected(t, 1)
	way.Hold(false)
	log.until(t, "connected to")
	l.Until(t, "home/gesture/status online")
	for i := range 10 {
		p.Publish("", []byte(strconv.Itoa(10+i)))
	}
	l.Until(t, "home/gesture 19")
	b.Stop()
	for i := range 10 {
		p.Publish("", []byte(strconv.Itoa(20+i)))
	}
	way.Hold(true)
	b.Start()
	l.Connected(t, 2)
	way.Hold(false)
	l.Until(t, "home/gesture 29")
	p.Close(5 * time.Second)
	if got := messages(l.All()); !slices.Equal(got, numbered(30)) {
		t.Errorf("%q", got)
	}
	if strings.Contains(log.String(), "were lost") || strings.Contains(log.String(), "not published") {
		t.Errorf("said %q", log)
	}
}

// TestNoBroker has none: the oldest messages are lost, and it is said how many.
func TestNoBroker(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	opt := quick
	opt.Queue = 8
	p, log := publisher(t, Target{Address: b.Address(), Topic: "a", QoS: 1}, opt)
	begin := time.Now()
	for i := range 20 {
		p.Publish("", []byte(strconv.Itoa(i)))
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("publishing took %v", took)
	}
	p.Close(300 * time.Millisecond)
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("closing took %v", took)
	}
	said := log.String()
	for _, want := range []string{"mqtt: 8 messages wait for the broker; the oldest are dropped", "mqtt: 12 messages were lost", "mqtt: 8 messages were not published", "connection refused"} {
		if strings.Count(said, want) != 1 {
			t.Errorf("said %q, want %q once", said, want)
		}
	}
}

// TestSlowBroker has receipts that come late: the newest messages arrive, the caller never waits.
func TestSlowBroker(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	b.Start()
	l := b.Listen(nil)
	slow := mqtttest.NewProxy(t, b.Address())
	opt := quick
	opt.Queue = 8
	p, log := publisher(t, Target{Address: slow.Address(), Topic: "home/gesture", QoS: 1}, opt)
	l.Until(t, "home/gesture/status online")
	log.until(t, "connected")
	slow.Hold(true)
	const pushed = 50
	var worst time.Duration
	for i := range pushed {
		begin := time.Now()
		p.Publish("", []byte(strconv.Itoa(i)))
		worst = max(worst, time.Since(begin))
		time.Sleep(time.Millisecond)
	}
	if worst > 500*time.Millisecond {
		t.Errorf("Publish waited %v", worst)
	}
	slow.Hold(false)
	l.Until(t, "home/gesture 49")
	p.Close(5 * time.Second)
	got := messages(l.All())
	if len(got) != 9 || !slices.Equal(got[1:], numbered(pushed)[42:]) { // one was on its way
		t.Errorf("%q", got)
	}
	if want := fmt.Sprintf("mqtt: %d messages were lost", pushed-len(got)); !strings.Contains(log.String(), want) {
		t.Errorf("said %q, want %q", log, want)
	}
}

// TestSilentBroker accepts connections and says nothing, then dies in the middle: the last will tells of it.
func TestSilentBroker(t *testing.T) {
	b := mqtttest.NewBroker(t, "")
	b.Start()
	l := b.Listen(nil)
	slow := mqtttest.NewProxy(t, b.Address())
	slow.Hold(true)
	opt := quick
	opt.Patience = 300 * time.Millisecond
	p, log := publisher(t, Target{Address: slow.Address(), Topic: "home/gesture", QoS: 1}, opt)
	p.Publish("", []byte("0"))
	log.until(t, "trying again")
	slow.Hold(false)
	l.Until(t, "home/gesture 0")
	slow.Cut()
	l.Until(t, "home/gesture/status offline")
	p.Publish("", []byte("1"))
	l.Until(t, "home/gesture 1")
	p.Close(5 * time.Second)
}

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "passwords")
	b := mqtttest.NewBroker(t, "allow_anonymous false\npassword_file "+file+"\n")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", file, "pi", "sesame").CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	b.Start()
	wrong, log := publisher(t, Target{Address: b.Address(), Topic: "a", User: "pi", Password: "wrong"}, quick)
	log.until(t, "not Authorized")
	wrong.Close(time.Second)
	right, log := publisher(t, Target{Address: b.Address(), Topic: "a", User: "pi", Password: "sesame"}, quick)
	log.until(t, "connected")
	right.Close(time.Second)
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	b := mqtttest.NewBroker(t, fmt.Sprintf("allow_anonymous true\ncertfile %s\nkeyfile %s\n", cert, key))
	b.Start()
	unknown, log := publisher(t, Target{Address: b.Address(), TLS: true, Topic: "a"}, quick)
	log.until(t, "certificate")
	unknown.Close(time.Second)
	p, log := publisher(t, Target{Address: b.Address(), TLS: true, CA: cert, Topic: "a"}, quick)
	log.until(t, "connected")
	p.Close(time.Second)
	for file, want := range map[string]string{filepath.Join(dir, "absent"): "no such file", key: "has no certificate"} {
		if _, err := New(Target{CA: file}, quick, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestPublishAllocatesNothing(t *testing.T) {
	p := &Publisher{ring: make([]message, 4), report: func(string, ...any) {}, wake: make(chan struct{}, 1)}
	payload := []byte(`{"label":"G1"}`)
	for range 8 {
		p.Publish("", payload)
	}
	if n := testing.AllocsPerRun(1000, func() { p.Publish("", payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}
