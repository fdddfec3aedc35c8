package proxy

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Balance says which of a route's servers a session tries first. The others
// are tried when that one does not greet.
type Balance uint8

const (
	BalanceFirst         Balance = iota // as in Servers
	BalanceRoundRobin                   // whose last turn is longest ago
	BalanceLeastSessions                // that has the fewest; of several, whose last turn is longest ago
)

var balances = []string{"first", "round-robin", "least-sessions"}

func (b Balance) String() string { return balances[b] }

// UnmarshalText accepts "first", "round-robin" and "least-sessions".
func (b *Balance) UnmarshalText(text []byte) error {
	i := slices.Index(balances, string(text))
	if i < 0 {
		return fmt.Errorf("%q is not one of \"first\", \"round-robin\", \"least-sessions\"", text)
	}
	*b = Balance(i)
	return nil
}

// A server that did not greet is left alone for so long, and twice as long each
// time that it does not greet after that, up to longestRest.
const (
	firstRest   = 30 * time.Second
	longestRest = 5 * time.Minute
)

// A standing is what is known of one server of a route. The lock of its fleet
// guards it.
type standing struct {
	server   string // as in Route.Servers
	sessions int    // that it has, or that try it
	turn     uint64 // its last
	failures int    // to greet, in a row, each after the rest before it
	failed   time.Time
	rest     time.Time // until when it is left alone; of no meaning without failures
	retried  bool      // the rest is over, and a session finds out
	missed   int       // health checks that failed, in a row
}

// rests says whether it is left alone.
func (t *standing) rests(now time.Time) bool {
	return t.sick() || t.failures > 0 && (t.retried || now.Before(t.rest))
}

// sick says that checks have found it to be. One check that fails may be chance.
func (t *standing) sick() bool { return t.missed >= 2 }

// A fleet has the standings of a route's servers. It outlasts the reading of
// the configuration, so that nothing is forgotten of the servers that stay.
type fleet struct {
	mu        sync.Mutex
	standings map[string]*standing // by server
	turns     uint64
}

// of gives the standings of servers, in their order, and forgets all others.
// Without checks nothing that they found stays.
func (f *fleet) of(servers []string, checked bool) []*standing {
	f.mu.Lock()
	defer f.mu.Unlock()
	list, kept := make([]*standing, len(servers)), make(map[string]*standing, len(servers))
	for i, server := range servers {
		t := f.standings[server]
		if t == nil {
			t = &standing{server: server}
		}
		if !checked {
			t.missed = 0
		}
		list[i], kept[server] = t, t
	}
	f.standings = kept
	return list
}

// next gives the server to try after those that were tried, nil after the last.
// Those that are left alone come last, but they do come: nobody is refused
// because a server rests. The session counts for it then, and no longer for from.
func (r *running) next(from *standing, tried []*standing, now time.Time) *standing {
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	var best *standing
	for _, t := range r.standings {
		if !slices.Contains(tried, t) && (best == nil || r.before(t, best, now)) {
			best = t
		}
	}
	if best == nil {
		return nil
	}
	move(from, best)
	r.fleet.turns++
	best.turn = r.fleet.turns
	best.retried = best.failures > 0 && !now.Before(best.rest)
	return best
}

// before says whether a is to be tried before b, which comes first in Servers.
func (r *running) before(a, b *standing, now time.Time) bool {
	switch rests, other := a.rests(now), b.rests(now); {
	case rests != other:
		return other
	case rests && a.sick() != b.sick():
		return b.sick()
	case rests:
		return a.rest.Before(b.rest)
	}
	switch {
	case r.Balance == BalanceFirst:
		return false
	case r.Balance == BalanceLeastSessions && a.sessions != b.sessions:
		return a.sessions < b.sessions
	}
	return a.turn < b.turn
}

// move has a session count for another server; nil is none.
func move(from, to *standing) {
	if from != nil {
		from.sessions--
	}
	if to != nil {
		to.sessions++
	}
}

// greets notes that a server greets. It is again if it had failed before.
func (f *fleet) greets(t *standing) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again = t.failures > 0
	t.failures, t.retried = 0, false
	return again
}

// fails notes that a server has not greeted who tried it since began, and says
// for how long it is left alone for that: not at all if others that tried it at
// the same time, or while it rested, have said so already.
func (f *fleet) fails(t *standing, began, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.failures > 0 && (!began.After(t.failed) || now.Before(t.rest)) {
		return 0
	}
	rest := longestRest
	if t.failures < 4 { // no more is needed, and a shift may be too far
		rest = min(firstRest<<t.failures, longestRest)
	}
	t.failures++
	t.failed, t.rest, t.retried = now, now.Add(rest), false
	return rest
}

// leaves notes that nobody finds out any more.
func (f *fleet) leaves(t *standing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.retried = false
}

// choose gives the server to try after those that were tried; nil after the last.
// A session that has been with a server stays with it.
func (s *session) choose(tried []*standing) *standing {
	if s.serverName != "" {
		if len(tried) > 0 {
			return nil
		}
		return s.standing
	}
	next := s.route.next(s.standing, tried, s.now)
	if next != nil {
		s.standing = next
	}
	return next
}

// counts has the session count for a server, and for no other; nil is none.
func (s *session) counts(t *standing) {
	if s.standing == t {
		return
	}
	s.route.fleet.mu.Lock()
	defer s.route.fleet.mu.Unlock()
	move(s.standing, t)
	s.standing = t
}

// judge notes whether a server has greeted this session, that tried it since
// began. What is this machine's fault says nothing of a server.
func (s *session) judge(t *standing, began time.Time, err error) {
	f, log := s.route.fleet, s.proxy.logger()
	switch {
	case err == nil:
		if f.greets(t) && len(s.route.standings) > 1 {
			log.Info("the server greets again", "route", s.route.Name, "server", t.server)
		}
	case s.proxy.ending.Err() != nil, s.route.ours(err), s.destination != "": // of which there are as many as clients like
		f.leaves(t)
	default:
		if rest := f.fails(t, began, s.now); rest > 0 && len(s.route.standings) > 1 {
			log.Warn("the server does not greet and is left alone", "route", s.route.Name, "server", t.server,
				"for", rest.String(), "err", printable(err.Error()))
		}
	}
}

// ours says that a connection failed for want of something here, or because of
// this client's address: the next client's may be another. An address of ours
// that does not go with a server never will.
func (r *Route) ours(err error) bool {
	if r.Source.Client && errors.Is(err, errSource) {
		return true
	}
	return errors.Is(err, errNameless) || slices.ContainsFunc(shortages, func(want error) bool { return errors.Is(err, want) })
}

// A ServerState is how one server of a route stands.
type ServerState struct {
	Route, Server string // as the configuration names them
	Sessions      int    // that it has, or that are trying it
	Up            bool   // it is not left alone, and greeted when it was tried last
	Healthy       bool   // so say its checks, or there are none
}

// Servers tells how the servers of all routes stand.
func (p *Proxy) Servers() []ServerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ServerState
	for _, r := range p.routes {
		r.fleet.mu.Lock()
		for _, t := range r.standings {
			list = append(list, ServerState{r.Name, t.server, t.sessions, t.failures == 0 && !t.sick(), !t.sick()})
		}
		r.fleet.mu.Unlock()
	}
	return list
}
