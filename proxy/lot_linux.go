package proxy

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A lot is where idle sessions wait: for the client, the server, the end of
// their time, or to be asked to leave, whichever comes first. They hold no
// goroutine there, hence no stack, and no buffer. One goroutine waits for all
// of them, on an epoll instance of their own that Go's poller waits for.
type lot struct {
	file *os.File
	raw  syscall.RawConn
	done chan struct{}

	mu     sync.Mutex
	parked map[int32]*parked // by the client's descriptor
}

// parked is a session in the lot.
type parked struct {
	session *session
	fds     [2]int32
	timer   *time.Timer
}

func newLot() (*lot, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile does not have it polled
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &lot{file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), parked: map[int32]*parked{}}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.file.Close()
		return nil, err
	}
	go l.run()
	return l, nil
}

// run lets sessions go on whose client or server has done something.
func (l *lot) run() {
	defer close(l.done)
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := l.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			l.leave(e.Fd)
		}
	}
}

// park has a session, whose client and server have these descriptors, wait until
// the deadline. It is false if that cannot be done; else the session is somebody
// else's from here on.
func (l *lot) park(s *session, fds [2]int32, until time.Time) bool {
	client, server := fds[0], fds[1]
	l.mu.Lock()
	defer l.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: client}
	if l.control(unix.EPOLL_CTL_ADD, client, &event) != nil {
		return false
	}
	if l.control(unix.EPOLL_CTL_ADD, server, &event) != nil {
		l.control(unix.EPOLL_CTL_DEL, client, nil)
		return false
	}
	if s.draining.Load() || s.proxy.ending.Err() != nil { // whoever asked may have looked here already
		l.control(unix.EPOLL_CTL_DEL, client, nil)
		l.control(unix.EPOLL_CTL_DEL, server, nil)
		return false
	}
	timer := time.AfterFunc(time.Until(until), func() { l.leave(client) })
	l.parked[client] = &parked{session: s, fds: fds, timer: timer}
	return true
}

func (l *lot) control(op int, fd int32, event *unix.EpollEvent) error {
	var result error
	if err := l.raw.Control(func(epoll uintptr) { result = unix.EpollCtl(int(epoll), op, int(fd), event) }); err != nil {
		return err
	}
	return result
}

// leave lets the session go on that waits under this descriptor, if one does.
func (l *lot) leave(client int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.parked[client]
	if p == nil {
		return
	}
	delete(l.parked, client)
	p.timer.Stop()
	for _, fd := range p.fds {
		l.control(unix.EPOLL_CTL_DEL, fd, nil)
	}
	p.session.proxy.crew.do(p.session.resume)
}

// resume goes on with a session that was parked, on a new goroutine.
func (s *session) resume() {
	s.now = time.Now()
	if s.server.spoke() {
		if err := s.unasked(nil); err != nil {
			s.finish()
			return
		}
	}
	s.run()
}

// leaveAll lets all sessions go on.
func (l *lot) leaveAll() {
	l.mu.Lock()
	waiting := make([]int32, 0, len(l.parked))
	for client := range l.parked {
		waiting = append(waiting, client)
	}
	l.mu.Unlock()
	for _, client := range waiting {
		l.leave(client)
	}
}

func (l *lot) close() {
	l.file.Close()
	<-l.done
}
