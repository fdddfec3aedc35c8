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
	n     int
	since time.Time
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

func (s *strikes) allows(a netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.by[strikesOf(a)]
	return !ok || at.n < maxStrikes || now.Sub(at.since) > strikesLast
}

func (s *strikes) add(a netip.Addr, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[netip.Prefix]*struck{}
	}
	if len(s.by) >= strikesAtOnce {
		for p, at := range s.by {
			if now.Sub(at.since) > strikesLast || len(s.by) >= strikesAtOnce {
				delete(s.by, p)
			}
		}
	}
	p := strikesOf(a)
	at := s.by[p]
	if at == nil || now.Sub(at.since) > strikesLast {
		at = &struck{since: now}
		s.by[p] = at
	}
	at.n++
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
