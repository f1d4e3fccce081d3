package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// board is a folder that install.sh takes for one: ssh and scp work in it, and systemctl only notes what it is told.
type board struct {
	t    *testing.T
	dir  string // fakes, log, home of temporary folders
	root string
	env  []string
}

var fakes = map[string]string{
	"ssh":        `while [ "${1#-}" != "$1" ]; do shift; done; shift; cd / && exec sh -c "$*"`,
	"scp":        `shift; for a; do to=$a; done; to=${to#*:}; for a; do case $a in *:*) ;; *) cp "$a" "$to" ;; esac; done`,
	"systemctl":  `echo "systemctl $*" >>"$BOARD/log"; case $1 in is-active) [ ! -e "$BOARD/broken" ] ;; esac`,
	"journalctl": `echo "gesture: no such sensor"`,
	"udevadm":    `echo "udevadm $*" >>"$BOARD/log"`,
	"uname":      `cat "$BOARD/uname"`,
	"sudo":       `exec "$@"`,
	"sleep":      `:`,
	"getent":     `case $2 in i2c | dialout) ;; *) exit 2 ;; esac`,
}

func newBoard(t *testing.T) *board {
	t.Helper()
	b := &board{t: t, dir: t.TempDir(), root: filepath.Join(t.TempDir(), "root")}
	for name, text := range fakes {
		b.fake(name, text)
	}
	b.is("Linux " + map[string]string{"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64"}[goruntime.GOARCH])
	tmp := filepath.Join(b.dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	b.env = append(os.Environ(), "PATH="+filepath.Join(b.dir, "bin")+":"+os.Getenv("PATH"), "BOARD="+b.dir, "DESTDIR="+b.root, "TMPDIR="+tmp)
	return b
}

func (b *board) fake(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, "bin", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

func (b *board) is(machine string) { b.write("uname", machine+"\n") }

func (b *board) write(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *board) read(path string) string {
	b.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// install runs the script; nothing temporary may remain.
func (b *board) install(args ...string) (status int, out string) {
	b.t.Helper()
	c := exec.Command("sh", append([]string{"install.sh"}, args...)...)
	c.Env = b.env
	var text bytes.Buffer
	c.Stdout, c.Stderr = &text, &text
	if err := c.Run(); err != nil && c.ProcessState == nil {
		b.t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "tmp", "tmp.*")); len(left) > 0 {
		b.t.Errorf("%v: %q is left", args, left)
	}
	return c.ProcessState.ExitCode(), text.String()
}

// files are those on the board, with their modes.
func (b *board) files() (all []string) {
	filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, _ := d.Info()
			all = append(all, fmt.Sprintf("%s %o", strings.TrimPrefix(path, b.root), info.Mode().Perm()))
		}
		return nil
	})
	return all
}

