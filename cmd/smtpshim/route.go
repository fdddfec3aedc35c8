package main

import (
	"crypto/tls"
	"net/netip"
	"slices"

	"smtpshim/metrics"
	"smtpshim/proxy"
	"smtpshim/proxy/record"
	"smtpshim/proxy/tlspolicy"
)

// A route is one of the configuration, with what its TLS is made of.
type route struct {
	*proxy.Route
	client *clientLeg // nil: TLS with clients is none of ours
	server *serverLeg // nil: we begin none with servers
	idle   []option   // said of rules that are not in force

	options map[string]map[string]any // of the rules, as the configuration has them
	unruled bool                      // the configuration has no rules for it, which are those of the set standard then

	device bool          // timeouts are for clients that give up soon
	record *record.Route // nil: nothing is
	logins []routeLogin
}

// An option is one of a rule.
type option struct{ rule, name string }

// A clientLeg is TLS between clients and us.
type clientLeg struct {
	tlspolicy.ClientLeg
	acceptor   *tlspolicy.Acceptor
	selfSigned string // the directory with certificates of our own making; "": there are none
}

// A serverLeg is TLS between us and servers.
type serverLeg struct {
	tlspolicy.ServerLeg
	dialer *tlspolicy.Dialer
}

// possible is all TLS that the route may ever speak, with anybody and at any
// time.
func (r *route) possible() metrics.TLS {
	var all metrics.TLS
	if r.client != nil {
		leg := r.client.ClientLeg
		leg.Allow = forEverybody(leg.Allow)
		if acceptor, err := tlspolicy.NewAcceptor(leg); err == nil {
			all.Client = ciphers(acceptor.Config(netip.Addr{}))
		}
	}
	if r.server != nil {
		leg := r.server.ServerLeg
		leg.Allow = forEverybody(leg.Allow)
		if dialer, err := tlspolicy.NewDialer(leg); err == nil {
			all.Server = ciphers(dialer.Config(""))
		}
	}
	return all
}

// forEverybody is one allowance of all that is allowed to anybody.
func forEverybody(allow []tlspolicy.Allowance) []tlspolicy.Allowance {
	var all tlspolicy.Weaknesses
	for _, a := range allow {
		all |= a.Weaknesses
	}
	if all == 0 {
		return nil
	}
	return []tlspolicy.Allowance{{Weaknesses: all}}
}

// ciphers are those that a handshake under c can end with.
func ciphers(c *tls.Config) []metrics.Cipher {
	var list []metrics.Cipher
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		for _, version := range suite.SupportedVersions {
			chosen := version == tls.VersionTLS13 || slices.Contains(c.CipherSuites, suite.ID)
			if chosen && version >= c.MinVersion && version <= c.MaxVersion {
				list = append(list, metrics.Cipher{Version: tlspolicy.Version(version), Suite: tlspolicy.Suite(suite.ID)})
			}
		}
	}
	return list
}

// A sided store holds the certificates we show on one side.
type sided struct {
	side  string
	store *tlspolicy.Store
}

// route is the route of that name; nil: there is none.
func (c *config) route(name string) *route {
	for _, r := range c.routes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// stores are those of a route's certificates.
func (r *route) stores() []sided {
	var list []sided
	if r.client != nil && r.client.Store != nil {
		list = append(list, sided{"client", r.client.Store})
	}
	if r.server != nil && r.server.Store != nil {
		list = append(list, sided{"server", r.server.Store})
	}
	return list
}

// certificates are ours that are in use now.
func (c *config) certificates() []metrics.Certificate {
	var list []metrics.Certificate
	for _, r := range c.routes {
		for _, s := range r.stores() {
			for _, info := range s.store.Infos() {
				name := info.Subject
				if len(info.Names) > 0 {
					name = info.Names[0]
				}
				list = append(list, metrics.Certificate{Route: r.Name, Side: s.side, Name: name,
					Fingerprint: hexadecimal(info.Fingerprint), NotAfter: info.NotAfter})
			}
		}
	}
	return list
}
