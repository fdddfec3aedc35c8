package login

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// strikePause is how long the answer to a wrong password takes.
	strikePause = 2 * time.Second

	maxStrikes     = 10 // wrong passwords of one address, or /64, within strikesLast
	strikesLast    = 10 * time.Minute
	strikesAtOnce  = 10_000 // addresses that are remembered
	strikeNetwork6 = 64     // bits of an IPv6 address that count
)

var errStruck = errors.New("too many failed logins from this address")

// strikes count wrong passwords by address. The zero value is ready for use.
type strikes struct {
	mu sync.Mutex
	by map[netip.Prefix]*struck
}

type struck struct {
	n        int // wrong passwords since then
	since    time.Time
	checking int           // passwords that are being checked
	checked  chan struct{} // is closed once one of them is; nil: nobody waits
}

// strikesOf is what an address counts as.
func strikesOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = strikeNetwork6
	}
	p, _ := a.WithZone("").Prefix(bits) // an address that is not valid has none
	return p
}

// check runs a check of a password, which returns whether it was wrong, and counts
// those. It returns errStruck without a check if the address has no try left. Checks that
// are under way count as wrong until they end: an address has no more tries over many
// connections than over one. Where the tries that are left are all under way, check
// waits for one of them, at most until ctx ends.
func (s *strikes) check(ctx context.Context, a netip.Addr, now func() time.Time, wrong func() bool) error {
	p := strikesOf(a)
	at, err := s.begin(ctx, p, now)
	if err != nil {
		return err
	}
	failed := true // if wrong panics, too
	defer func() { s.end(p, at, failed, now()) }()
	failed = wrong()
	return nil
}

// begin reserves a try.
func (s *strikes) begin(ctx context.Context, p netip.Prefix, now func() time.Time) (*struck, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		at := s.of(p, now())
		switch {
		case at.n >= maxStrikes:
			return nil, errStruck
		case at.n+at.checking < maxStrikes:
			at.checking++
			return at, nil
		case at.checked == nil:
			at.checked = make(chan struct{})
		}
		checked := at.checked
		s.mu.Unlock()
		select {
		case <-checked:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, errStruck
		}
	}
}

// end gives the try back, unless the password was wrong.
func (s *strikes) end(p netip.Prefix, at *struck, wrong bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at.checking--
	if at.checked != nil {
		close(at.checked)
		at.checked = nil
	}
	if wrong {
		if at.n == 0 {
			at.since = now
		}
		at.n++
	} else if at.n == 0 && at.checking == 0 {
		delete(s.by, p)
	}
}

// of returns what is counted of an address, and makes room for it if need be. What is
// being checked is not forgotten: there is no more of it than there are sessions.
func (s *strikes) of(p netip.Prefix, now time.Time) *struck {
	at := s.by[p]
	if at == nil {
		if s.by == nil {
			s.by = map[netip.Prefix]*struck{}
		}
		s.makeRoom(now)
		at = &struck{}
		s.by[p] = at
	} else if now.Sub(at.since) > strikesLast {
		at.n = 0
	}
	return at
}

// makeRoom forgets addresses where there are as many as are remembered: those of long
// ago, or else the one with the fewest strikes.
func (s *strikes) makeRoom(now time.Time) {
	if len(s.by) < strikesAtOnce {
		return
	}
	var least netip.Prefix
	fewest := maxStrikes + 1
	for p, at := range s.by {
		switch {
		case at.checking > 0:
		case now.Sub(at.since) > strikesLast:
			delete(s.by, p)
		case at.n < fewest:
			least, fewest = p, at.n
		}
	}
	if len(s.by) >= strikesAtOnce {
		delete(s.by, least)
	}
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
