package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// A Source is the address from which servers are dialled. With the zero value the system
// chooses it.
type Source struct {
	// Client makes us dial from the client's own address. That needs Linux and
	// CAP_NET_ADMIN, and what the server sends to that address must be routed to this
	// machine. If the client has no address, or is of another family (IPv4, IPv6) than
	// the server, the server is not dialled: it might trust an address of ours.
	Client  bool
	Address netip.Addr // an address of this machine, used if Client is false
}

// errSource says that the server cannot be dialled from the address of the Source.
var errSource = errors.New("no address to dial it from")

// dialAs dials a server for a client, from the address that source says. For a socket in the
// file system there is no such address.
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

// dialFrom dials a server from an address. The address must be one of this machine, unless the
// socket is transparent. If the server is given by name, only its addresses of the same
// family are tried.
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
	ctx, cancel := context.WithDeadline(ctx, deadline) // resolvers need the timer
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

// control calls do with the file descriptor of a socket.
func control(raw syscall.RawConn, do func(fd int) error) error {
	var err error
	if done := raw.Control(func(fd uintptr) { err = do(int(fd)) }); done != nil {
		return done
	}
	return err
}

// transparently is the Control function of a net.Dialer or net.ListenConfig. It makes sockets
// transparent.
func transparently(network, _ string, raw syscall.RawConn) error {
	return control(raw, func(fd int) error { return setTransparent(fd, network == "tcp6") })
}

// checkNetwork returns an error if the system, or our rights, do not allow what a route needs.
// What its listeners need is checked when they are opened.
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
