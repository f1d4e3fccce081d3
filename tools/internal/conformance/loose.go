package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/recur-go/recur/tools/internal/fromtorch"
	"github.com/recur-go/recur/tools/internal/onnx"
)

// weightsIn lists the files of weights in a folder.
func weightsIn(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if slices.Contains(fromtorch.Extensions, filepath.Ext(e.Name())) {
			names = append(names, e.Name())
		}
	}
	return names
}

// arrayName is a name like in_x.npy, or set0_in_x.npy.
var arrayName = regexp.MustCompile(`^(?:set(\d+)_)?(in|out)_(\w+)\.npy$`)

// recorded is an array of a folder.
type recorded struct{ file, set, kind, name string }

// loose are the cases of a folder of weights whose arrays no meta.json lists.
func loose(dir, name string, m meta) (cases []*Case) {
	var arrays []recorded
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if s := arrayName.FindStringSubmatch(e.Name()); s != nil {
			arrays = append(arrays, recorded{s[0], s[1], s[2], s[3]})
		}
	}
	for _, file := range weightsIn(dir) {
		c := torchCase{file: filepath.Join(dir, file), meta: m, narrow: true}
		own := of(file, arrays)
		for _, a := range own {
			list := &c.meta.Inputs
			if a.kind == "out" {
				list = &c.meta.Outputs
			}
			if !slices.Contains(*list, a.name) {
				*list = append(*list, a.name)
			}
		}
		c.sets = func() ([]set, error) { return looseSets(dir, own) }
		cases = append(cases, &Case{name + "/" + file, c.run})
	}
	return cases
}

// of selects the arrays of a file of weights: where there are outputs of its kind, which the end of its name tells, those.
func of(file string, arrays []recorded) (own []recorded) {
	stem := strings.TrimSuffix(file, filepath.Ext(file))
	kind := stem[strings.LastIndexByte(stem, '_')+1:]
	for _, a := range arrays {
		if a.kind == "out" && (a.name == kind || strings.HasPrefix(a.name, kind+"_")) {
			a.name = strings.TrimPrefix(strings.TrimPrefix(a.name, kind), "_")
			if a.name == "" {
				a.name = "y"
			}
			own = append(own, a)
		}
	}
	all := len(own) == 0
	for _, a := range arrays {
		if a.kind == "in" || all {
			own = append(own, a)
		}
	}
	return own
}

func looseSets(dir string, arrays []recorded) (sets []set, err error) {
	byName := map[string]set{}
	var errs []error
	for _, a := range arrays {
		s, ok := byName[a.set]
		if !ok {
			s = set{map[string]*onnx.Tensor{}, map[string]*onnx.Tensor{}}
			byName[a.set] = s
			sets = append(sets, s)
		}
		to := s.in
		if a.kind == "out" {
			to = s.out
		}
		errs = append(errs, load(to, a.name, dir, strings.TrimSuffix(a.file, ".npy")))
	}
	if len(sets) == 0 {
		errs = append(errs, fmt.Errorf("%s: no arrays", dir))
	}
	return sets, errors.Join(errs...)
}
