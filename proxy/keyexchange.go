package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"smtpshim/proxy/tlspolicy"
)

// Lessons about a server that does not answer a ClientHello with ML-KEM, and how long each
// is remembered. tryClassic says that a handshake without ML-KEM is to be tried;
// needsClassic says that one has succeeded. When they are forgotten, ML-KEM is tried
// again.
const (
	tryClassic       = "try key_exchange classic"
	tryClassicLasts  = 2 * time.Minute
	needsClassic     = "key_exchange classic"
	needClassicLasts = time.Hour
)

// handshake returns the function that does a TLS handshake with a server. classic reports
// whether that function offers no ML-KEM, because of a lesson about the server.
func (r *running) handshake(server string) (shake func(context.Context, net.Conn, string) (*tls.Conn, error), classic bool) {
	d, ok := r.dialer.(classicDialer)
	if ok && (r.lessons.remembers(lesson{server, needsClassic}) || r.lessons.remembers(lesson{server, tryClassic})) {
		return d.HandshakeClassic, true
	}
	return r.dialer.Handshake, false
}

// triesClassic reports whether to try a handshake again without ML-KEM, on a fresh
// connection, after a handshake with the server has failed with err. If so, the next
// handshake offers no ML-KEM.
func (r *running) triesClassic(server string, err error) bool {
	if _, ok := r.dialer.(classicDialer); !ok || !stopsAtMLKEM(err) {
		return false
	}
	r.lessons.remember(lesson{server, tryClassic}, tryClassicLasts)
	return r.lessons.remembers(lesson{server, tryClassic}) // false if there was no room
}

// classicWorks remembers that a handshake without ML-KEM has succeeded.
func (r *running) classicWorks(server string) {
	if !r.lessons.remembers(lesson{server, needsClassic}) {
		r.lessons.remember(lesson{server, needsClassic}, needClassicLasts)
	}
}

// stopsAtMLKEM reports whether a handshake may have failed because the server cannot
// handle a ClientHello with ML-KEM. Such a failure is not counted, because another attempt
// follows.
func stopsAtMLKEM(err error) bool {
	e, ok := errors.AsType[*tlspolicy.Error](err)
	return ok && e.Hybrid
}
