// Mot follows objects through a video by the boxes that a detector found in each frame, and prints an identity for every box.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/recur-go/recur/models/mot"
	"github.com/recur-go/recur/models/mot/demo"
	"github.com/recur-go/recur/runtime"
	"github.com/recur-go/recur/tools/internal/replace"
)

const usage = `mot follows objects from frame to frame by the boxes that a detector finds, and gives each an identity.

  mot                                     a synthetic scene, and how well it is followed
  mot -demo-det det.txt                   write its detections, to see the format
  mot -in det.txt -out tracks.txt         a file in MOT format: frame,id,left,top,width,height,score
  detector | mot -in - -image 1920x1080   a live stream; the tracks of a frame come out when the next frame begins,
                                          or at once after a blank line
  mot -in det.txt -draw tracks.html       a page that plays the tracks; or a .gif
  mot -in det.txt -good 0.5               scores of another detector than the model is for: from 0.5 on its boxes are mostly right
  detector | mot -in - -json              JSON out; lines of JSON in are recognised, an object a frame, answered at once:
                                          {"frame":1,"detections":[{"box":[10,20,30,60],"score":0.9}]}

Another method, and other settings:

  mot -in det.txt -motion kalman          a Kalman filter and optimal assignment (SORT)
  mot -in det.txt -image 1920x1080 -motion paper -assoc lstm
                                          the networks of Milan et al. 2017
  mot -show-config >my.json               all settings
  mot -in det.txt -config my.json         a file with some or all of them
  mot -in det.txt -set max_age=60         one of them; can be given more than once

Flags:
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// errUsage has been reported.
var errUsage = errors.New("usage")

type options struct {
	in, out       string
	demoDet       string
	demoTruth     string
	motion, assoc string
	model         string
	assocModel    string
	pairs         string
	config        string
	set           settings
	showConfig    bool
	json          bool
	good          float64
	image         string
	width, height float64
	fps           float64
	draw          string
	drawing       *drawing
}

// settings are those given by -set.
type settings []string

func (s *settings) String() string { return strings.Join(*s, " ") }

func (s *settings) Set(v string) error {
	if !strings.Contains(v, "=") {
		return errors.New("want NAME=VALUE")
	}
	*s = append(*s, v)
	return nil
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout, stderr)
	switch err {
	case nil:
	case flag.ErrHelp:
		return 0
	default:
		return 2
	}
	if err := o.run(stdin, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "mot:", err)
		return 1
	}
	return 0
}

func parse(args []string, stdout, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("mot", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.in, "in", "", "read detections from `FILE`, - for standard input (default: the demo scene)")
	fs.StringVar(&o.demoDet, "demo-det", "", "write the demo scene's detections to `FILE`, - for standard output, and end")
	fs.StringVar(&o.out, "out", "-", "write tracks to `FILE`, - for standard output")
	fs.StringVar(&o.demoTruth, "demo-truth", "", "write the demo scene's true tracks to `FILE`, - for standard output, and end")
	fs.StringVar(&o.motion, "motion", "", "what predicts: gru, kalman, or paper (default: what the model is for)")
	fs.StringVar(&o.model, "model", "", "motion model, a `FILE.recur` (default: the embedded one)")
	fs.StringVar(&o.assoc, "assoc", "", "what assigns detections: hungarian, or lstm (default: hungarian)")
	fs.StringVar(&o.assocModel, "assoc-model", "", "association model for -assoc lstm, a `FILE.recur` (default: the embedded one)")
	fs.StringVar(&o.pairs, "pairs", "", "write what the prices of pairs come of to the CSV `FILE`, to fit weights")
	fs.StringVar(&o.config, "config", "", "override settings by those in the JSON `FILE`")
	fs.Var(&o.set, "set", "override a setting, `NAME=VALUE`")
	fs.BoolVar(&o.showConfig, "show-config", false, "print all settings as JSON, and end")
	fs.BoolVar(&o.json, "json", false, "write JSON, an object a frame")
	fs.Float64Var(&o.good, "good", 0, "the `SCORE` from which about nine in ten of your detector's boxes are right (default: as of the detector that\nthe model is for)")
	fs.StringVar(&o.image, "image", "", "size of the image in pixels, `WxH`")
	fs.StringVar(&o.draw, "draw", "", "draw the tracks into `FILE`, a .gif, or an .html that plays in a browser")
	fs.Float64Var(&o.fps, "fps", 25, "frames a second of the drawing")
	err = fs.Parse(args)
	if err == nil {
		err = o.check(fs.Args())
	}
	switch {
	case err == flag.ErrHelp:
		io.WriteString(stdout, usage)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
	case err != nil:
		fmt.Fprintf(stderr, "mot: %v; mot -h explains\n", err)
		err = errUsage
	}
	return o, err
}

func (o *options) check(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: name a file with -in", args[0])
	}
	if !(o.fps >= 1 && o.fps <= 1000) {
		return fmt.Errorf("-fps %v: want 1 to 1000", o.fps)
	}
	if !(o.good >= 0 && o.good < 1) {
		return fmt.Errorf("-good %v: want more than 0 and less than 1", o.good)
	}
	if o.draw != "" {
		if err := checkDrawing(o.draw); err != nil {
			return err
		}
	}
	if o.image != "" {
		if n, err := fmt.Sscanf(o.image+";", "%fx%f;", &o.width, &o.height); n != 2 || err != nil || !(o.width > 0 && o.height > 0) {
			return fmt.Errorf("-image %q: want a size like 1920x1080", o.image)
		}
	}
	return nil
}

// settle makes the configuration: that of the motion or its model, then the file's, then the flags'.
func (o *options) settle() (c mot.Config, m mot.Models, err error) {
	switch {
	case o.model != "":
		m.Motion, err = runtime.Open(o.model)
	case o.motion == "kalman":
	case o.motion == "paper":
		m.Motion, err = mot.PaperMotion()
	default:
		m.Motion, err = mot.Filter()
	}
	c = mot.SORT()
	if m.Motion != nil && err == nil {
		if c, err = mot.ConfigOf(m.Motion); err != nil {
			err = fmt.Errorf("%s: %w", cmp.Or(o.model, "embedded model"), err)
		}
	}
	if err == nil {
		err = o.override(&c)
	}
	switch {
	case err != nil:
	case o.assocModel != "":
		m.Assoc, err = runtime.Open(o.assocModel)
	case c.Assoc == "lstm":
		m.Assoc, err = mot.Association()
	}
	return c, m, err
}

func (o *options) override(c *mot.Config) error {
	if o.config != "" {
		text, err := os.ReadFile(o.config)
		if err != nil {
			return err
		}
		if err := c.Override(text); err != nil {
			return fmt.Errorf("%s: %w", o.config, err)
		}
	}
	for _, s := range o.set {
		if err := c.Override(override(s)); err != nil {
			return fmt.Errorf("-set %s: %w", s, err)
		}
	}
	if o.motion != "" {
		c.Motion = o.motion
	}
	if o.assoc != "" {
		c.Assoc = o.assoc
	}
	if o.good > 0 {
		c.GoodScore = o.good
	}
	if o.image != "" {
		c.Width, c.Height = o.width, o.height
	}
	return nil
}

// override is JSON of a setting. A dot separates names of nested ones, and text needs no quotes.
func override(setting string) []byte {
	name, value, _ := strings.Cut(setting, "=")
	if !json.Valid([]byte(value)) {
		value = fmt.Sprintf("%q", value)
	}
	path := strings.Split(name, ".")
	text := fmt.Sprintf("{%q:", path[0])
	for _, p := range path[1:] {
		text += fmt.Sprintf("{%q:", p)
	}
	return []byte(text + value + strings.Repeat("}", len(path)))
}

func (o *options) run(stdin io.Reader, stdout, stderr io.Writer) error {
	if o.demoDet != "" || o.demoTruth != "" {
		return o.writeDemo(stdout)
	}
	c, models, err := o.settle()
	if err != nil {
		return err
	}
	if o.showConfig {
		_, err := fmt.Fprintln(stdout, c.String())
		return err
	}
	if o.in == "" {
		if c.Width == 0 && c.Height == 0 {
			c.Width, c.Height = demo.Width, demo.Height
		}
		c.GoodScore = cmp.Or(c.GoodScore, demo.Good)
	}
	if o.draw != "" {
		o.drawing = &drawing{path: o.draw, width: c.Width, height: c.Height, fps: o.fps}
	}
	tracker, err := mot.New(c, models)
	if err != nil {
		return err
	}
	if o.pairs != "" {
		return replace.File(o.pairs, func(w io.Writer) error {
			buffer := bufio.NewWriter(w)
			tracker.SetPairs(pairWriter(buffer))
			return errors.Join(o.open(tracker, stdin, stdout, stderr), buffer.Flush())
		})
	}
	return o.open(tracker, stdin, stdout, stderr)
}

// open follows the objects of the input, and writes them where they are wanted.
func (o *options) open(tracker *mot.Tracker, stdin io.Reader, stdout, stderr io.Writer) error {
	in, name := stdin, "standard input"
	if o.in != "" && o.in != "-" {
		f, err := os.Open(o.in)
		if err != nil {
			return err
		}
		defer f.Close()
		in, name = f, o.in
	}
	if o.in == "-" && (o.out != "-" || o.draw != "") {
		defer outlive(stderr)()
	}
	follow := func(w io.Writer) error {
		sink := &sink{tracker: tracker, out: printer{w: w, json: o.json}, drawing: o.drawing, log: stderr}
		if o.in == "" {
			return play(sink)
		}
		return follow(sink, newReader(in, name))
	}
	if o.out == "-" {
		return follow(stdout)
	}
	return replace.File(o.out, follow)
}

// outlive lets the first interrupt pass: it ends the detector that feeds us too, and what was tracked up to then is to be written. A second one
// ends us.
func outlive(stderr io.Writer) (stop func()) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		if _, ok := <-interrupts; ok {
			fmt.Fprintln(stderr, "mot: waiting for the end of the input; interrupt again to end at once")
			signal.Stop(interrupts)
		}
	}()
	return func() {
		signal.Stop(interrupts)
		close(interrupts)
	}
}

// writeDemo writes what is asked for of the demo scene.
func (o *options) writeDemo(stdout io.Writer) error {
	for _, part := range []struct {
		path  string
		write func(io.Writer, uint64) error
	}{{o.demoDet, demo.WriteDetections}, {o.demoTruth, demo.WriteTruth}} {
		write := func(w io.Writer) error { return part.write(w, demo.Seed) }
		switch part.path {
		case "":
		case "-":
			if err := write(stdout); err != nil {
				return err
			}
		default:
			if err := replace.File(part.path, write); err != nil {
				return err
			}
		}
	}
	return nil
}

// play follows the people of the demo scene, and scores it.
func play(s *sink) error {
	fmt.Fprintln(s.log, "mot: a synthetic scene; mot -h lists other input")
	score := newScorer()
	scene := demo.New(demo.Seed)
	for {
		truth, found, ok := scene.Next()
		if !ok {
			break
		}
		tracks, err := s.update(s.frames+1, found)
		if err != nil {
			return err
		}
		score.add(truth, tracks)
	}
	result := score.close()
	result.print(s.log)
	return s.close()
}

// follow tracks every frame, those without a line too.
func follow(s *sink, in *reader) error {
	last := 0
	for {
		frame, found, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for ; last+1 < frame; last++ {
			if _, err := s.update(last+1, nil); err != nil {
				return err
			}
		}
		if _, err := s.update(frame, found); err != nil {
			return fmt.Errorf("%s: frame %d: %w", in.name, frame, err)
		}
		last = frame
	}
	if s.frames == 0 {
		return fmt.Errorf("%s: no detections", in.name)
	}
	return s.close()
}

// sink takes frames, and counts what was done and how long the tracker took.
type sink struct {
	tracker *mot.Tracker
	out     printer
	drawing *drawing

	log    io.Writer
	warned bool

	frames, detections, boxes, identities int
	busy                                  time.Duration
}

func (s *sink) update(frame int, found []mot.Detection) ([]mot.Track, error) {
	begin := time.Now()
	tracks, err := s.tracker.Update(found)
	s.busy += time.Since(begin)
	if err != nil {
		return nil, err
	}
	s.frames++
	s.detections += len(found)
	s.boxes += len(tracks)
	for i := range tracks {
		s.identities = max(s.identities, tracks[i].ID)
	}
	s.watch()
	if s.drawing != nil {
		s.drawing.add(frame, found, tracks)
	}
	return tracks, s.out.print(frame, tracks)
}

// watch says once that most detections are not looked at, which is what another detector's scores come to.
func (s *sink) watch() {
	const enough = 200
	if ignored := s.tracker.Ignored(); !s.warned && s.detections >= enough && 2*ignored > s.detections {
		s.warned = true
		fmt.Fprintf(s.log, "mot: %d of %d detections score too low to be looked at; -good SCORE says from which score your detector's are right\n", ignored, s.detections)
	}
}

func (s *sink) close() error {
	fmt.Fprintf(s.log, "mot: %d frames, %d detections; %d boxes of %d identities; %.0f frames a second\n", s.frames, s.detections, s.boxes, s.identities,
		float64(s.frames)/max(s.busy, 1).Seconds())
	if s.drawing == nil {
		return nil
	}
	return s.drawing.write(s.log)
}
