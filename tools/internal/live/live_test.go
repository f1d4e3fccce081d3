//go:build !js

package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/recur-go/recur/tools/internal/sensor"
)

var facts = Facts{Channels: []Channel{{"ax", "m/s^2"}, {"ay", "m/s^2"}}, Labels: []string{"none", "wave"}, None: "none", Rate: 50, Delay: 0.1}

type message struct {
	Type     string
	Rows     [][]float64
	Object   json.RawMessage
	Channels []Channel
	Phone    bool
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return c
}

func serve(t *testing.T, b *Board, p *Phone) *Server {
	t.Helper()
	s, err := Serve("127.0.0.1:0", nil, b, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Server) dial(t *testing.T, path string, opt *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(ctx(t), "ws://"+s.l.Addr().String()+path, opt)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func read(t *testing.T, c *websocket.Conn) (m message) {
	t.Helper()
	_, text, err := c.Read(ctx(t))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestLive(t *testing.T) {
	b := NewBoard(facts)
	s := serve(t, b, nil)
	var viewers []*websocket.Conn
	for range 3 {
		c := s.dial(t, "/live", nil)
		if m := read(t, c); m.Type != "facts" || len(m.Channels) != 2 || m.Channels[1].Unit != "m/s^2" || m.Phone {
			t.Errorf("%+v", m)
		}
		viewers = append(viewers, c)
	}
	const n = 100
	for i := range n {
		b.Sample(float64(i)/50, []float32{float32(i), -0.5}, []float32{0.25, 0.75})
	}
	b.Note("gesture", []byte(`{"label":"wave"}`))
	b.Say(`a "note"`)
	for _, c := range viewers {
		var got [][]float64
		var notes []string
		for len(notes) < 2 {
			switch m := read(t, c); m.Type {
			case "rows":
				got = append(got, m.Rows...)
			default:
				notes = append(notes, m.Type+" "+string(m.Object))
			}
		}
		if len(got) != n || fmt.Sprint(got[7]) != "[0.14 7 -0.5 0.25 0.75]" || fmt.Sprint(notes) != `[gesture {"label":"wave"} say "a \"note\""]` {
			t.Errorf("%d rows, %v, %q", len(got), got[7], notes)
		}
	}
}

// TestSlowViewer has one that reads nothing while much happens, and one that reads all: neither keeps the caller waiting, and the slow one goes
// on with what is newest.
func TestSlowViewer(t *testing.T) {
	b := NewBoard(facts)
	s := serve(t, b, nil)
	slow, quick := s.dial(t, "/live", nil), s.dial(t, "/live", nil)
	read(t, slow)
	read(t, quick)
	seen := make(chan float64, 1)
	const last = 200000
	go func() {
		for {
			_, text, err := quick.Read(ctx(t))
			var m message
			if err != nil || json.Unmarshal(text, &m) != nil {
				seen <- math.NaN()
				return
			}
			if n := len(m.Rows); n > 0 && m.Rows[n-1][0] == last {
				seen <- last
				return
			}
		}
	}()
	var worst time.Duration
	for i := range last {
		begin := time.Now()
		b.Sample(float64(i+1), []float32{1, 2}, []float32{0.123456, 0.2})
		worst = max(worst, time.Since(begin))
		if i%1000 == 0 {
			b.Note("gesture", []byte(strings.Repeat(" ", 1000)+"1"))
			time.Sleep(time.Millisecond)
		}
	}
	if worst > 500*time.Millisecond {
		t.Errorf("the caller waited %v", worst)
	}
	if at := <-seen; at != last {
		t.Errorf("the quick one ends at %v", at)
	}
	for at := 0.0; at < last; {
		if m := read(t, slow); len(m.Rows) > 0 {
			at = m.Rows[len(m.Rows)-1][0]
		}
	}
}

func TestSampleAllocatesNothing(t *testing.T) {
	b := NewBoard(facts)
	x, p := []float32{1, 2}, []float32{0, 1}
	if n := testing.AllocsPerRun(1000, func() { b.Sample(1, x, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOverwritten(t *testing.T) {
	b := NewBoard(facts)
	var r reader
	for i := range 2 * int(b.rows) {
		b.Sample(float64(i), []float32{0, 0}, []float32{0, 0})
	}
	for i := range keptNotes + 50 {
		b.Note("say", fmt.Append(nil, i))
	}
	news := b.news(&r, nil)
	var m message
	if err := json.Unmarshal(news[0], &m); err != nil || m.Rows[0][0] != float64(b.rows) {
		t.Errorf("%v, first row %v", err, m.Rows[0])
	}
	if n := len(news); string(news[n-1]) != `{"type":"say","object":249}` || string(news[n-keptNotes]) != `{"type":"say","object":50}` {
		t.Errorf("%s, %s", news[n-keptNotes], news[n-1])
	}
	if news := b.news(&r, nil); len(news) != 0 {
		t.Errorf("%q once more", news)
	}
}

func TestStrangers(t *testing.T) {
	s := serve(t, NewBoard(facts), NewPhone(sensor.HostClock()))
	address := s.l.Addr().String()
	for _, path := range []string{"/live", "/sensor"} {
		_, r, err := websocket.Dial(ctx(t), "ws://"+address+path, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://evil.example"}}})
		if err == nil || r.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another page: %v", path, err)
		}
	}
	for host, want := range map[string]int{"evil.example": 421, "evil.example:80": 421, "127.0.0.1.evil.example": 421, "": 400, "pi": 200, "pi.local:8080": 200,
		"PI.LOCAL.": 200, "[::1]:8080": 200, "10.0.0.1": 200, "notlocal": 200, "x.notlocal": 421} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		answer, _ := io.ReadAll(c)
		c.Close()
		if host == "" {
			continue // answered, one way or the other
		}
		if !strings.HasPrefix(string(answer), fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("host %q: %.60q, want %d", host, answer, want)
		}
	}
	r, err := http.Get("http://" + address + "/../server.go")
	if err != nil || r.StatusCode != http.StatusNotFound {
		t.Errorf("%v, %v", r.Status, err)
	}
	r, err = http.Post("http://"+address+"/live", "text/plain", nil)
	if err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("%v, %v", r.Status, err)
	}
}

func TestTooManyViewers(t *testing.T) {
	s := serve(t, NewBoard(facts), nil)
	for range maxViewers {
		read(t, s.dial(t, "/live", nil))
	}
	if _, r, err := websocket.Dial(ctx(t), "ws://"+s.l.Addr().String()+"/live", nil); err == nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %v", err)
	}
}

// TestViewerTalks: those who look have nothing to say.
func TestViewerTalks(t *testing.T) {
	s := serve(t, NewBoard(facts), nil)
	c := s.dial(t, "/live", nil)
	read(t, c)
	c.Write(ctx(t), websocket.MessageText, []byte("hello"))
	if _, _, err := c.Read(ctx(t)); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("%v", err)
	}
}

func TestClose(t *testing.T) {
	s := serve(t, NewBoard(facts), NewPhone(sensor.HostClock()))
	viewer, phone, silent := s.dial(t, "/live", nil), s.dial(t, "/sensor", nil), s.dial(t, "/live", nil)
	read(t, viewer)
	read(t, phone)
	read(t, silent)
	gone := make(chan error)
	go func() {
		var err error
		for err == nil { // what came last
			_, _, err = viewer.Read(ctx(t))
		}
		gone <- err
	}()
	begin := time.Now()
	s.Close()
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-gone; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the browser is told %v", err)
	}
	if _, err := net.Dial("tcp", s.l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

type fakeClock struct {
	sensor.Clock
	mu  sync.Mutex
	now time.Duration
}

func (c *fakeClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) set(t time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func TestPhone(t *testing.T) {
	clock := &fakeClock{now: 5 * time.Second}
	p := NewPhone(clock)
	s := serve(t, NewBoard(facts), p)
	c := s.dial(t, "/sensor", nil)
	if m := read(t, c); m.Type != "ready" {
		t.Errorf("%+v", m)
	}
	if _, _, err := s.dial(t, "/sensor", nil).Read(ctx(t)); websocket.CloseStatus(err) != websocket.StatusTryAgainLater || !strings.Contains(err.Error(), errTaken.Error()) {
		t.Errorf("a second phone: %v", err)
	}
	c.Write(ctx(t), websocket.MessageText, []byte(`[[1000.5, 1, 2, 9.5, 180, 0, -90], [1016.5, 2, 2, 2, 2, 2, 2], [1016.5, 3, 3, 3, 3, 3, 3]]`))
	c.Write(ctx(t), websocket.MessageText, []byte(`[[1030, 4, 4, 4, 4, 4, 4]]`))
	var got []string
	v := sensor.Sample{Values: make([]float32, len(p.Channels()))}
	for range 3 {
		if err := p.Next(&v); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(v.Time, v.Lost, v.Values))
	}
	want := []string{"5s 0 [1 2 9.5 3.1415927 0 -1.5707964]", "5.016s 0 [2 2 2 0.034906585 0.034906585 0.034906585]",
		"5.0295s 1 [4 4 4 0.06981317 0.06981317 0.06981317]"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.Close(websocket.StatusNormalClosure, "")
	clock.set(60 * time.Second)
	next := phoneAgain(t, s)
	next.Write(ctx(t), websocket.MessageText, []byte(`[[3, 1, 1, 1, 1, 1, 1]]`))
	if err := p.Next(&v); err != nil || v.Time != 60*time.Second {
		t.Errorf("another phone's first sample at %v, %v", v.Time, err)
	}
	go p.Close()
	if err := p.Next(&v); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("closed: %v", err)
	}
}

// phoneAgain connects as soon as the phone before is let go.
func phoneAgain(t *testing.T, s *Server) *websocket.Conn {
	t.Helper()
	for range 200 {
		c := s.dial(t, "/sensor", nil)
		if _, _, err := c.Read(ctx(t)); err == nil {
			return c
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no other phone can be the sensor")
	return nil
}

func TestBadMessages(t *testing.T) {
	p := NewPhone(sensor.HostClock())
	s := serve(t, NewBoard(facts), p)
	good := `[10,1,1,1,1,1,1]`
	for text, want := range map[string]string{
		"":                      "no JSON",
		"hello":                 "no JSON",
		`{"x":1}`:               "no JSON",
		`[[1,2,3,4,5,6,"7"]]`:   "no JSON",
		`[[NaN,1,1,1,1,1,1]]`:   "no JSON",
		`[[1e999,1,1,1,1,1,1]]`: "no JSON",
		`[]`:                    "0 samples",
		`[` + strings.Repeat(good+",", 64) + good + `]`: "65 samples",
		`[[1,2,3]]`:                     "sample 0: 3 values, want 7",
		`[` + good + `,[11,1,1,1,1,1]]`: "sample 1: 6 values",
		`[null]`:                        "0 values",
		`[[1,1,1,1,null,null,null]]`:    "alpha is missing",
		`[[1,1e6,1,1,1,1,1]]`:           "ax is 1e+06",
		`[[-1,1,1,1,1,1,1]]`:            "time is -1",
		`[[1e300,1,1,1,1,1,1]]`:         "time is 1e+300",
	} {
		c := phoneAgain(t, s)
		c.Write(ctx(t), websocket.MessageText, []byte(text))
		if _, _, err := c.Read(ctx(t)); websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
	c := phoneAgain(t, s)
	c.Write(ctx(t), websocket.MessageBinary, []byte(`[[1,1,1,1,1,1,1]]`))
	if _, _, err := c.Read(ctx(t)); websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), "binary") {
		t.Errorf("binary: %v", err)
	}
	c = phoneAgain(t, s)
	c.Write(ctx(t), websocket.MessageText, []byte(strings.Repeat(" ", maxMessage+1)))
	if _, _, err := c.Read(ctx(t)); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("too big: %v", err)
	}
	// And all is well afterwards.
	for len(p.queue) > 0 {
		<-p.queue
	}
	phoneAgain(t, s).Write(ctx(t), websocket.MessageText, []byte("["+good+"]"))
	v := sensor.Sample{Values: make([]float32, 6)}
	if err := p.Next(&v); err != nil || v.Values[0] != 1 {
		t.Errorf("%v, %v", v, err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`[[10,1,1,1,1,1,1],[20,1,1,1,1,1,1]]`))
	f.Add([]byte(`[[10,1,1,1,null,1,1]]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := NewPhone(sensor.HostClock())
		l, err := p.connect()
		if err != nil {
			t.Fatal(err)
		}
		if l.message(text) != nil {
			return
		}
		last := time.Duration(math.MinInt64)
		for len(p.queue) > 0 {
			v := <-p.queue
			if len(v.Values) != 6 || v.Time <= last {
				t.Fatalf("%s: %v after %v", text, v, last)
			}
			last = v.Time
		}
	})
}

// TestBehind has a program that takes no samples: the newest are lost, and their number comes with the next.
func TestBehind(t *testing.T) {
	p := NewPhone(sensor.HostClock())
	l, _ := p.connect()
	for i := range phoneQueue + 30 {
		if err := l.message(fmt.Appendf(nil, "[[%d,1,1,1,1,1,1]]", i)); err != nil {
			t.Fatal(err)
		}
	}
	v := sensor.Sample{Values: make([]float32, 6)}
	for range phoneQueue {
		if err := p.Next(&v); err != nil || v.Lost != 0 {
			t.Fatalf("%v, %v", v, err)
		}
	}
	l.message([]byte("[[1000000,1,1,1,1,1,1]]"))
	if err := p.Next(&v); err != nil || v.Lost != 30 {
		t.Errorf("%v, %v; want 30 lost", v, err)
	}
}

func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first, err := SelfSigned(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	again, err := SelfSigned(cert, key)
	if err != nil || Fingerprint(first) != Fingerprint(again) {
		t.Errorf("another certificate, or %v", err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	if other, err := SelfSigned("", ""); err != nil || Fingerprint(first) == Fingerprint(other) {
		t.Errorf("the same certificate, or %v", err)
	}
	s, err := Serve("127.0.0.1:0", &first, NewBoard(facts), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(first.Leaf)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	url := s.URLs()[0]
	r, err := client.Get(url)
	if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Errorf("%s: %v", url, err)
	}
	if err := os.WriteFile(cert, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SelfSigned(cert, key); err == nil {
		t.Error("a file that is no certificate is overwritten")
	}
}
