package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"smtpshim/proxy/probe"
	probelisten "smtpshim/proxy/probe/listen"
	"smtpshim/proxy/tlspolicy"
)

// A listenProbe examines the clients that connect to an address, until its context is
// done.
type listenProbe struct {
	address string
	accept  bool // answer the end of a message with 250, although the message is discarded
	asJSON  bool
	proxy   bool // examine a client with known faults again, through smtpshim
	pause   time.Duration

	listening func(net.Addr) // called with the address at which it listens; may be nil
}

// listenPause is the delay wherever a client must wait anyway.
const listenPause = 500 * time.Millisecond

// command runs the probe until a signal comes, unless the command line is also about a
// server.
func (p listenProbe) command(f *flag.FlagSet, stdout, stderr io.Writer) int {
	wrong := ""
	f.Visit(func(g *flag.Flag) {
		if !slices.Contains([]string{"listen", "accept", "json", "proxy"}, g.Name) {
			wrong = "-" + g.Name + " is about a server, and -listen examines clients"
		}
	})
	switch {
	case p.address == "":
		wrong = "-accept needs -listen ADDR, to which clients connect"
	case f.NArg() > 0:
		wrong = fmt.Sprintf("-listen examines clients, and %q would be a server; leave one of them out", f.Arg(0))
	}
	if wrong != "" {
		fmt.Fprintf(stderr, "smtpshim probe: %s\n\n", wrong)
		f.Usage()
		return misused
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		select {
		case <-failedOutput(stdout):
			cancel()
		case <-ctx.Done():
		}
	}()
	return p.run(ctx, stdout, stderr)
}

// run returns when ctx is done and what is known of each client has been printed.
func (p listenProbe) run(ctx context.Context, stdout, stderr io.Writer) int {
	fail := func(doing string, err error) int {
		fmt.Fprintf(stderr, "smtpshim probe: %s: %v\n", doing, err)
		return failed
	}
	acceptor, err := p.acceptor()
	if err != nil {
		return fail("making a certificate", err)
	}
	at, err := net.Listen("tcp", p.address)
	if err != nil {
		return fail("listening on "+p.address, err)
	}
	report := &listenReport{w: stdout, asJSON: p.asJSON}
	examiner := func() *probelisten.Listener {
		return &probelisten.Listener{Hostname: liveName(), TLS: acceptor, Accept: p.accept, Pause: p.pause}
	}
	mended := &mending{examiner: examiner, report: report, clients: map[netip.Addr]*mendedClient{}}
	l := examiner()
	where := p.address
	if strings.HasSuffix(where, ":0") {
		where = at.Addr().String()
	}
	l.Visited = func(v probelisten.Visit) { report.visit(v, proposed(l, mended, v, where)) }
	if p.proxy {
		l.Mended = mended.of
	}
	report.begin(at.Addr(), p.accept)
	if p.listening != nil {
		p.listening(at.Addr())
	}
	defer context.AfterFunc(ctx, l.Close)()
	err = l.Serve(at)
	l.Close() // waits for the sessions
	mended.end()
	if err != nil {
		return fail("taking sessions", err)
	}
	report.end(l.Callers(), mended.results(), where)
	if report.err != nil {
		return fail("printing", report.err)
	}
	return succeeded
}

// proposed returns the route through which the next session of a client goes; "": through
// none.
func proposed(l *probelisten.Listener, m *mending, v probelisten.Visit, address string) string {
	callers := l.Callers()
	at := slices.IndexFunc(callers, func(c probelisten.Caller) bool { return c.Client == v.Client })
	if l.Mended == nil || v.Next != "" || at < 0 || !m.takes(callers[at]) {
		return ""
	}
	return probelisten.Route(callers[at:at+1], address, "mail.example.com:25")
}

// acceptor returns an acceptor with a temporary certificate.
func (p listenProbe) acceptor() (*tlspolicy.Acceptor, error) {
	dir, err := os.MkdirTemp("", "smtpshim-probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	names := []string{liveName()}
	if host, _, err := net.SplitHostPort(p.address); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
			names = append(names, ip.WithZone("").String())
		}
	}
	return probelisten.Acceptor(dir, names...)
}

// A listenReport prints what was found out about clients.
type listenReport struct {
	w      io.Writer
	asJSON bool

	mu  sync.Mutex
	err error // the first error of printing JSON
}

