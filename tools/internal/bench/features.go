//go:build !arm

package bench

import "github.com/klauspost/cpuid/v2"

func features() []string { return cpuid.CPU.FeatureSet() }
