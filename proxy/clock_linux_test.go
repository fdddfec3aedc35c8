//go:build !portable

package proxy

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/wire"
)

// A testClock is the clock of a proxy and its peers. It moves only when all of them wait and
// nothing is on its way, and then to the next time that one of them waits for. The peers
// wait by the clock alone, which tries what each of them waits for: one at a time.
type testClock struct {
	loops *wire.Loops // set before drive
	now   atomic.Int64
	ended chan struct{} // closed when drive has returned

	mu      sync.Mutex // no peer does anything while it is held
	running int        // peers that do not wait
	waits   []*clockWait
	conns   []*clockConn
	moved   int64  // octets that peers have read or written
	stuck   string // why the clock has given up; "": it has not
	stopped bool
}

// A clockWait is what a peer waits for: that ready returns true, or a time.
type clockWait struct {
	what  string
	ready func() bool // tries it, with the lock held; nil: until
	until time.Time
	woken chan struct{}
}

// clockPatience is how long the clock waits, by the clock of the machine, for everything to
// wait.
const clockPatience = testPatience / 4

func newTestClock(peers int) *testClock {
	k := &testClock{running: peers, ended: make(chan struct{})}
	k.now.Store(time.Now().UnixNano())
	return k
}

func (k *testClock) time() time.Time { return time.Unix(0, k.now.Load()) }

// wait is called by a peer, and returns when its wait has come true. It returns false if the
// clock gives up.
func (k *testClock) wait(w *clockWait) bool {
	w.woken = make(chan struct{})
	k.mu.Lock()
	k.running--
	if k.stuck == "" {
		k.waits = append(k.waits, w)
	} else {
		k.wake(w)
	}
	k.mu.Unlock()
	<-w.woken
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stuck == ""
}

func (k *testClock) wake(w *clockWait) {
	k.running++
	close(w.woken)
}

// await waits until ch is closed.
func (k *testClock) await(ch <-chan struct{}) bool {
	return k.wait(&clockWait{what: "another one", ready: func() bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}})
}

// leave is called by a peer that waits no more.
func (k *testClock) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running--
}

// drive moves the clock until stop. It gives up when something moves for too long, and then
// all waits fail.
func (k *testClock) drive() {
	defer close(k.ended)
	began, last := k.time(), time.Now()
	for ; ; runtime.Gosched() {
		k.loops.Wake()
		k.mu.Lock()
		moving := k.step()
		switch {
		case moving == "" && k.time().Sub(began) > day:
			k.giveUp("the clock moves on and on")
		case moving == "":
			last = time.Now()
		case time.Since(last) > clockPatience:
			k.giveUp(moving)
		}
		over := k.stopped || k.stuck != ""
		k.mu.Unlock()
		if over {
			return
		}
	}
}

// stop ends drive. It returns why the clock has given up; "": it has not.
func (k *testClock) stop() string {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	<-k.ended
	return k.stuck
}

func (k *testClock) giveUp(moving string) {
	k.stuck = moving
	for _, w := range k.waits {
		k.stuck += "; a peer waits for " + w.what
		k.wake(w)
	}
	k.waits = nil
}

// step wakes a peer whose wait has come true, or moves the clock. It returns what still
// moves; "" if the clock has moved. What it looks at first cannot begin to move later: the
// peers are looked at before the loops, to which they have sent, and then once more.
func (k *testClock) step() (moving string) {
	before := k.moved
	if moving = k.peersMove(); moving != "" {
		return moving
	}
	unsent, underWay := make([]bool, len(k.conns)), false
	for i, c := range k.conns {
		onTheirWay, unacked := c.onTheirWay()
		underWay, unsent[i] = underWay || onTheirWay > 0, unacked > 0
	}
	ends, moving := k.loops.Still() // also if octets are under way: it acknowledges what has come
	switch {
	case moving != "":
		return moving
	case underWay:
		return "octets are on their way from a peer"
	}
	for i, c := range k.conns {
		end, there := ends[c.at]
		switch {
		case c.waits && !there:
			return "the end of a connection is on its way to a peer, or its beginning to a loop"
		case c.waits && c.reads && end.Unsent:
			return "octets are about to be on their way to a peer"
		case end.Reads && unsent[i]:
			return "octets are about to be on their way from a peer"
		case end.Reads && c.closed:
			return "the end of a connection is on its way from a peer"
		}
	}
	if moving = k.peersMove(); moving != "" {
		return moving
	}
	if k.moved != before {
		return "a peer writes"
	}
	return k.next()
}

