package proxy

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dialServer dials a server. A host name is resolved each time, and all of its addresses
// are tried (RFC 8305).
func dialServer(ctx context.Context, server string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	dialer.SetMultipathTCP(false)
	if path, ok := socketPath(server); ok {
		conn, err := dialer.DialUnix(ctx, "unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	if _, err := netip.ParseAddrPort(server); err == nil {
		return dialer.DialContext(ctx, "tcp", server)
	}
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, deadline) // the resolver needs a timer
	defer cancel()
	return dialer.DialContext(ctx, "tcp", server)
}

// hostOf returns the host of a server, which the server's certificate must name; "" for a
// Unix domain socket.
func hostOf(server string) string {
	if _, ok := socketPath(server); ok {
		return ""
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return server
	}
	return host
}

// A deadlined is a context with a deadline but without a timer, which each session would
// have to pay for. Only callees that ask for the deadline, as net.Dialer does, respect it.
type deadlined struct {
	context.Context
	deadline time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.deadline, true }
