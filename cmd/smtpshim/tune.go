package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// tune has the runtime do as is best for the proxy. An environment that sets GOGC or
// GOMAXPROCS keeps its way with the first, and counts the loops with the second.
func tune() {
	if runtime.GOOS == "linux" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // one for each loop of the proxy's, and one for the rest
	}
	keepHeapFloor()
	go returnMemory(time.Tick(time.Second))
}

// heapFloor is up to how many octets the heap may grow before garbage is collected at
// all. Beyond it the runtime's own measure holds: twice of what is in use. A handshake
// of TLS leaves some 45 KB behind, and to look through a small heap every hundred
// sessions would be a fifth of their cost.
const heapFloor = 32 << 20

// keepHeapFloor sees to it, unless the environment says how often garbage is to be
// collected (GOGC).
func keepHeapFloor() {
	if os.Getenv("GOGC") != "" {
		return
	}
	use := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/globals:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	now := 0
	var collected func()
	adjust := func() {
		metrics.Read(use)
		percent := floorPercent(use[0].Value.Uint64(), use[1].Value.Uint64()+use[2].Value.Uint64())
		if percent < now || percent > now+now/4 { // to set it stops the world for a moment
			debug.SetGCPercent(percent)
			now = percent
		}
		collected()
	}
	collected = func() { // once more: an object that nobody has is found by the next collection
		runtime.AddCleanup(new([16]byte), func(func()) { adjust() }, nil)
	}
	adjust()
}

// floorPercent is the GOGC with which so many octets in use may grow up to heapFloor, or
// twice as many if that is more. The runtime counts global variables and stacks as if they
// were in use, too, and lets any heap grow to 4 MiB with a GOGC of 100, and to as many times
// that as GOGC is more.
func floorPercent(live, besides uint64) int {
	const most = 700
	if live == 0 {
		return most
	}
	return int(min(max(math.Round(100*(float64(heapFloor)-float64(live))/float64(live+besides)), 100), most))
}

const (
	// quietAllocation is how many octets a second the heap is given where nothing but
	// what goes on by itself happens.
	quietAllocation = 256 << 10

	// worthReturning is how much garbage a heap has at least that is looked through for
	// its sake, and a fourth of what is in use if that is more.
	worthReturning = 4 << 20

	// quietSeconds is how many seconds in a row pass without work before that: what is
	// given back has to be asked for again, page by page, when work goes on.
	quietSeconds = 10
)

// returnMemory gives memory back to the system after some seconds without work, for as
// long as it is told of seconds: what the beginning of sessions has left behind would lie
// there for minutes while they wait.
func returnMemory(seconds <-chan time.Time) {
	c := calm{}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	for range seconds {
		metrics.Read(samples)
		if c.isDue(samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}

// A calm looks for seconds without work.
type calm struct {
	allocated uint64
	seconds   int // so many in a row
}

// isDue says whether it is worth to look for garbage now, from the octets that were
// ever allocated, were in use at the last collection, and are taken now.
func (c *calm) isDue(allocated, live, taken uint64) bool {
	c.seconds++
	if allocated-c.allocated > quietAllocation {
		c.seconds = 0
	}
	c.allocated = allocated
	return c.seconds >= quietSeconds && taken > live && taken-live > max(worthReturning, live/4)
}
