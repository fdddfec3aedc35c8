package rewrite

// introducing is what a client may say first that says no hello.
var introducing = SetOf(VerbMAIL) | sasl

// saysHello reports whether a command of a client that has said no hello is preceded
// by an EHLO in our own name: TLS with the server begins behind one, and so does
// XCLIENT. A server need not require a hello (Postfix: smtpd_helo_required = no), so
// the client was served without us.
func (d *Dialogue) saysHello(v Verb) bool {
	return introducing.Has(v) && len(d.hello) == 0 && !d.seen.anew && !d.seen.helloOwed && (d.wantsTLS() || d.wantsXCLIENT() || d.policy.Logins != nil)
}

// sayOwnHello says EHLO in our own name, and does what is due behind it. Whether the
// server goes on without a hello that it has refused is its own matter. If it hangs up
// where TLS is opportunistic, nothing is said first on the next connection.
func (t *Turn) sayOwnHello() (ok bool) {
	raw, ok := t.sayHello("EHLO " + t.d.policy.Hostname)
	if ok && raw != nil {
		t.d.swallow(raw, t.ownCause())
	}
	return ok
}

// sayOne says a hello: one of our own, the EHLO ahead of the client's HELO, or the
// client's line.
func (t *Turn) sayOne(asked, line string, ours bool) event {
	switch {
	case ours:
		return t.say(asked, t.ownCause())
	case asked != line:
		return t.sayAhead(asked)
	}
	return t.sayTheirs(asked)
}

// sayAhead says EHLO ahead of the client's HELO. If the server refuses the client's
// name in it, ours does: the EHLO is our own, and all it is for is STARTTLS.
func (t *Turn) sayAhead(ehlo string) event {
	e := t.say(ehlo, t.ownCause())
	if e.kind != replied || !t.d.wantsTLS() {
		return e
	}
	switch e.code {
	case 501, 504, 550, 553:
		t.d.swallow(e.raw, t.ownCause())
		e = t.say("EHLO "+t.d.policy.Hostname, t.ownCause())
	}
	return e
}
