//go:build !portable

package wire

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An acceptor is a listening socket from which the loops accept. It is a net.Listener,
// whose Accept always fails, and a syscall.Conn.
type acceptor struct {
	fd   int
	addr net.Addr

	mu       sync.RWMutex // held for reading by whoever accepts
	loops    []*loop
	listener *Listener // that it belongs to; nil: nothing is accepted yet
	unlink   bool      // remove it from the file system on Close
	closed   bool
	paused   *time.Timer // ends a pause; nil: there is none
}

// newAcceptor makes an acceptor of a listener of package net, and closes that.
func newAcceptor(from net.Listener) (*acceptor, error) {
	defer from.Close()
	fd, err := DuplicateSocket(from)
	if err != nil {
		return nil, err
	}
	a := &acceptor{fd: fd, addr: from.Addr()}
	if local, ok := from.(*net.UnixListener); ok {
		a.unlink = true
		local.SetUnlinkOnClose(false)
	} else if err := noDelay(a.fd); err != nil { // connections inherit it
		unix.Close(a.fd)
		return nil, err
	}
	return a, nil
}

// Accept always fails: the loops accept.
func (a *acceptor) Accept() (net.Conn, error) { return nil, net.ErrClosed }

func (a *acceptor) Addr() net.Addr { return a.addr }

func (a *acceptor) SetUnlinkOnClose(unlink bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlink = unlink
}

// Close stops accepting. No connection is accepted after it has returned.
func (a *acceptor) Close() error {
	last, err := a.close()
	for _, s := range last {
		s.loop.do(func() { a.begin(s) })
	}
	return err
}

// close closes the socket. It returns connections that it has accepted last.
func (a *acceptor) close() (last []*socket, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, net.ErrClosed
	}
	a.closed = true
	if a.paused != nil {
		a.paused.Stop()
	}
	for _, l := range a.loops {
		l.control(unix.EPOLL_CTL_DEL, a.fd, 0) // another process may have the socket open still
		l.unwatch(a.fd)
	}
	last = a.waiting()
	unix.Close(a.fd)
	if a.unlink {
		os.Remove(a.addr.String())
	}
	return last, nil
}

// mostWaiting is the largest number of connections that wait for an accept
// (net.core.somaxconn, unless it was changed).
const mostWaiting = 4096

// waiting accepts the connections that wait, once no loop is told of further ones. Our
// loops may have been told of these, and then nobody else is, such as the process that has
// taken over the socket: the kernel tells one loop (EPOLLEXCLUSIVE). mu must be held.
func (a *acceptor) waiting() (all []*socket) {
	for len(a.loops) > 0 && len(all) < mostWaiting {
		s, err := a.next(a.loops[len(all)%len(a.loops)])
		if err == syscall.EINTR || err == syscall.ECONNABORTED {
			continue
		}
		if err != nil {
			break
		}
		all = append(all, s)
	}
	return all
}

// serve has the loops accept for a Listener. After an error it pauses and tries again.
func (a *acceptor) serve(at *Listener, loops []*loop) {
	if err := a.open(at, loops); err != nil {
		a.pause(err)
	}
}

func (a *acceptor) open(at *Listener, loops []*loop) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return net.ErrClosed
	}
	if a.loops, a.paused = loops, nil; a.listener == nil { // set once: begin reads it without the lock
		a.listener = at
	}
	for _, l := range loops {
		if err := l.watch(a, a.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE); err != nil {
			return err
		}
	}
	return nil
}

// event accepts one connection. If there are more, the kernel reports the socket again.
func (a *acceptor) event(l *loop, _ uint32) {
	s, err := a.accept(l)
	switch {
	case err == nil && s.loop == l:
		a.begin(s)
	case err == nil:
		s.loop.do(func() { a.begin(s) })
	case err == syscall.EAGAIN, err == syscall.EINTR, err == syscall.ECONNABORTED: // another loop has accepted it, or the client has gone
	default:
		a.pause(os.NewSyscallError("accept4", err))
	}
}

// begin begins the session of a connection that was accepted, on the connection's loop.
func (a *acceptor) begin(s *socket) {
	s.loop.begin(func(c *Runner) {
		s.bind(c)
		a.listener.open(c, s)
	})
}

// accept accepts a connection and counts it. It holds mu meanwhile: when Close returns,
// every connection that was accepted has been counted.
func (a *acceptor) accept(l *loop) (*socket, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return nil, syscall.EAGAIN
	}
	return a.next(l)
}

// next is accept for a caller that holds mu.
func (a *acceptor) next(l *loop) (*socket, error) {
	fd, name, err := syscall.Accept4(a.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, err
	}
	s, err := a.lightest(l).newSocket(fd, addrPortOf(fd, name), received)
	if err != nil {
		return nil, err
	}
	a.listener.accepted()
	return s, nil
}

// lightest returns the loop for a new session: l, unless another has far fewer sockets.
// The kernel tends to wake the same loop as long as that is not busy.
func (a *acceptor) lightest(l *loop) *loop {
	best, least := l, l.load.Load()/2-8
	for _, other := range a.loops {
		if n := other.load.Load(); n < least {
			best, least = other, n
		}
	}
	return best
}

// pause stops accepting for a while: a shortage, such as of descriptors, may be over by
// then.
func (a *acceptor) pause(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.paused != nil {
		return
	}
	for _, l := range a.loops {
		l.control(unix.EPOLL_CTL_DEL, a.fd, 0)
	}
	at, loops := a.listener, a.loops
	a.paused = time.AfterFunc(at.failed(a.addr, err), func() {
		at.loops.guard("accepting connections", func() { a.serve(at, loops) })
	})
}

func (a *acceptor) SyscallConn() (syscall.RawConn, error) { return (*rawAcceptor)(a), nil }

// A rawAcceptor is an acceptor as a syscall.RawConn, of which only Control works.
type rawAcceptor acceptor

func (a *rawAcceptor) Control(f func(fd uintptr)) error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return net.ErrClosed
	}
	f(uintptr(a.fd))
	return nil
}

func (a *rawAcceptor) Read(func(fd uintptr) bool) error  { return net.ErrClosed }
func (a *rawAcceptor) Write(func(fd uintptr) bool) error { return net.ErrClosed }
