package rewrite

import (
	"cmp"
	"fmt"
	"slices"

	"smtpshim/rewrite/vocabulary"
)

// Command takes raw, the client's line, with its line end. raw need not be well formed.
// ahead reports whether the client has sent more behind raw. taken is true if the
// dialogue has handled the line. If taken is false, the server's replies to earlier
// commands must come first. Once they have come, the caller calls Command again with
// the same line.
func (d *Dialogue) Command(raw []byte, ahead bool) (taken bool) {
	d.goesOn()
	line, ok := cutCRLF(raw)
	var by ruleSet
	for range 2 { // the line that one rule returns may be a malformed BDAT, for another rule
		if ok && !badBDAT(line) {
			break
		}
		mended, one := d.runLine(raw)
		if mended == nil {
			break
		}
		raw = append(mended[:len(mended):len(mended)], crlf...)
		line, ok = raw[:len(mended)], true
		by.addAll(one)
	}
	d.observed.command(line, raw, ok)
	if taken = d.take(line, raw, ok, ahead); taken {
		d.mendedLine(by)
		d.observed.taken()
	}
	return taken
}

// badBDAT reports whether a line is a BDAT with an argument that cannot be parsed.
func badBDAT(line []byte) bool {
	if len(line) < len("BDAT") || !foldEqual(line[:len("BDAT")], "BDAT") {
		return false
	}
	_, _, ok := parseChunk(line)
	return !ok
}

// take is Command for a line without its line end. ok reports whether the line is well
// formed.
func (d *Dialogue) take(line, raw []byte, ok, ahead bool) (taken bool) {
	spelt := ParseVerb(line)
	verb := VerbOther
	if ok {
		verb = spelt
	}
	d.commandTells(verb)
	if sasl.Has(spelt) && !ok || spelt == VerbOther && looksLikeAUTH(line) {
		d.seen.suspect = true // a client that ignores the refusal sends its credentials next
	}
	if d.seen.dataAnswered {
		d.seen.dataAnswered = false
		if verb == VerbOther { // the server may have been slower than the client
			d.heard(verb)
			d.answeredDATA(true)
			return true
		}
	}
	var limit vocabulary.Limit
	refusal := ""
	if ok && d.refusal == "" {
		limit, refusal = d.exceeds(verb, line)
	}
	var guard vocabulary.Safeguard
	forbidden := ""
	bad := limit == "" && misspelt(verb, ok, line)
	if limit == "" && !bad && !d.ownMatter(verb, ok) {
		if guard, forbidden = d.forbids(verb, line); forbidden == "" {
			return d.pass(verb, line, raw, ahead)
		}
	}
	if d.sent.n > 0 {
		d.grouping = false
		return false
	}
	d.heard(verb)
	if d.tracer != nil {
		d.tracer.Exchanged('C', []string{d.redacted(spelt, line)}, nil, Causes{})
	}
	switch {
	case bad:
		d.unreadable(badAnnouncement)
	case limit != "":
		d.meetsLimit(verb, limit, refusal)
	case forbidden != "":
		d.listener.Applied(string(guard))
		d.answerFor(verb, forbidden, Causes{Rules: string(guard)})
	default:
		d.reject(verb, line, ok, ahead)
		if verb == VerbDATA {
			d.answeredDATA(ahead)
		}
	}
	if sasl.Has(verb) {
		d.listener.Authenticated(vocabulary.SideClient, mechanismTold(line), vocabulary.AuthRefused)
	}
	return true
}

// forbids returns the safeguard that keeps a command from the server, and the reply for
// the client. Both are "" if the command may be sent on.
func (d *Dialogue) forbids(v Verb, line []byte) (guard vocabulary.Safeguard, text string) {
	switch {
	case sasl.Has(v):
		return d.refusesLogin(line)
	case v == VerbMAIL && !d.keepsTLS() && saysREQUIRETLS(line):
		return vocabulary.SafeguardRequireTLS, "555 5.5.4 REQUIRETLS was not offered: it needs TLS on both sides, and a server whose certificate is verified"
	}
	return "", ""
}

// TooLong takes the place of Command for a line that is longer than the caller's limit.
// The caller discards the line to its end. announces is the result of [Announces] for
// the line. If it is false, the client gets a 500, which counts as one of
// Limits.Errors. If it is true, the session ends. If taken is false, the server's
// replies to earlier commands must come first. Once they have come, the caller calls
// TooLong again.
func (d *Dialogue) TooLong(announces bool) (taken bool) {
	if d.sent.n > 0 {
		d.grouping = false
		return false
	}
	d.heard(VerbOther)
	d.seen.suspect = true // the line may have been an AUTH command
	d.listener.Limited(vocabulary.LimitCommandLine)
	d.event("a line that was too long")
	if announces {
		d.unreadable("501 5.5.4 line too long")
		return true
	}
	d.mistake("500 5.5.2 line too long")
	return true
}

