package rewrite

const (
	lostText        = "421 4.4.2 connection to server lost"
	unreachableText = "421 4.3.2 server not available"
	silentText      = "421 4.4.2 no answer from server in time"
	brokenText      = "421 4.3.0 server broke the protocol"
	noTLSText       = "454 4.7.0 TLS with the server is required and not to be had"
	spentText       = "421 4.3.0 the last message cost the connection to the server, connect again"
)

const earlyReason = "the server answered before the message had ended"

// Greeting is the reply with which a connection to the server begins.
func (d *Dialogue) Greeting(raw []byte) {
	d.server = serverState{tls: d.policy.ServerTLS == ServerTLSImplicit, plain: d.server.plain}
	if d.turn.held {
		d.greetedAgain(raw)
		return
	}
	code, err := replyCode(raw)
	if err != nil || !fits(VerbGreeting, code, false) {
		d.breach()
		return
	}
	d.next = AwaitCommand
	if code != 220 {
		d.give(VerbGreeting, raw, Reply{})
		return
	}
	d.deliver(VerbGreeting, raw)
}

// greetedAgain goes on with a held turn on its fresh connection.
func (d *Dialogue) greetedAgain(raw []byte) {
	t := &d.turn
	code, err := replyCode(raw)
	if err != nil || code != 220 {
		d.server.gone = true
		d.end("server-unreachable", unreachableText)
		return
	}
	d.event("server again")
	d.trace('S', VerbGreeting, raw, nil, 0)
	if hello.has(t.verb) || len(d.hello) == 0 {
		d.sayLine()
		return
	}
	line := string(d.hello)
	if d.wantsTLS() || d.wantsXCLIENT() {
		line = "EHLO " + string(argument(d.hello)) // HELO hides whether there is STARTTLS or XCLIENT
	}
	d.say(line, stageHello)
}

// Lost says that the server hung up, or could not be reached.
func (d *Dialogue) Lost() {
	t := &d.turn
	d.server.gone = true
	switch {
	case d.next == AwaitServer:
		d.end("server-unreachable", unreachableText)
	case t.held && t.stage == stageSaid && !t.sasl && d.policy.Rules.seesReply(t.verb, 0):
		t.lost, t.reply = true, Reply{}
		t.runReply()
		t.lost = false
		if t.again != "" {
			t.commands++
			d.sayAgain()
			return
		}
		d.end("server-lost", lostText)
	case t.held && (t.stage == stageStartTLS || t.stage == stageHello && t.verb == VerbHELO && d.wantsTLS()):
		d.ServerTLSFailed()
	case d.sent.n > 0 && d.sent.first() == VerbQUIT:
		d.Finish("221 2.0.0 closing connection")
	default:
		d.end("server-lost", lostText)
	}
}

// Reply is a whole reply of the server's, that ScanReply has found. ahead says
// that the client has sent something that it ought to have sent after seeing
// this reply; behind, that the server has sent something after it already.
func (d *Dialogue) Reply(raw []byte, ahead, behind bool) {
	code, err := replyCode(raw)
	switch {
	case err != nil:
		d.breach()
	case d.next == AwaitMessage:
		d.earlyReply(code, raw)
	case d.sent.n == 0:
		// Nobody waits for it. A 421 may come at any time (RFC 5321, 3.8);
		// anything else would be taken for the answer to the next command.
		if code == 421 {
			d.server.gone = true
			d.give(VerbOther, raw, Reply{})
			return
		}
		d.breach()
	case !d.fits(code):
		d.breach()
	case code == 220 && d.startsTLS() && behind:
		d.breach() // it would be taken for encrypted (CVE-2011-0411)
	case code == 220 && d.startsTLS() && d.turn.stage == stageSaid && ahead: // TLS of the client's
		d.server.gone = true
		d.end("client-protocol", aheadText)
	case d.turn.held:
		d.sent.pop()
		d.turnReply(code, raw)
	default:
		v := d.sent.pop()
		d.deliver(v, raw)
		d.afterData(v, code, ahead)
	}
}

// startsTLS says that a handshake follows if the reply that is awaited is good.
func (d *Dialogue) startsTLS() bool {
	t := &d.turn
	return t.held && (t.stage == stageStartTLS ||
		t.stage == stageSaid && (t.verb == VerbSTARTTLS || t.verb == VerbAnonymousTLS))
}

// Silent says that the server was silent for too long.
func (d *Dialogue) Silent() {
	d.server.gone = true
	d.end("server-timeout", silentText)
}

