package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// A Source is the address from which servers are dialled. The zero value
// leaves it to the system.
type Source struct {
	// Client takes the client's own address. The process needs CAP_NET_ADMIN,
	// and what the server sends to that address must come by here. A server of
	// the other family (IPv4, IPv6) cannot be reached so, and is not tried from
	// an address of ours instead: it may trust that.
	Client  bool
	Address netip.Addr // one of this machine's
}

// errSource says that the address to dial from and the server do not go together.
var errSource = errors.New("no address to dial it from")

// dialAs dials a server for a client. A socket in the file system has no
// addresses to choose from.
func (p *Proxy) dialAs(ctx context.Context, source Source, client netip.Addr, server string) (net.Conn, error) {
	from := source.Address
	if source.Client {
		if from = client; !from.IsValid() {
			return nil, fmt.Errorf("%w: the client has none", errSource)
		}
	}
	if _, local := socketPath(server); local || !from.IsValid() {
		if p.dial != nil {
			return p.dial(ctx, server)
		}
		return dialServer(ctx, server)
	}
	return dialFrom(ctx, from, source.Client, server)
}

// dialFrom dials a server, whose address may be a name, from an address, which
// has to be one of this machine's unless the socket is to be transparent. Of a
// name only addresses of the same family are tried.
func dialFrom(ctx context.Context, from netip.Addr, transparent bool, server string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(server)
	if err == nil && to.Addr().Unmap().Is4() != from.Is4() {
		return nil, fmt.Errorf("%w: %v is of the other family (IPv4, IPv6)", errSource, from)
	}
	dialer := net.Dialer{KeepAlive: -1, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	dialer.SetMultipathTCP(false)
	dialer.Control = func(network, address string, raw syscall.RawConn) error {
		if transparent {
			if err := transparently(network, address, raw); err != nil {
				return err
			}
		}
		return control(raw, choosePortLate)
	}
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, deadline) // a resolver wants a timer
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", server)
	var unsuitable *net.AddrError
	if errors.As(err, &unsuitable) && unsuitable.Addr == dialer.LocalAddr.String() {
		return nil, fmt.Errorf("%w: all its addresses are of another family than %v", errSource, from)
	}
	if err != nil {
		return nil, fmt.Errorf("dialling from %v: %w", from, err)
	}
	return conn, nil
}

// control does something with a socket.
func control(raw syscall.RawConn, do func(fd int) error) error {
	var err error
	if done := raw.Control(func(fd uintptr) { err = do(int(fd)) }); done != nil {
		return done
	}
	return err
}

// transparently is the Control of a net.Dialer or net.ListenConfig whose sockets
// are to be transparent.
func transparently(network, _ string, raw syscall.RawConn) error {
	return control(raw, func(fd int) error { return setTransparent(fd, network == "tcp6") })
}

// checkNetwork says whether the system and our rights suffice for a route. What
// its listeners need is seen when they are opened.
func (r *Route) checkNetwork() error {
	if r.toOrigin() {
		if len(r.Servers) > 1 {
			return fmt.Errorf("%s stands alone among the servers", OriginalDestination)
		}
		if r.Health.Interval > 0 {
			return fmt.Errorf("%s is no server whose health could be checked", OriginalDestination)
		}
		if !r.Transparent {
			if err := checkOrigin(); err != nil {
				return err
			}
		}
	}
	if r.Source.Client {
		if err := checkTransparent(); err != nil {
			return fmt.Errorf("dialling from the client's address: %w", err)
		}
	}
	if a := r.Source.Address; a.IsValid() {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			return fmt.Errorf("dialling from %v: %w", a, err)
		}
		l.Close()
	}
	return nil
}
