package proxy

import (
	"log/slog"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// mayCome reports whether we serve the client: whether its address is in [Route.Clients].
// There are three exceptions. A balancer may connect for itself, as in a health check: its
// PROXY header then has no client address. A client in [Route.XCLIENTFrom] may connect.
// Both could name any address as the client's anyway. The client of a Unix domain socket
// has no address: [Route.ListenMode] governs who may connect.
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

// severity returns the level at which a refused connection is logged. A client that is not
// in [Route.Clients] is refused as the configuration asks, which is no reason for a
// warning.
func severity(reason vocabulary.Rejection) slog.Level {
	if reason == vocabulary.RejectionClients {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
