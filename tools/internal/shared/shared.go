// Package shared finds the data beside the repository that tests measure against and that is not committed.
package shared

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder that lies at path in the folder "shared" beside the repository. Where it is absent the test is skipped, or
// fails if the environment says CI_REQUIRE_SHARED=1.
func Dir(t testing.TB, path string) string {
	t.Helper()
	root, err := os.Getwd()
	for err == nil && !exists(filepath.Join(root, "go.mod")) && filepath.Dir(root) != root {
		root = filepath.Dir(root)
	}
	dir := filepath.Join(filepath.Dir(root), "shared", filepath.FromSlash(path))
	if !exists(dir) {
		if os.Getenv("CI_REQUIRE_SHARED") == "1" {
			t.Fatalf("%s is absent, and CI_REQUIRE_SHARED=1", dir)
		}
		t.Skipf("%s is absent: nothing to measure against", dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
