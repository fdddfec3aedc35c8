package tlspolicy

import (
	"crypto/tls"

	"smtpshim/rewrite/oneof"
)

// KeyExchange says whether our ClientHello to a server offers ML-KEM.
//
// With ML-KEM, a key share of X25519MLKEM768, the hello has about 1,480 octets, more
// than one TCP segment. Some servers, and firewalls before them, hang up on such a
// hello or never answer it (openssl/openssl#27557, golang/go#81199). Whatever the
// KeyExchange, ML-KEM is not offered if an obsolete version or a weak suite is allowed,
// as it usually is with [Opportunistic], or if the maximum is below TLS 1.3.
type KeyExchange uint8

const (
	// AutoKeyExchange offers ML-KEM. If that may be why a handshake failed,
	// [Error.Hybrid] tells the caller to try without.
	AutoKeyExchange KeyExchange = iota
	// HybridKeyExchange offers ML-KEM, and [Error.Hybrid] is never set: the caller does
	// not try without.
	HybridKeyExchange
	// ClassicKeyExchange does not offer ML-KEM, so that the hello fits one segment.
	ClassicKeyExchange
)

var keyExchangeNames = [...]string{"", "hybrid", "classic"}

// String returns the name of k that UnmarshalText accepts: "", "hybrid" or "classic".
func (k KeyExchange) String() string { return keyExchangeNames[k] }

// UnmarshalText sets k to the key exchange named text: "", "hybrid" or "classic". Any
// other text is an error.
func (k *KeyExchange) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), keyExchangeNames[:])
	*k = KeyExchange(i)
	return err
}

// classicGroups returns the groups of a hello without ML-KEM.
func classicGroups() []tls.CurveID {
	return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
}

// offersMLKEM reports whether the hello of this configuration has a key share of ML-KEM.
// crypto/tls offers one unless CurvePreferences is set.
func offersMLKEM(c *tls.Config) bool {
	return c.CurvePreferences == nil && (c.MaxVersion == 0 || c.MaxVersion >= tls.VersionTLS13)
}

// stopsAtHello reports whether a handshake failed before the server's hello in a way that
// a smaller hello of ours may avoid: the server hung up, was silent, or sent an alert
// that is not about versions.
func stopsAtHello(conn *tls.Conn, e *Error) bool {
	if conn.ConnectionState().Version != 0 {
		return false
	}
	_, alerted := alert(e.Err)
	return e.Reason == "closed" || e.Reason == "timeout" || alerted && e.Reason != "version"
}

// KeyExchange returns a text for people that says whether our ClientHello offers
// ML-KEM, and what follows if a server cannot handle that.
func (d *Dialer) KeyExchange() string {
	switch {
	case !offersMLKEM(d.Config("")):
		return "classic: the ClientHello fits one packet, and does not offer ML-KEM"
	case d.leg.KeyExchange == HybridKeyExchange:
		return "hybrid: the ClientHello offers ML-KEM, and TLS fails with a server that cannot handle that"
	}
	return "the ClientHello offers ML-KEM; if a server cannot handle that, one without is tried"
}
