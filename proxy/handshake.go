package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// clientTLS does the TLS handshake with the client after STARTTLS. It ends the session if
// the client has sent octets in clear after STARTTLS.
func (s *session) clientTLS() error {
	s.while = "in the TLS handshake with the client"
	s.mute = true
	if err := s.flush(); err != nil {
		return err
	}
	if len(s.client.Buffered()) > 0 {
		return s.over(vocabulary.OutcomeClientProtocol, errors.New("octets in clear after STARTTLS"))
	}
	if err := s.shakeClient(); err != nil {
		return err
	}
	s.dialogue.ClientTLS()
	return nil
}

// serverTLS does the TLS handshake with the server after STARTTLS.
func (s *session) serverTLS() error {
	s.while = "in the TLS handshake with the server"
	if len(s.server.Buffered()) > 0 {
		s.trouble(fmt.Errorf("octets in clear after the reply to STARTTLS: %q", cut(s.server.Buffered())))
		s.misspoke(vocabulary.BadReplyBehindSTARTTLS)
		s.dialogue.Garbage()
		return nil
	}
	s.server.Disarm()
	conn, err := s.shakeServer(s.server.Conn, s.serverName)
	if err != nil {
		s.trouble(err)
		if s.route.triesClassic(s.serverName, err) {
			s.closeServer()
			s.dialogue.ServerTLSAgain()
			return nil
		}
		s.failed(vocabulary.ServerTLS)
		s.closeServer()
		if isLost(err) {
			s.dialogue.ServerTLSLost()
		} else {
			s.dialogue.ServerTLSFailed()
		}
		return nil
	}
	total := s.server.Total
	secure := wire.NewLeg(conn)
	secure.Total = total
	s.setServer(secure)
	s.dialogue.ServerTLS()
	return nil
}

// isLost reports whether a handshake failed because the connection was lost or because
// nothing more came, rather than because of something that the server sent.
func isLost(err error) bool {
	return isTimeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// shakeClient does the TLS handshake with the client. After it, the client's leg uses TLS.
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

// shakeServer does the TLS handshake with a server.
func (s *session) shakeServer(conn net.Conn, name string) (*tls.Conn, error) {
	with, classic := s.route.handshake(name)
	secure, err := s.shake(vocabulary.SideServer, conn, func(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
		return with(ctx, conn, hostOf(name))
	})
	if s.classic = err == nil && classic; s.classic {
		s.route.classicWorks(name)
	}
	return secure, err
}

// shake does a TLS handshake with the client or the server, by the function with, and
// reports the result to the observer.
func (s *session) shake(side vocabulary.Side, conn net.Conn, with func(context.Context, net.Conn) (*tls.Conn, error)) (*tls.Conn, error) {
	if side == vocabulary.SideClient {
		s.mute = true
		s.refresh(s.route.ClientTLS.Acceptor)
	} else {
		s.refresh(s.route.dialer)
	}
	conn.SetDeadline(s.now.Add(s.route.Timeouts.tls()))
	secure, err := with(context.Background(), wire.ForTLS(conn))
	conn.SetDeadline(time.Time{})
	s.now = s.proxy.clock()
	if err != nil {
		reason, text := tlspolicy.Explain(err)
		if o := s.route.Observer; o != nil && !stopsAtMLKEM(err) && !(side == vocabulary.SideClient && s.saidNothingYet(err)) {
			o.TLSFailed(side, reason)
		}
		if text != err.Error() {
			err = fmt.Errorf("%s: %w", text, err)
		}
		return nil, fmt.Errorf("TLS handshake with the %s: %w", side, err)
	}
	state := secure.ConnectionState()
	version := tlspolicy.Version(state.Version)
	if side == vocabulary.SideClient {
		s.mute = false
		s.sum.clientTLS = version
	} else {
		s.sum.serverTLS = version
	}
	if o := s.route.Observer; o != nil {
		o.TLS(side, version, tlspolicy.Suite(state.CipherSuite))
	}
	return secure, nil
}
