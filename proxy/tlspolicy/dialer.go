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

// A Verification says how a server's identity is verified.
type Verification int

// The kinds of verification.
const (
	Verified      Verification = iota // by authority and name, or by pins
	Unverified                        // not at all, as the administrator wants
	Opportunistic                     // not at all, because any encryption is better than none (RFC 7435)
)

// A ServerLeg says which TLS is wanted between us and servers.
type ServerLeg struct {
	// Protocol limits versions and suites. For an opportunistic leg it allows all that Go
	// supports, from TLS 1.0 on, other than what its Minimum, Maximum and Ciphers
	// exclude.
	Protocol
	Verification Verification

	KeyExchange KeyExchange

	// ServerName is the name of the server. We send it in the ClientHello (SNI), and
	// the server's certificate must have it if Verification is Verified and there are
	// no Pins. If ServerName is "", it is the name given to Config or Handshake.
	ServerName string
	Roots      *Roots // authorities for servers' certificates; nil: the system's
	// Pins, if not nil, are the fingerprints of the certificates that the server may
	// have. Authority, name and dates of the certificate then do not matter.
	Pins  []Pin
	Store *Store // our certificates, for servers that ask for one; nil: none
}

// A Dialer performs TLS with servers and decides what each may use. It is safe for
// concurrent use.
type Dialer struct {
	leg ServerLeg

	mu      sync.Mutex
	configs map[toServer]*tls.Config
}

// A toServer is the key of a configuration. Each configuration has its own session cache.
type toServer struct {
	name    string
	active  Weaknesses
	classic bool // the hello does not offer ML-KEM
}

// manyServers is the number of configurations after which all are dropped. Names may come
// from the destinations of clients, so their number is otherwise unlimited.
const manyServers = 1000

// NewDialer returns a Dialer with the settings of leg. The error joins a [*SettingError]
// for each mistake in leg.
func NewDialer(leg ServerLeg) (*Dialer, error) {
	var errs []error
	named := leg.known()
	for _, a := range leg.Allow {
		if len(a.Networks) > 0 {
			errs = append(errs, wrong("allow", "%s is limited to networks of clients; there are none on the way to the server", a.Weaknesses))
		}
	}
	switch {
	case leg.Verification == Opportunistic && len(leg.Allow) > 0:
		errs = append(errs, wrong("allow", "opportunistic TLS allows %s anyway; minimum and ciphers take away from it", named))
	case leg.Verification == Unverified && named&ofCertificates != 0:
		errs = append(errs, wrong("allow", "%s has no effect if certificates are not verified", named&ofCertificates))
	case len(leg.Pins) > 0 && named&ofCertificates&^BreakableShortRSA != 0:
		errs = append(errs, wrong("allow", "%s has no effect if the certificate is pinned", named&ofCertificates&^BreakableShortRSA))
	}
	if leg.Verification != Verified && len(leg.Pins) > 0 {
		errs = append(errs, wrong("pins", "they have no effect if certificates are not verified"))
	}
	if leg.Roots != nil && (leg.Verification != Verified || len(leg.Pins) > 0) {
		errs = append(errs, wrong("ca", "it has no effect if certificates are pinned or not verified"))
	}
	if leg.Verification == Opportunistic {
		leg.Protocol = leg.opportunistic()
	}
	errs = append(errs, leg.check())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if leg.Verification == Verified && leg.Roots == nil {
		x509.SystemCertPool() // read the system's authorities now and not in a handshake
	}
	return &Dialer{leg: leg, configs: make(map[toServer]*tls.Config)}, nil
}

// opportunistic returns p with everything allowed that is not explicitly excluded.
func (p Protocol) opportunistic() Protocol {
	all := ofProtocol
	if p.Minimum > tls.VersionTLS10 {
		all &^= ObsoleteTLS10
	}
	if p.Minimum > tls.VersionTLS11 {
		all &^= ObsoleteTLS11
	}
	if p.Ciphers.word != "" {
		all &= ObsoleteTLS10 | ObsoleteTLS11
	}
	p.Allow = []Allowance{{Weaknesses: all}}
	return p
}

// Config returns the TLS configuration for server, a name or address without a port,
// with the allowances in force now. All connections to one server have one
// configuration, with its cache of sessions. Callers must not change or clone it.
func (d *Dialer) Config(server string) *tls.Config { return d.configFor(server, false) }

// configFor is Config; with classic it offers no ML-KEM.
func (d *Dialer) configFor(server string, classic bool) *tls.Config {
	key := toServer{server, d.leg.active(netip.Addr{}, time.Now()), classic}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.configs[key]
	if !ok {
		if len(d.configs) >= manyServers {
			clear(d.configs)
		}
		c = d.config(key)
		d.configs[key] = c
	}
	return c
}

