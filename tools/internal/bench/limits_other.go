//go:build !(amd64 || arm64 || arm.7) || purego

package bench

var archProbes map[string]probes
