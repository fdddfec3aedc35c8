package proxy

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dialTCP dials a server, whose address may be a name.
func dialTCP(ctx context.Context, server string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	dialer.SetMultipathTCP(false)
	if address, err := netip.ParseAddrPort(server); err == nil {
		conn, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, address)
		if err != nil {
			return nil, err // conn is no nil net.Conn
		}
		return conn, nil
	}
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, deadline) // a resolver wants a timer
	defer cancel()
	return dialer.DialContext(ctx, "tcp", server)
}

// A deadlined context has a deadline for those who ask for it, as net.Dialer
// does, but no timer: each session would have to pay for one.
type deadlined struct {
	context.Context
	deadline time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.deadline, true }
