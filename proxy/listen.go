package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"smtpshim/proxy/wire"
)

// A listener accepts clients on one address, for the route that currently has the address.
type listener struct {
	*wire.Listener
	route atomic.Pointer[running]
}

func (p *Proxy) listen(address string, r *Route) (*listener, error) {
	if files, ok := p.Inherited[address]; ok {
		sockets, err := inherit(files)
		if err != nil {
			return nil, fmt.Errorf("listening on %s, which was handed to us: %w", address, err)
		}
		l, err := p.listening(sockets...)
		if err != nil {
			return nil, err
		}
		for _, socket := range l.Sockets {
			unlinkOnClose(socket, false) // replace sets it once we use the socket
		}
		return l, nil
	}
	if path, ok := socketPath(address); ok {
		l, err := listenUnix(path)
		if err != nil {
			return nil, err
		}
		return p.listening(l)
	}
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return p.listening(l)
}

// listening returns a listener on these sockets, which belong to the loops afterwards.
func (p *Proxy) listening(sockets ...net.Listener) (*listener, error) {
	p.mu.Lock()
	stopped, all := p.stopped, p.loops
	p.mu.Unlock()
	if stopped {
		return nil, errStopped // nobody would close the loops
	}
	accepts, err := all.Listen(sockets...)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: accepts}, nil
}

// begin starts to accept clients.
func (l *listener) begin(p *Proxy) {
	l.Serve(func(c *wire.Runner, conn net.Conn) { p.open(c, conn, l.route.Load()) })
}

// ownName returns the host name that we use in our own replies.
func ownName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