// Garbage says that what the server sent is no reply.
func (d *Dialogue) Garbage() { d.breach() }

// breach ends a session whose server cannot be followed any more: a reply out
// of step becomes a false yes.
func (d *Dialogue) breach() {
	d.server.gone = true
	d.end("server-protocol", brokenText)
}

// fits says whether a reply with this code can be the one that is awaited.
func (d *Dialogue) fits(code int) bool {
	if d.turn.held && d.turn.stage == stageData {
		return fits(VerbDATA, code, false)
	}
	return fits(d.sent.first(), code, d.turn.held)
}

// fits says whether a reply with this code can be one to this verb.
func fits(v Verb, code int, held bool) bool {
	switch {
	case v == VerbDATA:
		return code == 354 || code >= 400
	case code == 334:
		return sasl.has(v) && held
	}
	return code < 300 || code >= 400
}

// earlyReply is an answer to a message that is still being sent. The rest is
// dropped, and the client gets it at the message's end.
func (d *Dialogue) earlyReply(code int, raw []byte) {
	if code < 400 {
		d.breach()
		return
	}
	d.early = append([]byte(nil), raw...)
	d.server.gone = true
	d.next = AwaitDiscard
	d.event("server answers before the message has ended")
}

// MessageLost says that the server was lost while a message was sent to it.
// The rest is dropped; the client learns it at the message's end.
func (d *Dialogue) MessageLost() {
	d.earlyReply(421, []byte(lostText+"\r\n"))
	d.failure, d.reason = "server-lost", "the server was lost before the message had ended"
}

// afterData ends a session whose client did not wait for the answer to DATA
// and was refused: what it sent would run as commands.
func (d *Dialogue) afterData(v Verb, code int, ahead bool) {
	if v == VerbDATA && code != 354 && ahead && d.next != End {
		d.end("client-protocol", "554 5.5.0 the message was sent before DATA was accepted")
	}
}

// deliver gives the client a reply, through the rules that ask for it.
func (d *Dialogue) deliver(v Verb, raw []byte) {
	if code, _ := replyCode(raw); d.policy.Rules.seesReply(v, code) {
		d.ruledReply(v, raw)
		return
	}
	d.give(v, raw, Reply{})
}

// ruledReply gives the client what the rules make of a reply to a command that
// is not held.
func (d *Dialogue) ruledReply(v Verb, raw []byte) {
	t := &d.turn
	t.reset(d, v, nil)
	t.raw, t.sasl = raw, true // nothing can be said again
	t.reply = parseReply(raw)
	t.runReply()
	if t.replyBy == 0 || t.reply.equal(parseReply(raw)) {
		d.give(v, raw, Reply{})
		return
	}
	d.departed(t.applied)
	d.give(v, raw, t.reply)
}

// give is the last step of every reply of the server's: r, or raw if r is
// none, goes to the client, and the session's state follows.
func (d *Dialogue) give(v Verb, raw []byte, r Reply) {
	start := len(d.ToClient)
	code := r.Code
	if code == 0 {
		d.ToClient = append(d.ToClient, raw...)
		code, _ = replyCode(raw)
	} else {
		d.ToClient = r.appendTo(d.ToClient)
	}
	d.turn.reply, d.turn.raw, d.scratch = Reply{}, nil, nil // nothing of it is kept while the session is idle
	d.listener.Replied(v, code)
	if d.tracer != nil {
		by := d.turn.replyBy
		if r.Code == 0 {
			by = 0
		}
		d.trace('S', v, raw, d.ToClient[start:], by)
	}
	if d.next != End {
		d.next = AwaitCommand
	}
	d.follow(v, code)
}

// follow keeps the client's state by what it was told.
func (d *Dialogue) follow(v Verb, code int) {
	good := code < 300
	switch {
	case code == 421:
		d.server.gone = true
		d.fail("server-lost", "the server said 421")
		d.next = End
	case v == VerbQUIT:
		d.next = End
	case v == VerbMAIL && good:
		d.seen.transaction = true
		d.seen.mails++
	case v == VerbRCPT && !good:
		d.seen.recipients--
	case v == VerbDATA && code == 354:
		d.seen.messages++
		d.seen.idle = 0
		d.next = AwaitMessage
	case v == VerbDATA:
		d.seen.suspect = true
	case v == VerbMessage:
		d.endTransaction()
	case good && (v == VerbRSET || hello.has(v)):
		d.endTransaction()
		if hello.has(v) {
			d.seen.hello, d.seen.anew, d.seen.helloOwed = v, false, false
		}
	case (v == VerbSTARTTLS || v == VerbAnonymousTLS) && code == 220:
		d.next = Opaque
		d.event("opaque")
	case sasl.has(v):
		d.followSASL(code)
	}
}