// ownMatter reports whether we answer a command ourselves, without running a rule or
// asking the server.
func (d *Dialogue) ownMatter(v Verb, isLine bool) bool {
	switch {
	case !isLine, d.refusal != "", uncarried.Has(v):
		return true
	case v == VerbSTARTTLS, v == VerbAnonymousTLS:
		return !d.passesTLS()
	case d.policy.ClientTLS == ClientTLSRequire && !d.seen.tls:
		return !BeforeHello.Has(v)
	case d.policy.ServerTLS == ServerTLSRequire && !d.server.tls, d.seen.anew, d.wantsXCLIENT():
		return !BeforeHello.Has(v) && !d.saysHello(v)
	case d.answersSpent(v):
		return true
	case d.chunk.open:
		return v != VerbBDAT
	case v == VerbOther && d.policy.Logins != nil: // SEND, SOML, SAML and BURL name a sender that we would not see
		return true
	case v == VerbBDAT:
		return d.server.known&offersCHUNKING == 0 && !d.policy.Rules.seesCommand(v, false)
	}
	return false
}

// passesTLS reports whether STARTTLS is sent on, so that TLS is between client and
// server. It is not where we send XCLIENT: inside TLS, the server would accept an XCLIENT
// of the client too, and we would not see it.
func (d *Dialogue) passesTLS() bool {
	return d.policy.ClientTLS == ClientTLSPass && !d.server.tls && d.policy.XCLIENT == XCLIENTNever
}

// endsTLS reports whether we answer the client's STARTTLS ourselves.
func (d *Dialogue) endsTLS() bool {
	switch d.policy.ClientTLS {
	case ClientTLSOffer, ClientTLSRequire:
		return true
	case ClientTLSImplicit: // the client came in clear, and a rule allows it
		return !d.seen.tls
	}
	return false
}

// reject answers a command of which ownMatter is true.
func (d *Dialogue) reject(v Verb, line []byte, isLine, ahead bool) {
	switch {
	case d.refusal != "":
		switch {
		case v == VerbQUIT:
			d.Finish("221 2.0.0 closing connection")
		case d.refusal[:3] == "421":
			d.Finish(d.refusal)
		case v == VerbBDAT:
			d.swallowChunk(line, d.refusal)
		default:
			d.answer(v, d.refusal)
		}
	case !isLine:
		d.mistake("500 5.5.2 a command ends with CRLF and has no bare CR, bare LF or NUL in it")
	case v == VerbSTARTTLS && d.endsTLS():
		d.startClientTLS(line, ahead)
	case d.answersSpent(v):
		d.answerSpent(v, line)
	case d.chunk.open:
		d.betweenChunks(v)
	case v == VerbBDAT:
		d.swallowChunk(line, "502 5.5.1 BDAT was not offered")
	case v == VerbXCLIENT && d.obeysXCLIENT():
		d.takeXCLIENT(line)
	case v == VerbXEXCH50 && ahead:
		d.unreadable("554 5.5.0 text was sent before XEXCH50 was accepted")
	case uncarried.Has(v), v == VerbSTARTTLS, v == VerbAnonymousTLS, v == VerbOther && d.policy.Logins != nil:
		d.answer(v, "502 5.5.1 command not available here")
	case d.policy.ClientTLS == ClientTLSRequire && !d.seen.tls:
		d.answer(v, "530 5.7.0 Must issue a STARTTLS command first")
	default: // the hello begins TLS with the server, and XCLIENT
		d.answer(v, "503 5.5.1 EHLO first")
	}
}

// mistake answers a line that is not a command, and ends the session after too many of
// them.
func (d *Dialogue) mistake(text string) {
	d.errors++
	if limit := d.policy.Limits.Errors; limit > 0 && int(d.errors) > limit {
		d.listener.Limited(vocabulary.LimitErrors)
		d.end(vocabulary.OutcomeClientProtocol, "421 4.7.0 too many errors")
		return
	}
	d.answer(VerbOther, text)
}

// startClientTLS answers a STARTTLS that we end. If the client has sent more behind it in
// clear, the session ends, because that would be read as encrypted (RFC 3207, 6;
// CVE-2011-0411). STARTTLS is refused in a transaction and after AUTH, which someone else
// may have begun in clear.
func (d *Dialogue) startClientTLS(line []byte, ahead bool) {
	switch {
	case ahead:
		d.end(vocabulary.OutcomeClientProtocol, aheadText)
	case len(Argument(line)) > 0:
		d.answer(VerbSTARTTLS, "501 5.5.4 STARTTLS has no argument")
	case d.seen.tls:
		d.answer(VerbSTARTTLS, "503 5.5.1 TLS is in use already")
	case d.seen.transaction || d.seen.authenticated || d.usesLogin():
		d.answer(VerbSTARTTLS, "503 5.5.1 STARTTLS comes before AUTH and MAIL")
	default:
		d.answer(VerbSTARTTLS, "220 2.0.0 ready to start TLS")
		d.next = AwaitClientTLS
	}
}

// ClientTLS tells the dialogue that the TLS handshake after the client's STARTTLS has
// succeeded. The client must then repeat its hello before it may log in or send mail
// (RFC 3207, 4.2).
func (d *Dialogue) ClientTLS() {
	d.seen.tls = true
	d.seen.helloOwed = true
	d.next = AwaitCommand
	d.event("client TLS")
}

