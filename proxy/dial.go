package proxy

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dialServer dials a server. A name is looked up each time, and all of its
// addresses are tried (RFC 8305).
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
	ctx, cancel := context.WithDeadline(ctx, deadline) // a resolver wants a timer
	defer cancel()
	return dialer.DialContext(ctx, "tcp", server)
}

// hostOf is the host of a server, whose certificate has to bear its name. A
// socket in the file system has none.
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

// A deadlined context has a deadline for those who ask for it, as net.Dialer
// does, but no timer: each session would have to pay for one.
type deadlined struct {
	context.Context
	deadline time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.deadline, true }
