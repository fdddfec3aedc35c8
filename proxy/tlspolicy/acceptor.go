package tlspolicy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// A ClientLeg says which TLS is wanted between clients and us.
type ClientLeg struct {
	Protocol
	Store *Store // our certificates

	// ClientRoots are the authorities that sign clients' certificates. If it is nil,
	// clients are not asked for a certificate. Otherwise they are asked, and a
	// certificate that a client shows must be valid. If RequireCertificate is true,
	// which needs ClientRoots, clients that show none are refused. On a public port
	// ClientRoots should be nil: servers that deliver there show certificates from
	// other authorities.
	ClientRoots        *Roots
	RequireCertificate bool
}

// An Acceptor performs TLS with clients and decides what each may use. An Acceptor is
// safe for concurrent use. A session ticket of one Acceptor is not valid for another.
type Acceptor struct {
	leg ClientLeg

	mu      sync.Mutex
	configs map[Weaknesses]*tls.Config // by the weaknesses that are allowed together
}

// NewAcceptor returns an Acceptor with the settings of leg. The error joins a
// [*SettingError] for each mistake in leg.
func NewAcceptor(leg ClientLeg) (*Acceptor, error) {
	known := leg.known()
	errs := []error{leg.check()}
	if no := known & forServers; no != 0 {
		errs = append(errs, wrong("allow", "%s is for the certificates of servers; a client's has to be good", no))
	}
	if leg.RequireCertificate && leg.ClientRoots == nil {
		errs = append(errs, wrong("client_ca", "certificates of clients are required, but no authority is given that signs them"))
	}
	if leg.Store == nil {
		errs = append(errs, wrong("certificate", "there is none; accepting TLS needs one"))
	} else if missing := leg.Store.missing(known); missing != 0 {
		errs = append(errs, wrong("certificate", "%s; use another, or allow %s for those clients that need it", leg.Store.whyWeak(), missing))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Acceptor{leg: leg, configs: make(map[Weaknesses]*tls.Config)}, nil
}

// Config returns the TLS configuration for clients at the address client, with the
// allowances in force now. Clients for which the same weaknesses are allowed share one
// configuration, and with it the keys for session tickets. Callers must not change or
// clone it.
func (a *Acceptor) Config(client netip.Addr) *tls.Config {
	active := a.leg.active(client, time.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.configs[active]
	if !ok {
		c = a.config(active)
		a.configs[active] = c
	}
	return c
}

func (a *Acceptor) config(active Weaknesses) *tls.Config {
	t := a.leg.terms(active)
	c := a.configFor(t)
	unsigned := a.configFor(t.unsigned())
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		said := offer{hello: true, versions: hello.SupportedVersions, suites: hello.CipherSuites, unsigned: noSignature(hello)}
		if o, ok := hello.Context().Value(offerKey{}).(*offer); ok {
			*o = said
		}
		if said.unsigned && len(unsigned.CipherSuites) > 0 {
			return unsigned, nil // with the ticket keys of c
		}
		return nil, nil
	}
	return c
}

// unsigned returns the terms without the suites for which we would have to sign.
func (t terms) unsigned() terms {
	var suites []uint16
	for _, s := range suiteTable() {
		if slices.Contains(t.suites, s.id) && s.weak.Has(RecordableRSAKeyExchange) {
			suites = append(suites, s.id)
		}
	}
	t.suites = suites
	return t
}

// noSignature reports whether a client supports at most TLS 1.2, and only SHA-1 in
// signatures, which Go does not make there. Key exchange by RSA needs no signature.
func noSignature(hello *tls.ClientHelloInfo) bool {
	if len(hello.SupportedVersions) == 0 || slices.Max(hello.SupportedVersions) != tls.VersionTLS12 {
		return false
	}
	return !slices.ContainsFunc(hello.SignatureSchemes, func(s tls.SignatureScheme) bool {
		switch s {
		case tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
			tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512, tls.Ed25519:
			return true
		}
		return false
	})
}

func (a *Acceptor) configFor(t terms) *tls.Config {
	active := t.active
	c := t.config()
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate, fit := a.leg.Store.server(hello, active)
		if certificate == nil {
			return nil, refuse("certificate-weak", nil, "all our certificates are weak in a way that is not allowed with this client; it needs %s", a.leg.Store.missing(active))
		}
		if o, ok := hello.Context().Value(offerKey{}).(*offer); ok {
			o.unfit = !fit
		}
		return certificate, nil
	}
	if a.leg.ClientRoots != nil {
		v := verifier{peer: "client", roots: a.leg.ClientRoots, usage: x509.ExtKeyUsageClientAuth, allowed: active}
		c.ClientCAs = a.leg.ClientRoots.pool // only to tell clients which certificates to show
		c.ClientAuth = tls.RequestClientCert
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 && !a.leg.RequireCertificate {
				return nil
			}
			return v.verify(state.PeerCertificates, time.Now())
		}
	}
	return c
}

// An offer is what a client has offered in its hello, kept for an explanation.
type offer struct {
	hello            bool // there was a hello
	versions, suites []uint16
	unsigned         bool // the client supports no signature that we make
	unfit            bool // the client can use none of our certificates
}

type offerKey struct{}

