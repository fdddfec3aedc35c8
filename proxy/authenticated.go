package proxy

import (
	"slices"

	"smtpshim/rewrite/vocabulary"
)

// Authenticated tells the observer of an AUTH exchange, and keeps by what somebody has
// logged in.
func (h heard) Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	if outcome == vocabulary.AuthOK {
		h.s.auth[place(side)] = uint8(slices.Index(vocabulary.Mechanisms(), m) + 1)
	}
	if o := h.s.route.Observer; o != nil {
		o.Authenticated(side, m, outcome)
	}
}

// mechanism is by what the client has logged in, or somebody at the server; "": nobody
// has. It is kept in an octet, since most sessions wait, and many at once.
func (s *session) mechanism(side vocabulary.Side) vocabulary.Mechanism {
	if n := s.auth[place(side)]; n > 0 {
		return vocabulary.Mechanisms()[n-1]
	}
	return ""
}

func place(side vocabulary.Side) int {
	if side == vocabulary.SideServer {
		return 1
	}
	return 0
}
