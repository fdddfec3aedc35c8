package login

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestManyConnectionsAtOnceHaveNoMoreTriesThanOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s strikes
		var tried, refused atomic.Int64
		var guesses sync.WaitGroup
		for range 1000 {
			guesses.Go(func() {
				if s.check(t.Context(), netip.MustParseAddr("192.0.2.1"), time.Now, func() bool {
					tried.Add(1)
					time.Sleep(100 * time.Millisecond) // as a hash takes
					return true
				}) != nil {
					refused.Add(1)
				}
			})
		}
		guesses.Wait()
		if tried.Load() != maxStrikes || refused.Load() != 1000-maxStrikes {
			t.Errorf("%d passwords are tried and %d refused, want %d tries", tried.Load(), refused.Load(), maxStrikes)
		}
	})
}

// The clients behind one address translator log in all at once in the morning.
func TestManyRightPasswordsAtOnceAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s strikes
		a := netip.MustParseAddr("192.0.2.1")
		var clients sync.WaitGroup
		for range 100 {
			clients.Go(func() {
				if err := s.check(t.Context(), a, time.Now, func() bool { time.Sleep(100 * time.Millisecond); return false }); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		if len(s.by) != 0 {
			t.Errorf("%d addresses are remembered that have done nothing wrong", len(s.by))
		}
	})
}

func TestAWaitForATryEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s strikes
		a, slow := netip.MustParseAddr("192.0.2.1"), make(chan struct{})
		var others sync.WaitGroup
		for range maxStrikes {
			others.Go(func() { s.check(t.Context(), a, time.Now, func() bool { <-slow; return false }) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.check(ctx, a, time.Now, func() bool { t.Error("an eleventh check is under way"); return false }); err != errStruck {
			t.Errorf("the wait ends with %v", err)
		}
		close(slow)
		others.Wait()
	})
}

// An attacker with a /48 has 65,536 addresses: they make the table no larger, and do not
// have it forget who has no try left.
func TestManyAddressesDoNotFreeOneThatHasNoTryLeft(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	var s strikes
	wrong := func() bool { return true }
	victim := netip.MustParseAddr("192.0.2.1")
	for range maxStrikes {
		s.check(t.Context(), victim, clock, wrong)
	}
	base := netip.MustParseAddr("2001:db8::1").As16()
	for i := range strikesAtOnce + 500 {
		binary.BigEndian.PutUint16(base[6:], uint16(i))
		if err := s.check(t.Context(), netip.AddrFrom16(base), clock, wrong); err != nil {
			t.Fatalf("address %d: %v", i, err)
		}
	}
	if len(s.by) > strikesAtOnce {
		t.Errorf("%d addresses are remembered", len(s.by))
	}
	if err := s.check(t.Context(), victim, clock, wrong); err != errStruck {
		t.Errorf("the first address has tries again: %v", err)
	}
	now = now.Add(strikesLast + time.Second)
	for _, a := range []netip.Addr{victim, netip.AddrFrom16(base)} {
		if err := s.check(t.Context(), a, clock, wrong); err != nil {
			t.Errorf("after ten minutes: %v", err)
		}
	}
	s.check(t.Context(), netip.MustParseAddr("198.51.100.1"), clock, wrong)
	if len(s.by) > 3 {
		t.Errorf("%d addresses of long ago are remembered", len(s.by))
	}
}
