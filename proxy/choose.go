package proxy

import (
	"errors"
	"slices"
	"time"

	"smtpshim/proxy/servers"
)

// choose returns the server to try after those in tried; nil after the last. A session
// that has had a server stays with that server.
func (s *session) choose(tried []*servers.Server) *servers.Server {
	if s.serverName != "" {
		if len(tried) > 0 {
			return nil
		}
		return s.standing
	}
	next := s.route.fleet.Next(s.route.standings, s.route.Balance, s.standing, tried, s.now)
	if next != nil {
		s.standing = next
	}
	return next
}

// counts counts the session for server t and for no other. If t is nil, the session counts
// for no server.
func (s *session) counts(t *servers.Server) {
	if s.standing == t {
		return
	}
	s.route.fleet.Move(s.standing, t)
	s.standing = t
}

// judge records whether server t has greeted this session, which began to try it at began.
// A failure that this machine or the client has caused says nothing about the server.
func (s *session) judge(t *servers.Server, began time.Time, err error) {
	f, log := s.route.fleet, s.proxy.logger()
	switch {
	case err == nil:
		if f.Greets(t) && len(s.route.standings) > 1 {
			log.Info("the server greets again", "route", s.route.Name, "server", t.Address())
		}
	case s.proxy.ending.Err() != nil, s.route.ours(err), s.destination != "":
		// Clients choose original destinations: there may be any number of them.
		f.Leaves(t)
	default:
		if rest := f.Fails(t, began, s.now); rest > 0 && len(s.route.standings) > 1 {
			log.Warn("the server does not greet and is tried last for a while", "route", s.route.Name, "server", t.Address(),
				"for", rest.String(), "err", printable(err.Error()))
		}
	}
}

// ours reports whether the cause of a failed connection is a shortage on this machine or
// the address of this client. Another client may have a suitable address. If the address
// in [Route.Source] does not suit a server, no connection to that server can succeed; ours
// returns false then.
func (r *Route) ours(err error) bool {
	if r.Source.Client && errors.Is(err, errSource) {
		return true
	}
	return errors.Is(err, errNameless) || slices.ContainsFunc(shortages, func(want error) bool { return errors.Is(err, want) })
}

// A ServerState is the state of one server of a route: how many sessions it has, and
// whether it has failed to greet or failed its health checks.
type ServerState struct {
	Route, Server string // Route.Name, and the server's entry in Route.Servers
	servers.State
}

// Servers returns the states of the servers of all routes that Apply was given last.
func (p *Proxy) Servers() []ServerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []ServerState
	for _, r := range p.routes {
		for _, t := range r.standings {
			list = append(list, ServerState{r.Name, t.Address(), r.fleet.State(t)})
		}
	}
	return list
}
