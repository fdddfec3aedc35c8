package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

// Some servers take one EHLO in a session. Exchange 5.5 answers a second one with 503
// (KB Q297269), OpenSMTPD 6.8 and qpsmtpd 0.94 likewise; msmtpd 1.8.23 answers 500 and
// hangs up. Where TLS with the client ends here, or an XCLIENT command of the client's
// does, the client has to say EHLO again, and the server knows no reason for it. The
// server's answer to the first EHLO is true still. That the client has to forget what
// it heard before TLS (RFC 3207, 4.2) does not matter: we heard it over the connection
// to the server, which nobody has changed since.

// oneHello is remembered of a server that takes one hello in a session, for a day.
const (
	oneHello     = "one_hello"
	oneHelloRest = 24 * 60 * 60
)

// A secondHello is what became of a hello that is not the first on its connection.
type secondHello uint8

const (
	answered   secondHello = iota // the reply is the server's own
	recalled                      // the answer to the first one holds
	reconnects                    // it is to be said on the fresh connection
	over                          // the session has ended
)

// Recall has a hello that the server refuses, or hangs up on, because it takes one in
// a session, answered with what it has answered before on this connection. The engine
// does so without being asked where the client repeats its hello because of TLS or
// XCLIENT that end here. A rule may ask for it where the client says EHLO, HELO or LHLO.
func (t *Turn) Recall() { t.recallBy.add(t.rule) }

// recallCause names who has the answer recalled; "" if nobody has.
func (t *Turn) recallCause() string {
	d := t.d
	switch {
	case !t.recallBy.empty():
		return d.policy.Rules.nameSet(t.recallBy)
	case d.seen.anew:
		return xclientCause
	case d.seen.helloOwed, d.server.oneHello && d.seen.tls:
		return clientTLSCause
	case d.server.oneHello: // what was hidden once stays so
		return xclientCause
	}
	return ""
}

// mayRecall reports whether an answer of this connection can be one to this verb. The
// answer to HELO offers nothing, so it is one to EHLO only where the client has to say
// that anew.
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

// refusesSecond reports whether a code can mean that a hello came at the wrong time,
// or that it is not known at this time. 501, 550 and 553 judge the name.
func refusesSecond(code int) bool { return code == 500 || 502 <= code && code <= 504 }

// recallUnasked recalls the answer to a hello that the server would refuse, without
// asking it. HELO says less than EHLO, so EHLO behind HELO is always asked.
func (t *Turn) recallUnasked(line string) secondHello {
	d, v := t.d, ParseVerb([]byte(line))
	if v != d.server.hello && v != VerbHELO || !t.mayRecall(v) || !d.takesOneHello() {
		return answered
	}
	d.server.oneHello = true
	d.hello = append(d.hello[:0], line...)
	if d.seen.transaction {
		return t.resetServer()
	}
	return recalled
}

func (d *Dialogue) takesOneHello() bool {
	return d.server.oneHello || d.memory != nil && d.memory.Remembers(oneHello)
}

// tooMany says what becomes of a hello whose reply, or loss, is e. RSET tells whether
// the connection still stands, and ends a transaction, as a second EHLO would (RFC
// 5321, 4.1.4).
//
// 421 is a loss where the server would not have heard this hello without us. It may
// have another reason, and is not remembered.
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
		return recalled // nobody is told, and the client's command comes next
	}
	return t.resetServer()
}

// resetServer says RSET. A server that refuses it may have reached its limit of errors,
// and hang up next: where nothing is lost with the connection, a fresh one is made. After
// a login without a transaction there was nothing to reset.
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

// mayReconnect reports whether nothing is lost with the connection to the server.
func (t *Turn) mayReconnect() bool { return !t.d.seen.transaction && !t.d.seen.authenticated }

// reconnectForHello has a fresh connection made for a hello, unless the one that is
// lost had a transaction or a login.
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
	d.server.oneHello = true // of this server too, once it has answered one
	return reconnects
}

// recall makes e the reply that is recalled. HELO gets its first line.
func (t *Turn) recall(v Verb, e *event) {
	t.applied.addAll(t.recallBy)
	t.recalled = t.recallCause()
	if t.d.policy.Logins != nil { // the client may log in inside TLS otherwise than in clear
		t.d.offerLogins(Extensions{reply: t.d.server.unpacked()})
	}
	offer := *t.d.server.unpacked()
	if v == VerbHELO {
		offer.Lines = offer.Lines[:1]
	}
	*e = event{code: offer.Code, raw: offer.appendTo(nil), swallowed: true, recalled: true}
}

// accepted keeps what the server has answered to a hello.
func (t *Turn) accepted(v Verb, raw []byte) {
	s := &t.d.server
	if esmtp.Has(v) {
		t.learn(raw)
	} else {
		s.forget() // a server that has heard HELO may not know BDAT any more
		line, _, _ := bytes.Cut(raw, crlf)
		s.offer = parseReply(append(bytes.Clone(line), crlf...))
	}
	s.hello = v
}
