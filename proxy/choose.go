package proxy

import (
	"errors"
	"slices"
	"time"

	"smtpshim/proxy/servers"
)

// choose gives the server to try after those that were tried; nil after the last.
// A session that has been with a server stays with it.
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

// counts has the session count for a server, and for no other; nil is none.
func (s *session) counts(t *servers.Server) {
	if s.standing == t {
		return
	}
	s.route.fleet.Move(s.standing, t)
	s.standing = t
}

// judge notes whether a server has greeted this session, that tried it since
// began. What is this machine's fault says nothing of a server.
func (s *session) judge(t *servers.Server, began time.Time, err error) {
	f, log := s.route.fleet, s.proxy.logger()
	switch {
	case err == nil:
		if f.Greets(t) && len(s.route.standings) > 1 {
			log.Info("the server greets again", "route", s.route.Name, "server", t.Address())
		}
	case s.proxy.ending.Err() != nil, s.route.ours(err), s.destination != "": // of which there are as many as clients like
		f.Leaves(t)
	default:
		if rest := f.Fails(t, began, s.now); rest > 0 && len(s.route.standings) > 1 {
			log.Warn("the server does not greet and is not used for a while", "route", s.route.Name, "server", t.Address(),
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
	servers.State
}

// Servers tells how the servers of all routes stand.
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
