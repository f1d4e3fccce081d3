package bench

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unsafe"
)

// unit is a kind of arithmetic with its own ceiling.
type unit string

const (
	unitInt8   unit = "int8"    // exact int8 multiply-add into int32
	unitFMA    unit = "fma"     // float32 multiply-add, rounded once
	unitMulAdd unit = "mul+add" // float32 multiply and add, both rounded
	unitDivide unit = "divide"  // float32
)

// why names the unit as a limit.
func (u unit) why() string { return string(u) + " ports" }

// probes are the routines that find what a tier could do at most.
type probes struct {
	vector string // what read loads at a time
	read   func(p []byte)
	ports  map[unit]port
}

// port runs n rounds of independent instructions that touch registers only.
type port struct {
	instructions string
	ops          float64 // of a round: a multiply-add is two
	run          func(n int)
}

// readBlock is a multiple of the block sizes of all read routines.
const readBlock = 512

// Limits are what the machine can do at most, the fastest of many short measurements.
type Limits struct {
	Read  []ReadLimit `json:"read"`
	Ports []PortLimit `json:"ports"`
}

// ReadLimit is the rate at which a loop of nothing but loads goes through memory of a size, again and again.
type ReadLimit struct {
	Vector string  `json:"vector"`
	Bytes  int     `json:"bytes"`
	Level  string  `json:"level"` // the cache that holds so much; empty if unknown
	GBps   float64 `json:"gbps"`
}

// PortLimit is the rate of independent instructions on registers. A multiply-add counts as two operations.
type PortLimit struct {
	Tier         string  `json:"tier"`
	Unit         string  `json:"unit"`
	Instructions string  `json:"instructions"`
	GOPS         float64 `json:"gops"`
}

// bound is a time below which something cannot be done, and why.
type bound struct {
	why string
	ns  float64
}

// binding returns the bound that is reached first.
func binding(bounds ...bound) bound {
	return slices.MaxFunc(bounds, func(a, b bound) int { return cmp.Compare(a.ns, b.ns) })
}

type readKey struct {
	vector string
	bytes  int
}

type portKey struct {
	tier string
	unit unit
}

// prober collects the jobs that measure limits, each once, and afterwards answers what they found.
type prober struct {
	machine *Machine
	arena   []byte
	jobs    []*job
	reads   map[readKey]*job
	ports   map[portKey]*job
	gates   map[gateKey]*job
	of      func(*job) float64 // what stands for a job: its minimum or its median
}

// maxRead bounds the memory that reading takes.
const maxRead = 128 << 20

func newProber(m *Machine, tiers []string) *prober {
	p := &prober{machine: m, reads: map[readKey]*job{}, ports: map[portKey]*job{}, gates: map[gateKey]*job{}, of: (*job).min}
	p.arena = make([]byte, maxRead)
	for i := 0; i < len(p.arena); i += 1024 {
		p.arena[i] = 1 // or every page would be the same page of zeros
	}
	for _, tier := range tiers {
		for _, n := range levelSizes(m.Caches) {
			p.read(tier, n)
		}
		for u := range tierProbes(tier).ports {
			p.port(tier, u)
		}
	}
	return p
}

// levelSizes are sizes that lie well inside each cache, and one far beyond the last.
func levelSizes(caches []Cache) (sizes []int) {
	if len(caches) == 0 {
		return []int{8 << 10, 128 << 10, 1 << 20, 32 << 20}
	}
	for _, c := range caches {
		sizes = append(sizes, c.Bytes/2/readBlock*readBlock)
	}
	last := caches[len(caches)-1].Bytes
	return append(sizes, min(max(4*last, 16<<20), maxRead))
}

func (p *prober) read(tier string, bytes int) {
	pr := tierProbes(tier)
	k := p.readKey(tier, bytes)
	if p.reads[k] != nil {
		return
	}
	j := &job{run: func(n int) {
		for range n {
			pr.read(p.arena[:k.bytes])
		}
	}}
	p.reads[k] = j
	p.jobs = append(p.jobs, j)
}

func (p *prober) readKey(tier string, bytes int) readKey {
	return readKey{tierProbes(tier).vector, min(max(readBlock, (bytes+readBlock-1)/readBlock*readBlock), maxRead)}
}

func (p *prober) port(tier string, u unit) {
	pr := tierProbes(tier).ports[u]
	k := portKey{tier, u}
	if pr.run == nil || p.ports[k] != nil {
		return
	}
	j := &job{run: pr.run}
	p.ports[k] = j
	p.jobs = append(p.jobs, j)
}

