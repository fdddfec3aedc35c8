package proxy

import (
	"context"
	"net"
)

// Retire stops listening, but ends no session and leaves Unix domain sockets in the
// file system. It is for a process whose listening sockets another process has taken
// over. Retire returns nil when no session is left. If ctx ends first, Retire returns
// the error of ctx, and the remaining sessions go on. Health checks go on in either
// case. Drain or Close ends what goes on.
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
