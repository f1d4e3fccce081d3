//go:build !(amd64 || arm64 || arm) || purego

package bench

var archProbes map[string]probes
