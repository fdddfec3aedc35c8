// Package proxy does the input and output of SMTP sessions: it listens, dials, and does TLS
// on either side. Package rewrite decides what to do with each line and each reply, and
// package proxy carries it out.
//
// A [Proxy] serves [Route]s. Each connection of a client is a session. A session serves the
// client and the server in turn, with a time limit on every wait. On Linux, sessions run as
// coroutines in a few loops; elsewhere each session has a goroutine. The route's [Observer]
// is told what happens.
package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A Proxy listens on the addresses of its routes, which Apply sets, and serves the
// clients that connect. The zero value has no routes and is ready for use. Its fields
// are to be set before the first Apply or Serve. Its methods are safe for concurrent
// use.
type Proxy struct {
	Logger *slog.Logger // nil: slog.Default
	// Inherited are the listening sockets that another process has handed to us. The
	// key is the entry of Route.Listen that stands for the sockets: an address or any
	// other name.
	Inherited map[string][]*os.File

	applying sync.Mutex // held by Apply, which may wait for names and files

	// mu guards what follows. Loops wait for it, so whoever holds it must not block.
	mu        sync.Mutex
	listeners map[string]*listener // by address as in the route
	sessions  map[*session]struct{}
	census    map[string]*census        // by name of the route
	hops      map[hop]*session          // the sessions to original destinations, by connection
	fleets    map[string]*servers.Fleet // by name of the route
	routes    []*running
	checks    sync.WaitGroup     // the health checks that run
	unchecked context.CancelFunc // ends the health checks
	loops     *wire.Loops        // run the sessions
	turns     *rewrite.Turns     // the turns of sessions in all loops
	arriving  sync.WaitGroup     // acceptors, and connections that have not entered yet
	stopped   bool               // the proxy no longer listens
	draining  bool               // sessions are asked to leave
	none      chan struct{}      // nil until noneLeft; closed when no session is left

	ending context.Context // done when all connections that are left must be closed
	end    context.CancelFunc
	// dial dials a server in tests; nil: dialServer does. It obeys the deadline of ctx
	// without a timer of ctx.
	dial func(ctx context.Context, server string) (net.Conn, error)

	addresses func() ([]net.Addr, error) // this machine's addresses; nil: net.InterfaceAddrs

	clock func() time.Time // returns the time, for sessions and loops; tests set one that they move

	id atomic.Uint64
}

// TurnsHeld returns how many turns of the loops have taken more than 100 ms. A turn is
// what a loop does from one wait to the next. The loop's other sessions wait meanwhile.
// The result is 0 where there are no loops.
func (p *Proxy) TurnsHeld() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loops == nil {
		return 0
	}
	return p.loops.HeldTurns()
}

// A running is a route that is being served, with what its sessions share.
type running struct {
	*Route
	policy rewrite.Policy
	dialer Dialer

	fleet     *servers.Fleet
	standings []*servers.Server // what is known of each of Route.Servers

	lessons lessons
}

func newRunning(r *Route, hostname string) *running {
	run := &running{Route: r}
	run.joins(&servers.Fleet{})
	run.policy = rewrite.Policy{
		Rules: r.Rules, Observed: r.Observed, ClientTLS: r.ClientTLS.Mode, ServerTLS: r.ServerTLS.Mode,
		Hostname: hostname, Limits: r.Limits.forDialogue(), VerifiesServer: r.ServerTLS.Verified, ClearLogin: r.ServerTLS.ClearLogin,
		XCLIENT: r.XCLIENTSend, XCLIENTFrom: r.XCLIENTFrom, Afresh: r.ProxySend != header.None || r.Source.Client,
		Groups: r.EarlyCommands == EarlyShown, Logins: r.Logins, Stamp: stamp,
	}
	if run.dialer = r.ServerTLS.Dialer; run.dialer == nil {
		run.dialer = DialWith(&tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: r.ServerTLS.Mode == rewrite.ServerTLSOpportunistic, // RFC 7435, 3: better than clear text
		})
	}
	return run
}

// joins makes f the fleet of the route. What f knows of the route's servers is kept.
func (r *running) joins(f *servers.Fleet) {
	r.fleet, r.standings = f, f.Join(r.Servers, r.Health.Interval > 0)
}

