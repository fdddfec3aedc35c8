//go:build !portable

package wire

import (
	"sync/atomic"
	"time"
)

// Leave takes a session off its loop until Return, for work that would keep the loop's
// other sessions waiting. When Leave returns, the caller runs on a goroutine. client
// and server are the session's legs; nil if there is no such leg. Until Return, any
// goroutine may wait for them.
func (r *Runner) Leave(client, server *Leg) {
	bind(nil, client, server)
	r.yield(toLeave)
}

// Return takes the session back to its loop, after Leave. client and server are the
// session's present legs, which may be others than those passed to Leave; nil if there is
// no such leg.
func (r *Runner) Return(client, server *Leg) {
	bind(r, client, server)
	r.yield(toReturn)
}

// bind sets what waits for the legs: a Runner, or goroutines (nil).
func bind(r *Runner, client, server *Leg) {
	if socket := client.socket(); socket != nil {
		socket.bind(r)
	}
	if socket := server.socket(); socket != nil {
		socket.bind(r)
	}
}

// socket returns the leg's socket in a loop; nil if it has none.
func (l *Leg) socket() *socket {
	if l == nil {
		return nil
	}
	conn := l.Conn
	if l.carrier != nil {
		conn = l.carrier.plain
	}
	s, _ := conn.(*socket)
	return s
}

// owns reports whether a socket is one of the session's connections.
func owns(s Session, socket *socket) bool {
	client, server := s.Legs()
	return client.socket() == socket || server.socket() == socket
}

// An idle session waits for the client, for the server, for the end of its time, or to
// be interrupted, whichever comes first. It has no Runner meanwhile, hence no stack, and
// no buffer.
type idle struct {
	session Session
	loop    atomic.Pointer[loop] // nil once it has been woken
}

func (i *idle) wake() {
	if l := i.loop.Swap(nil); l != nil {
		l.do(func() { l.begin(i.session.ResumeOn) })
	}
}

// MayIdle reports whether the session with the legs client and server can wait by Idle.
// If it can, until is the end of that wait, and the session must call Idle before it
// waits for anything else. MayIdle returns false if a leg is not in a loop, if octets
// of the client are buffered, or if the session has been interrupted.
func (r *Runner) MayIdle(client, server *Leg, until time.Time) bool {
	if r == nil || client.socket() == nil || server.socket() == nil || len(client.Buffered()) > 0 {
		return false
	}
	return client.setAlarm(until) == nil && server.setAlarm(time.Time{}) == nil && !client.woken.Load()
}

// Idle makes the session s wait without a Runner. The wait ends when the client or the
// server sends something or hangs up, at the time set by MayIdle, or by an
// interruption. If Idle returns true, the caller must not touch the session any more:
// the loop calls s.ResumeOn when the wait ends. If Idle returns false, the wait has
// ended already, and the caller continues the session.
func (r *Runner) Idle(s Session, client, server *Leg) bool {
	client.releaseIO()
	server.releaseIO()
	i := &idle{session: s}
	i.loop.Store(r.loop)
	if client.socket().await(i) && server.socket().await(i) {
		return true
	}
	client.socket().unawait()
	return i.loop.Swap(nil) == nil
}

// Resume makes r the Runner of a session that has waited by Idle: from now on r waits
// for the legs client and server. Session.ResumeOn calls Resume first.
func (r *Runner) Resume(client, server *Leg) {
	client.socket().unawait()
	server.socket().unawait()
	bind(r, client, server)
}
