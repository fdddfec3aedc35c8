package main

import "testing"

func TestTheHeapMayGrowToItsFloorAndThenToTwiceOfWhatIsInUse(t *testing.T) {
	for live, want := range map[uint64]int{0: 700, 1 << 20: 700, 4 << 20: 700, 8 << 20: 300, 16 << 20: 100, 100 << 20: 100} {
		if got := floorPercent(live); got != want {
			t.Errorf("%d octets in use: GOGC %d; want %d", live, got, want)
		}
	}
}

func TestMemoryIsReturnedInSecondsWithoutWork(t *testing.T) {
	const mib = 1 << 20
	var c calm
	for i, second := range []struct {
		allocated, live, taken uint64
		want                   bool
	}{
		{30 * mib, 10 * mib, 20 * mib, false}, // work
		{60 * mib, 10 * mib, 30 * mib, false},
		{60 * mib, 10 * mib, 30 * mib, true},
		{60 * mib, 12 * mib, 12 * mib, false}, // returned
		{60*mib + 1000, 12 * mib, 13 * mib, false},
		{60*mib + 2000, 100 * mib, 120 * mib, false}, // a fifth
		{60*mib + 3000, 100 * mib, 130 * mib, true},
		{60*mib + 4000, 12 * mib, 11 * mib, false},
	} {
		if got := c.isDue(second.allocated, second.live, second.taken); got != second.want {
			t.Errorf("second %d: due is %v, want %v", i, got, second.want)
		}
	}
}
