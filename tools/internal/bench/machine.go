package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/recur-go/recur/kernels"
)

// Machine describes the processor and the build.
type Machine struct {
	CPU      string   `json:"cpu"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	Go       string   `json:"go"`
	Cores    int      `json:"cores"` // logical, that the process may use
	Features []string `json:"features"`
	Tiers    []string `json:"tiers"` // the slowest first
	Tier     string   `json:"tier"`  // in use unless told otherwise
	Caches   []Cache  `json:"caches"`
	ClockNs  float64  `json:"clock_ns"` // median of two readings of the clock, one after the other
}

// Cache is one level that data goes through.
type Cache struct {
	Level  int    `json:"level"`
	Bytes  int    `json:"bytes"`
	Shared string `json:"shared,omitempty"` // the logical CPUs that share it, as Linux lists them
	Source string `json:"source"`           // cpuid or sysfs
}

// Describe returns what is known of this machine.
func Describe() Machine {
	return Machine{
		CPU: cpuName(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), Cores: runtime.NumCPU(),
		Features: features(), Tiers: kernels.Tiers(), Tier: kernels.Tier(), Caches: caches(), ClockNs: clockNs(),
	}
}

func cpuName() string {
	if name := strings.TrimSpace(cpuid.CPU.BrandName); name != "" {
		return name
	}
	if b, err := os.ReadFile("/proc/device-tree/model"); err == nil {
		return strings.TrimRight(string(b), "\x00\n")
	}
	return "unknown"
}

// caches prefers sysfs, which knows what cpuid does not say on ARM.
func caches() []Cache {
	if c := sysfsCaches("/sys/devices/system/cpu/cpu0/cache"); len(c) > 0 {
		return c
	}
	var out []Cache
	for i, n := range []int{cpuid.CPU.Cache.L1D, cpuid.CPU.Cache.L2, cpuid.CPU.Cache.L3} {
		if n > 0 {
			out = append(out, Cache{Level: i + 1, Bytes: n, Source: "cpuid"})
		}
	}
	return out
}

func sysfsCaches(dir string) (out []Cache) {
	for i := range 8 {
		index := filepath.Join(dir, "index"+strconv.Itoa(i))
		level, err := strconv.Atoi(line(index, "level"))
		size := byteSize(line(index, "size"))
		if err != nil || size == 0 || line(index, "type") == "Instruction" {
			continue
		}
		out = append(out, Cache{Level: level, Bytes: size, Shared: line(index, "shared_cpu_list"), Source: "sysfs"})
	}
	return out
}

func line(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

// byteSize reads sizes such as 48K and 32M, 0 if s is none.
func byteSize(s string) int {
	unit := 1
	switch {
	case strings.HasSuffix(s, "K"):
		unit = 1 << 10
	case strings.HasSuffix(s, "M"):
		unit = 1 << 20
	}
	n, err := strconv.Atoi(strings.TrimRight(s, "KM"))
	if err != nil || n < 0 {
		return 0
	}
	return n * unit
}

// level names the cache that holds so many bytes, or "DRAM"; empty if no cache is known.
func (m *Machine) level(bytes int) string {
	if len(m.Caches) == 0 {
		return ""
	}
	for _, c := range m.Caches {
		if bytes <= c.Bytes {
			return "L" + strconv.Itoa(c.Level)
		}
	}
	return "DRAM"
}
