package bench

import "golang.org/x/sys/cpu"

func features() (names []string) {
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"VFP", cpu.ARM.HasVFP}, {"VFPv3", cpu.ARM.HasVFPv3}, {"VFPv4", cpu.ARM.HasVFPv4}, {"VFPD32", cpu.ARM.HasVFPD32},
		{"NEON", cpu.ARM.HasNEON}, {"IDIVA", cpu.ARM.HasIDIVA}, {"EDSP", cpu.ARM.HasEDSP}, {"THUMB", cpu.ARM.HasTHUMB},
	} {
		if f.has {
			names = append(names, f.name)
		}
	}
	return names
}
