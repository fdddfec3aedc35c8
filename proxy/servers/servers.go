// Package servers says which of a route's servers a session tries next: what is known of
// each, from sessions that have tried it and from checks of its health.
package servers

import (
	"slices"
	"sync"
	"time"

	"smtpshim/rewrite/oneof"
)

// Balance says which of a route's servers a session tries first. The others
// are tried when that one does not greet.
type Balance uint8

const (
	First         Balance = iota // in the order of the configuration
	RoundRobin                   // whose last turn is longest ago
	LeastSessions                // that has the fewest; of several, whose last turn is longest ago
)

var balances = []string{"first", "round-robin", "least-sessions"}

func (b Balance) String() string { return balances[b] }

// UnmarshalText accepts "first", "round-robin" and "least-sessions".
func (b *Balance) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), balances)
	*b = Balance(i)
	return err
}

// A server that did not greet is left alone for so long, and twice as long each
// time that it does not greet after that, up to LongestRest.
const (
	FirstRest   = 30 * time.Second
	LongestRest = 5 * time.Minute
)

// A Server is what is known of one server of a route. Its fleet guards it.
type Server struct {
	address  string // as the configuration has it
	sessions int    // that it has, or that try it
	turn     uint64 // its last
	failures int    // to greet, in a row, each after the rest before it
	failed   time.Time
	rest     time.Time // until when it is left alone; of no meaning without failures
	retried  bool      // the rest is over, and a session finds out
	missed   int       // health checks that failed, in a row
}

// Address is the server's, as the configuration has it.
func (s *Server) Address() string { return s.address }

// rests says whether it is left alone.
func (s *Server) rests(now time.Time) bool {
	return s.sick() || s.failures > 0 && (s.retried || now.Before(s.rest))
}

// sick says that checks have found it to be. One check that fails may be chance.
func (s *Server) sick() bool { return s.missed >= 2 }

// A Fleet has the servers of a route. It outlasts the reading of the configuration, so
// that nothing is forgotten of the servers that stay. The zero value has none.
type Fleet struct {
	mu    sync.Mutex
	known map[string]*Server // by address
	turns uint64
}

// Join gives the servers with these addresses, in their order, and forgets all others.
// Without checks nothing that they found stays.
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

// Next gives the one of the servers to try after those that were tried, nil after the
// last. Those that are left alone come last, but they do come: nobody is refused because
// a server rests. The session counts for it then, and no longer for from.
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

// before says whether a is to be tried before b, which comes first in the configuration.
func before(a, b *Server, balance Balance, now time.Time) bool {
	switch rests, other := a.rests(now), b.rests(now); {
	case rests != other:
		return other
	case rests && a.sick() != b.sick():
		return b.sick()
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

// Move has a session count for a server, and no longer for another; nil is none.
func (f *Fleet) Move(from, to *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	move(from, to)
}

// move has a session count for another server; nil is none.
func move(from, to *Server) {
	if from != nil {
		from.sessions--
	}
	if to != nil {
		to.sessions++
	}
}

// Greets notes that a server greets. It is again if it had failed before.
func (f *Fleet) Greets(s *Server) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again = s.failures > 0
	s.failures, s.retried = 0, false
	return again
}

// Fails notes that a server has not greeted who tried it since began, and says
// for how long it is left alone for that: not at all if others that tried it at
// the same time, or while it rested, have said so already.
func (f *Fleet) Fails(s *Server, began, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.failures > 0 && (!began.After(s.failed) || now.Before(s.rest)) {
		return 0
	}
	rest := LongestRest
	if s.failures < 4 { // no more is needed, and a shift may be too far
		rest = min(FirstRest<<s.failures, LongestRest)
	}
	s.failures++
	s.failed, s.rest, s.retried = now, now.Add(rest), false
	return rest
}

// Leaves notes that nobody finds out any more.
func (f *Fleet) Leaves(s *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.retried = false
}

// Checked counts a check of a server's health, and says whether it was left alone for
// those before, and is for this one.
func (f *Fleet) Checked(s *Server, err error) (before, now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before = s.sick()
	if err == nil {
		s.missed, s.failures, s.retried = 0, 0, false
	} else {
		s.missed++
	}
	return before, s.sick()
}

// A State is how a server stands.
type State struct {
	Sessions int  // that it has, or that are trying it
	Up       bool // it is not left alone, and greeted when it was tried last
	Healthy  bool // so say its checks, or there are none
}

// State says how a server stands.
func (f *Fleet) State(s *Server) State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{s.sessions, s.failures == 0 && !s.sick(), !s.sick()}
}
