//go:build !linux || portable

package proxy

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// A loop is what sessions run in on Linux, unless the program is built with the tag
// portable, as tests do. Here there is none: each runs, and waits, on a goroutine.
type loop struct{}

func (*loop) close() {}

// A coroutine is what a session runs on in a loop.
type coroutine struct{}

func (*coroutine) read()                               {}
func (*coroutine) runs(owner)                          {}
func (*coroutine) spoil()                              {}
func (*coroutine) leave(_, _ *leg)                     {}
func (*coroutine) comeBack(_, _ *leg)                  {}
func (*coroutine) mayPark(_, _ *leg, _ time.Time) bool { return false }
func (*coroutine) park(owner, *leg, *leg) bool         { return false }
func (*coroutine) unpark(_, _ *leg)                    {}

func (*coroutine) connect(netip.AddrPort) (net.Conn, error) { return nil, errors.ErrUnsupported }
func (*coroutine) awaitConnected(net.Conn, time.Time) error { return errors.ErrUnsupported }
func (*coroutine) adopt(net.Conn, netip.AddrPort) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// listen has connections be accepted by sockets.
func (ls *loops) listen(sockets ...net.Listener) (*plaza, error) {
	return &plaza{loops: ls, sockets: sockets}, nil
}

// letIn has a session opened for each connection, until p is closed.
func (p *plaza) letIn(open func(*coroutine, net.Conn)) {
	p.open = open
	for _, socket := range p.sockets {
		p.loops.arriving.Go(func() { p.run(socket) })
	}
}

func (p *plaza) run(socket net.Listener) {
	for open := true; open; {
		p.loops.guard("accepting connections", func() { open = p.accept(socket) })
	}
}

// accept accepts one connection. It reports whether there may be more.
func (p *plaza) accept(socket net.Listener) (open bool) {
	conn, err := socket.Accept()
	switch {
	case err == nil:
		p.accepted()
		p.loops.crew.do(func() { p.open(nil, conn) })
	case errors.Is(err, net.ErrClosed):
		return false
	default:
		time.Sleep(p.failed(socket.Addr(), err))
	}
	return true
}

// run has f run on a goroutine.
func (ls *loops) run(f func(*coroutine)) { ls.crew.do(func() { f(nil) }) }

func (w *watch) inLoop(func()) bool { return false }
func (w *watch) leaveLoop()         {}
