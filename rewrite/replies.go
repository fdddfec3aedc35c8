package rewrite

import (
	"fmt"

	"smtpshim/rewrite/vocabulary"
)

const (
	lostText        = "421 4.4.2 connection to server lost"
	unreachableText = "421 4.3.2 server not available"
	silentText      = "421 4.4.2 no answer from server in time"
	brokenText      = "421 4.3.0 server broke the protocol"
	noTLSText       = "454 4.7.0 TLS with the server is required and not to be had"
)

const earlyReason = "the server answered before the message had ended"

// Greeting takes raw, the server's greeting with its line ends, on the first connection
// to the server or on a fresh one. The caller calls it while Next is AwaitServer.
func (d *Dialogue) Greeting(raw []byte) {
	d.server = serverState{tls: d.policy.ServerTLS == ServerTLSImplicit, plain: d.server.plain}
	if d.recipients != nil {
		*d.recipients = recipients{}
	}
	d.bannerIs(raw)
	d.seen.esmtp = d.seen.esmtp || HasWord(raw, "ESMTP")
	code, err := replyCode(raw)
	d.server.last, d.server.refuses = int16(code), code >= 400
	if d.holds() {
		d.resume(event{code: code, raw: raw})
		return
	}
	if err != nil || !fits(VerbGreeting, code) {
		d.breach()
		return
	}
	d.next = AwaitCommand
	d.deliver(VerbGreeting, nil, nil, raw, 0)
}

// Lost tells the dialogue that the server hung up or could not be reached. A rule or
// the engine may go on with a fresh connection. Otherwise the session ends, and the
// client gets a 421, with these exceptions:
//
//   - If the client's QUIT has no reply yet, the client gets a 221.
//   - If the server has refused the client's command, and another line was sent in
//     place of passing on the refusal, the client gets that refusal.
//   - If the server has refused the session in its greeting, or its last reply was a
//     421, the client gets nothing.
//   - If no reply is due, and the last one was a 221 or a refusal, the client gets
//     nothing.
func (d *Dialogue) Lost() {
	d.event("server lost")
	d.observed.loss(false)
	d.server.gone = true
	switch {
	case d.next == AwaitServer:
		d.end(vocabulary.OutcomeServerUnreachable, unreachableText)
	case d.server.refuses && !d.asksForGoodbye():
		d.turnedAway()
	case d.holds() && d.next == AwaitReply:
		d.resume(event{kind: lost})
	case d.asksForGoodbye():
		d.Finish("221 2.0.0 closing connection")
	case d.sent.n > 0 && d.server.last == 421: // the 421 has told the client that the session ends
		d.leave()
	case d.sent.n == 0 && d.next == AwaitCommand && isGoodbye(d.server.last):
		d.fail(vocabulary.OutcomeServerLost, fmt.Sprintf("the server hung up after it said %d", d.server.last))
		d.next = End
	default:
		d.end(vocabulary.OutcomeServerLost, lostText)
	}
}

// asksForGoodbye reports whether the server owes a reply to QUIT.
func (d *Dialogue) asksForGoodbye() bool { return d.sent.n > 0 && d.sent.first() == VerbQUIT }

// isGoodbye reports whether a reply with this code has told the client that the server
// may hang up.
func isGoodbye(code int16) bool { return code == 221 || code >= 400 }

// LastWord takes raw, a reply that the server sent unasked before it hung up. If raw is
// a refusal (4xx or 5xx), or if a rule replaces it by a refusal, the client gets that
// as its last reply, the session ends, and the result is true. Otherwise nothing
// happens and the result is false, because the client would take a positive reply for
// the reply to its next command.
func (d *Dialogue) LastWord(raw []byte) bool {
	if _, made, ok, _ := d.repair(Repair{octets: raw, unasked: true, closed: true}); ok && len(made) > 0 {
		raw = made
	}
	if raw[0] < '4' {
		return false
	}
	d.fail(vocabulary.OutcomeServerLost, "the server closed an idle session")
	d.server.gone = true
	d.give(VerbOther, raw, Reply{})
	d.next = End
	return true
}

// holds reports whether a turn is held, so that nothing else is in progress.
func (d *Dialogue) holds() bool { return d.turn != nil && d.turn.held }

// ServerTLS tells the dialogue that the TLS handshake with the server has succeeded.
func (d *Dialogue) ServerTLS() { d.resume(event{kind: secured}) }

