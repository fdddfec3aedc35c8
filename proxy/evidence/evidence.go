// Package evidence keeps what observed rules would have done: for each route and rule how
// often, for which clients and servers, and an example. It is bounded, whoever connects:
// of clients it counts so many and names a few.
//
// It hears the ends of sessions, and so has no credentials and no text of messages. The
// example is a line as a peer said it, and may hold whatever else that can say: whoever
// shows it quotes it.
package evidence

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"smtpshim/proxy"
)

// What is kept of a route, and of a rule on it.
const (
	// MostClients is how many different clients are told apart. Beyond, there are at least
	// so many.
	MostClients = 1000
	// MostNamed is how many clients and servers of a rule are named.
	MostNamed = 20
	mostRules = 256
)

// A Route is what was observed on one.
type Route struct {
	Name     string    `json:"route"`
	Since    time.Time `json:"since"`
	Sessions int       `json:"sessions"`         // that ended
	Failed   int       `json:"failed,omitempty"` // of them
	Clients  int       `json:"clients"`          // different ones, MostClients at most
	Rules    []Rule    `json:"rules"`            // that would have acted, most clients first
}

// A Rule is one that would have acted.
type Rule struct {
	Name     string   `json:"rule"`
	Times    int      `json:"times"`
	Sessions int      `json:"sessions"`
	Failed   int      `json:"failed,omitempty"` // of them
	Clients  int      `json:"clients"`          // different ones, MostClients at most
	Named    []string `json:"named"`            // the first of them, MostNamed at most
	Servers  []string `json:"servers,omitempty"`
	Line     string   `json:"line,omitempty"` // the first that would have been changed; "": of a message, or not to be told
}

// A Book keeps the evidence of all routes that observe. Its methods are safe for
// concurrent use.
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

// Observe names the routes that observe from now on. What was kept of others is dropped.
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

// Ended takes the end of a session. One whose route does not observe is left out.
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

// add notes a client, and reports whether it is one more.
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

// withName adds a name to a list, if there is room for it and it is new.
func withName(list []string, name string) []string {
	if name == "" || len(list) >= MostNamed || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// Routes returns the evidence so far, routes by their names.
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