func (d *Dialogue) endTransaction() {
	d.seen.transaction, d.seen.recipients = false, 0
	d.chunk = chunkState{}
}

// followSASL keeps the state of an AUTH exchange.
func (d *Dialogue) followSASL(code int) {
	t := &d.turn
	switch {
	case code == 334:
		t.sasl = true
		d.next = AwaitSASL
	case code < 300:
		d.seen.authenticated = true
		if mayMask(t.said) {
			d.next = AwaitOctets
		}
	default:
		d.seen.suspect = true
	}
}

// Octets are the first octets of the client's after a SASL exchange that may
// have begun to mask the stream: four, or a line that is shorter. A stream that
// cannot be read could have XCLIENT in it: no server that takes ours gets one.
func (d *Dialogue) Octets(b []byte) {
	d.next = AwaitCommand
	switch {
	case !masked(b, d.seen.sealing):
	case d.policy.XCLIENT != XCLIENTNever:
		d.server.gone = true
		d.end("client-protocol", maskedText)
	default:
		d.next = Opaque
		d.event("opaque")
	}
}

// sayLine says the line of the turn to the server; where a HELO hides whether
// there is STARTTLS or XCLIENT, EHLO comes first.
func (d *Dialogue) sayLine() {
	t := &d.turn
	if t.verb == VerbHELO && (d.wantsTLS() || d.wantsXCLIENT()) {
		t.introduced = !d.wantsTLS()
		d.say("EHLO "+string(argument(t.line)), stageHello)
		return
	}
	d.say(string(t.line), stageSaid)
}

// say writes a line of the held turn.
func (d *Dialogue) say(line string, s stage) {
	t := &d.turn
	t.stage, t.spoken = s, VerbOther
	if !t.pending {
		t.spoken = parseVerb([]byte(line))
	}
	d.ToServer = append(append(d.ToServer, line...), crlf...)
	d.sent.push(t.verb)
	d.next = AwaitReply
	if hello.has(t.spoken) {
		d.hello = append(d.hello[:0], line...)
	}
	if d.tracer == nil {
		return
	}
	text := hidden(len(line))
	if !t.pending {
		text = d.redacted(t.spoken, []byte(line))
	}
	var said []string
	if s == stageSaid && !t.traced {
		t.traced = true
		said = []string{d.redacted(t.verb, t.said)}
	}
	d.tracer.Exchanged('C', said, []string{text}, d.cause())
}

// wantsTLS says that the connection to the server is to be encrypted and is not.
func (d *Dialogue) wantsTLS() bool {
	m := d.policy.ServerTLS
	return (m == ServerTLSOpportunistic || m == ServerTLSRequire) && !d.server.tls && !d.server.plain
}

// swallow is a reply that the client never sees. The text of a refusal is told
// where what it refuses holds no secret.
func (d *Dialogue) swallow(raw []byte) {
	if d.tracer == nil {
		return
	}
	d.tracer.Exchanged('S', d.lines(nil, 'S', d.turn.spoken, raw), nil, d.cause())
}

// cause says on whose account the server is told what the client has not said.
func (d *Dialogue) cause() string {
	by := d.turn.by()
	switch {
	case by != 0 && d.turn.stage != stageXCLIENT:
		return d.policy.Rules.nameSet(by)
	case d.turn.introduced:
		return xclientCause
	}
	return serverTLSCause
}

// What the policy changes by itself has a name in traces too: the key of the
// configuration, or what it is.
const (
	serverTLSCause  = "server_tls"
	clientTLSCause  = "client_tls"
	xclientCause    = "xclient"
	notCarriedCause = "not-carried"
	sizeCause       = "message_size"
	chunkingCause   = "chunking"
)

// commandIs says whether a line's verb is this.
func commandIs(line []byte, v Verb) bool { return parseVerb(line) == v }

// learn reads the server's EHLO reply.
func (d *Dialogue) learn(r Reply) {
	d.server.offers = offered(r)
	if d.policy.XCLIENT != XCLIENTNever {
		d.server.attributes = attributesOffered(r)
	}
	if at, _ := d.aliased(r); at > 0 {
		d.server.offers |= offered(Reply{Lines: []string{"", d.policy.Rules.alias[1]}})
	}
	if !d.policy.Chunking {
		d.server.offers &^= OffersCHUNKING
	}
}
