package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
)

// If TLS is between client and server, both may begin the session with it, as on port 465
// (RFC 8314, 3.3). The server then sends nothing before the client's ClientHello. We pass
// on such a session unread, as after a STARTTLS that we pass on. The client's octets alone
// do not show that the server begins with TLS: if the server is only slow to greet, the
// client's commands after them would be passed on unread. We therefore connect to the
// server once more and send it a ClientHello of our own.

// Lessons about whether a server begins with TLS, and how long each is remembered.
const (
	beginsWithTLS      = "begins with TLS"
	beginsWithTLSLasts = time.Hour
	greetsInClear      = "greets in clear"
	greetsInClearLasts = 10 * time.Minute
)

// tlsProbe limits how long we try to find out whether a server begins with TLS.
const tlsProbe = 10 * time.Second

// Until the server greets, we check whether the client has begun TLS: first after
// firstLook, then at intervals that double up to lastLook.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = time.Second
)

// errBeginsWithTLS means that no greeting will come, because client and server begin with
// TLS.
var errBeginsWithTLS = errors.New("client and server begin with TLS")

// mayCarryTLS reports whether TLS may be between client and server: the route ends TLS on
// neither side and sends no XCLIENT.
func (r *Route) mayCarryTLS() bool {
	return r.ClientTLS.Mode == rewrite.ClientTLSPass && r.ServerTLS.Mode == rewrite.ServerTLSOff && r.XCLIENTSend == rewrite.XCLIENTNever
}

// greetingOrTLS waits for the server's greeting. It returns errBeginsWithTLS if the server
// is silent because it waits for a TLS handshake, and the client has begun one.
func (s *session) greetingOrTLS(name string) ([]byte, error) {
	by, asked := s.now.Add(s.route.Timeouts.greeting()), false
	for look := firstLook; len(s.server.Buffered()) == 0; look = min(2*look, lastLook) {
		err := s.fill(s.server, earlier(by, s.now.Add(look)))
		if err != nil && !isTimeout(err) {
			return nil, err
		}
		if err == nil || !s.now.Before(by) {
			break
		}
		if !asked && s.clientBeginsTLS() {
			if asked = true; s.serverBeginsWithTLS(name, by) {
				return nil, errBeginsWithTLS
			}
		}
	}
	return s.readReply(by.Sub(s.now))
}

// clientBeginsTLS reports, without waiting, whether the client has begun a TLS handshake
// before any server has greeted it.
func (s *session) clientBeginsTLS() bool {
	if s.serverName != "" {
		return false
	}
	first := s.client.Buffered()
	if len(first) == 0 {
		first = s.client.Peek(time.Time{})
	}
	return rewrite.IsTLS(first)
}

// serverBeginsWithTLS reports whether a server answers a ClientHello when a greeting is
// due. It remembers the answer for a while.
func (s *session) serverBeginsWithTLS(name string, by time.Time) bool {
	switch l := &s.route.lessons; {
	case l.remembers(lesson{name, beginsWithTLS}):
		return true
	case l.remembers(lesson{name, greetsInClear}):
		return false
	}
	begins, err := s.askForTLS(name, earlier(by, s.now.Add(tlsProbe)))
	s.now = s.proxy.clock()
	switch {
	case begins:
		s.route.lessons.remember(lesson{name, beginsWithTLS}, beginsWithTLSLasts)
	case err == nil:
		s.route.lessons.remember(lesson{name, greetsInClear}, greetsInClearLasts)
	}
	return begins
}

// askForTLS connects to a server once more, sends it a ClientHello, and reports whether
// the server answers with TLS. err is not nil if the connection could not be made.
func (s *session) askForTLS(name string, by time.Time) (begins bool, err error) {
	defer s.offLoop()()
	ctx, cancel := context.WithDeadline(s.proxy.ending, by)
	defer cancel()
	conn, err := s.proxy.dialAs(ctx, s.route.Source, s.address, name)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := header.Write(conn, s.route.ProxySend, s.ends, by); err != nil {
		return false, err
	}
	heard := &firstOctets{Conn: conn}
	// We send no data within TLS. Without ML-KEM, the ClientHello fits one packet.
	tls.Client(heard, &tls.Config{
		ServerName: hostOf(name), InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	}).HandshakeContext(ctx)
	return heard.areTLS(), nil
}

// firstOctets is a connection that keeps the first two octets read from it.
type firstOctets struct {
	net.Conn
	octets []byte
}

func (c *firstOctets) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if missing := 2 - len(c.octets); missing > 0 {
		c.octets = append(c.octets, b[:min(n, missing)]...)
	}
	return n, err
}

// areTLS reports whether the octets begin a TLS record of a handshake or an alert (RFC
// 8446, 5.1). An alert counts, because a server that refuses our ClientHello speaks TLS
// too.
func (c *firstOctets) areTLS() bool {
	const alert, handshake, major = 21, 22, 3
	return len(c.octets) == 2 && (c.octets[0] == alert || c.octets[0] == handshake) && c.octets[1] == major
}

// carry continues a session in which both client and server begin with TLS. Nothing of the
// session can be read.
func (s *session) carry(t *servers.Server, server *wire.Leg, took time.Duration) {
	s.counts(t)
	s.serverName = s.addressOf(t)
	s.setServer(server)
	if o := s.route.Observer; o != nil {
		o.ServerConnected(took)
	}
	s.log.Debug("client and server begin with TLS: nothing of the session can be read", "server", s.serverName)
	s.dialogue.CarriesTLS()
	s.hasOpened = true
}