func TestInstall(t *testing.T) {
	b := newBoard(t)
	env := b.write("my.env", "MQTT_PASSWORD=sesame\n")
	for range 2 { // the second time all is there
		os.Remove(filepath.Join(b.dir, "log"))
		status, out := b.install("--sensor", "iio", "--model", "../../models/gesture/stream.recur", "--env", env, "--args", `-exec 'sh -c "echo {label}|$HOME & 5%"'`, "pi@board")
		if status != 0 || !strings.Contains(out, "gesture doctor") || !strings.Contains(out, "tier ") || !strings.Contains(out, "gesture runs") {
			t.Fatalf("status %d, %s", status, out)
		}
		want := []string{"/etc/gesture/environment 600", "/etc/gesture/model.recur 644", "/etc/systemd/system/gesture.service 644",
			"/etc/udev/rules.d/99-gesture-iio.rules 644", "/usr/local/bin/gesture 755"}
		if got := b.files(); !slices.Equal(got, want) {
			t.Errorf("files %q, want %q", got, want)
		}
		log := b.read(filepath.Join(b.dir, "log"))
		if want := "systemctl stop gesture.service\nudevadm control --reload\nudevadm trigger --subsystem-match=iio\nsystemctl daemon-reload\n" +
			"systemctl enable gesture.service\nsystemctl restart gesture.service\nsystemctl is-active --quiet gesture.service\n"; log != want {
			t.Errorf("done %q, want %q", log, want)
		}
	}
	unit := b.read(b.root + "/etc/systemd/system/gesture.service")
	for _, want := range []string{"\nExecStart=/usr/local/bin/gesture -model /etc/gesture/model.recur -sensor \"iio\" -exec 'sh -c \"echo {label}|$$HOME & 5%%\"'\n",
		"\nSupplementaryGroups=i2c dialout\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("no %q in\n%s", want, unit)
		}
	}
	c := exec.Command(b.root + "/usr/local/bin/gesture")
	if out, err := c.Output(); err != nil || string(out) != b.read("testdata/demo.txt") {
		t.Errorf("the program that is installed: %v, %s", err, out)
	}
	if status, out := b.install("--uninstall", "pi@board"); status != 0 || len(b.files()) != 0 || !strings.Contains(out, "removed") {
		t.Errorf("status %d, %s, left %q", status, out, b.files())
	}
	if status, out := b.install("--uninstall", "pi@board"); status != 0 {
		t.Errorf("once more: status %d, %s", status, out)
	}
}

// TestInstallFails must leave what was there.
func TestInstallFails(t *testing.T) {
	b := newBoard(t)
	old := filepath.Join(b.root, "usr/local/bin/gesture")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ scp, want string }{
		{`exit 1`, "the copy failed; nothing is changed"},
		{fakes["scp"] + `; head -c 1000 "$to/gesture" >"$to/x"; mv "$to/x" "$to/gesture"`, "the copy is damaged; nothing is changed"},
		{fakes["scp"] + `; rm "$to/gesture.service"`, "the copy is damaged; nothing is changed"},
	} {
		b.fake("scp", c.scp)
		status, out := b.install("pi@board")
		if status != 1 || !strings.Contains(out, c.want) || b.read(old) != "old" || len(b.files()) != 1 {
			t.Errorf("status %d, %s, files %q; want %q", status, out, b.files(), c.want)
		}
	}
	b.fake("scp", fakes["scp"])
	b.write("broken", "")
	if status, out := b.install("pi@board"); status != 1 || !strings.Contains(out, "no such sensor") || !strings.Contains(out, "does not run; above is why") {
		t.Errorf("a service that does not start: status %d, %s", status, out)
	}
	b.fake("ssh", "exit 255")
	if status, out := b.install("pi@board"); status != 1 || !strings.Contains(out, "cannot ask pi@board") {
		t.Errorf("no board: status %d, %s", status, out)
	}
}

func TestInstallDry(t *testing.T) {
	b := newBoard(t)
	for machine, want := range map[string]string{
		"Linux aarch64": "GOARCH=arm64\n", "Linux armv7l": "GOARCH=arm GOARM=7\n", "Linux armv8l": "GOARCH=arm GOARM=7\n", "Linux armv6l": "GOARCH=arm GOARM=6\n",
		"Linux x86_64": "GOARCH=amd64\n", "Linux riscv64": "GOARCH=riscv64\n",
	} {
		b.is(machine)
		status, out := b.install("--dry-run", "--tags", "net", "--sensor", `serial:/dev/a "b"\c`, "pi@board")
		if status != 0 || !strings.Contains(out, machine+": "+want) || !strings.Contains(out, `ExecStart=/usr/local/bin/gesture -sensor "serial:/dev/a \"b\"\\c" -json`) ||
			!strings.Contains(out, "-tags net") || len(b.files()) != 0 {
			t.Errorf("%s: status %d, %s", machine, status, out)
		}
	}
	if status, out := b.install("--dry-run", "--uninstall", "pi@board"); status != 0 || !strings.Contains(out, "would stop") {
		t.Errorf("status %d, %s", status, out)
	}
	b.is("Darwin arm64")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"pi@board"}, 1, "pi@board is Darwin arm64: no program is built for that"},
		{nil, 2, "no USER@BOARD"},
		{[]string{"a", "b"}, 2, "more than one board: a and b"},
		{[]string{"--frequency", "a"}, 2, "no option --frequency"},
		{[]string{"--sensor"}, 2, "--sensor wants a value"},
		{[]string{"--args", "a\nb", "pi"}, 2, "line break"},
		{[]string{"--model", "/absent", "pi"}, 1, "cannot read /absent"},
		{[]string{"-h"}, 0, "usage: sh tools/gesture/install.sh"},
	} {
		if status, out := b.install(c.args...); status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("%q: status %d, %s; want %d, %q", c.args, status, out, c.status, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(b.dir, "log")); err == nil {
		t.Error("systemd was told something")
	}
}

