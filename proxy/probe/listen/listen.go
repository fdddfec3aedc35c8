// Package listen implements a server that examines its clients, such as old devices and
// scanners, and delivers nothing. It takes malformed commands as if they were well formed,
// where it can understand them, and normally refuses each message at its end. It reports
// what is wrong with what a client sends, which rule or setting of smtpshim heals that,
// and what the client supports.
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

// A Listener is a server that examines its clients and delivers nothing. It accepts
// every command that it can understand, even a malformed one, to see as much of the
// client as possible, and refuses each message at its end. The fields Strict and Accept
// change that. A Listener discards messages while it reads them, and keeps no response
// of an AUTH exchange. A client is known by its IP address.
//
// In each session, the Listener behaves like one form of server. A client first meets a
// modern server. Until the client sends a message to its end, it meets other forms that
// may suit it, such as a server without STARTTLS. After that, it meets forms with which
// it may fail, such as a server that refuses EHLO. A client that has met all forms
// meets a modern server.
//
// Set the fields before Serve.
type Listener struct {
	Hostname string
	TLS      *tlspolicy.Acceptor // nil: STARTTLS is not offered

	// If Accept is true, the listener replies to the end of a message with 250
	// instead of a refusal. Some clients continue only then. They take the message
	// for delivered, although it is not.
	Accept bool

	// If Strict is true, the listener refuses EHLO, HELO, MAIL and RCPT commands
	// that have a fault. The fault is not reported if the client then sends the
	// command again without it. A strict listener also offers NTLM. A client that
	// has not sent a message to its end meets no other form than a modern server.
	Strict bool

	// Pause is how long the listener waits at points where a client must wait too,
	// to see whether the client speaks: before the greeting, between two lines of a
	// reply, and after what may be the end of a message. 0: it does not wait.
	Pause time.Duration

	// Timeout is the time limit of each read and write; 0: 2 minutes. The time limit of
	// a session is five times as long.
	Timeout time.Duration

	// Visited is called after each session that the listener has examined, one call
	// at a time. It may be nil.
	Visited func(Visit)

	// Mended is called at the beginning of each session of a client for which
	// [Caller.Mendable] is true. It returns a function take that handles the
	// session in place of the listener and returns at the end of the session, or
	// nil if the listener is to examine the session. Mended is called for one
	// session at a time, and must not block or call the listener. Mended may be
	// nil.
	Mended func(Caller) (take func(net.Conn))

	waits func(at string) time.Duration // for tests: the pause before "the greeting" or after a command; nil: Pause

	mu       sync.Mutex
	callers  map[netip.Addr]*Caller
	order    []*Caller
	sessions map[net.Conn]struct{}
	listener net.Listener
	closed   bool
	all      sync.WaitGroup
	telling  sync.Mutex
}

// The limits of a listener.
const (
	maxSessions = 20  // at a time
	maxCallers  = 256 // that are remembered
	maxFailures = 100 // failures to accept a connection, in a row
)

// Serve accepts connections from listener and examines their clients, until Close is
// called; then it returns nil. It returns an error if listener was closed by somebody
// else, or if no connection could be accepted for ten seconds. While 20 sessions are
// running, it refuses further ones with 421. After 256 clients, it refuses new clients
// with 421.
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

// begin starts a session. It returns false if there are too many.
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

// refuseSession tells a client that there are too many sessions. It does not wait for the
// client.
func refuseSession(conn net.Conn) {
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	conn.Write([]byte("421 4.3.2 too many sessions, or too many clients\r\n"))
	conn.Close()
}

// caller returns the record of the client at an address; nil: there are too many clients.
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

// end records what a session has shown and calls Visited.
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

// Close closes the listener of Serve and all connections, and waits until all sessions
// have ended.
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

// Callers returns what was found out so far about each client that has said something, in
// the order of the clients' first connections.
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

// A Visit is one session of a client, and what the session has shown.
type Visit struct {
	Client netip.Addr `json:"client"`
	// Session counts, from 1, the sessions in which the client has sent something;
	// 0: it has sent nothing in this one.
	Session int    `json:"session"`
	Form    string `json:"form"`    // the form of server that the client met
	Through bool   `json:"through"` // the client sent a message to its end
	Ended   string `json:"ended"`   // how the session ended
	// Faults, Notes and Can have only what no earlier session of the client has shown.
	// Notes are findings of the kind probe.Note.
	Faults []probe.Finding `json:"faults"`
	Notes  []probe.Finding `json:"notes"`
	Can    []string        `json:"can"` // what the client supports
	// Next is the form of server that the client meets in its next session. After a
	// session in which the client sent something, Next is "" if the client has met
	// all forms.
	Next string `json:"next"`
}

// A Caller is a client and what was found out about it.
type Caller struct {
	Client   netip.Addr `json:"client"`
	Sessions int        `json:"sessions"` // number of sessions in which it spoke
	// Through is the first form of server to which the client has sent a message to
	// its end; "": there is none.
	Through string          `json:"through"`
	Faults  []probe.Finding `json:"faults"`
	Notes   []probe.Finding `json:"notes"`
	Can     []string        `json:"can"`
	Untried []string        `json:"untried"` // forms of server still to meet

	tried  map[string]bool
	strict bool
	base   traits // traits of the form in which it delivered a message
	seen   history
	weak   tlspolicy.Weaknesses
	cbc    bool
	rows   []row  // rows of Faults
	idle   string // the form of the last session
}

func (c *Caller) copy() Caller {
	it := *c
	it.Faults, it.Notes, it.Can = slices.Clone(c.Faults), slices.Clone(c.Notes), slices.Clone(c.Can)
	it.rows, it.Untried, it.tried = slices.Clone(c.rows), c.untried(), maps.Clone(c.tried)
	return it
}

// learn records what a session has shown.
func (c *Caller) learn(s *session) Visit {
	v := Visit{Client: c.Client, Form: s.form.says, Through: s.through, Ended: s.ended}
	if !s.spoke {
		v.Next = c.next()
		return v
	}
	c.Sessions++
	v.Session = c.Sessions
	c.seen.add(s.seen)
	c.weak, c.cbc = c.weak|s.weak, c.cbc || s.cbc
	first := c.Through == ""
	// A session that ends before the client has met what is special about the form shows
	// nothing; the client may only check that the server is there. After two such
	// sessions, the form counts as met.
	shown := s.through || s.odd || s.lost
	if !s.form.harder || shown || c.idle == s.form.name {
		c.tried[s.form.name] = true
	}
	c.idle = s.form.name
	switch {
	case s.through && first:
		c.Through, c.base = s.form.says, s.form.traits
		s.found(s.needs(), "~ it gets through at "+c.Through+" first")
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
	v.Next = c.next()
	return v
}

// maxCan is the largest number of items in a list of what a client supports.
const maxCan = 32

func (l *Listener) pause(at string) time.Duration {
	if l.waits != nil {
		return l.waits(at)
	}
	return l.Pause
}

func (l *Listener) timeout() time.Duration { return cmp.Or(l.Timeout, 2*time.Minute) }