// ServerTLSFailed tells the dialogue that the TLS handshake with the server has failed
// and the connection is closed. If TLS is opportunistic, the session goes on without it
// on a fresh connection. Otherwise the client's present command, and every later one
// but QUIT, is refused.
func (d *Dialogue) ServerTLSFailed() { d.resume(event{kind: insecure}) }

// ServerTLSLost tells the dialogue that the server hung up or was silent in a TLS
// handshake, and that the connection is closed. If TLS is opportunistic, the handshake
// is tried once more on a fresh connection. Otherwise, or if a connection is lost again
// for the same command of the client, ServerTLSLost does what ServerTLSFailed does.
func (d *Dialogue) ServerTLSLost() { d.resume(event{kind: lost}) }

// ServerTLSAgain tells the dialogue that a TLS handshake with the server has failed,
// that the connection is closed, and that another handshake may succeed. The handshake
// is tried once more on a fresh connection. If ServerTLSAgain is called again for the
// same command of the client, it does what ServerTLSFailed does.
func (d *Dialogue) ServerTLSAgain() { d.resume(event{kind: unsettled}) }

// Reply takes raw, a whole reply of the server with its line ends, as ScanReply has
// found it. ahead says whether the client has sent more than the dialogue has taken.
// behind says whether the server has sent more behind raw.
//
// If no reply is due, the session ends: the client gets raw if it is a 421, and
// otherwise a 421 of our own. If a message is being sent and raw is a refusal, the
// client gets it at the end of the message.
func (d *Dialogue) Reply(raw []byte, ahead, behind bool) {
	code, err := replyCode(raw)
	switch {
	case err != nil:
		d.breach()
	case d.next == AwaitMessage:
		d.earlyReply(code, raw)
	case d.sent.n == 0:
		// No reply is awaited. A 421 may come at any time (RFC 5321, 3.8). Any other
		// reply would be taken for the reply to the next command.
		if code == 421 {
			d.server.gone = true
			d.give(VerbOther, raw, Reply{})
			return
		}
		d.breach()
	case d.leaves(code):
		d.Lost()
	case !d.fits(code):
		d.breach()
	case code == 220 && d.startsTLS() && behind:
		d.breach() // octets in clear would be taken for encrypted (CVE-2011-0411)
	case code == 220 && d.startsTLS() && ahead && startsTLS.Has(d.turn.verb): // the client's own TLS
		d.server.gone = true
		d.end(vocabulary.OutcomeClientProtocol, aheadText)
	case d.holds():
		d.server.last = int16(code)
		if d.sent.pop(); d.turn.spoken == VerbRCPT {
			d.recipients.hear(code)
		}
		v := d.turn.verb
		d.turn.pending = code == 334
		d.turn.hears(code)
		d.resume(event{code: code, raw: raw})
		if !d.holds() {
			d.afterData(v, code, ahead)
		}
	case d.recipients != nil && d.sent.first() == VerbMessage:
		d.server.last = int16(code)
		d.recipientReply(raw, ahead)
	default:
		d.server.last = int16(code)
		marks := d.observed.oldest()
		v, said, line := d.sent.pop()
		if v == VerbRCPT {
			d.recipients.hear(code)
		}
		d.deliver(v, said, line, raw, marks)
		d.afterData(v, code, ahead)
	}
}

// startsTLS reports whether a TLS handshake follows a positive reply to the last command.
func (d *Dialogue) startsTLS() bool { return d.holds() && startsTLS.Has(d.turn.spoken) }

var startsTLS = SetOf(VerbSTARTTLS, VerbAnonymousTLS)

// Silent tells the dialogue that the server has not replied in time. If
// [Dialogue.Patience] is not 0, the rules may go on with a fresh connection. Otherwise
// the session ends, and the client gets a 421, unless the last reply that it got was
// one.
func (d *Dialogue) Silent() {
	d.observed.loss(true)
	d.server.gone = true
	if d.patience > 0 && d.holds() {
		d.event("server silent")
		d.resume(event{kind: late})
		return
	}
	if d.parting {
		d.leave()
		return
	}
	d.end(vocabulary.OutcomeServerTimeout, silentText)
}

// Garbage tells the dialogue that the server has sent something that cannot be the
// reply that is due. The client gets a 421 and the session ends.
func (d *Dialogue) Garbage() { d.breach() }

