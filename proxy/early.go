package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// openTLS begins the TLS that a client's connection begins with.
func (s *session) openTLS() error {
	s.while = "in the TLS handshake with the client"
	s.hasOpened = true
	if s.askToOpen(); !s.dialogue.BeginsTLS() {
		return nil
	}
	return s.shakeClient()
}

// earlyTLS begins TLS with a client that has done so itself, where a greeting
// was due.
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

// askToOpen has the rules look at the client's first octets.
func (s *session) askToOpen() {
	if !s.dialogue.Opens() {
		return
	}
	if wait := s.dialogue.Open(s.peek(0), false); wait > 0 {
		s.dialogue.Open(s.peek(time.Duration(wait)*time.Millisecond), true)
	}
}

// shakeClient shakes hands with the client, whose leg is TLS from then on.
func (s *session) shakeClient() error {
	s.client.Disarm()
	conn, err := s.shake(vocabulary.SideClient, s.client.Conn, func(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
		return s.route.ClientTLS.Acceptor.Handshake(ctx, conn, s.address)
	})
	switch {
	case err != nil && s.saidNothingYet(err):
		return s.over(vocabulary.OutcomeSilent, nil)
	case err != nil:
		return s.over(vocabulary.OutcomeTLS, err)
	}
	s.setClient(wire.NewLeg(conn))
	return nil
}

// peek is a wait for the client's first octets.
func (s *session) peek(allowed time.Duration) []byte {
	first := s.client.Peek(s.now.Add(allowed))
	s.now = time.Now()
	return first
}
