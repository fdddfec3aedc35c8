package proxy

import (
	"slices"

	"smtpshim/rewrite/vocabulary"
)

// Authenticated tells the observer the outcome of an AUTH exchange by the mechanism m
// on one side: the client's or the server's. If the exchange succeeded, the session
// keeps m as the mechanism of that side.
func (h heard) Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	if outcome == vocabulary.AuthOK {
		h.s.auth[place(side)] = uint8(slices.Index(vocabulary.Mechanisms(), m) + 1)
	}
	if o := h.s.route.Observer; o != nil {
		o.Authenticated(side, m, outcome)
	}
}

// mechanism returns the mechanism of the last AUTH exchange that succeeded on this side;
// "" if none did. The session keeps it in one octet, because many sessions wait at once.
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
