// Package listen has a server that examines its clients and delivers nothing: it takes
// what an old device or a scanner says, and says what is wrong with that, which rule or
// setting of smtpshim heals it, and what the client can.
package listen

import (
	"cmp"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"smtpshim/proxy/probe"
	"smtpshim/proxy/tlspolicy"
)

// A Listener is a server that examines the clients that talk to it and delivers nothing.
// It takes whatever form of a command a client says, where that can be understood, so
// that as much as possible is seen of it, and answers the end of each message with a
// refusal. It forgets messages while it reads them, and keeps no response of an AUTH
// exchange.
//
// A client that does not come through meets the next of a table of forms at its next
// session, until it does; one that comes through meets forms of servers of other times.
// Set the fields before Serve.
type Listener struct {
	Hostname string
	TLS      *tlspolicy.Acceptor // nil: it offers no STARTTLS

	// Accept has it answer the end of a message with 250, for clients that go on only
	// then. They take the message for delivered, and it is not.
	Accept bool

	// Strict has it refuse EHLO, HELO, MAIL and RCPT where there is something wrong with them,
	// which counts only if the client does not do it right behind that. It is a server of
	// today first, which offers NTLM too, and then no easier ones.
	Strict bool

	// Pause is how long it waits where a client has to wait as well: before the greeting,
	// between two lines of a reply, and behind what may be the end of a message.
	Pause time.Duration

	// Timeout is for each read and write; 2 minutes if it is 0. A session is ended after
	// five times as long.
	Timeout time.Duration

	Visited func(Visit) // is told of each session when it is over, of one at a time; may be nil

	// Mended says who takes a session of a client that is [Caller.Mendable], and returns
	// when that is over; nil: it is examined here. It is called for one at a time, and must
	// not wait, nor call the listener.
	Mended func(Caller) (take func(net.Conn))

	waits func(at string) time.Duration // for tests: the pause at "the greeting" or behind a command; nil: Pause

	mu       sync.Mutex
	callers  map[netip.Addr]*Caller
	order    []*Caller
	sessions map[net.Conn]struct{}
	listener net.Listener
	closed   bool
	all      sync.WaitGroup
	telling  sync.Mutex
}

// Bounds of a listener.
const (
	maxSessions = 20  // at once
	maxCallers  = 256 // that are remembered
	maxFailures = 100 // of accepting, one behind the other
)

// Serve takes sessions until Close. Its error is nil then.
func (l *Listener) Serve(listener net.Listener) error {
	l.mu.Lock()
	l.listener = listener
	l.mu.Unlock()
	if l.isClosed() {
		return listener.Close()
	}
	for failures := 0; ; {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			failures = 0
		case l.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed) || failures == maxFailures:
			return err
		default:
			failures++
			time.Sleep(100 * time.Millisecond) // a shortage, such as of descriptors, may be over by then
			continue
		}
		if !l.begin(conn) {
			refuseSession(conn)
		}
	}
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// begin starts a session, unless there are too many.
func (l *Listener) begin(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.caller(addressOf(conn))
	if l.closed || c == nil || len(l.sessions) >= maxSessions {
		return false
	}
	if l.sessions == nil {
		l.sessions = map[net.Conn]struct{}{}
	}
	l.sessions[conn] = struct{}{}
	if l.mend(conn, c) {
		return true
	}
	s := newSession(l, conn, c)
	l.all.Go(func() {
		s.run()
		l.end(conn, c, s)
	})
	return true
}

// refuseSession tells a client that it is one too many. It does not wait.
func refuseSession(conn net.Conn) {
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	conn.Write([]byte("421 4.3.2 too many sessions, or too many clients\r\n"))
	conn.Close()
}

// caller returns what is known of the client at an address; nil: there are too many.
func (l *Listener) caller(address netip.Addr) *Caller {
	c := l.callers[address]
	if c == nil && len(l.callers) < maxCallers {
		if l.callers == nil {
			l.callers = map[netip.Addr]*Caller{}
		}
		c = &Caller{Client: address, tried: map[string]bool{}, strict: l.Strict}
		l.callers[address] = c
		l.order = append(l.order, c)
	}
	return c
}

// end learns from a session that is over, and tells of it.
func (l *Listener) end(conn net.Conn, c *Caller, s *session) {
	l.telling.Lock()
	defer l.telling.Unlock()
	l.mu.Lock()
	delete(l.sessions, conn)
	v := c.learn(s)
	l.mu.Unlock()
	if l.Visited != nil {
		l.Visited(v)
	}
}

