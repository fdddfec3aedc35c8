package proxy

import (
	"context"
	"net"
	"net/netip"
	"time"

	"smtpshim/proxy/wire"
)

// offLoop moves the session from its loop to a goroutine until back is called. It is for work
// that would keep the loop's other sessions waiting. Meanwhile any goroutine may wait for
// the session's connections.
func (s *session) offLoop() (back func()) {
	r := s.runner
	if r == nil {
		return func() {}
	}
	s.runner = nil
	r.Leave(s.client, s.server)
	return func() {
		s.runner = r
		r.Return(s.client, s.server)
	}
}

// Legs returns the session's legs to client and server, for the loop. Either may be
// nil.
func (s *session) Legs() (client, server *wire.Leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client, s.server
}

// dialServer dials a server. It does so in the session's loop if it only has to connect to an
// IP address. Otherwise package net dials: to a name, to a socket in the file system, or from
// a given address.
func (s *session) dialServer(ctx context.Context, server string) (net.Conn, error) {
	r, source := s.runner, s.route.Source
	if r == nil {
		return s.dialAs(ctx, server)
	}
	to, err := netip.ParseAddrPort(server)
	if err == nil && s.proxy.dial == nil && !source.Client && !source.Address.IsValid() {
		deadline, _ := ctx.Deadline()
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		conn, err := s.connectTo(to, deadline)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
		}
		return conn, nil
	}
	back := s.offLoop()
	conn, err := s.dialAs(ctx, server)
	if err == nil {
		conn, err = r.Adopt(conn, remoteOf(conn))
	}
	back()
	return conn, err
}

// connectTo dials an address, in the loop.
func (s *session) connectTo(to netip.AddrPort, deadline time.Time) (net.Conn, error) {
	conn, err := s.runner.Connect(to)
	if err != nil {
		return nil, err
	}
	if err = s.departs(conn); err == nil {
		err = s.awaitConnection(conn, deadline)
	}
	if err != nil {
		conn.Close()
		s.forgetServerHop()
		return nil, err
	}
	return conn, nil
}

// awaitConnection waits until conn is connected, or the session is killed.
func (s *session) awaitConnection(conn net.Conn, deadline time.Time) error {
	s.setDialling(conn)
	defer s.setDialling(nil)
	if err := s.proxy.ending.Err(); err != nil { // if it ends later, kill closes conn
		return err
	}
	return s.runner.AwaitConnected(conn, deadline)
}