func (r *listenReport) begin(at net.Addr, accept bool) {
	if r.asJSON {
		return
	}
	ends := "refused at its end with 554, so that nobody takes it for delivered"
	if accept {
		ends = "answered with 250 and discarded: its sender takes it for delivered, and it is not"
	}
	fmt.Fprintf(r.w, "Examining the clients that come to %s.\n\n", at)
	entry(r.w, 0, "", 0, "Nothing is delivered: each message is "+ends+". Have the client send a message there, and again as long as another session is "+
		"announced here. Logins are not printed. Ctrl-C ends this, and prints a route.")
	fmt.Fprintln(r.w)
}

// listenColumn is the column at which the texts about a client begin.
const listenColumn = 14

// visit prints one session, and the route through which the next one goes.
func (r *listenReport) visit(v probelisten.Visit, route string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asJSON {
		r.encode(v)
		return
	}
	if v.Session == 0 {
		fmt.Fprintf(r.w, "%s: a connection without a command\n\n", v.Client)
		return
	}
	fmt.Fprintf(r.w, "%s, session %d\n", v.Client, v.Session)
	done := "nothing new: it has met every form of server"
	if route != "" {
		done = "it goes through smtpshim with a route that heals it, because it has met every form of server:"
	}
	if r.session(v, done); route != "" {
		fmt.Fprintf(r.w, "\n%s", indented(route))
	}
	fmt.Fprintln(r.w)
	for _, f := range slices.Concat(v.Faults, v.Notes) {
		printFinding(r.w, f)
	}
}

// session prints what a session was like. done says what happens next if the client has
// met every form.
func (r *listenReport) session(v probelisten.Visit, done string) {
	r.line("Met:", v.Form)
	how := "it sent no message"
	if v.Through {
		how = "it sent a message to its end"
	}
	r.line("Did:", how+"; "+v.Ended)
	if v.Can != nil {
		r.line("Can:", strings.Join(v.Can, ", "))
	}
	next := v.Next
	if next == "" {
		next = done
	}
	r.line("Next:", next)
}

// line prints one fact about a client.
func (r *listenReport) line(name, text string) { entry(r.w, 2, name, listenColumn, text) }

// end prints what is known of all clients, and a route for them.
func (r *listenReport) end(callers []probelisten.Caller, mended map[netip.Addr]mendedResult, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	route := probelisten.Route(callers, address, "mail.example.com:25")
	if r.asJSON {
		r.encode(struct {
			Callers []probelisten.Caller        `json:"callers"`
			Mended  map[netip.Addr]mendedResult `json:"mended,omitempty"` // through smtpshim, with the route for the client
			Route   string                      `json:"route,omitempty"`
		}{callers, mended, route})
		return
	}
	for _, c := range callers {
		fmt.Fprintf(r.w, "%s, in all\n", c.Client)
		line := r.line
		line("Sessions:", fmt.Sprint(c.Sessions))
		if c.Through == "" {
			line("Through:", "it has not sent a complete message to any form of server")
		} else {
			line("Through:", "it sends a message to "+c.Through)
		}
		if c.Can != nil {
			line("Can:", strings.Join(c.Can, ", "))
		}
		line("Faults:", listed(c.Faults))
		line("Notes:", listed(c.Notes))
		if m, tried := mended[c.Client]; tried {
			line("Smtpshim:", m.String())
		}
		if c.Untried != nil {
			line("Not tried:", strings.Join(c.Untried, "; "))
		}
		line("Not seen:", "how long it waits for a reply, what it does after a 4xx, whether it stores a TLS session, and what it sends once a login is sealed")
		fmt.Fprintln(r.w)
	}
	switch {
	case callers == nil:
		fmt.Fprintln(r.w, "No client has sent anything.")
	case route == "":
		fmt.Fprintln(r.w, "There is nothing that a route could heal.")
	default:
		fmt.Fprintf(r.w, "A route that heals this; put your server in, and try it with \"smtpshim check\":\n\n%s", route)
	}
}

// listed names findings, each with its entry of the catalogue.
func listed(list []probe.Finding) string {
	if list == nil {
		return "none"
	}
	var names []string
	for _, f := range list {
		name := f.Name
		if f.Entry != "" {
			name += " (" + f.Entry + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func (r *listenReport) encode(v any) {
	if err := json.NewEncoder(r.w).Encode(v); err != nil && r.err == nil {
		r.err = err
	}
}