// Close ends all sessions and waits for them.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	if l.listener != nil {
		l.listener.Close()
	}
	for conn := range l.sessions {
		conn.Close()
	}
	l.mu.Unlock()
	l.all.Wait()
}

// Callers returns what was found out about each client that has said something, in the
// order in which they came.
func (l *Listener) Callers() (list []Caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.order {
		if c.Sessions > 0 {
			list = append(list, c.copy())
		}
	}
	return list
}

func addressOf(conn net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// A Visit is one session of a client, and what was seen in it.
type Visit struct {
	Client  netip.Addr      `json:"client"`
	Session int             `json:"session"` // of this client's, from 1
	Form    string          `json:"form"`    // what the server was like
	Through bool            `json:"through"` // it has sent a message to its end
	Ended   string          `json:"ended"`   // how
	Faults  []probe.Finding `json:"faults"`  // that no session before has shown
	Notes   []probe.Finding `json:"notes"`   // likewise; what is right by the RFCs, and worth knowing
	Can     []string        `json:"can"`     // what it has shown to know, likewise
	Next    string          `json:"next"`    // the form of the next session; "": all have been met
}

// A Caller is a client, and what was found out about it.
type Caller struct {
	Client   netip.Addr      `json:"client"`
	Sessions int             `json:"sessions"` // in which it said something
	Through  string          `json:"through"`  // the form in which it first came through; "": in none
	Faults   []probe.Finding `json:"faults"`
	Notes    []probe.Finding `json:"notes"`
	Can      []string        `json:"can"`
	Untried  []string        `json:"untried"` // forms that it has not met

	tried  map[string]bool
	strict bool
	base   traits // of the form in which it came through
	seen   history
	weak   tlspolicy.Weaknesses
	cbc    bool
	rows   []row  // of the faults
	idle   string // the form of the last session
}

func (c *Caller) copy() Caller {
	it := *c
	it.Faults, it.Notes, it.Can = slices.Clone(c.Faults), slices.Clone(c.Notes), slices.Clone(c.Can)
	it.rows, it.Untried, it.tried = slices.Clone(c.rows), c.untried(), maps.Clone(c.tried)
	return it
}

// learn takes what a session has shown.
func (c *Caller) learn(s *session) Visit {
	v := Visit{Client: c.Client, Form: s.form.says, Through: s.through, Ended: s.ended}
	if !s.spoke {
		v.Next = c.form().says
		return v
	}
	c.Sessions++
	v.Session = c.Sessions
	c.seen.add(s.seen)
	c.weak, c.cbc = c.weak|s.weak, c.cbc || s.cbc
	first := c.Through == ""
	// A session that ends before the form has shown, as of those who only look whether
	// the server is there, says nothing; twice is enough.
	shown := s.through || s.odd || s.lost
	if !s.form.harder || shown || c.idle == s.form.name {
		c.tried[s.form.name] = true
	}
	c.idle = s.form.name
	switch {
	case s.through && first:
		c.Through, c.base = s.form.says, s.form.traits
		s.found(s.needs(), "~ it comes through at "+c.Through+" first")
	case !first && s.form.harder && !s.through && s.odd && !s.hasFound(s.form.row.name):
		s.found(s.form.row, "~ "+s.ended)
	}
	for _, f := range s.findings {
		into, news := &c.Faults, &v.Faults
		if f.note {
			into, news = &c.Notes, &v.Notes
		}
		if slices.ContainsFunc(*into, func(known probe.Finding) bool { return known.Name == f.Name }) {
			continue
		}
		*into, *news = append(*into, f.Finding), append(*news, f.Finding)
		if !f.note {
			c.rows = append(c.rows, f.row)
		}
	}
	for _, what := range s.can {
		if !slices.Contains(c.Can, what) && len(c.Can) < maxCan {
			c.Can, v.Can = append(c.Can, what), append(v.Can, what)
		}
	}
	if next := c.form(); next != forms()[0] {
		v.Next = next.says
	}
	return v
}

// maxCan is how much is listed of what a client can.
const maxCan = 32

func (l *Listener) pause(at string) time.Duration {
	if l.waits != nil {
		return l.waits(at)
	}
	return l.Pause
}

func (l *Listener) timeout() time.Duration { return cmp.Or(l.Timeout, 2*time.Minute) }
