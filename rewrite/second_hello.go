package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

// Some servers accept one EHLO in a session. Exchange 5.5, OpenSMTPD 6.8 and qpsmtpd 0.94
// answer the second with 503 (KB Q297269); msmtpd 1.8.23 answers 500 and hangs up. If we
// end TLS with the client, or take its XCLIENT, the client must say EHLO again, and the
// server sees no reason for that. The server's reply to the first EHLO is still true. The
// client must forget what it was told before TLS (RFC 3207, 4.2), but the reply came over
// the connection to the server, which has not changed since.

// oneHello is the key under which a server is remembered, for a day, that accepts one
// hello in a session.
const (
	oneHello     = "one_hello"
	oneHelloRest = 24 * 60 * 60
)

// A secondHello says how a hello that is not the first on its connection was answered.
type secondHello uint8

const (
	answered   secondHello = iota // by the server's reply
	recalled                      // by the recalled reply to an earlier hello
	reconnects                    // not yet: it must be sent on a fresh connection
	over                          // not at all: the session has ended
)

// Recall is for servers that accept only one hello on a connection. If the server
// refuses the client's hello because it has accepted one before, the client gets the
// server's reply to that one instead. If the server hangs up, the hello is sent on a
// fresh connection, or the session ends if a transaction or a login would be lost. If
// the server is known to do either, the client may get the reply without the hello
// being sent.
//
// A rule may call Recall in its Command function, for EHLO, HELO and LHLO. Where the
// client repeats its hello because we have ended its TLS or taken its XCLIENT, the
// dialogue does the same by itself.
func (t *Turn) Recall() { t.recallBy.add(t.rule) }

// recallCause returns the cause, for a trace, of recalling a reply; "" if there is no
// reason to recall one.
func (t *Turn) recallCause() string {
	d := t.d
	switch {
	case !t.recallBy.empty():
		return d.policy.Rules.nameSet(t.recallBy)
	case d.seen.anew:
		return xclientCause
	case d.seen.helloOwed, d.server.oneHello && d.seen.tls:
		return clientTLSCause
	case d.server.oneHello: // what was hidden once stays hidden
		return xclientCause
	}
	return ""
}

// mayRecall reports whether the recalled reply may answer v. The reply to HELO offers
// nothing, so it answers EHLO only if the client repeats its hello because of TLS or
// XCLIENT.
func (t *Turn) mayRecall(v Verb) bool {
	first, owed := t.d.server.hello, t.d.seen.helloOwed || t.d.seen.anew
	switch {
	case first == VerbOther || t.recallCause() == "":
		return false
	case v == VerbEHLO && first == VerbHELO:
		return owed
	}
	return (v == VerbLHLO) == (first == VerbLHLO)
}

// refusesSecond reports whether a code can mean that a hello comes at the wrong time.
// 501, 550 and 553 refuse the name in it.
func refusesSecond(code int) bool { return code == 500 || 502 <= code && code <= 504 }

// recallUnasked recalls the reply to a hello without sending the hello, if the server is
// known to refuse it. An EHLO after HELO is always sent, because its reply says more.
func (t *Turn) recallUnasked(line string) secondHello {
	d, v := t.d, ParseVerb([]byte(line))
	if v != d.server.hello && v != VerbHELO || !t.mayRecall(v) || !d.takesOneHello() {
		return answered
	}
	d.server.oneHello = true
	d.hello = line
	if d.seen.transaction {
		return t.resetServer()
	}
	return recalled
}

func (d *Dialogue) takesOneHello() bool {
	return d.server.oneHello || d.memory != nil && d.memory.Remembers(oneHello)
}

// tooMany says how to answer a hello whose reply, or loss, is e. If the server refuses a
// second hello, tooMany sends RSET, which shows whether the connection still works, and
// ends a transaction as a second EHLO would (RFC 5321, 4.1.4).
//
// A 421 counts as a loss if the server would not have seen this hello without us. It may
// have another reason, so the server is not remembered for it.
func (t *Turn) tooMany(line string, e *event) secondHello {
	d := t.d
	leaves := e.kind == replied && e.code == 421 && (d.seen.helloOwed || d.seen.anew) && t.mayReconnect()
	if !t.mayRecall(ParseVerb([]byte(line))) || e.kind == replied && !refusesSecond(e.code) && !leaves {
		return answered
	}
	if leaves {
		d.swallow(e.raw, t.recallCause())
		e.swallowed = true
		return t.reconnectForHello()
	}
	if d.server.oneHello = true; d.memory != nil {
		d.memory.Remember(oneHello, oneHelloRest)
	}
	if e.kind == lost {
		return t.reconnectForHello()
	}
	t.refuses(e.raw)
	d.swallow(e.raw, t.recallCause())
	e.swallowed = true
	if e.code == 503 && !hello.Has(t.verb) {
		return recalled // nobody is told of this hello, and the client's command comes next
	}
	return t.resetServer()
}

// resetServer sends RSET. A server that refuses it may have reached its limit of errors
// and hang up next, so resetServer makes a fresh connection if nothing is lost by that.
// If a login, but no transaction, would be lost, it ignores the refusal, since there was
// nothing to reset.
func (t *Turn) resetServer() secondHello {
	d := t.d
	e := t.say("RSET", t.recallCause())
	if e.kind == lost {
		return t.reconnectForHello()
	}
	d.swallow(e.raw, t.recallCause())
	switch {
	case e.code < 300:
		return recalled
	case e.code >= 400 && t.mayReconnect():
		return t.reconnectForHello()
	case e.code >= 400 && e.code != 421 && !d.seen.transaction:
		return recalled
	}
	d.breach()
	return over
}

// mayReconnect reports whether a fresh connection to the server loses nothing.
func (t *Turn) mayReconnect() bool { return !t.d.seen.transaction && !t.d.seen.authenticated }

// reconnectForHello makes a fresh connection for a hello. It ends the session instead if
// a transaction or a login would be lost.
func (t *Turn) reconnectForHello() secondHello {
	d := t.d
	switch {
	case d.seen.transaction:
		t.endLost()
		return over
	case d.seen.authenticated:
		d.end(vocabulary.OutcomeServerLost, lostText)
		return over
	}
	t.applied.addAll(t.recallBy)
	if !t.reconnect() {
		return over
	}
	d.server.oneHello = true // assume it of this server too, once it has accepted one
	return reconnects
}

// recall makes e the recalled reply. For HELO it is only the first line.
func (t *Turn) recall(v Verb, e *event) {
	t.applied.addAll(t.recallBy)
	t.recalled = t.recallCause()
	if t.d.policy.Logins != nil { // the client may be offered other logins inside TLS than in clear
		t.d.offerLogins(Extensions{reply: t.d.server.unpacked()})
	}
	offer := *t.d.server.unpacked()
	if v == VerbHELO {
		offer.Lines = offer.Lines[:1]
	}
	*e = event{code: offer.Code, raw: offer.appendTo(nil), swallowed: true, recalled: true}
}

// accepted records the server's positive reply to a hello.
func (t *Turn) accepted(v Verb, raw []byte) {
	s := &t.d.server
	if esmtp.Has(v) {
		t.learn(raw)
	} else {
		s.forget() // the server may accept BDAT no longer after HELO
		line, _, _ := bytes.Cut(raw, crlf)
		s.offer = parseReply(append(bytes.Clone(line), crlf...))
	}
	s.hello = v
}
