package main

import "testing"

func TestTheHeapMayGrowToItsFloorAndThenToTwiceOfWhatIsInUse(t *testing.T) {
	const mib = 1 << 20
	for use, want := range map[[2]uint64]int{{0, 0}: 700, {mib, 0}: 700, {4 * mib, 0}: 700, {8 * mib, 0}: 300, {16 * mib, 0}: 100,
		{100 * mib, 0}: 100, {4 * mib, 4 * mib}: 350, {2 * mib, 6 * mib}: 375, {8 * mib, 100 * mib}: 100} {
		if got := floorPercent(use[0], use[1]); got != want {
			t.Errorf("%d octets in use, and %d besides: GOGC %d; want %d", use[0], use[1], got, want)
		}
	}
}

func TestMemoryIsReturnedInSecondsWithoutWork(t *testing.T) {
	const mib = 1 << 20
	var c calm
	second := func(allocated, live, taken uint64, want bool) {
		t.Helper()
		if got := c.isDue(allocated, live, taken); got != want {
			t.Errorf("%d octets allocated, %d in use, %d taken: due is %v, want %v", allocated, live, taken, got, want)
		}
	}
	quiet := func(seconds int, allocated, live, taken uint64) {
		t.Helper()
		for range seconds {
			second(allocated, live, taken, false)
		}
	}
	second(30*mib, 10*mib, 20*mib, false) // work
	second(60*mib, 10*mib, 30*mib, false)
	quiet(quietSeconds-1, 60*mib, 10*mib, 30*mib)
	second(60*mib, 10*mib, 30*mib, true)
	quiet(quietSeconds+1, 60*mib, 12*mib, 12*mib) // returned
	second(60*mib+1000, 100*mib, 120*mib, false)  // a fifth
	second(60*mib+2000, 100*mib, 130*mib, true)   // the seconds before were quiet, too
	second(70*mib, 12*mib, 30*mib, false)         // work, after which they are counted from the start
	quiet(quietSeconds-1, 70*mib+1000, 12*mib, 30*mib)
	second(70*mib+2000, 12*mib, 30*mib, true)
}
