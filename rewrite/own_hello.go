package rewrite

// introducing is what a client may say first that says no hello.
var introducing = SetOf(VerbMAIL) | sasl

// saysHello reports whether a command of a client that has said no hello is preceded
// by an EHLO in our own name: TLS with the server begins behind one, and so does
// XCLIENT. A server need not require a hello (Postfix: smtpd_helo_required = no), so
// the client was served without us.
func (d *Dialogue) saysHello(v Verb) bool {
	return introducing.Has(v) && len(d.hello) == 0 && !d.seen.anew && !d.seen.helloOwed && (d.wantsTLS() || d.wantsXCLIENT())
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
