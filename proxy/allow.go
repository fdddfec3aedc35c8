package proxy

import (
	"log/slog"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// mayCome reports whether the client is one of [Route.Clients]. A balancer comes too where
// it names no client of its own, as in a health check, and whoever may name clients by
// XCLIENT: either could give any address. A client by a socket in the file system has
// none; [Route.ListenMode] is about it.
func (s *session) mayCome() bool {
	switch {
	case !s.address.IsValid(), s.balancer.IsValid() && !s.ends.Client.IsValid():
		return true
	}
	return s.isListed() || rewrite.InNetworks(s.address, s.route.XCLIENTFrom)
}

// isListed reports whether the client's address is in [Route.Clients].
func (s *session) isListed() bool {
	return len(s.route.Clients) == 0 || rewrite.InNetworks(s.address, s.route.Clients)
}

// severity is how loud the log is about a client that is refused. That one is not on the
// list is as the configuration has it.
func severity(reason vocabulary.Rejection) slog.Level {
	if reason == vocabulary.RejectionClients {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
