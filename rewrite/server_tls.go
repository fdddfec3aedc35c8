package rewrite

import "smtpshim/rewrite/vocabulary"

// startTLS sends STARTTLS and performs the handshake.
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
	d.event("server TLS") // the server's earlier replies are forgotten (RFC 3207, 4.2)
	d.server.tls = true
	d.server.forget()
	return forgetful
}

// shakeAgain makes a fresh connection for one more handshake.
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

// inClear goes on without TLS, or refuses if TLS is required.
func (t *Turn) inClear(reason string) aftermath {
	d := t.d
	if d.policy.ServerTLS == ServerTLSRequire {
		return t.refuseClear(reason)
	}
	d.server.plain = true
	return settled
}

// ehloLost handles a server that hung up on the EHLO before a client's HELO. The EHLO is
// sent once more on a fresh connection. If that is lost too, the session goes on without
// TLS. But with a server that is known to support ESMTP, the session ends rather than go
// on in clear.
func (t *Turn) ehloLost() aftermath {
	d := t.d
	if t.insisted && d.policy.ServerTLS == ServerTLSOpportunistic && d.speaksESMTP() {
		d.end(vocabulary.OutcomeServerLost, lostText)
		return ended
	}
	return t.tlsLost()
}

// tlsLost handles a server that was lost on the way to opportunistic TLS. The first time
// it makes a fresh connection to try again, so that one lost connection does not cause a
// session in clear. The second time, TLS has failed.
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

// handshakeFailed goes on without TLS on a fresh connection, or refuses if TLS is
// required.
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

// CarriesTLS tells the dialogue that the client has begun TLS instead of waiting for a
// greeting, and that the server begins its connections with TLS too. The session becomes
// Opaque, because nothing of it can be read. The caller may call CarriesTLS only if the
// policy has ClientTLSPass, ServerTLSOff and XCLIENTNever: a client could hide an XCLIENT
// of its own inside its TLS.
func (d *Dialogue) CarriesTLS() {
	d.event("opaque")
	d.next = Opaque
}
