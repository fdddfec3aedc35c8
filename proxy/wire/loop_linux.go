//go:build !portable

package wire

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A loop waits for the sockets of many sessions at once (epoll), and resumes the [Runner]
// of each session that has something to do. To the runtime all of that is one goroutine,
// which waits in one system call. Waking a goroutine for each command costs more than the
// session's own work for it: the scheduler looks for other work, wakes a thread, and has
// one more thread watch both.
type loop struct {
	loops *Loops
	epoll int
	bell  int // an eventfd, written to by whoever has something for a loop that waits
	start time.Time
	done  chan struct{}
	load  atomic.Int32 // sockets

	ephemeral ports // as of the start

	mu      sync.Mutex
	watched []watched // by descriptor
	due     []func()  // to be called next
	alarms  alarms
	asleep  bool // it waits in the kernel, or is about to
	closed  bool
	began   time.Duration // when that wait began, from start
	timeout int           // of that wait, in milliseconds; -1: none

	// Used only by the loop's own goroutine.
	resting []*Runner
	woke    time.Time // when the last wait ended

	waitFailed, controlFailed, bellFailed logLimiter
}

// watched is what the kernel reports events of to a loop.
type watched interface {
	// event is called by the loop that the event is reported to.
	event(l *loop, events uint32)
}

const (
	maxEvents = 128 // taken from the kernel at once

	// turn is how long a loop runs before it yields to the runtime's scheduler. After
	// 10 ms the runtime would preempt it, and its monitor thread would then wake up
	// every 20 us for a while.
	turn = 8 * time.Millisecond

	// heldTurn is how long one turn may take before it is counted: all other sessions
	// of the loop wait meanwhile.
	heldTurn = 100 * time.Millisecond

	// failedWait is how long a loop sleeps after the kernel has refused a wait.
	failedWait = 10 * time.Millisecond
)

// startLoop starts a loop. It runs until close.
func startLoop(ls *Loops) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	now := ls.config.Now()
	l := &loop{loops: ls, epoll: epoll, start: now, woke: now, done: make(chan struct{}), ephemeral: ephemeralPorts()}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := l.control(unix.EPOLL_CTL_ADD, l.bell, unix.EPOLLIN|unix.EPOLLET); err != nil {
		unix.Close(l.bell)
		unix.Close(epoll)
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *loop) now() time.Time { return l.loops.config.Now() }

func (l *loop) run() {
	defer close(l.done)
	events := make([]unix.EpollEvent, maxEvents)
	told := make([]watched, 0, maxEvents)
	var due []func()
	for turned := l.start; ; {
		now := l.now()
		if now.Sub(l.woke) > heldTurn {
			l.loops.turnsHeld.Add(1)
		}
		if now.Sub(turned) > turn {
			runtime.Gosched()
			turned = now
		}
		timeout, ok := l.sleep(now.Sub(l.start))
		if !ok {
			break
		}
		n := l.wait(events, timeout)
		l.woke = l.now()
		told = l.woken(told[:0], events[:n])
		l.each(len(told), func(i int) {
			if told[i] != nil {
				told[i].event(l, events[i].Events)
			}
		}, func(i int) watched { return told[i] })
		clear(told)
		l.ring()
		due = l.take(due[:0])
		l.each(len(due), func(i int) { due[i]() }, func(int) watched { return nil })
		clear(due)
	}
	for _, c := range l.resting {
		c.stop()
	}
	unix.Close(l.bell)
	unix.Close(l.epoll)
}

// sleep returns for how many milliseconds to wait, -1 for ever. From then on do and alarm
// ring the bell. It is not ok if the loop is closed.
func (l *loop) sleep(now time.Duration) (timeout int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.due) > 0:
		return 0, true
	case l.closed:
		return 0, false
	}
	l.asleep, l.began, l.timeout = true, now, l.alarms.wait(now)
	return l.timeout, true
}

// each calls f with 0 to n-1. After a panic it continues with the next.
func (l *loop) each(n int, f func(int), of func(int) watched) {
	for next := 0; next < n; {
		d := Contain(func() {
			for next < n {
				next++
				f(next - 1)
			}
		})
		if d != nil {
			l.defective(of(next-1), d)
		}
	}
}

