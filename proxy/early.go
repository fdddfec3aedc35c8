package proxy

import (
	"time"
)

// openTLS does the TLS handshake of a connection that begins with TLS. It does nothing if
// a rule has the session begin in clear.
func (s *session) openTLS() error {
	s.while = "in the TLS handshake with the client"
	s.hasOpened = true
	if s.askToOpen(); !s.dialogue.BeginsTLS() {
		return nil
	}
	return s.shakeClient()
}

// earlyTLS does the TLS handshake with a client that begins TLS where a greeting is due,
// if a rule allows that.
func (s *session) earlyTLS() error {
	if s.hasOpened {
		return nil
	}
	s.hasOpened = true
	if s.askToOpen(); !s.dialogue.BeginsTLS() {
		return nil
	}
	s.while = "in the TLS handshake with the client"
	return s.shakeClient()
}

// askToOpen passes the client's first octets to the rules. If a rule wants to wait for
// them, askToOpen waits.
func (s *session) askToOpen() {
	if !s.dialogue.Opens() {
		return
	}
	if wait := s.dialogue.Open(s.peek(0), false); wait > 0 {
		s.dialogue.Open(s.peek(time.Duration(wait)*time.Millisecond), true)
	}
}

// peek waits for the client's first octets, at most for the time allowed, and returns
// them. It does not consume them.
func (s *session) peek(allowed time.Duration) []byte {
	first := s.client.Peek(s.now.Add(allowed))
	s.now = s.proxy.clock()
	return first
}
