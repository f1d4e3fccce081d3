// Ours is the side of tools/peers that runs recur: it takes commands as lines of JSON and answers each with one line.
//
//	{"cmd":"info"}                                    {"tier":"avx2","go":"go1.26.8"}
//	{"cmd":"load","net":"DIR","scheme":"w8a8"}        {"bytes":12345}       size of the .recur file
//	{"cmd":"check","out":"FILE"}                      {}                    runs x.f32 and writes the outputs as float32
//	{"cmd":"time","ms":100}                           {"min_ns":1.5,"median_ns":1.6,"passes":70}
//
// A pass is the whole of x.f32 once: call by call in mode step, or as one call in mode seq; times are per time step. What fails is
// answered with {"error":"why"}. RECUR_TIER chooses the tier.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/recur-go/recur/kernels"
	"github.com/recur-go/recur/quant"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/runtime/format"
)

const usage = `ours answers the commands of tools/peers/peers.py on standard input. Try one:

  echo '{"cmd":"info"}' | RECUR_TIER=avx2 go run ./tools/peers/ours
`

func main() {
	if len(os.Args) > 1 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := kernels.TierError(); err != nil {
		fmt.Fprintln(os.Stderr, "ours: RECUR_TIER:", err)
		os.Exit(2)
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ours:", err)
		os.Exit(1)
	}
}

type request struct {
	Cmd    string  `json:"cmd"`
	Net    string  `json:"net"`
	Scheme string  `json:"scheme"`
	Out    string  `json:"out"`
	Ms     float64 `json:"ms"`
}

type worker struct {
	net     *net
	session *runtime.Session
	y       []float32
}

func serve(in io.Reader, out io.Writer) error {
	var w worker
	lines, enc := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		var r request
		reply, err := any(nil), json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			reply, err = w.do(&r)
		}
		if err != nil {
			reply = map[string]string{"error": err.Error()}
		}
		if err := enc.Encode(reply); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (w *worker) do(r *request) (any, error) {
	if w.net == nil && (r.Cmd == "check" || r.Cmd == "time") {
		return nil, fmt.Errorf("%s before load", r.Cmd)
	}
	switch r.Cmd {
	case "info":
		return map[string]string{"tier": kernels.Tier(), "go": goruntime.Version()}, nil
	case "load":
		return w.load(r.Net, r.Scheme)
	case "check":
		w.session.Reset()
		if err := w.pass(); err != nil {
			return nil, err
		}
		return struct{}{}, writeFloats(r.Out, w.y)
	case "time":
		return w.time(time.Duration(r.Ms * float64(time.Millisecond)))
	}
	return nil, fmt.Errorf("unknown command %q (want info, load, check or time)", r.Cmd)
}

func (w *worker) load(dir, scheme string) (any, error) {
	s, err := format.ParseScheme(scheme)
	if err != nil {
		return nil, err
	}
	n, err := readNet(dir)
	if err != nil {
		return nil, err
	}
	f, err := quant.Build(n.graph(), quant.Options{Scheme: s, Calib: [][]float32{n.x}})
	if err != nil {
		return nil, err
	}
	b, err := format.Encode(f)
	if err != nil {
		return nil, err
	}
	m, err := runtime.Load(b)
	if err != nil {
		return nil, err
	}
	*w = worker{net: n, session: m.NewSession(), y: make([]float32, n.Steps*m.OutputWidth())}
	return map[string]int{"bytes": len(b)}, nil
}

func (w *worker) pass() error {
	n := w.net
	if n.Mode == "seq" {
		return w.session.Run(n.x, w.y)
	}
	out := len(w.y) / n.Steps
	for t := range n.Steps {
		if err := w.session.Step(n.x[t*n.Input:][:n.Input], w.y[t*out:][:out]); err != nil {
			return err
		}
	}
	return nil
}

// minPasses are timed however short the time allowed is.
const minPasses = 3

func (w *worker) time(allowed time.Duration) (any, error) {
	if allowed <= 0 || allowed > time.Minute {
		return nil, errors.New("ms must be more than 0 and at most 60000")
	}
	if err := w.pass(); err != nil {
		return nil, err
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	goruntime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var ns []float64
	for start := time.Now(); time.Since(start) < allowed || len(ns) < minPasses; {
		t := time.Now()
		if err := w.pass(); err != nil {
			return nil, err
		}
		ns = append(ns, float64(time.Since(t))/float64(w.net.Steps))
	}
	slices.Sort(ns)
	return map[string]float64{"min_ns": ns[0], "median_ns": ns[len(ns)/2], "passes": float64(len(ns))}, nil
}