// Apply makes the proxy serve routes and no others. It begins to listen at new
// addresses, stops listening at addresses that no route has any more, and keeps the
// listeners of the others. Sessions under way go on with the route that they began
// with. If Apply returns an error, the proxy serves the routes that it served before.
// Apply always fails after Retire, Drain or Close. The routes must not be changed after
// the call.
func (p *Proxy) Apply(routes []*Route) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	listeners, err := p.listenersNow()
	if err != nil {
		return err
	}
	wanted, runs := map[string]*running{}, make([]*running, 0, len(routes))
	hostname := ownName()
	for _, r := range routes {
		if r.ClientTLS.Mode >= rewrite.ClientTLSOffer && r.ClientTLS.Acceptor == nil {
			return fmt.Errorf("route %s: client TLS %v needs an Acceptor", r.Name, r.ClientTLS.Mode)
		}
		if err := r.checkNetwork(); err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
		run := newRunning(r, hostname)
		run.policy.Turns = p.turns
		runs = append(runs, run)
		for _, address := range r.Listen {
			if wanted[address] != nil {
				return fmt.Errorf("route %s: listening on %s: route %s does already", r.Name, address, wanted[address].Name)
			}
			wanted[address] = run
		}
	}
	opened := map[string]*listener{}
	for address, run := range wanted {
		l, err := listeners[address], error(nil)
		if l == nil {
			if l, err = p.listen(address, run.Route); err == nil {
				opened[address] = l
			}
		}
		if path, ok := socketPath(address); ok && err == nil {
			err = os.Chmod(path, cmp.Or(run.ListenMode, DefaultListenMode))
		}
		if err == nil && run.Transparent {
			err = l.beTransparent()
		}
		if err != nil {
			closeAll(opened)
			return fmt.Errorf("route %s: %w", run.Name, err)
		}
	}
	left, err := p.putInForce(runs, wanted, opened)
	if err != nil {
		left = opened
	}
	closeAll(left)
	return err
}

var errStopped = errors.New("applying routes: the proxy listens no more")

// listenersNow returns the present listeners, by address.
func (p *Proxy) listenersNow() (map[string]*listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepare()
	if p.stopped {
		return nil, errStopped
	}
	return maps.Clone(p.listeners), nil
}

// putInForce makes the proxy serve the routes of runs. wanted has the route of each address
// to listen on, and opened the listeners that are new. putInForce returns the listeners that
// are no longer wanted, which the caller closes.
func (p *Proxy) putInForce(runs []*running, wanted map[string]*running, opened map[string]*listener) (left map[string]*listener, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, errStopped
	}
	p.serve(runs)
	return p.replace(wanted, opened), nil
}

func closeAll(listeners map[string]*listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// prepare initialises the Proxy, unless it was called before. The caller holds p.mu.
func (p *Proxy) prepare() {
	if p.sessions != nil {
		return
	}
	p.sessions = map[*session]struct{}{}
	if p.clock == nil {
		p.clock = time.Now
	}
	p.census = map[string]*census{}
	p.listeners = map[string]*listener{}
	p.ending, p.end = context.WithCancel(context.Background())
	p.unchecked = func() {}
	p.turns = rewrite.NewTurns(maxTurns)
	p.loops = wire.NewLoops(wire.Config{
		Logger: p.logger, Defect: func(d *wire.Defect, doing string) { p.reportDefect(d, doing) }, Arriving: &p.arriving, Done: p.ending.Done(), Now: p.clock,
	})
	p.id.Store(rand.Uint64() >> 24)
}

// serve makes runs the routes of the proxy, keeps what is known of their servers, and starts
// their health checks. The caller holds p.mu.
func (p *Proxy) serve(runs []*running) {
	p.unchecked()
	ctx, cancel := context.WithCancel(p.ending)
	fleets := make(map[string]*servers.Fleet, len(runs))
	for _, r := range runs {
		if known := p.fleets[r.Name]; known != nil {
			r.joins(known)
		}
		fleets[r.Name] = r.fleet
		p.startChecks(ctx, r)
	}
	p.unchecked, p.fleets, p.routes = cancel, fleets, runs
}

// replace installs the listeners of Apply, and starts those that are new. It returns the
// listeners that are no longer wanted. The caller holds p.mu.
func (p *Proxy) replace(wanted map[string]*running, opened map[string]*listener) (left map[string]*listener) {
	left = map[string]*listener{}
	for address, l := range p.listeners {
		if wanted[address] == nil {
			left[address] = l
			delete(p.listeners, address)
		}
	}
	for address, run := range wanted {
		if l := opened[address]; l != nil {
			p.listeners[address] = l
		}
		p.listeners[address].route.Store(run)
	}
	for address, l := range opened {
		_, local := socketPath(address)
		for _, socket := range l.Sockets {
			if local {
				unlinkOnClose(socket, true) // also if it was handed to us
			}
		}
		l.begin(p)
	}
	return left
}

// Addr returns the address that the proxy listens on for entry, an entry of
// Route.Listen. It returns nil if the proxy does not listen for entry. If the port in
// entry is 0, the result has the real port.
func (p *Proxy) Addr(entry string) net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.listeners[entry]; l != nil {
		return l.Sockets[0].Addr()
	}
	return nil
}

