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

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// connect tries servers until one greets with 2xx, and passes the greeting to the
// dialogue. If no server greets with 2xx, the dialogue gets the last greeting with another
// code.
func (s *session) connect() error {
	s.while = "connecting to the server"
	s.closeServer()
	if err := s.flushClient(); err != nil {
		return err
	}
	var resort greeting
	var room [4]*servers.Server
	tried := room[:0]
	for next := s.choose(tried); next != nil; next = s.choose(tried) {
		tried = append(tried, next)
		began, name := s.now, s.addressOf(next)
		server, raw, err := s.greeted(name)
		if err == errBeginsWithTLS {
			s.judge(next, began, nil)
			resort.close()
			s.carry(next, server, s.now.Sub(began))
			return nil
		}
		s.judge(next, began, err)
		if err != nil {
			s.trouble(fmt.Errorf("server %s: %w", name, err))
			continue
		}
		resort.close()
		resort = greeting{next, server, raw, s.now.Sub(began)}
		if raw[0] == '2' {
			break
		}
		s.trouble(fmt.Errorf("server %s: greeted with %q", name, cut(raw)))
	}
	if resort.server == nil {
		s.dialogue.Lost()
		return nil
	}
	return s.take(resort)
}

// A greeting is a server that has greeted, with any code, and the time that this took.
type greeting struct {
	standing *servers.Server
	server   *wire.Leg // nil: no server has greeted
	raw      []byte
	took     time.Duration
}

func (g greeting) close() {
	if g.server != nil {
		g.server.Close()
	}
}

// take continues the session with a server that has greeted.
func (s *session) take(g greeting) error {
	if o := s.route.Observer; o != nil && s.serverName != "" {
		o.ServerAgain()
	}
	s.counts(g.standing)
	s.serverName = s.addressOf(g.standing)
	s.setServer(g.server)
	if o := s.route.Observer; o != nil {
		o.ServerConnected(g.took)
	}
	if err := s.earlyTLS(); err != nil {
		return err
	}
	s.text = chunkText{}
	s.dialogue.Serves((*taught)(s))
	s.dialogue.Greeting(g.raw)
	g.server.Consume(len(g.raw))
	s.answered = true
	return nil
}

// greeted dials a server and waits for its greeting. It does so again if the TLS handshake
// may have failed because of ML-KEM.
func (s *session) greeted(name string) (*wire.Leg, []byte, error) {
	server, raw, err := s.greetedOnce(name)
	if err != nil && s.route.triesClassic(name, err) {
		s.trouble(err)
		return s.greetedOnce(name)
	}
	return server, raw, err
}

func (s *session) greetedOnce(name string) (*wire.Leg, []byte, error) {
	conn, err := s.dial(deadlined{s.proxy.ending, s.now.Add(s.route.Timeouts.connect())}, name)
	if err == nil {
		if err = header.Write(conn, s.route.ProxySend, s.ends, s.now.Add(s.route.Timeouts.connect())); err != nil {
			conn.Close()
		}
	}
	s.now = s.proxy.clock()
	if err != nil {
		s.failed(vocabulary.ServerConnect)
		return nil, nil, err
	}
	server := wire.NewLeg(conn)
	s.setServer(server)
	raw, err := []byte(nil), s.proxy.ending.Err() // if it ends later, kill finds the server
	if err == nil && s.route.ServerTLS.Mode == rewrite.ServerTLSImplicit {
		secure, err := s.shakeServer(conn, name)
		if err != nil {
			s.setServer(nil)
			conn.Close()
			s.failed(vocabulary.ServerTLS)
			return nil, nil, err
		}
		server = wire.NewLeg(secure)
		s.setServer(server)
	}
	if err == nil {
		switch {
		case s.route.EarlyCommands == EarlyShown:
			raw, err = s.greetingShown(name)
		case s.route.mayCarryTLS():
			raw, err = s.greetingOrTLS(name)
		default:
			raw, err = s.readReply(s.route.Timeouts.greeting())
		}
		s.badReply(err)
	}
	s.setServer(nil)
	if err == errBeginsWithTLS {
		return server, nil, err
	}
	if err != nil {
		server.Close()
		s.failed(vocabulary.ServerGreeting)
		return nil, nil, s.namesHeader(fmt.Errorf("waiting for the greeting: %w", err))
	}
	return server, raw, nil
}

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
