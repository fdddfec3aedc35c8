package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// tune adapts the runtime to the proxy. If the environment sets GOGC, garbage is
// collected as it says. If it sets GOMAXPROCS, that is the number of loops.
func tune() {
	if runtime.GOOS == "linux" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // one for each loop of the proxy, and one for the rest
	}
	keepHeapFloor()
	go returnMemory(time.Tick(time.Second))
}

// heapFloor is the size, in octets, that the heap may reach before garbage is collected
// at all. Above it the runtime's own measure applies: twice what is in use. A TLS
// handshake leaves about 45 KB of garbage. Collecting a small heap every hundred sessions
// would take a fifth of their time.
const heapFloor = 32 << 20

// keepHeapFloor maintains heapFloor, unless the environment sets GOGC.
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
		if percent < now || percent > now+now/4 { // setting it stops the world for a moment
			debug.SetGCPercent(percent)
			now = percent
		}
		collected()
	}
	collected = func() { // a cleanup that runs after the next collection
		runtime.AddCleanup(new([16]byte), func(func()) { adjust() }, nil)
	}
	adjust()
}

// floorPercent returns the GOGC with which a heap with live octets in use may grow to
// heapFloor, or to twice that many octets if that is more. The runtime also counts global
// variables and stacks as in use. It lets any heap grow to 4 MiB for each 100 of GOGC.
func floorPercent(live, besides uint64) int {
	const most = 700
	if live == 0 {
		return most
	}
	return int(min(max(math.Round(100*(float64(heapFloor)-float64(live))/float64(live+besides)), 100), most))
}

const (
	// quietAllocation is the largest number of octets that are allocated in a second
	// without work.
	quietAllocation = 256 << 10

	// worthReturning is the least garbage, in octets, for which the heap is collected
	// without need. It is a fourth of what is in use if that is more.
	worthReturning = 4 << 20

	// quietSeconds is the number of seconds without work before that. Memory that was
	// returned must be requested again, page by page, when work goes on.
	quietSeconds = 10
)

// returnMemory returns memory to the system after some seconds without work. It runs
// until seconds is closed. Otherwise garbage from the beginning of sessions would stay
// for minutes while they wait.
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

// A calm detects periods without work.
type calm struct {
	allocated uint64
	seconds   int // in a row
}

// isDue reports whether a collection is worthwhile now. allocated is the number of octets
// ever allocated, live those in use at the last collection, and taken those occupied now.
func (c *calm) isDue(allocated, live, taken uint64) bool {
	c.seconds++
	if allocated-c.allocated > quietAllocation {
		c.seconds = 0
	}
	c.allocated = allocated
	return c.seconds >= quietSeconds && taken > live && taken-live > max(worthReturning, live/4)
}
