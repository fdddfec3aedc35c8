package proxy

import (
	"context"
	"net"
	"net/netip"
	"time"

	"smtpshim/proxy/wire"
)

// apart has a session leave its loop, for what would keep that from the others; back
// has it return. Meanwhile its connections can be waited for by any goroutine.
func (s *session) apart() (back func()) {
	c := s.runner
	if c == nil {
		return func() {}
	}
	s.runner = nil
	c.Leave(s.client, s.server)
	return func() {
		s.runner = c
		c.Return(s.client, s.server)
	}
}

// legs returns the connections that the session has.
func (s *session) Legs() (client, server *wire.Leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client, s.server
}

// dialServer dials a server for a session, in its loop if the address says where to.
// Names, sockets in the file system and addresses to dial from are package net's.
func (s *session) dialServer(ctx context.Context, server string) (net.Conn, error) {
	c, source := s.runner, s.route.Source
	if c == nil {
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
	back := s.apart()
	conn, err := s.dialAs(ctx, server)
	if err == nil {
		conn, err = c.Adopt(conn, remoteOf(conn))
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
		s.forgetServerTrip()
		return nil, err
	}
	return conn, nil
}

// awaitConnection waits until there is one, or the session is killed.
func (s *session) awaitConnection(conn net.Conn, deadline time.Time) error {
	s.setDialling(conn)
	defer s.setDialling(nil)
	if err := s.proxy.ending.Err(); err != nil { // if not yet, kill finds it
		return err
	}
	return s.runner.AwaitConnected(conn, deadline)
}
