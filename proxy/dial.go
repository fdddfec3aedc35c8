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
	if _, err := netip.ParseAddrPort(server); err == nil {
		return dialer.DialContext(ctx, "tcp", server)
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
