package bench

import "runtime"

// allocations returns how many heap objects a call makes: the least of a few tries, since the runtime itself allocates now and then.
func allocations(run func(n int)) float64 {
	const calls = 8
	least := -1.0
	var before, after runtime.MemStats
	for range 3 {
		runtime.ReadMemStats(&before)
		run(calls)
		runtime.ReadMemStats(&after)
		if n := float64(after.Mallocs-before.Mallocs) / calls; least < 0 || n < least {
			least = n
		}
	}
	return least
}
