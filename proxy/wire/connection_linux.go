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

	// Guarded by mu.
	closed  bool
	writes  bool // the kernel also reports room to write
	unclear bool // a read may find more than was reported: the end, an error, urgent octets

	mu         sync.Mutex
	directions [2]direction // reading, writing
	runner     *Runner      // what waits for it; nil: goroutines do
	calls      int          // under way on the descriptor
}

const (
	reading = iota
	writing
)

// A direction is reading or writing of a socket.
type direction struct {
	socket  *socket
	ready   bool // a call is worth trying
	drained bool // the call that is under way has found that another is not
	expired bool // its deadline has passed
	waiter  waiter
	signal  signal // nil: no goroutine has waited yet

	at    time.Duration // its deadline, from the start of the loop; 0: none
	place int           // among the alarms, from 1; 0: not there
}

// A waiter is woken when a direction is ready, has expired or is closed: once, with the
// lock of the socket held. So wake must not wait, nor touch the socket.
type waiter interface{ wake() }

// A signal wakes a goroutine.
type signal chan struct{}

func (s signal) wake() { s <- struct{}{} }

// received are the events that the kernel reports from the start, each time that more
// has come.
const received = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET

// newSocket makes a socket of a connection's descriptor, which it closes if it fails. What
// has come already is reported at the loop's next wait.
func (l *loop) newSocket(fd int, remote netip.AddrPort, events uint32) (*socket, error) {
	s := &socket{loop: l, fd: int32(fd), remote: remote, local: !remote.IsValid(), writes: events&unix.EPOLLOUT != 0}
	s.directions[reading].socket, s.directions[writing].socket = s, s
	s.directions[writing].ready = !s.writes
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
		s.directions[reading].isReady()
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.directions[writing].isReady()
	}
}

// session returns the session that waits for the socket; nil if none is known.
func (s *socket) session() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.directions[reading].waiter.(*idle); ok {
		return p.session
	}
	if s.runner != nil {
		return s.runner.session
	}
	return nil
}

func (w *direction) isReady() {
	w.ready = true
	w.wake()
}

func (w *direction) wake() {
	if waiter := w.waiter; waiter != nil {
		w.waiter = nil // before the call: one that panics is not woken again
		waiter.wake()
	}
}

// expire is called when an alarm is due.
func (w *direction) expire() {
	w.socket.mu.Lock()
	defer w.socket.mu.Unlock()
	if w.socket.loop.expired(w) {
		w.expired = true
		w.wake()
	}
}

// do calls f each time that the direction is ready, until f reports that it is done.
func (s *socket) do(which int, f func(fd uintptr) bool) error {
	w := &s.directions[which]
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

// attempt calls f for a direction that is ready. The direction stays ready if f is done
// and did not find that it has left nothing.
func (s *socket) attempt(w *direction, f func(fd uintptr) bool) (done bool) {
	w.ready, w.drained = false, false // before the call, so that an event during it is not lost
	if done = s.call(f); done {
		w.ready = w.ready || !w.drained || s.unclear
	}
	return done
}

// look calls f if the direction is ready, whatever the read deadline.
func (s *socket) look(f func(fd uintptr) bool) (looked bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.directions[reading]
	switch {
	case s.closed:
		return false, net.ErrClosed
	case !r.ready:
		return false, nil
	}
	s.attempt(r, f)
	return true, nil
}

// call calls f without the lock. The descriptor stays open meanwhile.
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

// wait waits until a direction is ready, has expired or is closed.
func (s *socket) wait(which int) {
	w := &s.directions[which]
	if which == writing && !s.writes {
		s.writes = true
		s.loop.control(unix.EPOLL_CTL_MOD, int(s.fd), received|unix.EPOLLOUT) // reported at once if there is room by now
	}
	if c := s.runner; c != nil {
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

// bind sets what waits from now on: a Runner, or goroutines (nil).
func (s *socket) bind(c *Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runner = c
}

// await has w woken when the next read would not wait. It returns false, and does not
// wake w, if that is so already.
func (s *socket) await(w waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.directions[reading]
	if s.closed || r.expired || s.readable() || r.expired || s.closed { // readable has released the lock meanwhile
		return false
	}
	r.waiter = w
	return true
}

// readable reports whether what the kernel has reported is still there. The lock is held,
// but not while it looks.
func (s *socket) readable() bool {
	r := &s.directions[reading]
	if r.ready {
		s.attempt(r, readable)
	}
	return r.ready
}

// unawait undoes await.
func (s *socket) unawait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.directions[reading].waiter = nil
}

// quiet is called within a read that do makes, once that has got less than it asked for:
// it has left nothing (epoll(7)).
func (s *socket) quiet() { s.directions[reading].drained = true }

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
	s.directions[reading].wake()
	s.directions[writing].wake()
	if s.calls == 0 {
		s.end()
	}
	return nil
}

// end closes the descriptor.
func (s *socket) end() {
	s.loop.alarm(&s.directions[reading], time.Time{})
	s.loop.alarm(&s.directions[writing], time.Time{})
	s.loop.unwatch(int(s.fd))
	s.loop.load.Add(-1)
	unix.Close(int(s.fd))
}

// CloseWrite tells the peer that nothing more will be sent. The socket can still be
// read.
func (s *socket) CloseWrite() error {
	var err error
	closed := (*rawSocket)(s).Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	if closed != nil {
		return closed
	}
	return os.NewSyscallError("shutdown", err)
}

// now returns the time by which the deadlines of the socket pass.
func (s *socket) now() time.Time { return s.loop.now() }

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
	w := &s.directions[which]
	if w.expired = !t.IsZero() && !s.now().Before(t); w.expired {
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