// readBound is the time to read some bytes out of data of a size.
func (p *prober) readBound(tier string, bytes float64, size int) bound {
	k := p.readKey(tier, size)
	why := "read"
	if l := p.machine.level(k.bytes); l != "" {
		why += " " + l
	}
	j := p.reads[k]
	if j == nil {
		return bound{}
	}
	return bound{why, bytes * p.of(j) / float64(k.bytes)}
}

// portBound is the time for some operations of a unit, 0 where the tier has no such unit.
func (p *prober) portBound(tier string, u unit, ops float64) bound {
	j := p.ports[portKey{tier, u}]
	if j == nil {
		return bound{}
	}
	return bound{u.why(), ops * p.of(j) / tierProbes(tier).ports[u].ops}
}

// medians answers with the medians.
func (p *prober) medians() *prober {
	m := *p
	m.of = (*job).median
	return &m
}

// limits lists what was found.
func (p *prober) limits() (l Limits) {
	for k, j := range p.reads {
		l.Read = append(l.Read, ReadLimit{k.vector, k.bytes, p.machine.level(k.bytes), float64(k.bytes) / j.min()})
	}
	slices.SortFunc(l.Read, func(a, b ReadLimit) int {
		if a.Vector != b.Vector {
			return strings.Compare(a.Vector, b.Vector)
		}
		return a.Bytes - b.Bytes
	})
	units := []unit{unitInt8, unitFMA, unitMulAdd, unitDivide}
	for _, tier := range p.machine.Tiers {
		for _, u := range units {
			if j := p.ports[portKey{tier, u}]; j != nil {
				pr := tierProbes(tier).ports[u]
				l.Ports = append(l.Ports, PortLimit{tier, string(u), pr.instructions, pr.ops / j.min()})
			}
		}
	}
	return l
}

// tierProbes are those of a tier, of plain Go where it has none of its own.
func tierProbes(tier string) probes {
	if p, ok := archProbes[tier]; ok {
		return p
	}
	return goProbes
}

// goProbes are the limits of compiled Go code.
var goProbes = probes{
	vector: "8 bytes, Go",
	read:   readGo,
	ports: map[unit]port{
		unitInt8:   {"int32 multiply, add; Go", 16, mulAddInts},
		unitFMA:    {"float64 multiply, add; Go", 16, mulAddFloats[float64]},
		unitMulAdd: {"float32 multiply, add; Go", 16, mulAddFloats[float32]},
		unitDivide: {"float32 divide; Go", 8, divide},
	},
}

var sink struct {
	word  uint64
	int   int32
	float float64
}

func readGo(b []byte) {
	p := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
	var s0, s1, s2, s3 uint64
	for len(p) >= 8 {
		q := p[:8]
		s0 |= q[0] | q[4]
		s1 |= q[1] | q[5]
		s2 |= q[2] | q[6]
		s3 |= q[3] | q[7]
		p = p[8:]
	}
	sink.word = s0 | s1 | s2 | s3
}

// Eight chains of dependent operations keep the units of any processor busy.

func mulAddInts(n int) {
	var a, b, c, d, e, f, g, h int32
	x, y := sink.int|3, sink.int|5
	for range n {
		a, b, c, d = a*x+y, b*x+y, c*x+y, d*x+y
		e, f, g, h = e*x+y, f*x+y, g*x+y, h*x+y
	}
	sink.int = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h
}

func mulAddFloats[T float32 | float64](n int) {
	var a, b, c, d, e, f, g, h T
	x, y := T(0.5), T(1)
	for range n {
		a, b, c, d = T(a*x)+y, T(b*x)+y, T(c*x)+y, T(d*x)+y
		e, f, g, h = T(e*x)+y, T(f*x)+y, T(g*x)+y, T(h*x)+y
	}
	sink.float = float64(a + b + c + d + e + f + g + h)
}

func divide(n int) {
	a, b, c, d := float32(1.1), float32(1.2), float32(1.3), float32(1.4)
	e, f, g, h := float32(1.5), float32(1.6), float32(1.7), float32(1.8)
	x := float32(1.9)
	for range n {
		a, b, c, d = x/a, x/b, x/c, x/d
		e, f, g, h = x/e, x/f, x/g, x/h
	}
	sink.float = float64(a + b + c + d + e + f + g + h)
}

// with adds the ceiling of int8 products to those of floats.
func with(floats map[unit]port, int8 port) map[unit]port {
	m := maps.Clone(floats)
	m[unitInt8] = int8
	return m
}
