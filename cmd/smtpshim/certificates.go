package main

import (
	"crypto/tls"
	"net/netip"
	"slices"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics"
	"smtpshim/proxy/tlspolicy"
)

// possibleTLS returns all TLS that the route may ever use, with any peer and at any time.
func possibleTLS(r *config.Route) metrics.TLS {
	var all metrics.TLS
	if r.Client != nil {
		leg := r.Client.ClientLeg
		leg.Allow = forEverybody(leg.Allow)
		if acceptor, err := tlspolicy.NewAcceptor(leg); err == nil {
			all.Client = ciphers(acceptor.Config(netip.Addr{}))
		}
	}
	if r.Server != nil {
		leg := r.Server.ServerLeg
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

// storesOf returns the stores of a route's certificates.
func storesOf(r *config.Route) []sided {
	var list []sided
	if r.Client != nil && r.Client.Store != nil {
		list = append(list, sided{"client", r.Client.Store})
	}
	if r.Server != nil && r.Server.Store != nil {
		list = append(list, sided{"server", r.Server.Store})
	}
	return list
}

// certificatesOf returns our certificates that are in use.
func certificatesOf(c *config.Config) []metrics.Certificate {
	var list []metrics.Certificate
	for _, r := range c.Routes {
		for _, s := range storesOf(r) {
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
