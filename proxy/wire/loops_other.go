//go:build !linux || portable

package wire

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
type Runner struct{}

func (*Runner) BeforeRead()                         {}
func (*Runner) Runs(Session)                        {}
func (*Runner) Spoil()                              {}
func (*Runner) Leave(_, _ *Leg)                     {}
func (*Runner) Return(_, _ *Leg)                    {}
func (*Runner) MayIdle(_, _ *Leg, _ time.Time) bool { return false }
func (*Runner) Idle(Session, *Leg, *Leg) bool       { return false }
func (*Runner) Resume(_, _ *Leg)                    {}

func (*Runner) Connect(netip.AddrPort) (net.Conn, error) { return nil, errors.ErrUnsupported }
func (*Runner) AwaitConnected(net.Conn, time.Time) error { return errors.ErrUnsupported }
func (*Runner) Adopt(net.Conn, netip.AddrPort) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// listen has connections be accepted by sockets.
func (ls *Loops) Listen(sockets ...net.Listener) (*Listener, error) {
	return &Listener{loops: ls, Sockets: sockets}, nil
}

// letIn has a session opened for each connection, until p is closed.
func (p *Listener) Serve(open func(*Runner, net.Conn)) {
	p.open = open
	for _, socket := range p.Sockets {
		p.loops.config.Arriving.Go(func() { p.run(socket) })
	}
}

func (p *Listener) run(socket net.Listener) {
	for open := true; open; {
		p.loops.guard("accepting connections", func() { open = p.accept(socket) })
	}
}

// accept accepts one connection. It reports whether there may be more.
func (p *Listener) accept(socket net.Listener) (open bool) {
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
func (ls *Loops) Go(f func(*Runner)) { ls.crew.do(func() { f(nil) }) }

func (w *Watch) inLoop(func()) bool { return false }
func (w *Watch) leaveLoop()         {}
