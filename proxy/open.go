package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// open makes a session of a connection. It checks whether there is room and who the client
// is, does the TLS handshake if the connection begins with one, and runs the session.
func (p *Proxy) open(c *wire.Runner, conn net.Conn, route *running) {
	now := p.clock()
	s := &session{runner: c, proxy: p, route: route, began: now, now: now, while: "beginning"}
	s.hold(func() { s.open(conn) })
	if s.client == nil {
		conn.Close()
	}
}

func (s *session) open(conn net.Conn) {
	p := s.proxy
	s.address = remoteOf(conn).Addr()
	s.client = wire.NewLeg(conn)
	if !p.enter(s) {
		return
	}
	refusal, err := s.identify(conn)
	if errors.Is(err, header.ErrNothing) && tlspolicy.HungUp(err) { // a balancer's health check
		s.begin()
		s.over(vocabulary.OutcomeSilent, nil)
		s.finish()
		return
	}
	if refusal != "" {
		p.vacate(s)
		p.refuse(s, refusal, err)
		p.leave(s)
		return
	}
	s.begin()
	if s.route.ClientTLS.Mode == rewrite.ClientTLSImplicit {
		if err := s.openTLS(); err != nil {
			s.finish()
			return
		}
	}
	if err := s.connect(); err != nil {
		s.finish()
		return
	}
	s.run()
}

// enter counts a session in, or refuses it. When arriving no longer counts a connection,
// the connection either has a session or was refused.
func (p *Proxy) enter(s *session) bool {
	defer p.arriving.Done()
	s.entered = true
	refusal := p.admit(s)
	if refusal != "" {
		p.refuse(s, refusal, nil)
	}
	return refusal == ""
}

// identify finds out who the client is, whether we serve it, whether its network may have
// another session, and where the session is to go.
func (s *session) identify(conn net.Conn) (refusal vocabulary.Rejection, err error) {
	s.ends.Client = remoteOf(conn)
	if s.route.tellsDestination() {
		s.ends.Destination = localOf(conn)
	}
	if rewrite.InNetworks(s.address, s.route.ProxyFrom) {
		s.balancer = s.address
		s.ends, err = header.Read(conn, s.now.Add(s.route.Timeouts.header()))
		s.now = s.proxy.clock()
		if err != nil {
			return vocabulary.RejectionPROXYHeader, err
		}
		if s.ends.Client.IsValid() {
			s.address = s.ends.Client.Addr()
		}
	}
	if !s.mayCome() {
		return vocabulary.RejectionClients, nil
	}
	if refusal := s.proxy.locate(s); refusal != "" {
		return refusal, nil
	}
	return s.aim(conn)
}

// refuse sends a refusal to a client that gets no session, and closes the connection. A
// client whose PROXY header cannot be read, or that waits for TLS, gets no reply.
func (p *Proxy) refuse(s *session, reason vocabulary.Rejection, err error) {
	if s.route.Observer != nil {
		s.route.Observer.Refused(reason)
	}
	attrs := []any{"route", s.route.Name, s.caller(), "reason", string(reason)}
	if s.balancer.IsValid() {
		attrs = append(attrs, "proxy", s.balancer)
	}
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	p.logger().Log(context.Background(), severity(reason), "connection refused by us", attrs...)
	if text := replyTo(reason); text != "" && s.route.ClientTLS.Mode != rewrite.ClientTLSImplicit {
		s.client.Write([]byte(text+"\r\n"), refusalWait)
	}
	s.client.Close()
}

// replyTo returns the reply to a client that gets no session; "": it gets none.
func replyTo(reason vocabulary.Rejection) string {
	switch reason {
	case vocabulary.RejectionPROXYHeader:
		return ""
	case vocabulary.RejectionDraining:
		return drainingText
	case vocabulary.RejectionClients:
		return rewrite.NotServedText
	case vocabulary.RejectionDestination:
		return "421 4.3.5 no server can be reached this way"
	}
	return "421 4.7.0 too many sessions, try again later"
}

// refusalWait limits how long we wait for a client that does not read our last reply.
const refusalWait = 5 * time.Second

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
