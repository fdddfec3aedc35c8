//go:build !portable

package wire

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A socket is a connection in a loop: a net.Conn, and a syscall.Conn.
type socket struct {
	loop   *loop
	remote netip.AddrPort // zero if it is local
	fd     int32
	local  bool // in the file system

	// By mu.
	closed  bool
	writes  bool // the loop is told when there is room
	unclear bool // there may be more to read than was said: the end, an error, urgent octets

	mu    sync.Mutex
	ways  [2]way  // reading, writing
	co    *Runner // who waits; nil: goroutines do
	calls int     // on the descriptor, that are under way
}

const (
	reading = iota
	writing
)

// A way is one of the two of a socket.
type way struct {
	socket  *socket
	ready   bool // it may be of use to try
	drained bool // the call that is under way has found out that it is not
	expired bool // its deadline is over
	waiter  waiter
	signal  signal // nil: no goroutine has waited yet

	at    time.Duration // its deadline, from the start of the loop; 0: none
	place int           // among the alarms, from 1; 0: not there
}

// A waiter is who goes on when a way is ready, expired or closed. It is woken once.
type waiter interface{ wake() }

// A signal wakes a goroutine.
type signal chan struct{}

func (s signal) wake() { s <- struct{}{} }

// received is what a loop is told of at once, each time that more comes.
const received = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET

// newSocket has the loop look after a connection, which is closed if that cannot be.
// What has come already, it is told of at its next wait.
func (l *loop) newSocket(fd int, remote netip.AddrPort, events uint32) (*socket, error) {
	s := &socket{loop: l, fd: int32(fd), remote: remote, local: !remote.IsValid(), writes: events&unix.EPOLLOUT != 0}
	s.ways[reading].socket, s.ways[writing].socket = s, s
	s.ways[writing].ready = !s.writes
	if err := l.watch(s, fd, events); err != nil {
		l.unwatch(fd)
		unix.Close(fd)
		return nil, err
	}
	l.load.Add(1)
	return s, nil
}

func (s *socket) event(_ *loop, events uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unclear = s.unclear || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0
	if events&^unix.EPOLLOUT != 0 {
		s.ways[reading].isReady()
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.ways[writing].isReady()
	}
}

// session is the one that waits for the socket; nil if none is known to.
func (s *socket) session() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.ways[reading].waiter.(*parked); ok {
		return p.owner
	}
	if s.co != nil {
		return s.co.owner
	}
	return nil
}

func (w *way) isReady() {
	w.ready = true
	w.wake()
}

func (w *way) wake() {
	if waiter := w.waiter; waiter != nil {
		w.waiter = nil // before the call: one that panics is not woken again
		waiter.wake()
	}
}

// expire is what an alarm does.
func (w *way) expire() {
	w.socket.mu.Lock()
	defer w.socket.mu.Unlock()
	if w.socket.loop.isOver(w) {
		w.expired = true
		w.wake()
	}
}

// do has f called when it may be of use, until it is done.
func (s *socket) do(which int, f func(fd uintptr) bool) error {
	w := &s.ways[which]
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return net.ErrClosed
		case w.expired:
			return os.ErrDeadlineExceeded
		case !w.ready:
			s.wait(which)
			continue
		}
		if s.attempt(w, f) {
			return nil
		}
	}
}

// attempt has f called on a way that is ready. It stays so, if f is done and does not
// say that it has left nothing.
func (s *socket) attempt(w *way, f func(fd uintptr) bool) (done bool) {
	w.ready, w.drained = false, false // before the call: what comes during it is not lost
	if done = s.call(f); done {
		w.ready = w.ready || !w.drained || s.unclear
	}
	return done
}

// look has f called if it may be of use, whatever the read deadline.
func (s *socket) look(f func(fd uintptr) bool) (looked bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.ways[reading]
	switch {
	case s.closed:
		return false, net.ErrClosed
	case !r.ready:
		return false, nil
	}
	s.attempt(r, f)
	return true, nil
}

// call calls f without the lock, with a descriptor that stays open meanwhile.
func (s *socket) call(f func(fd uintptr) bool) bool {
	s.calls++
	s.mu.Unlock()
	defer func() { // also if f panics: the caller is about to unlock
		s.mu.Lock()
		if s.calls--; s.closed && s.calls == 0 {
			s.end()
		}
	}()
	return f(uintptr(s.fd))
}

