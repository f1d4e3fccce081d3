//go:build !js

// Package browsertest drives a Chromium through its DevTools protocol.
package browsertest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Patience is with a command.
const patience = 60 * time.Second

// Browser is a Chromium without a window.
type Browser struct {
	t    *testing.T
	conn *websocket.Conn

	mu      sync.Mutex
	id      int
	answers map[int]chan reply
	pages   map[string]*Page // by session
}

// Page is a tab.
type Page struct {
	b       *Browser
	session string
	loaded  chan struct{}

	mu       sync.Mutex
	trouble  []string
	requests []string
}

type reply struct {
	ID        int
	Method    string
	SessionID string `json:"sessionId"`
	Params    json.RawMessage
	Result    json.RawMessage
	Error     *struct{ Message string }
}

// Start starts one for a test, which is skipped, or with CI set fails, where there is none.
func Start(t *testing.T, flags ...string) *Browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed (Debian: chromium)")
	}
	args := append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
		"--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", "--user-data-dir=" + t.TempDir()}, flags...)
	c := exec.Command(path, append(args, "about:blank")...)
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(errs); s.Scan(); {
			if _, a, ok := strings.Cut(s.Text(), "DevTools listening on "); ok {
				address <- a
			}
		}
	}()
	b := &Browser{t: t, answers: map[int]chan reply{}, pages: map[string]*Page{}}
	t.Cleanup(func() {
		if b.conn != nil {
			b.conn.CloseNow()
		}
		c.Process.Kill()
		c.Wait()
		time.Sleep(200 * time.Millisecond) // its children still write to the folder
	})
	select {
	case a := <-address:
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if b.conn, _, err = websocket.Dial(ctx, a, nil); err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("chromium does not start")
	}
	b.conn.SetReadLimit(64 << 20)
	go b.read()
	return b
}

func (b *Browser) read() {
	for {
		_, text, err := b.conn.Read(context.Background())
		if err != nil {
			return
		}
		var r reply
		if json.Unmarshal(text, &r) != nil {
			continue
		}
		b.mu.Lock()
		if r.ID != 0 {
			b.answers[r.ID] <- r
			delete(b.answers, r.ID)
		}
		p := b.pages[r.SessionID]
		b.mu.Unlock()
		if p != nil && r.Method != "" {
			p.event(r)
		}
	}
}

func (b *Browser) call(session, method string, params any, result any) error {
	c := make(chan reply, 1)
	b.mu.Lock()
	b.id++
	id := b.id
	b.answers[id] = c
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return err
	}
	select {
	case r := <-c:
		if r.Error != nil {
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		if result != nil {
			return json.Unmarshal(r.Result, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer", method)
	}
}

// Look is how a page is shown.
type Look struct {
	Width, Height int
	Phone, Dark   bool
}

// Open loads a page and waits for it.
func (b *Browser) Open(url string, look Look) *Page {
	b.t.Helper()
	var target struct{ TargetID string }
	var attached struct{ SessionID string }
	b.must(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	b.must(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	p := &Page{b: b, session: attached.SessionID, loaded: make(chan struct{}, 8)}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.Call(domain+".enable", nil, nil)
	}
	p.Show(look)
	p.Call("Page.navigate", map[string]any{"url": url}, nil)
	select {
	case <-p.loaded:
	case <-time.After(patience):
		b.t.Fatalf("%s does not load", url)
	}
	return p
}

// Show changes the look.
func (p *Page) Show(l Look) {
	p.b.t.Helper()
	scale, scheme := 1, "light"
	if l.Phone {
		scale = 2
	}
	if l.Dark {
		scheme = "dark"
	}
	p.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": l.Width, "height": l.Height, "deviceScaleFactor": scale, "mobile": l.Phone}, nil)
	p.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (p *Page) event(r reply) {
	var e struct {
		Type             string
		Args             []struct{ Value, Description any }
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Request struct{ URL string }
	}
	json.Unmarshal(r.Params, &e)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.Method == "Page.loadEventFired":
		p.loaded <- struct{}{}
	case r.Method == "Runtime.exceptionThrown":
		p.trouble = append(p.trouble, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case r.Method == "Runtime.consoleAPICalled" && (e.Type == "error" || e.Type == "warning"):
		p.trouble = append(p.trouble, fmt.Sprint(e.Type, e.Args))
	case r.Method == "Log.entryAdded" && (e.Entry.Level == "error" || e.Entry.Level == "warning"):
		p.trouble = append(p.trouble, e.Entry.Text+" "+e.Entry.URL)
	case r.Method == "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	}
}

// Trouble are errors and warnings of the page so far.
func (p *Page) Trouble() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.trouble)
}

// Requests are the addresses that it has loaded.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Call is a command of the protocol; what fails ends the test.
func (p *Page) Call(method string, params any, result any) {
	p.b.t.Helper()
	if params == nil {
		params = struct{}{}
	}
	p.b.must(p.b.call(p.session, method, params, result))
}

// Eval runs JavaScript, waits for the promise where it gives one, and reads what it returns into result, unless that is nil.
func (p *Page) Eval(result any, script string) {
	p.b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.Call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &r)
	if r.ExceptionDetails != nil {
		p.b.t.Fatalf("%s: %s %s", script, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	if result != nil {
		if err := json.Unmarshal(r.Result.Value, result); err != nil {
			p.b.t.Fatalf("%s: %s: %v", script, r.Result.Value, err)
		}
	}
}

// Until waits for JavaScript to be true.
func (p *Page) Until(script string) {
	p.b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var ok bool
		if p.Eval(&ok, "Boolean("+script+")"); ok {
			return
		}
	}
	var text string
	p.Eval(&text, "document.body.innerText")
	p.b.t.Fatalf("never true: %s; the page says %q, and %q", script, text, p.Trouble())
}

// Screenshot writes a PNG.
func (p *Page) Screenshot(path string) {
	p.b.t.Helper()
	var shot struct{ Data string }
	p.Call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	b, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	p.b.must(err)
}
