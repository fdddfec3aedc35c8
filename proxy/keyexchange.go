package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"smtpshim/proxy/tlspolicy"
)

// The lessons about a server that does not get beyond a hello with ML-KEM, and how
// long they last: that one without is to be tried, and that this was good. Then ML-KEM
// is tried again.
const (
	tryClassic       = "try key_exchange classic"
	tryClassicLasts  = 2 * time.Minute
	needsClassic     = "key_exchange classic"
	needClassicLasts = time.Hour
)

// handshake returns how to shake hands with a server, and whether that is without
// ML-KEM because of what was learned of the server.
func (r *running) handshake(server string) (shake func(context.Context, net.Conn, string) (*tls.Conn, error), classic bool) {
	d, ok := r.dialer.(classicDialer)
	if ok && (r.lessons.remembers(lesson{server, needsClassic}) || r.lessons.remembers(lesson{server, tryClassic})) {
		return d.HandshakeClassic, true
	}
	return r.dialer.Handshake, false
}

// triesClassic reports whether a handshake with a server that has failed with err is
// worth another one on a fresh connection, without ML-KEM. The next one is.
func (r *running) triesClassic(server string, err error) bool {
	if _, ok := r.dialer.(classicDialer); !ok || !stopsAtMLKEM(err) {
		return false
	}
	r.lessons.remember(lesson{server, tryClassic}, tryClassicLasts)
	return r.lessons.remembers(lesson{server, tryClassic}) // there may be no room
}

// classicWorks remembers that a handshake without ML-KEM was good.
func (r *running) classicWorks(server string) {
	if !r.lessons.remembers(lesson{server, needsClassic}) {
		r.lessons.remember(lesson{server, needsClassic}, needClassicLasts)
	}
}

// stopsAtMLKEM reports whether a handshake has failed because, perhaps, the server
// cannot take a hello with ML-KEM. The failure does not count: another try follows.
func stopsAtMLKEM(err error) bool {
	e, ok := errors.AsType[*tlspolicy.Error](err)
	return ok && e.Hybrid
}
