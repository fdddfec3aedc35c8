package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A listener accepts clients on one address, for the route that currently has the address.
type listener struct {
	*wire.Listener
	route atomic.Pointer[running]
}

func (p *Proxy) listen(address string, r *Route) (*listener, error) {
	if files, ok := p.Inherited[address]; ok {
		sockets, err := inherit(files)
		if err != nil {
			return nil, fmt.Errorf("listening on %s, which was handed to us: %w", address, err)
		}
		l, err := p.listening(sockets...)
		if err != nil {
			return nil, err
		}
		for _, socket := range l.Sockets {
			unlinkOnClose(socket, false) // replace sets it once we use the socket
		}
		return l, nil
	}
	if path, ok := socketPath(address); ok {
		l, err := listenUnix(path)
		if err != nil {
			return nil, err
		}
		return p.listening(l)
	}
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return p.listening(l)
}

// listening returns a listener on these sockets, which belong to the loops afterwards.
func (p *Proxy) listening(sockets ...net.Listener) (*listener, error) {
	p.mu.Lock()
	stopped, all := p.stopped, p.loops
	p.mu.Unlock()
	if stopped {
		return nil, errStopped // nobody would close the loops
	}
	accepts, err := all.Listen(sockets...)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: accepts}, nil
}

// begin starts to accept clients.
func (l *listener) begin(p *Proxy) {
	l.Serve(func(c *wire.Runner, conn net.Conn) { p.open(c, conn, l.route.Load()) })
}

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
// client whose PROXY header cannot be read gets no reply.
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
	switch reason {
	case vocabulary.RejectionPROXYHeader:
	case vocabulary.RejectionDraining:
		s.client.Write([]byte(drainingText+"\r\n"), refusalWait)
	case vocabulary.RejectionClients:
		s.client.Write([]byte(rewrite.NotServedText+"\r\n"), refusalWait)
	case vocabulary.RejectionDestination:
		s.client.Write([]byte("421 4.3.5 no server can be reached this way\r\n"), refusalWait)
	default:
		s.client.Write([]byte("421 4.7.0 too many sessions, try again later\r\n"), refusalWait)
	}
	s.client.Close()
}

// refusalWait limits how long we wait for a client that does not read our last reply.
const refusalWait = 5 * time.Second

// ownName returns the host name that we use in our own replies.
func ownName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