// Sessions returns the number of sessions under way.
func (p *Proxy) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

// Drain stops listening and ends idle sessions with 421. A session is idle if it waits
// for a command and no transaction is open. The others go on until they are idle or
// end. Drain returns nil when no session is left. If ctx ends first, Drain closes the
// sessions that are left and returns the error of ctx. A message under way is then cut
// off before its final dot.
func (p *Proxy) Drain(ctx context.Context) error {
	none := p.askToLeave()
	defer p.closeLoops()
	defer p.checks.Wait()
	defer p.end()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
	}
	p.closeSessions()
	<-none
	return ctx.Err()
}

// closeLoops ends the loops and the turns. No session may be left.
func (p *Proxy) closeLoops() {
	p.loops.Close()
	p.turns.Close()
}

// maxTurns bounds how many turns keep their stacks for reuse.
const maxTurns = 16

// Close stops listening, closes all sessions at once, and waits until they have ended.
// A message under way is cut off before its final dot. The error is always nil.
func (p *Proxy) Close() error {
	none := p.askToLeave()
	p.closeSessions()
	<-none
	p.checks.Wait()
	p.closeLoops()
	return nil
}

// askToLeave stops listening and asks every session to end as soon as it can. It returns the
// channel of noneLeft.
func (p *Proxy) askToLeave() (none <-chan struct{}) {
	p.stopListening(true)
	p.mu.Lock()
	p.unchecked()
	p.draining = true
	for s := range p.sessions {
		s.draining.Store(true)
		s.wake()
	}
	p.mu.Unlock()
	return p.noneLeft()
}

// stopListening closes the listeners for good. unlink says whether to remove the sockets in
// the file system.
func (p *Proxy) stopListening(unlink bool) {
	p.mu.Lock()
	p.prepare()
	p.stopped = true
	listeners := p.listeners
	p.listeners = map[string]*listener{}
	p.mu.Unlock()
	for _, l := range listeners {
		for _, socket := range l.Sockets {
			if !unlink {
				unlinkOnClose(socket, false)
			}
		}
		l.Close()
	}
}

// noneLeft returns a channel that is closed when no session is left. The proxy must not listen
// any more. noneLeft first waits until each connection that was accepted is a session or was
// refused.
func (p *Proxy) noneLeft() <-chan struct{} {
	p.arriving.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.none == nil {
		p.none = make(chan struct{})
		if len(p.sessions) == 0 {
			close(p.none)
		}
	}
	return p.none
}

func (p *Proxy) closeSessions() {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		s.kill()
	}
}

// admit counts a session for its route, or returns why it is refused. The client's address
// may not be known yet.
func (p *Proxy) admit(s *session) (refusal vocabulary.Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return vocabulary.RejectionDraining
	}
	c := p.census[s.route.Name]
	if c == nil {
		c = &census{from: map[netip.Prefix]int{}}
		p.census[s.route.Name] = c
	}
	if c.all >= s.route.Limits.sessions() {
		return vocabulary.RejectionSessions
	}
	c.all++
	s.placed = true
	p.sessions[s] = struct{}{}
	return ""
}

// locate counts a session for the client's network, or returns why it is refused.
func (p *Proxy) locate(s *session) (refusal vocabulary.Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, network := p.census[s.route.Name], networkOf(s.address)
	atOnce, inMinute := s.route.Limits.sessionsFrom(network)
	switch {
	case c.begins(network, p.clock()) > inMinute:
		return vocabulary.RejectionSessionsPerMinute
	case c.from[network] >= atOnce:
		return vocabulary.RejectionSessionsPerAddress
	}
	c.from[network]++
	s.network = network
	return ""
}

// vacate forgets a session's hops and no longer counts it for its route and its network. That
// happens before anybody can notice the session's end: else a client that connects again at
// once might be refused for too many sessions.
func (p *Proxy) vacate(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.placed {
		return
	}
	s.placed = false
	s.forgetHops(0)
	p.census[s.route.Name].leave(s.network)
}

// leave removes a session from the proxy. It is the last step of a session, so that Drain
// waits until the session has reported its end.
func (p *Proxy) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.sessions[s]; !there {
		return
	}
	delete(p.sessions, s)
	if p.none != nil && len(p.sessions) == 0 {
		close(p.none)
	}
}

func (p *Proxy) logger() *slog.Logger {
	if p.Logger == nil {
		return slog.Default()
	}
	return p.Logger
}

// newID returns a new name for a session, for the log and for reports.
func (p *Proxy) newID() string { return strconv.FormatUint(p.id.Add(1), 36) }
