package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// OriginalDestination, as the only entry of Route.Servers, makes each client's original
// destination its server: the address to which the client connected before the firewall
// redirected the connection to us. The destination must be in Route.Destinations. This
// needs Linux. With REDIRECT (nftables, iptables), connection tracking knows the
// destination (SO_ORIGINAL_DST). With TPROXY, which needs Route.Transparent, it is the
// local address of the connection.
const OriginalDestination = "original-destination"

func (r *Route) toOrigin() bool { return slices.Contains(r.Servers, OriginalDestination) }

// aim finds out the client's original destination, and whether we may connect to it. On other
// routes it does nothing.
func (s *session) aim(conn net.Conn) (refusal vocabulary.Rejection, err error) {
	if !s.route.toOrigin() {
		return "", nil
	}
	to, err := origin(conn, s.route.Transparent)
	switch {
	case err != nil:
	case s.wouldLoop(to):
		err = fmt.Errorf("the client was going to %v, where smtpshim itself listens: the connection would loop", to)
	case !rewrite.InNetworks(to.Addr(), s.route.Destinations):
		err = fmt.Errorf("the client was going to %v, which is in none of the networks allowed", to)
	default:
		err = s.addHop(hop{remoteOf(conn), to})
	}
	if err != nil {
		return vocabulary.RejectionDestination, err
	}
	s.destination = to.String()
	if !s.balancer.IsValid() {
		s.ends.Destination = to
	}
	return "", nil
}

// A hop identifies a connection by its two addresses, as the firewall first saw them.
type hop struct{ from, to netip.AddrPort }

// addHop records a hop of the session: the connection of the client, or ours to the server. If
// another session has recorded the same hop, the connection of one to its server is the
// client's connection of the other: the firewall redirects our own connection to us. The
// session that comes second returns an error.
func (s *session) addHop(h hop) error {
	p := s.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.hops[h]; other != nil && other != s {
		return fmt.Errorf("the firewall redirects our own connection from %v to %v to us: the connection would loop", h.from, h.to)
	}
	if p.hops == nil {
		p.hops = map[hop]*session{}
	}
	p.hops[h] = s
	s.hops = append(s.hops, h)
	return nil
}

// forgetHops forgets the session's hops with the index from and above. The client's hop is the
// first. The caller holds the proxy's mu.
func (s *session) forgetHops(from int) {
	from = min(from, len(s.hops))
	for _, h := range s.hops[from:] {
		if s.proxy.hops[h] == s {
			delete(s.proxy.hops, h)
		}
	}
	s.hops = s.hops[:from]
}

// errNameless says that XCLIENT has named a client without an address. With a PROXY header that
// has none, the server would take our address for the client's.
var errNameless = errors.New("XCLIENT has no address of the client to send to the server")

// dial dials a server from the address in Route.Source.
func (s *session) dial(ctx context.Context, server string) (net.Conn, error) {
	if s.introducer.IsValid() && !s.ends.Client.IsValid() && s.route.ProxySend != header.None {
		return nil, errNameless
	}
	return s.dialServer(ctx, server)
}

// departs records the hop of a connection to the server, which the firewall may redirect to us.
// In a loop it is called before the connection is made: the redirected connection may come
// before we know that ours is made.
func (s *session) departs(conn net.Conn) error {
	if s.destination == "" {
		return nil
	}
	s.forgetServerHop()
	return s.addHop(hop{localOf(conn), remoteOf(conn)})
}

// dialAs dials from the address in Route.Source, by package net.
func (s *session) dialAs(ctx context.Context, server string) (net.Conn, error) {
	conn, err := s.proxy.dialAs(ctx, s.route.Source, s.address, server)
	if err != nil {
		return nil, err
	}
	if err := s.departs(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// forgetServerHop forgets the hop to the previous server. That connection is closed, and
// another connection may use its port by now.
func (s *session) forgetServerHop() {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	s.forgetHops(1)
}

// addressOf returns the address to dial for a server of the route: the client's original
// destination, if the session has one.
func (s *session) addressOf(t *servers.Server) string {
	if s.destination != "" {
		return s.destination
	}
	return t.Address()
}

// origin returns the original destination of a connection.
func origin(conn net.Conn, transparent bool) (netip.AddrPort, error) {
	local := zoneless(localOf(conn))
	if !local.IsValid() {
		return local, fmt.Errorf("a connection to %v has no original destination", conn.LocalAddr())
	}
	if transparent {
		return local, nil
	}
	to, err := tracked(conn, local.Addr().Is4())
	if errors.Is(err, errUntracked) || err == nil && to == local {
		return to, fmt.Errorf("the connection was made to %v itself and not redirected to it", local)
	}
	if err != nil {
		return to, fmt.Errorf("reading the original destination: %w", err)
	}
	return to, nil
}

// zoneless returns an address without its IPv6 zone. An original destination has no zone.
func zoneless(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// wouldLoop reports whether we listen on an address ourselves.
func (s *session) wouldLoop(to netip.AddrPort) bool {
	hosts := s.proxy.listensOn(to.Port())
	if slices.Contains(hosts, to.Addr()) {
		return true
	}
	if !slices.ContainsFunc(hosts, netip.Addr.IsUnspecified) {
		return false
	}
	defer s.offLoop()() // asking the kernel may take long
	return s.proxy.ofThisMachine(to.Addr())
}

// listensOn returns the addresses on which we listen with a port.
func (p *Proxy) listensOn(port uint16) (hosts []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.listeners {
		for _, socket := range l.Sockets {
			if at := zoneless(header.AddrPort(socket.Addr())); at.Port() == port {
				hosts = append(hosts, at.Addr())
			}
		}
	}
	return hosts
}

// ofThisMachine reports whether an address is one of this machine. If that cannot be found out
// it returns true: to refuse a good session is better than to let one loop.
func (p *Proxy) ofThisMachine(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	list := p.addresses
	if list == nil {
		list = net.InterfaceAddrs
	}
	addresses, err := list()
	return err != nil || slices.ContainsFunc(addresses, func(has net.Addr) bool {
		network, ok := has.(*net.IPNet)
		return ok && network.IP.Equal(a.AsSlice())
	})
}
