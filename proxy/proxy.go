// Package proxy moves bytes: it listens, dials, and carries out what package
// rewrite decides, line by line and reply by reply, with TLS on either side.
//
// A [Proxy] serves [Route]s. Each client's connection is a session, which takes
// turns between the client and the server, with a time limit on every wait. On
// Linux sessions run as coroutines in a few loops, elsewhere each on its
// goroutine. What happens is reported to the route's [Observer].
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

// A Proxy listens on the addresses of its routes. The zero value has none; it
// is safe for use by several goroutines.
type Proxy struct {
	Logger *slog.Logger // nil: slog.Default
	// Inherited are listening sockets that we were handed, by the name that
	// Route.Listen has in place of an address.
	Inherited map[string][]*os.File

	applying  sync.Mutex           // held by Apply, which may wait for names and files
	mu        sync.Mutex           // of what follows; loops wait for it, so nobody waits for anything else meanwhile
	listeners map[string]*listener // by address as in the route
	sessions  map[*session]struct{}
	census    map[string]*census        // by route
	hops      map[hop]*session          // of sessions to original destinations
	fleets    map[string]*servers.Fleet // by route
	routes    []*running
	checks    sync.WaitGroup
	unchecked context.CancelFunc // ends the checks of routes
	loops     *wire.Loops        // that sessions run in
	turns     *rewrite.Turns     // of sessions in all loops
	arriving  sync.WaitGroup     // who accepts, and connections that have not entered yet
	stopped   bool               // listens no more
	draining  bool               // and asks its sessions to leave
	none      chan struct{}      // nil while it listens; closed when no session is left

	ending context.Context // is done when what is left is to be closed
	end    context.CancelFunc
	dial   func(ctx context.Context, server string) (net.Conn, error) // keeps to the deadline of ctx by itself

	addresses func() ([]net.Addr, error) // of this machine; nil: net.InterfaceAddrs

	id atomic.Uint64
}

// TurnsHeld is how many turns of the loops took more than 100 ms, during which the
// other sessions of the loop waited. It stays zero where there are no loops.
func (p *Proxy) TurnsHeld() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loops == nil {
		return 0
	}
	return p.loops.HeldTurns()
}

// running is a route that is served, with what its sessions share.
type running struct {
	*Route
	policy rewrite.Policy
	dialer Dialer

	fleet     *servers.Fleet
	standings []*servers.Server // of Servers

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

// joins has the route's servers stand as the fleet knows them.
func (r *running) joins(f *servers.Fleet) {
	r.fleet, r.standings = f, f.Join(r.Servers, r.Health.Interval > 0)
}

// Apply serves these routes and no others. Listeners of addresses that stay are
// kept; sessions that run go on under the route they began with. On an error
// nothing has changed.
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

// listenersNow returns the listeners there are, by address.
func (p *Proxy) listenersNow() (map[string]*listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepare()
	if p.stopped {
		return nil, errStopped
	}
	return maps.Clone(p.listeners), nil
}

// putInForce serves routes, with the listeners that are wanted of those there were and
// those that were opened. The caller closes those that are left.
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

// prepare makes the zero Proxy ready.
func (p *Proxy) prepare() {
	if p.sessions != nil {
		return
	}
	p.sessions = map[*session]struct{}{}
	p.census = map[string]*census{}
	p.listeners = map[string]*listener{}
	p.ending, p.end = context.WithCancel(context.Background())
	p.unchecked = func() {}
	p.turns = rewrite.NewTurns(maxTurns)
	p.loops = wire.NewLoops(wire.Config{
		Logger: p.logger, Defect: func(d *wire.Defect, doing string) { p.reportDefect(d, doing) }, Arriving: &p.arriving, Done: p.ending.Done(),
	})
	p.id.Store(rand.Uint64() >> 24)
}

// serve has these routes go on with what is known of their servers, and looks
// after those.
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

// replace puts the listeners of Apply in place, and starts those that are new. It
// returns those that nobody wants any more.
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

// Addr is where the proxy listens for an address of a route: the port is the
// real one where the route has 0. nil: nowhere.
func (p *Proxy) Addr(address string) net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.listeners[address]; l != nil {
		return l.Sockets[0].Addr()
	}
	return nil
}

// Sessions is how many there are now.
func (p *Proxy) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

// Drain stops listening, asks idle clients to leave and lets messages under way
// end. It returns when no session is left. When ctx ends before, the rest is
// closed, a message under way without its final dot, and the error is that of ctx.
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

// closeLoops ends what sessions run in, once there are none.
func (p *Proxy) closeLoops() {
	p.loops.Close()
	p.turns.Close()
}

// maxTurns is how many turns keep their stacks for the next.
const maxTurns = 16

// Close ends everything at once.
func (p *Proxy) Close() error {
	none := p.askToLeave()
	p.closeSessions()
	<-none
	p.checks.Wait()
	p.closeLoops()
	return nil
}

// askToLeave has nobody arrive any more, and every session end when it can.
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

// stopListening closes the listeners for good. Unlink says whether sockets in the file
// system go from there.
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

// noneLeft is closed when no session is left, once nobody listens: who was
// accepted before is one of them.
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

// admit counts a session in, or says why not. Whose it is may not be known yet.
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

// locate counts a session in for its address, or says why not.
func (p *Proxy) locate(s *session) (refusal vocabulary.Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, network := p.census[s.route.Name], networkOf(s.address)
	atOnce, inMinute := s.route.Limits.sessionsFrom(network)
	switch {
	case c.begins(network, time.Now()) > inMinute:
		return vocabulary.RejectionSessionsPerMinute
	case c.from[network] >= atOnce:
		return vocabulary.RejectionSessionsPerAddress
	}
	c.from[network]++
	s.network = network
	return ""
}

// vacate gives a session's place to another: before anybody hears that it has
// ended, or a client that comes again at once could be told that it is one too many.
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

// leave is the last of a session: a drain has waited for all that it tells.
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

// newID names a session, in the log and wherever else it is seen.
func (p *Proxy) newID() string { return strconv.FormatUint(p.id.Add(1), 36) }
