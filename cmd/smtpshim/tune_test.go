package main

import "testing"

func TestTheHeapMayGrowToItsFloorAndThenToTwiceOfWhatIsInUse(t *testing.T) {
	for live, want := range map[uint64]int{0: 700, 1 << 20: 700, 4 << 20: 700, 8 << 20: 300, 16 << 20: 100, 100 << 20: 100} {
		if got := floorPercent(live); got != want {
			t.Errorf("%d octets in use: GOGC %d; want %d", live, got, want)
		}
	}
}
