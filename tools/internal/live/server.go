//go:build !js

package live

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

//go:embed page
var page embed.FS

const (
	maxViewers = 32
	refresh    = 50 * time.Millisecond // 20 times a second
	patience   = 10 * time.Second      // with a browser that takes nothing
	pinging    = 15 * time.Second
	maxMessage = 16 << 10
)

// Server serves a Board's page.
type Server struct {
	board *Board
	phone *Phone // nil: the sensor is none
	http  http.Server
	l     net.Listener
	tls   bool
	names []string // of the certificate

	viewers chan struct{} // as many as there are
	done    context.Context
	end     context.CancelFunc
	serving sync.WaitGroup
}

// Serve listens at an address such as :8080. cert, unless nil, makes it HTTPS; phone, unless nil, takes a phone's motion.
func Serve(address string, cert *tls.Certificate, b *Board, phone *Phone) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{board: b, phone: phone, l: l, viewers: make(chan struct{}, maxViewers)}
	s.done, s.end = context.WithCancel(context.Background())
	static, _ := fs.Sub(page, "page") // is there: it is embedded
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(static))
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("GET /sensor", s.sensor)
	s.http = http.Server{Handler: s.guard(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(quiet{}, "", 0)}
	if cert != nil {
		s.tls = true
		s.names = cert.Leaf.DNSNames
		s.l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	s.serving.Go(func() { s.http.Serve(s.l) })
	return s, nil
}

// quiet drops what net/http says of connections: anyone can make it say much.
type quiet struct{}

func (quiet) Write(b []byte) (int, error) { return len(b), nil }

// URLs are those of the page, for this machine and others.
func (s *Server) URLs() []string {
	scheme := "http://"
	if s.tls {
		scheme = "https://"
	}
	a := s.l.Addr().(*net.TCPAddr)
	if !a.IP.IsUnspecified() {
		return []string{scheme + a.String() + "/"}
	}
	var all []string
	for _, ip := range addresses() {
		if ip.To4() != nil {
			all = append(all, scheme+(&net.TCPAddr{IP: ip, Port: a.Port}).String()+"/")
		}
	}
	return all
}

// Close tells the browsers, and waits until they have gone, though not for long.
func (s *Server) Close() {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	gone := make(chan struct{})
	go func() { s.serving.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
	}
}

// guard refuses names that a stranger's page could have for this machine in the public DNS, and keeps the page from everything foreign.
func (s *Server) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ours(r.Host) {
			http.Error(w, "gesture answers to its addresses, local names and the names of its certificate, not to this name", http.StatusMisdirectedRequest)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Permissions-Policy", "accelerometer=(self), gyroscope=(self)")
		header.Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}

// local are domains that nobody can register.
var local = []string{".local", ".lan", ".internal", ".home.arpa", ".localhost", ".home", ".test"}

func (s *Server) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || !strings.Contains(name, ".") {
		return true
	}
	return slices.ContainsFunc(local, func(d string) bool { return strings.HasSuffix(name, d) }) || slices.Contains(s.names, name)
}

// accept refuses pages of other origins, which the package does.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, error) {
	c, err := websocket.Accept(w, r, nil)
	if err == nil {
		c.SetReadLimit(maxMessage)
	}
	return c, err
}

// live sends what happens. Each browser has its own goroutine and its own place in the board; one that takes nothing is let go.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	select {
	case s.viewers <- struct{}{}:
		defer func() { <-s.viewers }()
	default:
		http.Error(w, "too many browsers", http.StatusServiceUnavailable)
		return
	}
	s.serving.Add(1)
	defer s.serving.Done()
	c, err := s.accept(w, r)
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	ctx := c.CloseRead(context.Background())
	if err := s.send(ctx, c, s.board.facts); err != nil {
		return
	}
	var at reader
	var messages [][]byte
	ticks := time.NewTicker(refresh)
	defer ticks.Stop()
	pinged := time.Now()
	for ended := false; ; {
		messages = s.board.news(&at, messages[:0])
		for _, m := range messages {
			if err := s.send(ctx, c, m); err != nil {
				return
			}
		}
		if ended {
			c.Close(websocket.StatusGoingAway, "")
			return
		}
		if time.Since(pinged) > pinging {
			if err := s.ping(ctx, c); err != nil {
				return
			}
			pinged = time.Now()
		}
		select {
		case <-ticks.C:
		case <-s.done.Done():
			ended = true // but what came last is still told
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) send(ctx context.Context, c *websocket.Conn, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.Write(ctx, websocket.MessageText, message)
}

func (s *Server) ping(ctx context.Context, c *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.Ping(ctx)
}

// sensor takes a phone's samples.
func (s *Server) sensor(w http.ResponseWriter, r *http.Request) {
	if s.phone == nil {
		http.Error(w, "the sensor is none: gesture -sensor phone", http.StatusNotFound)
		return
	}
	s.serving.Add(1)
	defer s.serving.Done()
	c, err := s.accept(w, r)
	if err != nil {
		return
	}
	defer c.CloseNow()
	l, err := s.phone.connect()
	if err != nil {
		c.Close(websocket.StatusTryAgainLater, err.Error())
		return
	}
	s.board.Say("a phone is the sensor")
	reason := s.send(s.done, c, []byte(`{"type":"ready"}`))
	if reason == nil {
		reason = s.take(c, l)
	}
	l.close()
	if reason == nil {
		s.board.Say("the phone has gone")
		return
	}
	s.board.Say("the phone was let go: " + reason.Error())
	c.Close(websocket.StatusPolicyViolation, short(reason.Error()))
}

// take returns what is wrong with the phone's messages, nil where the phone goes.
func (s *Server) take(c *websocket.Conn, l *link) error {
	pings, stop := context.WithCancel(s.done)
	defer stop()
	go func() { // so that a phone that is out of reach makes way for another
		for {
			select {
			case <-time.After(pinging):
			case <-pings.Done():
				return
			}
			if s.ping(pings, c) != nil {
				c.CloseNow()
				return
			}
		}
	}()
	for {
		kind, text, err := c.Read(s.done)
		switch {
		case errors.Is(err, websocket.ErrMessageTooBig):
			return err
		case err != nil:
			return nil
		case kind != websocket.MessageText:
			return errors.New("a binary message, want JSON")
		}
		if err := l.message(text); err != nil {
			return err
		}
	}
}

// short is what fits into the reason that a WebSocket is closed for.
func short(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
