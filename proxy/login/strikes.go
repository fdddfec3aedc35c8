package login

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// strikePause is the delay of the reply to a wrong password.
	strikePause = 2 * time.Second

	maxStrikes     = 10 // wrong passwords of one address, or of a /64, within strikesLast
	strikesLast    = 10 * time.Minute
	strikesAtOnce  = 10_000 // addresses that are remembered
	strikeNetwork6 = 64     // bits of an IPv6 address that are compared
)

var errStruck = errors.New("too many failed logins from this address")

// strikes counts wrong passwords by address. The zero value is ready for use.
type strikes struct {
	mu sync.Mutex
	by map[netip.Prefix]*struck
}

type struck struct {
	n        int // wrong passwords since that time
	since    time.Time
	checking int           // checks in progress
	checked  chan struct{} // closed when one of these ends; nil: nobody waits
}

// strikesOf returns the network in which addresses are counted together with a.
func strikesOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = strikeNetwork6
	}
	p, _ := a.WithZone("").Prefix(bits) // an address that is not valid has none
	return p
}

// check calls wrong, which checks a password and reports whether it was wrong, and counts
// wrong ones. If the address has no attempt left, check returns errStruck instead. Checks
// in progress count as wrong until they end, so that an address gets no more attempts by
// using many connections. If all attempts that are left are in progress, check waits for
// one of them, at most until ctx is done.
func (s *strikes) check(ctx context.Context, a netip.Addr, now func() time.Time, wrong func() bool) error {
	p := strikesOf(a)
	at, err := s.begin(ctx, p, now)
	if err != nil {
		return err
	}
	failed := true // also if wrong panics
	defer func() { s.end(p, at, failed, now()) }()
	failed = wrong()
	return nil
}

// begin reserves an attempt.
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

// end ends an attempt and counts it if the password was wrong.
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

// of returns the count of an address, and makes room for it if necessary. An address with
// a check in progress is not dropped; there are no more of these than sessions.
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

// makeRoom drops addresses if too many are remembered: the expired ones or, if there are
// none, the one with the fewest strikes.
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

// pause sleeps for d, at most until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
