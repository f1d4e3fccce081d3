//go:build net

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/recur-go/recur/tools/internal/live/browsertest"
)

// pages is the program with a page, as a process of its own.
type pages struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	out  *talkWriter
	errs *talkWriter
}

// talkWriter collects lines while a program runs.
type talkWriter struct{ talk }

func (w *talkWriter) Write(b []byte) (int, error) {
	w.say("%s", b)
	return len(b), nil
}

func (w *talkWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.said, "")
}

var pageURL = regexp.MustCompile(`the page is at (\S+)`)

func startPages(t *testing.T, args ...string) *pages {
	t.Helper()
	p := &pages{t: t, cmd: exec.Command(os.Args[0], append(args, "-web", "127.0.0.1:0")...), out: &talkWriter{}, errs: &talkWriter{}}
	p.cmd.Env = append(os.Environ(), "GESTURE_TEST_PROGRAM=1")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.errs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	for range 500 {
		if m := pageURL.FindStringSubmatch(p.errs.String()); m != nil {
			p.url = m[1]
			return p
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no page: %s", p.errs)
	return nil
}

// stop interrupts it; it must end well, and soon.
func (p *pages) stop() {
	p.t.Helper()
	begin := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v; %s", err, p.errs)
	}
	if took := time.Since(begin); took > 8*time.Second {
		p.t.Errorf("ending took %v", took)
	}
}

const (
	labelsOnPage = `[...document.querySelectorAll("#events .what")].map(e => e.textContent).reverse()`
	// inked counts the pixels of a canvas that are drawn on, and sums them up in a way that depends on where they are.
	inked = `((from) => {
		const c = new OffscreenCanvas(from.width, from.height), g = c.getContext("2d", {willReadFrequently: true});
		g.drawImage(from, 0, 0);
		const d = g.getImageData(0, 0, c.width, c.height).data;
		let n = 0, sum = 0;
		for (let i = 0; i < d.length; i += 4) if (d[i + 3]) { n++; sum = (sum * 31 + i + d[i]) % 1e9; }
		return [n, sum];
	})`
)

var looks = map[string]browsertest.Look{
	"desktop":      {Width: 1280, Height: 860},
	"desktop-dark": {Width: 1280, Height: 860, Dark: true},
	"phone":        {Width: 390, Height: 1500, Phone: true},
	"phone-dark":   {Width: 390, Height: 844, Phone: true, Dark: true},
}

// screenshots are kept where RECUR_SCREENSHOTS says.
func screenshots(page *browsertest.Page, name string) {
	dir := os.Getenv("RECUR_SCREENSHOTS")
	if dir == "" {
		return
	}
	for look, l := range looks {
		page.Show(l)
		time.Sleep(300 * time.Millisecond)
		page.Screenshot(filepath.Join(dir, name+"-"+look+".png"))
	}
	page.Show(looks["desktop"])
}

func labels(t *testing.T, text string) (all []string) {
	for _, e := range events(t, text) {
		if e.Event == "" {
			all = append(all, e.Label)
		}
	}
	return all
}

// TestPage shows the demo recording to two browsers, of which one comes late.
func TestPage(t *testing.T) {
	_, text, _ := gestureCommand("", "-json")
	want := labels(t, text)
	b := browsertest.Start(t)
	p := startPages(t, "-speed", "3", "-json")
	page := b.Open(p.url, looks["desktop"])
	page.Until(`document.querySelector(".signal canvas")`)
	page.Until(`document.querySelectorAll("#events .gesture").length >= 3`)
	for _, canvas := range []string{`.signal canvas`, `#answers`} {
		var first, second [2]int
		page.Eval(&first, inked+`(document.querySelector("`+canvas+`"))`)
		time.Sleep(400 * time.Millisecond)
		page.Eval(&second, inked+`(document.querySelector("`+canvas+`"))`)
		if first[0] < 500 || first[1] == second[1] {
			t.Errorf("%s does not move: %v, %v", canvas, first, second)
		}
	}
	screenshots(page, "demo")
	page.Until(fmt.Sprintf(`document.querySelectorAll("#events .gesture").length == %d`, len(want)))
	late := b.Open(p.url, looks["phone"])
	late.Until(fmt.Sprintf(`document.querySelectorAll("#events .gesture").length == %d`, len(want)))
	for _, v := range []*browsertest.Page{page, late} {
		var got []string
		if v.Eval(&got, labelsOnPage); !slices.Equal(got, want) {
			t.Errorf("on the page %q, want %q", got, want)
		}
		var wide bool
		if v.Eval(&wide, `document.documentElement.scrollWidth > innerWidth`); wide {
			t.Error("the page is wider than its window")
		}
		if trouble := v.Trouble(); len(trouble) > 0 {
			t.Errorf("the browser says %q", trouble)
		}
		for _, r := range v.Requests() {
			if !strings.HasPrefix(r, p.url) {
				t.Errorf("a request to %s", r)
			}
		}
	}
	if !slices.Equal(labels(t, p.out.String()), want) {
		t.Errorf("printed %s", p.out)
	}
	p.stop()
	page.Until(`document.querySelector("#status").dataset.state == "off"`)
}

// phoneRows are the demo recording as a phone's motion: the time in ms, the acceleration and some rotation about x, y and z.
func phoneRows(t *testing.T) (rows [][]float64) {
	t.Helper()
	_, csv, _ := gestureCommand("", "-demo-csv", "-")
	_, text, _ := strings.Cut(csv, "\n")
	for line := range strings.Lines(text) {
		var r [4]float64
		for k, f := range strings.Split(strings.TrimSpace(line), ",") {
			if _, err := fmt.Sscan(f, &r[k]); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, []float64{r[3], r[0], r[1], r[2], r[1] / 10, 0, r[0] / 10})
	}
	return rows
}

// shake makes the page's browser a phone that is moved so. The events bear the recording's times, so that it does not matter how even the
// browser's timers are.
func shake(t *testing.T, page *browsertest.Page, rows [][]float64) {
	t.Helper()
	recording, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	page.Until(`document.querySelector("#use").offsetHeight > 0`)
	page.Eval(nil, `document.querySelector("#use").click()`)
	page.Until(`document.querySelector("#use").textContent == "Stop"`)
	page.Eval(nil, `(async rows => {
		const degrees = 180 / Math.PI;
		let n = 0;
		for (const [t, ax, ay, az, gx, gy, gz] of rows) {
			const e = new DeviceMotionEvent("devicemotion", {accelerationIncludingGravity: {x: ax, y: ay, z: az},
				rotationRate: {alpha: gx * degrees, beta: gy * degrees, gamma: gz * degrees}, interval: 32});
			Object.defineProperty(e, "timeStamp", {value: t});
			dispatchEvent(e);
			if (++n % 4 === 0) await new Promise(done => setTimeout(done, 4));
		}
	})(`+string(recording)+`)`)
}

// TestPhone plays a recording as the motion of a phone: the gestures must be those that are found in it as a file.
func TestPhone(t *testing.T) {
	rows := phoneRows(t)
	var six strings.Builder
	six.WriteString("t_ms,ax,ay,az,gx,gy,gz\n")
	for _, r := range rows {
		fmt.Fprintf(&six, "%v,%v,%v,%v,%v,%v,%v\n", r[0], r[1], r[2], r[3], r[4], r[5], r[6])
	}
	_, text, errs := gestureCommand(six.String(), "-sensor", "csv:-", "-json")
	want := labels(t, text)
	if len(want) < 2 {
		t.Fatalf("the recording has %q: %s", want, errs)
	}
	b := browsertest.Start(t)
	p := startPages(t, "-sensor", "phone", "-json")
	page := b.Open(p.url, looks["phone"])
	page.Until(`document.querySelector("#use").offsetHeight > 0`)
	screenshots(page, "waiting")
	shake(t, page, rows)
	page.Until(fmt.Sprintf(`document.querySelectorAll("#events .gesture").length >= %d`, len(want)))
	screenshots(page, "phone")
	var got []string
	if page.Eval(&got, labelsOnPage); !slices.Equal(got, want) {
		t.Errorf("of the phone's motion %q, want %q\n%s", got, want, p.errs)
	}
	other := b.Open(p.url, looks["phone"])
	other.Until(`document.querySelector("#use").offsetHeight > 0`)
	other.Eval(nil, `document.querySelector("#use").click()`)
	other.Until(`document.querySelector("#phone-note").textContent == "another phone is the sensor"`)
	if trouble := page.Trouble(); len(trouble) > 0 {
		t.Errorf("the browser says %q", trouble)
	}
	p.stop()
	if got := labels(t, p.out.String()); !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// TestRecordWithPhone records examples with a phone, which is told what to do.
func TestRecordWithPhone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "my.csv")
	b := browsertest.Start(t)
	p := startPages(t, "record", "-label", "wave", "-n", "2", "-o", file, "-sensor", "phone")
	page := b.Open(p.url, looks["phone"])
	shake(t, page, phoneRows(t)[:210])
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.errs)
	}
	if n := len(readExamples(t, file)); n != 2 {
		t.Errorf("%d examples", n)
	}
	var said string
	page.Eval(&said, `document.querySelector("#events").innerText`)
	for _, want := range []string{"hold still", "now make the gesture wave", "example 1:", "example 2:"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page says %q, want %q", said, want)
		}
	}
	if trouble := page.Trouble(); len(trouble) > 0 && !strings.Contains(fmt.Sprint(trouble), "ERR_CONNECTION_REFUSED") {
		t.Errorf("the browser says %q", trouble)
	}
}

// TestSecure has a page that seems to come from another machine, by http and by https.
func TestSecure(t *testing.T) {
	dir := t.TempDir()
	b := browsertest.Start(t, "--ignore-certificate-errors", "--host-resolver-rules=MAP board.test 127.0.0.1")
	click := func(args ...string) *browsertest.Page {
		p := startPages(t, append([]string{"-sensor", "phone"}, args...)...)
		page := b.Open(strings.Replace(p.url, "127.0.0.1", "board.test", 1), looks["phone"])
		page.Until(`document.querySelector("#use").offsetHeight > 0`)
		page.Eval(nil, `document.querySelector("#use").click()`)
		return page
	}
	click().Until(`document.querySelector("#phone-note").textContent.includes("-web-tls")`)
	page := click("-web-tls", "-web-cert", filepath.Join(dir, "cert.pem"), "-web-key", filepath.Join(dir, "key.pem"))
	page.Until(`document.querySelector("#use").textContent == "Stop"`)
	page.Until(`document.querySelector("#phone-note").textContent.startsWith("No motion comes")`)
	onlyFiles(t, dir, "cert.pem", "key.pem")
}