// breach ends a session whose server does not follow the protocol. With a reply out of
// step, a refusal would become a yes to another command.
func (d *Dialogue) breach() {
	d.server.gone = true
	d.end(vocabulary.OutcomeServerProtocol, brokenText)
}

// fits reports whether a reply with this code can be the awaited one.
func (d *Dialogue) fits(code int) bool {
	switch {
	case !d.holds():
		return fits(d.sent.first(), code)
	case code == 334:
		return (sasl.Has(d.turn.verb) || d.turn.proving) && (d.turn.pending || sasl.Has(d.turn.spoken))
	case d.turn.pending:
		return fits(d.turn.verb, code)
	}
	return fits(d.turn.spoken, code)
}

// fits reports whether a reply with this code can answer v.
func fits(v Verb, code int) bool {
	if v == VerbDATA {
		return code == 354 || code >= 400
	}
	return code < 300 || code >= 400
}

// leaves reports whether a 221 means that the server hangs up instead of answering. 221
// is the reply to QUIT alone (RFC 5321, 4.2.3).
func (d *Dialogue) leaves(code int) bool {
	return code == 221 && mail.Has(d.sent.first())
}

// mail is the set of verbs that carry a mail on if the reply is a yes.
var mail = SetOf(VerbMAIL, VerbRCPT, VerbDATA, VerbBDAT, VerbMessage, VerbRSET)

// earlyReply takes a reply to a message that is still being sent. The rest of the message
// is discarded, and the client gets the reply at its end.
func (d *Dialogue) earlyReply(code int, raw []byte) {
	if code < 400 {
		d.breach()
		return
	}
	d.early = string(raw)
	d.server.gone = true
	d.next = AwaitDiscard
	d.event("server answers before the message has ended")
}

// MessageLost tells the dialogue that the server was lost while a message was sent to
// it. The rest of the message is discarded, and the client gets a 421 at the end of the
// message.
func (d *Dialogue) MessageLost() {
	d.earlyReply(421, []byte(lostText+"\r\n"))
	d.cause = &cause{vocabulary.OutcomeServerLost, "the server was lost before the message had ended"}
}

// afterData ends the session if DATA was refused and the client has sent its text without
// waiting. The text would be read as commands.
func (d *Dialogue) afterData(v Verb, code int, ahead bool) {
	if v == VerbDATA && code != 354 && ahead && d.next != End {
		d.end(vocabulary.OutcomeClientProtocol, "554 5.5.0 the message was sent before DATA was accepted")
	}
}

// answeredDATA is afterData for a DATA that we have refused ourselves. The client's text
// may come a moment after our reply; its first line shows that it is text: see
// Dialogue.take.
func (d *Dialogue) answeredDATA(ahead bool) {
	d.seen.dataAnswered = true
	d.afterData(VerbDATA, 503, ahead)
}

// deliver gives the client a reply, through the rules that see it. marks are those of the
// command, for an observation.
func (d *Dialogue) deliver(v Verb, said, line, raw []byte, marks markSet) {
	d.observed.reply(v, said, line, raw, marks)
	if d.policy.Rules.seesRaw(v, raw) {
		d.ruledReply(v, said, line, raw)
		return
	}
	d.give(v, raw, Reply{})
}

// ruledReply gives the client the result of the rules for a reply to a command that is
// not held.
func (d *Dialogue) ruledReply(v Verb, said, line, raw []byte) {
	t := d.newTurn(v, said)
	t.line, t.raw, t.reply = line, raw, parseReply(raw)
	t.runReply()
	if t.replyBy.empty() || t.reply.equal(parseReply(raw)) {
		d.give(v, raw, Reply{})
		return
	}
	d.departed(t.applied)
	d.give(v, raw, t.reply)
}

// finish gives the client the result of the rules for a reply to a held turn. It returns
// false if a rule sends another line instead.
func (t *Turn) finish(raw []byte) bool {
	d := t.d
	d.observed.heldReply(t, raw)
	t.raw, t.replyBy = raw, ruleSet{}
	t.reply.Code = codeOf(raw)
	learned := t.offersExtensions()
	var came Reply
	if learned {
		t.reply, t.replyBy = d.server.offer.clone(), t.offerBy
		t.applied.addAll(t.offerBy)
		came = d.server.offer
	}
	if !learned || !t.offerBy.empty() || t.withheld || d.policy.Logins != nil {
		came = parseReply(raw)
	}
	if !learned {
		t.reply = came.clone()
	}
	t.runReply()
	if t.repeats {
		return false
	}
	if esmtp.Has(t.verb) && t.reply.Code < 300 {
		t.show(&t.reply)
	} else if t.recalled != "" { // HELO: the client was shown no keywords
		shown := t.reply.clone()
		d.seen.shown = &shown
	}
	d.departed(t.applied)
	t.applied = ruleSet{}
	if learned && t.withheld {
		d.listener.Applied(string(vocabulary.SafeguardAuthInClear))
	}
	if t.reply.equal(came) {
		t.reply = Reply{}
	}
	d.give(t.verb, raw, t.reply)
	return true
}

