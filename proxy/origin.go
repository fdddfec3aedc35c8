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

// OriginalDestination stands alone in Route.Servers: the server is the one that
// the client meant, before the firewall handed its connection to us. With
// REDIRECT (nftables, iptables) connection tracking knows it (SO_ORIGINAL_DST);
// with TPROXY, which needs Route.Transparent, the connection itself has it for
// its local address.
const OriginalDestination = "original-destination"

func (r *Route) toOrigin() bool { return slices.Contains(r.Servers, OriginalDestination) }

// aim finds out where the client was going, and whether we may go there.
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

// A hop is a connection by its ends as the firewall first saw them.
type hop struct{ from, to netip.AddrPort }

// addHop records a hop of the session, the client's or its own to the server. If another
// session has recorded the same hop, its connection is ours, and the firewall hands us what
// we have sent ourselves: we are looped. Whichever of the two comes second finds it.
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

// forgetHops forgets the session's hops from that one on; the client's is the first. The
// lock of the proxy is held.
func (s *session) forgetHops(from int) {
	from = min(from, len(s.hops))
	for _, h := range s.hops[from:] {
		if s.proxy.hops[h] == s {
			delete(s.proxy.hops, h)
		}
	}
	s.hops = s.hops[:from]
}

// errNameless says that a PROXY header would have the server go by our address.
var errNameless = errors.New("XCLIENT has no address of the client to send to the server")

// dial dials a server from the address that the route wants.
func (s *session) dial(ctx context.Context, server string) (net.Conn, error) {
	if s.introducer.IsValid() && !s.ends.Client.IsValid() && s.route.ProxySend != header.None {
		return nil, errNameless
	}
	return s.dialServer(ctx, server)
}

// departs records the hop of a connection to the server that the firewall may hand back to
// us. In a loop it is recorded before the connection is made: what is handed back may come
// before we know that.
func (s *session) departs(conn net.Conn) error {
	if s.destination == "" {
		return nil
	}
	s.forgetServerHop()
	return s.addHop(hop{localOf(conn), remoteOf(conn)})
}

// dialAs dials from the address that the route wants, by package net.
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

// forgetServerHop forgets the hop to the server before: its connection is closed, and
// its port may be somebody else's by now.
func (s *session) forgetServerHop() {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	s.forgetHops(1)
}

// addressOf is that of a server of the route, for this session.
func (s *session) addressOf(t *servers.Server) string {
	if s.destination != "" {
		return s.destination
	}
	return t.Address()
}

// origin is where a connection was going before it was handed to us.
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

// zoneless is an address without the interface it is on, which an original
// destination does not have.
func zoneless(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// wouldLoop reports whether one of our own listeners is at an address.
func (s *session) wouldLoop(to netip.AddrPort) bool {
	hosts := s.proxy.listensOn(to.Port())
	if slices.Contains(hosts, to.Addr()) {
		return true
	}
	if !slices.ContainsFunc(hosts, netip.Addr.IsUnspecified) {
		return false
	}
	defer s.offLoop()() // the kernel may take its time
	return s.proxy.ofThisMachine(to.Addr())
}

// listensOn returns the addresses that we listen at on a port.
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

// ofThisMachine says whether an address is one of ours. In doubt it is: then a
// session is refused that might have been good, and none goes round in circles.
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
