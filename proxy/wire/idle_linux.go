//go:build !portable

package wire

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// listen has connections be accepted by sockets, which are doors of the loops from
// then on. Each loop keeps one of the runtime's processors (runtime.GOMAXPROCS) to
// itself, even while it waits. One is left for everything else, such as collecting
// garbage.
func (ls *Loops) Listen(sockets ...net.Listener) (*Listener, error) {
	if err := ls.start(); err != nil {
		return nil, err
	}
	p := &Listener{loops: ls}
	for _, socket := range sockets {
		d, err := newDoor(socket)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.Sockets = append(p.Sockets, d)
	}
	return p, nil
}

var errLoopsClosed = errors.New("the loops are closed")

// start starts as many loops as there are to be.
func (ls *Loops) start() error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return errLoopsClosed // nobody would close these
	}
	for n := max(runtime.GOMAXPROCS(0)-1, 1); len(ls.all) < n; {
		l, err := startLoop(ls)
		if err != nil {
			return err
		}
		ls.all = append(ls.all, l)
	}
	return nil
}

// letIn has a session opened for each connection, until p is closed.
func (p *Listener) Serve(open func(*Runner, net.Conn)) {
	p.open = open
	p.loops.mu.Lock()
	all := p.loops.all
	p.loops.mu.Unlock()
	for _, socket := range p.Sockets {
		socket.(*door).letIn(p, all)
	}
}

// run has f run in a loop, if there is one.
func (ls *Loops) Go(f func(*Runner)) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.all) == 0 {
		ls.crew.do(func() { f(nil) })
		return
	}
	l := ls.all[0]
	l.do(func() { l.begin(f) })
}

// leave has a session leave its loop, for what would keep that from the others, until
// comeBack. Meanwhile its connections can be waited for by any goroutine.
func (c *Runner) Leave(client, server *Leg) {
	bind(nil, client, server)
	c.yield(toLeave)
}

// comeBack has it return to the loop.
func (c *Runner) Return(client, server *Leg) {
	bind(c, client, server)
	c.yield(toReturn)
}

// bind says what waits for the legs: a coroutine, or goroutines (nil).
func bind(c *Runner, client, server *Leg) {
	if socket := client.socket(); socket != nil {
		socket.bind(c)
	}
	if socket := server.socket(); socket != nil {
		socket.bind(c)
	}
}

// socket is the leg's in a loop; nil if there is none.
func (l *Leg) socket() *socket {
	if l == nil {
		return nil
	}
	conn := l.Conn
	if l.wire != nil {
		conn = l.wire.plain
	}
	s, _ := conn.(*socket)
	return s
}

// owns says whether a socket is one of the session's connections.
func owns(s Session, socket *socket) bool {
	client, server := s.Legs()
	return client.socket() == socket || server.socket() == socket
}

// A parked session waits for the client, the server, the end of its time, or to be
// asked to leave, whichever comes first. It has no coroutine meanwhile, hence no
// stack, and no buffer.
type parked struct {
	owner Session
	loop  atomic.Pointer[loop] // nil: it has been woken
}

func (p *parked) wake() {
	if l := p.loop.Swap(nil); l != nil {
		l.do(func() { l.begin(p.owner.ResumeOn) })
	}
}

// mayPark says whether a session can be parked until a time, at most. The next thing
// that it does then is to park.
func (c *Runner) MayIdle(client, server *Leg, until time.Time) bool {
	if c == nil || client.socket() == nil || server.socket() == nil || len(client.Buffered()) > 0 {
		return false
	}
	return client.setAlarm(until) == nil && server.setAlarm(time.Time{}) == nil && !client.woken.Load()
}

// park has a session wait so. It is false if that cannot be done; else the session is
// somebody else's from here on.
func (c *Runner) Idle(s Session, client, server *Leg) bool {
	client.letGo()
	server.letGo()
	p := &parked{owner: s}
	p.loop.Store(c.loop)
	if client.socket().await(p) && server.socket().await(p) {
		return true
	}
	client.socket().unawait()
	return p.loop.Swap(nil) == nil
}

// unpark is the end of that: c waits for the connections from here on.
func (c *Runner) Resume(client, server *Leg) {
	client.socket().unawait()
	server.socket().unawait()
	bind(c, client, server)
}

// inLoop has the loop look at the server, if the session runs in one.
func (w *Watch) inLoop(wake func()) bool {
	server := w.server.socket()
	if server == nil || server.co == nil {
		return false
	}
	a := &alert{server.co.loop, func() {
		if !w.stopped {
			w.fired.Store(true)
			wake()
		}
	}}
	if w.server.Spoke() || !server.await(a) { // TLS may have read it already
		a.wake()
	}
	return true
}

func (w *Watch) leaveLoop() { w.server.socket().unawait() }

// An alert has the loop do something soon that cannot be done while it is given.
type alert struct {
	loop *loop
	do   func()
}

func (a *alert) wake() { a.loop.do(a.do) }