const aheadText = "554 5.5.0 nothing may be sent behind STARTTLS before its answer"

// pass runs the rules on a command and sends it on.
func (d *Dialogue) pass(v Verb, line, raw []byte, ahead bool) (taken bool) {
	ruled := d.policy.Rules.seesCommand(v, d.seen.helloOwed)
	helloless := d.saysHello(v)
	lonely := alone.Has(v) || d.spent || helloless || d.logsIn(v) || d.seen.helloOwed && !BeforeHello.Has(v)
	if d.sent.n > 0 && (lonely || !joining.Has(v)) {
		d.grouping = false
		return false
	}
	if hello.Has(v) {
		d.helloIs(line)
	}
	if v == VerbBDAT {
		return d.passChunk(line, raw)
	}
	if !ruled && !lonely {
		d.heard(v)
		d.send(v, line, raw)
		d.trace('C', v, raw, raw, Causes{})
		return true
	}
	t := d.newTurn(v, line)
	t.held, t.helloless = lonely, helloless
	d.beginAUTH(v, line)
	t.runCommand()
	if d.sent.n > 0 && (t.held || t.answered.Code != 0) {
		t.held, t.attempt, d.grouping = false, nil, false
		return false
	}
	d.heard(v)
	switch {
	case t.swallow:
		t.held = false
		d.departed(t.applied)
		d.trace('C', v, raw, nil, t.byRules(t.lineBy))
	case startsTLS.Has(v) && ahead:
		d.trace('C', v, raw, nil, Causes{})
		d.end(vocabulary.OutcomeClientProtocol, aheadText)
	case t.answered.Code != 0:
		d.trace('C', v, raw, nil, t.byRules(t.replyBy))
		t.traced = true
		if len(t.firsts) > 0 || t.answered.Code == 334 {
			d.hold(t)
			break
		}
		t.held = false
		t.giveAnswer()
		if v == VerbDATA {
			d.answeredDATA(ahead)
		}
	case d.seen.helloOwed && !BeforeHello.Has(v) && !t.saysFirst(hello):
		t.held = false
		d.trace('C', v, raw, nil, Causes{})
		d.answer(v, "503 5.5.1 EHLO first")
	case t.held:
		d.hold(t)
	default:
		d.sendTurn(v)
	}
	return true
}

// send sends a command on unchanged.
func (d *Dialogue) send(v Verb, line, raw []byte) {
	d.ToServer = append(room(d.ToServer, len(raw)), raw...)
	d.pushed(v, line, line)
}

// sendTurn sends on a command that the rules have seen and that is not held.
func (d *Dialogue) sendTurn(v Verb) {
	t := d.turn
	start := len(d.ToServer)
	d.ToServer = append(append(room(d.ToServer, len(t.line)+len(crlf)), t.line...), crlf...)
	d.pushed(v, t.said, t.line)
	d.departed(t.applied)
	d.trace('C', v, t.said, d.ToServer[start:], t.byRules(t.lineBy))
}

// room returns b, which is for the server or the client, with room for n more octets.
func room(b []byte, n int) []byte {
	if b == nil {
		n = max(n, usualRoom)
	}
	return slices.Grow(b, n)
}

// usualRoom is how many octets a command line or reply of most sessions has at most.
const usualRoom = 256

func (d *Dialogue) pushed(v Verb, said, line []byte) {
	if v == VerbRCPT {
		d.recipients.ask(line)
	}
	if d.policy.Rules.maySee(v) || d.policy.Observed.maySee(v) {
		d.sent.pushLines(v, said, line)
	} else {
		d.sent.push(v)
	}
	d.observed.sends()
	d.long = d.maySplit(len(line) + len(crlf))
	d.grouping = groupable.Has(v) && (d.policy.Groups || d.server.known&offersPIPELINING != 0) && !d.server.short
}

// MessageEnd tells the dialogue that the present message has ended. octets is its size
// as the client sent it. If Next is AwaitMessage, all of it was sent to the server,
// including the final dot, and the server's reply comes next. If Next is AwaitDiscard,
// the client gets the reply that is held for the end of the message. A client may stop
// in the middle of the message and wait for that reply. The caller may then call
// MessageEnd at once, and discards the rest of the message if it comes.
func (d *Dialogue) MessageEnd(octets int64) {
	if d.tracer != nil {
		d.event(fmt.Sprintf("message %d bytes", octets))
	}
	d.endText()
	if d.next == AwaitDiscard {
		failure := cmp.Or(d.Failure(), vocabulary.OutcomeServerLost)
		d.giveEach([]byte(d.early))
		d.spend(failure, earlyReason)
		return
	}
	d.sent.push(VerbMessage)
	d.observed.sendsMessage()
	d.long = false
	d.grouping = false
	d.next = AwaitCommand
}

// heard tells the listener of a command of the client.
func (d *Dialogue) heard(v Verb) {
	d.listener.Command(v)
	if !d.seen.transaction && !mailing.Has(v) {
		d.seen.idle++
	}
}