// tool returns a program's path. Where it is not, the test is skipped, or with CI set fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal(name + " is not installed")
	}
	t.Skip(name + " is not installed")
	return ""
}

// TestInstallOverSSH has a real sshd, and the same folder for a board.
func TestInstallOverSSH(t *testing.T) {
	sshd := tool(t, "sshd")
	b := newBoard(t)
	dir := t.TempDir()
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command(tool(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("%v, %s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	config := b.write("sshd_config", fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n"+
		"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nSetEnv PATH=%s/bin:%s BOARD=%s TMPDIR=%s/tmp\n",
		port, dir, dir, b.dir, os.Getenv("PATH"), b.dir, b.dir))
	client := b.write("ssh_config", fmt.Sprintf("Host board\n\tHostName 127.0.0.1\n\tPort %d\n\tIdentityFile %s/user\n\tIdentitiesOnly yes\n\tBatchMode yes\n\tUserKnownHostsFile /dev/null\n"+
		"\tStrictHostKeyChecking no\n\tLogLevel ERROR\n", port, dir))
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // where it locks itself in
	}
	server := exec.Command(sshd, "-D", "-e", "-f", config)
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for range 200 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.env = append(b.env, "SSH="+tool(t, "ssh")+" -F "+client, "SCP="+tool(t, "scp")+" -F "+client)
	status, out := b.install("--sensor", "mpu6050:1", "board")
	if status != 0 || !strings.Contains(out, "gesture runs") || len(b.files()) != 2 {
		server.Process.Kill()
		server.Wait()
		t.Fatalf("status %d, %s, files %q\n%s", status, out, b.files(), said.String())
	}
	if status, out := b.install("--uninstall", "board"); status != 0 || len(b.files()) != 0 {
		t.Errorf("status %d, %s, left %q", status, out, b.files())
	}
}

func TestInstallScript(t *testing.T) {
	if out, err := exec.Command(tool(t, "shellcheck"), "install.sh").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The part that runs on the board, which shellcheck takes for text.
	text, err := os.ReadFile("install.sh")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<<'BOARD'\n")
	part, _, ok := strings.Cut(rest, "\nBOARD\n")
	if !ok {
		t.Fatal("no part for the board")
	}
	c := exec.Command(tool(t, "shellcheck"), "-s", "sh", "-e", "SC1091,SC2154,SC2086", "-") // settings are elsewhere; $sudo may be nothing
	c.Stdin = strings.NewReader(part)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUnit(t *testing.T) {
	text, err := os.ReadFile("gesture.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.NewReplacer("/usr/local/bin/gesture @ARGS@", "/bin/true -sensor iio", "@GROUPS@", "dialout").Replace(string(text))
	file := filepath.Join(t.TempDir(), "gesture.service")
	if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool(t, "systemd-analyze"), "verify", file).CombinedOutput(); err != nil || strings.Contains(string(out), "gesture.service") {
		t.Errorf("%v\n%s", err, out)
	}
	// 0 is a service that can do nothing, 10 one that can do all.
	if out, err := exec.Command(tool(t, "systemd-analyze"), "security", "--offline=yes", "--threshold=25", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
