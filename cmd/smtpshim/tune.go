package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// tune has the runtime do as is best for the proxy. An environment that sets GOGC or
// GOMAXPROCS keeps its way with the first, and counts the loops with the second.
func tune() {
	if runtime.GOOS == "linux" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // one for each loop of the proxy's, and one for the rest
	}
	keepHeapFloor()
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
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := 0
	var collected func()
	adjust := func() {
		metrics.Read(live)
		percent := floorPercent(live[0].Value.Uint64())
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
// twice as many if that is more. The runtime lets any heap grow to 4 MiB with a GOGC of
// 100, and to as many times that as GOGC is more.
func floorPercent(live uint64) int {
	const most = 700
	if live == 0 {
		return most
	}
	return int(min(max(math.Round(100*float64(heapFloor)/float64(live))-100, 100), most))
}
