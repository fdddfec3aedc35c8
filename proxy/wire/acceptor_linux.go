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

// A door is a listening socket in loops: a net.Listener that nobody but those can
// accept from, and a syscall.Conn.
type door struct {
	fd   int
	addr net.Addr

	mu     sync.RWMutex // whoever accepts reads
	loops  []*loop
	at     *Listener // whose it is; nil: nobody is let in yet
	unlink bool      // from the file system, when it is closed
	closed bool
	shut   *time.Timer // nil: it is not
}

// newDoor makes a door of a listener of package net, which is of no more use then.
func newDoor(from net.Listener) (*door, error) {
	defer from.Close()
	fd, err := DuplicateSocket(from)
	if err != nil {
		return nil, err
	}
	d := &door{fd: fd, addr: from.Addr()}
	if local, ok := from.(*net.UnixListener); ok {
		d.unlink = true
		local.SetUnlinkOnClose(false)
	} else if err := noDelay(d.fd); err != nil { // which connections inherit
		unix.Close(d.fd)
		return nil, err
	}
	return d, nil
}

// Accept is for net.Listener.
func (d *door) Accept() (net.Conn, error) { return nil, net.ErrClosed }

func (d *door) Addr() net.Addr { return d.addr }

func (d *door) SetUnlinkOnClose(unlink bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unlink = unlink
}

// Close lets nobody in any more, once it returns.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.closed = true
	if d.shut != nil {
		d.shut.Stop()
	}
	for _, l := range d.loops {
		l.control(unix.EPOLL_CTL_DEL, d.fd, 0) // whoever handed us the socket may have it open still
		l.unwatch(d.fd)
	}
	unix.Close(d.fd)
	if d.unlink {
		os.Remove(d.addr.String())
	}
	return nil
}

// letIn lets clients in, each by one of the loops, or tries to again after a while.
func (d *door) letIn(at *Listener, loops []*loop) {
	if err := d.open(at, loops); err != nil {
		d.fails(err)
	}
}

func (d *door) open(at *Listener, loops []*loop) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.at, d.loops, d.shut = at, loops, nil
	for _, l := range loops {
		if err := l.watch(d, d.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE); err != nil {
			return err
		}
	}
	return nil
}

// event lets one client in; if there are more, the loop hears of it again.
func (d *door) event(l *loop, _ uint32) {
	s, at, err := d.accept(l)
	begin := func(c *Runner) {
		s.bind(c)
		at.open(c, s)
	}
	switch {
	case err == nil && s.loop == l:
		l.begin(begin)
	case err == nil:
		s.loop.do(func() { s.loop.begin(begin) })
	case err == syscall.EAGAIN, err == syscall.EINTR, err == syscall.ECONNABORTED: // another loop has taken it, or it has gone
	default:
		d.fails(os.NewSyscallError("accept4", err))
	}
}

// accept takes a connection, and has it arrive before anybody who closes the door
// can ask whether somebody does.
func (d *door) accept(l *loop) (*socket, *Listener, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return nil, nil, syscall.EAGAIN
	}
	fd, name, err := syscall.Accept4(d.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	s, err := d.lightest(l).newSocket(fd, addrPortOf(fd, name), received)
	if err != nil {
		return nil, nil, err
	}
	d.at.accepted()
	return s, d.at, nil
}

// lightest is a loop for one session more: this one, unless another has far less to
// do. The kernel tends to wake the same one as long as that is not busy.
func (d *door) lightest(l *loop) *loop {
	best, least := l, l.load.Load()/2-8
	for _, other := range d.loops {
		if n := other.load.Load(); n < least {
			best, least = other, n
		}
	}
	return best
}

// fails shuts the door for a while: what there is too little of now, such as
// descriptors, may be there again then.
func (d *door) fails(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.shut != nil {
		return
	}
	for _, l := range d.loops {
		l.control(unix.EPOLL_CTL_DEL, d.fd, 0)
	}
	at, loops := d.at, d.loops
	d.shut = time.AfterFunc(at.failed(d.addr, err), func() {
		at.loops.guard("accepting connections", func() { d.letIn(at, loops) })
	})
}

func (d *door) SyscallConn() (syscall.RawConn, error) { return (*rawDoor)(d), nil }

// A rawDoor is a door as a syscall.RawConn, of which it has Control.
type rawDoor door

func (d *rawDoor) Control(f func(fd uintptr)) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return net.ErrClosed
	}
	f(uintptr(d.fd))
	return nil
}

func (d *rawDoor) Read(func(fd uintptr) bool) error  { return net.ErrClosed }
func (d *rawDoor) Write(func(fd uintptr) bool) error { return net.ErrClosed }