// wait waits until a way is ready, expired or closed.
func (s *socket) wait(which int) {
	w := &s.ways[which]
	if which == writing && !s.writes {
		s.writes = true
		s.loop.control(unix.EPOLL_CTL_MOD, int(s.fd), received|unix.EPOLLOUT) // which tells at once if there is room by now
	}
	if c := s.co; c != nil {
		w.waiter = c
		s.mu.Unlock()
		c.yield(toWait)
	} else {
		if w.signal == nil {
			w.signal = make(signal, 1)
		}
		w.waiter = w.signal
		s.mu.Unlock()
		<-w.signal
	}
	s.mu.Lock()
}

// bind says who waits from now on: a coroutine, or goroutines (nil).
func (s *socket) bind(c *Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.co = c
}

// await has w woken when there is something to read, or that cannot be any more. It
// is false, and w is not woken, if that is so already.
func (s *socket) await(w waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.ways[reading]
	if s.closed || r.expired || s.readable() || r.expired || s.closed { // either may be so since it has looked
		return false
	}
	r.waiter = w
	return true
}

// readable looks whether what the kernel has told of is still there. The lock is held,
// but not while it looks.
func (s *socket) readable() bool {
	r := &s.ways[reading]
	if r.ready {
		s.attempt(r, readable)
	}
	return r.ready
}

// unawait takes await back.
func (s *socket) unawait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ways[reading].waiter = nil
}

// quiet says, within a read that do makes, that it has left nothing: it has got less
// than it wanted (epoll(7)).
func (s *socket) quiet() { s.ways[reading].drained = true }

func (s *socket) Read(b []byte) (n int, err error) {
	waited := s.do(reading, func(fd uintptr) bool {
		n, err = readNow(fd, b)
		return err != errNothing
	})
	if waited != nil {
		return 0, waited
	}
	return n, err
}

func (s *socket) Write(b []byte) (int, error) {
	w := partWritten{rest: b}
	err := s.do(writing, w.write)
	if err == nil {
		err = w.err
	}
	return len(b) - len(w.rest), err
}

func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	s.ways[reading].wake()
	s.ways[writing].wake()
	if s.calls == 0 {
		s.end()
	}
	return nil
}

// end closes the descriptor.
func (s *socket) end() {
	s.loop.alarm(&s.ways[reading], time.Time{})
	s.loop.alarm(&s.ways[writing], time.Time{})
	s.loop.unwatch(int(s.fd))
	s.loop.load.Add(-1)
	unix.Close(int(s.fd))
}

// CloseWrite is for the other side the end of what we send.
func (s *socket) CloseWrite() error {
	var err error
	closed := (*rawSocket)(s).Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	if closed != nil {
		return closed
	}
	return os.NewSyscallError("shutdown", err)
}

func (s *socket) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

func (s *socket) SetReadDeadline(t time.Time) error  { return s.setDeadline(reading, t) }
func (s *socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(writing, t) }

func (s *socket) setDeadline(which int, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	w := &s.ways[which]
	if w.expired = !t.IsZero() && time.Until(t) <= 0; w.expired {
		t = time.Time{}
		w.wake()
	}
	s.loop.alarm(w, t)
	return nil
}

func (s *socket) RemoteAddr() net.Addr { return s.addr(s.remote) }
func (s *socket) LocalAddr() net.Addr  { return s.addr(s.LocalAddrPort()) }

func (s *socket) addr(a netip.AddrPort) net.Addr {
	if s.local {
		return &net.UnixAddr{Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a)
}

func (s *socket) RemoteAddrPort() netip.AddrPort { return s.remote }

func (s *socket) LocalAddrPort() (a netip.AddrPort) {
	(*rawSocket)(s).Control(func(fd uintptr) {
		if name, err := syscall.Getsockname(int(fd)); err == nil {
			a = addrPortOf(int(fd), name)
		}
	})
	return a
}

func (s *socket) SyscallConn() (syscall.RawConn, error) { return (*rawSocket)(s), nil }

// A rawSocket is a socket as a syscall.RawConn.
type rawSocket socket

func (s *rawSocket) Read(f func(fd uintptr) bool) error  { return (*socket)(s).do(reading, f) }
func (s *rawSocket) Write(f func(fd uintptr) bool) error { return (*socket)(s).do(writing, f) }

func (s *rawSocket) Control(f func(fd uintptr)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	(*socket)(s).call(func(fd uintptr) bool {
		f(fd)
		return true
	})
	return nil
}
