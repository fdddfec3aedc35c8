package proxy

import (
	"context"
	"net"
)

// Retire stops listening, because another process does now, and lets every
// session go on to its own end. It returns when none is left; when ctx ends
// before, the error is that of ctx, and the rest goes on until Drain or Close.
func (p *Proxy) Retire(ctx context.Context) error {
	p.stopListening(false) // sockets in the file system are the other's by now
	select {
	case <-p.noneLeft():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unlinkOnClose says whether a socket in the file system goes from there when it
// is closed.
func unlinkOnClose(socket net.Listener, unlink bool) {
	if l, ok := socket.(interface{ SetUnlinkOnClose(bool) }); ok {
		l.SetUnlinkOnClose(unlink)
	}
}