func (d *Dialer) config(to toServer) *tls.Config {
	c := d.leg.terms(to.active).config()
	c.ServerName = strings.TrimSuffix(to.name, ".")
	if d.leg.ServerName != "" {
		c.ServerName = d.leg.ServerName
	}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	if to.classic || d.leg.KeyExchange == ClassicKeyExchange || to.active&ofProtocol != 0 {
		// Without the keys of ML-KEM the hello fits one packet, and is shorter than what
		// old servers read at one time.
		c.CurvePreferences = classicGroups()
	}
	if d.leg.Store != nil {
		c.GetClientCertificate = d.leg.Store.client
	}
	c.InsecureSkipVerify = true // VerifyConnection verifies instead
	if d.leg.Verification == Verified {
		v := verifier{peer: "server", name: c.ServerName, roots: d.leg.Roots, usage: x509.ExtKeyUsageServerAuth, allowed: to.active, pins: d.leg.Pins}
		c.VerifyConnection = func(state tls.ConnectionState) error {
			return v.verify(state.PeerCertificates, time.Now())
		}
	}
	return c
}

// Stale reports whether Refresh would look at the files of our certificates now: the
// last look was at least five seconds ago, and no look is in progress. It is false if
// the dialer has no certificates.
func (d *Dialer) Stale() bool { return d.leg.Store != nil && d.leg.Store.Stale() }

// Refresh does what [Store.Refresh] does, with our certificates, if the dialer has any:
// if Stale is true, it looks at their files and uses those that have changed.
func (d *Dialer) Refresh() {
	if d.leg.Store != nil {
		d.leg.Store.Refresh()
	}
}

// Handshake performs the TLS handshake on conn as the client, with the configuration
// for server, a name or address without a port, and returns the TLS connection. Any
// error is an [*Error], which says why, and conn is then unusable. ctx limits only the
// handshake.
func (d *Dialer) Handshake(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error) {
	return d.handshake(ctx, conn, d.configFor(server, false))
}

// HandshakeClassic does what Handshake does, but its ClientHello never offers ML-KEM.
// It is for a second attempt, on a fresh connection, after an error with
// [Error.Hybrid].
func (d *Dialer) HandshakeClassic(ctx context.Context, conn net.Conn, server string) (*tls.Conn, error) {
	return d.handshake(ctx, conn, d.configFor(server, true))
}

func (d *Dialer) handshake(ctx context.Context, conn net.Conn, config *tls.Config) (*tls.Conn, error) {
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if err == nil {
		return secure, nil
	}
	e := d.explain(err)
	if offersMLKEM(config) && stopsAtHello(secure, e) {
		e.Text += `; our ClientHello offered ML-KEM, which some cannot handle: key_exchange = "classic" leaves it out`
		e.Hybrid = d.leg.KeyExchange == AutoKeyExchange
	}
	return nil, e
}

// explain returns why the handshake failed, with what we had offered.
func (d *Dialer) explain(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	t := d.leg.terms(d.leg.active(netip.Addr{}, time.Now()))
	e := classify(err, "the server")
	switch e.Reason {
	case "certificate-refused":
		if d.leg.Store == nil {
			e.Reason = "client-certificate"
			e.Text += "; we have none to show"
		}
	case "version", "closed":
		e.Text += "; we offered " + t.span()
	case "cipher":
		e.Text += fmt.Sprintf("; we offered %s and %d suites before 1.3", t.span(), len(t.suites))
	}
	more := Weaknesses(0)
	switch {
	case e.Reason == "version" && !t.active.Has(ObsoleteTLS10):
		more = (ObsoleteTLS10 | ObsoleteTLS11) &^ t.active
	case e.Reason == "cipher":
		more = ofProtocol &^ t.active // GnuTLS sends handshake_failure for a version too
		if t.active.Has(ObsoleteTLS10) {
			more &^= ObsoleteTLS11 // it is implied
		}
	}
	switch {
	case more != 0:
		e.Text += "; it may need one of these allowed: " + more.String()
	case e.Reason == "version" || e.Reason == "cipher":
		e.Text += "; Go's TLS has nothing older: put a TLS of its time in front"
	}
	return e
}

// Warnings returns what an administrator should know at the time now, one text for each
// item: allowances that end within 30 days or have ended; that servers are not
// verified, if Verification is Unverified; what [Store.Warnings] returns about our
// certificates; and authorities in Roots whose certificates expire within 30 days, have
// expired or have a short key.
func (d *Dialer) Warnings(now time.Time) []string {
	texts := d.leg.warnings(now)
	if d.leg.Verification == Unverified {
		texts = append(texts, "the server's certificate is not verified: whoever stands between us and the server can read and change all mail; pins or ca would verify it")
	}
	if d.leg.Store != nil {
		texts = append(texts, d.leg.Store.Warnings(now)...)
	}
	return slices.Concat(texts, d.leg.Roots.warnings(now))
}