// defective deals with a panic: it ends the session that w belongs to, or else logs it.
func (l *loop) defective(w watched, d *Defect) {
	if socket, ok := w.(*socket); ok {
		if s := socket.session(); s != nil && owns(s, socket) {
			l.loops.guard("ending a session", func() { s.Lose(d) })
			return
		}
	}
	l.loops.config.Defect(d, "running a loop")
}

// wait takes events from the kernel.
func (l *loop) wait(events []unix.EpollEvent, timeout int) int {
	n, err := unix.EpollWait(l.epoll, events, timeout)
	if err != nil && err != unix.EINTR {
		l.failed(&l.waitFailed, os.NewSyscallError("epoll_wait", err))
		time.Sleep(failedWait) // callbacks are still to be called, without taking a whole processor
	}
	return max(n, 0)
}

// failed logs an error of the kernel, at most once a second. Sessions of the loop may
// hang then until their deadlines.
func (l *loop) failed(last *logLimiter, err error) {
	if last.allows(l.now()) {
		l.loops.guard("logging", func() { l.loops.config.Logger().Error("a loop fails", "err", err) })
	}
}

// woken ends a wait. It appends to told what each event belongs to, nil for none.
func (l *loop) woken(told []watched, events []unix.EpollEvent) []watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
	for _, e := range events {
		var w watched
		if int(e.Fd) < len(l.watched) {
			w = l.watched[e.Fd]
		}
		told = append(told, w)
	}
	return told
}

// ring expires the directions whose deadlines have passed.
func (l *loop) ring() {
	for w := l.late(); w != nil; w = l.late() {
		if d := Contain(w.expire); d != nil {
			l.defective(w.socket, d)
		}
	}
}

// late returns one of those, without its alarm; nil if there is none.
func (l *loop) late() *direction {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.alarms) == 0 || l.alarms[0].at > l.woke.Sub(l.start) {
		return nil
	}
	return l.alarms.pop()
}

// expired reports whether the direction's deadline passed and was not moved since.
func (l *loop) expired(w *direction) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.place == 0 && w.at > 0
}

func (l *loop) take(due []func()) []func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	due, l.due = l.due, due
	return due
}

// do has the loop call f soon. Any goroutine may call it, with the lock of a socket held.
func (l *loop) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, f)
	l.wake()
}

// wake ends the wait that is under way, if there is one. The lock is held.
func (l *loop) wake() {
	if !l.asleep {
		return
	}
	l.asleep = false
	if err := ringBell(l.bell); err != nil {
		l.failed(&l.bellFailed, os.NewSyscallError("write", err))
	}
}

// ringBell adds one to an eventfd, which is an event each time (EPOLLET). Nobody reads its
// counter, which has 64 bits; should it ever be full, it starts again.
func ringBell(bell int) error {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, err := unix.Write(bell, one[:])
	if err == unix.EAGAIN {
		var counter [8]byte
		unix.Read(bell, counter[:])
		_, err = unix.Write(bell, one[:])
	}
	return err
}

// alarm sets the deadline of a direction; zero: none.
func (l *loop) alarm(w *direction, t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.IsZero() {
		l.alarms.remove(w)
		return
	}
	if first := l.alarms.set(w, max(t.Sub(l.start), 1)); first {
		l.wake()
	}
}

// watch has the kernel report events of a descriptor to the loop.
func (l *loop) watch(w watched, fd int, events uint32) error {
	l.mu.Lock()
	for len(l.watched) <= fd {
		l.watched = append(l.watched, nil)
	}
	l.watched[fd] = w
	l.mu.Unlock()
	return l.control(unix.EPOLL_CTL_ADD, fd, events)
}

// unwatch forgets a descriptor, which the caller closes next.
func (l *loop) unwatch(fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched[fd] = nil
}

func (l *loop) control(op, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	err := unix.EpollCtl(l.epoll, op, fd, &event)
	if err == nil || op == unix.EPOLL_CTL_DEL && err == unix.ENOENT { // an acceptor that pauses is deleted already
		return nil
	}
	err = os.NewSyscallError("epoll_ctl", err)
	l.failed(&l.controlFailed, err)
	return err
}

// close ends the loop. It must be called after the last session has ended.
func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	l.wake()
	l.mu.Unlock()
	<-l.done
}
