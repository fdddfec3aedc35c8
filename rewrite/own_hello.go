package rewrite

// introducing is the set of commands with which a client may begin that omits the hello.
var introducing = SetOf(VerbMAIL) | sasl

// saysHello reports whether an EHLO in our own name must precede a command of a client
// that has sent no hello. TLS with the server and XCLIENT need one. A server need not
// require a hello (Postfix: smtpd_helo_required = no), so such a client was served
// without us.
func (d *Dialogue) saysHello(v Verb) bool {
	return introducing.Has(v) && len(d.hello) == 0 && !d.seen.anew && !d.seen.helloOwed && (d.wantsTLS() || d.wantsXCLIENT() || d.policy.Logins != nil)
}

// sayOwnHello sends EHLO in our own name, and what must follow it. If the server refuses
// the EHLO, the session goes on, since the server may not require one. If the server
// hangs up and TLS is opportunistic, the next connection begins without an EHLO.
func (t *Turn) sayOwnHello() (ok bool) {
	raw, ok := t.sayHello("EHLO " + t.d.policy.Hostname)
	if ok && raw != nil {
		t.d.swallow(raw, t.ownCause())
	}
	return ok
}

// sayOne sends one hello: one of our own, the EHLO before the client's HELO, or the
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

// sayAhead sends EHLO before the client's HELO. If the server refuses the client's name
// in it, sayAhead uses our own name: the EHLO is our own and only serves to begin TLS.
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
