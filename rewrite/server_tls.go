package rewrite

import "smtpshim/rewrite/vocabulary"

// startTLS says STARTTLS and shakes hands.
func (t *Turn) startTLS() aftermath {
	d := t.d
	e := t.say("STARTTLS", t.ownCause())
	if e.kind == lost {
		return t.tlsLost()
	}
	d.swallow(e.raw, t.ownCause())
	if e.code != 220 {
		d.rememberTLSFailed()
		return t.inClear("the server refused STARTTLS")
	}
	switch t.await(AwaitServerTLS).kind {
	case unsettled:
		return t.shakeAgain()
	case insecure:
		return t.handshakeFailed()
	case lost:
		return t.tlsLost()
	}
	d.event("server TLS") // what was known before is forgotten (RFC 3207, 4.2)
	d.server.tls = true
	d.server.forget()
	return forgetful
}

// shakeAgain begins again on a fresh connection where another handshake may go better.
func (t *Turn) shakeAgain() aftermath {
	if t.reshaken {
		return t.handshakeFailed()
	}
	t.reshaken = true
	if !t.reconnect() {
		return ended
	}
	return forgetful
}

// inClear goes on without TLS, or refuses to.
func (t *Turn) inClear(reason string) aftermath {
	d := t.d
	if d.policy.ServerTLS == ServerTLSRequire {
		return t.refuseClear(reason)
	}
	d.server.plain = true
	return settled
}

// ehloLost is what comes of a server that has hung up on the EHLO that goes ahead of a
// client's HELO. EHLO is said once more on a fresh connection. If that is lost too, the
// session goes on without TLS, or not at all: not in clear with a server that is known to
// speak ESMTP.
func (t *Turn) ehloLost() aftermath {
	d := t.d
	if t.insisted && d.policy.ServerTLS == ServerTLSOpportunistic && d.speaksESMTP() {
		d.end(vocabulary.OutcomeServerLost, lostText)
		return ended
	}
	return t.tlsLost()
}

// tlsLost begins again on a fresh connection where the server was lost on the way to
// opportunistic TLS. The second time TLS has failed: one lost connection must not have a
// session go in clear.
func (t *Turn) tlsLost() aftermath {
	if t.insisted || t.d.policy.ServerTLS != ServerTLSOpportunistic {
		return t.handshakeFailed()
	}
	t.insisted = true
	if !t.reconnect() {
		return ended
	}
	return forgetful
}

// handshakeFailed goes on without TLS on a fresh connection, or refuses to.
func (t *Turn) handshakeFailed() aftermath {
	d := t.d
	if d.policy.ServerTLS != ServerTLSOpportunistic {
		return t.refuseClear("TLS with the server failed")
	}
	d.server.plain = true
	d.rememberTLSFailed()
	if !t.reconnect() {
		return ended
	}
	return forgetful
}

// CarriesTLS says that the client has begun TLS where a greeting was due, and that the
// server does so too: nothing of the session can be read. It is for a policy under which
// neither TLS with the client nor that with the server ends here.
func (d *Dialogue) CarriesTLS() {
	d.event("opaque")
	d.next = Opaque
}
