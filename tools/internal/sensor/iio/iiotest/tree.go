//go:build unix

// Package iiotest makes a tree of files that looks like the kernel's to package iio, with a named pipe for a device's buffer.
package iiotest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Tree is a root folder with devices in it.
type Tree struct {
	t    testing.TB
	Root string
	next int
}

// New makes an empty tree.
func New(t testing.TB) *Tree {
	tree := &Tree{t: t, Root: t.TempDir()}
	tree.mkdir("sys/bus/iio/devices")
	tree.mkdir("dev")
	return tree
}

func (tree *Tree) mkdir(path string) {
	if err := os.MkdirAll(filepath.Join(tree.Root, path), 0o755); err != nil {
		tree.t.Fatal(err)
	}
}

// Write makes or replaces a file.
func (tree *Tree) Write(path, text string) {
	tree.t.Helper()
	tree.mkdir(filepath.Dir(path))
	if err := os.WriteFile(filepath.Join(tree.Root, path), []byte(text), 0o644); err != nil {
		tree.t.Fatal(err)
	}
}

// Trigger adds a trigger.
func (tree *Tree) Trigger(n int, name, rate string) {
	dir := fmt.Sprintf("sys/bus/iio/devices/trigger%d/", n)
	tree.Write(dir+"name", name+"\n")
	if rate != "" {
		tree.Write(dir+"sampling_frequency", rate+"\n")
	}
}

// Device is one of a tree's.
type Device struct {
	tree      *Tree
	Node, dir string
	pipe      *os.File
	row       []byte
}

// Device adds one that has x, y and z of the kinds, 16 bits little-endian in this order, and a time stamp; its raw readings are 0.
func (tree *Tree) Device(name string, kinds ...string) *Device {
	d := &Device{tree: tree, Node: fmt.Sprintf("iio:device%d", tree.next)}
	d.dir = "sys/bus/iio/devices/" + d.Node + "/"
	tree.next++
	d.Set("name", name)
	d.Set("buffer/enable", "0")
	d.Set("buffer/length", "2")
	d.Set("buffer/watermark", "1")
	d.Set("current_timestamp_clock", "realtime")
	d.Set("sampling_frequency", "100")
	d.Set("sampling_frequency_available", "10 50 100 200 400")
	n := 0
	for _, kind := range kinds {
		for _, axis := range []string{"x", "y", "z"} {
			c := "in_" + kind + "_" + axis
			d.Set(c+"_raw", "0")
			d.Element(c, n, "le:s16/16>>0")
			n++
		}
		d.Set("in_"+kind+"_scale", "0.5")
	}
	d.Element("in_temp", n, "le:s16/16>>0")
	d.Set("scan_elements/in_temp_en", "1")
	d.Element("in_timestamp", n+1, "le:s64/64>>0")
	path := filepath.Join(tree.Root, "dev", d.Node)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		tree.t.Fatal(err)
	}
	var err error
	if d.pipe, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		tree.t.Fatal(err)
	}
	tree.t.Cleanup(func() { d.pipe.Close() })
	return d
}

// Element describes one of the numbers in a row.
func (d *Device) Element(name string, index int, typ string) {
	d.Set("scan_elements/"+name+"_en", "0")
	d.Set("scan_elements/"+name+"_index", fmt.Sprint(index))
	d.Set("scan_elements/"+name+"_type", typ)
}

// Set writes a file of the device.
func (d *Device) Set(file, text string) { d.tree.t.Helper(); d.tree.Write(d.dir+file, text+"\n") }

// Remove takes a file away.
func (d *Device) Remove(file string) {
	if err := os.RemoveAll(filepath.Join(d.tree.Root, d.dir, file)); err != nil {
		d.tree.t.Fatal(err)
	}
}

// Get reads a file of the device.
func (d *Device) Get(file string) string {
	b, err := os.ReadFile(filepath.Join(d.tree.Root, d.dir, file))
	if err != nil {
		d.tree.t.Fatal(err)
	}
	return string(b)
}

// Row puts a row into the buffer: 16-bit values, room for the time to be aligned, and the time in ns.
func (d *Device) Row(time int64, values ...int16) {
	d.row = d.row[:0]
	for _, v := range values {
		d.row = binary.LittleEndian.AppendUint16(d.row, uint16(v))
	}
	for len(d.row)%8 != 0 {
		d.row = append(d.row, 0xaa)
	}
	d.row = binary.LittleEndian.AppendUint64(d.row, uint64(time))
	d.Bytes(d.row)
}

// Bytes puts bytes into the buffer.
func (d *Device) Bytes(b []byte) {
	if _, err := d.pipe.Write(b); err != nil {
		d.tree.t.Error(err)
	}
}

// Unplug takes the device away; what is in the buffer can still be read.
func (d *Device) Unplug() {
	d.pipe.Close()
	d.Remove("")
}
