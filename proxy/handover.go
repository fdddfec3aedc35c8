package proxy

import (
	"context"
	"net"
)

// Retire stops listening and lets every session go on to its own end. It is for a
// process whose listening sockets another process has taken over: Unix domain sockets
// stay in the file system. Retire returns nil when no session is left. If ctx ends
// first, Retire returns the error of ctx, and the remaining sessions go on until Drain
// or Close, as health checks do in any case.
func (p *Proxy) Retire(ctx context.Context) error {
	p.stopListening(false) // Unix domain sockets belong to the other process now
	select {
	case <-p.noneLeft():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unlinkOnClose sets whether closing a Unix domain socket removes it from the file system.
func unlinkOnClose(socket net.Listener, unlink bool) {
	if l, ok := socket.(interface{ SetUnlinkOnClose(bool) }); ok {
		l.SetUnlinkOnClose(unlink)
	}
}
