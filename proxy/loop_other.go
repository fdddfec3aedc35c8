//go:build !linux || portable

package proxy

import (
	"context"
	"errors"
	"net"
	"time"
)

// A loop is what sessions run in on Linux, unless the program is built with the tag
// portable, as tests do. Here there is none: each runs, and waits, on a goroutine.
type loop struct{}

func (*loop) close() {}

// A coroutine is what a session runs on in a loop.
type coroutine struct{}

func (*coroutine) read()         {}
func (*coroutine) runs(*session) {}
func (*coroutine) spoil()        {}

func (p *Proxy) listening(sockets ...net.Listener) (*listener, error) {
	return &listener{proxy: p, sockets: sockets}, nil
}

// letIn lets clients in by one of the sockets until that is closed.
func (l *listener) letIn(socket net.Listener) { l.proxy.arriving.Go(func() { l.run(socket) }) }

func (l *listener) run(socket net.Listener) {
	for open := true; open; {
		l.proxy.guard("accepting connections", func() { open = l.accept(socket) })
	}
}

// accept accepts one connection. It reports whether there may be more.
func (l *listener) accept(socket net.Listener) (open bool) {
	conn, err := socket.Accept()
	switch {
	case err == nil:
		l.accepted()
		l.proxy.crew.do(func() { l.proxy.open(nil, conn, l.route.Load()) })
	case errors.Is(err, net.ErrClosed):
		return false
	default:
		time.Sleep(l.failed(socket.Addr(), err))
	}
	return true
}

func (s *session) apart() (back func()) { return func() {} }

func (s *session) park(time.Time) bool { return false }

func (s *session) dialServer(ctx context.Context, server string) (net.Conn, error) {
	return s.dialAs(ctx, server)
}

func (w *watch) inLoop(func()) bool { return false }
func (w *watch) leaveLoop()         {}
