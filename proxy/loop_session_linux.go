//go:build !portable

package proxy

import (
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// listening is a listener on these sockets, which are doors of the loops from then
// on. Each loop keeps one of the runtime's processors (runtime.GOMAXPROCS) to itself,
// even while it waits. One is left for everything else, such as collecting garbage.
func (p *Proxy) listening(sockets ...net.Listener) (*listener, error) {
	if err := p.startLoops(); err != nil {
		return nil, err
	}
	l := &listener{proxy: p}
	for _, socket := range sockets {
		d, err := newDoor(socket)
		if err != nil {
			l.close()
			return nil, err
		}
		l.sockets = append(l.sockets, d)
	}
	return l, nil
}

// startLoops starts as many loops as there are to be.
func (p *Proxy) startLoops() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return errStopped // nobody would close them
	}
	for n := max(runtime.GOMAXPROCS(0)-1, 1); len(p.loops) < n; {
		l, err := startLoop(p)
		if err != nil {
			return err
		}
		p.loops = append(p.loops, l)
	}
	return nil
}

// letIn lets clients in by one of the sockets.
func (l *listener) letIn(socket net.Listener) { socket.(*door).letIn(l, l.proxy.loops) }

// apart has a session leave its loop, for what would keep that from the others; back
// has it return. Meanwhile its connections can be waited for by any goroutine.
func (s *session) apart() (back func()) {
	c := s.co
	if c == nil {
		return func() {}
	}
	s.bind(nil)
	c.yield(toLeave)
	return func() {
		s.bind(c)
		c.yield(toReturn)
	}
}

// bind says what the session runs on: a coroutine, or a goroutine (nil).
func (s *session) bind(c *coroutine) {
	s.co = c
	for _, l := range []*leg{s.client, s.server} {
		if socket := l.socket(); socket != nil {
			socket.bind(c)
		}
	}
}

// socket is the leg's in a loop; nil if there is none.
func (l *leg) socket() *socket {
	if l == nil {
		return nil
	}
	conn := l.conn
	if l.wire != nil {
		conn = l.wire.plain
	}
	s, _ := conn.(*socket)
	return s
}

// owns says whether a socket is one of the session's connections.
func (s *session) owns(socket *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client.socket() == socket || s.server.socket() == socket
}

// A parked session waits for the client, the server, the end of its time, or to be
// asked to leave, whichever comes first. It has no coroutine meanwhile, hence no
// stack, and no buffer.
type parked struct {
	session *session
	loop    *loop
	gone    atomic.Bool
}

func (p *parked) wake() {
	if p.gone.CompareAndSwap(false, true) {
		p.loop.do(func() { p.loop.begin(p.resume) })
	}
}

func (p *parked) resume(c *coroutine) {
	s := p.session
	s.hold(func() {
		s.client.socket().unawait()
		s.server.socket().unawait()
		s.bind(c)
		s.resume()
	})
}

// park has the session wait so. It is false if that cannot be done; else the session
// is somebody else's from here on.
func (s *session) park(limit time.Time) bool {
	client, server := s.client.socket(), s.server.socket()
	if s.co == nil || client == nil || server == nil || len(s.client.buffered()) > 0 {
		return false
	}
	if s.client.setAlarm(limit) != nil || s.server.setAlarm(time.Time{}) != nil || s.client.woken.Load() {
		return false
	}
	s.idleUntil = limit.Sub(s.began)
	s.dialogue.Rest()
	s.client.letGo()
	s.server.letGo()
	p := &parked{session: s, loop: s.co.loop}
	if client.await(p) && server.await(p) {
		return true
	}
	client.unawait()
	return !p.gone.CompareAndSwap(false, true)
}

// inLoop has the loop look at the server, if the session runs in one.
func (w *watch) inLoop(wake func()) bool {
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
	if w.server.spoke() || !server.await(a) { // TLS may have read it already
		a.wake()
	}
	return true
}

func (w *watch) leaveLoop() { w.server.socket().unawait() }

// An alert has the loop do something soon that cannot be done while it is given.
type alert struct {
	loop *loop
	do   func()
}

func (a *alert) wake() { a.loop.do(a.do) }
