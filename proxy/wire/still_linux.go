//go:build !portable

package wire

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What follows is for tests that move the clock of the loops.

// NextWake returns the earliest time at which the wait of a loop ends by itself. ok is
// false if none does.
func (ls *Loops) NextWake() (at time.Time, ok bool) {
	for _, l := range ls.running() {
		l.mu.Lock()
		if l.asleep && l.timeout >= 0 {
			if t := l.start.Add(l.wakes()); !ok || t.Before(at) {
				at, ok = t, true
			}
		}
		l.mu.Unlock()
	}
	return at, ok
}

// Wake ends each wait of a loop that would have ended by itself by now.
func (ls *Loops) Wake() {
	for _, l := range ls.running() {
		l.mu.Lock()
		if l.asleep && l.timeout >= 0 && l.wakes() <= l.now().Sub(l.start) {
			l.wake()
		}
		l.mu.Unlock()
	}
}

// wakes returns when the loop's wait ends by itself. The lock is held.
func (l *loop) wakes() time.Duration {
	return l.began + time.Duration(l.timeout)*time.Millisecond
}

func (ls *Loops) running() []*loop {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Clone(ls.all)
}

// An End is the state of a connection in a loop.
type End struct {
	Reads  bool // a session waits to read
	Unsent bool // the peer has not acknowledged all that was written
}

// Still reports whether every session in the loops waits, and nothing has come for which
// a session waits. Then moving is "", and ends has the connections, by the address of
// the peer. Otherwise moving says what moves. The result holds until a peer sends, reads
// or hangs up, or the clock moves.
func (ls *Loops) Still() (ends map[netip.AddrPort]End, moving string) {
	all := ls.running()
	for range 2 { // in the first round, a loop may hand something to one that was looked at before
		ends = map[netip.AddrPort]End{}
		for _, l := range all {
			if moving = l.moving(ends); moving != "" {
				return nil, moving
			}
		}
	}
	return ends, ""
}

// moving returns what moves in the loop; "": nothing does. It adds the loop's connections
// to ends.
func (l *loop) moving(ends map[netip.AddrPort]End) string {
	l.mu.Lock()
	all := slices.Clone(l.watched)
	asleep := l.asleep && len(l.due) == 0
	now := l.now().Sub(l.start)
	over := l.timeout >= 0 && l.wakes() <= now
	late := len(l.alarms) > 0 && l.alarms[0].at <= now
	l.mu.Unlock()
	switch {
	case !asleep:
		return "a loop runs"
	case over:
		return "the wait of a loop is over"
	case late:
		return "a loop sleeps, and its alarm is due"
	}
	c := census{ends: ends, waits: map[*Runner]bool{}}
	for _, w := range all {
		switch w := w.(type) {
		case *acceptor:
			c.accepts(w)
		case *socket:
			c.add(w)
		}
	}
	for _, waits := range c.waits {
		if !waits {
			return "a session runs in a loop, or is about to"
		}
	}
	if c.offLoop != 0 {
		return "a session runs outside its loop"
	}
	return c.moving
}

// A census is what the connections of a loop wait for. A session off the loop is still if
// as many goroutines wait as it has connections: it has one for each that it waits for.
type census struct {
	ends    map[netip.AddrPort]End
	waits   map[*Runner]bool
	offLoop int    // connections outside the loop, less the goroutines that wait for them
	moving  string // "": nothing
}

func (c *census) accepts(a *acceptor) {
	(*rawAcceptor)(a).Control(func(fd uintptr) {
		if polled(int(fd), unix.POLLIN) {
			c.moving = "a connection is to be accepted"
		}
	})
}

// add counts a connection. Its descriptor stays open while the lock is held.
func (c *census) add(s *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.moving = "a connection is being closed"
		return
	}
	fd := int(s.fd)
	acknowledge(fd)
	r := s.directions[reading].waiter
	_, idles := r.(*idle)
	switch {
	case idles: // runner may be another session's by now
	case s.runner == nil:
		c.offLoop++
	default:
		if _, known := c.waits[s.runner]; !known {
			c.waits[s.runner] = false
		}
	}
	for i, events := range [2]int16{unix.POLLIN | unix.POLLPRI | unix.POLLRDHUP, unix.POLLOUT} {
		switch w := s.directions[i].waiter.(type) {
		case nil:
			continue
		case *Runner:
			c.waits[w] = true
		case signal:
			c.offLoop--
		}
		if polled(fd, events) {
			c.moving = "something has come for a session"
		}
	}
	sent, held := unacknowledged(fd)
	if sent > held {
		c.moving = "octets are on their way from a session"
	}
	c.ends[s.remote] = End{Reads: r != nil, Unsent: sent > 0}
}

// OnTheirWay reports how many of the octets that were written to a socket are on their way,
// and how many are not acknowledged. It has what came for the socket acknowledged at once.
func OnTheirWay(fd uintptr) (onTheirWay, unacked int) {
	acknowledge(int(fd))
	sent, held := unacknowledged(int(fd))
	return sent - held, sent
}

// unacknowledged returns how many octets, or ends, of a socket are not acknowledged, and
// how many of those the kernel holds back, for want of room at the other end.
func unacknowledged(fd int) (all, held int) {
	all, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if all == 0 || isReset(fd) {
		return 0, 0
	}
	held, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQNSD) // last: what is sent in between is on its way
	return all, min(all, held)
}

// isReset reports whether a connection has ended for both sides, such as by a reset.
func isReset(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == unix.BPF_TCP_CLOSE
}

// acknowledge sends an acknowledgement that the kernel would delay.
func acknowledge(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }

// polled reports whether the kernel has any of these events of a descriptor, an error or a
// hangup.
func polled(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return n != 0
		}
	}
}
