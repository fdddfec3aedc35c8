package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/proxy/probe"
	probelisten "smtpshim/proxy/probe/listen"
)

// A mending connects clients with known faults to smtpshim, with the route that heals
// these, and examines the result.
type mending struct {
	examiner func() *probelisten.Listener
	report   *listenReport

	mu      sync.Mutex
	clients map[netip.Addr]*mendedClient
}

// maxMended is the number of clients for which a route is tried. Each needs a proxy of
// its own.
const maxMended = 16

// A mendedClient is a client that talks to smtpshim, which talks to a listener.
type mendedClient struct {
	known    probelisten.Caller // without smtpshim
	listener *probelisten.Listener
	once     sync.Once
	address  string // of smtpshim
	err      error  // why smtpshim is not running
	stop     func()
}

// takes reports whether the next session of a client goes through smtpshim.
func (m *mending) takes(c probelisten.Caller) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.Mendable() && (m.clients[c.Client] != nil || len(m.clients) < maxMended)
}

// of connects a client to smtpshim; nil: there are too many.
func (m *mending) of(c probelisten.Caller) (take func(net.Conn)) {
	if !m.takes(c) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	client := m.clients[c.Client]
	if client == nil {
		client = &mendedClient{known: c, listener: m.examiner(), stop: func() {}}
		client.listener.Strict = true // some rules act after a server has refused something
		client.listener.Visited = func(v probelisten.Visit) { m.report.mended(client, v) }
		m.clients[c.Client] = client
	}
	return func(conn net.Conn) {
		client.once.Do(client.start)
		err := client.err
		if err == nil {
			err = client.pass(conn)
		}
		if err != nil {
			m.report.notMended(client, err)
		}
	}
}

// start runs the route for the client, in front of its listener.
func (c *mendedClient) start() {
	var at net.Listener
	if at, c.err = net.Listen("tcp", loopback); c.err != nil {
		return
	}
	go c.listener.Serve(at)
	c.stop = c.listener.Close
	here := c.known
	here.Client = netip.MustParseAddr("127.0.0.1") // the client as smtpshim sees it
	address, stop, err := startProposed(probelisten.Route([]probelisten.Caller{here}, "127.0.0.1:2525", at.Addr().String()))
	if c.err = err; err != nil {
		return
	}
	c.address, c.stop = address, func() {
		stop()
		c.listener.Close()
	}
}

// pass forwards a connection of the client to smtpshim until it ends.
func (c *mendedClient) pass(conn net.Conn) error {
	to, err := net.Dial("tcp", c.address)
	if err != nil {
		return err
	}
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := io.Copy(to, conn); errors.Is(err, net.ErrClosed) {
			to.Close() // the command is ending
		}
		to.(*net.TCPConn).CloseWrite()
	})
	io.Copy(conn, to)
	conn.Close()
	to.Close()
	up.Wait()
	return nil
}

// end stops everything when no client talks to it any more.
func (m *mending) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.clients {
		c.once.Do(func() {})
		c.stop()
	}
}

// A mendedResult is what was seen of a client without smtpshim and through it.
type mendedResult struct {
	Sessions int             `json:"sessions"` // sessions through smtpshim in which the client said something
	Through  string          `json:"through"`  // the form of the server behind it in which the client first came through; "": in none
	Without  int             `json:"without"`  // number of faults
	With     []probe.Finding `json:"with"`     // faults through smtpshim
	Untried  []string        `json:"untried"`  // forms of the server behind it that the client has not met
	Err      string          `json:"err,omitempty"`
}

func (c *mendedClient) result() mendedResult {
	r := mendedResult{Without: len(c.known.Faults)}
	for _, seen := range c.listener.Callers() { // there is one: smtpshim
		r.Sessions, r.Through, r.With, r.Untried = seen.Sessions, seen.Through, seen.Faults, seen.Untried
	}
	return r
}

// results returns the results of all clients. It must be called after end.
func (m *mending) results() map[netip.Addr]mendedResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[netip.Addr]mendedResult{}
	for address, c := range m.clients {
		r := c.result()
		if c.err != nil {
			r.Err = c.err.Error()
		}
		all[address] = r
	}
	return all
}

func (r mendedResult) String() string {
	switch {
	case r.Err != "":
		return "the route could not be tried out: " + r.Err
	case r.Sessions == 0:
		return "the client has sent nothing to it"
	}
	text := fmt.Sprintf("without: %s; with: %d, in %s", words.Plural(r.Without, "fault"), len(r.With), words.Plural(r.Sessions, "session"))
	if r.Through == "" {
		text += "; it has sent no message to its end"
	}
	if r.With != nil {
		text += "; what remains: " + listed(r.With)
	}
	if r.Untried != nil {
		text += "; not met through it: " + strings.Join(r.Untried, "; ")
	}
	return text
}

// mended prints one session that went through smtpshim.
func (r *listenReport) mended(c *mendedClient, v probelisten.Visit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := c.result()
	if v.Client = c.known.Client; r.asJSON {
		r.encode(struct {
			probelisten.Visit
			Smtpshim mendedResult `json:"smtpshim"` // the smtpshim that the session went through
		}{v, result})
		return
	}
	if v.Session == 0 {
		return
	}
	fmt.Fprintf(r.w, "%s, through smtpshim, session %d\n", v.Client, v.Session)
	r.session(v, "through smtpshim again: it has met every form there")
	r.line("Faults:", fmt.Sprintf("without: %d; with: %d", result.Without, len(result.With)))
	fmt.Fprintln(r.w)
	for _, f := range v.Faults {
		printFinding(r.w, f)
	}
}

// notMended prints why a session did not go through smtpshim.
func (r *listenReport) notMended(c *mendedClient, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asJSON {
		entry(r.w, 0, "", 0, fmt.Sprintf("%s did not come through to smtpshim: %v", c.known.Client, err))
		fmt.Fprintln(r.w)
	}
}
