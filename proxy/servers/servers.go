// Package servers chooses the server of a route that a session tries next. It uses what
// is known about each server from sessions that have tried it and from health checks. A
// server that does not greet, or is unhealthy, rests: sessions try the other servers
// first.
package servers

import (
	"slices"
	"sync"
	"time"

	"smtpshim/rewrite/oneof"
)

// Balance says which of a route's servers a session tries first, among those that do
// not rest. If that server does not greet with 2xx, the session tries the others.
type Balance uint8

const (
	First         Balance = iota // the first server in the order of the configuration
	RoundRobin                   // the server that was chosen least recently
	LeastSessions                // the server with the fewest sessions; among equals, as RoundRobin
)

var balances = []string{"first", "round-robin", "least-sessions"}

// String returns the name of b that UnmarshalText accepts.
func (b Balance) String() string { return balances[b] }

// UnmarshalText sets b to the balance named text: "first", "round-robin" or
// "least-sessions". Any other text is an error.
func (b *Balance) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), balances)
	*b = Balance(i)
	return err
}

// A server that does not greet rests for FirstRest: sessions prefer other servers. The
// rest doubles each time the server does not greet after it, up to LongestRest.
const (
	FirstRest   = 30 * time.Second
	LongestRest = 5 * time.Minute
)

// A Server is what is known about one server of a route. The mutex of its Fleet guards
// it.
type Server struct {
	address  string // as in the configuration
	sessions int    // sessions that it has, or that are trying it
	turn     uint64 // the number of its last turn
	failures int    // failures to greet in a row, each after the rest for the one before
	failed   time.Time
	rest     time.Time // end of the rest; undefined without failures
	retried  bool      // the rest is over, and a session is trying the server
	missed   int       // failed health checks in a row
}

// Address returns the address of s as in the configuration.
func (s *Server) Address() string { return s.address }

// rests reports whether other servers are preferred.
func (s *Server) rests(now time.Time) bool {
	return s.unhealthy() || s.failures > 0 && (s.retried || now.Before(s.rest))
}

// unhealthy reports whether health checks have failed. A single failed check may be
// chance.
func (s *Server) unhealthy() bool { return s.missed >= 2 }

// A Fleet holds the servers of a route. It outlives a reload of the configuration, so
// that what is known about servers that stay is kept. The zero value has no servers.
type Fleet struct {
	mu    sync.Mutex
	known map[string]*Server // by address
	turns uint64
}

// Join makes addresses the only servers of the fleet, and returns these servers in the
// order of addresses. What is known about those that the fleet had before is kept.
// checked says whether the servers have health checks. If not, Join forgets the results
// of former checks.
func (f *Fleet) Join(addresses []string, checked bool) []*Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	list, kept := make([]*Server, len(addresses)), make(map[string]*Server, len(addresses))
	for i, address := range addresses {
		s := f.known[address]
		if s == nil {
			s = &Server{address: address}
		}
		if !checked {
			s.missed = 0
		}
		list[i], kept[address] = s, s
	}
	f.known = kept
	return list
}

// Next returns the server that a session tries next: one of the list servers that is
// not in the list tried, or nil if all are. servers must be in the order of the
// configuration. Next chooses by balance among the servers that do not rest at the time
// now. If all rest, it chooses one that rests, so that no session is refused because
// servers rest.
//
// from is the server for which the session has counted until now, or nil. If Next
// returns a server, the session counts for that server instead.
func (f *Fleet) Next(servers []*Server, balance Balance, from *Server, tried []*Server, now time.Time) *Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	var best *Server
	for _, s := range servers {
		if !slices.Contains(tried, s) && (best == nil || before(s, best, balance, now)) {
			best = s
		}
	}
	if best == nil {
		return nil
	}
	move(from, best)
	f.turns++
	best.turn = f.turns
	best.retried = best.failures > 0 && !now.Before(best.rest)
	return best
}

// before reports whether to try a before b. b is earlier in the configuration.
func before(a, b *Server, balance Balance, now time.Time) bool {
	switch rests, other := a.rests(now), b.rests(now); {
	case rests != other:
		return other
	case rests && a.unhealthy() != b.unhealthy():
		return b.unhealthy()
	case rests:
		return a.rest.Before(b.rest)
	}
	switch {
	case balance == First:
		return false
	case balance == LeastSessions && a.sessions != b.sessions:
		return a.sessions < b.sessions
	}
	return a.turn < b.turn
}

// Move counts a session for the server named to, and no longer for the server named
// from. Either may be nil, which means no server.
func (f *Fleet) Move(from, to *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	move(from, to)
}

// move is Move without the lock.
func move(from, to *Server) {
	if from != nil {
		from.sessions--
	}
	if to != nil {
		to.sessions++
	}
}

// Greets records that s has greeted a session, with any code. That ends a rest after
// failures to greet. again reports whether s had failed to greet since it last greeted
// or passed a health check.
func (f *Fleet) Greets(s *Server) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again = s.failures > 0
	s.failures, s.retried = 0, false
	return again
}

// Fails records, at the time now, that s has not greeted a session that began to try s
// at the time began. s then rests for the time that Fails returns. If s already rests
// after a failure to greet, or if such a failure was recorded after began, Fails
// records nothing and returns 0.
func (f *Fleet) Fails(s *Server, began, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.failures > 0 && (!began.After(s.failed) || now.Before(s.rest)) {
		return 0
	}
	rest := LongestRest
	if s.failures < 4 { // with more failures the shift could overflow
		rest = min(FirstRest<<s.failures, LongestRest)
	}
	s.failures++
	s.failed, s.rest, s.retried = now, now.Add(rest), false
	return rest
}

// Leaves records that a session has given up s before s greeted or failed. Once a rest
// of s is over, one session tries s, and meanwhile s still rests for all others. Leaves
// ends that, so that another session may try s.
func (f *Fleet) Leaves(s *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.retried = false
}

// Checked records the result of a health check of s. err is nil if the check succeeded.
// A server is unhealthy after two failed checks in a row. before reports whether s was
// unhealthy before this check; now reports whether s is unhealthy after it. A check
// that succeeds also ends a rest after failures to greet.
func (f *Fleet) Checked(s *Server, err error) (before, now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before = s.unhealthy()
	if err == nil {
		s.missed, s.failures, s.retried = 0, 0, false
	} else {
		s.missed++
	}
	return before, s.unhealthy()
}

// A State says how many sessions a server has, and whether it has failed to greet or
// failed its health checks.
type State struct {
	Sessions int // sessions that the server has, or that are trying it
	// Up is true if Healthy is true and the server has not failed to greet since it
	// last greeted or passed a health check.
	Up      bool
	Healthy bool // it has not failed its last two health checks, or has none
}

// State returns the present state of s.
func (f *Fleet) State(s *Server) State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{s.sessions, s.failures == 0 && !s.unhealthy(), !s.unhealthy()}
}
