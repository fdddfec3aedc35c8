package tlspolicy

import (
	"crypto/tls"

	"smtpshim/rewrite/oneof"
)

// KeyExchange says which keys our hello to a server offers.
//
// A key of X25519MLKEM768 makes the hello some 1,480 octets long, more than one TCP
// segment. Some servers, and firewalls before them, hang up on such a hello or never
// answer it (openssl/openssl#27557, golang/go#81199).
type KeyExchange uint8

const (
	AutoKeyExchange    KeyExchange = iota // with ML-KEM; see [Error.Hybrid]
	HybridKeyExchange                     // with ML-KEM, come what may
	ClassicKeyExchange                    // without ML-KEM: the hello is one segment
)

var keyExchangeNames = [...]string{"", "hybrid", "classic"}

// String returns the name that UnmarshalText takes.
func (k KeyExchange) String() string { return keyExchangeNames[k] }

// UnmarshalText takes "", "hybrid" and "classic".
func (k *KeyExchange) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), keyExchangeNames[:])
	*k = KeyExchange(i)
	return err
}

// classicGroups returns the groups of a hello without ML-KEM.
func classicGroups() []tls.CurveID {
	return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
}

// offersMLKEM reports whether the hello of this configuration has a key of ML-KEM:
// crypto/tls offers one unless it is told which groups to offer.
func offersMLKEM(c *tls.Config) bool {
	return c.CurvePreferences == nil && (c.MaxVersion == 0 || c.MaxVersion >= tls.VersionTLS13)
}

// stopsAtHello reports whether a handshake has failed before the server said hello,
// in a way that a smaller hello of ours may change: the server hung up, was silent, or
// sent an alert that is not about versions.
func stopsAtHello(conn *tls.Conn, e *Error) bool {
	if conn.ConnectionState().Version != 0 {
		return false
	}
	_, alerted := alert(e.Err)
	return e.Reason == "closed" || e.Reason == "timeout" || alerted && e.Reason != "version"
}

// KeyExchange says for people which keys the hello offers.
func (d *Dialer) KeyExchange() string {
	switch {
	case !offersMLKEM(d.Config("")):
		return "classic: the hello fits one packet, and does not offer ML-KEM"
	case d.leg.KeyExchange == HybridKeyExchange:
		return "hybrid: the hello offers ML-KEM, and a server that cannot take that has no TLS with us"
	}
	return "the hello offers ML-KEM; where a server does not get beyond that, one without is tried"
}