// show adapts an EHLO reply to the session and records what the client is offered.
func (t *Turn) show(r *Reply) {
	d := t.d
	d.account(r, &t.causes)
	d.seen.shown = nil
	if !r.equal(*d.server.unpacked()) {
		shown := r.clone()
		d.seen.shown = &shown
	}
}

// giveAnswer gives the client the reply that a rule has made.
func (t *Turn) giveAnswer() {
	r := t.answered.clone()
	t.answered = Reply{}
	if esmtp.Has(t.verb) && r.Code < 300 {
		t.show(&r)
	}
	t.d.departed(t.applied)
	t.applied = ruleSet{}
	t.d.give(t.verb, nil, r)
}

// learn reads the server's EHLO reply and runs the rules' Offer functions on it.
func (t *Turn) learn(raw []byte) {
	d := t.d
	d.server.offer, d.server.packed, t.causes = parseReply(raw), "", nil
	d.offerTells(d.server.offer.Lines)
	if d.policy.Logins != nil {
		d.access.mechanisms = mechanismsOf(Extensions{reply: &d.server.offer})
		d.step(Extensions{reply: &d.server.offer}, &t.causes, loginCause, d.offerLogins)
	}
	d.observed.learns(&d.server.offer)
	t.offerBy = d.runOffer(&d.server.offer, &t.causes)
	e := Extensions{reply: &d.server.offer}
	if t.verb != VerbLHLO {
		d.knowsEHLO()
	}
	if t.withheld = false; d.policy.withholdsLogin() && d.policy.Logins == nil {
		d.step(e, &t.causes, string(vocabulary.SafeguardAuthInClear), func(e Extensions) { t.withheld = d.withhold(e) })
	}
	d.server.known = e.known()
	if d.policy.XCLIENT != XCLIENTNever {
		d.server.attributes = attributesOffered(e)
	}
}

// give gives the client r, or raw if r has no code, as the reply to v, and updates the
// state of the session. Every reply of the server passes it.
func (d *Dialogue) give(v Verb, raw []byte, r Reply) {
	start, isOurs := len(d.ToClient), raw == nil
	code := r.Code
	if code == 0 {
		d.ToClient = append(room(d.ToClient, len(raw)), raw...)
		code = codeOf(raw)
	} else {
		d.ToClient = r.appendTo(room(d.ToClient, 0))
	}
	if v == VerbHELP && !isOurs {
		d.helpTells(raw)
	}
	d.listener.Replied(v, code, d.tellable(v, d.ToClient[start:]))
	if d.tracer != nil {
		var by Causes
		if t := d.turn; t != nil && r.Code != 0 {
			by = Causes{d.policy.Rules.nameSet(t.replyBy), t.causes}
		}
		if t := d.turn; t != nil && t.recalled != "" {
			by.Rules, raw, t.recalled = t.recalled, nil, ""
		}
		d.trace('S', v, raw, d.ToClient[start:], by)
	}
	if t := d.turn; t != nil { // keep no reply while the session waits
		t.reply, t.raw, t.causes = Reply{}, nil, nil
		clear(t.scratch[:cap(t.scratch)])
	}
	if d.next != End {
		d.next = AwaitCommand
	}
	if code == 421 && isOurs {
		d.server.gone = true
		d.fail(vocabulary.OutcomeClientProtocol, "a rule answered 421")
		d.next = End
		return
	}
	d.follow(v, code)
}

// wantsTLS reports whether the connection to the server must still be encrypted.
func (d *Dialogue) wantsTLS() bool {
	m := d.policy.ServerTLS
	return (m == ServerTLSOpportunistic || m == ServerTLSRequire) && !d.server.tls && !d.server.plain
}

// commandIs reports whether v is the verb of line.
func commandIs(line []byte, v Verb) bool { return ParseVerb(line) == v }
