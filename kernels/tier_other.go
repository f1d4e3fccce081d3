//go:build !(amd64 || arm64 || arm.7) || purego

package kernels

func archTiers() []*table { return nil }