// Stale reports whether Refresh would look at the certificate files now: the last look
// was at least five seconds ago, and no look is in progress.
func (a *Acceptor) Stale() bool { return a.leg.Store.Stale() }

// Refresh does what [Store.Refresh] does, with our certificates: if Stale is true, it
// looks at their files and uses those that have changed.
func (a *Acceptor) Refresh() { a.leg.Store.Refresh() }

// Handshake performs the TLS handshake on conn as the server, with the configuration
// for the address client, and returns the TLS connection. Any error is an [*Error],
// which says why, and conn is then unusable. ctx limits only the handshake.
func (a *Acceptor) Handshake(ctx context.Context, conn net.Conn, client netip.Addr) (*tls.Conn, error) {
	var o offer
	secure := tls.Server(conn, a.Config(client))
	err := secure.HandshakeContext(context.WithValue(ctx, offerKey{}, &o))
	if err != nil {
		return nil, a.explain(err, o, client)
	}
	return secure, nil
}

// explain returns why the handshake failed, from the client's offer.
func (a *Acceptor) explain(err error, o offer, client netip.Addr) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if !o.hello {
		e := classify(err, "the client")
		e.Silent = HungUp(err)
		return e
	}
	now := time.Now()
	t := a.leg.terms(a.leg.active(client, now))
	version := t.version(o.versions)
	e := classify(err, "the client")
	switch {
	case version == 0:
		return refuse("version", err, "the client offers %s; it may use %s%s", o.newest(), t.span(), a.advice(t, o, client, now))
	case e.Reason == "cipher" || e.Reason == "other":
		if shared := t.shared(o.suites, version); len(shared) == 0 || o.unfit {
			return refuse("cipher", err, "the client offers %s with %s, of which nothing may be used with it%s", o.newest(), list(o.suites), a.advice(t, o, client, now))
		}
	}
	e.Text += fmt.Sprintf("; the client offered %s with %s", o.newest(), list(o.suites))
	return e
}

// newest returns the newest version that a client supports, in words.
func (o offer) newest() string {
	if len(o.versions) == 0 {
		return "SSL 3.0 or a TLS that is unknown"
	}
	return versionName(slices.Max(o.versions)) + " at most"
}

// list returns the names of suites, in words.
func list(suites []uint16) string {
	var names []string
	for _, id := range suites {
		switch {
		case id == 0x00FF || id == 0x5600 || id&0x0F0F == 0x0A0A && id>>8 == id&0xFF:
			continue // signals, not suites: RFC 5746, RFC 7507, RFC 8701
		case len(names) == 12:
			return strings.Join(names, ", ") + " and more"
		}
		names = append(names, suiteName(id))
	}
	if len(names) == 0 {
		return "no suites"
	}
	return strings.Join(names, ", ")
}

// span returns the versions that may be used, in words.
func (t terms) span() string {
	switch {
	case t.minimum > t.maximum:
		return fmt.Sprintf("none (TLS %s at most is configured, and nothing that old is allowed)", Version(t.maximum))
	case t.minimum == t.maximum:
		return "TLS " + Version(t.minimum)
	}
	return fmt.Sprintf("TLS %s to %s", Version(t.minimum), Version(t.maximum))
}

// shared returns the suites of an offer that these terms allow in a version.
func (t terms) shared(offered []uint16, version uint16) []uint16 {
	var ids []uint16
	for _, s := range suiteTable() {
		ok := s.tls13 == (version == tls.VersionTLS13) && s.since <= version && (s.tls13 || slices.Contains(t.suites, s.id))
		if ok && slices.Contains(offered, s.id) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// advice returns the smallest set of weaknesses to allow for this client, or says that
// none would help.
func (a *Acceptor) advice(t terms, o offer, client netip.Addr, now time.Time) string {
	if len(o.versions) > 0 && slices.Min(o.versions) > t.maximum {
		return "; see maximum"
	}
	var best Weaknesses
	found := false
	for _, s := range suiteTable() {
		if s.weak == unnamed || !slices.Contains(o.suites, s.id) {
			continue
		}
		need := s.weak
		newest := uint16(0)
		for _, v := range o.versions {
			if v >= s.since && v <= t.maximum {
				newest = max(newest, v)
			}
		}
		if newest == 0 || o.unsigned && newest == tls.VersionTLS12 && !need.Has(RecordableRSAKeyExchange) {
			continue
		}
		need |= versionWeakness(newest)
		need &^= t.active
		if !found || len(need.List()) < len(best.List()) {
			best, found = need, true
		}
	}
	switch {
	case !found:
		return "; Go's TLS has nothing of this: put a TLS of its time in front"
	case best == 0:
		return "; see minimum, ciphers and the kinds of our keys"
	case a.leg.known().Has(best):
		return fmt.Sprintf("; it would need %s, which is allowed, but not for this client now", best)
	}
	return fmt.Sprintf("; it would need %s allowed", best)
}

// Warnings returns what an administrator should know at the time now, one text for each
// item: allowances that end within 30 days or have ended; what [Store.Warnings] returns
// about our certificates; and authorities of clients whose certificates expire within
// 30 days, have expired or have a short key.
func (a *Acceptor) Warnings(now time.Time) []string {
	return slices.Concat(a.leg.warnings(now), a.leg.Store.Warnings(now), a.leg.ClientRoots.warnings(now))
}
