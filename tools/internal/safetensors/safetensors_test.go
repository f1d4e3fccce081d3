package safetensors

import (
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

var valid = file(`{"__metadata__":{"format":"pt"},"b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}  `,
	0, 0, 0xc0, 0x3f, 1, 0, 2, 0)

func TestRead(t *testing.T) {
	all, err := Read(valid)
	if err != nil || len(all) != 2 || all[0].Name != "b" || all[1].Name != "a" {
		t.Fatal(all, err)
	}
	if !slices.Equal(all[0].Floats(), []float32{1, 2}) || !slices.Equal(all[1].Floats(), []float32{1.5}) || !slices.Equal(all[1].Shape, []int{1, 1}) {
		t.Errorf("%v %v", all[0].Floats(), all[1].Floats())
	}
}

func TestRefused(t *testing.T) {
	for header, want := range map[string]string{
		``:   "not a JSON object",
		`[]`: "not a JSON object",
		`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`:                                                    "more than the 4 bytes",
		`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,4]}}`:                                                    "in 4 bytes",
		`{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}`:                                                "F8_E4M3",
		`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,4]}}`:                                 "shape",
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,100000000000]}}`:                                          "bytes 0 to 100000000000",
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}}`:                                                    "bytes -4",
		`{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}`:                                                     "bytes 1 to 4",
		`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}`:                                                     "end at byte 3",
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{}}`:                                              "twice",
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1}}`:                                               "unknown field",
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`: "bytes 2 to 4",
		`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`:                                                      "header",
		`{"a":` + strings.Repeat("[", 20000):                                                                        "header",
	} {
		if _, err := Read(file(header, 1, 2, 3, 4)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", header, err, want)
		}
	}
	if _, err := Read(binary.LittleEndian.AppendUint64(nil, 1<<63)); err == nil {
		t.Error("a header longer than the file is accepted")
	}
}

func TestCutShort(t *testing.T) {
	for n := range valid {
		if _, err := Read(valid[:n]); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(valid))
		}
	}
}

// TestHostile gives headers that are as long as they may be.
func TestHostile(t *testing.T) {
	const size = maxHeader - 100
	for name, header := range map[string]string{
		"shape":    `{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[` + strings.Repeat("1,", size/2) + `1]}}`,
		"metadata": `{"__metadata__":{` + strings.Repeat(`"":"",`, size/6) + `"":""}}`,
		"tensors":  `{` + strings.Repeat(`"a":{},`, size/7) + `"a":{}}`,
		"nested":   `{"a":` + strings.Repeat(`[`, size),
		"offsets":  `{"a":{"data_offsets":[` + strings.Repeat("1,", size/2) + `1]}}`,
	} {
		b := file(header, 1)
		var err error
		var used uint64
		took := time.Hour
		for try := 0; try < 3 && took > time.Second; try++ { // other programs slow some of them down
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err = Read(b)
			took = min(took, time.Since(start))
			runtime.ReadMemStats(&after)
			used = after.TotalAlloc - before.TotalAlloc
		}
		if err == nil || took > time.Second || used > 256<<20 {
			t.Errorf("%s: %.80v, took %v and %d MB", name, err, took, used>>20)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(valid)
	f.Add(file(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Read(b)
		for _, x := range all {
			if err == nil && len(x.Floats()) != x.Len() {
				t.Error("length")
			}
		}
	})
}
