// Package evidence collects what observed rules would have done. An observed rule is on
// trial: what it would change is reported, and nothing is changed. For each route and
// rule the evidence is how often the rule would have acted, for which clients and
// servers, and an example. Its memory is bounded: it counts a limited number of clients
// and names a few.
//
// A [Book] is told of sessions when they end. It gets no credentials and no text of
// messages. The example is the beginning of a line that a peer sent. It may contain
// anything else that a peer can say, so callers that show it must quote it.
package evidence

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"smtpshim/proxy"
)

// The limits for one route, and for one rule on it.
const (
	// MostClients is the largest value of Route.Clients and of Rule.Clients. With more
	// clients, the value stays at MostClients.
	MostClients = 1000
	// MostNamed is the largest length of Rule.Named, and of Rule.Servers.
	MostNamed = 20
	mostRules = 256
)

// A Route is what a [Book] has collected about the sessions of one route.
type Route struct {
	Name     string    `json:"route"`
	Since    time.Time `json:"since"`            // when the Book began to collect
	Sessions int       `json:"sessions"`         // sessions that have ended
	Failed   int       `json:"failed,omitempty"` // those of Sessions that have failed
	Clients  int       `json:"clients"`          // number of different clients, at most MostClients
	Rules    []Rule    `json:"rules"`            // rules that would have acted, most clients first
}

// A Rule is what a [Book] has collected about one observed rule of a route that would
// have acted at least once.
type Rule struct {
	Name     string   `json:"rule"`
	Times    int      `json:"times"`             // changes that it would have made
	Sessions int      `json:"sessions"`          // sessions in which it would have acted
	Failed   int      `json:"failed,omitempty"`  // those of Sessions that have failed
	Clients  int      `json:"clients"`           // number of different clients, at most MostClients
	Named    []string `json:"named"`             // addresses of the first clients, at most MostNamed
	Servers  []string `json:"servers,omitempty"` // the first servers, at most MostNamed

	// Line is the first line that the rule would have changed, other than lines of
	// messages and lines that may contain a secret. It is cut to 200 octets. It is ""
	// if there was no such line.
	Line string `json:"line,omitempty"`
}

// A Book collects the evidence of the routes named in the last call of Observe. The
// zero Book collects none. The methods of a Book are safe for concurrent use.
type Book struct {
	mu     sync.Mutex
	routes map[string]*route
}

type route struct {
	since            time.Time
	sessions, failed int
	clients          map[netip.Addr]struct{}
	rules            map[string]*rule
}

type rule struct {
	times, sessions, failed int
	clients                 map[netip.Addr]struct{}
	named, servers          []string
	line                    string
}

// Observe has b collect the evidence of the routes with the given names from now on,
// and of no others. What b has collected about these routes stays. What it has
// collected about other routes is dropped.
func (b *Book) Observe(names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	routes := map[string]*route{}
	for _, name := range names {
		if routes[name] = b.routes[name]; routes[name] == nil {
			routes[name] = &route{since: time.Now(), clients: map[netip.Addr]struct{}{}, rules: map[string]*rule{}}
		}
	}
	b.routes = routes
}

// Ended adds a session that has ended to the evidence of its route. s is the beginning
// of the session, e its ending. Ended ignores sessions of routes that were not given to
// Observe.
func (b *Book) Ended(s proxy.Beginning, e proxy.Ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.routes[s.Route]
	if r == nil {
		return
	}
	r.sessions++
	failed := 0
	if e.Outcome.Failed() {
		failed = 1
	}
	r.failed += failed
	add(r.clients, s.Client)
	for name, d := range e.Would {
		one := r.rules[name]
		if one == nil {
			if len(r.rules) >= mostRules {
				continue
			}
			one = &rule{clients: map[netip.Addr]struct{}{}}
			r.rules[name] = one
		}
		one.times += d.Times
		one.sessions++
		one.failed += failed
		if add(one.clients, s.Client) {
			one.named = withName(one.named, clientName(s.Client))
		}
		one.servers = withName(one.servers, e.Server)
		one.line = cmp.Or(one.line, d.Line)
	}
}

// add adds a client, and reports whether it is new.
func add(clients map[netip.Addr]struct{}, client netip.Addr) bool {
	if _, known := clients[client]; known || len(clients) >= MostClients {
		return false
	}
	clients[client] = struct{}{}
	return true
}

func clientName(client netip.Addr) string {
	if !client.IsValid() {
		return "unknown"
	}
	return client.Unmap().WithZone("").String()
}

// withName adds a name to a list, if it is new and the list is not full.
func withName(list []string, name string) []string {
	if name == "" || len(list) >= MostNamed || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// Routes returns the evidence so far, one Route for each name given to Observe, sorted
// by name.
func (b *Book) Routes() []Route {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Route, 0, len(b.routes))
	for name, r := range b.routes {
		one := Route{Name: name, Since: r.since, Sessions: r.sessions, Failed: r.failed, Clients: len(r.clients), Rules: []Rule{}}
		for name, u := range r.rules {
			one.Rules = append(one.Rules, Rule{Name: name, Times: u.times, Sessions: u.sessions, Failed: u.failed, Clients: len(u.clients),
				Named: slices.Clone(u.named), Servers: slices.Clone(u.servers), Line: u.line})
		}
		slices.SortFunc(one.Rules, func(a, b Rule) int {
			return cmp.Or(cmp.Compare(b.Clients, a.Clients), cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Name, b.Name))
		})
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Route) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