// peersMove wakes the first peer whose wait has come true. It returns "" if all peers wait.
func (k *testClock) peersMove() string {
	if k.running > 0 {
		return "a peer runs"
	}
	for i, w := range k.waits {
		if w.ready != nil && w.ready() {
			k.waits = slices.Delete(k.waits, i, i+1)
			k.wake(w)
			return "a peer goes on"
		}
	}
	return ""
}

// next wakes a peer that has slept long enough, or else moves the clock.
func (k *testClock) next() string {
	at, ok := k.loops.NextWake()
	first := -1
	for i, w := range k.waits {
		if w.ready == nil && (!ok || w.until.Before(at)) {
			at, ok, first = w.until, true, i
		}
	}
	switch {
	case !ok:
		return "all wait for one another"
	case first >= 0 && !k.time().Before(at):
		w := k.waits[first]
		k.waits = slices.Delete(k.waits, first, first+1)
		k.wake(w)
	default:
		k.now.Store(at.UnixNano())
	}
	return ""
}

// A clockConn is a peer's end of a connection. Its reads and writes wait by the clock, and
// know no deadlines.
type clockConn struct {
	*net.TCPConn
	clock *testClock
	at    netip.AddrPort

	waits, reads, closed bool // guarded by the lock of the clock
}

func (k *testClock) conn(conn net.Conn) *clockConn {
	c := &clockConn{TCPConn: conn.(*net.TCPConn), clock: k, at: netip.MustParseAddrPort(conn.LocalAddr().String())}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, c)
	return c
}

// sleep waits by the clock.
func (c *clockConn) sleep(d time.Duration) {
	c.clock.wait(&clockWait{what: "a time", until: c.clock.time().Add(d)})
}

// try waits until f, which must not wait, does not return EAGAIN.
func (c *clockConn) try(what string, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	ready := func() bool {
		if failed := raw.Control(func(fd uintptr) {
			for err = f(int(fd)); err == unix.EINTR; err = f(int(fd)) {
			}
		}); failed != nil {
			err = failed
		}
		c.waits, c.reads = err == unix.EAGAIN, what == "octets"
		return !c.waits
	}
	if !c.clock.wait(&clockWait{what: what, ready: ready}) {
		return unix.ETIMEDOUT
	}
	return err
}

func (c *clockConn) Read(b []byte) (n int, err error) {
	err = c.try("octets", func(fd int) (err error) {
		n, err = unix.Read(fd, b)
		c.clock.moved += int64(max(n, 0))
		return err
	})
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func (c *clockConn) Write(b []byte) (n int, err error) {
	err = c.try("room", func(fd int) error {
		for n < len(b) {
			m, err := unix.Write(fd, b[n:])
			if err != nil {
				return err
			}
			n += m
			c.clock.moved += int64(m)
		}
		return nil
	})
	return n, err
}

func (c *clockConn) Close() error {
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	c.closed = true
	return c.TCPConn.Close()
}

// onTheirWay is wire.OnTheirWay.
func (c *clockConn) onTheirWay() (onTheirWay, unacked int) {
	if c.closed {
		return 0, 0
	}
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { onTheirWay, unacked = wire.OnTheirWay(fd) })
	}
	return onTheirWay, unacked
}
