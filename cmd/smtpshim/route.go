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

// A route is a route of the configuration, with the parts of its TLS.
type route struct {
	*proxy.Route
	client *clientLeg // nil: we do not end TLS with clients
	server *serverLeg // nil: we do not begin TLS with servers
	idle   []option   // options of rules that are not in force

	options map[string]map[string]any // options of rules, as in the configuration
	unruled bool                      // the configuration names no rules, so that those of the set standard are in force

	device bool          // timeouts are for clients that give up early
	record *record.Route // nil: nothing is recorded
	logins []routeLogin
}

// An option is an option of a rule.
type option struct{ rule, name string }

// A clientLeg is the TLS between clients and us.
type clientLeg struct {
	tlspolicy.ClientLeg
	acceptor   *tlspolicy.Acceptor
	selfSigned string // the directory of self-signed certificates; "": there are none
}

// A serverLeg is the TLS between us and servers.
type serverLeg struct {
	tlspolicy.ServerLeg
	dialer *tlspolicy.Dialer
}

// possible returns all TLS that the route may ever use, with any peer and at any time.
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

// forEverybody returns one allowance of everything that is allowed to any peer.
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

// ciphers returns the ciphers with which a handshake under c can end.
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

// A sided is the store of the certificates that we show on one side.
type sided struct {
	side  string
	store *tlspolicy.Store
}

// route returns the route of this name; nil: there is none.
func (c *config) route(name string) *route {
	for _, r := range c.routes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// stores returns the stores of a route's certificates.
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

// certificates returns our certificates that are in use.
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
