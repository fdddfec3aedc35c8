//go:build !linux || portable

package wire

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// A loop runs sessions on Linux, unless the program is built with the tag portable, as
// tests do. Here there is none: each session runs, and waits, on a goroutine.
type loop struct{}

func (*loop) close() {}

// A Runner would run a session in a loop. There are no loops here: every *Runner is
// nil, and sessions run on goroutines.
type Runner struct{}

func (*Runner) BeforeRead()                         {}
func (*Runner) Woke() (at time.Time, ok bool)       { return at, false }
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

// Listen returns a Listener that accepts from sockets. The Listener accepts nothing
// before Serve.
func (ls *Loops) Listen(sockets ...net.Listener) (*Listener, error) {
	return &Listener{loops: ls, Sockets: sockets}, nil
}

// Serve begins to accept, and returns without waiting. Until the Listener is closed, it
// calls open for each accepted connection, on a goroutine and with a nil Runner.
func (l *Listener) Serve(open func(*Runner, net.Conn)) {
	l.open = open
	for _, socket := range l.Sockets {
		l.loops.config.Arriving.Go(func() { l.run(socket) })
	}
}

func (l *Listener) run(socket net.Listener) {
	for open := true; open; {
		l.loops.guard("accepting connections", func() { open = l.accept(socket) })
	}
}

// accept accepts one connection. It reports whether the socket is still open.
func (l *Listener) accept(socket net.Listener) (open bool) {
	conn, err := socket.Accept()
	switch {
	case err == nil:
		l.accepted()
		l.loops.workers.do(func() { l.open(nil, conn) })
	case errors.Is(err, net.ErrClosed):
		return false
	default:
		time.Sleep(l.failed(socket.Addr(), err))
	}
	return true
}

// Go runs f on a goroutine, with a nil Runner, and returns without waiting.
func (ls *Loops) Go(f func(*Runner)) { ls.workers.do(func() { f(nil) }) }

func (w *Watch) inLoop(func()) bool { return false }
func (w *Watch) leaveLoop()         {}
